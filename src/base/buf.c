/* base/buf.c: growing byte buffers and what is written into them most: JSON strings, base64. */
#include "base/buf.h"

#include "base/alloc.h"

#include <larder/status.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

void larder__buf_init(larder__buf *buf)
{
    memset(buf, 0, sizeof *buf);
}

void larder__buf_release(larder__buf *buf)
{
    larder__free(buf->data);
    larder__buf_init(buf);
}

int larder__buf_reserve(larder__buf *buf, size_t more)
{
    if (buf->failed) {
        return LARDER_ENOMEM;
    }
    if (more <= buf->capacity - buf->len) {
        return LARDER_OK;
    }
    size_t capacity = buf->capacity < 64 ? 64 : buf->capacity;
    while (capacity - buf->len < more) {
        if (capacity > SIZE_MAX / 2) {
            buf->failed = 1;
            return LARDER_ENOMEM;
        }
        capacity *= 2;
    }
    char *data = larder__realloc(buf->data, capacity);
    if (data == NULL) {
        buf->failed = 1;
        return LARDER_ENOMEM;
    }
    buf->data = data;
    buf->capacity = capacity;
    return LARDER_OK;
}

void larder__buf_append(larder__buf *buf, const void *bytes, size_t len)
{
    if (len > 0 && larder__buf_reserve(buf, len) == LARDER_OK) {
        memcpy(buf->data + buf->len, bytes, len);
        buf->len += len;
    }
}

void larder__buf_text(larder__buf *buf, const char *text)
{
    larder__buf_append(buf, text, strlen(text));
}

void larder__buf_format(larder__buf *buf, const char *format, ...)
{
    va_list args;
    va_start(args, format);
    int len = vsnprintf(NULL, 0, format, args);
    va_end(args);
    if (len < 0 || larder__buf_reserve(buf, (size_t)len + 1) != LARDER_OK) {
        buf->failed = 1;
        return;
    }
    va_start(args, format);
    vsnprintf(buf->data + buf->len, (size_t)len + 1, format, args);
    va_end(args);
    buf->len += (size_t)len;
}

static void json_escape(larder__buf *buf, unsigned char c)
{
    static const char letters[] = "btn.fr"; /* 0x08 to 0x0d; 0x0b has none */
    if (c == '"' || c == '\\') {
        char pair[2] = {'\\', (char)c};
        larder__buf_append(buf, pair, 2);
    } else if (c >= 8 && c <= 13 && c != 11) {
        char pair[2] = {'\\', letters[c - 8]};
        larder__buf_append(buf, pair, 2);
    } else {
        larder__buf_format(buf, "\\u%04x", c);
    }
}

void larder__buf_json_string(larder__buf *buf, const char *text, size_t len)
{
    size_t start = 0;
    larder__buf_append(buf, "\"", 1);
    for (size_t i = 0; i < len; i++) {
        unsigned char c = (unsigned char)text[i];
        if (c >= 0x20 && c != '"' && c != '\\') {
            continue;
        }
        larder__buf_append(buf, text + start, i - start);
        json_escape(buf, c);
        start = i + 1;
    }
    larder__buf_append(buf, text + start, len - start);
    larder__buf_append(buf, "\"", 1);
}

void larder__buf_base64(larder__buf *buf, const void *bytes, size_t len)
{
    static const char digits[] = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
    const unsigned char *p = bytes;
    if (larder__buf_reserve(buf, (len + 2) / 3 * 4) != LARDER_OK) {
        return;
    }
    for (size_t i = 0; i < len; i += 3) {
        size_t left = len - i;
        uint32_t word = (uint32_t)p[i] << 16;
        word |= left > 1 ? (uint32_t)p[i + 1] << 8 : 0;
        word |= left > 2 ? p[i + 2] : 0;
        char *out = buf->data + buf->len;
        out[0] = digits[word >> 18];
        out[1] = digits[(word >> 12) & 63];
        out[2] = left > 1 ? digits[(word >> 6) & 63] : '=';
        out[3] = left > 2 ? digits[word & 63] : '=';
        buf->len += 4;
    }
}

int larder__buf_terminate(larder__buf *buf)
{
    if (larder__buf_reserve(buf, 1) != LARDER_OK) {
        return LARDER_ENOMEM;
    }
    buf->data[buf->len] = '\0';
    return LARDER_OK;
}

char *larder__buf_take(larder__buf *buf)
{
    char *data = larder__buf_terminate(buf) == LARDER_OK ? buf->data : NULL;
    if (data != NULL) {
        larder__buf_init(buf);
    }
    return data;
}
