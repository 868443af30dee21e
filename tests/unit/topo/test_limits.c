/* Memory limits of recorded systems: fake /proc and /sys/fs/cgroup trees in a temporary folder. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "../../folder.h"
#include "base/compiler.h"
#include "manta/error.h"
#include "topo/topo.h"

#include <stdio.h>

#define GIB (UINT64_C(1) << 30)
#define VM_BYTES (4 * GIB) /* memory of topo_vm.xml */

#define MOUNT_V2 "30 23 0:26 / /sys/fs/cgroup rw,nosuid - cgroup2 cgroup2 rw,nsdelegate\n"
#define MOUNT_V1 "35 31 0:32 / /sys/fs/cgroup/memory rw shared:9 - cgroup cgroup rw,memory\n"
#define MOUNT_CPU "33 31 0:30 / /sys/fs/cgroup/cpu rw - cgroup cgroup rw,cpu\n"
#define MOUNT_HYBRID "36 31 0:33 / /sys/fs/cgroup/unified rw - cgroup2 cgroup2 rw\n"

static uint64_t limit(void)
{
    char cgroup[300], proc[300];
    struct topo *topo = NULL;
    struct topo_source source = {GOLDEN_DIR "/topo_vm.xml", NULL, cgroup, proc};
    snprintf(cgroup, sizeof cgroup, "%s/cgroup", folder);
    snprintf(proc, sizeof proc, "%s/proc", folder);
    assert_int_equal(topo_create(&source, &topo), MANTA_OK);
    uint64_t bytes = topo_memory_limit_bytes(topo);
    topo_destroy(topo);
    return bytes;
}

static void without_any_limit_it_is_the_machine(void **state)
{
    assert_int_equal(limit(), VM_BYTES);
    folder_write("proc/self/cgroup", "0::/\n");
    folder_write("proc/self/mountinfo", MOUNT_V2);
    folder_write("cgroup/memory.max", "max\n");
    folder_write("proc/self/limits",
                 "Max address space         unlimited            unlimited            bytes\n");
    assert_int_equal(limit(), VM_BYTES);
}

static void what_is_available_now_is_a_limit(void **state)
{
    folder_write("proc/meminfo",
                 "MemTotal:        4194304 kB\nMemFree:    1 kB\nMemAvailable:    2097152 kB\n");
    assert_int_equal(limit(), 2 * GIB);
}

static void the_address_space_limit_holds(void **state)
{
    folder_write("proc/self/limits",
                 "Limit                     Soft Limit           Hard Limit           Units\n"
                 "Max cpu time              unlimited            unlimited            seconds\n"
                 "Max address space         1073741824           unlimited            bytes\n");
    assert_int_equal(limit(), GIB);
}

static void the_own_group_of_version_2_holds(void **state)
{
    folder_write("proc/self/cgroup", "0::/slurm/job_1/step_0\n");
    folder_write("proc/self/mountinfo", MOUNT_CPU MOUNT_V2);
    folder_write("cgroup/slurm/job_1/step_0/memory.max", "1073741824\n");
    assert_int_equal(limit(), GIB);
}

static void behaviour_85_an_ancestor_group_of_version_2_holds(void **state)
{
    folder_write("proc/self/cgroup", "0::/slurm/job_1/step_0\n");
    folder_write("proc/self/mountinfo", MOUNT_V2);
    folder_write("cgroup/slurm/memory.max", "2147483648\n");
    folder_write("cgroup/slurm/job_1/memory.max", "1073741824\n");
    folder_write("cgroup/slurm/job_1/step_0/memory.max", "max\n");
    folder_write("cgroup/slurm/job_2/memory.max", "4096\n");
    assert_int_equal(limit(), GIB);
}

static void the_throttling_limit_of_version_2_holds(void **state)
{
    folder_write("proc/self/cgroup", "0::/user\n");
    folder_write("proc/self/mountinfo", MOUNT_V2);
    folder_write("cgroup/user/memory.max", "2147483648\n");
    folder_write("cgroup/user/memory.high", "1073741824\n");
    assert_int_equal(limit(), GIB);
}

static void behaviour_85_an_ancestor_group_of_version_1_holds(void **state)
{
    folder_write("proc/self/cgroup", "5:cpu,cpuacct:/other\n4:memory:/slurm/job_1\n0::/\n");
    folder_write("proc/self/mountinfo", MOUNT_CPU MOUNT_V1);
    folder_write("cgroup/memory/memory.limit_in_bytes", "9223372036854771712\n");
    folder_write("cgroup/memory/slurm/memory.limit_in_bytes", "1073741824\n");
    folder_write("cgroup/memory/slurm/job_1/memory.limit_in_bytes", "2147483648\n");
    folder_write("cgroup/memory/other/memory.limit_in_bytes", "4096\n");
    assert_int_equal(limit(), GIB);
}

static void both_versions_hold_when_both_are_mounted(void **state)
{
    folder_write("proc/self/cgroup", "4:memory:/a\n0::/b\n");
    folder_write("proc/self/mountinfo", MOUNT_V1 MOUNT_HYBRID);
    folder_write("cgroup/memory/a/memory.limit_in_bytes", "2147483648\n");
    folder_write("cgroup/unified/b/memory.max", "3221225472\n");
    assert_int_equal(limit(), 2 * GIB);
    folder_write("cgroup/unified/b/memory.max", "1073741824\n");
    assert_int_equal(limit(), GIB);
}

/* The mount shows only the container's own group; the name is still the host's. */
static void a_container_reads_below_its_mounts_root(void **state)
{
    folder_write("proc/self/cgroup", "4:memory:/docker/abc/inner\n");
    folder_write(
        "proc/self/mountinfo",
        "35 31 0:32 /docker/abc /sys/fs/cgroup/memory ro master:4 - cgroup cgroup rw,memory\n");
    folder_write("cgroup/memory/memory.limit_in_bytes", "2147483648\n");
    folder_write("cgroup/memory/inner/memory.limit_in_bytes", "1073741824\n");
    assert_int_equal(limit(), GIB);
}

static void a_group_that_is_not_visible_falls_back_to_the_mounts_root(void **state)
{
    static const char *const names[] = {"0::/../../elsewhere\n", "0::/docker/abcdef\n", "0::/\n"};
    folder_write("proc/self/mountinfo",
                 "30 23 0:26 /docker/abc /sys/fs/cgroup ro - cgroup2 cgroup rw\n");
    folder_write("cgroup/memory.max", "1073741824\n");
    folder_write("cgroup/def/memory.max", "4096\n");
    for (size_t i = 0; i < MT_COUNT(names); i++) {
        folder_write("proc/self/cgroup", names[i]);
        assert_int_equal(limit(), GIB);
    }
}

static void a_mount_elsewhere_is_read_where_it_is(void **state)
{
    char line[400];
    snprintf(line, sizeof line, "30 23 0:26 / %s/elsewhere rw - cgroup2 cgroup2 rw\n", folder);
    folder_write("proc/self/mountinfo", line);
    folder_write("proc/self/cgroup", "0::/x\n");
    folder_write("elsewhere/x/memory.max", "1073741824\n");
    assert_int_equal(limit(), GIB);
}

static void broken_files_limit_nothing(void **state)
{
    folder_write("proc/self/cgroup", "\n:\n0\n0:\n4:memory\nnonsense\n0::/x\n4:memory:/x\n");
    folder_write("proc/self/mountinfo",
                 "\n - \n1 2 3\n - cgroup2\n" MOUNT_V2 "35 31 0:32 / /y - cgroup\n");
    folder_write("proc/meminfo", "MemAvailable:\nMemAvailable: lots\n");
    folder_write("proc/self/limits", "Max address space\n");
    folder_write("cgroup/x/memory.max", "\n");
    folder_write("cgroup/x/memory.high", "much\n");
    assert_int_equal(limit(), VM_BYTES);
}

#define LIMIT_TEST(name) cmocka_unit_test_setup_teardown(name, folder_make, folder_remove)

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
