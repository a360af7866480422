/* base/heap.h: an intrusive binary heap of deadlines: the earliest first, insertion and removal in O(log n).
 *
 * Nodes are linked as a pairing of parent and children would be in an array, but the array is the heap's: it grows by
 * doubling, and larder__heap_reserve makes the fallible step before anything else is done. */
#ifndef LARDER_BASE_HEAP_H
#define LARDER_BASE_HEAP_H

#include <stddef.h>
#include <stdint.h>

typedef struct larder__heap_node {
    uint64_t when; /* the order */
    size_t index;  /* place in the array + 1; 0: not in a heap */
} larder__heap_node;

typedef struct larder__heap {
    larder__heap_node **nodes;
    size_t count;
    size_t capacity;
} larder__heap;

void larder__heap_init(larder__heap *heap); /* all zero */
void larder__heap_release(larder__heap *heap);
int larder__heap_reserve(larder__heap *heap, size_t more); /* room for `more` insertions; LARDER_ENOMEM */
/* Needs room: reserve first. */
void larder__heap_insert(larder__heap *heap, larder__heap_node *node, uint64_t when);
void larder__heap_remove(larder__heap *heap, larder__heap_node *node); /* nothing if it is in no heap */

static inline larder__heap_node *larder__heap_first(const larder__heap *heap)
{
    return heap->count == 0 ? NULL : heap->nodes[0];
}

#endif
