#!/bin/sh
# Fuzz campaigns: builds every target of tests/fuzz with clang, libFuzzer and the address and
# undefined sanitizers, and runs each for a time, one after the other, from its corpus.
#
#     sh tools/fuzz.sh [SECONDS [TARGET ...]]        1800 seconds and all targets without arguments
#
# What breaks a target is left in build/fuzz/found, and the exit code is 1; put it into
# tests/fuzz/corpus/TARGET once it is fixed. New inputs that reach new code are added to
# build/fuzz/corpus, to be reduced by hand (-merge=1).
set -u
cd "$(dirname "$0")/.." || exit 1
build=${MANTA_FUZZ_BUILD:-build/fuzz}
seconds=${1:-1800}
[ $# -gt 0 ] && shift

if [ ! -f "$build/build.ninja" ]; then
    CC=clang CXX=clang++ meson setup "$build" -Db_sanitize=address,undefined -Db_lundef=false \
        -Dc_args=-fsanitize=fuzzer-no-link -Dmpi=disabled -Dhdf5=disabled >/dev/null || exit 1
fi
# shellcheck disable=SC2046 # one word a target
[ $# -gt 0 ] || set -- $(ninja -C "$build" -t targets all | sed -n 's,^tests/fuzz/\([a-z_]*\)_campaign: .*,\1,p')
for target; do
    ninja -C "$build" "tests/fuzz/${target}_campaign" >"$build/log" 2>&1 || { tail -20 "$build/log"; exit 1; }
done

mkdir -p "$build/found"
export ASAN_OPTIONS=detect_leaks=1 UBSAN_OPTIONS=print_stacktrace=1:halt_on_error=1
failed=0
for target; do
    mkdir -p "$build/corpus/$target"
    echo "== $target"
    "$build/tests/fuzz/${target}_campaign" -max_total_time="$seconds" -print_final_stats=1 -verbosity=0 -timeout=60 \
        -artifact_prefix="$build/found/$target-" "$build/corpus/$target" "tests/fuzz/corpus/$target" >"$build/log" 2>&1 ||
        { failed=1; tail -60 "$build/log"; echo "== $target: BROKEN"; }
    grep -E 'number_of_executed_units|new_units_added' "$build/log"
done
exit $failed
