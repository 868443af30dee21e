/*
 * A program that owns main: MPI is its own (or, with "plain", Manta's), every rank submits, from ten
 * threads at once, while its own MPI calls go on. Prints "ok" on rank 0.
 */
#include <manta/manta.h>

#include <mpi.h>
#include <pthread.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>

enum { THREADS = 10, TASKS = 50, TAG = 5 };

#define CHECK(condition)                                                                           \
    do {                                                                                           \
        if (!(condition)) {                                                                        \
            fprintf(stderr, "%s:%d: not so: %s\n", __FILE__, __LINE__, #condition);                \
            return 1;                                                                              \
        }                                                                                          \
    } while (0)

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

static int pass_around(int rank, int size)
{
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
static int live(int rank, int size)
{
    manta_world world;
    manta_config config = {.log = log_line, .workers = 2};
    struct arrangements before;
    look_at(&before);
    CHECK(manta_world_get(&world) == MANTA_E_STATE);
    CHECK(manta_init(&config) == MANTA_OK);
    CHECK(check_arrangements(&before) == 0);
    CHECK(manta_init(&config) == MANTA_E_STATE);
    CHECK(manta_world_get(&world) == MANTA_OK);
    CHECK(world.rank == (uint32_t)rank && world.size == (uint32_t)size && world.workers == 2);
    CHECK(submit_from_threads() == 0);
    CHECK(pass_around(rank, size) == 0);
    CHECK(submit_from_threads() == 0);
    CHECK(manta_fini() == MANTA_OK);
    CHECK(check_arrangements(&before) == 0);
    CHECK(manta_fini() == MANTA_E_STATE);
    return 0;
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

int main(int argc, char **argv)
{
    int rank, size, provided;
    if (argc > 1 && strcmp(argv[1], "plain") == 0) {
        return plain();
    }
    MPI_Init_thread(&argc, &argv, MPI_THREAD_MULTIPLE, &provided);
    MPI_Comm_rank(MPI_COMM_WORLD, &rank);
    MPI_Comm_size(MPI_COMM_WORLD, &size);
    CHECK(live(rank, size) == 0);
    CHECK(pass_around(rank, size) == 0); /* MPI is the program's still */
    CHECK(live(rank, size) == 0);        /* and Manta can be started again */
    MPI_Barrier(MPI_COMM_WORLD);
    if (rank == 0) {
        puts("ok");
    }
    MPI_Finalize();
    return 0;
}
