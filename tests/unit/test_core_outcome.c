/* tests/unit/test_core_outcome.c: failures' texts, also when there is no memory for them. */
#include "support.h"

#include "core/outcome.h"

#include <string.h>

static void test_texts_are_cleaned_of_what_is_not_utf8(void **state)
{
    (void)state;
    char good[] = "\xc3\xa9 fine \xf0\x9f\x98\x80";
    char bad[] = "\xc3 cut \xff\xfe \xe2\x82";
    larder__text_clean(good);
    larder__text_clean(bad);
    assert_string_equal(good, "\xc3\xa9 fine \xf0\x9f\x98\x80");
    assert_string_equal(bad, "? cut ?? ??");
}

static void test_a_failure_owns_copies(void **state)
{
    (void)state;
    larder__outcome outcome;
    char code[] = "CODE";
    char message[] = "message";
    char details[] = "{}";
    memset(&outcome, 0, sizeof outcome);
    assert_int_equal(larder__outcome_fail(&outcome, code, message, details), LARDER_OK);
    code[0] = message[0] = details[0] = '!';
    assert_string_equal(outcome.code, "CODE");
    assert_string_equal(outcome.message, "message");
    assert_string_equal(outcome.details, "{}");
    larder__outcome_release(&outcome);
    larder__outcome_release(&outcome); /* harmless */
}

static void test_without_memory_it_is_no_memory(void **state)
{
    (void)state;
    larder__outcome outcome;
    memset(&outcome, 0, sizeof outcome);
    test_alloc_fail_at(1, 1);
    assert_int_equal(larder__outcome_fail(&outcome, "CODE", "message", NULL), LARDER_ENOMEM);
    test_alloc_fail_at(0, 0);
    assert_string_equal(outcome.code, "NO_MEMORY");
    assert_string_equal(outcome.message, "memory ran out");
    larder__outcome_release(&outcome);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_texts_are_cleaned_of_what_is_not_utf8),
        cmocka_unit_test(test_a_failure_owns_copies),
        cmocka_unit_test(test_without_memory_it_is_no_memory),
    };
    test_alloc_install();
    return cmocka_run_group_tests(tests, NULL, NULL);
}
