/*
 * libmanta_mpi: the bootstrap over MPI, and the only code that knows mpi.h.
 *
 * If the program has initialized MPI, that is used as it is: a duplicate of
 * MPI_COMM_WORLD, or of the communicator that the program gives, with its own error handler;
 * nothing of the program's is changed and nothing is finalized. Otherwise MPI is initialized
 * here, single-threaded when it is needed for the bootstrap only.
 *
 * The exchange is non-blocking and tested in a loop that sleeps, for two reasons: it
 * ends at a deadline when a rank is missing, and on a node with more ranks than cores
 * those that wait leave the cores to those that still start.
 */
#include "launch/mpi_plugin.h"

#include "base/compiler.h"
#include "base/host.h"
#include "manta/error.h"

#include <mpi.h>
#include <stdio.h>
#include <time.h>

#define PAUSE_MAX_NS 1000000

#define STRING_OF(x) #x
#define STRING(x) STRING_OF(x)

#if defined(OPEN_MPI) && OPEN_MPI
#define IS_OPEN_MPI 1
#define LIBRARY                                                                                    \
    "Open MPI " STRING(OMPI_MAJOR_VERSION) "." STRING(OMPI_MINOR_VERSION) "." STRING(              \
        OMPI_RELEASE_VERSION)
#elif defined(MPICH_VERSION)
#define IS_OPEN_MPI 0
#define LIBRARY "MPICH " MPICH_VERSION
#else
#define IS_OPEN_MPI 0
#define LIBRARY "its MPI"
#endif

static MPI_Comm comm = MPI_COMM_NULL;
static int is_ours; /* MPI was initialized here */

static int initialize(enum mpi_use use, char *text, size_t text_size)
{
    int provided, wanted = use == MPI_USE_KEPT ? MPI_THREAD_MULTIPLE : MPI_THREAD_SINGLE;
    if (MPI_Init_thread(NULL, NULL, wanted, &provided) != MPI_SUCCESS) {
        snprintf(text, text_size, "MPI_Init_thread of %s failed", LIBRARY);
        return MANTA_E_LAUNCH;
    }
    is_ours = 1;
    return MANTA_OK;
}

static int prepare(enum mpi_use use, char *text, size_t text_size)
{
    int is_initialized, is_finalized;
    MPI_Initialized(&is_initialized);
    MPI_Finalized(&is_finalized);
    if (is_finalized) {
        snprintf(text, text_size,
                 "MPI has been finalized already; start Manta before MPI_Finalize");
        return MANTA_E_LAUNCH;
    }
    return is_initialized ? MANTA_OK : initialize(use, text, text_size);
}

static int check_given(MPI_Comm given, char *text, size_t text_size)
{
    int is_inter = 0;
    if (given == MPI_COMM_NULL || MPI_Comm_test_inter(given, &is_inter) != MPI_SUCCESS ||
        is_inter) {
        snprintf(text, text_size,
                 "manta_config.mpi_comm is %s: give an intracommunicator, and call manta_init on "
                 "its processes only",
                 is_inter ? "an intercommunicator" : "MPI_COMM_NULL or none");
        return MANTA_E_INVALID;
    }
    return MANTA_OK;
}

static int start(enum mpi_use use, const void *given, uint32_t *ret_rank, uint32_t *ret_size,
                 char *text, size_t text_size)
{
    int rank, size, code = prepare(use, text, text_size);
    MPI_Comm wanted = given ? *(const MPI_Comm *)given : MPI_COMM_WORLD;
    code = code ? code : check_given(wanted, text, text_size);
    if (code != MANTA_OK) {
        return code;
    }
    if (MPI_Comm_dup(wanted, &comm) != MPI_SUCCESS) {
        snprintf(text, text_size, "MPI_Comm_dup of %s failed", LIBRARY);
        return MANTA_E_LAUNCH;
    }
    MPI_Comm_set_errhandler(comm, MPI_ERRORS_RETURN);
    MPI_Comm_rank(comm, &rank);
    MPI_Comm_size(comm, &size);
    *ret_rank = (uint32_t)rank;
    *ret_size = (uint32_t)size;
    return MANTA_OK;
}

static int await(MPI_Request *request, uint64_t timeout_ns)
{
    const struct base_host *host = &base_host_real;
    uint64_t deadline_ns = base_deadline_after(base_now_ns(host), timeout_ns);
    struct timespec pause = {0, 20000};
    for (int is_done = 0;;) {
        if (MPI_Test(request, &is_done, MPI_STATUS_IGNORE) != MPI_SUCCESS) {
            return MANTA_E_LAUNCH;
        }
        if (is_done) {
            return MANTA_OK;
        }
        if (base_now_ns(host) >= deadline_ns) {
            return MANTA_E_TIMEOUT;
        }
        nanosleep(&pause, NULL);
        pause.tv_nsec = MT_MIN(pause.tv_nsec * 2, PAUSE_MAX_NS);
    }
}

static int allgather(const void *mine, size_t bytes, void *all, uint64_t timeout_ns)
{
    MPI_Request request;
    int count = (int)bytes;
    if (MPI_Iallgather(mine, count, MPI_BYTE, all, count, MPI_BYTE, comm, &request) !=
        MPI_SUCCESS) {
        return MANTA_E_LAUNCH;
    }
    return await(&request, timeout_ns);
}

static void finish(void)
{
    int is_finalized;
    MPI_Finalized(&is_finalized);
    if (is_finalized) {
        return;
    }
    if (comm != MPI_COMM_NULL) {
        MPI_Comm_free(&comm);
    }
    if (is_ours) {
        MPI_Finalize();
    }
}

MT_EXPORT extern const struct mpi_plugin manta_mpi_plugin;

const struct mpi_plugin manta_mpi_plugin = {
    .version = MPI_PLUGIN_VERSION,
    .is_open_mpi = IS_OPEN_MPI,
    .library = LIBRARY,
    .start = start,
    .allgather = allgather,
    .finish = finish,
};
