/* core/open.c: making an instance, and the loop that Larder runs where the program has none.
 *
 * Everything that can fail is done before the first handle is initialised, but for the async handle, which is the
 * first: so that a failure leaves nothing to be closed on the caller's loop. On a loop of our own a failure after that
 * closes the handles here. */
#include "base/alloc.h"
#include "base/clock.h"
#include "core/instance.h"
#include "core/options.h"

#include <pthread.h>
#include <string.h>

const char *larder_version(void)
{
    return LARDER_VERSION_STRING;
}

/* ---- what the store says, on the loop but for wake ---- */

static void on_wake(void *owner)
{
    larder__inbox_signal(((larder *)owner)->inbox, LARDER__SIGNAL_SETTLE);
}

static void on_invalidated(void *owner, larder__invalidation_kind kind, larder__channel *channel, const uint8_t *key)
{
    larder__cache_invalidated(((larder *)owner)->cache, kind, channel, key);
}

static void on_event(void *owner, const larder_event *event)
{
    larder__events_emit(&((larder *)owner)->events, event);
}

/* ---- parts ---- */

static int open_store(larder *l, const char *path, larder_error *error)
{
    larder__store_options options = {
        .path = path,
        .durability = l->options.durability,
        .queue_bytes = l->options.queue_bytes,
        .page_cache_bytes = l->options.page_cache_bytes,
        .commit_interval_ms = l->options.commit_interval_ms,
        .sweep_interval_ms = l->options.sweep_interval_ms,
        .lock_timeout_ms = l->options.lock_timeout_ms,
        .clock = &l->clock,
        .wake = on_wake,
        .on_invalidated = on_invalidated,
        .on_event = on_event,
        .on_stopped = larder__close_stopped,
        .owner = l,
    };
    return larder__store_open(&l->store, &options, error);
}

static int open_cache(larder *l)
{
    larder__cache_options options = {
        .memory_bytes = l->options.memory_bytes,
        .max_entry_bytes = l->options.max_entry_bytes,
        .store = l->store,
    };
    int status = larder__cache_new(&l->cache, &options);
    if (status == LARDER_OK) {
        status = larder__metrics_new(&l->metrics, l->store);
    }
    if (status == LARDER_OK) {
        l->unknown = larder__metrics_channel(l->metrics, NULL);
        status = l->unknown == NULL ? LARDER_ENOMEM : larder__hasher_new(&l->hasher);
    }
    return status;
}

/* What needs no file, each with its release in larder__instance_free. */
static int make_parts(larder *l)
{
    int status = larder__inbox_new(&l->inbox, &l->clock, l->options.max_in_flight);
    if (status != LARDER_OK) {
        return status;
    }
    if ((status = larder__map_init(&l->pending)) != LARDER_OK) {
        goto fail_inbox;
    }
    if ((status = larder__registry_init(&l->registry)) != LARDER_OK) {
        goto fail_pending;
    }
    if ((status = larder__events_init(&l->events)) != LARDER_OK) {
        goto fail_registry;
    }
    if ((status = larder__workers_new(&l->workers, l->inbox, l->options.workers)) != LARDER_OK) {
        goto fail_events;
    }
    l->inbox->idle = &l->idle;
    l->inbox->json = &l->answer_json;
    return LARDER_OK;
fail_events:
    larder__events_release(&l->events);
fail_registry:
    larder__registry_release(&l->registry);
fail_pending:
    larder__map_release(&l->pending);
fail_inbox:
    larder__inbox_release(l->inbox);
    return status;
}

void larder__instance_free(larder *l)
{
    larder__cache_free(l->cache);
    larder__metrics_free(l->metrics);
    larder__hasher_free(l->hasher);
    larder__store_free(l->store);
    larder__workers_release(l->workers);
    larder__events_release(&l->events);
    larder__registry_release(&l->registry);
    larder__heap_release(&l->deadlines);
    larder__map_release(&l->pending);
    larder__json_release(&l->args_json);
    larder__json_release(&l->answer_json);
    larder__inbox_release(l->inbox);
    larder__free(l);
}

/* ---- handles ---- */

static void on_async(uv_async_t *async)
{
    (void)async; /* the check handle comes in the same turn of the loop */
}

static void on_check(uv_check_t *check)
{
    larder *l = check->data;
    uv_thread_t self = uv_thread_self();
    if (__atomic_load_n(&l->inbox->loop_thread, __ATOMIC_RELAXED) != self) {
        __atomic_store_n(&l->inbox->loop_thread, self, __ATOMIC_RELAXED);
    }
    larder__dispatch(l);
}

static int init_handles(larder *l, uv_loop_t *loop, larder_error *error)
{
    int err = uv_async_init(loop, &l->async, on_async);
    if (err != 0) {
        return larder__fail_errno(error, -err, "cannot add to the loop");
    }
    uv_check_init(loop, &l->check);
    uv_idle_init(loop, &l->idle);
    uv_timer_init(loop, &l->timer);
    uv_timer_init(loop, &l->saver);
    l->async.data = l;
    l->check.data = l;
    l->idle.data = l;
    l->timer.data = l;
    l->saver.data = l;
    uv_check_start(&l->check, on_check);
    return LARDER_OK;
}

static void close_now(uv_handle_t *handle, void *argument)
{
    (void)argument;
    uv_close(handle, NULL);
}

/* ---- a loop of our own ---- */

static void own_loop_main(void *argument)
{
    larder__own_loop *own = argument;
    uv_run(&own->loop, UV_RUN_DEFAULT); /* until the instance has closed its handles */
    uv_loop_close(&own->loop);
    if (!own->joined) {
        pthread_detach(pthread_self());
        larder__free(own);
    }
}

static void own_loop_free(larder__own_loop *own)
{
    uv_walk(&own->loop, close_now, NULL);
    uv_run(&own->loop, UV_RUN_DEFAULT);
    uv_loop_close(&own->loop);
    larder__free(own);
}

static int run_own_loop(larder *l, larder_error *error)
{
    larder__own_loop *own = larder__calloc(1, sizeof *own);
    if (own == NULL) {
        return larder__fail(error, LARDER_ENOMEM, "out of memory while opening");
    }
    int err = uv_loop_init(&own->loop);
    if (err != 0) {
        larder__free(own);
        return larder__fail_errno(error, -err, "cannot make a loop");
    }
    l->own = own;
    int status = init_handles(l, &own->loop, error);
    if (status == LARDER_OK) {
        status = larder__thread_start(&own->thread, own_loop_main, own, "the loop's", error);
    }
    if (status != LARDER_OK) {
        own_loop_free(own);
        l->own = NULL;
        return status;
    }
    /* `thread` was written by this one: nobody else has the instance yet. */
    __atomic_store_n(&l->inbox->loop_thread, own->thread, __ATOMIC_RELAXED);
    return LARDER_OK;
}

/* ---- open ---- */

static larder *instance_new(const larder_options *options)
{
    larder *l = larder__calloc(1, sizeof *l);
    if (l == NULL) {
        return NULL;
    }
    l->options = *options;
    l->options.path = NULL;
    l->options.clock = NULL;
    l->clock = options->clock == NULL ? larder__system_clock : *options->clock;
    l->has_file = options->path != NULL;
    l->generation = larder__fork_generation();
    l->opener = uv_thread_self();
    larder__list_init(&l->ready);
    larder__heap_init(&l->deadlines);
    larder__json_init(&l->args_json);
    larder__json_init(&l->answer_json);
    if (make_parts(l) != LARDER_OK) {
        larder__free(l);
        return NULL;
    }
    return l;
}

int larder_open(larder **out, const larder_options *options, larder_error *error)
{
    larder_options read;
    if (out == NULL) {
        return larder__fail(error, LARDER_EINVAL, "there is no place for the instance");
    }
    *out = NULL;
    int status = larder__options_read(&read, options, error);
    if (status != LARDER_OK) {
        return status;
    }
    larder *l = larder__fork_watch() == LARDER_OK ? instance_new(&read) : NULL;
    if (l == NULL) {
        return larder__fail(error, LARDER_ENOMEM, "out of memory while opening");
    }
    status = open_store(l, read.path, error);
    if (status == LARDER_OK && (status = open_cache(l)) != LARDER_OK) {
        larder__fail(error, status, "opening: %s", larder_status_text(status));
    }
    if (status == LARDER_OK) {
        status = read.loop != NULL ? init_handles(l, read.loop, error) : run_own_loop(l, error);
    }
    if (status != LARDER_OK) {
        larder__instance_free(l);
        return status;
    }
    larder__inbox_attach(l->inbox, &l->async);
    *out = l;
    return LARDER_OK;
}

/* ---- metrics ---- */

int larder_get_metrics(larder *l, larder_metrics *out)
{
    int status = larder__enter(l, NULL);
    if (status != LARDER_OK) {
        return status;
    }
    if (out == NULL || out->size < sizeof out->size) {
        return LARDER_EINVAL;
    }
    larder__store_stats stats;
    larder__store_get_stats(l->store, &stats);
    larder_metrics all = {.size = sizeof all};
    larder__metrics_snapshot(l->metrics, &all);
    all.not_stored = stats.not_stored;
    all.store_errors = stats.store_errors;
    all.commits = stats.commits;
    all.queued_bytes = stats.queued_bytes;
    all.memory_entries = larder__cache_entries(l->cache);
    all.memory_bytes = larder__cache_bytes(l->cache);
    all.in_flight = larder__inbox_in_flight(l->inbox);
    size_t size = out->size < sizeof all ? out->size : sizeof all;
    all.size = size;
    memcpy(out, &all, size);
    return LARDER_OK;
}
