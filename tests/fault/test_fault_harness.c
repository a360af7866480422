/* tests/fault/test_fault_harness.c: the tools of the fault tests, tried on plain SQLite: do faults reach it, and does
 * the power model lose what it must lose (synchronous=OFF) and keep what SQLite promises (NORMAL: the file, FULL: all)?
 */
#include "support.h"

#include "fault_vfs.h"
#include "sqlite_alloc.h"

#include <sqlite3.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

static int run(sqlite3 *db, const char *sql)
{
    int rc = sqlite3_exec(db, sql, NULL, NULL, NULL);
    return rc == SQLITE_OK ? rc : sqlite3_extended_errcode(db);
}

static sqlite3 *open_wal(const char *path, const char *synchronous)
{
    sqlite3 *db = NULL;
    assert_int_equal(sqlite3_open(path, &db), SQLITE_OK);
    char sql[256];
    snprintf(sql, sizeof sql,
             "PRAGMA journal_mode=WAL; PRAGMA synchronous=%s; PRAGMA wal_autocheckpoint=20;"
             "CREATE TABLE IF NOT EXISTS t (id INTEGER PRIMARY KEY, body BLOB)",
             synchronous);
    assert_int_equal(run(db, sql), SQLITE_OK);
    return db;
}

/* The number, or -1 when the question cannot be answered. */
static long ask(sqlite3 *db, const char *sql)
{
    sqlite3_stmt *statement = NULL;
    long value = -1;
    if (sqlite3_prepare_v2(db, sql, -1, &statement, NULL) == SQLITE_OK && sqlite3_step(statement) == SQLITE_ROW) {
        value = (long)sqlite3_column_int64(statement, 0);
    }
    sqlite3_finalize(statement);
    return value;
}

static int setup(void **state)
{
    (void)state;
    fault_vfs_reset();
    sqlite_alloc_fail_at(0, 0);
    return 0;
}

static void test_the_nth_write_fails_and_the_next_works(void **state)
{
    (void)state;
    sqlite3 *db = open_wal(test_path("a.db"), "NORMAL");
    fault_vfs_fail(FAULT_WRITE, 1, 0, SQLITE_IOERR_WRITE);
    assert_int_equal(run(db, "INSERT INTO t (body) VALUES (zeroblob(100))"), SQLITE_IOERR_WRITE);
    assert_int_equal(fault_vfs_failed(), 1);
    assert_int_equal(run(db, "INSERT INTO t (body) VALUES (zeroblob(100))"), SQLITE_OK);
    assert_int_equal(ask(db, "SELECT count(*) FROM t"), 1);
    assert_true(fault_vfs_count(FAULT_WRITE) > 1);
    sqlite3_close(db);
}

static void test_only_files_with_the_suffix_are_made_to_fail(void **state)
{
    (void)state;
    sqlite3 *db = open_wal(test_path("a.db"), "FULL");
    fault_vfs_only("-journal");
    fault_vfs_fail(FAULT_WRITE, 1, 1, SQLITE_IOERR_WRITE);
    fault_vfs_fail(FAULT_SYNC, 1, 1, SQLITE_IOERR_FSYNC);
    assert_int_equal(run(db, "INSERT INTO t (body) VALUES (zeroblob(100))"), SQLITE_OK);
    assert_int_equal(fault_vfs_count(FAULT_WRITE), 0);
    fault_vfs_only("-wal");
    assert_int_equal(run(db, "INSERT INTO t (body) VALUES (zeroblob(100))"), SQLITE_IOERR_WRITE);
    fault_vfs_reset();
    sqlite3_close(db);
}

static void test_a_read_fails(void **state)
{
    (void)state;
    const char *path = test_path("a.db");
    sqlite3_close(open_wal(path, "NORMAL"));
    sqlite3 *db = NULL;
    assert_int_equal(sqlite3_open(path, &db), SQLITE_OK);
    fault_vfs_fail(FAULT_READ, 1, 1, SQLITE_IOERR_READ);
    assert_int_equal(run(db, "SELECT * FROM t") & 0xff, SQLITE_IOERR);
    fault_vfs_reset();
    assert_int_equal(run(db, "SELECT * FROM t"), SQLITE_OK);
    sqlite3_close(db);
}

static void test_the_disk_runs_full_and_heals(void **state)
{
    (void)state;
    sqlite3 *db = open_wal(test_path("a.db"), "NORMAL");
    fault_vfs_space(10000);
    assert_int_equal(run(db, "INSERT INTO t (body) VALUES (zeroblob(100000))"), SQLITE_FULL);
    assert_int_equal(run(db, "INSERT INTO t (body) VALUES (zeroblob(100000))"), SQLITE_FULL);
    fault_vfs_space(10000000);
    assert_int_equal(run(db, "INSERT INTO t (body) VALUES (zeroblob(100000))"), SQLITE_OK);
    assert_int_equal(ask(db, "SELECT count(*) FROM t"), 1);
    sqlite3_close(db);
}

static void test_an_allocation_of_sqlite_fails(void **state)
{
    (void)state;
    sqlite3 *db = open_wal(test_path("a.db"), "NORMAL");
    sqlite_alloc_fail_at(1, 1);
    assert_int_equal(run(db, "INSERT INTO t (body) VALUES (zeroblob(100000))") & 0xff, SQLITE_NOMEM);
    assert_true(sqlite_alloc_failed() > 0);
    sqlite_alloc_fail_at(0, 0);
    assert_int_equal(run(db, "INSERT INTO t (body) VALUES (zeroblob(100000))"), SQLITE_OK);
    sqlite3_close(db);
}

/* ---- power ---- */

typedef struct power_round {
    long committed; /* rows whose COMMIT has returned */
    long at_cut;
} power_round;

static void note_committed(void *user_data)
{
    power_round *round = user_data;
    round->at_cut = round->committed;
}

typedef struct outcome {
    long images;
    long corrupt;
    long lost;  /* images in which a committed row is missing */
    long holes; /* images in which a later row is there and an earlier is not */
} outcome;

static void look(const char *path, const power_round *round, outcome *out)
{
    sqlite3 *db = NULL;
    out->images++;
    assert_int_equal(sqlite3_open_v2(path, &db, SQLITE_OPEN_READWRITE, "unix"), SQLITE_OK);
    sqlite3_stmt *check = NULL;
    int sound = 0;
    if (sqlite3_prepare_v2(db, "PRAGMA integrity_check", -1, &check, NULL) == SQLITE_OK
        && sqlite3_step(check) == SQLITE_ROW) {
        sound = strcmp((const char *)sqlite3_column_text(check, 0), "ok") == 0;
    }
    sqlite3_finalize(check);
    if (sound) {
        long rows = ask(db, "SELECT count(*) FROM t");
        out->lost += rows < round->at_cut;
        out->holes += rows != ask(db, "SELECT coalesce(max(id), 0) FROM t");
    } else {
        out->corrupt++;
    }
    sqlite3_close(db);
}

/* Inserts rows over a few rounds, each cut once at a random change, and looks at what could be left. */
static outcome cut_plain_sqlite(const char *synchronous, test_random *random, int rounds)
{
    outcome out = {0, 0, 0, 0};
    const char *base = test_dir();
    for (int i = 0; i < rounds; i++) {
        fault_vfs_reset();
        char folder[4096];
        char path[4200];
        snprintf(folder, sizeof folder, "%s/%d", base, i);
        assert_int_equal(mkdir(folder, 0700), 0);
        snprintf(path, sizeof path, "%s/a.db", folder);
        sqlite3 *db = open_wal(path, synchronous);
        assert_int_equal(run(db, "PRAGMA wal_checkpoint(TRUNCATE)"), SQLITE_OK);
        sqlite3_close(db);
        fault_vfs_power(1);
        db = open_wal(path, synchronous);
        power_round round = {0, 0};
        fault_cut cut = {folder, 8, test_random_next(random), note_committed, &round, 0};
        fault_vfs_cut_at(1 + test_random_below(random, 600), &cut);
        while (!cut.taken) {
            char sql[128];
            snprintf(sql, sizeof sql, "INSERT INTO t (body) VALUES (randomblob(%d))",
                     (int)test_random_below(random, 9000));
            assert_int_equal(run(db, sql), SQLITE_OK);
            round.committed++;
        }
        sqlite3_close(db);
        fault_vfs_reset();
        for (unsigned image = 0; image < cut.images; image++) {
            char name[4200];
            snprintf(name, sizeof name, "%s/%u/a.db", folder, image);
            look(name, &round, &out);
        }
    }
    print_message("  synchronous=%s: %ld images, %ld corrupt, %ld lost a committed row, %ld with holes\n", synchronous,
                  out.images, out.corrupt, out.lost, out.holes);
    return out;
}

static void test_power_cut_with_full_loses_nothing(void **state)
{
    (void)state;
    test_random random = {test_random_seed("power cut, plain SQLite, FULL")};
    outcome out = cut_plain_sqlite("FULL", &random, 40);
    assert_int_equal(out.corrupt, 0);
    assert_int_equal(out.lost, 0);
    assert_int_equal(out.holes, 0);
}

static void test_power_cut_with_normal_keeps_the_file_sound(void **state)
{
    (void)state;
    test_random random = {test_random_seed("power cut, plain SQLite, NORMAL")};
    outcome out = cut_plain_sqlite("NORMAL", &random, 40);
    assert_int_equal(out.corrupt, 0);
    assert_int_equal(out.holes, 0);
    assert_true(out.lost > 0); /* else the model loses nothing */
}

/* The control: without syncs the model must break the file, or it proves nothing. */
static void test_power_cut_with_off_breaks_the_file(void **state)
{
    (void)state;
    test_random random = {test_random_seed("power cut, plain SQLite, OFF")};
    outcome out = cut_plain_sqlite("OFF", &random, 40);
    assert_true(out.corrupt > 0);
    assert_true(out.lost > 0);
}

/* A disk that lies about syncs is the same, whatever durability is asked for. */
static void test_power_cut_with_ignored_syncs_breaks_the_file(void **state)
{
    (void)state;
    fault_vfs_power(1);
    fault_vfs_ignore_syncs(1);
    const char *folder = test_dir();
    sqlite3 *db = open_wal(test_path("a.db"), "FULL");
    power_round round = {0, 0};
    fault_cut cut = {folder, 1, 1, note_committed, &round, 0};
    fault_vfs_cut_at(50, &cut);
    while (!cut.taken) {
        assert_int_equal(run(db, "INSERT INTO t (body) VALUES (randomblob(1000))"), SQLITE_OK);
        round.committed++;
    }
    sqlite3_close(db);
    struct stat info;
    char name[4096];
    snprintf(name, sizeof name, "%s/0/a.db", folder);
    assert_true(round.at_cut > 0);
    assert_true(stat(name, &info) != 0 || info.st_size == 0);
}

int main(int argc, char **argv)
{
    sqlite_alloc_install();
    fault_vfs_install();
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup(test_the_nth_write_fails_and_the_next_works, setup),
        cmocka_unit_test_setup(test_only_files_with_the_suffix_are_made_to_fail, setup),
        cmocka_unit_test_setup(test_a_read_fails, setup),
        cmocka_unit_test_setup(test_the_disk_runs_full_and_heals, setup),
        cmocka_unit_test_setup(test_an_allocation_of_sqlite_fails, setup),
        cmocka_unit_test_setup(test_power_cut_with_full_loses_nothing, setup),
        cmocka_unit_test_setup(test_power_cut_with_normal_keeps_the_file_sound, setup),
        cmocka_unit_test_setup(test_power_cut_with_off_breaks_the_file, setup),
        cmocka_unit_test_setup(test_power_cut_with_ignored_syncs_breaks_the_file, setup),
    };
    cmocka_set_test_filter(argc == 2 ? argv[1] : NULL); /* a pattern with * and ? */
    return cmocka_run_group_tests(tests, NULL, NULL);
}
