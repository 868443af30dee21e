#!/bin/sh
# What holds a cluster from outside: makes its folder, starts the keeper in namespaces of its own, and
# removes the folder when the keeper has ended, for then so have all processes of the cluster.
#
#     cage.sh FOLDER-TEMPLATE KEEPER [ARGUMENT ...]
#
# Prints the folder; starts at a line on standard input, and never if that ends first. Whoever waits
# for this process sees neither folder nor processes afterwards, even if he is killed meanwhile.
set -u
# Caught, not ignored: what is ignored would be ignored by all that runs in the cluster.
trap : INT TERM HUP PIPE
folder=$(mktemp -d "$1") || exit 1
shift
chmod 755 "$folder"
echo "$folder" 2>/dev/null
if read -r _; then
    export SLURM_CONF="$folder/slurm.conf" CLUSTER_FOLDER="$folder" TMPDIR="$folder/local/tmp"
    unshare --mount --uts --ipc --net --pid --fork --kill-child --mount-proc "$@" "$folder"
fi
rm -rf "$folder"
