/* core/workers.c: threads for blocking handlers.
 *
 * A worker is in `threads` from its start until it was joined or abandoned. Abandoned means: the loop has detached it
 * while it was in a handler; when it returns it sees that, frees its own record, and drops its reference on the rest.
 */
#include "core/workers.h"

#include "base/alloc.h"
#include "base/error.h"
#include "core/thread.h"

#include <pthread.h>

typedef struct worker {
    larder__list link;
    uv_thread_t thread;
    larder__workers *workers;
    int busy; /* under the lock, as the next two */
    int abandoned;
    int ended;
} worker;

struct larder__workers {
    int references; /* atomic: the instance, and each abandoned worker */
    larder__inbox *inbox;
    uv_mutex_t lock;
    uv_cond_t wake;
    larder__list queue; /* runs; all of this under the lock */
    larder__list threads;
    uint32_t limit;
    uint32_t started;
    uint32_t idle;
    uint32_t queued;
    uint32_t busy;
    int notify;
    int stopping;
};

int larder__workers_new(larder__workers **out, larder__inbox *inbox, uint32_t limit)
{
    larder__workers *workers = larder__calloc(1, sizeof *workers);
    if (workers == NULL) {
        return LARDER_ENOMEM;
    }
    if (uv_mutex_init(&workers->lock) != 0) {
        larder__free(workers);
        return LARDER_ENOMEM;
    }
    if (uv_cond_init(&workers->wake) != 0) {
        uv_mutex_destroy(&workers->lock);
        larder__free(workers);
        return LARDER_ENOMEM;
    }
    workers->references = 1;
    workers->inbox = larder__inbox_retain(inbox);
    workers->limit = limit;
    larder__list_init(&workers->queue);
    larder__list_init(&workers->threads);
    *out = workers;
    return LARDER_OK;
}

void larder__workers_release(larder__workers *workers)
{
    if (workers != NULL && __atomic_sub_fetch(&workers->references, 1, __ATOMIC_ACQ_REL) == 0) {
        uv_cond_destroy(&workers->wake);
        uv_mutex_destroy(&workers->lock);
        larder__inbox_release(workers->inbox);
        larder__free(workers);
    }
}

/* ---- the thread ---- */

static larder_request *next_run(larder__workers *workers) /* under the lock; NULL: end */
{
    while (larder__list_empty(&workers->queue) && !workers->stopping) {
        workers->idle++;
        uv_cond_wait(&workers->wake, &workers->lock);
        workers->idle--;
    }
    if (workers->stopping) {
        return NULL;
    }
    larder_request *run = LARDER__CONTAINER(larder__list_shift(&workers->queue), larder_request, waiting);
    run->queued = 0;
    workers->queued--;
    return run;
}

/* The lock is held before and after. */
static void work(worker *self, larder_request *run, larder__json *json)
{
    larder__workers *workers = self->workers;
    self->busy = 1;
    workers->busy++;
    uv_mutex_unlock(&workers->lock);
    larder__run_work(run, json);
    uv_mutex_lock(&workers->lock);
    self->busy = 0;
    if (self->abandoned) {
        return;
    }
    workers->busy--;
    if (workers->notify) {
        larder__inbox_signal(workers->inbox, LARDER__SIGNAL_WORKERS);
    }
}

static void worker_main(void *argument)
{
    worker *self = argument;
    larder__workers *workers = self->workers;
    larder__json json;
    larder__json_init(&json);
    uv_mutex_lock(&workers->lock);
    larder_request *run;
    while (!self->abandoned && (run = next_run(workers)) != NULL) {
        work(self, run, &json);
    }
    larder__json_release(&json);
    if (self->abandoned) {
        uv_mutex_unlock(&workers->lock);
        larder__free(self);
        larder__workers_release(workers);
        return;
    }
    self->ended = 1;
    larder__inbox_signal(workers->inbox, LARDER__SIGNAL_WORKERS);
    uv_mutex_unlock(&workers->lock); /* the last that it does: the loop joins it then, and frees */
}

static int start_one(larder__workers *workers, larder_error *error) /* under the lock */
{
    worker *made = larder__calloc(1, sizeof *made);
    if (made == NULL) {
        return larder__fail(error, LARDER_ENOMEM, "out of memory while starting a worker thread");
    }
    made->workers = workers;
    int status = larder__thread_start(&made->thread, worker_main, made, "a worker", error);
    if (status != LARDER_OK) {
        larder__free(made);
        return status;
    }
    larder__list_append(&workers->threads, &made->link);
    workers->started++;
    return LARDER_OK;
}

/* ---- the loop's side ---- */

int larder__workers_push(larder__workers *workers, larder_request *run, larder_error *error)
{
    int status = LARDER_OK;
    uv_mutex_lock(&workers->lock);
    if (workers->queued >= workers->idle && workers->started < workers->limit) {
        status = start_one(workers, error);
    }
    if (workers->started > 0) {
        status = LARDER_OK; /* those that there are will come to it */
        run->queued = 1;
        larder__list_append(&workers->queue, &run->waiting);
        workers->queued++;
        uv_cond_signal(&workers->wake);
    }
    uv_mutex_unlock(&workers->lock);
    return status;
}

int larder__workers_take_back(larder__workers *workers, larder_request *run)
{
    if (!run->handler->options.blocking) {
        return 0;
    }
    uv_mutex_lock(&workers->lock);
    int queued = run->queued;
    if (queued) {
        run->queued = 0;
        larder__list_remove(&run->waiting);
        workers->queued--;
    }
    uv_mutex_unlock(&workers->lock);
    return queued;
}

uint32_t larder__workers_busy(larder__workers *workers, int notify)
{
    uv_mutex_lock(&workers->lock);
    uint32_t busy = workers->busy;
    workers->notify = notify;
    uv_mutex_unlock(&workers->lock);
    return busy;
}

uint32_t larder__workers_stop(larder__workers *workers)
{
    uint32_t left = 0;
    uv_mutex_lock(&workers->lock);
    workers->stopping = 1;
    larder__list *next;
    for (larder__list *link = workers->threads.next; link != &workers->threads; link = next) {
        next = link->next;
        worker *one = LARDER__CONTAINER(link, worker, link);
        if (one->busy) {
            larder__list_remove(link);
            one->abandoned = 1;
            pthread_detach(one->thread);
            __atomic_add_fetch(&workers->references, 1, __ATOMIC_RELAXED);
            left++;
        }
    }
    uv_cond_broadcast(&workers->wake);
    uv_mutex_unlock(&workers->lock);
    return left;
}

int larder__workers_reap(larder__workers *workers)
{
    larder__list ended;
    larder__list_init(&ended);
    uv_mutex_lock(&workers->lock);
    larder__list *next;
    for (larder__list *link = workers->threads.next; link != &workers->threads; link = next) {
        next = link->next;
        if (LARDER__CONTAINER(link, worker, link)->ended) {
            larder__list_remove(link);
            larder__list_append(&ended, link);
        }
    }
    int none = larder__list_empty(&workers->threads);
    uv_mutex_unlock(&workers->lock);
    larder__list *link;
    while ((link = larder__list_shift(&ended)) != NULL) {
        worker *one = LARDER__CONTAINER(link, worker, link);
        uv_thread_join(&one->thread);
        larder__free(one);
    }
    return none;
}
