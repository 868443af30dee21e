#!/bin/sh
# What ssh is to mpirun elsewhere: agent.sh HOST COMMAND... runs the words as a shell's command line
# on that host. Works on the head, which is where mpirun over hosts is started.
set -eu
host=$1
shift
pid=$(cat "$CLUSTER_FOLDER/pid/$host")
exec nsenter --target "$pid" --mount --uts --ipc --net --pid="/proc/$pid/ns/pid_for_children" \
    sh -c "cd '$PWD' && $*"
