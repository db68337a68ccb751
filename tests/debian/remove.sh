# A removal leaves what is attached, and a purge leaves nothing.
systemctl is-active wocut
mkdir -p /srv/serve
echo 'a served page' >/srv/serve/index.html
python3 -m http.server 8001 --directory /srv/serve >/dev/null 2>&1 &
server=$!
until_is 20 'a server listens' bash -c 'ss -Hltn sport = :8001 | grep -q .'
wocut attach web 80/tcp to 8001
dpkg --remove wocut
is 'the daemon' inactive "$(systemctl is-active wocut || true)"
[ ! -e /usr/bin/wocut ] || fail 'the command is left'
serves served || fail 'a removal takes away what is attached'

dpkg --purge wocut
! serves served 2>/dev/null || fail 'a purge leaves what is attached'
kill "$server"
for gone in /etc/wocut /run/wocut /var/lib/wocut /sys/fs/bpf/wocut /usr/share/doc/wocut; do
    [ ! -e $gone ] || fail "$gone is left: $(ls -la $gone)"
done
is 'units and links to them' '' "$(find /etc/systemd /run/systemd /var/lib/systemd /usr/lib/systemd -name '*wocut*' ! -name machine.service)"
# The slice of wocut@web is systemd's own, and stays until a boot.
is 'units that systemd knows' '' "$(systemctl list-units --all --type=service --plain --no-legend '*wocut*'; systemctl list-unit-files --no-legend '*wocut*')"
is 'reserved ports' '' "$(cat /proc/sys/net/ipv4/ip_local_reserved_ports)"
is 'rules' '' "$(iptables-save | grep -i wocut || true)"
is 'failed units' '' "$(systemctl --failed --plain --no-legend)"
# As Debian has it: a number that is given twice would give files to another group.
getent group wocut >/dev/null || fail 'the group is gone'
