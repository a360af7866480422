/* tests/unit/test_base_json_scalars.c: the JSON scanner: strings, UTF-8 and numbers. */
#include "json_expect.h"

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
    expect("\"a\\ud83d\\ude00b\\ud83d\\ude00\"", "\"a\xf0\x9f\x98\x80"
                                                 "b\xf0\x9f\x98\x80\"");
}

static void test_json_refuses_lone_surrogates(void **state)
{
    (void)state;
    expect_refusal("\"\\ud800\"", 1, "lone surrogate \\ud800");
    expect_refusal("\"ab\\uDBFF\"", 3, "lone surrogate \\udbff");
    expect_refusal("\"\\udc00\"", 1, "lone surrogate \\udc00");
    expect_refusal("\"\\udfff\\ud800\"", 1, "lone surrogate \\udfff");
    expect_refusal("\"\\udfff\\udc00\"", 1, "lone surrogate \\udfff");
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
            snprintf(message, sizeof message, "control character 0x%02x in a string at byte %zu (line 1, column %zu)",
                     c, at, at + 1);
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
    {"\xc2\x80", 2},
    {"\xdf\xbf", 2},
    {"\xe0\xa0\x80", 3},
    {"\xec\xbf\xbf", 3},
    {"\xed\x9f\xbf", 3},
    {"\xee\x80\x80", 3},
    {"\xef\xbf\xbf", 3},
    {"\xf0\x90\x80\x80", 4},
    {"\xf3\xbf\xbf\xbf", 4},
    {"\xf4\x8f\xbf\xbf", 4},
    {"\x80", 0},
    {"\xbf", 0},
    {"\xc0\x80", 0},
    {"\xc1\xbf", 0},
    {"\xc2", 0},
    {"\xc2\x41", 0},
    {"\xc2\xc2", 0},
    {"\xe0\x9f\xbf", 0},
    {"\xe0\xa0", 0},
    {"\xe2\x82", 0},
    {"\xe2\x82\x41", 0},
    {"\xe2\x28\xa1", 0},
    {"\xed\xa0\x80", 0},
    {"\xed\xbf\xbf", 0},
    {"\xf0\x8f\xbf\xbf", 0},
    {"\xf0\x90\x80", 0},
    {"\xf0\x90\x80\x41", 0},
    {"\xf0\x28\x8c\xbc", 0},
    {"\xf4\x90\x80\x80", 0},
    {"\xf5\x80\x80\x80", 0},
    {"\xf8\x88\x80\x80", 0},
    {"\xfe", 0},
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
        {"0", "0"},
        {"-0", "0"},
        {"0.0", "0"},
        {"-0.000", "0"},
        {"0e5", "0"},
        {"-0E-5", "0"},
        {"0e+0", "0"},
        {"0e99999999999999999999999999", "0"},
        {"0.00e-99999999999999999999999999", "0"},
        /* n <= p <= 21: digits and zeros */
        {"1", "1"},
        {"-1", "-1"},
        {"10", "10"},
        {"1e1", "10"},
        {"100", "100"},
        {"1e2", "100"},
        {"100.0", "100"},
        {"1.00e2", "100"},
        {"0.1e3", "100"},
        {"10E+1", "100"},
        {"1000e-1", "100"},
        {"-12e3", "-12000"},
        {"9223372036854775808", "9223372036854775808"},
        {"9007199254740993", "9007199254740993"},
        {"9007199254740993.0", "9007199254740993"},
        {"1e20", "100000000000000000000"},
        {"100000000000000000000", "100000000000000000000"},
        {"123456789012345678901", "123456789012345678901"},
        {"123456789012345678901.000", "123456789012345678901"},
        {"1234567890123456789010e-1", "123456789012345678901"},
        /* 0 < p <= 21: a point after p digits */
        {"1.5", "1.5"},
        {"1.50", "1.5"},
        {"15e-1", "1.5"},
        {"0.15e1", "1.5"},
        {"-10.25", "-10.25"},
        {"3.0625e1", "30.625"},
        {"12345678901234567890.5", "12345678901234567890.5"},
        {"123456789012345678901.5", "123456789012345678901.5"},
        {"1.234567890123456789015e20", "123456789012345678901.5"},
        {"10.0100", "10.01"},
        {"3.14159265358979323846264338327950288", "3.14159265358979323846264338327950288"},
        /* -6 < p <= 0: 0. and zeros */
        {"0.1", "0.1"},
        {"0.10", "0.1"},
        {"1e-1", "0.1"},
        {"-0.5", "-0.5"},
        {"0.01", "0.01"},
        {"0.00001", "0.00001"},
        {"0.000001", "0.000001"},
        {"1e-6", "0.000001"},
        {"10e-7", "0.000001"},
        {"0.00000123", "0.00000123"},
        {"0.1000000000000000055", "0.1000000000000000055"},
        {"0.000001000", "0.000001"},
        {"1234567e-12", "0.000001234567"},
        /* else an exponent */
        {"1e21", "1e+21"},
        {"1e+21", "1e+21"},
        {"1E021", "1e+21"},
        {"1000000000000000000000", "1e+21"},
        {"1234567890123456789012", "1.234567890123456789012e+21"},
        {"1234567890123456789012.50", "1.2345678901234567890125e+21"},
        {"-12e400", "-1.2e+401"},
        {"1e400", "1e+400"},
        {"1.50E+0400", "1.5e+400"},
        {"0.0000001", "1e-7"},
        {"1e-7", "1e-7"},
        {"1.0e-07", "1e-7"},
        {"0.00000012", "1.2e-7"},
        {"0.0000000", "0"},
        {"-1.50e-0400", "-1.5e-400"},
        {"0.000000123", "1.23e-7"},
        {"9.999999e-7", "9.999999e-7"},
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
        "1e1000000000000001",
        "10e1000000000000000",
        "-1e1000000000000001",
        "1e-1000000000000001",
        "0.1e-1000000000000000",
        "1e9223372036854775807",
        "1e9223372036854775808",
        "1e-9223372036854775808",
        "1e99999999999999999999999999999",
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

int main(void)
{
    const struct CMUnitTest tests[] = {
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
    };
    return cmocka_run_group_tests(tests, json_setup, json_teardown);
}
