/* store/inspect.c: looking into a file from outside.
 *
 * A listing first gathers ids, newest first, at most CHUNK at a time, and then reads each entry by itself: the read
 * transaction of each step is over before the caller sees anything. So a listing that waits in a pager holds neither
 * the WAL nor memory, and what was cleared meanwhile is left out. */
#include "store/inspect.h"

#include "base/alloc.h"
#include "base/body.h"
#include "base/buf.h"
#include "base/clock.h"
#include "base/error.h"
#include "store/bind.h"

#include <limits.h>
#include <string.h>

#define CHUNK 65536u /* ids in memory at once: 512 KiB */

/* ---- open and close ---- */

int larder_inspect_open(larder_inspect **out, const char *path, larder_inspect_mode mode, larder_error *error)
{
    *out = NULL;
    if (mode != LARDER_INSPECT_READ && mode != LARDER_INSPECT_WRITE) {
        return larder__fail(error, LARDER_EINVAL, "unknown mode %d", (int)mode);
    }
    larder_inspect *in = larder__calloc(1, sizeof *in);
    if (in == NULL) {
        return larder__fail(error, LARDER_ENOMEM, "out of memory while opening a file");
    }
    int status = LARDER_OK;
    if (mode == LARDER_INSPECT_WRITE) {
        status = larder__db_look(path, LARDER__DB_WRITE, error);
    }
    /* The reader comes first: it notices whether a -wal stood there, and removes what it made if the writer cannot. */
    if (status == LARDER_OK) {
        status = larder__db_open(&in->reader, path, LARDER__DB_VISIT, LARDER_DURABILITY_NORMAL, error);
    }
    if (status == LARDER_OK && mode == LARDER_INSPECT_WRITE) {
        status = larder__db_open(&in->writer, path, LARDER__DB_WRITE, LARDER_DURABILITY_FULL, error);
    }
    if (status != LARDER_OK) {
        larder_inspect_close(in);
        return status;
    }
    if (in->writer != NULL) {
        larder__db_tidy(in->writer);
    }
    *out = in;
    return LARDER_OK;
}

void larder_inspect_close(larder_inspect *in)
{
    if (in == NULL) {
        return;
    }
    larder__db_close(in->reader);
    larder__db_close(in->writer); /* last, since it always may remove -wal and -shm */
    larder__lockfile_close(in->lock);
    larder__free(in);
}

/* ---- filters ---- */

void larder_filter_init(larder_filter *filter)
{
    memset(filter, 0, sizeof *filter);
    filter->size = sizeof *filter;
}

static int digit_of(char c)
{
    if (c >= '0' && c <= '9') {
        return c - '0';
    }
    if (c >= 'a' && c <= 'f') {
        return c - 'a' + 10;
    }
    return c >= 'A' && c <= 'F' ? c - 'A' + 10 : -1;
}

/* The smallest and the largest key that begin with the prefix. */
static int parse_prefix(larder__selection *s, const char *prefix, larder_error *error)
{
    size_t len = strlen(prefix);
    memset(s->low, 0x00, sizeof s->low);
    memset(s->high, 0xff, sizeof s->high);
    if (len > 2 * sizeof s->low) {
        return larder__fail(error, LARDER_EINVAL, "a key has 64 hexadecimal digits, not %zu", len);
    }
    for (size_t i = 0; i < len; i++) {
        int digit = digit_of(prefix[i]);
        if (digit < 0) {
            return larder__fail(error, LARDER_EINVAL, "\"%.64s\" is not the beginning of a key: hexadecimal digits are",
                                prefix);
        }
        int shift = i % 2 == 0 ? 4 : 0;
        uint8_t mask = (uint8_t)(0xf << shift);
        s->low[i / 2] = (uint8_t)(s->low[i / 2] | digit << shift);
        s->high[i / 2] = (uint8_t)((s->high[i / 2] & ~mask) | digit << shift);
    }
    s->by_key = len > 0;
    return LARDER_OK;
}

int larder__selection_init(larder__selection *selection, const larder_filter *filter, larder_error *error)
{
    memset(selection, 0, sizeof *selection);
    selection->now_ms = larder__wall_ms(&larder__system_clock);
    if (filter == NULL) {
        return LARDER_OK;
    }
    if (filter->size < sizeof *filter) {
        return larder__fail(error, LARDER_EINVAL, "the filter was not set up with larder_filter_init");
    }
    selection->channel = filter->channel;
    selection->with_expired = filter->with_expired;
    selection->limit = filter->limit;
    return filter->key_prefix == NULL ? LARDER_OK : parse_prefix(selection, filter->key_prefix, error);
}

void larder__selection_bind(const larder__selection *selection, sqlite3_stmt *statement)
{
    if (selection->channel != NULL) {
        larder__bind_text(statement, ":channel", selection->channel, strlen(selection->channel));
    }
    if (selection->by_key) {
        larder__bind_blob(statement, ":low", selection->low, sizeof selection->low);
        larder__bind_blob(statement, ":high", selection->high, sizeof selection->high);
    }
    larder__bind_int(statement, ":now_ms", selection->now_ms);
}

/* ---- one entry ---- */

typedef struct listing {
    larder_inspect *in;
    larder__selection selection;
    larder__buf text; /* the strings and the value of the entry that is shown */
    int64_t *ids;
    size_t count;
    size_t capacity;
    int64_t created_ms; /* the place of the last id gathered */
    int64_t id;
    int64_t log_id; /* the newest invalidation when they were gathered */
} listing;

static void listing_init(listing *l, larder_inspect *in)
{
    memset(l, 0, sizeof *l);
    l->in = in;
    l->created_ms = INT64_MAX;
    l->id = INT64_MAX;
    larder__buf_init(&l->text);
}

static void listing_release(listing *l)
{
    larder__buf_release(&l->text);
    larder__free(l->ids);
}

/* Copies a column and a NUL; returns where it lies in the buffer. */
static size_t keep(larder__buf *buf, sqlite3_stmt *row, int column)
{
    size_t at = buf->len;
    const void *bytes = sqlite3_column_blob(row, column);
    int len = sqlite3_column_bytes(row, column);
    if (bytes == NULL && (len > 0 || sqlite3_errcode(sqlite3_db_handle(row)) == SQLITE_NOMEM)) {
        buf->failed = 1;
        return at;
    }
    larder__buf_append(buf, bytes, (size_t)len);
    larder__buf_append(buf, "", 1);
    return at;
}

/* Everything but the value, copied. */
static int take_row(listing *l, sqlite3_stmt *row, larder_entry_info *info)
{
    uint8_t key[LARDER_KEY_SIZE] = {0};
    memset(info, 0, sizeof *info);
    larder__buf_clear(&l->text);
    const void *bytes = sqlite3_column_blob(row, 0);
    if (bytes != NULL && sqlite3_column_bytes(row, 0) == LARDER_KEY_SIZE) {
        memcpy(key, bytes, sizeof key);
    }
    for (size_t i = 0; i < sizeof key; i++) {
        info->key[2 * i] = "0123456789abcdef"[key[i] >> 4];
        info->key[2 * i + 1] = "0123456789abcdef"[key[i] & 15];
    }
    int has_scope = sqlite3_column_type(row, 2) != SQLITE_NULL;
    size_t channel = keep(&l->text, row, 1);
    size_t scope = keep(&l->text, row, 2);
    size_t args = keep(&l->text, row, 3);
    info->args_len = (size_t)sqlite3_column_bytes(row, 3);
    info->version = (uint32_t)sqlite3_column_int64(row, 4);
    int content = larder__content_of((const char *)sqlite3_column_text(row, 5));
    info->content = content < 0 ? LARDER_CONTENT_BYTES : (larder_content)content;
    info->size = (uint64_t)sqlite3_column_int64(row, 6);
    info->created_ms = sqlite3_column_int64(row, 7);
    info->expires_ms = sqlite3_column_int64(row, 8);
    info->used_ms = sqlite3_column_int64(row, 9);
    info->hits = (uint64_t)sqlite3_column_int64(row, 10);
    info->cost_us = (uint64_t)sqlite3_column_int64(row, 11);
    info->expired = sqlite3_column_int(row, 12);
    if (l->text.failed) {
        return LARDER_ENOMEM;
    }
    info->channel = l->text.data + channel;
    info->scope = has_scope ? l->text.data + scope : NULL;
    info->args = l->text.data + args;
    return LARDER_OK;
}

static int fail_reading(listing *l, larder_error *error)
{
    return larder__db_fail(error, l->in->reader, "cannot read the entries");
}

static int fail_memory(larder_error *error)
{
    return larder__fail(error, LARDER_ENOMEM, "out of memory while reading the entries");
}

/* LARDER_ENOTFOUND, without words, when it is gone or was invalidated meanwhile. */
static int read_row(listing *l, int64_t id, larder_entry_info *info, larder_error *error)
{
    sqlite3_stmt *row = larder__db_statement(l->in->reader, LARDER__SQL_INSPECT_ROW);
    if (row == NULL) {
        return fail_reading(l, error);
    }
    larder__bind_int(row, ":id", id);
    larder__bind_int(row, ":log_id", l->log_id);
    larder__bind_int(row, ":now_ms", l->selection.now_ms);
    int status = LARDER_OK;
    int code = sqlite3_step(row);
    if (code == SQLITE_ROW) {
        status = take_row(l, row, info) == LARDER_OK ? LARDER_OK : fail_memory(error);
    } else {
        status = code == SQLITE_DONE ? LARDER_ENOTFOUND : fail_reading(l, error);
    }
    sqlite3_reset(row);
    return status;
}

/* ---- listing ---- */

static int remember_id(listing *l, int64_t id)
{
    if (l->count == l->capacity) {
        size_t capacity = l->capacity == 0 ? 256 : l->capacity * 2;
        int64_t *ids = larder__realloc(l->ids, capacity * sizeof *ids);
        if (ids == NULL) {
            return LARDER_ENOMEM;
        }
        l->ids = ids;
        l->capacity = capacity;
    }
    l->ids[l->count++] = id;
    return LARDER_OK;
}

static int gather_ids(listing *l, uint64_t rows, larder_error *error)
{
    enum larder__sql id = l->selection.by_key ? LARDER__SQL_INSPECT_IDS_BY_KEY : LARDER__SQL_INSPECT_IDS;
    sqlite3_stmt *next = larder__db_statement(l->in->reader, id);
    if (next == NULL) {
        return fail_reading(l, error);
    }
    larder__selection_bind(&l->selection, next);
    larder__bind_int(next, ":with_expired", l->selection.with_expired != 0);
    larder__bind_int(next, ":created_ms", l->created_ms);
    larder__bind_int(next, ":id", l->id);
    larder__bind_int(next, ":rows", (int64_t)rows);
    int status = LARDER_OK;
    int code = SQLITE_ROW;
    l->count = 0;
    while (status == LARDER_OK && (code = sqlite3_step(next)) == SQLITE_ROW) {
        l->created_ms = sqlite3_column_int64(next, 0);
        l->id = sqlite3_column_int64(next, 1);
        status = remember_id(l, l->id) == LARDER_OK ? LARDER_OK : fail_memory(error);
    }
    if (code != SQLITE_ROW && code != SQLITE_DONE) {
        status = fail_reading(l, error);
    }
    sqlite3_reset(next);
    return status;
}

/* The next ids and the log's newest row, of one moment. */
static int gather(listing *l, uint64_t rows, larder_error *error)
{
    larder__db *db = l->in->reader;
    if (larder__db_run(db, larder__db_statement(db, LARDER__SQL_TRANSACTION_BEGIN_READ)) != LARDER_OK) {
        return fail_reading(l, error);
    }
    int status = LARDER_OK;
    l->log_id = larder__read_int(db, larder__db_statement(db, LARDER__SQL_INSPECT_LOG_HEAD), 0, &status);
    status = status == LARDER_OK ? gather_ids(l, rows, error) : fail_reading(l, error);
    larder__db_rollback(db); /* it read only */
    return status;
}

static int show(listing *l, uint64_t *shown, larder_entry_cb each, void *user_data, larder_error *error)
{
    for (size_t i = 0; i < l->count; i++) {
        larder_entry_info info;
        int status = read_row(l, l->ids[i], &info, error);
        if (status == LARDER_ENOTFOUND || (status == LARDER_OK && info.expired && !l->selection.with_expired)) {
            continue;
        }
        if (status == LARDER_OK) {
            status = each(&info, user_data);
        }
        if (status != LARDER_OK) {
            return status;
        }
        (*shown)++;
    }
    return LARDER_OK;
}

int larder_inspect_entries(larder_inspect *in, const larder_filter *filter, larder_entry_cb each, void *user_data,
                           larder_error *error)
{
    listing l;
    uint64_t shown = 0;
    listing_init(&l, in);
    int status = larder__selection_init(&l.selection, filter, error);
    uint64_t limit = l.selection.limit == 0 ? UINT64_MAX : l.selection.limit;
    while (status == LARDER_OK && shown < limit) {
        uint64_t rows = limit - shown < CHUNK ? limit - shown : CHUNK;
        status = gather(&l, rows, error);
        if (status == LARDER_OK) {
            status = show(&l, &shown, each, user_data, error);
        }
        if (l.count < rows) {
            break; /* there are no more */
        }
    }
    listing_release(&l);
    return status;
}

/* ---- a single entry ---- */

static int read_value(listing *l, int64_t id, larder_entry_info *info, larder_error *error)
{
    sqlite3_stmt *row = larder__db_statement(l->in->reader, LARDER__SQL_INSPECT_VALUE);
    if (row == NULL) {
        return fail_reading(l, error);
    }
    larder__bind_int(row, ":id", id);
    /* What is in the buffer may move: pointers are made anew. */
    size_t channel = (size_t)(info->channel - l->text.data);
    size_t scope = info->scope == NULL ? 0 : (size_t)(info->scope - l->text.data);
    size_t args = (size_t)(info->args - l->text.data);
    int status = sqlite3_step(row) == SQLITE_ROW ? LARDER_OK : fail_reading(l, error);
    if (status == LARDER_OK) {
        size_t value = keep(&l->text, row, 0);
        info->size = (uint64_t)sqlite3_column_bytes(row, 0);
        status = l->text.failed ? fail_memory(error) : LARDER_OK;
        info->value = l->text.data + value;
    }
    sqlite3_reset(row);
    info->channel = l->text.data + channel;
    info->scope = info->scope == NULL ? NULL : l->text.data + scope;
    info->args = l->text.data + args;
    return status;
}

static int find_one(listing *l, const char *prefix, larder_entry_info *info, larder_error *error)
{
    int status = gather_ids(l, 2, error);
    if (status != LARDER_OK) {
        return status;
    }
    if (l->count == 0) {
        return larder__fail(error, LARDER_ENOTFOUND, "there is no entry whose key begins with %s", prefix);
    }
    if (l->count > 1) {
        return larder__fail(error, LARDER_EINVAL, "several keys begin with %s: give more digits", prefix);
    }
    status = read_row(l, l->ids[0], info, error);
    return status == LARDER_OK ? read_value(l, l->ids[0], info, error) : status;
}

int larder_inspect_entry(larder_inspect *in, const char *key_prefix, larder_entry_cb each, void *user_data,
                         larder_error *error)
{
    listing l;
    larder_entry_info info;
    larder_filter filter;
    larder_filter_init(&filter);
    filter.key_prefix = key_prefix;
    filter.with_expired = 1;
    listing_init(&l, in);
    int status = larder__selection_init(&l.selection, &filter, error);
    if (status == LARDER_OK && !l.selection.by_key) {
        status = larder__fail(error, LARDER_EINVAL, "the beginning of a key is needed, at least one digit");
    }
    if (status == LARDER_OK) {
        larder__db *db = in->reader;
        l.log_id = INT64_MAX; /* all in one transaction: nothing comes between */
        if (larder__db_run(db, larder__db_statement(db, LARDER__SQL_TRANSACTION_BEGIN_READ)) != LARDER_OK) {
            status = fail_reading(&l, error);
        } else {
            status = find_one(&l, key_prefix, &info, error);
            larder__db_rollback(db);
        }
    }
    if (status == LARDER_OK) {
        status = each(&info, user_data);
    }
    listing_release(&l);
    return status;
}

/* ---- channels ---- */

static void take_channel(sqlite3_stmt *row, larder_channel_info *info)
{
    uint64_t *fields[] = {&info->entries,          &info->bytes,
                          &info->expired,          &info->requests,
                          &info->responses,        &info->errors,
                          &info->memory_hits,      &info->disk_hits,
                          &info->misses,           &info->handler_runs,
                          &info->response_time_us, &info->max_response_time_us,
                          &info->handler_time_us};
    memset(info, 0, sizeof *info);
    for (size_t i = 0; i < sizeof fields / sizeof fields[0]; i++) {
        *fields[i] = (uint64_t)sqlite3_column_int64(row, (int)i + 1); /* NULL reads as 0 */
    }
}

/* All of them, first: there are as many as a program registers. */
static int gather_channels(larder_inspect *in, larder__buf *infos, larder__buf *names, larder_error *error)
{
    sqlite3_stmt *row = larder__db_statement(in->reader, LARDER__SQL_INSPECT_CHANNELS);
    if (row == NULL) {
        return larder__db_fail(error, in->reader, "cannot read the channels");
    }
    larder__bind_int(row, ":now_ms", larder__wall_ms(&larder__system_clock));
    int code = SQLITE_ROW;
    while (!names->failed && !infos->failed && (code = sqlite3_step(row)) == SQLITE_ROW) {
        larder_channel_info info;
        take_channel(row, &info);
        larder__buf_append(infos, &info, sizeof info);
        keep(names, row, 0);
    }
    int status = LARDER_OK;
    if (names->failed || infos->failed) {
        status = fail_memory(error);
    } else if (code != SQLITE_DONE) {
        status = larder__db_fail(error, in->reader, "cannot read the channels");
    }
    sqlite3_reset(row);
    return status;
}

int larder_inspect_channels(larder_inspect *in, larder_channel_cb each, void *user_data, larder_error *error)
{
    larder__buf infos;
    larder__buf names;
    larder__buf_init(&infos);
    larder__buf_init(&names);
    int status = gather_channels(in, &infos, &names, error);
    const char *name = names.data;
    for (size_t at = 0; status == LARDER_OK && at < infos.len; at += sizeof(larder_channel_info)) {
        larder_channel_info info;
        memcpy(&info, infos.data + at, sizeof info);
        info.channel = name[0] == '\0' ? "(unknown)" : name;
        name += strlen(name) + 1;
        status = each(&info, user_data);
    }
    larder__buf_release(&infos);
    larder__buf_release(&names);
    return status;
}

/* ---- the file ---- */

int larder_inspect_file(larder_inspect *in, larder_file_info *out, larder_error *error)
{
    sqlite3_stmt *row = larder__db_statement(in->reader, LARDER__SQL_INSPECT_FILE);
    memset(out, 0, sizeof *out);
    if (row == NULL || sqlite3_step(row) != SQLITE_ROW) {
        int status = larder__db_fail(error, in->reader, "cannot read the file's size");
        sqlite3_reset(row);
        return status;
    }
    out->schema_version = (uint32_t)sqlite3_column_int64(row, 0);
    out->file_bytes = (uint64_t)sqlite3_column_int64(row, 1);
    out->free_bytes = (uint64_t)sqlite3_column_int64(row, 2);
    out->created_ms = sqlite3_column_int64(row, 3);
    sqlite3_reset(row);
    return LARDER_OK;
}
