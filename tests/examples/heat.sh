#!/bin/sh
# heat: as tasks and as a recorded graph the same temperatures bit by bit, on any number of ranks.
#
#     heat.sh PROGRAM
set -eu
. "$(dirname "$0")/lib.sh"
program=$(absolute "$1")

for count in $(counts 1 2 4); do
    ranks "$count" "$program" 3 12 40 || fail "heat on $count ranks ended with $?: $(cat err)"
    [ -f first ] || cp out first
    cmp -s out first || fail "heat on $count ranks printed something else: $(cat out first)"
    grep -qE '^tasks [0-9.]+ s, graph [0-9.]+ s: [0-9.]+ times as fast$' err || fail "no times: $(cat err)"
done
grep -qE '^tasks: 0x1\.[0-9a-f]+p[+-][0-9]+$' first || fail "$(cat first)"
[ "$(sed 's/^[a-z]*: //' first | sort -u | wc -l)" -eq 1 ] || fail "tasks and graph differ: $(cat first)"

for wrong in 0 x '9' '2 91' '2 4 0' '2 4 5 6'; do
    code=0
    # shellcheck disable=SC2086 # several arguments
    "$program" $wrong > out 2> err || code=$?
    [ "$code" -eq 2 ] || fail "heat $wrong ended with $code"
    grep -q '^usage: heat' err || fail "heat $wrong said: $(cat err)"
done
