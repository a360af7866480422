/* The store when its file goes away, its lock is taken, its memory ends. */
#include "store_loop.h"

/* The writer opens the new file as soon as the loop has let go of the old one. */
static void flush_heals(fixture *f)
{
    int status = flush(f);
    for (int tries = 0; tries < 1000 && status == LARDER_EMOVED; tries++) {
        status = flush(f);
    }
    assert_string_equal(larder_status_name(status), "LARDER_OK");
}

static void test_a_deleted_file_is_made_anew_and_what_was_in_it_is_forgotten(void **state)
{
    (void)state;
    const char *path = test_path("a.larder");
    fixture f;
    open_store(&f, path, NULL);
    put(&f, "c", 1, "1");
    assert_int_equal(flush(&f), LARDER_OK);
    assert_int_equal(test_shell(NULL, "rm -f '%s' '%s-wal' '%s-shm' '%s-lock'", path, path, path, path), 0);
    put(&f, "c", 2, "2");
    assert_int_equal(flush(&f), LARDER_EMOVED);
    flush_heals(&f);
    assert_int_equal(f.degraded, 1);
    assert_int_equal(f.recovered, 1);
    assert_int_equal(f.lost, 1);
    assert_null(get(&f, "c", 1));
    assert_null(get(&f, "c", 2)); /* it was on its way to the file that is gone, and the flush said so */
    assert_int_equal(put(&f, "c", 3, "3"), LARDER_OK);
    assert_int_equal(flush(&f), LARDER_OK);
    assert_string_equal(get(&f, "c", 3), "3");
    assert_shell(path, "SELECT group_concat(value) FROM entries", "3");
    fixture other;
    open_store(&other, path, NULL);
    assert_string_equal(get(&other, "c", 3), "3");
    invalidate(&other, LARDER__INVALIDATE_KEY, "c", 3);
    assert_int_equal(flush(&other), LARDER_OK);
    assert_null(get(&f, "c", 3));
    close_store(&other);
    close_store(&f);
}

/* A lock of SQLite's on the -shm file at this path, seen from outside. */
static int shm_is_locked(const char *path)
{
    char *out;
    int status = test_shell(&out, "grep -c \"POSIX .*:$(stat -c %%i '%s-shm') 128 128\" /proc/locks", path);
    free(out);
    return status == 0;
}

/* The -shm that is left behind serves the new file too: closing the old connections must not drop the new one's locks.
 */
static void test_a_file_deleted_alone_leaves_sqlites_locks_whole(void **state)
{
    (void)state;
    const char *path = test_path("a.larder");
    fixture f;
    open_store(&f, path, NULL);
    put(&f, "c", 1, "1");
    assert_int_equal(flush(&f), LARDER_OK);
    assert_true(shm_is_locked(path));
    assert_int_equal(unlink(path), 0);
    put(&f, "c", 2, "2");
    assert_int_equal(flush(&f), LARDER_EMOVED);
    flush_heals(&f);
    assert_int_equal(put(&f, "c", 3, "3"), LARDER_OK);
    assert_int_equal(flush(&f), LARDER_OK);
    assert_string_equal(get(&f, "c", 3), "3");
    assert_true(shm_is_locked(path));
    close_store(&f);
}

static void test_a_lock_that_stays_fails_the_flush_in_time_and_heals(void **state)
{
    (void)state;
    larder__store_options brief = {.lock_timeout_ms = 50};
    const char *path = test_path("a.larder");
    fixture f;
    open_store(&f, path, &brief);
    larder__lockfile *lock;
    assert_int_equal(larder__lockfile_open(&lock, path, NULL), LARDER_OK);
    assert_int_equal(larder__lockfile_try(lock), 1);
    put(&f, "c", 1, "1");
    assert_int_equal(flush(&f), LARDER_ELOCKED);
    assert_int_equal(f.degraded, 1);
    assert_string_equal(get(&f, "c", 1), "1"); /* it waits in the overlay */
    invalidate(&f, LARDER__INVALIDATE_KEY, "c", 2);
    larder__lockfile_unlock(lock);
    larder__lockfile_close(lock);
    assert_int_equal(flush(&f), LARDER_OK);
    assert_int_equal(f.recovered, 1);
    assert_shell(path, "SELECT count(*) FROM entries", "1");
    close_store(&f);
}

static void test_an_invalidation_that_was_never_committed_is_distrusted_at_the_next_open(void **state)
{
    (void)state;
    larder__store_options brief = {.lock_timeout_ms = 30};
    const char *path = test_path("a.larder");
    fixture f;
    open_store(&f, path, &brief);
    put(&f, "c", 1, "1");
    put(&f, "c", 2, "1");
    assert_int_equal(flush(&f), LARDER_OK);
    larder__lockfile *lock;
    assert_int_equal(larder__lockfile_open(&lock, path, NULL), LARDER_OK);
    assert_int_equal(larder__lockfile_try(lock), 1);
    invalidate(&f, LARDER__INVALIDATE_KEY, "c", 1);
    assert_int_equal(flush(&f), LARDER_ELOCKED);
    assert_null(get(&f, "c", 1));
    close_store(&f); /* gives up: the invalidation is lost, the slot in the lock file stays */
    assert_int_equal(f.stop_status, LARDER_ELOCKED);
    larder__lockfile_unlock(lock);
    larder__lockfile_close(lock);
    open_store(&f, path, NULL);
    assert_null(get(&f, "c", 1));
    assert_null(get(&f, "c", 2));
    put(&f, "c", 3, "1");
    close_store(&f);
    open_store(&f, path, NULL);
    assert_non_null(get(&f, "c", 3)); /* once is enough */
    close_store(&f);
}

static void test_an_invalidation_needs_no_memory_it_widens(void **state)
{
    (void)state;
    const char *path = test_path("a.larder");
    fixture f;
    open_store(&f, path, NULL);
    put(&f, "c", 1, "1");
    put(&f, "d", 2, "1");
    assert_int_equal(flush(&f), LARDER_OK);
    uint8_t key[LARDER_KEY_SIZE];
    make_key(key, 1);
    larder__channel *c = channel(&f, "c");
    for (int i = 0; i < 5; i++) {
        test_alloc_fail_at(1, 1);
        assert_int_equal(larder__store_invalidate(f.store, LARDER__INVALIDATE_KEY, c, key, NULL, NULL), LARDER_OK);
        int unused = 0;
        assert_int_equal(larder__store_invalidate(f.store, LARDER__INVALIDATE_KEY, c, key, on_status, &unused),
                         LARDER_ENOMEM);
        test_alloc_fail_at(0, 0);
        assert_null(get(&f, "c", 1));
        assert_null(get(&f, "d", 2));
        assert_int_equal(put(&f, "c", 3, "3"), LARDER_OK);
        assert_string_equal(get(&f, "c", 3), "3");
    }
    assert_int_equal(flush(&f), LARDER_OK);
    assert_int_equal(flush(&f), LARDER_OK); /* one that was sent again has come back too */
    assert_int_equal(put(&f, "c", 4, "4"), LARDER_OK);
    assert_int_equal(flush(&f), LARDER_OK);
    assert_string_equal(get(&f, "c", 4), "4");
    close_store(&f);
    open_store(&f, path, NULL);
    assert_null(get(&f, "d", 2));
    assert_string_equal(get(&f, "c", 4), "4");
    close_store(&f);
}

static void test_a_store_without_a_file_keeps_nothing_and_answers_all(void **state)
{
    (void)state;
    fixture f;
    open_store(&f, NULL, NULL);
    assert_int_equal(put(&f, "c", 1, "1"), LARDER_EOVERLOADED);
    assert_null(get(&f, "c", 1));
    int done = 0;
    uint8_t key[LARDER_KEY_SIZE];
    make_key(key, 1);
    assert_int_equal(larder__store_invalidate(f.store, LARDER__INVALIDATE_KEY, NULL, key, on_status, &done), LARDER_OK);
    assert_int_equal(done, 0);
    test_run_until(&f.loop, &done);
    assert_int_equal(done, 1);
    assert_int_equal(flush(&f), LARDER_OK);
    larder__store_stats stats;
    larder__store_get_stats(f.store, &stats);
    assert_int_equal(stats.not_stored, 0);
    close_store(&f);
}

static void test_every_failed_allocation_leaves_no_leak_and_a_working_store(void **state)
{
    (void)state;
    const char *path = test_path("a.larder");
    unsigned long n = 1;
    for (int failed = 1; failed; n++) {
        long live = test_alloc_live();
        fixture f;
        test_alloc_fail_at(n, 0);
        int status = try_open(&f, path, NULL);
        if (status == LARDER_OK) {
            larder__channel *c = channel(&f, "c");
            if (c != NULL) {
                put(&f, "c", (uint32_t)n, "1");
                invalidate(&f, LARDER__INVALIDATE_CHANNEL, "c", 0);
            }
            int done = 0;
            if (larder__store_flush(f.store, on_status, &done) == LARDER_OK) {
                test_run_until(&f.loop, &done);
            }
        }
        failed = test_alloc_failed();
        test_alloc_fail_at(0, 0);
        if (status == LARDER_OK) {
            close_store(&f);
        } else {
            assert_true(failed);
            assert_int_equal(status, LARDER_ENOMEM);
            close_loop(&f);
        }
        assert_int_equal(test_alloc_live(), live);
    }
    assert_true(n > 10);
}

int main(void)
{
    test_alloc_install();
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_a_deleted_file_is_made_anew_and_what_was_in_it_is_forgotten),
        cmocka_unit_test(test_a_file_deleted_alone_leaves_sqlites_locks_whole),
        cmocka_unit_test(test_a_lock_that_stays_fails_the_flush_in_time_and_heals),
        cmocka_unit_test(test_an_invalidation_that_was_never_committed_is_distrusted_at_the_next_open),
        cmocka_unit_test(test_an_invalidation_needs_no_memory_it_widens),
        cmocka_unit_test(test_a_store_without_a_file_keeps_nothing_and_answers_all),
        cmocka_unit_test(test_every_failed_allocation_leaves_no_leak_and_a_working_store),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
