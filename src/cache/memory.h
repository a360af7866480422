/* cache/memory.h: the memory tier by itself: entries by key, bounded in bytes, the least recently used leave first.
 *
 * Pure: no file, no clock (the time is an argument), no thread, but that `bytes` and `entries` may be read from any.
 * What counts as invalidated is asked of a larder__validity; invalidated keys are removed by the owner, at once.
 *
 *  1. bytes <= limit, always. An entry's bytes are those of its block, its body, what malloc adds to both, and its
 *     share of the table; a body is counted in full, also while a caller or the writer shares it.
 *  2. No entry is served that has expired, is of another version, was made after now (by more than a second: the clock
 *     was set back) or before an invalidation of its channel or of all.
 *  3. Such an entry leaves when it is met, when it reaches the cold end, or when larder__memory_sweep comes by:
 *     invalidating a channel is O(1), and its memory does not stay for ever.
 *  4. Uses are kept in the entries that had any since the last save; those of evicted entries in an array of
 *     LARDER__MEMORY_PENDING, beyond which they are lost. Uses of an entry that is replaced or worthless go with it.
 */
#ifndef LARDER_CACHE_MEMORY_H
#define LARDER_CACHE_MEMORY_H

#include "base/body.h"
#include "base/list.h"
#include "base/map.h"
#include "store/store.h"

#define LARDER__MEMORY_PENDING 1024

/* The first 64 bytes are what a look-up and a move in the LRU list touch. */
typedef struct larder__memory_entry {
    larder__map_node node;
    uint8_t key[LARDER_KEY_SIZE];
    larder__list lru;
    larder__channel *channel; /* borrowed; outlives the entry */
    int64_t created_ms;
    int64_t expires_ms;
    uint64_t number; /* of the mark: see validity.h */
    uint32_t version;
    uint32_t uses;       /* since the last save */
    larder__body *value; /* a reference of its own */
    uint64_t cost_us;
    int64_t used_ms;
    larder__list dirty; /* linked while uses > 0 */
} larder__memory_entry;

typedef struct larder__memory {
    larder__map map;
    larder__list lru;     /* hot to cold */
    larder__list dirty;   /* used longest ago first */
    larder__list *cursor; /* where the sweep goes on, towards the hot end; the head: from the cold end again */
    const larder__validity *validity; /* borrowed */
    uint64_t limit;
    uint64_t bytes;   /* atomic */
    uint64_t entries; /* atomic */
    size_t pending_count;
    larder__use pending[LARDER__MEMORY_PENDING];
} larder__memory;

int larder__memory_init(larder__memory *memory, size_t limit, const larder__validity *validity); /* LARDER_ENOMEM */
void larder__memory_release(larder__memory *memory);

/* The entry, now the most recently used, its use counted; or NULL. Valid until the next call. Allocates nothing. */
const larder__memory_entry *larder__memory_get(larder__memory *memory, const uint8_t key[LARDER_KEY_SIZE],
                                               uint32_t version, int64_t wall_ms);

/* Keeps record->value (a reference is taken) under record->key and record->number, in place of what was there, evicting
 * what it must; `used`: it is served as it comes in, which counts. LARDER_OK; LARDER_ETOOBIG larger than the tier,
 * LARDER_ENOMEM: not kept, and what was there is gone. */
int larder__memory_put(larder__memory *memory, const larder__record *record, int used, int64_t wall_ms);

void larder__memory_remove(larder__memory *memory, const uint8_t key[LARDER_KEY_SIZE]); /* nothing if it is not there */

/* Removes this key's entry if rule 2 forbids to serve it to that version. */
void larder__memory_remove_dead(larder__memory *memory, const uint8_t key[LARDER_KEY_SIZE], uint32_t version,
                                int64_t wall_ms);

/* Looks at up to `limit` entries, from the cold end on, going on where the last call ended, and removes those that can
 * never be served again. Returns how many it removed. */
size_t larder__memory_sweep(larder__memory *memory, size_t limit, int64_t wall_ms);

/* Counts a use of something that is not in the tier. */
void larder__memory_note_use(larder__memory *memory, const uint8_t key[LARDER_KEY_SIZE], uint32_t hits,
                             int64_t used_ms);
/* Copies up to `capacity` unsaved uses, in an order that stays until anything else is called, and returns how many. */
size_t larder__memory_uses(const larder__memory *memory, larder__use *uses, size_t capacity);
/* The first `count` of that order have been saved. */
void larder__memory_uses_saved(larder__memory *memory, size_t count);
int larder__memory_has_uses(const larder__memory *memory);

uint64_t larder__memory_entry_bytes(size_t value_len); /* what rule 1 counts for a body of that length */

#endif
