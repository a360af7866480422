/* base/heap.c: the binary heap (Williams 1964), with the place kept in each node so that any can be removed. */
#include "base/heap.h"

#include "base/alloc.h"

#include <larder/status.h>

void larder__heap_init(larder__heap *heap)
{
    heap->nodes = NULL;
    heap->count = 0;
    heap->capacity = 0;
}

void larder__heap_release(larder__heap *heap)
{
    larder__free(heap->nodes);
    larder__heap_init(heap);
}

int larder__heap_reserve(larder__heap *heap, size_t more)
{
    size_t needed = heap->count + more;
    if (needed <= heap->capacity) {
        return LARDER_OK;
    }
    size_t capacity = heap->capacity == 0 ? 64 : heap->capacity;
    while (capacity < needed) {
        capacity *= 2;
    }
    larder__heap_node **nodes = larder__realloc(heap->nodes, capacity * sizeof nodes[0]);
    if (nodes == NULL) {
        return LARDER_ENOMEM;
    }
    heap->nodes = nodes;
    heap->capacity = capacity;
    return LARDER_OK;
}

static void place(larder__heap *heap, larder__heap_node *node, size_t at)
{
    heap->nodes[at] = node;
    node->index = at + 1;
}

static void sift_up(larder__heap *heap, larder__heap_node *node, size_t at)
{
    while (at > 0) {
        size_t parent = (at - 1) / 2;
        if (heap->nodes[parent]->when <= node->when) {
            break;
        }
        place(heap, heap->nodes[parent], at);
        at = parent;
    }
    place(heap, node, at);
}

static void sift_down(larder__heap *heap, larder__heap_node *node, size_t at)
{
    for (;;) {
        size_t child = at * 2 + 1;
        if (child >= heap->count) {
            break;
        }
        if (child + 1 < heap->count && heap->nodes[child + 1]->when < heap->nodes[child]->when) {
            child++;
        }
        if (node->when <= heap->nodes[child]->when) {
            break;
        }
        place(heap, heap->nodes[child], at);
        at = child;
    }
    place(heap, node, at);
}

void larder__heap_insert(larder__heap *heap, larder__heap_node *node, uint64_t when)
{
    node->when = when;
    sift_up(heap, node, heap->count++);
}

void larder__heap_remove(larder__heap *heap, larder__heap_node *node)
{
    if (node->index == 0) {
        return;
    }
    size_t at = node->index - 1;
    larder__heap_node *last = heap->nodes[--heap->count];
    node->index = 0;
    if (last == node) {
        return;
    }
    if (at > 0 && heap->nodes[(at - 1) / 2]->when > last->when) {
        sift_up(heap, last, at);
    } else {
        sift_down(heap, last, at);
    }
}
