/* tests/flow/test_order.c: what one thread asks is done in the order in which it asked, and what holds when a call
 * returns holds for whatever any thread sends after that. */
#include "flow.h"

static flow f;

static int setup(void **state)
{
    (void)state;
    flow_init(&f, NULL);
    flow_open(&f);
    return 0;
}

static int teardown(void **state)
{
    (void)state;
    flow_end(&f);
    return 0;
}

static char trace[8192];

static void note(const char *text)
{
    assert_true(strlen(trace) + strlen(text) < sizeof trace);
    strcat(trace, text);
}

static void note_response(const larder_response *response, void *user_data)
{
    (void)user_data;
    note(larder_response_success(response) ? larder_response_data(response, NULL) : larder_response_code(response));
    note(" ");
}

static void note_status(int status, void *user_data)
{
    assert_int_equal(status, LARDER_OK);
    note(user_data);
    note(" ");
}

static void send_noted(const char *channel, const char *args)
{
    assert_int_equal(larder_send(f.l, channel, args, LARDER_NUL, NULL, note_response, NULL, NULL, NULL), LARDER_OK);
}

/* Turns the loop until all that was asked so far is done. */
static void settle(void)
{
    outcome o = {0, 0};
    assert_int_equal(larder_flush(f.l, on_status, &o), LARDER_OK);
    test_run_until(&f.loop, &o.done);
}

static void test_requests_of_one_thread_are_dispatched_in_their_order(void **state)
{
    (void)state;
    trace[0] = '\0';
    char expected[2000] = "";
    flow_register(&f, "echo", echo, NULL);
    settle();
    for (int i = 0; i < 300; i++) {
        char text[16];
        snprintf(text, sizeof text, "%d", i);
        send_noted("echo", text);
        strcat(expected, text);
        strcat(expected, " ");
        if (i % 100 == 50) { /* goes by the other queue */
            assert_int_equal(larder_invalidate_channel(f.l, "echo", NULL, NULL, NULL), LARDER_OK);
        }
    }
    settle();
    assert_string_equal(trace, expected);
}

static void test_registering_and_unregistering_keep_their_place_among_requests(void **state)
{
    (void)state;
    trace[0] = '\0';
    settle();
    send_noted("echo", "1");
    flow_register(&f, "echo", echo, NULL);
    send_noted("echo", "2");
    assert_int_equal(larder_unregister(f.l, "echo", NULL), LARDER_OK);
    send_noted("echo", "3");
    flow_register(&f, "echo", echo, NULL);
    send_noted("echo", "4");
    settle();
    assert_string_equal(trace, "HANDLER_NOT_FOUND 2 HANDLER_NOT_FOUND 4 ");
}

static void test_a_flush_comes_after_what_was_sent_before(void **state)
{
    (void)state;
    trace[0] = '\0';
    char flushed[] = "flushed";
    char invalidated[] = "invalidated";
    flow_register(&f, "echo", echo, NULL);
    settle();
    send_noted("echo", "1");
    assert_int_equal(larder_flush(f.l, note_status, flushed), LARDER_OK);
    assert_int_equal(larder_invalidate_all(f.l, note_status, invalidated, NULL), LARDER_OK);
    assert_string_equal(trace, "");
    settle();
    assert_string_equal(trace, "1 flushed invalidated ");
}

static int version; /* what the handler would answer now */

static void answer_version(larder_request *request, void *user_data)
{
    (void)user_data;
    char text[16];
    snprintf(text, sizeof text, "%d", __atomic_load_n(&version, __ATOMIC_SEQ_CST));
    larder_answer_json(request, text, LARDER_NUL);
}

static void bump_and_invalidate(void *argument)
{
    (void)argument;
    __atomic_add_fetch(&version, 1, __ATOMIC_SEQ_CST);
    assert_int_equal(larder_invalidate(f.l, "version", "1", 1, NULL, NULL, NULL, NULL), LARDER_OK);
}

static void assert_newest(void)
{
    answer a = {0, NULL};
    char newest[16];
    snprintf(newest, sizeof newest, "%d", version);
    flow_ask(&f, "version", "1", &a);
    assert_data(&a, newest);
    answer_clear(&a);
}

static void test_an_invalidation_by_another_thread_holds_for_what_the_loop_sends_after_it(void **state)
{
    (void)state;
    flow_register_cached(&f, "version", answer_version, NULL);
    settle();
    for (int i = 0; i < 100; i++) {
        assert_newest();
        run_in_thread(bump_and_invalidate, NULL);
        assert_newest();
    }
}

static answer foreign;

static void send_from_thread(void *argument)
{
    (void)argument;
    flow_send(&f, "version", "1", NULL, &foreign);
}

static void test_an_invalidation_by_the_loop_holds_for_what_another_thread_sends_after_it(void **state)
{
    (void)state;
    flow_register_cached(&f, "version", answer_version, NULL);
    settle();
    for (int i = 0; i < 100; i++) {
        answer before = {0, NULL};
        char newest[16];
        assert_newest();
        flow_send(&f, "version", "1", NULL, &before); /* in the loop's own queue, before */
        bump_and_invalidate(NULL);
        run_in_thread(send_from_thread, NULL);
        test_run_until(&f.loop, &foreign.count);
        snprintf(newest, sizeof newest, "%d", version);
        assert_data(&foreign, newest);
        assert_int_equal(before.count, 1);
        answer_clear(&foreign);
        answer_clear(&before);
    }
}

static void invalidate_in_callback(const larder_response *response, void *user_data)
{
    (void)response;
    if (user_data != NULL) {
        bump_and_invalidate(NULL);
        run_in_thread(send_from_thread, NULL);
        flow_send(&f, "version", "1", NULL, user_data);
    }
}

static void test_an_invalidation_inside_a_callback_holds_for_what_is_sent_after_it(void **state)
{
    (void)state;
    flow_register_cached(&f, "version", answer_version, NULL);
    for (int i = 0; i < 50; i++) {
        answer inner = {0, NULL};
        char newest[16];
        assert_newest();
        larder_send(f.l, "version", "1", 1, NULL, invalidate_in_callback, &inner, NULL, NULL);
        larder_send(f.l, "version", "1", 1, NULL, invalidate_in_callback, NULL, NULL, NULL); /* may be older */
        test_run_until(&f.loop, &inner.count);
        test_run_until(&f.loop, &foreign.count);
        snprintf(newest, sizeof newest, "%d", version);
        assert_data(&inner, newest);
        assert_data(&foreign, newest);
        answer_clear(&inner);
        answer_clear(&foreign);
    }
}

static int depth;

static void send_again(const larder_response *response, void *user_data)
{
    (void)response;
    (void)user_data;
    static int inside;
    assert_int_equal(inside, 0); /* no callback inside another */
    inside = 1;
    if (++depth < 5000) {
        assert_int_equal(larder_send(f.l, "echo", "1", 1, NULL, send_again, NULL, NULL, NULL), LARDER_OK);
    }
    inside = 0;
}

static void stop(uv_timer_t *timer)
{
    *(int *)timer->data = depth;
    uv_timer_stop(timer);
}

static void test_callbacks_that_send_do_not_starve_the_loop(void **state)
{
    (void)state;
    uv_timer_t timer;
    int seen = 0;
    flow_register(&f, "echo", echo, NULL);
    uv_timer_init(&f.loop, &timer);
    timer.data = &seen;
    depth = 0;
    assert_int_equal(larder_send(f.l, "echo", "1", 1, NULL, send_again, NULL, NULL, NULL), LARDER_OK);
    uv_timer_start(&timer, stop, 0, 0);
    while (depth < 5000) {
        uv_run(&f.loop, UV_RUN_ONCE);
    }
    assert_in_range(seen, 0, 10);
    uv_close((uv_handle_t *)&timer, NULL);
    uv_run(&f.loop, UV_RUN_NOWAIT);
}

static void count_response(const larder_response *response, void *user_data)
{
    assert_true(larder_response_success(response));
    ++*(int *)user_data;
}

static void send_ten_thousand(void *answers)
{
    for (int i = 0; i < 10000; i++) {
        assert_int_equal(larder_send(f.l, "echo", "1", 1, NULL, count_response, answers, NULL, NULL), LARDER_OK);
    }
}

static void assert_taken_over_several_turns(const int *answers)
{
    int turns = 0;
    while (*answers < 10000) {
        uv_run(&f.loop, UV_RUN_ONCE); /* hangs if the loop sleeps on what is left */
        turns++;
    }
    assert_in_range(turns, 5, 100);
}

static void test_a_long_queue_is_taken_over_several_turns(void **state)
{
    (void)state;
    int answers = 0;
    flow_register(&f, "echo", echo, NULL);
    settle();
    send_ten_thousand(&answers);
    assert_taken_over_several_turns(&answers);
}

static int all_answered;

static void count_to_ten_thousand(const larder_response *response, void *user_data)
{
    count_response(response, user_data);
    all_answered = *(int *)user_data == 10000;
}

static void send_ten_thousand_elsewhere(void *answers)
{
    for (int i = 0; i < 10000; i++) {
        assert_int_equal(larder_send(f.l, "echo", "1", 1, NULL, count_to_ten_thousand, answers, NULL, NULL), LARDER_OK);
    }
}

static void test_a_long_queue_from_another_thread_keeps_the_loop_awake(void **state)
{
    (void)state;
    int answers = 0;
    flow_close(&f, 0);
    f.options.metrics_interval_ms = 3600000; /* no timer shall wake it instead */
    flow_open(&f);
    flow_register(&f, "echo", echo, NULL);
    settle();
    all_answered = 0;
    run_in_thread(send_ten_thousand_elsewhere, &answers);
    test_run_until(&f.loop, &all_answered);
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, setup, teardown)

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(test_requests_of_one_thread_are_dispatched_in_their_order),
        TEST(test_registering_and_unregistering_keep_their_place_among_requests),
        TEST(test_a_flush_comes_after_what_was_sent_before),
        TEST(test_an_invalidation_by_another_thread_holds_for_what_the_loop_sends_after_it),
        TEST(test_an_invalidation_by_the_loop_holds_for_what_another_thread_sends_after_it),
        TEST(test_an_invalidation_inside_a_callback_holds_for_what_is_sent_after_it),
        TEST(test_callbacks_that_send_do_not_starve_the_loop),
        TEST(test_a_long_queue_is_taken_over_several_turns),
        TEST(test_a_long_queue_from_another_thread_keeps_the_loop_awake),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
