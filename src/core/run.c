/* core/run.c: a run of a handler, and the answers that it can give.
 *
 * An answer is checked and copied in the thread that gives it, and travels to the loop in the run itself. One that is
 * given on the loop within the handler's call goes no further than the run: the dispatch looks there when the call
 * returns. */
#include "core/run.h"

#include "base/alloc.h"
#include "base/clock.h"
#include "core/instance.h"

#include <stdio.h>
#include <string.h>

larder_request *larder__run_new(larder *l, larder__request *request, larder__handler *handler, const char *args,
                                size_t args_len)
{
    larder_request *run = larder__malloc(sizeof *run + request->scope_len + 1);
    larder__body *body = larder__body_new(args, args_len, LARDER_CONTENT_JSON);
    if (run == NULL || body == NULL) {
        larder__free(run);
        larder__body_release(body);
        return NULL;
    }
    memset(run, 0, sizeof *run);
    run->references = 2;
    run->message.kind = LARDER__MESSAGE_ANSWER;
    run->inbox = larder__inbox_retain(l->inbox);
    run->handler = handler;
    larder__handler_retain(handler);
    run->request = request;
    request->run = run;
    run->args = body;
    if (request->scope != NULL) {
        run->scope = memcpy((char *)(run + 1), request->scope, request->scope_len + 1);
    }
    run->max_response_bytes = l->options.max_response_bytes;
    run->deadline_ns = larder__request_deadline(request);
    return run;
}

void larder__run_unref(larder_request *run)
{
    if (__atomic_sub_fetch(&run->references, 1, __ATOMIC_ACQ_REL) > 0) {
        return;
    }
    larder__inbox *inbox = run->inbox;
    larder__outcome_release(&run->outcome);
    larder__body_release(run->args);
    larder__handler_unref(run->handler, inbox);
    larder__free(run);
    larder__inbox_release(inbox);
}

/* ---- calling the handler ---- */

int larder__run_call(larder_request *run)
{
    run->started_ns = larder__mono_ns(&run->inbox->clock);
    run->calling = 1;
    run->handler->fn(run, run->handler->options.user_data);
    run->calling = 0;
    int ready = run->ready;
    larder__run_unref(run);
    return ready;
}

static _Thread_local larder__json *worker_json;

void larder__run_work(larder_request *run, larder__json *json)
{
    worker_json = json;
    run->started_ns = larder__inbox_now(run->inbox);
    run->handler->fn(run, run->handler->options.user_data);
    worker_json = NULL;
    larder__run_unref(run);
}

/* ---- what a run can ask ---- */

const char *larder_request_channel(const larder_request *request)
{
    return request->handler->name;
}

const char *larder_request_args(const larder_request *request, size_t *len)
{
    if (len != NULL) {
        *len = request->args->len;
    }
    return request->args->data;
}

const char *larder_request_scope(const larder_request *request)
{
    return request->scope;
}

int larder_request_cancelled(const larder_request *request)
{
    return __atomic_load_n(&request->cancelled, __ATOMIC_RELAXED);
}

uint32_t larder_request_remaining_ms(const larder_request *request)
{
    uint64_t now = larder_request_cancelled(request) ? 0 : larder__inbox_now(request->inbox);
    if (now == 0 || now >= request->deadline_ns) {
        return 0;
    }
    uint64_t ms = (request->deadline_ns - now + 999999) / 1000000;
    return ms > UINT32_MAX ? UINT32_MAX : (uint32_t)ms;
}

/* ---- answers ---- */

static int claim(larder_request *run)
{
    return __atomic_exchange_n(&run->answered, 1, __ATOMIC_ACQ_REL) ? LARDER_EALREADY : LARDER_OK;
}

static void deliver(larder_request *run)
{
    int on_loop = larder__inbox_on_loop(run->inbox);
    run->answered_ns = larder__inbox_now(run->inbox);
    if (on_loop && run->calling) {
        run->ready = 1;
        return;
    }
    if (larder__inbox_post(run->inbox, &run->message) != LARDER_OK) {
        larder__run_unref(run); /* everything was closed: the answer reaches nobody */
    }
}

/* A scanner of this thread, or `temporary`. */
static larder__json *scanner(larder_request *run, larder__json *temporary)
{
    if (larder__inbox_on_loop(run->inbox) && !run->inbox->closed) {
        return run->inbox->json;
    }
    return worker_json != NULL ? worker_json : temporary;
}

static int check_json(larder_request *run, const char *json, size_t len, larder_error *error)
{
    larder__json temporary;
    larder__json_init(&temporary);
    int status = larder__json_validate(scanner(run, &temporary), json, len, NULL, error);
    larder__json_release(&temporary);
    return status;
}

/* Fails the run for what is wrong with its answer, and returns the status that says so. */
static int refuse(larder_request *run, larder__code code, int status, const char *why)
{
    char message[LARDER_CHANNEL_MAX + LARDER_ERROR_MESSAGE_SIZE];
    snprintf(message, sizeof message, "%s: %s", run->handler->name, why);
    larder__outcome_fail(&run->outcome, larder__code_strings[code], message, NULL);
    deliver(run);
    return status;
}

static int keep_value(larder_request *run, const void *bytes, size_t len, larder_content content)
{
    run->outcome.value = larder__body_new(bytes, len, content);
    if (run->outcome.value == NULL) {
        return refuse(run, LARDER__CODE_NO_MEMORY, LARDER_ENOMEM, "memory ran out for the answer");
    }
    deliver(run);
    return LARDER_OK;
}

static int check_size(larder_request *run, size_t len)
{
    if (len <= run->max_response_bytes) {
        return LARDER_OK;
    }
    char why[128];
    snprintf(why, sizeof why, "the answer is %zu bytes long, over the limit of %zu", len, run->max_response_bytes);
    return refuse(run, LARDER__CODE_RESPONSE_TOO_LARGE, LARDER_ETOOBIG, why);
}

int larder_answer_json(larder_request *request, const char *json, size_t len)
{
    int status = claim(request);
    if (status != LARDER_OK) {
        return status;
    }
    len = json != NULL && len == LARDER_NUL ? strlen(json) : len;
    larder_error error = {.message = "the answer is NULL, not JSON"};
    if (json == NULL) {
        return refuse(request, LARDER__CODE_HANDLER_ERROR, LARDER_EINVAL, error.message);
    }
    if ((status = check_size(request, len)) != LARDER_OK) {
        return status;
    }
    status = check_json(request, json, len, &error);
    if (status == LARDER_ENOMEM) {
        return refuse(request, LARDER__CODE_NO_MEMORY, status, "memory ran out while checking the answer");
    }
    if (status != LARDER_OK) {
        char why[LARDER_ERROR_MESSAGE_SIZE + 40];
        snprintf(why, sizeof why, "the answer is not valid JSON: %s", error.message);
        return refuse(request, LARDER__CODE_HANDLER_ERROR, LARDER_EJSON, why);
    }
    return keep_value(request, json, len, LARDER_CONTENT_JSON);
}

int larder_answer_text(larder_request *request, const char *text, size_t len)
{
    int status = claim(request);
    if (status != LARDER_OK) {
        return status;
    }
    if (text == NULL) {
        text = "";
        len = 0;
    }
    len = len == LARDER_NUL ? strlen(text) : len;
    if ((status = check_size(request, len)) != LARDER_OK) {
        return status;
    }
    size_t bad = larder__utf8_valid(text, len, 1);
    if (bad < len) {
        char why[80];
        snprintf(why, sizeof why, "the text answer is not valid UTF-8 at byte %zu", bad);
        return refuse(request, LARDER__CODE_HANDLER_ERROR, LARDER_EINVAL, why);
    }
    return keep_value(request, text, len, LARDER_CONTENT_TEXT);
}

int larder_answer_bytes(larder_request *request, const void *bytes, size_t len)
{
    int status = claim(request);
    if (status != LARDER_OK) {
        return status;
    }
    if (bytes == NULL) {
        bytes = "";
        len = 0;
    }
    len = len == LARDER_NUL ? strlen(bytes) : len;
    status = check_size(request, len);
    return status == LARDER_OK ? keep_value(request, bytes, len, LARDER_CONTENT_BYTES) : status;
}

static int code_is_sound(const char *code)
{
    size_t len = strspn(code, "ABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789_");
    return len > 0 && code[len] == '\0';
}

static const char *code_text(const char *code)
{
    for (int i = 0; i < LARDER__CODE_COUNT; i++) {
        if (strcmp(code, larder__code_strings[i]) == 0) {
            return larder__code_texts[i];
        }
    }
    return larder__code_texts[LARDER__CODE_HANDLER_ERROR];
}

int larder_fail(larder_request *request, const char *code, const char *message, const char *details)
{
    int status = claim(request);
    if (status != LARDER_OK) {
        return status;
    }
    const char *used = code != NULL && code_is_sound(code) ? code : larder__code_strings[LARDER__CODE_HANDLER_ERROR];
    if (details != NULL && check_json(request, details, strlen(details), NULL) != LARDER_OK) {
        details = NULL;
    }
    status = larder__outcome_fail(&request->outcome, used, message != NULL ? message : code_text(used), details);
    if (status == LARDER_OK && code != NULL && used != code) {
        status = LARDER_EINVAL;
    }
    deliver(request);
    return status;
}
