/* tests/flow/test_cached.c: which answers come from the cache, and above all which do not. */
#include "flow.h"

#include <stdlib.h>

static flow f;
static answer a;
static int calls; /* of the handler on "count", whose answer is their number */

static int setup_memory(void **state)
{
    (void)state;
    flow_init(&f, NULL);
    flow_open(&f);
    a = (answer){0, NULL};
    calls = 0;
    flow_register_cached(&f, "count", count_calls, &calls);
    return 0;
}

static int setup_file(void **state)
{
    (void)state;
    flow_init(&f, test_path("cached.larder"));
    flow_open(&f);
    a = (answer){0, NULL};
    calls = 0;
    flow_register_cached(&f, "count", count_calls, &calls);
    return 0;
}

static int teardown(void **state)
{
    (void)state;
    flow_end(&f);
    answer_clear(&a);
    return 0;
}

static void assert_asked(const char *args, const char *data, larder_source source)
{
    flow_ask(&f, "count", args, &a);
    assert_data(&a, data);
    assert_source(&a, source);
    assert_int_equal(larder_response_meta(a.response)->cached, source != LARDER_SOURCE_HANDLER);
}

static void reopen(void)
{
    flow_close(&f, 0);
    assert_int_equal(f.report.status, LARDER_OK);
    assert_int_equal(f.report.unsaved, 0);
    flow_open(&f);
    flow_register_cached(&f, "count", count_calls, &calls);
}

/* ---- serving ---- */

static void test_the_second_request_is_answered_from_memory(void **state)
{
    (void)state;
    assert_asked("[1]", "1", LARDER_SOURCE_HANDLER);
    assert_int_equal(larder_response_meta(a.response)->expires_ms, 1700000300000);
    test_clock_advance(&f.clock, 50);
    assert_asked(" [1.0] ", "1", LARDER_SOURCE_MEMORY); /* the same in canonical form */
    assert_int_equal(larder_response_meta(a.response)->created_ms, 1700000000000);
    assert_int_equal(larder_response_meta(a.response)->expires_ms, 1700000300000);
    assert_asked("[2]", "2", LARDER_SOURCE_HANDLER);
    assert_asked("[1]", "1", LARDER_SOURCE_MEMORY);
}

static void test_an_answer_is_served_until_its_ttl_is_over(void **state)
{
    (void)state;
    assert_asked("1", "1", LARDER_SOURCE_HANDLER);
    test_clock_advance(&f.clock, 299999);
    assert_asked("1", "1", LARDER_SOURCE_MEMORY);
    test_clock_advance(&f.clock, 1);
    assert_asked("1", "2", LARDER_SOURCE_HANDLER);
}

static void test_a_clock_that_was_set_back_makes_nothing_immortal(void **state)
{
    (void)state;
    assert_asked("1", "1", LARDER_SOURCE_HANDLER);
    test_clock_jump(&f.clock, -3600000);
    assert_asked("1", "2", LARDER_SOURCE_HANDLER); /* made in the future: not to be believed */
    test_clock_advance(&f.clock, 299999);
    assert_asked("1", "2", LARDER_SOURCE_MEMORY);
    test_clock_advance(&f.clock, 1);
    assert_asked("1", "3", LARDER_SOURCE_HANDLER);
}

static void test_the_longest_ttl_does_not_overflow(void **state)
{
    (void)state;
    larder_handler_options options;
    larder_handler_options_init(&options);
    options.cacheable = 1;
    options.ttl_ms = INT64_MAX;
    options.user_data = &calls;
    flow_register(&f, "ever", count_calls, &options);
    flow_ask(&f, "ever", "1", &a);
    test_clock_advance(&f.clock, 1000000000);
    flow_ask(&f, "ever", "1", &a);
    assert_source(&a, LARDER_SOURCE_MEMORY);
}

static void test_another_version_of_the_handler_does_not_see_old_answers(void **state)
{
    (void)state;
    larder_handler_options options;
    larder_handler_options_init(&options);
    options.cacheable = 1;
    options.version = 2;
    options.user_data = &calls;
    assert_asked("1", "1", LARDER_SOURCE_HANDLER);
    assert_int_equal(larder_unregister(f.l, "count", NULL), LARDER_OK);
    flow_register(&f, "count", count_calls, &options);
    assert_asked("1", "2", LARDER_SOURCE_HANDLER);
    assert_asked("1", "2", LARDER_SOURCE_MEMORY);
}

static void test_scopes_never_share_answers(void **state)
{
    (void)state;
    larder_send_options send;
    larder_send_options_init(&send);
    assert_asked("1", "1", LARDER_SOURCE_HANDLER);
    send.scope = "ann";
    flow_ask_with(&f, "count", "1", &send, &a);
    assert_data(&a, "2");
    send.scope = "bob";
    flow_ask_with(&f, "count", "1", &send, &a);
    assert_data(&a, "3");
    send.scope = "ann";
    flow_ask_with(&f, "count", "1", &send, &a);
    assert_data(&a, "2");
    assert_source(&a, LARDER_SOURCE_MEMORY);
}

static void test_refresh_asks_the_handler_and_keeps_its_answer(void **state)
{
    (void)state;
    larder_send_options send;
    larder_send_options_init(&send);
    assert_asked("1", "1", LARDER_SOURCE_HANDLER);
    send.cache = LARDER_CACHE_REFRESH;
    flow_ask_with(&f, "count", "1", &send, &a);
    assert_data(&a, "2");
    assert_asked("1", "2", LARDER_SOURCE_MEMORY);
}

/* The answer in the file is older than one that the caller was given: it must not come back. */
static void refresh_what_cannot_be_stored(size_t max_entry_bytes, size_t queue_bytes)
{
    larder_send_options send;
    larder_send_options_init(&send);
    send.cache = LARDER_CACHE_REFRESH;
    calls = 8;
    assert_asked("1", "9", LARDER_SOURCE_HANDLER);
    f.options.max_entry_bytes = max_entry_bytes;
    f.options.queue_bytes = queue_bytes;
    reopen();
    flow_ask_with(&f, "count", "1", &send, &a);
    assert_data(&a, "10");
    assert_int_equal(larder_response_meta(a.response)->expires_ms, 0);
    assert_asked("1", "11", LARDER_SOURCE_HANDLER);
    flow_close(&f, 0);
    f.options.max_entry_bytes = 1 << 20;
    f.options.queue_bytes = 1 << 20;
    flow_open(&f);
    flow_register_cached(&f, "count", count_calls, &calls);
    assert_asked("1", "12", LARDER_SOURCE_HANDLER);
}

static void test_refreshing_with_an_answer_over_the_entry_limit_does_not_bring_the_old_one_back(void **state)
{
    (void)state;
    refresh_what_cannot_be_stored(1, 1 << 20);
}

static void test_refreshing_with_a_full_queue_does_not_bring_the_old_one_back(void **state)
{
    (void)state;
    refresh_what_cannot_be_stored(1 << 20, 1);
}

static void test_an_answer_that_no_tier_takes_does_not_claim_to_be_kept(void **state)
{
    (void)state;
    f.options.memory_bytes = 64;
    reopen();
    assert_asked("1", "1", LARDER_SOURCE_HANDLER);
    assert_int_equal(larder_response_meta(a.response)->expires_ms, 0);
    assert_asked("1", "2", LARDER_SOURCE_HANDLER);
}

static void test_bypass_leaves_the_cache_alone(void **state)
{
    (void)state;
    larder_send_options send;
    larder_send_options_init(&send);
    assert_asked("1", "1", LARDER_SOURCE_HANDLER);
    send.cache = LARDER_CACHE_BYPASS;
    flow_ask_with(&f, "count", "1", &send, &a);
    assert_data(&a, "2");
    assert_int_equal(larder_response_meta(a.response)->expires_ms, 0);
    assert_asked("1", "1", LARDER_SOURCE_MEMORY);
}

static void test_a_handler_that_is_not_cacheable_is_always_asked(void **state)
{
    (void)state;
    flow_register_with(&f, "plain", count_calls, &calls);
    flow_ask(&f, "plain", "1", &a);
    flow_ask(&f, "plain", "1", &a);
    assert_data(&a, "2");
    assert_int_equal(larder_response_meta(a.response)->expires_ms, 0);
}

static void answer_null(larder_request *request, void *user_data)
{
    ++*(int *)user_data;
    larder_answer_json(request, "null", LARDER_NUL);
}

static void answer_empty(larder_request *request, void *user_data)
{
    ++*(int *)user_data;
    larder_answer_bytes(request, NULL, 0);
}

static void test_null_and_empty_answers_are_kept(void **state)
{
    (void)state;
    size_t len = 1;
    flow_register_cached(&f, "null", answer_null, &calls);
    flow_register_cached(&f, "empty", answer_empty, &calls);
    for (int i = 0; i < 2; i++) {
        flow_ask(&f, "null", "1", &a);
        assert_data(&a, "null");
        flow_ask(&f, "empty", "1", &a);
        assert_non_null(larder_response_data(a.response, &len));
        assert_int_equal(len, 0);
        assert_int_equal(larder_response_content(a.response), LARDER_CONTENT_BYTES);
    }
    assert_int_equal(calls, 2);
    assert_source(&a, LARDER_SOURCE_MEMORY);
}

static void fail_counted(larder_request *request, void *user_data)
{
    ++*(int *)user_data;
    larder_fail(request, "NO_SUCH_BOOK", NULL, NULL);
}

static void answer_invalid(larder_request *request, void *user_data)
{
    ++*(int *)user_data;
    larder_answer_json(request, "nul", 3);
}

static void test_failures_are_never_kept(void **state)
{
    (void)state;
    flow_register_cached(&f, "fail", fail_counted, &calls);
    flow_register_cached(&f, "invalid", answer_invalid, &calls);
    for (int i = 0; i < 2; i++) {
        flow_ask(&f, "fail", "1", &a);
        assert_code(&a, "NO_SUCH_BOOK");
        flow_ask(&f, "invalid", "1", &a);
        assert_code(&a, "IPC_HANDLER_ERROR");
        assert_int_equal(larder_response_meta(a.response)->expires_ms, 0);
    }
    assert_int_equal(calls, 4);
}

static int refuse_all;

static int refuse_when_told(const char *args, size_t len, char *message, size_t size, void *user_data)
{
    (void)args;
    (void)len;
    (void)user_data;
    snprintf(message, size, "not now");
    return refuse_all;
}

static void test_validation_runs_for_hits_too(void **state)
{
    (void)state;
    larder_handler_options options;
    larder_handler_options_init(&options);
    options.cacheable = 1;
    options.validate = refuse_when_told;
    options.user_data = &calls;
    refuse_all = 0;
    flow_register(&f, "checked", count_calls, &options);
    flow_ask(&f, "checked", "1", &a);
    refuse_all = 1;
    flow_ask(&f, "checked", "1", &a);
    assert_code(&a, "VALIDATION_ERROR");
}

static void test_answers_over_the_entry_limit_are_served_but_not_kept(void **state)
{
    (void)state;
    flow_close(&f, 0);
    f.options.max_entry_bytes = 1;
    flow_open(&f);
    flow_register_cached(&f, "count", count_calls, &calls);
    assert_asked("1", "1", LARDER_SOURCE_HANDLER);
    assert_asked("1", "1", LARDER_SOURCE_MEMORY);
    calls = 9;
    assert_asked("2", "10", LARDER_SOURCE_HANDLER);
    assert_int_equal(larder_response_meta(a.response)->expires_ms, 0);
    assert_asked("2", "11", LARDER_SOURCE_HANDLER);
}

/* ---- across restarts ---- */

static void test_after_closing_and_opening_again_the_answer_comes_from_disk(void **state)
{
    (void)state;
    assert_asked("{\"a\":[1]}", "1", LARDER_SOURCE_HANDLER);
    reopen();
    assert_asked("{\"a\":[1]}", "1", LARDER_SOURCE_DISK);
    assert_int_equal(larder_response_meta(a.response)->created_ms, 1700000000000);
    assert_asked("{\"a\":[1]}", "1", LARDER_SOURCE_MEMORY);
    test_clock_advance(&f.clock, 300000);
    reopen();
    assert_asked("{\"a\":[1]}", "2", LARDER_SOURCE_HANDLER);
}

static void test_without_a_memory_tier_answers_come_from_disk(void **state)
{
    (void)state;
    flow_close(&f, 0);
    f.options.memory_bytes = 0;
    flow_open(&f);
    flow_register_cached(&f, "count", count_calls, &calls);
    assert_asked("1", "1", LARDER_SOURCE_HANDLER);
    assert_asked("1", "1", LARDER_SOURCE_DISK); /* also before it is committed */
    flow_flush(&f);
    assert_asked("1", "1", LARDER_SOURCE_DISK);
}

static void test_with_neither_tier_every_answer_is_the_handlers(void **state)
{
    (void)state;
    flow_close(&f, 0);
    f.options.memory_bytes = 0;
    f.options.path = NULL;
    flow_open(&f);
    flow_register_cached(&f, "count", count_calls, &calls);
    assert_asked("1", "1", LARDER_SOURCE_HANDLER);
    assert_int_equal(larder_response_meta(a.response)->expires_ms, 0);
    assert_asked("1", "2", LARDER_SOURCE_HANDLER);
}

static void test_a_clear_that_was_flushed_holds_after_opening_again(void **state)
{
    (void)state;
    assert_asked("1", "1", LARDER_SOURCE_HANDLER);
    flow_flush(&f);
    outcome o = {0, 0};
    assert_int_equal(larder_invalidate_all(f.l, on_status, &o, NULL), LARDER_OK);
    test_run_until(&f.loop, &o.done);
    assert_int_equal(o.status, LARDER_OK);
    reopen();
    assert_asked("1", "2", LARDER_SOURCE_HANDLER);
}

static void test_a_flush_includes_the_counters_up_to_it(void **state)
{
    (void)state;
    char *text = NULL;
    for (int round = 1; round <= 20; round++) {
        assert_asked("1", "1", round == 1 ? LARDER_SOURCE_HANDLER : LARDER_SOURCE_MEMORY);
        outcome first = {0, 0};
        assert_int_equal(larder_flush(f.l, on_status, &first), LARDER_OK); /* its save is under way at the next one */
        assert_asked("1", "1", LARDER_SOURCE_MEMORY);
        flow_flush(&f);
        assert_int_equal(first.done, 1);
        assert_int_equal(test_shell(&text, "sqlite3 -readonly %s 'SELECT requests, memory_hits FROM totals'",
                                    f.options.path),
                         0);
        char expected[40];
        snprintf(expected, sizeof expected, "%d|%d\n", 2 * round, 2 * round - 1);
        assert_string_equal(text, expected);
        free(text);
    }
}

/* ---- invalidating ---- */

static void assert_invalidated(outcome *o)
{
    test_run_until(&f.loop, &o->done);
    assert_int_equal(o->status, LARDER_OK);
    assert_int_equal(o->done, 1);
    *o = (outcome){0, 0};
}

static void test_invalidating_a_key_a_channel_and_all(void **state)
{
    (void)state;
    outcome o = {0, 0};
    int others = 100;
    flow_register_cached(&f, "other", count_calls, &others);
    assert_asked("[1]", "1", LARDER_SOURCE_HANDLER);
    assert_asked("[2]", "2", LARDER_SOURCE_HANDLER);
    flow_ask(&f, "other", "[1]", &a);
    assert_int_equal(larder_invalidate(f.l, "count", "[ 1 ]", LARDER_NUL, NULL, on_status, &o, NULL), LARDER_OK);
    assert_int_equal(o.done, 0);
    assert_invalidated(&o);
    assert_asked("[1]", "3", LARDER_SOURCE_HANDLER);
    assert_asked("[2]", "2", LARDER_SOURCE_MEMORY);
    assert_int_equal(larder_invalidate_channel(f.l, "count", on_status, &o, NULL), LARDER_OK);
    assert_invalidated(&o);
    assert_asked("[2]", "4", LARDER_SOURCE_HANDLER);
    flow_ask(&f, "other", "[1]", &a);
    assert_source(&a, LARDER_SOURCE_MEMORY);
    assert_int_equal(larder_invalidate_all(f.l, on_status, &o, NULL), LARDER_OK);
    assert_invalidated(&o);
    flow_ask(&f, "other", "[1]", &a);
    assert_source(&a, LARDER_SOURCE_HANDLER);
}

static void test_invalidating_refuses_what_is_no_key(void **state)
{
    (void)state;
    larder_error error;
    outcome o = {0, 0};
    assert_int_equal(larder_invalidate(f.l, "", "1", 1, NULL, on_status, &o, &error), LARDER_EINVAL);
    assert_int_equal(larder_invalidate(f.l, "count", "[", 1, NULL, on_status, &o, &error), LARDER_EJSON);
    assert_int_equal(larder_invalidate_channel(f.l, NULL, on_status, &o, &error), LARDER_EINVAL);
    flow_ask(&f, "count", "1", &a);
    assert_int_equal(o.done, 0);
}

static void test_a_scope_is_invalidated_by_itself(void **state)
{
    (void)state;
    larder_send_options send;
    larder_send_options_init(&send);
    send.scope = "ann";
    flow_ask_with(&f, "count", "1", &send, &a);
    assert_asked("1", "2", LARDER_SOURCE_HANDLER);
    assert_int_equal(larder_invalidate(f.l, "count", "1", 1, "ann", NULL, NULL, NULL), LARDER_OK);
    flow_ask_with(&f, "count", "1", &send, &a);
    assert_data(&a, "3");
    assert_asked("1", "2", LARDER_SOURCE_MEMORY);
}

static keeper kept;

static void invalidate_during_a_run(int (*invalidate)(void))
{
    answer late = {0, NULL};
    kept.calls = 0;
    flow_register_cached(&f, "slow", keep_request, &kept);
    flow_send(&f, "slow", "1", NULL, &late);
    test_run_until(&f.loop, &kept.calls);
    assert_int_equal(invalidate(), LARDER_OK);
    larder_answer_json(kept.requests[0], "\"before\"", LARDER_NUL);
    test_run_until(&f.loop, &late.count);
    assert_data(&late, "\"before\""); /* who asked before may have it */
    assert_int_equal(larder_response_meta(late.response)->expires_ms, 0);
    answer_clear(&late);
    answer_clear(&a);
    flow_send(&f, "slow", "1", NULL, &a);
    while (kept.calls < 2) { /* it came to the handler again */
        assert_int_equal(a.count, 0);
        uv_run(&f.loop, UV_RUN_ONCE);
    }
    larder_answer_json(kept.requests[1], "\"after\"", LARDER_NUL);
    test_run_until(&f.loop, &a.count);
    assert_data(&a, "\"after\"");
    flow_ask(&f, "slow", "1", &a);
    assert_data(&a, "\"after\"");
    assert_int_equal(larder_unregister(f.l, "slow", NULL), LARDER_OK);
}

static int by_key(void)
{
    return larder_invalidate(f.l, "slow", "1", 1, NULL, NULL, NULL, NULL);
}

static int by_channel(void)
{
    return larder_invalidate_channel(f.l, "slow", NULL, NULL, NULL);
}

static int by_all(void)
{
    return larder_invalidate_all(f.l, NULL, NULL, NULL);
}

static void test_a_run_that_began_before_an_invalidation_is_not_kept(void **state)
{
    (void)state;
    invalidate_during_a_run(by_key);
    by_all();
    invalidate_during_a_run(by_channel);
    by_all();
    invalidate_during_a_run(by_all);
}

static void test_no_request_sent_after_an_invalidation_gets_an_older_answer(void **state)
{
    (void)state;
    int (*const ways[])(void) = {by_key, by_channel, by_all};
    flow_register_cached(&f, "slow", count_calls, &calls);
    for (int i = 0; i < 300; i++) {
        answer before = {0, NULL};
        answer after = {0, NULL};
        char newest[16];
        flow_send(&f, "slow", "1", NULL, &before);
        assert_int_equal(ways[i % 3](), LARDER_OK); /* in the same turn, all queued */
        flow_send(&f, "slow", "1", NULL, &after);
        test_run_until(&f.loop, &after.count);
        assert_int_equal(before.count, 1);
        snprintf(newest, sizeof newest, "%d", calls);
        assert_data(&after, newest);
        assert_source(&after, LARDER_SOURCE_HANDLER);
        answer_clear(&before);
        answer_clear(&after);
    }
}

static void test_hits_and_misses_are_counted(void **state)
{
    (void)state;
    larder_metrics m = {.size = sizeof m};
    assert_asked("1", "1", LARDER_SOURCE_HANDLER);
    assert_asked("1", "1", LARDER_SOURCE_MEMORY);
    reopen();
    assert_asked("1", "1", LARDER_SOURCE_DISK);
    assert_asked("1", "1", LARDER_SOURCE_MEMORY);
    assert_asked("2", "2", LARDER_SOURCE_HANDLER);
    flow_flush(&f);
    assert_int_equal(larder_get_metrics(f.l, &m), LARDER_OK);
    assert_int_equal(m.requests, 3);
    assert_int_equal(m.memory_hits, 1);
    assert_int_equal(m.disk_hits, 1);
    assert_int_equal(m.misses, 1);
    assert_int_equal(m.handler_runs, 1);
    assert_int_equal(m.memory_entries, 2);
    assert_true(m.commits > 0);
    assert_int_equal(m.not_stored, 0);
    assert_int_equal(m.queued_bytes, 0);
}

#define MEMORY(name) cmocka_unit_test_setup_teardown(name, setup_memory, teardown)
#define FILE_TOO(name) cmocka_unit_test_setup_teardown(name, setup_file, teardown)

int main(void)
{
    const struct CMUnitTest tests[] = {
        MEMORY(test_the_second_request_is_answered_from_memory),
        MEMORY(test_an_answer_is_served_until_its_ttl_is_over),
        MEMORY(test_a_clock_that_was_set_back_makes_nothing_immortal),
        FILE_TOO(test_a_clock_that_was_set_back_makes_nothing_immortal),
        MEMORY(test_the_longest_ttl_does_not_overflow),
        FILE_TOO(test_another_version_of_the_handler_does_not_see_old_answers),
        FILE_TOO(test_scopes_never_share_answers),
        FILE_TOO(test_refresh_asks_the_handler_and_keeps_its_answer),
        FILE_TOO(test_refreshing_with_an_answer_over_the_entry_limit_does_not_bring_the_old_one_back),
        FILE_TOO(test_refreshing_with_a_full_queue_does_not_bring_the_old_one_back),
        MEMORY(test_an_answer_that_no_tier_takes_does_not_claim_to_be_kept),
        FILE_TOO(test_bypass_leaves_the_cache_alone),
        MEMORY(test_a_handler_that_is_not_cacheable_is_always_asked),
        FILE_TOO(test_null_and_empty_answers_are_kept),
        FILE_TOO(test_failures_are_never_kept),
        MEMORY(test_validation_runs_for_hits_too),
        FILE_TOO(test_answers_over_the_entry_limit_are_served_but_not_kept),
        FILE_TOO(test_after_closing_and_opening_again_the_answer_comes_from_disk),
        FILE_TOO(test_without_a_memory_tier_answers_come_from_disk),
        MEMORY(test_with_neither_tier_every_answer_is_the_handlers),
        FILE_TOO(test_a_clear_that_was_flushed_holds_after_opening_again),
        FILE_TOO(test_a_flush_includes_the_counters_up_to_it),
        MEMORY(test_invalidating_a_key_a_channel_and_all),
        FILE_TOO(test_invalidating_a_key_a_channel_and_all),
        MEMORY(test_invalidating_refuses_what_is_no_key),
        FILE_TOO(test_a_scope_is_invalidated_by_itself),
        MEMORY(test_a_run_that_began_before_an_invalidation_is_not_kept),
        FILE_TOO(test_a_run_that_began_before_an_invalidation_is_not_kept),
        MEMORY(test_no_request_sent_after_an_invalidation_gets_an_older_answer),
        FILE_TOO(test_no_request_sent_after_an_invalidation_gets_an_older_answer),
        FILE_TOO(test_hits_and_misses_are_counted),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
