/* tests/fault/test_oom.c: memory runs out, at every single point.
 *
 * One scenario opens a new file, registers, sends what hits, misses, fails and is refused, invalidates, flushes and
 * closes. It runs again and again: the first time the first allocation fails, then the second, until a run makes fewer;
 * once with that one failure, once with no memory from there on. Each time: no crash, nothing leaked, every call that
 * was accepted is answered exactly once, closing completes, and a fresh instance with memory never finds what was
 * invalidated.
 *
 * Whose allocations: Larder's own, SQLite's, libuv's. SQLite makes thousands, of which a sample spread over all is
 * taken; LARDER_OOM_ALL=1 takes each.
 */
#include "driver.h"

#include "fault_vfs.h"
#include "sqlite_alloc.h"

#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

/* ---- libuv's allocations ---- */

static unsigned long uv_count;
static unsigned long uv_fail_nth;
static unsigned long uv_failures;
static int uv_all_after;

static int uv_refuses(void)
{
    unsigned long n = __atomic_add_fetch(&uv_count, 1, __ATOMIC_SEQ_CST);
    unsigned long at = __atomic_load_n(&uv_fail_nth, __ATOMIC_SEQ_CST);
    if (at == 0 || n < at || (n > at && !uv_all_after)) {
        return 0;
    }
    __atomic_add_fetch(&uv_failures, 1, __ATOMIC_SEQ_CST);
    return 1;
}

static void *uv_hook_malloc(size_t size)
{
    return uv_refuses() ? NULL : malloc(size);
}

static void *uv_hook_calloc(size_t count, size_t size)
{
    return uv_refuses() ? NULL : calloc(count, size);
}

static void *uv_hook_realloc(void *block, size_t size)
{
    return uv_refuses() ? NULL : realloc(block, size);
}

static void uv_fail_at(unsigned long nth, int all_after)
{
    uv_all_after = all_after;
    uv_count = 0;
    uv_failures = 0;
    __atomic_store_n(&uv_fail_nth, nth, __ATOMIC_SEQ_CST);
}

static unsigned long uv_allocations(void)
{
    return uv_count;
}

static unsigned long uv_failed(void)
{
    return uv_failures;
}

static unsigned long larder_failed(void)
{
    return (unsigned long)test_alloc_failed();
}

typedef struct source {
    const char *name;
    void (*fail_at)(unsigned long nth, int all_after);
    unsigned long (*count)(void);
    unsigned long (*failed)(void);
} source;

static const source larder_memory = {"Larder", test_alloc_fail_at, test_alloc_count, larder_failed};
static const source sqlite_memory = {"SQLite", sqlite_alloc_fail_at, sqlite_alloc_count, sqlite_alloc_failed};
static const source uv_memory = {"libuv", uv_fail_at, uv_allocations, uv_failed};

/* ---- the scenario ---- */

#define SENDS 32

typedef struct scene {
    uv_loop_t loop;
    larder *l;
    long generation;
    int refuse;
    larder_request *later;
    int accepted[SENDS];
    int answered[SENDS];
    int sends;
    int outstanding;
    int settled; /* outstanding is 0 */
    int calls;   /* accepted calls with a status callback, and their callbacks */
    int callbacks;
    int flush_done;
    int closed;
    int invalidated; /* was accepted */
    long found;      /* generation of the last answer of "kv" */
    int freed;
    int registered;
    char wrong[600];
} scene;

static void on_kv(larder_request *request, void *user_data)
{
    scene *s = user_data;
    if (s->refuse) {
        larder_fail(request, "REFUSED", "for the test", "{\"why\":1}");
        return;
    }
    char text[64];
    snprintf(text, sizeof text, "{\"g\":%ld}", s->generation);
    larder_answer_json(request, text, strlen(text));
}

static void on_fail(larder_request *request, void *user_data)
{
    (void)user_data;
    larder_fail(request, "NOT_TODAY", "try tomorrow", "{\"day\":\"tomorrow\"}");
}

static void on_later(larder_request *request, void *user_data)
{
    scene *s = user_data;
    if (s->later != NULL) {
        larder_answer_text(s->later, "late", 4);
    }
    s->later = request;
}

static void on_block(larder_request *request, void *user_data)
{
    (void)user_data;
    larder_answer_bytes(request, "\0\1\2", 3);
}

static void on_freed(void *user_data)
{
    scene *s = user_data;
    s->freed++;
}

static int validate(const char *args, size_t args_len, char *message, size_t size, void *user_data)
{
    (void)user_data;
    if (args_len == 7 && memcmp(args, "\"wrong\"", 7) == 0) {
        snprintf(message, size, "this is wrong");
        return 1;
    }
    return 0;
}

static void add(scene *s, const char *channel, larder_handler_fn handler, int cacheable, int blocking)
{
    larder_handler_options options;
    larder_handler_options_init(&options);
    options.cacheable = cacheable;
    options.blocking = blocking;
    options.description = "of the test";
    options.validate = validate;
    options.ttl_ms = 3600000;
    options.user_data = s;
    options.user_data_free = on_freed;
    larder_error error;
    int status = larder_register(s->l, channel, handler, &options, &error);
    if (status == LARDER_OK) {
        s->registered++;
    } else if (status != LARDER_ENOMEM) {
        snprintf(s->wrong, sizeof s->wrong, "register: %s", error.message);
    }
}

typedef struct slot {
    scene *s;
    int index;
} slot;

static slot slots[SENDS];

static void on_answer(const larder_response *response, void *user_data)
{
    slot *at = user_data;
    scene *s = at->s;
    s->answered[at->index]++;
    s->outstanding--;
    s->settled = s->outstanding == 0;
    char *text = NULL;
    if (larder_response_envelope(response, &text, NULL) == LARDER_OK) {
        larder_free(text);
    }
    larder_response_release(larder_response_retain(response));
    const char *data = larder_response_data(response, NULL);
    if (larder_response_success(response) != (data != NULL)
        || (data == NULL) != (larder_response_code(response) != NULL && larder_response_message(response) != NULL)) {
        snprintf(s->wrong, sizeof s->wrong, "a response is neither an answer nor an error");
    }
    const char *generation = data != NULL ? strstr(data, "\"g\":") : NULL;
    s->found = generation != NULL ? strtol(generation + 4, NULL, 10) : -1;
}

static void send_one(scene *s, const char *channel, const char *args, larder_cache_mode mode)
{
    larder_send_options options;
    larder_send_options_init(&options);
    options.cache = mode;
    options.timeout_ms = 10000;
    int index = s->sends++;
    assert_true(index < SENDS);
    slots[index].s = s;
    slots[index].index = index;
    s->outstanding++;
    s->settled = 0;
    larder_error error;
    int status = larder_send(s->l, channel, args, LARDER_NUL, &options, on_answer, &slots[index], NULL, &error);
    if (status == LARDER_OK) {
        s->accepted[index] = 1;
        return;
    }
    if (status != LARDER_ENOMEM) {
        snprintf(s->wrong, sizeof s->wrong, "send: %s", error.message);
    }
    s->outstanding--;
    s->settled = s->outstanding == 0;
}

static void settle(scene *s)
{
    if (s->outstanding > 0) {
        test_run_until(&s->loop, &s->settled);
    }
}

static void on_done(int status, void *user_data)
{
    (void)status;
    ((scene *)user_data)->callbacks++;
}

static void on_flushed(int status, void *user_data)
{
    on_done(status, user_data);
    ((scene *)user_data)->flush_done = 1;
}

static void on_event(const larder_event *event, void *user_data)
{
    if (event->message == NULL) {
        snprintf(((scene *)user_data)->wrong, sizeof((scene *)user_data)->wrong, "an event without words");
    }
}

static void accept_call(scene *s, int status)
{
    if (status == LARDER_OK) {
        s->calls++;
    } else if (status != LARDER_ENOMEM) {
        snprintf(s->wrong, sizeof s->wrong, "a call was refused with %s", larder_status_name(status));
    }
}

static void scene_requests(scene *s)
{
    send_one(s, "kv", "[1]", LARDER_CACHE_DEFAULT);
    send_one(s, "kv", "{\"b\":2, \"a\":\"\\u00e9\"}", LARDER_CACHE_DEFAULT);
    send_one(s, "fail", "[1]", LARDER_CACHE_DEFAULT);
    send_one(s, "block", "null", LARDER_CACHE_DEFAULT);
    send_one(s, "unknown", "1", LARDER_CACHE_DEFAULT);
    send_one(s, "kv", "[1", LARDER_CACHE_DEFAULT);
    send_one(s, "kv", "\"wrong\"", LARDER_CACHE_DEFAULT);
    send_one(s, "later", "1", LARDER_CACHE_DEFAULT);
    send_one(s, "later", "2", LARDER_CACHE_DEFAULT);
    while (s->outstanding > (s->later != NULL)) {
        uv_run(&s->loop, UV_RUN_ONCE);
    }
    if (s->later != NULL) {
        larder_answer_text(s->later, "at last", 7);
        s->later = NULL;
    }
    settle(s);
    send_one(s, "kv", "[1]", LARDER_CACHE_DEFAULT);
    send_one(s, "kv", "[1]", LARDER_CACHE_REFRESH);
    send_one(s, "kv", "[2]", LARDER_CACHE_BYPASS);
    settle(s);
}

static void on_closed(const larder_close_report *report, void *user_data)
{
    (void)report;
    ((scene *)user_data)->closed = 1;
}

static void scene_invalidate(scene *s)
{
    int status = larder_invalidate(s->l, "kv", "[1]", LARDER_NUL, NULL, on_done, s, NULL);
    accept_call(s, status);
    s->invalidated = status == LARDER_OK;
    accept_call(s, larder_invalidate_channel(s->l, "other", on_done, s, NULL));
    s->generation = 2;
    s->refuse = 1;
    s->found = -1;
    send_one(s, "kv", "[1]", LARDER_CACHE_DEFAULT);
    settle(s);
    if (s->invalidated && s->found >= 0) {
        snprintf(s->wrong, sizeof s->wrong, "an invalidated answer was served");
    }
    s->refuse = 0;
}

static void scene_run(scene *s)
{
    uint64_t id = 0;
    if (larder_subscribe(s->l, LARDER_EVENT_ANY, on_event, s, &id) == LARDER_OK) {
        larder_unsubscribe(s->l, id);
    }
    int subscribed = larder_subscribe(s->l, LARDER_EVENT_ANY, on_event, s, &id);
    assert_true(subscribed == LARDER_OK || subscribed == LARDER_ENOMEM);
    add(s, "kv", on_kv, 1, 0);
    add(s, "fail", on_fail, 0, 0);
    add(s, "later", on_later, 0, 0);
    add(s, "block", on_block, 1, 1);
    scene_requests(s);
    int status = larder_flush(s->l, on_flushed, s);
    accept_call(s, status);
    if (status == LARDER_OK) {
        test_run_until(&s->loop, &s->flush_done);
    }
    scene_invalidate(s);
    larder_unregister(s->l, "fail", NULL);
    assert_int_equal(larder_close(s->l, 1000, on_closed, s), LARDER_OK);
    test_run_until(&s->loop, &s->closed);
}

static void options_of(larder_options *options, scene *s, const char *path)
{
    larder_options_init(options);
    options->path = path;
    options->loop = &s->loop;
    options->lock_timeout_ms = 100;
    options->commit_interval_ms = 1;
    options->metrics_interval_ms = 5;
}

/* libuv aborts when it cannot grow its table of descriptors, so that must not be what grows. */
static void loop_init(uv_loop_t *loop)
{
    assert_int_equal(uv_loop_init(loop), 0);
    uv_poll_t poll;
    int fds[2];
    assert_int_equal(pipe(fds), 0);
    int high = fcntl(fds[0], F_DUPFD_CLOEXEC, 200);
    assert_true(high >= 200);
    assert_int_equal(uv_poll_init(loop, &poll, high), 0);
    assert_int_equal(uv_poll_start(&poll, UV_READABLE, (uv_poll_cb)abort), 0);
    uv_close((uv_handle_t *)&poll, NULL);
    uv_run(loop, UV_RUN_DEFAULT);
    close(high);
    close(fds[0]);
    close(fds[1]);
}

/* With memory again: what was invalidated is not there, the file is sound. */
static void scene_look_back(const scene *s, const char *path, char *wrong, size_t size)
{
    driver d;
    driver_init(&d, path);
    d.refuse = 1;
    if (driver_open(&d) != LARDER_OK) {
        snprintf(wrong, size, "does not open again: %.200s", d.error.message);
    } else {
        driver_answer a = driver_send(&d, 1, LARDER_CACHE_DEFAULT);
        if (s->invalidated && a.generation == 1) {
            snprintf(wrong, size, "an invalidated answer is served after opening again");
        }
    }
    driver_close(&d);
}

static void remove_file(const char *path)
{
    const char *suffixes[] = {"", "-wal", "-shm", "-lock", "-journal"};
    for (size_t i = 0; i < sizeof suffixes / sizeof suffixes[0]; i++) {
        char name[4200];
        snprintf(name, sizeof name, "%s%s", path, suffixes[i]);
        unlink(name);
    }
}

/* One run; returns how many allocations were refused, and how many were asked for. */
static unsigned long scene_once(const source *memory, unsigned long nth, int all_after, const char *path,
                                unsigned long *asked)
{
    scene s;
    memset(&s, 0, sizeof s);
    s.generation = 1;
    loop_init(&s.loop);
    long live = test_alloc_live();
    larder_options options;
    options_of(&options, &s, path);
    larder_error error;
    memory->fail_at(nth, all_after);
    int status = larder_open(&s.l, &options, &error);
    if (status == LARDER_OK) {
        scene_run(&s);
    } else if (status != LARDER_ENOMEM || s.l != NULL || error.message[0] == '\0') {
        snprintf(s.wrong, sizeof s.wrong, "open: %s, %.200s", larder_status_name(status), error.message);
    }
    unsigned long failed = memory->failed();
    unsigned long made = memory->count();
    memory->fail_at(0, 0);
    if (asked != NULL) {
        *asked = made;
    }
    test_loop_close(&s.loop);
    for (int i = 0; i < s.sends && s.wrong[0] == '\0'; i++) {
        if (s.answered[i] != s.accepted[i]) {
            snprintf(s.wrong, sizeof s.wrong, "request %d was accepted %d times and answered %d times", i,
                     s.accepted[i], s.answered[i]);
        }
    }
    if (s.wrong[0] == '\0' && (s.calls != s.callbacks || s.freed != s.registered || test_alloc_live() != live)) {
        snprintf(s.wrong, sizeof s.wrong, "%d calls, %d callbacks; %d handlers, %d freed; %ld blocks leaked", s.calls,
                 s.callbacks, s.registered, s.freed, test_alloc_live() - live);
    }
    if (s.wrong[0] == '\0') {
        scene_look_back(&s, path, s.wrong, sizeof s.wrong);
    }
    remove_file(path);
    if (s.wrong[0] != '\0') {
        fail_msg("%s, allocation %lu of %lu%s: %s", memory->name, nth, made, all_after ? " and all after" : "",
                 s.wrong);
    }
    return failed;
}

/* From the first allocation to where a run is through before its point comes; of more than `most`, a random sample. */
static void every_point(const source *memory, int all_after, unsigned long most)
{
    const char *path = test_path("oom.larder");
    test_random random = {test_random_seed(memory->name)};
    unsigned long all = 0;
    scene_once(memory, 0, 0, path, &all);
    unsigned long stride = getenv("LARDER_OOM_ALL") != NULL || all <= most ? 1 : all / most;
    unsigned long runs = 0;
    unsigned long nth = 1;
    while (scene_once(memory, nth, all_after, path, NULL) > 0) {
        runs++;
        nth += stride == 1 ? 1 : 1 + test_random_below(&random, 2 * stride - 1);
    }
    print_message("  %s%s: a run makes %lu, %lu points tried\n", memory->name, all_after ? ", all after" : "", all,
                  runs);
    assert_true(runs > 0 || all == 0);
}

static void test_each_allocation_of_larder_fails_once(void **state)
{
    (void)state;
    every_point(&larder_memory, 0, 400);
}

static void test_all_allocations_of_larder_fail_from_each_on(void **state)
{
    (void)state;
    every_point(&larder_memory, 1, 400);
}

static void test_allocations_of_sqlite_fail_once(void **state)
{
    (void)state;
    every_point(&sqlite_memory, 0, 1000);
}

static void test_all_allocations_of_sqlite_fail_from_each_on(void **state)
{
    (void)state;
    every_point(&sqlite_memory, 1, 500);
}

static void test_each_allocation_of_libuv_fails_once(void **state)
{
    (void)state;
    every_point(&uv_memory, 0, 100);
}

/* Of the loop that Larder runs itself only the first can fail: libuv aborts at the next. */
static void test_no_memory_for_a_loop_of_its_own_is_reported(void **state)
{
    (void)state;
    larder *l = NULL;
    larder_options options;
    larder_options_init(&options);
    options.path = test_path("own.larder");
    long live = test_alloc_live();
    uv_fail_at(1, 0);
    int status = larder_open(&l, &options, NULL);
    unsigned long failed = uv_failed();
    uv_fail_at(0, 0);
    assert_int_equal(failed, 1);
    assert_string_equal(larder_status_name(status), "LARDER_ENOMEM");
    assert_null(l);
    assert_int_equal(test_alloc_live(), live);
}

int main(int argc, char **argv)
{
    assert_int_equal(uv_replace_allocator(uv_hook_malloc, uv_hook_realloc, uv_hook_calloc, free), 0);
    sqlite_alloc_install();
    fault_vfs_install();
    fault_vfs_ignore_syncs(1); /* they cost time and are not the matter here */
    test_alloc_install();
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_each_allocation_of_larder_fails_once),
        cmocka_unit_test(test_all_allocations_of_larder_fail_from_each_on),
        cmocka_unit_test(test_allocations_of_sqlite_fail_once),
        cmocka_unit_test(test_all_allocations_of_sqlite_fail_from_each_on),
        cmocka_unit_test(test_each_allocation_of_libuv_fails_once),
        cmocka_unit_test(test_no_memory_for_a_loop_of_its_own_is_reported),
    };
    cmocka_set_test_filter(argc == 2 ? argv[1] : NULL); /* a pattern with * and ? */
    return cmocka_run_group_tests(tests, NULL, NULL);
}
