/* store/store.h: the seam between the dispatcher's cache and what keeps it. SQLite stands behind it; only src/store
 * knows.
 *
 * Loop thread only; the writer thread is the store's own secret. Everything asynchronous is reported
 * from larder__store_settle(), which the owner calls on the loop after `wake`, never in the middle of a dispatch's
 * reads.
 *
 * A dispatch is  larder__store_begin … get/put/invalidate … larder__store_end.  begin notices what other processes
 * invalidated (a counter in the mapped lock file; at a slower beat PRAGMA data_version). The first get opens a read
 * transaction, end closes it.
 *
 * What was put and is not committed is found by get (the overlay). A store without a path keeps nothing: get misses,
 * put is LARDER_EOVERLOADED without being counted, invalidations and flushes succeed at the next settle.
 *
 * When the file fails (full, locked, gone, damaged) get misses and put refuses, an event says so once, and the writer
 * tries again with a growing pause (0.1 s to 5 s). Invalidations and counters are kept until they are committed or the
 * store stops.
 */
#ifndef LARDER_STORE_STORE_H
#define LARDER_STORE_STORE_H

#include "base/body.h"
#include "store/validity.h"

#include <larder/larder.h>

typedef struct larder__store larder__store;

/* What is kept of an answer. In a put everything is borrowed (bodies are retained by the store). In a get's result,
 * `value` is a reference for the caller to release; args and scope are not filled in. */
typedef struct larder__record {
    uint8_t key[LARDER_KEY_SIZE];
    larder__channel *channel;
    uint32_t version;
    int64_t created_ms;
    int64_t expires_ms;
    uint64_t cost_us;
    larder__body *value;
    larder__body *args; /* canonical; its content is unused */
    const char *scope;  /* NULL none */
    uint64_t number;    /* get only: the mark's number that the memory tier should keep for it */
} larder__record;

/* May be served at wall_ms by its times: not over, and not made after now, by more than the second that clocks are
 * nudged back all the time. A clock that was set back makes nothing immortal. */
static inline int larder__fresh(int64_t created_ms, int64_t expires_ms, int64_t wall_ms)
{
    return expires_ms > wall_ms && created_ms <= wall_ms + 1000;
}

/* The counters of one channel that are written to channel_totals; added to what stands there (max: the larger). */
/* clang-format off */
#define LARDER__COUNTER_MAP(X) \
    X(requests) \
    X(responses) \
    X(errors) \
    X(memory_hits) \
    X(disk_hits) \
    X(misses) \
    X(handler_runs) \
    X(late_answers) \
    X(not_stored) \
    X(response_time_us) \
    X(max_response_time_us) \
    X(handler_time_us)
/* clang-format on */
typedef struct larder__counters {
#define LARDER__COUNTER_FIELD(name) uint64_t name;
    LARDER__COUNTER_MAP(LARDER__COUNTER_FIELD)
#undef LARDER__COUNTER_FIELD
} larder__counters;
typedef struct larder__channel_count {
    larder__channel *channel; /* NULL: the row of unknown channels */
    larder__counters counters;
} larder__channel_count;

/* One entry's uses since they were saved last. */
typedef struct larder__use {
    uint8_t key[LARDER_KEY_SIZE];
    uint32_t hits;
    int64_t used_ms;
} larder__use;

typedef struct larder__store_options {
    const char *path; /* NULL: nothing is kept; copied */
    larder_durability durability;
    size_t queue_bytes;
    size_t page_cache_bytes; /* of the reader; the writer has a quarter */
    uint32_t commit_interval_ms;
    uint32_t sweep_interval_ms;
    uint32_t lock_timeout_ms;
    const larder_clock *clock; /* borrowed */
    void (*wake)(void *owner); /* writer thread: call settle on the loop soon */
    /* The rest on the loop. Memory that this covers must go: kind KEY (channel NULL when unknown), CHANNEL, ALL. From
     * begin, and from invalidate itself. */
    void (*on_invalidated)(void *owner, larder__invalidation_kind kind, larder__channel *channel, const uint8_t *key);
    void (*on_event)(void *owner, const larder_event *event); /* DEGRADED, RECOVERED, NOT_STORED */
    void (*on_stopped)(void *owner, int status,
                       uint64_t unsaved); /* after larder__store_stop; call free now or later */
    void *owner;
} larder__store_options;

typedef struct larder__store_stats {
    uint64_t not_stored, store_errors, commits, queued_bytes;
} larder__store_stats;

/* Blocks: recovery, migrations. */
int larder__store_open(larder__store **out, const larder__store_options *options, larder_error *error);
/* Writes what is queued (one try, within the lock timeout) and ends the writer; then on_stopped from settle. Callbacks
 * that still wait come before it. */
void larder__store_stop(larder__store *store);
/* Only after on_stopped, or right after open. NULL is fine. */
void larder__store_free(larder__store *store);
void larder__store_settle(larder__store *store);

larder__validity *larder__store_validity(larder__store *store); /* to intern channels, take marks, and ask */

void larder__store_begin(larder__store *store, uint64_t mono_ns);
void larder__store_end(larder__store *store);

enum { LARDER__MISS = 0, LARDER__HIT = 1 };
/* A row that can be served: of this handler version, not expired at wall_ms (nor created after it, by more than a
 * second: a clock that was set back makes nothing immortal), not invalidated. Failures are misses; they are counted and
 * reported. */
int larder__store_get(larder__store *store, larder__channel *channel, const uint8_t key[LARDER_KEY_SIZE],
                      uint32_t version, int64_t wall_ms, larder__record *out);

/* Queues an answer. LARDER_OK; LARDER_EOVERLOADED: the queue is full or the file is failing, it was counted;
 * LARDER_ECANCELLED: an invalidation came after the mark, so it is worthless; LARDER_ENOMEM. */
int larder__store_put(larder__store *store, const larder__record *record, larder__mark mark);

/* Invalidates: holds when it returns; on_invalidated was called. `done` (may be NULL) comes from settle when committed,
 * or with the failure when the store stops. LARDER_OK; LARDER_ENOMEM only when `done` is given and cannot be
 * remembered, and then nothing was done. Without `done` it never fails: with no memory left it widens to everything. */
int larder__store_invalidate(larder__store *store, larder__invalidation_kind kind, larder__channel *channel,
                             const uint8_t *key, larder_status_cb done, void *user_data);

/* `done` comes from settle when all queued before is committed, or with the reason why not. LARDER_ENOMEM. */
int larder__store_flush(larder__store *store, larder_status_cb done, void *user_data);

/* Adds counters (count rows, copied). One such call at a time: the next after done came. If done comes with a failure,
 * they were not added. LARDER_ENOMEM. */
int larder__store_count(larder__store *store, const larder__channel_count *counts, size_t count, larder_status_cb done,
                        void *user_data);
/* Saves uses in bulk (copied). They may be lost under pressure. */
int larder__store_uses(larder__store *store, const larder__use *uses, size_t count);

void larder__store_get_stats(const larder__store *store, larder__store_stats *out); /* any thread */

#endif
