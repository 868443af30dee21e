/*
 * manta run: what is wrong is found before anything starts, in the order in which a user would ask:
 * the command line, the variables, the place, the program, the launcher.
 */
#include "cli/run.h"

#include "base/alloc.h"
#include "cli/supervise.h"
#include "launch/detect.h"
#include "launch/settings.h"
#include "topo/topo.h"

#include <manta/error.h>

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

extern char **environ;

enum { TEXT_MAX = 1024 };

struct run {
    struct options options;
    struct settings settings;
    struct allocation allocation;
    struct launchers launchers;
    struct plan plan;
    struct listener *listener;
    char value[REPORT_VALUE_MAX];
};

void run_help(void)
{
    printf(
        "usage: manta run [OPTIONS] [--] PROGRAM [ARGUMENTS]\n\n"
        "Starts PROGRAM on ranks by mpirun or srun and returns the code of its driver. What ranks\n"
        "have left running on this host when it ends is ended too.\n\n"
        "  -n RANKS              default: Slurm's tasks, or one for each core\n"
        "  --hosts H1:N1,H2:N2   on these hosts, so many ranks on each\n"
        "  --launcher NAME       auto, mpirun, srun or none (one process, here); auto: srun in a\n"
        "                        Slurm allocation, mpirun otherwise, none for a single rank\n"
        "  --bind core|none      none: Manta splits a node's cores among its ranks (default)\n"
        "  --keep-going          go on when ranks die (default)\n"
        "  --no-recovery         the launcher ends the job when a rank dies; for programs that "
        "keep\n"
        "                        MPI (manta_init)\n"
        "  --timeout TIME        end the job then, with code 124; 90, 90s, 15m, 2h\n"
        "  --grace TIME          how long other ranks may go on after the driver's end; 30s\n"
        "  --launcher-args ARGS  more options for the launcher, separated by spaces\n"
        "  --verbose             say what is started and how it ended\n"
        "  --help                print this\n\n"
        "Codes: the driver's; 128+n for signal n; 1 if rank 0 died and nobody knows how; 124 time\n"
        "over; 127 no such program, 126 it cannot be executed; 2 wrong options; 125 manta run\n"
        "itself failed.\n");
}

static const char *get_path(void)
{
    const char *path = getenv("PATH");
    return path ? path : "/usr/local/bin:/usr/bin:/bin";
}

static int read_all(struct run *run, int argc, char **argv)
{
    char text[TEXT_MAX];
    if (options_read(argc, argv, &run->options, text, sizeof text) != MANTA_OK) {
        tell("%s", text);
        return CLI_USAGE;
    }
    unsetenv(REPORT_VARIABLE);
    if (settings_read((const char *const *)environ, &run->settings, text, sizeof text) !=
        MANTA_OK) {
        tell("%s", text);
        return CLI_USAGE;
    }
    return 0;
}

/* Each of N processes would start N ranks. */
static int check_place(void)
{
    struct launcher launcher = launcher_detect((const char *const *)environ);
    if (launcher.kind == LAUNCHER_NONE || launcher.size <= 1) {
        return 0;
    }
    tell("%s has started this as one of %u processes; start manta run once, by itself, and give it "
         "the number of ranks: manta run -n %u PROGRAM",
         launcher_name(&launcher), launcher.size, launcher.size);
    return CLI_USAGE;
}

static int find_cores(struct run *run)
{
    struct topo *topo;
    if (topo_create(NULL, &topo) != MANTA_OK) {
        tell("cannot read the machine's topology (hwloc)");
        return CLI_FAILED;
    }
    run->allocation =
        allocation_find((const char *const *)environ, topo_core_count(topo), topo_pu_count(topo));
    topo_destroy(topo);
    return 0;
}

/* A program that only other hosts have is theirs to find. */
static int check_program(const struct run *run)
{
    char found[4096];
    int code;
    const char *name = run->options.program[0];
    if (run->plan.is_remote || plan_find_program(name, get_path(), found, sizeof found, &code)) {
        return 0;
    }
    struct stat file;
    if (code == CLI_NOT_EXECUTABLE && stat(found, &file) == 0 && S_ISDIR(file.st_mode)) {
        tell("%s is a directory, expected a program: name the program in it", found);
    } else if (code == CLI_NOT_EXECUTABLE) {
        tell("%s cannot be executed, expected a program: check its permissions (chmod +x)", found);
    } else {
        tell("there is no program '%s'%s", name,
             strchr(name, '/') ? ", expected a path to one"
                               : " in PATH; for one in this directory write ./ in front");
    }
    return code;
}

static int make_plan(struct run *run)
{
    char text[TEXT_MAX + sizeof run->launchers.mpirun];
    launchers_find(get_path(), &run->launchers);
    int code = plan_make(&run->options, &run->allocation, &run->launchers,
                         (const char *const *)environ, &run->plan, text, sizeof text);
    if (code != MANTA_OK) {
        tell("%s", text);
    }
    return code == MANTA_OK ? 0 : code == MANTA_E_INVALID ? CLI_USAGE : CLI_FAILED;
}

static void allow_root(const struct run *run)
{
    if (run->plan.by != LAUNCH_MPIRUN || geteuid() != 0 || getenv("OMPI_ALLOW_RUN_AS_ROOT")) {
        return;
    }
    tell("warning: this is root; Open MPI is told to allow it (OMPI_ALLOW_RUN_AS_ROOT), but a "
         "mistake of the program can damage the system");
    setenv("OMPI_ALLOW_RUN_AS_ROOT", "1", 1);
    setenv("OMPI_ALLOW_RUN_AS_ROOT_CONFIRM", "1", 1);
}

/* Slurm's other fence lets a rank out of MPI_Init before others can take its messages, and those
 * crash: docs/launchers.md. What the user has set wins. */
static void choose_fence(const struct run *run)
{
    if (run->plan.by == LAUNCH_SRUN) {
        setenv("SLURM_PMIX_FENCE", "ring", 0);
    }
}

static void tell_plan(const struct run *run)
{
    char line[TEXT_MAX] = "";
    size_t used = 0;
    for (uint32_t i = 0; i < run->plan.argc && used < sizeof line; i++) {
        used += (size_t)snprintf(line + used, sizeof line - used, " %s", run->plan.argv[i]);
    }
    tell("%u rank%s on %u core%s:%s", run->plan.ranks, run->plan.ranks == 1 ? "" : "s",
         run->allocation.cores, run->allocation.cores == 1 ? "" : "s", line);
}

static int start(struct run *run)
{
    enum listener_reach reach = run->plan.is_remote ? LISTENER_FAR : LISTENER_NEAR;
    if (listener_open(reach, &run->listener, run->value) != MANTA_OK) {
        return tell_failed("cannot listen for the driver's report");
    }
    if (run->options.is_verbose) {
        tell_plan(run);
    }
    allow_root(run);
    choose_fence(run);
    setenv(REPORT_VARIABLE, run->value, 1);
    struct supervise_options options = {.options = &run->options,
                                        .plan = &run->plan,
                                        .listener = run->listener,
                                        .value = run->value,
                                        .stop_timeout_ns = run->settings.stop_timeout_ns,
                                        .node_cores = run->allocation.node_cores};
    return supervise(&options);
}

int run_command(int argc, char **argv)
{
    struct run run = {0};
    int code = read_all(&run, argc, argv);
    if (code == 0 && run.options.wants_help) {
        run_help();
    } else if (code == 0) {
        code = check_place();
        code = code ? code : find_cores(&run);
        code = code ? code : make_plan(&run);
        code = code ? code : check_program(&run);
        code = code ? code : start(&run);
    }
    listener_close(run.listener);
    plan_fini(&run.plan);
    options_fini(&run.options);
    return code;
}
