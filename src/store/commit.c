/* store/commit.c: what is done with a group of items, in one write transaction under the lock file's lock.
 *
 * The order of the queue is the order in the transaction, so an answer that was queued before an invalidation is
 * covered by it and one that was computed after it is not. Before an answer is stored the log is asked whether somebody
 * invalidated it since its run began; the question is asked only when the log has grown since then.
 *
 * A statement that fails for one answer alone (a value that SQLite finds too big) fails that answer. Everything else
 * that fails, fails the group: it is rolled back and the caller decides.
 */
#include "store/bind.h"
#include "store/internal.h"

#include <string.h>

int64_t larder__log_number(larder__db *db, enum larder__sql statement, int *status)
{
    return larder__read_int(db, larder__db_statement(db, statement), 0, status);
}

/* ---- the transaction ---- */

/* Called for each group while the file is gone. */
static int reopen(larder__writer *writer)
{
    if (!__atomic_load_n(&writer->reader_gone, __ATOMIC_ACQUIRE)) {
        return LARDER_EMOVED;
    }
    larder__db_close(writer->db);
    writer->db = NULL;
    larder__item *news = larder__item_new(LARDER__ITEM_REOPENED, 0);
    if (news == NULL) {
        return LARDER_ENOMEM;
    }
    int status = larder__writer_open_file(writer, NULL);
    if (status != LARDER_OK) {
        larder__item_free(news);
        return status;
    }
    writer->moved = 0;
    __atomic_store_n(&writer->reader_gone, 0, __ATOMIC_RELEASE);
    /* Before the news: the loop must not take the file for gone once more. */
    __atomic_store_n(&writer->failing, 0, __ATOMIC_RELAXED);
    writer->generation++;
    writer->row_generation++;
    writer->sweep_after = -1;
    writer->wal_pages = 0;
    writer->wal_checked = 0;
    news->lock = writer->lock; /* the old one is closed by the loop, which still reads its counters */
    news->generation = writer->generation;
    uv_mutex_lock(&writer->mutex);
    larder__list_append(&writer->done, &news->link);
    uv_mutex_unlock(&writer->mutex);
    return LARDER_OK;
}

int larder__writer_begin(larder__writer *writer)
{
    if (writer->moved) {
        int reopened = reopen(writer);
        if (reopened != LARDER_OK) {
            return reopened;
        }
    }
    int status = larder__lockfile_lock(writer->lock, writer->lock_timeout_ms, NULL);
    if (status != LARDER_OK) {
        writer->moved = status == LARDER_EMOVED;
        return status;
    }
    if (larder__lockfile_moved(writer->lock) || larder__db_moved(writer->db)) {
        larder__lockfile_unlock(writer->lock);
        writer->moved = 1;
        return LARDER_EMOVED;
    }
    status = larder__db_begin(writer->db);
    if (status == LARDER_OK) {
        writer->log_head = larder__log_number(writer->db, LARDER__SQL_LOG_HEAD, &status);
    }
    if (status != LARDER_OK) {
        larder__db_rollback(writer->db);
        larder__lockfile_unlock(writer->lock);
    }
    return status;
}

int larder__writer_end(larder__writer *writer, int status, int with_invalidations)
{
    if (status == LARDER_OK) {
        status = larder__db_commit(writer->db);
    }
    if (status == LARDER_OK) {
        larder__lockfile_committed(writer->lock, with_invalidations);
    } else {
        larder__db_rollback(writer->db);
        writer->row_generation++; /* channels that were added are gone again */
    }
    larder__lockfile_unlock(writer->lock);
    return status;
}

/* ---- items ---- */

int larder__log_add(larder__writer *writer, larder__invalidation_kind kind, const char *channel, const uint8_t *key,
                    uint64_t number, int64_t *id)
{
    static const char *const kinds[] = {"key", "channel", "all"};
    sqlite3_stmt *add = larder__db_statement(writer->db, LARDER__SQL_LOG_ADD);
    larder__bind_text(add, ":kind", kinds[kind], strlen(kinds[kind]));
    if (kind == LARDER__INVALIDATE_CHANNEL) {
        larder__bind_text(add, ":channel", channel, strlen(channel));
    }
    if (kind == LARDER__INVALIDATE_KEY) {
        larder__bind_blob(add, ":key", key, LARDER_KEY_SIZE);
    }
    larder__bind_int(add, ":origin", (int64_t)writer->origin);
    larder__bind_int(add, ":number", (int64_t)number);
    larder__bind_int(add, ":now_ms", larder__wall_ms(writer->clock));
    int status = larder__db_run(writer->db, add);
    if (status == LARDER_OK) {
        *id = sqlite3_last_insert_rowid(writer->db->handle);
        writer->log_head = *id;
    }
    return status;
}

static int apply_invalidation(larder__writer *writer, larder__item *item)
{
    int status = larder__log_add(writer, item->what, item->channel != NULL ? item->channel->name : NULL, item->key,
                                 item->number, &item->log_id);
    if (status != LARDER_OK || item->what != LARDER__INVALIDATE_KEY) {
        return status;
    }
    sqlite3_stmt *remove = larder__db_statement(writer->db, LARDER__SQL_ENTRY_DELETE);
    larder__bind_blob(remove, ":key", item->key, LARDER_KEY_SIZE);
    return larder__db_run(writer->db, remove);
}

/* The id of the channel's row, which is made if need be. */
static int channel_row(larder__writer *writer, larder__channel *channel)
{
    if (channel->row_generation == writer->row_generation) {
        return LARDER_OK;
    }
    int status;
    sqlite3_stmt *find = larder__db_statement(writer->db, LARDER__SQL_CHANNEL_FIND);
    larder__bind_text(find, ":name", channel->name, channel->name_len);
    int64_t id = larder__read_int(writer->db, find, 0, &status);
    if (status != LARDER_OK) {
        return status;
    }
    if (id == 0) {
        sqlite3_stmt *add = larder__db_statement(writer->db, LARDER__SQL_CHANNEL_ADD);
        larder__bind_text(add, ":name", channel->name, channel->name_len);
        larder__bind_int(add, ":now_ms", larder__wall_ms(writer->clock));
        status = larder__db_run(writer->db, add);
        if (status != LARDER_OK) {
            return status;
        }
        id = sqlite3_last_insert_rowid(writer->db->handle);
    }
    channel->row_id = id;
    channel->row_generation = writer->row_generation;
    return LARDER_OK;
}

/* 1: somebody invalidated this answer since its run began, or the log no longer reaches back so far. */
static int covered(larder__writer *writer, const larder__item *item, int *status)
{
    *status = LARDER_OK;
    if (writer->log_head <= item->mark.log_id) {
        return 0;
    }
    if (item->mark.log_id < larder__log_number(writer->db, LARDER__SQL_LOG_FLOOR, status) || *status != LARDER_OK) {
        return 1;
    }
    sqlite3_stmt *covers = larder__db_statement(writer->db, LARDER__SQL_LOG_COVERS);
    larder__bind_int(covers, ":after", item->mark.log_id);
    larder__bind_int(covers, ":origin", (int64_t)writer->origin);
    larder__bind_int(covers, ":number", (int64_t)item->mark.number);
    larder__bind_text(covers, ":channel", item->channel->name, item->channel->name_len);
    larder__bind_blob(covers, ":key", item->key, LARDER_KEY_SIZE);
    return larder__read_int(writer->db, covers, 0, status) != 0;
}

static int apply_put(larder__writer *writer, larder__item *item)
{
    const larder__record *record = &item->record;
    const larder__body *value = record->value;
    int status;
    if (item->generation != writer->generation) {
        /* Whether somebody invalidated it was in the log of the file that is gone. */
        item->status = LARDER_EMOVED;
        return LARDER_OK;
    }
    if (covered(writer, item, &status)) {
        item->status = LARDER_ECANCELLED;
        return status;
    }
    status = channel_row(writer, item->channel);
    if (status != LARDER_OK) {
        return status;
    }
    sqlite3_stmt *put = larder__db_statement(writer->db, LARDER__SQL_ENTRY_PUT);
    const char *type = larder_content_name((larder_content)value->content);
    larder__bind_blob(put, ":key", item->key, LARDER_KEY_SIZE);
    larder__bind_int(put, ":channel_id", item->channel->row_id);
    larder__bind_int(put, ":version", record->version);
    larder__bind_int(put, ":seq", writer->log_head);
    larder__bind_int(put, ":created_ms", record->created_ms);
    larder__bind_int(put, ":expires_ms", record->expires_ms);
    larder__bind_int(put, ":cost_us", (int64_t)record->cost_us);
    larder__bind_int(put, ":size", (int64_t)value->len);
    larder__bind_text(put, ":content_type", type, strlen(type));
    if (record->scope != NULL) {
        larder__bind_text(put, ":scope", record->scope, strlen(record->scope));
    }
    larder__bind_text(put, ":args", record->args->data, record->args->len);
    if (value->content == LARDER_CONTENT_BYTES) {
        larder__bind_blob(put, ":value", value->data, value->len);
    } else {
        larder__bind_text(put, ":value", value->data, value->len);
    }
    status = larder__db_run(writer->db, put);
    if (status == LARDER_ETOOBIG) {
        item->status = status;
        status = LARDER_OK;
    }
    return status;
}

static int apply_count(larder__writer *writer, larder__item *item)
{
    for (size_t i = 0; i < item->count; i++) {
        larder__channel_count *row = &item->tail.counts[i];
        int status = row->channel == NULL ? LARDER_OK : channel_row(writer, row->channel);
        if (status != LARDER_OK) {
            return status;
        }
        sqlite3_stmt *add = larder__db_statement(writer->db, LARDER__SQL_TOTALS_ADD);
        larder__bind_int(add, ":channel_id", row->channel == NULL ? 0 : row->channel->row_id);
#define BIND(name) larder__bind_int(add, ":" #name, (int64_t)row->counters.name);
        LARDER__COUNTER_MAP(BIND)
#undef BIND
        status = larder__db_run(writer->db, add);
        if (status != LARDER_OK) {
            return status;
        }
    }
    return LARDER_OK;
}

static int apply_uses(larder__writer *writer, larder__item *item)
{
    for (size_t i = 0; i < item->count; i++) {
        const larder__use *use = &item->tail.uses[i];
        sqlite3_stmt *used = larder__db_statement(writer->db, LARDER__SQL_ENTRY_USED);
        larder__bind_blob(used, ":key", use->key, LARDER_KEY_SIZE);
        larder__bind_int(used, ":hits", use->hits);
        larder__bind_int(used, ":used_ms", use->used_ms);
        int status = larder__db_run(writer->db, used);
        if (status != LARDER_OK) {
            return status;
        }
    }
    return LARDER_OK;
}

static int apply(larder__writer *writer, larder__item *item)
{
    item->status = LARDER_OK;
    switch (item->kind) {
    case LARDER__ITEM_PUT:
        return apply_put(writer, item);
    case LARDER__ITEM_INVALIDATE:
        return apply_invalidation(writer, item);
    case LARDER__ITEM_COUNT:
        return apply_count(writer, item);
    case LARDER__ITEM_USES:
        return apply_uses(writer, item);
    case LARDER__ITEM_FLUSH:
    case LARDER__ITEM_REOPENED:
        break;
    }
    return LARDER_OK;
}

/* A write that shows whether the file can be written: a full disk lets an empty transaction pass. */
static int probe(larder__writer *writer)
{
    sqlite3_stmt *write = larder__db_statement(writer->db, LARDER__SQL_PROBE);
    larder__bind_int(write, ":now_ms", larder__wall_ms(writer->clock));
    return larder__db_run(writer->db, write);
}

int larder__writer_commit(larder__writer *writer, larder__list *group)
{
    int with_invalidations = 0;
    int status = larder__writer_begin(writer);
    if (status != LARDER_OK) {
        return status;
    }
    int before = sqlite3_total_changes(writer->db->handle);
    for (larder__list *link = group->next; link != group && status == LARDER_OK; link = link->next) {
        larder__item *item = LARDER__CONTAINER(link, larder__item, link);
        with_invalidations |= item->kind == LARDER__ITEM_INVALIDATE;
        status = apply(writer, item);
    }
    if (status == LARDER_OK && __atomic_load_n(&writer->failing, __ATOMIC_RELAXED) != 0
        && sqlite3_total_changes(writer->db->handle) == before) {
        status = probe(writer);
    }
    return larder__writer_end(writer, status, with_invalidations);
}
