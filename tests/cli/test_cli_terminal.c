/* The command at a terminal: what is cut, coloured, escaped and asked there. */
#include "command.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static const test_answer answers[] = {
    {.channel = "db:search",
     .args = "{\"query\":\"a rather long question that will not fit the width\"}",
     .bytes = "{\"b\":[1,{},[]],\"a\":12345678901234567890.5,\"c\":\"\xc2\x9b\"}",
     .age_ms = 430000},
    {.channel = "wide",
     .args = "\"\xe5\xad\x97\xe5\xad\x97\xe5\xad\x97\xe5\xad\x97\xe5\xad\x97\xe5\xad\x97\xe5\xad\x97"
             "\xe5\xad\x97\xe5\xad\x97\xe5\xad\x97\xe5\xad\x97\xe5\xad\x97\xe5\xad\x97\xe5\xad\x97\"",
     .bytes = "null",
     .age_ms = 370000},
    {.channel = "evil\033]0;t\007",
     .args = "\"\xc2\x9b"
             "31m\xe2\x80\xae\"",
     .bytes = "\033[2J\033[H\r\xe2\x80\xae\ttab\nline\xc3\xa9",
     .age_ms = 310000,
     .content = LARDER_CONTENT_TEXT},
    {.channel = "image",
     .args = "null",
     .bytes = "\x89PNG\0\1\2\3 and more than sixteen",
     .len = 31,
     .age_ms = 250000,
     .content = LARDER_CONTENT_BYTES},
};

static int fill(void **state)
{
    const char *path = test_path("cache.db");
    test_fill(path, answers, sizeof answers / sizeof answers[0]);
    setenv("LARDER_DB", path, 1);
    *state = (void *)path;
    return 0;
}

static void says(const char *where, const char *words)
{
    if (strstr(where, words) == NULL) {
        fail_msg("\"%s\" is not in:\n%s", words, where);
    }
}

static void test_list_is_cut_to_the_width_of_the_terminal(void **state)
{
    (void)state;
    const test_run *run = test_terminal(80, NULL, "larder cache list --no-color --channel db:search");
    assert_int_equal(run->code, 0);
    says(run->out, "  db:search  51 B   7m     0         52m  {\"query\":\"a rather long q\xe2\x80\xa6\n");
    run = test_terminal(200, NULL, "larder cache list --no-color --channel db:search");
    says(run->out, "  {\"query\":\"a rather long question that will not fit the width\"}\n");
    run = test_terminal(200, NULL, "COLUMNS=80 larder cache list --no-color --channel db:search");
    says(run->out, "  {\"query\":\"a rather long q\xe2\x80\xa6\n");
    /* Two columns each: a quotation mark, eleven characters and the ellipsis fill the 24 columns that are left. */
    run = test_terminal(76, NULL, "larder cache list --no-color --channel wide");
    says(run->out, "  \"\xe5\xad\x97\xe5\xad\x97\xe5\xad\x97\xe5\xad\x97\xe5\xad\x97\xe5\xad\x97\xe5\xad\x97"
                   "\xe5\xad\x97\xe5\xad\x97\xe5\xad\x97\xe5\xad\x97\xe2\x80\xa6\n");
    /* Too narrow for all: the shortened columns keep something, and nothing fails. */
    run = test_terminal(10, NULL, "larder cache list --no-color --channel db:search");
    assert_int_equal(run->code, 0);
    says(run->out, "  {\"query\":\"a rat\xe2\x80\xa6\n");
}

static void test_colours_are_for_terminals_that_want_them(void **state)
{
    static const char *const plain[] = {"larder cache list --no-color", "NO_COLOR=1 larder cache list",
                                        "TERM=dumb larder cache list",  "TERM= larder cache list",
                                        "larder cache list | cat",      "larder help --no-color"};
    (void)state;
    says(test_terminal(120, NULL, "larder cache list")->out, "\033[1mKEY\033[0m ");
    says(test_terminal(120, NULL, "NO_COLOR= larder cache list")->out, "\033[1mKEY\033[0m ");
    says(test_terminal(120, NULL, "larder --help")->out, "\033[1mUSAGE\033[0m\n");
    for (size_t i = 0; i < sizeof plain / sizeof plain[0]; i++) {
        const test_run *run = test_terminal(120, NULL, "%s", plain[i]);
        assert_int_equal(run->code, 0);
        assert_null(strchr(run->out, '\033'));
    }
}

static void test_what_is_cached_cannot_act_on_the_terminal(void **state)
{
    static const char *const lines[] = {
        "larder cache list --no-color",
        "larder cache list --no-color | cat",
        "larder cache list --json",
        "larder cache stats --no-color",
        "larder metrics --no-color",
        "larder cache stats --json",
        "k=$(larder cache list --json | jq -r '.[1].key');"
        " larder cache show --no-color $k; larder cache show --json $k",
        "k=$(larder cache list --json | jq -r '.[3].key');"
        " larder cache show --no-color $k; larder cache show --json $k",
        "k=$(larder cache list --json | jq -r '.[0].key'); larder cache show --no-color $k",
    };
    (void)state;
    for (size_t i = 0; i < sizeof lines / sizeof lines[0]; i++) {
        const test_run *run = test_terminal(300, NULL, "%s", lines[i]);
        assert_int_equal(run->code, 0);
        assert_null(strpbrk(run->out, "\033\007\r\b"));
        assert_null(strstr(run->out, "\xc2\x9b"));
        assert_null(strstr(run->out, "\xe2\x80\xae"));
    }
    says(test_terminal(300, NULL, "larder cache list --no-color")->out,
         "  evil\\u001b]0;t\\u0007  "); /* visible instead */
}

static void test_show_lays_json_out_and_keeps_numbers(void **state)
{
    (void)state;
    const test_run *run =
        test_terminal(80, NULL, "larder cache show $(larder cache list --channel db:search --json | jq -r '.[0].key')");
    assert_int_equal(run->code, 0);
    says(run->out, "\033[1mKey       \033[0m");
    says(run->out, "\n\n{\n  \"b\": [\n    1,\n    {},\n    []\n  ],\n  \"a\": 12345678901234567890.5,\n"
                   "  \"c\": \"\\u009b\"\n}\n");
}

static void test_show_escapes_text_and_dumps_bytes(void **state)
{
    (void)state;
    const test_run *run =
        test_terminal(80, NULL, "stty tab0; larder cache show $(larder cache list --json | jq -r '.[1].key')");
    says(run->out, "\n\n\\u001b[2J\\u001b[H\\r\\u202e\ttab\nline\xc3\xa9\n");
    run = test_terminal(80, NULL, "larder cache show $(larder key image null)");
    says(run->out, "\n\n00000000  89 50 4e 47 00 01 02 03  20 61 6e 64 20 6d 6f 72  |.PNG.... and mor|\n"
                   "00000010  65 20 74 68 61 6e 20 73  69 78 74 65 65 6e 00     |e than sixteen.|\n");
}

static void test_terminal_of_another_character_set_gets_ascii(void **state)
{
    (void)state;
    const char *locales = test_dir();
    if (test_command("localedef -i de_DE -f ISO-8859-1 %s/de_DE.ISO-8859-1", locales)->code != 0) {
        skip(); /* the system has no locale sources */
    }
    const test_run *run =
        test_terminal(80, NULL, "LOCPATH=%s LC_ALL=de_DE.ISO-8859-1 larder cache list --no-color", locales);
    says(run->out, "  \"\\u5b57\\u5b57");
    says(run->out, "...\n");
    for (size_t i = 0; i < run->out_len; i++) {
        assert_true((unsigned char)run->out[i] < 0x80);
    }
    run = test_terminal(80, NULL, "LC_ALL=C larder cache list --no-color");
    says(run->out, "\xe2\x80\xa6\n"); /* names no character set; its terminals show UTF-8 */
}

static void test_empty_list_is_said_at_a_terminal(void **state)
{
    (void)state;
    const test_run *run = test_terminal(80, NULL, "larder cache list --channel none");
    assert_int_equal(run->code, 0);
    says(run->out, "larder: no entries: nothing is cached that the filters let pass; --expired shows old ones too\n");
}

static void test_clear_asks_before_it_clears_everything(void **state)
{
    static const struct {
        const char *typed;
        int code;
        const char *words;
        const char *left;
    } cases[] = {
        {"n\n", 1, "Nothing was cleared.\n", "4\n"},
        {"\n", 1, "Nothing was cleared.\n", "4\n"},
        {"\004", 1, "Nothing was cleared.\n", "4\n"},
        {"yeah\n", 1, "Nothing was cleared.\n", "4\n"},
        {"yyyyyyyyyyyyyyyyyyyyyyyy\n", 1, "Nothing was cleared.\n", "4\n"},
        {"Yes\n", 0, "Cleared 4 entries.\n", "0\n"},
    };
    (void)state;
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        const test_run *run = test_terminal(80, cases[i].typed, "larder cache clear");
        says(run->out, "Clear all 4 entries? [y/N] ");
        says(run->out, cases[i].words);
        assert_int_equal(run->code, cases[i].code);
        assert_string_equal(test_command("larder cache list --json | jq length")->out, cases[i].left);
    }
}

static void test_clear_that_names_something_does_not_ask(void **state)
{
    (void)state;
    const test_run *run = test_terminal(80, NULL, "larder cache clear --channel image");
    assert_string_equal(run->out, "Cleared 1 entry.\n");
    run = test_terminal(80, NULL, "larder cache clear --all");
    assert_string_equal(run->out, "Cleared 3 entries.\n");
}

#define TEST(name) cmocka_unit_test_setup(name, fill)

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(test_list_is_cut_to_the_width_of_the_terminal),  TEST(test_colours_are_for_terminals_that_want_them),
        TEST(test_what_is_cached_cannot_act_on_the_terminal), TEST(test_show_lays_json_out_and_keeps_numbers),
        TEST(test_show_escapes_text_and_dumps_bytes),         TEST(test_terminal_of_another_character_set_gets_ascii),
        TEST(test_empty_list_is_said_at_a_terminal),          TEST(test_clear_asks_before_it_clears_everything),
        TEST(test_clear_that_names_something_does_not_ask),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
