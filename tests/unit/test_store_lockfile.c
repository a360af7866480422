/* The lock between processes and instances, and the page of counters. */
#include "db_fixture.h"

#include <signal.h>

static larder__lockfile *open_lock(const char *path)
{
    larder__lockfile *lock = NULL;
    larder_error error = {0, 0, ""};
    if (larder__lockfile_open(&lock, path, &error) != LARDER_OK) {
        fail_msg("%s", error.message);
    }
    return lock;
}

static char *lock_name(const char *path)
{
    static char name[4096];
    snprintf(name, sizeof name, "%s-lock", path);
    return name;
}

static void test_lockfile_is_made_private_and_as_large_as_its_page(void **state)
{
    (void)state;
    const char *path = db_path();
    mode_t old = umask(0);
    larder__lockfile *lock = open_lock(path);
    umask(old);
    struct stat info;
    assert_int_equal(stat(lock_name(path), &info), 0);
    assert_int_equal(info.st_mode & 07777, 0600);
    assert_true(info.st_size >= (off_t)sizeof(larder__lockfile_page));
    assert_true(info.st_blocks > 0); /* not a hole: a full disk shows now, not as SIGBUS */
    assert_false(db_exists(path, ""));
    larder__lockfile_close(lock);
}

static void test_lockfile_instances_of_one_process_exclude_each_other(void **state)
{
    (void)state;
    const char *path = db_path();
    larder__lockfile *one = open_lock(path);
    larder__lockfile *two = open_lock(path);
    assert_int_equal(larder__lockfile_try(one), 1);
    assert_int_equal(larder__lockfile_try(one), 1);
    assert_int_equal(larder__lockfile_try(two), 0);
    larder_error error = {0, 0, ""};
    assert_int_equal(larder__lockfile_lock(two, 20, &error), LARDER_ELOCKED);
    assert_non_null(strstr(error.message, path));
    larder__lockfile_unlock(one);
    assert_int_equal(larder__lockfile_lock(two, 0, &error), LARDER_OK);
    assert_int_equal(larder__lockfile_try(one), 0);
    larder__lockfile_close(two); /* closing releases it */
    assert_int_equal(larder__lockfile_try(one), 1);
    larder__lockfile_close(one);
}

static int lock_add_and_unlock(void *argument)
{
    const char *path = argument;
    larder__lockfile *lock = NULL;
    if (larder__lockfile_open(&lock, path, NULL) != LARDER_OK) {
        return 1;
    }
    char counter[4096];
    snprintf(counter, sizeof counter, "%s-count", path);
    for (int i = 0; i < 200; i++) {
        if (larder__lockfile_lock(lock, 20000, NULL) != LARDER_OK) {
            return 2;
        }
        int value = 0;
        FILE *file = fopen(counter, "r+");
        if (file == NULL || fscanf(file, "%d", &value) != 1) {
            return 3;
        }
        rewind(file);
        fprintf(file, "%d", value + 1);
        fclose(file);
        larder__lockfile_unlock(lock);
        larder__lockfile_committed(lock, i % 2);
    }
    larder__lockfile_close(lock);
    return 0;
}

static void test_lockfile_processes_never_hold_it_together_and_count_what_all_committed(void **state)
{
    (void)state;
    const char *path = db_path();
    char counter[4096];
    snprintf(counter, sizeof counter, "%s-count", path);
    db_write_file(counter, "0", 1);
    pid_t children[4];
    for (int i = 0; i < 4; i++) {
        children[i] = fork();
        assert_true(children[i] >= 0);
        if (children[i] == 0) {
            _exit(lock_add_and_unlock((void *)(uintptr_t)path));
        }
    }
    for (int i = 0; i < 4; i++) {
        int status = -1;
        waitpid(children[i], &status, 0);
        assert_int_equal(status, 0);
    }
    int value = 0;
    FILE *file = fopen(counter, "r");
    assert_int_equal(fscanf(file, "%d", &value), 1);
    fclose(file);
    assert_int_equal(value, 800);
    larder__lockfile *lock = open_lock(path);
    assert_int_equal(larder__lockfile_invalidations(lock), 400);
    larder__lockfile_close(lock);
}

static void hold_until_killed(const char *path, int say)
{
    larder__lockfile *lock = NULL;
    if (larder__lockfile_open(&lock, path, NULL) == LARDER_OK && larder__lockfile_try(lock) == 1
        && write(say, "x", 1) == 1) {
        for (;;) {
            pause();
        }
    }
}

static void test_lockfile_of_a_killed_process_is_free(void **state)
{
    (void)state;
    const char *path = db_path();
    int ends[2];
    char byte;
    assert_int_equal(pipe(ends), 0);
    pid_t pid = fork();
    if (pid == 0) {
        hold_until_killed(path, ends[1]);
        _exit(1);
    }
    close(ends[1]);
    assert_int_equal(read(ends[0], &byte, 1), 1);
    larder__lockfile *lock = open_lock(path);
    assert_int_equal(larder__lockfile_try(lock), 0);
    kill(pid, SIGKILL);
    assert_int_equal(larder__lockfile_lock(lock, 10000, NULL), LARDER_OK);
    waitpid(pid, NULL, 0);
    larder__lockfile_close(lock);
    close(ends[0]);
}

static int close_inherited(void *argument)
{
    larder__lockfile *lock = argument;
    int refused = larder__lockfile_try(lock) == LARDER_EFORK;
    larder__lockfile_unlock(lock);
    larder__lockfile_close(lock);
    return refused ? 0 : 1;
}

static void test_lockfile_forked_child_cannot_release_its_parents_lock(void **state)
{
    (void)state;
    const char *path = db_path();
    larder__lockfile *ours = open_lock(path);
    larder__lockfile *other = open_lock(path);
    assert_int_equal(larder__lockfile_try(ours), 1);
    assert_int_equal(db_in_child(close_inherited, ours), 0);
    assert_int_equal(larder__lockfile_try(other), 0);
    larder__lockfile_close(ours);
    assert_int_equal(larder__lockfile_try(other), 1);
    larder__lockfile_close(other);
}

static void test_lockfile_descriptor_is_not_inherited_by_programs(void **state)
{
    (void)state;
    const char *path = db_path();
    larder__lockfile *lock = open_lock(path);
    char *out = NULL;
    test_shell(&out, "ls -l /proc/self/fd");
    assert_null(strstr(out, "-lock"));
    free(out);
    larder__lockfile_close(lock);
}

static void test_lockfile_that_was_deleted_or_replaced_is_moved(void **state)
{
    (void)state;
    const char *path = db_path();
    larder__lockfile *lock = open_lock(path);
    assert_int_equal(larder__lockfile_moved(lock), 0);
    unlink(lock_name(path));
    assert_int_equal(larder__lockfile_moved(lock), 1);
    larder__lockfile *newer = open_lock(path);
    assert_int_equal(larder__lockfile_moved(lock), 1);
    assert_int_equal(larder__lockfile_moved(newer), 0);
    larder_error error = {0, 0, ""};
    assert_int_equal(larder__lockfile_lock(lock, 1000, &error), LARDER_EMOVED);
    assert_int_equal(larder__lockfile_lock(newer, 1000, &error), LARDER_OK);
    larder__lockfile_close(lock);
    larder__lockfile_close(newer);
}

static void test_lockfile_refuses_what_is_not_its_own_and_leaves_it(void **state)
{
    (void)state;
    static const char *const setups[] = {
        "mkdir '%s-lock'",  "ln -s /etc/passwd '%s-lock'", "ln -s /nonexistent '%s-lock'",
        "mkfifo '%s-lock'", "echo 'pid 4711' >'%s-lock'",  "head -c 5000 /dev/zero >'%s-lock'",
    };
    for (size_t i = 0; i < sizeof setups / sizeof setups[0]; i++) {
        const char *path = db_path();
        char command[4096];
        larder__lockfile *lock = NULL;
        larder_error error = {0, 0, ""};
        snprintf(command, sizeof command, "%.*s%s%s", (int)(strstr(setups[i], "%s") - setups[i]), setups[i], path,
                 strstr(setups[i], "%s") + 2);
        assert_int_equal(test_shell(NULL, "%s", command), 0);
        char *before = db_folder(path);
        assert_int_equal(larder__lockfile_open(&lock, path, &error), LARDER_EFOREIGN);
        assert_null(lock);
        assert_non_null(strstr(error.message, lock_name(path)));
        assert_int_equal(larder__lockfile_open_existing(&lock, path, &error), LARDER_EFOREIGN);
        char *after = db_folder(path);
        assert_string_equal(before, after);
        free(before);
        free(after);
    }
}

static void test_lockfile_truncated_by_somebody_is_restored_with_the_lock(void **state)
{
    (void)state;
    const char *path = db_path();
    larder__lockfile *lock = open_lock(path);
    assert_int_equal(truncate(lock_name(path), 0), 0);
    assert_int_equal(larder__lockfile_try(lock), 1);
    larder__lockfile_committed(lock, 1); /* SIGBUS, were it not restored */
    assert_int_equal(larder__lockfile_invalidations(lock), 1);
    larder__lockfile_close(lock);
}

static void test_lockfile_existing_is_read_and_never_made_or_written(void **state)
{
    (void)state;
    const char *path = db_path();
    larder__lockfile *reader = NULL;
    assert_int_equal(larder__lockfile_open_existing(&reader, path, NULL), LARDER_ENOTFOUND);
    assert_false(db_exists(path, "-lock"));
    db_write_file(lock_name(path), "", 0); /* somebody is just making it */
    assert_int_equal(larder__lockfile_open_existing(&reader, path, NULL), LARDER_ENOTFOUND);
    larder__lockfile *writer = open_lock(path);
    assert_int_equal(larder__lockfile_open_existing(&reader, path, NULL), LARDER_OK);
    larder__lockfile_committed(writer, 1);
    larder__lockfile_committed(reader, 1);
    larder__lockfile_distrust(reader, 7, 1);
    assert_int_equal(larder__lockfile_invalidations(reader), 1);
    assert_int_equal(larder__lockfile_distrusted(reader), 0);
    assert_int_equal(larder__lockfile_try(reader), LARDER_EREADONLY);
    larder__lockfile_close(reader);
    larder__lockfile_close(writer);
}

static void test_lockfile_distrust_survives_its_process_and_ends_with_trust(void **state)
{
    (void)state;
    const char *path = db_path();
    larder__lockfile *lock = open_lock(path);
    assert_int_equal(larder__lockfile_distrusted(lock), 0);
    larder__lockfile_distrust(lock, 7, 1);
    larder__lockfile_distrust(lock, 7, 1);
    larder__lockfile_distrust(lock, 8, 1);
    larder__lockfile_distrust(lock, 7, 0);
    assert_int_equal(larder__lockfile_distrusted(lock), 1);
    larder__lockfile_close(lock);
    lock = open_lock(path);
    assert_int_equal(larder__lockfile_distrusted(lock), 1);
    larder__lockfile_distrust(lock, 8, 0);
    assert_int_equal(larder__lockfile_distrusted(lock), 0);
    larder__lockfile_close(lock);
}

static void test_lockfile_distrust_without_a_free_slot_holds_for_all(void **state)
{
    (void)state;
    const char *path = db_path();
    larder__lockfile *lock = open_lock(path);
    for (uint64_t origin = 1; origin <= LARDER__LOCKFILE_SLOTS + 1; origin++) {
        larder__lockfile_distrust(lock, origin, 1);
    }
    for (uint64_t origin = 1; origin <= LARDER__LOCKFILE_SLOTS + 1; origin++) {
        larder__lockfile_distrust(lock, origin, 0);
    }
    assert_int_equal(larder__lockfile_distrusted(lock), 1); /* on the safe side */
    larder__lockfile_trust(lock);
    assert_int_equal(larder__lockfile_distrusted(lock), 0);
    larder__lockfile_close(lock);
}

static int open_as_nobody(void *argument)
{
    larder__lockfile *lock = NULL;
    if (db_be_nobody() != 0) {
        return 9;
    }
    int status = larder__lockfile_open(&lock, argument, NULL);
    larder__lockfile_close(lock);
    return -status;
}

static void test_lockfile_without_permission_says_so(void **state)
{
    (void)state;
    const char *path = db_path();
    char folder[4096];
    snprintf(folder, sizeof folder, "%.*s", (int)(strrchr(path, '/') - path), path);
    assert_int_equal(chmod(folder, 0555), 0);
    assert_int_equal(db_in_child(open_as_nobody, (void *)(uintptr_t)path), -LARDER_EACCESS);
    assert_int_equal(chmod(folder, 0700), 0);
}

static void test_lockfile_follows_its_folder_not_the_working_directory(void **state)
{
    (void)state;
    const char *path = db_path();
    char old[4096];
    assert_non_null(getcwd(old, sizeof old));
    char folder[4096];
    snprintf(folder, sizeof folder, "%.*s", (int)(strrchr(path, '/') - path), path);
    assert_int_equal(chdir(folder), 0);
    larder__lockfile *lock = open_lock("a.larder");
    assert_int_equal(chdir("/"), 0);
    assert_int_equal(larder__lockfile_moved(lock), 0);
    assert_int_equal(larder__lockfile_try(lock), 1);
    larder__lockfile_close(lock);
    assert_int_equal(chdir(old), 0);
}

static void test_lockfile_survives_every_failed_allocation(void **state)
{
    (void)state;
    const char *path = db_path();
    int descriptors = db_open_descriptors();
    for (unsigned long n = 1; n < 100; n++) {
        larder__lockfile *lock = NULL;
        larder_error error = {0, 0, ""};
        long live = test_alloc_live();
        test_alloc_fail_at(n, 0);
        int status = larder__lockfile_open(&lock, path, &error);
        int failed = test_alloc_failed();
        test_alloc_fail_at(0, 0);
        if (failed == 0) {
            assert_int_equal(status, LARDER_OK);
            larder__lockfile_close(lock);
            assert_true(n > 3);
            return;
        }
        assert_int_equal(status, LARDER_ENOMEM);
        assert_null(lock);
        assert_int_equal(test_alloc_live(), live);
        assert_int_equal(db_open_descriptors(), descriptors);
    }
    fail_msg("it never came to an end");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_lockfile_is_made_private_and_as_large_as_its_page),
        cmocka_unit_test(test_lockfile_instances_of_one_process_exclude_each_other),
        cmocka_unit_test(test_lockfile_processes_never_hold_it_together_and_count_what_all_committed),
        cmocka_unit_test(test_lockfile_of_a_killed_process_is_free),
        cmocka_unit_test(test_lockfile_forked_child_cannot_release_its_parents_lock),
        cmocka_unit_test(test_lockfile_descriptor_is_not_inherited_by_programs),
        cmocka_unit_test(test_lockfile_that_was_deleted_or_replaced_is_moved),
        cmocka_unit_test(test_lockfile_refuses_what_is_not_its_own_and_leaves_it),
        cmocka_unit_test(test_lockfile_truncated_by_somebody_is_restored_with_the_lock),
        cmocka_unit_test(test_lockfile_existing_is_read_and_never_made_or_written),
        cmocka_unit_test(test_lockfile_distrust_survives_its_process_and_ends_with_trust),
        cmocka_unit_test(test_lockfile_distrust_without_a_free_slot_holds_for_all),
        cmocka_unit_test(test_lockfile_without_permission_says_so),
        cmocka_unit_test(test_lockfile_follows_its_folder_not_the_working_directory),
        cmocka_unit_test(test_lockfile_survives_every_failed_allocation),
    };
    test_alloc_install();
    return cmocka_run_group_tests(tests, NULL, NULL);
}
