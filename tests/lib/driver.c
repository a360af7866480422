/* tests/lib/driver.c */
#include "driver.h"

#include <sqlite3.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define HEAD_MAX 96

char *driver_value(unsigned key, long generation, size_t pad)
{
    char *text = malloc(HEAD_MAX + pad);
    assert_non_null(text);
    int head = snprintf(text, HEAD_MAX, "{\"k\":%u,\"g\":%ld,\"pad\":\"", key, generation);
    for (size_t i = 0; i < pad; i++) {
        text[(size_t)head + i] = (char)('a' + (key * 31 + (unsigned long)generation * 7 + i * i) % 26);
    }
    memcpy(text + head + pad, "\"}", 3);
    return text;
}

static unsigned key_of(const char *args)
{
    return (unsigned)strtoul(args + 1, NULL, 10); /* [n] */
}

static void on_kv(larder_request *request, void *user_data)
{
    driver *d = user_data;
    d->runs++;
    if (d->refuse) {
        larder_fail(request, "REFUSED", NULL, NULL);
        return;
    }
    char *text = driver_value(key_of(larder_request_args(request, NULL)), d->generation, d->pad);
    larder_answer_json(request, text, strlen(text));
    free(text);
}

static void on_event(const larder_event *event, void *user_data)
{
    driver *d = user_data;
    if (event->type == LARDER_EVENT_STORE_DEGRADED) {
        d->degraded++;
        d->degraded_status = event->status;
        snprintf(d->degraded_message, sizeof d->degraded_message, "%s", event->message != NULL ? event->message : "");
    } else if (event->type == LARDER_EVENT_STORE_RECOVERED) {
        d->recovered++;
        d->recovered_count += event->count;
    } else if (event->type == LARDER_EVENT_NOT_STORED) {
        d->not_stored++;
        d->not_stored_count += event->count;
    }
}

void driver_init(driver *d, const char *path)
{
    memset(d, 0, sizeof *d);
    assert_int_equal(uv_loop_init(&d->loop), 0);
    larder_options_init(&d->options);
    d->options.path = path;
    d->options.loop = &d->loop;
    d->generation = 1;
    d->pad = 10;
}

int driver_open(driver *d)
{
    int status = larder_open(&d->l, &d->options, &d->error);
    if (status != LARDER_OK) {
        assert_null(d->l);
        return status;
    }
    uint32_t mask = LARDER_EVENT_STORE_DEGRADED | LARDER_EVENT_STORE_RECOVERED | LARDER_EVENT_NOT_STORED;
    uint64_t id;
    assert_int_equal(larder_subscribe(d->l, mask, on_event, d, &id), LARDER_OK);
    larder_handler_options options;
    larder_handler_options_init(&options);
    options.cacheable = 1;
    options.ttl_ms = 3600000;
    options.user_data = d;
    assert_int_equal(larder_register(d->l, "kv", on_kv, &options, &d->error), LARDER_OK);
    return LARDER_OK;
}

typedef struct wait_answer {
    driver_answer answer;
    unsigned key;
    int done;
} wait_answer;

static void on_answer(const larder_response *response, void *user_data)
{
    wait_answer *w = user_data;
    w->answer.times++;
    w->answer.success = larder_response_success(response);
    w->answer.source = larder_response_meta(response)->source;
    const char *code = larder_response_code(response);
    snprintf(w->answer.code, sizeof w->answer.code, "%s", code != NULL ? code : "");
    size_t len = 0;
    const char *data = larder_response_data(response, &len);
    const char *generation = data != NULL ? strstr(data, "\"g\":") : NULL;
    if (generation != NULL) {
        w->answer.generation = strtol(generation + 4, NULL, 10);
        char *empty = driver_value(w->key, w->answer.generation, 0);
        size_t head = strlen(empty);
        char *expected = driver_value(w->key, w->answer.generation, len > head ? len - head : 0);
        w->answer.whole = strlen(expected) == len && memcmp(expected, data, len) == 0;
        free(expected);
        free(empty);
    }
    w->done = 1;
}

driver_answer driver_send(driver *d, unsigned key, larder_cache_mode mode)
{
    wait_answer w;
    memset(&w, 0, sizeof w);
    w.key = key;
    w.answer.generation = -1;
    char args[32];
    snprintf(args, sizeof args, "[%u]", key);
    larder_send_options options;
    larder_send_options_init(&options);
    options.cache = mode;
    w.answer.status = larder_send(d->l, "kv", args, LARDER_NUL, &options, on_answer, &w, NULL, &d->error);
    if (w.answer.status == LARDER_OK) {
        test_run_until(&d->loop, &w.done);
    }
    return w.answer;
}

typedef struct wait_status {
    int status;
    int done;
} wait_status;

static void on_status(int status, void *user_data)
{
    wait_status *w = user_data;
    w->status = status;
    w->done++;
}

int driver_flush(driver *d)
{
    wait_status w = {0, 0};
    int status = larder_flush(d->l, on_status, &w);
    if (status != LARDER_OK) {
        return status;
    }
    test_run_until(&d->loop, &w.done);
    assert_int_equal(w.done, 1);
    return w.status;
}

int driver_invalidate(driver *d, int key)
{
    wait_status w = {0, 0};
    int status;
    if (key >= 0) {
        char args[32];
        snprintf(args, sizeof args, "[%d]", key);
        status = larder_invalidate(d->l, "kv", args, LARDER_NUL, NULL, on_status, &w, &d->error);
    } else if (key == -1) {
        status = larder_invalidate_channel(d->l, "kv", on_status, &w, &d->error);
    } else {
        status = larder_invalidate_all(d->l, on_status, &w, &d->error);
    }
    if (status != LARDER_OK) {
        return status;
    }
    test_run_until(&d->loop, &w.done);
    assert_int_equal(w.done, 1);
    return w.status;
}

static void on_timer(uv_timer_t *timer)
{
    *(int *)timer->data = 1;
}

void driver_turn(driver *d, int ms)
{
    int over = 0;
    uv_timer_t timer;
    assert_int_equal(uv_timer_init(&d->loop, &timer), 0);
    timer.data = &over;
    uv_timer_start(&timer, on_timer, (uint64_t)ms, 0);
    test_run_until(&d->loop, &over);
    uv_close((uv_handle_t *)&timer, NULL);
    uv_run(&d->loop, UV_RUN_NOWAIT);
}

typedef struct wait_close {
    larder_close_report report;
    int done;
} wait_close;

static void on_closed(const larder_close_report *report, void *user_data)
{
    wait_close *w = user_data;
    w->report = *report;
    w->done++;
}

larder_close_report driver_close(driver *d)
{
    wait_close w;
    memset(&w, 0, sizeof w);
    if (d->l != NULL) {
        assert_int_equal(larder_close(d->l, 5000, on_closed, &w), LARDER_OK);
        test_run_until(&d->loop, &w.done);
        assert_int_equal(w.done, 1);
        d->l = NULL;
    }
    test_loop_close(&d->loop);
    return w.report;
}

/* ---- the file, from outside ---- */

static sqlite3_stmt *prepare(sqlite3 **db, const char *path, int flags, const char *sql)
{
    sqlite3_stmt *statement = NULL;
    if (sqlite3_open_v2(path, db, flags, "unix") == SQLITE_OK) {
        sqlite3_busy_timeout(*db, 5000);
        sqlite3_prepare_v2(*db, sql, -1, &statement, NULL);
    }
    return statement;
}

const char *driver_integrity(const char *path)
{
    static char text[512];
    sqlite3 *db = NULL;
    sqlite3_stmt *check = prepare(&db, path, SQLITE_OPEN_READWRITE, "PRAGMA integrity_check");
    sqlite3_db_config(db, SQLITE_DBCONFIG_NO_CKPT_ON_CLOSE, 1, NULL);
    if (check != NULL && sqlite3_step(check) == SQLITE_ROW) {
        snprintf(text, sizeof text, "%s", (const char *)sqlite3_column_text(check, 0));
    } else {
        snprintf(text, sizeof text, "%s", sqlite3_errmsg(db));
    }
    sqlite3_finalize(check);
    sqlite3_close(db);
    return text;
}

int64_t driver_number(const char *path, const char *sql)
{
    sqlite3 *db = NULL;
    sqlite3_stmt *statement = prepare(&db, path, SQLITE_OPEN_READWRITE, sql);
    sqlite3_db_config(db, SQLITE_DBCONFIG_NO_CKPT_ON_CLOSE, 1, NULL);
    int64_t value =
        statement != NULL && sqlite3_step(statement) == SQLITE_ROW ? sqlite3_column_int64(statement, 0) : -1;
    sqlite3_finalize(statement);
    sqlite3_close(db);
    return value;
}
