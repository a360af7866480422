/* tests/unit/test_base_json.c: the JSON scanner: structure, the order of members, members(), its memory. */
#include "json_expect.h"

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
    expect_refusal("\xef\xbb\xbf"
                   "1",
                   0, "expected a value, found byte 0xef");
    expect_refusal("/* */1", 0, "expected a value, found '/'");
    expect_refusal("\x0b"
                   "1",
                   0, "expected a value, found byte 0x0b");
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
    /* NUL, tab, 0x1f, space, '!', '"', '#', '[', '\', ']' in ascending order, though all escapes begin with '\'. */
    expect("{\"]\":9,\"\\\\\":8,\"[\":7,\"#\":6,\"\\\"\":5,\"!\":4,\" \":3,\"\\u001f\":2,\"\\t\":1,\"\\u0000\":0}",
           "{\"\\u0000\":0,\"\\t\":1,\"\\u001f\":2,\" \":3,\"!\":4,\"\\\"\":5,\"#\":6,\"[\":7,\"\\\\\":8,\"]\":9}");
    expect("{\"a\\u0000\":1,\"a\":2}", "{\"a\":2,\"a\\u0000\":1}");
    expect("{\"\\u0000\\u0000\":1,\"\\u0000\":2,\"\":3}", "{\"\":3,\"\\u0000\":2,\"\\u0000\\u0000\":1}");
    expect("{\"12345678\\n\":1,\"12345678\\t\":2,\"12345678\":3,\"12345678\\u0010\":4}",
           "{\"12345678\":3,\"12345678\\t\":2,\"12345678\\n\":1,\"12345678\\u0010\":4}");
    expect("{\"12345678Z\":1,\"12345678\\\\\":2,\"12345678]\":3}",
           "{\"12345678Z\":1,\"12345678\\\\\":2,\"12345678]\":3}");
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
    expect("{\"a\":{\"a\":{\"a\":1}},\"b\":[{\"a\":1},{\"a\":1}]}",
           "{\"a\":{\"a\":{\"a\":1}},\"b\":[{\"a\":1},{\"a\":1}]}");
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
    assert_string_equal(s.text, "z=null (null); a\\n!=[ 1, {\"b\": \"]}\"} ] (array); "
                                "s=\"x,}\\\"\\\\\" (string); o={ } (object); "
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
    return cmocka_run_group_tests(tests, json_setup, json_teardown);
}
