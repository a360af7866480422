/* The command line: help, versions, mistakes, missing files, closed and full outputs. What is cached:
 * test_cli_cache.c. */
#include "command.h"

#include <string.h>
#include <sys/stat.h>

static void says(const char *where, const char *words)
{
    if (strstr(where, words) == NULL) {
        fail_msg("\"%s\" is not in:\n%s", words, where);
    }
}

/* Standard error is this one line, standard output empty. */
static void refuses(const char *line, int code, const char *error)
{
    const test_run *run = test_command("%s", line);
    assert_string_equal(run->err, error);
    assert_string_equal(run->out, "");
    assert_int_equal(run->code, code);
}

static void test_version_is_the_library_version(void **state)
{
    (void)state;
    const test_run *run = test_command("larder --version");
    assert_string_equal(run->out, "larder " LARDER_VERSION_STRING "\n");
    assert_int_equal(run->code, 0);
    assert_string_equal(test_command("larder -V")->out, "larder " LARDER_VERSION_STRING "\n");
}

static void test_help_names_every_command(void **state)
{
    static const char *const names[] = {"cache list",  "cache show KEY", "cache clear",
                                        "cache stats", "metrics",        "key CHANNEL ARGS"};
    (void)state;
    const test_run *run = test_command("larder --help");
    assert_int_equal(run->code, 0);
    assert_string_equal(run->err, "");
    for (size_t i = 0; i < sizeof names / sizeof names[0]; i++) {
        says(run->out, names[i]);
    }
}

static void test_help_has_three_spellings(void **state)
{
    static const char *const names[] = {"",        "cache", "cache list", "cache show", "cache clear", "cache stats",
                                        "metrics", "key"};
    (void)state;
    for (size_t i = 0; i < sizeof names / sizeof names[0]; i++) {
        const test_run *run = test_command("larder help %s > $HOME/a && larder %s --help > $HOME/b &&"
                                           " larder -h %s > $HOME/c && cmp $HOME/a $HOME/b && cmp $HOME/a $HOME/c"
                                           " && cat $HOME/a",
                                           names[i], names[i], names[i]);
        assert_int_equal(run->code, 0);
        says(run->out, "USAGE\n  larder ");
        says(run->out, "OPTIONS\n");
    }
}

static void test_help_fits_eighty_columns(void **state)
{
    (void)state;
    const test_run *run = test_command("for c in '' cache 'cache list' 'cache show' 'cache clear' 'cache stats' metrics"
                                       " key; do larder help $c; done | awk 'length > 79'");
    assert_string_equal(run->out, "");
}

static void test_command_that_is_unknown_is_answered_with_the_nearest(void **state)
{
    (void)state;
    refuses("larder chache list", 2, "larder: chache: unknown command; did you mean larder cache list?\n");
    refuses("larder cache lst", 2, "larder: cache lst: unknown command; did you mean larder cache list?\n");
    refuses("larder stats", 2, "larder: stats: unknown command; did you mean larder cache stats?\n");
    refuses("larder metrcis", 2, "larder: metrcis: unknown command; did you mean larder metrics?\n");
    refuses("larder cache frobnicate", 2,
            "larder: cache frobnicate: unknown command; larder cache --help lists them\n");
    refuses("larder frobnicate", 2, "larder: frobnicate: unknown command; larder --help lists them\n");
    refuses("larder help lsit", 2, "larder: lsit: unknown command; did you mean larder cache list?\n");
}

static void test_option_that_is_unknown_is_answered_with_the_nearest(void **state)
{
    (void)state;
    refuses("larder cache list --chanel x", 2, "larder: --chanel: unknown option; did you mean --channel?\n");
    refuses("larder cache list --jsno", 2, "larder: --jsno: unknown option; did you mean --json?\n");
    refuses("larder cache list -x", 2, "larder: -x: unknown option; see larder cache list --help\n");
    refuses("larder metrics --channel x", 2,
            "larder: --channel: not an option of larder metrics; see larder metrics --help\n");
    refuses("larder cache list --all", 2,
            "larder: --all: not an option of larder cache list; see larder cache list --help\n");
}

static void test_wrong_values_are_refused(void **state)
{
    (void)state;
    refuses("larder cache list --db", 2, "larder: --db: a value is missing after it; see larder cache list --help\n");
    refuses("larder cache list --json=1", 2, "larder: --json=1: it takes no value; see larder cache list --help\n");
    refuses("larder cache list --db=", 2, "larder: --db: its value is empty; see larder cache list --help\n");
    refuses("larder cache list --limit 0", 2,
            "larder: 0: not a limit, which is a number from 1; see larder cache list --help\n");
    refuses("larder cache list --limit 12x", 2,
            "larder: 12x: not a limit, which is a number from 1; see larder cache list --help\n");
    refuses("larder cache list --limit 99999999999999999999", 2,
            "larder: 99999999999999999999: not a limit, which is a number from 1; see larder cache list --help\n");
    refuses("larder cache list --key xyz", 2,
            "larder: xyz: not the beginning of a key, which is up to 64 hexadecimal digits;"
            " see larder cache list --help\n");
}

static void test_wrong_number_of_arguments_is_refused(void **state)
{
    (void)state;
    refuses("larder", 2, "larder: a command is missing; larder --help lists them\n");
    refuses("larder cache", 2, "larder: cache: a command is missing after it; larder cache --help lists them\n");
    refuses("larder cache show", 2, "larder: cache show: needs KEY; see larder cache show --help\n");
    refuses("larder key db:search", 2, "larder: key: needs CHANNEL ARGS; see larder key --help\n");
    refuses("larder metrics now", 2, "larder: now: one argument too many; see larder metrics --help\n");
    refuses("larder key a 1 2", 2, "larder: 2: one argument too many; see larder key --help\n");
    refuses("larder key 1 2 3 4 5 6 7 8 9", 2, "larder: 8: one argument too many; see larder key --help\n");
}

static void test_missing_file_is_said_and_not_made(void **state)
{
    static const char *const commands[] = {"cache list",        "cache list --json", "cache show 00",
                                           "cache clear --all", "cache stats",       "metrics"};
    (void)state;
    const char *folder = test_dir();
    char error[1024];
    snprintf(
        error, sizeof error,
        "larder: no cache at %s/none.db: nothing has been stored there yet (choose another with --db or LARDER_DB)\n",
        folder);
    for (size_t i = 0; i < sizeof commands / sizeof commands[0]; i++) {
        char line[1024];
        snprintf(line, sizeof line, "larder %s --db %s/none.db", commands[i], folder);
        refuses(line, 1, error);
    }
    assert_string_equal(test_command("ls -A %s", folder)->out, "");
}

static void test_file_is_found_by_option_then_variable_then_folder(void **state)
{
    static const struct {
        const char *line;
        const char *path;
    } cases[] = {
        {"LARDER_DB=/nowhere/v larder --db /nowhere/o metrics", "/nowhere/o"},
        {"LARDER_DB=/nowhere/v larder metrics --db=/nowhere/o", "/nowhere/o"},
        {"LARDER_DB=/nowhere/v XDG_STATE_HOME=/nowhere/x larder metrics", "/nowhere/v"},
        {"LARDER_DB= XDG_STATE_HOME=/nowhere/x larder metrics", "/nowhere/x/larder/cache.db"},
        {"HOME=/nowhere/h larder metrics", "/nowhere/h/.local/state/larder/cache.db"},
        {"XDG_STATE_HOME=relative HOME=/nowhere/h larder metrics", "/nowhere/h/.local/state/larder/cache.db"},
    };
    (void)state;
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        char expected[256];
        snprintf(expected, sizeof expected, "larder: no cache at %s: ", cases[i].path);
        says(test_command("%s", cases[i].line)->err, expected);
    }
    refuses("HOME= larder metrics", 1, "larder: no cache: HOME is not set; name the file with --db or LARDER_DB\n");
}

static void test_file_that_is_not_ours_is_said_and_left_alone(void **state)
{
    (void)state;
    const char *folder = test_dir();
    test_command("cd %s; printf 'not a database, just some words that go on for a while' > words;"
                 " sqlite3 other 'CREATE TABLE t (x)'; mkdir folder; md5sum words other > sums",
                 folder);
    static const char *const names[] = {"words", "other", "folder"};
    static const char *const commands[] = {"cache list", "cache clear --all"};
    for (size_t i = 0; i < 3; i++) {
        for (size_t j = 0; j < 2; j++) {
            const test_run *run = test_command("larder %s --db %s/%s", commands[j], folder, names[i]);
            assert_int_equal(run->code, 1);
            assert_string_equal(run->out, "");
            says(run->err, names[i]);
            assert_int_equal(strncmp(run->err, "larder: ", 8), 0);
            assert_ptr_equal(strchr(run->err, '\n'), run->err + strlen(run->err) - 1);
        }
    }
    assert_int_equal(test_command("cd %s && md5sum -c sums", folder)->code, 0);
}

static void test_words_of_a_command_line_cannot_act_on_the_terminal(void **state)
{
    (void)state;
    refuses("larder $'\\e[31mred\\a'", 2, "larder: \\u001b[31mred\\u0007: unknown command; larder --help lists them\n");
}

static void test_full_output_is_an_error(void **state)
{
    (void)state;
    refuses("larder --help > /dev/full", 1, "larder: standard output: cannot write: No space left on device\n");
    refuses("larder key a 1 > /dev/full", 1, "larder: standard output: cannot write: No space left on device\n");
    refuses("larder --version >&-", 1, "larder: standard output: cannot write: Bad file descriptor\n");
}

static void test_closed_pipe_ends_quietly(void **state)
{
    (void)state;
    const test_run *run = test_command("set -o pipefail; for i in 1 2 3 4 5; do larder --help | head -c 1; done");
    assert_string_equal(run->out, "lllll");
    assert_string_equal(run->err, "");
    assert_int_equal(run->code, 0);
}

static void test_options_go_anywhere_also_where_posix_order_is_asked_for(void **state)
{
    (void)state;
    const test_run *run = test_command("POSIXLY_CORRECT=1 larder key --json a 1 --scope s");
    assert_int_equal(run->code, 0);
    says(run->out, "\"scope\":\"s\"");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_version_is_the_library_version),
        cmocka_unit_test(test_help_names_every_command),
        cmocka_unit_test(test_help_has_three_spellings),
        cmocka_unit_test(test_help_fits_eighty_columns),
        cmocka_unit_test(test_command_that_is_unknown_is_answered_with_the_nearest),
        cmocka_unit_test(test_option_that_is_unknown_is_answered_with_the_nearest),
        cmocka_unit_test(test_wrong_values_are_refused),
        cmocka_unit_test(test_wrong_number_of_arguments_is_refused),
        cmocka_unit_test(test_missing_file_is_said_and_not_made),
        cmocka_unit_test(test_file_is_found_by_option_then_variable_then_folder),
        cmocka_unit_test(test_file_that_is_not_ours_is_said_and_left_alone),
        cmocka_unit_test(test_words_of_a_command_line_cannot_act_on_the_terminal),
        cmocka_unit_test(test_full_output_is_an_error),
        cmocka_unit_test(test_closed_pipe_ends_quietly),
        cmocka_unit_test(test_options_go_anywhere_also_where_posix_order_is_asked_for),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
