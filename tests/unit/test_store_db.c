/* Opening: what a file must be, how it is made, what is refused and left alone; statements and transactions. */
#include "db_fixture.h"

#include "fault_vfs.h"

static larder__db *must_open(const char *path, larder__db_mode mode)
{
    larder__db *db = NULL;
    larder_error error = {0, 0, ""};
    if (larder__db_open(&db, path, mode, LARDER_DURABILITY_NORMAL, &error) != LARDER_OK) {
        fail_msg("%s", error.message);
    }
    return db;
}

static int mode_of(const char *path, const char *suffix)
{
    char name[4096];
    struct stat info;
    snprintf(name, sizeof name, "%s%s", path, suffix);
    assert_int_equal(stat(name, &info), 0);
    return info.st_mode & 07777;
}

/* Syncs mean nothing to processes that are killed, and take most of the time. */
static void faults_off(void)
{
    fault_vfs_reset();
    fault_vfs_ignore_syncs(1);
}

/* ---- a new file ---- */

static void test_new_file_is_private_whatever_the_umask(void **state)
{
    (void)state;
    const char *path = db_path();
    larder__db *db = NULL;
    mode_t old = umask(0);
    assert_int_equal(db_create(&db, path, NULL), LARDER_OK);
    umask(old);
    assert_int_equal(mode_of(path, ""), 0600);
    assert_int_equal(mode_of(path, "-wal"), 0600);
    assert_int_equal(mode_of(path, "-shm"), 0600);
    larder__db_close(db);
}

static void test_new_file_has_its_form_and_says_whose_it_is(void **state)
{
    (void)state;
    const char *path = db_path();
    larder__db *db = NULL;
    char *kind = NULL;
    assert_int_equal(db_create(&db, path, NULL), LARDER_OK);
    test_shell(&kind, "head -c 72 '%s' | tail -c 4", path);
    assert_string_equal(kind, "LRDR"); /* in the main file itself, not only in the WAL */
    free(kind);
    larder__db_tidy(db);
    larder__db_close(db);
    db_assert_shell(path, "PRAGMA application_id; PRAGMA auto_vacuum; PRAGMA journal_mode; PRAGMA page_size",
                    "1280459858\n2\nwal\n4096");
    assert_false(db_exists(path, "-wal"));
    assert_false(db_exists(path, "-shm"));
}

static void test_connection_is_hardened(void **state)
{
    (void)state;
    const char *path = db_path();
    larder__db *db = NULL;
    assert_int_equal(db_create(&db, path, NULL), LARDER_OK);
    static const struct {
        const char *pragma;
        int64_t value;
    } expected[] = {
        {"PRAGMA cell_size_check", 1},    {"PRAGMA trusted_schema", 0},
        {"PRAGMA synchronous", 1},        {"PRAGMA foreign_keys", 0},
        {"PRAGMA secure_delete", 1},      {"PRAGMA query_only", 0},
        {"PRAGMA wal_autocheckpoint", 0}, {"PRAGMA busy_timeout", LARDER__DB_BUSY_MS},
    };
    for (size_t i = 0; i < sizeof expected / sizeof expected[0]; i++) {
        int64_t value = db_number(db, expected[i].pragma);
        if (value != expected[i].value) {
            fail_msg("%s is %lld", expected[i].pragma, (long long)value);
        }
    }
    static const int off[] = {SQLITE_DBCONFIG_ENABLE_TRIGGER, SQLITE_DBCONFIG_ENABLE_VIEW,
                              SQLITE_DBCONFIG_ENABLE_LOAD_EXTENSION};
    for (size_t i = 0; i < sizeof off / sizeof off[0]; i++) {
        int value = -1;
        sqlite3_db_config(db->handle, off[i], -1, &value);
        assert_int_equal(value, 0);
    }
    sqlite3_exec(db->handle, "PRAGMA writable_schema = ON", NULL, NULL, NULL);
    assert_int_equal(sqlite3_exec(db->handle, "DELETE FROM sqlite_schema", NULL, NULL, NULL), SQLITE_ERROR);
    larder__db_close(db);
    assert_int_equal(larder__db_open(&db, path, LARDER__DB_WRITE, LARDER_DURABILITY_FULL, NULL), LARDER_OK);
    assert_int_equal(db_number(db, "PRAGMA synchronous"), 2);
    larder__db_close(db);
}

static void test_reading_connections_cannot_write_and_see_what_others_commit(void **state)
{
    (void)state;
    static const larder__db_mode modes[] = {LARDER__DB_READ, LARDER__DB_VISIT};
    for (size_t i = 0; i < 2; i++) {
        const char *path = db_path();
        larder__db *writer = NULL;
        assert_int_equal(db_create(&writer, path, NULL), LARDER_OK);
        larder__db *reader = must_open(path, modes[i]);
        assert_int_equal(sqlite3_exec(reader->handle, "DELETE FROM state", NULL, NULL, NULL) & 0xff, SQLITE_READONLY);
        db_exec(writer, "INSERT INTO state VALUES ('seen', 42)");
        assert_int_equal(db_number(reader, "SELECT value FROM state WHERE name = 'seen'"), 42);
        larder__db_close(reader);
        larder__db_close(writer);
    }
}

static void test_file_of_no_bytes_becomes_a_database_for_who_may_create_only(void **state)
{
    (void)state;
    static const larder__db_mode others[] = {LARDER__DB_READ, LARDER__DB_WRITE, LARDER__DB_VISIT};
    const char *path = db_path();
    larder__db *db = NULL;
    db_write_file(path, "", 0);
    char *before = db_folder(path);
    for (size_t i = 0; i < 3; i++) {
        assert_int_equal(larder__db_open(&db, path, others[i], LARDER_DURABILITY_NORMAL, NULL), LARDER_ESCHEMA);
    }
    char *after = db_folder(path);
    assert_string_equal(before, after);
    free(before);
    free(after);
    assert_int_equal(db_create(&db, path, NULL), LARDER_OK);
    assert_int_equal(db_number(db, "PRAGMA page_size"), 4096);
    assert_int_equal(db_number(db, "PRAGMA auto_vacuum"), 2);
    larder__db_close(db);
}

static void test_missing_file_is_made_by_create_only(void **state)
{
    (void)state;
    static const larder__db_mode others[] = {LARDER__DB_READ, LARDER__DB_WRITE, LARDER__DB_VISIT};
    const char *path = db_path();
    for (size_t i = 0; i < 3; i++) {
        larder__db *db = NULL;
        larder_error error = {0, 0, ""};
        assert_int_equal(larder__db_open(&db, path, others[i], LARDER_DURABILITY_NORMAL, &error), LARDER_ENOTFOUND);
        assert_non_null(strstr(error.message, path));
        assert_false(db_exists(path, ""));
    }
}

/* ---- what is refused ---- */

typedef struct refusal {
    const char *what;
    const char
        *setup; /* a shell command, $f is the path; after a cleanly closed database of ours when it begins with + */
    int status;
    const char *says;
} refusal;

static const refusal refusals[] = {
    {"a text file", "seq 1 1000 >$f", LARDER_ECORRUPT, "is not an SQLite database"},
    {"a short file", "printf x >$f", LARDER_ECORRUPT, "is not an SQLite database"},
    {"zeros", "head -c 8192 /dev/zero >$f", LARDER_ECORRUPT, "is not an SQLite database"},
    {"a header without pages", "+truncate -s 100 $f", LARDER_ECORRUPT, "damaged"},
    {"a bad page size", "+printf '\\003\\003' | dd of=$f bs=1 seek=16 conv=notrunc status=none", LARDER_ECORRUPT,
     "damaged"},
    {"a damaged schema", "+head -c 3000 /dev/urandom | dd of=$f bs=1 seek=100 conv=notrunc status=none",
     LARDER_ECORRUPT, ".recover"},
    {"another application id", "+sqlite3 $f 'PRAGMA application_id = 252006673'", LARDER_EFOREIGN, "0x0f055111"},
    {"another program's tables", "sqlite3 $f 'CREATE TABLE notes (text)'", LARDER_EFOREIGN, "another program"},
    {"another program's tables in WAL mode",
     "sqlite3 $f 'PRAGMA journal_mode = WAL; CREATE TABLE notes (text)' >/dev/null", LARDER_EFOREIGN,
     "another program"},
    {"many tables of another program",
     "for i in $(seq 100); do echo \"CREATE TABLE t$i (a, b, c UNIQUE);\"; done | sqlite3 $f", LARDER_EFOREIGN,
     "another program"},
    {"another program's version", "sqlite3 $f 'PRAGMA user_version = 3'", LARDER_EFOREIGN, "another program"},
    {"a newer version", "+sqlite3 $f 'PRAGMA user_version = 99'", LARDER_ENEWER, "schema 99"},
    {"a changed checksum", "+sqlite3 $f \"UPDATE migrations SET checksum = 'x' WHERE version = 2\"", LARDER_ESCHEMA,
     "0002_metrics"},
    {"a changed name", "+sqlite3 $f \"UPDATE migrations SET name = 'x' WHERE version = 1\"", LARDER_ESCHEMA,
     "0001_cache"},
    {"no table of migrations", "+sqlite3 $f 'DROP TABLE migrations'", LARDER_ESCHEMA, "missing"},
    {"a folder", "mkdir $f", LARDER_EFOREIGN, "a folder"},
    {"a FIFO", "mkfifo $f", LARDER_EFOREIGN, "a FIFO"},
    {"a link to a database", "+mv $f $f.real && ln -s $f.real $f", LARDER_EFOREIGN, "a symbolic link"},
    {"a link to nothing", "ln -s /nonexistent/x $f", LARDER_EFOREIGN, "a symbolic link"},
};

static void set_up(const refusal *r, const char *path)
{
    const char *command = r->setup;
    if (command[0] == '+') {
        db_make(path);
        command++;
    }
    if (test_shell(NULL, "f='%s'; %s", path, command) != 0) {
        fail_msg("%s: %s", r->what, r->setup);
    }
}

static void assert_refused(const refusal *r, const char *path, larder__db_mode mode)
{
    larder__db *db = NULL;
    larder_error error = {0, 0, ""};
    char *before = db_folder(path);
    int status = larder__db_open(&db, path, mode, LARDER_DURABILITY_NORMAL, &error);
    char *after = db_folder(path);
    if (status != r->status || error.status != status || strstr(error.message, r->says) == NULL
        || strstr(error.message, path) == NULL) {
        fail_msg("%s, mode %d: %s, %s", r->what, (int)mode, larder_status_name(status), error.message);
    }
    assert_null(db);
    if (strcmp(before, after) != 0) {
        fail_msg("%s, mode %d: before\n%safter\n%s", r->what, (int)mode, before, after);
    }
    free(before);
    free(after);
}

static void test_what_is_not_ours_is_refused_with_its_reason_and_not_touched(void **state)
{
    (void)state;
    for (size_t i = 0; i < sizeof refusals / sizeof refusals[0]; i++) {
        const char *path = db_path();
        set_up(&refusals[i], path);
        int descriptors = db_open_descriptors();
        assert_refused(&refusals[i], path, LARDER__DB_CREATE);
        assert_refused(&refusals[i], path, LARDER__DB_WRITE);
        assert_refused(&refusals[i], path, LARDER__DB_VISIT);
        assert_int_equal(db_open_descriptors(), descriptors);
    }
}

static void test_what_a_look_at_the_file_can_tell_is_told_before_anything_is_made(void **state)
{
    (void)state;
    for (size_t i = 0; i < sizeof refusals / sizeof refusals[0]; i++) {
        const char *path = db_path();
        larder_error error = {0, 0, ""};
        set_up(&refusals[i], path);
        char *before = db_folder(path);
        int status = larder__db_look(path, LARDER__DB_CREATE, &error);
        char *after = db_folder(path);
        int hidden = refusals[i].status == LARDER_ESCHEMA || strcmp(refusals[i].what, "a damaged schema") == 0;
        assert_int_equal(status, hidden ? LARDER_OK : refusals[i].status);
        assert_string_equal(before, after);
        free(before);
        free(after);
    }
}

/* The header of the main file knows nothing yet: all is in the WAL of a program that was killed. */
static void test_foreign_database_whose_tables_are_only_in_its_wal_is_recognised(void **state)
{
    (void)state;
    const char *path = db_path();
    refusal r = {"a foreign WAL", "", LARDER_EFOREIGN, "another program"};
    char side[4096];
    snprintf(side, sizeof side, "%s.live", path);
    assert_int_equal(
        test_shell(NULL,
                   "sqlite3 '%s' \"PRAGMA journal_mode = WAL\" \"PRAGMA wal_autocheckpoint = 0\" "
                   "\"CREATE TABLE notes (text)\" \".shell cp '%s' '%s'; cp '%s-wal' '%s-wal'; cp '%s-shm' "
                   "'%s-shm'\" >/dev/null",
                   side, side, path, side, path, side, path),
        0);
    assert_true(db_exists(path, "-wal"));
    larder__db *db = NULL;
    larder_error error = {0, 0, ""};
    char *before = NULL;
    char *after = NULL;
    test_shell(&before, "sha256sum '%s' '%s-wal'", path, path);
    assert_int_equal(larder__db_look(path, LARDER__DB_CREATE, NULL), r.status);
    assert_int_equal(larder__db_open(&db, path, LARDER__DB_CREATE, LARDER_DURABILITY_NORMAL, &error), r.status);
    assert_non_null(strstr(error.message, r.says));
    test_shell(&after, "sha256sum '%s' '%s-wal'", path, path);
    assert_string_equal(before, after);
    free(before);
    free(after);
}

static void test_file_of_an_older_larder_is_refused_until_somebody_migrates_it(void **state)
{
    (void)state;
    static const refusal r = {"an older file", "", LARDER_ESCHEMA, "older Larder"};
    const char *path = db_path();
    db_make(path);
    db_assert_shell(path, "DELETE FROM migrations WHERE version > 1; PRAGMA user_version = 1", "");
    assert_refused(&r, path, LARDER__DB_WRITE);
    assert_refused(&r, path, LARDER__DB_VISIT);
}

static void test_paths_that_lead_nowhere_have_their_own_words(void **state)
{
    (void)state;
    char folder[4096];
    char missing[8192];
    char slash[8192];
    char lengthy[2000];
    snprintf(folder, sizeof folder, "%s", test_dir());
    snprintf(missing, sizeof missing, "%s/nowhere/a.larder", folder);
    snprintf(slash, sizeof slash, "%s/", folder);
    memset(lengthy, 'x', sizeof lengthy);
    lengthy[sizeof lengthy - 1] = '\0';
    const struct {
        const char *path;
        int status;
        const char *says;
    } cases[] = {
        {"", LARDER_EINVAL, "empty"},
        {NULL, LARDER_EINVAL, "empty"},
        {missing, LARDER_ENOTFOUND, "there is no folder"},
        {slash, LARDER_EFOREIGN, "a folder"},
        {"..", LARDER_EFOREIGN, "a folder"},
        {lengthy, LARDER_EINVAL, "longer than"},
    };
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        larder__db *db = NULL;
        larder_error error = {0, 0, ""};
        assert_int_equal(larder__db_open(&db, cases[i].path, LARDER__DB_CREATE, LARDER_DURABILITY_NORMAL, &error),
                         cases[i].status);
        assert_non_null(strstr(error.message, cases[i].says));
    }
}

typedef struct permission {
    const char *path;
    larder__db_mode mode;
    const char *says;
} permission;

static int open_as_nobody(void *argument)
{
    permission *p = argument;
    larder__db *db = NULL;
    larder_error error = {0, 0, ""};
    if (db_be_nobody() != 0) {
        return 99;
    }
    int status = larder__db_open(&db, p->path, p->mode, LARDER_DURABILITY_NORMAL, &error);
    larder__db_close(db);
    if (p->says != NULL && strstr(error.message, p->says) == NULL) {
        fprintf(stderr, "%s\n", error.message);
        return 98;
    }
    return -status;
}

static void allow(const char *path, mode_t folder_mode, mode_t file_mode)
{
    char folder[4096];
    snprintf(folder, sizeof folder, "%.*s", (int)(strrchr(path, '/') - path), path);
    assert_int_equal(chmod(folder, folder_mode), 0);
    if (file_mode != 0) {
        assert_int_equal(chmod(path, file_mode), 0);
    }
}

static void assert_as_nobody(const char *path, larder__db_mode mode, int status, const char *says)
{
    permission p = {path, mode, says};
    char *before = db_folder(path);
    assert_int_equal(db_in_child(open_as_nobody, &p), -status);
    char *after = db_folder(path);
    assert_string_equal(before, after);
    free(before);
    free(after);
}

static void test_missing_permissions_are_named(void **state)
{
    (void)state;
    const char *path = db_path();
    allow(path, 0555, 0);
    assert_as_nobody(path, LARDER__DB_CREATE, LARDER_EACCESS, "cannot create");
    allow(path, 0700, 0);
    db_make(path);
    allow(path, 0777, 0600);
    assert_as_nobody(path, LARDER__DB_CREATE, LARDER_EACCESS, "may not be read");
    assert_as_nobody(path, LARDER__DB_VISIT, LARDER_EACCESS, "may not be read");
    allow(path, 0777, 0444);
    assert_as_nobody(path, LARDER__DB_CREATE, LARDER_EREADONLY, "is read-only");
    assert_as_nobody(path, LARDER__DB_WRITE, LARDER_EREADONLY, "is read-only");
    allow(path, 0555, 0666);
    assert_as_nobody(path, LARDER__DB_CREATE, LARDER_EREADONLY, "the folder of");
    allow(path, 0700, 0600);
}

static void test_visitor_reads_a_closed_file_without_leaving_anything(void **state)
{
    (void)state;
    const char *path = test_path("a 100%?#.larder"); /* what a URI would take for its own */
    db_make(path);
    char *before = db_folder(path);
    larder__db *db = must_open(path, LARDER__DB_VISIT);
    assert_int_equal(db_number(db, "SELECT count(*) FROM migrations"), LARDER__MIGRATION_COUNT);
    larder__db_close(db);
    char *after = db_folder(path);
    assert_string_equal(before, after);
    free(before);
    free(after);
    allow(path, 0555, 0444);
    assert_as_nobody(path, LARDER__DB_VISIT, LARDER_OK, NULL);
    allow(path, 0777, 0444);
    /* Here SQLite makes -wal and -shm, and without the right to write the file nobody can take them away again. */
    permission p = {path, LARDER__DB_VISIT, NULL};
    assert_int_equal(db_in_child(open_as_nobody, &p), 0);
    allow(path, 0700, 0600);
}

static void test_visitor_sees_what_a_killed_program_committed_and_does_not_checkpoint(void **state)
{
    (void)state;
    const char *path = db_path();
    larder__db *writer = NULL;
    assert_int_equal(db_create(&writer, path, NULL), LARDER_OK);
    db_exec(writer, "INSERT INTO state VALUES ('seen', 42)");
    larder__db_close(writer); /* no checkpoint: as a kill leaves it */
    char *before = db_folder(path);
    larder__db *db = must_open(path, LARDER__DB_VISIT);
    assert_int_equal(db_number(db, "SELECT value FROM state WHERE name = 'seen'"), 42);
    larder__db_close(db);
    char *after = NULL;
    test_shell(&after, "sha256sum <'%s'; sha256sum <'%s-wal'", path, path);
    char *line = strtok(after, " ");
    assert_non_null(strstr(before, line));
    free(before);
    free(after);
    assert_true(db_exists(path, "-wal"));
}

static void test_linked_folder_and_relative_path_are_fine(void **state)
{
    (void)state;
    const char *path = test_path("real/a.larder");
    char old[4096];
    assert_non_null(getcwd(old, sizeof old));
    char folder[4096];
    snprintf(folder, sizeof folder, "%.*s", (int)(strstr(path, "/real") - path), path);
    assert_int_equal(chdir(folder), 0);
    assert_int_equal(test_shell(NULL, "mkdir real && ln -s real linked"), 0);
    larder__db *db = NULL;
    assert_int_equal(db_create(&db, "linked/a.larder", NULL), LARDER_OK);
    assert_int_equal(chdir("/"), 0);
    db_exec(db, "INSERT INTO state VALUES ('seen', 42)");
    assert_int_equal(larder__db_moved(db), 0);
    larder__db_close(db);
    assert_int_equal(chdir(old), 0);
    db_assert_shell(path, "SELECT value FROM state WHERE name = 'seen'", "42");
}

static void test_file_in_another_journal_mode_is_brought_back_to_wal(void **state)
{
    (void)state;
    const char *path = db_path();
    db_make(path);
    db_assert_shell(path, "PRAGMA journal_mode = DELETE", "delete");
    larder__db *db = NULL;
    assert_int_equal(db_create(&db, path, NULL), LARDER_OK);
    larder__db_close(db);
    db_assert_shell(path, "PRAGMA journal_mode", "wal");
}

/* ---- statements and transactions ---- */

/* The loop's thread opens its connection anew after a failure: it must not stand there until somebody lets go. */
static void test_reading_now_waits_for_no_lock(void **state)
{
    (void)state;
    const char *path = db_path();
    sqlite3 *holder = NULL;
    larder__db *db = NULL;
    db_make(path);
    assert_int_equal(sqlite3_open_v2(path, &holder, SQLITE_OPEN_READWRITE, NULL), SQLITE_OK);
    assert_int_equal(sqlite3_exec(holder, "PRAGMA locking_mode = EXCLUSIVE; BEGIN IMMEDIATE", NULL, NULL, NULL),
                     SQLITE_OK);
    uint64_t begun = uv_hrtime();
    int status = larder__db_open(&db, path, LARDER__DB_READ_NOW, LARDER_DURABILITY_NORMAL, NULL);
    assert_string_equal(larder_status_name(status), "LARDER_ELOCKED");
    assert_true(uv_hrtime() - begun < LARDER__DB_BUSY_MS * 1000000ull / 2); /* waiting would take all of it */
    sqlite3_close(holder);
    assert_int_equal(larder__db_open(&db, path, LARDER__DB_READ_NOW, LARDER_DURABILITY_NORMAL, NULL), LARDER_OK);
    larder__db_close(db);
}

static void test_every_statement_prepares_on_every_kind_of_connection(void **state)
{
    (void)state;
    const char *path = db_path();
    db_make(path);
    static const larder__db_mode modes[] = {LARDER__DB_CREATE, LARDER__DB_WRITE, LARDER__DB_READ, LARDER__DB_READ_NOW,
                                            LARDER__DB_VISIT};
    for (size_t m = 0; m < sizeof modes / sizeof modes[0]; m++) {
        larder__db *db = must_open(path, modes[m]);
        for (int id = 0; id < LARDER__SQL_COUNT; id++) {
            if (larder__db_statement(db, (enum larder__sql)id) == NULL) {
                fail_msg("%s: %s", larder__sql_names[id], sqlite3_errmsg(db->handle));
            }
        }
        larder__db_close(db);
    }
}

static void test_commit_that_fails_is_rolled_back_and_says_why(void **state)
{
    (void)state;
    const char *path = db_path();
    larder__db *db = NULL;
    larder_error error = {0, 0, ""};
    db_make(path);
    assert_int_equal(larder__db_open(&db, path, LARDER__DB_WRITE, LARDER_DURABILITY_FULL, NULL), LARDER_OK);
    db_exec(db, "INSERT INTO state VALUES ('before', 1)");
    assert_int_equal(larder__db_begin(db), LARDER_OK);
    db_exec(db, "INSERT INTO state VALUES ('lost', 1)");
    fault_vfs_fail(FAULT_SYNC, 1, 1, SQLITE_IOERR_FSYNC);
    assert_int_equal(larder__db_commit(db), LARDER_EIO);
    faults_off();
    assert_int_equal(sqlite3_get_autocommit(db->handle), 1);
    assert_int_equal(larder__db_fail(&error, db, "cannot commit"), LARDER_EIO);
    assert_non_null(strstr(error.message, "cannot commit: disk I/O error"));
    assert_non_null(strstr(error.message, path));
    assert_int_equal(larder__db_begin(db), LARDER_OK);
    db_exec(db, "INSERT INTO state VALUES ('after', 1)");
    assert_int_equal(larder__db_commit(db), LARDER_OK);
    assert_int_equal(db_number(db, "SELECT count(*) FROM state WHERE name IN ('before', 'after')"), 2);
    assert_int_equal(db_number(db, "SELECT count(*) FROM state WHERE name = 'lost'"), 0);
    larder__db_close(db);
}

static void test_rollback_undoes_and_is_harmless_without_a_transaction(void **state)
{
    (void)state;
    larder__db *db = NULL;
    assert_int_equal(db_create(&db, db_path(), NULL), LARDER_OK);
    larder__db_rollback(db);
    assert_int_equal(larder__db_begin(db), LARDER_OK);
    db_exec(db, "DELETE FROM migrations");
    larder__db_rollback(db);
    larder__db_rollback(db);
    assert_int_equal(db_number(db, "SELECT count(*) FROM migrations"), LARDER__MIGRATION_COUNT);
    larder__db_close(db);
}

static void test_begin_waits_its_time_for_a_foreign_writer_and_says_locked(void **state)
{
    (void)state;
    const char *path = db_path();
    larder__db *one = NULL;
    larder_error error = {0, 0, ""};
    assert_int_equal(db_create(&one, path, NULL), LARDER_OK);
    larder__db *two = must_open(path, LARDER__DB_WRITE);
    sqlite3_busy_timeout(two->handle, 10);
    assert_int_equal(larder__db_begin(one), LARDER_OK);
    assert_int_equal(larder__db_begin(two), LARDER_ELOCKED);
    assert_int_equal(larder__db_fail(&error, two, "cannot write"), LARDER_ELOCKED);
    assert_int_equal(larder__db_commit(one), LARDER_OK);
    assert_int_equal(larder__db_begin(two), LARDER_OK);
    larder__db_rollback(two);
    larder__db_close(two);
    larder__db_close(one);
}

static void test_changes_of_others_are_noticed_and_our_own_are_not(void **state)
{
    (void)state;
    const char *path = db_path();
    larder__db *ours = NULL;
    uint32_t last = 0;
    assert_int_equal(db_create(&ours, path, NULL), LARDER_OK);
    larder__db_changed(ours, &last);
    assert_int_equal(larder__db_changed(ours, &last), 0);
    db_exec(ours, "INSERT INTO state VALUES ('ours', 1)");
    assert_int_equal(larder__db_changed(ours, &last), 0);
    db_assert_shell(path, "INSERT INTO state VALUES ('theirs', 1)", "");
    assert_int_equal(larder__db_changed(ours, &last), 1);
    assert_int_equal(larder__db_changed(ours, &last), 0);
    larder__db_close(ours);
}

static void test_file_that_was_deleted_or_replaced_is_moved(void **state)
{
    (void)state;
    const char *path = db_path();
    larder__db *db = NULL;
    assert_int_equal(db_create(&db, path, NULL), LARDER_OK);
    assert_int_equal(larder__db_moved(db), 0);
    assert_int_equal(test_shell(NULL, "cp '%s' '%s.2' && mv '%s.2' '%s'", path, path, path, path), 0);
    assert_int_equal(larder__db_moved(db), 1);
    unlink(path);
    assert_int_equal(larder__db_moved(db), 1);
    larder__db_close(db);
}

static void test_result_codes_have_their_status(void **state)
{
    (void)state;
    static const struct {
        int code;
        int status;
    } cases[] = {
        {SQLITE_OK, LARDER_OK},
        {SQLITE_DONE, LARDER_OK},
        {SQLITE_BUSY_SNAPSHOT, LARDER_ELOCKED},
        {SQLITE_FULL, LARDER_EFULL},
        {SQLITE_CORRUPT_INDEX, LARDER_ECORRUPT},
        {SQLITE_NOTADB, LARDER_ECORRUPT},
        {SQLITE_READONLY_DIRECTORY, LARDER_EREADONLY},
        {SQLITE_READONLY_DBMOVED, LARDER_EMOVED},
        {SQLITE_CANTOPEN, LARDER_EACCESS},
        {SQLITE_CANTOPEN_SYMLINK, LARDER_EFOREIGN},
        {SQLITE_IOERR_READ, LARDER_EIO},
        {SQLITE_IOERR_NOMEM, LARDER_ENOMEM},
        {SQLITE_NOMEM, LARDER_ENOMEM},
        {SQLITE_AUTH, LARDER_EACCESS},
        {SQLITE_ERROR, LARDER_ESCHEMA},
        {SQLITE_INTERNAL, LARDER_EIO},
    };
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        assert_int_equal(larder__db_status(cases[i].code), cases[i].status);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_new_file_is_private_whatever_the_umask),
        cmocka_unit_test(test_new_file_has_its_form_and_says_whose_it_is),
        cmocka_unit_test(test_connection_is_hardened),
        cmocka_unit_test(test_reading_connections_cannot_write_and_see_what_others_commit),
        cmocka_unit_test(test_file_of_no_bytes_becomes_a_database_for_who_may_create_only),
        cmocka_unit_test(test_missing_file_is_made_by_create_only),
        cmocka_unit_test(test_what_is_not_ours_is_refused_with_its_reason_and_not_touched),
        cmocka_unit_test(test_what_a_look_at_the_file_can_tell_is_told_before_anything_is_made),
        cmocka_unit_test(test_foreign_database_whose_tables_are_only_in_its_wal_is_recognised),
        cmocka_unit_test(test_file_of_an_older_larder_is_refused_until_somebody_migrates_it),
        cmocka_unit_test(test_paths_that_lead_nowhere_have_their_own_words),
        cmocka_unit_test(test_missing_permissions_are_named),
        cmocka_unit_test(test_visitor_reads_a_closed_file_without_leaving_anything),
        cmocka_unit_test(test_visitor_sees_what_a_killed_program_committed_and_does_not_checkpoint),
        cmocka_unit_test(test_linked_folder_and_relative_path_are_fine),
        cmocka_unit_test(test_file_in_another_journal_mode_is_brought_back_to_wal),
        cmocka_unit_test(test_reading_now_waits_for_no_lock),
        cmocka_unit_test(test_every_statement_prepares_on_every_kind_of_connection),
        cmocka_unit_test(test_commit_that_fails_is_rolled_back_and_says_why),
        cmocka_unit_test(test_rollback_undoes_and_is_harmless_without_a_transaction),
        cmocka_unit_test(test_begin_waits_its_time_for_a_foreign_writer_and_says_locked),
        cmocka_unit_test(test_changes_of_others_are_noticed_and_our_own_are_not),
        cmocka_unit_test(test_file_that_was_deleted_or_replaced_is_moved),
        cmocka_unit_test(test_result_codes_have_their_status),
    };
    fault_vfs_install();
    faults_off();
    return cmocka_run_group_tests(tests, NULL, NULL);
}
