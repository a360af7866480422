/* core/registry.c: registering, unregistering and listing handlers.
 *
 * The message to the loop is posted under the registry's lock, so that the loop's map goes through the same changes in
 * the same order as the sorted list. Locks are taken in the order registry, inbox. */
#include "core/registry.h"

#include "base/alloc.h"
#include "base/error.h"
#include "cache/key.h"
#include "core/instance.h"
#include "core/options.h"

#include <string.h>

int larder__registry_init(larder__registry *registry)
{
    memset(registry, 0, sizeof *registry);
    if (uv_mutex_init_recursive(&registry->lock) != 0) {
        return LARDER_ENOMEM;
    }
    if (larder__map_init(&registry->by_name) != LARDER_OK) {
        uv_mutex_destroy(&registry->lock);
        return LARDER_ENOMEM;
    }
    return LARDER_OK;
}

void larder__registry_release(larder__registry *registry)
{
    larder__map_release(&registry->by_name);
    larder__free(registry->sorted);
    uv_mutex_destroy(&registry->lock);
}

/* ---- handlers ---- */

static larder__handler *handler_new(const char *name, size_t len, larder_handler_fn fn,
                                    const larder_handler_options *options)
{
    size_t description = options->description == NULL ? 0 : strlen(options->description) + 1;
    larder__handler *handler = larder__calloc(1, sizeof *handler + len + 1 + description);
    if (handler == NULL) {
        return NULL;
    }
    handler->references = 1;
    handler->added.kind = LARDER__MESSAGE_REGISTER;
    handler->removed.kind = LARDER__MESSAGE_UNREGISTER;
    handler->release.kind = LARDER__MESSAGE_RELEASE;
    handler->fn = fn;
    handler->options = *options;
    handler->name_len = (uint32_t)len;
    memcpy(handler->name, name, len + 1);
    if (description > 0) {
        handler->options.description = memcpy(handler->name + len + 1, options->description, description);
    }
    return handler;
}

void larder__handler_retain(larder__handler *handler)
{
    __atomic_add_fetch(&handler->references, 1, __ATOMIC_RELAXED);
}

void larder__handler_destroy(larder__handler *handler)
{
    if (handler->options.user_data_free != NULL) {
        handler->options.user_data_free(handler->options.user_data);
    }
    larder__free(handler);
}

void larder__handler_unref(larder__handler *handler, larder__inbox *inbox)
{
    if (__atomic_sub_fetch(&handler->references, 1, __ATOMIC_ACQ_REL) > 0) {
        return;
    }
    if (larder__inbox_post(inbox, &handler->release) != LARDER_OK) {
        larder__handler_destroy(handler);
    }
}

/* ---- the loop's map ---- */

larder__handler *larder__registry_find(const larder__registry *registry, const char *name, size_t len)
{
    uint64_t hash = larder__hash_bytes(name, len);
    for (larder__map_node *n = larder__map_first(&registry->by_name, hash); n != NULL; n = larder__map_next(n, hash)) {
        larder__handler *handler = LARDER__CONTAINER(n, larder__handler, node);
        if (handler->name_len == len && memcmp(handler->name, name, len) == 0) {
            return handler;
        }
    }
    return NULL;
}

void larder__registry_added(larder__registry *registry, larder__handler *handler)
{
    larder__map_insert(&registry->by_name, &handler->node, larder__hash_bytes(handler->name, handler->name_len));
}

void larder__registry_removed(larder__registry *registry, larder__handler *handler, larder__inbox *inbox)
{
    larder__map_remove(&registry->by_name, &handler->node);
    larder__handler_unref(handler, inbox);
}

/* ---- the sorted list ---- */

/* Where the name is, or belongs. */
static size_t position(const larder__registry *registry, const char *name, int *found)
{
    size_t low = 0;
    size_t high = registry->count;
    *found = 0;
    while (low < high) {
        size_t middle = low + (high - low) / 2;
        int order = strcmp(registry->sorted[middle]->name, name);
        if (order == 0) {
            *found = 1;
            return middle;
        }
        if (order < 0) {
            low = middle + 1;
        } else {
            high = middle;
        }
    }
    return low;
}

static int grow(larder__registry *registry)
{
    if (registry->count < registry->capacity) {
        return LARDER_OK;
    }
    size_t capacity = registry->capacity == 0 ? 16 : registry->capacity * 2;
    larder__handler **sorted = larder__realloc(registry->sorted, capacity * sizeof sorted[0]);
    if (sorted == NULL) {
        return LARDER_ENOMEM;
    }
    registry->sorted = sorted;
    registry->capacity = capacity;
    return LARDER_OK;
}

static int insert(larder__registry *registry, larder__handler *handler, larder__inbox *inbox)
{
    int found;
    size_t at = position(registry, handler->name, &found);
    if (found) {
        return LARDER_EEXIST;
    }
    int status = grow(registry);
    if (status == LARDER_OK) {
        status = larder__inbox_post(inbox, &handler->added);
    }
    if (status != LARDER_OK) {
        return status;
    }
    memmove(registry->sorted + at + 1, registry->sorted + at, (registry->count - at) * sizeof registry->sorted[0]);
    registry->sorted[at] = handler;
    registry->count++;
    return LARDER_OK;
}

static void take_out(larder__registry *registry, size_t at)
{
    registry->count--;
    memmove(registry->sorted + at, registry->sorted + at + 1, (registry->count - at) * sizeof registry->sorted[0]);
}

static void forget(larder__map_node *node, void *user_data)
{
    larder__handler_unref(LARDER__CONTAINER(node, larder__handler, node), user_data);
}

void larder__registry_clear(larder__registry *registry, larder__inbox *inbox)
{
    uv_mutex_lock(&registry->lock);
    registry->count = 0;
    uv_mutex_unlock(&registry->lock);
    larder__map_each(&registry->by_name, forget, inbox);
}

/* ---- the calls ---- */

int larder_register(larder *l, const char *channel, larder_handler_fn handler, const larder_handler_options *options,
                    larder_error *error)
{
    int status = larder__enter(l, error);
    if (status != LARDER_OK) {
        return status;
    }
    size_t len = channel == NULL ? 0 : strlen(channel);
    larder_handler_options read;
    if ((status = larder__name_check("channel", channel, len, error)) != LARDER_OK
        || (status = larder__handler_options_read(&read, options, error)) != LARDER_OK) {
        return status;
    }
    if (handler == NULL) {
        return larder__fail(error, LARDER_EINVAL, "%s: the handler is NULL", channel);
    }
    larder__handler *made = handler_new(channel, len, handler, &read);
    if (made == NULL) {
        return larder__fail(error, LARDER_ENOMEM, "%s: out of memory while registering", channel);
    }
    uv_mutex_lock(&l->registry.lock);
    status = insert(&l->registry, made, l->inbox);
    uv_mutex_unlock(&l->registry.lock);
    if (status != LARDER_OK) {
        larder__free(made);
        return larder__fail(error, status,
                            status == LARDER_EEXIST    ? "%s: a handler is registered on this channel already"
                            : status == LARDER_ECLOSED ? "%s: cannot register, the instance is closing"
                                                       : "%s: out of memory while registering",
                            channel);
    }
    return LARDER_OK;
}

int larder_unregister(larder *l, const char *channel, larder_error *error)
{
    int status = larder__enter(l, error);
    if (status != LARDER_OK) {
        return status;
    }
    if (channel == NULL) {
        return larder__fail(error, LARDER_EINVAL, "channel is NULL");
    }
    int found;
    uv_mutex_lock(&l->registry.lock);
    size_t at = position(&l->registry, channel, &found);
    status = found ? larder__inbox_post(l->inbox, &l->registry.sorted[at]->removed) : LARDER_ENOTFOUND;
    if (status == LARDER_OK) {
        take_out(&l->registry, at);
    }
    uv_mutex_unlock(&l->registry.lock);
    if (status != LARDER_OK) {
        return larder__fail(error, status,
                            status == LARDER_ENOTFOUND ? "%s: no handler is registered on this channel"
                                                       : "%s: cannot unregister, the instance is closing",
                            channel);
    }
    return LARDER_OK;
}

int larder_handlers(larder *l, int (*each)(const larder_handler_info *info, void *user_data), void *user_data)
{
    int status = larder__enter(l, NULL);
    if (status != LARDER_OK || each == NULL) {
        return status != LARDER_OK ? status : LARDER_EINVAL;
    }
    uv_mutex_lock(&l->registry.lock);
    for (size_t i = 0; i < l->registry.count && status == LARDER_OK; i++) {
        larder__handler *handler = l->registry.sorted[i];
        larder_handler_info info = {.channel = handler->name, .options = &handler->options};
        status = each(&info, user_data);
    }
    uv_mutex_unlock(&l->registry.lock);
    return status;
}
