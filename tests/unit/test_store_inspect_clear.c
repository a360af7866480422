/* Clearing from outside, beside programs that go on; and all of inspect.h without memory. */
#include "inspect_fixture.h"

#include "sqlite_alloc.h"

#include <pthread.h>
#include <sched.h>
#include <time.h>

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
        db_assert_shell(p.path,
                        "SELECT ifnull(group_concat(k, ' '), '') FROM (SELECT substr(hex(key), 1, 4) AS k "
                        "FROM entries ORDER BY key)",
                        cases[i].left);
        db_assert_shell(p.path,
                        "SELECT ifnull(group_concat(l), '') FROM (SELECT kind || ' ' || ifnull(channel, '') || ' ' "
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
    int stop;  /* atomic */
    int turns; /* atomic */
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
        cmocka_unit_test(test_clear_of_everything_holds_for_running_programs_and_for_answers_to_come),
        cmocka_unit_test(test_clear_by_channel_and_prefix_removes_and_logs_what_it_covers),
        cmocka_unit_test(test_clear_counts_no_entry_that_was_invalidated_before),
        cmocka_unit_test(test_clear_of_many_gives_the_lock_up_between_slices_and_empties_the_wal),
        cmocka_unit_test(test_clear_needs_a_handle_for_writing),
        cmocka_unit_test(test_clear_on_a_file_that_was_replaced_is_moved),
        cmocka_unit_test(test_clear_that_meets_a_failing_disk_clears_all_or_nothing),
        cmocka_unit_test(test_clearing_a_cleanly_closed_file_leaves_no_wal),
        cmocka_unit_test(test_inspecting_survives_every_failed_allocation_of_ours),
        cmocka_unit_test(test_inspecting_survives_every_failed_allocation_of_sqlite),
    };
    test_alloc_install();
    sqlite_alloc_install();
    fault_vfs_install();
    faults_off();
    return cmocka_run_group_tests(tests, NULL, NULL);
}
