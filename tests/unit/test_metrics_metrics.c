/* Counters: what is counted is what the file and the snapshot say, whatever fails in between. */
#include "support.h"

#include "metrics/metrics.h"
#include "store_fixture.h"

#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/file.h>
#include <unistd.h>

typedef struct fixture {
    store_fixture s;
    larder__metrics *metrics;
    larder__channel_metrics *search;
    larder__channel_metrics *other;
    larder__channel_metrics *unknown;
} fixture;

static larder__channel_metrics *channel_metrics(fixture *f, const char *name)
{
    larder__channel *channel = name == NULL ? NULL : fixture_channel(&f->s, name);
    larder__channel_metrics *metrics = larder__metrics_channel(f->metrics, channel);
    assert_non_null(metrics);
    return metrics;
}

static void start(fixture *f)
{
    fixture_start(&f->s, test_path("m.larder"));
    assert_int_equal(larder__metrics_new(&f->metrics, f->s.store), LARDER_OK);
    f->search = channel_metrics(f, "db:search");
    f->other = channel_metrics(f, "db:other");
    f->unknown = channel_metrics(f, NULL);
}

static void stop(fixture *f)
{
    fixture_end(&f->s);
    larder__metrics_free(f->metrics);
    assert_int_equal(test_alloc_live(), 0);
}

static void respond(larder__channel_metrics *channel, larder_source source, int success, int missed, uint64_t time_ns)
{
    larder__measure measure = {source, success, missed, time_ns};
    larder__metrics_request(channel);
    larder__metrics_response(channel, &measure);
}

static void save(fixture *f)
{
    assert_int_equal(larder__metrics_save(f->metrics), LARDER_OK);
    assert_int_equal(fixture_flush(&f->s), LARDER_OK);
}

static int64_t total(const fixture *f, const char *channel, const char *column)
{
    char sql[300];
    snprintf(sql, sizeof sql,
             "SELECT %s FROM channel_totals t JOIN channels c ON c.id = t.channel_id WHERE c.name = '%s'", column,
             channel);
    return fixture_number(&f->s, sql);
}

static larder_metrics snapshot(const fixture *f)
{
    larder_metrics out;
    memset(&out, 0, sizeof out);
    larder__metrics_snapshot(f->metrics, &out);
    return out;
}

/* ---- counting ---- */

static void test_metrics_each_event_is_counted_in_its_column(void **state)
{
    (void)state;
    fixture f;
    start(&f);
    respond(f.search, LARDER_SOURCE_MEMORY, 1, 0, 1000);
    respond(f.search, LARDER_SOURCE_MEMORY, 1, 0, 2000);
    respond(f.search, LARDER_SOURCE_DISK, 1, 0, 5000);
    respond(f.search, LARDER_SOURCE_HANDLER, 1, 1, 70000);
    respond(f.search, LARDER_SOURCE_HANDLER, 1, 0, 80000);
    respond(f.search, LARDER_SOURCE_NONE, 0, 1, 90000);
    larder__metrics_handler_run(f.search, 60000);
    larder__metrics_handler_run(f.search, 75000);
    larder__metrics_late(f.search);
    larder__metrics_not_stored(f.search);
    save(&f);
    static const struct {
        const char *column;
        int64_t expected;
    } rows[] = {
        {"requests", 6},
        {"responses", 5},
        {"errors", 1},
        {"memory_hits", 2},
        {"disk_hits", 1},
        {"misses", 2},
        {"handler_runs", 2},
        {"late_answers", 1},
        {"not_stored", 1},
        {"response_time_us", 248},
        {"max_response_time_us", 90},
        {"handler_time_us", 135},
    };
    for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
        if (total(&f, "db:search", rows[i].column) != rows[i].expected) {
            fail_msg("%s is %lld", rows[i].column, (long long)total(&f, "db:search", rows[i].column));
        }
    }
    stop(&f);
}

static void test_metrics_snapshot_sums_over_channels_and_saves(void **state)
{
    (void)state;
    fixture f;
    start(&f);
    respond(f.search, LARDER_SOURCE_MEMORY, 1, 0, 1001);
    respond(f.other, LARDER_SOURCE_DISK, 1, 0, 2002);
    save(&f);
    respond(f.unknown, LARDER_SOURCE_NONE, 0, 0, 3003);
    respond(f.search, LARDER_SOURCE_HANDLER, 1, 1, 4004);
    larder__metrics_handler_run(f.search, 3000);
    larder__metrics_late(f.other);
    larder__metrics_not_stored(f.other);
    larder_metrics now = snapshot(&f);
    assert_int_equal(now.requests, 4);
    assert_int_equal(now.responses, 3);
    assert_int_equal(now.errors, 1);
    assert_int_equal(now.memory_hits, 1);
    assert_int_equal(now.disk_hits, 1);
    assert_int_equal(now.misses, 1);
    assert_int_equal(now.handler_runs, 1);
    assert_int_equal(now.late_answers, 1);
    assert_int_equal(now.not_stored, 1);
    assert_int_equal(now.response_time_ns, 10010);
    stop(&f);
}

static void test_metrics_unknown_channels_share_the_unnamed_row(void **state)
{
    (void)state;
    fixture f;
    start(&f);
    respond(f.unknown, LARDER_SOURCE_NONE, 0, 0, 1000);
    respond(f.unknown, LARDER_SOURCE_NONE, 0, 0, 1000);
    save(&f);
    assert_int_equal(total(&f, "", "errors"), 2);
    assert_int_equal(fixture_number(&f.s, "SELECT count(*) FROM channel_totals"), 1);
    stop(&f);
}

static void test_metrics_channel_that_is_asked_for_again_goes_on_with_its_counters(void **state)
{
    (void)state;
    fixture f;
    start(&f);
    assert_ptr_equal(channel_metrics(&f, "db:search"), f.search);
    assert_ptr_equal(channel_metrics(&f, NULL), f.unknown);
    assert_ptr_not_equal(f.search, f.other);
    stop(&f);
}

static void test_metrics_totals_add_up_over_restarts(void **state)
{
    (void)state;
    fixture f;
    start(&f);
    respond(f.search, LARDER_SOURCE_MEMORY, 1, 0, 9000);
    save(&f);
    fixture_stop_store(&f.s);
    larder__metrics_free(f.metrics);
    fixture_open(&f.s);
    assert_int_equal(larder__metrics_new(&f.metrics, f.s.store), LARDER_OK);
    respond(channel_metrics(&f, "db:search"), LARDER_SOURCE_MEMORY, 1, 0, 4000);
    save(&f);
    assert_int_equal(total(&f, "db:search", "requests"), 2);
    assert_int_equal(total(&f, "db:search", "response_time_us"), 13);
    assert_int_equal(total(&f, "db:search", "max_response_time_us"), 9);
    assert_int_equal(snapshot(&f).requests, 1);
    stop(&f);
}

/* ---- times ---- */

static void test_metrics_rounding_to_microseconds_loses_nothing_over_many_saves(void **state)
{
    (void)state;
    fixture f;
    start(&f);
    for (int i = 0; i < 10; i++) {
        respond(f.search, LARDER_SOURCE_MEMORY, 1, 0, 700);
        larder__metrics_handler_run(f.search, 1900);
        save(&f);
    }
    assert_int_equal(total(&f, "db:search", "response_time_us"), 7);
    assert_int_equal(total(&f, "db:search", "handler_time_us"), 19);
    stop(&f);
}

static void test_metrics_longest_time_is_the_largest_of_all_saves_and_never_below_the_average(void **state)
{
    (void)state;
    fixture f;
    start(&f);
    respond(f.search, LARDER_SOURCE_MEMORY, 1, 0, 4200);
    save(&f);
    assert_int_equal(total(&f, "db:search", "max_response_time_us"), 5);
    respond(f.search, LARDER_SOURCE_MEMORY, 1, 0, 3000);
    save(&f);
    assert_int_equal(total(&f, "db:search", "max_response_time_us"), 5);
    respond(f.search, LARDER_SOURCE_MEMORY, 1, 0, 7000);
    save(&f);
    assert_int_equal(total(&f, "db:search", "max_response_time_us"), 7);
    stop(&f);
}

/* ---- saving ---- */

static void test_metrics_channels_without_news_are_not_written(void **state)
{
    (void)state;
    fixture f;
    start(&f);
    larder__store_stats before;
    larder__store_stats after;
    respond(f.search, LARDER_SOURCE_MEMORY, 1, 0, 1000);
    save(&f);
    assert_int_equal(total(&f, "db:search", "requests"), 1);
    assert_int_equal(total(&f, "db:other", "requests"), -1);
    larder__store_get_stats(f.s.store, &before);
    assert_int_equal(larder__metrics_save(f.metrics), LARDER_OK); /* nothing new: nothing queued */
    larder__store_get_stats(f.s.store, &after);
    assert_int_equal(after.queued_bytes, before.queued_bytes);
    assert_int_equal(after.commits, before.commits);
    stop(&f);
}

static void test_metrics_save_during_a_save_is_made_when_that_has_ended(void **state)
{
    (void)state;
    fixture f;
    start(&f);
    respond(f.search, LARDER_SOURCE_MEMORY, 1, 0, 1000);
    assert_int_equal(larder__metrics_save(f.metrics), LARDER_OK);
    respond(f.search, LARDER_SOURCE_MEMORY, 1, 0, 1000);
    respond(f.other, LARDER_SOURCE_MEMORY, 1, 0, 1000);
    assert_int_equal(larder__metrics_save(f.metrics), LARDER_OK);
    assert_int_equal(f.search->unsaved.requests, 1);
    assert_int_equal(fixture_flush(&f.s), LARDER_OK); /* the first save came back: the second is queued */
    assert_int_equal(f.search->unsaved.requests, 0);
    assert_int_equal(fixture_flush(&f.s), LARDER_OK);
    assert_int_equal(total(&f, "db:search", "requests"), 2);
    assert_int_equal(total(&f, "db:other", "requests"), 1);
    stop(&f);
}

static void test_metrics_save_that_gets_no_memory_is_made_whole_by_the_next(void **state)
{
    (void)state;
    fixture f;
    start(&f);
    respond(f.search, LARDER_SOURCE_MEMORY, 1, 0, 8500);
    respond(f.other, LARDER_SOURCE_MEMORY, 1, 0, 1000);
    test_alloc_fail_at(1, 1);
    assert_int_equal(larder__metrics_save(f.metrics), LARDER_ENOMEM);
    test_alloc_fail_at(0, 0);
    respond(f.search, LARDER_SOURCE_MEMORY, 1, 0, 2500);
    save(&f);
    assert_int_equal(total(&f, "db:search", "requests"), 2);
    assert_int_equal(total(&f, "db:search", "response_time_us"), 11);
    assert_int_equal(total(&f, "db:search", "max_response_time_us"), 9);
    assert_int_equal(total(&f, "db:other", "requests"), 1);
    stop(&f);
}

static void test_metrics_save_that_the_file_refused_is_added_back(void **state)
{
    (void)state;
    fixture f;
    start(&f);
    char lock_path[512];
    snprintf(lock_path, sizeof lock_path, "%s-lock", f.s.path);
    int lock = open(lock_path, O_RDWR | O_CLOEXEC); /* not the database: see the WAL's locks */
    assert_true(lock >= 0);
    respond(f.search, LARDER_SOURCE_MEMORY, 1, 0, 8500);
    respond(f.search, LARDER_SOURCE_DISK, 1, 0, 1000);
    assert_int_equal(flock(lock, LOCK_EX), 0);
    assert_int_equal(larder__metrics_save(f.metrics), LARDER_OK);
    respond(f.search, LARDER_SOURCE_MEMORY, 1, 0, 1000);
    assert_int_equal(f.search->unsaved.requests, 1);
    fixture_stop_store(&f.s); /* gives up after the lock timeout */
    assert_int_equal(f.search->unsaved.requests, 3);
    assert_int_equal(f.search->unsaved.memory_hits, 2);
    assert_int_equal(f.search->unsaved.max_response_time_us, 9);
    assert_false(larder__list_empty(&f.search->link));
    close(lock);
    stop(&f);
}

static void test_metrics_survive_every_failed_allocation(void **state)
{
    (void)state;
    store_fixture s;
    fixture_start(&s, NULL);
    long live = test_alloc_live();
    int failed = 1;
    for (unsigned long nth = 1; failed; nth++) {
        larder__metrics *metrics;
        int made = 0;
        test_alloc_fail_at(nth, 0);
        if (larder__metrics_new(&metrics, s.store) == LARDER_OK) {
            for (size_t i = 0; i < 20; i++) { /* the store keeps nothing: any address is a channel */
                made += larder__metrics_channel(metrics, (larder__channel *)(void *)&((char *)&s)[i]) != NULL;
            }
            larder__metrics_free(metrics);
        } else {
            assert_null(metrics);
        }
        failed = test_alloc_failed();
        assert_true(made == 20 || failed);
        assert_true(made == 0 || made >= 19); /* one failure is one channel's, or a table's that stays small */
        assert_int_equal(test_alloc_live(), live);
    }
    test_alloc_fail_at(0, 0);
    fixture_end(&s);
}

/* ---- threads ---- */

typedef struct reader {
    const fixture *f;
    int stop; /* atomic */
    int backwards;
} reader;

static void read_on(void *argument)
{
    reader *r = argument;
    uint64_t last = 0;
    while (!__atomic_load_n(&r->stop, __ATOMIC_RELAXED)) {
        larder_metrics now = snapshot(r->f);
        r->backwards |= now.requests < last;
        last = now.requests;
    }
}

static void test_metrics_snapshot_can_be_taken_from_any_thread_while_counting(void **state)
{
    (void)state;
    fixture f;
    start(&f);
    reader r = {&f, 0, 0};
    uv_thread_t thread;
    assert_int_equal(uv_thread_create(&thread, read_on, &r), 0);
    for (int i = 0; i < 200000; i++) {
        respond(f.search, LARDER_SOURCE_MEMORY, 1, 0, 1000);
    }
    __atomic_store_n(&r.stop, 1, __ATOMIC_RELAXED);
    uv_thread_join(&thread);
    assert_false(r.backwards);
    assert_int_equal(snapshot(&f).requests, 200000);
    stop(&f);
}

int main(void)
{
    test_alloc_install();
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_metrics_each_event_is_counted_in_its_column),
        cmocka_unit_test(test_metrics_snapshot_sums_over_channels_and_saves),
        cmocka_unit_test(test_metrics_unknown_channels_share_the_unnamed_row),
        cmocka_unit_test(test_metrics_channel_that_is_asked_for_again_goes_on_with_its_counters),
        cmocka_unit_test(test_metrics_totals_add_up_over_restarts),
        cmocka_unit_test(test_metrics_rounding_to_microseconds_loses_nothing_over_many_saves),
        cmocka_unit_test(test_metrics_longest_time_is_the_largest_of_all_saves_and_never_below_the_average),
        cmocka_unit_test(test_metrics_channels_without_news_are_not_written),
        cmocka_unit_test(test_metrics_save_during_a_save_is_made_when_that_has_ended),
        cmocka_unit_test(test_metrics_save_that_gets_no_memory_is_made_whole_by_the_next),
        cmocka_unit_test(test_metrics_save_that_the_file_refused_is_added_back),
        cmocka_unit_test(test_metrics_survive_every_failed_allocation),
        cmocka_unit_test(test_metrics_snapshot_can_be_taken_from_any_thread_while_counting),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
