/*
 * Parallel HDF5: processes under mpirun write one dataset together, each its slab, compressed; then
 * each reads another one's; and what is not there is an error for all.
 *
 *     parallel FILE
 */
#include <manta/hdf5.h>
#include <mpi.h>
#include <stdio.h>
#include <unistd.h>

enum { ROWS = 400, COLUMNS = 30 };

static MPI_Comm comm = MPI_COMM_WORLD;
static manta_error error;

static void require(int is_well, const char *what)
{
    if (!is_well) {
        fprintf(stderr, "%s: %s\n", what, error.text);
        MPI_Abort(comm, 1);
    }
}

static void write_slab(manta_h5_place place, uint64_t rank, uint64_t size)
{
    static double x[ROWS][COLUMNS];
    const uint64_t start[] = {rank * ROWS, 0}, extents[] = {size * ROWS, COLUMNS};
    const manta_h5_options options = {.extents = extents, .deflate = 3, .shuffle = 1};
    const manta_layout layout = MANTA_LAYOUT(double, ROWS, COLUMNS);
    for (uint64_t i = 0; i < ROWS * COLUMNS; i++) {
        x[i / COLUMNS][i % COLUMNS] = (double)(rank * ROWS * COLUMNS + i);
    }
    place.start = start;
    require(manta_h5_save(&place, &options, &layout, x, &error) == MANTA_OK, "writing");
}

static void read_slab(manta_h5_place place, uint64_t of)
{
    static double x[ROWS][COLUMNS];
    const uint64_t start[] = {of * ROWS, 0}, count[] = {ROWS, COLUMNS};
    const manta_layout layout = MANTA_LAYOUT(double, ROWS, COLUMNS);
    place.start = start;
    place.count = count;
    require(manta_h5_load(&place, &layout, x, &error) == MANTA_OK, "reading");
    for (uint64_t i = 0; i < ROWS * COLUMNS; i++) {
        require(x[i / COLUMNS][i % COLUMNS] == (double)(of * ROWS * COLUMNS + i), "the numbers");
    }
}

int main(int argc, char **argv)
{
    int rank, size;
    manta_layout layout;
    MPI_Init(&argc, &argv);
    MPI_Comm_rank(comm, &rank);
    MPI_Comm_size(comm, &size);
    manta_h5_place place = {.file = argv[1], .dataset = "/group/x", .mpi_comm = &comm};
    write_slab(place, (uint64_t)rank, (uint64_t)size);
    read_slab(place, (uint64_t)(size - 1 - rank));
    place.dataset = "/group/y";
    require(manta_h5_layout(&place, &layout, &error) == MANTA_E_NOTFOUND, "what is not there");
    MPI_Barrier(comm);
    if (rank == 0) {
        unlink(argv[1]);
    }
    return MPI_Finalize();
}
