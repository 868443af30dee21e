/*
 * manta: the program. Its commands are rows of one table; `manta help` prints it.
 */
#include "cli/output.h"
#include "cli/run.h"
#include "cli/trace.h"

#include <manta/manta.h>

#include <stdio.h>
#include <string.h>

struct command {
    const char *name, *what;
    int (*run)(int argc, char **argv);
};

static int show_help(int argc, char **argv);

static int show_version(int argc, char **argv)
{
    printf("manta %d.%d.%d\n", MANTA_VERSION_MAJOR, MANTA_VERSION_MINOR, MANTA_VERSION_PATCH);
    return 0;
}

static const struct command commands[] = {
    {"run", "starts a program on ranks and returns its driver's code", run_command},
    {"output", "lists or prints what commands wrote (MANTA_COMMAND_LOG)", output_command},
    {"trace", "makes of a job's timelines (MANTA_TIMELINE) one file for a viewer", trace_command},
    {"version", "prints the version", show_version},
    {"help", "prints this; help COMMAND: what a command takes", show_help},
};

static int show_help(int argc, char **argv)
{
    if (argc > 1 && strcmp(argv[1], "run") == 0) {
        run_help();
        return 0;
    }
    if (argc > 1 && strcmp(argv[1], "output") == 0) {
        output_help();
        return 0;
    }
    if (argc > 1 && strcmp(argv[1], "trace") == 0) {
        trace_help();
        return 0;
    }
    printf("usage: manta COMMAND ...\n\n");
    for (size_t i = 0; i < MT_COUNT(commands); i++) {
        printf("  %-10s%s\n", commands[i].name, commands[i].what);
    }
    return 0;
}

int main(int argc, char **argv)
{
    const char *name = argc > 1 ? argv[1] : "";
    const char *plain = strncmp(name, "--", 2) == 0 ? name + 2 : name; /* --help, --version */
    for (size_t i = 0; i < MT_COUNT(commands); i++) {
        if (strcmp(plain, commands[i].name) == 0) {
            return commands[i].run(argc - 1, argv + 1);
        }
    }
    fprintf(stderr,
            "manta: got %s%s%s, expected run, output, trace, version or help; see: manta help\n",
            *name ? "the command '" : "no command", name, *name ? "'" : "");
    return CLI_USAGE;
}
