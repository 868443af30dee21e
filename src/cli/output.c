/*
 * Without a task it lists what the log has, a line per stream: task, attempt, stream, rank, bytes.
 * With one it writes that stream as the command wrote it, of the task's last attempt. A task is
 * named as the list does and as manta_command_result has it, in hexadecimal.
 */
#include "cli/output.h"

#include "spawn/spawn.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { PIECE_BYTES = 65536 };

void output_help(void)
{
    printf("usage: manta output LOG [TASK [out|err]]\n\n"
           "LOG is what MANTA_COMMAND_LOG was, a dot and the host: the log has LOG.data and "
           "LOG.index.\n"
           "Without TASK: one line per stream of a command: task, attempt, stream, rank, bytes.\n"
           "With TASK: what its last attempt wrote to standard output (out), or error (err).\n");
}

static bool is_same_stream(const struct spawn_log_part *a, const struct spawn_log_part *b)
{
    return a->id == b->id && a->attempt == b->attempt && a->stream == b->stream;
}

static void list(const struct spawn_log_part *parts, size_t count)
{
    for (size_t i = 0; i < count;) {
        const struct spawn_log_part *first = &parts[i];
        uint64_t bytes = 0;
        for (; i < count && is_same_stream(first, &parts[i]); i++) {
            bytes += parts[i].bytes;
        }
        printf("%016" PRIx64 " %u %s %u %" PRIu64 "\n", first->id, first->attempt,
               first->stream == SPAWN_STDERR ? "err" : "out", first->rank, bytes);
    }
}

static int write_stream(const struct spawn_log *log, const struct spawn_log_part *key)
{
    static char piece[PIECE_BYTES];
    uint64_t offset = 0;
    size_t size;
    while (spawn_log_read(log, key, offset, piece, sizeof piece, &size) == MANTA_OK && size) {
        if (fwrite(piece, 1, size, stdout) != size) {
            fprintf(stderr, "manta output: cannot write the output: %m\n");
            return CLI_FAILED;
        }
        offset += size;
    }
    return 0;
}

static int print(const struct spawn_log *log, const char *task, uint32_t stream)
{
    char *end;
    uint64_t id = strtoull(task, &end, 16);
    size_t count;
    const struct spawn_log_part *parts = spawn_log_parts(log, &count), *last = NULL;
    for (size_t i = 0; i < count; i++) {
        last = parts[i].id == id && parts[i].stream == stream ? &parts[i] : last;
    }
    if (*end || !last) {
        fprintf(stderr,
                "manta output: the log has no standard %s of a task '%s'; see: manta output LOG\n",
                stream == SPAWN_STDERR ? "error" : "output", task);
        return CLI_FAILED;
    }
    return write_stream(log, last);
}

/* What is wrong with the words is said; 0 when nothing is. */
static int check_words(int argc, char **argv)
{
    if (argc < 2 || argc > 4) {
        fprintf(stderr,
                "manta output: got %d words, expected LOG [TASK [out|err]]; see: manta help "
                "output\n",
                argc - 1);
        return CLI_USAGE;
    }
    if (argc == 4 && strcmp(argv[3], "out") != 0 && strcmp(argv[3], "err") != 0) {
        fprintf(stderr,
                "manta output: got '%s' for the stream, expected out or err; see: manta help "
                "output\n",
                argv[3]);
        return CLI_USAGE;
    }
    return 0;
}

/* Why the log could not be opened. */
static void tell_why(const char *path, int code)
{
    if (code == MANTA_E_TYPE) {
        fprintf(stderr,
                "manta output: %s.index is no log of commands: none of its bytes are a record of "
                "one; expected what MANTA_COMMAND_LOG made, see: manta help output\n",
                path);
    } else {
        fprintf(stderr, "manta output: cannot read %s.index and %s.data: %s\n", path, path,
                manta_error_text(code));
    }
}

int output_command(int argc, char **argv)
{
    struct spawn_log *log;
    if (check_words(argc, argv) != 0) {
        return CLI_USAGE;
    }
    bool is_err = argc == 4 && strcmp(argv[3], "err") == 0;
    int code = spawn_log_open(argv[1], &log);
    if (code != MANTA_OK) {
        tell_why(argv[1], code);
        return CLI_FAILED;
    }
    if (argc == 2) {
        size_t count;
        const struct spawn_log_part *parts = spawn_log_parts(log, &count);
        list(parts, count);
    } else {
        code = print(log, argv[2], is_err ? SPAWN_STDERR : SPAWN_STDOUT);
    }
    spawn_log_close(log);
    return code;
}
