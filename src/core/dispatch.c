/* core/dispatch.c: one dispatch a turn of the loop: what was sent or asked since the last is taken up, in order.
 *
 * Happy path of a request: handler, canonical args, scope, validation, key, cache. A hit is answered here and now. A
 * miss takes a mark and runs the handler; if that answers within its call, the answer is kept and given, still here;
 * else the request waits, with a deadline, and a later dispatch brings the answer.
 *
 * Freshness is read once a dispatch (larder__store_begin), and what it reads shares one read transaction. What the
 * store has to report is reported before, so that nothing changes under a dispatch's reads. Nothing that callbacks send
 * joins this dispatch: it would starve the loop, and see freshness older than its sending.
 *
 * Failures: every error is written into the request's own block. */
#include "base/clock.h"
#include "core/instance.h"

#include <stdio.h>
#include <string.h>

#define BUDGET 1024 /* messages a dispatch: about a millisecond of hits, then the loop looks at its other handles */

/* ---- answers ---- */

static int64_t add_saturated(int64_t a, int64_t b)
{
    return a > INT64_MAX - b ? INT64_MAX : a + b;
}

/* 1: the cache keeps it, until *expires_ms. */
static int keep(larder *l, larder__request *request, larder_request *run, larder__record *record)
{
    record->channel = run->handler->channel;
    record->version = run->handler->options.version;
    record->expires_ms = add_saturated(record->created_ms, run->handler->options.ttl_ms);
    record->value = run->outcome.value;
    record->args = run->args;
    record->scope = run->scope;
    memcpy(record->key, run->key, LARDER_KEY_SIZE);
    int status = larder__cache_put(l->cache, record, run->mark);
    int refused = status == LARDER_EOVERLOADED || status == LARDER_ENOMEM
                  || (status == LARDER_ETOOBIG && record->value->len <= l->options.max_entry_bytes);
    if (l->has_file && refused) {
        larder__metrics_not_stored(request->metrics);
    }
    if (request->cache == LARDER_CACHE_REFRESH && status != LARDER_OK && status != LARDER_ECANCELLED) {
        /* What could not be stored has superseded what may be stored: that must not come back. */
        larder__store_invalidate(l->store, LARDER__INVALIDATE_KEY, record->channel, record->key, NULL, NULL);
        return 0;
    }
    return status == LARDER_OK || (status == LARDER_EOVERLOADED && l->options.memory_bytes > 0);
}

static void answer(larder *l, larder__request *request, larder_request *run)
{
    uint64_t took_ns = run->answered_ns - run->started_ns;
    larder__record record = {.created_ms = larder__wall_ms(&l->clock), .cost_us = took_ns / 1000};
    larder_response_metadata *meta = &request->response.meta;
    meta->source = LARDER_SOURCE_HANDLER;
    meta->execution_time_ns = took_ns;
    if (run->outcome.value != NULL) {
        meta->created_ms = record.created_ms;
        if (run->keep && keep(l, request, run, &record)) {
            meta->expires_ms = record.expires_ms;
        }
    }
    request->response.outcome = run->outcome;
    memset(&run->outcome, 0, sizeof run->outcome);
    run->request = NULL;
    request->run = NULL;
    larder__request_finish(l, request);
}

static void late_answer(larder *l, larder_request *run)
{
    l->abandoned--;
    larder__metrics_late(run->handler->metrics);
    larder_event event = {
        .type = LARDER_EVENT_LATE_ANSWER,
        .channel = run->handler->name,
        .code = run->outcome.code,
        .message = "the handler answered when nobody waited any more: after the deadline, a cancellation or the close",
        .count = 1,
    };
    larder__events_emit(&l->events, &event);
}

static void take_answer(larder *l, larder_request *run)
{
    larder__metrics_handler_run(run->handler->metrics, run->answered_ns - run->started_ns);
    if (run->request != NULL) {
        answer(l, run->request, run);
    } else {
        late_answer(l, run);
    }
    larder__run_unref(run);
}

/* ---- running the handler ---- */

/* 1: it may run; 0: the request has been failed. */
static int may_run(larder *l, larder__request *request)
{
    if (larder__request_deadline(request) <= larder__mono_ns(&l->clock)) {
        larder__request_fail(request, LARDER__CODE_TIMEOUT,
                             "%s: no answer within %u ms: it waited that long for the loop", request->channel,
                             request->timeout_ms);
        return 0;
    }
    if (l->abandoned >= l->options.max_in_flight) {
        larder__request_fail(request, LARDER__CODE_OVERLOADED,
                             "%s: %u handlers owe answers that nobody waits for any more (option max_in_flight)",
                             request->channel, l->abandoned);
        return 0;
    }
    return 1;
}

static void start_blocking(larder *l, larder__request *request, larder_request *run)
{
    larder_error error;
    if (larder__workers_push(l->workers, run, &error) == LARDER_OK) {
        larder__request_wait(l, request);
        return;
    }
    request->run = NULL;
    larder__run_unref(run); /* no call, no answer */
    larder__run_unref(run);
    larder__request_fail(request, LARDER__CODE_OVERLOADED, "%s: %s", request->channel, error.message);
    larder__request_finish(l, request);
}

static void run_handler(larder *l, larder__request *request, larder__handler *handler, const uint8_t *key)
{
    if (!may_run(l, request)) {
        larder__request_finish(l, request);
        return;
    }
    larder_request *run = NULL;
    if (larder__request_prepare_wait(l) == LARDER_OK) {
        run = larder__run_new(l, request, handler, l->args_json.out.data, l->args_json.out.len);
    }
    if (run == NULL) {
        larder__request_fail_plain(request, LARDER__CODE_NO_MEMORY);
        larder__request_finish(l, request);
        return;
    }
    if (key != NULL) {
        run->keep = 1;
        memcpy(run->key, key, LARDER_KEY_SIZE);
        run->mark = larder__validity_mark(larder__store_validity(l->store));
    }
    if (handler->options.blocking) {
        start_blocking(l, request, run);
    } else if (larder__run_call(run)) {
        take_answer(l, run);
    } else {
        larder__request_wait(l, request);
    }
}

/* ---- the path of a request ---- */

/* Memory that registering could not have: the loop's to ask for. */
static int intern(larder *l, larder__handler *handler)
{
    if (handler->channel == NULL) {
        handler->channel = larder__validity_channel(larder__store_validity(l->store), handler->name, handler->name_len);
    }
    if (handler->channel != NULL && handler->metrics == NULL) {
        handler->metrics = larder__metrics_channel(l->metrics, handler->channel);
    }
    return handler->metrics != NULL ? LARDER_OK : LARDER_ENOMEM;
}

/* The handler, or NULL: the request has been failed. */
static larder__handler *find_handler(larder *l, larder__request *request)
{
    larder__handler *handler = larder__registry_find(&l->registry, request->channel, request->channel_len);
    int bound = handler != NULL && (handler->metrics != NULL || intern(l, handler) == LARDER_OK);
    request->metrics = bound ? handler->metrics : l->unknown;
    larder__metrics_request(request->metrics);
    if (handler == NULL) {
        larder__request_fail(request, LARDER__CODE_HANDLER_NOT_FOUND, "%s: no handler is registered on this channel",
                             request->channel);
        return NULL;
    }
    if (!bound) {
        larder__request_fail_plain(request, LARDER__CODE_NO_MEMORY);
        return NULL;
    }
    if (request->timeout_ms == 0) {
        request->timeout_ms =
            handler->options.timeout_ms != 0 ? handler->options.timeout_ms : l->options.default_timeout_ms;
    }
    return handler;
}

static int canonical_args(larder *l, larder__request *request)
{
    larder_error error;
    size_t offset = 0;
    int status = larder__json_canonical(&l->args_json, request->args, request->args_len, &offset, &error);
    if (status == LARDER_EJSON) {
        larder__request_fail(request, LARDER__CODE_INVALID_ARGS, "%s: the arguments are not valid JSON: %s",
                             request->channel, error.message);
        snprintf(request->response.details, sizeof request->response.details, "{\"offset\":%zu}", offset);
        request->response.outcome.details = request->response.details;
    } else if (status != LARDER_OK) {
        larder__request_fail_plain(request, LARDER__CODE_NO_MEMORY);
    }
    return status;
}

static int validate(larder *l, larder__request *request, const larder__handler *handler)
{
    const larder_handler_options *options = &handler->options;
    if (options->scoped && request->scope == NULL) {
        larder__request_fail(request, LARDER__CODE_VALIDATION_ERROR,
                             "%s: the handler needs a scope, and none was given", request->channel);
        return LARDER_EINVAL;
    }
    if (options->validate == NULL) {
        return LARDER_OK;
    }
    char message[LARDER_ERROR_MESSAGE_SIZE] = "";
    if (options->validate(l->args_json.out.data, l->args_json.out.len, message, sizeof message, options->user_data)
        == 0) {
        return LARDER_OK;
    }
    message[sizeof message - 1] = '\0';
    if (message[0] == '\0') {
        larder__request_fail_plain(request, LARDER__CODE_VALIDATION_ERROR);
    } else {
        larder__request_fail(request, LARDER__CODE_VALIDATION_ERROR, "%s", message);
    }
    return LARDER_EINVAL;
}

static int answer_from_cache(larder *l, larder__request *request, const larder__handler *handler, const uint8_t *key)
{
    larder__cache_hit hit;
    if (!larder__cache_get(l->cache, handler->channel, key, handler->options.version, l->wall_ms, &hit)) {
        request->missed = 1;
        return 0;
    }
    request->response.outcome.value = hit.value;
    request->response.meta = (larder_response_metadata){
        .source = hit.source,
        .cached = 1,
        .created_ms = hit.created_ms,
        .expires_ms = hit.expires_ms,
        .execution_time_ns = hit.cost_us * 1000,
    };
    larder__request_finish(l, request);
    return 1;
}

static void take_request(larder *l, larder__request *request)
{
    larder__handler *handler = find_handler(l, request);
    if (handler != NULL && l->grace_over) {
        larder__request_fail_plain(request, LARDER__CODE_CLOSED);
        l->report.cancelled++;
        handler = NULL;
    }
    if (handler == NULL || canonical_args(l, request) != LARDER_OK || validate(l, request, handler) != LARDER_OK) {
        larder__request_finish(l, request);
        return;
    }
    uint8_t key[LARDER_KEY_SIZE];
    int cached = handler->options.cacheable && request->cache != LARDER_CACHE_BYPASS
                 && larder__hasher_key(l->hasher, key, request->channel, request->channel_len, l->args_json.out.data,
                                       l->args_json.out.len, request->scope, request->scope_len)
                        == LARDER_OK;
    if (cached && request->cache == LARDER_CACHE_DEFAULT && answer_from_cache(l, request, handler, key)) {
        return;
    }
    run_handler(l, request, handler, cached ? key : NULL);
}

/* ---- messages ---- */

static void on_request(larder *l, larder__message *message)
{
    take_request(l, LARDER__CONTAINER(message, larder__request, message));
}

static void on_answer(larder *l, larder__message *message)
{
    take_answer(l, LARDER__CONTAINER(message, larder_request, message));
}

static void on_register(larder *l, larder__message *message)
{
    larder__handler *handler = LARDER__CONTAINER(message, larder__handler, added);
    larder__registry_added(&l->registry, handler);
    intern(l, handler); /* if it fails, the first request tries again */
}

static void on_unregister(larder *l, larder__message *message)
{
    larder__registry_removed(&l->registry, LARDER__CONTAINER(message, larder__handler, removed), l->inbox);
}

static void on_release(larder *l, larder__message *message)
{
    (void)l;
    larder__handler_destroy(LARDER__CONTAINER(message, larder__handler, release));
}

static void on_close(larder *l, larder__message *message)
{
    (void)message;
    larder__close_begin(l);
}

static void (*const processors[LARDER__MESSAGE_COUNT])(larder *l, larder__message *message) = {
    [LARDER__MESSAGE_REQUEST] = on_request,
    [LARDER__MESSAGE_ANSWER] = on_answer,
    [LARDER__MESSAGE_CANCEL] = larder__control_cancel,
    [LARDER__MESSAGE_INVALIDATE] = larder__control_invalidate,
    [LARDER__MESSAGE_FLUSH] = larder__control_flush,
    [LARDER__MESSAGE_REGISTER] = on_register,
    [LARDER__MESSAGE_UNREGISTER] = on_unregister,
    [LARDER__MESSAGE_RELEASE] = on_release,
    [LARDER__MESSAGE_CLOSE] = on_close,
};

static void process(larder *l)
{
    larder__list *link;
    for (int i = 0; i < BUDGET && (link = larder__list_shift(&l->ready)) != NULL; i++) {
        larder__message *message = LARDER__CONTAINER(link, larder__message, link);
        processors[message->kind](l, message);
    }
}

/* ---- saving ---- */

void larder__save(larder *l, int all)
{
    larder__metrics_save(l->metrics); /* what it cannot hand over now stays counted for the next time */
    while (larder__cache_save_uses(l->cache) && all) {
    }
}

static void on_saver(uv_timer_t *timer)
{
    larder *l = timer->data;
    l->saver_armed = 0;
    larder__metrics_save(l->metrics);
    if (larder__cache_save_uses(l->cache)) {
        larder__dispatch_changed(l);
    }
}

void larder__dispatch_changed(larder *l)
{
    if (!l->saver_armed && l->state == LARDER__OPEN) {
        l->saver_armed = 1;
        uv_timer_start(&l->saver, on_saver, l->options.metrics_interval_ms, 0);
    }
}

/* ---- deadlines ---- */

static void on_timer(uv_timer_t *timer)
{
    larder *l = timer->data;
    l->armed_ns = 0;
    l->timer_due = 1;
    larder__inbox_stir(l->inbox); /* this turn shall come to the check handle without sleeping */
}

static uint64_t earlier(uint64_t a, uint64_t b)
{
    return a == 0 || (b != 0 && b < a) ? b : a;
}

/* The timer is left alone while it is set for a moment that is early enough. The grace time goes by whichever clock is
 * faster, the system's or the instance's own. */
void larder__dispatch_arm(larder *l)
{
    larder__heap_node *first = larder__heap_first(&l->deadlines);
    int grace = l->state == LARDER__DRAINING && !l->grace_over;
    if (!grace && (first == NULL || (l->armed_ns != 0 && l->armed_ns <= first->when))) {
        return;
    }
    uint64_t next = first == NULL ? 0 : first->when;
    uint64_t now = larder__mono_ns(&l->clock);
    if (grace) {
        next = earlier(next, l->close_deadline_ns);
        uint64_t real = larder__mono_ns(&larder__system_clock);
        next = earlier(next, now + (l->close_real_ns > real ? l->close_real_ns - real : 0));
    }
    uint64_t ms = next > now ? (next - now + 999999) / 1000000 : 1;
    l->armed_ns = next;
    uv_timer_start(&l->timer, on_timer, ms, 0);
}

/* ---- one turn ---- */

static int nothing_to_do(const larder *l)
{
    return larder__list_empty(&l->ready) && !larder__inbox_waiting(l->inbox) && !l->timer_due;
}

void larder__dispatch(larder *l)
{
    if (nothing_to_do(l)) {
        return;
    }
    uint32_t signals = larder__inbox_take(l->inbox, &l->ready);
    int look_at_deadlines = l->timer_due || (signals & LARDER__SIGNAL_TICK);
    l->timer_due = 0;
    if (signals & LARDER__SIGNAL_SETTLE) {
        larder__store_settle(l->store);
    }
    if (!larder__list_empty(&l->ready)) {
        l->wall_ms = larder__wall_ms(&l->clock);
        larder__store_begin(l->store, larder__mono_ns(&l->clock));
        process(l);
        larder__store_end(l->store);
        larder__dispatch_changed(l);
    }
    if (look_at_deadlines) {
        larder__request_time_out(l, larder__mono_ns(&l->clock));
        larder__dispatch_changed(l);
    }
    if (!larder__list_empty(&l->ready)) {
        larder__inbox_stir(l->inbox); /* what came from other threads has not done so */
    } else if (!larder__inbox_waiting(l->inbox)) {
        larder__inbox_rest(l->inbox);
    }
    if (l->state != LARDER__OPEN) {
        larder__close_step(l);
    }
    larder__dispatch_arm(l);
}
