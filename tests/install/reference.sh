#!/bin/sh
# reference.sh SOURCE_ROOT MANTA: every function of the public headers is in the HTML page and has a
# man page that troff accepts; every one has a sentence; a function without one is an error.
# The page of the program names every command and option that the program does.
# The functions are listed here by other means than the generator's: from the preprocessed text.
root=$1
work=$(mktemp -d) || exit 1
trap 'rm -rf "$work"' EXIT
tool=$root/tools/api_reference.py
fail() { echo "FAILED: $*"; exit 1; }

python3 "$tool" --html "$work/r.html" --man "$work/man3" "$root"/include/manta/*.h || fail "the generator failed"

printf '#define MANTA_API MANTA_API_HERE\n' >"$work/in.c"
for header in manta task array rng error command graph; do
    sed 's/^#define MANTA_API .*//; s/^#define MANTA_API$//' "$root/include/manta/$header.h" >"$work/$header.h"
done
mkdir "$work/manta" && mv "$work"/*.h "$work/manta/"
echo '#include <manta/manta.h>' >>"$work/in.c"
functions() {
    cc -E -P -I"$work" "$work/in.c" | tr '\n' ' ' | tr ';' '\n' | grep MANTA_API_HERE |
        sed 's/.*MANTA_API_HERE//; s/__attribute__.*//; s/(.*//; s/.*[ *]//' | sort -u
}
count=$(functions | wc -l)
[ "$count" -ge 30 ] || fail "only $count functions found in the headers"
[ "$count" -le 60 ] || fail "$count functions: the core is at most 60"
echo '#include <manta/graph.h>' >>"$work/in.c"
functions >"$work/functions"

tr '\n' ' ' <"$work/r.html" | sed 's/<h[234]/\n&/g' >"$work/entries" # one a line
for name in $(cat "$work/functions") manta_rng_u64 manta_rng_uniform MANTA_TASK MANTA_OPTIONS MANTA_COMMAND_SETUP MANTA_LAYOUT manta_put_array manta_view_array; do
    grep -q "id=\"$name\"" "$work/r.html" || fail "$name is not in the page"
    grep "id=\"$name\"" "$work/entries" | grep -q '<p>[^<]*\.' || fail "$name has no sentence in the page"
    [ -s "$work/man3/$name.3" ] || fail "$name has no man page"
    sed -n '/^\.SH NAME/{n;p;}' "$work/man3/$name.3" | grep -q '^[A-Za-z0-9_.]* \\- [A-Za-z0-9]' ||
        fail "the man page of $name does not say what it is"
done
for type in manta_ref manta_options manta_error manta_kind manta_rng manta_config manta_world manta_command_setup manta_command_result manta_layout manta_dtype; do
    grep -q "id=\"$type\"" "$work/r.html" || fail "$type is not in the page"
done
if command -v man >/dev/null; then
    for page in "$work"/man3/*.3; do
        said=$(man --warnings -l "$page" 2>&1 >/dev/null) && [ -z "$said" ] || fail "$page: $said"
    done
fi

page=$root/docs/manta.1
"$2" help | sed -n 's/^  \([a-z]*\) .*/\1/p' >"$work/commands"
[ "$(wc -l <"$work/commands")" -ge 4 ] || fail "manta help lists only $(tr '\n' ' ' <"$work/commands")"
while read -r command; do
    sed -n '/^\.SH SYNOPSIS/,/^\.SH DESCRIPTION/p' "$page" | grep -qx "\.B manta $command" ||
        fail "the synopsis of $page lacks manta $command"
    sed -n '/^\.SH DESCRIPTION/,/^\.SH OPTIONS/p' "$page" | grep -qx "\.B manta $command" ||
        fail "the description of $page lacks manta $command"
done <"$work/commands"
"$2" help run | grep -Eo '^  -[-a-z]+' | tr -d ' ' >"$work/options"
[ "$(wc -l <"$work/options")" -ge 8 ] || fail "manta help run lists only $(tr '\n' ' ' <"$work/options")"
while read -r option; do
    tr -d '\\' <"$page" | grep -Eq "^\.BI? \"?$option( |\$)" || fail "$page does not name $option"
done <"$work/options"
grep -q "Manta $("$2" version | sed 's/manta //')\"" "$page" || fail "$page is of another version"
if command -v man >/dev/null; then
    said=$(man --warnings -l "$page" 2>&1 >/dev/null) && [ -z "$said" ] || fail "$page: $said"
fi

printf '/* Top. */\n/* Has one. */\nMANTA_API int manta_has(void);\nMANTA_API int manta_lacks(int a);\n' >"$work/bad.h"
python3 "$tool" --html "$work/bad.html" "$work/bad.h" 2>"$work/said" && fail "a function without a comment passed"
grep -q 'manta_lacks has no sentence' "$work/said" || fail "the function without a comment was not named"
grep -q manta_has "$work/said" && fail "a documented function was blamed"
exit 0
