/* The store behind its seam: overlay, group commit, log of invalidations, other processes (here: a second store on the
 * same file), sweep, checkpoints, counters. */
#include "store_loop.h"

static void test_a_put_is_found_before_and_after_its_commit_and_after_reopening(void **state)
{
    (void)state;
    const char *path = test_path("a.larder");
    fixture f;
    open_store(&f, path, NULL);
    assert_null(get(&f, "c", 1));
    assert_int_equal(put(&f, "c", 1, "{\"a\":1}"), LARDER_OK);
    assert_string_equal(get(&f, "c", 1), "{\"a\":1}");
    assert_int_equal(flush(&f), LARDER_OK);
    assert_string_equal(get(&f, "c", 1), "{\"a\":1}");
    close_store(&f);
    assert_int_equal(f.stop_status, LARDER_OK);
    open_store(&f, path, NULL);
    assert_string_equal(get(&f, "c", 1), "{\"a\":1}");
    assert_null(get_version(&f, "c", 1, 2));
    test_clock_advance(&f.clock, 60000);
    assert_null(get(&f, "c", 1));
    test_clock_jump(&f.clock, -62000);
    assert_null(get(&f, "c", 1)); /* created in the future */
    close_store(&f);
}

static void test_the_newest_put_of_a_key_counts(void **state)
{
    (void)state;
    const char *path = test_path("a.larder");
    fixture f;
    open_store(&f, path, NULL);
    for (int i = 0; i < 50; i++) {
        char value[16];
        snprintf(value, sizeof value, "%d", i);
        assert_int_equal(put(&f, "c", 1, value), LARDER_OK);
        assert_string_equal(get(&f, "c", 1), value);
        uv_run(&f.loop, UV_RUN_NOWAIT);
        assert_string_equal(get(&f, "c", 1), value);
    }
    assert_int_equal(flush(&f), LARDER_OK);
    assert_string_equal(get(&f, "c", 1), "49");
    assert_shell(path, "SELECT count(*), max(value) FROM entries", "1|49");
    close_store(&f);
}

static void test_invalidations_hold_at_once_and_after_reopening(void **state)
{
    (void)state;
    const char *path = test_path("a.larder");
    fixture f;
    open_store(&f, path, NULL);
    for (uint32_t i = 1; i <= 3; i++) {
        put(&f, "a", i, "1");
        put(&f, "b", i + 10, "1");
    }
    assert_int_equal(flush(&f), LARDER_OK);
    invalidate(&f, LARDER__INVALIDATE_KEY, "a", 1);
    assert_null(get(&f, "a", 1));
    assert_non_null(get(&f, "a", 2));
    invalidate(&f, LARDER__INVALIDATE_CHANNEL, "a", 0);
    assert_null(get(&f, "a", 2));
    assert_non_null(get(&f, "b", 11));
    assert_int_equal(put(&f, "a", 3, "2"), LARDER_OK); /* after it: good */
    assert_string_equal(get(&f, "a", 3), "2");
    assert_int_equal(flush(&f), LARDER_OK);
    assert_string_equal(get(&f, "a", 3), "2");
    assert_null(get(&f, "a", 2));
    close_store(&f);
    open_store(&f, path, NULL);
    assert_null(get(&f, "a", 1));
    assert_null(get(&f, "a", 2));
    assert_string_equal(get(&f, "a", 3), "2");
    assert_non_null(get(&f, "b", 12));
    invalidate(&f, LARDER__INVALIDATE_ALL, NULL, 0);
    assert_null(get(&f, "b", 12));
    assert_null(get(&f, "a", 3));
    assert_int_equal(flush(&f), LARDER_OK);
    assert_null(get(&f, "b", 12));
    close_store(&f);
}

static void test_a_run_that_began_before_an_invalidation_stores_nothing(void **state)
{
    (void)state;
    fixture f;
    open_store(&f, test_path("a.larder"), NULL);
    larder__mark mark = larder__validity_mark(larder__store_validity(f.store));
    invalidate(&f, LARDER__INVALIDATE_KEY, "a", 1);
    assert_int_equal(put_at(&f, "a", 1, "1", mark), LARDER_ECANCELLED);
    assert_int_equal(put_at(&f, "a", 2, "1", mark), LARDER_OK);
    invalidate(&f, LARDER__INVALIDATE_CHANNEL, "a", 0);
    assert_int_equal(put_at(&f, "a", 2, "1", mark), LARDER_ECANCELLED);
    assert_null(get(&f, "a", 2)); /* queued before the invalidation */
    flush(&f);
    assert_null(get(&f, "a", 2));
    close_store(&f);
}

static void test_another_store_sees_hits_and_committed_invalidations_in_its_next_dispatch(void **state)
{
    (void)state;
    const char *path = test_path("a.larder");
    fixture a;
    fixture b;
    open_store(&a, path, NULL);
    open_store(&b, path, NULL);
    put(&a, "c", 1, "1");
    put(&a, "c", 2, "1");
    put(&a, "d", 3, "1");
    assert_int_equal(flush(&a), LARDER_OK);
    assert_string_equal(get(&b, "c", 1), "1");
    larder__mark before = larder__validity_mark(larder__store_validity(b.store));
    invalidate(&a, LARDER__INVALIDATE_KEY, "c", 1);
    assert_int_equal(flush(&a), LARDER_OK);
    assert_null(get(&b, "c", 1));
    assert_int_equal(b.invalidated[LARDER__INVALIDATE_KEY], 1);
    assert_int_equal(put_at(&b, "c", 1, "old", before), LARDER_ECANCELLED);
    invalidate(&a, LARDER__INVALIDATE_CHANNEL, "c", 0);
    assert_int_equal(flush(&a), LARDER_OK);
    assert_null(get(&b, "c", 2));
    assert_string_equal(get(&b, "d", 3), "1");
    invalidate(&a, LARDER__INVALIDATE_ALL, NULL, 0);
    assert_int_equal(flush(&a), LARDER_OK);
    assert_null(get(&b, "d", 3));
    close_store(&a);
    close_store(&b);
}

static void test_an_answer_that_another_process_invalidated_meanwhile_is_dropped_by_the_writer(void **state)
{
    (void)state;
    const char *path = test_path("a.larder");
    fixture a;
    fixture b;
    open_store(&a, path, NULL);
    open_store(&b, path, NULL);
    larder__mark before = larder__validity_mark(larder__store_validity(b.store));
    invalidate(&a, LARDER__INVALIDATE_KEY, "c", 1);
    invalidate(&a, LARDER__INVALIDATE_CHANNEL, "d", 0);
    assert_int_equal(flush(&a), LARDER_OK);
    /* b has not begun a dispatch since: it knows nothing, its writer finds out. */
    assert_int_equal(put_at(&b, "c", 1, "\"old\"", before), LARDER_OK);
    assert_int_equal(put_at(&b, "d", 2, "\"old\"", before), LARDER_OK);
    assert_int_equal(put_at(&b, "e", 3, "\"good\"", before), LARDER_OK);
    assert_int_equal(flush(&b), LARDER_OK);
    assert_shell(path, "SELECT group_concat(value) FROM entries", "\"good\"");
    assert_string_equal(get(&a, "e", 3), "\"good\"");
    close_store(&a);
    close_store(&b);
}

static void test_rows_edited_by_hand_are_noticed_at_the_beat(void **state)
{
    (void)state;
    const char *path = test_path("a.larder");
    fixture f;
    open_store(&f, path, NULL);
    put(&f, "c", 1, "1");
    put(&f, "c", 2, "1");
    assert_int_equal(flush(&f), LARDER_OK);
    test_clock_advance(&f.clock, 200);
    get(&f, "c", 1);
    free(shell(path, "DELETE FROM entries WHERE id = 1"));
    test_clock_advance(&f.clock, 200);
    assert_null(get(&f, "c", 1));
    assert_int_equal(f.invalidated[LARDER__INVALIDATE_KEY], 1);
    assert_non_null(get(&f, "c", 2));
    free(shell(path, "INSERT INTO invalidations (kind) VALUES ('all')"));
    test_clock_advance(&f.clock, 200);
    assert_null(get(&f, "c", 2));
    assert_int_equal(f.invalidated[LARDER__INVALIDATE_ALL], 1);
    close_store(&f);
}

static void test_our_own_deletes_fire_no_trigger(void **state)
{
    (void)state;
    const char *path = test_path("a.larder");
    fixture f;
    open_store(&f, path, NULL);
    put(&f, "c", 1, "1");
    flush(&f);
    invalidate(&f, LARDER__INVALIDATE_KEY, "c", 1);
    flush(&f);
    assert_shell(path, "SELECT count(*) FROM invalidations", "1");
    close_store(&f);
}

static void test_a_damaged_row_is_a_miss(void **state)
{
    (void)state;
    const char *path = test_path("a.larder");
    fixture f;
    open_store(&f, path, NULL);
    put(&f, "c", 1, "[1]");
    put(&f, "c", 2, "[2]");
    flush(&f);
    free(shell(path,
               "UPDATE entries SET value = '[1' WHERE id = 1; UPDATE entries SET content_type = 'x' WHERE id = 2"));
    test_clock_advance(&f.clock, 200);
    assert_null(get(&f, "c", 1));
    assert_null(get(&f, "c", 2));
    close_store(&f);
}

static void test_a_full_queue_refuses_answers_and_never_invalidations(void **state)
{
    (void)state;
    larder__store_options small = {.queue_bytes = 4096, .commit_interval_ms = 60000};
    const char *path = test_path("a.larder");
    fixture f;
    open_store(&f, path, &small);
    uint32_t stored = 0;
    begin(&f);
    while (put(&f, "c", stored, "1") == LARDER_OK) {
        stored++;
        assert_true(stored < 100);
    }
    assert_true(stored > 0);
    invalidate(&f, LARDER__INVALIDATE_KEY, "c", 0);
    larder__store_end(f.store);
    assert_int_equal(f.not_stored, 1);
    larder__store_stats stats;
    larder__store_get_stats(f.store, &stats);
    assert_int_equal(stats.not_stored, 1);
    assert_true(stats.queued_bytes <= 4096);
    assert_int_equal(flush(&f), LARDER_OK);
    assert_null(get(&f, "c", 0));
    assert_non_null(get(&f, "c", 1));
    larder__store_get_stats(f.store, &stats);
    assert_int_equal(stats.queued_bytes, 0);
    close_store(&f);
}

static void test_counters_add_up_over_stores_and_restarts(void **state)
{
    (void)state;
    const char *path = test_path("a.larder");
    fixture f;
    for (int round = 0; round < 3; round++) {
        open_store(&f, path, NULL);
        larder__channel_count counts[2] = {
            {channel(&f, "c"), {.requests = 5, .response_time_us = 100, .max_response_time_us = (uint64_t)round + 7}},
            {NULL, {.requests = 1, .errors = 1}},
        };
        int done = 0;
        assert_int_equal(larder__store_count(f.store, counts, 2, on_status, &done), LARDER_OK);
        test_run_until(&f.loop, &done);
        assert_int_equal(done, 1);
        close_store(&f);
    }
    assert_shell(path,
                 "SELECT requests, response_time_us, max_response_time_us FROM channel_totals WHERE channel_id > 0",
                 "15|300|9");
    assert_shell(path, "SELECT channel, requests, errors FROM channel_stats WHERE channel = '(unknown)'",
                 "(unknown)|3|3");
}

static void test_uses_are_saved(void **state)
{
    (void)state;
    const char *path = test_path("a.larder");
    fixture f;
    open_store(&f, path, NULL);
    put(&f, "c", 1, "1");
    larder__use use = {.hits = 3, .used_ms = 42};
    make_key(use.key, 1);
    assert_int_equal(larder__store_uses(f.store, &use, 1), LARDER_OK);
    assert_int_equal(larder__store_uses(f.store, &use, 1), LARDER_OK);
    flush(&f);
    assert_shell(path, "SELECT hits, used_ms FROM entries", "6|42");
    put(&f, "c", 1, "2"); /* another answer starts at nothing */
    flush(&f);
    assert_shell(path, "SELECT hits, used_ms FROM entries", "0|0");
    close_store(&f);
}

static int rows_left(const char *path)
{
    char *out = shell(path, "SELECT count(*) FROM entries");
    int rows = atoi(out);
    free(out);
    return rows;
}

static void wait_for_rows(fixture *f, const char *path, int expected)
{
    uint64_t until = uv_hrtime() + 20000000000u;
    while (rows_left(path) != expected && uv_hrtime() < until) { /* each look takes milliseconds of a shell */
        uv_run(&f->loop, UV_RUN_NOWAIT);
    }
    assert_int_equal(rows_left(path), expected);
}

static void test_the_sweep_removes_expired_and_invalidated_rows_in_slices(void **state)
{
    (void)state;
    larder__store_options often = {.sweep_interval_ms = 20, .queue_bytes = 8 << 20};
    const char *path = test_path("a.larder");
    fixture f;
    open_store(&f, path, &often);
    for (uint32_t i = 0; i < 1300; i++) {
        assert_int_equal(put(&f, i % 2 == 0 ? "c" : "d", i, "1"), LARDER_OK);
    }
    assert_int_equal(flush(&f), LARDER_OK);
    assert_int_equal(rows_left(path), 1300);
    invalidate(&f, LARDER__INVALIDATE_CHANNEL, "c", 0);
    assert_int_equal(flush(&f), LARDER_OK);
    wait_for_rows(&f, path, 650);
    test_clock_advance(&f.clock, 30000);
    put(&f, "c", 5000, "1");
    assert_int_equal(flush(&f), LARDER_OK);
    test_clock_advance(&f.clock, 31000);
    wait_for_rows(&f, path, 1);
    assert_shell(path, "PRAGMA integrity_check", "ok");
    close_store(&f);
}

static void test_the_log_is_cut_after_a_sweep_and_an_older_run_is_not_believed(void **state)
{
    (void)state;
    larder__store_options often = {.sweep_interval_ms = 20};
    const char *path = test_path("a.larder");
    fixture f;
    open_store(&f, path, &often);
    fixture other;
    open_store(&other, path, &often);
    larder__mark old = larder__validity_mark(larder__store_validity(other.store));
    for (uint32_t i = 0; i < 30; i++) {
        invalidate(&f, LARDER__INVALIDATE_KEY, "c", i);
    }
    assert_int_equal(flush(&f), LARDER_OK);
    test_clock_advance(&f.clock, 11 * 60000);
    test_clock_advance(&other.clock, 11 * 60000);
    uint64_t until = uv_hrtime() + 20000000000u;
    for (int left = 30; left > 0 && uv_hrtime() < until;) {
        char *out = shell(path, "SELECT count(*) FROM invalidations");
        left = atoi(out);
        free(out);
    }
    assert_shell(path, "SELECT count(*), (SELECT value FROM state WHERE name = 'log_floor') FROM invalidations",
                 "0|30");
    assert_int_equal(put_at(&other, "c", 99, "1", old), LARDER_OK);
    assert_int_equal(flush(&other), LARDER_OK);
    assert_shell(path, "SELECT count(*) FROM entries", "0");
    begin(&other); /* it has missed rows that are gone: everything in its memory must go */
    larder__store_end(other.store);
    assert_int_equal(other.invalidated[LARDER__INVALIDATE_ALL], 1);
    assert_int_equal(put(&other, "c", 99, "1"), LARDER_OK);
    assert_int_equal(flush(&other), LARDER_OK);
    assert_shell(path, "SELECT count(*) FROM entries", "1");
    close_store(&f);
    close_store(&other);
}

static void test_the_wal_is_checkpointed_and_shrinks_when_idle(void **state)
{
    (void)state;
    larder__store_options big = {.queue_bytes = 64 << 20};
    const char *path = test_path("a.larder");
    char wal[512];
    snprintf(wal, sizeof wal, "stat -c %%s '%s-wal'", path);
    fixture f;
    open_store(&f, path, &big);
    static char value[4000];
    memset(value, '1', sizeof value - 1);
    for (uint32_t i = 0; i < 4000; i++) {
        assert_int_equal(put(&f, "c", i, value), LARDER_OK);
        if (i % 500 == 499) {
            assert_int_equal(flush(&f), LARDER_OK);
        }
    }
    char *out;
    assert_int_equal(test_shell(&out, "%s", wal), 0);
    assert_true(atol(out) < 16 << 20); /* 16 MB of values went through it, and as many pages again */
    free(out);
    uint64_t until = uv_hrtime() + 20000000000u;
    long size = 1;
    while (size != 0 && uv_hrtime() < until) {
        assert_int_equal(test_shell(&out, "%s", wal), 0);
        size = atol(out);
        free(out);
    }
    assert_int_equal(size, 0);
    close_store(&f);
}

int main(void)
{
    test_alloc_install();
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_a_put_is_found_before_and_after_its_commit_and_after_reopening),
        cmocka_unit_test(test_the_newest_put_of_a_key_counts),
        cmocka_unit_test(test_invalidations_hold_at_once_and_after_reopening),
        cmocka_unit_test(test_a_run_that_began_before_an_invalidation_stores_nothing),
        cmocka_unit_test(test_another_store_sees_hits_and_committed_invalidations_in_its_next_dispatch),
        cmocka_unit_test(test_an_answer_that_another_process_invalidated_meanwhile_is_dropped_by_the_writer),
        cmocka_unit_test(test_rows_edited_by_hand_are_noticed_at_the_beat),
        cmocka_unit_test(test_our_own_deletes_fire_no_trigger),
        cmocka_unit_test(test_a_damaged_row_is_a_miss),
        cmocka_unit_test(test_a_full_queue_refuses_answers_and_never_invalidations),
        cmocka_unit_test(test_counters_add_up_over_stores_and_restarts),
        cmocka_unit_test(test_uses_are_saved),
        cmocka_unit_test(test_the_sweep_removes_expired_and_invalidated_rows_in_slices),
        cmocka_unit_test(test_the_log_is_cut_after_a_sweep_and_an_older_run_is_not_believed),
        cmocka_unit_test(test_the_wal_is_checkpointed_and_shrinks_when_idle),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
