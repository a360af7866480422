/* core/control.c: cancelling, invalidating, flushing, ticking: what any thread may ask, as messages that keep their
 * place among the requests.
 *
 * An invalidation is computed where it is asked for (its key needs no loop) and takes hold when the loop comes to it,
 * which is before it comes to any request sent afterwards. */
#include "base/alloc.h"
#include "core/instance.h"

#include <string.h>

typedef struct control {
    larder__message message;
    uint64_t id;                    /* CANCEL */
    int deferred;                   /* CANCEL: looked for once already */
    larder__invalidation_kind what; /* INVALIDATE */
    uint8_t key[LARDER_KEY_SIZE];
    larder_status_cb done; /* INVALIDATE, FLUSH */
    void *user_data;
    larder *l; /* FLUSH, in two steps */
    size_t channel_len;
    char channel[]; /* NUL-terminated */
} control;

static control *control_new(larder__message_kind kind, const char *channel)
{
    size_t len = channel == NULL ? 0 : strlen(channel);
    control *made = larder__malloc(sizeof *made + len + 1);
    if (made == NULL) {
        return NULL;
    }
    memset(made, 0, sizeof *made);
    made->message.kind = kind;
    made->channel_len = len;
    memcpy(made->channel, channel == NULL ? "" : channel, len + 1);
    return made;
}

static control *control_of(larder__message *message)
{
    return LARDER__CONTAINER(message, control, message);
}

void larder__control_drop(larder__message *message)
{
    larder__free(control_of(message));
}

static int post(larder *l, control *made, larder_error *error)
{
    int status = larder__inbox_post(l->inbox, &made->message);
    if (status != LARDER_OK) {
        larder__free(made);
        return larder__fail(error, status, "the instance is closing");
    }
    return LARDER_OK;
}

/* ---- cancelling ---- */

int larder_cancel(larder *l, uint64_t id)
{
    int status = larder__enter(l, NULL);
    if (status != LARDER_OK) {
        return status;
    }
    control *made = control_new(LARDER__MESSAGE_CANCEL, NULL);
    if (made == NULL) {
        return LARDER_ENOMEM;
    }
    made->id = id;
    return post(l, made, NULL);
}

void larder__control_cancel(larder *l, larder__message *message)
{
    control *asked = control_of(message);
    larder__request *request = larder__request_find(l, asked->id);
    if (request != NULL) {
        larder__request_fail_plain(request, LARDER__CODE_CANCELLED);
        larder__request_finish(l, request);
    } else if (!asked->deferred) {
        /* Another thread may cancel what this one has sent: that request stands in the loop's own queue, behind. */
        asked->deferred = 1;
        if (larder__inbox_post(l->inbox, message) == LARDER_OK) {
            return;
        }
    }
    larder__free(asked);
}

/* ---- invalidating ---- */

static int invalidate(larder *l, control *made, larder__invalidation_kind what, larder_status_cb done, void *user_data,
                      larder_error *error)
{
    if (made == NULL) {
        return larder__fail(error, LARDER_ENOMEM, "out of memory while invalidating");
    }
    made->what = what;
    made->done = done;
    made->user_data = user_data;
    return post(l, made, error);
}

int larder_invalidate(larder *l, const char *channel, const char *args, size_t args_len, const char *scope,
                      larder_status_cb done, void *user_data, larder_error *error)
{
    uint8_t key[LARDER_KEY_SIZE];
    int status = larder__enter(l, error);
    if (status == LARDER_OK) {
        status = larder_key(key, channel, LARDER_NUL, args, args_len, scope, error);
    }
    if (status != LARDER_OK) {
        return status;
    }
    control *made = control_new(LARDER__MESSAGE_INVALIDATE, channel);
    if (made != NULL) {
        memcpy(made->key, key, sizeof key);
    }
    return invalidate(l, made, LARDER__INVALIDATE_KEY, done, user_data, error);
}

int larder_invalidate_channel(larder *l, const char *channel, larder_status_cb done, void *user_data,
                              larder_error *error)
{
    int status = larder__enter(l, error);
    if (status == LARDER_OK) {
        status = larder__name_check("channel", channel, channel == NULL ? 0 : strlen(channel), error);
    }
    if (status != LARDER_OK) {
        return status;
    }
    control *made = control_new(LARDER__MESSAGE_INVALIDATE, channel);
    return invalidate(l, made, LARDER__INVALIDATE_CHANNEL, done, user_data, error);
}

int larder_invalidate_all(larder *l, larder_status_cb done, void *user_data, larder_error *error)
{
    int status = larder__enter(l, error);
    if (status != LARDER_OK) {
        return status;
    }
    control *made = control_new(LARDER__MESSAGE_INVALIDATE, NULL);
    return invalidate(l, made, LARDER__INVALIDATE_ALL, done, user_data, error);
}

/* Never fails to invalidate. When memory runs out it invalidates more than was asked for; and when the callback cannot
 * be remembered until the commit, it comes at once, with LARDER_ENOMEM: only the confirmation is lost. */
void larder__control_invalidate(larder *l, larder__message *message)
{
    control *asked = control_of(message);
    larder__validity *validity = larder__store_validity(l->store);
    larder__channel *channel = NULL;
    if (asked->what == LARDER__INVALIDATE_KEY) {
        channel = larder__validity_find(validity, asked->channel, asked->channel_len);
    } else if (asked->what == LARDER__INVALIDATE_CHANNEL) {
        channel = larder__validity_channel(validity, asked->channel, asked->channel_len);
        asked->what = channel == NULL ? LARDER__INVALIDATE_ALL : asked->what;
    }
    const uint8_t *key = asked->what == LARDER__INVALIDATE_KEY ? asked->key : NULL;
    int status = larder__store_invalidate(l->store, asked->what, channel, key, asked->done, asked->user_data);
    if (status != LARDER_OK) {
        larder__store_invalidate(l->store, asked->what, channel, key, NULL, NULL);
        if (asked->done != NULL) {
            asked->done(status, asked->user_data);
        }
    }
    larder__free(asked);
}

/* ---- flushing ---- */

int larder_flush(larder *l, larder_status_cb done, void *user_data)
{
    int status = larder__enter(l, NULL);
    if (status != LARDER_OK) {
        return status;
    }
    control *made = control_new(LARDER__MESSAGE_FLUSH, NULL);
    if (made == NULL) {
        return LARDER_ENOMEM;
    }
    made->done = done;
    made->user_data = user_data;
    return post(l, made, NULL);
}

static void flushed(int status, void *user_data)
{
    control *asked = user_data;
    if (asked->done != NULL) {
        asked->done(status, asked->user_data);
    }
    larder__free(asked);
}

static void flush_now(larder *l, control *asked)
{
    int status = larder__store_flush(l->store, flushed, asked);
    if (status != LARDER_OK) {
        flushed(status, asked);
    }
}

static void counters_are_queued(int status, void *user_data)
{
    control *asked = user_data;
    asked->l->halfway_flushes--;
    if (status != LARDER_OK) {
        flushed(status, asked);
    } else {
        flush_now(asked->l, asked);
    }
}

/* Counters are saved one save after the other. While one is under way, the newest can only be queued when it has come
 * back: then the flush goes in two steps. */
void larder__control_flush(larder *l, larder__message *message)
{
    control *asked = control_of(message);
    int under_way = larder__metrics_saving(l->metrics);
    larder__save(l, 1);
    if (!under_way) {
        flush_now(l, asked);
        return;
    }
    asked->l = l;
    l->halfway_flushes++;
    int status = larder__store_flush(l->store, counters_are_queued, asked);
    if (status != LARDER_OK) {
        counters_are_queued(status, asked);
    }
}

/* ---- ticking ---- */

int larder_tick(larder *l)
{
    int status = larder__enter(l, NULL);
    if (status == LARDER_OK) {
        larder__inbox_signal(l->inbox, LARDER__SIGNAL_TICK);
    }
    return status;
}
