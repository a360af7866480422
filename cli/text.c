/* cli/text.c: growing text, escapes, widths, words for numbers. No input or output here, so that nothing but memory can
 * fail, and text.failed says so. */
#include "text.h"

#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <wchar.h>

/* ---- growing ---- */

void text_release(text *t)
{
    free(t->data);
    memset(t, 0, sizeof *t);
}

void text_clear(text *t)
{
    t->len = 0;
    t->failed = 0;
    if (t->data != NULL) {
        t->data[0] = '\0';
    }
}

const char *text_string(const text *t)
{
    return t->data != NULL ? t->data : "";
}

static int reserve(text *t, size_t more)
{
    if (t->failed || more >= SIZE_MAX / 4 - t->len) {
        t->failed = 1;
        return 0;
    }
    if (t->len + more + 1 > t->capacity) {
        size_t capacity = 2 * (t->len + more + 1);
        char *data = realloc(t->data, capacity);
        if (data == NULL) {
            t->failed = 1;
            return 0;
        }
        t->data = data;
        t->capacity = capacity;
    }
    return 1;
}

void text_append(text *t, const char *bytes, size_t len)
{
    if (len > 0 && reserve(t, len)) {
        memcpy(t->data + t->len, bytes, len);
        t->len += len;
        t->data[t->len] = '\0';
    }
}

void text_add(text *t, const char *string)
{
    text_append(t, string, strlen(string));
}

void text_format(text *t, const char *format, ...)
{
    va_list args;
    va_start(args, format);
    int len = vsnprintf(NULL, 0, format, args);
    va_end(args);
    if (len < 0 || !reserve(t, (size_t)len)) {
        t->failed = 1;
        return;
    }
    va_start(args, format);
    vsnprintf(t->data + t->len, (size_t)len + 1, format, args);
    va_end(args);
    t->len += (size_t)len;
}

/* ---- UTF-8 ---- */

static size_t sequence_length(unsigned char first)
{
    if (first < 0x80) {
        return 1;
    }
    if (first >= 0xc2 && first <= 0xdf) {
        return 2;
    }
    if (first >= 0xe0 && first <= 0xef) {
        return 3;
    }
    return first >= 0xf0 && first <= 0xf4 ? 4 : 0;
}

size_t text_decode(const char *bytes, size_t len, uint32_t *character)
{
    static const uint32_t smallest[] = {0, 0, 0x80, 0x800, 0x10000};
    const unsigned char *p = (const unsigned char *)bytes;
    size_t n = sequence_length(p[0]);
    if (n == 0 || n > len) {
        return 0;
    }
    uint32_t c = n == 1 ? p[0] : p[0] & (0x7fu >> n);
    for (size_t i = 1; i < n; i++) {
        if ((p[i] & 0xc0) != 0x80) {
            return 0;
        }
        c = c << 6 | (p[i] & 0x3f);
    }
    if (c < smallest[n] || (c >= 0xd800 && c <= 0xdfff) || c > 0x10ffff) {
        return 0;
    }
    *character = c;
    return n;
}

/* ---- escapes ---- */

/* Characters that act instead of showing, from Unicode's General Category Cc, Cf, Zl and Zp; the joiners U+200C and
 * U+200D stay, words and emoji need them. */
static int acts(uint32_t c)
{
    static const struct {
        uint32_t first;
        uint32_t last;
    } ranges[] = {
        {0x0000, 0x001f}, {0x007f, 0x009f}, {0x00ad, 0x00ad},   {0x061c, 0x061c},   {0x180e, 0x180e},
        {0x200b, 0x200b}, {0x200e, 0x200f}, {0x2028, 0x202e},   {0x2060, 0x206f},   {0xfeff, 0xfeff},
        {0xfff9, 0xfffb}, {0xfffe, 0xffff}, {0x1d173, 0x1d17a}, {0xe0000, 0xe0fff},
    };
    for (size_t i = 0; i < sizeof ranges / sizeof ranges[0]; i++) {
        if (c >= ranges[i].first && c <= ranges[i].last) {
            return 1;
        }
    }
    return 0;
}

static int stays(uint32_t c, text_mode mode, int ascii)
{
    if (c >= 0x20 && c < 0x7f) {
        return 1;
    }
    if (c == '\n' || c == '\t') {
        return mode != TEXT_LINE;
    }
    return !(ascii && c > 0x7f) && !acts(c);
}

static void escape_character(text *t, uint32_t c)
{
    if (c == '\n' || c == '\t' || c == '\r') {
        text_add(t, c == '\n' ? "\\n" : c == '\t' ? "\\t" : "\\r");
    } else if (c < 0x10000) {
        text_format(t, "\\u%04x", (unsigned)c);
    } else {
        text_format(t, "\\u%04x\\u%04x", (unsigned)(0xd800 + ((c - 0x10000) >> 10)),
                    (unsigned)(0xdc00 + ((c - 0x10000) & 0x3ff)));
    }
}

void text_escape(text *t, const char *bytes, size_t len, text_mode mode, int ascii)
{
    size_t start = 0;
    size_t i = 0;
    while (i < len) {
        uint32_t c;
        size_t n = text_decode(bytes + i, len - i, &c);
        if (n > 0 && stays(c, mode, ascii)) {
            i += n;
            continue;
        }
        text_append(t, bytes + start, i - start);
        if (n == 0) {
            text_format(t, "\\x%02x", (unsigned char)bytes[i]);
            n = 1;
        } else {
            escape_character(t, c);
        }
        i += n;
        start = i;
    }
    text_append(t, bytes + start, len - start);
}

/* ---- widths ---- */

static size_t character_width(uint32_t c)
{
    if (c < 0x7f) {
        return 1;
    }
    int width = wcwidth((wchar_t)c);
    return width < 0 ? 1 : (size_t)width;
}

size_t text_fit(const char *bytes, size_t len, size_t columns, size_t *width)
{
    size_t used = 0;
    size_t i = 0;
    while (i < len) {
        uint32_t c;
        size_t n = text_decode(bytes + i, len - i, &c);
        size_t w = n == 0 ? 1 : character_width(c);
        if (w > columns - used) {
            break;
        }
        used += w;
        i += n == 0 ? 1 : n;
    }
    if (width != NULL) {
        *width = used;
    }
    return i;
}

size_t text_width(const char *bytes, size_t len)
{
    size_t width;
    text_fit(bytes, len, SIZE_MAX, &width);
    return width;
}

/* ---- words for numbers ---- */

void text_size(text *t, uint64_t bytes)
{
    static const char units[] = "KMGTPE";
    if (bytes < 1024) {
        text_format(t, "%u B", (unsigned)bytes);
        return;
    }
    double value = (double)bytes / 1024;
    size_t unit = 0;
    while (value >= 1023.5 && unit < sizeof units - 2) {
        value /= 1024;
        unit++;
    }
    text_format(t, value < 9.95 ? "%.1f %ciB" : "%.0f %ciB", value, units[unit]);
}

void text_span(text *t, int64_t ms)
{
    static const struct {
        int64_t below; /* ms */
        int64_t unit;
        const char *name;
    } units[] = {
        {1000, 1, "ms"},
        {120 * 1000, 1000, "s"},
        {120 * 60000, 60000, "m"},
        {48 * 3600000LL, 3600000, "h"},
    };
    if (ms <= 0) {
        text_add(t, "0s");
        return;
    }
    for (size_t i = 0; i < sizeof units / sizeof units[0]; i++) {
        if (ms < units[i].below) {
            text_format(t, "%lld%s", (long long)(ms / units[i].unit), units[i].name);
            return;
        }
    }
    int64_t days = ms / 86400000;
    text_format(t, days < 730 ? "%lldd" : "%lldy", (long long)(days < 730 ? days : days / 365));
}

void text_duration(text *t, double us)
{
    if (us < 999.5) {
        text_format(t, us < 9.95 && us > 0 ? "%.1f us" : "%.0f us", us);
    } else if (us < 999500) {
        text_format(t, us < 9995 ? "%.2f ms" : us < 99950 ? "%.1f ms" : "%.0f ms", us / 1000);
    } else {
        text_format(t, us < 9995000 ? "%.2f s" : "%.1f s", us / 1e6);
    }
}

void text_time(text *t, int64_t wall_ms)
{
    char words[64];
    time_t seconds = (time_t)(wall_ms / 1000);
    struct tm parts;
    if (localtime_r(&seconds, &parts) == NULL || strftime(words, sizeof words, "%Y-%m-%d %H:%M:%S %z", &parts) == 0) {
        text_format(t, "%lld ms after 1970", (long long)wall_ms); /* a year that does not fit an int */
        return;
    }
    text_add(t, words);
}

/* ---- spelling ---- */

static unsigned smaller(unsigned a, unsigned b)
{
    return a < b ? a : b;
}

unsigned text_distance(const char *a, const char *b)
{
    unsigned d[64][64];
    size_t m = strlen(a);
    size_t n = strlen(b);
    if (m > 63 || n > 63) {
        return 99;
    }
    for (size_t i = 0; i <= m; i++) {
        for (size_t j = 0; j <= n; j++) {
            if (i == 0 || j == 0) {
                d[i][j] = (unsigned)(i + j);
                continue;
            }
            d[i][j] = smaller(smaller(d[i - 1][j], d[i][j - 1]) + 1, d[i - 1][j - 1] + (a[i - 1] != b[j - 1]));
            if (i > 1 && j > 1 && a[i - 1] == b[j - 2] && a[i - 2] == b[j - 1]) {
                d[i][j] = smaller(d[i][j], d[i - 2][j - 2] + 1);
            }
        }
    }
    return d[m][n];
}
