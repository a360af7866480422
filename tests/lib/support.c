/* tests/lib/support.c */
#include "support.h"

#include <dirent.h>
#include <ftw.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

/* ---- temporary folders ---- */

static char *folders[256];
static size_t folder_count;
static pid_t folder_owner;

static int remove_one(const char *path, const struct stat *info, int type, struct FTW *where)
{
    (void)info;
    (void)type;
    (void)where;
    return remove(path);
}

static void remove_folders(void)
{
    if (getpid() != folder_owner) {
        return; /* a forked child leaves them to its parent */
    }
    for (size_t i = 0; i < folder_count; i++) {
        nftw(folders[i], remove_one, 16, FTW_DEPTH | FTW_PHYS);
        free(folders[i]);
    }
}

const char *test_dir(void)
{
    const char *base = getenv("TMPDIR");
    char *path = NULL;
    assert_true(folder_count < sizeof folders / sizeof folders[0]);
    if (asprintf(&path, "%s/larder-test-XXXXXX", base != NULL ? base : "/tmp") < 0 || mkdtemp(path) == NULL) {
        fail_msg("cannot make a temporary folder");
    }
    if (folder_count == 0) {
        folder_owner = getpid();
        atexit(remove_folders);
    }
    folders[folder_count++] = path;
    return path;
}

const char *test_path(const char *name)
{
    static char *paths[1024];
    static size_t count;
    assert_true(count < sizeof paths / sizeof paths[0]);
    if (asprintf(&paths[count], "%s/%s", test_dir(), name) < 0) {
        fail_msg("out of memory");
    }
    return paths[count++];
}

/* ---- clock ---- */

static int64_t read_wall(void *user_data)
{
    return __atomic_load_n(&((test_clock *)user_data)->wall_ms, __ATOMIC_SEQ_CST);
}

static uint64_t read_mono(void *user_data)
{
    return __atomic_load_n(&((test_clock *)user_data)->mono_ns, __ATOMIC_SEQ_CST);
}

void test_clock_init(test_clock *clock)
{
    clock->wall_ms = 1700000000000;
    clock->mono_ns = 1000000000;
    clock->clock.wall_ms = read_wall;
    clock->clock.mono_ns = read_mono;
    clock->clock.user_data = clock;
}

void test_clock_advance(test_clock *clock, int64_t ms)
{
    __atomic_add_fetch(&clock->mono_ns, (uint64_t)ms * 1000000u, __ATOMIC_SEQ_CST);
    __atomic_add_fetch(&clock->wall_ms, ms, __ATOMIC_SEQ_CST);
}

void test_clock_jump(test_clock *clock, int64_t ms)
{
    __atomic_add_fetch(&clock->wall_ms, ms, __ATOMIC_SEQ_CST);
}

/* ---- loop ---- */

static void on_deadline(uv_timer_t *timer)
{
    *(int *)timer->data = 1;
}

void test_run_until(uv_loop_t *loop, const int *flag)
{
    int late = 0;
    uv_timer_t timer;
    assert_int_equal(uv_timer_init(loop, &timer), 0);
    timer.data = &late;
    uv_timer_start(&timer, on_deadline, 20000, 0);
    while (!*(volatile const int *)flag && !late) {
        uv_run(loop, UV_RUN_ONCE);
    }
    uv_close((uv_handle_t *)&timer, NULL);
    uv_run(loop, UV_RUN_NOWAIT);
    if (late && !*flag) {
        fail_msg("what the test waits for did not come within 20 s");
    }
}

void test_loop_close(uv_loop_t *loop)
{
    for (int i = 0; i < 1000 && uv_run(loop, UV_RUN_NOWAIT) != 0; i++) {
    }
    assert_int_equal(uv_loop_close(loop), 0);
}

/* ---- allocations ---- */

static unsigned long alloc_count;
static unsigned long alloc_fail_at;
static int alloc_all_after;
static int alloc_failures;
static long alloc_live;

static int refuse(void)
{
    unsigned long n = __atomic_add_fetch(&alloc_count, 1, __ATOMIC_SEQ_CST);
    unsigned long at = __atomic_load_n(&alloc_fail_at, __ATOMIC_SEQ_CST);
    if (at != 0 && (n == at || (n > at && __atomic_load_n(&alloc_all_after, __ATOMIC_SEQ_CST)))) {
        __atomic_add_fetch(&alloc_failures, 1, __ATOMIC_SEQ_CST);
        return 1;
    }
    return 0;
}

static void *counted(void *block)
{
    if (block != NULL) {
        __atomic_add_fetch(&alloc_live, 1, __ATOMIC_SEQ_CST);
    }
    return block;
}

static void *hook_malloc(size_t size)
{
    return refuse() ? NULL : counted(malloc(size));
}

static void *hook_calloc(size_t count, size_t size)
{
    return refuse() ? NULL : counted(calloc(count, size));
}

static void *hook_realloc(void *block, size_t size)
{
    if (refuse()) {
        return NULL;
    }
    void *moved = realloc(block, size);
    return block == NULL ? counted(moved) : moved;
}

static void hook_free(void *block)
{
    if (block != NULL) {
        __atomic_sub_fetch(&alloc_live, 1, __ATOMIC_SEQ_CST);
        free(block);
    }
}

void test_alloc_install(void)
{
    larder_allocator allocator = {hook_malloc, hook_calloc, hook_realloc, hook_free};
    assert_int_equal(larder_set_allocator(&allocator), LARDER_OK);
}

void test_alloc_fail_at(unsigned long nth, int all_after)
{
    __atomic_store_n(&alloc_fail_at, 0, __ATOMIC_SEQ_CST);
    __atomic_store_n(&alloc_count, 0, __ATOMIC_SEQ_CST);
    __atomic_store_n(&alloc_failures, 0, __ATOMIC_SEQ_CST);
    __atomic_store_n(&alloc_all_after, all_after, __ATOMIC_SEQ_CST);
    __atomic_store_n(&alloc_fail_at, nth, __ATOMIC_SEQ_CST);
}

unsigned long test_alloc_count(void)
{
    return __atomic_load_n(&alloc_count, __ATOMIC_SEQ_CST);
}

int test_alloc_failed(void)
{
    return __atomic_load_n(&alloc_failures, __ATOMIC_SEQ_CST);
}

long test_alloc_live(void)
{
    return __atomic_load_n(&alloc_live, __ATOMIC_SEQ_CST);
}

/* ---- shell, random ---- */

int test_shell(char **out, const char *format, ...)
{
    char *command = NULL;
    va_list args;
    va_start(args, format);
    int len = vasprintf(&command, format, args);
    va_end(args);
    assert_true(len >= 0);
    FILE *pipe = popen(command, "r");
    assert_non_null(pipe);
    size_t used = 0;
    size_t capacity = 65536;
    char *text = malloc(capacity);
    assert_non_null(text);
    for (;;) {
        size_t got = fread(text + used, 1, capacity - used - 1, pipe);
        if (got == 0) {
            break;
        }
        used += got;
        if (capacity - used < 4096) {
            capacity *= 2;
            text = realloc(text, capacity);
            assert_non_null(text);
        }
    }
    text[used] = '\0';
    int status = pclose(pipe);
    free(command);
    if (out != NULL) {
        *out = text;
    } else {
        free(text);
    }
    return WIFEXITED(status) ? WEXITSTATUS(status) : 128 + WTERMSIG(status);
}

uint64_t test_random_seed(const char *test)
{
    const char *given = getenv("LARDER_TEST_SEED");
    uint64_t seed = given != NULL ? strtoull(given, NULL, 0) : (uint64_t)uv_hrtime();
    print_message("%s: seed %llu\n", test, (unsigned long long)seed);
    return seed;
}

uint64_t test_random_next(test_random *random)
{
    uint64_t z = (random->state += 0x9e3779b97f4a7c15ull);
    z = (z ^ (z >> 30)) * 0xbf58476d1ce4e5b9ull;
    z = (z ^ (z >> 27)) * 0x94d049bb133111ebull;
    return z ^ (z >> 31);
}

uint64_t test_random_below(test_random *random, uint64_t bound)
{
    return test_random_next(random) % bound;
}
