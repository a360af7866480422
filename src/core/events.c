/* core/events.c: events to whoever subscribed. */
#include "core/events.h"

#include "base/alloc.h"
#include "core/instance.h"

typedef struct subscriber {
    larder__list link;
    uint64_t id;
    uint32_t mask;
    larder_event_cb on_event;
    void *user_data;
} subscriber;

int larder__events_init(larder__events *events)
{
    if (uv_mutex_init(&events->lock) != 0) {
        return LARDER_ENOMEM;
    }
    larder__list_init(&events->subscribers);
    events->last_id = 0;
    events->wanted = 0;
    return LARDER_OK;
}

void larder__events_release(larder__events *events)
{
    larder__list *link;
    while ((link = larder__list_shift(&events->subscribers)) != NULL) {
        larder__free(LARDER__CONTAINER(link, subscriber, link));
    }
    uv_mutex_destroy(&events->lock);
}

static void update_wanted(larder__events *events) /* under the lock */
{
    uint32_t wanted = 0;
    for (larder__list *link = events->subscribers.next; link != &events->subscribers; link = link->next) {
        wanted |= LARDER__CONTAINER(link, subscriber, link)->mask;
    }
    __atomic_store_n(&events->wanted, wanted, __ATOMIC_RELAXED);
}

/* The first one after `id`, up to `last`, who wants the type: 1 and a copy. */
static int next_after(larder__events *events, uint64_t id, uint64_t last, uint32_t type, subscriber *out)
{
    int found = 0;
    uv_mutex_lock(&events->lock);
    for (larder__list *link = events->subscribers.next; link != &events->subscribers && !found; link = link->next) {
        const subscriber *one = LARDER__CONTAINER(link, subscriber, link);
        if (one->id > id && one->id <= last && (one->mask & type) != 0) {
            *out = *one;
            found = 1;
        }
    }
    uv_mutex_unlock(&events->lock);
    return found;
}

void larder__events_emit(larder__events *events, const larder_event *event)
{
    if (!larder__events_wanted(events, event->type)) {
        return;
    }
    uv_mutex_lock(&events->lock);
    uint64_t last = events->last_id;
    uv_mutex_unlock(&events->lock);
    subscriber one = {.id = 0};
    while (next_after(events, one.id, last, event->type, &one)) {
        one.on_event(event, one.user_data);
    }
}

int larder_subscribe(larder *l, uint32_t mask, larder_event_cb on_event, void *user_data, uint64_t *id)
{
    int status = larder__enter(l, NULL);
    if (status != LARDER_OK) {
        return status;
    }
    if (on_event == NULL || mask == 0) {
        return LARDER_EINVAL;
    }
    subscriber *made = larder__malloc(sizeof *made);
    if (made == NULL) {
        return LARDER_ENOMEM;
    }
    made->mask = mask;
    made->on_event = on_event;
    made->user_data = user_data;
    uv_mutex_lock(&l->events.lock);
    made->id = ++l->events.last_id;
    if (id != NULL) {
        *id = made->id;
    }
    larder__list_append(&l->events.subscribers, &made->link);
    update_wanted(&l->events);
    uv_mutex_unlock(&l->events.lock);
    return LARDER_OK;
}

int larder_unsubscribe(larder *l, uint64_t id)
{
    int status = larder__enter(l, NULL);
    if (status != LARDER_OK) {
        return status;
    }
    subscriber *found = NULL;
    uv_mutex_lock(&l->events.lock);
    for (larder__list *link = l->events.subscribers.next; link != &l->events.subscribers; link = link->next) {
        subscriber *one = LARDER__CONTAINER(link, subscriber, link);
        if (one->id == id) {
            found = one;
            larder__list_remove(link);
            update_wanted(&l->events);
            break;
        }
    }
    uv_mutex_unlock(&l->events.lock);
    larder__free(found);
    return found == NULL ? LARDER_ENOTFOUND : LARDER_OK;
}
