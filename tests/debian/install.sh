# A new user: the package, and what the daemon is then.
is 'failed units before' '' "$(systemctl --failed --plain --no-legend)"
dpkg --install /wocut/wocut.deb
active wocut
is 'wocut.service at boot' enabled "$(systemctl is-enabled wocut)"
is 'modes' $'710 root:wocut /run/wocut\n660 root:wocut /run/wocut/api.sock' "$(stat --format='%a %U:%G %n' /run/wocut $api)"
is 'files that are not as packed' '' "$(dpkg --verify wocut | grep -v /usr/share/ || true)"

doctor=$(wocut doctor) || fail "wocut doctor: $doctor"
for line in 'engine ebpf +yes' 'engine iptables +yes' 'cgroup2 +yes' 'BPF file system +yes'; do
    grep --quiet --extended-regexp "^$line" <<<"$doctor" || fail "wocut doctor does not say \`$line\`: $doctor"
done

# Another host, for the others.
ip netns add client
ip link add eth0 type veth peer name eth0 netns client
ip address add 192.0.2.1/24 dev eth0
ip link set eth0 up
ip -n client address add 192.0.2.2/24 dev eth0
ip -n client link set eth0 up
install --mode=755 ./node.sh /usr/bin/node
