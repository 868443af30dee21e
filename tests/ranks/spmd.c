/*
 * A program that owns main: MPI is its own (or, with "plain", Manta's), every rank submits, from
 * ten threads at once, while its own MPI calls go on. Manta's ranks are those of MPI_COMM_WORLD, or
 * of a communicator of the program: "dup" of all, "split" of every second one, backwards, so that
 * two jobs run side by side; "sub" of all but rank 0. Prints "ok" on rank 0. With "until" it prints
 * "running" and goes on until a call fails, as calls do after a death, and then aborts MPI.
 */
#include "check.h"

#include <manta/manta.h>

#include <mpi.h>
#include <pthread.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

enum { THREADS = 10, TASKS = 50, TAG = 5 };

MANTA_TASK(triple, val(int64_t, x), out(int64_t, y))
{
    *y = 3 * x;
    return MANTA_OK;
}

static int submit_some(int thread)
{
    manta_ref refs[TASKS];
    int64_t y;
    for (int i = 0; i < TASKS; i++) {
        refs[i] = triple_async(NULL, thread * 1000 + i);
    }
    for (int i = 0; i < TASKS; i++) {
        CHECK(triple_get(refs[i], &y) == MANTA_OK && y == 3 * (thread * 1000 + i));
        CHECK(manta_drop(refs[i]) == MANTA_OK);
    }
    return 0;
}

static void *thread_main(void *arg)
{
    return (void *)(intptr_t)submit_some((int)(intptr_t)arg);
}

static int submit_from_threads(void)
{
    pthread_t threads[THREADS];
    intptr_t failures = 0;
    for (intptr_t i = 0; i < THREADS; i++) {
        CHECK(pthread_create(&threads[i], NULL, thread_main, (void *)i) == 0);
    }
    int own = submit_some(THREADS);
    for (int i = 0; i < THREADS; i++) {
        void *result;
        pthread_join(threads[i], &result);
        failures += (intptr_t)result;
    }
    return own || failures;
}

static int pass_around(void)
{
    int rank, size;
    MPI_Comm_rank(MPI_COMM_WORLD, &rank);
    MPI_Comm_size(MPI_COMM_WORLD, &size);
    int token = rank, got = -1;
    MPI_Sendrecv(&token, 1, MPI_INT, (rank + 1) % size, TAG, &got, 1, MPI_INT,
                 (rank + size - 1) % size, TAG, MPI_COMM_WORLD, MPI_STATUS_IGNORE);
    CHECK(got == (rank + size - 1) % size);
    return 0;
}

static void log_line(void *arg, int level, const char *line)
{
    fprintf(stderr, "log %d: %s\n", level, line);
}

/* What the program has arranged for each signal, and for MPI's errors. */
struct arrangements {
    struct sigaction actions[NSIG];
    MPI_Errhandler on_error;
};

static void look_at(struct arrangements *now)
{
    memset(now, 0, sizeof *now);
    for (int number = 1; number < NSIG; number++) {
        (void)sigaction(number, NULL, &now->actions[number]);
    }
    MPI_Comm_get_errhandler(MPI_COMM_WORLD, &now->on_error);
}

static int check_arrangements(const struct arrangements *before)
{
    struct arrangements now;
    look_at(&now);
    CHECK(now.on_error == before->on_error);
    for (int number = 1; number < NSIG; number++) {
        CHECK(now.actions[number].sa_handler == before->actions[number].sa_handler);
    }
    return 0;
}

/* One life of Manta inside of the program's own. */
static int live(MPI_Comm comm)
{
    manta_world world;
    manta_config config = {.log = log_line, .workers = 2};
    int rank, size;
    MPI_Comm_rank(comm, &rank);
    MPI_Comm_size(comm, &size);
    config.mpi_comm = comm == MPI_COMM_WORLD ? NULL : &comm;
    struct arrangements before;
    look_at(&before);
    CHECK(manta_world_get(&world) == MANTA_E_STATE);
    CHECK(manta_init(&config) == MANTA_OK);
    CHECK(check_arrangements(&before) == 0);
    CHECK(manta_init(&config) == MANTA_E_STATE);
    CHECK(manta_world_get(&world) == MANTA_OK);
    CHECK(world.rank == (uint32_t)rank && world.size == (uint32_t)size && world.workers == 2);
    CHECK(submit_from_threads() == 0);
    CHECK(pass_around() == 0);
    CHECK(submit_from_threads() == 0);
    CHECK(manta_fini() == MANTA_OK);
    CHECK(check_arrangements(&before) == 0);
    CHECK(manta_fini() == MANTA_E_STATE);
    return 0;
}

static int serve_until_a_failure(int rank)
{
    int64_t y;
    const manta_config config = {.log = log_line};
    int code = manta_init(&config);
    CHECK(code == MANTA_OK);
    if (rank == 0) {
        puts("running");
        fflush(stdout);
    }
    while (code == MANTA_OK) {
        manta_ref ref = triple_async(NULL, 1);
        code = triple_get(ref, &y);
        manta_drop(ref);
        usleep(1000);
    }
    fprintf(stderr, "rank %d: %s\n", rank, manta_error_text(code));
    code = manta_fini();
    fprintf(stderr, "rank %d ended: %s\n", rank, manta_error_text(code));
    return MPI_Abort(MPI_COMM_WORLD, 1);
}

static int plain(void)
{
    manta_world world;
    int is_initialized, is_finalized;
    CHECK(manta_init(NULL) == MANTA_OK);
    CHECK(manta_world_get(&world) == MANTA_OK);
    MPI_Initialized(&is_initialized);
    CHECK(is_initialized == (world.size > 1)); /* kept for the program; alone there is none */
    CHECK(submit_from_threads() == 0);
    CHECK(manta_fini() == MANTA_OK);
    MPI_Finalized(&is_finalized);
    CHECK(is_finalized == (world.size > 1));
    return world.rank == 0 ? puts("ok") < 0 : 0;
}

/* For who is not in the communicator, and goes on with its own MPI calls. */
static int look_on(MPI_Comm comm)
{
    manta_config config = {.mpi_comm = &comm};
    CHECK(manta_init(&config) == MANTA_E_INVALID);
    return pass_around();
}

static MPI_Comm choose(const char *mode, int rank)
{
    MPI_Comm comm = MPI_COMM_WORLD;
    if (strcmp(mode, "dup") == 0) {
        MPI_Comm_dup(MPI_COMM_WORLD, &comm);
    } else if (strcmp(mode, "split") == 0) {
        MPI_Comm_split(MPI_COMM_WORLD, rank % 2, -rank, &comm);
    } else if (strcmp(mode, "sub") == 0) {
        MPI_Comm_split(MPI_COMM_WORLD, rank == 0 ? MPI_UNDEFINED : 0, rank, &comm);
    }
    return comm;
}

int main(int argc, char **argv)
{
    int rank, provided;
    if (argc > 1 && strcmp(argv[1], "plain") == 0) {
        return plain();
    }
    MPI_Init_thread(&argc, &argv, MPI_THREAD_MULTIPLE, &provided);
    MPI_Comm_rank(MPI_COMM_WORLD, &rank);
    if (argc > 1 && strcmp(argv[1], "until") == 0) {
        return serve_until_a_failure(rank);
    }
    MPI_Comm comm = choose(argc > 1 ? argv[1] : "world", rank);
    for (int i = 0; i < 2; i++) { /* Manta can be started again */
        CHECK((comm == MPI_COMM_NULL ? look_on(comm) : live(comm)) == 0);
        CHECK(pass_around() == 0); /* MPI is the program's still */
    }
    if (comm != MPI_COMM_WORLD && comm != MPI_COMM_NULL) {
        MPI_Comm_free(&comm);
    }
    MPI_Barrier(MPI_COMM_WORLD);
    if (rank == 0) {
        puts("ok");
    }
    MPI_Finalize();
    return 0;
}
