/* tests/unit/json_expect.h: what the tests of the JSON scanner share: this text becomes that, this text is refused
 * there. */
#ifndef LARDER_TEST_JSON_EXPECT_H
#define LARDER_TEST_JSON_EXPECT_H

#include "support.h"

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
        fail_msg("%.*s: at %zu, \"%s\"; expected at %zu, \"%s\"", (int)len, text, found, error.message, offset,
                 message);
    }
    assert_int_equal(json.out.len, 0);
}

static void expect_refusal(const char *text, size_t offset, const char *what)
{
    char message[LARDER_ERROR_MESSAGE_SIZE];
    snprintf(message, sizeof message, "%s at byte %zu (line 1, column %zu)", what, offset, offset + 1);
    expect_refusal_bytes(text, strlen(text), offset, message);
}

static int json_setup(void **state)
{
    (void)state;
    test_alloc_install();
    larder__json_init(&json);
    return 0;
}

static int json_teardown(void **state)
{
    (void)state;
    larder__json_release(&json);
    larder__json_release(&json); /* harmless */
    assert_int_equal(test_alloc_live(), 0);
    return 0;
}

#endif
