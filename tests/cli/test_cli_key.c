/* larder key: the key that the library uses, from arguments and from standard input. */
#include "command.h"

#include <jansson.h>
#include <string.h>

static void test_key_is_what_sha256sum_says(void **state)
{
    (void)state;
    const test_run *run = test_command("a=$(larder key db:search '[\"VSAM error\"]');"
                                       " b=$(printf '%%s\\0%%s' db:search '[\"VSAM error\"]' | sha256sum);"
                                       " test ${#a} = 64 -a \"$a  -\" = \"$b\"");
    assert_int_equal(run->code, 0);
    run = test_command("a=$(larder key c '{}' --scope alice); b=$(printf 'c\\0{}\\0alice' | sha256sum);"
                       " test \"$a  -\" = \"$b\"");
    assert_int_equal(run->code, 0);
}

static void test_key_does_not_depend_on_how_args_are_written(void **state)
{
    (void)state;
    const test_run *run = test_command("larder key c '{\"a\":100,\"b\":[]}' > $HOME/a;"
                                       " larder key c ' { \"b\" : [ ] , \"a\" : 1e2 } ' | cmp - $HOME/a");
    assert_int_equal(run->code, 0);
}

static void test_key_reads_args_from_standard_input(void **state)
{
    (void)state;
    const test_run *run = test_command("larder key c '[1]' > $HOME/a; echo '[1]' | larder key c - | cmp - $HOME/a");
    assert_int_equal(run->code, 0);
    run = test_command("{ printf '['; seq -s, 100000; printf ']'; } | larder key c -");
    assert_int_equal(run->code, 0);
    assert_int_equal(run->out_len, 65);
    run = test_command("larder key c - < /");
    assert_int_equal(run->code, 1);
    assert_string_equal(run->err, "larder: standard input: cannot read: Is a directory\n");
}

static void test_key_takes_negative_numbers_after_two_dashes(void **state)
{
    (void)state;
    const test_run *run = test_command("larder key c -5");
    assert_int_equal(run->code, 2);
    assert_string_equal(run->err, "larder: -5: unknown option; write -- before an argument that begins with -\n");
    run = test_command("larder key --json -- c -5");
    assert_int_equal(run->code, 0);
    assert_non_null(strstr(run->out, "\"args\":-5}"));
}

static void test_key_says_where_json_is_wrong(void **state)
{
    (void)state;
    const test_run *run = test_command("larder key c '{\"a\":1,\"a\":2}'");
    assert_int_equal(run->code, 1);
    assert_string_equal(run->out, "");
    assert_non_null(strstr(run->err, "byte 7"));
    run = test_command("larder key c ''");
    assert_int_equal(run->code, 1);
    run = test_command("printf '\"a\\0b\"' | larder key c -");
    assert_int_equal(run->code, 1);
    assert_non_null(strstr(run->err, "byte 2"));
}

static void test_key_refuses_a_bad_channel(void **state)
{
    (void)state;
    const test_run *run = test_command("larder key '' 1");
    assert_int_equal(run->code, 1);
    assert_non_null(strstr(run->err, "channel"));
    run = test_command("larder key $(printf 'x%%.0s' {1..256}) 1");
    assert_int_equal(run->code, 1);
    assert_non_null(strstr(run->err, "255"));
}

static void test_key_json_keeps_numbers_exact(void **state)
{
    (void)state;
    const test_run *run = test_command("larder key --json c '[9007199254740993.0, 1e400, \"\\u009b\"]' --scope 'a\"b'");
    assert_int_equal(run->code, 0);
    assert_non_null(strstr(run->out, "\"args\":[9007199254740993.0,1e400,\"\\u009b\"]"));
    assert_non_null(strstr(run->out, "\"scope\":\"a\\\"b\""));
    json_t *tree = json_loads(test_command("larder key --json c null")->out, 0, NULL);
    assert_non_null(tree);
    assert_true(json_is_null(json_object_get(tree, "args")));
    assert_true(json_is_null(json_object_get(tree, "scope")));
    assert_int_equal(json_string_length(json_object_get(tree, "key")), 64);
    json_decref(tree);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_key_is_what_sha256sum_says),
        cmocka_unit_test(test_key_does_not_depend_on_how_args_are_written),
        cmocka_unit_test(test_key_reads_args_from_standard_input),
        cmocka_unit_test(test_key_takes_negative_numbers_after_two_dashes),
        cmocka_unit_test(test_key_says_where_json_is_wrong),
        cmocka_unit_test(test_key_refuses_a_bad_channel),
        cmocka_unit_test(test_key_json_keeps_numbers_exact),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
