/* tests/unit/db_fixture.h: what the tests of src/store's files share: making a database, looking at it and at its
 * folder from outside, and ending a child at a chosen change of the disk. */
#ifndef LARDER_TEST_DB_FIXTURE_H
#define LARDER_TEST_DB_FIXTURE_H

#include "support.h"

#include "store/db.h"

#include <dirent.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

/* "<a new folder>/a.larder", one of any number; valid for the next 64 calls. */
static inline const char *db_path(void)
{
    static char paths[64][512];
    static const char *base;
    static unsigned count;
    char *path = paths[count % 64];
    if (base == NULL) {
        base = test_dir();
        assert_int_equal(chmod(base, 0755), 0); /* tests take rights away from the folders in it */
    }
    snprintf(path, sizeof paths[0], "%s/%u", base, count++);
    assert_int_equal(mkdir(path, 0700), 0);
    strcat(path, "/a.larder");
    return path;
}

/* Opens under the lock, as a program does; the status. *out may then be closed with larder__db_close. */
static inline int db_create(larder__db **out, const char *path, larder_error *error)
{
    larder__lockfile *lock = NULL;
    *out = NULL;
    int status = larder__lockfile_open(&lock, path, error);
    if (status == LARDER_OK) {
        status = larder__lockfile_lock(lock, 20000, error);
    }
    if (status == LARDER_OK) {
        status = larder__db_open(out, path, LARDER__DB_CREATE, LARDER_DURABILITY_NORMAL, error);
    }
    larder__lockfile_close(lock);
    return status;
}

/* A database that was closed cleanly: nothing but the file itself. */
static inline void db_make(const char *path)
{
    larder__db *db = NULL;
    larder_error error = {0, 0, ""};
    if (db_create(&db, path, &error) != LARDER_OK) {
        fail_msg("cannot make %s: %s", path, error.message);
    }
    larder__db_tidy(db);
    larder__db_close(db);
    char lock[4096];
    snprintf(lock, sizeof lock, "%s-lock", path);
    unlink(lock);
}

/* Runs SQL in the sqlite3 shell; what it printed, without the last line end. Free it. */
static inline char *db_shell(const char *path, const char *sql)
{
    char *out = NULL;
    int status = test_shell(&out, "sqlite3 -bail '%s' \"%s\" 2>&1", path, sql);
    if (status != 0) {
        fail_msg("sqlite3 %s: %s", sql, out);
    }
    size_t len = strlen(out);
    if (len > 0 && out[len - 1] == '\n') {
        out[len - 1] = '\0';
    }
    return out;
}

static inline void db_assert_shell(const char *path, const char *sql, const char *expected)
{
    char *out = db_shell(path, sql);
    assert_string_equal(out, expected);
    free(out);
}

/* Names, kinds, modes, sizes and contents of all in the folder of a path. Free it. */
static inline char *db_folder(const char *path)
{
    char *out = NULL;
    test_shell(
        &out,
        "cd \"$(dirname '%s')\" && ls -lA --time-style=+ && find . -type f -print0 | sort -z | xargs -0r sha256sum",
        path);
    return out;
}

static inline void db_write_file(const char *path, const void *bytes, size_t len)
{
    FILE *file = fopen(path, "wb");
    assert_non_null(file);
    assert_int_equal(fwrite(bytes, 1, len, file), len);
    assert_int_equal(fclose(file), 0);
}

static inline void db_patch_file(const char *path, long at, const void *bytes, size_t len)
{
    FILE *file = fopen(path, "r+b");
    assert_non_null(file);
    assert_int_equal(fseek(file, at, SEEK_SET), 0);
    assert_int_equal(fwrite(bytes, 1, len, file), len);
    assert_int_equal(fclose(file), 0);
}

static inline int db_exists(const char *path, const char *suffix)
{
    char name[4096];
    struct stat info;
    snprintf(name, sizeof name, "%s%s", path, suffix);
    return lstat(name, &info) == 0;
}

static inline int db_open_descriptors(void)
{
    int count = 0;
    DIR *folder = opendir("/proc/self/fd");
    assert_non_null(folder);
    while (readdir(folder) != NULL) {
        count++;
    }
    closedir(folder);
    return count;
}

/* The first column of the first row, through a connection of ours. */
static inline int64_t db_number(larder__db *db, const char *sql)
{
    sqlite3_stmt *statement = NULL;
    assert_int_equal(sqlite3_prepare_v2(db->handle, sql, -1, &statement, NULL), SQLITE_OK);
    assert_int_equal(sqlite3_step(statement), SQLITE_ROW);
    int64_t value = sqlite3_column_int64(statement, 0);
    sqlite3_finalize(statement);
    return value;
}

static inline void db_exec(larder__db *db, const char *sql)
{
    if (sqlite3_exec(db->handle, sql, NULL, NULL, NULL) != SQLITE_OK) {
        fail_msg("%s: %s", sql, sqlite3_errmsg(db->handle));
    }
}

/* The project's folder, from where this file lies. */
static inline const char *db_source_folder(void)
{
    static char folder[4096];
    snprintf(folder, sizeof folder, "%s", __FILE__);
    char *end = strstr(folder, "/tests/unit/");
    assert_non_null(end);
    *end = '\0';
    return folder;
}

/* Runs `work` in a forked child and returns its exit status (or 128 + signal). */
static inline int db_in_child(int (*work)(void *argument), void *argument)
{
    fflush(NULL);
    pid_t pid = fork();
    assert_true(pid >= 0);
    if (pid == 0) {
        _exit(work(argument));
    }
    int status = 0;
    assert_int_equal(waitpid(pid, &status, 0), pid);
    return WIFEXITED(status) ? WEXITSTATUS(status) : 128 + WTERMSIG(status);
}

/* Gives root's rights up for good, where the process has them; access checks mean nothing to root. */
static inline int db_be_nobody(void)
{
    return getuid() != 0 || (setgid(65534) == 0 && setuid(65534) == 0) ? 0 : -1;
}

#endif
