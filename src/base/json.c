/* base/json.c: the JSON scanner: structure, and the calls of json.h.
 *
 * One loop takes values and what follows them, with a stack of the arrays and objects that are open. What is read is
 * written to the output at once in canonical form; an object whose members came out of order is put in order when it
 * ends.
 *
 * Fails with LARDER_EJSON, the place and what was wrong, or LARDER_ENOMEM. The scanner can be used again after either.
 * Strings are in json_string.c, numbers in json_number.c, members in json_order.c. */
#include "base/json.h"

#include "base/alloc.h"
#include "base/error.h"
#include "base/json_scan.h"
#include "base/utf8.h"

#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#define KEPT_CAPACITY ((size_t)256 * 1024) /* bytes of each buffer that are kept whatever comes */

enum { VALUE_NEXT = 1, VALUE_ENDED = 2 }; /* beside LARDER_OK (all is read) and the failures */

enum kind { OTHER, SPACE, OBJECT, ARRAY, STRING, NUMBER, LITERAL };

static const unsigned char kinds[256] = {
    [' '] = SPACE,  ['\t'] = SPACE, ['\n'] = SPACE, ['\r'] = SPACE, ['{'] = OBJECT,  ['['] = ARRAY,   ['"'] = STRING,
    ['-'] = NUMBER, ['0'] = NUMBER, ['1'] = NUMBER, ['2'] = NUMBER, ['3'] = NUMBER,  ['4'] = NUMBER,  ['5'] = NUMBER,
    ['6'] = NUMBER, ['7'] = NUMBER, ['8'] = NUMBER, ['9'] = NUMBER, ['f'] = LITERAL, ['n'] = LITERAL, ['t'] = LITERAL,
};

void larder__json_init(larder__json *json)
{
    memset(json, 0, sizeof *json);
}

void larder__json_release(larder__json *json)
{
    larder__buf_release(&json->out);
    larder__buf_release(&json->scratch);
    larder__free(json->members);
    larder__json_init(json);
}

/* ---- failures ---- */

int larder__json_refuse(larder__json_scan *scan, const char *at, const char *format, ...)
{
    if (scan->offset != NULL) {
        *scan->offset = (size_t)(at - scan->text);
    }
    if (scan->error == NULL) {
        return LARDER_EJSON;
    }
    char what[256];
    va_list args;
    va_start(args, format);
    vsnprintf(what, sizeof what, format, args);
    va_end(args);
    size_t line = 1;
    size_t column = 1;
    for (const char *p = scan->text; p < at; p++) {
        if (*p == '\n') {
            line++;
            column = 1;
        } else if (!larder__utf8_continues(*p)) {
            column++;
        }
    }
    return larder__fail(scan->error, LARDER_EJSON, "%s at byte %zu (line %zu, column %zu)", what,
                        (size_t)(at - scan->text), line, column);
}

int larder__json_expected(larder__json_scan *scan, const char *at, const char *wanted)
{
    if (at == scan->end) {
        return larder__json_refuse(scan, at, "expected %s, found the end of the text", wanted);
    }
    if (*at > 0x20 && *at < 0x7f) {
        return larder__json_refuse(scan, at, "expected %s, found '%c'", wanted, *at);
    }
    return larder__json_refuse(scan, at, "expected %s, found byte 0x%02x", wanted, (unsigned char)*at);
}

int larder__json_no_memory(larder__json_scan *scan)
{
    return larder__fail(scan->error, LARDER_ENOMEM, "out of memory while reading %zu bytes of JSON",
                        (size_t)(scan->end - scan->text));
}

/* ---- structure ---- */

int larder__json_make_room(larder__json_scan *scan)
{
    larder__buf *out = &scan->json->out;
    out->len = (size_t)(scan->w - out->data);
    size_t needed = (size_t)(scan->end - scan->p) + LARDER__JSON_SLACK;
    if (out->capacity - out->len >= needed) {
        return LARDER_OK;
    }
    if (larder__buf_reserve(out, needed) != LARDER_OK) {
        return larder__json_no_memory(scan);
    }
    scan->w = out->data + out->len;
    return LARDER_OK;
}

/* The byte after white space; 0, which begins nothing, at the end. */
static inline unsigned char next_byte(larder__json_scan *scan)
{
    const char *p = scan->p;
    const char *end = scan->end;
    while (p < end && kinds[(unsigned char)*p] == SPACE) {
        p++;
    }
    scan->p = p;
    return p < end ? (unsigned char)*p : 0;
}

static inline void copy_byte(larder__json_scan *scan)
{
    *scan->w++ = *scan->p++;
}

static int literal(larder__json_scan *scan)
{
    const char *word = *scan->p == 't' ? "true" : *scan->p == 'f' ? "false" : "null";
    const char *p = scan->p;
    for (const char *c = word; *c != '\0'; c++, p++) {
        if (p == scan->end || *p != *c) {
            return larder__json_expected(scan, p, word);
        }
        *scan->w++ = *c;
    }
    scan->p = p;
    return LARDER_OK;
}

/* A member's name and its colon. */
static int name(larder__json_scan *scan, larder__json_frame *frame)
{
    if (next_byte(scan) != '"') {
        return larder__json_expected(scan, scan->p, "a member's name in quotes");
    }
    const char *at = scan->p;
    size_t start = (size_t)(scan->w - scan->json->out.data);
    int status = larder__json_string(scan);
    if (status == LARDER_OK) {
        status = larder__json_member_begin(scan, frame, start, at);
    }
    if (status != LARDER_OK) {
        return status;
    }
    if (next_byte(scan) != ':') {
        return larder__json_expected(scan, scan->p, "':' after the member's name");
    }
    copy_byte(scan);
    return VALUE_NEXT;
}

static int open_nested(larder__json_scan *scan, int is_object)
{
    if (scan->depth == LARDER__JSON_MAX_DEPTH) {
        return larder__json_refuse(scan, scan->p, "nested deeper than %d", LARDER__JSON_MAX_DEPTH);
    }
    copy_byte(scan);
    if (next_byte(scan) == (is_object ? '}' : ']')) {
        copy_byte(scan);
        return VALUE_ENDED;
    }
    larder__json_frame *frame = &scan->frames[scan->depth++];
    frame->first = scan->members;
    frame->is_object = is_object;
    frame->unordered = 0;
    return is_object ? name(scan, frame) : VALUE_NEXT;
}

/* Reads a value: a scalar to its end, an array or object up to its first value. */
static int begin_value(larder__json_scan *scan)
{
    int status;
    switch (kinds[next_byte(scan)]) {
    case STRING:
        status = larder__json_string(scan);
        break;
    case NUMBER:
        status = larder__json_number(scan);
        break;
    case LITERAL:
        status = literal(scan);
        break;
    case OBJECT:
        return open_nested(scan, 1);
    case ARRAY:
        return open_nested(scan, 0);
    default:
        return larder__json_expected(scan, scan->p, "a value");
    }
    return status == LARDER_OK ? VALUE_ENDED : status;
}

/* Reads what follows a value: closes what ends with it, up to the next value or the end. */
static int end_value(larder__json_scan *scan)
{
    while (scan->depth > 0) {
        larder__json_frame *frame = &scan->frames[scan->depth - 1];
        if (frame->is_object) {
            scan->json->members[scan->members - 1].end = (uint32_t)(scan->w - scan->json->out.data);
        }
        unsigned char c = next_byte(scan);
        if (c == ',') {
            copy_byte(scan);
            return frame->is_object ? name(scan, frame) : VALUE_NEXT;
        }
        if (c != (frame->is_object ? '}' : ']')) {
            return larder__json_expected(scan, scan->p, frame->is_object ? "',' or '}'" : "',' or ']'");
        }
        if (frame->is_object) {
            int status = larder__json_members_end(scan, frame);
            if (status != LARDER_OK) {
                return status;
            }
        }
        copy_byte(scan);
        scan->depth--;
    }
    next_byte(scan);
    if (scan->p != scan->end) {
        return larder__json_expected(scan, scan->p, "the end of the text");
    }
    return LARDER_OK;
}

/* ---- calls ---- */

static int is_excessive(size_t bytes, size_t len)
{
    return bytes > KEPT_CAPACITY && bytes / 32 > len;
}

/* Gives back what a large text made the scanner take, once a much smaller one comes. */
static void trim(larder__json *json, size_t len)
{
    if (is_excessive(json->out.capacity, len)) {
        larder__buf_release(&json->out);
    }
    if (is_excessive(json->scratch.capacity, len)) {
        larder__buf_release(&json->scratch);
    }
    if (is_excessive(json->members_capacity * sizeof json->members[0], len)) {
        larder__free(json->members);
        json->members = NULL;
        json->members_capacity = 0;
    }
}

int larder__json_canonical(larder__json *json, const char *text, size_t len, size_t *offset, larder_error *error)
{
    if (len > LARDER__JSON_MAX_SIZE) {
        return larder__fail(error, LARDER_ETOOBIG, "JSON of %zu bytes, over the limit of %zu", len,
                            LARDER__JSON_MAX_SIZE);
    }
    larder__json_scan scan;
    scan.text = len > 0 ? text : "";
    scan.p = scan.text;
    scan.end = scan.text + len;
    scan.json = json;
    scan.members = 0;
    scan.depth = 0;
    scan.offset = offset;
    scan.error = error;
    trim(json, len);
    larder__buf_clear(&json->out);
    scan.w = json->out.data;
    int status = larder__json_make_room(&scan);
    if (status == LARDER_OK) {
        do {
            status = begin_value(&scan);
            if (status == VALUE_ENDED) {
                status = end_value(&scan);
            }
        } while (status == VALUE_NEXT);
    }
    if (status == LARDER_OK) {
        json->out.len = (size_t)(scan.w - json->out.data);
        *scan.w = '\0';
    } else {
        json->out.len = 0;
    }
    return status;
}

int larder__json_validate(larder__json *json, const char *text, size_t len, size_t *offset, larder_error *error)
{
    return larder__json_canonical(json, text, len, offset, error);
}

/* ---- members: all is known to be valid ---- */

static const char *skip_space(const char *p)
{
    while (kinds[(unsigned char)*p] == SPACE) {
        p++;
    }
    return p;
}

static const char *skip_string(const char *p, int *escaped)
{
    *escaped = 0;
    for (p++; *p != '"'; p++) {
        if (*p == '\\') {
            *escaped = 1;
            p++;
        }
    }
    return p + 1;
}

/* Behind the value at p, which a comma or a closing bracket follows. */
static const char *skip_value(const char *p)
{
    int escaped;
    size_t depth = 0;
    do {
        switch (*p) {
        case '"':
            p = skip_string(p, &escaped);
            continue;
        case '{':
        case '[':
            depth++;
            break;
        case '}':
        case ']':
            depth--;
            break;
        default:
            break;
        }
        p++;
    } while (depth > 0 || (kinds[(unsigned char)*p] != SPACE && *p != ',' && *p != '}'));
    return p;
}

static larder__json_kind kind_of(char first)
{
    switch (first) {
    case 'n':
        return LARDER__JSON_NULL;
    case 'f':
        return LARDER__JSON_FALSE;
    case 't':
        return LARDER__JSON_TRUE;
    case '"':
        return LARDER__JSON_STRING;
    case '[':
        return LARDER__JSON_ARRAY;
    case '{':
        return LARDER__JSON_OBJECT;
    default:
        return LARDER__JSON_NUMBER;
    }
}

int larder__json_members(larder__json *json, const char *text, size_t len,
                         int (*each)(const larder__json_span *member, void *user_data), void *user_data,
                         larder_error *error)
{
    int status = larder__json_validate(json, text, len, NULL, error);
    if (status != LARDER_OK) {
        return status;
    }
    const char *p = skip_space(text);
    if (*p != '{') {
        larder__json_scan scan = {.text = text, .end = text + len, .error = error};
        return larder__json_expected(&scan, p, "an object");
    }
    p = skip_space(p + 1);
    while (*p != '}') {
        larder__json_span span;
        span.name = p + 1;
        p = skip_string(p, &span.name_escaped);
        span.name_len = (size_t)(p - 1 - span.name);
        p = skip_space(skip_space(p) + 1);
        span.value = p;
        span.kind = kind_of(*p);
        p = skip_value(p);
        span.value_len = (size_t)(p - span.value);
        status = each(&span, user_data);
        if (status != LARDER_OK) {
            return status;
        }
        p = skip_space(p);
        if (*p == ',') {
            p = skip_space(p + 1);
        }
    }
    return LARDER_OK;
}
