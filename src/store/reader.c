/* store/reader.c: the loop's own connection: answers from the file, and what others have invalidated.
 *
 * Happy path of a dispatch: notice compares one number in the lock file's mapped page; the first get reads by itself,
 * the second opens a read transaction that the end of the dispatch closes (opening one costs as much as it saves a
 * single get).
 *
 * A row is served only after the log of invalidations has been read up to the counter that was seen before the read
 * transaction began. If the log cannot be read, nothing is served from memory or file until it can ("blind").
 *
 * Failures: a busy file is a miss and nothing else. Another failure is a miss, reported once; for RETRY_NS there are
 * only misses, then the connection is opened anew.
 */
#include "store/bind.h"
#include "store/internal.h"

#include <string.h>

#define BEAT_NS 100000000ull /* how often to ask whether other programs changed the file */
#define RETRY_NS 200000000ull
#define LOG_ROWS 1000 /* more than this is noticed as "everything" */

int larder__reader_open(larder__store *store, larder__db_mode mode, larder_error *error)
{
    int status = larder__db_open(&store->reader, store->path, mode, store->options.durability, error);
    if (status != LARDER_OK) {
        return status;
    }
    larder__db_set_cache(store->reader, store->options.page_cache_bytes);
    larder__db_changed(store->reader, &store->data_version);
    status = larder__reader_load(store);
    if (status != LARDER_OK) {
        larder__db_fail(error, store->reader, "cannot read the log of invalidations");
        larder__reader_close(store);
    }
    return status;
}

void larder__reader_close(larder__store *store)
{
    larder__db_close(store->reader);
    store->reader = NULL;
    store->reading = 0;
}

/* ---- the log ---- */

static void remember_log(larder__store *store, const char *kind, const char *channel, size_t len, int64_t id)
{
    larder__validity *validity = &store->validity;
    if (kind != NULL && strcmp(kind, "channel") == 0 && channel != NULL && len <= LARDER_CHANNEL_MAX) {
        larder__channel *known = larder__validity_channel(validity, channel, len);
        if (known != NULL) {
            known->log_id = id > known->log_id ? id : known->log_id;
            return;
        }
    } else if (kind == NULL || strcmp(kind, "all") != 0) {
        return;
    }
    /* "all", or no memory for the channel's name: then everything must be older than this. */
    validity->all_log_id = id > validity->all_log_id ? id : validity->all_log_id;
}

int larder__reader_load(larder__store *store)
{
    int status;
    int64_t head = larder__log_number(store->reader, LARDER__SQL_LOG_HEAD, &status);
    sqlite3_stmt *last = status == LARDER_OK ? larder__db_statement(store->reader, LARDER__SQL_LOG_LAST) : NULL;
    if (last == NULL) {
        return status == LARDER_OK ? larder__db_status(sqlite3_errcode(store->reader->handle)) : status;
    }
    int code;
    while ((code = sqlite3_step(last)) == SQLITE_ROW) {
        const char *channel = (const char *)sqlite3_column_text(last, 1);
        remember_log(store, (const char *)sqlite3_column_text(last, 0), channel, (size_t)sqlite3_column_bytes(last, 1),
                     sqlite3_column_int64(last, 2));
    }
    sqlite3_reset(last);
    if (code != SQLITE_DONE) {
        return larder__db_status(code);
    }
    store->validity.log_id = head > store->validity.log_id ? head : store->validity.log_id;
    return LARDER_OK;
}

static void forget_all(larder__store *store)
{
    larder__validity_invalidate(&store->validity, LARDER__INVALIDATE_ALL, NULL, NULL);
    store->options.on_invalidated(store->options.owner, LARDER__INVALIDATE_ALL, NULL, NULL);
}

/* One row that somebody else logged: what it covers leaves the memory of this process. */
static void apply_row(larder__store *store, sqlite3_stmt *row)
{
    larder__validity *validity = &store->validity;
    int64_t id = sqlite3_column_int64(row, 0);
    const char *kind = (const char *)sqlite3_column_text(row, 1);
    validity->log_id = id;
    if (sqlite3_column_type(row, 4) != SQLITE_NULL && sqlite3_column_int64(row, 4) == (int64_t)store->writer.origin) {
        return; /* ours: it held from the moment it was asked for, and its commit is reported apart */
    }
    if (kind != NULL && strcmp(kind, "key") == 0) {
        const uint8_t *key = sqlite3_column_blob(row, 3);
        if (key != NULL && sqlite3_column_bytes(row, 3) == LARDER_KEY_SIZE) {
            larder__validity_invalidate(validity, LARDER__INVALIDATE_KEY, NULL, key);
            store->options.on_invalidated(store->options.owner, LARDER__INVALIDATE_KEY, NULL, key);
        }
        return;
    }
    const char *name = (const char *)sqlite3_column_text(row, 2);
    size_t len = (size_t)sqlite3_column_bytes(row, 2);
    remember_log(store, kind, name, len, id);
    larder__channel *channel = name == NULL ? NULL : larder__validity_find(validity, name, len);
    if (kind != NULL && strcmp(kind, "channel") == 0 && channel != NULL) {
        larder__validity_invalidate(validity, LARDER__INVALIDATE_CHANNEL, channel, NULL);
        store->options.on_invalidated(store->options.owner, LARDER__INVALIDATE_CHANNEL, channel, NULL);
    } else {
        forget_all(store);
    }
}

static int read_log(larder__store *store)
{
    int status;
    int64_t floor = larder__log_number(store->reader, LARDER__SQL_LOG_FLOOR, &status);
    if (status != LARDER_OK) {
        return status;
    }
    if (store->validity.log_id < floor) { /* rows that we have not seen are gone from the log */
        forget_all(store);
        return larder__reader_load(store);
    }
    sqlite3_stmt *since = larder__db_statement(store->reader, LARDER__SQL_LOG_SINCE);
    larder__bind_int(since, ":after", store->validity.log_id);
    larder__bind_int(since, ":rows", LOG_ROWS + 1);
    int code = since == NULL ? sqlite3_errcode(store->reader->handle) : SQLITE_ROW;
    for (int rows = 0; since != NULL && (code = sqlite3_step(since)) == SQLITE_ROW; rows++) {
        if (rows == LOG_ROWS) {
            sqlite3_reset(since);
            forget_all(store);
            return larder__reader_load(store);
        }
        apply_row(store, since);
    }
    sqlite3_reset(since);
    return code == SQLITE_DONE ? LARDER_OK : larder__db_status(code);
}

/* After a failure there is a pause; then a new connection is tried. */
static int usable(larder__store *store)
{
    if (store->reader != NULL && store->read_failing == 0) {
        return 1;
    }
    if (store->mono_ns < store->read_again_at || store->stopping || store->moved) {
        return 0;
    }
    larder__reader_close(store);
    int status = larder__reader_open(store, LARDER__DB_READ_NOW, NULL);
    if (status != LARDER_OK) {
        larder__store_read_failed(store, status);
        return 0;
    }
    forget_all(store); /* rows logged meanwhile were counted, not applied */
    larder__store_read_worked(store);
    return 1;
}

/* At each dispatch anew: what was kept since the last one may be covered by a row that we cannot see. */
static void log_unreadable(larder__store *store, int status)
{
    store->blind = 1;
    forget_all(store);
    if (status != LARDER_OK && status != LARDER_ELOCKED) {
        larder__store_read_failed(store, status);
    }
}

void larder__reader_notice(larder__store *store)
{
    uint64_t seen = larder__lockfile_invalidations(store->lock);
    int due = store->blind || seen != store->seen_invalidations;
    if (!due && (store->mono_ns < store->beat_at || !usable(store))) {
        return;
    }
    if (!usable(store)) {
        log_unreadable(store, store->read_failing);
        return;
    }
    store->beat_at = store->mono_ns + BEAT_NS;
    if (!larder__db_changed(store->reader, &store->data_version) && !due) {
        return;
    }
    int status = read_log(store);
    if (status != LARDER_OK) {
        log_unreadable(store, status);
        return;
    }
    if (store->blind) { /* what was kept meanwhile was measured against less than is known now */
        store->blind = 0;
        forget_all(store);
    }
    store->seen_invalidations = seen;
}

/* ---- rows ---- */

static larder__body *value_of_row(larder__store *store, sqlite3_stmt *row)
{
    int content = larder__content_of((const char *)sqlite3_column_text(row, 5));
    const void *bytes = sqlite3_column_blob(row, 6);
    size_t len = (size_t)sqlite3_column_bytes(row, 6);
    int sound = content >= 0;
    if (content == LARDER_CONTENT_JSON) {
        sound = larder__json_validate(&store->json, bytes == NULL ? "" : bytes, len, NULL, NULL) == LARDER_OK;
    } else if (content == LARDER_CONTENT_TEXT) {
        sound = larder__utf8_valid(bytes == NULL ? "" : bytes, len, 1) == len;
    }
    return sound ? larder__body_new(bytes, len, content) : NULL;
}

static int serve_row(larder__store *store, larder__channel *channel, sqlite3_stmt *row, uint32_t version,
                     int64_t wall_ms, larder__record *out)
{
    int64_t created = sqlite3_column_int64(row, 2);
    int64_t expires = sqlite3_column_int64(row, 3);
    if (sqlite3_column_int64(row, 0) != version || !larder__fresh(created, expires, wall_ms)
        || !larder__validity_row_holds(&store->validity, channel, sqlite3_column_int64(row, 1))) {
        return LARDER__MISS;
    }
    out->value = value_of_row(store, row);
    if (out->value == NULL) {
        return LARDER__MISS;
    }
    out->channel = channel;
    out->version = version;
    out->created_ms = created;
    out->expires_ms = expires;
    out->cost_us = (uint64_t)sqlite3_column_int64(row, 4);
    out->number = store->validity.number;
    return LARDER__HIT;
}

static void begin_reading(larder__store *store)
{
    if (++store->gets != 2 || store->reading) {
        return;
    }
    sqlite3_stmt *begin = larder__db_statement(store->reader, LARDER__SQL_TRANSACTION_BEGIN_READ);
    store->reading = larder__db_run(store->reader, begin) == LARDER_OK;
}

int larder__reader_get(larder__store *store, larder__channel *channel, const uint8_t *key, uint32_t version,
                       int64_t wall_ms, larder__record *out)
{
    if (store->blind || channel->pending > 0 || store->validity.all_pending > 0 || !usable(store)) {
        return LARDER__MISS;
    }
    begin_reading(store);
    sqlite3_stmt *get = larder__db_statement(store->reader, LARDER__SQL_ENTRY_GET);
    if (get != NULL) {
        sqlite3_bind_blob(get, 1, key, LARDER_KEY_SIZE, SQLITE_STATIC); /* :key; by number, for this is the hot path */
    }
    int code = get == NULL ? sqlite3_errcode(store->reader->handle) : sqlite3_step(get);
    int found = LARDER__MISS;
    if (code == SQLITE_ROW) {
        found = serve_row(store, channel, get, version, wall_ms, out);
    }
    sqlite3_reset(get);
    if (code == SQLITE_ROW || code == SQLITE_DONE) {
        larder__store_read_worked(store);
    } else if (larder__db_status(code) != LARDER_ELOCKED) {
        larder__store_read_failed(store, larder__db_status(code));
    }
    return found;
}

void larder__reader_end(larder__store *store)
{
    store->gets = 0;
    if (store->reading) {
        larder__db_run(store->reader, larder__db_statement(store->reader, LARDER__SQL_TRANSACTION_COMMIT));
        store->reading = 0;
    }
}

void larder__reader_pause(larder__store *store)
{
    store->read_again_at = store->mono_ns + RETRY_NS;
}
