/* base/list.h: an intrusive doubly linked ring. A node is part of the thing it lists; the head is a node of its own. */
#ifndef LARDER_BASE_LIST_H
#define LARDER_BASE_LIST_H

#include <stddef.h>

typedef struct larder__list {
    struct larder__list *next;
    struct larder__list *prev;
} larder__list;

/* The struct of which `node` is the member. */
#define LARDER__CONTAINER(node, type, member) ((type *)(void *)((char *)(node)-offsetof(type, member)))

static inline void larder__list_init(larder__list *head)
{
    head->next = head;
    head->prev = head;
}

static inline int larder__list_empty(const larder__list *head)
{
    return head->next == head;
}

static inline void larder__list_append(larder__list *head, larder__list *node)
{
    node->next = head;
    node->prev = head->prev;
    head->prev->next = node;
    head->prev = node;
}

static inline void larder__list_prepend(larder__list *head, larder__list *node)
{
    larder__list_append(head->next, node);
}

/* The node is a ring of its own afterwards, so that removing it twice is harmless. */
static inline void larder__list_remove(larder__list *node)
{
    node->prev->next = node->next;
    node->next->prev = node->prev;
    larder__list_init(node);
}

/* The first node, taken out; NULL when the list is empty. */
static inline larder__list *larder__list_shift(larder__list *head)
{
    if (larder__list_empty(head)) {
        return NULL;
    }
    larder__list *node = head->next;
    larder__list_remove(node);
    return node;
}

/* Moves all of `from` to the end of `to`. */
static inline void larder__list_move_all(larder__list *to, larder__list *from)
{
    if (larder__list_empty(from)) {
        return;
    }
    from->next->prev = to->prev;
    to->prev->next = from->next;
    from->prev->next = to;
    to->prev = from->prev;
    larder__list_init(from);
}

#endif
