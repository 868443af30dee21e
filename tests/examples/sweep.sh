#!/bin/sh
# sweep: every point once on any number of ranks, failures listed, a sweep that was cut off goes on.
#
#     sweep.sh PROGRAM POINTS
set -eu
. "$(dirname "$0")/lib.sh"
program=$(absolute "$1") points=$(absolute "$2")

# shellcheck disable=SC2016
script='echo noise; echo {label} {mass} {{none}} ${none-unset}'
command="sh -c $script"
for count in $(counts 1 2 4); do
    rm -f results
    ranks "$count" "$program" "$points" results sh -c "$script" ||
        fail "the sweep on $count ranks ended with $?"
    [ "$(cat out)" = '3 points: 0 done before, 3 done now, 0 failed' ] || fail "on $count ranks"
    [ "$(head -n 1 results)" = 'mass,charge,label,state,seconds,last_line,command' ] || fail "$(cat results)"
    sed "s/ok,[0-9.]*,/ok,/; s/,$command\$//" results | sort >sorted
    grep -qx '4,-1,heavy,ok,heavy 4 {none} unset' sorted || fail "$(cat results)"
    grep -qx '2,0.5,"light, doubled",ok,"light, doubled 2 {none} unset"' sorted || fail "$(cat results)"
done

# One fails; the next run does that one and no other; a torn line is no result.
rm results
code=0
twos='test {mass} != 2 || test -e fixed || { echo no twos >&2; exit 9; }'
ranks 0 "$program" "$points" results sh -c "$twos" || code=$?
[ "$code" = 1 ] || fail "with a failure: $code"
[ "$(cat out)" = '3 points: 0 done before, 2 done now, 1 failed' ] || fail 'with a failure'
grep -q 'failed: point 2: sh ended with exit code 9 .*no twos' err || fail 'the failure is not listed'
printf '2,0.5,"lig' >>results
: >fixed
ranks 0 "$program" "$points" results sh -c "$twos" || fail "the second run ended with $?"
[ "$(cat out)" = '3 points: 2 done before, 1 done now, 0 failed' ] || fail 'the second run'
ranks 0 "$program" "$points" results sh -c "$twos" || fail "the third run ended with $?"
[ "$(cat out)" = '3 points: 3 done before, 0 done now, 0 failed' ] || fail 'the third run'

# What another sweep has done is not this one's, and stays as it is.
cp results kept
refused()
{
    code=0
    ranks 0 "$program" "$@" || code=$?
    [ "$code" = 2 ] || fail "$*: $code"
}
refused "$points" results echo again
grep -q "^results is of another sweep: line [0-9]* was done by another command" err || fail 'another command'
grep -qx "     has: sh -c $twos" err && grep -qx 'expected: echo again' err || fail 'not both commands are named'
grep -q 'another RESULTS file' err || fail 'nothing to do is named'
printf 'mass,spin\n1,2\n' >other.csv
refused other.csv results sh -c "$twos"
grep -q '^results is of another sweep: it has other columns' err || fail 'other columns'
grep -qx '     has: mass,charge,label,state,seconds,last_line,command' err || fail 'what is there is not named'
grep -qx 'expected: mass,spin,state,seconds,last_line,command' err || fail 'what was expected is not named'
printf '# my notes\n' >notes
refused "$points" notes true
grep -q '^notes is of another sweep' err && [ "$(cat notes)" = '# my notes' ] || fail 'any file was taken for results'
cmp -s results kept || fail 'the results were touched'
# What only failed is no reason: the command may have been the mistake.
rm -f fresh
ranks 0 "$program" "$points" fresh false && fail 'false succeeded'
ranks 0 "$program" "$points" fresh true || fail 'a better command was refused'

# A name that is no column runs nothing; what is no name stays.
refused "$points" none echo {mas}
grep -q "the command has {mas}, but .*points.csv has no such column, only: mass,charge,label" err || fail 'which columns'
grep -q 'write {{mas}}' err && [ ! -e none ] || fail 'a wrong name'
refused "$points" none true "$(seq 1000)"
grep -q 'more than 1023 bytes: put it into a script' err || fail 'a long command'
printf 'n\n1\n' >one.csv
# shellcheck disable=SC2016
ranks 0 "$program" one.csv braces printf '%s' '{} { x } {1..2} ${x} {a,b} {{n}} {n} {' || fail 'braces'
grep -qF '{} { x } {1..2} ${x} {a,b} {n} 1 {' braces || fail "$(cat braces)"

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
