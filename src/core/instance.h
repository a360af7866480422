/* core/instance.h: struct larder, and what the parts of core need of one another. Loop thread, unless said otherwise.
 *
 * An instance lives from larder_open until its close callback has returned; close.c has the states. */
#ifndef LARDER_CORE_INSTANCE_H
#define LARDER_CORE_INSTANCE_H

#include "base/error.h"
#include "cache/cache.h"
#include "cache/key.h"
#include "core/events.h"
#include "core/inbox.h"
#include "core/registry.h"
#include "core/request.h"
#include "core/run.h"
#include "core/thread.h"
#include "core/workers.h"

#include <uv.h>

typedef enum larder__state {
    LARDER__OPEN,     /* accepts */
    LARDER__DRAINING, /* accepts nothing new; waits for what is in flight, up to the grace time */
    LARDER__SAVING,   /* all are answered; counters that were under way are waited for */
    LARDER__STOPPING, /* the store writes what is queued */
    LARDER__LEAVING,  /* idle workers end; hung ones are left alone */
    LARDER__CLOSING,  /* the handles are being closed */
    LARDER__STATES
} larder__state;

typedef struct larder__own_loop { /* a loop that Larder runs; outlives the instance, by its thread */
    uv_loop_t loop;
    uv_thread_t thread;
    int joined; /* somebody joins the thread and frees this; else the thread does */
} larder__own_loop;

enum { LARDER__HANDLES = 5 };

struct larder {
    larder__inbox *inbox;
    uint32_t generation; /* of forks */
    uv_thread_t opener;  /* stands for the loop's thread until the loop has turned */
    larder__own_loop *own;
    larder_options options; /* without path and clock */
    larder_clock clock;
    int has_file;
    uint64_t last_id; /* atomic */

    larder__list ready;  /* taken from the inbox, to be processed in order */
    larder__map pending; /* requests that wait for their handler, by id */
    larder__heap deadlines;
    uint32_t abandoned; /* runs that owe an answer that nobody waits for */
    int64_t wall_ms;    /* at the start of this dispatch */

    larder__registry registry;
    larder__events events;
    larder__workers *workers;
    larder__store *store;
    larder__cache *cache;
    larder__metrics *metrics;
    larder__channel_metrics *unknown; /* requests to channels that nobody registered */
    larder__hasher *hasher;
    larder__json args_json;
    larder__json answer_json;

    uv_async_t async;
    uv_check_t check;
    uv_idle_t idle;
    uv_timer_t timer;  /* the earliest deadline */
    uv_timer_t saver;  /* counters and uses, while there are some */
    uint64_t armed_ns; /* what `timer` is set for; 0 nothing */
    int timer_due;
    int saver_armed;
    uint32_t halfway_flushes; /* see control.c */

    larder__state state;
    larder__message close_message;
    uint32_t close_grace_ms;
    larder_close_cb close_done;
    void *close_user_data;
    uint64_t close_deadline_ns; /* by the instance's clock */
    uint64_t close_real_ns;     /* by the system's: a clock that stands still keeps nobody waiting */
    int grace_over;
    int saved;
    int stopped;
    int open_handles;
    larder_close_report report;
};

/* Any thread: the instance may be used here. LARDER_EINVAL (NULL), LARDER_EFORK. */
static inline int larder__enter(const larder *l, larder_error *error)
{
    if (l == NULL) {
        return larder__fail(error, LARDER_EINVAL, "the instance is NULL");
    }
    if (l->generation != larder__fork_generation()) {
        return larder__fail(error, LARDER_EFORK, "the instance was inherited through fork(): open one in this process");
    }
    return LARDER_OK;
}

/* Any thread: blocking here would block the loop. */
int larder__would_block_loop(const larder *l);

/* dispatch.c */
void larder__dispatch(larder *l);         /* from the check handle, once a turn */
void larder__dispatch_arm(larder *l);     /* sets the timer for the earliest deadline */
void larder__dispatch_changed(larder *l); /* there is something to save: sees to it that the saver runs */
void larder__save(larder *l, int all);    /* counters and uses to the store; `all`: uses to the last */

/* control.c: invalidations, cancellations, flushes, as messages. */
void larder__control_cancel(larder *l, larder__message *message);
void larder__control_invalidate(larder *l, larder__message *message);
void larder__control_flush(larder *l, larder__message *message);
void larder__control_drop(larder__message *message); /* one that nobody will process any more */

/* close.c */
void larder__close_begin(larder *l);                                   /* the message has come */
void larder__close_step(larder *l);                                    /* after each dispatch */
void larder__close_stopped(void *owner, int status, uint64_t unsaved); /* larder__store_options.on_stopped */
/* Any thread. joined: the caller joins the thread of Larder's own loop. */
int larder__close_start(larder *l, uint32_t grace_ms, larder_close_cb done, void *user_data, int joined);

/* open.c */
void larder__instance_free(larder *l); /* what larder_open made, but for the handles */

#endif
