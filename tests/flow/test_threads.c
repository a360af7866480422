/* tests/flow/test_threads.c: a loop of Larder's own, and everything from many threads at once. Run these under the
 * thread sanitizer: much of what they can find only it can see. */
#include "flow.h"

#include <stdlib.h>

#define THREADS 8

static larder *l;
static larder_options options;

static void open_own(const char *path)
{
    larder_error error = {.message = ""};
    options.path = path;
    if (larder_open(&l, &options, &error) != LARDER_OK) {
        fail_msg("larder_open: %s", error.message);
    }
}

static int setup(void **state)
{
    (void)state;
    larder_options_init(&options);
    open_own(NULL);
    return 0;
}

static int setup_file(void **state)
{
    (void)state;
    larder_options_init(&options);
    open_own(test_path("threads.larder"));
    return 0;
}

static int teardown(void **state)
{
    (void)state;
    larder_close_report report;
    assert_int_equal(larder_close_wait(l, 10000, &report), LARDER_OK);
    assert_int_equal(report.status, LARDER_OK);
    assert_int_equal(report.stuck_workers, 0);
    return 0;
}

static void must_register(const char *channel, larder_handler_fn fn, int cacheable, int blocking, void *user_data)
{
    larder_handler_options handler;
    larder_handler_options_init(&handler);
    handler.cacheable = cacheable;
    handler.blocking = blocking;
    handler.user_data = user_data;
    assert_int_equal(larder_register(l, channel, fn, &handler, NULL), LARDER_OK);
}

static void in_threads(int count, void (*entry)(void *argument))
{
    uv_thread_t threads[THREADS];
    for (intptr_t i = 0; i < count; i++) {
        assert_int_equal(uv_thread_create(&threads[i], entry, (void *)i), 0);
    }
    for (int i = 0; i < count; i++) {
        uv_thread_join(&threads[i]);
    }
}

static void assert_answered(const char *channel, const char *args, const char *data)
{
    larder_response *response = NULL;
    assert_int_equal(larder_send_wait(l, channel, args, LARDER_NUL, NULL, &response, NULL), LARDER_OK);
    if (!larder_response_success(response)) {
        fail_msg("%s: %s", larder_response_code(response), larder_response_message(response));
    }
    assert_string_equal(larder_response_data(response, NULL), data);
    larder_response_release(response);
}

/* ---- waiting calls ---- */

static void ask_many(void *argument)
{
    for (int i = 0; i < 500; i++) {
        char text[32];
        snprintf(text, sizeof text, "[%d,%d]", (int)(intptr_t)argument, i);
        assert_answered(i % 2 ? "echo" : "block", text, text);
    }
}

static void test_send_wait_from_many_threads(void **state)
{
    (void)state;
    larder_metrics m = {.size = sizeof m};
    must_register("echo", echo, 1, 0, NULL);
    must_register("block", echo, 0, 1, NULL);
    in_threads(THREADS, ask_many);
    assert_int_equal(larder_flush_wait(l), LARDER_OK);
    assert_int_equal(larder_get_metrics(l, &m), LARDER_OK);
    assert_int_equal(m.requests, THREADS * 500);
    assert_int_equal(m.responses, THREADS * 500);
    assert_int_equal(m.in_flight, 0);
}

static int waited_on_loop;

static void wait_on_loop(larder_request *request, void *user_data)
{
    (void)user_data;
    larder_response *response = NULL;
    waited_on_loop = larder_send_wait(l, "echo", NULL, 0, NULL, &response, NULL);
    larder_answer_json(request, "1", 1);
}

static void wait_on_worker(larder_request *request, void *user_data)
{
    (void)user_data;
    assert_answered("echo", "\"inner\"", "\"inner\"");
    larder_answer_json(request, "2", 1);
}

static void test_waiting_is_refused_on_the_loop_and_allowed_on_a_worker(void **state)
{
    (void)state;
    must_register("echo", echo, 0, 0, NULL);
    must_register("loop", wait_on_loop, 0, 0, NULL);
    must_register("worker", wait_on_worker, 0, 1, NULL);
    assert_answered("loop", "1", "1");
    assert_int_equal(waited_on_loop, LARDER_ETHREAD);
    assert_answered("worker", "1", "2");
}

/* ---- answers from foreign threads ---- */

#define SLOTS 64

typedef struct answerer {
    uv_mutex_t lock;
    uv_cond_t wake;
    larder_request *slots[SLOTS];
    int count;
    int ended;
} answerer;

static answerer pool;

static void hand_over(larder_request *request, void *user_data)
{
    (void)user_data;
    uv_mutex_lock(&pool.lock);
    assert_true(pool.count < SLOTS);
    pool.slots[pool.count++] = request;
    uv_cond_signal(&pool.wake);
    uv_mutex_unlock(&pool.lock);
}

static void answer_from_pool(void *argument)
{
    (void)argument;
    uv_mutex_lock(&pool.lock);
    while (pool.count > 0 || !pool.ended) {
        if (pool.count == 0) {
            uv_cond_wait(&pool.wake, &pool.lock);
            continue;
        }
        larder_request *request = pool.slots[--pool.count];
        uv_mutex_unlock(&pool.lock);
        size_t len;
        const char *args = larder_request_args(request, &len);
        larder_answer_json(request, args, len);
        uv_mutex_lock(&pool.lock);
    }
    uv_mutex_unlock(&pool.lock);
}

static void pool_start(uv_thread_t *threads, int count)
{
    memset(&pool, 0, sizeof pool);
    uv_mutex_init(&pool.lock);
    uv_cond_init(&pool.wake);
    for (int i = 0; i < count; i++) {
        uv_thread_create(&threads[i], answer_from_pool, NULL);
    }
}

static void pool_stop(uv_thread_t *threads, int count)
{
    uv_mutex_lock(&pool.lock);
    pool.ended = 1;
    uv_cond_broadcast(&pool.wake);
    uv_mutex_unlock(&pool.lock);
    for (int i = 0; i < count; i++) {
        uv_thread_join(&threads[i]);
    }
    uv_cond_destroy(&pool.wake);
    uv_mutex_destroy(&pool.lock);
}

static void ask_pool(void *argument)
{
    for (int i = 0; i < 500; i++) {
        char text[32];
        snprintf(text, sizeof text, "[%d,%d]", (int)(intptr_t)argument, i % 50);
        assert_answered("pool", text, text);
    }
}

static void test_answers_from_foreign_threads_while_many_ask(void **state)
{
    (void)state;
    uv_thread_t threads[3];
    pool_start(threads, 3);
    must_register("pool", hand_over, 1, 0, NULL);
    in_threads(THREADS, ask_pool);
    pool_stop(threads, 3);
}

/* ---- races ---- */

static void count_one(const larder_response *response, void *user_data)
{
    const char *code = larder_response_code(response);
    if (code != NULL && strcmp(code, "CANCELLED") != 0) {
        fail_msg("%s: %s", code, larder_response_message(response));
    }
    __atomic_add_fetch((int *)user_data, 1, __ATOMIC_SEQ_CST);
}

static void wait_for(int *count, int wanted)
{
    for (int i = 0; __atomic_load_n(count, __ATOMIC_SEQ_CST) < wanted; i++) {
        if (i > 20000) {
            fail_msg("%d of %d after 20 s", *count, wanted);
        }
        uv_sleep(1);
    }
}

static void cancel_many(void *argument)
{
    (void)argument;
    int answers = 0;
    for (int i = 0; i < 500; i++) {
        uint64_t id;
        wait_for(&answers, i - 5); /* at most five of this thread in flight */
        assert_int_equal(larder_send(l, i % 2 ? "pool" : "block", "1", 1, NULL, count_one, &answers, &id, NULL),
                         LARDER_OK);
        if (i % 3 != 0) {
            assert_int_equal(larder_cancel(l, id), LARDER_OK);
        }
    }
    wait_for(&answers, 500);
}

static void test_cancelling_races_with_answers_and_each_request_has_one(void **state)
{
    (void)state;
    uv_thread_t threads[2];
    pool_start(threads, 2);
    must_register("pool", hand_over, 0, 0, NULL);
    must_register("block", echo, 0, 1, NULL);
    in_threads(4, cancel_many);
    assert_int_equal(larder_flush_wait(l), LARDER_OK);
    pool_stop(threads, 2);
}

static int truth; /* what the cached handler reads */

static void answer_truth(larder_request *request, void *user_data)
{
    (void)user_data;
    char text[16];
    snprintf(text, sizeof text, "%d", __atomic_load_n(&truth, __ATOMIC_SEQ_CST));
    larder_answer_json(request, text, LARDER_NUL);
}

static void change_the_truth(void *argument)
{
    for (int i = 0; i < 400; i++) {
        int newest = __atomic_add_fetch(&truth, 1, __ATOMIC_SEQ_CST);
        int status = (intptr_t)argument % 2 ? larder_invalidate_channel(l, "truth", NULL, NULL, NULL)
                                            : larder_invalidate(l, "truth", "1", 1, NULL, NULL, NULL, NULL);
        assert_int_equal(status, LARDER_OK);
        larder_response *response = NULL;
        assert_int_equal(larder_send_wait(l, "truth", "1", 1, NULL, &response, NULL), LARDER_OK);
        assert_true(atoi(larder_response_data(response, NULL)) >= newest);
        larder_response_release(response);
    }
}

static void test_no_thread_sees_an_answer_older_than_its_invalidation(void **state)
{
    (void)state;
    truth = 0;
    must_register("truth", answer_truth, 1, 0, NULL);
    must_register("worker", answer_truth, 1, 1, NULL);
    in_threads(4, change_the_truth);
}

static int freed;

static void count_freed(void *user_data)
{
    (void)user_data;
    __atomic_add_fetch(&freed, 1, __ATOMIC_SEQ_CST);
}

static int ignore_one(const larder_handler_info *info, void *user_data)
{
    (void)info;
    ++*(int *)user_data;
    return 0;
}

static void register_many(void *argument)
{
    char channel[32];
    int listed = 0;
    larder_handler_options handler;
    larder_handler_options_init(&handler);
    handler.user_data_free = count_freed;
    handler.blocking = 1;
    snprintf(channel, sizeof channel, "own %d", (int)(intptr_t)argument);
    for (int i = 0; i < 200; i++) {
        assert_int_equal(larder_register(l, channel, echo, &handler, NULL), LARDER_OK);
        assert_answered(channel, "1", "1"); /* sent after it returned: it is found */
        assert_int_equal(larder_handlers(l, ignore_one, &listed), 0);
        assert_int_equal(larder_unregister(l, channel, NULL), LARDER_OK);
    }
}

static void test_handlers_come_and_go_on_many_threads(void **state)
{
    (void)state;
    freed = 0;
    in_threads(4, register_many);
    wait_for(&freed, 4 * 200);
    assert_int_equal(freed, 4 * 200);
}

static void hear(const larder_event *event, void *user_data)
{
    (void)event;
    __atomic_add_fetch((int *)user_data, 1, __ATOMIC_SEQ_CST);
}

static void subscribe_many(void *argument)
{
    (void)argument;
    static int heard;
    for (int i = 0; i < 300; i++) {
        uint64_t id;
        larder_response *response = NULL;
        larder_metrics m = {.size = sizeof m};
        assert_int_equal(larder_subscribe(l, LARDER_EVENT_ANY, hear, &heard, &id), LARDER_OK);
        assert_int_equal(larder_send_wait(l, "none", "1", 1, NULL, &response, NULL), LARDER_OK);
        assert_string_equal(larder_response_code(response), "HANDLER_NOT_FOUND");
        larder_response_release(response);
        assert_int_equal(larder_get_metrics(l, &m), LARDER_OK);
        assert_int_equal(larder_tick(l), LARDER_OK);
        assert_int_equal(larder_unsubscribe(l, id), LARDER_OK);
    }
}

static void test_subscriptions_come_and_go_on_many_threads(void **state)
{
    (void)state;
    in_threads(4, subscribe_many);
}

/* ---- closing ---- */

typedef struct stop {
    uv_sem_t closed;
    int answered;
    int sent;
    int going;
} stop;

static stop stopping;

static void count_any(const larder_response *response, void *user_data)
{
    (void)response;
    (void)user_data;
    __atomic_add_fetch(&stopping.answered, 1, __ATOMIC_SEQ_CST);
}

static void send_until_closed(void *argument)
{
    int status;
    (void)argument;
    while ((status = larder_send(l, "block", "1", 1, NULL, count_any, NULL, NULL, NULL)) != LARDER_ECLOSED) {
        if (status == LARDER_OK) {
            __atomic_add_fetch(&stopping.sent, 1, __ATOMIC_SEQ_CST);
        } else {
            assert_int_equal(status, LARDER_EOVERLOADED);
        }
    }
    __atomic_sub_fetch(&stopping.going, 1, __ATOMIC_SEQ_CST);
}

static void on_closed(const larder_close_report *report, void *user_data)
{
    (void)user_data;
    assert_int_equal(report->status, LARDER_OK);
    /* The instance may be used until this returns: let those threads see that it refuses. */
    while (__atomic_load_n(&stopping.going, __ATOMIC_SEQ_CST) > 0) {
        uv_sleep(1);
    }
    uv_sem_post(&stopping.closed);
}

static void test_closing_while_threads_send_answers_each_request_once(void **state)
{
    (void)state;
    for (int round = 0; round < 10; round++) {
        uv_thread_t threads[4];
        memset(&stopping, 0, sizeof stopping);
        uv_sem_init(&stopping.closed, 0);
        stopping.going = 4;
        larder_options_init(&options);
        options.max_in_flight = 2000;
        open_own(round % 2 ? test_path("stop.larder") : NULL);
        must_register("block", echo, 1, round % 3 == 0, NULL);
        for (int i = 0; i < 4; i++) {
            uv_thread_create(&threads[i], send_until_closed, NULL);
        }
        wait_for(&stopping.sent, 200);
        assert_int_equal(larder_close(l, round % 4 ? 1000 : 0, on_closed, NULL), LARDER_OK);
        uv_sem_wait(&stopping.closed);
        for (int i = 0; i < 4; i++) {
            uv_thread_join(&threads[i]);
        }
        assert_int_equal(stopping.answered, stopping.sent);
        uv_sem_destroy(&stopping.closed);
    }
}

static void close_inside(larder_request *request, void *user_data)
{
    (void)user_data;
    larder_close(l, 10000, on_closed, NULL);
    larder_answer_json(request, "1", 1);
}

static void test_a_loop_of_our_own_ends_by_itself(void **state)
{
    (void)state;
    for (int i = 0; i < 20; i++) {
        memset(&stopping, 0, sizeof stopping);
        uv_sem_init(&stopping.closed, 0);
        larder_options_init(&options);
        open_own(NULL);
        must_register("close", close_inside, 0, i % 2, NULL);
        assert_answered("close", "1", "1");
        uv_sem_wait(&stopping.closed);
        uv_sem_destroy(&stopping.closed);
    }
}

static void test_close_wait_reports_and_may_be_called_once(void **state)
{
    (void)state;
    larder_close_report report = {.status = 1};
    larder_options_init(&options);
    open_own(test_path("once.larder"));
    must_register("echo", echo, 1, 0, NULL);
    assert_answered("echo", "1", "1");
    assert_int_equal(larder_close_wait(l, 0, &report), LARDER_OK);
    assert_int_equal(report.status, LARDER_OK);
    assert_int_equal(report.unsaved, 0);
}

/* ---- a hung worker ---- */

static uv_sem_t release;
static int entered;

static void hang(larder_request *request, void *user_data)
{
    (void)user_data;
    __atomic_store_n(&entered, 1, __ATOMIC_SEQ_CST);
    uv_sem_wait(&release);
    larder_answer_json(request, "1", 1);
}

static void test_a_hung_worker_is_left_alone_by_close_wait(void **state)
{
    (void)state;
    larder_close_report report;
    int answers = 0;
    freed = 0;
    entered = 0;
    uv_sem_init(&release, 0);
    larder_options_init(&options);
    open_own(NULL);
    larder_handler_options handler;
    larder_handler_options_init(&handler);
    handler.blocking = 1;
    handler.user_data_free = count_freed;
    assert_int_equal(larder_register(l, "hang", hang, &handler, NULL), LARDER_OK);
    assert_int_equal(larder_send(l, "hang", "1", 1, NULL, count_any, &answers, NULL, NULL), LARDER_OK);
    wait_for(&entered, 1);
    assert_int_equal(larder_close_wait(l, 0, &report), LARDER_OK);
    assert_int_equal(report.stuck_workers, 1);
    assert_int_equal(report.cancelled, 1);
    uv_sem_post(&release);
    wait_for(&freed, 1);
    uv_sem_destroy(&release);
}

#define MEMORY(name) cmocka_unit_test_setup_teardown(name, setup, teardown)
#define FILE_TOO(name) cmocka_unit_test_setup_teardown(name, setup_file, teardown)

int main(void)
{
    const struct CMUnitTest tests[] = {
        FILE_TOO(test_send_wait_from_many_threads),
        MEMORY(test_waiting_is_refused_on_the_loop_and_allowed_on_a_worker),
        FILE_TOO(test_answers_from_foreign_threads_while_many_ask),
        MEMORY(test_cancelling_races_with_answers_and_each_request_has_one),
        FILE_TOO(test_no_thread_sees_an_answer_older_than_its_invalidation),
        MEMORY(test_handlers_come_and_go_on_many_threads),
        MEMORY(test_subscriptions_come_and_go_on_many_threads),
        cmocka_unit_test(test_closing_while_threads_send_answers_each_request_once),
        cmocka_unit_test(test_a_loop_of_our_own_ends_by_itself),
        cmocka_unit_test(test_close_wait_reports_and_may_be_called_once),
        cmocka_unit_test(test_a_hung_worker_is_left_alone_by_close_wait),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
