/* tests/unit/test_core_inbox.c: the queue into the loop by itself: order, barriers, refusing, closing. */
#include "support.h"

#include <string.h>

#include "base/clock.h"
#include "core/inbox.h"

typedef struct box {
    uv_loop_t loop;
    uv_async_t async;
    uv_idle_t idle;
    larder__inbox *inbox;
    int woken;
} box;

typedef struct letter {
    larder__message message;
    int number;
} letter;

static box b;

static void on_async(uv_async_t *async)
{
    ((box *)async->data)->woken++;
}

static int setup(void **state)
{
    (void)state;
    memset(&b, 0, sizeof b);
    assert_int_equal(uv_loop_init(&b.loop), 0);
    assert_int_equal(uv_async_init(&b.loop, &b.async, on_async), 0);
    uv_idle_init(&b.loop, &b.idle);
    b.async.data = &b;
    assert_int_equal(larder__inbox_new(&b.inbox, &larder__system_clock, 3), LARDER_OK);
    b.inbox->idle = &b.idle;
    larder__inbox_attach(b.inbox, &b.async);
    return 0;
}

static int teardown(void **state)
{
    (void)state;
    larder__list left;
    larder__list_init(&left);
    larder__inbox_close(b.inbox, &left);
    larder__inbox_release(b.inbox);
    uv_close((uv_handle_t *)&b.async, NULL);
    uv_close((uv_handle_t *)&b.idle, NULL);
    test_loop_close(&b.loop);
    return 0;
}

static void be_the_loop(int yes)
{
    uv_thread_t self = yes ? uv_thread_self() : 0;
    __atomic_store_n(&b.inbox->loop_thread, self, __ATOMIC_RELAXED);
}

static int post(letter *one, int number, larder__message_kind kind)
{
    one->number = number;
    one->message.kind = kind;
    return larder__inbox_post(b.inbox, &one->message);
}

static void assert_taken(const char *expected)
{
    larder__list list;
    char text[64] = "";
    larder__list_init(&list);
    larder__inbox_take(b.inbox, &list);
    larder__list *link;
    while ((link = larder__list_shift(&list)) != NULL) {
        larder__message *message = LARDER__CONTAINER(link, larder__message, link);
        size_t used = strlen(text);
        snprintf(text + used, sizeof text - used, "%d", LARDER__CONTAINER(message, letter, message)->number);
    }
    assert_string_equal(text, expected);
}

static void test_what_other_threads_post_comes_before_the_loops_own(void **state)
{
    (void)state;
    letter l[4];
    be_the_loop(1);
    post(&l[0], 1, LARDER__MESSAGE_CANCEL);
    be_the_loop(0);
    post(&l[1], 2, LARDER__MESSAGE_CANCEL);
    post(&l[2], 3, LARDER__MESSAGE_INVALIDATE);
    be_the_loop(1);
    post(&l[3], 4, LARDER__MESSAGE_CANCEL);
    assert_taken("2314");
    assert_taken("");
}

static void test_a_barrier_of_the_loop_takes_along_what_it_posted_before(void **state)
{
    (void)state;
    letter l[5];
    be_the_loop(1);
    post(&l[0], 1, LARDER__MESSAGE_CANCEL);
    post(&l[1], 2, LARDER__MESSAGE_INVALIDATE);
    post(&l[2], 3, LARDER__MESSAGE_CANCEL);
    be_the_loop(0);
    post(&l[3], 4, LARDER__MESSAGE_CANCEL); /* after the barrier, wherever it comes from */
    be_the_loop(1);
    assert_taken("1243");
}

static void test_the_loop_is_woken_once_for_many_and_again_after_they_were_taken(void **state)
{
    (void)state;
    letter l[3];
    post(&l[0], 1, LARDER__MESSAGE_CANCEL);
    post(&l[1], 2, LARDER__MESSAGE_CANCEL);
    uv_run(&b.loop, UV_RUN_NOWAIT);
    assert_int_equal(b.woken, 1);
    assert_taken("12");
    post(&l[2], 3, LARDER__MESSAGE_CANCEL);
    uv_run(&b.loop, UV_RUN_NOWAIT);
    assert_int_equal(b.woken, 2);
    assert_taken("3");
}

static void test_what_was_signalled_before_the_handle_stood_wakes_the_loop_then(void **state)
{
    (void)state;
    larder__list list;
    larder__list_init(&list);
    b.inbox->async = NULL;
    larder__inbox_signal(b.inbox, LARDER__SIGNAL_SETTLE);
    larder__inbox_attach(b.inbox, &b.async);
    uv_run(&b.loop, UV_RUN_NOWAIT);
    assert_int_equal(b.woken, 1);
    assert_int_equal(larder__inbox_take(b.inbox, &list), LARDER__SIGNAL_SETTLE);
    assert_int_equal(larder__inbox_take(b.inbox, &list), 0);
}

static void test_the_loops_own_queue_keeps_it_from_sleeping(void **state)
{
    (void)state;
    letter l;
    be_the_loop(1);
    post(&l, 1, LARDER__MESSAGE_CANCEL);
    assert_true(uv_is_active((uv_handle_t *)&b.idle));
    assert_taken("1");
    larder__inbox_rest(b.inbox);
    assert_false(uv_is_active((uv_handle_t *)&b.idle));
}

static void test_requests_in_flight_are_bounded_on_both_ways_in(void **state)
{
    (void)state;
    letter l[5];
    be_the_loop(1);
    assert_int_equal(post(&l[0], 0, LARDER__MESSAGE_REQUEST), LARDER_OK);
    assert_int_equal(post(&l[1], 1, LARDER__MESSAGE_REQUEST), LARDER_OK);
    be_the_loop(0);
    assert_int_equal(post(&l[2], 2, LARDER__MESSAGE_REQUEST), LARDER_OK);
    assert_int_equal(post(&l[3], 3, LARDER__MESSAGE_REQUEST), LARDER_EOVERLOADED);
    be_the_loop(1);
    assert_int_equal(post(&l[3], 3, LARDER__MESSAGE_REQUEST), LARDER_EOVERLOADED);
    assert_taken("201");
    assert_int_equal(larder__inbox_in_flight(b.inbox), 3);
    larder__inbox_answered(b.inbox);
    assert_int_equal(post(&l[4], 4, LARDER__MESSAGE_REQUEST), LARDER_OK);
    assert_taken("4");
}

static void test_refusing_lets_answers_and_cancellations_through(void **state)
{
    (void)state;
    letter l[8];
    assert_int_equal(larder__inbox_refuse(b.inbox), LARDER_OK);
    assert_int_equal(larder__inbox_refuse(b.inbox), LARDER_ECLOSED);
    for (int on_loop = 0; on_loop < 2; on_loop++) {
        be_the_loop(on_loop);
        assert_int_equal(post(&l[0], 0, LARDER__MESSAGE_REQUEST), LARDER_ECLOSED);
        assert_int_equal(post(&l[0], 0, LARDER__MESSAGE_INVALIDATE), LARDER_ECLOSED);
        assert_int_equal(post(&l[0], 0, LARDER__MESSAGE_FLUSH), LARDER_ECLOSED);
        assert_int_equal(post(&l[0], 0, LARDER__MESSAGE_REGISTER), LARDER_ECLOSED);
        assert_int_equal(post(&l[1 + on_loop], 1, LARDER__MESSAGE_ANSWER), LARDER_OK);
        assert_int_equal(post(&l[3 + on_loop], 2, LARDER__MESSAGE_CANCEL), LARDER_OK);
        assert_int_equal(post(&l[5 + on_loop], 3, LARDER__MESSAGE_RELEASE), LARDER_OK);
    }
    assert_taken("123123");
    assert_int_equal(larder__inbox_in_flight(b.inbox), 0);
}

static void test_a_closed_inbox_hands_back_what_was_left_and_takes_nothing(void **state)
{
    (void)state;
    letter l[3];
    larder__list left;
    larder__list_init(&left);
    be_the_loop(1);
    post(&l[0], 0, LARDER__MESSAGE_ANSWER);
    be_the_loop(0);
    post(&l[1], 1, LARDER__MESSAGE_ANSWER);
    assert_true(larder__inbox_now(b.inbox) > 0);
    larder__inbox_close(b.inbox, &left);
    assert_ptr_equal(larder__list_shift(&left), &l[1].message.link);
    assert_ptr_equal(larder__list_shift(&left), &l[0].message.link);
    assert_int_equal(post(&l[2], 2, LARDER__MESSAGE_ANSWER), LARDER_ECLOSED);
    larder__inbox_signal(b.inbox, LARDER__SIGNAL_TICK);
    assert_int_equal(larder__inbox_now(b.inbox), 0); /* the clock may be gone */
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, setup, teardown)

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(test_what_other_threads_post_comes_before_the_loops_own),
        TEST(test_a_barrier_of_the_loop_takes_along_what_it_posted_before),
        TEST(test_the_loop_is_woken_once_for_many_and_again_after_they_were_taken),
        TEST(test_what_was_signalled_before_the_handle_stood_wakes_the_loop_then),
        TEST(test_the_loops_own_queue_keeps_it_from_sleeping),
        TEST(test_requests_in_flight_are_bounded_on_both_ways_in),
        TEST(test_refusing_lets_answers_and_cancellations_through),
        TEST(test_a_closed_inbox_hands_back_what_was_left_and_takes_nothing),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
