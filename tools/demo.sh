#!/bin/sh
# From a fresh clone to a first answer: installs what is missing, builds, and estimates pi with
# tasks on 4 ranks.
#
#     sh tools/demo.sh [RANKS]
set -eu
cd "$(dirname "$0")/.."

sh tools/bootstrap.sh build
if [ ! -f build/build.ninja ]; then
    meson setup build
fi
ninja -C build
# As root, Open MPI wants to be asked twice; with fewer cores than ranks, once.
export OMPI_ALLOW_RUN_AS_ROOT=1 OMPI_ALLOW_RUN_AS_ROOT_CONFIRM=1
echo "+ mpirun --oversubscribe -n ${1:-4} build/examples/montecarlo/pi"
exec mpirun --oversubscribe -n "${1:-4}" build/examples/montecarlo/pi
