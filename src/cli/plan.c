/*
 * The options, and why:
 *
 * - Deaths are survived unless it is asked otherwise: mpirun --enable-recovery lets the others
 *   live and returns 0 whatever happened; srun -K0 does not kill the step for one bad task,
 *   --no-kill not for a lost node, -W0 not for time passed since the first task ended.
 * - Nobody binds, because Manta splits among the ranks of a node what all of them may use,
 *   knows the machine and binds each worker. Open MPI's default would give two ranks one core
 *   each.
 * - Variables of Manta's and the way to this process (report.h) reach ranks on other hosts by
 *   name, -x, so their values are on no command line.
 * - mpirun counts slots, and in an allocation of one task with many CPUs that is one: so it is
 *   told to start as many ranks as were asked for.
 *
 * What the user gives in --launcher-args comes last and so wins.
 */
#include "cli/plan.h"

#include "base/alloc.h"
#include "cli/tell.h"
#include "launch/report.h"

#include <manta/error.h>

#include <errno.h>
#include <fcntl.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

/* ---- What there is --------------------------------------------------------------------------- */

static bool is_program(const char *path, int *ret_code)
{
    struct stat file;
    if (stat(path, &file) != 0) {
        return false;
    }
    if (S_ISDIR(file.st_mode) || access(path, X_OK) != 0) {
        *ret_code = CLI_NOT_EXECUTABLE;
        return false;
    }
    return true;
}

bool plan_find_program(const char *name, const char *path, char *ret_found, size_t size,
                       int *ret_code)
{
    *ret_code = CLI_NOT_FOUND;
    if (strchr(name, '/')) {
        snprintf(ret_found, size, "%s", name);
        return is_program(ret_found, ret_code);
    }
    for (const char *part = path; part && *name; part = strchr(part, ':')) {
        part += *part == ':';
        int length = (int)strcspn(part, ":");
        snprintf(ret_found, size, "%.*s/%s", length ? length : 1, length ? part : ".", name);
        if (is_program(ret_found, ret_code)) {
            return true;
        }
    }
    return false;
}

static void run_version(const char *path, int output)
{
    int nothing = open("/dev/null", O_RDWR);
    dup2(nothing, STDIN_FILENO);
    dup2(output, STDOUT_FILENO);
    dup2(nothing, STDERR_FILENO);
    execl(path, path, "--version", (char *)NULL);
    _exit(CLI_NOT_FOUND);
}

static void read_version(const char *path, char *line, size_t size)
{
    int ends[2], got = 0;
    *line = 0;
    if (pipe2(ends, O_CLOEXEC) != 0) {
        return;
    }
    pid_t child = fork();
    if (child == 0) {
        run_version(path, ends[1]);
    }
    close(ends[1]);
    while (child > 0 && (size_t)got < size - 1) {
        ssize_t more = read(ends[0], line + got, size - 1 - (size_t)got);
        if (more <= 0) {
            break;
        }
        got += (int)more;
    }
    line[got] = 0;
    line[strcspn(line, "\n")] = 0;
    close(ends[0]);
    while (child > 0 && waitpid(child, NULL, 0) < 0 && errno == EINTR) {}
}

void launchers_find(const char *path, struct launchers *ret_launchers)
{
    int code;
    *ret_launchers = (struct launchers){0};
    if (!plan_find_program("srun", path, ret_launchers->srun, sizeof ret_launchers->srun, &code)) {
        *ret_launchers->srun = 0;
    }
    if (!plan_find_program("mpirun", path, ret_launchers->mpirun, sizeof ret_launchers->mpirun,
                           &code)) {
        *ret_launchers->mpirun = 0;
        return;
    }
    read_version(ret_launchers->mpirun, ret_launchers->mpirun_says,
                 sizeof ret_launchers->mpirun_says);
}

/* ---- Words ----------------------------------------------------------------------------------- */

enum { WORD_MAX = 8192, ROOM_FIRST = 64 };

static bool grow(struct plan *plan)
{
    uint32_t room = plan->room ? plan->room * 2 : ROOM_FIRST;
    char **argv = base_realloc(plan->argv, plan->room * sizeof *argv, room * sizeof *argv);
    if (argv) {
        plan->argv = argv;
        plan->room = room;
    }
    return argv != NULL;
}

static void add_word(struct plan *plan, const char *word)
{
    size_t size = strlen(word) + 1;
    char *copy = plan->argc + 1 < plan->room || grow(plan) ? base_alloc(size) : NULL;
    if (!copy) {
        plan->is_broken = true;
        return;
    }
    plan->argv[plan->argc++] = memcpy(copy, word, size);
}

MT_PRINTF(2, 3) static void add(struct plan *plan, const char *format, ...)
{
    char word[WORD_MAX];
    va_list args;
    va_start(args, format);
    vsnprintf(word, sizeof word, format, args);
    va_end(args);
    add_word(plan, word);
}

/* Up to a NULL. */
static void add_each(struct plan *plan, ...)
{
    va_list words;
    va_start(words, plan);
    for (const char *word; (word = va_arg(words, const char *));) {
        add_word(plan, word);
    }
    va_end(words);
}

static void add_words(struct plan *plan, char *const *words)
{
    for (; *words; words++) {
        add_word(plan, *words);
    }
}

void plan_fini(struct plan *plan)
{
    for (uint32_t i = 0; i < plan->argc; i++) {
        base_free(plan->argv[i]);
    }
    base_free(plan->argv);
}

/* ---- Choices --------------------------------------------------------------------------------- */

struct making {
    const struct options *options;
    const struct allocation *allocation;
    const struct launchers *launchers;
    const char *const *environment;
    struct plan plan;
    char *text;
    size_t text_size;
};

MT_PRINTF(3, 4) static int refuse(struct making *making, int code, const char *format, ...)
{
    va_list args;
    va_start(args, format);
    vsnprintf(making->text, making->text_size, format, args);
    va_end(args);
    return code;
}

static bool is_here(const char *host)
{
    char name[256] = "";
    gethostname(name, sizeof name - 1);
    size_t length = strcspn(name, ".");
    return strcmp(host, "localhost") == 0 || strcmp(host, "127.0.0.1") == 0 ||
           strcmp(host, name) == 0 || (strncmp(host, name, length) == 0 && host[length] == 0);
}

static bool names_hosts(const struct options *options)
{
    for (uint32_t i = 0; i < options->host_count; i++) {
        if (!is_here(options->hosts[i].name)) {
            return true;
        }
    }
    for (uint32_t i = 0; i < options->launcher_arg_count; i++) {
        const char *word = options->launcher_args[i];
        if (strstr(word, "host") || strstr(word, "machinefile") || strcmp(word, "-H") == 0) {
            return true;
        }
    }
    return false;
}

static uint32_t count_ranks(const struct options *options, const struct allocation *allocation)
{
    uint32_t ranks = 0;
    for (uint32_t i = 0; i < options->host_count; i++) {
        ranks += options->hosts[i].ranks;
    }
    if (options->ranks || ranks) {
        return options->ranks ? options->ranks : ranks;
    }
    if (allocation->tasks) {
        return allocation->tasks;
    }
    return MT_MAX(1u, allocation->cores * allocation->threads /
                          MT_MAX(allocation->cpus_per_task, allocation->threads));
}

/* The first that fits: Slurm's own, then mpirun; a single rank needs neither. */
static enum launch_by choose(const struct making *making)
{
    const struct options *options = making->options;
    if (options->launch_by != LAUNCH_AUTO) {
        return options->launch_by;
    }
    if (making->allocation->is_slurm && *making->launchers->srun) {
        return LAUNCH_SRUN;
    }
    bool is_single = making->plan.ranks == 1 && !options->host_count;
    if (*making->launchers->mpirun && !is_single) {
        return LAUNCH_MPIRUN;
    }
    return is_single || (!options->ranks && !options->host_count) ? LAUNCH_NONE : LAUNCH_MPIRUN;
}

static uint32_t cores_each(const struct making *making)
{
    uint32_t nodes = MT_MAX(1u, making->options->host_count ? making->options->host_count
                                                            : making->allocation->nodes);
    uint32_t near = (making->plan.ranks + nodes - 1) / nodes;
    return making->allocation->node_cores / MT_MAX(1u, near);
}

/* ---- mpirun ---------------------------------------------------------------------------------- */

static void export_variables(struct making *making)
{
    add_each(&making->plan, "-x", REPORT_VARIABLE, (char *)NULL);
    for (const char *const *one = making->environment; *one; one++) {
        bool is_ours = strncmp(*one, "MANTA_", 6) == 0 &&
                       strncmp(*one, REPORT_VARIABLE "=", sizeof REPORT_VARIABLE) != 0;
        bool is_needed =
            making->plan.is_remote && strncmp(*one, "LD_LIBRARY_PATH=", 16) == 0 && (*one)[16];
        if (is_ours || is_needed) {
            add(&making->plan, "-x");
            add(&making->plan, "%.*s", (int)strcspn(*one, "="), *one);
        }
    }
}

static void add_hosts(struct making *making)
{
    const struct options *options = making->options;
    char list[WORD_MAX] = "";
    size_t used = 0;
    for (uint32_t i = 0; i < options->host_count && used < sizeof list; i++) {
        used += (size_t)snprintf(list + used, sizeof list - used, "%s%s:%u", i ? "," : "",
                                 options->hosts[i].name, options->hosts[i].ranks);
    }
    making->plan.is_broken |= used >= sizeof list;
    if (used) {
        add_each(&making->plan, "--host", list, (char *)NULL);
    }
}

static void bind_mpirun(struct making *making)
{
    uint32_t each = cores_each(making);
    if (making->options->binding == BINDING_CORE && each) {
        add(&making->plan, "--map-by");
        add(&making->plan, "slot:PE=%u", each);
        add_each(&making->plan, "--bind-to", "core", (char *)NULL);
    } else {
        add_each(&making->plan, "--bind-to", "none", (char *)NULL);
    }
}

static int plan_mpirun(struct making *making)
{
    struct plan *plan = &making->plan;
    if (!*making->launchers->mpirun) {
        return refuse(making, MANTA_E_LAUNCH,
                      "%u ranks need mpirun, and PATH has none; load the site's Open MPI (module "
                      "load openmpi), or start the program alone: --launcher none",
                      plan->ranks);
    }
    if (!strstr(making->launchers->mpirun_says, "Open MPI") &&
        !strstr(making->launchers->mpirun_says, "OpenRTE")) {
        return refuse(making, MANTA_E_LAUNCH,
                      "%s is not Open MPI's, it says '%s'; put Open MPI's first in PATH, or use "
                      "--launcher srun, or start the program by that mpirun without manta run",
                      making->launchers->mpirun, making->launchers->mpirun_says);
    }
    add_word(plan, making->launchers->mpirun);
    add(plan, "-n");
    add(plan, "%u", plan->ranks);
    add_hosts(making);
    if (plan->is_crowded || making->allocation->is_slurm) {
        add(plan, "--oversubscribe");
    }
    bind_mpirun(making);
    if (making->options->recovery == RECOVERY_KEEP_GOING) {
        add(plan, "--enable-recovery");
    }
    export_variables(making);
    return MANTA_OK;
}

/* ---- srun ------------------------------------------------------------------------------------ */

/* Each host as often as it gets ranks, which the distribution then follows. */
static void place_tasks(struct making *making)
{
    const struct options *options = making->options;
    char list[WORD_MAX] = "";
    size_t used = 0;
    for (uint32_t i = 0; i < options->host_count; i++) {
        for (uint32_t k = 0; k < options->hosts[i].ranks && used < sizeof list; k++) {
            used += (size_t)snprintf(list + used, sizeof list - used, "%s%s", used ? "," : "",
                                     options->hosts[i].name);
        }
    }
    making->plan.is_broken |= used >= sizeof list;
    if (used) {
        add_each(&making->plan, "--distribution=arbitrary", "--nodelist", list, (char *)NULL);
    }
}

static void bind_srun(struct making *making)
{
    const struct allocation *allocation = making->allocation;
    uint32_t each = making->options->binding == BINDING_CORE ? cores_each(making) : 0;
    uint32_t cpus =
        allocation->cpus_per_task ? allocation->cpus_per_task : each * allocation->threads;
    if (cpus) {
        add(&making->plan, "-c");
        add(&making->plan, "%u", cpus);
    }
    add(&making->plan, "--cpu-bind=%s", each ? "cores" : "none");
    if (making->plan.is_crowded) {
        add(&making->plan, "--overcommit");
    }
}

static int plan_srun(struct making *making)
{
    struct plan *plan = &making->plan;
    bool is_kept = making->options->recovery == RECOVERY_KEEP_GOING;
    if (!*making->launchers->srun) {
        return refuse(making, MANTA_E_LAUNCH,
                      "--launcher srun, but PATH has no srun; use --launcher mpirun, or run on a "
                      "host of the cluster");
    }
    add_word(plan, making->launchers->srun);
    add_each(plan, "--mpi=pmix", "--export=ALL", "--input=0", "-n", (char *)NULL);
    add(plan, "%u", plan->ranks);
    place_tasks(making);
    add(plan, is_kept ? "-K0" : "-K1");
    if (is_kept) {
        add(plan, "-W0");
    }
    if (is_kept && making->allocation->nodes > 1) {
        add(plan, "--no-kill");
    }
    bind_srun(making);
    return MANTA_OK;
}

/* ---- All ------------------------------------------------------------------------------------- */

static int plan_none(struct making *making)
{
    const struct options *options = making->options;
    if (options->host_count || options->ranks > 1 || options->launcher_arg_count) {
        return refuse(making, MANTA_E_INVALID,
                      "--launcher none starts one process here, but %s; leave that away, or use "
                      "--launcher mpirun",
                      options->host_count  ? "--hosts was given"
                      : options->ranks > 1 ? "-n was given more than 1"
                                           : "--launcher-args was given");
    }
    making->plan.ranks = 1;
    return MANTA_OK;
}

static int make(struct making *making)
{
    struct plan *plan = &making->plan;
    const struct options *options = making->options;
    plan->ranks = count_ranks(options, making->allocation);
    plan->is_crowded = !options->host_count && plan->ranks > making->allocation->cores;
    plan->by = choose(making);
    plan->is_remote =
        plan->by == LAUNCH_SRUN ||
        (plan->by == LAUNCH_MPIRUN && (making->allocation->nodes > 1 || names_hosts(options)));
    if (plan->by == LAUNCH_NONE) {
        return plan_none(making);
    }
    int code = plan->by == LAUNCH_SRUN ? plan_srun(making) : plan_mpirun(making);
    add_words(plan, options->launcher_args);
    return code;
}

int plan_make(const struct options *options, const struct allocation *allocation,
              const struct launchers *launchers, const char *const *environment,
              struct plan *ret_plan, char *text, size_t text_size)
{
    struct making making = {.options = options,
                            .allocation = allocation,
                            .launchers = launchers,
                            .environment = environment,
                            .text = text,
                            .text_size = text_size};
    int code = make(&making);
    add_words(&making.plan, options->program);
    if (code == MANTA_OK && making.plan.is_broken) {
        code = refuse(&making, MANTA_E_NOMEM, "no memory, or too many hosts, for the command line");
    }
    if (code != MANTA_OK) {
        plan_fini(&making.plan);
        return code;
    }
    *ret_plan = making.plan;
    return MANTA_OK;
}

const char *plan_launcher_name(const struct plan *plan)
{
    return plan->by == LAUNCH_MPIRUN ? "mpirun" : plan->by == LAUNCH_SRUN ? "srun" : "the program";
}
