#!/bin/sh
# One virtual host of a cluster: its cable, its own view of the machine, its daemons, its process 1.
#
#     unshare --net sh host.sh wire DIR NAME ADDRESS     as the keeper starts it
#
# `wire` runs in the new network namespace but still among the keeper's processes, where the keeper
# is process 1: that is how the far end of the cable finds the switch. It then becomes `boot`, process
# 1 of the host: when that dies, the kernel ends all of the host, as a power failure would.
set -eu
stage=$1 dir=$2 name=$3 address=$4

wire()
{
    # Of the host's former life: a socket that waits for a dead cable holds its network for a while.
    nsenter --target 1 --net ip link delete "to-$name" 2>/dev/null || :
    ip link add eth0 type veth peer name "to-$name" netns 1
    nsenter --target 1 --net ip link set "to-$name" master switch up
    ip address add "$address/24" dev eth0
    ip link set lo up
    ip link set eth0 up
    exec unshare --mount --uts --ipc --pid --fork --kill-child --mount-proc \
        sh "$0" boot "$dir" "$name" "$address"
}

# The same for the head, which is the keeper itself.
furnish()
{
    hostname "$name"
    mount -t tmpfs -o mode=1777 shm /dev/shm
    mount -t tmpfs -o mode=755 local "$dir/local"
    mount --bind "$dir/hosts" /etc/hosts
    mkdir "$dir/local/tmp" "$dir/local/spool" "$dir/local/state" "$dir/local/munge"
    chmod 1777 "$dir/local/tmp"
    # By force: $TMPDIR, above all of this, may be closed to others.
    munged --force --num-threads=2 --key-file="$dir/munge.key" --socket="$dir/local/munge/socket" \
        --pid-file="$dir/local/munge/pid" --seed-file="$dir/local/munge/seed" \
        --log-file="$dir/local/munge/log" >>"$dir/log/$name.log" 2>&1
}

case $stage in
wire)
    wire
    ;;
head)
    furnish
    ;;
boot)
    furnish
    slurmd >>"$dir/log/$name.log" 2>&1
    # A shell that waits takes in whatever was orphaned.
    while :; do
        sleep 3600
    done
    ;;
esac
