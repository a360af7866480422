/* tests/unit/test_base_error.c: statuses and the error record. */
#include "support.h"

#include "base/error.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>

#define COUNT(table) (sizeof(table) / sizeof(table)[0])

static void test_error_is_filled_and_its_status_returned(void **state)
{
    (void)state;
    larder_error error = {1, 1, "before"};
    assert_int_equal(larder__fail(&error, LARDER_EJSON, "wrong %s at %d", "thing", 7), LARDER_EJSON);
    assert_int_equal(error.status, LARDER_EJSON);
    assert_int_equal(error.system_errno, 0);
    assert_string_equal(error.message, "wrong thing at 7");
    assert_int_equal(larder__fail(NULL, LARDER_EIO, "x"), LARDER_EIO);
}

static void test_error_messages_end_where_their_room_ends(void **state)
{
    (void)state;
    char large[2 * LARDER_ERROR_MESSAGE_SIZE];
    memset(large, 'm', sizeof large - 1);
    large[sizeof large - 1] = '\0';
    larder_error error;
    memset(&error, 'x', sizeof error);
    larder__fail(&error, LARDER_EIO, "%s", large);
    assert_int_equal(strlen(error.message), LARDER_ERROR_MESSAGE_SIZE - 1);
    memset(&error, 'x', sizeof error);
    larder__fail_errno(&error, EIO, "%s", large);
    assert_int_equal(strlen(error.message), LARDER_ERROR_MESSAGE_SIZE - 1);
}

static void test_error_of_a_system_call_has_its_status_number_and_words(void **state)
{
    (void)state;
    static const struct {
        int err;
        int status;
    } table[] = {
        {ENOMEM, LARDER_ENOMEM}, {EACCES, LARDER_EACCESS},  {EPERM, LARDER_EACCESS},    {ENOSPC, LARDER_EFULL},
        {EDQUOT, LARDER_EFULL},  {EROFS, LARDER_EREADONLY}, {ENOENT, LARDER_ENOTFOUND}, {EIO, LARDER_EIO},
        {EEXIST, LARDER_EEXIST}, {EMFILE, LARDER_ESYSTEM},
    };
    for (size_t i = 0; i < COUNT(table); i++) {
        larder_error error = {0, 0, ""};
        char expected[256];
        snprintf(expected, sizeof expected, "open file.db: %s", strerror(table[i].err));
        assert_int_equal(larder__fail_errno(&error, table[i].err, "open %s", "file.db"), table[i].status);
        assert_int_equal(error.status, table[i].status);
        assert_int_equal(error.system_errno, table[i].err);
        assert_string_equal(error.message, expected);
        assert_int_equal(larder__fail_errno(NULL, table[i].err, "x"), table[i].status);
    }
}

static void test_every_status_has_its_own_number_name_and_text(void **state)
{
    (void)state;
    static const struct {
        int value;
        const char *name;
        const char *text;
    } table[] = {
#define ROW(name, value, text) {value, "LARDER_" #name, text},
        LARDER_STATUS_MAP(ROW)
#undef ROW
    };
    assert_int_equal(table[COUNT(table) - 1].value, LARDER_STATUS_MIN);
    for (size_t i = 0; i < COUNT(table); i++) {
        assert_int_equal(table[i].value, -(int)i);
        assert_string_equal(larder_status_name(table[i].value), table[i].name);
        assert_string_equal(larder_status_text(table[i].value), table[i].text);
        for (size_t other = 0; other < i; other++) {
            assert_string_not_equal(table[i].text, table[other].text);
        }
    }
    assert_string_equal(larder_status_name(1), "LARDER_UNKNOWN");
    assert_string_equal(larder_status_name(LARDER_STATUS_MIN - 1), "LARDER_UNKNOWN");
    assert_string_equal(larder_status_text(1), "unknown status");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_error_is_filled_and_its_status_returned),
        cmocka_unit_test(test_error_messages_end_where_their_room_ends),
        cmocka_unit_test(test_error_of_a_system_call_has_its_status_number_and_words),
        cmocka_unit_test(test_every_status_has_its_own_number_name_and_text),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
