#!/bin/sh
# run.sh MODEL.pml: checks the model, then each of its BREAK variants, which must fail.
# Exit 77: spin is missing.
set -eu
model=$(realpath "$1")
command -v spin > /dev/null || { echo "skipped: spin is not installed"; exit 77; }
command -v gcc > /dev/null || { echo "skipped: no gcc to build the verifier"; exit 77; }
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
cd "$work"

check() { # number of the BREAK variant; prints pan's report
    spin -DBREAK="$1" -a "$model" > spin.log 2>&1 || { cat spin.log; exit 1; }
    gcc -O2 -w -DSAFETY -DVECTORSZ=4096 -DCOLLAPSE -o pan pan.c
    ./pan -m2000000 2>&1
}

check 0 > report
if ! grep -q 'errors: 0' report || grep -q 'max search depth too small\|out of memory' report; then
    cat report
    echo "FAILED: $model"
    exit 1
fi
grep -E 'states, stored|errors:' report
for variant in $(sed -n 's/^ \* -DBREAK=\([0-9]*\):.*/\1/p' "$model"); do
    check "$variant" > report
    if grep -q 'errors: 0' report; then
        cat report
        echo "FAILED: variant BREAK=$variant of $model was not noticed"
        exit 1
    fi
    echo "BREAK=$variant fails, as it must: $(grep -m1 '^pan:1' report)"
done
