/* cache/memory.c: the LRU tier. memory.h numbers its rules.
 *
 * A hit is one look-up in the map, a comparison of 32 bytes, the comparisons of rule 2, a move in the list, and a
 * count. An entry is one block. Only a put allocates; one that gets no memory keeps nothing, and nothing else can fail.
 */
#include "cache/memory.h"

#include "base/alloc.h"

#include <string.h>

#define BLOCK_OVERHEAD 16 /* what malloc adds to a block: its size and rounding */
#define TABLE_SHARE 16    /* of the map: 8 to 16 bytes of buckets an entry, while it grows */

static larder__memory_entry *entry_of(larder__list *lru)
{
    return LARDER__CONTAINER(lru, larder__memory_entry, lru);
}

static larder__memory_entry *find(const larder__memory *memory, const uint8_t key[LARDER_KEY_SIZE])
{
    uint64_t hash = larder__hash_key(key);
    larder__map_node *node = larder__map_first(&memory->map, hash);
    for (; node != NULL; node = larder__map_next(node, hash)) {
        larder__memory_entry *entry = LARDER__CONTAINER(node, larder__memory_entry, node);
        if (memcmp(entry->key, key, LARDER_KEY_SIZE) == 0) {
            return entry;
        }
    }
    return NULL;
}

static void add(uint64_t *counter, uint64_t by) /* one writer, any readers */
{
    __atomic_store_n(counter, *counter + by, __ATOMIC_RELAXED);
}

uint64_t larder__memory_entry_bytes(size_t value_len)
{
    return (uint64_t)value_len + 1 + sizeof(larder__body) + sizeof(larder__memory_entry) + 2 * BLOCK_OVERHEAD
           + TABLE_SHARE;
}

int larder__memory_init(larder__memory *memory, size_t limit, const larder__validity *validity)
{
    memory->validity = validity;
    memory->limit = limit;
    memory->bytes = 0;
    memory->entries = 0;
    memory->pending_count = 0;
    larder__list_init(&memory->lru);
    larder__list_init(&memory->dirty);
    memory->cursor = &memory->lru;
    return larder__map_init(&memory->map);
}

/* Takes the entry out of the LRU list; a sweep that would have gone on with it goes on with the next warmer one. */
static void unlink_lru(larder__memory *memory, larder__memory_entry *entry)
{
    if (memory->cursor == &entry->lru) {
        memory->cursor = entry->lru.prev;
    }
    larder__list_remove(&entry->lru);
}

static void drop(larder__memory *memory, larder__memory_entry *entry)
{
    larder__map_remove(&memory->map, &entry->node);
    unlink_lru(memory, entry);
    larder__list_remove(&entry->dirty);
    add(&memory->bytes, 0 - larder__memory_entry_bytes(entry->value->len));
    add(&memory->entries, (uint64_t)-1);
    larder__body_release(entry->value);
    larder__free(entry);
}

void larder__memory_release(larder__memory *memory)
{
    while (!larder__list_empty(&memory->lru)) {
        drop(memory, entry_of(memory->lru.next));
    }
    larder__map_release(&memory->map);
}

static int is_dead(const larder__memory *memory, const larder__memory_entry *entry, int64_t wall_ms)
{
    return !larder__fresh(entry->created_ms, entry->expires_ms, wall_ms)
           || !larder__validity_holds_channel(memory->validity, entry->channel, entry->number);
}

static void count_use(larder__memory *memory, larder__memory_entry *entry, int64_t wall_ms)
{
    if (entry->uses == 0) {
        larder__list_append(&memory->dirty, &entry->dirty);
    }
    entry->uses += entry->uses < UINT32_MAX; /* a file that fails may keep them from being saved for long */
    entry->used_ms = wall_ms;
}

const larder__memory_entry *larder__memory_get(larder__memory *memory, const uint8_t key[LARDER_KEY_SIZE],
                                               uint32_t version, int64_t wall_ms)
{
    larder__memory_entry *entry = find(memory, key);
    if (entry == NULL) {
        return NULL;
    }
    if (entry->version != version || is_dead(memory, entry, wall_ms)) {
        drop(memory, entry);
        return NULL;
    }
    if (memory->lru.next != &entry->lru) {
        unlink_lru(memory, entry);
        larder__list_prepend(&memory->lru, &entry->lru);
    }
    count_use(memory, entry, wall_ms);
    return entry;
}

static void evict_coldest(larder__memory *memory, int64_t wall_ms)
{
    larder__memory_entry *entry = entry_of(memory->lru.prev);
    if (entry->uses > 0 && !is_dead(memory, entry, wall_ms)) {
        larder__memory_note_use(memory, entry->key, entry->uses, entry->used_ms);
    }
    drop(memory, entry);
}

static larder__memory_entry *entry_new(const larder__record *record)
{
    larder__memory_entry *entry = larder__malloc(sizeof *entry);
    if (entry == NULL) {
        return NULL;
    }
    memcpy(entry->key, record->key, LARDER_KEY_SIZE);
    entry->channel = record->channel;
    entry->created_ms = record->created_ms;
    entry->expires_ms = record->expires_ms;
    entry->number = record->number;
    entry->version = record->version;
    entry->uses = 0;
    entry->value = larder__body_retain(record->value);
    entry->cost_us = record->cost_us;
    entry->used_ms = 0;
    larder__list_init(&entry->dirty);
    return entry;
}

int larder__memory_put(larder__memory *memory, const larder__record *record, int used, int64_t wall_ms)
{
    larder__memory_remove(memory, record->key);
    uint64_t bytes = larder__memory_entry_bytes(record->value->len);
    if (bytes > memory->limit) {
        return LARDER_ETOOBIG;
    }
    larder__memory_entry *entry = entry_new(record);
    if (entry == NULL) {
        return LARDER_ENOMEM;
    }
    while (memory->bytes + bytes > memory->limit) {
        evict_coldest(memory, wall_ms);
    }
    larder__map_insert(&memory->map, &entry->node, larder__hash_key(entry->key));
    larder__list_prepend(&memory->lru, &entry->lru);
    add(&memory->bytes, bytes);
    add(&memory->entries, 1);
    if (used) {
        count_use(memory, entry, wall_ms);
    }
    return LARDER_OK;
}

void larder__memory_remove(larder__memory *memory, const uint8_t key[LARDER_KEY_SIZE])
{
    larder__memory_entry *entry = find(memory, key);
    if (entry != NULL) {
        drop(memory, entry);
    }
}

void larder__memory_remove_dead(larder__memory *memory, const uint8_t key[LARDER_KEY_SIZE], uint32_t version,
                                int64_t wall_ms)
{
    larder__memory_entry *entry = find(memory, key);
    if (entry != NULL && (entry->version != version || is_dead(memory, entry, wall_ms))) {
        drop(memory, entry);
    }
}

size_t larder__memory_sweep(larder__memory *memory, size_t limit, int64_t wall_ms)
{
    size_t removed = 0;
    if (memory->cursor == &memory->lru) {
        memory->cursor = memory->lru.prev;
    }
    for (size_t i = 0; i < limit && memory->cursor != &memory->lru; i++) {
        larder__memory_entry *entry = entry_of(memory->cursor);
        memory->cursor = memory->cursor->prev;
        if (is_dead(memory, entry, wall_ms)) {
            drop(memory, entry);
            removed++;
        }
    }
    return removed;
}

void larder__memory_note_use(larder__memory *memory, const uint8_t key[LARDER_KEY_SIZE], uint32_t hits, int64_t used_ms)
{
    if (memory->pending_count == LARDER__MEMORY_PENDING) {
        return;
    }
    larder__use *use = &memory->pending[memory->pending_count++];
    memcpy(use->key, key, LARDER_KEY_SIZE);
    use->hits = hits;
    use->used_ms = used_ms;
}

size_t larder__memory_uses(const larder__memory *memory, larder__use *uses, size_t capacity)
{
    size_t count = memory->pending_count < capacity ? memory->pending_count : capacity;
    memcpy(uses, memory->pending, count * sizeof uses[0]);
    for (larder__list *node = memory->dirty.next; count < capacity && node != &memory->dirty; node = node->next) {
        const larder__memory_entry *entry = LARDER__CONTAINER(node, larder__memory_entry, dirty);
        memcpy(uses[count].key, entry->key, LARDER_KEY_SIZE);
        uses[count].hits = entry->uses;
        uses[count].used_ms = entry->used_ms;
        count++;
    }
    return count;
}

void larder__memory_uses_saved(larder__memory *memory, size_t count)
{
    size_t pending = memory->pending_count < count ? memory->pending_count : count;
    memory->pending_count -= pending;
    memmove(memory->pending, memory->pending + pending, memory->pending_count * sizeof memory->pending[0]);
    for (; count > pending; count--) {
        larder__list *node = larder__list_shift(&memory->dirty);
        if (node == NULL) {
            return;
        }
        LARDER__CONTAINER(node, larder__memory_entry, dirty)->uses = 0;
    }
}

int larder__memory_has_uses(const larder__memory *memory)
{
    return memory->pending_count > 0 || !larder__list_empty(&memory->dirty);
}
