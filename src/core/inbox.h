/* core/inbox.h: how anything reaches the loop: one queue that any thread may fill, and one that only the loop's thread
 * does.
 *
 * Happy path: a thread fills in a message and posts it; the inbox owns it until the loop takes it. On the loop's thread
 * the message goes to `local` without a lock; from elsewhere to `messages` under the lock, and the loop is woken if
 * nothing had woken it yet. A dispatch takes `messages` first, then `local`.
 *
 * Order. What a thread posts is taken in that order. Also, what any thread posts after a *barrier* (an invalidation, a
 * registration, a flush …) has been posted is taken after it: a barrier always goes to `messages`, and on the loop's
 * thread it takes along what stands in `local`.
 *
 * An inbox is counted and outlives its instance: a handler's answer that comes after everything was closed is refused
 * here, and touches nothing that is gone.
 */
#ifndef LARDER_CORE_INBOX_H
#define LARDER_CORE_INBOX_H

#include "base/json.h"
#include "base/list.h"

#include <larder/larder.h>
#include <uv.h>

typedef enum larder__message_kind {
    LARDER__MESSAGE_REQUEST,
    LARDER__MESSAGE_ANSWER,
    LARDER__MESSAGE_CANCEL,
    LARDER__MESSAGE_INVALIDATE,
    LARDER__MESSAGE_FLUSH,
    LARDER__MESSAGE_REGISTER,
    LARDER__MESSAGE_UNREGISTER,
    LARDER__MESSAGE_RELEASE, /* a handler that nothing refers to any more */
    LARDER__MESSAGE_CLOSE,
    LARDER__MESSAGE_COUNT
} larder__message_kind;

typedef struct larder__message {
    larder__list link;
    larder__message_kind kind;
} larder__message;

/* What needs no memory to be said. */
enum {
    LARDER__SIGNAL_TICK = 1,   /* look at the deadlines */
    LARDER__SIGNAL_SETTLE = 2, /* the store has something to report */
    LARDER__SIGNAL_WORKERS = 4 /* a worker became idle or ended, and somebody waits for that */
};

typedef struct larder__inbox {
    int references;          /* atomic */
    int signalled;           /* atomic: there is something to take */
    int refusing;            /* atomic: closing; no new requests */
    uint32_t in_flight;      /* atomic: requests admitted and not answered */
    uv_thread_t loop_thread; /* atomic; 0 until the loop has turned once */
    uint32_t max_in_flight;
    larder_clock clock;

    uv_mutex_t lock;
    larder__list messages; /* under the lock, as the next three */
    uint32_t signals;
    uv_async_t *async; /* NULL until the handle stands: the writer may have something to say before */
    int closed;        /* written on the loop under the lock, so that the loop may read it without */

    larder__list local; /* loop thread only, as what follows; handle and scanner are valid while not closed */
    uv_idle_t *idle;
    int stirring;       /* idle is started: the loop will not sleep */
    larder__json *json; /* for answers given on the loop's thread */
} larder__inbox;

/* One reference. LARDER_ENOMEM. */
int larder__inbox_new(larder__inbox **out, const larder_clock *clock, uint32_t max_in_flight);
larder__inbox *larder__inbox_retain(larder__inbox *inbox);
void larder__inbox_release(larder__inbox *inbox);

/* LARDER_OK: it is the inbox's now. LARDER_ECLOSED, LARDER_EOVERLOADED (requests): it is still the caller's. */
int larder__inbox_post(larder__inbox *inbox, larder__message *message);
/* Any thread. Nothing when closed. */
void larder__inbox_signal(larder__inbox *inbox, uint32_t signal);
/* From now on no new requests, registrations, invalidations, flushes. LARDER_ECLOSED when it was so already. */
int larder__inbox_refuse(larder__inbox *inbox);

/* From now on the loop is woken, by this handle; also for what came before. */
void larder__inbox_attach(larder__inbox *inbox, uv_async_t *async);

/* Loop thread: appends all that waits to `out`, in order, and returns the signals. */
uint32_t larder__inbox_take(larder__inbox *inbox, larder__list *out);
/* Loop thread: the loop shall turn without sleeping, or may sleep again. */
void larder__inbox_stir(larder__inbox *inbox);
void larder__inbox_rest(larder__inbox *inbox);
/* Loop thread: refuses everything from now on; what was left goes to `out`. */
void larder__inbox_close(larder__inbox *inbox, larder__list *out);

/* Monotonic time by the instance's clock; 0 once closed, when that clock may be gone. Any thread. */
uint64_t larder__inbox_now(larder__inbox *inbox);

static inline int larder__inbox_on_loop(larder__inbox *inbox)
{
    return __atomic_load_n(&inbox->loop_thread, __ATOMIC_RELAXED) == uv_thread_self();
}

static inline int larder__inbox_waiting(const larder__inbox *inbox) /* loop thread: there is something to take */
{
    return __atomic_load_n(&inbox->signalled, __ATOMIC_RELAXED) || !larder__list_empty(&inbox->local);
}

static inline uint32_t larder__inbox_in_flight(const larder__inbox *inbox)
{
    return __atomic_load_n(&inbox->in_flight, __ATOMIC_RELAXED);
}

static inline void larder__inbox_answered(larder__inbox *inbox)
{
    __atomic_sub_fetch(&inbox->in_flight, 1, __ATOMIC_RELAXED);
}

#endif
