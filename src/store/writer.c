/* store/writer.c: the one thread of this process that writes the file.
 *
 * Happy path: the loop pushes items; the thread lets them gather for commit_interval_ms (or until a group is full, or a
 * flush or an invalidation waits), commits a group in one transaction under the lock file's lock, hands the items back
 * and wakes the loop. Between groups, and when nothing waits, it makes steps of housekeeping: a checkpoint, a slice of
 * the sweep.
 *
 * Failures: a group that cannot be committed is rolled back whole. Answers in it are given up, unless another process's
 * lock was the reason; invalidations and counters go back to the head of the queue, in their order, and are tried again
 * after a pause of 0.1 s that doubles up to 5 s, or at once when a flush asks. Flushes are answered with the reason. An
 * invalidation that waits so sets this instance's distrust slot in the lock file. A file that was deleted or replaced
 * is opened anew at its path, once the loop has closed its reader: the old file's -shm may still stand there, and
 * whoever closed it later would drop the locks that this process then holds on it for the new file.
 *
 * End: larder__writer_stop makes it commit what waits, in one try, then checkpoint, close the connection and finish.
 */
#include "store/internal.h"

#include "base/alloc.h"
#include "base/error.h"

#include <string.h>

#define GROUP_ITEMS 1000
#define GROUP_BYTES (4u << 20)
#define FIRST_PAUSE_MS 100
#define LAST_PAUSE_MS 5000
#define IDLE_NS 1000000000ull /* without a commit for so long: shrink the WAL */
#define MS 1000000ull

/* ---- opening and closing ---- */

/* Somebody could not commit an invalidation and is gone, or will find it done: what is in the file cannot be told
 * apart. */
static int invalidate_distrusted(larder__writer *writer, larder_error *error)
{
    int64_t id = 0;
    int status = larder__db_begin(writer->db);
    if (status == LARDER_OK) {
        status = larder__log_add(writer, LARDER__INVALIDATE_ALL, NULL, NULL, 0, &id);
        status = status == LARDER_OK ? larder__db_commit(writer->db) : status;
    }
    if (status != LARDER_OK) {
        larder__db_fail(error, writer->db, "cannot discard a cache whose last invalidation was not saved");
        larder__db_rollback(writer->db);
        return status;
    }
    larder__lockfile_committed(writer->lock, 1);
    larder__lockfile_trust(writer->lock);
    return LARDER_OK;
}

/* The new lock file object is the writer's; the old one, if any, is left to whoever else reads it. */
int larder__writer_open_file(larder__writer *writer, larder_error *error)
{
    larder__lockfile *old_lock = writer->lock;
    larder__db *old_db = writer->db;
    int status = larder__db_look(writer->path, LARDER__DB_CREATE, error);
    if (status != LARDER_OK) {
        return status;
    }
    writer->lock = NULL;
    writer->db = NULL;
    status = larder__lockfile_open(&writer->lock, writer->path, error);
    if (status != LARDER_OK) {
        goto err_restore;
    }
    status = larder__lockfile_lock(writer->lock, writer->lock_timeout_ms, error);
    if (status != LARDER_OK) {
        goto err_after_lock;
    }
    status = larder__db_open(&writer->db, writer->path, LARDER__DB_CREATE, writer->durability, error);
    if (status == LARDER_OK && larder__lockfile_distrusted(writer->lock)) {
        status = invalidate_distrusted(writer, error);
    }
    if (status != LARDER_OK) {
        goto err_after_lock;
    }
    larder__lockfile_unlock(writer->lock);
    larder__db_close(old_db);
    sqlite3_busy_timeout(writer->db->handle, (int)writer->lock_timeout_ms);
    larder__db_set_cache(writer->db, writer->page_cache_bytes);
    larder__writer_watch_wal(writer);
    return LARDER_OK;

err_after_lock:
    larder__db_close(writer->db);
    larder__lockfile_close(writer->lock);
err_restore:
    writer->db = old_db;
    writer->lock = old_lock;
    return status;
}

int larder__writer_open(larder__writer *writer, larder_error *error)
{
    larder__list_init(&writer->queue);
    larder__list_init(&writer->done);
    writer->sweep_after = -1;
    writer->row_generation = 1;
    int status = larder__writer_open_file(writer, error);
    if (status != LARDER_OK) {
        return status;
    }
    if (uv_mutex_init(&writer->mutex) != 0) {
        goto err_after_file;
    }
    if (uv_cond_init(&writer->cond) != 0) {
        goto err_after_mutex;
    }
    return LARDER_OK;

err_after_mutex:
    uv_mutex_destroy(&writer->mutex);
err_after_file:
    larder__db_close(writer->db);
    larder__lockfile_close(writer->lock);
    return larder__fail(error, LARDER_ESYSTEM, "%s: cannot make the writer's lock", writer->path);
}

static void run(void *arg);

int larder__writer_start(larder__writer *writer)
{
    writer->idle_at = uv_hrtime();
    writer->sweep_at = writer->idle_at + writer->sweep_interval_ms * MS;
    if (uv_thread_create(&writer->thread, run, writer) != 0) {
        return LARDER_ESYSTEM;
    }
    writer->started = 1;
    return LARDER_OK;
}

void larder__writer_close(larder__writer *writer)
{
    if (writer->started) { /* it has finished, unless an opening is being undone: then nobody listens */
        uv_mutex_lock(&writer->mutex);
        writer->quiet = 1;
        writer->stopping = 1;
        uv_cond_signal(&writer->cond);
        uv_mutex_unlock(&writer->mutex);
        uv_thread_join(&writer->thread);
    }
    larder__db_close(writer->db);
    larder__items_free(&writer->queue);
    larder__items_free(&writer->done);
    uv_cond_destroy(&writer->cond);
    uv_mutex_destroy(&writer->mutex);
}

/* ---- the loop's side ---- */

void larder__writer_push(larder__writer *writer, larder__list *items, size_t count, size_t bytes, int urgent,
                         int retry_now)
{
    uv_mutex_lock(&writer->mutex);
    int was_empty = larder__list_empty(&writer->queue);
    if (was_empty) {
        writer->first_at = uv_hrtime();
    }
    larder__list_move_all(&writer->queue, items);
    writer->queue_items += count;
    writer->queue_bytes += bytes;
    writer->urgent |= urgent;
    writer->retry_now |= retry_now;
    int full = writer->queue_items >= GROUP_ITEMS || writer->queue_bytes >= GROUP_BYTES;
    if (writer->sleeping && (was_empty || urgent || full)) {
        uv_cond_signal(&writer->cond);
    }
    uv_mutex_unlock(&writer->mutex);
}

int larder__writer_requeue(larder__writer *writer, larder__item *item, uint64_t number)
{
    int found = 0;
    uv_mutex_lock(&writer->mutex);
    for (larder__list *link = writer->queue.prev; link != &writer->queue && !found; link = link->prev) {
        if (link == &item->link) {
            larder__list_remove(link);
            larder__list_append(&writer->queue, link);
            item->number = number;
            found = 1;
        }
    }
    uv_mutex_unlock(&writer->mutex);
    return found;
}

void larder__writer_take_done(larder__writer *writer, larder__list *out, int *finished)
{
    uv_mutex_lock(&writer->mutex);
    larder__list_move_all(out, &writer->done);
    *finished = writer->finished;
    uv_mutex_unlock(&writer->mutex);
}

void larder__writer_reader_gone(larder__writer *writer)
{
    uv_mutex_lock(&writer->mutex);
    __atomic_store_n(&writer->reader_gone, 1, __ATOMIC_RELEASE);
    writer->retry_now = 1;
    uv_cond_signal(&writer->cond);
    uv_mutex_unlock(&writer->mutex);
}

void larder__writer_stop(larder__writer *writer)
{
    uv_mutex_lock(&writer->mutex);
    writer->stopping = 1;
    uv_cond_signal(&writer->cond);
    uv_mutex_unlock(&writer->mutex);
}

/* ---- the thread ---- */

/* When the queue is to be committed: 0 now; UINT64_MAX nothing waits. After a failure an empty group is tried too, to
 * find out whether the file has healed. Under the mutex. */
static uint64_t commit_due(const larder__writer *writer)
{
    if (larder__list_empty(&writer->queue)) {
        if (writer->failing == 0 || writer->stopping) {
            return UINT64_MAX;
        }
        return writer->retry_now ? 0 : writer->retry_at;
    }
    if (writer->stopping || writer->retry_now) {
        return 0;
    }
    if (writer->failing != 0) {
        return writer->retry_at;
    }
    if (writer->urgent || writer->queue_items >= GROUP_ITEMS || writer->queue_bytes >= GROUP_BYTES) {
        return 0;
    }
    return writer->first_at + writer->commit_interval_ms * MS;
}

/* When the next step of housekeeping is due. */
static uint64_t housekeeping_due(const larder__writer *writer)
{
    if (writer->failing != 0) {
        return UINT64_MAX;
    }
    uint64_t due = writer->sweep_at;
    if (writer->truncate_due && writer->idle_at + IDLE_NS < due) {
        due = writer->idle_at + IDLE_NS;
    }
    return due;
}

static size_t take_group(larder__writer *writer, larder__list *group)
{
    size_t items = 0;
    size_t bytes = 0;
    while (!larder__list_empty(&writer->queue) && items < GROUP_ITEMS && bytes < GROUP_BYTES) {
        larder__list *link = larder__list_shift(&writer->queue);
        items++;
        bytes += LARDER__CONTAINER(link, larder__item, link)->bytes;
        larder__list_append(group, link);
    }
    writer->queue_items -= items;
    writer->queue_bytes -= bytes;
    if (larder__list_empty(&writer->queue)) {
        writer->urgent = 0;
        writer->retry_now = 0;
    }
    return items;
}

/* Flushes behind a group that failed cannot succeed either; they are answered now. */
static void fail_flushes(larder__writer *writer, int status)
{
    larder__list *next;
    for (larder__list *link = writer->queue.next; link != &writer->queue; link = next) {
        next = link->next;
        larder__item *item = LARDER__CONTAINER(link, larder__item, link);
        if (item->kind == LARDER__ITEM_FLUSH) {
            larder__list_remove(link);
            writer->queue_items--;
            writer->queue_bytes -= item->bytes;
            item->status = status;
            larder__list_append(&writer->done, link);
        }
    }
    writer->retry_now = 0;
    writer->urgent = 0;
}

/* Sorts a failed group: what must not be lost goes back to the head of the queue, in order. Under the mutex. */
static void put_back(larder__writer *writer, larder__list *group, int status)
{
    larder__list keep;
    larder__list_init(&keep);
    larder__list *link;
    while ((link = larder__list_shift(group)) != NULL) {
        larder__item *item = LARDER__CONTAINER(link, larder__item, link);
        int keeps = item->kind == LARDER__ITEM_INVALIDATE || item->kind == LARDER__ITEM_COUNT
                    || (status == LARDER_ELOCKED && item->kind == LARDER__ITEM_PUT);
        if (!keeps || writer->stopping) {
            item->status = status;
            larder__list_append(&writer->done, link);
            continue;
        }
        if (item->kind == LARDER__ITEM_INVALIDATE && !item->kept) {
            item->kept = 1;
            writer->kept_invalidations++;
        }
        writer->queue_items++;
        writer->queue_bytes += item->bytes;
        larder__list_append(&keep, link);
    }
    larder__list_move_all(&keep, &writer->queue);
    larder__list_move_all(&writer->queue, &keep);
    fail_flushes(writer, status);
}

/* Of a channel or of all: of a key the row is gone already. */
static int needs_sweep(const larder__list *group)
{
    for (larder__list *link = group->next; link != group; link = link->next) {
        const larder__item *item = LARDER__CONTAINER(link, larder__item, link);
        if (item->kind == LARDER__ITEM_INVALIDATE && item->what != LARDER__INVALIDATE_KEY) {
            return 1;
        }
    }
    return 0;
}

static int has_invalidation(const larder__list *group)
{
    for (larder__list *link = group->next; link != group; link = link->next) {
        if (LARDER__CONTAINER(link, larder__item, link)->kind == LARDER__ITEM_INVALIDATE) {
            return 1;
        }
    }
    return 0;
}

/* All that still waits comes back with the reason. Under the mutex. */
static void give_up(larder__writer *writer, int status)
{
    if (has_invalidation(&writer->queue)) {
        larder__lockfile_distrust(writer->lock, writer->origin, 1);
    }
    for (larder__list *link = writer->queue.next; link != &writer->queue; link = link->next) {
        LARDER__CONTAINER(link, larder__item, link)->status = status;
    }
    larder__list_move_all(&writer->done, &writer->queue);
    writer->queue_items = 0;
    writer->queue_bytes = 0;
}

static void count_kept(larder__writer *writer, const larder__list *group)
{
    for (larder__list *link = group->next; link != group; link = link->next) {
        writer->kept_invalidations -= (size_t)LARDER__CONTAINER(link, larder__item, link)->kept;
    }
    if (writer->kept_invalidations == 0 && __atomic_exchange_n(&writer->distrusted, 0, __ATOMIC_RELAXED)) {
        larder__lockfile_distrust(writer->lock, writer->origin, 0);
    }
}

static void after_success(larder__writer *writer, larder__list *group, uint64_t now)
{
    count_kept(writer, group);
    if (needs_sweep(group)) {
        larder__writer_sweep_started(writer, now);
    }
    writer->pause_ms = 0;
    writer->idle_at = now;
    writer->truncate_due = 1;
    __atomic_add_fetch(&writer->commits, 1, __ATOMIC_RELAXED);
    __atomic_store_n(&writer->failing, 0, __ATOMIC_RELAXED);
}

static void after_failure(larder__writer *writer, const larder__list *group, int status, uint64_t now)
{
    if (has_invalidation(group)) {
        __atomic_store_n(&writer->distrusted, 1, __ATOMIC_RELAXED);
        larder__lockfile_distrust(writer->lock, writer->origin, 1);
    }
    writer->pause_ms = writer->pause_ms == 0 ? FIRST_PAUSE_MS : writer->pause_ms * 2;
    writer->pause_ms = writer->pause_ms > LAST_PAUSE_MS ? LAST_PAUSE_MS : writer->pause_ms;
    writer->retry_at = now + writer->pause_ms * MS;
    __atomic_add_fetch(&writer->errors, 1, __ATOMIC_RELAXED);
    __atomic_store_n(&writer->failing, status, __ATOMIC_RELAXED);
}

/* Called and returns with the mutex held; without it in between. */
static void commit_group(larder__writer *writer)
{
    larder__list group;
    larder__list_init(&group);
    take_group(writer, &group);
    uv_mutex_unlock(&writer->mutex);
    int status = larder__writer_commit(writer, &group);
    uint64_t now = uv_hrtime();
    if (status == LARDER_OK) {
        after_success(writer, &group, now);
        uv_mutex_lock(&writer->mutex);
        larder__list_move_all(&writer->done, &group);
    } else {
        after_failure(writer, &group, status, now);
        uv_mutex_lock(&writer->mutex);
        put_back(writer, &group, status);
        if (writer->stopping) { /* one try is all that stopping has */
            give_up(writer, status);
        }
    }
    writer->final_status = status;
    uv_mutex_unlock(&writer->mutex);
    writer->wake(writer->owner);
    if (status == LARDER_OK) {
        larder__writer_checkpoint_step(writer);
    }
    uv_mutex_lock(&writer->mutex);
}

static void housekeep(larder__writer *writer, uint64_t now)
{
    if (writer->truncate_due && now >= writer->idle_at + IDLE_NS) {
        larder__writer_checkpoint_idle(writer);
    }
    if (now >= writer->sweep_at) {
        larder__writer_sweep_step(writer, now);
    }
}

static void finish(larder__writer *writer)
{
    if (writer->db == NULL) { /* the file has gone, and could not be opened anew */
        return;
    }
    int locked = larder__lockfile_lock(writer->lock, writer->lock_timeout_ms, NULL);
    if (locked == LARDER_OK && !larder__db_moved(writer->db)) {
        larder__db_tidy(writer->db);
    }
    larder__db_close(writer->db);
    writer->db = NULL;
    if (locked == LARDER_OK) {
        larder__lockfile_unlock(writer->lock);
    }
}

static void run(void *arg)
{
    larder__writer *writer = arg;
    uv_mutex_lock(&writer->mutex);
    for (;;) {
        uint64_t now = uv_hrtime();
        uint64_t commit_at = commit_due(writer);
        uint64_t housekeeping_at = housekeeping_due(writer);
        if (commit_at <= now) {
            commit_group(writer);
        } else if (writer->stopping) {
            break;
        } else if (housekeeping_at <= now) {
            uv_mutex_unlock(&writer->mutex);
            housekeep(writer, now);
            uv_mutex_lock(&writer->mutex);
        } else {
            uint64_t at = commit_at < housekeeping_at ? commit_at : housekeeping_at;
            writer->sleeping = 1;
            if (at == UINT64_MAX) {
                uv_cond_wait(&writer->cond, &writer->mutex);
            } else {
                uv_cond_timedwait(&writer->cond, &writer->mutex, at - now);
            }
            writer->sleeping = 0;
        }
    }
    uv_mutex_unlock(&writer->mutex);
    finish(writer);
    uv_mutex_lock(&writer->mutex);
    writer->finished = 1;
    int quiet = writer->quiet;
    uv_mutex_unlock(&writer->mutex);
    if (!quiet) {
        writer->wake(writer->owner);
    }
}
