/* base/map.h: an intrusive hash table with chaining. The caller gives the hash and compares: no callback on the path of
 * a look-up.
 *
 * The table doubles when it is full. If memory for that cannot be had it goes on with longer chains, so that an
 * insertion never fails once the map is initialised.
 *
 *     for (larder__map_node *n = larder__map_first(m, hash); n != NULL; n = larder__map_next(n, hash)) { compare … }
 */
#ifndef LARDER_BASE_MAP_H
#define LARDER_BASE_MAP_H

#include <stddef.h>
#include <stdint.h>

typedef struct larder__map_node {
    struct larder__map_node *next;
    uint64_t hash;
} larder__map_node;

typedef struct larder__map {
    larder__map_node **buckets;
    size_t mask; /* number of buckets - 1; a power of two of buckets */
    size_t count;
} larder__map;

int larder__map_init(larder__map *map);     /* LARDER_ENOMEM */
void larder__map_release(larder__map *map); /* the nodes belong to others and are left alone */
void larder__map_insert(larder__map *map, larder__map_node *node, uint64_t hash); /* no look for duplicates */
void larder__map_remove(larder__map *map, larder__map_node *node);                /* must be in the map */
/* Calls each node once; `visit` may remove the node that it is given (and free it). */
void larder__map_each(larder__map *map, void (*visit)(larder__map_node *node, void *user_data), void *user_data);

/* Multiplicative mixing (Fibonacci hashing, Knuth TAOCP 3, 6.4): bad low bits of a hash do not cluster. */
static inline size_t larder__map_index(const larder__map *map, uint64_t hash)
{
    return (size_t)((hash * 0x9e3779b97f4a7c15ull) >> 32) & map->mask;
}

static inline larder__map_node *larder__map_match(larder__map_node *node, uint64_t hash)
{
    while (node != NULL && node->hash != hash) {
        node = node->next;
    }
    return node;
}

static inline larder__map_node *larder__map_first(const larder__map *map, uint64_t hash)
{
    return larder__map_match(map->buckets[larder__map_index(map, hash)], hash);
}

static inline larder__map_node *larder__map_next(const larder__map_node *node, uint64_t hash)
{
    return larder__map_match(node->next, hash);
}

/* FNV-1a, 64 bits (Fowler, Noll, Vo), for short names. */
static inline uint64_t larder__hash_bytes(const void *bytes, size_t len)
{
    const unsigned char *p = bytes;
    uint64_t hash = 0xcbf29ce484222325ull;
    for (size_t i = 0; i < len; i++) {
        hash = (hash ^ p[i]) * 0x100000001b3ull;
    }
    return hash;
}

#endif
