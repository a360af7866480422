/* tests/fault/test_bad_files.c: what may stand where the database should be. Each is refused with a status of its own
 * and a message that names the path, and is left as it was, byte for byte, together with what lies beside it. */
#include "driver.h"

#include "child.h"

#include <dirent.h>
#include <fcntl.h>
#include <sqlite3.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#define NOBODY 65534

/* ---- what is there, before and after ---- */

static uint64_t hash_more(uint64_t hash, const void *bytes, size_t len) /* FNV-1a */
{
    const unsigned char *p = bytes;
    for (size_t i = 0; i < len; i++) {
        hash = (hash ^ p[i]) * 0x100000001b3ull;
    }
    return hash;
}

static uint64_t hash_file(const char *path)
{
    uint64_t hash = 0xcbf29ce484222325ull;
    struct stat info;
    if (lstat(path, &info) != 0) {
        return 0;
    }
    hash = hash_more(hash, &info.st_mode, sizeof info.st_mode);
    hash = hash_more(hash, &info.st_ino, sizeof info.st_ino);
    if (S_ISREG(info.st_mode)) {
        FILE *file = fopen(path, "rb");
        assert_non_null(file);
        char chunk[65536];
        size_t got;
        while ((got = fread(chunk, 1, sizeof chunk, file)) > 0) {
            hash = hash_more(hash, chunk, got);
        }
        fclose(file);
    }
    return hash;
}

/* Of all files in the folder but those that Larder keeps beside a database. The sum does not depend on their order. */
static uint64_t hash_folder(const char *folder)
{
    uint64_t sum = 0;
    DIR *dir = opendir(folder);
    assert_non_null(dir);
    for (struct dirent *entry = readdir(dir); entry != NULL; entry = readdir(dir)) {
        size_t len = strlen(entry->d_name);
        if (strcmp(entry->d_name, "..") == 0 || (len > 5 && strcmp(entry->d_name + len - 5, "-lock") == 0)) {
            continue;
        }
        char path[8192];
        snprintf(path, sizeof path, "%s/%s", folder, entry->d_name);
        sum += strcmp(entry->d_name, ".") == 0 ? 1 : hash_more(hash_file(path), entry->d_name, len);
    }
    closedir(dir);
    return sum;
}

static const char *folder_of(const char *path)
{
    static char folder[4096];
    snprintf(folder, sizeof folder, "%s", path);
    *strrchr(folder, '/') = '\0';
    return folder;
}

/* Opens, expects the refusal, and compares. `path` is what the message must name. */
static void check_refused(const char *path, int expected)
{
    uint64_t before = hash_folder(folder_of(path));
    driver d;
    driver_init(&d, path);
    d.options.lock_timeout_ms = 500;
    int status = driver_open(&d);
    print_message("  %s: %s\n", larder_status_name(status), status < 0 ? d.error.message : "opened");
    assert_string_equal(larder_status_name(status), larder_status_name(expected));
    assert_int_equal(d.error.status, status);
    if (strstr(d.error.message, path) == NULL) {
        fail_msg("the message does not name %s: %s", path, d.error.message);
    }
    driver_close(&d);
    assert_true(hash_folder(folder_of(path)) == before);
}

/* ---- making them ---- */

static void write_file(const char *path, const void *bytes, size_t len)
{
    FILE *file = fopen(path, "wb");
    assert_non_null(file);
    assert_int_equal(fwrite(bytes, 1, len, file), len);
    assert_int_equal(fclose(file), 0);
}

/* A sound file of ours with a few entries in it, closed. */
static const char *good_file(void)
{
    const char *path = test_path("good.larder");
    driver d;
    driver_init(&d, path);
    d.pad = 3000;
    assert_int_equal(driver_open(&d), LARDER_OK);
    for (unsigned key = 0; key < 40; key++) {
        assert_int_equal(driver_send(&d, key, LARDER_CACHE_DEFAULT).success, 1);
    }
    assert_int_equal(driver_flush(&d), LARDER_OK);
    assert_int_equal(driver_close(&d).status, LARDER_OK);
    return path;
}

/* A program that is not ours changes the file. */
static void alter(const char *path, const char *sql)
{
    sqlite3 *db = NULL;
    char *message = NULL;
    assert_int_equal(sqlite3_open(path, &db), SQLITE_OK);
    if (sqlite3_exec(db, sql, NULL, NULL, &message) != SQLITE_OK) {
        fail_msg("%s: %s", sql, message);
    }
    sqlite3_close(db);
}

/* ---- the tests ---- */

static void test_a_directory_is_refused(void **state)
{
    (void)state;
    const char *path = test_path("folder");
    assert_int_equal(mkdir(path, 0700), 0);
    check_refused(path, LARDER_EFOREIGN);
}

static void test_a_fifo_is_refused_and_does_not_hang(void **state)
{
    (void)state;
    const char *path = test_path("fifo");
    assert_int_equal(mkfifo(path, 0600), 0);
    check_refused(path, LARDER_EFOREIGN);
}

static void test_a_symbolic_link_is_refused(void **state)
{
    (void)state;
    const char *path = test_path("link");
    assert_int_equal(symlink(good_file(), path), 0);
    check_refused(path, LARDER_EFOREIGN);
    const char *dangling = test_path("dangling");
    assert_int_equal(symlink("nothing-there", dangling), 0);
    check_refused(dangling, LARDER_EFOREIGN);
}

static void test_a_missing_parent_folder_is_refused(void **state)
{
    (void)state;
    char path[4096];
    snprintf(path, sizeof path, "%s/missing/a.larder", test_dir());
    driver d;
    driver_init(&d, path);
    int status = driver_open(&d);
    print_message("  %s: %s\n", larder_status_name(status), d.error.message);
    assert_string_equal(larder_status_name(status), "LARDER_ENOTFOUND");
    assert_non_null(strstr(d.error.message, path));
    assert_int_not_equal(access(folder_of(path), F_OK), 0);
    driver_close(&d);
}

static void test_garbage_is_refused(void **state)
{
    (void)state;
    test_random random = {test_random_seed("garbage")};
    unsigned char bytes[20000];
    for (size_t i = 0; i < sizeof bytes; i++) {
        bytes[i] = (unsigned char)test_random_next(&random);
    }
    bytes[0] = 'x'; /* never the header of SQLite by chance */
    const size_t sizes[] = {1, 99, 100, 512, 4096, 20000};
    for (size_t i = 0; i < sizeof sizes / sizeof sizes[0]; i++) {
        const char *path = test_path("garbage.larder");
        write_file(path, bytes, sizes[i]);
        check_refused(path, LARDER_ECORRUPT);
    }
}

static void test_a_text_file_is_refused(void **state)
{
    (void)state;
    const char *path = test_path("notes.txt");
    write_file(path, "dear diary\n", 11);
    check_refused(path, LARDER_ECORRUPT);
}

static void test_a_truncated_file_is_refused(void **state)
{
    (void)state;
    const int64_t sizes[] = {50, 100, 1000, 4096, 5000, 20000};
    for (size_t i = 0; i < sizeof sizes / sizeof sizes[0]; i++) {
        const char *path = good_file();
        assert_int_equal(truncate(path, sizes[i]), 0);
        check_refused(path, LARDER_ECORRUPT);
    }
}

static void test_another_programs_database_is_refused(void **state)
{
    (void)state;
    const char *path = test_path("theirs.db");
    alter(path, "CREATE TABLE bookmarks (url TEXT); INSERT INTO bookmarks VALUES ('https://sqlite.org')");
    check_refused(path, LARDER_EFOREIGN);
    const char *named = test_path("named.db");
    alter(named, "PRAGMA application_id=1234567; PRAGMA user_version=1; CREATE TABLE t (x)");
    check_refused(named, LARDER_EFOREIGN);
    const char *empty = test_path("empty.db");
    alter(empty, "PRAGMA application_id=1234567"); /* no tables, but somebody's */
    check_refused(empty, LARDER_EFOREIGN);
}

/* What that program has in its WAL, of which it may still be the writer, must stay there. */
static void test_another_programs_database_in_use_is_left_alone(void **state)
{
    (void)state;
    const char *path = test_path("theirs.db");
    alter(path, "PRAGMA journal_mode=WAL; CREATE TABLE bookmarks (url TEXT)");
    child c;
    const char *args[] = {"--child", "use", path, NULL};
    child_start(&c, args);
    assert_int_equal(child_read(&c, "ready", 20000000), 1);
    child_kill(&c); /* it leaves its WAL behind */
    child_wait(&c);
    child_release(&c);
    char wal[4096];
    snprintf(wal, sizeof wal, "%s-wal", path);
    uint64_t database = hash_file(path);
    uint64_t log = hash_file(wal);
    assert_true(log != 0);
    driver d;
    driver_init(&d, path);
    int status = driver_open(&d);
    assert_string_equal(larder_status_name(status), "LARDER_EFOREIGN");
    driver_close(&d);
    assert_true(hash_file(path) == database);
    assert_true(hash_file(wal) == log);
}

static void test_a_newer_schema_is_refused(void **state)
{
    (void)state;
    const char *path = good_file();
    alter(path, "PRAGMA user_version=9999");
    check_refused(path, LARDER_ENEWER);
}

static void test_an_altered_migration_is_refused(void **state)
{
    (void)state;
    const char *path = good_file();
    alter(path, "UPDATE migrations SET checksum = 'deadbeef' WHERE version = 1");
    check_refused(path, LARDER_ESCHEMA);
    const char *missing = good_file();
    alter(missing, "DELETE FROM migrations WHERE version = 2");
    check_refused(missing, LARDER_ESCHEMA);
    const char *dropped = good_file();
    alter(dropped, "DROP TABLE migrations");
    check_refused(dropped, LARDER_ESCHEMA);
}

static void test_a_damaged_file_is_never_served_wrong(void **state)
{
    (void)state;
    test_random random = {test_random_seed("damaged file")};
    int refused = 0;
    int missed = 0;
    for (int round = 0; round < 25; round++) {
        const char *path = good_file();
        struct stat info;
        assert_int_equal(stat(path, &info), 0);
        FILE *file = fopen(path, "r+b");
        assert_non_null(file);
        unsigned char nonsense[1024];
        for (size_t i = 0; i < sizeof nonsense; i++) {
            nonsense[i] = (unsigned char)test_random_next(&random);
        }
        int64_t at = 100 + (int64_t)test_random_below(&random, (uint64_t)info.st_size - 100 - sizeof nonsense);
        assert_int_equal(fseek(file, (long)at, SEEK_SET), 0);
        assert_int_equal(fwrite(nonsense, 1, sizeof nonsense, file), sizeof nonsense);
        fclose(file);
        driver d;
        driver_init(&d, path);
        int status = driver_open(&d);
        if (status != LARDER_OK) {
            refused++;
            assert_true(status == LARDER_ECORRUPT || status == LARDER_ESCHEMA);
        }
        d.generation = 2;
        for (unsigned key = 0; key < 40 && status == LARDER_OK; key++) {
            driver_answer answer = driver_send(&d, key, LARDER_CACHE_DEFAULT);
            assert_int_equal(answer.times, 1);
            assert_int_equal(answer.success, 1);
            if (answer.generation == 2) {
                missed++;
                assert_int_equal(answer.whole, 1);
            }
        }
        driver_close(&d);
    }
    print_message("  25 damaged files: %d refused, %d answers lost in the others\n", refused, missed);
}

static void test_strange_names_are_only_names(void **state)
{
    (void)state;
    const char *names[] = {"file:a.larder?mode=memory", "a?vfs=none.larder", "b%41#c.larder", ":memory:", " ", "-wal"};
    for (size_t i = 0; i < sizeof names / sizeof names[0]; i++) {
        const char *path = test_path(names[i]);
        driver d;
        driver_init(&d, path);
        int status = driver_open(&d);
        if (status != LARDER_OK) {
            fail_msg("%s: %s", path, d.error.message);
        }
        assert_int_equal(driver_send(&d, 1, LARDER_CACHE_DEFAULT).success, 1);
        assert_int_equal(driver_close(&d).status, LARDER_OK);
        struct stat info;
        assert_int_equal(stat(path, &info), 0);
        assert_int_equal(info.st_mode & 0777, 0600);
        assert_true(info.st_size > 0);
    }
}

/* ---- permissions: as nobody, in a child ---- */

static void refuse_as_child(const char *path, const char *expected)
{
    child c;
    const char *args[] = {"--child", "open", path, NULL};
    child_start(&c, args);
    assert_int_equal(child_read(&c, NULL, 20000000), 0);
    print_message("  %s", c.text);
    assert_int_equal(child_wait(&c), 0);
    if (strncmp(c.text, expected, strlen(expected)) != 0 || strstr(c.text, path) == NULL) {
        fail_msg("expected %s and the path, got %s", expected, c.text);
    }
    child_release(&c);
}

/* A folder that nobody may use (owner NOBODY when we are root), with a good file in it. */
static const char *shared_file(void)
{
    const char *path = good_file();
    char *folder = strdup(folder_of(path));
    assert_non_null(folder);
    char lock[4096];
    snprintf(lock, sizeof lock, "%s-lock", path);
    if (geteuid() == 0) {
        assert_int_equal(chown(folder, NOBODY, NOBODY), 0);
        assert_int_equal(chown(path, NOBODY, NOBODY), 0);
        assert_int_equal(chown(lock, NOBODY, NOBODY), 0);
    }
    free(folder);
    return path;
}

static void test_a_file_without_permission_is_refused(void **state)
{
    (void)state;
    const char *path = shared_file();
    assert_int_equal(chmod(path, 0000), 0);
    refuse_as_child(path, "LARDER_EACCESS");
}

static void test_a_read_only_file_is_refused(void **state)
{
    (void)state;
    const char *path = shared_file();
    assert_int_equal(chmod(path, 0400), 0);
    uint64_t before = hash_folder(folder_of(path));
    refuse_as_child(path, "LARDER_EREADONLY");
    assert_true(hash_folder(folder_of(path)) == before);
}

static void test_a_folder_that_cannot_be_written_is_refused(void **state)
{
    (void)state;
    const char *path = shared_file();
    char fresh[4096];
    snprintf(fresh, sizeof fresh, "%s/new.larder", folder_of(path));
    assert_int_equal(chmod(folder_of(path), 0500), 0);
    refuse_as_child(fresh, "LARDER_EACCESS");
    assert_int_not_equal(access(fresh, F_OK), 0);
    assert_int_equal(chmod(folder_of(path), 0700), 0);
}

static void test_a_folder_without_permission_is_refused(void **state)
{
    (void)state;
    const char *path = shared_file();
    assert_int_equal(chmod(folder_of(path), 0000), 0);
    refuse_as_child(path, "LARDER_EACCESS");
    assert_int_equal(chmod(folder_of(path), 0700), 0);
}

/* ---- children ---- */

static int child_open(const char *path)
{
    if (geteuid() == 0 && (setgid(NOBODY) != 0 || setuid(NOBODY) != 0)) {
        return 1;
    }
    driver d;
    driver_init(&d, path);
    int status = driver_open(&d);
    child_say("%s: %s\n", larder_status_name(status), d.error.message);
    driver_close(&d);
    return 0;
}

static int child_use(const char *path)
{
    sqlite3 *db = NULL;
    sqlite3_open(path, &db);
    if (sqlite3_exec(db, "INSERT INTO bookmarks VALUES ('https://libuv.org')", NULL, NULL, NULL) != SQLITE_OK) {
        return 1;
    }
    child_say("ready\n");
    child_wait_for_parent();
    return 0;
}

int main(int argc, char **argv)
{
    if (argc == 4 && strcmp(argv[1], "--child") == 0) {
        return strcmp(argv[2], "open") == 0 ? child_open(argv[3]) : child_use(argv[3]);
    }
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_a_directory_is_refused),
        cmocka_unit_test(test_a_fifo_is_refused_and_does_not_hang),
        cmocka_unit_test(test_a_symbolic_link_is_refused),
        cmocka_unit_test(test_a_missing_parent_folder_is_refused),
        cmocka_unit_test(test_garbage_is_refused),
        cmocka_unit_test(test_a_text_file_is_refused),
        cmocka_unit_test(test_a_truncated_file_is_refused),
        cmocka_unit_test(test_another_programs_database_is_refused),
        cmocka_unit_test(test_another_programs_database_in_use_is_left_alone),
        cmocka_unit_test(test_a_newer_schema_is_refused),
        cmocka_unit_test(test_an_altered_migration_is_refused),
        cmocka_unit_test(test_a_damaged_file_is_never_served_wrong),
        cmocka_unit_test(test_strange_names_are_only_names),
        cmocka_unit_test(test_a_file_without_permission_is_refused),
        cmocka_unit_test(test_a_read_only_file_is_refused),
        cmocka_unit_test(test_a_folder_that_cannot_be_written_is_refused),
        cmocka_unit_test(test_a_folder_without_permission_is_refused),
    };
    cmocka_set_test_filter(argc == 2 ? argv[1] : NULL); /* a pattern with * and ? */
    return cmocka_run_group_tests(tests, NULL, NULL);
}
