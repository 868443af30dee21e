/*
 * Bootstraps: alone, and the loader of libmanta_mpi.
 *
 * The plugin is looked for where MANTA_MPI_LIBRARY says, beside the library this code
 * is in, in `mpi` below it (a build directory), and last by the loader's own search.
 * It is loaded with global visibility, because MPI libraries load components that
 * expect to find its symbols, and it is never unloaded, for the same reason.
 */
#include "launch/boot.h"

#include "launch/mpi_plugin.h"

#include <dlfcn.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#define PLUGIN_FILE "libmanta_mpi.so"

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

static void *load_beside(const char *subdirectory)
{
    char path[PATH_MAX];
    Dl_info self;
    if (!dladdr((void *)(uintptr_t)boot_open_mpi, &self) || !self.dli_fname) {
        return NULL;
    }
    const char *slash = strrchr(self.dli_fname, '/');
    int length = slash ? (int)(slash - self.dli_fname) + 1 : 0;
    int written =
        snprintf(path, sizeof path, "%.*s%s" PLUGIN_FILE, length, self.dli_fname, subdirectory);
    return written < PATH_MAX && access(path, R_OK) == 0 ? dlopen(path, RTLD_NOW | RTLD_GLOBAL)
                                                         : NULL;
}

static void *load(void)
{
    const char *named = getenv("MANTA_MPI_LIBRARY");
    if (named && *named) {
        return dlopen(named, RTLD_NOW | RTLD_GLOBAL);
    }
    void *library = load_beside("");
    library = library ? library : load_beside("mpi/");
    return library ? library : dlopen(PLUGIN_FILE, RTLD_NOW | RTLD_GLOBAL);
}

static const struct mpi_plugin *find_plugin(char *text, size_t text_size)
{
    void *library = load();
    const struct mpi_plugin *plugin = library ? dlsym(library, MPI_PLUGIN_SYMBOL) : NULL;
    if (!plugin) {
        const char *reason = dlerror();
        snprintf(text, text_size,
                 "cannot load " PLUGIN_FILE " (%s): build Manta with MPI or set MANTA_MPI_LIBRARY",
                 reason ? reason : "it has no " MPI_PLUGIN_SYMBOL);
        return NULL;
    }
    if (plugin->version != MPI_PLUGIN_VERSION) {
        snprintf(text, text_size,
                 PLUGIN_FILE " is of another version (%u, not %d): install both from one build",
                 plugin->version, MPI_PLUGIN_VERSION);
        return NULL;
    }
    return plugin;
}

int boot_open_mpi(const struct launcher *launcher, enum boot_use use, const void *mpi_comm,
                  struct boot *ret_boot, char *text, size_t text_size)
{
    struct boot boot;
    const struct mpi_plugin *plugin = find_plugin(text, text_size);
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
