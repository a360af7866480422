/* tests/unit/inspect_fixture.h: a file with entries, held open as a running program would, and callbacks that note what
 * they were shown. */
#ifndef LARDER_TEST_INSPECT_FIXTURE_H
#define LARDER_TEST_INSPECT_FIXTURE_H

#include "db_fixture.h"

#include "fault_vfs.h"

#include <larder/inspect.h>

#define LATER 9999999999999LL /* expires_ms of what stays */

/* Syncs are not what these tests are about, and take most of the time. */
static inline void faults_off(void)
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

static inline program program_start(void)
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

static inline void program_end(program *p)
{
    larder__db_close(p->db);
    larder__lockfile_close(p->lock);
}

/* Closed cleanly: the file alone is left. */
static inline void program_end_cleanly(program *p)
{
    larder__db_tidy(p->db);
    program_end(p);
    char name[4096];
    snprintf(name, sizeof name, "%s-lock", p->path);
    unlink(name);
}

static inline void put(program *p, const char *key_hex, int channel, int64_t created_ms, int64_t expires_ms)
{
    char sql[1024];
    snprintf(
        sql, sizeof sql,
        "INSERT INTO entries (key, channel_id, version, seq, created_ms, expires_ms, used_ms, hits, cost_us, size, "
        "content_type, scope, args, value) VALUES (x'%s%0*d', %d, 7, (SELECT ifnull(max(id), 0) FROM invalidations), "
        "%lld, %lld, 5, 3, 1234, 6, 'application/json', NULL, '[\"%s\"]', '\"%s\"')",
        key_hex, 64 - (int)strlen(key_hex), 0, channel, (long long)created_ms, (long long)expires_ms, key_hex, key_hex);
    db_exec(p->db, sql);
}

/* Five entries: two channels, one expired, one from a clock that was ahead. */
static inline program program_with_entries(void)
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
static inline program program_with_many(int count)
{
    program p = program_start();
    char sql[1024];
    snprintf(
        sql, sizeof sql,
        "BEGIN; WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < %d) "
        "INSERT INTO entries (key, channel_id, version, seq, created_ms, expires_ms, cost_us, size, content_type, "
        "args, "
        "value) SELECT randomblob(32), 1, 1, 0, i / 3, %lld, 1, 4, 'application/json', '[' || i || ']', '1234' FROM n; "
        "COMMIT",
        count, LATER);
    db_exec(p.db, sql);
    return p;
}

static inline larder_inspect *must_open(const char *path, larder_inspect_mode mode)
{
    larder_inspect *in = NULL;
    larder_error error = {0, 0, ""};
    if (larder_inspect_open(&in, path, mode, &error) != LARDER_OK) {
        fail_msg("%s", error.message);
    }
    return in;
}

/* ---- what callbacks saw ---- */

typedef struct seen {
    char keys[256]; /* their first four digits, each with a blank */
    int count;
    int stop_after; /* and return 17 */
    larder_entry_info last;
    char texts[256]; /* of the last: channel, scope, args */
    char last_value[64];
} seen;

static inline int see(const larder_entry_info *entry, void *user_data)
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

static inline void assert_listed(larder_inspect *in, const larder_filter *filter, const char *keys)
{
    seen s = {.count = 0};
    larder_error error = {0, 0, ""};
    if (larder_inspect_entries(in, filter, see, &s, &error) != LARDER_OK) {
        fail_msg("%s", error.message);
    }
    assert_string_equal(s.keys, keys);
}

typedef struct channels {
    larder_channel_info infos[8];
    char names[8][32];
    int count;
} channels;

static inline int note_channel(const larder_channel_info *channel, void *user_data)
{
    channels *c = user_data;
    assert_true(c->count < 8);
    snprintf(c->names[c->count], sizeof c->names[0], "%s", channel->channel);
    c->infos[c->count++] = *channel;
    return 0;
}

#endif
