# Every command of quickstart.md, in order, as it stands there; what is said to need systemd too, as here it is.

# Steps, a line each: kind, a tab, text. A line's end within a command is \x01.
steps() {
    awk '
        function done() { if (text != "") print kind "\t" text; text = "" }
        /^<!-- docs test: until / { done(); sub(/^<!-- docs test: until /, ""); sub(/ -->$/, ""); print "until\t" $0; next }
        /^<!-- docs test: load / { done(); print "load\t"; next }
        /^<!-- docs test: no loss/ { done(); print "no loss\t"; next }
        /^<!-- docs test: numbers vary/ { print "vary\t"; next }
        /^```console$/ { inside = 1; next }
        /^```$/ { if (inside) { done(); print "end\t" } inside = 0; next }
        !inside { next }
        /^# / { done(); kind = "root"; text = substr($0, 3); next }
        /^client\$ / { done(); kind = "client"; text = substr($0, 9); next }
        /^> / { text = text "\001" substr($0, 3); next }
        { done(); print "prints\t" $0 }
    ' "$1"
}

# Whether what came is what is printed: … is anything, and so is a number where they vary.
expect() {
    local pattern=${wanted//…/*}
    pattern=$(sed 's/[][?\\]/\\&/g' <<<"$pattern" | tr --squeeze-repeats ' ')
    [ -z "$vary" ] || pattern=$(sed 's/[0-9][0-9.]*/*/g' <<<"$pattern")
    came=$(tr --squeeze-repeats ' ' <<<"$came")
    # shellcheck disable=SC2053
    [[ ${came# } == ${pattern# } ]] || fail "$command"$'\n'"printed in the page:"$'\n'"$wanted"$'\n'"came:"$'\n'"$came"
}

finish() {
    [ -z "$wanted" ] || expect
    wanted='' command=''
}

wanted='' command='' vary='' came=''
while IFS=$'\t' read -r kind text; do
    case "$kind" in
    root | client)
        finish
        command=${text//$'\001'/$'\n'}
        echo "# $command"
        if [ "$kind" = client ]; then
            came=$(ip netns exec client bash -c "$command" 2>&1)
        else
            eval "$command" >/tmp/came 2>&1 || grep --quiet '^curl: ' /tmp/came || fail "$command: $(cat /tmp/came)"
            came=$(grep -v Killed /tmp/came || true)
        fi
        ;;
    prints) wanted+=${wanted:+$'\n'}$text ;;
    vary) finish; vary=yes ;;
    end) finish; vary='' ;;
    until) until_is 30 "$text" bash -c "$text" ;;
    load) load ;;
    'no loss') no_loss am ;;
    esac
done < <(steps "$docs/quickstart.md" | sed "s/seq 60/seq 25/")
active wocut
pkill -f http.server
rm -r /etc/wocut/all.toml /srv/800?
systemctl reload wocut
