/* Looking into a file from outside, beside a program that has it open. */
#include "inspect_fixture.h"

/* ---- listing ---- */

static void test_entries_are_listed_newest_first_without_what_cannot_be_served(void **state)
{
    (void)state;
    program p = program_with_entries();
    larder_inspect *in = must_open(p.path, LARDER_INSPECT_READ);
    assert_listed(in, NULL, "aa12 bb00 aa11 ");
    put(&p, "dd00", 1, 3500, LATER); /* a running program's commit is seen at once */
    assert_listed(in, NULL, "dd00 aa12 bb00 aa11 ");
    larder_inspect_close(in);
    program_end(&p);
}

static void test_entries_pass_filters_by_channel_prefix_limit_and_expiry(void **state)
{
    (void)state;
    static const struct {
        larder_filter filter;
        const char *keys;
    } cases[] = {
        {{.channel = "db:search"}, "aa12 aa11 "},
        {{.channel = "db:getEntry"}, "bb00 "},
        {{.channel = "db:nothing"}, ""},
        {{.key_prefix = "a"}, "aa12 aa11 "},
        {{.key_prefix = "AA1"}, "aa12 aa11 "},
        {{.key_prefix = "aa11"}, "aa11 "},
        {{.key_prefix = "aa110"}, "aa11 "},
        {{.key_prefix = "aa111"}, ""},
        {{.key_prefix = ""}, "aa12 bb00 aa11 "},
        {{.key_prefix = "aa11000000000000000000000000000000000000000000000000000000000000"}, "aa11 "},
        {{.key_prefix = "a", .channel = "db:getEntry"}, ""},
        {{.key_prefix = "b", .channel = "db:getEntry"}, "bb00 "},
        {{.limit = 2}, "aa12 bb00 "},
        {{.limit = 100}, "aa12 bb00 aa11 "},
        {{.with_expired = 1}, "cc00 aa13 aa12 bb00 aa11 "},
        {{.with_expired = 1, .channel = "db:search", .key_prefix = "aa1", .limit = 2}, "aa13 aa12 "},
    };
    program p = program_with_entries();
    larder_inspect *in = must_open(p.path, LARDER_INSPECT_READ);
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        larder_filter filter = cases[i].filter;
        filter.size = sizeof filter;
        assert_listed(in, &filter, cases[i].keys);
    }
    larder_inspect_close(in);
    program_end(&p);
}

static void test_entries_that_were_invalidated_are_hidden_though_their_rows_remain(void **state)
{
    (void)state;
    program p = program_with_entries();
    larder_filter all = {.with_expired = 1};
    all.size = sizeof all;
    larder_inspect *in = must_open(p.path, LARDER_INSPECT_READ);
    db_exec(p.db, "INSERT INTO invalidations (kind, channel) VALUES ('channel', 'db:search')");
    assert_listed(in, &all, "cc00 bb00 ");
    put(&p, "dd00", 1, 6000, LATER);
    assert_listed(in, &all, "cc00 dd00 bb00 ");
    db_exec(p.db, "INSERT INTO invalidations (kind, channel) VALUES ('channel', 'another'), ('key', NULL)");
    assert_listed(in, &all, "cc00 dd00 bb00 ");
    db_exec(p.db, "INSERT INTO invalidations (kind) VALUES ('all')");
    assert_listed(in, &all, "");
    put(&p, "ee00", 1, 7000, LATER);
    assert_listed(in, &all, "ee00 ");
    assert_int_equal(db_number(p.db, "SELECT count(*) FROM entries"), 7);
    larder_inspect_close(in);
    program_end(&p);
}

static void test_listing_agrees_with_the_view(void **state)
{
    (void)state;
    program p = program_with_entries();
    db_exec(p.db, "INSERT INTO invalidations (kind, channel) VALUES ('channel', 'db:getEntry')");
    char *view = db_shell(p.path, "SELECT group_concat(substr(key, 1, 4), ' ') FROM cache");
    assert_string_equal(view, "aa11 aa12");
    free(view);
    larder_inspect *in = must_open(p.path, LARDER_INSPECT_READ);
    assert_listed(in, NULL, "aa12 aa11 ");
    larder_inspect_close(in);
    program_end(&p);
}

static void test_entry_has_all_its_fields(void **state)
{
    (void)state;
    program p = program_start();
    db_exec(p.db,
            "INSERT INTO entries (key, channel_id, version, seq, created_ms, expires_ms, used_ms, hits, cost_us, size, "
            "content_type, scope, args, value) VALUES (zeroblob(32), 1, 4000000000, 0, 11, 22, 33, 44, 55, 5, "
            "'text/plain; charset=utf-8', 'user:1', '[1,\"x\"]', 'a' || char(0) || 'bcd')");
    larder_inspect *in = must_open(p.path, LARDER_INSPECT_READ);
    seen s = {.count = 0};
    assert_int_equal(larder_inspect_entry(in, "0", see, &s, NULL), LARDER_OK);
    assert_string_equal(s.last.key, "0000000000000000000000000000000000000000000000000000000000000000");
    assert_string_equal(s.texts, "db:search user:1 [1,\"x\"]");
    assert_int_equal(s.last.args_len, 7);
    assert_true(s.last.version == 4000000000u);
    assert_int_equal(s.last.content, LARDER_CONTENT_TEXT);
    assert_int_equal(s.last.size, 5);
    assert_memory_equal(s.last_value, "a\0bcd", 5);
    assert_int_equal(s.last.created_ms, 11);
    assert_int_equal(s.last.expires_ms, 22);
    assert_int_equal(s.last.used_ms, 33);
    assert_int_equal(s.last.hits, 44);
    assert_int_equal(s.last.cost_us, 55);
    assert_int_equal(s.last.expired, 1);
    larder_inspect_close(in);
    program_end(&p);
}

static int check_texts(const larder_entry_info *entry, void *user_data)
{
    int *with_value = user_data;
    assert_string_equal(entry->channel, "db:search");
    assert_string_equal(entry->args, "[\"aa11\"]");
    assert_null(entry->scope);
    assert_int_equal(entry->expired, 0);
    assert_int_equal(entry->content, LARDER_CONTENT_JSON);
    assert_true(*with_value ? strcmp(entry->value, "\"aa11\"") == 0 : entry->value == NULL);
    return 0;
}

static void test_listing_shows_no_value_and_a_single_entry_does(void **state)
{
    (void)state;
    program p = program_with_entries();
    larder_inspect *in = must_open(p.path, LARDER_INSPECT_READ);
    larder_filter filter;
    larder_filter_init(&filter);
    filter.key_prefix = "aa11";
    int with_value = 0;
    assert_int_equal(larder_inspect_entries(in, &filter, check_texts, &with_value, NULL), LARDER_OK);
    with_value = 1;
    assert_int_equal(larder_inspect_entry(in, "aa11", check_texts, &with_value, NULL), LARDER_OK);
    larder_inspect_close(in);
    program_end(&p);
}

static void test_single_entry_must_be_the_only_one_with_its_prefix(void **state)
{
    (void)state;
    program p = program_with_entries();
    larder_inspect *in = must_open(p.path, LARDER_INSPECT_READ);
    seen s = {.count = 0};
    larder_error error = {0, 0, ""};
    assert_int_equal(larder_inspect_entry(in, "aa", see, &s, &error), LARDER_EINVAL);
    assert_non_null(strstr(error.message, "several"));
    assert_int_equal(larder_inspect_entry(in, "ff", see, &s, &error), LARDER_ENOTFOUND);
    assert_int_equal(larder_inspect_entry(in, "xy", see, &s, &error), LARDER_EINVAL);
    assert_non_null(strstr(error.message, "xy"));
    assert_int_equal(larder_inspect_entry(in, "", see, &s, &error), LARDER_EINVAL);
    assert_int_equal(s.count, 0);
    assert_int_equal(larder_inspect_entry(in, "aa13", see, &s, &error), LARDER_OK); /* though expired */
    assert_int_equal(s.last.expired, 1);
    db_exec(p.db, "INSERT INTO invalidations (kind) VALUES ('all')");
    assert_int_equal(larder_inspect_entry(in, "aa13", see, &s, &error), LARDER_ENOTFOUND);
    larder_inspect_close(in);
    program_end(&p);
}

static void test_bad_filters_are_refused_with_words(void **state)
{
    (void)state;
    static const char *const prefixes[] = {"g", "0x", "aa ", "\xc3\xa4",
                                           "00000000000000000000000000000000000000000000000000000000000000000"};
    program p = program_with_entries();
    larder_inspect *in = must_open(p.path, LARDER_INSPECT_WRITE);
    seen s = {.count = 0};
    larder_filter filter;
    for (size_t i = 0; i < sizeof prefixes / sizeof prefixes[0]; i++) {
        larder_error error = {0, 0, ""};
        larder_filter_init(&filter);
        filter.key_prefix = prefixes[i];
        assert_int_equal(larder_inspect_entries(in, &filter, see, &s, &error), LARDER_EINVAL);
        assert_true(error.message[0] != '\0');
        assert_int_equal(larder_inspect_clear(in, &filter, NULL, &error), LARDER_EINVAL);
    }
    larder_filter_init(&filter);
    filter.limit = 1;
    assert_int_equal(larder_inspect_clear(in, &filter, NULL, NULL), LARDER_EINVAL);
    memset(&filter, 0, sizeof filter);
    assert_int_equal(larder_inspect_entries(in, &filter, see, &s, NULL), LARDER_EINVAL);
    assert_int_equal(larder_inspect_clear(in, &filter, NULL, NULL), LARDER_EINVAL);
    assert_int_equal(db_number(p.db, "SELECT count(*) FROM entries"), 5);
    larder_inspect_close(in);
    program_end(&p);
}

static void test_listing_ends_when_its_callback_says_so(void **state)
{
    (void)state;
    program p = program_with_entries();
    larder_inspect *in = must_open(p.path, LARDER_INSPECT_READ);
    seen s = {.stop_after = 2};
    assert_int_equal(larder_inspect_entries(in, NULL, see, &s, NULL), 17);
    assert_int_equal(s.count, 2);
    larder_inspect_close(in);
    program_end(&p);
}

typedef struct order {
    int64_t created_ms;
    int count;
} order;

static int check_order(const larder_entry_info *entry, void *user_data)
{
    order *o = user_data;
    assert_true(entry->created_ms <= o->created_ms);
    o->created_ms = entry->created_ms;
    o->count++;
    return 0;
}

static void test_listing_of_more_than_fits_into_memory_at_once_is_whole_and_in_order(void **state)
{
    (void)state;
    program p = program_with_many(70000);
    larder_inspect *in = must_open(p.path, LARDER_INSPECT_READ);
    order o = {INT64_MAX, 0};
    assert_int_equal(larder_inspect_entries(in, NULL, check_order, &o, NULL), LARDER_OK);
    assert_int_equal(o.count, 70000);
    larder_inspect_close(in);
    program_end(&p);
}

typedef struct interruption {
    program *p;
    larder_inspect *other;
    int count;
} interruption;

static int clear_at_first(const larder_entry_info *entry, void *user_data)
{
    interruption *i = user_data;
    (void)entry;
    if (i->count++ == 0) {
        int log = -1;
        int done = -1;
        db_exec(i->p->db, "DELETE FROM entries WHERE key >= x'bb'");
        db_exec(i->p->db, "INSERT INTO invalidations (kind, channel) VALUES ('channel', 'db:search')");
        /* Nothing is held while the caller takes its time: the WAL can be emptied. */
        assert_int_equal(sqlite3_wal_checkpoint_v2(i->p->db->handle, NULL, SQLITE_CHECKPOINT_TRUNCATE, &log, &done),
                         SQLITE_OK);
        assert_int_equal(log, 0);
        seen s = {.count = 0};
        assert_int_equal(larder_inspect_entries(i->other, NULL, see, &s, NULL), LARDER_OK); /* the same handle */
        assert_int_equal(s.count, 0);
    }
    return 0;
}

static void test_listing_that_waits_holds_nothing_and_leaves_out_what_goes_meanwhile(void **state)
{
    (void)state;
    program p = program_with_entries();
    larder_inspect *in = must_open(p.path, LARDER_INSPECT_READ);
    interruption i = {&p, in, 0};
    assert_int_equal(larder_inspect_entries(in, NULL, clear_at_first, &i, NULL), LARDER_OK);
    assert_int_equal(i.count, 1);
    larder_inspect_close(in);
    program_end(&p);
}

/* ---- channels, the file ---- */

static void test_channels_have_entries_and_counts_by_name(void **state)
{
    (void)state;
    program p = program_with_entries();
    channels c = {.count = 0};
    db_exec(p.db, "INSERT INTO channels (id, name, created_ms) VALUES (3, 'idle', 0), (4, 'counted', 0)");
    db_exec(p.db, "INSERT INTO channel_totals (channel_id, requests, errors) VALUES (0, 9, 9)");
    db_exec(p.db, "INSERT INTO channel_totals VALUES (4, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12), "
                  "(3, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0)");
    larder_inspect *in = must_open(p.path, LARDER_INSPECT_READ);
    assert_int_equal(larder_inspect_channels(in, note_channel, &c, NULL), LARDER_OK);
    assert_int_equal(c.count, 4);
    assert_string_equal(c.names[0], "(unknown)");
    assert_int_equal(c.infos[0].requests, 9);
    assert_string_equal(c.names[1], "counted");
    static const uint64_t counted[] = {0, 0, 0, 1, 2, 3, 4, 5, 6, 7, 10, 11, 12};
    assert_memory_equal(&c.infos[1].entries, counted, sizeof counted);
    assert_string_equal(c.names[2], "db:getEntry");
    assert_int_equal(c.infos[2].entries, 1);
    assert_int_equal(c.infos[2].expired, 1);
    assert_string_equal(c.names[3], "db:search");
    assert_int_equal(c.infos[3].entries, 2);
    assert_int_equal(c.infos[3].bytes, 12);
    assert_int_equal(c.infos[3].expired, 1);
    larder_inspect_close(in);
    program_end(&p);
}

static void test_file_tells_its_version_size_and_age(void **state)
{
    (void)state;
    program p = program_with_many(2000);
    larder_inspect *in = must_open(p.path, LARDER_INSPECT_READ);
    larder_file_info info;
    assert_int_equal(larder_inspect_file(in, &info, NULL), LARDER_OK);
    assert_int_equal(info.schema_version, LARDER__MIGRATION_COUNT);
    assert_int_equal(info.file_bytes, db_number(p.db, "PRAGMA page_count") * 4096);
    assert_int_equal(info.free_bytes, 0);
    assert_true(info.created_ms > 1700000000000);
    db_exec(p.db, "DELETE FROM entries");
    assert_int_equal(larder_inspect_file(in, &info, NULL), LARDER_OK);
    assert_int_equal(info.free_bytes, db_number(p.db, "PRAGMA freelist_count") * 4096);
    assert_true(info.free_bytes > 10 * 4096);
    larder_inspect_close(in);
    program_end(&p);
}

/* ---- what is left behind, what is refused ---- */

static void test_reading_a_cleanly_closed_file_leaves_the_folder_as_it_was(void **state)
{
    (void)state;
    program p = program_with_entries();
    program_end_cleanly(&p);
    channels c = {.count = 0};
    larder_file_info info;
    char *before = db_folder(p.path);
    larder_inspect *in = must_open(p.path, LARDER_INSPECT_READ);
    assert_listed(in, NULL, "aa12 bb00 aa11 ");
    assert_int_equal(larder_inspect_channels(in, note_channel, &c, NULL), LARDER_OK);
    assert_int_equal(larder_inspect_file(in, &info, NULL), LARDER_OK);
    larder_inspect_close(in);
    char *after = db_folder(p.path);
    assert_string_equal(before, after);
    free(before);
    free(after);
}

static void test_reading_sees_what_a_killed_program_committed(void **state)
{
    (void)state;
    program p = program_with_entries();
    program_end(&p); /* no checkpoint, as after a kill */
    larder_inspect *in = must_open(p.path, LARDER_INSPECT_READ);
    assert_listed(in, NULL, "aa12 bb00 aa11 ");
    larder_inspect_close(in);
    assert_true(db_exists(p.path, "-wal"));
}

static int list_as_nobody(void *argument)
{
    larder_inspect *in = NULL;
    seen s = {.count = 0};
    if (db_be_nobody() != 0) {
        return 99;
    }
    int status = larder_inspect_open(&in, argument, LARDER_INSPECT_WRITE, NULL);
    if (status != LARDER_EREADONLY) {
        return 98;
    }
    status = larder_inspect_open(&in, argument, LARDER_INSPECT_READ, NULL);
    if (status == LARDER_OK) {
        status = larder_inspect_entries(in, NULL, see, &s, NULL);
    }
    larder_inspect_close(in);
    return status == LARDER_OK ? s.count : 97;
}

static void test_file_on_read_only_media_can_be_read(void **state)
{
    (void)state;
    program p = program_with_entries();
    program_end_cleanly(&p);
    char folder[4096];
    snprintf(folder, sizeof folder, "%.*s", (int)(strrchr(p.path, '/') - p.path), p.path);
    assert_int_equal(chmod(p.path, 0444), 0);
    assert_int_equal(chmod(folder, 0555), 0);
    assert_int_equal(db_in_child(list_as_nobody, (void *)(uintptr_t)p.path), 3);
    assert_int_equal(chmod(folder, 0700), 0);
}

static void test_what_cannot_be_opened_is_refused_and_left_as_it_was(void **state)
{
    (void)state;
    static const struct {
        const char *setup;
        int status;
    } cases[] = {
        {"true", LARDER_ENOTFOUND},
        {"touch $f", LARDER_ESCHEMA},
        {"echo hello >$f", LARDER_ECORRUPT},
        {"mkdir $f", LARDER_EFOREIGN},
        {"sqlite3 $f 'CREATE TABLE notes (text)'", LARDER_EFOREIGN},
        {"sqlite3 $f 'PRAGMA application_id = 1280459858; PRAGMA user_version = 99'", LARDER_ENEWER},
        {"sqlite3 $f 'PRAGMA application_id = 1280459858; PRAGMA user_version = 1'", LARDER_ESCHEMA},
    };
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        for (int mode = LARDER_INSPECT_READ; mode <= LARDER_INSPECT_WRITE; mode++) {
            const char *path = db_path();
            larder_inspect *in = NULL;
            larder_error error = {0, 0, ""};
            assert_int_equal(test_shell(NULL, "f='%s'; %s", path, cases[i].setup), 0);
            char *before = db_folder(path);
            assert_int_equal(larder_inspect_open(&in, path, (larder_inspect_mode)mode, &error), cases[i].status);
            char *after = db_folder(path);
            assert_null(in);
            assert_non_null(strstr(error.message, path));
            assert_string_equal(before, after);
            free(before);
            free(after);
        }
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_entries_are_listed_newest_first_without_what_cannot_be_served),
        cmocka_unit_test(test_entries_pass_filters_by_channel_prefix_limit_and_expiry),
        cmocka_unit_test(test_entries_that_were_invalidated_are_hidden_though_their_rows_remain),
        cmocka_unit_test(test_listing_agrees_with_the_view),
        cmocka_unit_test(test_entry_has_all_its_fields),
        cmocka_unit_test(test_listing_shows_no_value_and_a_single_entry_does),
        cmocka_unit_test(test_single_entry_must_be_the_only_one_with_its_prefix),
        cmocka_unit_test(test_bad_filters_are_refused_with_words),
        cmocka_unit_test(test_listing_ends_when_its_callback_says_so),
        cmocka_unit_test(test_listing_of_more_than_fits_into_memory_at_once_is_whole_and_in_order),
        cmocka_unit_test(test_listing_that_waits_holds_nothing_and_leaves_out_what_goes_meanwhile),
        cmocka_unit_test(test_channels_have_entries_and_counts_by_name),
        cmocka_unit_test(test_file_tells_its_version_size_and_age),
        cmocka_unit_test(test_reading_a_cleanly_closed_file_leaves_the_folder_as_it_was),
        cmocka_unit_test(test_reading_sees_what_a_killed_program_committed),
        cmocka_unit_test(test_file_on_read_only_media_can_be_read),
        cmocka_unit_test(test_what_cannot_be_opened_is_refused_and_left_as_it_was),
    };
    fault_vfs_install();
    faults_off();
    return cmocka_run_group_tests(tests, NULL, NULL);
}
