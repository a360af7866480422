/* core/registry.h: the registered handlers, twice: a sorted list under a lock for whoever registers or lists, and the
 * loop's own map, which follows by messages in the same order, so that a dispatch takes no lock. */
#ifndef LARDER_CORE_REGISTRY_H
#define LARDER_CORE_REGISTRY_H

#include "base/map.h"
#include "core/inbox.h"
#include "metrics/metrics.h"

/* A handler is counted: one reference from its registration until the loop has forgotten it, one for each run. With the
 * last one gone, user_data_free is called on the loop (or, when the instance was closed before, where the last run
 * ended). */
typedef struct larder__handler {
    int references; /* atomic */
    larder__map_node node;
    larder__message added; /* embedded, so that unregistering and freeing need no memory */
    larder__message removed;
    larder__message release;
    larder_handler_fn fn;
    larder_handler_options options; /* description is a copy of ours */
    larder__channel *channel;       /* loop thread; NULL until memory for it could be had, as the next */
    larder__channel_metrics *metrics;
    uint32_t name_len;
    char name[]; /* NUL-terminated; the description follows */
} larder__handler;

typedef struct larder__registry {
    uv_mutex_t lock; /* recursive: a listing's callback may list */
    larder__handler **sorted;
    size_t count;
    size_t capacity;
    larder__map by_name; /* loop thread */
} larder__registry;

int larder__registry_init(larder__registry *registry); /* LARDER_ENOMEM */
void larder__registry_release(larder__registry *registry);
/* Loop thread, once the inbox refuses: gives up every handler that is still registered. */
void larder__registry_clear(larder__registry *registry, larder__inbox *inbox);

/* Loop thread. */
larder__handler *larder__registry_find(const larder__registry *registry, const char *name, size_t len);
void larder__registry_added(larder__registry *registry, larder__handler *handler);
void larder__registry_removed(larder__registry *registry, larder__handler *handler, larder__inbox *inbox);

void larder__handler_retain(larder__handler *handler);
void larder__handler_unref(larder__handler *handler, larder__inbox *inbox); /* any thread */
void larder__handler_destroy(larder__handler *handler);                     /* without references */

#endif
