/* core/request.c: a caller's request, from larder_send to its one response.
 *
 * Most requests are answered in the dispatch that takes them up: they never enter the map of the waiting ones, nor the
 * heap of deadlines. Those whose handler does not answer at once do; room for that is made before the handler is
 * called, so that what is left to do can always be done. */
#include "core/request.h"

#include "base/alloc.h"
#include "base/clock.h"
#include "core/instance.h"
#include "core/options.h"

#include <stdarg.h>
#include <stdio.h>
#include <string.h>

/* ---- making ---- */

static const char *put_bytes(char **at, const char *bytes, size_t len)
{
    char *copy = memcpy(*at, bytes, len);
    copy[len] = '\0';
    *at += len + 1;
    return copy;
}

static larder__request *request_alloc(const char *channel, size_t channel_len, const char *args, size_t args_len,
                                      const char *scope, size_t scope_len)
{
    larder__request *request = larder__malloc(sizeof *request + channel_len + args_len + scope_len + 3);
    if (request == NULL) {
        return NULL;
    }
    memset(request, 0, offsetof(larder__request, response.text));
    memset(&request->message, 0, sizeof *request - offsetof(larder__request, message));
    char *at = (char *)(request + 1);
    request->response.references = 1;
    request->message.kind = LARDER__MESSAGE_REQUEST;
    request->channel = put_bytes(&at, channel, channel_len);
    request->channel_len = (uint32_t)channel_len;
    request->args = put_bytes(&at, args, args_len);
    request->args_len = args_len;
    request->scope = scope == NULL ? NULL : put_bytes(&at, scope, scope_len);
    request->scope_len = (uint32_t)scope_len;
    return request;
}

int larder__request_new(larder__request **out, larder *l, const char *channel, const char *args, size_t args_len,
                        const larder_send_options *options, larder_error *error)
{
    larder_send_options read;
    size_t channel_len = channel == NULL ? 0 : strlen(channel);
    int status = larder__name_check("channel", channel, channel_len, error);
    if (status != LARDER_OK || (status = larder__send_options_read(&read, options, error)) != LARDER_OK) {
        return status;
    }
    size_t scope_len = read.scope == NULL ? 0 : strlen(read.scope);
    if (read.scope != NULL && (status = larder__name_check("scope", read.scope, scope_len, error)) != LARDER_OK) {
        return status;
    }
    if (args == NULL) {
        args = "null";
        args_len = 4;
    } else if (args_len == LARDER_NUL) {
        args_len = strlen(args);
    }
    if (args_len > l->options.max_args_bytes) {
        return larder__fail(error, LARDER_ETOOBIG, "%s: the arguments are %zu bytes long, over the limit of %zu",
                            channel, args_len, l->options.max_args_bytes);
    }
    larder__request *request = request_alloc(channel, channel_len, args, args_len, read.scope, scope_len);
    if (request == NULL) {
        return larder__fail(error, LARDER_ENOMEM, "%s: out of memory while sending", channel);
    }
    request->id = __atomic_add_fetch(&l->last_id, 1, __ATOMIC_RELAXED);
    request->sent_ns = larder__mono_ns(&l->clock);
    request->timeout_ms = read.timeout_ms;
    request->cache = read.cache;
    *out = request;
    return LARDER_OK;
}

void larder__request_free(larder__request *request)
{
    larder_response_release(&request->response);
}

int larder_send(larder *l, const char *channel, const char *args, size_t args_len, const larder_send_options *options,
                larder_response_cb done, void *user_data, uint64_t *id, larder_error *error)
{
    int status = larder__enter(l, error);
    if (status != LARDER_OK) {
        return status;
    }
    if (done == NULL) {
        return larder__fail(error, LARDER_EINVAL, "the response callback is NULL");
    }
    larder__request *request;
    status = larder__request_new(&request, l, channel, args, args_len, options, error);
    if (status != LARDER_OK) {
        return status;
    }
    request->done = done;
    request->user_data = user_data;
    if (id != NULL) {
        *id = request->id; /* before it is posted: the callback may look at it */
    }
    status = larder__inbox_post(l->inbox, &request->message);
    if (status == LARDER_OK) {
        return LARDER_OK;
    }
    larder__request_free(request);
    if (status == LARDER_EOVERLOADED) {
        return larder__fail(error, status, "%s: %u requests are in flight already (option max_in_flight)", channel,
                            l->options.max_in_flight);
    }
    return larder__fail(error, status, "%s: cannot send, the instance is closing", channel);
}

/* ---- errors of our own ---- */

void larder__request_fail(larder__request *request, larder__code code, const char *format, ...)
{
    larder_response *response = &request->response;
    va_list args;
    larder__outcome_release(&response->outcome);
    va_start(args, format);
    int len = vsnprintf(response->text, sizeof response->text, format, args);
    va_end(args);
    char *text = response->text;
    if (len >= (int)sizeof response->text) { /* a longer one if there is memory, else its beginning */
        char *longer = larder__malloc((size_t)len + 1);
        if (longer != NULL) {
            va_start(args, format);
            vsnprintf(longer, (size_t)len + 1, format, args);
            va_end(args);
            text = longer;
        }
        response->outcome.block = longer;
    }
    larder__text_clean(text);
    response->outcome.code = larder__code_strings[code];
    response->outcome.message = text;
}

void larder__request_fail_plain(larder__request *request, larder__code code)
{
    larder__request_fail(request, code, "%s: %s", request->channel, larder__code_texts[code]);
}

/* ---- waiting ---- */

int larder__request_prepare_wait(larder *l)
{
    return larder__heap_reserve(&l->deadlines, 1);
}

uint64_t larder__request_deadline(const larder__request *request)
{
    uint64_t timeout_ns = (uint64_t)request->timeout_ms * 1000000u;
    return request->sent_ns > UINT64_MAX - timeout_ns ? UINT64_MAX : request->sent_ns + timeout_ns;
}

void larder__request_wait(larder *l, larder__request *request)
{
    request->waiting = 1;
    larder__map_insert(&l->pending, &request->pending, request->id);
    larder__heap_insert(&l->deadlines, &request->deadline, larder__request_deadline(request));
}

larder__request *larder__request_find(larder *l, uint64_t id)
{
    larder__map_node *node = larder__map_first(&l->pending, id);
    return node == NULL ? NULL : LARDER__CONTAINER(node, larder__request, pending);
}

static void stop_waiting(larder *l, larder__request *request)
{
    if (request->waiting) {
        request->waiting = 0;
        larder__map_remove(&l->pending, &request->pending);
        larder__heap_remove(&l->deadlines, &request->deadline);
    }
}

/* The caller is about to be answered without its handler: from now on the run is the handler's alone. */
static void abandon_run(larder *l, larder__request *request)
{
    larder_request *run = request->run;
    if (run == NULL) {
        return;
    }
    request->run = NULL;
    run->request = NULL;
    __atomic_store_n(&run->cancelled, 1, __ATOMIC_RELAXED);
    if (larder__workers_take_back(l->workers, run)) {
        larder__run_unref(run); /* it never began: no call, no answer */
        larder__run_unref(run);
    } else {
        l->abandoned++;
    }
}

/* ---- answering ---- */

static void report_failure(larder *l, const larder__request *request)
{
    if (!larder__events_wanted(&l->events, LARDER_EVENT_REQUEST_FAILED)) {
        return;
    }
    larder_event event = {
        .type = LARDER_EVENT_REQUEST_FAILED,
        .channel = request->channel,
        .code = request->response.outcome.code,
        .message = request->response.outcome.message,
        .count = 1,
    };
    larder__events_emit(&l->events, &event);
}

void larder__request_finish(larder *l, larder__request *request)
{
    larder_response *response = &request->response;
    stop_waiting(l, request);
    abandon_run(l, request);
    response->meta.response_time_ns = larder__mono_ns(&l->clock) - request->sent_ns;
    larder__measure measure = {
        .source = response->meta.source,
        .success = response->outcome.code == NULL,
        .missed = request->missed,
        .response_time_ns = response->meta.response_time_ns,
    };
    larder__metrics_response(request->metrics, &measure);
    if (!measure.success) {
        report_failure(l, request);
    }
    larder__inbox_answered(l->inbox);
    request->done(response, request->user_data);
    larder_response_release(response);
}

void larder__request_time_out(larder *l, uint64_t now_ns)
{
    larder__heap_node *first;
    while ((first = larder__heap_first(&l->deadlines)) != NULL && first->when <= now_ns) {
        larder__request *request = LARDER__CONTAINER(first, larder__request, deadline);
        larder__request_fail(request, LARDER__CODE_TIMEOUT, "%s: no answer within %u ms", request->channel,
                             request->timeout_ms);
        larder__request_finish(l, request);
    }
}

uint32_t larder__request_close_all(larder *l)
{
    uint32_t count = 0;
    larder__heap_node *first;
    while ((first = larder__heap_first(&l->deadlines)) != NULL) {
        larder__request *request = LARDER__CONTAINER(first, larder__request, deadline);
        larder__request_fail_plain(request, LARDER__CODE_CLOSED);
        larder__request_finish(l, request);
        count++;
    }
    return count;
}
