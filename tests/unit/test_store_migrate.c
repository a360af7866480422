/* The schema's versions: applied whole or not at all, checked on open, the same by hand. */
#include "db_fixture.h"

#include "fault_vfs.h"
#include "store/migrate.h"

#define OLD_VERSION 1

/* A connection to an empty database, as larder__db_open has it before migrating: made with a history of nothing. */
static larder__db *raw_open(const char *path)
{
    larder__db *db = calloc(1, sizeof *db);
    assert_non_null(db);
    assert_int_equal(sqlite3_open_v2(path, &db->handle,
                                     SQLITE_OPEN_READWRITE | SQLITE_OPEN_CREATE | SQLITE_OPEN_EXRESCODE, NULL),
                     SQLITE_OK);
    sqlite3_busy_timeout(db->handle, 10000);
    sqlite3_db_config(db->handle, SQLITE_DBCONFIG_DEFENSIVE, 1, NULL);
    sqlite3_db_config(db->handle, SQLITE_DBCONFIG_ENABLE_TRIGGER, 0, NULL);
    sqlite3_db_config(db->handle, SQLITE_DBCONFIG_ENABLE_VIEW, 0, NULL);
    db_exec(db, "PRAGMA journal_mode = WAL");
    return db;
}

static void raw_close(larder__db *db)
{
    for (int i = 0; i < LARDER__SQL_COUNT; i++) {
        sqlite3_finalize(db->statements[i]);
    }
    assert_int_equal(sqlite3_close(db->handle), SQLITE_OK);
    free(db);
}

/* A file of an older Larder. */
static void make_old(const char *path, int version)
{
    larder__migrate_list older = {larder__migrations, version};
    larder_error error = {0, 0, ""};
    larder__db *db = raw_open(path);
    if (larder__migrate_run(db, &older, &error) != LARDER_OK) {
        fail_msg("%s", error.message);
    }
    raw_close(db);
}

static void test_migrations_are_numbered_from_one_without_gaps(void **state)
{
    (void)state;
    for (int i = 0; i < LARDER__MIGRATION_COUNT; i++) {
        assert_int_equal(larder__migrations[i].version, i + 1);
    }
}

static void test_migrations_note_the_checksum_that_sha256sum_gives(void **state)
{
    (void)state;
    const char *path = db_path();
    db_make(path);
    char *files = NULL;
    char *rows = NULL;
    assert_int_equal(test_shell(&files, "cd '%s/migrations' && sha256sum *.sql | sed 's/\\.sql$//'",
                                db_source_folder()),
                     0);
    assert_int_equal(test_shell(&rows,
                                "sqlite3 '%s' \"SELECT checksum || '  ' || name FROM migrations ORDER BY version\"",
                                path),
                     0);
    assert_string_equal(files, rows);
    free(files);
    free(rows);
    db_assert_shell(path, "SELECT min(version), min(applied_ms) > 1700000000000 FROM migrations", "1|1");
    db_assert_shell(path, "SELECT count(*) FROM state WHERE name = 'created_ms' AND value > 1700000000000", "1");
}

static void test_migrations_run_in_the_shell_as_they_are(void **state)
{
    (void)state;
    const char *ours = test_path("ours.larder");
    const char *by_hand = test_path("by_hand.db");
    db_make(ours);
    char *out = NULL;
    int status = test_shell(&out, "cat '%s'/migrations/*.sql | sqlite3 -bail '%s' 2>&1", db_source_folder(), by_hand);
    assert_string_equal(out, "");
    assert_int_equal(status, 0);
    free(out);
    char *schema = db_shell(by_hand, "SELECT type, name, sql FROM sqlite_schema ORDER BY 1, 2");
    db_assert_shell(ours, "SELECT type, name, sql FROM sqlite_schema ORDER BY 1, 2", schema);
    free(schema);
}

/* Unset parameters are 1 here: NULL is no LIMIT. A constraint that refuses such a row is no defect of the statement. */
static void test_statements_run_in_the_shell_as_they_are(void **state)
{
    (void)state;
    const char *path = db_path();
    larder__db *db = NULL;
    char commands[65536];
    size_t len = (size_t)snprintf(commands, sizeof commands, ".parameter init\n");
    assert_int_equal(db_create(&db, path, NULL), LARDER_OK);
    for (int id = 0; id < LARDER__SQL_COUNT; id++) {
        sqlite3_stmt *statement = larder__db_statement(db, (enum larder__sql)id);
        if (statement == NULL) {
            fail_msg("%s: %s", larder__sql_names[id], sqlite3_errmsg(db->handle));
        }
        for (int i = 1; i <= sqlite3_bind_parameter_count(statement); i++) {
            const char *name = sqlite3_bind_parameter_name(statement, i);
            assert_non_null(name); /* parameters have names */
            len += (size_t)snprintf(commands + len, sizeof commands - len, ".parameter set %s 1\n", name);
            assert_true(len < sizeof commands);
        }
    }
    larder__db_close(db);
    const char *setup = test_path("setup");
    db_write_file(setup, commands, len);
    char *out = NULL;
    test_shell(&out,
               "for f in '%s'/sql/*.sql; do cat '%s' \"$f\" | sqlite3 '%s' 2>&1 | grep -iE 'error' | "
               "grep -v 'constraint failed' | sed \"s|^|$f: |\"; done",
               db_source_folder(), setup, path);
    assert_string_equal(out, "");
    free(out);
}

static void test_migration_that_fails_leaves_the_version_before_it(void **state)
{
    (void)state;
    static const larder__migration broken[] = {
        {1, "0001_a",
         "CREATE TABLE migrations (version INTEGER PRIMARY KEY, name TEXT, checksum TEXT, applied_ms INTEGER);"
         "CREATE TABLE state (name TEXT PRIMARY KEY, value INTEGER);"},
        {2, "0002_b", "CREATE TABLE b (x);"},
        {3, "0003_c", "CREATE TABLE c (x); INSERT INTO c VALUES (1); SELECT * FROM nowhere;"},
    };
    larder__migrate_list list = {broken, 3};
    const char *path = db_path();
    larder__db *db = raw_open(path);
    larder_error error = {0, 0, ""};
    assert_int_equal(larder__migrate_run(db, &list, &error), LARDER_ESCHEMA);
    assert_non_null(strstr(error.message, "0003_c"));
    assert_non_null(strstr(error.message, "nowhere"));
    assert_int_equal(sqlite3_get_autocommit(db->handle), 1);
    assert_int_equal(db_number(db, "PRAGMA user_version"), 2);
    assert_int_equal(db_number(db, "SELECT count(*) FROM migrations"), 2);
    assert_int_equal(db_number(db, "SELECT count(*) FROM sqlite_schema WHERE name = 'c'"), 0);
    raw_close(db);
}

static void test_migration_that_ends_its_transaction_is_refused(void **state)
{
    (void)state;
    static const larder__migration escaping[] = {
        {1, "0001_a",
         "CREATE TABLE migrations (version INTEGER PRIMARY KEY, name TEXT, checksum TEXT, applied_ms INTEGER);"
         "CREATE TABLE state (name TEXT PRIMARY KEY, value INTEGER); COMMIT;"},
    };
    larder__migrate_list list = {escaping, 1};
    larder__db *db = raw_open(db_path());
    assert_int_equal(larder__migrate_run(db, &list, NULL), LARDER_ESCHEMA);
    raw_close(db);
}

static void test_migration_of_an_older_file_goes_on_where_it_stood(void **state)
{
    (void)state;
    for (int version = 1; version < LARDER__MIGRATION_COUNT; version++) {
        const char *path = db_path();
        make_old(path, version);
        char *first = db_shell(path, "SELECT value FROM state WHERE name = 'created_ms'");
        db_make(path);
        db_assert_shell(path, "SELECT count(*) = user_version FROM migrations, pragma_user_version", "1");
        db_assert_shell(path, "PRAGMA integrity_check", "ok");
        db_assert_shell(path, "SELECT value FROM state WHERE name = 'created_ms'", first);
        free(first);
    }
}

static void test_migration_is_refused_on_another_history(void **state)
{
    (void)state;
    static const struct {
        const char *change;
        int status;
        const char *says;
    } cases[] = {
        {"UPDATE migrations SET checksum = 'x' WHERE version = 2", LARDER_ESCHEMA, "0002_metrics"},
        {"UPDATE migrations SET name = '0001_other' WHERE version = 1", LARDER_ESCHEMA, "0001_other"},
        {"DELETE FROM migrations WHERE version = (SELECT max(version) FROM migrations)", LARDER_ESCHEMA,
         "were applied"},
        {"DELETE FROM migrations WHERE version = 1", LARDER_ESCHEMA, "migration 2"},
        {"INSERT INTO migrations VALUES (99, 'x', 'x', 1)", LARDER_ESCHEMA, "were applied"},
        {"DROP TABLE migrations", LARDER_ESCHEMA, "missing"},
        {"PRAGMA user_version = 0", LARDER_ESCHEMA, "version 0"},
        {"PRAGMA user_version = 2", LARDER_ESCHEMA, "version 2"},
        {"PRAGMA user_version = 999", LARDER_ENEWER, "newer"},
        {"PRAGMA application_id = 0", LARDER_EFOREIGN, "another program"},
        {"PRAGMA application_id = 1", LARDER_EFOREIGN, "0x00000001"},
    };
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        const char *path = db_path();
        larder_error error = {0, 0, ""};
        int version = 0;
        db_make(path);
        larder__db *db = raw_open(path);
        db_exec(db, cases[i].change);
        assert_int_equal(larder__migrate_version(db, &larder__migrate_embedded, &version, &error), cases[i].status);
        if (strstr(error.message, cases[i].says) == NULL || strstr(error.message, path) == NULL) {
            fail_msg("%s: %s", cases[i].change, error.message);
        }
        assert_int_equal(larder__migrate_run(db, &larder__migrate_embedded, NULL), cases[i].status);
        raw_close(db);
    }
}

static void test_triggers_log_what_people_edit_and_not_what_larder_does(void **state)
{
    (void)state;
    static const char insert[] =
        "INSERT INTO channels (id, name, created_ms) VALUES (1, 'db:search', 0);"
        "INSERT INTO entries (key, channel_id, version, seq, created_ms, expires_ms, cost_us, size, "
        "content_type, args, value) "
        "VALUES (x'01', 1, 1, 0, 1, 9999999999999, 5, 2, 'application/json', 'null', '42'),"
        "       (x'02', 1, 1, 0, 1, 9999999999999, 5, 2, 'application/json', 'null', '43')";
    const char *path = db_path();
    larder__db *db = NULL;
    assert_int_equal(db_create(&db, path, NULL), LARDER_OK);
    db_exec(db, insert);
    db_exec(db, "DELETE FROM entries WHERE key = x'02'");
    assert_int_equal(db_number(db, "SELECT count(*) FROM invalidations"), 0);
    db_assert_shell(path, "SELECT hex(key) FROM invalidations", "");
    db_assert_shell(path, "SELECT key, channel, value FROM cache", "01|db:search|42");
    db_assert_shell(path, "DELETE FROM entries WHERE key = x'01'; SELECT kind, hex(key) FROM invalidations", "key|01");
    larder__db_close(db);
}

static void test_views_are_there_for_people_and_closed_to_our_connections(void **state)
{
    (void)state;
    const char *path = db_path();
    larder__db *db = NULL;
    assert_int_equal(db_create(&db, path, NULL), LARDER_OK);
    assert_int_equal(sqlite3_exec(db->handle, "SELECT * FROM cache", NULL, NULL, NULL), SQLITE_ERROR);
    larder__db_close(db);
    char *out = db_shell(path, "SELECT * FROM cache; SELECT * FROM cache_by_channel; SELECT * FROM totals; "
                               "SELECT * FROM channel_stats");
    free(out);
}

typedef struct migration_crash {
    const char *path;
    unsigned long nth;
} migration_crash;

static void end_process(void *user_data)
{
    (void)user_data;
    _exit(77);
}

static int migrate_until_crash(void *argument)
{
    migration_crash *crash = argument;
    fault_cut cut = {.on_cut = end_process};
    larder__db *db = NULL;
    fault_vfs_cut_at(crash->nth, &cut);
    return db_create(&db, crash->path, NULL) == LARDER_OK ? 0 : 1;
}

static void test_migration_killed_at_any_change_of_the_disk_is_completed_by_the_next_open(void **state)
{
    (void)state;
    const char *old = test_path("old.larder");
    make_old(old, OLD_VERSION);
    unsigned long n = 1;
    for (;; n++) {
        migration_crash crash = {db_path(), n};
        larder__db *db = NULL;
        larder_error error = {0, 0, ""};
        assert_int_equal(test_shell(NULL, "cp '%s' '%s'", old, crash.path), 0);
        int exit_status = db_in_child(migrate_until_crash, &crash);
        assert_true(exit_status == 0 || exit_status == 77);
        char *version = db_shell(crash.path, "SELECT max(version) = (SELECT user_version FROM pragma_user_version), "
                                             "count(*) = max(version) FROM migrations");
        assert_string_equal(version, "1|1"); /* whole versions only, also for somebody who looks in between */
        free(version);
        if (db_create(&db, crash.path, &error) != LARDER_OK) {
            fail_msg("after a crash at change %lu: %s", n, error.message);
        }
        assert_int_equal(db_number(db, "PRAGMA user_version"), LARDER__MIGRATION_COUNT);
        assert_int_equal(db_number(db, "SELECT integrity_check = 'ok' FROM pragma_integrity_check"), 1);
        larder__db_close(db);
        if (exit_status == 0) {
            break;
        }
    }
    print_message("killed at %lu changes\n", n - 1);
    assert_true(n > 5);
}

static void test_migration_that_meets_a_full_disk_leaves_the_file_usable(void **state)
{
    (void)state;
    const char *old = test_path("old.larder");
    make_old(old, OLD_VERSION);
    int failures = 0;
    for (int64_t room = 0;; room += 4096) {
        const char *path = db_path();
        larder__db *db = NULL;
        larder_error error = {0, 0, ""};
        assert_int_equal(test_shell(NULL, "cp '%s' '%s'", old, path), 0);
        fault_vfs_space(room);
        int status = db_create(&db, path, &error);
        fault_vfs_reset();
        fault_vfs_ignore_syncs(1);
        if (status == LARDER_OK) {
            larder__db_close(db);
            break;
        }
        failures++;
        assert_int_equal(status, LARDER_EFULL);
        assert_non_null(strstr(error.message, path));
        assert_int_equal(db_create(&db, path, NULL), LARDER_OK);
        larder__db_close(db);
    }
    assert_true(failures > 2);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_migrations_are_numbered_from_one_without_gaps),
        cmocka_unit_test(test_migrations_note_the_checksum_that_sha256sum_gives),
        cmocka_unit_test(test_migrations_run_in_the_shell_as_they_are),
        cmocka_unit_test(test_statements_run_in_the_shell_as_they_are),
        cmocka_unit_test(test_migration_that_fails_leaves_the_version_before_it),
        cmocka_unit_test(test_migration_that_ends_its_transaction_is_refused),
        cmocka_unit_test(test_migration_of_an_older_file_goes_on_where_it_stood),
        cmocka_unit_test(test_migration_is_refused_on_another_history),
        cmocka_unit_test(test_triggers_log_what_people_edit_and_not_what_larder_does),
        cmocka_unit_test(test_views_are_there_for_people_and_closed_to_our_connections),
        cmocka_unit_test(test_migration_killed_at_any_change_of_the_disk_is_completed_by_the_next_open),
        cmocka_unit_test(test_migration_that_meets_a_full_disk_leaves_the_file_usable),
    };
    fault_vfs_install();
    fault_vfs_ignore_syncs(1); /* they mean nothing to processes that are killed, and take most of the time */
    return cmocka_run_group_tests(tests, NULL, NULL);
}
