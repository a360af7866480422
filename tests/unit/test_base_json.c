/* tests/unit/test_base_json.c: the JSON scanner: what it accepts and writes, what it refuses and where it says so. */
#include "support.h"

#include "base/alloc.h"
#include "base/json.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define COUNT(table) (sizeof(table) / sizeof(table)[0])

static larder__json json;

/* The scanner must not look behind its text: it gets a block of exactly that size, which the sanitizers watch. */
static int canonical(const char *text, size_t len, size_t *offset, larder_error *error)
{
    char *copy = malloc(len > 0 ? len : 1);
    assert_non_null(copy);
    memcpy(copy, text, len);
    int status = larder__json_canonical(&json, copy, len, offset, error);
    larder__json other;
    larder__json_init(&other);
    assert_int_equal(larder__json_validate(&other, copy, len, NULL, NULL), status);
    larder__json_release(&other);
    free(copy);
    return status;
}

static void expect_bytes(const char *text, size_t len, const char *expected, size_t expected_len)
{
    larder_error error = {0, 0, ""};
    if (canonical(text, len, NULL, &error) != LARDER_OK) {
        fail_msg("%.*s was refused: %s", (int)len, text, error.message);
    }
    if (json.out.len != expected_len || memcmp(json.out.data, expected, expected_len) != 0) {
        fail_msg("%.*s became %s, not %s", (int)len, text, json.out.data, expected);
    }
    assert_int_equal(json.out.data[expected_len], '\0');
}

/* Both ways: the canonical form is its own canonical form. */
static void expect(const char *text, const char *expected)
{
    expect_bytes(text, strlen(text), expected, strlen(expected));
    expect_bytes(expected, strlen(expected), expected, strlen(expected));
}

static void expect_refusal_bytes(const char *text, size_t len, size_t offset, const char *message)
{
    size_t found = (size_t)-1;
    larder_error error = {0, 0, ""};
    if (canonical(text, len, &found, &error) != LARDER_EJSON) {
        fail_msg("%.*s was not refused", (int)len, text);
    }
    assert_int_equal(error.status, LARDER_EJSON);
    if (found != offset || strcmp(error.message, message) != 0) {
        fail_msg("%.*s: at %zu, \"%s\"; expected at %zu, \"%s\"", (int)len, text, found, error.message, offset, message);
    }
    assert_int_equal(json.out.len, 0);
}

static void expect_refusal(const char *text, size_t offset, const char *what)
{
    char message[LARDER_ERROR_MESSAGE_SIZE];
    snprintf(message, sizeof message, "%s at byte %zu (line 1, column %zu)", what, offset, offset + 1);
    expect_refusal_bytes(text, strlen(text), offset, message);
}

/* ---- structure ---- */

static void test_json_accepts_every_kind_of_value(void **state)
{
    (void)state;
    expect("null", "null");
    expect("true", "true");
    expect("false", "false");
    expect("0", "0");
    expect("\"\"", "\"\"");
    expect("[]", "[]");
    expect("{}", "{}");
    expect("[null,true,false,1,\"a\",[],{}]", "[null,true,false,1,\"a\",[],{}]");
    expect("{\"a\":{\"b\":[{\"c\":null}]}}", "{\"a\":{\"b\":[{\"c\":null}]}}");
}

static void test_json_drops_white_space_wherever_it_may_stand(void **state)
{
    (void)state;
    expect(" \t\r\n1 \t\r\n", "1");
    expect(" [ 1 , 2 , [ ] , { } ] ", "[1,2,[],{}]");
    expect("{ \"a\" : 1 ,\n\t\"b\"\r: [ ] }", "{\"a\":1,\"b\":[]}");
    expect("\" \\t a \"", "\" \\t a \"");
}

static void test_json_refuses_what_is_no_value(void **state)
{
    (void)state;
    expect_refusal("", 0, "expected a value, found the end of the text");
    expect_refusal("  ", 2, "expected a value, found the end of the text");
    expect_refusal("x", 0, "expected a value, found 'x'");
    expect_refusal("'a'", 0, "expected a value, found '''");
    expect_refusal("NaN", 0, "expected a value, found 'N'");
    expect_refusal("True", 0, "expected a value, found 'T'");
    expect_refusal("+1", 0, "expected a value, found '+'");
    expect_refusal(".5", 0, "expected a value, found '.'");
    expect_refusal("\xef\xbb\xbf" "1", 0, "expected a value, found byte 0xef");
    expect_refusal("/* */1", 0, "expected a value, found '/'");
    expect_refusal("\x0b" "1", 0, "expected a value, found byte 0x0b");
    expect_refusal("]", 0, "expected a value, found ']'");
    expect_refusal(":", 0, "expected a value, found ':'");
    expect_refusal("\x7f", 0, "expected a value, found byte 0x7f");
}

static void test_json_refuses_broken_words_at_their_first_wrong_byte(void **state)
{
    (void)state;
    expect_refusal("tru", 3, "expected true, found the end of the text");
    expect_refusal("[trUe]", 3, "expected true, found 'U'");
    expect_refusal("fals ", 4, "expected false, found byte 0x20");
    expect_refusal("nil", 1, "expected null, found 'i'");
    expect_refusal("nulll", 4, "expected the end of the text, found 'l'");
    expect_refusal("[nullx]", 5, "expected ',' or ']', found 'x'");
}

static void test_json_refuses_broken_arrays(void **state)
{
    (void)state;
    expect_refusal("[", 1, "expected a value, found the end of the text");
    expect_refusal("[1", 2, "expected ',' or ']', found the end of the text");
    expect_refusal("[1,", 3, "expected a value, found the end of the text");
    expect_refusal("[1,]", 3, "expected a value, found ']'");
    expect_refusal("[,1]", 1, "expected a value, found ','");
    expect_refusal("[1 2]", 3, "expected ',' or ']', found '2'");
    expect_refusal("[1}", 2, "expected ',' or ']', found '}'");
    expect_refusal("[1:2]", 2, "expected ',' or ']', found ':'");
    expect_refusal("[[1]", 4, "expected ',' or ']', found the end of the text");
}

static void test_json_refuses_broken_objects(void **state)
{
    (void)state;
    expect_refusal("{", 1, "expected a member's name in quotes, found the end of the text");
    expect_refusal("{a:1}", 1, "expected a member's name in quotes, found 'a'");
    expect_refusal("{1:1}", 1, "expected a member's name in quotes, found '1'");
    expect_refusal("{,}", 1, "expected a member's name in quotes, found ','");
    expect_refusal("{]", 1, "expected a member's name in quotes, found ']'");
    expect_refusal("{\"a\"}", 4, "expected ':' after the member's name, found '}'");
    expect_refusal("{\"a\"", 4, "expected ':' after the member's name, found the end of the text");
    expect_refusal("{\"a\" 1}", 5, "expected ':' after the member's name, found '1'");
    expect_refusal("{\"a\":", 5, "expected a value, found the end of the text");
    expect_refusal("{\"a\":}", 5, "expected a value, found '}'");
    expect_refusal("{\"a\":1", 6, "expected ',' or '}', found the end of the text");
    expect_refusal("{\"a\":1]", 6, "expected ',' or '}', found ']'");
    expect_refusal("{\"a\":1 \"b\":2}", 7, "expected ',' or '}', found '\"'");
    expect_refusal("{\"a\":1,}", 7, "expected a member's name in quotes, found '}'");
    expect_refusal("{\"a\":1,", 7, "expected a member's name in quotes, found the end of the text");
}

static void test_json_refuses_trailing_bytes(void **state)
{
    (void)state;
    expect_refusal("1 2", 2, "expected the end of the text, found '2'");
    expect_refusal("{} {}", 3, "expected the end of the text, found '{'");
    expect_refusal("[]]", 2, "expected the end of the text, found ']'");
    expect_refusal("\"a\"b", 3, "expected the end of the text, found 'b'");
    expect_refusal_bytes("1\0", 2, 1, "expected the end of the text, found byte 0x00 at byte 1 (line 1, column 2)");
    expect_refusal_bytes("\0", 1, 0, "expected a value, found byte 0x00 at byte 0 (line 1, column 1)");
}

static void nest(char *text, size_t depth, int objects)
{
    char *w = text;
    for (size_t i = 0; i < depth; i++) {
        w = stpcpy(w, objects && i % 2 == 1 ? "{\"a\":" : "[");
    }
    *w++ = '7';
    for (size_t i = depth; i > 0; i--) {
        *w++ = objects && (i - 1) % 2 == 1 ? '}' : ']';
    }
    *w = '\0';
}

static void test_json_nests_64_deep_and_no_deeper(void **state)
{
    (void)state;
    char text[1024];
    nest(text, 64, 0);
    expect(text, text);
    nest(text, 64, 1);
    expect(text, text);
    nest(text, 65, 0);
    expect_refusal(text, 64, "nested deeper than 64");
    nest(text, 65, 1);
    expect_refusal(text, 64 + 32 * 4, "nested deeper than 64");
    memset(text, '[', sizeof text);
    expect_refusal_bytes(text, sizeof text, 64, "nested deeper than 64 at byte 64 (line 1, column 65)");
    /* Depth is what is open, not what was opened. */
    nest(text, 63, 0);
    char twice[2 * sizeof text + 4];
    snprintf(twice, sizeof twice, "[%s,%s]", text, text);
    expect(twice, twice);
}

static void test_json_counts_lines_and_columns_in_characters(void **state)
{
    (void)state;
    static const char text[] = "{\n \"\xc3\xa9\xe2\x82\xac\": 1,\r\n \"\xf0\x9f\x98\x80\":x}";
    expect_refusal_bytes(text, sizeof text - 1, 24, "expected a value, found 'x' at byte 24 (line 3, column 6)");
    static const char duplicate[] = "{\"a\": [1],\n    \"a\": 2}";
    expect_refusal_bytes(duplicate, sizeof duplicate - 1, 15, "duplicate member \"a\" at byte 15 (line 2, column 5)");
    expect_refusal_bytes("\n\n", 2, 2, "expected a value, found the end of the text at byte 2 (line 3, column 1)");
}

static void test_json_needs_neither_offset_nor_error(void **state)
{
    (void)state;
    size_t offset = 99;
    assert_int_equal(larder__json_canonical(&json, "[x", 2, NULL, NULL), LARDER_EJSON);
    assert_int_equal(larder__json_canonical(&json, "[x", 2, &offset, NULL), LARDER_EJSON);
    assert_int_equal(offset, 1);
    offset = 99;
    assert_int_equal(larder__json_canonical(&json, NULL, 0, &offset, NULL), LARDER_EJSON);
    assert_int_equal(offset, 0);
    larder_error error = {7, 7, "untouched"};
    assert_int_equal(larder__json_canonical(&json, "[1]", 3, &offset, &error), LARDER_OK);
    assert_int_equal(offset, 0);
    assert_string_equal(error.message, "untouched");
}

static void test_json_refuses_texts_over_the_size_limit(void **state)
{
    (void)state;
    larder_error error = {0, 0, ""};
    assert_int_equal(larder__json_canonical(&json, "1", LARDER__JSON_MAX_SIZE + 1, NULL, &error), LARDER_ETOOBIG);
    assert_string_equal(error.message, "JSON of 536870913 bytes, over the limit of 536870912");
}

/* ---- strings ---- */

static void test_json_writes_each_escape_in_one_spelling(void **state)
{
    (void)state;
    expect("\"\\\"\\\\\\/\\b\\f\\n\\r\\t\"", "\"\\\"\\\\/\\b\\f\\n\\r\\t\"");
    expect("\"\\u0022\\u005c\\u002F\\u0008\\u000c\\u000A\\u000d\\u0009\"", "\"\\\"\\\\/\\b\\f\\n\\r\\t\"");
    expect("\"\\u0041\\u00e9\\u20AC\\u007f\\u0080\\uffff\"", "\"A\xc3\xa9\xe2\x82\xac\x7f\xc2\x80\xef\xbf\xbf\"");
    expect("\"\\u07ff\\u0800\\ud7ff\\ue000\"", "\"\xdf\xbf\xe0\xa0\x80\xed\x9f\xbf\xee\x80\x80\"");
    expect("\"\\u2028/\\u2029\"", "\"\xe2\x80\xa8/\xe2\x80\xa9\"");
    for (unsigned c = 0; c < 0x20; c++) {
        char text[16];
        char expected[16];
        static const char letters[] = "btn\0fr";
        snprintf(text, sizeof text, "\"\\u%04X\"", c);
        if (c >= 8 && c <= 13 && c != 11) {
            snprintf(expected, sizeof expected, "\"\\%c\"", letters[c - 8]);
        } else {
            snprintf(expected, sizeof expected, "\"\\u%04x\"", c);
        }
        expect(text, expected);
    }
}

static void test_json_joins_surrogate_pairs(void **state)
{
    (void)state;
    expect("\"\\ud83d\\ude00\"", "\"\xf0\x9f\x98\x80\"");
    expect("\"\\uD800\\uDC00\"", "\"\xf0\x90\x80\x80\"");
    expect("\"\\udbff\\udfff\"", "\"\xf4\x8f\xbf\xbf\"");
    expect("\"a\\ud83d\\ude00b\\ud83d\\ude00\"", "\"a\xf0\x9f\x98\x80" "b\xf0\x9f\x98\x80\"");
}

static void test_json_refuses_lone_surrogates(void **state)
{
    (void)state;
    expect_refusal("\"\\ud800\"", 1, "lone surrogate \\ud800");
    expect_refusal("\"ab\\uDBFF\"", 3, "lone surrogate \\udbff");
    expect_refusal("\"\\udc00\"", 1, "lone surrogate \\udc00");
    expect_refusal("\"\\udfff\\ud800\"", 1, "lone surrogate \\udfff");
    expect_refusal("\"\\ud800\\ud800\"", 1, "lone surrogate \\ud800");
    expect_refusal("\"\\ud800\\u0041\"", 1, "lone surrogate \\ud800");
    expect_refusal("\"\\ud800\\n\"", 1, "lone surrogate \\ud800");
    expect_refusal("\"\\ud800xudc00\"", 1, "lone surrogate \\ud800");
    expect_refusal("\"\\ud800\\udc0\"", 1, "lone surrogate \\ud800");
    expect_refusal("\"\\ud800\\udc0", 1, "lone surrogate \\ud800");
    expect_refusal("\"\\ud800\\ue000\"", 1, "lone surrogate \\ud800");
}

static void test_json_refuses_broken_escapes_at_their_backslash(void **state)
{
    (void)state;
    static const char right[] = "\"\\/bfnrtu";
    for (int c = 1; c < 256; c++) {
        if (strchr(right, c) == NULL) {
            char text[] = "\"ab\\?\"";
            text[4] = (char)c;
            expect_refusal(text, 3, "backslash that begins no escape");
        }
    }
    expect_refusal_bytes("\"\\\0\"", 4, 1, "backslash that begins no escape at byte 1 (line 1, column 2)");
    expect_refusal("\"\\u\"", 1, "\\u without four hexadecimal digits");
    expect_refusal("\"\\u12\"", 1, "\\u without four hexadecimal digits");
    expect_refusal("\"\\u123", 1, "\\u without four hexadecimal digits");
    expect_refusal("\"\\u12g4\"", 1, "\\u without four hexadecimal digits");
    expect_refusal("\"\\u 123\"", 1, "\\u without four hexadecimal digits");
    expect_refusal("\"\\u+123\"", 1, "\\u without four hexadecimal digits");
    expect_refusal("\"\\u@bcd\"", 1, "\\u without four hexadecimal digits");
    expect_refusal("\"\\U0041\"", 1, "backslash that begins no escape");
}

static void test_json_refuses_strings_that_do_not_end(void **state)
{
    (void)state;
    expect_refusal("\"", 1, "the text ends inside a string");
    expect_refusal("\"abc", 4, "the text ends inside a string");
    expect_refusal("\"abcdefghijklmnop", 17, "the text ends inside a string");
    expect_refusal("\"abc\\", 5, "the text ends inside a string");
    expect_refusal("\"abc\\\"", 6, "the text ends inside a string");
    expect_refusal("{\"abc", 5, "the text ends inside a string");
}

static void test_json_refuses_control_characters_in_strings(void **state)
{
    (void)state;
    /* At every place of the eight bytes that are looked at together. */
    for (unsigned c = 0; c < 0x20; c++) {
        for (size_t at = 1; at < 20; at++) {
            char text[32] = "\"abcdefghijklmnopqrstuvwxyz\"";
            char message[128];
            text[at] = (char)c;
            snprintf(message, sizeof message, "control character 0x%02x in a string at byte %zu (line 1, column %zu)", c, at,
                     at + 1);
            expect_refusal_bytes(text, 28, at, message);
        }
    }
    expect("\"\x7f\"", "\"\x7f\"");
}

static void test_json_stops_at_special_bytes_wherever_they_stand_in_a_run(void **state)
{
    (void)state;
    for (size_t at = 0; at < 24; at++) {
        for (size_t len = at + 2; len < 32; len++) {
            char text[64];
            char expected[64];
            memset(text, 'x', sizeof text);
            text[0] = '"';
            memcpy(text + 1 + at, "\\/", 2);
            text[1 + len] = '"';
            memset(expected, 'x', sizeof expected);
            expected[0] = '"';
            expected[1 + at] = '/';
            expected[len] = '"';
            expect_bytes(text, len + 2, expected, len + 1);
        }
    }
}

typedef struct utf8_case {
    const char *bytes;
    size_t valid; /* bytes before the first wrong one */
} utf8_case;

static const utf8_case utf8_cases[] = {
    {"\xc2\x80", 2},         {"\xdf\xbf", 2},         {"\xe0\xa0\x80", 3},     {"\xec\xbf\xbf", 3},
    {"\xed\x9f\xbf", 3},     {"\xee\x80\x80", 3},     {"\xef\xbf\xbf", 3},     {"\xf0\x90\x80\x80", 4},
    {"\xf3\xbf\xbf\xbf", 4}, {"\xf4\x8f\xbf\xbf", 4}, {"\x80", 0},             {"\xbf", 0},
    {"\xc0\x80", 0},         {"\xc1\xbf", 0},         {"\xc2", 0},             {"\xc2\x41", 0},
    {"\xc2\xc2", 0},         {"\xe0\x9f\xbf", 0},     {"\xe0\xa0", 0},         {"\xe2\x82", 0},
    {"\xe2\x82\x41", 0},     {"\xe2\x28\xa1", 0},     {"\xed\xa0\x80", 0},     {"\xed\xbf\xbf", 0},
    {"\xf0\x8f\xbf\xbf", 0}, {"\xf0\x90\x80", 0},     {"\xf0\x90\x80\x41", 0}, {"\xf0\x28\x8c\xbc", 0},
    {"\xf4\x90\x80\x80", 0}, {"\xf5\x80\x80\x80", 0}, {"\xf8\x88\x80\x80", 0}, {"\xfe", 0},
    {"\xff", 0},
};

static void test_json_accepts_well_formed_utf8_and_refuses_the_rest_at_its_first_byte(void **state)
{
    (void)state;
    for (size_t i = 0; i < COUNT(utf8_cases); i++) {
        const utf8_case *c = &utf8_cases[i];
        char text[64];
        char message[128];
        /* After ASCII, after another sequence; before the quote, and at the end of the text. */
        snprintf(text, sizeof text, "\"abc\xc3\xa9%s\"", c->bytes);
        snprintf(message, sizeof message, "invalid UTF-8 (byte 0x%02x) at byte 6 (line 1, column 6)",
                 (unsigned char)c->bytes[0]);
        if (c->valid > 0) {
            expect(text, text);
            continue;
        }
        expect_refusal_bytes(text, strlen(text), 6, message);
        expect_refusal_bytes(text, strlen(text) - 1, 6, message);
    }
}

static void test_utf8_valid_finds_the_first_wrong_byte(void **state)
{
    (void)state;
    for (size_t i = 0; i < COUNT(utf8_cases); i++) {
        for (size_t before = 0; before < 18; before++) {
            for (size_t after = 0; after < 10; after++) {
                char text[64];
                size_t len = strlen(utf8_cases[i].bytes);
                memset(text, 'a', sizeof text);
                memcpy(text + before, utf8_cases[i].bytes, len);
                char *copy = malloc(before + len + after);
                assert_non_null(copy);
                memcpy(copy, text, before + len + after);
                size_t expected = utf8_cases[i].valid > 0 ? before + len + after : before;
                assert_int_equal(larder__utf8_valid(copy, before + len + after, 0), expected);
                assert_int_equal(larder__utf8_valid(copy, before + len + after, 1), expected);
                free(copy);
            }
        }
    }
}

static void test_utf8_valid_allows_nul_only_when_asked(void **state)
{
    (void)state;
    for (size_t at = 0; at < 20; at++) {
        char text[20];
        memset(text, 'a', sizeof text);
        text[at] = '\0';
        assert_int_equal(larder__utf8_valid(text, sizeof text, 0), at);
        assert_int_equal(larder__utf8_valid(text, sizeof text, 1), sizeof text);
    }
    assert_int_equal(larder__utf8_valid("", 0, 0), 0);
    assert_int_equal(larder__utf8_valid(NULL, 0, 0), 0);
}

/* ---- numbers ---- */

static void test_json_writes_numbers_in_one_layout(void **state)
{
    (void)state;
    static const char *const table[][2] = {
        /* zero */
        {"0", "0"}, {"-0", "0"}, {"0.0", "0"}, {"-0.000", "0"}, {"0e5", "0"}, {"-0E-5", "0"}, {"0e+0", "0"},
        {"0e99999999999999999999999999", "0"}, {"0.00e-99999999999999999999999999", "0"},
        /* n <= p <= 21: digits and zeros */
        {"1", "1"}, {"-1", "-1"}, {"10", "10"}, {"1e1", "10"}, {"100", "100"}, {"1e2", "100"}, {"100.0", "100"},
        {"1.00e2", "100"}, {"0.1e3", "100"}, {"10E+1", "100"}, {"1000e-1", "100"}, {"-12e3", "-12000"},
        {"9223372036854775808", "9223372036854775808"}, {"9007199254740993", "9007199254740993"},
        {"9007199254740993.0", "9007199254740993"}, {"1e20", "100000000000000000000"},
        {"100000000000000000000", "100000000000000000000"}, {"123456789012345678901", "123456789012345678901"},
        {"123456789012345678901.000", "123456789012345678901"}, {"1234567890123456789010e-1", "123456789012345678901"},
        /* 0 < p <= 21: a point after p digits */
        {"1.5", "1.5"}, {"1.50", "1.5"}, {"15e-1", "1.5"}, {"0.15e1", "1.5"}, {"-10.25", "-10.25"}, {"3.0625e1", "30.625"},
        {"12345678901234567890.5", "12345678901234567890.5"}, {"123456789012345678901.5", "123456789012345678901.5"},
        {"1.234567890123456789015e20", "123456789012345678901.5"}, {"10.0100", "10.01"},
        {"3.14159265358979323846264338327950288", "3.14159265358979323846264338327950288"},
        /* -6 < p <= 0: 0. and zeros */
        {"0.1", "0.1"}, {"0.10", "0.1"}, {"1e-1", "0.1"}, {"-0.5", "-0.5"}, {"0.01", "0.01"}, {"0.00001", "0.00001"},
        {"0.000001", "0.000001"}, {"1e-6", "0.000001"}, {"10e-7", "0.000001"}, {"0.00000123", "0.00000123"},
        {"0.1000000000000000055", "0.1000000000000000055"}, {"0.000001000", "0.000001"}, {"1234567e-12", "0.000001234567"},
        /* else an exponent */
        {"1e21", "1e+21"}, {"1e+21", "1e+21"}, {"1E021", "1e+21"}, {"1000000000000000000000", "1e+21"},
        {"1234567890123456789012", "1.234567890123456789012e+21"}, {"1234567890123456789012.50", "1.2345678901234567890125e+21"},
        {"-12e400", "-1.2e+401"}, {"1e400", "1e+400"}, {"1.50E+0400", "1.5e+400"}, {"0.0000001", "1e-7"}, {"1e-7", "1e-7"},
        {"1.0e-07", "1e-7"}, {"0.00000012", "1.2e-7"}, {"0.0000000", "0"}, {"-1.50e-0400", "-1.5e-400"},
        {"0.000000123", "1.23e-7"}, {"9.999999e-7", "9.999999e-7"},
        {"0.00000000000000000000000000000000000000001e41", "1"},
        {"100000000000000000000000000000000000000000e-41", "1"},
    };
    for (size_t i = 0; i < COUNT(table); i++) {
        expect(table[i][0], table[i][1]);
        char text[256];
        char expected[256];
        snprintf(text, sizeof text, "[%s,{\"a\":%s}]", table[i][0], table[i][0]);
        snprintf(expected, sizeof expected, "[%s,{\"a\":%s}]", table[i][1], table[i][1]);
        expect(text, expected);
    }
}

static void test_json_bounds_exponents_by_value_not_by_spelling(void **state)
{
    (void)state;
    expect("1e1000000000000000", "1e+1000000000000000");
    expect("10e999999999999999", "1e+1000000000000000");
    expect("0.1e1000000000000001", "1e+1000000000000000");
    expect("9.9e1000000000000000", "9.9e+1000000000000000");
    expect("1e-1000000000000000", "1e-1000000000000000");
    expect("10e-1000000000000001", "1e-1000000000000000");
    expect("1e0000000000000000000000000000000000001", "10");
    static const char *const refused[] = {
        "1e1000000000000001",   "10e1000000000000000",  "-1e1000000000000001", "1e-1000000000000001", "0.1e-1000000000000000",
        "1e9223372036854775807", "1e9223372036854775808", "1e-9223372036854775808", "1e99999999999999999999999999999",
        "1e-99999999999999999999999999999",
    };
    for (size_t i = 0; i < COUNT(refused); i++) {
        expect_refusal(refused[i], 0, "number with an exponent beyond 10^15");
        char text[64];
        snprintf(text, sizeof text, "[ %s]", refused[i]);
        expect_refusal(text, 2, "number with an exponent beyond 10^15");
    }
}

static void test_json_refuses_broken_numbers(void **state)
{
    (void)state;
    expect_refusal("-", 1, "expected a digit, found the end of the text");
    expect_refusal("-x", 1, "expected a digit, found 'x'");
    expect_refusal("--1", 1, "expected a digit, found '-'");
    expect_refusal("-.5", 1, "expected a digit, found '.'");
    expect_refusal("-Infinity", 1, "expected a digit, found 'I'");
    expect_refusal("01", 0, "number with a leading zero");
    expect_refusal("00", 0, "number with a leading zero");
    expect_refusal("-012", 1, "number with a leading zero");
    expect_refusal("[1,007]", 3, "number with a leading zero");
    expect_refusal("1.", 2, "expected a digit after the point, found the end of the text");
    expect_refusal("1.e5", 2, "expected a digit after the point, found 'e'");
    expect_refusal("[0.]", 3, "expected a digit after the point, found ']'");
    expect_refusal("1e", 2, "expected a digit of the exponent, found the end of the text");
    expect_refusal("1E+", 3, "expected a digit of the exponent, found the end of the text");
    expect_refusal("1e-x", 3, "expected a digit of the exponent, found 'x'");
    expect_refusal("1e+-1", 3, "expected a digit of the exponent, found '-'");
    expect_refusal("1e.5", 2, "expected a digit of the exponent, found '.'");
    expect_refusal("1.2.3", 3, "expected the end of the text, found '.'");
    expect_refusal("1e5.5", 3, "expected the end of the text, found '.'");
    expect_refusal("0x10", 1, "expected the end of the text, found 'x'");
    expect_refusal("1_000", 1, "expected the end of the text, found '_'");
}

static void test_json_keeps_every_digit_of_long_numbers(void **state)
{
    (void)state;
    for (size_t digits = 1; digits < 300; digits++) {
        char text[320];
        char expected[320];
        for (size_t i = 0; i < digits; i++) {
            text[i] = (char)('1' + i * 7 % 9);
        }
        text[digits] = '\0';
        if (digits <= 21) {
            expect(text, text);
            continue;
        }
        snprintf(expected, sizeof expected, "%c.%se+%zu", text[0], text + 1, digits - 1);
        expect(text, expected);
        memmove(text + 2, text, digits + 1);
        memcpy(text, "0.", 2);
        expect(text, text);
    }
}

static void test_json_makes_room_for_numbers_that_grow(void **state)
{
    (void)state;
    static char text[20000];
    static char expected[100000];
    char *t = text;
    char *e = expected;
    *t++ = '[';
    *e++ = '[';
    while (t - text < 19000) {
        t = stpcpy(t, "-1e20,1e-6,\"a\",");
        e = stpcpy(e, "-100000000000000000000,0.000001,\"a\",");
    }
    strcpy(t, "1]");
    strcpy(e, "1]");
    expect(text, expected);
}

/* ---- members ---- */

static void test_json_sorts_members_by_the_bytes_of_their_names(void **state)
{
    (void)state;
    expect("{\"b\":1,\"a\":2}", "{\"a\":2,\"b\":1}");
    expect("{\"ab\":1,\"a\":2,\"\":3}", "{\"\":3,\"a\":2,\"ab\":1}");
    expect("{\"a\":1,\"B\":2,\"_\":3}", "{\"B\":2,\"_\":3,\"a\":1}");
    expect("{\"10\":1,\"9\":2,\"1\":3}", "{\"1\":3,\"10\":1,\"9\":2}");
    /* by code point, unlike UTF-16: U+FFFF before U+10000 */
    expect("{\"\\ud800\\udc00\":1,\"\xef\xbf\xbf\":2,\"\xc3\xa9\":3,\"z\":4}",
           "{\"z\":4,\"\xc3\xa9\":3,\"\xef\xbf\xbf\":2,\"\xf0\x90\x80\x80\":1}");
    /* names that differ behind their eighth byte, and by length there */
    expect("{\"12345678b\":1,\"12345678a\":2,\"12345678\":3,\"1234567\":4}",
           "{\"1234567\":4,\"12345678\":3,\"12345678a\":2,\"12345678b\":1}");
}

static void test_json_orders_names_as_if_unescaped(void **state)
{
    (void)state;
    /* NUL, tab, 0x1f, space, '!', '"', '#', '[', '\', ']' in ascending order, though their escapes all begin with '\'. */
    expect("{\"]\":9,\"\\\\\":8,\"[\":7,\"#\":6,\"\\\"\":5,\"!\":4,\" \":3,\"\\u001f\":2,\"\\t\":1,\"\\u0000\":0}",
           "{\"\\u0000\":0,\"\\t\":1,\"\\u001f\":2,\" \":3,\"!\":4,\"\\\"\":5,\"#\":6,\"[\":7,\"\\\\\":8,\"]\":9}");
    expect("{\"a\\u0000\":1,\"a\":2}", "{\"a\":2,\"a\\u0000\":1}");
    expect("{\"\\u0000\\u0000\":1,\"\\u0000\":2,\"\":3}", "{\"\":3,\"\\u0000\":2,\"\\u0000\\u0000\":1}");
    expect("{\"12345678\\n\":1,\"12345678\\t\":2,\"12345678\":3,\"12345678\\u0010\":4}",
           "{\"12345678\":3,\"12345678\\t\":2,\"12345678\\n\":1,\"12345678\\u0010\":4}");
    expect("{\"12345678Z\":1,\"12345678\\\\\":2,\"12345678]\":3}", "{\"12345678Z\":1,\"12345678\\\\\":2,\"12345678]\":3}");
    expect("{\"\\b\\f\\n\\r\\t\\\"\\\\\\u000bx\":1,\"\\b\\f\\n\\r\\t\\\"\\\\\\u000bw\":2}",
           "{\"\\b\\f\\n\\r\\t\\\"\\\\\\u000bw\":2,\"\\b\\f\\n\\r\\t\\\"\\\\\\u000bx\":1}");
    expect("{\"\\u0062\":1,\"\\u0061\":2}", "{\"a\":2,\"b\":1}");
}

static void test_json_moves_whole_members(void **state)
{
    (void)state;
    expect("{\"c\": [1, {\"z\": 1, \"y\": {}}], \"b\": {\"b\": 1, \"a\": {\"d\": 0, \"c\": 1}}, \"a\": \"x\"}",
           "{\"a\":\"x\",\"b\":{\"a\":{\"c\":1,\"d\":0},\"b\":1},\"c\":[1,{\"y\":{},\"z\":1}]}");
    expect("[{\"b\":1,\"a\":1},{\"a\":1,\"b\":1},{\"b\":1,\"a\":1}]",
           "[{\"a\":1,\"b\":1},{\"a\":1,\"b\":1},{\"a\":1,\"b\":1}]");
}

static void test_json_sorts_objects_of_every_size(void **state)
{
    (void)state;
    for (unsigned count = 1; count < 200; count++) {
        static char text[8192];
        static char expected[8192];
        char *t = text;
        char *e = expected;
        for (unsigned i = 0; i < count; i++) {
            /* 211 is prime: i * 83 mod 211 is a permutation of distinct numbers, mostly out of order */
            t += sprintf(t, "%s\"member-%03u\":%u", i == 0 ? "{" : ",", (i * 83 + 17) % 211, (i * 83 + 17) % 211);
        }
        for (unsigned name = 0, written = 0; name < 211; name++) {
            for (unsigned i = 0; i < count; i++) {
                if ((i * 83 + 17) % 211 == name) {
                    e += sprintf(e, "%s\"member-%03u\":%u", written++ == 0 ? "{" : ",", name, name);
                }
            }
        }
        strcpy(t, "}");
        strcpy(e, "}");
        expect(text, expected);
    }
}

static void test_json_refuses_duplicate_members_at_the_later_name(void **state)
{
    (void)state;
    expect_refusal("{\"a\":1,\"a\":2}", 7, "duplicate member \"a\"");
    expect_refusal("{\"\":1,\"\":2}", 6, "duplicate member \"\"");
    expect_refusal("{\"a\":1,\"b\":2,\"a\":3}", 13, "duplicate member \"a\"");
    expect_refusal("{\"b\":1,\"a\":2,\"b\":3}", 13, "duplicate member \"b\"");
    expect_refusal("{\"b\":1,\"a\":2,\"a\":3,\"b\":3}", 13, "duplicate member \"a\"");
    expect_refusal("{\"b\":1,\"a\":2,\"b\":3,\"a\":3,\"b\":4}", 13, "duplicate member \"b\"");
    expect_refusal("{\"a\":1,\"\\u0061\":2}", 7, "duplicate member \"a\"");
    expect_refusal("{\"\\u0041\\n\":1,\"A\\u000a\":2}", 14, "duplicate member \"A\\n\"");
    expect_refusal("{\"12345678\":1,\"12345678\":2}", 14, "duplicate member \"12345678\"");
    expect_refusal("{\"123456789\":1,\"0\":1,\"123456789\":2}", 21, "duplicate member \"123456789\"");
    expect_refusal("{\"x\":[{\"b\":1,\"a\":{},\"b\":0}]}", 20, "duplicate member \"b\"");
    /* not duplicates: other objects */
    expect("{\"a\":{\"a\":{\"a\":1}},\"b\":[{\"a\":1},{\"a\":1}]}", "{\"a\":{\"a\":{\"a\":1}},\"b\":[{\"a\":1},{\"a\":1}]}");
}

static void test_json_shortens_long_names_in_messages_between_characters(void **state)
{
    (void)state;
    /* 63 bytes, then a character of three and an escape: the cut comes after what byte 63 begins */
    char text[512];
    static const char digits[] = "012345678901234567890123456789012345678901234567890123456789012";
    char message[256];
    snprintf(text, sizeof text, "{\"%s\xe2\x82\xac\\n\":1,\"%s\xe2\x82\xac\\n\":2}", digits, digits);
    snprintf(message, sizeof message, "duplicate member \"%s\xe2\x82\xac...\" at byte 74 (line 1, column 73)", digits);
    expect_refusal_bytes(text, strlen(text), 74, message);
    snprintf(text, sizeof text, "{\"%s\\u0001\":1,\"%s\\u0001\":2}", digits, digits);
    snprintf(message, sizeof message, "duplicate member \"%s\\u0001\" at byte 75 (line 1, column 76)", digits);
    expect_refusal_bytes(text, strlen(text), 75, message);
}

static void test_json_finds_one_duplicate_among_many_members(void **state)
{
    (void)state;
    static char text[100000];
    for (unsigned at = 0; at < 2000; at += 97) {
        char *t = text;
        size_t offset = 0;
        for (unsigned i = 0; i <= 2000; i++) {
            unsigned name = i < 2000 ? (i * 787) % 2003 : (at * 787) % 2003;
            *t++ = i == 0 ? '{' : ',';
            offset = (size_t)(t - text);
            t += sprintf(t, "\"common prefix %u\":[%u]", name, i);
        }
        strcpy(t, "}");
        char what[64];
        snprintf(what, sizeof what, "duplicate member \"common prefix %u\"", (at * 787) % 2003);
        expect_refusal(text, offset, what);
    }
}

/* ---- members() ---- */

typedef struct seen {
    size_t count;
    int stop_after;
    char text[512];
} seen;

static int note_member(const larder__json_span *span, void *user_data)
{
    static const char *const names[] = {"null", "false", "true", "number", "string", "array", "object"};
    seen *s = user_data;
    size_t used = strlen(s->text);
    snprintf(s->text + used, sizeof s->text - used, "%.*s%s=%.*s (%s); ", (int)span->name_len, span->name,
             span->name_escaped ? "!" : "", (int)span->value_len, span->value, names[span->kind]);
    s->count++;
    if (s->stop_after != 0 && s->count == (size_t)s->stop_after) {
        return 42;
    }
    /* The scanner is free for use here. */
    assert_int_equal(larder__json_canonical(&json, span->value, span->value_len, NULL, NULL), LARDER_OK);
    return 0;
}

static int members(const char *text, seen *s, larder_error *error)
{
    char *copy = malloc(strlen(text) + 1);
    assert_non_null(copy);
    memcpy(copy, text, strlen(text));
    int status = larder__json_members(&json, copy, strlen(text), note_member, s, error);
    free(copy);
    return status;
}

static void test_json_members_lie_in_their_order_as_written(void **state)
{
    (void)state;
    seen s = {0, 0, ""};
    static const char text[] = " { \"z\" : null , \"a\\n\":[ 1, {\"b\": \"]}\"} ] ,\"s\":\"x,}\\\"\\\\\", \"o\":{ } ,"
                               "\"t\":true,\"f\":false,\"n\":-1.50e3,\"\":\"\"} ";
    assert_int_equal(members(text, &s, NULL), LARDER_OK);
    assert_string_equal(s.text,
                        "z=null (null); a\\n!=[ 1, {\"b\": \"]}\"} ] (array); s=\"x,}\\\"\\\\\" (string); o={ } (object); "
                        "t=true (true); f=false (false); n=-1.50e3 (number); =\"\" (string); ");
}

static void test_json_members_of_an_empty_object_are_none(void **state)
{
    (void)state;
    seen s = {0, 0, ""};
    assert_int_equal(members("{}", &s, NULL), LARDER_OK);
    assert_int_equal(members(" { } ", &s, NULL), LARDER_OK);
    assert_int_equal(s.count, 0);
}

static void test_json_members_end_when_told(void **state)
{
    (void)state;
    seen s = {0, 2, ""};
    assert_int_equal(members("{\"a\":1,\"b\":2,\"c\":3}", &s, NULL), 42);
    assert_int_equal(s.count, 2);
}

static void test_json_members_validate_the_whole_text_first(void **state)
{
    (void)state;
    seen s = {0, 0, ""};
    larder_error error = {0, 0, ""};
    assert_int_equal(members("{\"a\":1,\"b\":2,\"a\":3}", &s, &error), LARDER_EJSON);
    assert_string_equal(error.message, "duplicate member \"a\" at byte 13 (line 1, column 14)");
    assert_int_equal(members("{\"a\":1} x", &s, &error), LARDER_EJSON);
    assert_string_equal(error.message, "expected the end of the text, found 'x' at byte 8 (line 1, column 9)");
    assert_int_equal(s.count, 0);
}

static void test_json_members_refuse_what_is_no_object(void **state)
{
    (void)state;
    static const char *const table[] = {"[1]", "1", "\"a\"", "null", "true", "false"};
    for (size_t i = 0; i < COUNT(table); i++) {
        seen s = {0, 0, ""};
        larder_error error = {0, 0, ""};
        char text[16];
        char message[128];
        snprintf(text, sizeof text, "\n %s", table[i]);
        snprintf(message, sizeof message, "expected an object, found '%c' at byte 2 (line 2, column 2)", table[i][0]);
        assert_int_equal(members(text, &s, &error), LARDER_EJSON);
        assert_string_equal(error.message, message);
        assert_int_equal(s.count, 0);
    }
}

/* ---- the scanner's memory ---- */

/* A text that makes each buffer be had and grown: members beyond the first lot, sorting, numbers that grow. */
static char *demanding_text(void)
{
    char *text = malloc(65536);
    assert_non_null(text);
    char *t = text;
    for (int i = 0; i < 300; i++) {
        t += sprintf(t, "%s\"m%03d\":[1e20,{\"b\":-1e20,\"a\":1e20}]", i == 0 ? "{" : ",", (i * 7) % 300);
    }
    strcpy(t, "}");
    return text;
}

static void test_json_survives_the_failure_of_each_allocation(void **state)
{
    (void)state;
    char *text = demanding_text();
    size_t len = strlen(text);
    assert_int_equal(larder__json_canonical(&json, text, len, NULL, NULL), LARDER_OK);
    long live = test_alloc_live();
    unsigned long needed = 0;
    for (unsigned long nth = 1; needed == 0; nth++) {
        larder__json fresh;
        larder__json_init(&fresh);
        larder_error error = {0, 0, ""};
        size_t offset = 77;
        test_alloc_fail_at(nth, 0);
        int status = larder__json_canonical(&fresh, text, len, &offset, &error);
        if (status == LARDER_OK) {
            assert_int_equal(test_alloc_failed(), 0);
            needed = test_alloc_count();
        } else {
            assert_int_equal(status, LARDER_ENOMEM);
            assert_int_equal(error.status, LARDER_ENOMEM);
            assert_non_null(strstr(error.message, "out of memory"));
            assert_int_equal(offset, 77);
            assert_int_equal(fresh.out.len, 0);
        }
        /* The scanner is good for the next text, whatever happened. */
        test_alloc_fail_at(0, 0);
        assert_int_equal(larder__json_canonical(&fresh, text, len, NULL, NULL), LARDER_OK);
        assert_int_equal(fresh.out.len, json.out.len);
        assert_memory_equal(fresh.out.data, json.out.data, json.out.len);
        larder__json_release(&fresh);
        assert_int_equal(test_alloc_live(), live);
    }
    /* Output and its growth, members and their growth, scratch and its growth: the loop has failed each of them. */
    assert_in_range(needed, 7, 40);
    free(text);
}

static void test_json_members_report_memory_that_runs_out(void **state)
{
    (void)state;
    larder__json fresh;
    larder__json_init(&fresh);
    seen s = {0, 0, ""};
    larder_error error = {0, 0, ""};
    test_alloc_fail_at(1, 1);
    assert_int_equal(larder__json_members(&fresh, "{\"a\":1}", 7, note_member, &s, &error), LARDER_ENOMEM);
    test_alloc_fail_at(0, 0);
    assert_int_equal(error.status, LARDER_ENOMEM);
    assert_int_equal(s.count, 0);
    larder__json_release(&fresh);
}

static void test_json_reuses_its_buffers(void **state)
{
    (void)state;
    char *text = demanding_text();
    assert_int_equal(larder__json_canonical(&json, text, strlen(text), NULL, NULL), LARDER_OK);
    test_alloc_fail_at(1, 1);
    assert_int_equal(larder__json_canonical(&json, text, strlen(text), NULL, NULL), LARDER_OK);
    assert_int_equal(larder__json_canonical(&json, "[1]", 3, NULL, NULL), LARDER_OK);
    assert_int_equal(larder__json_validate(&json, text, strlen(text), NULL, NULL), LARDER_OK);
    assert_int_equal(test_alloc_count(), 0);
    test_alloc_fail_at(0, 0);
    free(text);
}

static void test_json_gives_back_what_a_large_text_took(void **state)
{
    (void)state;
    larder__json fresh;
    larder__json_init(&fresh);
    char *text = malloc(4000000);
    assert_non_null(text);
    char *t = text;
    for (int i = 0; i < 100000; i++) {
        t += sprintf(t, "%s\"%06d\":1", i == 0 ? "{" : ",", 999999 - i);
    }
    strcpy(t, "}");
    assert_int_equal(larder__json_canonical(&fresh, text, strlen(text), NULL, NULL), LARDER_OK);
    assert_true(fresh.out.capacity > 1000000);
    assert_true(fresh.scratch.capacity > 1000000);
    assert_true(fresh.members_capacity >= 100000);
    assert_int_equal(larder__json_canonical(&fresh, "[1]", 3, NULL, NULL), LARDER_OK);
    assert_string_equal(fresh.out.data, "[1]");
    assert_true(fresh.out.capacity <= 262144);
    assert_true(fresh.scratch.capacity <= 262144);
    assert_true(fresh.members_capacity * sizeof fresh.members[0] <= 262144);
    free(text);
    larder__json_release(&fresh);
}

static int setup(void **state)
{
    (void)state;
    test_alloc_install();
    larder__json_init(&json);
    return 0;
}

static int teardown(void **state)
{
    (void)state;
    larder__json_release(&json);
    larder__json_release(&json); /* harmless */
    assert_int_equal(test_alloc_live(), 0);
    return 0;
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_json_accepts_every_kind_of_value),
        cmocka_unit_test(test_json_drops_white_space_wherever_it_may_stand),
        cmocka_unit_test(test_json_refuses_what_is_no_value),
        cmocka_unit_test(test_json_refuses_broken_words_at_their_first_wrong_byte),
        cmocka_unit_test(test_json_refuses_broken_arrays),
        cmocka_unit_test(test_json_refuses_broken_objects),
        cmocka_unit_test(test_json_refuses_trailing_bytes),
        cmocka_unit_test(test_json_nests_64_deep_and_no_deeper),
        cmocka_unit_test(test_json_counts_lines_and_columns_in_characters),
        cmocka_unit_test(test_json_needs_neither_offset_nor_error),
        cmocka_unit_test(test_json_refuses_texts_over_the_size_limit),
        cmocka_unit_test(test_json_writes_each_escape_in_one_spelling),
        cmocka_unit_test(test_json_joins_surrogate_pairs),
        cmocka_unit_test(test_json_refuses_lone_surrogates),
        cmocka_unit_test(test_json_refuses_broken_escapes_at_their_backslash),
        cmocka_unit_test(test_json_refuses_strings_that_do_not_end),
        cmocka_unit_test(test_json_refuses_control_characters_in_strings),
        cmocka_unit_test(test_json_stops_at_special_bytes_wherever_they_stand_in_a_run),
        cmocka_unit_test(test_json_accepts_well_formed_utf8_and_refuses_the_rest_at_its_first_byte),
        cmocka_unit_test(test_utf8_valid_finds_the_first_wrong_byte),
        cmocka_unit_test(test_utf8_valid_allows_nul_only_when_asked),
        cmocka_unit_test(test_json_writes_numbers_in_one_layout),
        cmocka_unit_test(test_json_bounds_exponents_by_value_not_by_spelling),
        cmocka_unit_test(test_json_refuses_broken_numbers),
        cmocka_unit_test(test_json_keeps_every_digit_of_long_numbers),
        cmocka_unit_test(test_json_makes_room_for_numbers_that_grow),
        cmocka_unit_test(test_json_sorts_members_by_the_bytes_of_their_names),
        cmocka_unit_test(test_json_orders_names_as_if_unescaped),
        cmocka_unit_test(test_json_moves_whole_members),
        cmocka_unit_test(test_json_sorts_objects_of_every_size),
        cmocka_unit_test(test_json_refuses_duplicate_members_at_the_later_name),
        cmocka_unit_test(test_json_shortens_long_names_in_messages_between_characters),
        cmocka_unit_test(test_json_finds_one_duplicate_among_many_members),
        cmocka_unit_test(test_json_members_lie_in_their_order_as_written),
        cmocka_unit_test(test_json_members_of_an_empty_object_are_none),
        cmocka_unit_test(test_json_members_end_when_told),
        cmocka_unit_test(test_json_members_validate_the_whole_text_first),
        cmocka_unit_test(test_json_members_refuse_what_is_no_object),
        cmocka_unit_test(test_json_survives_the_failure_of_each_allocation),
        cmocka_unit_test(test_json_members_report_memory_that_runs_out),
        cmocka_unit_test(test_json_reuses_its_buffers),
        cmocka_unit_test(test_json_gives_back_what_a_large_text_took),
    };
    return cmocka_run_group_tests(tests, setup, teardown);
}
