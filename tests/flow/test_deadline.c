/* tests/flow/test_deadline.c: deadlines, cancellation, and what becomes of answers that come too late. All on a clock
 * that stands still until the test moves it. */
#include "flow.h"

static flow f;
static answer a;
static keeper k;

static int setup(void **state)
{
    (void)state;
    flow_init(&f, NULL);
    flow_open(&f);
    a = (answer){0, NULL};
    k.calls = 0;
    flow_register_with(&f, "later", keep_request, &k);
    return 0;
}

static int teardown(void **state)
{
    (void)state;
    flow_end(&f);
    answer_clear(&a);
    return 0;
}

static uint64_t send_and_run(const larder_send_options *options)
{
    int before = k.calls;
    uint64_t id = flow_send(&f, "later", "1", options, &a);
    while (k.calls == before) {
        uv_run(&f.loop, UV_RUN_ONCE);
    }
    return id;
}

/* Lets the loop take up all that was asked so far. */
static void settle(void)
{
    outcome o = {0, 0};
    assert_int_equal(larder_flush(f.l, on_status, &o), LARDER_OK);
    test_run_until(&f.loop, &o.done);
}

static void answer_late(void)
{
    for (int i = 0; i < k.calls; i++) {
        assert_int_equal(larder_answer_json(k.requests[i], "1", 1), LARDER_OK);
    }
    k.calls = 0;
    settle();
}

static void test_a_request_is_answered_with_timeout_at_its_deadline(void **state)
{
    (void)state;
    send_and_run(NULL);
    assert_int_equal(larder_request_remaining_ms(k.requests[0]), 30000);
    flow_advance(&f, 29999);
    settle();
    assert_int_equal(a.count, 0);
    assert_int_equal(larder_request_remaining_ms(k.requests[0]), 1);
    assert_false(larder_request_cancelled(k.requests[0]));
    flow_advance(&f, 1);
    test_run_until(&f.loop, &a.count);
    assert_code(&a, "TIMEOUT");
    assert_string_equal(larder_response_message(a.response), "later: no answer within 30000 ms");
    assert_source(&a, LARDER_SOURCE_NONE);
    assert_true(larder_request_cancelled(k.requests[0]));
    assert_int_equal(larder_request_remaining_ms(k.requests[0]), 0);
    assert_string_equal(larder_request_args(k.requests[0], NULL), "1"); /* still the handler's */
    answer_late();
    assert_int_equal(a.count, 1);
}

static void test_the_requests_timeout_comes_before_the_handlers_and_that_before_the_default(void **state)
{
    (void)state;
    larder_handler_options options;
    larder_send_options send;
    larder_handler_options_init(&options);
    larder_send_options_init(&send);
    options.timeout_ms = 500;
    options.user_data = &k;
    flow_register(&f, "half", keep_request, &options);
    flow_send(&f, "half", "1", NULL, &a);
    test_run_until(&f.loop, &k.calls);
    assert_int_equal(larder_request_remaining_ms(k.requests[0]), 500);
    flow_advance(&f, 500);
    test_run_until(&f.loop, &a.count);
    assert_string_equal(larder_response_message(a.response), "half: no answer within 500 ms");
    answer_clear(&a);
    send.timeout_ms = 70;
    flow_send(&f, "half", "1", &send, &a);
    while (k.calls < 2) {
        uv_run(&f.loop, UV_RUN_ONCE);
    }
    assert_int_equal(larder_request_remaining_ms(k.requests[1]), 70);
    flow_advance(&f, 70);
    test_run_until(&f.loop, &a.count);
    assert_string_equal(larder_response_message(a.response), "half: no answer within 70 ms");
    answer_late();
}

static void test_deadlines_pass_in_their_order_not_in_that_of_sending(void **state)
{
    (void)state;
    static const uint32_t timeouts[] = {400, 100, 300, 200};
    answer many[4] = {{0, NULL}, {0, NULL}, {0, NULL}, {0, NULL}};
    larder_send_options send;
    larder_send_options_init(&send);
    for (int i = 0; i < 4; i++) {
        send.timeout_ms = timeouts[i];
        flow_send(&f, "later", "1", &send, &many[i]);
    }
    while (k.calls < 4) {
        uv_run(&f.loop, UV_RUN_ONCE);
    }
    for (uint32_t now = 100; now <= 400; now += 100) {
        flow_advance(&f, 100);
        settle();
        for (int i = 0; i < 4; i++) {
            assert_int_equal(many[i].count, timeouts[i] <= now);
        }
    }
    for (int i = 0; i < 4; i++) {
        assert_code(&many[i], "TIMEOUT");
        answer_clear(&many[i]);
    }
    answer_late();
}

static void test_time_in_the_queue_counts(void **state)
{
    (void)state;
    larder_send_options send;
    larder_send_options_init(&send);
    send.timeout_ms = 10;
    flow_send(&f, "later", "1", &send, &a);
    test_clock_advance(&f.clock, 10);
    test_run_until(&f.loop, &a.count);
    assert_code(&a, "TIMEOUT");
    assert_int_equal(k.calls, 0); /* nobody waits for the handler: it is not called */
}

static void test_the_real_clock_passes_deadlines_without_a_tick(void **state)
{
    (void)state;
    larder_send_options send;
    larder_send_options_init(&send);
    flow_close(&f, 0);
    f.options.clock = NULL;
    flow_open(&f);
    flow_register_with(&f, "later", keep_request, &k);
    send.timeout_ms = 20;
    flow_send(&f, "later", "1", &send, &a);
    test_run_until(&f.loop, &a.count);
    assert_code(&a, "TIMEOUT");
    assert_true(larder_response_meta(a.response)->response_time_ns >= 20000000);
    answer_late();
}

static void test_an_answer_in_time_is_followed_by_no_timeout(void **state)
{
    (void)state;
    send_and_run(NULL);
    larder_answer_json(k.requests[0], "2", 1);
    test_run_until(&f.loop, &a.count);
    flow_advance(&f, 60000);
    settle();
    assert_int_equal(a.count, 1);
    assert_data(&a, "2");
    k.calls = 0;
}

/* ---- cancelling ---- */

static void test_a_cancelled_request_is_answered_with_cancelled(void **state)
{
    (void)state;
    uint64_t id = send_and_run(NULL);
    assert_int_equal(larder_cancel(f.l, id), LARDER_OK);
    assert_int_equal(a.count, 0); /* never inside the call */
    test_run_until(&f.loop, &a.count);
    assert_code(&a, "CANCELLED");
    assert_string_equal(larder_response_message(a.response), "later: the request was cancelled");
    assert_true(larder_request_cancelled(k.requests[0]));
    assert_int_equal(larder_cancel(f.l, id), LARDER_OK); /* again: ignored */
    assert_int_equal(larder_cancel(f.l, 123456), LARDER_OK);
    answer_late();
    assert_int_equal(a.count, 1);
}

static void test_a_cancellation_in_the_same_turn_follows_its_request(void **state)
{
    (void)state;
    uint64_t id = flow_send(&f, "later", "1", NULL, &a);
    assert_int_equal(larder_cancel(f.l, id), LARDER_OK);
    test_run_until(&f.loop, &a.count);
    assert_code(&a, "CANCELLED");
    answer_late();
}

typedef struct foreign {
    uint64_t id;
} foreign;

static void cancel_in_thread(void *argument)
{
    larder_cancel(f.l, ((foreign *)argument)->id);
}

static void test_another_thread_may_cancel_what_still_stands_in_the_loops_queue(void **state)
{
    (void)state;
    settle(); /* the loop has turned: its own sends take no lock from now on */
    foreign other = {.id = flow_send(&f, "later", "1", NULL, &a)};
    run_in_thread(cancel_in_thread, &other);
    test_run_until(&f.loop, &a.count);
    assert_code(&a, "CANCELLED");
    answer_late();
}

static void cancel_itself(larder_request *request, void *user_data)
{
    larder_cancel(f.l, *(uint64_t *)user_data);
    keep_request(request, &k);
}

static void test_a_handler_may_cancel_its_own_request(void **state)
{
    (void)state;
    uint64_t id = 0;
    flow_register_with(&f, "self", cancel_itself, &id);
    id = flow_send(&f, "self", "1", NULL, &a);
    test_run_until(&f.loop, &a.count);
    assert_code(&a, "CANCELLED");
    answer_late();
}

static void test_an_answer_on_its_way_wins_over_a_cancellation(void **state)
{
    (void)state;
    uint64_t id = send_and_run(NULL);
    larder_answer_json(k.requests[0], "3", 1);
    larder_cancel(f.l, id);
    test_run_until(&f.loop, &a.count);
    assert_data(&a, "3");
    settle();
    assert_int_equal(a.count, 1);
    k.calls = 0;
}

/* ---- late answers ---- */

static int late_events;

static void on_late(const larder_event *event, void *user_data)
{
    (void)user_data;
    assert_int_equal(event->type, LARDER_EVENT_LATE_ANSWER);
    assert_string_equal(event->channel, "later");
    late_events++;
}

static void test_late_answers_are_dropped_counted_and_reported(void **state)
{
    (void)state;
    larder_metrics m = {.size = sizeof m};
    late_events = 0;
    assert_int_equal(larder_subscribe(f.l, LARDER_EVENT_LATE_ANSWER, on_late, NULL, NULL), LARDER_OK);
    send_and_run(NULL);
    flow_advance(&f, 30000);
    test_run_until(&f.loop, &a.count);
    uint64_t id = send_and_run(NULL);
    larder_cancel(f.l, id);
    while (a.count < 2) {
        uv_run(&f.loop, UV_RUN_ONCE);
    }
    answer_late();
    assert_int_equal(a.count, 2);
    assert_int_equal(late_events, 2);
    assert_int_equal(larder_get_metrics(f.l, &m), LARDER_OK);
    assert_int_equal(m.late_answers, 2);
    assert_int_equal(m.handler_runs, 2);
    assert_int_equal(m.errors, 2);
}

static void test_a_late_answer_is_not_kept(void **state)
{
    (void)state;
    flow_register_cached(&f, "cached", keep_request, &k);
    flow_send(&f, "cached", "1", NULL, &a);
    test_run_until(&f.loop, &k.calls);
    flow_advance(&f, 30000);
    test_run_until(&f.loop, &a.count);
    answer_late();
    answer_clear(&a);
    flow_send(&f, "cached", "1", NULL, &a);
    test_run_until(&f.loop, &k.calls);
    assert_int_equal(a.count, 0);
    larder_answer_json(k.requests[0], "1", 1);
    test_run_until(&f.loop, &a.count);
    assert_source(&a, LARDER_SOURCE_HANDLER);
}

static void test_handlers_that_never_answer_are_bounded(void **state)
{
    (void)state;
    flow_close(&f, 0);
    f.options.max_in_flight = 3;
    flow_open(&f);
    flow_register_with(&f, "later", keep_request, &k);
    for (int i = 0; i < 3; i++) {
        send_and_run(NULL);
        flow_advance(&f, 30000);
        test_run_until(&f.loop, &a.count);
        assert_code(&a, "TIMEOUT");
        answer_clear(&a);
    }
    flow_ask(&f, "later", "1", &a);
    assert_code(&a, "OVERLOADED");
    assert_int_equal(k.calls, 3);
    answer_late();
    answer_clear(&a);
    send_and_run(NULL);
    larder_answer_json(k.requests[0], "1", 1);
    test_run_until(&f.loop, &a.count);
    assert_data(&a, "1");
}

/* ---- blocking handlers ---- */

static uv_sem_t go;
static int entered;

static void block(larder_request *request, void *user_data)
{
    (void)user_data;
    __atomic_add_fetch(&entered, 1, __ATOMIC_SEQ_CST);
    uv_sem_wait(&go);
    larder_answer_json(request, "1", 1);
}

static void test_a_blocked_handlers_caller_does_not_wait_beyond_the_deadline(void **state)
{
    (void)state;
    answer queued = {0, NULL};
    answer after = {0, NULL};
    larder_handler_options options;
    larder_handler_options_init(&options);
    options.blocking = 1;
    entered = 0;
    uv_sem_init(&go, 0);
    flow_close(&f, 0);
    f.options.workers = 1;
    flow_open(&f);
    flow_register(&f, "block", block, &options);
    flow_send(&f, "block", "1", NULL, &a);
    while (__atomic_load_n(&entered, __ATOMIC_SEQ_CST) == 0) {
        uv_run(&f.loop, UV_RUN_NOWAIT);
    }
    flow_send(&f, "block", "2", NULL, &queued); /* waits for the only worker */
    settle();
    flow_advance(&f, 30000);
    test_run_until(&f.loop, &queued.count);
    assert_int_equal(a.count, 1);
    assert_code(&a, "TIMEOUT");
    assert_code(&queued, "TIMEOUT");
    flow_send(&f, "block", "3", NULL, &after);
    uv_sem_post(&go);
    uv_sem_post(&go);
    test_run_until(&f.loop, &after.count);
    assert_data(&after, "1");
    assert_int_equal(entered, 2); /* the queued one never began */
    larder_metrics m = {.size = sizeof m};
    larder_get_metrics(f.l, &m);
    assert_int_equal(m.late_answers, 1);
    answer_clear(&queued);
    answer_clear(&after);
    uv_sem_destroy(&go);
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, setup, teardown)

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(test_a_request_is_answered_with_timeout_at_its_deadline),
        TEST(test_the_requests_timeout_comes_before_the_handlers_and_that_before_the_default),
        TEST(test_deadlines_pass_in_their_order_not_in_that_of_sending),
        TEST(test_time_in_the_queue_counts),
        TEST(test_the_real_clock_passes_deadlines_without_a_tick),
        TEST(test_an_answer_in_time_is_followed_by_no_timeout),
        TEST(test_a_cancelled_request_is_answered_with_cancelled),
        TEST(test_a_cancellation_in_the_same_turn_follows_its_request),
        TEST(test_another_thread_may_cancel_what_still_stands_in_the_loops_queue),
        TEST(test_a_handler_may_cancel_its_own_request),
        TEST(test_an_answer_on_its_way_wins_over_a_cancellation),
        TEST(test_late_answers_are_dropped_counted_and_reported),
        TEST(test_a_late_answer_is_not_kept),
        TEST(test_handlers_that_never_answer_are_bounded),
        TEST(test_a_blocked_handlers_caller_does_not_wait_beyond_the_deadline),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
