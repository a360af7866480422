/* store/inspect_clear.c: clearing from outside.
 *
 * Everything, or a channel: one row in the log of invalidations, one short transaction under the lock file's lock, and
 * no entry is served any more. How many that were is counted afterwards, in a snapshot that was taken under the lock
 * just before the commit. The entries themselves go in slices of SLICE rows, each a transaction of its own with the
 * lock given up between them, so that running programs go on writing; what is left if that is interrupted is swept by
 * them.
 *
 * A prefix of keys: each key is logged and its entry removed in that one transaction.
 *
 * Failure before the first commit: nothing was cleared. After it: the clear holds, whatever happens to the slices. */
#include "store/inspect.h"

#include "base/error.h"
#include "store/bind.h"

#include <string.h>

#define SLICE 1000
#define LOCK_MS 5000u
#define WAL_PAGES 1000 /* checkpoint once the WAL has as many */

typedef struct clearing {
    larder_inspect *in;
    larder__selection selection;
    int64_t log_id; /* of the row that covers it all */
    int64_t ids[SLICE];
} clearing;

/* ---- under the lock ---- */

static int take_lock(larder_inspect *in, larder_error *error)
{
    int status = LARDER_OK;
    if (in->lock == NULL) {
        const char *path = sqlite3_db_filename(in->writer->handle, "main");
        status = larder__lockfile_open(&in->lock, path, error);
    }
    if (status == LARDER_OK) {
        status = larder__lockfile_lock(in->lock, LOCK_MS, error);
    }
    if (status == LARDER_OK && larder__db_moved(in->writer)) {
        larder__lockfile_unlock(in->lock);
        status = larder__fail(error, LARDER_EMOVED, "the file was deleted or replaced while it was open");
    }
    return status;
}

static int run_selected(clearing *c, enum larder__sql id)
{
    sqlite3_stmt *statement = larder__db_statement(c->in->writer, id);
    larder__selection_bind(&c->selection, statement);
    return larder__db_run(c->in->writer, statement);
}

static int64_t count_selected(clearing *c, larder__db *db, enum larder__sql id, int *status)
{
    sqlite3_stmt *statement = larder__db_statement(db, id);
    larder__selection_bind(&c->selection, statement);
    return larder__read_int(db, statement, 0, status);
}

static int clear_keys(clearing *c, uint64_t *removed)
{
    int status = LARDER_OK;
    int64_t count = count_selected(c, c->in->writer, LARDER__SQL_INSPECT_COUNT_BY_KEY, &status);
    if (status == LARDER_OK) {
        status = run_selected(c, LARDER__SQL_INSPECT_LOG_KEYS);
    }
    if (status == LARDER_OK) {
        status = run_selected(c, LARDER__SQL_INSPECT_DELETE_KEYS);
    }
    *removed = (uint64_t)count;
    return status;
}

/* The reader's snapshot is fixed by its first read; nobody else can commit while our transaction is open. */
static int hold_snapshot(larder__db *reader)
{
    int status = larder__db_run(reader, larder__db_statement(reader, LARDER__SQL_TRANSACTION_BEGIN_READ));
    if (status == LARDER_OK) {
        larder__read_int(reader, larder__db_statement(reader, LARDER__SQL_INSPECT_LOG_HEAD), 0, &status);
    }
    return status;
}

static int log_clear(clearing *c)
{
    int status =
        run_selected(c, c->selection.channel == NULL ? LARDER__SQL_INSPECT_LOG_ALL : LARDER__SQL_INSPECT_LOG_CHANNEL);
    c->log_id = sqlite3_last_insert_rowid(c->in->writer->handle);
    return status;
}

/* With the lock held. On failure nothing has changed and no transaction is open. */
static int clear_in_transaction(clearing *c, uint64_t *removed, larder_error *error)
{
    larder__db *db = c->in->writer;
    int status = larder__db_begin(db);
    if (status != LARDER_OK) {
        return larder__db_fail(error, db, "cannot clear");
    }
    if (c->selection.by_key) {
        status = clear_keys(c, removed);
    } else {
        if (hold_snapshot(c->in->reader) != LARDER_OK) {
            status = larder__db_fail(error, c->in->reader, "cannot clear");
            larder__db_rollback(c->in->reader);
            larder__db_rollback(db);
            return status;
        }
        status = log_clear(c);
    }
    if (status == LARDER_OK) {
        status = larder__db_commit(db);
    }
    if (status != LARDER_OK) {
        status = larder__db_fail(error, db, "cannot clear");
        larder__db_rollback(db);
        larder__db_rollback(c->in->reader);
    }
    return status;
}

/* ---- the rows, afterwards ---- */

static int find_slice(clearing *c, int64_t after, int *count)
{
    sqlite3_stmt *next = larder__db_statement(c->in->reader, LARDER__SQL_INSPECT_STALE_IDS);
    if (next == NULL) {
        return LARDER_ENOMEM;
    }
    larder__selection_bind(&c->selection, next);
    larder__bind_int(next, ":after", after);
    larder__bind_int(next, ":log_id", c->log_id);
    larder__bind_int(next, ":rows", SLICE);
    int code = SQLITE_DONE;
    *count = 0;
    while (*count < SLICE && (code = sqlite3_step(next)) == SQLITE_ROW) {
        c->ids[(*count)++] = sqlite3_column_int64(next, 0);
    }
    sqlite3_reset(next);
    return code == SQLITE_ROW || code == SQLITE_DONE ? LARDER_OK : larder__db_status(code);
}

static int delete_slice(clearing *c, int count)
{
    larder__db *db = c->in->writer;
    int status = larder__db_begin(db);
    if (status != LARDER_OK) {
        return status;
    }
    for (int i = 0; i < count && status == LARDER_OK; i++) {
        sqlite3_stmt *gone = larder__db_statement(db, LARDER__SQL_INSPECT_DELETE_STALE);
        larder__bind_int(gone, ":id", c->ids[i]);
        larder__bind_int(gone, ":log_id", c->log_id); /* an id may have been given to a newer entry */
        status = larder__db_run(db, gone);
    }
    if (status != LARDER_OK) {
        larder__db_rollback(db);
        return status;
    }
    return larder__db_commit(db);
}

static int on_commit(void *pages, sqlite3 *handle, const char *name, int wal_pages)
{
    (void)handle;
    (void)name;
    *(int *)pages = wal_pages;
    return SQLITE_OK;
}

/* Deleting writes pages too: the WAL is emptied on the way, in steps of their own. The clear itself was synced to the
 * disk; a slice that a power cut undoes is swept again. */
static void remove_rows(clearing *c)
{
    larder__db *db = c->in->writer;
    int64_t after = INT64_MIN;
    int count = 0;
    int wal_pages = 0;
    sqlite3_wal_hook(db->handle, on_commit, &wal_pages);
    sqlite3_exec(db->handle, "PRAGMA synchronous = NORMAL", NULL, NULL, NULL);
    while (find_slice(c, after, &count) == LARDER_OK && count > 0 && take_lock(c->in, NULL) == LARDER_OK) {
        int status = delete_slice(c, count);
        if (status == LARDER_OK) {
            larder__lockfile_committed(c->in->lock, 0);
        }
        larder__lockfile_unlock(c->in->lock);
        if (status != LARDER_OK) {
            break;
        }
        after = c->ids[count - 1];
        sqlite3_sleep(LARDER__LOCKFILE_PAUSE_MS + 1); /* whoever waits for the lock has tried once by then */
        if (wal_pages >= WAL_PAGES && take_lock(c->in, NULL) == LARDER_OK) {
            sqlite3_wal_checkpoint_v2(db->handle, NULL, SQLITE_CHECKPOINT_PASSIVE, NULL, NULL);
            larder__lockfile_unlock(c->in->lock);
            wal_pages = 0;
            sqlite3_sleep(LARDER__LOCKFILE_PAUSE_MS + 1);
        }
    }
    sqlite3_exec(db->handle, "PRAGMA synchronous = FULL", NULL, NULL, NULL);
    sqlite3_wal_hook(db->handle, NULL, NULL);
}

/* ---- together ---- */

static int prepare_clear(clearing *c, const larder_filter *filter, larder_error *error)
{
    if (c->in->writer == NULL) {
        return larder__fail(error, LARDER_EREADONLY, "the file was opened for reading: nothing can be cleared");
    }
    int status = larder__selection_init(&c->selection, filter, error);
    if (status == LARDER_OK && c->selection.limit != 0) {
        status = larder__fail(error, LARDER_EINVAL, "a clear takes no limit: it covers all that passes the filter");
    }
    return status;
}

int larder_inspect_clear(larder_inspect *in, const larder_filter *filter, uint64_t *removed, larder_error *error)
{
    clearing c;
    uint64_t count = 0;
    c.in = in;
    c.log_id = 0;
    int status = prepare_clear(&c, filter, error);
    if (status == LARDER_OK) {
        status = take_lock(in, error);
    }
    if (status != LARDER_OK) {
        return status;
    }
    status = clear_in_transaction(&c, &count, error);
    if (status == LARDER_OK) {
        larder__lockfile_committed(in->lock, 1);
    }
    larder__lockfile_unlock(in->lock);
    if (status != LARDER_OK) {
        return status;
    }
    if (!c.selection.by_key) {
        int ignored = LARDER_OK; /* the clear is committed: not being able to count it is no failure */
        count = (uint64_t)count_selected(&c, in->reader, LARDER__SQL_INSPECT_COUNT, &ignored);
        larder__db_rollback(in->reader);
        remove_rows(&c);
    }
    if (removed != NULL) {
        *removed = count;
    }
    return LARDER_OK;
}
