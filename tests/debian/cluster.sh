# `wocut cluster` as the unit of cluster.md. Fewer workers: each takes seconds to start where the processor is emulated.
install_unit cluster.md 's/-n 8/-n 3/'
server_is first
systemctl start web
active web
is 'workers' 3 "$(pgrep --full --count '[w]eb.py first')"
for index in 0 1 2; do
    has "worker $index in the journal" "worker $index starts" "$(journalctl --sync; journalctl --identifier="web-$index" --output=cat)"
done
has 'of the unit' 'worker 2 starts' "$(journalctl --unit=web --output=cat)"

load
server_is second
systemctl reload web
until_is 60 'a reload replaces all' bash -c '[[ $(wocut cluster status web | grep -c "serving .* 2 ") = 3 ]] && ! pgrep --full "[w]eb.py first"'
no_loss second
active web

# The way to a new version: the next master takes the workers over.
load
before=$(property web MainPID)
server_is third
systemctl kill --signal=KILL --kill-whom=main web
until_is 60 'systemd starts the next master' bash -c "systemctl --quiet is-active web && [ \$(systemctl show -P MainPID web) != $before ]"
until_is 60 'it retires what the first one left' bash -c '! pgrep --full "[w]eb.py second"'
no_loss third
is 'workers' 3 "$(pgrep --full --count '[w]eb.py third')"

systemctl stop web
is 'after a stop' 'inactive success' "$(property web ActiveState) $(property web Result)"
nothing_is_left

# Lines with the worker before them, which is the default.
install_unit cluster.md 's/-n 8/-n 1/; s/--output journal//'
systemctl start web
has 'the journal' 'web[0]: worker 0 starts' "$(journalctl --sync; journalctl --unit=web --output=cat)"
systemctl stop web
nothing_is_left
