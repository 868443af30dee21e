/*
 * Prices a grid of European and Asian options by Monte Carlo and writes one HDF5 table.
 *
 *     mpirun -n 4 options --output prices.h5 grid.csv
 *
 * The driver reads and checks the whole grid before any work starts. Each contract is one
 * map over its chunks of paths (paths.h), so a big row is spread over all ranks like many
 * small ones. The maps' refs go into a completion queue: whatever row is finished next is
 * merged, in the order of its chunks, and dropped. A window bounds how many chunks are
 * under way at once. The numbers depend on the grid and the seed only, not on the ranks.
 *
 * European rows are checked against Black-Scholes: further off than CHECK_ERRORS standard
 * errors is a failure of the run. Rows where too few paths paid for the error to mean
 * anything are counted, not checked.
 */
#include "black_scholes.h"
#include "clock.h"
#include "grid.h"
#include "paths.h"
#include "progress.h"
#include "settings.h"
#include "table.h"

#include <inttypes.h>
#include <math.h>
#include <stdlib.h>

#define VERSION_TEXT(a, b, c) VERSION_JOIN(a, b, c)
#define VERSION_JOIN(a, b, c) #a "." #b "." #c
#define VERSION VERSION_TEXT(MANTA_VERSION_MAJOR, MANTA_VERSION_MINOR, MANTA_VERSION_PATCH)

#define WINDOW_CHUNKS 65536
#define LISTED_ROWS 40
#define CHECK_ERRORS 5.0  /* a right row fails once in two million */
#define CHECK_PAYING 100u /* fewer paying draws: the error itself is not known */
#define CHECK_ROUNDING 1e-9
#define POLL_NS 100000000u

/* A contract under way. */
struct row {
    const struct contract *contract;
    struct table_row *result;
    struct paths_plan plan;
    manta_ref ref;
    uint64_t paying;
    enum { ROW_WAITING, ROW_RUNNING, ROW_DONE } state;
};

struct sweep {
    const struct settings *settings;
    struct grid grid;
    struct row *rows; /* one per contract, as are: */
    struct table_row *results;
    struct moments *sums; /* room for the most chunks of any row */
    manta_queue *queue;
    struct progress progress;
    size_t next; /* first row that is not submitted */
    size_t finished;
    size_t failed;
    uint64_t chunks_running;
    uint64_t steps_done; /* of finished rows; a step of a path is the unit of work */
};

MANTA_TASK(price_chunk, val(struct contract, contract), val(int32_t, pairing), val(uint64_t, seed),
           val(uint64_t, row), out(struct moments, sums))
{
    struct paths_plan plan = paths_plan(&contract, (enum paths_pairing)pairing);
    uint64_t chunk = manta_map_index();
    uint64_t first = chunk * plan.chunk_draws;
    uint64_t left = plan.draws - first;
    uint64_t draws = left < plan.chunk_draws ? left : plan.chunk_draws;
    manta_rng rng = manta_rng_stream(seed, row * PATHS_CHUNKS_MAX + chunk);
    *sums = (struct moments){0};
    paths_sample(&contract, (enum paths_pairing)pairing, draws, &rng, sums);
    return MANTA_OK;
}

static uint64_t now_ns(void)
{
    return (uint64_t)(1e9 * seconds());
}

/* ---- The sweep ------------------------------------------------------------------------------ */

static uint64_t steps_of(const struct row *row, uint64_t chunks)
{
    uint64_t draws = chunks == row->plan.chunks ? row->plan.draws : chunks * row->plan.chunk_draws;
    return draws * row->contract->steps;
}

static int prepare(struct sweep *sweep)
{
    size_t count = sweep->grid.count;
    uint64_t most_chunks = 1, steps = 0;
    sweep->rows = calloc(count, sizeof *sweep->rows);
    sweep->results = calloc(count, sizeof *sweep->results);
    for (size_t i = 0; sweep->rows && sweep->results && i < count; i++) {
        struct row *row = &sweep->rows[i];
        row->contract = &sweep->grid.contracts[i];
        row->result = &sweep->results[i];
        row->plan = paths_plan(row->contract, sweep->settings->pairing);
        most_chunks = row->plan.chunks > most_chunks ? row->plan.chunks : most_chunks;
        steps += steps_of(row, row->plan.chunks);
    }
    sweep->sums = malloc(most_chunks * sizeof *sweep->sums);
    if (!sweep->rows || !sweep->results || !sweep->sums) {
        fprintf(stderr, "options: out of memory for %zu rows\n", count);
        return EXIT_BAD_RUN;
    }
    progress_init(&sweep->progress, stderr, sweep->settings->style, "steps", steps, now_ns());
    return 0;
}

static void print_failure(const char *what)
{
    char text[512];
    manta_error_format(manta_last_error(), text, sizeof text);
    fprintf(stderr, "options: %s: %s\n", what, text);
}

/* Keeps the window full. */
static int submit_rows(struct sweep *sweep)
{
    const struct settings *settings = sweep->settings;
    while (sweep->next < sweep->grid.count && sweep->chunks_running < WINDOW_CHUNKS) {
        struct row *row = &sweep->rows[sweep->next];
        row->ref = price_chunk_map(NULL, row->plan.chunks, *row->contract,
                                   (int32_t)settings->pairing, settings->seed, sweep->next);
        if (manta_queue_add(sweep->queue, row->ref, row) != MANTA_OK) {
            print_failure("cannot wait for a row");
            return EXIT_BAD_RUN;
        }
        row->state = ROW_RUNNING;
        sweep->chunks_running += row->plan.chunks;
        sweep->next++;
    }
    return 0;
}

static void settle(const struct row *row, const struct moments *total, enum paths_pairing pairing)
{
    const struct contract *contract = row->contract;
    double discount = exp(-contract->rate * contract->maturity);
    struct table_row *result = row->result;
    result->contract = *contract;
    result->contract.samples = row->plan.draws * (pairing == PATHS_ANTITHETIC ? 2 : 1);
    result->price = total ? discount * total->mean : NAN;
    result->std_error = total ? discount * moments_std_error(total) : NAN;
    result->black_scholes = contract->style == CONTRACT_EUROPEAN ? black_scholes(contract) : NAN;
}

static void finish_row(struct sweep *sweep, struct row *row)
{
    struct moments total = {0};
    int rc = price_chunk_map_get(row->ref, sweep->sums, row->plan.chunks);
    if (rc != MANTA_OK) {
        char what[64];
        snprintf(what, sizeof what, "the row on line %" PRIu32 " failed",
                 sweep->grid.lines[row - sweep->rows]);
        print_failure(what);
        sweep->failed++;
    }
    for (uint64_t i = 0; rc == MANTA_OK && i < row->plan.chunks; i++) {
        moments_merge(&total, &sweep->sums[i]);
    }
    settle(row, rc == MANTA_OK ? &total : NULL, sweep->settings->pairing);
    row->paying = total.paying;
    row->state = ROW_DONE;
    sweep->chunks_running -= row->plan.chunks;
    sweep->steps_done += steps_of(row, row->plan.chunks);
    sweep->finished++;
    (void)manta_drop(row->ref);
}

/* Rows are submitted in order, so those under way lie before `next`. */
static uint64_t count_steps(const struct sweep *sweep)
{
    uint64_t steps = sweep->steps_done;
    for (size_t i = 0; i < sweep->next; i++) {
        const struct row *row = &sweep->rows[i];
        uint64_t chunks;
        if (row->state == ROW_RUNNING && manta_map_progress(row->ref, &chunks) == MANTA_OK) {
            steps += steps_of(row, chunks);
        }
    }
    return steps;
}

static int run_rows(struct sweep *sweep)
{
    while (sweep->finished < sweep->grid.count) {
        int rc = submit_rows(sweep);
        if (rc != 0) {
            return rc;
        }
        manta_ref ref;
        void *label;
        rc = manta_queue_next(sweep->queue, POLL_NS, &ref, &label);
        if (rc == MANTA_OK) {
            finish_row(sweep, label);
        } else if (rc != MANTA_E_TIMEOUT) {
            print_failure("cannot wait for the rows");
            return EXIT_BAD_RUN;
        }
        if (progress_due(&sweep->progress, now_ns())) {
            progress_show(&sweep->progress, count_steps(sweep), now_ns());
        }
    }
    progress_finish(&sweep->progress, sweep->steps_done, now_ns());
    return 0;
}

/* ---- Results -------------------------------------------------------------------------------- */

static void print_row(const struct table_row *row)
{
    const struct contract *contract = &row->contract;
    printf("%-8s %-4s  spot %-8g strike %-8g vol %-5g years %-5g %10.5f +- %.5f",
           contract->style == CONTRACT_ASIAN ? "asian" : "european",
           contract->kind == CONTRACT_CALL ? "call" : "put", contract->spot, contract->strike,
           contract->volatility, contract->maturity, row->price, row->std_error);
    if (contract->style == CONTRACT_EUROPEAN) {
        printf("  Black-Scholes %10.5f", row->black_scholes);
    }
    putchar('\n');
}

/* How many standard errors a European row is off. */
static double deviation_of(const struct table_row *row)
{
    double off = fabs(row->price - row->black_scholes);
    if (off <= CHECK_ROUNDING * (row->contract.spot + row->contract.strike)) {
        return 0;
    }
    return off / row->std_error;
}

/* The number of European rows that disagree with Black-Scholes. */
static size_t check_rows(const struct sweep *sweep)
{
    size_t checked = 0, wrong = 0, unclear = 0;
    double most = 0;
    for (size_t i = 0; i < sweep->grid.count; i++) {
        const struct table_row *row = &sweep->results[i];
        if (isnan(row->black_scholes) || isnan(row->price)) {
            continue;
        }
        if (sweep->rows[i].paying < CHECK_PAYING) {
            unclear++;
            continue;
        }
        double deviation = deviation_of(row);
        checked++;
        most = fmax(most, deviation);
        if (!(deviation <= CHECK_ERRORS)) {
            wrong++;
            fprintf(stderr, "%s:%" PRIu32 ": %.6f is %.1f standard errors from %.6f\n",
                    sweep->settings->grid, sweep->grid.lines[i], row->price, deviation,
                    row->black_scholes);
        }
    }
    printf("European rows: %zu of %zu within %g standard errors of Black-Scholes (largest: %.2f)\n",
           checked - wrong, checked, CHECK_ERRORS, most);
    if (unclear > 0) {
        printf("European rows: %zu not checked, fewer than %u draws paid\n", unclear, CHECK_PAYING);
    }
    return wrong;
}

static int write_results(const struct sweep *sweep)
{
    const struct settings *settings = sweep->settings;
    struct table_facts facts = {.seed = settings->seed,
                                .antithetic = settings->pairing == PATHS_ANTITHETIC,
                                .version = VERSION};
    for (size_t i = 0; i < sweep->grid.count; i++) {
        facts.samples += sweep->results[i].contract.samples;
    }
    char text[256];
    if (table_write(settings->output, sweep->results, sweep->grid.count, &facts, text,
                    sizeof text) != 0) {
        fprintf(stderr, "options: cannot write %s: %s\n", settings->output, text);
        return EXIT_BAD_RUN;
    }
    printf("%s: %zu rows, %" PRIu64 " paths, seed %" PRIu64 "\n", settings->output,
           sweep->grid.count, facts.samples, facts.seed);
    return 0;
}

static int report(const struct sweep *sweep)
{
    for (size_t i = 0; sweep->grid.count <= LISTED_ROWS && i < sweep->grid.count; i++) {
        print_row(&sweep->results[i]);
    }
    size_t wrong = check_rows(sweep);
    int rc = write_results(sweep);
    return rc != 0 ? rc : wrong + sweep->failed > 0 ? EXIT_BAD_RUN : 0;
}

static int run_sweep(struct sweep *sweep)
{
    int rc = prepare(sweep);
    if (rc != 0) {
        return rc;
    }
    if (manta_queue_create(&sweep->queue) != MANTA_OK) {
        print_failure("cannot make a queue");
        return EXIT_BAD_RUN;
    }
    rc = run_rows(sweep);
    manta_queue_destroy(sweep->queue);
    return rc != 0 ? rc : report(sweep);
}

static int driver(int argc, char **argv)
{
    struct settings settings = {.seed = 1, .output = "options.h5"};
    struct sweep sweep = {.settings = &settings};
    int rc = settings_parse(argc, argv, &settings);
    if (rc == 0) {
        rc = settings_check_output(&settings);
    }
    if (rc == 0) {
        rc = settings_load_grid(&settings, &sweep.grid);
    }
    if (rc == 0) {
        rc = run_sweep(&sweep);
    }
    grid_fini(&sweep.grid);
    free(sweep.rows);
    free(sweep.results);
    free(sweep.sums);
    return rc == SETTINGS_HELP ? 0 : rc;
}

int main(int argc, char **argv)
{
    return manta_run(argc, argv, driver);
}
