/* Memory: how near the limit is, in recorded layouts of both versions of control groups; trees. */
#include "../../folder.h"
#include "harness.h"

#include "base/alloc.h"
#include "spawn/environment.h"
#include "spawn/tree.h"

#include <sys/mman.h>
#include <sys/stat.h>
#include <sys/wait.h>

static char proc_root[300], cgroup_root[300];
static struct spawn_memory_source source;

static int set_up(void **state)
{
    assert_int_equal(folder_make(state), 0);
    snprintf(proc_root, sizeof proc_root, "%s/proc", folder);
    snprintf(cgroup_root, sizeof cgroup_root, "%s/cgroup", folder);
    source = (struct spawn_memory_source){proc_root, cgroup_root};
    folder_write("proc/meminfo", "MemTotal:  1000 kB\nMemFree: 100 kB\nMemAvailable:  600 kB\n");
    return 0;
}

static void expect(uint64_t limit, uint64_t used, bool is_cgroup)
{
    struct spawn_memory memory;
    assert_int_equal(spawn_memory_pressure(&source, &memory), MANTA_OK);
    assert_int_equal(memory.limit_bytes, limit);
    assert_int_equal(memory.used_bytes, used);
    assert_int_equal(memory.left_bytes, limit - used);
    assert_int_equal(memory.is_cgroup, is_cgroup);
}

static void the_node_counts_where_nothing_limits(void **state)
{
    expect(1000 << 10, 400 << 10, false);
}

static void a_job_of_version_two_counts_without_its_caches(void **state)
{
    folder_write("proc/self/cgroup", "0::/slurm/job_7/step_0\n");
    folder_write("proc/self/mountinfo", "35 31 0:32 / /sys/fs/cgroup rw - cgroup2 cgroup2 rw\n");
    folder_write("cgroup/slurm/job_7/step_0/memory.max", "max\n");
    folder_write("cgroup/slurm/job_7/step_0/memory.current", "300000\n");
    folder_write("cgroup/slurm/job_7/memory.max", "500000\n");
    folder_write("cgroup/slurm/job_7/memory.current", "450000\n");
    folder_write("cgroup/slurm/job_7/memory.stat", "anon 1\ninactive_file 50000\nactive_file 9\n");
    expect(500000, 400000, true);
    folder_write("cgroup/slurm/job_7/memory.high", "410000\n");
    expect(410000, 400000, true);
}

static void a_job_of_version_one_counts(void **state)
{
    folder_write("proc/self/cgroup", "5:cpu:/\n4:cpuacct,memory:/job_7\n0::/\n");
    folder_write("proc/self/mountinfo",
                 "35 31 0:32 / /sys/fs/cgroup/cpu rw - cgroup cgroup rw,cpu\n"
                 "36 31 0:33 / /sys/fs/cgroup/memory rw - cgroup cgroup rw,memory\n");
    folder_write("cgroup/memory/job_7/memory.limit_in_bytes", "200000\n");
    folder_write("cgroup/memory/job_7/memory.usage_in_bytes", "199000\n");
    folder_write("cgroup/memory/job_7/memory.stat", "inactive_file 1\ntotal_inactive_file 9000\n");
    folder_write("cgroup/memory/memory.limit_in_bytes", "9223372036854771712\n");
    folder_write("cgroup/memory/memory.usage_in_bytes", "5\n");
    expect(200000, 190000, true);
}

static void in_a_container_the_mount_is_the_root(void **state)
{
    folder_write("proc/self/cgroup", "0::/kube/pod\n");
    folder_write("proc/self/mountinfo",
                 "35 31 0:32 /kube/pod /sys/fs/cgroup rw - cgroup2 cgroup2 rw\n");
    folder_write("cgroup/memory.max", "100000\n");
    folder_write("cgroup/memory.current", "60000\n");
    expect(100000, 60000, true);
}

static void the_node_counts_if_it_has_less_left_than_the_job(void **state)
{
    a_job_of_version_two_counts_without_its_caches(state);
    folder_write("proc/meminfo", "MemTotal:  1000 kB\nMemAvailable:  5 kB\n");
    expect(1000 << 10, 995 << 10, false);
}

static void nothing_to_read_is_not_found(void **state)
{
    struct spawn_memory memory;
    struct spawn_memory_source none = {"/no/such", "/no/such"};
    assert_int_equal(spawn_memory_pressure(&none, &memory), MANTA_E_NOTFOUND);
}

static void this_machine_has_an_answer(void **state)
{
    struct spawn_memory memory;
    assert_int_equal(spawn_memory_pressure(NULL, &memory), MANTA_OK);
    assert_true(memory.limit_bytes > 1 << 20);
    assert_true(memory.used_bytes > 0);
}

static void a_tree_is_children_of_all_threads_and_their_memory(void **state)
{
    pid_t children[8];
    size_t before = tree_children(getpid(), children, 8);
    uint64_t own = tree_resident(getpid());
    pid_t child = fork();
    if (child == 0) {
        size_t size = 32 << 20;
        memset(mmap(NULL, size, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0), 1,
               size);
        if (fork() >= 0) {
            pause();
        }
        _exit(0);
    }
    assert_int_equal(tree_children(getpid(), children, 8), before + 1);
    for (int i = 0; i < 400 && tree_resident(getpid()) < own + (64 << 20); i++) {
        pause_ms(5);
    }
    assert_true(tree_resident(getpid()) >= own + (64 << 20));
    assert_int_equal(tree_children(child, children, 8), 1);
    kill(children[0], SIGKILL);
    kill(child, SIGKILL);
    waitpid(child, NULL, 0);
}

static void launchers_variables_go_and_the_users_stay(void **state)
{
    static const char *const environment[] = {"PATH=/bin",
                                              "OMPI_COMM_WORLD_SIZE=4",
                                              "OMPI_MCA_btl=self",
                                              "OMPI_MCA_ess=pmi",
                                              "OMPI_ALLOW_RUN_AS_ROOT=1",
                                              "PMI_RANK=1",
                                              "PMIX_NAMESPACE=x",
                                              "SLURM_STEP_ID=0",
                                              "SLURM_STEPID=0",
                                              "SLURM_PROCID=1",
                                              "SLURM_JOB_ID=9",
                                              "MANTA_SPAWNER=stale",
                                              "MANTA_WORKERS=2",
                                              NULL};
    static const char *const kept[] = {
        "PATH=/bin",      "OMPI_MCA_btl=self", "OMPI_ALLOW_RUN_AS_ROOT=1",
        "SLURM_JOB_ID=9", "MANTA_WORKERS=2",   "ADDED=1"};
    char **clean = environment_clean(environment, "ADDED=1");
    for (size_t i = 0; i < MT_COUNT(kept); i++) {
        assert_string_equal(clean[i], kept[i]);
    }
    assert_null(clean[MT_COUNT(kept)]);
    base_free(clean);
}

int main(void)
{
#define TEST(name) cmocka_unit_test_setup_teardown(name, set_up, folder_remove)
    const struct CMUnitTest tests[] = {
        TEST(the_node_counts_where_nothing_limits),
        TEST(a_job_of_version_two_counts_without_its_caches),
        TEST(a_job_of_version_one_counts),
        TEST(in_a_container_the_mount_is_the_root),
        TEST(the_node_counts_if_it_has_less_left_than_the_job),
        cmocka_unit_test(nothing_to_read_is_not_found),
        cmocka_unit_test(this_machine_has_an_answer),
        cmocka_unit_test(a_tree_is_children_of_all_threads_and_their_memory),
        cmocka_unit_test(launchers_variables_go_and_the_users_stay),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
