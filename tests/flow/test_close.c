/* tests/flow/test_close.c: ending, with everything in every state. Each request is answered, each callback comes, and
 * what a handler still holds stays valid until it lets go. */
#include "flow.h"

#include <stdlib.h>

static flow f;
static keeper k;

static int setup(void **state)
{
    (void)state;
    flow_init(&f, NULL);
    flow_open(&f);
    k.calls = 0;
    flow_register_with(&f, "later", keep_request, &k);
    return 0;
}

static int setup_file(void **state)
{
    (void)state;
    flow_init(&f, test_path("close.larder"));
    flow_open(&f);
    k.calls = 0;
    flow_register_with(&f, "later", keep_request, &k);
    return 0;
}

static int teardown(void **state)
{
    (void)state;
    test_loop_close(&f.loop);
    return 0;
}

static void answer_kept(int from)
{
    for (int i = from; i < k.calls; i++) {
        assert_int_equal(larder_answer_json(k.requests[i], "\"late\"", LARDER_NUL), LARDER_OK);
    }
}

static void test_an_idle_instance_closes(void **state)
{
    (void)state;
    flow_close(&f, 1000000);
    assert_int_equal(f.report.status, LARDER_OK);
    assert_int_equal(f.report.cancelled, 0);
    assert_int_equal(f.report.stuck_workers, 0);
    assert_int_equal(f.report.unsaved, 0);
}

static void test_closing_refuses_at_once_and_calls_back_later(void **state)
{
    (void)state;
    answer a = {0, NULL};
    larder_error error;
    assert_int_equal(larder_close(f.l, 0, on_flow_closed, &f), LARDER_OK);
    assert_int_equal(f.closed, 0);
    assert_int_equal(larder_send(f.l, "later", NULL, 0, NULL, on_answer, &a, NULL, &error), LARDER_ECLOSED);
    assert_string_equal(error.message, "later: cannot send, the instance is closing");
    assert_int_equal(larder_register(f.l, "new", echo, NULL, &error), LARDER_ECLOSED);
    assert_int_equal(larder_unregister(f.l, "later", &error), LARDER_ECLOSED);
    assert_int_equal(larder_invalidate_all(f.l, on_status, &f, &error), LARDER_ECLOSED);
    assert_int_equal(larder_flush(f.l, on_status, &f), LARDER_ECLOSED);
    assert_int_equal(larder_close(f.l, 0, on_flow_closed, NULL), LARDER_ECLOSED);
    assert_int_equal(larder_cancel(f.l, 1), LARDER_OK);
    test_run_until(&f.loop, &f.closed);
}

static void test_close_without_a_callback(void **state)
{
    (void)state;
    assert_int_equal(larder_close(f.l, 0, NULL, NULL), LARDER_OK);
    assert_int_equal(uv_run(&f.loop, UV_RUN_DEFAULT), 0); /* the loop ends when the instance has */
}

static void test_what_was_sent_before_close_is_answered_within_the_grace_time(void **state)
{
    (void)state;
    answer queued = {0, NULL};
    answer waiting = {0, NULL};
    flow_register(&f, "echo", echo, NULL);
    flow_send(&f, "later", "1", NULL, &waiting);
    test_run_until(&f.loop, &k.calls);
    flow_send(&f, "echo", "2", NULL, &queued);
    assert_int_equal(larder_close(f.l, 1000000, on_flow_closed, &f), LARDER_OK);
    test_run_until(&f.loop, &queued.count);
    assert_int_equal(f.closed, 0);
    assert_int_equal(waiting.count, 0);
    larder_answer_json(k.requests[0], "1", 1);
    test_run_until(&f.loop, &f.closed);
    assert_data(&queued, "2");
    assert_data(&waiting, "1");
    assert_int_equal(f.report.cancelled, 0);
    answer_clear(&queued);
    answer_clear(&waiting);
}

static void test_what_is_left_after_the_grace_time_is_answered_with_closed(void **state)
{
    (void)state;
    answer a = {0, NULL};
    flow_send(&f, "later", "1", NULL, &a);
    test_run_until(&f.loop, &k.calls);
    assert_int_equal(larder_close(f.l, 5000, on_flow_closed, &f), LARDER_OK);
    for (int i = 0; i < 10; i++) {
        uv_run(&f.loop, UV_RUN_NOWAIT);
    }
    assert_int_equal(a.count, 0);
    test_clock_advance(&f.clock, 5000);
    larder_tick(f.l);
    test_run_until(&f.loop, &f.closed);
    assert_int_equal(a.count, 1);
    assert_code(&a, "CLOSED");
    assert_string_equal(larder_response_message(a.response), "later: the program is closing");
    assert_int_equal(f.report.cancelled, 1);
    answer_kept(0); /* long after: it touches nothing that is gone */
    answer_clear(&a);
}

static void test_a_clock_that_stands_still_does_not_hold_up_the_close(void **state)
{
    (void)state;
    answer a = {0, NULL};
    flow_send(&f, "later", "1", NULL, &a);
    test_run_until(&f.loop, &k.calls);
    flow_close(&f, 20);
    assert_code(&a, "CLOSED");
    answer_kept(0);
    answer_clear(&a);
}

static void count_answer(const larder_response *response, void *user_data)
{
    (void)response;
    ++*(int *)user_data;
}

static void test_closing_answers_a_thousand_in_flight(void **state)
{
    (void)state;
    int answers = 0;
    for (int i = 0; i < 3000; i++) {
        if (i == 1000) { /* a thousand with their handler, the rest in the queue */
            while (k.calls < 1000) {
                uv_run(&f.loop, UV_RUN_ONCE);
            }
        }
        assert_int_equal(larder_send(f.l, "later", "1", 1, NULL, count_answer, &answers, NULL, NULL), LARDER_OK);
    }
    flow_close(&f, 0);
    assert_int_equal(answers, 3000);
    assert_int_equal(f.report.cancelled, 3000);
    answer_kept(0);
}

/* ---- from inside callbacks ---- */

static void close_from_answer(const larder_response *response, void *user_data)
{
    (void)response;
    (void)user_data;
    assert_int_equal(larder_close(f.l, 0, on_flow_closed, &f), LARDER_OK);
    assert_int_equal(larder_send(f.l, "later", "1", 1, NULL, count_answer, &f, NULL, NULL), LARDER_ECLOSED);
    assert_int_equal(f.closed, 0);
}

static void test_a_response_callback_may_close(void **state)
{
    (void)state;
    int answers = 0;
    flow_register(&f, "echo", echo, NULL);
    larder_send(f.l, "later", "1", 1, NULL, count_answer, &answers, NULL, NULL);
    larder_send(f.l, "echo", "1", 1, NULL, close_from_answer, NULL, NULL, NULL);
    larder_send(f.l, "later", "1", 1, NULL, count_answer, &answers, NULL, NULL);
    test_run_until(&f.loop, &f.closed);
    assert_int_equal(answers, 2);
    answer_kept(0);
}

static void close_from_handler(larder_request *request, void *user_data)
{
    (void)user_data;
    assert_int_equal(larder_close(f.l, 0, on_flow_closed, &f), LARDER_OK);
    larder_answer_json(request, "\"closing\"", LARDER_NUL);
}

static void test_a_handler_may_close_and_still_answer(void **state)
{
    (void)state;
    answer a = {0, NULL};
    flow_register(&f, "close", close_from_handler, NULL);
    flow_send(&f, "close", "1", NULL, &a);
    test_run_until(&f.loop, &f.closed);
    assert_data(&a, "\"closing\"");
    answer_clear(&a);
}

static void close_from_status(int status, void *user_data)
{
    (void)user_data;
    assert_int_equal(status, LARDER_OK);
    assert_int_equal(larder_close(f.l, 0, on_flow_closed, &f), LARDER_OK);
}

static void test_a_flush_callback_may_close(void **state)
{
    (void)state;
    assert_int_equal(larder_flush(f.l, close_from_status, NULL), LARDER_OK);
    test_run_until(&f.loop, &f.closed);
}

static void close_from_event(const larder_event *event, void *user_data)
{
    (void)event;
    (void)user_data;
    assert_int_equal(larder_close(f.l, 0, on_flow_closed, &f), LARDER_OK);
}

static void test_an_event_callback_may_close(void **state)
{
    (void)state;
    int answers = 0;
    assert_int_equal(larder_subscribe(f.l, LARDER_EVENT_REQUEST_FAILED, close_from_event, NULL, NULL), LARDER_OK);
    larder_send(f.l, "none", "1", 1, NULL, count_answer, &answers, NULL, NULL);
    test_run_until(&f.loop, &f.closed);
    assert_int_equal(answers, 1);
}

static void open_again(const larder_close_report *report, void *user_data)
{
    flow *other = user_data;
    f.report = *report;
    flow_open(other); /* on the same loop */
    f.closed = 1;
}

static void test_the_close_callback_may_open_another_instance(void **state)
{
    (void)state;
    flow other = f;
    other.options.loop = &f.loop;
    assert_int_equal(larder_close(f.l, 0, open_again, &other), LARDER_OK);
    test_run_until(&f.loop, &f.closed);
    answer a = {0, NULL};
    f.l = other.l;
    flow_register(&f, "echo", echo, NULL);
    flow_ask(&f, "echo", "1", &a);
    flow_close(&f, 0);
    answer_clear(&a);
}

/* ---- what still has to call back ---- */

static void test_invalidations_and_flushes_call_back_before_the_close_does(void **state)
{
    (void)state;
    outcome many[60];
    memset(many, 0, sizeof many);
    for (int i = 0; i < 60; i += 3) {
        larder_flush(f.l, on_status, &many[i]);
        larder_invalidate(f.l, "later", "1", 1, NULL, on_status, &many[i + 1], NULL);
        larder_invalidate_channel(f.l, i % 2 ? "later" : "unheard of", on_status, &many[i + 2], NULL);
        if (i == 30) {
            uv_run(&f.loop, UV_RUN_NOWAIT);
        }
    }
    flow_close(&f, 0);
    for (int i = 0; i < 60; i++) {
        assert_int_equal(many[i].done, 1);
        assert_int_equal(many[i].status, LARDER_OK);
    }
}

static void test_counters_and_uses_up_to_the_close_are_saved(void **state)
{
    (void)state;
    char *text = NULL;
    answer a = {0, NULL};
    int calls = 0;
    flow_register_cached(&f, "count", count_calls, &calls);
    for (int i = 0; i < 5; i++) {
        flow_ask(&f, "count", "1", &a);
    }
    larder_flush(f.l, NULL, NULL); /* a save is under way when the close comes */
    uv_run(&f.loop, UV_RUN_NOWAIT);
    flow_send(&f, "count", "1", NULL, &a);
    flow_close(&f, 1000000);
    assert_int_equal(test_shell(&text,
                                "sqlite3 -readonly %s 'SELECT requests FROM totals; SELECT hits FROM cache_by_channel'",
                                f.options.path),
                     0);
    assert_int_equal(atoi(text), 6);
    free(text);
    assert_int_equal(test_shell(&text, "sqlite3 -readonly %s 'SELECT hits FROM entries'", f.options.path), 0);
    assert_string_equal(text, "5\n");
    free(text);
    answer_clear(&a);
}

/* ---- workers ---- */

typedef struct hung {
    uv_sem_t go;
    int entered;       /* atomic */
    int freed;         /* atomic */
    int saw_cancelled; /* these two as the last one found them */
    int status;
} hung;

static void hang(larder_request *request, void *user_data)
{
    hung *h = user_data;
    __atomic_add_fetch(&h->entered, 1, __ATOMIC_SEQ_CST);
    uv_sem_wait(&h->go);
    __atomic_store_n(&h->saw_cancelled, larder_request_cancelled(request), __ATOMIC_SEQ_CST);
    __atomic_store_n(&h->status, larder_answer_json(request, "[\"late\"]", LARDER_NUL), __ATOMIC_SEQ_CST);
}

static void hung_freed(void *user_data)
{
    __atomic_add_fetch(&((hung *)user_data)->freed, 1, __ATOMIC_SEQ_CST);
}

static void register_hung(hung *h)
{
    larder_handler_options options;
    larder_handler_options_init(&options);
    memset(h, 0, sizeof *h);
    uv_sem_init(&h->go, 0);
    options.blocking = 1;
    options.user_data = h;
    options.user_data_free = hung_freed;
    flow_register(&f, "hang", hang, &options);
}

static void wait_for(const int *value, int wanted)
{
    while (__atomic_load_n(value, __ATOMIC_SEQ_CST) < wanted) {
        uv_run(&f.loop, UV_RUN_NOWAIT);
    }
}

static void test_a_worker_that_hangs_is_left_alone_and_reported(void **state)
{
    (void)state;
    static hung h;
    answer answers[6];
    memset(answers, 0, sizeof answers);
    register_hung(&h);
    for (int i = 0; i < 6; i++) { /* four workers hang, two wait for one */
        flow_send(&f, "hang", "1", NULL, &answers[i]);
    }
    wait_for(&h.entered, 4);
    flow_close(&f, 0);
    assert_int_equal(f.report.stuck_workers, 4);
    assert_int_equal(f.report.cancelled, 6);
    assert_int_equal(h.freed, 0);
    for (int i = 0; i < 6; i++) {
        assert_int_equal(answers[i].count, 1);
        assert_code(&answers[i], "CLOSED");
        answer_clear(&answers[i]);
    }
    for (int i = 0; i < 4; i++) {
        uv_sem_post(&h.go);
    }
    while (__atomic_load_n(&h.freed, __ATOMIC_SEQ_CST)
           == 0) { /* the last run that ends frees what the handlers shared */
        uv_sleep(1);
    }
    assert_int_equal(h.entered, 4);
    assert_int_equal(h.freed, 1);
    assert_true(h.saw_cancelled);
    assert_int_equal(h.status, LARDER_OK);
    uv_sem_destroy(&h.go);
}

static void test_a_worker_that_returns_within_the_grace_time_is_not_stuck(void **state)
{
    (void)state;
    static hung h;
    answer a = {0, NULL};
    register_hung(&h);
    flow_send(&f, "hang", "1", NULL, &a);
    wait_for(&h.entered, 1);
    assert_int_equal(larder_close(f.l, 1000000, on_flow_closed, &f), LARDER_OK);
    for (int i = 0; i < 10; i++) {
        uv_run(&f.loop, UV_RUN_NOWAIT);
    }
    uv_sem_post(&h.go);
    test_run_until(&f.loop, &f.closed);
    assert_int_equal(f.report.stuck_workers, 0);
    assert_int_equal(f.report.cancelled, 0);
    assert_data(&a, "[\"late\"]");
    assert_int_equal(h.freed, 1);
    answer_clear(&a);
    uv_sem_destroy(&h.go);
}

static void test_close_waits_for_a_worker_whose_caller_was_answered_already(void **state)
{
    (void)state;
    static hung h;
    answer a = {0, NULL};
    register_hung(&h);
    uint64_t id = flow_send(&f, "hang", "1", NULL, &a);
    wait_for(&h.entered, 1);
    larder_cancel(f.l, id);
    test_run_until(&f.loop, &a.count);
    assert_int_equal(larder_close(f.l, 1000000, on_flow_closed, &f), LARDER_OK);
    for (int i = 0; i < 10; i++) {
        uv_run(&f.loop, UV_RUN_NOWAIT);
    }
    assert_int_equal(f.closed, 0);
    uv_sem_post(&h.go);
    test_run_until(&f.loop, &f.closed);
    assert_int_equal(f.report.stuck_workers, 0);
    assert_int_equal(h.freed, 1);
    answer_clear(&a);
    uv_sem_destroy(&h.go);
}

/* ---- late answers to what is gone ---- */

static void fail_in_thread(void *argument)
{
    larder_request *request = argument;
    assert_true(larder_request_cancelled(request));
    assert_int_equal(larder_request_remaining_ms(request), 0);
    larder_fail(request, "TOO_LATE", "nobody is there", "[1]");
}

static int freed_count;

static void count_freed(void *user_data)
{
    (void)user_data;
    freed_count++;
}

static void test_answers_after_the_end_are_dropped_wherever_they_are_given(void **state)
{
    (void)state;
    answer answers[3];
    memset(answers, 0, sizeof answers);
    larder_handler_options options;
    larder_handler_options_init(&options);
    options.user_data = &k;
    options.user_data_free = count_freed;
    freed_count = 0;
    flow_register(&f, "owned", keep_request, &options);
    for (int i = 0; i < 3; i++) {
        flow_send(&f, "owned", "1", NULL, &answers[i]);
    }
    while (k.calls < 3) {
        uv_run(&f.loop, UV_RUN_ONCE);
    }
    flow_close(&f, 0);
    assert_int_equal(freed_count, 0);
    run_in_thread(fail_in_thread, k.requests[0]);
    assert_int_equal(larder_answer_json(k.requests[1], "[", 1), LARDER_EJSON);
    assert_int_equal(larder_answer_bytes(k.requests[2], "x", 1), LARDER_OK);
    assert_int_equal(freed_count, 1);
    for (int i = 0; i < 3; i++) {
        assert_int_equal(answers[i].count, 1);
        answer_clear(&answers[i]);
    }
}

#define MEMORY(name) cmocka_unit_test_setup_teardown(name, setup, teardown)
#define FILE_TOO(name) cmocka_unit_test_setup_teardown(name, setup_file, teardown)

int main(void)
{
    const struct CMUnitTest tests[] = {
        MEMORY(test_an_idle_instance_closes),
        FILE_TOO(test_an_idle_instance_closes),
        MEMORY(test_closing_refuses_at_once_and_calls_back_later),
        FILE_TOO(test_close_without_a_callback),
        MEMORY(test_what_was_sent_before_close_is_answered_within_the_grace_time),
        MEMORY(test_what_is_left_after_the_grace_time_is_answered_with_closed),
        MEMORY(test_a_clock_that_stands_still_does_not_hold_up_the_close),
        MEMORY(test_closing_answers_a_thousand_in_flight),
        MEMORY(test_a_response_callback_may_close),
        MEMORY(test_a_handler_may_close_and_still_answer),
        FILE_TOO(test_a_flush_callback_may_close),
        MEMORY(test_a_flush_callback_may_close),
        MEMORY(test_an_event_callback_may_close),
        FILE_TOO(test_the_close_callback_may_open_another_instance),
        MEMORY(test_invalidations_and_flushes_call_back_before_the_close_does),
        FILE_TOO(test_invalidations_and_flushes_call_back_before_the_close_does),
        FILE_TOO(test_counters_and_uses_up_to_the_close_are_saved),
        FILE_TOO(test_a_worker_that_hangs_is_left_alone_and_reported),
        MEMORY(test_a_worker_that_returns_within_the_grace_time_is_not_stuck),
        MEMORY(test_close_waits_for_a_worker_whose_caller_was_answered_already),
        FILE_TOO(test_close_waits_for_a_worker_whose_caller_was_answered_already),
        MEMORY(test_answers_after_the_end_are_dropped_wherever_they_are_given),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
