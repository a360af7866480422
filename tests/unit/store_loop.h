/* tests/unit/store_loop.h: a store on a libuv loop, as the dispatcher has it, with a clock to set; for the tests of the
 * store behind its seam. */
#ifndef LARDER_TEST_STORE_LOOP_H
#define LARDER_TEST_STORE_LOOP_H

#include "support.h"

#include "base/alloc.h"
#include "store/db.h"
#include "store/store.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

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

static inline void wake(void *owner)
{
    uv_async_send(&((fixture *)owner)->async);
}

static inline void on_async(uv_async_t *async)
{
    fixture *f = async->data;
    if (f->store != NULL) {
        larder__store_settle(f->store);
    }
}

static inline void on_invalidated(void *owner, larder__invalidation_kind kind, larder__channel *channel,
                                  const uint8_t *key)
{
    (void)channel;
    (void)key;
    ((fixture *)owner)->invalidated[kind]++;
}

static inline void on_event(void *owner, const larder_event *event)
{
    fixture *f = owner;
    f->degraded += event->type == LARDER_EVENT_STORE_DEGRADED;
    f->recovered += event->type == LARDER_EVENT_STORE_RECOVERED;
    f->not_stored += event->type == LARDER_EVENT_NOT_STORED;
    f->lost += event->type == LARDER_EVENT_STORE_RECOVERED ? event->count : 0;
}

static inline void on_stopped(void *owner, int status, uint64_t unsaved)
{
    (void)unsaved;
    fixture *f = owner;
    f->stop_status = status;
    f->stopped = 1;
}

static inline int try_open(fixture *f, const char *path, const larder__store_options *changes)
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

static inline void close_loop(fixture *f)
{
    uv_close((uv_handle_t *)&f->async, NULL);
    test_loop_close(&f->loop);
}

static inline void open_store(fixture *f, const char *path, const larder__store_options *changes)
{
    assert_int_equal(try_open(f, path, changes), LARDER_OK);
}

static inline void close_store(fixture *f)
{
    larder__store_stop(f->store);
    test_run_until(&f->loop, &f->stopped);
    larder__store_free(f->store);
    f->store = NULL;
    close_loop(f);
}

static inline void begin(fixture *f)
{
    larder__store_begin(f->store, f->clock.mono_ns);
}

static inline larder__channel *channel(fixture *f, const char *name)
{
    return larder__validity_channel(larder__store_validity(f->store), name, strlen(name));
}

static inline void make_key(uint8_t key[LARDER_KEY_SIZE], uint32_t number)
{
    memset(key, 0xab, LARDER_KEY_SIZE);
    memcpy(key, &number, sizeof number);
}

static inline int put_at(fixture *f, const char *name, uint32_t number, const char *value, larder__mark mark)
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

static inline int put(fixture *f, const char *name, uint32_t number, const char *value)
{
    return put_at(f, name, number, value, larder__validity_mark(larder__store_validity(f->store)));
}

/* Within a dispatch of its own. */
static inline char *get_version(fixture *f, const char *name, uint32_t number, uint32_t version)
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

static inline char *get(fixture *f, const char *name, uint32_t number)
{
    return get_version(f, name, number, 1);
}

static inline void on_status(int status, void *user_data)
{
    *(int *)user_data = status == LARDER_OK ? 1 : status;
}

static inline int flush(fixture *f)
{
    int result = 0;
    assert_int_equal(larder__store_flush(f->store, on_status, &result), LARDER_OK);
    test_run_until(&f->loop, &result);
    return result == 1 ? LARDER_OK : result;
}

static inline void invalidate(fixture *f, larder__invalidation_kind kind, const char *name, uint32_t number)
{
    uint8_t key[LARDER_KEY_SIZE];
    make_key(key, number);
    int status = larder__store_invalidate(f->store, kind, name == NULL ? NULL : channel(f, name),
                                          kind == LARDER__INVALIDATE_KEY ? key : NULL, NULL, NULL);
    assert_int_equal(status, LARDER_OK);
}

static inline char *shell(const char *path, const char *sql)
{
    char *out;
    assert_int_equal(test_shell(&out, "sqlite3 -cmd '.timeout 5000' '%s' \"%s\"", path, sql), 0);
    out[strcspn(out, "\n")] = '\0';
    return out;
}

static inline void assert_shell(const char *path, const char *sql, const char *expected)
{
    char *out = shell(path, sql);
    assert_string_equal(out, expected);
    free(out);
}

#endif
