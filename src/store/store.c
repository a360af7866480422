/* store/store.c: the store as the loop sees it: opening and ending, the overlay of what is not committed yet, what
 * comes back from the writer, and what is said about failures.
 *
 * Happy path of a put: the item goes into the overlay, waits in `staged` until the dispatch ends, travels to the
 * writer, comes back committed, leaves the overlay in settle (between two dispatches, so no read falls between overlay
 * and file) and is freed.
 *
 * Close: larder__store_stop closes the reader, lets the writer finish; the settle after its last act calls on_stopped.
 */
#include "base/alloc.h"
#include "base/error.h"
#include "store/internal.h"

#include <errno.h>
#include <string.h>
#include <sys/random.h>

#define WAITING_INVALIDATIONS 10000 /* beyond it those that nobody waits for widen to everything */
#define REPORT_NS 1000000000ull

/* ---- opening and ending ---- */

static int choose_origin(uint64_t *origin)
{
    do {
        if (getrandom(origin, sizeof *origin, 0) != (ssize_t)sizeof *origin) {
            return LARDER_ESYSTEM;
        }
        *origin &= INT64_MAX; /* it is stored in an INTEGER */
    } while (*origin == 0);
    return LARDER_OK;
}

static int open_writer(larder__store *store, larder_error *error)
{
    larder__writer *writer = &store->writer;
    const larder__store_options *options = &store->options;
    if (choose_origin(&writer->origin) != LARDER_OK) {
        return larder__fail_errno(error, errno, "%s: cannot get random bytes", store->path);
    }
    writer->path = store->path;
    writer->durability = options->durability;
    writer->page_cache_bytes = options->page_cache_bytes / 4;
    writer->clock = &store->clock;
    writer->commit_interval_ms = options->commit_interval_ms;
    writer->sweep_interval_ms = options->sweep_interval_ms;
    writer->lock_timeout_ms = options->lock_timeout_ms;
    writer->wake = options->wake;
    writer->owner = options->owner;
    int status = larder__writer_open(writer, error);
    if (status != LARDER_OK) {
        return status;
    }
    store->lock = writer->lock;
    store->writer_open = 1;
    store->seen_invalidations = larder__lockfile_invalidations(store->lock);
    status = larder__reader_open(store, LARDER__DB_READ, error);
    if (status == LARDER_OK) {
        status = larder__writer_start(writer);
        if (status != LARDER_OK) {
            larder__fail(error, status, "%s: cannot start the writer thread", store->path);
        }
    }
    return status;
}

int larder__store_open(larder__store **out, const larder__store_options *options, larder_error *error)
{
    *out = NULL;
    larder__store *store = larder__calloc(1, sizeof *store);
    if (store == NULL) {
        return larder__fail(error, LARDER_ENOMEM, "out of memory while opening the store");
    }
    store->options = *options;
    store->clock = *options->clock;
    larder__list_init(&store->staged);
    larder__list_init(&store->local_done);
    larder__json_init(&store->json);
    store->spare = larder__item_new(LARDER__ITEM_INVALIDATE, 0);
    store->path = options->path == NULL ? NULL : larder__strdup(options->path);
    int status = LARDER_ENOMEM;
    if (store->spare != NULL && (options->path == NULL || store->path != NULL)) {
        status = larder__map_init(&store->overlay);
        status = status == LARDER_OK ? larder__validity_init(&store->validity) : status;
    }
    if (status != LARDER_OK) {
        larder__fail(error, status, "out of memory while opening the store");
    } else if (store->path != NULL) {
        status = open_writer(store, error);
    }
    if (status != LARDER_OK) {
        larder__store_free(store);
        return status;
    }
    *out = store;
    return LARDER_OK;
}

void larder__store_free(larder__store *store)
{
    if (store == NULL) {
        return;
    }
    larder__reader_close(store);
    if (store->writer_open) {
        if (!store->spare_queued) {
            larder__item_free(store->spare);
        }
        larder__writer_close(&store->writer);
        larder__lockfile_close(store->lock);
    } else {
        larder__item_free(store->spare);
    }
    larder__items_free(&store->staged);
    larder__items_free(&store->local_done);
    larder__map_release(&store->overlay);
    larder__validity_release(&store->validity);
    larder__json_release(&store->json);
    larder__free(store->path);
    larder__free(store);
}

static void push_staged(larder__store *store, int retry_now)
{
    if (larder__list_empty(&store->staged)) {
        return;
    }
    larder__writer_push(&store->writer, &store->staged, store->staged_count, store->staged_bytes, store->staged_urgent,
                        retry_now);
    store->staged_count = 0;
    store->staged_bytes = 0;
    store->staged_urgent = 0;
}

void larder__store_stop(larder__store *store)
{
    store->stopping = 1;
    if (!store->writer_open) {
        store->options.wake(store->options.owner);
        return;
    }
    push_staged(store, 0);
    larder__reader_close(store);
    larder__writer_stop(&store->writer);
}

larder__validity *larder__store_validity(larder__store *store)
{
    return &store->validity;
}

/* ---- dispatches ---- */

void larder__store_begin(larder__store *store, uint64_t mono_ns)
{
    store->in_dispatch = 1;
    store->mono_ns = mono_ns;
    if (store->writer_open && !store->stopping) {
        larder__reader_notice(store);
    }
}

static void report_not_stored(larder__store *store)
{
    if (store->unreported == 0 || (store->reported_at != 0 && store->mono_ns < store->reported_at + REPORT_NS)) {
        return;
    }
    larder_event event = {
        .type = LARDER_EVENT_NOT_STORED,
        .status = LARDER_EOVERLOADED,
        .message = "answers were kept in memory only: the writer's queue is full (option queue_bytes)",
        .count = store->unreported,
    };
    store->unreported = 0;
    store->reported_at = store->mono_ns;
    store->options.on_event(store->options.owner, &event);
}

void larder__store_end(larder__store *store)
{
    store->in_dispatch = 0;
    if (store->reader != NULL) {
        larder__reader_end(store);
    }
    if (store->writer_open) {
        push_staged(store, 0);
    }
    report_not_stored(store);
}

/* ---- the overlay ---- */

static larder__item *overlay_find(const larder__store *store, const uint8_t *key)
{
    uint64_t hash = larder__hash_key(key);
    for (larder__map_node *n = larder__map_first(&store->overlay, hash); n != NULL; n = larder__map_next(n, hash)) {
        larder__item *item = LARDER__CONTAINER(n, larder__item, overlay);
        if (memcmp(item->key, key, LARDER_KEY_SIZE) == 0) {
            return item;
        }
    }
    return NULL;
}

static void overlay_drop(larder__store *store, larder__item *item)
{
    if (item->in_overlay) {
        larder__map_remove(&store->overlay, &item->overlay);
        item->in_overlay = 0;
    }
}

/* Takes the place of what was there for this key: the newest counts. An answer remembers the invalidation that it
 * stands before: if it is given up and the invalidation still waits, the row in the file must stay hidden. */
static void overlay_set(larder__store *store, larder__item *item)
{
    larder__item *older = overlay_find(store, item->key);
    if (older != NULL) {
        if (item->kind == LARDER__ITEM_PUT) {
            item->under = older->kind == LARDER__ITEM_PUT ? older->under : older;
        }
        overlay_drop(store, older);
    }
    larder__map_insert(&store->overlay, &item->overlay, larder__hash_key(item->key));
    item->in_overlay = 1;
}

/* The item is back from the writer. */
static void overlay_leave(larder__store *store, larder__item *item)
{
    if (item->in_overlay) {
        overlay_drop(store, item);
        if (item->under != NULL) {
            overlay_set(store, item->under);
        }
    } else if (item->kind == LARDER__ITEM_INVALIDATE && item->what == LARDER__INVALIDATE_KEY) {
        larder__item *above = overlay_find(store, item->key);
        if (above != NULL && above->under == item) {
            above->under = NULL;
        }
    }
}

static int overlay_get(larder__store *store, const larder__item *item, uint32_t version, int64_t wall_ms,
                       larder__record *out)
{
    const larder__record *kept = &item->record;
    if (item->kind != LARDER__ITEM_PUT || kept->version != version
        || !larder__fresh(kept->created_ms, kept->expires_ms, wall_ms)
        || !larder__validity_holds(&store->validity, item->channel, item->key, item->mark)) {
        return LARDER__MISS;
    }
    *out = *kept;
    out->args = NULL;
    out->scope = NULL;
    out->number = item->mark.number;
    larder__body_retain(out->value);
    return LARDER__HIT;
}

int larder__store_get(larder__store *store, larder__channel *channel, const uint8_t key[LARDER_KEY_SIZE],
                      uint32_t version, int64_t wall_ms, larder__record *out)
{
    if (!store->writer_open || store->stopping) {
        return LARDER__MISS;
    }
    larder__item *item = overlay_find(store, key);
    int found = item != NULL ? overlay_get(store, item, version, wall_ms, out)
                             : larder__reader_get(store, channel, key, version, wall_ms, out);
    if (found == LARDER__HIT) {
        memcpy(out->key, key, LARDER_KEY_SIZE);
    }
    return found;
}

/* ---- changes ---- */

static void stage(larder__store *store, larder__item *item, int urgent, int retry_now)
{
    item->generation = store->generation;
    larder__list_append(&store->staged, &item->link);
    store->staged_count++;
    store->staged_bytes += item->bytes;
    store->staged_urgent |= urgent;
    if (!store->in_dispatch || retry_now) {
        push_staged(store, retry_now);
    }
}

static void count_not_stored(larder__store *store, int failing)
{
    __atomic_add_fetch(&store->not_stored, 1, __ATOMIC_RELAXED);
    store->unsaved = failing != 0 ? failing : store->unsaved;
    if (store->degraded || failing != 0) {
        store->lost++;
    } else {
        store->unreported++;
    }
}

static larder__item *new_put(const larder__record *record)
{
    size_t scope = record->scope == NULL ? 0 : strlen(record->scope) + 1;
    larder__item *item = larder__item_new(LARDER__ITEM_PUT, scope);
    if (item == NULL) {
        return NULL;
    }
    item->channel = record->channel;
    item->record = *record;
    memcpy(item->key, record->key, LARDER_KEY_SIZE);
    larder__body_retain(record->value);
    larder__body_retain(record->args);
    if (scope > 0) {
        memcpy(item->tail.scope, record->scope, scope);
        item->record.scope = item->tail.scope;
    }
    item->bytes += record->value->len + record->args->len + sizeof(larder__body) * 2;
    return item;
}

int larder__store_put(larder__store *store, const larder__record *record, larder__mark mark)
{
    if (!larder__validity_holds(&store->validity, record->channel, record->key, mark)) {
        return LARDER_ECANCELLED;
    }
    if (!store->writer_open || store->stopping) {
        return LARDER_EOVERLOADED;
    }
    int failing = __atomic_load_n(&store->writer.failing, __ATOMIC_RELAXED);
    size_t bytes = sizeof(larder__item) + record->value->len + record->args->len + sizeof(larder__body) * 2;
    uint64_t queued = __atomic_load_n(&store->queued_bytes, __ATOMIC_RELAXED);
    if ((failing != 0 && failing != LARDER_ELOCKED) || queued + bytes > store->options.queue_bytes) {
        count_not_stored(store, failing);
        return LARDER_EOVERLOADED;
    }
    larder__item *item = new_put(record);
    if (item == NULL) {
        count_not_stored(store, failing);
        return LARDER_ENOMEM;
    }
    item->mark = mark;
    __atomic_store_n(&store->queued_bytes, queued + item->bytes, __ATOMIC_RELAXED);
    overlay_set(store, item);
    stage(store, item, 0, 0);
    return LARDER_OK;
}

/* What will be reported at the next settle without having gone to the writer: a store that has no file. */
static void done_at_once(larder__store *store, larder__item *item, int status)
{
    item->status = status;
    larder__list_append(&store->local_done, &item->link);
    store->options.wake(store->options.owner);
}

/* The invalidation of everything that needs no memory. While it waits it moves to the end; once the writer holds it, it
 * is sent again when it comes back, and until then rows are not served. */
static void invalidate_with_spare(larder__store *store, uint64_t number)
{
    larder__item *spare = store->spare;
    if (!store->spare_queued) {
        larder__list_init(&spare->link);
        spare->what = LARDER__INVALIDATE_ALL;
        spare->number = number;
        spare->kept = 0;
        store->spare_queued = 1;
        store->validity.all_pending++;
        store->invalidations++;
        stage(store, spare, 1, 0);
        push_staged(store, 0);
    } else {
        push_staged(store, 0);
        store->spare_again |= !larder__writer_requeue(&store->writer, spare, number);
    }
}

static void note_pending(larder__store *store, larder__item *item)
{
    store->invalidations++;
    if (__atomic_load_n(&store->writer.failing, __ATOMIC_RELAXED) != 0) { /* the next try may be seconds away */
        __atomic_store_n(&store->writer.distrusted, 1, __ATOMIC_RELAXED);
        larder__lockfile_distrust(store->lock, store->writer.origin, 1);
    }
    if (item->what == LARDER__INVALIDATE_KEY) {
        overlay_set(store, item);
    } else if (item->what == LARDER__INVALIDATE_CHANNEL) {
        item->channel->pending++;
    } else {
        store->validity.all_pending++;
    }
}

int larder__store_invalidate(larder__store *store, larder__invalidation_kind kind, larder__channel *channel,
                             const uint8_t *key, larder_status_cb done, void *user_data)
{
    larder__item *item = NULL;
    int wanted = done != NULL || (store->writer_open && store->invalidations < WAITING_INVALIDATIONS);
    if (wanted) {
        item = larder__item_new(LARDER__ITEM_INVALIDATE, 0);
        if (item == NULL && done != NULL) {
            return LARDER_ENOMEM;
        }
    }
    uint64_t number = larder__validity_invalidate(&store->validity, kind, channel, key);
    store->options.on_invalidated(store->options.owner, kind, channel, key);
    if (item == NULL) {
        if (store->writer_open) {
            larder__validity_invalidate(&store->validity, LARDER__INVALIDATE_ALL, NULL, NULL);
            store->options.on_invalidated(store->options.owner, LARDER__INVALIDATE_ALL, NULL, NULL);
            invalidate_with_spare(store, store->validity.number);
        }
        return LARDER_OK;
    }
    item->what = kind;
    item->number = number;
    item->channel = channel;
    item->done = done;
    item->user_data = user_data;
    if (key != NULL) {
        memcpy(item->key, key, LARDER_KEY_SIZE);
    }
    if (!store->writer_open || store->stopping) {
        done_at_once(store, item, store->writer_open ? LARDER_ECLOSED : LARDER_OK);
        return LARDER_OK;
    }
    note_pending(store, item);
    stage(store, item, 1, 0);
    return LARDER_OK;
}

/* For FLUSH, COUNT and USES: what only has to travel and come back. */
static int send_item(larder__store *store, larder__item *item, larder_status_cb done, void *user_data, int flush)
{
    item->done = done;
    item->user_data = user_data;
    if (!store->writer_open || store->stopping) {
        done_at_once(store, item, store->writer_open ? LARDER_ECLOSED : LARDER_OK);
        return LARDER_OK;
    }
    stage(store, item, flush, flush);
    return LARDER_OK;
}

int larder__store_flush(larder__store *store, larder_status_cb done, void *user_data)
{
    larder__item *item = larder__item_new(LARDER__ITEM_FLUSH, 0);
    return item == NULL ? LARDER_ENOMEM : send_item(store, item, done, user_data, 1);
}

int larder__store_count(larder__store *store, const larder__channel_count *counts, size_t count, larder_status_cb done,
                        void *user_data)
{
    larder__item *item = larder__item_new(LARDER__ITEM_COUNT, count * sizeof counts[0]);
    if (item == NULL) {
        return LARDER_ENOMEM;
    }
    item->count = count;
    memcpy(item->tail.counts, counts, count * sizeof counts[0]);
    return send_item(store, item, done, user_data, 0);
}

int larder__store_uses(larder__store *store, const larder__use *uses, size_t count)
{
    larder__item *item = larder__item_new(LARDER__ITEM_USES, count * sizeof uses[0]);
    if (item == NULL) {
        return LARDER_ENOMEM;
    }
    item->count = count;
    memcpy(item->tail.uses, uses, count * sizeof uses[0]);
    return send_item(store, item, NULL, NULL, 0);
}

/* ---- what is said about failures ---- */

static void degrade(larder__store *store, int status)
{
    if (store->degraded) {
        return;
    }
    store->degraded = 1;
    char message[LARDER_ERROR_MESSAGE_SIZE];
    larder_error text;
    larder__fail(&text, status, "%s: %s; requests go on without the file, which is tried again", store->path,
                 larder_status_text(status));
    memcpy(message, text.message, sizeof message);
    larder_event event = {.type = LARDER_EVENT_STORE_DEGRADED, .status = status, .message = message};
    store->options.on_event(store->options.owner, &event);
}

static void recover_if_sound(larder__store *store)
{
    if (!store->degraded || store->read_failing != 0
        || __atomic_load_n(&store->writer.failing, __ATOMIC_RELAXED) != 0) {
        return;
    }
    store->degraded = 0;
    larder_event event = {
        .type = LARDER_EVENT_STORE_RECOVERED,
        .message = "the file can be read and written again",
        .count = store->lost,
    };
    store->lost = 0;
    store->options.on_event(store->options.owner, &event);
}

void larder__store_read_failed(larder__store *store, int status)
{
    __atomic_add_fetch(&store->read_errors, 1, __ATOMIC_RELAXED);
    store->read_failing = status;
    larder__reader_pause(store);
    degrade(store, status);
}

void larder__store_read_worked(larder__store *store)
{
    if (store->read_failing != 0) {
        store->read_failing = 0;
        recover_if_sound(store);
    }
}

/* ---- what comes back from the writer ---- */

static void invalidation_done(larder__store *store, larder__item *item)
{
    larder__validity *validity = &store->validity;
    store->invalidations--;
    if (item->what == LARDER__INVALIDATE_CHANNEL) {
        item->channel->pending--;
        item->channel->log_id = item->log_id > item->channel->log_id ? item->log_id : item->channel->log_id;
    } else if (item->what == LARDER__INVALIDATE_ALL) {
        validity->all_pending--;
        validity->all_log_id = item->log_id > validity->all_log_id ? item->log_id : validity->all_log_id;
    }
    if (item == store->spare) {
        store->spare_queued = 0;
        if (store->spare_again) {
            store->spare_again = 0;
            invalidate_with_spare(store, validity->number);
        }
    }
}

static void reset_channel(larder__map_node *node, void *user_data)
{
    (void)user_data;
    LARDER__CONTAINER(node, larder__channel, node)->log_id = 0;
}

/* The file was replaced: its log begins anew, and what was measured by the old one holds no more. */
static void reopened(larder__store *store, larder__item *item)
{
    store->moved = 0;
    larder__lockfile_close(store->lock);
    store->lock = item->lock;
    store->generation = item->generation;
    larder__map_each(&store->validity.channels, reset_channel, NULL);
    store->validity.all_log_id = 0;
    store->validity.log_id = 0;
    larder__validity_invalidate(&store->validity, LARDER__INVALIDATE_ALL, NULL, NULL);
    store->options.on_invalidated(store->options.owner, LARDER__INVALIDATE_ALL, NULL, NULL);
    store->seen_invalidations = larder__lockfile_invalidations(store->lock);
    store->read_again_at = 0;
    degrade(store, LARDER_EMOVED);
    if (!store->stopping) {
        int status = larder__reader_open(store, LARDER__DB_READ_NOW, NULL);
        if (status != LARDER_OK) {
            larder__store_read_failed(store, status);
        }
    }
}

static void put_done(larder__store *store, larder__item *item)
{
    uint64_t queued = __atomic_load_n(&store->queued_bytes, __ATOMIC_RELAXED);
    __atomic_store_n(&store->queued_bytes, queued - item->bytes, __ATOMIC_RELAXED);
    if (item->status != LARDER_OK && item->status != LARDER_ECANCELLED) {
        count_not_stored(store, item->status);
    }
}

/* "OK" means that no failure has kept what was answered before out of the file. */
static void flush_done(larder__store *store, larder__item *item)
{
    if (item->status == LARDER_OK) {
        item->status = store->unsaved;
        store->unsaved = 0;
    }
}

static void item_done(larder__store *store, larder__item *item)
{
    overlay_leave(store, item);
    switch (item->kind) {
    case LARDER__ITEM_PUT:
        put_done(store, item);
        break;
    case LARDER__ITEM_INVALIDATE:
        invalidation_done(store, item);
        break;
    case LARDER__ITEM_REOPENED:
        reopened(store, item);
        break;
    case LARDER__ITEM_FLUSH:
        flush_done(store, item);
        break;
    case LARDER__ITEM_COUNT:
    case LARDER__ITEM_USES:
        break;
    }
}

static void call_and_free(larder__store *store, larder__list *items)
{
    larder__list *link;
    while ((link = larder__list_shift(items)) != NULL) {
        larder__item *item = LARDER__CONTAINER(link, larder__item, link);
        if (item->done != NULL) {
            item->done(item->status, item->user_data);
        }
        if (item != store->spare) {
            larder__item_free(item);
        }
    }
}

void larder__store_settle(larder__store *store)
{
    larder__list done;
    larder__list_init(&done);
    int finished = !store->writer_open;
    if (store->writer_open) {
        larder__writer_take_done(&store->writer, &done, &finished);
        larder__list *next;
        for (larder__list *link = done.next; link != &done; link = next) {
            next = link->next;
            larder__item *item = LARDER__CONTAINER(link, larder__item, link);
            if (item == store->spare) {
                larder__list_remove(link); /* it may go out again at once */
            }
            item_done(store, item);
        }
        int failing = __atomic_load_n(&store->writer.failing, __ATOMIC_RELAXED);
        if (failing != 0) {
            degrade(store, failing);
        }
        if (failing == LARDER_EMOVED && !store->moved && !store->stopping) {
            store->moved = 1;
            larder__reader_close(store);
            larder__writer_reader_gone(&store->writer);
        }
        recover_if_sound(store);
    }
    larder__list_move_all(&done, &store->local_done);
    call_and_free(store, &done);
    report_not_stored(store);
    if (store->stopping && finished && !store->stopped_told && larder__list_empty(&store->local_done)) {
        store->stopped_told = 1;
        store->options.on_stopped(store->options.owner, store->writer.final_status, store->lost);
    }
}

void larder__store_get_stats(const larder__store *store, larder__store_stats *out)
{
    out->not_stored = __atomic_load_n(&store->not_stored, __ATOMIC_RELAXED);
    out->store_errors = __atomic_load_n(&store->read_errors, __ATOMIC_RELAXED)
                        + __atomic_load_n(&store->writer.errors, __ATOMIC_RELAXED);
    out->commits = __atomic_load_n(&store->writer.commits, __ATOMIC_RELAXED);
    out->queued_bytes = __atomic_load_n(&store->queued_bytes, __ATOMIC_RELAXED);
}
