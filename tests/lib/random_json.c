/* tests/lib/random_json.c: random trees in jansson's form, and random spellings of them. */
#include "random_json.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static test_random *rng;

static size_t below(size_t bound)
{
    return (size_t)test_random_below(rng, bound);
}

void test_text_put(test_text *t, const void *bytes, size_t len)
{
    assert_true(t->len + len < sizeof t->bytes);
    memcpy(t->bytes + t->len, bytes, len);
    t->len += len;
}

void test_text_puts(test_text *t, const char *words)
{
    test_text_put(t, words, strlen(words));
}

/* ---- random trees ---- */

static size_t put_point(char *w, unsigned point)
{
    if (point < 0x80) {
        w[0] = (char)point;
        return 1;
    }
    if (point < 0x800) {
        w[0] = (char)(0xc0 | (point >> 6));
        w[1] = (char)(0x80 | (point & 0x3f));
        return 2;
    }
    if (point < 0x10000) {
        w[0] = (char)(0xe0 | (point >> 12));
        w[1] = (char)(0x80 | ((point >> 6) & 0x3f));
        w[2] = (char)(0x80 | (point & 0x3f));
        return 3;
    }
    w[0] = (char)(0xf0 | (point >> 18));
    w[1] = (char)(0x80 | ((point >> 12) & 0x3f));
    w[2] = (char)(0x80 | ((point >> 6) & 0x3f));
    w[3] = (char)(0x80 | (point & 0x3f));
    return 4;
}

static unsigned random_point(int nul)
{
    static const unsigned edges[] = {1,     8,     0x1f,   0x20,   '"',    '\\',   '/',     0x7f,    0x80,
                                     0x7ff, 0x800, 0xd7ff, 0xe000, 0xfffe, 0xffff, 0x10000, 0x10ffff};
    switch (below(12)) {
    case 0:
        return edges[below(sizeof edges / sizeof edges[0])];
    case 1:
        return (unsigned)below(0x20) + (nul ? 0 : 1) * 1u;
    case 2:
        return 0x80 + (unsigned)below(0xd800 - 0x80);
    case 3:
        return 0xe000 + (unsigned)below(0x110000 - 0xe000);
    default:
        return 0x20 + (unsigned)below(0x5f);
    }
}

/* Names share beginnings, so that order is decided late as well as early. jansson holds no NUL in a name. */
static size_t random_string(char *w, int name)
{
    static const char *const starts[] = {"", "", "a", "member", "\xc3\xa9", "a common start ", "\n", "12345678"};
    size_t len = 0;
    if (name) {
        const char *start = starts[below(sizeof starts / sizeof starts[0])];
        len = strlen(start);
        memcpy(w, start, len);
    }
    size_t points = below(4) == 0 ? below(40) : below(6);
    for (size_t i = 0; i < points; i++) {
        len += put_point(w + len, random_point(!name));
    }
    return len;
}

static json_t *random_integer(void)
{
    json_int_t value = (json_int_t)(test_random_next(rng) >> below(64));
    if (below(3) == 0) {
        value = (json_int_t)below(10);
        for (size_t i = below(18); i > 0; i--) {
            value *= 10;
        }
    }
    return json_integer(below(2) == 0 ? value : -value);
}

/* Not whole below 10^21, where its canonical form would be read as an integer. */
static json_t *random_real(void)
{
    double value;
    do {
        char decimal[64];
        unsigned long long digits = (unsigned long long)(test_random_next(rng) >> below(63));
        snprintf(decimal, sizeof decimal, "%llue%d", digits + 1, (int)below(300) - 150);
        value = strtod(decimal, NULL);
    } while (value < 1e21 && (value > 9e18 || value == (double)(int64_t)value));
    return json_real(below(2) == 0 ? value : -value);
}

static json_t *random_tree(size_t depth)
{
    char bytes[256];
    size_t choice = below(depth < 5 ? 12 : 8);
    switch (choice) {
    case 0:
        return json_null();
    case 1:
        return json_boolean(below(2));
    case 2:
    case 3:
        return random_integer();
    case 4:
        return random_real();
    case 5:
    case 6:
    case 7:
        return json_stringn(bytes, random_string(bytes, 0));
    default:
        break;
    }
    json_t *tree = choice < 10 ? json_array() : json_object();
    size_t count = below(8) == 0 ? below(40) : below(5);
    for (size_t i = 0; i < count; i++) {
        if (choice < 10) {
            json_array_append_new(tree, random_tree(depth + 1));
        } else {
            size_t len = random_string(bytes, 1);
            json_object_setn_new(tree, bytes, len, random_tree(depth + 1));
        }
    }
    return tree;
}

/* ---- writing a tree in a random spelling ---- */

static void put_space(test_text *t)
{
    static const char spaces[] = " \t\n\r";
    for (size_t i = below(6) == 0 ? below(4) : 0; i > 0; i--) {
        test_text_put(t, &spaces[below(4)], 1);
    }
}

static void put_unit(test_text *t, unsigned unit)
{
    char escape[8];
    snprintf(escape, sizeof escape, below(2) == 0 ? "\\u%04x" : "\\u%04X", unit);
    test_text_put(t, escape, 6);
}

static void put_escaped(test_text *t, unsigned point)
{
    static const char from[] = "\"\\/\b\f\n\r\t";
    static const char to[] = "\"\\/bfnrt";
    const char *letter = point > 0 && point < 0x80 ? strchr(from, (int)point) : NULL;
    if (letter != NULL && below(2) == 0) {
        char pair[2] = {'\\', to[letter - from]};
        test_text_put(t, pair, 2);
    } else if (point >= 0x10000) {
        put_unit(t, 0xd800 + ((point - 0x10000) >> 10));
        put_unit(t, 0xdc00 + ((point - 0x10000) & 0x3ff));
    } else {
        put_unit(t, point);
    }
}

static unsigned read_point(const unsigned char **p)
{
    const unsigned char *c = *p;
    size_t len = c[0] < 0x80 ? 1 : c[0] < 0xe0 ? 2 : c[0] < 0xf0 ? 3 : 4;
    static const unsigned char masks[] = {0, 0x7f, 0x1f, 0x0f, 0x07};
    unsigned point = c[0] & masks[len];
    for (size_t i = 1; i < len; i++) {
        point = (point << 6) | (c[i] & 0x3f);
    }
    *p += len;
    return point;
}

static void put_string(test_text *t, const char *bytes, size_t len)
{
    const unsigned char *p = (const unsigned char *)bytes;
    const unsigned char *end = p + len;
    size_t rarely = below(3) == 0 ? 2 : 20;
    test_text_puts(t, "\"");
    while (p < end) {
        const unsigned char *start = p;
        unsigned point = read_point(&p);
        if (point < 0x20 || point == '"' || point == '\\' || below(rarely) == 0) {
            put_escaped(t, point);
        } else {
            test_text_put(t, start, (size_t)(p - start));
        }
    }
    test_text_puts(t, "\"");
}

/* Another spelling of the same decimal: digits moved over the point, zeros added, the sign of the exponent. */
static void put_decimal(test_text *t, const char *plain)
{
    char digits[64];
    size_t count = 0;
    long exponent = 0;
    int seen_point = 0;
    const char *p = plain + (*plain == '-');
    for (; *p != '\0' && *p != 'e'; p++) {
        if (*p == '.') {
            seen_point = 1;
        } else {
            digits[count++] = *p;
            exponent -= seen_point;
        }
    }
    exponent += *p == 'e' ? strtol(p + 1, NULL, 10) : 0;
    for (size_t i = below(4); i > 0; i--) {
        digits[count++] = '0';
        exponent--;
    }
    size_t first = 0;
    while (first + 1 < count && digits[first] == '0') {
        first++;
    }
    /* Where the point goes: before the k-th digit. */
    size_t k = first + 1 + below(count - first);
    exponent += (long)(count - k);
    test_text_put(t, "-", *plain == '-');
    if (digits[first] == '0') {
        k = first + 1;
    }
    test_text_put(t, digits + first, k - first);
    if (k < count) {
        test_text_puts(t, ".");
        test_text_put(t, digits + k, count - k);
    }
    char suffix[32];
    snprintf(suffix, sizeof suffix, below(2) == 0 ? "e%ld" : exponent < 0 ? "E%ld" : "E+00%ld", exponent);
    test_text_puts(t, suffix);
}

static void put_number(test_text *t, const json_t *number)
{
    char plain[64];
    if (json_is_integer(number)) {
        snprintf(plain, sizeof plain, "%" JSON_INTEGER_FORMAT, json_integer_value(number));
    } else {
        snprintf(plain, sizeof plain, "%.17g", json_real_value(number));
    }
    if (below(2) == 0) {
        test_text_puts(t, plain);
    } else {
        put_decimal(t, plain);
    }
}

static void put_value(test_text *t, const json_t *value);

static void put_members(test_text *t, const json_t *object)
{
    struct {
        const char *name;
        size_t len;
        const json_t *value;
    } members[64], swap;
    size_t count = 0;
    const char *name;
    size_t len;
    json_t *value;
    json_object_keylen_foreach((json_t *)object, name, len, value)
    {
        members[count].name = name;
        members[count].len = len;
        members[count++].value = value;
    }
    for (size_t i = count; i > 1; i--) {
        size_t other = below(i);
        swap = members[other];
        members[other] = members[i - 1];
        members[i - 1] = swap;
    }
    for (size_t i = 0; i < count; i++) {
        test_text_puts(t, i == 0 ? "{" : ",");
        put_space(t);
        put_string(t, members[i].name, members[i].len);
        put_space(t);
        test_text_puts(t, ":");
        put_value(t, members[i].value);
    }
    test_text_puts(t, count == 0 ? "{" : "");
    put_space(t);
    test_text_puts(t, "}");
}

static void put_value(test_text *t, const json_t *value)
{
    put_space(t);
    switch (json_typeof(value)) {
    case JSON_NULL:
        test_text_puts(t, "null");
        break;
    case JSON_TRUE:
        test_text_puts(t, "true");
        break;
    case JSON_FALSE:
        test_text_puts(t, "false");
        break;
    case JSON_STRING:
        put_string(t, json_string_value(value), json_string_length(value));
        break;
    case JSON_ARRAY:
        test_text_puts(t, "[");
        put_space(t);
        for (size_t i = 0; i < json_array_size(value); i++) {
            test_text_puts(t, i == 0 ? "" : ",");
            put_value(t, json_array_get(value, i));
        }
        test_text_puts(t, "]");
        break;
    case JSON_OBJECT:
        put_members(t, value);
        break;
    default:
        put_number(t, value);
        break;
    }
    put_space(t);
}

json_t *test_json_tree(test_random *random, size_t depth)
{
    rng = random;
    return random_tree(depth);
}

void test_json_spelling(test_random *random, test_text *t, const json_t *tree)
{
    rng = random;
    put_value(t, tree);
}
