/* Opening under adversity: by many at once, killed or cut at any moment, on a full disk, without memory. */
#include "db_fixture.h"

#include "fault_vfs.h"
#include "sqlite_alloc.h"

#include <pthread.h>

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

static void test_creation_that_fails_leaves_no_file(void **state)
{
    (void)state;
    int failures = 0;
    for (int64_t room = 0;; room += 4096) {
        const char *path = db_path();
        larder__db *db = NULL;
        fault_vfs_space(room);
        int status = larder__db_open(&db, path, LARDER__DB_CREATE, LARDER_DURABILITY_NORMAL, NULL);
        faults_off();
        if (status == LARDER_OK) {
            larder__db_close(db);
            break;
        }
        assert_int_equal(status, LARDER_EFULL);
        assert_false(db_exists(path, ""));
        assert_false(db_exists(path, "-wal"));
        assert_false(db_exists(path, "-shm"));
        assert_false(db_exists(path, "-journal"));
        failures++;
    }
    assert_true(failures > 5);
}

/* ---- at once, and interrupted ---- */

static int create_and_read(void *argument)
{
    larder__db *db = NULL;
    larder_error error = {0, 0, ""};
    if (db_create(&db, argument, &error) != LARDER_OK) {
        fprintf(stderr, "%s\n", error.message);
        return 1;
    }
    larder__db *reader = NULL;
    if (larder__db_open(&reader, argument, LARDER__DB_READ, LARDER_DURABILITY_NORMAL, &error) != LARDER_OK) {
        fprintf(stderr, "%s\n", error.message);
        return 2;
    }
    int wrong = db_number(reader, "SELECT count(*) FROM migrations") != LARDER__MIGRATION_COUNT;
    larder__db_close(reader);
    larder__db_close(db);
    return wrong ? 3 : 0;
}

static void assert_all_succeed(int (*work)(void *argument), const char *path)
{
    pid_t children[8];
    for (int i = 0; i < 8; i++) {
        children[i] = fork();
        assert_true(children[i] >= 0);
        if (children[i] == 0) {
            _exit(work((void *)(uintptr_t)path));
        }
    }
    for (int i = 0; i < 8; i++) {
        int status = -1;
        waitpid(children[i], &status, 0);
        assert_int_equal(status, 0);
    }
}

static void test_processes_that_open_a_new_file_at_once_all_succeed(void **state)
{
    (void)state;
    for (int round = 0; round < 25; round++) {
        const char *path = db_path();
        assert_all_succeed(create_and_read, path);
        db_assert_shell(path, "PRAGMA integrity_check", "ok");
    }
}

/* Nobody else takes our lock: then SQLite's own must do. */
static int create_without_lock(void *argument)
{
    larder__db *db = NULL;
    larder_error error = {0, 0, ""};
    if (larder__db_open(&db, argument, LARDER__DB_CREATE, LARDER_DURABILITY_NORMAL, &error) != LARDER_OK) {
        fprintf(stderr, "%s\n", error.message);
        return 1;
    }
    larder__db_close(db);
    return 0;
}

static void test_processes_that_open_a_new_file_at_once_never_see_it_half_made(void **state)
{
    (void)state;
    for (int round = 0; round < 25; round++) {
        const char *path = db_path();
        assert_all_succeed(create_without_lock, path);
        db_assert_shell(path, "PRAGMA integrity_check", "ok");
    }
}

static void *create_in_thread(void *argument)
{
    return (void *)(intptr_t)create_and_read(argument);
}

static void test_threads_that_open_a_new_file_at_once_all_succeed(void **state)
{
    (void)state;
    for (int round = 0; round < 25; round++) {
        const char *path = db_path();
        pthread_t threads[8];
        for (int i = 0; i < 8; i++) {
            assert_int_equal(pthread_create(&threads[i], NULL, create_in_thread, (void *)(uintptr_t)path), 0);
        }
        for (int i = 0; i < 8; i++) {
            void *result = NULL;
            pthread_join(threads[i], &result);
            assert_null(result);
        }
        db_assert_shell(path, "PRAGMA integrity_check", "ok");
    }
}

typedef struct crash {
    const char *path;
    unsigned long nth;
} crash;

static void end_process(void *user_data)
{
    (void)user_data;
    _exit(77);
}

static int create_until_crash(void *argument)
{
    crash *c = argument;
    fault_cut cut = {.on_cut = end_process};
    larder__db *db = NULL;
    fault_vfs_cut_at(c->nth, &cut);
    return db_create(&db, c->path, NULL) == LARDER_OK ? 0 : 1;
}

static void test_creation_killed_at_any_change_of_the_disk_is_completed_by_the_next_open(void **state)
{
    (void)state;
    int exit_status = 77;
    unsigned long n = 0;
    while (exit_status == 77) {
        crash c = {db_path(), ++n};
        larder__db *db = NULL;
        larder_error error = {0, 0, ""};
        exit_status = db_in_child(create_until_crash, &c);
        if (db_create(&db, c.path, &error) != LARDER_OK) {
            fail_msg("after a crash at change %lu: %s", n, error.message);
        }
        assert_int_equal(db_number(db, "SELECT count(*) FROM migrations"), LARDER__MIGRATION_COUNT);
        assert_int_equal(db_number(db, "PRAGMA application_id"), LARDER__APPLICATION_ID);
        assert_int_equal(db_number(db, "SELECT integrity_check = 'ok' FROM pragma_integrity_check"), 1);
        assert_int_equal(mode_of(c.path, ""), 0600);
        larder__db_close(db);
    }
    assert_int_equal(exit_status, 0);
    print_message("killed at %lu changes\n", n - 1);
    assert_true(n > 20);
}

static void test_creation_cut_by_a_power_failure_is_completed_by_the_next_open(void **state)
{
    (void)state;
    unsigned images = 0;
    test_random random = {test_random_seed("power cut")};
    for (unsigned long n = 1;; n++) {
        fault_cut cut = {.folder = test_dir(), .images = 6, .seed = test_random_next(&random)};
        larder__db *db = NULL;
        fault_vfs_reset();
        fault_vfs_power(1);
        fault_vfs_cut_at(n, &cut);
        assert_int_equal(db_create(&db, db_path(), NULL), LARDER_OK);
        larder__db_close(db);
        faults_off();
        for (unsigned i = 0; cut.taken && i < cut.images; i++, images++) {
            char path[4096];
            larder_error error = {0, 0, ""};
            snprintf(path, sizeof path, "%s/%u/a.larder", cut.folder, i);
            if (db_create(&db, path, &error) != LARDER_OK) {
                fail_msg("a cut at change %lu, outcome %u: %s", n, i, error.message);
            }
            assert_int_equal(db_number(db, "SELECT integrity_check = 'ok' FROM pragma_integrity_check"), 1);
            assert_int_equal(db_number(db, "SELECT count(*) FROM migrations"), LARDER__MIGRATION_COUNT);
            larder__db_close(db);
        }
        if (!cut.taken) {
            break;
        }
    }
    print_message("%u images\n", images);
    assert_true(images > 100);
}

/* ---- memory ---- */

typedef struct memory_test {
    const char *path;
    larder__db_mode mode;
    int existing;
} memory_test;

static int open_under_fault(const memory_test *m, int of_sqlite, unsigned long nth, int all_after, int *failed)
{
    larder__db *db = NULL;
    larder_error error = {0, 0, ""};
    if (of_sqlite) {
        sqlite_alloc_fail_at(nth, all_after);
    } else {
        test_alloc_fail_at(nth, all_after);
    }
    int status = larder__db_open(&db, m->path, m->mode, LARDER_DURABILITY_NORMAL, &error);
    *failed = of_sqlite ? sqlite_alloc_failed() > 0 : test_alloc_failed() > 0;
    sqlite_alloc_fail_at(0, 0);
    test_alloc_fail_at(0, 0);
    assert_true((status == LARDER_OK) == (db != NULL));
    if (status != LARDER_OK && (error.status != status || error.message[0] == '\0')) {
        fail_msg("a failure without words");
    }
    larder__db_close(db);
    return status;
}

/* Every step-th allocation, and, with all_after, all that come after it. */
static void assert_open_survives(memory_test m, int of_sqlite, int all_after, unsigned long step)
{
    int descriptors = db_open_descriptors();
    int refused = 0;
    unsigned long n = 1;
    for (int failed = 1; failed; n += step) {
        long live = test_alloc_live();
        long sqlite_live = sqlite_alloc_live();
        int status = open_under_fault(&m, of_sqlite, n, all_after, &failed);
        if (status != LARDER_OK) {
            refused++;
            if (status != LARDER_ENOMEM) {
                fail_msg("allocation %lu: %s", n, larder_status_name(status));
            }
        }
        if (!m.existing && status != LARDER_OK) {
            assert_false(db_exists(m.path, "")); /* and the next turn makes it anew */
        } else if (!m.existing) {
            assert_int_equal(test_shell(NULL, "rm '%s'*", m.path), 0);
        }
        assert_int_equal(test_alloc_live(), live);
        assert_true(n == 1 || sqlite_alloc_live() == sqlite_live);
        assert_int_equal(db_open_descriptors(), descriptors);
        assert_true(n < 10000);
    }
    print_message("%lu allocations, %d times refused\n", n - 1 - step, refused);
    assert_true(refused > 2);
}

static void test_open_survives_every_failed_allocation_of_ours(void **state)
{
    (void)state;
    memory_test create = {db_path(), LARDER__DB_CREATE, 0};
    assert_open_survives(create, 0, 0, 1);
    memory_test read = {db_path(), LARDER__DB_VISIT, 1};
    db_make(read.path);
    char *before = db_folder(read.path);
    assert_open_survives(read, 0, 0, 1);
    char *after = db_folder(read.path);
    assert_string_equal(before, after);
    free(before);
    free(after);
}

static void test_open_of_a_file_survives_every_failed_allocation_of_sqlite(void **state)
{
    (void)state;
    static const larder__db_mode modes[] = {LARDER__DB_CREATE, LARDER__DB_VISIT};
    for (size_t i = 0; i < 2; i++) {
        memory_test m = {db_path(), modes[i], 1};
        db_make(m.path);
        char *before = NULL;
        char *after = NULL;
        test_shell(&before, "sha256sum '%s'", m.path);
        assert_open_survives(m, 1, 0, 1);
        assert_open_survives(m, 1, 1, 9);
        test_shell(&after, "sha256sum '%s'", m.path);
        assert_string_equal(before, after);
        free(before);
        free(after);
    }
}

static void test_creation_survives_every_failed_allocation_of_sqlite(void **state)
{
    (void)state;
    memory_test m = {db_path(), LARDER__DB_CREATE, 0};
    assert_open_survives(m, 1, 0, 1);
    assert_open_survives(m, 1, 1, 9);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_creation_that_fails_leaves_no_file),
        cmocka_unit_test(test_processes_that_open_a_new_file_at_once_all_succeed),
        cmocka_unit_test(test_processes_that_open_a_new_file_at_once_never_see_it_half_made),
        cmocka_unit_test(test_threads_that_open_a_new_file_at_once_all_succeed),
        cmocka_unit_test(test_creation_killed_at_any_change_of_the_disk_is_completed_by_the_next_open),
        cmocka_unit_test(test_creation_cut_by_a_power_failure_is_completed_by_the_next_open),
        cmocka_unit_test(test_open_survives_every_failed_allocation_of_ours),
        cmocka_unit_test(test_open_of_a_file_survives_every_failed_allocation_of_sqlite),
        cmocka_unit_test(test_creation_survives_every_failed_allocation_of_sqlite),
    };
    test_alloc_install();
    sqlite_alloc_install();
    fault_vfs_install();
    faults_off();
    return cmocka_run_group_tests(tests, NULL, NULL);
}
