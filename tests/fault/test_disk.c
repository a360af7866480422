/* tests/fault/test_disk.c: the disk fails while a program runs: full, unreadable, gone, locked. Requests go on to their
 * handlers, one event says what is lost, nothing that was invalidated comes back, and it heals by itself. */
#include "driver.h"

#include "child.h"
#include "fault_vfs.h"

#include <fcntl.h>
#include <sqlite3.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <unistd.h>

#define LOCK_TIMEOUT_MS 300
#define SLACK_MS 1500 /* what a busy machine may add */

static int setup(void **state)
{
    (void)state;
    fault_vfs_reset();
    return 0;
}

static int teardown(void **state)
{
    (void)state;
    fault_vfs_reset();
    return 0;
}

static void start(driver *d, const char *path)
{
    driver_init(d, path);
    d->options.lock_timeout_ms = LOCK_TIMEOUT_MS;
    d->options.commit_interval_ms = 1;
    d->options.metrics_interval_ms = 50;
    assert_int_equal(driver_open(d), LARDER_OK);
}

/* Stands for "another process" or "after a restart": what the file says, without the first one's memory. */
static driver_answer look(const char *path, unsigned key)
{
    driver d;
    driver_init(&d, path);
    d.options.memory_bytes = 0;
    d.refuse = 1;
    if (driver_open(&d) != LARDER_OK) {
        fail_msg("%s", d.error.message);
    }
    driver_answer a = driver_send(&d, key, LARDER_CACHE_DEFAULT);
    driver_close(&d);
    return a;
}

static void expect(driver_answer a, larder_source source, long generation)
{
    assert_int_equal(a.status, LARDER_OK);
    assert_int_equal(a.times, 1);
    assert_int_equal(a.success, 1);
    assert_int_equal(a.source, source);
    assert_int_equal(a.generation, generation);
    assert_int_equal(a.whole, 1);
}

/* Turns the loop until *count is at least `wanted`. */
static void wait_for(driver *d, const int *count, int wanted)
{
    for (int i = 0; i < 200 && *count < wanted; i++) {
        driver_turn(d, 50);
    }
    assert_true(*count >= wanted);
}

static int flush_within_time(driver *d)
{
    uint64_t begun = uv_hrtime();
    int status = driver_flush(d);
    uint64_t took_ms = (uv_hrtime() - begun) / 1000000;
    assert_true(took_ms <= LOCK_TIMEOUT_MS + SLACK_MS);
    return status;
}

/* Flushes until it succeeds: what is broken heals at the writer's next try, at most some seconds later. */
static void flush_heals(driver *d)
{
    int status = driver_flush(d);
    for (int i = 0; i < 200 && status != LARDER_OK; i++) {
        driver_turn(d, 50);
        status = driver_flush(d);
    }
    assert_string_equal(larder_status_name(status), "LARDER_OK");
}

/* ---- full ---- */

/* Nothing more can be written, not even over what is there (a file that was started over has room left inside). */
static void disk_is_full(int full)
{
    fault_vfs_fail(FAULT_WRITE, full ? 1 : 0, 1, SQLITE_FULL);
}

static void test_disk_full_requests_go_on_and_it_heals(void **state)
{
    (void)state;
    const char *path = test_path("a.larder");
    driver d;
    start(&d, path);
    driver_send(&d, 0, LARDER_CACHE_DEFAULT);
    assert_int_equal(driver_flush(&d), LARDER_OK);
    disk_is_full(1);
    for (unsigned key = 1; key < 30; key++) {
        expect(driver_send(&d, key, LARDER_CACHE_DEFAULT), LARDER_SOURCE_HANDLER, 1);
        expect(driver_send(&d, key, LARDER_CACHE_DEFAULT), LARDER_SOURCE_MEMORY, 1); /* memory holds it still */
    }
    assert_string_equal(larder_status_name(flush_within_time(&d)), "LARDER_EFULL");
    wait_for(&d, &d.degraded, 1);
    assert_int_equal(d.degraded_status, LARDER_EFULL);
    assert_non_null(strstr(d.degraded_message, path));
    expect(driver_send(&d, 30, LARDER_CACHE_DEFAULT), LARDER_SOURCE_HANDLER, 1);
    assert_string_equal(larder_status_name(flush_within_time(&d)), "LARDER_EFULL");
    driver_turn(&d, 300);
    assert_int_equal(d.degraded, 1); /* once, not at each try */
    assert_int_equal(d.recovered, 0);
    disk_is_full(0);
    wait_for(&d, &d.recovered, 1);
    flush_heals(&d);
    assert_int_equal(d.recovered, 1);
    expect(driver_send(&d, 50, LARDER_CACHE_DEFAULT), LARDER_SOURCE_HANDLER, 1);
    assert_int_equal(driver_flush(&d), LARDER_OK);
    larder_metrics metrics = {.size = sizeof metrics};
    assert_int_equal(larder_get_metrics(d.l, &metrics), LARDER_OK);
    assert_true(metrics.store_errors > 0);
    assert_int_equal(metrics.not_stored, 30);
    assert_int_equal(d.recovered_count + d.not_stored_count, 30);
    assert_int_equal(driver_close(&d).status, LARDER_OK);
    expect(look(path, 0), LARDER_SOURCE_DISK, 1);
    expect(look(path, 50), LARDER_SOURCE_DISK, 1);
    assert_int_equal(look(path, 7).success, 0);
    assert_string_equal(driver_integrity(path), "ok");
}

/* Space runs out little by little: what is small may still fit where what was large did not. A flush that says OK tells
 * the truth about all that was answered before it. */
static void test_disk_fills_up_flush_never_claims_what_is_not_there(void **state)
{
    (void)state;
    const char *path = test_path("a.larder");
    test_random random = {test_random_seed("disk fills up")};
    driver d;
    start(&d, path);
    fault_vfs_space(700000);
    int failed = 0;
    for (unsigned round = 0; round < 40; round++) {
        d.pad = test_random_below(&random, 3) == 0 ? 60000 : 100;
        for (unsigned key = 10 * round; key < 10 * round + 5; key++) {
            expect(driver_send(&d, key, LARDER_CACHE_DEFAULT), LARDER_SOURCE_HANDLER, 1);
        }
        int status = flush_within_time(&d);
        failed += status != LARDER_OK;
        assert_true(status == LARDER_OK || status == LARDER_EFULL);
        if (status == LARDER_OK && round % 4 == 0) {
            fault_vfs_space(-1); /* looking must not fail for lack of space */
            for (unsigned key = 10 * round; key < 10 * round + 5; key++) {
                expect(look(path, key), LARDER_SOURCE_DISK, 1);
            }
            fault_vfs_space(round < 8 ? 200000 : 0);
        }
    }
    assert_true(failed > 0);
    fault_vfs_space(-1);
    flush_heals(&d);
    d.pad = 60000;
    expect(driver_send(&d, 5000, LARDER_CACHE_DEFAULT), LARDER_SOURCE_HANDLER, 1);
    assert_int_equal(driver_flush(&d), LARDER_OK);
    assert_int_equal(driver_close(&d).status, LARDER_OK);
    expect(look(path, 5000), LARDER_SOURCE_DISK, 1);
    assert_string_equal(driver_integrity(path), "ok");
}

typedef struct committed {
    int times;
    int status;
} committed;

static void on_committed(int status, void *user_data)
{
    committed *c = user_data;
    c->times++;
    c->status = status;
}

/* The invalidation cannot be committed: neither this process nor the next serves the old answer. */
static void invalidate_on_a_full_disk(int heal)
{
    const char *path = test_path("a.larder");
    driver d;
    start(&d, path);
    for (unsigned key = 0; key < 10; key++) {
        driver_send(&d, key, LARDER_CACHE_DEFAULT);
    }
    assert_int_equal(driver_flush(&d), LARDER_OK);
    disk_is_full(1);
    committed done = {0, 0};
    assert_int_equal(larder_invalidate(d.l, "kv", "[3]", LARDER_NUL, NULL, on_committed, &done, NULL), LARDER_OK);
    d.refuse = 1;
    assert_int_equal(driver_send(&d, 3, LARDER_CACHE_DEFAULT).success, 0);
    assert_string_equal(larder_status_name(flush_within_time(&d)), "LARDER_EFULL");
    wait_for(&d, &d.degraded, 1);
    assert_int_equal(driver_send(&d, 3, LARDER_CACHE_DEFAULT).success, 0);
    assert_int_equal(done.times, 0);
    if (heal) {
        disk_is_full(0);
        wait_for(&d, &done.times, 1);
        assert_int_equal(done.status, LARDER_OK);
        wait_for(&d, &d.recovered, 1);
        assert_int_equal(driver_send(&d, 3, LARDER_CACHE_DEFAULT).success, 0);
        expect(driver_send(&d, 4, LARDER_CACHE_DEFAULT), LARDER_SOURCE_MEMORY, 1);
        assert_int_equal(driver_close(&d).status, LARDER_OK);
    } else {
        larder_close_report report = driver_close(&d);
        assert_string_equal(larder_status_name(report.status), "LARDER_EFULL");
        assert_int_equal(done.times, 1);
        assert_int_equal(done.status, LARDER_EFULL);
        disk_is_full(0);
    }
    assert_int_equal(look(path, 3).success, 0);
    assert_string_equal(driver_integrity(path), "ok");
}

static void test_disk_full_an_invalidation_holds_and_is_committed_when_it_heals(void **state)
{
    (void)state;
    invalidate_on_a_full_disk(1);
}

static void test_disk_full_an_invalidation_holds_although_it_was_never_committed(void **state)
{
    (void)state;
    invalidate_on_a_full_disk(0);
}

/* The new answer for a key is given up with the group that failed; the old one, whose invalidation still waits, lies in
 * the file. Without a memory tier nothing stands before it. */
static void test_disk_full_an_old_answer_does_not_come_back_when_the_new_one_is_given_up(void **state)
{
    (void)state;
    const char *path = test_path("a.larder");
    driver d;
    driver_init(&d, path);
    d.options.memory_bytes = 0;
    d.options.lock_timeout_ms = LOCK_TIMEOUT_MS;
    d.options.commit_interval_ms = 1000;
    assert_int_equal(driver_open(&d), LARDER_OK);
    driver_send(&d, 3, LARDER_CACHE_DEFAULT);
    assert_int_equal(driver_flush(&d), LARDER_OK);
    disk_is_full(1);
    committed done = {0, 0};
    d.generation = 2;
    /* Both in one turn of the loop, so that they come to the writer in one group. */
    assert_int_equal(larder_invalidate(d.l, "kv", "[3]", LARDER_NUL, NULL, on_committed, &done, NULL), LARDER_OK);
    expect(driver_send(&d, 3, LARDER_CACHE_DEFAULT), LARDER_SOURCE_HANDLER, 2);
    assert_string_equal(larder_status_name(flush_within_time(&d)), "LARDER_EFULL");
    for (int i = 0; i < 10; i++) {
        driver_answer a = driver_send(&d, 3, LARDER_CACHE_DEFAULT);
        assert_int_equal(a.success, 1);
        assert_int_equal(a.generation, 2);
        driver_turn(&d, 20);
    }
    assert_int_equal(done.times, 0);
    disk_is_full(0);
    wait_for(&d, &done.times, 1);
    flush_heals(&d);
    assert_int_equal(driver_close(&d).status, LARDER_OK);
    assert_int_not_equal(look(path, 3).generation, 1);
}

/* ---- the same, but the program is killed with the invalidation in its hands ---- */

static int child_invalidate(const char *path, int known_to_be_full)
{
    fault_vfs_install();
    driver d;
    start(&d, path);
    disk_is_full(1);
    committed done = {0, 0};
    if (known_to_be_full) {
        driver_send(&d, 2, LARDER_CACHE_DEFAULT);
        wait_for(&d, &d.degraded, 1);
        driver_turn(&d, 2000); /* by now the writer pauses for seconds between its tries */
    }
    if (larder_invalidate_channel(d.l, "kv", on_committed, &done, NULL) != LARDER_OK) {
        return 1;
    }
    if (known_to_be_full) {
        driver_turn(&d, 20);
    } else {
        wait_for(&d, &d.degraded, 1);
    }
    child_say("held\n");
    child_wait_for_parent();
    return 0;
}

static void kill_with_an_invalidation(const char *how)
{
    const char *path = test_path("a.larder");
    driver d;
    start(&d, path);
    driver_send(&d, 1, LARDER_CACHE_DEFAULT);
    assert_int_equal(driver_close(&d).status, LARDER_OK);
    expect(look(path, 1), LARDER_SOURCE_DISK, 1);
    child c;
    const char *args[] = {"--child", how, path, NULL};
    child_start(&c, args);
    assert_int_equal(child_read(&c, "held", 30000000), 1);
    child_kill(&c);
    child_wait(&c);
    child_release(&c);
    assert_int_equal(look(path, 1).success, 0);
}

static void test_disk_full_and_killed_the_next_open_distrusts_the_file(void **state)
{
    (void)state;
    kill_with_an_invalidation("invalidate");
}

static void test_disk_known_to_be_full_and_killed_the_next_open_distrusts_the_file(void **state)
{
    (void)state;
    kill_with_an_invalidation("invalidate-later");
}

/* ---- failing reads and writes ---- */

static void test_failing_reads_are_misses(void **state)
{
    (void)state;
    const char *path = test_path("a.larder");
    driver d;
    start(&d, path);
    d.pad = 30000;
    for (unsigned key = 0; key < 20; key++) {
        driver_send(&d, key, LARDER_CACHE_DEFAULT);
    }
    assert_int_equal(driver_close(&d).status, LARDER_OK);
    start(&d, path);
    d.generation = 2;
    fault_vfs_fail(FAULT_READ, 1, 1, SQLITE_IOERR_READ);
    for (unsigned key = 0; key < 10; key++) {
        expect(driver_send(&d, key, LARDER_CACHE_DEFAULT), LARDER_SOURCE_HANDLER, 2);
    }
    assert_true(fault_vfs_failed() > 0);
    wait_for(&d, &d.degraded, 1);
    assert_int_equal(d.degraded, 1);
    assert_string_equal(larder_status_name(d.degraded_status), "LARDER_EIO");
    fault_vfs_fail(FAULT_READ, 0, 0, 0);
    for (int i = 0; i < 200 && d.recovered == 0; i++) { /* whether the file can be read is seen by reading */
        driver_turn(&d, 20);
        driver_send(&d, 1000, LARDER_CACHE_DEFAULT);
    }
    assert_int_equal(d.recovered, 1);
    flush_heals(&d);
    d.pad = 30000;
    expect(driver_send(&d, 15, LARDER_CACHE_DEFAULT), LARDER_SOURCE_DISK, 1);
    assert_int_equal(driver_close(&d).status, LARDER_OK);
    assert_string_equal(driver_integrity(path), "ok");
}

/* Each operation on the file fails once, at each place of a small life. */
static void one_failure(fault_op op, int code, const char *name)
{
    const char *folder = test_dir();
    unsigned long hurt = 0;
    for (unsigned long nth = 1; nth <= 150; nth++) {
        char path[4200];
        snprintf(path, sizeof path, "%s/%lu.larder", folder, nth);
        driver d;
        driver_init(&d, path);
        d.options.lock_timeout_ms = LOCK_TIMEOUT_MS;
        d.options.commit_interval_ms = 1;
        d.pad = 6000;
        fault_vfs_fail(op, nth, 0, code);
        int status = driver_open(&d);
        int cleared = 0;
        if (status == LARDER_OK) {
            for (unsigned key = 0; key < 8; key++) {
                expect(driver_send(&d, key, LARDER_CACHE_DEFAULT), LARDER_SOURCE_HANDLER, 1);
                (void)driver_flush(&d);
            }
            d.generation = 2;
            cleared = driver_invalidate(&d, 3) == LARDER_OK;
            assert_int_equal(cleared, 1);
            d.refuse = 1;
            assert_int_equal(driver_send(&d, 3, LARDER_CACHE_DEFAULT).success, 0);
        } else {
            assert_true(d.error.message[0] != '\0');
        }
        driver_close(&d);
        unsigned long failed = fault_vfs_failed();
        fault_vfs_reset();
        if (failed == 0) {
            break;
        }
        hurt++;
        assert_int_equal(look(path, 3).success, 0); /* also: it opens */
        assert_string_equal(driver_integrity(path), "ok");
    }
    print_message("  %s: failed once at each of %lu places\n", name, hurt);
    assert_true(hurt > 0);
}

static void test_each_write_fails_once(void **state)
{
    (void)state;
    one_failure(FAULT_WRITE, SQLITE_IOERR_WRITE, "write");
}

static void test_each_write_meets_a_full_disk_once(void **state)
{
    (void)state;
    one_failure(FAULT_WRITE, SQLITE_FULL, "write on a full disk");
}

static void test_each_read_fails_once(void **state)
{
    (void)state;
    one_failure(FAULT_READ, SQLITE_IOERR_READ, "read");
}

static void test_each_sync_fails_once(void **state)
{
    (void)state;
    one_failure(FAULT_SYNC, SQLITE_IOERR_FSYNC, "sync");
}

static void test_each_open_fails_once(void **state)
{
    (void)state;
    one_failure(FAULT_OPEN, SQLITE_CANTOPEN, "open");
}

/* ---- gone ---- */

static void unlink_all(const char *path)
{
    const char *suffixes[] = {"", "-wal", "-shm"};
    for (size_t i = 0; i < sizeof suffixes / sizeof suffixes[0]; i++) {
        char name[4200];
        snprintf(name, sizeof name, "%s%s", path, suffixes[i]);
        unlink(name);
    }
}

static void file_goes_away(void (*act)(const char *path), int expect_event)
{
    const char *path = test_path("a.larder");
    driver d;
    start(&d, path);
    for (unsigned key = 0; key < 10; key++) {
        driver_send(&d, key, LARDER_CACHE_DEFAULT);
    }
    assert_int_equal(driver_flush(&d), LARDER_OK);
    act(path);
    d.generation = 2;
    for (unsigned key = 20; key < 30; key++) {
        expect(driver_send(&d, key, LARDER_CACHE_DEFAULT), LARDER_SOURCE_HANDLER, 2);
    }
    if (driver_flush(&d) == LARDER_OK) { /* it may say that it could not, but not that it did */
        expect(look(path, 25), LARDER_SOURCE_DISK, 2);
    }
    flush_heals(&d);
    if (expect_event) {
        wait_for(&d, &d.degraded, 1);
        print_message("  degraded: %s\n", d.degraded_message);
        wait_for(&d, &d.recovered, 1);
    }
    for (unsigned key = 40; key < 50; key++) {
        expect(driver_send(&d, key, LARDER_CACHE_DEFAULT), LARDER_SOURCE_HANDLER, 2);
    }
    assert_int_equal(driver_flush(&d), LARDER_OK);
    assert_int_equal(driver_close(&d).status, LARDER_OK);
    expect(look(path, 45), LARDER_SOURCE_DISK, 2);
    assert_string_equal(driver_integrity(path), "ok");
}

static void test_a_deleted_file_is_made_anew(void **state)
{
    (void)state;
    file_goes_away(unlink_all, 1);
}

static void unlink_database(const char *path)
{
    unlink(path);
}

static void test_a_file_deleted_without_its_wal_is_made_anew(void **state)
{
    (void)state;
    file_goes_away(unlink_database, 1);
}

static char *other_file;

static void replace(const char *path)
{
    unlink_all(path);
    assert_int_equal(rename(other_file, path), 0);
}

static void test_a_replaced_file_is_opened(void **state)
{
    (void)state;
    const char *other = test_path("other.larder");
    driver d;
    start(&d, other);
    d.generation = 7;
    driver_send(&d, 77, LARDER_CACHE_DEFAULT);
    assert_int_equal(driver_close(&d).status, LARDER_OK);
    other_file = strdup(other);
    file_goes_away(replace, 1);
    free(other_file);
}

static void unlink_lock(const char *path)
{
    char name[4200];
    snprintf(name, sizeof name, "%s-lock", path);
    assert_int_equal(unlink(name), 0);
}

static void test_a_deleted_lock_file_is_made_anew(void **state)
{
    (void)state;
    file_goes_away(unlink_lock, 0);
}

/* Somebody puts what is not ours in its place: it is left alone, requests go on. */
static void put_garbage(const char *path)
{
    unlink_all(path);
    FILE *file = fopen(path, "wb");
    assert_non_null(file);
    assert_true(fputs("this is somebody's text\n", file) >= 0);
    fclose(file);
}

static void test_a_file_replaced_by_somebody_elses_is_left_alone(void **state)
{
    (void)state;
    const char *path = test_path("a.larder");
    driver d;
    start(&d, path);
    driver_send(&d, 1, LARDER_CACHE_DEFAULT);
    assert_int_equal(driver_flush(&d), LARDER_OK);
    put_garbage(path);
    for (unsigned key = 20; key < 30; key++) {
        expect(driver_send(&d, key, LARDER_CACHE_DEFAULT), LARDER_SOURCE_HANDLER, 1);
    }
    assert_int_not_equal(flush_within_time(&d), LARDER_OK);
    wait_for(&d, &d.degraded, 1);
    print_message("  degraded: %s\n", d.degraded_message);
    expect(driver_send(&d, 31, LARDER_CACHE_DEFAULT), LARDER_SOURCE_HANDLER, 1);
    assert_int_not_equal(driver_close(&d).status, LARDER_OK);
    char *text = NULL;
    assert_int_equal(test_shell(&text, "cat '%s'", path), 0);
    assert_string_equal(text, "this is somebody's text\n");
    free(text);
}

/* ---- locked ---- */

static int child_lock(const char *path)
{
    char name[4200];
    snprintf(name, sizeof name, "%s-lock", path);
    int fd = open(name, O_RDWR | O_CLOEXEC);
    if (fd < 0 || flock(fd, LOCK_EX) != 0) {
        return 1;
    }
    child_say("locked\n");
    child_wait_for_parent();
    return 0;
}

static void test_a_lock_held_by_another_process_delays_only_what_is_written(void **state)
{
    (void)state;
    const char *path = test_path("a.larder");
    driver d;
    start(&d, path);
    driver_send(&d, 1, LARDER_CACHE_DEFAULT);
    assert_int_equal(driver_flush(&d), LARDER_OK);
    child c;
    const char *args[] = {"--child", "lock", path, NULL};
    child_start(&c, args);
    assert_int_equal(child_read(&c, "locked", 20000000), 1);
    uint64_t begun = uv_hrtime();
    for (unsigned key = 10; key < 30; key++) {
        expect(driver_send(&d, key, LARDER_CACHE_DEFAULT), LARDER_SOURCE_HANDLER, 1);
    }
    assert_true((uv_hrtime() - begun) / 1000000 < SLACK_MS); /* no request waits for the lock */
    assert_string_equal(larder_status_name(flush_within_time(&d)), "LARDER_ELOCKED");
    committed done = {0, 0};
    assert_int_equal(larder_invalidate(d.l, "kv", "[1]", LARDER_NUL, NULL, on_committed, &done, NULL), LARDER_OK);
    d.generation = 2;
    expect(driver_send(&d, 1, LARDER_CACHE_DEFAULT), LARDER_SOURCE_HANDLER, 2);
    assert_int_equal(done.times, 0);
    driver other;
    driver_init(&other, path);
    other.options.lock_timeout_ms = LOCK_TIMEOUT_MS;
    begun = uv_hrtime();
    assert_string_equal(larder_status_name(driver_open(&other)), "LARDER_ELOCKED");
    assert_true((uv_hrtime() - begun) / 1000000 < LOCK_TIMEOUT_MS + SLACK_MS);
    driver_close(&other);
    child_kill(&c);
    child_wait(&c);
    child_release(&c);
    wait_for(&d, &done.times, 1);
    assert_int_equal(done.status, LARDER_OK);
    flush_heals(&d);
    assert_int_equal(driver_close(&d).status, LARDER_OK);
    expect(look(path, 1), LARDER_SOURCE_DISK, 2);
    expect(look(path, 20), LARDER_SOURCE_DISK, 1);
}

/* ---- the queue ---- */

static void test_queue_full_answers_stay_in_memory_and_invalidations_are_kept(void **state)
{
    (void)state;
    const char *path = test_path("a.larder");
    driver d;
    driver_init(&d, path);
    d.options.lock_timeout_ms = LOCK_TIMEOUT_MS;
    d.options.queue_bytes = 200000;
    assert_int_equal(driver_open(&d), LARDER_OK);
    driver_send(&d, 100, LARDER_CACHE_DEFAULT);
    assert_int_equal(driver_flush(&d), LARDER_OK);
    child c;
    const char *args[] = {"--child", "lock", path, NULL};
    child_start(&c, args);
    assert_int_equal(child_read(&c, "locked", 20000000), 1);
    d.pad = 20000;
    for (unsigned key = 0; key < 40; key++) {
        expect(driver_send(&d, key, LARDER_CACHE_DEFAULT), LARDER_SOURCE_HANDLER, 1);
        expect(driver_send(&d, key, LARDER_CACHE_DEFAULT), LARDER_SOURCE_MEMORY, 1);
    }
    enum { CLEARS = 5000 };
    committed done = {0, 0};
    for (int i = 0; i < CLEARS; i++) {
        char args_json[32];
        snprintf(args_json, sizeof args_json, "[%d]", 100 + i);
        assert_int_equal(larder_invalidate(d.l, "kv", args_json, LARDER_NUL, NULL, on_committed, &done, NULL),
                         LARDER_OK);
    }
    larder_metrics metrics = {.size = sizeof metrics};
    driver_turn(&d, 50);
    assert_int_equal(larder_get_metrics(d.l, &metrics), LARDER_OK);
    assert_true(metrics.not_stored >= 20);
    assert_true(metrics.queued_bytes < 2000000);
    child_kill(&c);
    child_wait(&c);
    child_release(&c);
    wait_for(&d, &done.times, CLEARS);
    assert_int_equal(done.status, LARDER_OK);
    flush_heals(&d);
    for (int i = 0; i < 40 && d.not_stored_count + d.recovered_count < metrics.not_stored; i++) {
        driver_turn(&d, 50); /* such events come once a second */
        driver_send(&d, 0, LARDER_CACHE_DEFAULT);
    }
    assert_int_equal(d.not_stored_count + d.recovered_count, metrics.not_stored);
    assert_int_equal(driver_close(&d).status, LARDER_OK);
    assert_int_equal(look(path, 100).success, 0);
    assert_string_equal(driver_integrity(path), "ok");
}

int main(int argc, char **argv)
{
    if (argc == 4 && strcmp(argv[1], "--child") == 0) {
        return strcmp(argv[2], "lock") == 0 ? child_lock(argv[3])
                                            : child_invalidate(argv[3], strcmp(argv[2], "invalidate-later") == 0);
    }
    fault_vfs_install();
#define TEST(name) cmocka_unit_test_setup_teardown(name, setup, teardown)
    const struct CMUnitTest tests[] = {
        TEST(test_disk_full_requests_go_on_and_it_heals),
        TEST(test_disk_fills_up_flush_never_claims_what_is_not_there),
        TEST(test_disk_full_an_invalidation_holds_and_is_committed_when_it_heals),
        TEST(test_disk_full_an_invalidation_holds_although_it_was_never_committed),
        TEST(test_disk_full_an_old_answer_does_not_come_back_when_the_new_one_is_given_up),
        TEST(test_disk_full_and_killed_the_next_open_distrusts_the_file),
        TEST(test_disk_known_to_be_full_and_killed_the_next_open_distrusts_the_file),
        TEST(test_failing_reads_are_misses),
        TEST(test_each_write_fails_once),
        TEST(test_each_write_meets_a_full_disk_once),
        TEST(test_each_read_fails_once),
        TEST(test_each_sync_fails_once),
        TEST(test_each_open_fails_once),
        TEST(test_a_deleted_file_is_made_anew),
        TEST(test_a_file_deleted_without_its_wal_is_made_anew),
        TEST(test_a_replaced_file_is_opened),
        TEST(test_a_deleted_lock_file_is_made_anew),
        TEST(test_a_file_replaced_by_somebody_elses_is_left_alone),
        TEST(test_a_lock_held_by_another_process_delays_only_what_is_written),
        TEST(test_queue_full_answers_stay_in_memory_and_invalidations_are_kept),
    };
    cmocka_set_test_filter(argc == 2 ? argv[1] : NULL); /* a pattern with * and ? */
    return cmocka_run_group_tests(tests, NULL, NULL);
}
