/* cache/cache.h: the memory tier over the store, as one cache. Loop thread only.
 *
 * The memory tier is bounded in bytes (entry, body, args not included: it keeps only what serving needs), least
 * recently used goes first. It holds answers of the store (promoted when read from disk) and those that the store did
 * not take. Uses are counted in the entries and saved in bulk through larder__store_uses.
 */
#ifndef LARDER_CACHE_CACHE_H
#define LARDER_CACHE_CACHE_H

#include "store/store.h"

typedef struct larder__cache larder__cache;

typedef struct larder__cache_options {
    size_t memory_bytes; /* 0: no memory tier */
    size_t max_entry_bytes;
    larder__store *store; /* borrowed; outlives the cache */
} larder__cache_options;

typedef struct larder__cache_hit {
    larder_source source; /* MEMORY or DISK */
    larder__body *value;  /* a reference for the caller to release */
    int64_t created_ms;
    int64_t expires_ms;
    uint64_t cost_us;
} larder__cache_hit;

int larder__cache_new(larder__cache **out, const larder__cache_options *options); /* LARDER_ENOMEM */
void larder__cache_free(larder__cache *cache);

/* 1 and *hit, or 0. Between larder__store_begin and _end. */
int larder__cache_get(larder__cache *cache, larder__channel *channel, const uint8_t key[LARDER_KEY_SIZE],
                      uint32_t version, int64_t wall_ms, larder__cache_hit *hit);

/* Keeps an answer in both tiers. LARDER_OK stored; LARDER_EOVERLOADED in memory only (the store did not take it);
 * LARDER_ETOOBIG over max_entry_bytes, or not taken by the store and larger than the memory tier, kept nowhere;
 * LARDER_ECANCELLED an invalidation came after the mark, kept nowhere; LARDER_ENOMEM. In every case an older entry of
 * this key is gone from memory if it was of another version or expired. */
int larder__cache_put(larder__cache *cache, const larder__record *record, larder__mark mark);

/* For larder__store_options.on_invalidated. */
void larder__cache_invalidated(larder__cache *cache, larder__invalidation_kind kind, larder__channel *channel,
                               const uint8_t *key);

/* Hands up to 512 entries' uses to the store; called every metrics interval. 1: there is more. */
int larder__cache_save_uses(larder__cache *cache);

uint64_t larder__cache_entries(const larder__cache *cache); /* any thread */
uint64_t larder__cache_bytes(const larder__cache *cache);   /* any thread */

#endif
