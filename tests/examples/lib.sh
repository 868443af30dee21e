# shellcheck shell=sh
# For the tests of the examples: sourced, with `set -eu` on. Each test works in a folder of its
# own, says what it found when something is wrong, and leaves nothing.
start=$PWD
here=$(mktemp -d)
cd "$here" || exit 1
trap 'rm -rf "$here"' EXIT

# As root, Open MPI wants to be asked twice; more ranks than cores are usual here.
export OMPI_ALLOW_RUN_AS_ROOT=1 OMPI_ALLOW_RUN_AS_ROOT_CONFIRM=1
export OMPI_MCA_rmaps_base_oversubscribe=1 TERM=dumb

# A path that was relative to where the test was started.
absolute()
{
    case $1 in
    /*) echo "$1" ;;
    *) echo "$start/$1" ;;
    esac
}

fail()
{
    echo "FAILED: $*" >&2
    for file in out err; do
        [ ! -s "$file" ] || { echo "--- $file" && head -n 40 "$file"; } >&2
    done
    exit 1
}

skip()
{
    echo "skipped: $*"
    exit 77
}

# ranks N PROGRAM ARG...: 0 is alone, without a launcher. Fills the files out and err.
ranks()
{
    count=$1
    shift
    if [ "$count" = 0 ]; then
        "$@" >out 2>err </dev/null
    else
        mpirun -n "$count" "$@" >out 2>err </dev/null
    fi
}

# The launchers' counts that this machine can try.
counts()
{
    if [ -n "${TEST_MPI:-}" ]; then
        echo "0 $*"
    else
        echo 0
    fi
}
