/* Bootstraps: alone, and through libmanta_mpi. */
#include "launch/boot.h"

#include "launch/mpi_plugin.h"
#include "launch/plugin.h"

#include <dlfcn.h>
#include <string.h>

static int allgather_alone(const void *mine, size_t bytes, void *all, uint64_t timeout_ns)
{
    memcpy(all, mine, bytes);
    return MANTA_OK;
}

struct boot boot_alone(void)
{
    return (struct boot){.rank = 0, .size = 1, .allgather = allgather_alone};
}

bool boot_has_live_mpi(void)
{
    int (*initialized)(int *) = (int (*)(int *))dlsym(RTLD_DEFAULT, "MPI_Initialized");
    int (*finalized)(int *) = (int (*)(int *))dlsym(RTLD_DEFAULT, "MPI_Finalized");
    int is_initialized = 0, is_finalized = 0;
    if (initialized && finalized) {
        initialized(&is_initialized);
        finalized(&is_finalized);
    }
    return is_initialized && !is_finalized;
}

static const struct plugin mpi = {.file = "libmanta_mpi.so",
                                  .directory = "mpi",
                                  .variable = "MANTA_MPI_LIBRARY",
                                  .symbol = MPI_PLUGIN_SYMBOL,
                                  .part = "MPI",
                                  .version = MPI_PLUGIN_VERSION,
                                  .reach = PLUGIN_GLOBAL};

int boot_open_mpi(const struct launcher *launcher, enum boot_use use, const void *mpi_comm,
                  struct boot *ret_boot, char *text, size_t text_size)
{
    struct boot boot;
    const struct mpi_plugin *plugin = plugin_load(&mpi, text, text_size);
    if (!plugin || (!boot_has_live_mpi() && !launcher_suits(launcher, plugin->is_open_mpi,
                                                            plugin->library, text, text_size))) {
        return MANTA_E_LAUNCH;
    }
    int code = plugin->start(use == BOOT_USE_KEPT ? MPI_USE_KEPT : MPI_USE_BRIEF, mpi_comm,
                             &boot.rank, &boot.size, text, text_size);
    if (code != MANTA_OK) {
        return code;
    }
    boot.allgather = plugin->allgather;
    boot.finish = plugin->finish;
    if (!mpi_comm && !launcher_agrees(launcher, boot.size, plugin->library, text, text_size)) {
        plugin->finish();
        return MANTA_E_LAUNCH;
    }
    *ret_boot = boot;
    return MANTA_OK;
}
