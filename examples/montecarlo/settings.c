/* A grid is read whole: a mistake in its last line must be known before the first row is priced. */
#include "settings.h"

#include <errno.h>
#include <getopt.h>
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#define FILE_BYTES_MAX (256u << 20)

static const char usage[] =
    "usage: options [--seed N] [--antithetic] [--output FILE] [--progress STYLE] GRID.csv\n"
    "\n"
    "Prices a grid of options by Monte Carlo on all ranks and writes one HDF5 table.\n"
    "\n"
    "  --seed N          of the random streams; default 1\n"
    "  --antithetic      mirrored pairs of paths; odd sample counts are rounded up\n"
    "  --output FILE     default options.h5\n"
    "  --progress STYLE  auto (default), bar, lines or none; on standard error\n"
    "  --help            this text\n"
    "\n"
    "The grid's first line names its columns, in any order (dividend may be missing):\n";

static void print_help(void)
{
    fputs(usage, stdout);
    for (size_t i = 0; i < GRID_COLUMNS; i++) {
        printf("  %-12s %s\n", grid_columns[i].name, grid_columns[i].expected);
    }
}

static int refuse(const char *what, const char *value)
{
    fprintf(stderr, "options: %s %s; see --help\n", what, value);
    return EXIT_BAD_INPUT;
}

static int parse_seed(const char *text, uint64_t *ret_seed)
{
    char *end;
    errno = 0;
    unsigned long long seed = strtoull(text, &end, 10);
    if (errno != 0 || *text < '0' || *text > '9' || *end != '\0') {
        return refuse("--seed takes a whole number, not", text);
    }
    *ret_seed = seed;
    return 0;
}

static int parse_style(const char *text, enum progress_style *ret_style)
{
    static const char *const names[] = {"auto", "bar", "lines", "none"};
    for (int i = 0; i < 4; i++) {
        if (strcmp(text, names[i]) == 0) {
            *ret_style = (enum progress_style)i;
            return 0;
        }
    }
    return refuse("--progress is auto, bar, lines or none, not", text);
}

int settings_parse(int argc, char **argv, struct settings *settings)
{
    static const struct option names[] = {
        {"seed", required_argument, NULL, 's'},   {"antithetic", no_argument, NULL, 'a'},
        {"output", required_argument, NULL, 'o'}, {"progress", required_argument, NULL, 'p'},
        {"help", no_argument, NULL, 'h'},         {0},
    };
    int rc = 0;
    for (int c; rc == 0 && (c = getopt_long(argc, argv, "", names, NULL)) != -1;) {
        switch (c) {
        case 's':
            rc = parse_seed(optarg, &settings->seed);
            break;
        case 'a':
            settings->pairing = PATHS_ANTITHETIC;
            break;
        case 'o':
            settings->output = optarg;
            break;
        case 'p':
            rc = parse_style(optarg, &settings->style);
            break;
        case 'h':
            print_help();
            return SETTINGS_HELP;
        default:
            return EXIT_BAD_INPUT;
        }
    }
    if (rc == 0 && optind + 1 != argc) {
        return refuse("give one grid file, not", optind == argc ? "none" : "several");
    }
    settings->grid = argv[optind];
    return rc;
}

/* The whole file, or NULL with errno. Owned: free. */
static char *read_file(const char *path, size_t *ret_bytes)
{
    FILE *file = fopen(path, "rb");
    if (!file) {
        return NULL;
    }
    size_t bytes = 0, room = 65536;
    char *text = malloc(room);
    while (text) {
        bytes += fread(text + bytes, 1, room - bytes, file);
        if (bytes < room || room >= FILE_BYTES_MAX) {
            break;
        }
        room *= 2;
        char *more = realloc(text, room);
        if (!more) {
            free(text);
        }
        text = more;
    }
    int error = ferror(file) ? EIO : bytes >= FILE_BYTES_MAX ? EFBIG : 0;
    fclose(file);
    if (text && error != 0) {
        free(text);
        text = NULL;
        errno = error;
    }
    *ret_bytes = bytes;
    return text;
}

static void print_errors(const char *path, const struct csv_errors *errors)
{
    size_t listed = errors->count < CSV_ERRORS_MAX ? errors->count : CSV_ERRORS_MAX;
    for (size_t i = 0; i < listed; i++) {
        const struct csv_error *error = &errors->list[i];
        fprintf(stderr, "%s:%" PRIu32 ":%" PRIu32 ": %s\n", path, error->line, error->column,
                error->text);
    }
    if (listed < errors->count) {
        fprintf(stderr, "%s: and %zu more\n", path, errors->count - listed);
    }
    fprintf(stderr, "options: nothing was priced: correct %s first\n", path);
}

int settings_load_grid(const struct settings *settings, struct grid *ret_grid)
{
    const char *path = settings->grid;
    size_t bytes;
    char *text = read_file(path, &bytes);
    if (!text) {
        fprintf(stderr, "options: cannot read %s: %s\n", path, strerror(errno));
        return EXIT_BAD_INPUT;
    }
    struct csv_errors errors = {0};
    bool good = grid_parse(text, bytes, ret_grid, &errors);
    free(text);
    if (!good) {
        print_errors(path, &errors);
    }
    return good ? 0 : EXIT_BAD_INPUT;
}

int settings_check_output(const struct settings *settings)
{
    const char *path = settings->output;
    const char *slash = strrchr(path, '/');
    char *folder = slash ? strndup(path, (size_t)(slash - path) + 1) : strdup(".");
    struct stat status;
    bool taken = stat(path, &status) == 0 && !S_ISREG(status.st_mode);
    int rc = folder && access(folder, W_OK | X_OK) == 0 && !taken ? 0 : EXIT_BAD_INPUT;
    if (rc != 0) {
        fprintf(stderr, "options: cannot write %s: %s\n", path,
                taken ? "not a plain file" : strerror(errno));
    }
    free(folder);
    return rc;
}
