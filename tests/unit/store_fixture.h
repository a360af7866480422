/* tests/unit/store_fixture.h: a real store on a temporary file for the tests of the layers above it, turned by hand:
 * the writer's wake-ups are waited for, nothing sleeps. */
#ifndef LARDER_TEST_STORE_FIXTURE_H
#define LARDER_TEST_STORE_FIXTURE_H

#include "support.h"

#include "store/store.h"

#include <sqlite3.h>
#include <string.h>

typedef struct store_fixture {
    const char *path; /* NULL: a store that keeps nothing */
    test_clock clock;
    larder__store *store;
    uv_mutex_t mutex;
    uv_cond_t cond;
    int woken;
    int stopped;
    int stop_status;
    uint64_t unsaved;
    void (*on_invalidated)(void *owner, larder__invalidation_kind kind, larder__channel *channel, const uint8_t *key);
    void *invalidated_owner;
} store_fixture;

static inline void fixture_wake(void *owner)
{
    store_fixture *f = owner;
    uv_mutex_lock(&f->mutex);
    f->woken = 1;
    uv_cond_signal(&f->cond);
    uv_mutex_unlock(&f->mutex);
}

static inline void fixture_invalidated(void *owner, larder__invalidation_kind kind, larder__channel *channel,
                                       const uint8_t *key)
{
    store_fixture *f = owner;
    if (f->on_invalidated != NULL) {
        f->on_invalidated(f->invalidated_owner, kind, channel, key);
    }
}

static inline void fixture_event(void *owner, const larder_event *event)
{
    (void)owner;
    (void)event;
}

static inline void fixture_stopped(void *owner, int status, uint64_t unsaved)
{
    store_fixture *f = owner;
    f->stop_status = status;
    f->unsaved = unsaved;
    f->stopped = 1;
}

/* Settles the store each time it wakes us, until *flag is set; fails the test when that takes more than 20 s. */
static inline void fixture_settle_until(store_fixture *f, const int *flag)
{
    uint64_t deadline = uv_hrtime() + 20u * 1000000000ull;
    while (!*flag) {
        uv_mutex_lock(&f->mutex);
        while (!f->woken) {
            uint64_t now = uv_hrtime();
            if (now >= deadline || uv_cond_timedwait(&f->cond, &f->mutex, deadline - now) != 0) {
                uv_mutex_unlock(&f->mutex);
                fail_msg("what the test waits for did not come within 20 s");
            }
        }
        f->woken = 0;
        uv_mutex_unlock(&f->mutex);
        larder__store_settle(f->store);
    }
}

static inline void fixture_open(store_fixture *f)
{
    larder__store_options options = {
        .path = f->path,
        .durability = LARDER_DURABILITY_NORMAL,
        .queue_bytes = 1 << 20,
        .commit_interval_ms = 1,
        .sweep_interval_ms = 60000,
        .lock_timeout_ms = 200,
        .clock = &f->clock.clock,
        .wake = fixture_wake,
        .on_invalidated = fixture_invalidated,
        .on_event = fixture_event,
        .on_stopped = fixture_stopped,
        .owner = f,
    };
    larder_error error = {0};
    int status = larder__store_open(&f->store, &options, &error);
    assert_string_equal(error.message, "");
    assert_int_equal(status, LARDER_OK);
    f->stopped = 0;
}

static inline void fixture_start(store_fixture *f, const char *path)
{
    memset(f, 0, sizeof *f);
    f->path = path;
    test_clock_init(&f->clock);
    assert_int_equal(uv_mutex_init(&f->mutex), 0);
    assert_int_equal(uv_cond_init(&f->cond), 0);
    fixture_open(f);
}

static inline void fixture_stop_store(store_fixture *f)
{
    larder__store_stop(f->store);
    fixture_settle_until(f, &f->stopped);
    larder__store_free(f->store);
    f->store = NULL;
}

static inline void fixture_end(store_fixture *f)
{
    if (f->store != NULL) {
        fixture_stop_store(f);
    }
    uv_cond_destroy(&f->cond);
    uv_mutex_destroy(&f->mutex);
}

static inline larder__channel *fixture_channel(store_fixture *f, const char *name)
{
    larder__channel *channel = larder__validity_channel(larder__store_validity(f->store), name, strlen(name));
    assert_non_null(channel);
    return channel;
}

static inline void fixture_begin(store_fixture *f)
{
    larder__store_begin(f->store, f->clock.mono_ns);
}

typedef struct fixture_flag {
    int came;
    int status;
} fixture_flag;

static inline void fixture_done(int status, void *user_data)
{
    fixture_flag *flag = user_data;
    flag->status = status;
    flag->came++;
}

static inline int fixture_flush(store_fixture *f)
{
    fixture_flag flushed = {0, 0};
    assert_int_equal(larder__store_flush(f->store, fixture_done, &flushed), LARDER_OK);
    fixture_settle_until(f, &flushed.came);
    return flushed.status;
}

/* The one number that a query of the file gives; -1 when it gives no row. */
static inline int64_t fixture_number(const store_fixture *f, const char *sql)
{
    sqlite3 *db;
    sqlite3_stmt *statement;
    assert_int_equal(sqlite3_open_v2(f->path, &db, SQLITE_OPEN_READONLY, NULL), SQLITE_OK);
    assert_int_equal(sqlite3_prepare_v2(db, sql, -1, &statement, NULL), SQLITE_OK);
    int64_t number = sqlite3_step(statement) == SQLITE_ROW ? sqlite3_column_int64(statement, 0) : -1;
    sqlite3_finalize(statement);
    sqlite3_close(db);
    return number;
}

#endif
