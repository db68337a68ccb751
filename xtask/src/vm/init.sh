#!/bin/sh
# The first process of a machine of `cargo xtask vm`: makes a system of the unpacked archive, runs /wocut/run in it with
# the first serial line as its terminal, and says on the second how it ended. The machine is reset when this ends,
# by the kernel if nothing else does it.
set -e
export PATH=/wocut/bin:/usr/sbin:/usr/bin:/sbin:/bin HOME=/root TERM=dumb

mkdir -p /proc /sys /dev /run /tmp /root
mount -t proc proc /proc
mount -t sysfs sys /sys
mount -t devtmpfs dev /dev
mkdir /dev/pts /dev/shm
mount -t devpts devpts /dev/pts
mount -t tmpfs shm /dev/shm
mount -t tmpfs run /run
mount -t tmpfs tmp /tmp
mount -t cgroup2 cgroup /sys/fs/cgroup
mount -t tracefs tracing /sys/kernel/tracing
ln -s /run /var/run
echo '127.0.0.1 localhost' >/etc/hosts
ip link set lo up
# As systemd has it.
ulimit -n 524288

# Line ends as they are.
stty -F /dev/ttyS0 -opost
cd /wocut/tests
code=0
sh /wocut/run </dev/null >/dev/ttyS0 2>&1 || code=$?
# Changing a setting waits until everything is out.
stty -F /dev/ttyS0 sane
echo "$code" >/dev/ttyS1
stty -F /dev/ttyS1 sane
# Or the kernel says that it resets.
echo N >/sys/class/tty/ttyS0/console
echo b >/proc/sysrq-trigger
