/* store/validity.h: which answers an invalidation has made worthless. Pure: no file, no clock, no thread; loop thread
 * only.
 *
 * Two orders are kept apart. `number` counts the invalidations of this process, its own and those of others when it
 * notices them: it decides about everything in memory. `log_id` is invalidations.id in the file: it decides about rows.
 *
 *  1. A run takes a mark when it begins. Its answer may be kept only if larder__validity_holds(mark) is still true when
 * it arrives, and the writer looks once more, inside its locked transaction, at the rows logged after mark.log_id by
 * others (and by us with a number above mark.number).
 *  2. What is in memory (tier, overlay) keeps its mark and is served only while the mark holds.
 *  3. A row is served only if its seq is at or above the log id of the last invalidation known for its channel and for
 * all, and none of our own that covers it waits to be committed. Invalidating a key removes the row in the same
 * transaction, so rows need no look by key.
 *  4. Keys invalidated lately are remembered in a ring of RING; a mark older than the oldest that fell out of it holds
 * for nothing. So memory is bounded and the error is on the safe side.
 */
#ifndef LARDER_STORE_VALIDITY_H
#define LARDER_STORE_VALIDITY_H

#include "base/map.h"

#include <larder/larder.h>
#include <string.h>

typedef enum larder__invalidation_kind {
    LARDER__INVALIDATE_KEY,
    LARDER__INVALIDATE_CHANNEL,
    LARDER__INVALIDATE_ALL
} larder__invalidation_kind;

typedef struct larder__mark {
    uint64_t number;
    int64_t log_id;
} larder__mark;

/* For maps by key: a SHA-256 is well mixed, any 8 bytes of it will do. */
static inline uint64_t larder__hash_key(const uint8_t key[LARDER_KEY_SIZE])
{
    uint64_t hash;
    memcpy(&hash, key, sizeof hash);
    return hash;
}

/* An interned channel. Lives as long as its larder__validity. */
typedef struct larder__channel {
    larder__map_node node;
    uint64_t invalidated; /* number of the last invalidation of this channel */
    int64_t log_id;       /* and the log id of the last one that is committed */
    uint32_t pending;     /* of ours, not committed yet */
    uint32_t name_len;
    int64_t row_id;          /* writer thread only: channels.id, as long as */
    uint32_t row_generation; /* this is the writer's */
    char name[];             /* NUL-terminated */
} larder__channel;

typedef struct larder__recent_key larder__recent_key;

typedef struct larder__validity {
    larder__map channels;
    larder__map keys; /* the ring's members by key */
    larder__recent_key *ring;
    size_t ring_at;
    size_t ring_count;
    uint64_t number; /* last given */
    uint64_t floor;  /* marks below it hold for nothing */
    uint64_t all;    /* number of the last invalidation of everything */
    int64_t all_log_id;
    uint32_t all_pending;
    int64_t log_id; /* of the last row that was read */
} larder__validity;

int larder__validity_init(larder__validity *validity); /* LARDER_ENOMEM */
void larder__validity_release(larder__validity *validity);

/* The channel of that name, made if need be; NULL when out of memory. */
larder__channel *larder__validity_channel(larder__validity *validity, const char *name, size_t len);
larder__channel *larder__validity_find(larder__validity *validity, const char *name, size_t len); /* or NULL */

static inline larder__mark larder__validity_mark(const larder__validity *validity)
{
    larder__mark mark = {validity->number, validity->log_id};
    return mark;
}

/* Counts an invalidation and returns its number. channel is for KEY (may be NULL) and CHANNEL, key for KEY. Never
 * fails. */
uint64_t larder__validity_invalidate(larder__validity *validity, larder__invalidation_kind kind,
                                     larder__channel *channel, const uint8_t key[LARDER_KEY_SIZE]);

/* Nothing since the mark has covered this key. */
int larder__validity_holds(const larder__validity *validity, const larder__channel *channel,
                           const uint8_t key[LARDER_KEY_SIZE], larder__mark mark);

/* The same for the memory tier, from which invalidated keys are removed at once: two comparisons. */
static inline int larder__validity_holds_channel(const larder__validity *validity, const larder__channel *channel,
                                                 uint64_t number)
{
    return number >= channel->invalidated && number >= validity->all;
}

/* Rule 3. */
static inline int larder__validity_row_holds(const larder__validity *validity, const larder__channel *channel,
                                             int64_t seq)
{
    return channel->pending == 0 && validity->all_pending == 0 && seq >= channel->log_id && seq >= validity->all_log_id;
}

#endif
