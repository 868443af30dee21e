#!/bin/sh
# Installs what is missing and runs all tests, in builds under build/check:
#
#   gcc      everything but the suite `nightly`, warnings are errors
#   clang    warnings are errors; the suite `unit`
#   address  gcc, address and undefined sanitizers: unit, sim, ranks
#   thread   gcc, thread sanitizer: unit, sim, ranks
#   nightly  as gcc; the suite `nightly`, which takes many hours: only if it is named
#
# The last line says how many tests passed, failed and were skipped in all of them; a build that
# does not come about counts as one failure. Exits non-zero when anything failed or nothing ran.
#
#     sh tools/check.sh [BUILD ...]
set -u
cd "$(dirname "$0")/.." || exit 1

sh tools/bootstrap.sh test || exit 1
top=build/check
supp=$PWD/tools/sanitizers
mkdir -p "$top"
# shellcheck disable=SC3045 # dash and bash have it
ulimit -c 0
# As root, Open MPI wants to be asked twice; more ranks than cores are usual here. No colours, no
# terminal.
export OMPI_ALLOW_RUN_AS_ROOT=1 OMPI_ALLOW_RUN_AS_ROOT_CONFIRM=1
export OMPI_MCA_rmaps_base_oversubscribe=1 TERM=dumb
asan=detect_stack_use_after_return=0:exitcode=99
export ASAN_OPTIONS=$asan
export UBSAN_OPTIONS=print_stacktrace=1:halt_on_error=1
export LSAN_OPTIONS="suppressions='$supp/leak.supp':print_suppressions=0"
export TSAN_OPTIONS="suppressions='$supp/thread.supp':ignore_noninstrumented_modules=1:exitcode=99:atexit_sleep_ms=0"

# build NAME COMPILER C++-COMPILER MESON-OPTION...
build()
{
    name=$1 cc=$2 cxx=$3
    shift 3
    dir=$top/$name
    rm -rf "$dir/meson-logs"
    echo "== $name: build"
    if [ -f "$dir/build.ninja" ]; then
        set -- --reconfigure "$@"
    fi
    CC=$cc CXX=$cxx meson setup "$dir" --werror "$@" >"$top/$name.log" 2>&1 &&
        ninja -C "$dir" >>"$top/$name.log" 2>&1 && return 0
    tail -n 60 "$top/$name.log"
    echo "== $name: does not build; all of it is in $top/$name.log"
    return 1
}

# The thread sanitizer of gcc 12 does not know the random address layouts of newer kernels.
launcher()
{
    if [ "$1" = thread ] && setarch -R true 2>/dev/null; then
        echo setarch -R
    fi
}

# run NAME MESON-TEST-OPTION...
run()
{
    name=$1
    shift
    echo "== $name: test"
    # shellcheck disable=SC2046 # words
    $(launcher "$name") meson test -C "$top/$name" --no-rebuild --print-errorlogs "$@" </dev/null
    echo $? >>"$top/$name/meson-logs/exit"
}

check()
{
    case $1 in
    gcc)
        build gcc gcc g++ && run gcc --no-suite nightly
        ;;
    clang)
        build clang clang clang++ && run clang --suite unit
        ;;
    address)
        # Only whole stacks show which leaks are MPI's; that makes malloc slow.
        build address gcc g++ -Db_sanitize=address,undefined -Db_lundef=false &&
            run address --suite unit --suite sim --timeout-multiplier 4
        ASAN_OPTIONS=$asan:fast_unwind_on_malloc=0
        [ ! -f "$top/address/meson-logs/testlog.json" ] ||
            run address --logbase ranks --suite ranks --timeout-multiplier 6
        ASAN_OPTIONS=$asan
        ;;
    thread)
        # UCX's memory hooks run in threads that the sanitizer has left already.
        export UCX_MEM_EVENTS=n
        build thread gcc g++ -Db_sanitize=thread -Db_lundef=false &&
            run thread --suite unit --suite sim --suite ranks --timeout-multiplier 6
        ;;
    nightly)
        build nightly gcc g++ && run nightly --suite nightly
        ;;
    *)
        echo "check: no build named $1; there are gcc, clang, address, thread, nightly"
        ;;
    esac
}

[ $# -gt 0 ] || set -- gcc clang address thread
for name; do
    check "$name"
done
exec python3 tools/summary.py "$top" "$@"
