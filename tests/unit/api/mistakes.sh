#!/bin/sh
# mistakes.sh COMPILER LANGUAGE INCLUDE: what must compile without a warning does, and each
# planted mistake is refused with the message that explains it. A mistake is taken out of an
# otherwise sound program, so that it is refused for this reason and no other.
compiler=$1 language=$2 include=$3
here=$(dirname "$0")
work=$(mktemp -d) || exit 1
trap 'rm -rf "$work"' EXIT
failed=0

command -v "$compiler" >/dev/null || { echo "skipped: no $compiler"; exit 77; }
case $language in
c) flags='-x c -std=c17 -Wstrict-prototypes -Wmissing-prototypes' ;;
*) flags='-x c++ -std=c++17' ;;
esac
flags="$flags -Wall -Wextra -Wconversion -Wshadow -pedantic -Werror -fsyntax-only -I$include"

compile() {
    # shellcheck disable=SC2086
    "$compiler" $flags "$1" >"$work/said" 2>&1
}

sound() { # name; program on stdin
    { echo '#include <manta/manta.h>'; cat; } >"$work/$1"
    compile "$work/$1" && return
    echo "FAILED: $1 does not compile with $compiler as $language:"
    head -5 "$work/said"
    failed=1
}

mistake() { # name, extended regular expression; program on stdin
    { echo '#include <manta/manta.h>'; cat; } >"$work/$1"
    if compile "$work/$1"; then
        echo "FAILED: $1 compiles with $compiler as $language"
        failed=1
    elif ! grep -Eq "$2" "$work/said"; then
        echo "FAILED: $1 is refused by $compiler as $language without '$2':"
        head -5 "$work/said"
        failed=1
    fi
}

compile "$here/trivial.c" || { echo "FAILED: trivial.c"; head -20 "$work/said"; failed=1; }
for header in manta error task rng command graph; do
    sound "header_$header" <<END
#include <manta/$header.h>
END
done

sound twelve <<'END'
MANTA_TASK(t, val(int, a), val(int, b), val(int, c), val(int, d), val(int, e), val(int, f),
           val(int, g), val(int, h), val(int, i), val(int, j), val(int, k), out(int, l))
{ *l = a + b + c + d + e + f + g + h + i + j + k; return 0; }
END
sound graphs <<'END'
#include <manta/graph.h>
MANTA_TASK(g, in(double, x), val(int, n), out(double, y))
{ *y = x[0] + n; return 0; }
int f(manta_ref *result);
int f(manta_ref *result)
{
    manta_graph *graph;
    double x = 1;
    MANTA_TRY(manta_graph_create(MANTA_CYCLIC, &graph));
    manta_ref input = manta_graph_input(graph, sizeof x);
    manta_ref edge = g_async(MANTA_OPTIONS(.graph = graph, .rank = MANTA_ON(1)), input, 2);
    manta_graph_feed(graph, edge, input);
    manta_graph_output(graph, edge);
    MANTA_TRY(manta_graph_seal(graph));
    MANTA_TRY(manta_graph_set(graph, input, &x, sizeof x));
    MANTA_TRY(manta_graph_launch(graph, 10, result));
    manta_graph_destroy(graph);
    return MANTA_OK;
}
END
sound commands <<'END'
int f(manta_ref before);
int f(manta_ref before)
{
    const char *argv[] = {"gzip", "-9", "-c", "a.log", NULL};
    manta_command_result result;
    manta_ref ref = manta_command(
        MANTA_OPTIONS(.timeout_ns = 5, .cpus = 2, .memory_bytes = 1 << 20), argv,
        MANTA_COMMAND_SETUP(.directory = "run7", .out.to = MANTA_STREAM_FILE, .out.path = "a.gz",
                            .after = &before, .after_len = 1, .accept_codes = 1));
    manta_ref plain = manta_command(NULL, argv, NULL);
    manta_ref bare = manta_command(MANTA_OPTIONS(.isolated = 0), argv, MANTA_COMMAND_SETUP());
    return manta_command_get(ref, &result) || manta_command_get(plain, &result) ||
           manta_drop(bare) || result.exit_code;
}
END
mistake thirteen "no parameter: more than 12 parameters" <<'END'
MANTA_TASK(t, val(int, a), val(int, b), val(int, c), val(int, d), val(int, e), val(int, f),
           val(int, g), val(int, h), val(int, i), val(int, j), val(int, k), val(int, l), val(int, m))
{ return 0; }
END
for bad in 'vall(int, x)' 'Val(int, x)' 'outs(int, x)' 'int x' 'output(x)'; do
    quoted=$(printf '%s' "$bad" | sed 's/[()]/\\&/g')
    mistake unknown_kind "task t: no parameter: $quoted\..*val\(T, x\), text\(x\), span\(T, x\), in\(T, x\), inout\(T, x\), ref\(x\), refs\(x\), out\(T, x\), outv\(T, x\), outrefs\(x\), stream\(T, x\)" <<END
MANTA_TASK(t, val(int, a), $bad) { (void)a; return 0; }
END
done
mistake empty_parameter 'no parameter: ' <<'END'
MANTA_TASK(t, val(int, a),) { (void)a; return 0; }
END
for kind in val span out outv in inout stream; do
    sound plain_$kind <<END
struct s { double a[3]; };
MANTA_TASK(t, $kind(struct s, x)) { (void)x; return 0; }
END
    mistake pointer_$kind "task t: x is a pointer, which means nothing on another rank" <<END
MANTA_TASK(t, $kind(char *, x)) { (void)x; return 0; }
END
done
mistake function_pointer 'is a pointer' <<'END'
typedef int (*callback)(int);
MANTA_TASK(t, val(callback, x)) { (void)x; return 0; }
END
for kind in val span out outv stream; do
    mistake ref_in_$kind "hides a ref in its bytes. Use ref\(x\), refs\(x\) or outrefs\(x\)" <<END
MANTA_TASK(t, $kind(manta_ref, x)) { (void)x; return 0; }
END
done
mistake too_big 'is too big, or aligned' <<'END'
struct s { char a[MANTA_INLINE_MAX + 1]; };
MANTA_TASK(t, out(struct s, x)) { (void)x; return 0; }
END
mistake too_aligned 'is too big, or aligned' <<'END'
typedef struct __attribute__((aligned(32))) s { double a[4]; } wide;
MANTA_TASK(t, out(wide, x)) { (void)x; return 0; }
END

sound agree <<'END'
MANTA_TASK_DECLARE(t, in(int, x), out(int, y));
MANTA_TASK_DEFINE(t, in(int, x), out(int, y)) { *y = x[0]; return 0; }
END
# The body looks the same for both kinds; only the signature tells them apart.
mistake differ 't_declared_and_defined_differently_' <<'END'
MANTA_TASK_DECLARE(t, span(int, x), out(int, y));
MANTA_TASK_DEFINE(t, in(int, x), out(int, y)) { *y = x[0]; return 0; }
END

# Calls of the wrong type are the compiler's to refuse.
for call in 't_async(NULL, ref)' 't_async(NULL)' 't_get(ref, &d)' 't_async(NULL, 1, 2)'; do
    mistake "wrong_call" 't_async|t_get|int \*|double' <<END
MANTA_TASK(t, val(int, x), out(int, y)) { *y = x; return 0; }
int use(manta_ref ref, double d);
int use(manta_ref ref, double d) { (void)ref; (void)d; (void)$call; return 0; }
END
done
mistake no_map_of_a_variable_output 't_map' <<'END'
MANTA_TASK(t, outv(int, y)) { (void)y; return 0; }
manta_ref use(void);
manta_ref use(void) { return t_map(NULL, 3); }
END
mistake no_map_of_a_stream 't_map' <<'END'
MANTA_TASK(t, stream(int, xs)) { (void)xs; return 0; }
manta_ref use(void);
manta_ref use(void) { return t_map(NULL, 3); }
END
mistake unknown_option 'cpuz' <<'END'
MANTA_TASK(t) { return 0; }
manta_ref use(void);
manta_ref use(void) { return t_async(MANTA_OPTIONS(.cpuz = 3)); }
END
if [ "$language" != c ]; then
    mistake not_plain 'cannot be copied byte by byte' <<'END'
#include <string>
MANTA_TASK(t, val(std::string, x)) { (void)x; return 0; }
END
fi
exit $failed
