/* base/json_string.c: strings of the scanner: checked, and copied in their one spelling.
 *
 * A run of plain ASCII is copied and looked through sixteen bytes at a time with SSE2, else eight. Only quotes,
 * backslashes, control characters and the first bytes of longer UTF-8 sequences stop it. A string that fails leaves the
 * scan where it was. */
#include "base/json_scan.h"
#include "base/utf8.h"

#ifdef __SSE2__
#include <emmintrin.h>
#endif

static int hex_digit(char c)
{
    if (c >= '0' && c <= '9') {
        return c - '0';
    }
    char lower = (char)(c | 0x20);
    return lower >= 'a' && lower <= 'f' ? lower - 'a' + 10 : -1;
}

/* The four digits after \u; -1 if there are not four. */
static int32_t hex_quad(const char *p, const char *end)
{
    if (end - p < 4) {
        return -1;
    }
    int32_t value = 0;
    for (int i = 0; i < 4; i++) {
        int digit = hex_digit(p[i]);
        if (digit < 0) {
            return -1;
        }
        value = value * 16 + digit;
    }
    return value;
}

static char *put_utf8(char *w, uint32_t point)
{
    if (point < 0x80) {
        *w++ = (char)point;
    } else if (point < 0x800) {
        *w++ = (char)(0xc0 | (point >> 6));
        *w++ = (char)(0x80 | (point & 0x3f));
    } else if (point < 0x10000) {
        *w++ = (char)(0xe0 | (point >> 12));
        *w++ = (char)(0x80 | ((point >> 6) & 0x3f));
        *w++ = (char)(0x80 | (point & 0x3f));
    } else {
        *w++ = (char)(0xf0 | (point >> 18));
        *w++ = (char)(0x80 | ((point >> 12) & 0x3f));
        *w++ = (char)(0x80 | ((point >> 6) & 0x3f));
        *w++ = (char)(0x80 | (point & 0x3f));
    }
    return w;
}

/* Writes a character that came as an escape: as it is where that is allowed, else with its shortest escape. */
static char *put_point(larder__json_scan *scan, char *w, uint32_t point)
{
    static const char digits[] = "0123456789abcdef";
    static const char letters[] = "btn\0fr"; /* 0x08 to 0x0d; 0x0b has none */
    if (point >= 0x20 && point != '"' && point != '\\') {
        return put_utf8(w, point);
    }
    scan->escaped = 1;
    *w++ = '\\';
    if (point >= 0x20) {
        *w++ = (char)point;
    } else if (point >= 8 && point <= 13 && point != 11) {
        *w++ = letters[point - 8];
    } else {
        memcpy(w, "u00", 3);
        w[3] = digits[point >> 4];
        w[4] = digits[point & 15];
        w += 5;
    }
    return w;
}

/* The character of the \u escape (or pair of them) at *p, which is moved behind it. */
static int unicode_escape(larder__json_scan *scan, const char **p, uint32_t *point)
{
    const char *backslash = *p;
    int32_t unit = hex_quad(backslash + 2, scan->end);
    if (unit < 0) {
        return larder__json_refuse(scan, backslash, "\\u without four hexadecimal digits");
    }
    *p += 6;
    if (unit < 0xd800 || unit > 0xdfff) {
        *point = (uint32_t)unit;
        return LARDER_OK;
    }
    int32_t low = -1;
    if (unit < 0xdc00 && scan->end - *p >= 6 && (*p)[0] == '\\' && (*p)[1] == 'u') {
        low = hex_quad(*p + 2, scan->end);
    }
    if (low < 0xdc00 || low > 0xdfff) {
        return larder__json_refuse(scan, backslash, "lone surrogate \\u%04x", (unsigned)unit);
    }
    *p += 6;
    *point = 0x10000 + (((uint32_t)unit - 0xd800) << 10) + ((uint32_t)low - 0xdc00);
    return LARDER_OK;
}

/* The escape at *p; both pointers are moved behind it. */
static int escape(larder__json_scan *scan, const char **p, char **w)
{
    static const char values[128] =
        {['"'] = '"', ['\\'] = '\\', ['/'] = '/', ['b'] = '\b', ['f'] = '\f', ['n'] = '\n', ['r'] = '\r', ['t'] = '\t'};
    const char *backslash = *p;
    if (scan->end - backslash < 2) {
        return larder__json_refuse(scan, scan->end, "the text ends inside a string");
    }
    unsigned char letter = (unsigned char)backslash[1];
    uint32_t point = letter < 128 ? (unsigned char)values[letter] : 0;
    if (letter == 'u') {
        int status = unicode_escape(scan, p, &point);
        if (status != LARDER_OK) {
            return status;
        }
    } else if (point != 0) {
        *p += 2;
    } else {
        return larder__json_refuse(scan, backslash, "backslash that begins no escape");
    }
    *w = put_point(scan, *w, point);
    return LARDER_OK;
}

/* Copies sequences longer than a byte, as long as they follow each other. */
static int copy_utf8(larder__json_scan *scan, const char **p, char **w)
{
    const char *from = *p;
    char *to = *w;
    do {
        size_t len = larder__utf8_sequence(from, (size_t)(scan->end - from));
        if (len == 0) {
            return larder__json_refuse(scan, from, "invalid UTF-8 (byte 0x%02x)", (unsigned char)*from);
        }
        to[0] = from[0];
        to[1] = from[1];
        for (size_t i = 2; i < len; i++) {
            to[i] = from[i];
        }
        from += len;
        to += len;
    } while (from < scan->end && (unsigned char)*from >= 0x80);
    *p = from;
    *w = to;
    return LARDER_OK;
}

/* Nonzero in the high bit of each byte that a run of plain characters cannot hold. Borrows spill upwards only, so the
 * lowest mark is always true. */
static inline uint64_t special_bytes(uint64_t word)
{
    uint64_t quote = (word ^ LARDER__BYTES('"')) - LARDER__BYTES(1u);
    uint64_t backslash = (word ^ LARDER__BYTES('\\')) - LARDER__BYTES(1u);
    uint64_t control = word - LARDER__BYTES(0x20u);
    return (quote | backslash | control | word) & LARDER__HIGH_BITS;
}

#ifdef __SSE2__
/* A bit for each of 16 bytes that a run of plain characters cannot hold. As signed bytes, control characters and what
 * is not ASCII are both below the space. */
static inline unsigned special_bits(__m128i bytes)
{
    __m128i low = _mm_cmplt_epi8(bytes, _mm_set1_epi8(0x20));
    __m128i quote = _mm_cmpeq_epi8(bytes, _mm_set1_epi8('"'));
    __m128i backslash = _mm_cmpeq_epi8(bytes, _mm_set1_epi8('\\'));
    return (unsigned)_mm_movemask_epi8(_mm_or_si128(low, _mm_or_si128(quote, backslash)));
}
#endif

/* Copies plain characters up to the first that is none, or the end. */
static inline const char *copy_plain(const char *p, const char *end, char **to)
{
    char *w = *to;
#ifdef __SSE2__
    while (end - p >= 16) {
        __m128i bytes = _mm_loadu_si128((const __m128i *)(const void *)p);
        unsigned special = special_bits(bytes);
        _mm_storeu_si128((__m128i *)(void *)w, bytes); /* more than is plain: it will be written over */
        if (special != 0) {
            unsigned plain = (unsigned)__builtin_ctz(special);
            *to = w + plain;
            return p + plain;
        }
        p += 16;
        w += 16;
    }
#endif
    while (end - p >= 8) {
        uint64_t special = special_bytes(larder__load8(p));
        memcpy(w, p, 8); /* more than is plain: it will be written over */
        if (special != 0) {
            size_t plain = (size_t)__builtin_ctzll(special) >> 3;
            *to = w + plain;
            return p + plain;
        }
        p += 8;
        w += 8;
    }
    while (p < end && (unsigned char)*p >= 0x20 && (unsigned char)*p < 0x80 && *p != '"' && *p != '\\') {
        *w++ = *p++;
    }
    *to = w;
    return p;
}

int larder__json_string(larder__json_scan *scan)
{
    const char *p = scan->p + 1;
    const char *end = scan->end;
    char *w = scan->w;
    *w++ = '"';
    scan->escaped = 0;
    for (;;) {
        p = copy_plain(p, end, &w);
        if (p == end) {
            return larder__json_refuse(scan, p, "the text ends inside a string");
        }
        int status;
        if (*p == '"') {
            *w++ = '"';
            scan->p = p + 1;
            scan->w = w;
            return LARDER_OK;
        }
        if (*p == '\\') {
            status = escape(scan, &p, &w);
        } else if ((unsigned char)*p >= 0x80) {
            status = copy_utf8(scan, &p, &w);
        } else {
            status = larder__json_refuse(scan, p, "control character 0x%02x in a string", (unsigned char)*p);
        }
        if (status != LARDER_OK) {
            return status;
        }
    }
}
