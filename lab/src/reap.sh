# Removes everything that a lab's ledger lists: `sh reap.sh LEDGER`. Ends with 3 if there is no lab.
#
# As a guard (`sh reap.sh LEDGER guard`) it waits until its standard input ends. That happens when the process that
# made the lab is gone, whatever the cause: a normal end, a panic, Ctrl-C, kill -9. The line "keep" sends the guard
# home and leaves the lab running.
#
# A process is killed only if it belongs to a session that the lab started: its session is in the ledger, and the
# process with that number, if there still is one, started at the recorded time (so the number was not reused).

directory=$(dirname "$1")
gone=$directory.gone

if [ "$2" = guard ] && read -r word && [ "$word" = keep ]; then
    exit 0
fi

# From now on nothing can enter itself into the ledger, so nothing more is started (record.sh).
[ ! -d "$directory" ] || mv "$directory" "$gone" || exit 1
[ -d "$gone" ] || exit 3
ledger=$gone/ledger
touch "$ledger"

# Fields of /proc/PID/stat after "PID (NAME) ": 1 is the state, 4 the session, 20 the start time.
processes() {
    cat /proc/[0-9]*/stat 2>/dev/null | awk -v ledger="$ledger" '
        BEGIN {
            while ((getline line < ledger) > 0) {
                split(line, word, " ")
                if (word[1] == "process" || word[1] == "errand") recorded[word[2]] = word[3]
            }
        }
        { pid = $1; sub(/^.*\) /, ""); state[pid] = $1; session[pid] = $4; started[pid] = $20 }
        END {
            for (pid in session) {
                leader = session[pid]
                if (!(leader in recorded) || state[pid] == "Z") continue
                if (!(leader in started) || started[leader] == recorded[leader]) print pid
            }
        }'
}

kill_all() {
    tries=0
    while pids=$(processes) && [ -n "$pids" ]; do
        # shellcheck disable=SC2086 # one word a process
        kill -KILL $pids 2>/dev/null
        tries=$((tries + 1))
        if [ $tries -gt 100 ]; then
            # shellcheck disable=SC2086
            echo "lab: these processes do not die:" $pids >&2
            exit 1
        fi
        sleep 0.05
    done
}

kill_all
while read -r kind name; do
    if [ "$kind" = namespace ] && [ -e "/run/netns/$name" ]; then
        ip netns del "$name" || exit 1
    fi
    if [ "$kind" = cgroup ]; then
        # Where it is in version 2, and in the two hierarchies of systemd on version 1.
        for hierarchy in /sys/fs/cgroup /sys/fs/cgroup/unified /sys/fs/cgroup/systemd; do
            [ ! -d "$hierarchy/$name" ] || find "$hierarchy/$name" -depth -type d -exec rmdir {} + || exit 1
        done
    fi
done <"$ledger"
# Whoever was just writing itself into the ledger.
kill_all

rm -rf -- "$gone"
