# `wocut run` as the unit of run.md.
install_unit run.md
server_is first slow
systemctl start web
active web
serves first || fail "the unit is active, and nobody serves: $(get)"
main=$(property web MainPID)
is 'the main process' wocut "$(cat "/proc/$main/comm")"
# It counts.
until_is 20 'what a server says of itself goes on to systemd' bash -c '[[ $(systemctl show -P StatusText web) =~ ^[0-9]+$ ]]'

load
server_is second notify
systemctl reload web
until_is 30 'a reload is a deploy' serves second
until_is 10 'what it said before it served is kept' bash -c '[ "$(systemctl show -P StatusText web)" = "second listens" ]'
until_is 30 'the first one ends' bash -c '! pgrep --full "[w]eb.py first"'
no_loss second
journalctl --sync
[[ $(journalctl --unit=web) != *Traceback* ]] || fail 'one that is on its way out cannot say how it is'
is 'main process' "$main" "$(property web MainPID)"
active web

# One that does not come up.
server_is third crash
systemctl reload web || true
until_is 60 'the journal says that it did not come up' bash -c 'journalctl --unit=web | grep "the one before it serves on"'
until_is 60 'the reload ends' systemctl --quiet is-active web
serves second || fail 'a version that does not come up takes the place of the one before'

systemctl stop web
is 'after a stop' 'inactive success' "$(property web ActiveState) $(property web Result)"
nothing_is_left

# A server that ends with an error is one of the unit.
server_is fourth notify
systemctl start web
get /exit/3 >/dev/null 2>&1 || true
until_is 20 'a server that fails has its unit fail' systemctl --quiet is-failed web
is 'exit code' 3 "$(property web ExecMainStatus)"
systemctl reset-failed web
nothing_is_left
