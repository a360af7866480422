/* core/blocking.c: the calls that wait. Each asks, and sleeps until the callback has come. Refused on the loop's
 * thread, where the callback could never come. */
#include "base/alloc.h"
#include "core/instance.h"

typedef struct waiter {
    uv_mutex_t lock;
    uv_cond_t wake;
    int done;
    int status;
    larder_response *response;
    larder_close_report report;
} waiter;

static int waiter_init(waiter *waiting)
{
    *waiting = (waiter){.done = 0};
    if (uv_mutex_init(&waiting->lock) != 0) {
        return LARDER_ENOMEM;
    }
    if (uv_cond_init(&waiting->wake) != 0) {
        uv_mutex_destroy(&waiting->lock);
        return LARDER_ENOMEM;
    }
    return LARDER_OK;
}

static void waiter_release(waiter *waiting)
{
    uv_cond_destroy(&waiting->wake);
    uv_mutex_destroy(&waiting->lock);
}

static void waiter_wait(waiter *waiting)
{
    uv_mutex_lock(&waiting->lock);
    while (!waiting->done) {
        uv_cond_wait(&waiting->wake, &waiting->lock);
    }
    uv_mutex_unlock(&waiting->lock);
}

/* Signals inside the lock: the waiter cannot go on, and take its memory away, before this thread has let go. */
static void waiter_end(waiter *waiting)
{
    uv_mutex_lock(&waiting->lock);
    waiting->done = 1;
    uv_cond_signal(&waiting->wake);
    uv_mutex_unlock(&waiting->lock);
}

int larder__would_block_loop(const larder *l)
{
    uv_thread_t loop = __atomic_load_n(&l->inbox->loop_thread, __ATOMIC_RELAXED);
    return (loop != 0 ? loop : l->opener) == uv_thread_self();
}

static int enter(larder *l, larder_error *error)
{
    int status = larder__enter(l, error);
    if (status == LARDER_OK && larder__would_block_loop(l)) {
        status = larder__fail(error, LARDER_ETHREAD, "a call that waits was made on the loop's thread");
    }
    return status;
}

static void on_response(const larder_response *response, void *user_data)
{
    waiter *waiting = user_data;
    waiting->response = larder_response_retain(response);
    waiter_end(waiting);
}

int larder_send_wait(larder *l, const char *channel, const char *args, size_t args_len,
                     const larder_send_options *options, larder_response **out, larder_error *error)
{
    if (out == NULL) {
        return larder__fail(error, LARDER_EINVAL, "there is no place for the response");
    }
    *out = NULL;
    int status = enter(l, error);
    if (status != LARDER_OK) {
        return status;
    }
    waiter waiting;
    if (waiter_init(&waiting) != LARDER_OK) {
        return larder__fail(error, LARDER_ENOMEM, "out of memory while sending");
    }
    status = larder_send(l, channel, args, args_len, options, on_response, &waiting, NULL, error);
    if (status == LARDER_OK) {
        waiter_wait(&waiting);
        *out = waiting.response;
    }
    waiter_release(&waiting);
    return status;
}

static void on_flushed(int status, void *user_data)
{
    waiter *waiting = user_data;
    waiting->status = status;
    waiter_end(waiting);
}

int larder_flush_wait(larder *l)
{
    int status = enter(l, NULL);
    if (status != LARDER_OK) {
        return status;
    }
    waiter waiting;
    if (waiter_init(&waiting) != LARDER_OK) {
        return LARDER_ENOMEM;
    }
    status = larder_flush(l, on_flushed, &waiting);
    if (status == LARDER_OK) {
        waiter_wait(&waiting);
        status = waiting.status;
    }
    waiter_release(&waiting);
    return status;
}

static void on_closed(const larder_close_report *report, void *user_data)
{
    waiter *waiting = user_data;
    waiting->report = *report;
    waiter_end(waiting);
}

int larder_close_wait(larder *l, uint32_t grace_ms, larder_close_report *report)
{
    int status = enter(l, NULL);
    if (status == LARDER_OK && l->own == NULL) {
        status = LARDER_ETHREAD; /* the caller's own loop has to turn for it */
    }
    if (status != LARDER_OK) {
        return status;
    }
    waiter waiting;
    if (waiter_init(&waiting) != LARDER_OK) {
        return LARDER_ENOMEM;
    }
    larder__own_loop *own = l->own;
    status = larder__close_start(l, grace_ms, on_closed, &waiting, 1);
    if (status == LARDER_OK) {
        waiter_wait(&waiting);
        uv_thread_join(&own->thread);
        larder__free(own);
        if (report != NULL) {
            *report = waiting.report;
        }
    }
    waiter_release(&waiting);
    return status;
}
