#include "cli/trace.h"

#include "cli/trace_draw.h"

#include <manta/error.h>

#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <string.h>

enum { TEXT_MAX = 2048 };

struct words {
    const char *directory, *out; /* out NULL: standard output */
    struct trace_options options;
};

void trace_help(void)
{
    printf(
        "usage: manta trace DIRECTORY [-o FILE] [--messages] [--no-arrows]\n\n"
        "DIRECTORY is what MANTA_TIMELINE was when the job ran. Writes one trace of all ranks, in\n"
        "Chrome's format, to standard output or FILE; open it at https://ui.perfetto.dev.\n\n"
        "  -o FILE       write there\n"
        "  --messages    draw each message too\n"
        "  --no-arrows   no arrows from submissions to bodies: half the size\n");
}

static bool refuse(const char *got)
{
    fprintf(stderr,
            "manta trace: got %s, expected DIRECTORY [-o FILE] [--messages] [--no-arrows]; see: "
            "manta help trace\n",
            got);
    return false;
}

static bool read_words(int argc, char **argv, struct words *ret_words)
{
    *ret_words = (struct words){.options = {.has_arrows = true}};
    for (int i = 1; i < argc; i++) {
        if (strcmp(argv[i], "--messages") == 0) {
            ret_words->options.has_messages = true;
        } else if (strcmp(argv[i], "--no-arrows") == 0) {
            ret_words->options.has_arrows = false;
        } else if (strcmp(argv[i], "-o") == 0 && i + 1 < argc) {
            ret_words->out = argv[++i];
        } else if (argv[i][0] == '-' || ret_words->directory) {
            return refuse(argv[i]);
        } else {
            ret_words->directory = argv[i];
        }
    }
    return ret_words->directory || refuse("no directory");
}

/* What a reader of the trace should know about it. */
static void tell_about(const struct trace_set *set, const struct trace_counts *counts)
{
    uint64_t damaged_bytes = 0;
    uint32_t torn = 0;
    for (uint32_t i = 0; i < set->count; i++) {
        damaged_bytes += set->ranks[i].skipped_bytes;
        torn += !set->ranks[i].is_complete;
    }
    fprintf(stderr, "manta trace: %u of %u ranks, %" PRIu64 " bodies, %" PRIu64 " messages\n",
            set->count, set->size, counts->kinds[BASE_TIMELINE_BEGIN],
            counts->kinds[BASE_TIMELINE_SENT]);
    if (counts->lost) {
        fprintf(stderr,
                "manta trace: %" PRIu64 " records are missing: they came faster than the ranks "
                "could write them\n",
                counts->lost);
    }
    if (set->unread) {
        fprintf(stderr,
                "manta trace: %u files are left out: they are damaged at their beginning, or were "
                "not written by MANTA_TIMELINE\n",
                set->unread);
    }
    if (torn || damaged_bytes) {
        fprintf(stderr,
                "manta trace: %u files end early (their ranks were killed, or are running), and "
                "%" PRIu64 " bytes are damaged and left out\n",
                torn, damaged_bytes);
    }
}

static int write_trace(const struct trace_set *set, const struct words *words)
{
    struct trace_counts counts;
    FILE *out = words->out ? fopen(words->out, "w") : stdout;
    if (!out) {
        fprintf(stderr, "manta trace: cannot write %s: %s\n", words->out, strerror(errno));
        return CLI_FAILED;
    }
    int code = trace_draw(set, &words->options, out, &counts);
    if (words->out && fclose(out) && code == MANTA_OK) {
        code = MANTA_E_SYSTEM;
    }
    if (code != MANTA_OK) {
        fprintf(stderr, "manta trace: cannot write the trace: %s\n", manta_error_text(code));
        return CLI_FAILED;
    }
    tell_about(set, &counts);
    return 0;
}

int trace_command(int argc, char **argv)
{
    struct words words;
    struct trace_set set;
    char text[TEXT_MAX];
    if (!read_words(argc, argv, &words)) {
        return CLI_USAGE;
    }
    if (trace_ranks_find(words.directory, &set, text, sizeof text) != MANTA_OK) {
        fprintf(stderr, "manta trace: %s\n", text);
        return CLI_FAILED;
    }
    int code = write_trace(&set, &words);
    trace_ranks_fini(&set);
    return code;
}
