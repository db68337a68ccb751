# The rules of the original wocut for a service `apache`, and `wocut-original stop`, which ends it as the original does.
for chain in INPUT OUTPUT FORWARD; do
    iptables -A $chain -m mark --mark 99999 -m comment --comment "wocut: nevermark" -j DROP
done
cat > /tmp/rules <<'END'
mangle -p tcp -m state --state NEW --dport 81 -j MARK --set-mark 8001
mangle -p tcp --dport 8001 -j MARK --set-mark 99999
mangle -p tcp --dport 8002 -j MARK --set-mark 99999
mangle -p tcp -m mark --mark 8001 -m statistic --mode random --probability 0.5 -j MARK --set-mark 8002
nat -p tcp -m mark --mark 8001 -j REDIRECT --to-port 8001
nat -p tcp -m mark --mark 8002 -j REDIRECT --to-port 8002
END
while read -r table rule; do
    iptables -t $table -A PREROUTING $rule -m comment --comment wocut-apache:
done < /tmp/rules
cat > /usr/local/bin/wocut-original <<'END'
while read -r table rule; do
    iptables -t $table -D PREROUTING $rule -m comment --comment wocut-apache:
done < /tmp/rules
END
chmod 755 /usr/local/bin/wocut-original
