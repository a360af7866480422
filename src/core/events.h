/* core/events.h: who wants to hear of events. Subscribing and unsubscribing take effect at once, under a lock; an event
 * that nobody wants costs one load. Subscriptions are kept by rising id, and each callback is looked up anew: any of
 * them may be unsubscribed, itself included, while an event goes round. */
#ifndef LARDER_CORE_EVENTS_H
#define LARDER_CORE_EVENTS_H

#include "base/list.h"

#include <larder/larder.h>
#include <uv.h>

typedef struct larder__events {
    uv_mutex_t lock;
    larder__list subscribers;
    uint64_t last_id;
    uint32_t wanted; /* atomic: all masks together */
} larder__events;

int larder__events_init(larder__events *events); /* LARDER_ENOMEM */
void larder__events_release(larder__events *events);

/* Loop thread. */
void larder__events_emit(larder__events *events, const larder_event *event);

static inline int larder__events_wanted(const larder__events *events, uint32_t type)
{
    return (__atomic_load_n(&events->wanted, __ATOMIC_RELAXED) & type) != 0;
}

#endif
