#!/bin/sh
# The kernel's first process in a machine of `cargo xtask vm --debian`. Its first root cannot be exchanged by
# pivot_root(2), which systemd does for each unit with a file system of its own: a mount of the same files can.
mount --bind / /mnt
cd /mnt
mount --move . /
exec chroot . /sbin/init
