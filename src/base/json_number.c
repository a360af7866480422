/* base/json_number.c: numbers of the scanner: exact decimals, written in the layout that json.h describes.
 *
 * Plain integers are copied while they are checked. Other numbers are taken apart; one that is not canonical (trailing
 * zeros, an exponent, too many digits) is written anew from its parts. Nothing passes through a binary number but the
 * exponent. */
#include "base/json_scan.h"

#include <string.h>

#define MAX_EXPONENT 1000000000000000        /* 10^15 */
#define EXPONENT_ENOUGH (MAX_EXPONENT * 100) /* read no further: no text has the digits to make up for that */
#define PLAIN_DIGITS 21                      /* before the point, without an exponent */

typedef struct number {
    int negative;
    const char *integer;
    size_t integer_len;
    const char *fraction;
    size_t fraction_len;
    int64_t exponent;
} number;

static inline int is_digit(const char *p, const char *end)
{
    return p < end && (unsigned char)(*p - '0') < 10;
}

static const char *skip_digits(const char *p, const char *end)
{
    while (is_digit(p, end)) {
        p++;
    }
    return p;
}

static char digit_at(const number *n, size_t i)
{
    return i < n->integer_len ? n->integer[i] : n->fraction[i - n->integer_len];
}

/* Writes the digits from `from` to before `to`, counted over integer and fraction. */
static char *put_digits(char *w, const number *n, size_t from, size_t to)
{
    if (from < n->integer_len) {
        size_t upto = to < n->integer_len ? to : n->integer_len;
        memcpy(w, n->integer + from, upto - from);
        w += upto - from;
        from = upto;
    }
    if (from < to) {
        memcpy(w, n->fraction + (from - n->integer_len), to - from);
        w += to - from;
    }
    return w;
}

static char *put_zeros(char *w, size_t count)
{
    memset(w, '0', count);
    return w + count;
}

static char *put_exponent(char *w, int64_t exponent)
{
    char digits[20];
    size_t len = 0;
    uint64_t rest = (uint64_t)(exponent < 0 ? -exponent : exponent);
    do {
        digits[len++] = (char)('0' + rest % 10);
        rest /= 10;
    } while (rest > 0);
    *w++ = 'e';
    *w++ = exponent < 0 ? '-' : '+';
    while (len > 0) {
        *w++ = digits[--len];
    }
    return w;
}

/* ECMAScript, Number::toString: the digits first to before last, and a point after `point` of them. */
static char *put_layout(char *w, const number *n, size_t first, size_t last, int64_t point)
{
    size_t count = last - first;
    if (point > 0 && point <= PLAIN_DIGITS) {
        size_t before = (size_t)point;
        if (count <= before) {
            return put_zeros(put_digits(w, n, first, last), before - count);
        }
        w = put_digits(w, n, first, first + before);
        *w++ = '.';
        return put_digits(w, n, first + before, last);
    }
    if (point > -6 && point <= 0) {
        memcpy(w, "0.", 2);
        return put_digits(put_zeros(w + 2, (size_t)-point), n, first, last);
    }
    *w++ = digit_at(n, first);
    if (count > 1) {
        *w++ = '.';
        w = put_digits(w, n, first + 1, last);
    }
    return put_exponent(w, point - 1);
}

/* Writes the number from its parts at scan->w; scan->p is its first byte still. */
static int put_number(larder__json_scan *scan, const number *n)
{
    size_t last = n->integer_len + n->fraction_len;
    size_t first = 0;
    while (first < last && digit_at(n, first) == '0') {
        first++;
    }
    if (first == last) {
        *scan->w++ = '0';
        return LARDER_OK;
    }
    while (digit_at(n, last - 1) == '0') {
        last--;
    }
    int64_t point = n->exponent + (int64_t)n->integer_len - (int64_t)first;
    if (point - 1 > MAX_EXPONENT || point - 1 < -MAX_EXPONENT) {
        return larder__json_refuse(scan, scan->p, "number with an exponent beyond 10^15");
    }
    if (n->negative) {
        *scan->w++ = '-';
    }
    scan->w = put_layout(scan->w, n, first, last, point);
    return LARDER_OK;
}

/* The exponent at p, behind its letter. Returns the end of it; NULL after refusing. */
static const char *read_exponent(larder__json_scan *scan, const char *p, int64_t *exponent)
{
    int negative = p < scan->end && *p == '-';
    if (p < scan->end && (*p == '-' || *p == '+')) {
        p++;
    }
    if (!is_digit(p, scan->end)) {
        larder__json_expected(scan, p, "a digit of the exponent");
        return NULL;
    }
    int64_t value = 0;
    for (; is_digit(p, scan->end); p++) {
        if (value < EXPONENT_ENOUGH) {
            value = value * 10 + (*p - '0');
        }
    }
    *exponent = negative ? -value : value;
    return p;
}

/* Is the number canonical as it is written? It has no exponent. */
static int is_canonical(const number *n)
{
    if (n->integer_len > PLAIN_DIGITS) {
        return 0;
    }
    if (n->fraction_len == 0) {
        return n->integer[0] != '0' || !n->negative;
    }
    if (n->fraction[n->fraction_len - 1] == '0') {
        return 0;
    }
    /* 0.000001 is the smallest without an exponent: no more than five zeros follow the point. */
    return n->integer[0] != '0' || n->fraction_len < 6 || memcmp(n->fraction, "000000", 6) != 0;
}

/* Any number, right or wrong. */
static int general_number(larder__json_scan *scan)
{
    number n = {*scan->p == '-', NULL, 0, NULL, 0, 0};
    const char *end = scan->end;
    const char *p = scan->p + n.negative;
    n.integer = p;
    p = skip_digits(p, end);
    n.integer_len = (size_t)(p - n.integer);
    if (n.integer_len == 0) {
        return larder__json_expected(scan, p, "a digit");
    }
    if (*n.integer == '0' && n.integer_len > 1) {
        return larder__json_refuse(scan, n.integer, "number with a leading zero");
    }
    if (p < end && *p == '.') {
        n.fraction = ++p;
        p = skip_digits(p, end);
        n.fraction_len = (size_t)(p - n.fraction);
        if (n.fraction_len == 0) {
            return larder__json_expected(scan, p, "a digit after the point");
        }
    }
    int has_exponent = p < end && (*p | 0x20) == 'e';
    if (!has_exponent && is_canonical(&n)) {
        memcpy(scan->w, scan->p, (size_t)(p - scan->p));
        scan->w += p - scan->p;
        scan->p = p;
        return LARDER_OK;
    }
    if (has_exponent && (p = read_exponent(scan, p + 1, &n.exponent)) == NULL) {
        return LARDER_EJSON;
    }
    int status = put_number(scan, &n);
    scan->p = p;
    return status == LARDER_OK ? larder__json_make_room(scan) : status;
}

int larder__json_number(larder__json_scan *scan)
{
    const char *p = scan->p;
    const char *end = scan->end;
    char *w = scan->w;
    if (*p >= '1') { /* neither a zero nor a sign */
        do {
            *w++ = *p++;
        } while (is_digit(p, end));
        if (p - scan->p <= PLAIN_DIGITS && (p == end || (*p != '.' && (*p | 0x20) != 'e'))) {
            scan->p = p;
            scan->w = w;
            return LARDER_OK;
        }
    }
    return general_number(scan);
}
