/* core/inbox.c: the queue into the loop; inbox.h says what it promises. */
#include "core/inbox.h"

#include "base/alloc.h"
#include "base/clock.h"

static const struct {
    int barrier;       /* what anybody posts later is taken later */
    int while_closing; /* accepted until the inbox is closed, not only until it refuses */
} rules[LARDER__MESSAGE_COUNT] = {
    [LARDER__MESSAGE_REQUEST] = {0, 0},    [LARDER__MESSAGE_ANSWER] = {0, 1},  [LARDER__MESSAGE_CANCEL] = {0, 1},
    [LARDER__MESSAGE_INVALIDATE] = {1, 0}, [LARDER__MESSAGE_FLUSH] = {1, 0},   [LARDER__MESSAGE_REGISTER] = {1, 0},
    [LARDER__MESSAGE_UNREGISTER] = {1, 0}, [LARDER__MESSAGE_RELEASE] = {0, 1}, [LARDER__MESSAGE_CLOSE] = {1, 1},
};

int larder__inbox_new(larder__inbox **out, const larder_clock *clock, uint32_t max_in_flight)
{
    larder__inbox *inbox = larder__calloc(1, sizeof *inbox);
    if (inbox == NULL) {
        return LARDER_ENOMEM;
    }
    if (uv_mutex_init(&inbox->lock) != 0) {
        larder__free(inbox);
        return LARDER_ENOMEM;
    }
    inbox->references = 1;
    inbox->clock = *clock;
    inbox->max_in_flight = max_in_flight;
    larder__list_init(&inbox->messages);
    larder__list_init(&inbox->local);
    *out = inbox;
    return LARDER_OK;
}

larder__inbox *larder__inbox_retain(larder__inbox *inbox)
{
    __atomic_add_fetch(&inbox->references, 1, __ATOMIC_RELAXED);
    return inbox;
}

void larder__inbox_release(larder__inbox *inbox)
{
    if (inbox != NULL && __atomic_sub_fetch(&inbox->references, 1, __ATOMIC_ACQ_REL) == 0) {
        uv_mutex_destroy(&inbox->lock);
        larder__free(inbox);
    }
}

static int admit(larder__inbox *inbox, larder__message_kind kind)
{
    if (inbox->closed || (!rules[kind].while_closing && __atomic_load_n(&inbox->refusing, __ATOMIC_RELAXED))) {
        return LARDER_ECLOSED;
    }
    if (kind != LARDER__MESSAGE_REQUEST) {
        return LARDER_OK;
    }
    if (__atomic_add_fetch(&inbox->in_flight, 1, __ATOMIC_RELAXED) > inbox->max_in_flight) {
        larder__inbox_answered(inbox);
        return LARDER_EOVERLOADED;
    }
    return LARDER_OK;
}

/* Under the lock, so that the handle cannot be closed meanwhile. */
static void wake(larder__inbox *inbox)
{
    if (!inbox->signalled) {
        __atomic_store_n(&inbox->signalled, 1, __ATOMIC_RELAXED);
        if (inbox->async != NULL) {
            uv_async_send(inbox->async);
        }
    }
}

void larder__inbox_attach(larder__inbox *inbox, uv_async_t *async)
{
    uv_mutex_lock(&inbox->lock);
    inbox->async = async;
    if (inbox->signalled) {
        uv_async_send(async);
    }
    uv_mutex_unlock(&inbox->lock);
}

static int post_local(larder__inbox *inbox, larder__message *message)
{
    int status = admit(inbox, message->kind);
    if (status == LARDER_OK) {
        larder__list_append(&inbox->local, &message->link);
        larder__inbox_stir(inbox);
    }
    return status;
}

int larder__inbox_post(larder__inbox *inbox, larder__message *message)
{
    int on_loop = larder__inbox_on_loop(inbox);
    if (on_loop && !rules[message->kind].barrier) {
        return post_local(inbox, message);
    }
    uv_mutex_lock(&inbox->lock);
    int status = admit(inbox, message->kind);
    if (status == LARDER_OK) {
        if (on_loop) {
            larder__list_move_all(&inbox->messages, &inbox->local);
        }
        larder__list_append(&inbox->messages, &message->link);
        wake(inbox);
    }
    uv_mutex_unlock(&inbox->lock);
    return status;
}

void larder__inbox_signal(larder__inbox *inbox, uint32_t signal)
{
    uv_mutex_lock(&inbox->lock);
    if (!inbox->closed) {
        inbox->signals |= signal;
        wake(inbox);
    }
    uv_mutex_unlock(&inbox->lock);
}

int larder__inbox_refuse(larder__inbox *inbox)
{
    uv_mutex_lock(&inbox->lock);
    int before = inbox->refusing;
    __atomic_store_n(&inbox->refusing, 1, __ATOMIC_RELAXED);
    uv_mutex_unlock(&inbox->lock);
    return before ? LARDER_ECLOSED : LARDER_OK;
}

uint32_t larder__inbox_take(larder__inbox *inbox, larder__list *out)
{
    uint32_t signals = 0;
    if (__atomic_load_n(&inbox->signalled, __ATOMIC_RELAXED)) {
        uv_mutex_lock(&inbox->lock);
        larder__list_move_all(out, &inbox->messages);
        signals = inbox->signals;
        inbox->signals = 0;
        __atomic_store_n(&inbox->signalled, 0, __ATOMIC_RELAXED);
        uv_mutex_unlock(&inbox->lock);
    }
    larder__list_move_all(out, &inbox->local);
    return signals;
}

static void on_idle(uv_idle_t *idle)
{
    (void)idle; /* its being there is what keeps the loop from sleeping */
}

void larder__inbox_stir(larder__inbox *inbox)
{
    if (!inbox->stirring) {
        inbox->stirring = 1;
        uv_idle_start(inbox->idle, on_idle);
    }
}

void larder__inbox_rest(larder__inbox *inbox)
{
    if (inbox->stirring) {
        inbox->stirring = 0;
        uv_idle_stop(inbox->idle);
    }
}

void larder__inbox_close(larder__inbox *inbox, larder__list *out)
{
    uv_mutex_lock(&inbox->lock);
    inbox->closed = 1;
    __atomic_store_n(&inbox->refusing, 1, __ATOMIC_RELAXED);
    larder__list_move_all(out, &inbox->messages);
    uv_mutex_unlock(&inbox->lock);
    larder__list_move_all(out, &inbox->local);
    larder__inbox_rest(inbox);
    /* The system may give this thread's id to another one once this has ended. */
    __atomic_store_n(&inbox->loop_thread, 0, __ATOMIC_RELAXED);
}

uint64_t larder__inbox_now(larder__inbox *inbox)
{
    uv_mutex_lock(&inbox->lock);
    uint64_t now = inbox->closed ? 0 : larder__mono_ns(&inbox->clock);
    uv_mutex_unlock(&inbox->lock);
    return now;
}
