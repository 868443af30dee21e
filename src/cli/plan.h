/* How the job is to be started: the launcher and its whole command line. */
#ifndef CLI_PLAN_H
#define CLI_PLAN_H

#include "cli/allocation.h"
#include "cli/options.h"

struct plan {
    enum launch_by by; /* never AUTO */
    uint32_t ranks;
    bool is_remote;  /* rank 0 may be on another host */
    bool is_crowded; /* more ranks than cores */
    char **argv;     /* owned, NULL-terminated; argv[0] is what is executed */
    uint32_t argc, room;
    bool is_broken; /* memory was out */
};

/* What there is of launchers, by their paths; "": none. */
struct launchers {
    char mpirun[4096], srun[4096];
    char mpirun_says[64]; /* the first line of its version */
};
/* path is PATH's value. */
void launchers_find(const char *path, struct launchers *ret_launchers);

/* Where a program is that is named as in a shell. False: nowhere; *ret_code is then CLI_NOT_FOUND
 * or CLI_NOT_EXECUTABLE. */
bool plan_find_program(const char *name, const char *path, char *ret_found, size_t size,
                       int *ret_code);

/* Pure. On failure the reason is in text: MANTA_E_INVALID, MANTA_E_LAUNCH, MANTA_E_NOMEM. */
int plan_make(const struct options *options, const struct allocation *allocation,
              const struct launchers *launchers, const char *const *environment,
              struct plan *ret_plan, char *text, size_t text_size);
void plan_fini(struct plan *plan);

const char *plan_launcher_name(const struct plan *plan);

#endif
