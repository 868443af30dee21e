/* The command line of `manta run`. */
#ifndef CLI_OPTIONS_H
#define CLI_OPTIONS_H

#include "base/compiler.h"

#include <stdbool.h>

enum launch_by { LAUNCH_AUTO, LAUNCH_MPIRUN, LAUNCH_SRUN, LAUNCH_NONE };
enum binding { BINDING_NONE, BINDING_CORE };
enum recovery { RECOVERY_KEEP_GOING, RECOVERY_NONE };

#define OPTIONS_HOSTS_MAX 4096
#define OPTIONS_RANKS_MAX 1000000u

struct host_share {
    const char *name;
    uint32_t ranks;
};

struct options {
    uint32_t ranks; /* 0: not said */
    struct host_share *hosts;
    uint32_t host_count;
    enum launch_by launch_by;
    enum binding binding;
    enum recovery recovery;
    uint64_t timeout_ns; /* 0: none */
    uint64_t grace_ns;
    bool is_verbose, wants_help;
    char **launcher_args; /* NULL-terminated */
    uint32_t launcher_arg_count;
    char **program; /* its argv, borrowed from the caller's; NULL-terminated */
    char *texts;    /* what the names and words above point into */
};

/* argv[0] is "run". On failure the reason is in text. MANTA_E_INVALID, MANTA_E_NOMEM. */
int options_read(int argc, char **argv, struct options *ret_options, char *text, size_t text_size);
void options_fini(struct options *options);

#endif
