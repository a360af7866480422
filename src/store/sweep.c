/* store/sweep.c: the writer's housekeeping, in steps that each hold the lock for a few milliseconds: rows that nobody
 * can be served any more, log rows that nobody needs, and checkpoints.
 *
 * A pass of the sweep goes over the rows in rowid order, SLICE_ROWS a step, so that no index on the time of expiry is
 * needed (each would cost more than half of the write rate). A pass starts every sweep_interval_ms, and after an
 * invalidation at once; its steps come STEP_MS apart. At its end the log is cut: rows that were there when it began
 * have nothing left to cover.
 */
#include "store/bind.h"
#include "store/internal.h"

#define SLICE_ROWS 500
#define STEP_MS 10
#define LOG_ROWS 1000
#define LOG_KEEP_MS (10 * 60 * 1000) /* a run that began before this is not believed */
#define CHECKPOINT_PAGES 1000
#define TRUNCATE_PAGES 8000
#define MS 1000000ull

void larder__writer_sweep_started(larder__writer *writer, uint64_t now)
{
    if (writer->sweep_after < 0) {
        writer->sweep_at = now;
    } else {
        writer->sweep_again = 1;
    }
}

/* Deletes what is worthless among the next rows; *end is the last of them, or -1 when the pass is over. */
static int sweep_rows(larder__writer *writer, int64_t *end)
{
    int status;
    sqlite3_stmt *slice = larder__db_statement(writer->db, LARDER__SQL_SWEEP_SLICE);
    larder__bind_int(slice, ":after", writer->sweep_after);
    larder__bind_int(slice, ":rows", SLICE_ROWS);
    *end = larder__read_int(writer->db, slice, -1, &status);
    if (status != LARDER_OK || *end < 0) {
        return status;
    }
    sqlite3_stmt *drop = larder__db_statement(writer->db, LARDER__SQL_SWEEP_DELETE);
    larder__bind_int(drop, ":after", writer->sweep_after);
    larder__bind_int(drop, ":upto", *end);
    larder__bind_int(drop, ":now_ms", larder__wall_ms(writer->clock));
    return larder__db_run(writer->db, drop);
}

/* 1: rows were removed, there may be more. */
static int purge_log(larder__writer *writer, int *status)
{
    sqlite3_stmt *find = larder__db_statement(writer->db, LARDER__SQL_LOG_PURGE_UPTO);
    larder__bind_int(find, ":swept", writer->sweep_head);
    larder__bind_int(find, ":before_ms", larder__wall_ms(writer->clock) - LOG_KEEP_MS);
    larder__bind_int(find, ":rows", LOG_ROWS);
    int64_t upto = larder__read_int(writer->db, find, 0, status);
    if (*status != LARDER_OK || upto == 0) {
        return 0;
    }
    static const enum larder__sql steps[] = {LARDER__SQL_LOG_PURGE, LARDER__SQL_LOG_SET_FLOOR};
    for (size_t i = 0; i < sizeof steps / sizeof steps[0] && *status == LARDER_OK; i++) {
        sqlite3_stmt *statement = larder__db_statement(writer->db, steps[i]);
        larder__bind_int(statement, ":upto", upto);
        *status = larder__db_run(writer->db, statement);
    }
    return *status == LARDER_OK;
}

static void end_pass(larder__writer *writer, uint64_t now)
{
    writer->sweep_after = -1;
    writer->sweep_at = writer->sweep_again ? now : now + writer->sweep_interval_ms * MS;
    writer->sweep_again = 0;
}

int larder__writer_sweep_step(larder__writer *writer, uint64_t now)
{
    int64_t end = -1;
    int more = 0;
    int before = sqlite3_total_changes(writer->db->handle);
    int status = larder__writer_begin(writer);
    if (status == LARDER_OK) {
        if (writer->sweep_after < 0) {
            writer->sweep_after = 0;
            writer->sweep_head = writer->log_head;
        }
        status = sweep_rows(writer, &end);
        if (status == LARDER_OK && end < 0) {
            more = purge_log(writer, &status);
        }
        if (status == LARDER_OK && sqlite3_total_changes(writer->db->handle) == before) {
            larder__db_rollback(writer->db); /* nothing to write: no commit that others would have to notice */
            larder__lockfile_unlock(writer->lock);
        } else {
            status = larder__writer_end(writer, status, 0);
        }
    }
    writer->sweep_at = uv_hrtime() + STEP_MS * MS;
    if (status != LARDER_OK) {
        end_pass(writer, now); /* the next pass finds what this one left */
    } else if (end >= 0) {
        writer->sweep_after = end;
    } else if (!more) {
        end_pass(writer, now);
    }
    return status;
}

/* ---- checkpoints ---- */

#define READERS_MS 20 /* what TRUNCATE waits for readers, while it keeps other writers out */

/* A PASSIVE checkpoint waits for nobody; the WAL is started over by the
 * next commit that finds all of it copied and no reader in it. */
static void checkpoint(larder__writer *writer, int mode)
{
    if (larder__lockfile_lock(writer->lock, writer->lock_timeout_ms, NULL) != LARDER_OK) {
        return;
    }
    if (!larder__lockfile_moved(writer->lock) && !larder__db_moved(writer->db)) {
        /* A failure shows itself at the next commit, which reports it. */
        sqlite3_busy_timeout(writer->db->handle, READERS_MS);
        sqlite3_wal_checkpoint_v2(writer->db->handle, NULL, mode, NULL, NULL);
        sqlite3_busy_timeout(writer->db->handle, (int)writer->lock_timeout_ms);
    }
    larder__lockfile_unlock(writer->lock);
}

/* Counts the pages of the WAL, for larder__writer_checkpoint_step. */
static int on_wal(void *user_data, sqlite3 *handle, const char *schema, int pages)
{
    (void)handle;
    (void)schema;
    ((larder__writer *)user_data)->wal_pages = pages;
    return SQLITE_OK;
}

void larder__writer_watch_wal(larder__writer *writer)
{
    sqlite3_wal_hook(writer->db->handle, on_wal, writer);
}

/* A reader that stays (somebody's shell) keeps the WAL from being started over: past TRUNCATE_PAGES readers are waited
 * for, a little, each time as many pages have come again. */
void larder__writer_checkpoint_step(larder__writer *writer)
{
    int pages = writer->wal_pages;
    if (pages < writer->wal_checked) {
        writer->wal_checked = 0; /* it was started over */
    }
    if (pages - writer->wal_checked < CHECKPOINT_PAGES) {
        return;
    }
    checkpoint(writer, pages > TRUNCATE_PAGES ? SQLITE_CHECKPOINT_TRUNCATE : SQLITE_CHECKPOINT_PASSIVE);
    writer->wal_checked = pages;
}

void larder__writer_checkpoint_idle(larder__writer *writer)
{
    checkpoint(writer, SQLITE_CHECKPOINT_TRUNCATE);
    writer->wal_pages = 0;
    writer->wal_checked = 0;
    writer->truncate_due = 0;
}
