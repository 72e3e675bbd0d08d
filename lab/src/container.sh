# Becomes a container: `sh container.sh CGROUP OPTION…`, the options being those of systemd-nspawn.
#
# It gets a control group of its own, because two systemds in one would end each other's processes; a process namespace,
# so that nothing in it outlives this process; and a place for the files that systemd-nspawn leaves behind. Services in it
# may lock memory and run in real time, as on a host.

set -eu
cgroup=$1
shift
# Version 2, and the two hierarchies of systemd on version 1.
for hierarchy in /sys/fs/cgroup /sys/fs/cgroup/unified /sys/fs/cgroup/systemd; do
    if [ -e "$hierarchy/cgroup.procs" ]; then
        mkdir "$hierarchy/$cgroup"
        echo $$ >"$hierarchy/$cgroup/cgroup.procs"
    fi
done
mkdir -p /run/systemd/nspawn
exec unshare --pid --fork --kill-child --mount-proc sh -ec '
    mount -t tmpfs tmpfs /run/systemd/nspawn
    exec systemd-nspawn --capability=CAP_IPC_LOCK \
        --system-call-filter="@memlock sched_setscheduler" "$@"' container "$@"
