/*
 * libmanta_cuda's contexts, buffers and staging over a pretended device: what goes to the device
 * comes back, in pieces; who owns what, and what is said when somebody else thinks so; every
 * failing call of the driver is an error and leaks nothing; a buffer is open in another process
 * without a copy.
 */
#include "host_driver.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#include <manta/cuda.h>

#include <cmocka.h>

enum { LARGE = 3 << 20 }; /* doubles: several pieces */

static manta_gpu *gpu;

static int start(void **state)
{
    const manta_config config = {.workers = 2};
    return manta_init(&config);
}

static int stop(void **state)
{
    return manta_fini();
}

static int open_gpu(void **state)
{
    host_device.fail_in = -1;
    host_device.copies = 0;
    return manta_gpu_create(0, &gpu);
}

static int close_gpu(void **state)
{
    manta_gpu_destroy(gpu);
    gpu = NULL;
    return host_device.live || host_device.pinned;
}

static void assert_says(int code, int expected, const char *text)
{
    if (code != expected || !strstr(manta_gpu_error(gpu), text)) {
        fail_msg("%s: \"%s\", not %s with \"%s\"", manta_error_name(code), manta_gpu_error(gpu),
                 manta_error_name(expected), text);
    }
}

static double *numbers(size_t count)
{
    double *x = malloc(count * sizeof *x + 1);
    for (size_t i = 0; i < count; i++) {
        x[i] = (double)i;
    }
    return x;
}

static void what_goes_to_the_device_comes_back(void **state)
{
    const size_t counts[] = {0, 1, 512 << 10, (512 << 10) + 1, 1 << 20, LARGE - 1};
    for (int i = 0; i < 6; i++) {
        double *x = numbers(counts[i]), *y = calloc(counts[i] + 1, sizeof *y);
        const manta_layout layout = MANTA_LAYOUT(double, counts[i]);
        manta_gpu_buffer buffer;
        host_device.copies = 0;
        assert_int_equal(manta_gpu_load(gpu, x, &layout, &buffer), MANTA_OK);
        assert_int_equal(host_device.copies, (counts[i] * 8 + (4 << 20) - 1) / (4 << 20));
        assert_int_equal(buffer.count, counts[i]);
        assert_int_equal(memcmp(buffer.device, x, counts[i] * sizeof *x), 0);
        memset(x, 0, counts[i] * sizeof *x);
        assert_int_equal(manta_gpu_store(gpu, &buffer, y), MANTA_OK);
        for (size_t k = 0; k < counts[i]; k++) {
            assert_true(y[k] == (double)k);
        }
        assert_int_equal(manta_gpu_free(gpu, &buffer), MANTA_OK);
        free(x);
        free(y);
    }
}

static void a_value_goes_there_and_a_result_comes_of_it(void **state)
{
    double *x = numbers(LARGE);
    manta_ref in = manta_put_array(double, x, LARGE / 4, 4), out, plain = manta_put(x, 16);
    manta_gpu_buffer buffer;
    manta_array array;
    assert_int_equal(manta_gpu_view(gpu, in, &buffer), MANTA_OK);
    assert_int_equal(buffer.layout.shape[1], 4);
    ((double *)buffer.device)[7] = -7; /* a kernel */
    assert_int_equal(manta_gpu_put(gpu, &buffer, &out), MANTA_OK);
    assert_int_equal(manta_view_array(double, out, &array, LARGE / 4, 4), MANTA_OK);
    assert_true(((const double *)array.data)[7] == -7 &&
                ((const double *)array.data)[LARGE - 1] == LARGE - 1);
    assert_says(manta_gpu_view(gpu, plain, &buffer), MANTA_E_TYPE, "no layout");
    assert_says(manta_gpu_view(gpu, (manta_ref){0}, &buffer), MANTA_E_INVALID, "all zero");
    free(x);
}

MANTA_TASK(twice, in(double, xs), outv(double, ys))
{
    manta_gpu_buffer buffer;
    manta_layout layout;
    MANTA_TRY(manta_layout_of(xs, &layout));
    MANTA_TRY(manta_gpu_load(gpu, xs, &layout, &buffer));
    for (size_t i = 0; i < buffer.count; i++) {
        ((double *)buffer.device)[i] *= 2;
    }
    int code = manta_gpu_store(gpu, &buffer, manta_outv_layout(ys, &layout));
    return code ? code : manta_gpu_free(gpu, &buffer);
}

static void tasks_share_a_context(void **state)
{
    manta_ref refs[20];
    const double *y = NULL;
    size_t count = 0;
    double *x = numbers(100000);
    manta_ref in = manta_put_array(double, x, 100000);
    free(x);
    for (int i = 0; i < 20; i++) {
        refs[i] = twice_async(NULL, in);
    }
    for (int i = 0; i < 20; i++) {
        assert_int_equal(twice_get(refs[i], &y, &count), MANTA_OK);
        assert_true(count == 100000 && y[99999] == 2 * 99999.0);
    }
}

static void a_buffer_ends_once(void **state)
{
    const manta_layout layout = MANTA_LAYOUT(float, 10);
    manta_gpu_buffer buffer, before;
    manta_gpu_share_name name;
    assert_int_equal(manta_gpu_alloc(gpu, &layout, &buffer), MANTA_OK);
    before = buffer;
    assert_int_equal(manta_gpu_free(gpu, &buffer), MANTA_OK);
    assert_null(buffer.device);
    assert_says(manta_gpu_free(gpu, &buffer), MANTA_E_STATE, "freed before");
    assert_says(manta_gpu_store(gpu, &before, &name), MANTA_E_STATE, "freed before");
    assert_says(manta_gpu_share(gpu, &before, &name), MANTA_E_STATE, "freed before");
    assert_says(manta_gpu_store(gpu, &before, NULL), MANTA_E_NOMEM, "data is NULL");
    assert_int_equal(manta_gpu_alloc(gpu, &layout, &buffer), MANTA_OK); /* goes with the context */
}

static void a_bad_layout_or_device_is_named(void **state)
{
    manta_layout layout = MANTA_LAYOUT(double, UINT64_MAX / 4, 16);
    manta_gpu_buffer buffer;
    manta_gpu *other;
    assert_says(manta_gpu_alloc(gpu, &layout, &buffer), MANTA_E_INVALID, "too many bytes");
    assert_says(manta_gpu_alloc(gpu, NULL, &buffer), MANTA_E_INVALID, "layout is NULL");
    assert_int_equal(manta_gpu_create(1, &other), MANTA_E_NOTFOUND);
    assert_int_equal(manta_gpu_create(-1, &other), MANTA_E_NOTFOUND);
    assert_int_equal(manta_gpu_count(), 1);
}

static void every_failing_call_is_an_error_and_leaks_nothing(void **state)
{
    double *x = numbers(LARGE), *y = numbers(LARGE);
    const manta_layout layout = MANTA_LAYOUT(double, LARGE);
    manta_gpu_buffer buffer;
    int fails = 0, code = MANTA_E_SYSTEM;
    while (code != MANTA_OK) {
        close_gpu(NULL);
        assert_int_equal(open_gpu(NULL), 0);
        host_device.fail_in = fails++;
        code = manta_gpu_load(gpu, x, &layout, &buffer);
        code = code ? code : manta_gpu_store(gpu, &buffer, y);
        assert_true(code == MANTA_OK || strstr(manta_gpu_error(gpu), "was told to"));
        assert_true(code == MANTA_OK || fails < 100);
    }
    assert_true(fails > 20);
    free(x);
    free(y);
}

static int in_another_process(const manta_gpu_share_name *name)
{
    manta_gpu *other;
    manta_gpu_buffer buffer;
    if (manta_gpu_create(0, &other) != MANTA_OK ||
        manta_gpu_open(other, name, &buffer) != MANTA_OK || buffer.count != 1000) {
        return 1;
    }
    double *x = buffer.device;
    int bad = x[999] != 999;
    x[0] = -1;
    manta_gpu_share_name again;
    bad |= manta_gpu_share(other, &buffer, &again) != MANTA_E_STATE;
    bad |= manta_gpu_free(other, &buffer) != MANTA_OK;
    return bad;
}

static void another_process_of_the_node_opens_it_without_a_copy(void **state)
{
    double *x = numbers(1000), y[1000];
    const manta_layout layout = MANTA_LAYOUT(double, 1000);
    manta_gpu_buffer buffer;
    manta_gpu_share_name name;
    assert_int_equal(manta_gpu_load(gpu, x, &layout, &buffer), MANTA_OK);
    assert_int_equal(manta_gpu_share(gpu, &buffer, &name), MANTA_OK);
    host_device.copies = 0;
    pid_t child = fork();
    if (child == 0) {
        _exit(in_another_process(&name));
    }
    int status;
    assert_int_equal(waitpid(child, &status, 0), child);
    assert_int_equal(status, 0);
    assert_int_equal(host_device.copies, 0);
    assert_says(manta_gpu_free(gpu, &buffer), MANTA_E_STATE, "unshare");
    assert_int_equal(manta_gpu_unshare(gpu, &buffer), MANTA_OK);
    assert_says(manta_gpu_unshare(gpu, &buffer), MANTA_E_STATE, "not shared");
    assert_int_equal(manta_gpu_store(gpu, &buffer, y), MANTA_OK);
    assert_true(y[0] == -1 && y[999] == 999);
    free(x);
}

static void the_own_process_gets_the_buffer_itself(void **state)
{
    const manta_layout layout = MANTA_LAYOUT(double, 1000);
    manta_gpu_buffer buffer, opened;
    manta_gpu_share_name name, far;
    assert_int_equal(manta_gpu_alloc(gpu, &layout, &buffer), MANTA_OK);
    assert_int_equal(manta_gpu_share(gpu, &buffer, &name), MANTA_OK);
    assert_int_equal(manta_gpu_open(gpu, &name, &opened), MANTA_OK);
    assert_ptr_equal(opened.device, buffer.device);
    assert_says(manta_gpu_unshare(gpu, &buffer), MANTA_E_STATE, "open 1 times");
    assert_int_equal(manta_gpu_free(gpu, &opened), MANTA_OK);
    assert_int_equal(manta_gpu_unshare(gpu, &buffer), MANTA_OK);
    assert_says(manta_gpu_open(gpu, &name, &opened), MANTA_E_LOST, "not shared any more");
    assert_int_equal(manta_gpu_free(gpu, &buffer), MANTA_OK);
    assert_says(manta_gpu_open(gpu, &name, &opened), MANTA_E_INVALID, "of another context");
    far = name;
    strcpy(far.node, "elsewhere");
    assert_says(manta_gpu_open(gpu, &far, &opened), MANTA_E_INVALID, "is on elsewhere");
}

static void what_its_maker_took_along_is_lost(void **state)
{
    const manta_layout layout = MANTA_LAYOUT(double, 1000);
    manta_gpu_buffer opened;
    manta_gpu_share_name name;
    int ends[2];
    assert_int_equal(pipe(ends), 0);
    pid_t child = fork();
    if (child == 0) {
        manta_gpu *other;
        manta_gpu_buffer buffer;
        int bad = manta_gpu_create(0, &other) || manta_gpu_alloc(other, &layout, &buffer) ||
                  manta_gpu_share(other, &buffer, &name) ||
                  write(ends[1], &name, sizeof name) != sizeof name;
        _exit(bad);
    }
    int status;
    assert_int_equal(waitpid(child, &status, 0), child);
    assert_int_equal(status, 0);
    assert_int_equal(read(ends[0], &name, sizeof name), sizeof name);
    assert_says(manta_gpu_open(gpu, &name, &opened), MANTA_E_LOST, "opening a shared buffer");
    close(ends[0]);
    close(ends[1]);
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, open_gpu, close_gpu)

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(what_goes_to_the_device_comes_back),
        TEST(a_value_goes_there_and_a_result_comes_of_it),
        TEST(tasks_share_a_context),
        TEST(a_buffer_ends_once),
        TEST(a_bad_layout_or_device_is_named),
        TEST(every_failing_call_is_an_error_and_leaks_nothing),
        TEST(another_process_of_the_node_opens_it_without_a_copy),
        TEST(the_own_process_gets_the_buffer_itself),
        TEST(what_its_maker_took_along_is_lost),
    };
    return cmocka_run_group_tests(tests, start, stop);
}
