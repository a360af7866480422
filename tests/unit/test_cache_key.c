/* Keys: what `printf '%s\0%s' CHANNEL ARGS | sha256sum` says, and what channels and scopes are refused. */
#include "support.h"

#include "cache/key.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* printf '%s\0%s' db:search '["VSAM error"]' | sha256sum; the second with '\0user:7' behind it; the third of null */
#define SEARCH_KEY "93a0220c78cca93e9129e5652c001f0255f244f973491eb42756d1e8a676ee88"
#define SCOPED_KEY "b1f72028a5be7b0cac3e55cdab78aea6145601429e58461e8397717e6c5fffe7"
#define NULL_KEY "9949d33c5c8fb870162cf1a3ac9561915d193b850c1e623ad3adc217f315be93"

static larder__hasher *hasher_new(void)
{
    larder__hasher *hasher;
    assert_int_equal(larder__hasher_new(&hasher), LARDER_OK);
    return hasher;
}

static void expect_hash(larder__hasher *hasher, const char *channel, const char *args, const char *scope,
                        const char *expected)
{
    uint8_t key[LARDER_KEY_SIZE];
    char hex[LARDER_KEY_HEX_SIZE];
    assert_int_equal(larder__hasher_key(hasher, key, channel, strlen(channel), args, strlen(args), scope,
                                        scope == NULL ? 0 : strlen(scope)),
                     LARDER_OK);
    larder_key_hex(hex, key);
    assert_string_equal(hex, expected);
}

static void expect_key(const char *channel, const char *args, const char *scope, const char *expected)
{
    uint8_t key[LARDER_KEY_SIZE];
    char hex[LARDER_KEY_HEX_SIZE];
    larder_error error = {0};
    int status = larder_key(key, channel, LARDER_NUL, args, LARDER_NUL, scope, &error);
    assert_string_equal(error.message, "");
    assert_int_equal(status, LARDER_OK);
    larder_key_hex(hex, key);
    assert_string_equal(hex, expected);
}

static void test_key_is_the_one_that_sha256sum_computes(void **state)
{
    (void)state;
    larder__hasher *hasher = hasher_new();
    expect_hash(hasher, "db:search", "[\"VSAM error\"]", NULL, SEARCH_KEY);
    expect_hash(hasher, "db:search", "[\"VSAM error\"]", "user:7", SCOPED_KEY);
    expect_hash(hasher, "db:search", "[\"VSAM error\"]", NULL, SEARCH_KEY); /* the context starts afresh each time */
    larder__hasher_free(hasher);
}

/* Text that the shell passes on as it is, of a length that falls below and above the gathering of short messages. */
static void random_text(test_random *random, char *text, size_t max)
{
    static const char letters[] = "abcdefghijklmnopqrstuvwxyz0123456789:_-.,{}[]";
    size_t len = 1 + test_random_below(random, max - 1);
    for (size_t i = 0; i < len; i++) {
        text[i] = letters[test_random_below(random, sizeof letters - 1)];
    }
    text[len] = '\0';
}

static void test_key_of_random_requests_is_the_one_that_sha256sum_computes(void **state)
{
    (void)state;
    test_random random = {test_random_seed("keys")};
    larder__hasher *hasher = hasher_new();
    for (int i = 0; i < 60; i++) {
        char channel[LARDER_CHANNEL_MAX + 1];
        char scope[LARDER_CHANNEL_MAX + 1];
        char args[3000];
        char *expected;
        random_text(&random, channel, sizeof channel);
        random_text(&random, scope, sizeof scope);
        random_text(&random, args, i % 2 ? sizeof args : 300);
        assert_int_equal(test_shell(&expected, "printf '%%s\\0%%s' '%s' '%s' | sha256sum | cut -c1-64 | tr -d '\\n'",
                                    channel, args),
                         0);
        expect_hash(hasher, channel, args, NULL, expected);
        free(expected);
        assert_int_equal(test_shell(&expected,
                                    "printf '%%s\\0%%s\\0%%s' '%s' '%s' '%s' | sha256sum | cut -c1-64"
                                    " | tr -d '\\n'",
                                    channel, args, scope),
                         0);
        expect_hash(hasher, channel, args, scope, expected);
        free(expected);
    }
    larder__hasher_free(hasher);
}

static void test_key_of_long_and_short_messages_agrees_around_the_gathering_limit(void **state)
{
    (void)state;
    larder__hasher *hasher = hasher_new();
    static char args[1024];
    memset(args, 'x', sizeof args);
    for (size_t len = 480; len < 530; len++) { /* "c", NUL, len bytes */
        char *expected;
        uint8_t key[LARDER_KEY_SIZE];
        char hex[LARDER_KEY_HEX_SIZE];
        assert_int_equal(test_shell(&expected, "printf 'c\\0%%s' '%.*s' | sha256sum | cut -c1-64 | tr -d '\\n'",
                                    (int)len, args),
                         0);
        assert_int_equal(larder__hasher_key(hasher, key, "c", 1, args, len, NULL, 0), LARDER_OK);
        larder_key_hex(hex, key);
        assert_string_equal(hex, expected);
        free(expected);
    }
    larder__hasher_free(hasher);
}

static void test_key_canonicalises_arguments(void **state)
{
    (void)state;
    expect_key("db:search", "[\"VSAM error\"]", NULL, SEARCH_KEY);
    expect_key("db:search", " [ \"VSAM\\u0020error\" ]\n", NULL, SEARCH_KEY);
    expect_key("db:search", "[\"VSAM error\"]", "user:7", SCOPED_KEY);
    expect_key("db:search", NULL, NULL, NULL_KEY);
    expect_key("db:search", "null", NULL, NULL_KEY);
}

static void test_key_takes_lengths_as_well_as_terminated_strings(void **state)
{
    (void)state;
    uint8_t key[LARDER_KEY_SIZE];
    char hex[LARDER_KEY_HEX_SIZE];
    assert_int_equal(larder_key(key, "db:searchXX", 9, "[\"VSAM error\"]XX", 14, NULL, NULL), LARDER_OK);
    larder_key_hex(hex, key);
    assert_string_equal(hex, SEARCH_KEY);
}

static void test_key_differs_when_bytes_move_between_channel_args_and_scope(void **state)
{
    (void)state;
    uint8_t plain[LARDER_KEY_SIZE];
    uint8_t scoped[LARDER_KEY_SIZE];
    uint8_t moved[LARDER_KEY_SIZE];
    assert_int_equal(larder_key(plain, "a", LARDER_NUL, "12", LARDER_NUL, NULL, NULL), LARDER_OK);
    assert_int_equal(larder_key(scoped, "a", LARDER_NUL, "1", LARDER_NUL, "2", NULL), LARDER_OK);
    assert_int_equal(larder_key(moved, "a1", LARDER_NUL, "2", LARDER_NUL, NULL, NULL), LARDER_OK);
    assert_memory_not_equal(plain, scoped, LARDER_KEY_SIZE);
    assert_memory_not_equal(plain, moved, LARDER_KEY_SIZE);
    assert_memory_not_equal(scoped, moved, LARDER_KEY_SIZE);
}

static void test_key_of_invalid_json_says_where(void **state)
{
    (void)state;
    uint8_t key[LARDER_KEY_SIZE];
    larder_error error = {0};
    assert_int_equal(larder_key(key, "a", LARDER_NUL, "[1,]", LARDER_NUL, NULL, &error), LARDER_EJSON);
    assert_int_equal(error.status, LARDER_EJSON);
    assert_non_null(strstr(error.message, "byte 3"));
    assert_int_equal(larder_key(key, "a", LARDER_NUL, "", LARDER_NUL, NULL, NULL), LARDER_EJSON);
}

static void expect_refused(const char *name, size_t len, const char *because)
{
    larder_error error = {0};
    uint8_t key[LARDER_KEY_SIZE];
    assert_int_equal(larder__name_check("channel", name, len, &error), LARDER_EINVAL);
    assert_int_equal(error.status, LARDER_EINVAL);
    assert_string_equal(error.message, because);
    assert_int_equal(larder_key(key, name, len, "1", 1, NULL, NULL), LARDER_EINVAL);
}

static void test_key_channel_that_is_no_name_is_refused_with_the_reason(void **state)
{
    (void)state;
    char longest[LARDER_CHANNEL_MAX + 1];
    memset(longest, 'c', sizeof longest);
    assert_int_equal(larder__name_check("channel", longest, LARDER_CHANNEL_MAX, NULL), LARDER_OK);
    assert_int_equal(larder__name_check("channel", "\xc3\xa4rger", 6, NULL), LARDER_OK);
    expect_refused(NULL, 0, "channel is empty");
    expect_refused("", 0, "channel is empty");
    expect_refused(longest, sizeof longest, "channel is 256 bytes long, over the limit of 255");
    expect_refused("a\0b", 3, "channel has a NUL at byte 1");
    expect_refused("ab\xff", 3, "channel is not valid UTF-8 at byte 2");
    expect_refused("ab\xc3", 3, "channel is not valid UTF-8 at byte 2");
}

static void test_key_scope_that_is_no_name_is_refused(void **state)
{
    (void)state;
    uint8_t key[LARDER_KEY_SIZE];
    larder_error error = {0};
    assert_int_equal(larder_key(key, "a", LARDER_NUL, "1", LARDER_NUL, "", &error), LARDER_EINVAL);
    assert_string_equal(error.message, "scope is empty");
    assert_int_equal(larder_key(key, "a", LARDER_NUL, "1", LARDER_NUL, "\x80", &error), LARDER_EINVAL);
    assert_string_equal(error.message, "scope is not valid UTF-8 at byte 0");
}

static void test_key_hex_has_every_digit_in_its_place(void **state)
{
    (void)state;
    uint8_t key[LARDER_KEY_SIZE];
    char hex[LARDER_KEY_HEX_SIZE];
    for (int i = 0; i < LARDER_KEY_SIZE; i++) {
        key[i] = (uint8_t)(i * 8 + 7);
    }
    larder_key_hex(hex, key);
    assert_string_equal(hex, "070f171f272f373f474f575f676f777f878f979fa7afb7bfc7cfd7dfe7eff7ff");
}

static void test_key_fails_without_leaks_when_any_allocation_does(void **state)
{
    (void)state;
    uint8_t key[LARDER_KEY_SIZE];
    int status = LARDER_ENOMEM;
    unsigned long nth = 0;
    while (status != LARDER_OK) {
        test_alloc_fail_at(++nth, 0);
        status = larder_key(key, "a", LARDER_NUL, "{\"b\":1,\"a\":[2]}", LARDER_NUL, "s", NULL);
        assert_true(status == LARDER_OK || status == LARDER_ENOMEM);
        assert_int_equal(status == LARDER_ENOMEM, test_alloc_failed());
        assert_int_equal(test_alloc_live(), 0);
    }
    assert_true(nth > 2);
    test_alloc_fail_at(0, 0);
}

static void test_key_of_a_canonical_request_allocates_nothing(void **state)
{
    (void)state;
    larder__hasher *hasher = hasher_new();
    test_alloc_fail_at(0, 0);
    expect_hash(hasher, "db:search", "[\"VSAM error\"]", NULL, SEARCH_KEY);
    assert_int_equal(test_alloc_count(), 0);
    larder__hasher_free(hasher);
    assert_int_equal(test_alloc_live(), 0);
}

int main(void)
{
    test_alloc_install();
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_key_is_the_one_that_sha256sum_computes),
        cmocka_unit_test(test_key_of_random_requests_is_the_one_that_sha256sum_computes),
        cmocka_unit_test(test_key_of_long_and_short_messages_agrees_around_the_gathering_limit),
        cmocka_unit_test(test_key_canonicalises_arguments),
        cmocka_unit_test(test_key_takes_lengths_as_well_as_terminated_strings),
        cmocka_unit_test(test_key_differs_when_bytes_move_between_channel_args_and_scope),
        cmocka_unit_test(test_key_of_invalid_json_says_where),
        cmocka_unit_test(test_key_channel_that_is_no_name_is_refused_with_the_reason),
        cmocka_unit_test(test_key_scope_that_is_no_name_is_refused),
        cmocka_unit_test(test_key_hex_has_every_digit_in_its_place),
        cmocka_unit_test(test_key_fails_without_leaks_when_any_allocation_does),
        cmocka_unit_test(test_key_of_a_canonical_request_allocates_nothing),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
