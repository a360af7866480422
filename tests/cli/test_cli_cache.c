/* larder cache and larder metrics in a pipe: what a script and a person with grep see. At a terminal:
 * test_cli_terminal.c. */
#include "command.h"

#include <jansson.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

/* Answers that each test finds in its own file, oldest first. */
static const test_answer answers[] = {
    {.channel = "db:getEntry", .args = "[1]", .bytes = "\"expired\"", .ttl_ms = 60000, .age_ms = 7200000},
    {.channel = "db:getEntry",
     .args = "[9007199254740993, 1e400]",
     .bytes = "{\"n\":9007199254740993,\"x\":1e400}",
     .age_ms = 430000},
    {.channel = "db:search", .args = "{\"q\":\"VSAM error\"}", .bytes = "[]", .age_ms = 370000},
    {.channel = "db:search", .args = "{\"q\":\"VSAM error\"}", .scope = "alice", .bytes = "null", .age_ms = 310000},
    {.channel = "notes",
     .args = "\"a \\u009b b\"",
     .bytes = "esc \033[31m\xc2\x9b\ttab\nline",
     .age_ms = 250000,
     .content = LARDER_CONTENT_TEXT},
    {.channel = "image",
     .args = "null",
     .bytes = "\x89PNG\0\1\2\3 and more than sixteen",
     .len = 31,
     .age_ms = 190000,
     .content = LARDER_CONTENT_BYTES},
};
enum { ANSWERS = sizeof answers / sizeof answers[0], SERVABLE = ANSWERS - 1 };

static int fill(void **state)
{
    const char *path = test_path("cache.db");
    test_fill(path, answers, ANSWERS);
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

static size_t lines(const char *text)
{
    size_t count = 0;
    for (; *text != '\0'; text++) {
        count += *text == '\n';
    }
    return count;
}

/* Runs, and reads its output as JSON; the caller releases it. */
static json_t *run_json(const char *line)
{
    json_error_t error;
    const test_run *run = test_command("%s", line);
    assert_string_equal(run->err, "");
    assert_int_equal(run->code, 0);
    json_t *tree = json_loads(run->out, JSON_REJECT_DUPLICATES, &error);
    if (tree == NULL) {
        fail_msg("%s: %s in:\n%s", line, error.text, run->out);
    }
    return tree;
}

static json_int_t number(const json_t *object, const char *name)
{
    assert_true(json_is_integer(json_object_get(object, name)));
    return json_integer_value(json_object_get(object, name));
}

static const char *string(const json_t *object, const char *name)
{
    assert_true(json_is_string(json_object_get(object, name)));
    return json_string_value(json_object_get(object, name));
}

/* ---- list ---- */

static void test_list_shows_newest_first_with_whole_arguments(void **state)
{
    (void)state;
    const test_run *run = test_command("larder cache list | tr -s ' ' | cut -d' ' -f2-");
    assert_int_equal(run->code, 0);
    assert_string_equal(run->err, "");
    assert_int_equal(lines(run->out), SERVABLE + 1);
    assert_string_equal(run->out, "CHANNEL SIZE AGE HITS EXPIRES IN ARGS\n"
                                  "image 31 B 3m 0 56m null\n"
                                  "notes 20 B 4m 0 55m \"a \\u009b b\"\n"
                                  "db:search 4 B 5m 0 54m @alice {\"q\":\"VSAM error\"}\n"
                                  "db:search 2 B 6m 0 53m {\"q\":\"VSAM error\"}\n"
                                  "db:getEntry 32 B 7m 0 52m [9007199254740993,1e+400]\n");
}

static void test_list_begins_each_line_with_the_key(void **state)
{
    (void)state;
    const test_run *run =
        test_command("larder cache list --channel db:search | grep -v @alice | tail -1 | cut -c 1-12 >"
                     " $HOME/a; larder key db:search '{\"q\":\"VSAM error\"}' | cut -c 1-12 |"
                     " cmp - $HOME/a");
    assert_int_equal(run->code, 0);
}

static void test_list_filters(void **state)
{
    static const struct {
        const char *filter;
        size_t entries;
    } cases[] = {
        {"", SERVABLE},
        {"--expired", ANSWERS},
        {"--channel db:search", 2},
        {"--channel=db", 0},
        {"--channel db:getEntry", 1},
        {"--channel db:getEntry --expired", 2},
        {"--limit 3", 3},
        {"--limit 1 --channel db:search", 1},
        {"--limit 100", SERVABLE},
        {"--key $(larder key image null)", 1},
        {"--key $(larder key image null | cut -c 1-10 | tr a-f A-F)", 1},
        {"--key $(larder key image true)", 0},
        {"--channel notes --key $(larder key image null)", 0},
    };
    (void)state;
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        const test_run *run = test_command("larder cache list %s", cases[i].filter);
        assert_int_equal(run->code, 0);
        assert_int_equal(lines(run->out), cases[i].entries == 0 ? 0 : cases[i].entries + 1);
        run = test_command("larder cache list --json %s | jq length", cases[i].filter);
        assert_int_equal(strtoul(run->out, NULL, 10), cases[i].entries);
    }
}

static void test_list_marks_what_has_expired(void **state)
{
    (void)state;
    says(test_command("larder cache list --expired --channel db:getEntry")->out, " expired  [1]\n");
    const test_run *run = test_command("larder cache list --expired --json | jq -c '[.[].expired]'");
    assert_string_equal(run->out, "[false,false,false,false,false,true]\n");
}

static void test_list_json_has_every_column(void **state)
{
    (void)state;
    json_t *list = run_json("larder cache list --json --channel notes");
    const json_t *entry = json_array_get(list, 0);
    assert_int_equal(json_array_size(list), 1);
    assert_int_equal(json_object_size(entry), 13);
    assert_int_equal(strlen(string(entry, "key")), 64);
    assert_string_equal(string(entry, "channel"), "notes");
    assert_string_equal(string(entry, "args"), "a \xc2\x9b b");
    assert_string_equal(string(entry, "content_type"), larder_content_name(LARDER_CONTENT_TEXT));
    assert_true(json_is_null(json_object_get(entry, "scope")));
    assert_int_equal(number(entry, "size"), 20);
    assert_int_equal(number(entry, "version"), 1);
    assert_int_equal(number(entry, "hits"), 0);
    assert_int_equal(number(entry, "expires_ms") - number(entry, "created_ms"), 3600000);
    assert_true(number(entry, "cost_us") >= 0 && number(entry, "used_ms") >= 0);
    json_decref(list);
}

static void test_list_json_keeps_numbers_exact(void **state)
{
    (void)state;
    says(test_command("larder cache list --json --channel db:getEntry")->out, "\"args\":[9007199254740993,1e+400],");
}

static void test_list_writes_sizes_and_ages_in_fitting_units(void **state)
{
    static char big[300000];
    const test_answer old[] = {
        {.channel = "years", .args = "1", .bytes = "1", .ttl_ms = 100000000000, .age_ms = 70000000000},
        {.channel = "days",
         .args = "1",
         .bytes = big,
         .len = 300000,
         .ttl_ms = 400000000,
         .age_ms = 300000000,
         .content = LARDER_CONTENT_BYTES},
        {.channel = "hours",
         .args = "1",
         .bytes = big,
         .len = 2000,
         .ttl_ms = 40000000,
         .age_ms = 20000000,
         .content = LARDER_CONTENT_BYTES},
    };
    (void)state;
    const char *path = test_path("old.db");
    test_fill(path, old, 3);
    assert_string_equal(test_command("larder cache list --db %s | tail -n +2 | tr -s ' ' | cut -d' ' -f2-", path)->out,
                        "hours 2.0 KiB 5h 0 5h 1\n"
                        "days 293 KiB 3d 0 27h 1\n"
                        "years 1 B 2y 0 347d 1\n");
}

/* What SQLite and the listing may keep; the lists below have more. */
enum { PAGE_CACHE_KB = 15000 };

static void test_list_needs_no_memory_for_its_length(void **state)
{
    (void)state;
    const char *path = test_path("many.db");
    setenv("ASAN_OPTIONS", "quarantine_size_mb=1",
           1); /* so that freed memory is not kept, and memory can be compared */
    test_fill(path, answers, 3);
    long alone = test_command("larder cache list --db %s --json", path)->max_kb;
    /* By hand: 40,000 rows more, of 200 bytes. */
    test_command(
        "sqlite3 %s \"WITH RECURSIVE n (i) AS (VALUES (1) UNION ALL SELECT i + 1 FROM n WHERE i < 40000)"
        " INSERT INTO entries (key, channel_id, version, seq, created_ms, expires_ms, cost_us, size,"
        " content_type, args, value) SELECT randomblob(32), (SELECT max(id) FROM channels), 1,"
        " (SELECT coalesce(max(id), 0) FROM invalidations), strftime('%%s') * 1000, strftime('%%s') * 1000 + 900000,"
        " 5, 2, 'application/json', printf('[%%d,\\\"%%0200d\\\"]', i, i), '{}' FROM n\"",
        path);
    const test_run *run = test_command("larder cache list --db %s --json > $HOME/list", path);
    assert_int_equal(run->code, 0);
    assert_in_range(run->max_kb, 0, alone + PAGE_CACHE_KB);
    assert_string_equal(test_command(
                            "jq length < $HOME/list; test $(stat -c %%s $HOME/list) -gt 18000000 && echo large")
                            ->out,
                        "40002\nlarge\n");
    run = test_command("larder cache list --db %s > $HOME/list", path);
    assert_in_range(run->max_kb, 0, alone + PAGE_CACHE_KB);
    assert_string_equal(test_command("wc -l < $HOME/list")->out, "40003\n");
    run = test_command("set -o pipefail; larder cache list --db %s | head -2 | wc -l", path);
    assert_string_equal(run->out, "2\n");
    assert_string_equal(run->err, "");
    assert_int_equal(run->code, 0);
    run = test_command("larder cache list --db %s > /dev/full", path);
    assert_string_equal(run->err, "larder: standard output: cannot write: No space left on device\n");
    assert_int_equal(run->code, 1);
    unsetenv("ASAN_OPTIONS");
}

static void test_rows_written_by_others_still_make_valid_json(void **state)
{
    (void)state;
    test_command(
        "sqlite3 $LARDER_DB \"UPDATE entries SET args = 'no json', value = '{]' WHERE content_type ="
        " 'application/json'; UPDATE entries SET args = CAST(x'22ff22' AS TEXT), value = CAST(x'61ff0062' AS TEXT)"
        " WHERE content_type LIKE 'text/%%'\"");
    json_t *list = run_json("larder cache list --json --channel db:search");
    assert_string_equal(string(json_array_get(list, 0), "args"), "no json");
    json_decref(list);
    list = run_json("larder cache list --json --channel notes");
    assert_string_equal(string(json_array_get(list, 0), "args"), "\"\xef\xbf\xbd\"");
    json_decref(list);
    const test_run *run = test_command("larder cache list --channel notes | tail -1");
    says(run->out, "  \"\\xff\"\n");
    run = test_command("larder cache show --json $(larder key notes '\"a \\u009b b\"') | jq -c .value");
    assert_string_equal(run->out, "\"a\xef\xbf\xbd\\u0000b\"\n");
    run = test_command("larder cache show --json $(larder key db:search '{\"q\":\"VSAM error\"}') | jq -c .value");
    assert_string_equal(run->out, "\"{]\"\n");
}

/* ---- show ---- */

static void test_show_tells_all_and_the_value(void **state)
{
    (void)state;
    const test_run *run =
        test_command("larder cache show $(larder key db:search '{\"q\":\"VSAM error\"}' --scope alice)");
    assert_int_equal(run->code, 0);
    says(run->out, "\nChannel   db:search\nScope     alice\nArgs      {\"q\":\"VSAM error\"}\n"
                   "Type      application/json\nSize      4 B\nCreated   2");
    says(run->out, " +0000 (5m ago)\nExpires   ");
    says(run->out, " (in 54m)\n");
    says(run->out, "\nHandler   version 1\n\nnull\n");
}

static void test_show_gives_the_value_as_it_is(void **state)
{
    (void)state;
    const test_run *run = test_command("larder cache show --raw $(larder key image null)");
    assert_int_equal(run->code, 0);
    assert_int_equal(run->out_len, 31);
    assert_memory_equal(run->out, answers[5].bytes, 31);
    run = test_command("larder cache show --raw $(larder key notes '\"a \\u009b b\"')");
    assert_string_equal(run->out, answers[4].bytes);
    run = test_command("larder cache show $(larder key image null)");
    assert_memory_equal(run->out + run->out_len - 31, answers[5].bytes, 31);
    run = test_command("larder cache show $(larder key db:getEntry '[9007199254740993, 1e400]') | tail -1");
    assert_string_equal(run->out, "{\"n\":9007199254740993,\"x\":1e400}\n");
}

static void test_show_json_has_the_value_in_its_kind(void **state)
{
    (void)state;
    json_t *entry = run_json("larder cache show --json $(larder key db:search '{\"q\":\"VSAM error\"}')");
    assert_int_equal(json_object_size(entry), 14);
    assert_true(json_is_array(json_object_get(entry, "value")));
    json_decref(entry);
    entry = run_json("larder cache show --json $(larder key notes '\"a \\u009b b\"')");
    assert_string_equal(string(entry, "value"), answers[4].bytes);
    json_decref(entry);
    says(test_command("larder cache show --json $(larder key db:getEntry '[9007199254740993, 1e400]')")->out,
         "\"value\":{\"n\":9007199254740993,\"x\":1e400}}\n");
    const test_run *run = test_command("larder cache show --json $(larder key image null) | jq -r .value | base64 -d");
    assert_int_equal(run->out_len, 31);
    assert_memory_equal(run->out, answers[5].bytes, 31);
}

static void test_show_finds_what_has_expired(void **state)
{
    (void)state;
    const test_run *run = test_command("larder cache show $(larder key db:getEntry '[1]')");
    assert_int_equal(run->code, 0);
    says(run->out, " ago, no longer served)\n");
    says(run->out, "\n\n\"expired\"\n");
}

static void test_show_says_when_nothing_or_too_much_is_found(void **state)
{
    (void)state;
    const char *path = test_path("two.db");
    const test_run *run = test_command("larder cache show 0123456789abcdef");
    assert_int_equal(run->code, 1);
    assert_string_equal(run->err, "larder: 0123456789abcdef: no entry has a key that begins so;"
                                  " larder cache list shows what is there\n");
    run = test_command("larder cache show xyz");
    assert_int_equal(run->code, 2);
    says(run->err, "larder: xyz: not the beginning of a key");
    run = test_command("larder cache show --raw --json 00");
    assert_int_equal(run->code, 2);
    /* Seventeen entries: two of them begin with the same digit. */
    test_answer many[17];
    char args[17][8];
    for (size_t i = 0; i < 17; i++) {
        snprintf(args[i], sizeof args[i], "%zu", i);
        many[i] = (test_answer){.channel = "c", .args = args[i], .bytes = "1"};
    }
    test_fill(path, many, 17);
    run = test_command("d=$(larder cache list --db %s | tail -n +2 | cut -c 1 | sort | uniq -d | head -1);"
                       " larder cache show --db %s $d",
                       path, path);
    assert_int_equal(run->code, 1);
    says(run->err, ": several entries have keys that begin so; give more digits (larder cache list --expired --key ");
}

/* ---- clear ---- */

static void test_clear_takes_what_the_filter_says(void **state)
{
    (void)state;
    assert_string_equal(test_command("larder cache clear --channel db:search")->out, "Cleared 2 entries.\n");
    assert_int_equal(lines(test_command("larder cache list")->out), SERVABLE - 2 + 1);
    const test_run *run = test_command("larder cache clear --key $(larder key image null)");
    assert_string_equal(run->out, "Cleared 1 entry.\n");
    assert_string_equal(test_command("larder cache clear --key $(larder key image null)")->out, "Cleared 0 entries.\n");
    run = test_command("larder cache clear --channel image --key $(larder key notes '\"a \\u009b b\"')");
    assert_string_equal(run->out, "Cleared 0 entries.\n");
    assert_string_equal(test_command("larder cache clear --all --json")->out, "{\"cleared\":2}\n");
    run = test_command("larder cache list");
    assert_string_equal(run->out, "");
    assert_int_equal(run->code, 0);
    assert_string_equal(test_command("larder cache list --json")->out, "[]\n");
    assert_int_equal(test_command("larder cache show $(larder key image null)")->code, 1);
}

static void test_clear_wants_to_be_told_what(void **state)
{
    (void)state;
    const test_run *run = test_command("larder cache clear < /dev/null");
    assert_int_equal(run->code, 2);
    assert_string_equal(run->out, "");
    assert_string_equal(run->err, "larder: cache clear: nothing was named to clear; pass --channel, --key, or --all"
                                  " for everything\n");
    run = test_command("larder cache clear --all --channel notes");
    assert_int_equal(run->code, 2);
    assert_int_equal(lines(test_command("larder cache list")->out), SERVABLE + 1);
}

/* ---- a program that runs ---- */

static int runs;

static void count_runs(larder_request *request, void *user_data)
{
    (void)user_data;
    __atomic_add_fetch(&runs, 1, __ATOMIC_SEQ_CST);
    larder_answer_json(request, "1", 1);
}

static larder_source ask(larder *l)
{
    larder_response *response;
    assert_int_equal(larder_send_wait(l, "live", "[1]", LARDER_NUL, NULL, &response, NULL), LARDER_OK);
    larder_source source = larder_response_meta(response)->source;
    larder_response_release(response);
    return source;
}

static void test_running_program_sees_a_clear_before_its_next_answer(void **state)
{
    larder *l;
    larder_options options;
    larder_handler_options handler;
    larder_options_init(&options);
    larder_handler_options_init(&handler);
    options.path = *state;
    handler.cacheable = 1;
    runs = 0;
    assert_int_equal(larder_open(&l, &options, NULL), LARDER_OK);
    assert_int_equal(larder_register(l, "live", count_runs, &handler, NULL), LARDER_OK);
    assert_int_equal(ask(l), LARDER_SOURCE_HANDLER);
    assert_int_equal(ask(l), LARDER_SOURCE_MEMORY);
    assert_int_equal(larder_flush_wait(l), LARDER_OK);
    says(test_command("larder cache list")->out, " live ");
    assert_string_equal(test_command("larder cache clear --channel live")->out, "Cleared 1 entry.\n");
    assert_int_equal(ask(l), LARDER_SOURCE_HANDLER);
    assert_int_equal(ask(l), LARDER_SOURCE_MEMORY);
    assert_int_equal(larder_flush_wait(l), LARDER_OK);
    assert_string_equal(test_command("larder cache clear --key $(larder key live '[1]')")->out, "Cleared 1 entry.\n");
    assert_int_equal(ask(l), LARDER_SOURCE_HANDLER);
    assert_string_equal(test_command("larder cache clear --all > /dev/null && echo ok")->out, "ok\n");
    assert_int_equal(ask(l), LARDER_SOURCE_HANDLER);
    assert_int_equal(runs, 4);
    assert_int_equal(larder_close_wait(l, 1000, NULL), LARDER_OK);
    says(test_command("larder metrics | tr -s ' '")->out, "live 6 0 2 4 33.3 % ");
}

/* ---- numbers ---- */

static void test_stats_add_up(void **state)
{
    (void)state;
    const test_run *run = test_command("larder cache stats | tr -s ' '");
    assert_int_equal(run->code, 0);
    says(run->out, "CHANNEL ENTRIES SIZE EXPIRED MEMORY HITS DISK HITS MISSES HIT RATE AVG RESPONSE\n");
    says(run->out, "\ndb:getEntry 1 32 B 1 0 0 2 0.0 % ");
    says(run->out, "\ntotal 5 89 B 1 0 0 6 0.0 % ");
    says(run->out, "\n\nFile ");
    says(run->out, *state);
    json_t *stats = run_json("larder cache stats --json");
    const json_t *total = json_object_get(stats, "total");
    assert_int_equal(number(total, "entries"), SERVABLE);
    assert_int_equal(number(total, "bytes"), 89);
    assert_int_equal(number(total, "expired"), 1);
    assert_int_equal(number(total, "misses"), ANSWERS);
    assert_true(json_real_value(json_object_get(total, "hit_rate_percent")) == 0.0);
    const json_t *file = json_object_get(stats, "file");
    assert_string_equal(string(file, "path"), *state);
    assert_true(number(file, "bytes") >= 4096 && number(file, "schema_version") >= 1);
    json_int_t entries = 0;
    size_t i;
    json_t *channel;
    json_array_foreach(json_object_get(stats, "channels"), i, channel) {
        entries += number(channel, "entries");
    }
    assert_int_equal(entries, SERVABLE);
    json_decref(stats);
}

static void test_metrics_count_requests(void **state)
{
    (void)state;
    const test_run *run = test_command("larder metrics | tr -s ' '");
    assert_int_equal(run->code, 0);
    says(run->out, "CHANNEL REQUESTS ERRORS HITS MISSES HIT RATE AVG RESPONSE MAX RESPONSE RUNS AVG RUN\n");
    says(run->out, "\ndb:search 2 0 0 2 0.0 % ");
    says(run->out, "\ntotal 6 0 0 6 0.0 % ");
    json_t *metrics = run_json("larder metrics --json");
    const json_t *total = json_object_get(metrics, "total");
    assert_int_equal(number(total, "requests"), ANSWERS);
    assert_int_equal(number(total, "responses"), ANSWERS);
    assert_int_equal(number(total, "handler_runs"), ANSWERS);
    assert_int_equal(number(total, "errors"), 0);
    json_decref(metrics);
}

static void test_numbers_of_an_empty_cache_are_no_divisions_by_zero(void **state)
{
    (void)state;
    const char *path = test_path("empty.db");
    test_fill(path, NULL, 0);
    const test_run *run = test_command("larder cache stats --db %s | tr -s ' '", path);
    assert_int_equal(run->code, 0);
    says(run->out, "\ntotal 0 0 B 0 0 0 0 - -\n");
    run =
        test_command("larder metrics --db %s --json | jq -c .total.hit_rate_percent,.total.average_response_ms", path);
    assert_string_equal(run->out, "null\nnull\n");
    assert_string_equal(test_command("larder cache list --db %s", path)->out, "");
    assert_string_equal(test_command("larder cache clear --all --db %s", path)->out, "Cleared 0 entries.\n");
}

static void test_reading_changes_nothing_in_the_folder(void **state)
{
    (void)state;
    const test_run *run =
        test_command("f=$(dirname %s); chmod a-w $f; md5sum $LARDER_DB > $HOME/before; larder cache list"
                     " && larder cache stats && larder metrics; code=$?; md5sum $LARDER_DB | cmp -"
                     " $HOME/before; same=$?; chmod u+w $f; exit $((code + same))",
                     (const char *)*state);
    assert_string_equal(run->err, "");
    assert_int_equal(run->code, 0);
}

static void test_file_that_cannot_be_read_is_said(void **state)
{
    (void)state;
    if (geteuid() == 0) {
        skip(); /* root may read everything */
    }
    const test_run *run =
        test_command("chmod 0 $LARDER_DB; larder cache list; code=$?; chmod 600 $LARDER_DB; exit $code");
    assert_int_equal(run->code, 1);
    says(run->err, *state);
}

static void test_file_of_a_newer_larder_is_said_and_left_alone(void **state)
{
    static const char *const commands[] = {"cache list", "cache stats", "metrics", "cache clear --all"};
    (void)state;
    test_command("sqlite3 $LARDER_DB 'PRAGMA user_version = 999'; md5sum $LARDER_DB > $HOME/newer");
    for (size_t i = 0; i < sizeof commands / sizeof commands[0]; i++) {
        const test_run *run = test_command("larder %s", commands[i]);
        assert_int_equal(run->code, 1);
        assert_string_equal(run->out, "");
        says(run->err, *state);
        says(run->err, "newer");
    }
    assert_int_equal(test_command("md5sum -c $HOME/newer")->code, 0);
}

static void test_file_that_is_damaged_is_said(void **state)
{
    (void)state;
    test_command("dd if=/dev/urandom of=$LARDER_DB bs=4096 seek=1 count=20 conv=notrunc");
    const test_run *run = test_command("larder cache list --expired");
    assert_int_equal(run->code, 1);
    assert_int_equal(strncmp(run->err, "larder: ", 8), 0);
    assert_int_equal(test_command("larder cache clear --all")->code, 1);
}

static void test_clear_gives_up_when_another_program_keeps_the_lock(void **state)
{
    const test_run *run = test_command("flock $LARDER_DB-lock larder cache clear --all");
    assert_int_equal(run->code, 1);
    assert_string_equal(run->out, "");
    says(run->err, "lock");
    says(run->err, *state);
    assert_int_equal(lines(test_command("larder cache list")->out), SERVABLE + 1);
}

#define TEST(name) cmocka_unit_test_setup(name, fill)

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(test_list_shows_newest_first_with_whole_arguments),
        TEST(test_list_begins_each_line_with_the_key),
        TEST(test_list_filters),
        TEST(test_list_marks_what_has_expired),
        TEST(test_list_json_has_every_column),
        TEST(test_list_json_keeps_numbers_exact),
        TEST(test_list_writes_sizes_and_ages_in_fitting_units),
        TEST(test_list_needs_no_memory_for_its_length),
        TEST(test_rows_written_by_others_still_make_valid_json),
        TEST(test_show_tells_all_and_the_value),
        TEST(test_show_gives_the_value_as_it_is),
        TEST(test_show_json_has_the_value_in_its_kind),
        TEST(test_show_finds_what_has_expired),
        TEST(test_show_says_when_nothing_or_too_much_is_found),
        TEST(test_clear_takes_what_the_filter_says),
        TEST(test_clear_wants_to_be_told_what),
        TEST(test_running_program_sees_a_clear_before_its_next_answer),
        TEST(test_stats_add_up),
        TEST(test_metrics_count_requests),
        TEST(test_numbers_of_an_empty_cache_are_no_divisions_by_zero),
        TEST(test_reading_changes_nothing_in_the_folder),
        TEST(test_file_that_cannot_be_read_is_said),
        TEST(test_file_of_a_newer_larder_is_said_and_left_alone),
        TEST(test_file_that_is_damaged_is_said),
        TEST(test_clear_gives_up_when_another_program_keeps_the_lock),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
