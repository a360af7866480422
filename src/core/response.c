/* core/response.c: what a caller can ask a response, and the whole of it as JSON. */
#include "base/alloc.h"
#include "base/buf.h"
#include "core/request.h"

#include <string.h>

static const char *const source_names[] = {
    [LARDER_SOURCE_NONE] = "none",
    [LARDER_SOURCE_HANDLER] = "handler",
    [LARDER_SOURCE_MEMORY] = "memory",
    [LARDER_SOURCE_DISK] = "disk",
};

int larder_response_success(const larder_response *response)
{
    return response->outcome.code == NULL;
}

const char *larder_response_data(const larder_response *response, size_t *len)
{
    const larder__body *value = response->outcome.value;
    if (len != NULL) {
        *len = value == NULL ? 0 : value->len;
    }
    return value == NULL ? NULL : value->data;
}

larder_content larder_response_content(const larder_response *response)
{
    const larder__body *value = response->outcome.value;
    return value == NULL ? LARDER_CONTENT_JSON : (larder_content)value->content;
}

const char *larder_response_code(const larder_response *response)
{
    return response->outcome.code;
}

const char *larder_response_message(const larder_response *response)
{
    return response->outcome.message;
}

const char *larder_response_details(const larder_response *response)
{
    return response->outcome.details;
}

const larder_response_metadata *larder_response_meta(const larder_response *response)
{
    return &response->meta;
}

larder_response *larder_response_retain(const larder_response *response)
{
    larder_response *kept = (larder_response *)(uintptr_t)response; /* it was made by us, and not as a constant */
    __atomic_add_fetch(&kept->references, 1, __ATOMIC_RELAXED);
    return kept;
}

void larder_response_release(larder_response *response)
{
    if (response != NULL && __atomic_sub_fetch(&response->references, 1, __ATOMIC_ACQ_REL) == 0) {
        larder__outcome_release(&response->outcome);
        larder__free(LARDER__CONTAINER(response, larder__request, response));
    }
}

/* ---- the envelope ---- */

static void put_string(larder__buf *buf, const char *text)
{
    larder__buf_json_string(buf, text, strlen(text));
}

static void put_data(larder__buf *buf, const larder__body *value)
{
    larder__buf_text(buf, "\"data\":");
    if (value->content == LARDER_CONTENT_JSON) {
        larder__buf_append(buf, value->data, value->len);
    } else if (value->content == LARDER_CONTENT_TEXT) {
        larder__buf_json_string(buf, value->data, value->len);
    } else {
        larder__buf_text(buf, "\"");
        larder__buf_base64(buf, value->data, value->len);
        larder__buf_text(buf, "\"");
    }
}

static void put_error(larder__buf *buf, const larder__outcome *outcome)
{
    larder__buf_text(buf, "\"error\":{\"code\":");
    put_string(buf, outcome->code);
    larder__buf_text(buf, ",\"message\":");
    put_string(buf, outcome->message);
    if (outcome->details != NULL) {
        larder__buf_text(buf, ",\"details\":");
        larder__buf_text(buf, outcome->details);
    }
    larder__buf_text(buf, "}");
}

static void put_time(larder__buf *buf, const char *name, int64_t ms)
{
    if (ms == 0) {
        larder__buf_format(buf, ",\"%s\":null", name);
    } else {
        larder__buf_format(buf, ",\"%s\":%lld", name, (long long)ms);
    }
}

/* Milliseconds to three places, whatever the locale's decimal point is. */
static void put_duration(larder__buf *buf, const char *name, uint64_t ns)
{
    unsigned long long us = ns / 1000;
    larder__buf_format(buf, ",\"%s\":%llu.%03llu", name, us / 1000, us % 1000);
}

static void put_metadata(larder__buf *buf, const larder_response *response)
{
    const larder_response_metadata *meta = &response->meta;
    larder__buf_format(buf, ",\"metadata\":{\"cached\":%s,\"source\":\"%s\",\"contentType\":\"%s\"",
                       meta->cached ? "true" : "false", source_names[meta->source],
                       larder_content_name(larder_response_content(response)));
    put_time(buf, "createdAt", meta->created_ms);
    put_time(buf, "expiresAt", meta->expires_ms);
    put_duration(buf, "executionTime", meta->execution_time_ns);
    put_duration(buf, "responseTime", meta->response_time_ns);
    larder__buf_text(buf, "}}");
}

int larder_response_envelope(const larder_response *response, char **out, size_t *len)
{
    larder__buf buf;
    larder__buf_init(&buf);
    larder__buf_text(&buf, larder_response_success(response) ? "{\"success\":true," : "{\"success\":false,");
    if (larder_response_success(response)) {
        put_data(&buf, response->outcome.value);
    } else {
        put_error(&buf, &response->outcome);
    }
    put_metadata(&buf, response);
    size_t used = buf.len;
    *out = larder__buf_take(&buf);
    larder__buf_release(&buf);
    if (*out == NULL) {
        return LARDER_ENOMEM;
    }
    if (len != NULL) {
        *len = used;
    }
    return LARDER_OK;
}
