/* Memory limits of recorded systems: fake /proc and /sys/fs/cgroup trees in a temporary folder. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "base/compiler.h"
#include "manta/error.h"
#include "topo/topo.h"

#include <ftw.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#define GIB (UINT64_C(1) << 30)
#define VM_BYTES (4 * GIB) /* memory of topo_vm.xml */

#define MOUNT_V2 "30 23 0:26 / /sys/fs/cgroup rw,nosuid - cgroup2 cgroup2 rw,nsdelegate\n"
#define MOUNT_V1 "35 31 0:32 / /sys/fs/cgroup/memory rw shared:9 - cgroup cgroup rw,memory\n"
#define MOUNT_CPU "33 31 0:30 / /sys/fs/cgroup/cpu rw - cgroup cgroup rw,cpu\n"
#define MOUNT_HYBRID "36 31 0:33 / /sys/fs/cgroup/unified rw - cgroup2 cgroup2 rw\n"

static char root[64];

static void write_file(const char *path, const char *content)
{
    char full[512];
    snprintf(full, sizeof full, "%s/%s", root, path);
    for (char *slash = full + strlen(root) + 1; (slash = strchr(slash, '/')) != NULL; slash++) {
        *slash = '\0';
        mkdir(full, 0700);
        *slash = '/';
    }
    FILE *file = fopen(full, "w");
    assert_non_null(file);
    fputs(content, file);
    fclose(file);
}

static int make_root(void **state)
{
    strcpy(root, "/tmp/manta_limits_XXXXXX");
    return mkdtemp(root) ? 0 : -1;
}

static int remove_one(const char *path, const struct stat *info, int type, struct FTW *at)
{
    return remove(path);
}

static int remove_root(void **state)
{
    return nftw(root, remove_one, 8, FTW_DEPTH | FTW_PHYS);
}

static uint64_t limit(void)
{
    char cgroup[128], proc[128];
    struct topo *topo = NULL;
    struct topo_source source = {GOLDEN_DIR "/topo_vm.xml", NULL, cgroup, proc};
    snprintf(cgroup, sizeof cgroup, "%s/cgroup", root);
    snprintf(proc, sizeof proc, "%s/proc", root);
    assert_int_equal(topo_create(&source, &topo), MANTA_OK);
    uint64_t bytes = topo_memory_limit_bytes(topo);
    topo_destroy(topo);
    return bytes;
}

static void without_any_limit_it_is_the_machine(void **state)
{
    assert_int_equal(limit(), VM_BYTES);
    write_file("proc/self/cgroup", "0::/\n");
    write_file("proc/self/mountinfo", MOUNT_V2);
    write_file("cgroup/memory.max", "max\n");
    write_file("proc/self/limits",
               "Max address space         unlimited            unlimited            bytes\n");
    assert_int_equal(limit(), VM_BYTES);
}

static void what_is_available_now_is_a_limit(void **state)
{
    write_file("proc/meminfo",
               "MemTotal:        4194304 kB\nMemFree:    1 kB\nMemAvailable:    2097152 kB\n");
    assert_int_equal(limit(), 2 * GIB);
}

static void the_address_space_limit_holds(void **state)
{
    write_file("proc/self/limits",
               "Limit                     Soft Limit           Hard Limit           Units\n"
               "Max cpu time              unlimited            unlimited            seconds\n"
               "Max address space         1073741824           unlimited            bytes\n");
    assert_int_equal(limit(), GIB);
}

static void the_own_group_of_version_2_holds(void **state)
{
    write_file("proc/self/cgroup", "0::/slurm/job_1/step_0\n");
    write_file("proc/self/mountinfo", MOUNT_CPU MOUNT_V2);
    write_file("cgroup/slurm/job_1/step_0/memory.max", "1073741824\n");
    assert_int_equal(limit(), GIB);
}

static void behaviour_85_an_ancestor_group_of_version_2_holds(void **state)
{
    write_file("proc/self/cgroup", "0::/slurm/job_1/step_0\n");
    write_file("proc/self/mountinfo", MOUNT_V2);
    write_file("cgroup/slurm/memory.max", "2147483648\n");
    write_file("cgroup/slurm/job_1/memory.max", "1073741824\n");
    write_file("cgroup/slurm/job_1/step_0/memory.max", "max\n");
    write_file("cgroup/slurm/job_2/memory.max", "4096\n");
    assert_int_equal(limit(), GIB);
}

static void the_throttling_limit_of_version_2_holds(void **state)
{
    write_file("proc/self/cgroup", "0::/user\n");
    write_file("proc/self/mountinfo", MOUNT_V2);
    write_file("cgroup/user/memory.max", "2147483648\n");
    write_file("cgroup/user/memory.high", "1073741824\n");
    assert_int_equal(limit(), GIB);
}

static void behaviour_85_an_ancestor_group_of_version_1_holds(void **state)
{
    write_file("proc/self/cgroup", "5:cpu,cpuacct:/other\n4:memory:/slurm/job_1\n0::/\n");
    write_file("proc/self/mountinfo", MOUNT_CPU MOUNT_V1);
    write_file("cgroup/memory/memory.limit_in_bytes", "9223372036854771712\n");
    write_file("cgroup/memory/slurm/memory.limit_in_bytes", "1073741824\n");
    write_file("cgroup/memory/slurm/job_1/memory.limit_in_bytes", "2147483648\n");
    write_file("cgroup/memory/other/memory.limit_in_bytes", "4096\n");
    assert_int_equal(limit(), GIB);
}

static void both_versions_hold_when_both_are_mounted(void **state)
{
    write_file("proc/self/cgroup", "4:memory:/a\n0::/b\n");
    write_file("proc/self/mountinfo", MOUNT_V1 MOUNT_HYBRID);
    write_file("cgroup/memory/a/memory.limit_in_bytes", "2147483648\n");
    write_file("cgroup/unified/b/memory.max", "3221225472\n");
    assert_int_equal(limit(), 2 * GIB);
    write_file("cgroup/unified/b/memory.max", "1073741824\n");
    assert_int_equal(limit(), GIB);
}

/* The mount shows only the container's own group; the name is still the host's. */
static void a_container_reads_below_its_mounts_root(void **state)
{
    write_file("proc/self/cgroup", "4:memory:/docker/abc/inner\n");
    write_file(
        "proc/self/mountinfo",
        "35 31 0:32 /docker/abc /sys/fs/cgroup/memory ro master:4 - cgroup cgroup rw,memory\n");
    write_file("cgroup/memory/memory.limit_in_bytes", "2147483648\n");
    write_file("cgroup/memory/inner/memory.limit_in_bytes", "1073741824\n");
    assert_int_equal(limit(), GIB);
}

static void a_group_that_is_not_visible_falls_back_to_the_mounts_root(void **state)
{
    static const char *const names[] = {"0::/../../elsewhere\n", "0::/docker/abcdef\n", "0::/\n"};
    write_file("proc/self/mountinfo",
               "30 23 0:26 /docker/abc /sys/fs/cgroup ro - cgroup2 cgroup rw\n");
    write_file("cgroup/memory.max", "1073741824\n");
    write_file("cgroup/def/memory.max", "4096\n");
    for (size_t i = 0; i < MT_COUNT(names); i++) {
        write_file("proc/self/cgroup", names[i]);
        assert_int_equal(limit(), GIB);
    }
}

static void a_mount_elsewhere_is_read_where_it_is(void **state)
{
    char line[256];
    snprintf(line, sizeof line, "30 23 0:26 / %s/elsewhere rw - cgroup2 cgroup2 rw\n", root);
    write_file("proc/self/mountinfo", line);
    write_file("proc/self/cgroup", "0::/x\n");
    write_file("elsewhere/x/memory.max", "1073741824\n");
    assert_int_equal(limit(), GIB);
}

static void broken_files_limit_nothing(void **state)
{
    write_file("proc/self/cgroup", "\n:\n0\n0:\n4:memory\nnonsense\n0::/x\n4:memory:/x\n");
    write_file("proc/self/mountinfo",
               "\n - \n1 2 3\n - cgroup2\n" MOUNT_V2 "35 31 0:32 / /y - cgroup\n");
    write_file("proc/meminfo", "MemAvailable:\nMemAvailable: lots\n");
    write_file("proc/self/limits", "Max address space\n");
    write_file("cgroup/x/memory.max", "\n");
    write_file("cgroup/x/memory.high", "much\n");
    assert_int_equal(limit(), VM_BYTES);
}

#define LIMIT_TEST(name) cmocka_unit_test_setup_teardown(name, make_root, remove_root)

int main(void)
{
    const struct CMUnitTest tests[] = {
        LIMIT_TEST(without_any_limit_it_is_the_machine),
        LIMIT_TEST(what_is_available_now_is_a_limit),
        LIMIT_TEST(the_address_space_limit_holds),
        LIMIT_TEST(the_own_group_of_version_2_holds),
        LIMIT_TEST(behaviour_85_an_ancestor_group_of_version_2_holds),
        LIMIT_TEST(the_throttling_limit_of_version_2_holds),
        LIMIT_TEST(behaviour_85_an_ancestor_group_of_version_1_holds),
        LIMIT_TEST(both_versions_hold_when_both_are_mounted),
        LIMIT_TEST(a_container_reads_below_its_mounts_root),
        LIMIT_TEST(a_group_that_is_not_visible_falls_back_to_the_mounts_root),
        LIMIT_TEST(a_mount_elsewhere_is_read_where_it_is),
        LIMIT_TEST(broken_files_limit_nothing),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
