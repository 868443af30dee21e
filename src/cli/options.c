/*
 * Options end at the first word that is none, or at "--": what follows is the program's. A value
 * comes as the next word or behind "=". Whoever mistypes is told what was given, what was expected
 * and what to write instead.
 */
#include "cli/options.h"

#include "base/alloc.h"
#include "base/config.h"

#include <manta/error.h>

#include <ctype.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define SECONDS UINT64_C(1000000000)
#define GRACE_NS (30 * SECONDS)

struct reading {
    struct options options;
    char *next_text; /* where the next copied word goes */
    char *text;
    size_t text_size;
};

struct option_row {
    const char *name, *expected; /* NULL: it takes no value */
    int (*take)(struct reading *reading, const char *value);
};

static int refuse(struct reading *reading, const char *option, const char *value,
                  const char *expected)
{
    snprintf(reading->text, reading->text_size, "%s got '%s', expected %s; see: manta help run",
             option, value, expected);
    return MANTA_E_INVALID;
}

static char *copy(struct reading *reading, const char *text)
{
    char *at = reading->next_text;
    reading->next_text = stpcpy(at, text) + 1;
    return at;
}

static bool read_count(const char *text, uint32_t *ret_count)
{
    char *end;
    unsigned long long count = isdigit((unsigned char)*text) ? strtoull(text, &end, 10) : 0;
    if (count == 0 || *end || count > OPTIONS_RANKS_MAX) {
        return false;
    }
    *ret_count = (uint32_t)count;
    return true;
}

#define RANKS_EXPECTED "a number of ranks from 1 to 1000000"
#define HOSTS_EXPECTED "hosts with their number of ranks, like n1:2,n2:2"
#define BY_EXPECTED "auto, mpirun, srun or none"
#define BIND_EXPECTED "core or none"
#define TIME_EXPECTED "a time from 1 second on, like 90, 90s, 15m or 2h"
#define ARGS_EXPECTED "options of the launcher in one word, like '--mca btl self,vader'"

static int take_ranks(struct reading *reading, const char *value)
{
    return read_count(value, &reading->options.ranks)
               ? MANTA_OK
               : refuse(reading, "-n", value, RANKS_EXPECTED);
}

static bool read_host(char *word, struct host_share *ret_host)
{
    char *colon = strrchr(word, ':');
    *ret_host = (struct host_share){word, 1};
    if (colon) {
        *colon = 0;
    }
    return *word && word[0] != '-' && (!colon || read_count(colon + 1, &ret_host->ranks));
}

static int take_hosts(struct reading *reading, const char *value)
{
    struct options *options = &reading->options;
    char *rest = NULL, *words = copy(reading, value);
    options->host_count = 0;
    for (char *one = strtok_r(words, ",", &rest); one; one = strtok_r(NULL, ",", &rest)) {
        if (options->host_count == OPTIONS_HOSTS_MAX ||
            !read_host(one, &options->hosts[options->host_count++])) {
            return refuse(reading, "--hosts", value, HOSTS_EXPECTED);
        }
    }
    return options->host_count ? MANTA_OK : refuse(reading, "--hosts", value, HOSTS_EXPECTED);
}

static int take_launcher(struct reading *reading, const char *value)
{
    static const char *const names[] = {"auto", "mpirun", "srun", "none"};
    for (unsigned i = 0; i < MT_COUNT(names); i++) {
        if (strcmp(value, names[i]) == 0) {
            reading->options.launch_by = (enum launch_by)i;
            return MANTA_OK;
        }
    }
    return refuse(reading, "--launcher", value, BY_EXPECTED);
}

static int take_bind(struct reading *reading, const char *value)
{
    bool is_core = strcmp(value, "core") == 0;
    if (!is_core && strcmp(value, "none") != 0) {
        return refuse(reading, "--bind", value, BIND_EXPECTED);
    }
    reading->options.binding = is_core ? BINDING_CORE : BINDING_NONE;
    return MANTA_OK;
}

static int take_keep_going(struct reading *reading, const char *value)
{
    reading->options.recovery = RECOVERY_KEEP_GOING;
    return MANTA_OK;
}

static int take_no_recovery(struct reading *reading, const char *value)
{
    reading->options.recovery = RECOVERY_NONE;
    return MANTA_OK;
}

/* A number without a unit is seconds. */
static int take_time(struct reading *reading, const char *option, const char *value,
                     uint64_t *ret_ns)
{
    const struct base_config_row row = {
        option, BASE_CONFIG_TIME, 0, 0, SECONDS, UINT64_C(31536000) * SECONDS, ""};
    char word[64], reason[MANTA_ERROR_TEXT_MAX];
    size_t length = strlen(value);
    bool is_bare = length && strspn(value, "0123456789") == length;
    bool fits = length < sizeof word - 1;
    if (fits) {
        memcpy(word, value, length);
        word[length] = 's';
        word[length + is_bare] = 0;
    }
    return fits && base_config_parse(&row, word, ret_ns, reason, sizeof reason) == MANTA_OK
               ? MANTA_OK
               : refuse(reading, option, value, TIME_EXPECTED);
}

static int take_timeout(struct reading *reading, const char *value)
{
    return take_time(reading, "--timeout", value, &reading->options.timeout_ns);
}

static int take_grace(struct reading *reading, const char *value)
{
    return take_time(reading, "--grace", value, &reading->options.grace_ns);
}

static int take_launcher_args(struct reading *reading, const char *value)
{
    struct options *options = &reading->options;
    char *rest = NULL, *words = copy(reading, value);
    for (char *one = strtok_r(words, " \t\n", &rest); one; one = strtok_r(NULL, " \t\n", &rest)) {
        options->launcher_args[options->launcher_arg_count++] = one;
    }
    return MANTA_OK;
}

static int take_verbose(struct reading *reading, const char *value)
{
    reading->options.is_verbose = true;
    return MANTA_OK;
}

static int take_help(struct reading *reading, const char *value)
{
    reading->options.wants_help = true;
    return MANTA_OK;
}

static const struct option_row rows[] = {
    {"-n", RANKS_EXPECTED, take_ranks},
    {"--hosts", HOSTS_EXPECTED, take_hosts},
    {"--launcher", BY_EXPECTED, take_launcher},
    {"--bind", BIND_EXPECTED, take_bind},
    {"--keep-going", NULL, take_keep_going},
    {"--no-recovery", NULL, take_no_recovery},
    {"--timeout", TIME_EXPECTED, take_timeout},
    {"--grace", TIME_EXPECTED, take_grace},
    {"--launcher-args", ARGS_EXPECTED, take_launcher_args},
    {"--verbose", NULL, take_verbose},
    {"--help", NULL, take_help},
};

static const struct option_row *find_row(const char *word, size_t length)
{
    for (size_t i = 0; i < MT_COUNT(rows); i++) {
        if (strlen(rows[i].name) == length && strncmp(rows[i].name, word, length) == 0) {
            return &rows[i];
        }
    }
    return NULL;
}

static int refuse_unknown(struct reading *reading, const char *word)
{
    size_t used = 0;
    char names[256] = "";
    for (size_t i = 0; i < MT_COUNT(rows); i++) {
        used += (size_t)snprintf(names + used, sizeof names - used, "%s%s", i ? ", " : "",
                                 rows[i].name);
    }
    snprintf(reading->text, reading->text_size,
             "unknown option '%s', expected one of %s; options of the launcher go into "
             "--launcher-args, those of the program behind its name",
             word, names);
    return MANTA_E_INVALID;
}

/* Takes argv[*index] and its value; *index is behind them then. */
static int take_one(struct reading *reading, char **argv, int *index)
{
    const char *word = argv[(*index)++], *equals = strchr(word, '=');
    const struct option_row *row = find_row(word, equals ? (size_t)(equals - word) : strlen(word));
    if (!row && strncmp(word, "-n", 2) == 0 && isdigit((unsigned char)word[2])) {
        return take_ranks(reading, word + 2);
    }
    if (!row) {
        return refuse_unknown(reading, word);
    }
    if (!row->expected) {
        return equals ? refuse(reading, row->name, equals + 1, "no value")
                      : row->take(reading, NULL);
    }
    const char *value = equals ? equals + 1 : argv[*index];
    if (!value) {
        snprintf(reading->text, reading->text_size, "%s got nothing, expected %s", row->name,
                 row->expected);
        return MANTA_E_INVALID;
    }
    *index += !equals;
    return row->take(reading, value);
}

static int take_all(struct reading *reading, int argc, char **argv)
{
    int index = 1, code = MANTA_OK;
    while (code == MANTA_OK && index < argc && argv[index][0] == '-') {
        if (strcmp(argv[index], "--") == 0) {
            index++;
            break;
        }
        code = take_one(reading, argv, &index);
    }
    reading->options.program = argv + index;
    if (code == MANTA_OK && index == argc && !reading->options.wants_help) {
        snprintf(reading->text, reading->text_size,
                 "got no program, expected one behind the options: manta run -n 4 ./program");
        code = MANTA_E_INVALID;
    }
    return code;
}

/* Nothing that is read is longer, or has more words, than the command line. */
static int make_room(struct options *options, int argc, char **argv)
{
    size_t bytes = 1;
    for (int i = 0; i < argc; i++) {
        bytes += strlen(argv[i]) + 1;
    }
    options->texts = base_alloc(bytes);
    options->launcher_args = base_alloc((bytes + 1) * sizeof *options->launcher_args);
    options->hosts = base_alloc(OPTIONS_HOSTS_MAX * sizeof *options->hosts);
    return options->texts && options->launcher_args && options->hosts ? MANTA_OK : MANTA_E_NOMEM;
}

int options_read(int argc, char **argv, struct options *ret_options, char *text, size_t text_size)
{
    struct reading reading = {.options.grace_ns = GRACE_NS, .text = text, .text_size = text_size};
    int code = make_room(&reading.options, argc, argv);
    reading.next_text = reading.options.texts;
    if (code == MANTA_OK) {
        code = take_all(&reading, argc, argv);
    } else {
        snprintf(text, text_size, "no memory for the command line");
    }
    if (code != MANTA_OK) {
        options_fini(&reading.options);
        return code;
    }
    *ret_options = reading.options;
    return MANTA_OK;
}

void options_fini(struct options *options)
{
    base_free(options->texts);
    base_free(options->launcher_args);
    base_free(options->hosts);
}
