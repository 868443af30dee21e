#!/bin/sh
# Installs what a build needs, or with `test` also what the tests need, or with `bench` what
# bench/taskbench compares with, on Debian 12 and its
# relatives. Asks dpkg first: when nothing is missing it neither becomes root nor touches the
# network, so every other script may call it each time.
#
#     sh tools/bootstrap.sh [build|test|bench]
set -eu

build='gcc g++ libc6-dev meson ninja-build pkg-config python3 openmpi-bin libopenmpi-dev
libhwloc-dev librandom123-dev libhdf5-dev libhdf5-openmpi-dev libcmocka-dev libucx-dev'
test='clang hdf5-tools python3-h5py valgrind spin git procps util-linux slurmctld slurmd slurm-client munge
libpmix-dev iproute2'
bench='libstarpu-dev python3-venv'

case ${1:-build} in
build) wanted=$build ;;
test) wanted="$build $test" ;;
bench) wanted="$build $bench" ;;
*)
    echo "usage: sh tools/bootstrap.sh [build|test|bench]" >&2
    exit 2
    ;;
esac

is_installed()
{
    [ "$(dpkg-query -W -f '${db:Status-Status}' "$1" 2>/dev/null)" = installed ]
}

list_missing()
{
    for package in $wanted; do
        is_installed "$package" || printf ' %s' "$package"
    done
}

# Runs a command as root: as it is, or through sudo.
as_root()
{
    if [ "$(id -u)" = 0 ]; then
        "$@"
    else
        sudo "$@"
    fi
}

if ! command -v dpkg-query >/dev/null; then
    echo "bootstrap: no dpkg here; install the counterparts of these Debian packages: $wanted" >&2
    exit 1
fi
missing=$(list_missing)
if [ -z "$missing" ]; then
    exit 0
fi
if [ "$(id -u)" != 0 ] && ! command -v sudo >/dev/null; then
    echo "bootstrap: neither root nor sudo; have these packages installed:$missing" >&2
    exit 1
fi
echo "bootstrap: installing$missing" >&2
log=$(mktemp)
policy=/usr/sbin/policy-rc.d
own_policy=
clean_up()
{
    rm -f "$log"
    [ -z "$own_policy" ] || as_root rm -f "$policy"
}
trap clean_up EXIT
trap 'exit 130' INT TERM HUP
# Slurm and munge bring services, and the tests start their own: with this file, as Debian has it
# for containers, the installation starts none, nor fails where there is no init to ask.
if [ ! -e "$policy" ]; then
    own_policy=yes
    printf '#!/bin/sh\nexit 101\n' | as_root tee "$policy" >/dev/null
    as_root chmod 755 "$policy"
fi
# shellcheck disable=SC2086 # a list of words
if ! { as_root env DEBIAN_FRONTEND=noninteractive apt-get -qq update &&
    as_root env DEBIAN_FRONTEND=noninteractive apt-get -qq install -y --no-install-recommends \
        $missing; } >"$log" 2>&1 </dev/null; then
    cat "$log" >&2
    echo "bootstrap: apt-get failed; see above" >&2
    exit 1
fi
missing=$(list_missing)
if [ -n "$missing" ]; then
    echo "bootstrap: still missing after apt-get:$missing" >&2
    exit 1
fi
