#!/bin/bash
# Installs the package on a bare Debian, has every check in this folder run, removes it, and ends the machine. The first
# serial line has what is said, the second how it ended: the number of checks that failed.
cd "$(dirname "$0")"
export LC_ALL=C.UTF-8 SYSTEMD_COLORS=0 SYSTEMD_URLIFY=0 SYSTEMD_PAGER='' PYTHONDONTWRITEBYTECODE=1 HOME=/root
stty -F /dev/ttyS0 -opost

failed=0
check() {
    local start=$SECONDS since
    since=$(date +%s)
    if bash -euo pipefail -c '. ./shared.sh; . "./$1.sh"' check "$1" </dev/null; then
        echo "$1: ok in $((SECONDS - start)) s"
    else
        failed=$((failed + 1))
        echo "$1: FAILED after $((SECONDS - start)) s; the journal since it began:"
        journalctl --no-pager --since "@$since" | tail -n 40
        # The next one begins with nothing.
        pkill --full 'load\.py|http\.server'
        systemctl stop web
        wocut run --release web
        wocut detach --all
    fi
}

asked=$(cat /wocut/checks)
for name in install ${asked:-quickstart serve run cluster memory remove}; do
    check "$name"
done

# Changing a setting waits until everything is out.
stty -F /dev/ttyS0 sane
echo "$failed" >/dev/ttyS1
stty -F /dev/ttyS1 sane
systemctl poweroff --force --force
