# The daemon's unit, and the unit that applies one file without it.
mkdir -p /srv/serve
for port in 8001 8002 8003; do
    echo "a served page" >/srv/serve/index.html
    systemd-run --quiet --unit="server-$port" --property=WorkingDirectory=/srv/serve --property=StandardError=null python3 -m http.server "$port"
done
until_is 20 'servers listen' bash -c '[ $(ss -Hltn sport ">=" :8001 and sport "<=" :8003 | wc -l) = 3 ]'

systemctl disable --now wocut
is 'after disable --now' inactive "$(systemctl is-active wocut)"
systemctl enable --now wocut.service
active wocut
curl --silent --show-error --fail --output /dev/null --unix-socket $api http://localhost/_ready || fail 'the daemon is active and not ready'

cat >/etc/wocut/web.toml <<'EOF'
[service.web]
listen = ["80/tcp"]
instances = [8001, 8002]
check = { type = "tcp" }
EOF
systemctl reload wocut
until_is 10 'a reload attaches what a file has' serves served
has 'attached from within the unit' 'engine ebpf/sk_lookup' "$(wocut status web)"
until_is 10 'systemd knows how many services there are' bash -c '[[ $(systemctl show -P StatusText wocut) == "1 service attached" ]]'
echo nonsense >>/etc/wocut/web.toml
! systemctl reload wocut 2>/dev/null || fail 'a file that makes no sense is taken'
sed -i '$d' /etc/wocut/web.toml
active wocut

# Group, and nobody else.
ask=(curl --silent --show-error --fail --output /dev/null --unix-socket $api http://localhost/_ready)
setpriv --reuid=nobody --regid=wocut --clear-groups "${ask[@]}" || fail 'the group wocut cannot ask the daemon'
! setpriv --reuid=nobody --regid=nogroup --clear-groups "${ask[@]}" 2>/dev/null || fail 'everybody can ask the daemon'

load
before=$(property wocut MainPID)
kill -KILL "$before"
until_is 20 'systemd starts the daemon again' bash -c "[ \$(systemctl show -P NRestarts wocut) = 1 ] && systemctl --quiet is-active wocut"
[ "$(property wocut MainPID)" != "$before" ] || fail 'the daemon has not been started again'
systemctl stop wocut
is 'a stopped daemon' 'inactive success' "$(property wocut ActiveState) $(property wocut Result)"
wocut status web >/dev/null || fail 'a stopped daemon takes its service away'
systemctl start wocut
no_loss served

# Rules, within what the unit allows, by both flavours of iptables.
for flavour in nft legacy; do
    update-alternatives --quiet --set iptables /usr/sbin/iptables-$flavour
    update-alternatives --quiet --set ip6tables /usr/sbin/ip6tables-$flavour
    wocut attach rules 81/tcp to 8003 --engine iptables
    has "iptables-$flavour" served "$(curl --silent --show-error http://192.0.2.1:81/)"
    wocut detach rules
    systemctl restart wocut
done
update-alternatives --quiet --auto iptables
update-alternatives --quiet --auto ip6tables

# One file, without a daemon.
systemctl disable --now --quiet wocut
wocut detach --all
! serves served 2>/dev/null || fail 'somebody serves that nobody attached'
systemctl enable --now --quiet wocut@web
is 'wocut@web' 'active exited' "$(property wocut@web ActiveState) $(property wocut@web SubState)"
serves served || fail 'wocut@web has attached nothing'
sed -i 's/, 8002//' /etc/wocut/web.toml
systemctl reload wocut@web
has 'a reload' "to 8001 8001 8001" "to$(for _ in 1 2 3; do wocut explain web --from 192.0.2.2:4000$_ | awk '$3 == "ready" { printf " %s", $2 }'; done)"
systemctl disable --now --quiet wocut@web
serves served || fail 'wocut@web takes its service away when it stops'
wocut detach --all
rm /etc/wocut/web.toml
systemctl stop server-8001 server-8002 server-8003
systemctl enable --now --quiet wocut
