/*
 * One loop over three things: the launcher's end, signals, and what the driver's process says.
 * The job's code is, in this order: 124 when the time was over; what the driver said; the
 * signal that this process was told to end by; how the driver's process died; the launcher's
 * code, and not 0 if a driver had come and gone without a word.
 *
 * A launcher lingers when the driver's process is gone and it still waits. It may wait rightly,
 * for a rank that does something after manta_run: while a rank lives on this host, or may live
 * on another one because nothing went wrong, it has the grace of the options. With nobody left
 * it has two seconds; mpirun may wait for ever for ranks that have died. It is ended
 * by SIGTERM first, because it knows the other hosts.
 *
 * Signals of a terminal reach the launcher anyway, for it is in the same process group (it must
 * be, to read from the terminal); only those that a process sent are passed on. If this process
 * is killed, the kernel sends the launcher a SIGTERM.
 *
 * Alone, without a launcher, the child is the program: its own code is the truth. In a program
 * that keeps MPI each rank is its own driver: its launcher's code stands, and its launcher
 * never lingers.
 */
#include "cli/supervise.h"

#include "base/host.h"
#include "cli/leftovers.h"
#include "cli/tell.h"

#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/signalfd.h>
#include <sys/wait.h>
#include <unistd.h>

#define MS UINT64_C(1000000)
#define SECONDS UINT64_C(1000000000)
#define LINGER_NS (2 * SECONDS)
#define FORCE_NS (3 * SECONDS) /* from SIGTERM to SIGKILL */
#define DEATH_NS (3 * SECONDS) /* for the survivors of a dead driver, beside their time to stop */
#define END_NS (10 * SECONDS)  /* for all, when this process was told to end */
#define LOOK_MS 200            /* while somebody may end who cannot be waited for */
#define DRAIN_MS 200           /* for the last words from another host */

static const int passed_on[] = {SIGHUP, SIGINT, SIGQUIT, SIGTERM, SIGUSR1, SIGUSR2};

struct supervision {
    const struct supervise_options *given;
    pid_t child;
    int signals; /* signalfd */
    int status;  /* the child's */
    bool has_ended, is_timed_out, has_warned;
    bool is_stopped; /* it has got a SIGTERM */
    int end_signal;  /* that this process was told to end by */
    uint64_t timeout_at_ns, force_at_ns;
    uint64_t gone_ns, seen_ns; /* when the driver was found gone; when a rank was last seen */
};

static uint64_t now_ns(void)
{
    return base_now_ns(&base_host_real);
}

/* ---- The child ------------------------------------------------------------------------------- */

static void become(const struct plan *plan, pid_t parent, const sigset_t *mask, int failed)
{
    (void)prctl(PR_SET_PDEATHSIG, SIGTERM);
    if (getppid() != parent) {
        _exit(CLI_FAILED);
    }
    sigprocmask(SIG_SETMASK, mask, NULL);
    execvp(plan->argv[0], plan->argv);
    int reason = errno;
    (void)!write(failed, &reason, sizeof reason);
    _exit(CLI_FAILED);
}

/* 0, or why it could not be executed. */
static int start(struct supervision *job, const sigset_t *mask)
{
    int ends[2], reason = 0;
    pid_t parent = getpid();
    if (pipe2(ends, O_CLOEXEC) != 0) {
        return errno;
    }
    job->child = fork();
    if (job->child == 0) {
        become(job->given->plan, parent, mask, ends[1]);
    }
    reason = job->child < 0 ? errno : 0;
    close(ends[1]);
    if (job->child > 0 && read(ends[0], &reason, sizeof reason) != (ssize_t)sizeof reason) {
        reason = 0;
    }
    close(ends[0]);
    if (reason && job->child > 0) {
        waitpid(job->child, NULL, 0);
    }
    return reason;
}

static void take_end(struct supervision *job)
{
    if (waitpid(job->child, &job->status, WNOHANG) == job->child) {
        job->has_ended = true;
    }
}

static void force_after(struct supervision *job, uint64_t after_ns)
{
    uint64_t at_ns = now_ns() + after_ns;
    job->force_at_ns = job->force_at_ns ? MT_MIN(job->force_at_ns, at_ns) : at_ns;
}

static void stop(struct supervision *job, uint64_t force_ns)
{
    (void)kill(job->child, SIGTERM);
    job->is_stopped = true;
    force_after(job, force_ns);
}

/* Never SIGKILL first: a launcher that gets it leaves the other hosts as they are. */
static void force(struct supervision *job)
{
    job->force_at_ns = 0;
    if (job->is_stopped) {
        (void)kill(job->child, SIGKILL);
    } else {
        stop(job, FORCE_NS);
    }
}

/* ---- What happens ---------------------------------------------------------------------------- */

/* srun takes SIGTERM for an order to kill; a driver that is on this host ends the job in order. */
static void pass_on(struct supervision *job, int number)
{
    const struct driver *driver = listener_driver(job->given->listener);
    bool is_for_driver = job->given->plan->by == LAUNCH_SRUN && number == SIGTERM &&
                         driver->is_connected && driver->pid;
    (void)kill(is_for_driver ? (pid_t)driver->pid : job->child, number);
}

static void on_signal(struct supervision *job, const struct signalfd_siginfo *info)
{
    int number = (int)info->ssi_signo;
    if (number == SIGCHLD) {
        take_end(job);
        return;
    }
    if (info->ssi_code <= 0) {
        pass_on(job, number);
    }
    if (number != SIGUSR1 && number != SIGUSR2) {
        job->end_signal = number;
        force_after(job, job->given->stop_timeout_ns + END_NS);
    }
}

static void hear_signals(struct supervision *job)
{
    struct signalfd_siginfo info;
    while (!job->has_ended && read(job->signals, &info, sizeof info) == (ssize_t)sizeof info) {
        on_signal(job, &info);
    }
}

/* Ranks that crowd a core while others idle. With more ranks than cores it was asked for. */
static void warn_places(const struct supervision *job, const struct report_places *places)
{
    uint32_t cores = job->given->node_cores;
    const char *advice = job->given->plan->by == LAUNCH_SRUN
                             ? "use --bind none, or give each rank cores: srun -c CORES, "
                               "--cpu-bind=none"
                             : "use --bind none (mpirun --bind-to none), and let nothing else bind "
                               "the program (taskset, numactl, a cpuset)";
    if (places->near > cores) {
        return;
    }
    if (places->sharers > places->cores) {
        tell("warning: %u ranks on %s are bound to the same %u core%s although there are %u for %u "
             "ranks; %s",
             places->sharers, places->host, places->cores, places->cores == 1 ? "" : "s", cores,
             places->near, advice);
    } else if (places->sharers == 1 && places->near * places->cores * 2 <= cores) {
        tell("warning: each rank on %s is bound to %u core%s, so %u of %u cores have nothing to "
             "do; %s",
             places->host, places->cores, places->cores == 1 ? "" : "s",
             cores - places->near * places->cores, cores, advice);
    }
}

static void hear_driver(struct supervision *job)
{
    const struct driver *driver = listener_driver(job->given->listener);
    const struct plan *plan = job->given->plan;
    listener_hear(job->given->listener);
    if (driver->has_places && !job->has_warned) {
        job->has_warned = true;
        warn_places(job, &driver->places);
    }
    if (driver->is_guest && driver->has_come && !job->has_warned && plan->by == LAUNCH_MPIRUN &&
        job->given->options->recovery == RECOVERY_KEEP_GOING) {
        job->has_warned = true;
        tell("warning: this program keeps MPI (manta_init), which does not survive a dead rank, "
             "and with recovery mpirun returns 0 whatever happens; use --no-recovery");
    }
}

/* ---- Time ------------------------------------------------------------------------------------ */

/* mpirun over several hosts waits for ever after a death, or a code that is not 0. */
static bool is_known_to_linger(const struct driver *driver)
{
    return driver->has_reported && (driver->deaths || driver->code);
}

/* How long the launcher may go on, counted from when the driver was found gone. */
static uint64_t linger_until(struct supervision *job, const struct driver *driver)
{
    const struct supervise_options *given = job->given;
    enum launcher_kind kind = given->plan->by == LAUNCH_SRUN ? LAUNCHER_SLURM : LAUNCHER_OPEN_MPI;
    uint64_t grace_ns =
        driver->has_reported ? given->options->grace_ns : DEATH_NS + given->stop_timeout_ns;
    if (leftovers_has_rank(given->value, kind)) {
        job->seen_ns = now_ns();
        return job->gone_ns + grace_ns;
    }
    if (given->plan->is_remote && (given->plan->by == LAUNCH_SRUN || !is_known_to_linger(driver))) {
        return job->gone_ns + grace_ns;
    }
    return MT_MAX(job->gone_ns, job->seen_ns) + LINGER_NS;
}

static void check_linger(struct supervision *job)
{
    const struct driver *driver = listener_driver(job->given->listener);
    bool is_judged = driver->has_come && !driver->is_guest && job->given->plan->by != LAUNCH_NONE;
    if (!is_judged || driver->is_connected) {
        job->gone_ns = job->seen_ns = 0;
        return;
    }
    job->gone_ns = job->gone_ns ? job->gone_ns : now_ns();
    if (!job->force_at_ns && now_ns() >= linger_until(job, driver)) {
        tell("the driver has ended, and %s has not; it is ended now",
             plan_launcher_name(job->given->plan));
        stop(job, FORCE_NS);
    }
}

static void check_times(struct supervision *job)
{
    if (job->timeout_at_ns && now_ns() >= job->timeout_at_ns) {
        tell("the time (--timeout) is over; the job is ended");
        job->is_timed_out = true;
        job->timeout_at_ns = 0;
        stop(job, FORCE_NS + job->given->stop_timeout_ns);
    }
    check_linger(job);
    if (job->force_at_ns && now_ns() >= job->force_at_ns) {
        force(job);
    }
}

static int sleep_ms(const struct supervision *job, bool has_callers)
{
    uint64_t until_ns = MT_MIN(job->timeout_at_ns ? job->timeout_at_ns : BASE_FOREVER,
                               job->force_at_ns ? job->force_at_ns : BASE_FOREVER);
    uint64_t now = now_ns();
    if (job->gone_ns || has_callers) {
        until_ns = MT_MIN(until_ns, now + LOOK_MS * MS);
    }
    return until_ns == BASE_FOREVER ? -1
           : until_ns <= now        ? 0
                                    : (int)MT_MIN((until_ns - now) / MS + 1, (uint64_t)INT32_MAX);
}

static void turn(struct supervision *job)
{
    struct pollfd polls[LISTENER_POLLS + 1];
    uint32_t count = listener_polls(job->given->listener, polls);
    polls[count] = (struct pollfd){.fd = job->signals, .events = POLLIN};
    (void)poll(polls, count + 1, sleep_ms(job, count > 2));
    hear_signals(job);
    hear_driver(job);
    check_times(job);
}

/* The launcher may be gone before the last words from another host are here. */
static void drain(struct supervision *job)
{
    const struct driver *driver = listener_driver(job->given->listener);
    uint64_t until_ns = now_ns() + DRAIN_MS * MS;
    hear_driver(job);
    while (driver->is_connected && !driver->has_reported && now_ns() < until_ns) {
        struct pollfd polls[LISTENER_POLLS];
        uint32_t count = listener_polls(job->given->listener, polls);
        (void)poll(polls, count, DRAIN_MS / 10);
        hear_driver(job);
    }
}

/* ---- The code -------------------------------------------------------------------------------- */

static int code_of(int status)
{
    return WIFSIGNALED(status) ? 128 + WTERMSIG(status) : WEXITSTATUS(status);
}

static int judge_death(const struct supervision *job, const struct driver *driver)
{
    const char *launcher = plan_launcher_name(job->given->plan);
    int code = code_of(job->status);
    if (driver->has_status && WIFSIGNALED(driver->status)) {
        tell("rank 0 (process %u) was killed by signal %d (%s) before the driver had ended",
             driver->pid, WTERMSIG(driver->status), strsignal(WTERMSIG(driver->status)));
        return code_of(driver->status);
    }
    if (driver->has_status && code_of(driver->status)) {
        tell("rank 0 (process %u) ended with code %d before the driver had returned", driver->pid,
             code_of(driver->status));
        return code_of(driver->status);
    }
    tell("rank 0 ended before the driver had returned; %s returned %d", launcher, code);
    return code ? code : 1;
}

static int judge_silence(const struct supervision *job)
{
    const struct plan *plan = job->given->plan;
    int code = code_of(job->status);
    if (plan->by == LAUNCH_MPIRUN && code == 0 &&
        job->given->options->recovery == RECOVERY_KEEP_GOING) {
        tell("no rank reported: this is mpirun's code, which is 0 with recovery whatever happened; "
             "for a program that does not call manta_run use --no-recovery");
    } else {
        tell("no rank reported: %d is %s's code", code, plan_launcher_name(plan));
    }
    return code;
}

static int judge(const struct supervision *job)
{
    const struct driver *driver = listener_driver(job->given->listener);
    if (job->is_timed_out) {
        return CLI_TIMEOUT;
    }
    if (job->given->plan->by == LAUNCH_NONE) {
        return code_of(job->status);
    }
    if (driver->has_reported && !driver->is_guest) {
        return driver->code & 0xff;
    }
    if (job->end_signal) {
        return 128 + job->end_signal;
    }
    if (driver->is_guest) {
        return code_of(job->status);
    }
    return driver->has_come ? judge_death(job, driver) : judge_silence(job);
}

static void tell_end(const struct supervision *job, int code)
{
    const struct driver *driver = listener_driver(job->given->listener);
    if (job->given->options->is_verbose) {
        tell("%s ended with %d, the driver %s%s%s; the job's code is %d",
             plan_launcher_name(job->given->plan), code_of(job->status),
             driver->has_reported ? "reported" : "did not report", *driver->text ? ": " : "",
             driver->text, code);
    }
}

/* ---- All ------------------------------------------------------------------------------------- */

static int open_signals(sigset_t *old_mask)
{
    sigset_t mask;
    sigemptyset(&mask);
    sigaddset(&mask, SIGCHLD);
    for (size_t i = 0; i < MT_COUNT(passed_on); i++) {
        sigaddset(&mask, passed_on[i]);
    }
    sigprocmask(SIG_BLOCK, &mask, old_mask);
    return signalfd(-1, &mask, SFD_CLOEXEC | SFD_NONBLOCK);
}

static void end_leftovers(const struct supervision *job)
{
    uint32_t count = leftovers_end(job->given->value);
    if (count) {
        tell("%u process%s of the job %s still there and %s been ended", count,
             count == 1 ? "" : "es", count == 1 ? "was" : "were", count == 1 ? "has" : "have");
    }
}

int supervise(const struct supervise_options *options)
{
    struct supervision job = {.given = options};
    sigset_t old_mask;
    job.signals = open_signals(&old_mask);
    if (job.signals < 0) {
        return tell_failed("cannot listen to signals");
    }
    int reason = start(&job, &old_mask);
    if (reason) {
        tell("cannot start %s: %s", options->plan->argv[0], strerror(reason));
        close(job.signals);
        return reason == ENOENT ? CLI_NOT_FOUND : CLI_NOT_EXECUTABLE;
    }
    if (options->options->timeout_ns) {
        job.timeout_at_ns = now_ns() + options->options->timeout_ns;
    }
    while (!job.has_ended) {
        turn(&job);
    }
    drain(&job);
    int code = judge(&job);
    end_leftovers(&job);
    tell_end(&job, code);
    close(job.signals);
    return code;
}
