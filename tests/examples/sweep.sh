#!/bin/sh
# sweep: every point once on any number of ranks, failures listed, a sweep that was cut off goes on.
#
#     sweep.sh PROGRAM POINTS
set -eu
. "$(dirname "$0")/lib.sh"
program=$(absolute "$1") points=$(absolute "$2")

for count in $(counts 1 2 4); do
    rm -f results
    ranks "$count" "$program" "$points" results sh -c 'echo noise; echo {label} {mass} {none}' ||
        fail "the sweep on $count ranks ended with $?"
    [ "$(cat out)" = '3 points: 0 done before, 3 done now, 0 failed' ] || fail "on $count ranks"
    [ "$(head -n 1 results)" = 'mass,charge,label,state,seconds,last_line' ] || fail "$(cat results)"
    sed 's/ok,[0-9.]*,/ok,/' results | sort >sorted
    grep -qx '4,-1,heavy,ok,heavy 4 {none}' sorted || fail "$(cat results)"
    grep -qx '2,0.5,"light, doubled",ok,"light, doubled 2 {none}"' sorted || fail "$(cat results)"
done

# One fails; the next run does that one and no other; a torn line is no result.
rm results
code=0
ranks 0 "$program" "$points" results sh -c 'test {mass} != 2 || { echo no twos >&2; exit 9; }' || code=$?
[ "$code" = 1 ] || fail "with a failure: $code"
[ "$(cat out)" = '3 points: 0 done before, 2 done now, 1 failed' ] || fail 'with a failure'
grep -q 'failed: point 2: sh ended with exit code 9 .*no twos' err || fail 'the failure is not listed'
printf '2,0.5,"lig' >>results
ranks 0 "$program" "$points" results echo again || fail "the second run ended with $?"
[ "$(cat out)" = '3 points: 2 done before, 1 done now, 0 failed' ] || fail 'the second run'
ranks 0 "$program" "$points" results echo again || fail "the third run ended with $?"
[ "$(cat out)" = '3 points: 3 done before, 0 done now, 0 failed' ] || fail 'the third run'

# A limit, tries, and what is wrong.
rm results
ranks 0 "$program" --limit 0.2 "$points" results sleep 100 && fail 'a limit was not kept'
grep -q 'its limit is 0.2 s' err || fail 'the limit is not named'
rm -f results
# shellcheck disable=SC2016
ranks 0 "$program" --retries 2 "$points" results sh -c 'test -e seen{mass} || { : >seen{mass}; exit 1; }' ||
    fail 'a second try was not given'
code=0
ranks 0 "$program" "$points" results || code=$?
[ "$code" = 2 ] || fail "without a program: $code"
printf 'a,b\n1\n' >bad.csv
code=0
ranks 0 "$program" bad.csv results true || code=$?
[ "$code" = 2 ] && grep -q 'bad.csv:2:1: 1 values for 2 columns' err || fail "a bad table: $code"
