/* cli/json.c: writing JSON. Trees are not made: a number that went through one would come out as another. */
#include "json.h"

#include <larder/larder.h>
#include <string.h>

int json_valid(const char *bytes, size_t len)
{
    uint8_t key[LARDER_KEY_SIZE];
    return larder_key(key, "-", 1, bytes, len, NULL, NULL) == LARDER_OK;
}

/* ---- copying ---- */

static int is_space(char c)
{
    return c == ' ' || c == '\t' || c == '\n' || c == '\r';
}

/* The length of the token at the start of valid JSON: a string, a mark, or a number or word. */
static size_t token_length(const char *bytes, size_t len)
{
    size_t i = 1;
    if (bytes[0] == '"') {
        while (i < len && bytes[i] != '"') {
            i += bytes[i] == '\\' ? 2 : 1;
        }
        return i < len ? i + 1 : len;
    }
    if (strchr("{}[]:,", bytes[0]) != NULL) {
        return 1;
    }
    while (i < len && !is_space(bytes[i]) && strchr("{}[]:,", bytes[i]) == NULL) {
        i++;
    }
    return i;
}

static void new_line(text *t, int depth)
{
    text_append(t, "\n", 1);
    for (int i = 0; i < depth; i++) {
        text_append(t, "  ", 2);
    }
}

void json_pretty(text *t, const char *bytes, size_t len, int ascii)
{
    int depth = 0;
    char before = 0; /* the first byte of the token before */
    for (size_t i = 0; i < len;) {
        char c = bytes[i];
        if (is_space(c)) {
            i++;
            continue;
        }
        if (c == '}' || c == ']') {
            depth--;
        }
        if (((c == '}' || c == ']') && before != '{' && before != '[') || before == ','
            || ((before == '{' || before == '[') && c != '}' && c != ']')) {
            new_line(t, depth);
        }
        size_t n = token_length(bytes + i, len - i);
        text_escape(t, bytes + i, n, TEXT_LINE, ascii);
        if (c == ':') {
            text_append(t, " ", 1);
        } else if (c == '{' || c == '[') {
            depth++;
        }
        before = c;
        i += n;
    }
}

void json_compact(text *t, const char *bytes, size_t len)
{
    for (size_t i = 0; i < len;) {
        if (is_space(bytes[i])) {
            i++;
            continue;
        }
        size_t n = token_length(bytes + i, len - i);
        text_escape(t, bytes + i, n, TEXT_LINE, 0);
        i += n;
    }
}

/* ---- strings ---- */

void json_string(text *t, const char *bytes, size_t len)
{
    text_append(t, "\"", 1);
    for (size_t i = 0; i < len;) {
        uint32_t c;
        size_t n = text_decode(bytes + i, len - i, &c);
        if (n == 0) {
            text_add(t, "\xef\xbf\xbd");
            n = 1;
        } else if (c == '"' || c == '\\') {
            text_append(t, "\\", 1);
            text_append(t, bytes + i, 1);
        } else {
            text_escape(t, bytes + i, n, TEXT_LINE, 0);
        }
        i += n;
    }
    text_append(t, "\"", 1);
}

void json_value(text *t, const char *bytes, size_t len)
{
    if (json_valid(bytes, len)) {
        json_compact(t, bytes, len);
    } else {
        json_string(t, bytes, len);
    }
}

void json_base64(text *t, const void *bytes, size_t len)
{
    static const char digits[] = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
    const unsigned char *p = bytes;
    text_append(t, "\"", 1);
    for (size_t i = 0; i < len; i += 3) {
        size_t left = len - i;
        uint32_t word = (uint32_t)p[i] << 16;
        word |= left > 1 ? (uint32_t)p[i + 1] << 8 : 0;
        word |= left > 2 ? p[i + 2] : 0;
        char group[4] = {digits[word >> 18], digits[(word >> 12) & 63], '=', '='};
        group[2] = left > 1 ? digits[(word >> 6) & 63] : '=';
        group[3] = left > 2 ? digits[word & 63] : '=';
        text_append(t, group, 4);
    }
    text_append(t, "\"", 1);
}

/* ---- members ---- */

void json_name(text *t, int *first, const char *name)
{
    text_format(t, "%s\"%s\":", *first ? "" : ",", name);
    *first = 0;
}

void json_member_string(text *t, int *first, const char *name, const char *string)
{
    json_name(t, first, name);
    if (string == NULL) {
        text_add(t, "null");
    } else {
        json_string(t, string, strlen(string));
    }
}

void json_member_number(text *t, int *first, const char *name, uint64_t number)
{
    json_name(t, first, name);
    text_format(t, "%llu", (unsigned long long)number);
}

void json_member_signed(text *t, int *first, const char *name, int64_t number)
{
    json_name(t, first, name);
    text_format(t, "%lld", (long long)number);
}

void json_member_ratio(text *t, int *first, const char *name, double sum, double count)
{
    json_name(t, first, name);
    if (count > 0) {
        text_format(t, "%.3f", sum / count);
    } else {
        text_add(t, "null");
    }
}
