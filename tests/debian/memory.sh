# Limits of a cluster's memory, by the groups that systemd delegates.
# delegated LIMITS
delegated() {
    install_unit cluster.md "s/-n 8/-n 2 $*/; s/^KillMode=.*/KillMode=control-group\nDelegate=memory\nMemoryMax=400M/"
    systemctl start web
    group=/sys/fs/cgroup$(property web ControlGroup)
    has 'controllers of the unit' memory "$(cat "$group/cgroup.subtree_control")"
    [ "$(grep --dereference-recursive --files-with-matches . "$group"/*/memory.current | wc -l)" -ge 3 ] \
        || fail "workers have no groups: $(ls "$group")"
    is 'processes beside the groups' '' "$(cat "$group/cgroup.procs")"
}

# Workers take more and more, until one of the limit's is replaced. What the leak costs them is theirs to lose.
leak() {
    load
    local began=$EPOCHSECONDS
    for _ in $(seq 60); do
        get /leak >/dev/null || fail 'a request was lost'
        if [[ $(journalctl --since="@$began" --unit=web --output=cat) == *'is retired'* ]]; then
            until_is 60 'the retired one ends' bash -c '[ $(pgrep --full --count "[w]eb.py") = 2 ]'
            no_loss first
            return
        fi
    done
    fail "nobody is retired: $(wocut cluster status web)"
}

server_is first
delegated --memory 60M
leak
has 'why' 'memory' "$(journalctl --unit=web --output=cat | grep 'is retired')"
systemctl stop web
nothing_is_left

delegated --total-memory 120M
leak
is 'killed for memory' 'oom_kill 0' "$(grep '^oom_kill ' "$group/memory.events")"
systemctl stop web
is 'after a stop' 'inactive success' "$(property web ActiveState) $(property web Result)"
nothing_is_left
rm -r /etc/systemd/system/web.service /srv/web
systemctl daemon-reload
