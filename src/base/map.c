/* base/map.c: growing and walking of the intrusive hash table. */
#include "base/map.h"

#include "base/alloc.h"

#include <larder/status.h>

#define FIRST_BUCKETS 16

int larder__map_init(larder__map *map)
{
    map->buckets = larder__calloc(FIRST_BUCKETS, sizeof map->buckets[0]);
    map->mask = FIRST_BUCKETS - 1;
    map->count = 0;
    return map->buckets == NULL ? LARDER_ENOMEM : LARDER_OK;
}

void larder__map_release(larder__map *map)
{
    larder__free(map->buckets);
    map->buckets = NULL;
    map->mask = 0;
    map->count = 0;
}

static void link_node(larder__map *map, larder__map_node *node)
{
    larder__map_node **bucket = &map->buckets[larder__map_index(map, node->hash)];
    node->next = *bucket;
    *bucket = node;
}

static void grow(larder__map *map)
{
    larder__map old = *map;
    map->mask = old.mask * 2 + 1;
    map->buckets = larder__calloc(map->mask + 1, sizeof map->buckets[0]);
    if (map->buckets == NULL) {
        *map = old;
        return;
    }
    for (size_t i = 0; i <= old.mask; i++) {
        larder__map_node *next;
        for (larder__map_node *node = old.buckets[i]; node != NULL; node = next) {
            next = node->next;
            link_node(map, node);
        }
    }
    larder__free(old.buckets);
}

void larder__map_insert(larder__map *map, larder__map_node *node, uint64_t hash)
{
    if (map->count > map->mask) {
        grow(map);
    }
    node->hash = hash;
    link_node(map, node);
    map->count++;
}

void larder__map_remove(larder__map *map, larder__map_node *node)
{
    larder__map_node **link = &map->buckets[larder__map_index(map, node->hash)];
    while (*link != node) {
        link = &(*link)->next;
    }
    *link = node->next;
    map->count--;
}

void larder__map_each(larder__map *map, void (*visit)(larder__map_node *node, void *user_data), void *user_data)
{
    for (size_t i = 0; i <= map->mask && map->buckets != NULL; i++) {
        larder__map_node *next;
        for (larder__map_node *node = map->buckets[i]; node != NULL; node = next) {
            next = node->next;
            visit(node, user_data);
        }
    }
}
