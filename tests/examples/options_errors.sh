#!/bin/sh
# options: what is wrong with its input is said before any work starts, all at once, by place.
#
#     options_errors.sh PROGRAM
set -eu
. "$(dirname "$0")/lib.sh"
program=$(absolute "$1")

# refused TEXT ARG...: ends with code 2, says TEXT on standard error, writes no table.
refused()
{
    text=$1
    shift
    code=0
    ranks 0 "$program" "$@" || code=$?
    [ "$code" = 2 ] || fail "$*: code $code, not 2"
    grep -qF -- "$text" err || fail "$*: does not say: $text"
    [ ! -e options.h5 ] || fail "$*: wrote a table"
}

cat >bad.csv <<'GRID'
kind,style,spot,strike,rate,volatility,maturity,steps,samples
call,european,100,95,0.05,0.2,1,1,1000000000
call,european,abc,95,0.05,-0.2,1,1,1000

put,asian,100,95,nan,0.2,1,1,1000
put,asian,100
GRID
refused 'bad.csv:3:15: spot: "abc" is not a number above 0' bad.csv
refused 'bad.csv:3:27: volatility: "-0.2" is not a number above 0' bad.csv
refused 'bad.csv:5:18: rate: "nan" is not a number' bad.csv
refused 'bad.csv:6:14: strike is missing' bad.csv
[ "$(grep -c '^bad.csv:' err)" = 4 ] || fail "not four mistakes"
refused 'nothing was priced' bad.csv

{ head -n 1 bad.csv && yes x | head -n 100; } >many.csv
refused 'many.csv: and 150 more' many.csv

printf 'kind,style\n' >short.csv
refused 'short.csv:1:11: column samples is missing' short.csv
: >empty.csv
refused 'empty.csv:1:1: no header' empty.csv
refused 'cannot read nowhere.csv: No such file' nowhere.csv
refused 'give one grid file, not none'
refused 'give one grid file, not several' bad.csv bad.csv
refused '--seed takes a whole number, not -1' --seed -1 bad.csv
refused '--progress is auto, bar, lines or none, not x' --progress x bad.csv
refused 'cannot write nowhere/x.h5: No such file' --output nowhere/x.h5 bad.csv
refused 'cannot write .: not a plain file' --output . bad.csv
refused 'unrecognized option' --unknown bad.csv

ranks 0 "$program" --help || fail "--help ended with $?"
grep -q '^usage: options' out || fail "--help has no usage"
grep -q '^  volatility   a number above 0, at most 3' out || fail "--help does not list the columns"

if [ -n "${TEST_MPI:-}" ]; then
    code=0
    ranks 3 "$program" bad.csv || code=$?
    [ "$code" = 2 ] || fail "on 3 ranks: code $code, not 2"
    [ "$(grep -c '^bad.csv:3:15: ' err)" = 1 ] || fail "on 3 ranks: not printed once"
fi
