/* tests/unit/test_store_inspect.c: looking into a file from outside, and clearing it, beside a program that has it open. */
#include "db_fixture.h"

#include "fault_vfs.h"
#include "sqlite_alloc.h"

#include <larder/inspect.h>
#include <pthread.h>
#include <sched.h>
#include <time.h>

#define LATER 9999999999999LL /* expires_ms of what stays */

/* Syncs are not what these tests are about, and take most of the time. */
static void faults_off(void)
{
    fault_vfs_reset();
    fault_vfs_ignore_syncs(1);
}

/* ---- a file with entries, held open as a running program would ---- */

typedef struct program {
    const char *path;
    larder__db *db;
    larder__lockfile *lock;
} program;

static program program_start(void)
{
    program p = {db_path(), NULL, NULL};
    larder_error error = {0, 0, ""};
    if (db_create(&p.db, p.path, &error) != LARDER_OK) {
        fail_msg("%s", error.message);
    }
    assert_int_equal(larder__lockfile_open(&p.lock, p.path, NULL), LARDER_OK);
    db_exec(p.db, "INSERT INTO channels (id, name, created_ms) VALUES (1, 'db:search', 0), (2, 'db:getEntry', 0)");
    return p;
}

static void program_end(program *p)
{
    larder__db_close(p->db);
    larder__lockfile_close(p->lock);
}

/* Closed cleanly: the file alone is left. */
static void program_end_cleanly(program *p)
{
    larder__db_tidy(p->db);
    program_end(p);
    char name[4096];
    snprintf(name, sizeof name, "%s-lock", p->path);
    unlink(name);
}

static void put(program *p, const char *key_hex, int channel, int64_t created_ms, int64_t expires_ms)
{
    char sql[1024];
    snprintf(sql, sizeof sql,
             "INSERT INTO entries (key, channel_id, version, seq, created_ms, expires_ms, used_ms, hits, cost_us, size, "
             "content_type, scope, args, value) VALUES (x'%s%0*d', %d, 7, (SELECT ifnull(max(id), 0) FROM invalidations), "
             "%lld, %lld, 5, 3, 1234, 6, 'application/json', NULL, '[\"%s\"]', '\"%s\"')",
             key_hex, 64 - (int)strlen(key_hex), 0, channel, (long long)created_ms, (long long)expires_ms, key_hex, key_hex);
    db_exec(p->db, sql);
}

/* Five entries: two channels, one expired, one from a clock that was ahead. */
static program program_with_entries(void)
{
    program p = program_start();
    put(&p, "aa11", 1, 1000, LATER);
    put(&p, "aa12", 1, 3000, LATER);
    put(&p, "bb00", 2, 2000, LATER);
    put(&p, "aa13", 1, 4000, 5000);
    put(&p, "cc00", 2, LATER - 1, LATER);
    return p;
}

/* count entries on channel 1, made quickly. */
static program program_with_many(int count)
{
    program p = program_start();
    char sql[1024];
    snprintf(sql, sizeof sql,
             "BEGIN; WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < %d) "
             "INSERT INTO entries (key, channel_id, version, seq, created_ms, expires_ms, cost_us, size, content_type, args, "
             "value) SELECT randomblob(32), 1, 1, 0, i / 3, %lld, 1, 4, 'application/json', '[' || i || ']', '1234' FROM n; "
             "COMMIT",
             count, LATER);
    db_exec(p.db, sql);
    return p;
}

static larder_inspect *must_open(const char *path, larder_inspect_mode mode)
{
    larder_inspect *in = NULL;
    larder_error error = {0, 0, ""};
    if (larder_inspect_open(&in, path, mode, &error) != LARDER_OK) {
        fail_msg("%s", error.message);
    }
    return in;
}

/* ---- listing ---- */

typedef struct seen {
    char keys[256]; /* their first four digits, each with a blank */
    int count;
    int stop_after; /* and return 17 */
    larder_entry_info last;
    char texts[256]; /* of the last: channel, scope, args */
    char last_value[64];
} seen;

static int see(const larder_entry_info *entry, void *user_data)
{
    seen *s = user_data;
    if (s->count < 40) {
        strncat(s->keys, entry->key, 4);
        strcat(s->keys, " ");
    }
    s->last = *entry;
    snprintf(s->texts, sizeof s->texts, "%s %s %s", entry->channel, entry->scope == NULL ? "-" : entry->scope,
             entry->args);
    if (entry->value != NULL) {
        memcpy(s->last_value, entry->value, entry->size < sizeof s->last_value ? entry->size : sizeof s->last_value);
    }
    s->count++;
    return s->stop_after != 0 && s->count == s->stop_after ? 17 : 0;
}

static void assert_listed(larder_inspect *in, const larder_filter *filter, const char *keys)
{
    seen s = {.count = 0};
    larder_error error = {0, 0, ""};
    if (larder_inspect_entries(in, filter, see, &s, &error) != LARDER_OK) {
        fail_msg("%s", error.message);
    }
    assert_string_equal(s.keys, keys);
}

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
    db_exec(p.db, "INSERT INTO entries (key, channel_id, version, seq, created_ms, expires_ms, used_ms, hits, cost_us, size, "
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
    static const char *const prefixes[] = {
        "g", "0x", "aa ", "\xc3\xa4", "00000000000000000000000000000000000000000000000000000000000000000"};
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

typedef struct channels {
    larder_channel_info infos[8];
    char names[8][32];
    int count;
} channels;

static int note_channel(const larder_channel_info *channel, void *user_data)
{
    channels *c = user_data;
    assert_true(c->count < 8);
    snprintf(c->names[c->count], sizeof c->names[0], "%s", channel->channel);
    c->infos[c->count++] = *channel;
    return 0;
}

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

/* ---- clearing ---- */

static void test_clear_of_everything_holds_for_running_programs_and_for_answers_to_come(void **state)
{
    (void)state;
    program p = program_with_entries();
    uint64_t removed = 99;
    larder_inspect *in = must_open(p.path, LARDER_INSPECT_WRITE);
    uint64_t before = larder__lockfile_invalidations(p.lock);
    assert_int_equal(larder_inspect_clear(in, NULL, &removed, NULL), LARDER_OK);
    assert_int_equal(removed, 3); /* those that could be served */
    assert_int_equal(larder__lockfile_invalidations(p.lock), before + 1);
    assert_int_equal(db_number(p.db, "SELECT count(*) FROM entries"), 0);
    assert_int_equal(db_number(p.db, "SELECT count(*) FROM invalidations"), 1);
    assert_int_equal(db_number(p.db, "SELECT kind = 'all' AND origin IS NULL AND created_ms > 1700000000000 "
                                     "FROM invalidations"),
                     1);
    assert_int_equal(larder__lockfile_try(p.lock), 1);
    assert_int_equal(larder_inspect_clear(in, NULL, &removed, NULL) == LARDER_ELOCKED, 1); /* after its 5 s */
    larder__lockfile_unlock(p.lock);
    assert_int_equal(larder_inspect_clear(in, NULL, &removed, NULL), LARDER_OK);
    assert_int_equal(removed, 0);
    larder_inspect_close(in);
    program_end(&p);
}

typedef struct clear_case {
    const char *channel;
    const char *prefix;
    uint64_t removed;
    const char *left;
    const char *log;
} clear_case;

static void test_clear_by_channel_and_prefix_removes_and_logs_what_it_covers(void **state)
{
    (void)state;
    static const clear_case cases[] = {
        {"db:search", NULL, 2, "BB00 CC00", "channel db:search "},
        {"db:getEntry", NULL, 1, "AA11 AA12 AA13", "channel db:getEntry "},
        {"never:used", NULL, 0, "AA11 AA12 AA13 BB00 CC00", "channel never:used "},
        {NULL, "aa1", 2, "BB00 CC00", "key  AA11,key  AA12,key  AA13"},
        {NULL, "aa11", 1, "AA12 AA13 BB00 CC00", "key  AA11"},
        {NULL, "f", 0, "AA11 AA12 AA13 BB00 CC00", ""},
        {"db:search", "a", 2, "BB00 CC00", "key  AA11,key  AA12,key  AA13"},
        {"db:search", "b", 0, "AA11 AA12 AA13 BB00 CC00", ""},
        {NULL, "", 3, "", "all  "},
    };
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        program p = program_with_entries();
        larder_filter filter;
        uint64_t removed = 99;
        larder_filter_init(&filter);
        filter.channel = cases[i].channel;
        filter.key_prefix = cases[i].prefix;
        larder_inspect *in = must_open(p.path, LARDER_INSPECT_WRITE);
        assert_int_equal(larder_inspect_clear(in, &filter, &removed, NULL), LARDER_OK);
        larder_inspect_close(in);
        assert_int_equal(removed, cases[i].removed);
        db_assert_shell(p.path, "SELECT ifnull(group_concat(k, ' '), '') FROM (SELECT substr(hex(key), 1, 4) AS k "
                                "FROM entries ORDER BY key)",
                        cases[i].left);
        db_assert_shell(p.path, "SELECT ifnull(group_concat(l), '') FROM (SELECT kind || ' ' || ifnull(channel, '') || ' ' "
                                "|| ifnull(substr(hex(key), 1, 4), '') AS l FROM invalidations ORDER BY key, id)",
                        cases[i].log);
        assert_int_equal(larder__lockfile_invalidations(p.lock), 1);
        program_end(&p);
    }
}

static void test_clear_counts_no_entry_that_was_invalidated_before(void **state)
{
    (void)state;
    program p = program_with_entries();
    uint64_t removed = 99;
    db_exec(p.db, "INSERT INTO invalidations (kind, channel) VALUES ('channel', 'db:search')");
    larder_inspect *in = must_open(p.path, LARDER_INSPECT_WRITE);
    assert_int_equal(larder_inspect_clear(in, NULL, &removed, NULL), LARDER_OK);
    assert_int_equal(removed, 1);
    larder_inspect_close(in);
    program_end(&p);
}

typedef struct rival {
    larder__lockfile *lock;
    int stop;    /* atomic */
    int turns;   /* atomic */
    uint64_t longest_ns;
} rival;

static uint64_t now_ns(void)
{
    struct timespec now;
    clock_gettime(CLOCK_MONOTONIC, &now);
    return (uint64_t)now.tv_sec * 1000000000u + (uint64_t)now.tv_nsec;
}

static void *want_the_lock(void *argument)
{
    rival *r = argument;
    while (!__atomic_load_n(&r->stop, __ATOMIC_SEQ_CST)) {
        uint64_t start = now_ns();
        if (larder__lockfile_lock(r->lock, 20000, NULL) == LARDER_OK) {
            uint64_t waited = now_ns() - start;
            r->longest_ns = waited > r->longest_ns ? waited : r->longest_ns;
            larder__lockfile_unlock(r->lock);
            sched_yield();
            __atomic_add_fetch(&r->turns, 1, __ATOMIC_SEQ_CST);
        }
    }
    return NULL;
}

static void test_clear_of_many_gives_the_lock_up_between_slices_and_empties_the_wal(void **state)
{
    (void)state;
    program p = program_with_many(100000);
    rival r = {p.lock, 0, 0, 0};
    uint64_t removed = 0;
    pthread_t thread;
    larder_inspect *in = must_open(p.path, LARDER_INSPECT_WRITE);
    larder__lockfile *other = NULL;
    assert_int_equal(larder__lockfile_open_existing(&other, p.path, NULL), LARDER_OK);
    sqlite3_wal_checkpoint_v2(p.db->handle, NULL, SQLITE_CHECKPOINT_TRUNCATE, NULL, NULL);
    assert_int_equal(pthread_create(&thread, NULL, want_the_lock, &r), 0);
    uint64_t start = now_ns();
    assert_int_equal(larder_inspect_clear(in, NULL, &removed, NULL), LARDER_OK);
    uint64_t took = now_ns() - start;
    __atomic_store_n(&r.stop, 1, __ATOMIC_SEQ_CST);
    pthread_join(thread, NULL);
    assert_int_equal(removed, 100000);
    assert_int_equal(db_number(p.db, "SELECT count(*) FROM entries"), 0);
    struct stat wal;
    char name[4096];
    snprintf(name, sizeof name, "%s-wal", p.path);
    assert_int_equal(stat(name, &wal), 0);
    print_message("%llu ms, %d turns for others, the longest wait %llu ms, WAL %lld KiB\n",
                  (unsigned long long)(took / 1000000), r.turns, (unsigned long long)(r.longest_ns / 1000000),
                  (long long)wal.st_size / 1024);
    assert_true(r.turns >= 90); /* about one a slice */
    assert_true(wal.st_size < 32 * 1024 * 1024);
    larder__lockfile_close(other);
    larder_inspect_close(in);
    program_end(&p);
}

static void test_clear_needs_a_handle_for_writing(void **state)
{
    (void)state;
    program p = program_with_entries();
    larder_error error = {0, 0, ""};
    larder_inspect *in = must_open(p.path, LARDER_INSPECT_READ);
    assert_int_equal(larder_inspect_clear(in, NULL, NULL, &error), LARDER_EREADONLY);
    assert_non_null(strstr(error.message, "reading"));
    larder_inspect_close(in);
    program_end(&p);
}

static void test_clear_on_a_file_that_was_replaced_is_moved(void **state)
{
    (void)state;
    program p = program_with_entries();
    larder_inspect *in = must_open(p.path, LARDER_INSPECT_WRITE);
    assert_int_equal(test_shell(NULL, "cp '%s' '%s.2' && mv '%s.2' '%s'", p.path, p.path, p.path, p.path), 0);
    assert_int_equal(larder_inspect_clear(in, NULL, NULL, NULL), LARDER_EMOVED);
    larder_inspect_close(in);
    program_end(&p);
}

/* Refused at its nth change of the disk: nothing was cleared; or not refused: all was, whatever the slices met. */
static void test_clear_that_meets_a_failing_disk_clears_all_or_nothing(void **state)
{
    (void)state;
    static const struct {
        fault_op op;
        int code;
        int status;
    } faults[] = {
        {FAULT_WRITE, SQLITE_FULL, LARDER_EFULL},
        {FAULT_WRITE, SQLITE_IOERR_WRITE, LARDER_EIO},
        {FAULT_SYNC, SQLITE_IOERR_FSYNC, LARDER_EIO},
    };
    for (size_t f = 0; f < sizeof faults / sizeof faults[0]; f++) {
        int refused = 0;
        for (unsigned long n = 1;; n++) {
            program p = program_with_entries();
            larder_error error = {0, 0, ""};
            uint64_t removed = 0;
            larder_inspect *in = must_open(p.path, LARDER_INSPECT_WRITE);
            fault_vfs_fail(faults[f].op, n, 1, faults[f].code);
            int status = larder_inspect_clear(in, NULL, &removed, &error);
            unsigned long failed = fault_vfs_failed();
            faults_off();
            if (status == LARDER_OK) {
                assert_int_equal(removed, 3);
                assert_listed(in, NULL, "");
            } else {
                assert_int_equal(status, faults[f].status);
                assert_non_null(strstr(error.message, p.path));
                assert_listed(in, NULL, "aa12 bb00 aa11 ");
                assert_int_equal(larder__lockfile_try(p.lock), 1);
                larder__lockfile_unlock(p.lock);
                assert_int_equal(larder_inspect_clear(in, NULL, &removed, &error), LARDER_OK);
                refused++;
            }
            larder_inspect_close(in);
            program_end(&p);
            if (failed == 0) {
                break;
            }
        }
        assert_true(refused > 0);
    }
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

static void test_clearing_a_cleanly_closed_file_leaves_no_wal(void **state)
{
    (void)state;
    program p = program_with_entries();
    program_end_cleanly(&p);
    larder_inspect *in = must_open(p.path, LARDER_INSPECT_WRITE);
    assert_int_equal(larder_inspect_clear(in, NULL, NULL, NULL), LARDER_OK);
    larder_inspect_close(in);
    assert_false(db_exists(p.path, "-wal"));
    assert_false(db_exists(p.path, "-shm"));
    db_assert_shell(p.path, "SELECT count(*) FROM entries; SELECT kind FROM invalidations", "0\nall");
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

/* ---- memory ---- */

static int use_everything(const char *path)
{
    larder_inspect *in = NULL;
    larder_error error = {0, 0, ""};
    larder_file_info info;
    larder_filter filter;
    seen s = {.count = 0};
    channels c = {.count = 0};
    larder_filter_init(&filter);
    filter.key_prefix = "aa11";
    int status = larder_inspect_open(&in, path, LARDER_INSPECT_WRITE, &error);
    if (status == LARDER_OK) {
        status = larder_inspect_entries(in, NULL, see, &s, &error);
    }
    if (status == LARDER_OK) {
        status = larder_inspect_entry(in, "bb", see, &s, &error);
    }
    if (status == LARDER_OK) {
        status = larder_inspect_channels(in, note_channel, &c, &error);
    }
    if (status == LARDER_OK) {
        status = larder_inspect_file(in, &info, &error);
    }
    if (status == LARDER_OK) {
        status = larder_inspect_clear(in, &filter, NULL, &error);
    }
    if (status == LARDER_OK) {
        status = larder_inspect_clear(in, NULL, NULL, &error);
    }
    larder_inspect_close(in);
    if (status != LARDER_OK && error.status != status) {
        fail_msg("a failure without words: %s", larder_status_name(status));
    }
    return status;
}

static void assert_survives(int of_sqlite, unsigned long step)
{
    int refused = 0;
    unsigned long n = 1;
    program p = program_with_entries();
    int descriptors = db_open_descriptors();
    for (int failed = 1; failed; n += step) {
        db_exec(p.db, "DELETE FROM entries; DELETE FROM invalidations");
        put(&p, "aa11", 1, 1000, LATER);
        put(&p, "bb00", 2, 2000, LATER);
        long live = test_alloc_live();
        if (of_sqlite) {
            sqlite_alloc_fail_at(n, 0);
        } else {
            test_alloc_fail_at(n, 0);
        }
        int status = use_everything(p.path);
        failed = of_sqlite ? sqlite_alloc_failed() > 0 : test_alloc_failed() > 0;
        sqlite_alloc_fail_at(0, 0);
        test_alloc_fail_at(0, 0);
        if (status != LARDER_OK) {
            refused++;
            assert_int_equal(status, LARDER_ENOMEM);
            assert_int_equal(larder__lockfile_try(p.lock), 1); /* whatever failed, the lock is free */
            larder__lockfile_unlock(p.lock);
        } else {
            assert_int_equal(db_number(p.db, "SELECT count(*) FROM invalidations WHERE kind = 'all'"), 1);
        }
        assert_int_equal(test_alloc_live(), live);
        /* SQLite keeps descriptors of a file on which this process has locks, and uses them again. */
        assert_true(db_open_descriptors() <= descriptors + 4);
        assert_true(n < 20000);
    }
    print_message("%lu allocations, %d times refused\n", n - 1 - step, refused);
    assert_true(refused > 10);
    program_end(&p);
}

static void test_inspecting_survives_every_failed_allocation_of_ours(void **state)
{
    (void)state;
    assert_survives(0, 1);
}

static void test_inspecting_survives_every_failed_allocation_of_sqlite(void **state)
{
    (void)state;
    assert_survives(1, 3); /* opening alone is tested at every one, with test_store_db */
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
        cmocka_unit_test(test_clear_of_everything_holds_for_running_programs_and_for_answers_to_come),
        cmocka_unit_test(test_clear_by_channel_and_prefix_removes_and_logs_what_it_covers),
        cmocka_unit_test(test_clear_counts_no_entry_that_was_invalidated_before),
        cmocka_unit_test(test_clear_of_many_gives_the_lock_up_between_slices_and_empties_the_wal),
        cmocka_unit_test(test_clear_needs_a_handle_for_writing),
        cmocka_unit_test(test_clear_on_a_file_that_was_replaced_is_moved),
        cmocka_unit_test(test_clear_that_meets_a_failing_disk_clears_all_or_nothing),
        cmocka_unit_test(test_reading_a_cleanly_closed_file_leaves_the_folder_as_it_was),
        cmocka_unit_test(test_clearing_a_cleanly_closed_file_leaves_no_wal),
        cmocka_unit_test(test_reading_sees_what_a_killed_program_committed),
        cmocka_unit_test(test_file_on_read_only_media_can_be_read),
        cmocka_unit_test(test_what_cannot_be_opened_is_refused_and_left_as_it_was),
        cmocka_unit_test(test_inspecting_survives_every_failed_allocation_of_ours),
        cmocka_unit_test(test_inspecting_survives_every_failed_allocation_of_sqlite),
    };
    test_alloc_install();
    sqlite_alloc_install();
    fault_vfs_install();
    faults_off();
    return cmocka_run_group_tests(tests, NULL, NULL);
}
