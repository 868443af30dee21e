#!/bin/sh
# sort: in order, nothing lost, and the same line on any number of ranks; wrong arguments are told.
#
#     sort.sh PROGRAM
set -eu
. "$(dirname "$0")/lib.sh"
program=$(absolute "$1")

for count in $(counts 1 2 7); do
    ranks "$count" "$program" 16 1 || fail "sort on $count ranks ended with $?: $(cat err)"
    [ -f first ] || cp out first
    cmp -s out first || fail "sort on $count ranks printed something else: $(cat out first)"
    for stage in make split merge check; do
        grep -qE "^$stage +16 MiB in" err || fail "no speed of $stage: $(cat err)"
    done
done
ranks 0 "$program" 32 1 || fail "sort of 32 MiB ended with $?: $(cat err)"
cp out whole
for count in $(counts 3); do # most of it is on disk at any time
    MANTA_STORE=12M ranks "$count" "$program" 32 1 || fail "sort in 12 MiB on $count ranks ended with $?: $(cat err)"
    cmp -s out whole || fail "sort in 12 MiB on $count ranks printed something else: $(cat out whole)"
done
grep -qxE '2097152 keys in 16 ranges are in order, their sum is [0-9]+' first || fail "$(cat first)"

for wrong in 0 x '5 2' '4096 1' '4 2 1'; do
    code=0
    # shellcheck disable=SC2086 # several arguments
    "$program" $wrong > out 2> err || code=$?
    [ "$code" -eq 2 ] || fail "sort $wrong ended with $code"
    grep -q '^usage: sort' err || fail "sort $wrong said: $(cat err)"
done
