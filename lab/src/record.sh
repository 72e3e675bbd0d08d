# Becomes a process of a lab: `sh record.sh KIND LABEL COMMAND…`, as the leader of a session.
#
# It writes itself into the ledger beside this file before it is anything else; there is no moment in which it runs but
# could not be found. When the lab is gone, so is this file, and nothing is started.

ledger=${0%/*}/ledger
kind=$1
label=$2
shift 2
# Field 22 of /proc/PID/stat, counted after "PID (NAME) ", is the start time.
read -r stat <"/proc/$$/stat"
record() {
    shift 19
    echo "$kind $$ $1 $label" >>"$ledger"
}
# shellcheck disable=SC2086 # one word a field
[ -f "$ledger" ] && record ${stat##*) } && exec "$@"
