# What the checks share.

docs=/usr/share/doc/wocut/docs
api=/run/wocut/api.sock

fail() {
    printf 'FAILED: %s\n' "$*" >&2
    exit 1
}

# until_is SECONDS WHAT COMMAND...: waits until a command succeeds. An emulated machine has six times the seconds.
until_is() {
    local end=$((SECONDS + 6 * $1)) what=$2
    shift 2
    until "$@" >/dev/null 2>&1; do
        [ "$SECONDS" -lt "$end" ] || fail "in vain: $what ($*)"
        sleep 0.1
    done
}

# is WHAT WANTED FOUND
is() {
    [ "$2" = "$3" ] || fail "$1: wanted \`$2\`, found \`$3\`"
}

# has WHAT PART TEXT
has() {
    [[ $3 == *"$2"* ]] || fail "$1: \`$2\` is not in: $3"
}

property() {
    systemctl show --property="$2" --value "$1"
}

active() {
    systemctl --quiet is-active "$1" || {
        systemctl status --no-pager --full "$1"
        fail "$1 is not active"
    }
}

# The first unit of a page, as systemd of this release wants it: the page says what is otherwise before 253.
unit_of() {
    local text
    text=$(awk '/^```ini$/ { inside = 1; next } inside && /^```$/ { exit } inside' "$docs/$1")
    if [ "$(systemctl --version | awk 'NR == 1 { print int($2) }')" -lt 253 ]; then
        local line
        line=$(grep --only-matching 'ExecReload=[^`]*' "$docs/$1") || fail "$1 does not say what is otherwise before 253"
        text=${text/Type=notify-reload/Type=notify$'\n'$line}
    fi
    printf '%s\n' "$text"
}

# install_unit PAGE [CHANGES]: the unit of a page becomes web.service, with changes as sed makes them.
install_unit() {
    unit_of "$1" | sed "${2-}" >/etc/systemd/system/web.service
    systemctl daemon-reload
}

# What the unit of a page starts: Node there, here a server in Python that is told its version and how to behave.
server_is() {
    mkdir -p /srv/web
    printf '%s\n' "$*" >/srv/web/server.js
}

# Clients of another host, which ask over and over until `no_loss`.
load() {
    rm -f /tmp/load
    ip netns exec client python3 ./load.py 192.0.2.1 >/tmp/load 2>&1 &
    loader=$!
    until_is 20 'clients are served' test -s /tmp/load
}

# no_loss VERSION: and the last answer was of that version.
no_loss() {
    kill "$loader"
    wait "$loader" || fail "clients lost something: $(tail -n 5 /tmp/load)"
    has 'what clients got at last' " $1 " " $(tail -n 1 /tmp/load) "
}

get() {
    curl --silent --show-error --max-time 10 "http://localhost${1:-/}"
}

serves() {
    [[ $(get) == *" $1 "* ]]
}

# Nothing of a unit, or of the service `web`, is there any more.
nothing_is_left() {
    local group="/sys/fs/cgroup/system.slice/web.service"
    [ ! -e "$group" ] || is "processes of web.service" '' "$(find "$group" -name cgroup.procs -exec cat {} +)"
    is 'servers that are left' '' "$(pgrep --full --list-full /wocut/tests/src/web.py || true)"
    ! wocut list | grep --quiet '^web ' || fail "web is still attached: $(wocut list)"
}
