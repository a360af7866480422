/* cache/cache.c: the two tiers as one.
 *
 * A get asks memory, then the store, and keeps in memory what the store had. A put goes to the store first, which knows
 * best whether an invalidation came in between, then to memory, also when the store did not take it: the answer is
 * right, only its keeping is not durable.
 *
 * The tier's bound holds whatever fails; an answer that memory cannot take is served and written all the same.
 */
#include "cache/cache.h"

#include "base/alloc.h"
#include "cache/memory.h"

#include <string.h>

#define USES_A_SAVE 512
#define SWEEP_A_SAVE 1024 /* entries looked at: some 0.1 ms when none of them is in the processor's caches */

struct larder__cache {
    larder__store *store;
    larder__validity *validity;
    size_t max_entry_bytes;
    int64_t wall_ms; /* of the last call that said it: good enough to sweep by */
    larder__use uses[USES_A_SAVE];
    larder__memory memory;
};

int larder__cache_new(larder__cache **out, const larder__cache_options *options)
{
    *out = NULL;
    larder__cache *cache = larder__malloc(sizeof *cache);
    if (cache == NULL) {
        return LARDER_ENOMEM;
    }
    cache->store = options->store;
    cache->validity = larder__store_validity(options->store);
    cache->max_entry_bytes = options->max_entry_bytes;
    cache->wall_ms = 0;
    int status = larder__memory_init(&cache->memory, options->memory_bytes, cache->validity);
    if (status != LARDER_OK) {
        larder__free(cache);
        return status;
    }
    *out = cache;
    return LARDER_OK;
}

void larder__cache_free(larder__cache *cache)
{
    if (cache == NULL) {
        return;
    }
    larder__memory_release(&cache->memory);
    larder__free(cache);
}

static void promote(larder__cache *cache, const larder__record *record)
{
    if (larder__memory_put(&cache->memory, record, 1, cache->wall_ms) != LARDER_OK) {
        larder__memory_note_use(&cache->memory, record->key, 1, cache->wall_ms);
    }
}

int larder__cache_get(larder__cache *cache, larder__channel *channel, const uint8_t key[LARDER_KEY_SIZE],
                      uint32_t version, int64_t wall_ms, larder__cache_hit *hit)
{
    cache->wall_ms = wall_ms;
    const larder__memory_entry *entry = larder__memory_get(&cache->memory, key, version, wall_ms);
    if (entry != NULL) {
        hit->source = LARDER_SOURCE_MEMORY;
        hit->value = larder__body_retain(entry->value);
        hit->created_ms = entry->created_ms;
        hit->expires_ms = entry->expires_ms;
        hit->cost_us = entry->cost_us;
        return 1;
    }
    larder__record record;
    if (larder__store_get(cache->store, channel, key, version, wall_ms, &record) != LARDER__HIT) {
        return 0;
    }
    promote(cache, &record);
    hit->source = LARDER_SOURCE_DISK;
    hit->value = record.value;
    hit->created_ms = record.created_ms;
    hit->expires_ms = record.expires_ms;
    hit->cost_us = record.cost_us;
    return 1;
}

int larder__cache_put(larder__cache *cache, const larder__record *record, larder__mark mark)
{
    cache->wall_ms = record->created_ms;
    int status = LARDER_OK;
    if (record->value->len > cache->max_entry_bytes) {
        status = LARDER_ETOOBIG;
    } else if (!larder__validity_holds(cache->validity, record->channel, record->key, mark)) {
        status = LARDER_ECANCELLED;
    } else {
        status = larder__store_put(cache->store, record, mark);
    }
    if (status == LARDER_ETOOBIG || status == LARDER_ECANCELLED) {
        larder__memory_remove_dead(&cache->memory, record->key, record->version, cache->wall_ms);
        return status;
    }
    larder__record kept = *record;
    kept.number = mark.number;
    int in_memory = larder__memory_put(&cache->memory, &kept, 0, cache->wall_ms);
    return status == LARDER_OK ? status : in_memory != LARDER_OK ? in_memory : status;
}

void larder__cache_invalidated(larder__cache *cache, larder__invalidation_kind kind, larder__channel *channel,
                               const uint8_t *key)
{
    (void)channel; /* its number and that of all are compared when an entry is met */
    if (kind == LARDER__INVALIDATE_KEY) {
        larder__memory_remove(&cache->memory, key);
    }
}

int larder__cache_save_uses(larder__cache *cache)
{
    larder__memory_sweep(&cache->memory, SWEEP_A_SAVE, cache->wall_ms);
    size_t count = larder__memory_uses(&cache->memory, cache->uses, USES_A_SAVE);
    if (count == 0 || larder__store_uses(cache->store, cache->uses, count) != LARDER_OK) {
        return 0; /* what the store does not take now is offered again the next time */
    }
    larder__memory_uses_saved(&cache->memory, count);
    return larder__memory_has_uses(&cache->memory);
}

uint64_t larder__cache_entries(const larder__cache *cache)
{
    return __atomic_load_n(&cache->memory.entries, __ATOMIC_RELAXED);
}

uint64_t larder__cache_bytes(const larder__cache *cache)
{
    return __atomic_load_n(&cache->memory.bytes, __ATOMIC_RELAXED);
}
