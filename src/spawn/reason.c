/* Codes and sentences; see reason.h. Names and paths are cut so that the advice always fits. */
#include "spawn/reason.h"

#include "base/units.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>

static int code_of(int error)
{
    switch (error) {
    case ENOENT:
    case ENOTDIR:
        return MANTA_E_NOTFOUND;
    case ENOMEM:
        return MANTA_E_NOMEM;
    case E2BIG:
    case EAGAIN:
    case EMFILE:
    case ENFILE:
        return MANTA_E_LIMIT;
    case EINVAL:
    case ENOEXEC:
    case EISDIR:
    case ELOOP:
    case ENAMETOOLONG:
        return MANTA_E_INVALID;
    default:
        return MANTA_E_SYSTEM;
    }
}

static const char *exec_advice(int error)
{
    switch (error) {
    case ENOENT:
        return "give its full path, or put its folder into PATH (a module to load?)";
    case EACCES:
        return "make it executable (chmod +x), on a file system that is not mounted noexec";
    case EISDIR:
        return "name the program in it";
    case E2BIG:
        return "give the arguments in a file or on standard input; one may have 128 KiB";
    case ENOEXEC:
        return "a script needs a first line such as #!/bin/sh; a program this machine's type";
    default:
        return "run it by hand on this node";
    }
}

static const char *step_advice(enum start_step step, int error)
{
    switch (step) {
    case START_MEMORY:
    case START_INPUT_BYTES:
        return "run fewer at once";
    case START_PIPE:
        return "run fewer at once, or raise ulimit -n";
    case START_FORK:
        return "run fewer at once, or raise ulimit -u (or the job's limit of processes)";
    case START_DIRECTORY:
        return "make it first; it must exist on every node";
    case START_INPUT:
        return "name a file that exists on every node";
    case START_OUT:
    case START_ERR:
        return "name a file in a folder that exists and can be written to";
    case START_RLIMIT:
        return "ask for no more than the hard limit (ulimit -H -a)";
    case START_CPUS:
        return "name processors that the job was given";
    case START_EXEC:
        return exec_advice(error);
    default:
        return "run it again";
    }
}

static const char *step_object(const struct request *request, enum start_step step)
{
    const char *object = NULL;
    switch (step) {
    case START_DIRECTORY:
        object = request->directory;
        break;
    case START_INPUT:
        object = request->input_path;
        break;
    case START_OUT:
        object = request->out_path;
        break;
    case START_ERR:
        object = request->err_path;
        break;
    default:
        break;
    }
    return object ? object : "";
}

int reason_refused(const struct request *request, const struct start_failure *failure, char *text,
                   size_t size)
{
    static const char *const what[START_STEPS] = {
        [START_NONE] = "cannot run",
        [START_MEMORY] = "no memory to run",
        [START_PIPE] = "cannot make pipes for",
        [START_INPUT_BYTES] = "cannot hold the standard input of",
        [START_FORK] = "cannot make a process for",
        [START_ORPHANED] = "the spawner ended before it could run",
        [START_CGROUP] = "cannot enter the memory group of",
        [START_DIRECTORY] = "cannot enter the directory",
        [START_INPUT] = "cannot open the standard input",
        [START_OUT] = "cannot open the standard output",
        [START_ERR] = "cannot open the standard error",
        [START_RLIMIT] = "cannot set the rlimits of",
        [START_CPUS] = "cannot set the processors of",
        [START_EXEC] = "cannot run",
    };
    const char *name = request->argv.count ? request->argv.texts : "an isolated task";
    const char *object = step_object(request, failure->step);
    snprintf(text, size, "%s%s%.50s%s %.40s (%s): %s", what[failure->step], *object ? " " : "",
             object, *object ? " of" : "", name, strerror(failure->error),
             step_advice(failure->step, failure->error));
    return code_of(failure->error);
}

/* The last line that is not empty, blanks at its ends cut. */
static void last_line(const char *last, char *line, size_t size)
{
    size_t end = strlen(last);
    while (end && strchr(" \r\n\t", last[end - 1])) {
        end--;
    }
    size_t start = end;
    while (start && last[start - 1] != '\n') {
        start--;
    }
    snprintf(line, size, "%s%.*s", end ? "; its last words: " : "",
             (int)MT_MIN(end - start, (size_t)80), last + start);
}

int reason_ended(const char *name, const struct spawn_limits *limits,
                 const struct spawn_result *result, const char *last, char *text, size_t size)
{
    char words[104];
    last_line(last, words, sizeof words);
    switch (result->end) {
    case SPAWN_ENDED_TIMEOUT:
        snprintf(text, size,
                 "%.40s ran for %s, its limit is %s: raise the limit or give it less "
                 "to do%s",
                 name, base_duration(result->wall_ns).text, base_duration(limits->wall_ns).text,
                 words);
        return MANTA_E_TIMEOUT;
    case SPAWN_ENDED_MEMORY:
        snprintf(text, size,
                 "%.40s used more memory than its limit of %s: raise the limit or run fewer "
                 "on a node%s",
                 name, base_size(limits->memory_bytes).text, words);
        return MANTA_E_NOMEM;
    case SPAWN_ENDED_KILLED:
        snprintf(text, size, "%.40s was ended on request after %s", name,
                 base_duration(result->wall_ns).text);
        return MANTA_E_CANCELLED;
    case SPAWN_ENDED_SIGNAL:
        snprintf(text, size, "%.40s was ended by signal %d (%s) after %s%s", name, result->signal,
                 strsignal(result->signal), base_duration(result->wall_ns).text, words);
        return MANTA_E_CRASH;
    default:
        if (result->exit_code == 0) {
            text[0] = '\0';
            return MANTA_OK;
        }
        snprintf(text, size, "%.40s ended with exit code %d after %s%s", name, result->exit_code,
                 base_duration(result->wall_ns).text, words);
        return MANTA_E_TASK;
    }
}
