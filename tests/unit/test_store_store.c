/* The store behind its seam: overlay, group commit, log of invalidations, other processes (here: a second store on the same
 * file), sweep, failures of the file, and failed allocations. */
#include "support.h"

#include "base/alloc.h"
#include "store/db.h"
#include "store/store.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

/* ---- a store with a loop ---- */

typedef struct fixture {
    uv_loop_t loop;
    uv_async_t async;
    test_clock clock;
    larder__store *store;
    int stopped;
    int stop_status;
    int invalidated[3];
    int degraded;
    int recovered;
    int not_stored;
    uint64_t lost;
} fixture;

static void wake(void *owner)
{
    uv_async_send(&((fixture *)owner)->async);
}

static void on_async(uv_async_t *async)
{
    fixture *f = async->data;
    if (f->store != NULL) {
        larder__store_settle(f->store);
    }
}

static void on_invalidated(void *owner, larder__invalidation_kind kind, larder__channel *channel, const uint8_t *key)
{
    (void)channel;
    (void)key;
    ((fixture *)owner)->invalidated[kind]++;
}

static void on_event(void *owner, const larder_event *event)
{
    fixture *f = owner;
    f->degraded += event->type == LARDER_EVENT_STORE_DEGRADED;
    f->recovered += event->type == LARDER_EVENT_STORE_RECOVERED;
    f->not_stored += event->type == LARDER_EVENT_NOT_STORED;
    f->lost += event->type == LARDER_EVENT_STORE_RECOVERED ? event->count : 0;
}

static void on_stopped(void *owner, int status, uint64_t unsaved)
{
    (void)unsaved;
    fixture *f = owner;
    f->stop_status = status;
    f->stopped = 1;
}

static int try_open(fixture *f, const char *path, const larder__store_options *changes)
{
    larder__store_options options = {
        .path = path,
        .queue_bytes = 1 << 20,
        .commit_interval_ms = 5,
        .sweep_interval_ms = 60000,
        .lock_timeout_ms = 2000,
        .clock = &f->clock.clock,
        .wake = wake,
        .on_invalidated = on_invalidated,
        .on_event = on_event,
        .on_stopped = on_stopped,
        .owner = f,
    };
    if (changes != NULL) {
        options.queue_bytes = changes->queue_bytes != 0 ? changes->queue_bytes : options.queue_bytes;
        options.sweep_interval_ms = changes->sweep_interval_ms != 0 ? changes->sweep_interval_ms : 60000;
        options.commit_interval_ms = changes->commit_interval_ms != 0 ? changes->commit_interval_ms : 5;
        options.lock_timeout_ms = changes->lock_timeout_ms != 0 ? changes->lock_timeout_ms : 2000;
    }
    memset(f, 0, sizeof *f);
    test_clock_init(&f->clock);
    assert_int_equal(uv_loop_init(&f->loop), 0);
    assert_int_equal(uv_async_init(&f->loop, &f->async, on_async), 0);
    f->async.data = f;
    return larder__store_open(&f->store, &options, NULL);
}

static void close_loop(fixture *f)
{
    uv_close((uv_handle_t *)&f->async, NULL);
    test_loop_close(&f->loop);
}

static void open_store(fixture *f, const char *path, const larder__store_options *changes)
{
    assert_int_equal(try_open(f, path, changes), LARDER_OK);
}

static void close_store(fixture *f)
{
    larder__store_stop(f->store);
    test_run_until(&f->loop, &f->stopped);
    larder__store_free(f->store);
    f->store = NULL;
    close_loop(f);
}

static void begin(fixture *f)
{
    larder__store_begin(f->store, f->clock.wall_ms, f->clock.mono_ns);
}

static larder__channel *channel(fixture *f, const char *name)
{
    return larder__validity_channel(larder__store_validity(f->store), name, strlen(name));
}

static void make_key(uint8_t key[LARDER_KEY_SIZE], uint32_t number)
{
    memset(key, 0xab, LARDER_KEY_SIZE);
    memcpy(key, &number, sizeof number);
}

static int put_at(fixture *f, const char *name, uint32_t number, const char *value, larder__mark mark)
{
    larder__record record = {
        .channel = channel(f, name),
        .version = 1,
        .created_ms = f->clock.wall_ms,
        .expires_ms = f->clock.wall_ms + 60000,
        .cost_us = 5,
        .value = larder__body_new(value, strlen(value), LARDER_CONTENT_JSON),
        .args = larder__body_new("null", 4, LARDER_CONTENT_JSON),
    };
    make_key(record.key, number);
    if (record.value == NULL || record.args == NULL) { /* memory was made to fail */
        larder__body_release(record.value);
        larder__body_release(record.args);
        return LARDER_ENOMEM;
    }
    int status = larder__store_put(f->store, &record, mark);
    larder__body_release(record.value);
    larder__body_release(record.args);
    return status;
}

static int put(fixture *f, const char *name, uint32_t number, const char *value)
{
    return put_at(f, name, number, value, larder__validity_mark(larder__store_validity(f->store)));
}

/* Within a dispatch of its own. */
static char *get_version(fixture *f, const char *name, uint32_t number, uint32_t version)
{
    static char value[4096];
    uint8_t key[LARDER_KEY_SIZE];
    larder__record record;
    make_key(key, number);
    begin(f);
    int found = larder__store_get(f->store, channel(f, name), key, version, f->clock.wall_ms, &record);
    larder__store_end(f->store);
    if (!found) {
        return NULL;
    }
    snprintf(value, sizeof value, "%s", record.value->data);
    larder__body_release(record.value);
    return value;
}

static char *get(fixture *f, const char *name, uint32_t number)
{
    return get_version(f, name, number, 1);
}

static void on_status(int status, void *user_data)
{
    *(int *)user_data = status == LARDER_OK ? 1 : status;
}

static int flush(fixture *f)
{
    int result = 0;
    assert_int_equal(larder__store_flush(f->store, on_status, &result), LARDER_OK);
    test_run_until(&f->loop, &result);
    return result == 1 ? LARDER_OK : result;
}

static void invalidate(fixture *f, larder__invalidation_kind kind, const char *name, uint32_t number)
{
    uint8_t key[LARDER_KEY_SIZE];
    make_key(key, number);
    int status = larder__store_invalidate(f->store, kind, name == NULL ? NULL : channel(f, name),
                                          kind == LARDER__INVALIDATE_KEY ? key : NULL, NULL, NULL);
    assert_int_equal(status, LARDER_OK);
}

static char *shell(const char *path, const char *sql)
{
    char *out;
    assert_int_equal(test_shell(&out, "sqlite3 -cmd '.timeout 5000' '%s' \"%s\"", path, sql), 0);
    out[strcspn(out, "\n")] = '\0';
    return out;
}

static void assert_shell(const char *path, const char *sql, const char *expected)
{
    char *out = shell(path, sql);
    assert_string_equal(out, expected);
    free(out);
}

/* ---- tests ---- */

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
    free(shell(path, "UPDATE entries SET value = '[1' WHERE id = 1; UPDATE entries SET content_type = 'x' WHERE id = 2"));
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
    assert_shell(path, "SELECT requests, response_time_us, max_response_time_us FROM channel_totals WHERE channel_id > 0",
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
    assert_shell(path, "SELECT count(*), (SELECT value FROM state WHERE name = 'log_floor') FROM invalidations", "0|30");
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

static void test_a_deleted_file_is_made_anew_and_what_was_in_it_is_forgotten(void **state)
{
    (void)state;
    const char *path = test_path("a.larder");
    fixture f;
    open_store(&f, path, NULL);
    put(&f, "c", 1, "1");
    assert_int_equal(flush(&f), LARDER_OK);
    assert_int_equal(test_shell(NULL, "rm -f '%s' '%s-wal' '%s-shm' '%s-lock'", path, path, path, path), 0);
    put(&f, "c", 2, "2");
    assert_int_equal(flush(&f), LARDER_EMOVED);
    assert_int_equal(f.degraded, 1);
    assert_int_equal(f.recovered, 1);
    assert_int_equal(f.lost, 1);
    assert_null(get(&f, "c", 1));
    assert_null(get(&f, "c", 2)); /* it was on its way to the file that is gone, and the flush said so */
    assert_int_equal(put(&f, "c", 3, "3"), LARDER_OK);
    assert_int_equal(flush(&f), LARDER_OK);
    assert_string_equal(get(&f, "c", 3), "3");
    assert_shell(path, "SELECT group_concat(value) FROM entries", "3");
    fixture other;
    open_store(&other, path, NULL);
    assert_string_equal(get(&other, "c", 3), "3");
    invalidate(&other, LARDER__INVALIDATE_KEY, "c", 3);
    assert_int_equal(flush(&other), LARDER_OK);
    assert_null(get(&f, "c", 3));
    close_store(&other);
    close_store(&f);
}

static void test_a_lock_that_stays_fails_the_flush_in_time_and_heals(void **state)
{
    (void)state;
    larder__store_options brief = {.lock_timeout_ms = 50};
    const char *path = test_path("a.larder");
    fixture f;
    open_store(&f, path, &brief);
    larder__lockfile *lock;
    assert_int_equal(larder__lockfile_open(&lock, path, NULL), LARDER_OK);
    assert_int_equal(larder__lockfile_try(lock), 1);
    put(&f, "c", 1, "1");
    assert_int_equal(flush(&f), LARDER_ELOCKED);
    assert_int_equal(f.degraded, 1);
    assert_string_equal(get(&f, "c", 1), "1"); /* it waits in the overlay */
    invalidate(&f, LARDER__INVALIDATE_KEY, "c", 2);
    larder__lockfile_unlock(lock);
    larder__lockfile_close(lock);
    assert_int_equal(flush(&f), LARDER_OK);
    assert_int_equal(f.recovered, 1);
    assert_shell(path, "SELECT count(*) FROM entries", "1");
    close_store(&f);
}

static void test_an_invalidation_that_was_never_committed_is_distrusted_at_the_next_open(void **state)
{
    (void)state;
    larder__store_options brief = {.lock_timeout_ms = 30};
    const char *path = test_path("a.larder");
    fixture f;
    open_store(&f, path, &brief);
    put(&f, "c", 1, "1");
    put(&f, "c", 2, "1");
    assert_int_equal(flush(&f), LARDER_OK);
    larder__lockfile *lock;
    assert_int_equal(larder__lockfile_open(&lock, path, NULL), LARDER_OK);
    assert_int_equal(larder__lockfile_try(lock), 1);
    invalidate(&f, LARDER__INVALIDATE_KEY, "c", 1);
    assert_int_equal(flush(&f), LARDER_ELOCKED);
    assert_null(get(&f, "c", 1));
    close_store(&f); /* gives up: the invalidation is lost, the slot in the lock file stays */
    assert_int_equal(f.stop_status, LARDER_ELOCKED);
    larder__lockfile_unlock(lock);
    larder__lockfile_close(lock);
    open_store(&f, path, NULL);
    assert_null(get(&f, "c", 1));
    assert_null(get(&f, "c", 2));
    put(&f, "c", 3, "1");
    close_store(&f);
    open_store(&f, path, NULL);
    assert_non_null(get(&f, "c", 3)); /* once is enough */
    close_store(&f);
}

static void test_an_invalidation_needs_no_memory_it_widens(void **state)
{
    (void)state;
    const char *path = test_path("a.larder");
    fixture f;
    open_store(&f, path, NULL);
    put(&f, "c", 1, "1");
    put(&f, "d", 2, "1");
    assert_int_equal(flush(&f), LARDER_OK);
    uint8_t key[LARDER_KEY_SIZE];
    make_key(key, 1);
    larder__channel *c = channel(&f, "c");
    for (int i = 0; i < 5; i++) {
        test_alloc_fail_at(1, 1);
        assert_int_equal(larder__store_invalidate(f.store, LARDER__INVALIDATE_KEY, c, key, NULL, NULL), LARDER_OK);
        int unused = 0;
        assert_int_equal(larder__store_invalidate(f.store, LARDER__INVALIDATE_KEY, c, key, on_status, &unused),
                         LARDER_ENOMEM);
        test_alloc_fail_at(0, 0);
        assert_null(get(&f, "c", 1));
        assert_null(get(&f, "d", 2));
        assert_int_equal(put(&f, "c", 3, "3"), LARDER_OK);
        assert_string_equal(get(&f, "c", 3), "3");
    }
    assert_int_equal(flush(&f), LARDER_OK);
    assert_int_equal(flush(&f), LARDER_OK); /* one that was sent again has come back too */
    assert_int_equal(put(&f, "c", 4, "4"), LARDER_OK);
    assert_int_equal(flush(&f), LARDER_OK);
    assert_string_equal(get(&f, "c", 4), "4");
    close_store(&f);
    open_store(&f, path, NULL);
    assert_null(get(&f, "d", 2));
    assert_string_equal(get(&f, "c", 4), "4");
    close_store(&f);
}

static void test_a_store_without_a_file_keeps_nothing_and_answers_all(void **state)
{
    (void)state;
    fixture f;
    open_store(&f, NULL, NULL);
    assert_int_equal(put(&f, "c", 1, "1"), LARDER_EOVERLOADED);
    assert_null(get(&f, "c", 1));
    int done = 0;
    uint8_t key[LARDER_KEY_SIZE];
    make_key(key, 1);
    assert_int_equal(larder__store_invalidate(f.store, LARDER__INVALIDATE_KEY, NULL, key, on_status, &done), LARDER_OK);
    assert_int_equal(done, 0);
    test_run_until(&f.loop, &done);
    assert_int_equal(done, 1);
    assert_int_equal(flush(&f), LARDER_OK);
    larder__store_stats stats;
    larder__store_get_stats(f.store, &stats);
    assert_int_equal(stats.not_stored, 0);
    close_store(&f);
}

static void test_every_failed_allocation_leaves_no_leak_and_a_working_store(void **state)
{
    (void)state;
    const char *path = test_path("a.larder");
    unsigned long n = 1;
    for (int failed = 1; failed; n++) {
        long live = test_alloc_live();
        fixture f;
        test_alloc_fail_at(n, 0);
        int status = try_open(&f, path, NULL);
        if (status == LARDER_OK) {
            larder__channel *c = channel(&f, "c");
            if (c != NULL) {
                put(&f, "c", (uint32_t)n, "1");
                invalidate(&f, LARDER__INVALIDATE_CHANNEL, "c", 0);
            }
            int done = 0;
            if (larder__store_flush(f.store, on_status, &done) == LARDER_OK) {
                test_run_until(&f.loop, &done);
            }
        }
        failed = test_alloc_failed();
        test_alloc_fail_at(0, 0);
        if (status == LARDER_OK) {
            close_store(&f);
        } else {
            assert_true(failed);
            assert_int_equal(status, LARDER_ENOMEM);
            close_loop(&f);
        }
        assert_int_equal(test_alloc_live(), live);
    }
    assert_true(n > 10);
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
        cmocka_unit_test(test_a_deleted_file_is_made_anew_and_what_was_in_it_is_forgotten),
        cmocka_unit_test(test_a_lock_that_stays_fails_the_flush_in_time_and_heals),
        cmocka_unit_test(test_an_invalidation_that_was_never_committed_is_distrusted_at_the_next_open),
        cmocka_unit_test(test_an_invalidation_needs_no_memory_it_widens),
        cmocka_unit_test(test_a_store_without_a_file_keeps_nothing_and_answers_all),
        cmocka_unit_test(test_every_failed_allocation_leaves_no_leak_and_a_working_store),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
