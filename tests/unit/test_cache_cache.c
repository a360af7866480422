/* Both tiers as one, on a real store: what is served from where, what an invalidation takes, and what failures leave.
 */
#include "support.h"

#include "cache/cache.h"
#include "cache/memory.h"
#include "store_fixture.h"

#include <string.h>

#define MINUTE 60000

typedef struct fixture {
    store_fixture s;
    larder__cache *cache;
    larder__channel *channel;
} fixture;

static void forget(void *owner, larder__invalidation_kind kind, larder__channel *channel, const uint8_t *key)
{
    fixture *f = owner;
    if (f->cache != NULL) {
        larder__cache_invalidated(f->cache, kind, channel, key);
    }
}

static int new_cache(fixture *f, size_t memory_bytes)
{
    larder__cache_options options = {memory_bytes, 1000, f->s.store};
    return larder__cache_new(&f->cache, &options);
}

static void start(fixture *f, const char *path, size_t memory_bytes)
{
    fixture_start(&f->s, path);
    f->cache = NULL;
    f->s.on_invalidated = forget;
    f->s.invalidated_owner = f;
    f->channel = fixture_channel(&f->s, "db:search");
    assert_int_equal(new_cache(f, memory_bytes), LARDER_OK);
}

/* Empties the memory tier, as a restart does. */
static void forget_memory(fixture *f, size_t memory_bytes)
{
    larder__cache_free(f->cache);
    assert_int_equal(new_cache(f, memory_bytes), LARDER_OK);
}

static void stop(fixture *f)
{
    larder__cache_free(f->cache);
    f->cache = NULL;
    fixture_end(&f->s);
    assert_int_equal(test_alloc_live(), 0);
}

static void key_of(uint8_t key[LARDER_KEY_SIZE], uint32_t n)
{
    memset(key, 0x5a, LARDER_KEY_SIZE);
    memcpy(key, &n, sizeof n);
}

static larder__mark mark_now(fixture *f)
{
    return larder__validity_mark(larder__store_validity(f->s.store));
}

static int put_as(fixture *f, uint32_t n, uint32_t version, size_t len, larder__mark mark)
{
    static char bytes[4096];
    memset(bytes, '7', sizeof bytes);
    larder__record record = {
        .channel = f->channel,
        .version = version,
        .created_ms = f->s.clock.wall_ms,
        .expires_ms = f->s.clock.wall_ms + MINUTE,
        .cost_us = 250,
        .value = larder__body_new(bytes, len, LARDER_CONTENT_TEXT),
        .args = larder__body_new("[1]", 3, LARDER_CONTENT_JSON),
    };
    key_of(record.key, n);
    int status = LARDER_ENOMEM;
    if (record.value != NULL && record.args != NULL) {
        status = larder__cache_put(f->cache, &record, mark);
    }
    larder__body_release(record.value);
    larder__body_release(record.args);
    return status;
}

static int put(fixture *f, uint32_t n, size_t len)
{
    return put_as(f, n, 1, len, mark_now(f));
}

/* Where the answer of `len` bytes came from; LARDER_SOURCE_NONE for a miss. */
static larder_source get_as(fixture *f, uint32_t n, uint32_t version, size_t len)
{
    uint8_t key[LARDER_KEY_SIZE];
    larder__cache_hit hit;
    key_of(key, n);
    fixture_begin(&f->s);
    int found = larder__cache_get(f->cache, f->channel, key, version, f->s.clock.wall_ms, &hit);
    larder__store_end(f->s.store);
    if (!found) {
        return LARDER_SOURCE_NONE;
    }
    assert_int_equal(hit.value->len, len);
    assert_int_equal(hit.value->content, LARDER_CONTENT_TEXT);
    assert_int_equal(hit.cost_us, 250);
    assert_int_equal(hit.expires_ms - hit.created_ms, MINUTE);
    larder__body_release(hit.value);
    return hit.source;
}

static larder_source get(fixture *f, uint32_t n, size_t len)
{
    return get_as(f, n, 1, len);
}

static void invalidate(fixture *f, larder__invalidation_kind kind, uint32_t n)
{
    uint8_t key[LARDER_KEY_SIZE];
    key_of(key, n);
    assert_int_equal(larder__store_invalidate(f->s.store, kind, kind == LARDER__INVALIDATE_ALL ? NULL : f->channel,
                                              kind == LARDER__INVALIDATE_KEY ? key : NULL, NULL, NULL),
                     LARDER_OK);
}

#define SOME_MEMORY 100000

/* ---- serving ---- */

static void test_cache_answers_from_memory_what_was_put(void **state)
{
    (void)state;
    fixture f;
    start(&f, test_path("a.larder"), SOME_MEMORY);
    assert_int_equal(get(&f, 1, 100), LARDER_SOURCE_NONE);
    assert_int_equal(put(&f, 1, 100), LARDER_OK);
    assert_int_equal(get(&f, 1, 100), LARDER_SOURCE_MEMORY);
    assert_int_equal(larder__cache_entries(f.cache), 1);
    assert_int_equal(larder__cache_bytes(f.cache), larder__memory_entry_bytes(100));
    stop(&f);
}

static void test_cache_answers_from_disk_once_and_from_memory_after_that(void **state)
{
    (void)state;
    fixture f;
    start(&f, test_path("a.larder"), SOME_MEMORY);
    put(&f, 1, 100);
    assert_int_equal(fixture_flush(&f.s), LARDER_OK);
    forget_memory(&f, SOME_MEMORY);
    assert_int_equal(get(&f, 1, 100), LARDER_SOURCE_DISK);
    assert_int_equal(get(&f, 1, 100), LARDER_SOURCE_MEMORY);
    stop(&f);
}

static void test_cache_without_memory_tier_answers_what_is_not_committed_yet(void **state)
{
    (void)state;
    fixture f;
    start(&f, test_path("a.larder"), 0);
    put(&f, 1, 100);
    assert_int_equal(get(&f, 1, 100), LARDER_SOURCE_DISK);
    assert_int_equal(fixture_flush(&f.s), LARDER_OK);
    assert_int_equal(get(&f, 1, 100), LARDER_SOURCE_DISK);
    assert_int_equal(larder__cache_bytes(f.cache), 0);
    stop(&f);
}

static void test_cache_keeps_empty_answers_in_both_tiers(void **state)
{
    (void)state;
    fixture f;
    start(&f, test_path("a.larder"), SOME_MEMORY);
    assert_int_equal(put(&f, 1, 0), LARDER_OK);
    assert_int_equal(get(&f, 1, 0), LARDER_SOURCE_MEMORY);
    assert_int_equal(fixture_flush(&f.s), LARDER_OK);
    forget_memory(&f, SOME_MEMORY);
    assert_int_equal(get(&f, 1, 0), LARDER_SOURCE_DISK);
    stop(&f);
}

static void test_cache_without_a_file_answers_from_memory_alone(void **state)
{
    (void)state;
    fixture f;
    start(&f, NULL, SOME_MEMORY);
    assert_int_equal(put(&f, 1, 100), LARDER_EOVERLOADED);
    assert_int_equal(get(&f, 1, 100), LARDER_SOURCE_MEMORY);
    assert_int_equal(get(&f, 2, 100), LARDER_SOURCE_NONE);
    stop(&f);
}

static void test_cache_other_version_and_expired_answers_are_misses_in_both_tiers(void **state)
{
    (void)state;
    fixture f;
    start(&f, test_path("a.larder"), SOME_MEMORY);
    put(&f, 1, 100);
    put(&f, 2, 100);
    assert_int_equal(fixture_flush(&f.s), LARDER_OK);
    assert_int_equal(get_as(&f, 1, 2, 100), LARDER_SOURCE_NONE);
    assert_int_equal(larder__cache_entries(f.cache), 1);
    test_clock_advance(&f.s.clock, MINUTE - 1);
    assert_int_equal(get(&f, 2, 100), LARDER_SOURCE_MEMORY);
    test_clock_advance(&f.s.clock, 1);
    assert_int_equal(get(&f, 2, 100), LARDER_SOURCE_NONE);
    assert_int_equal(larder__cache_entries(f.cache), 0);
    stop(&f);
}

static void test_cache_answer_from_disk_that_memory_cannot_hold_is_served_each_time(void **state)
{
    (void)state;
    fixture f;
    start(&f, test_path("a.larder"), larder__memory_entry_bytes(50));
    assert_int_equal(put(&f, 1, 100), LARDER_OK);
    assert_int_equal(fixture_flush(&f.s), LARDER_OK);
    assert_int_equal(get(&f, 1, 100), LARDER_SOURCE_DISK);
    assert_int_equal(get(&f, 1, 100), LARDER_SOURCE_DISK);
    assert_int_equal(larder__cache_save_uses(f.cache), 0);
    assert_int_equal(fixture_flush(&f.s), LARDER_OK);
    assert_int_equal(fixture_number(&f.s, "SELECT hits FROM entries"), 2);
    stop(&f);
}

/* ---- refusing ---- */

static void test_cache_answer_over_the_entry_limit_is_kept_nowhere(void **state)
{
    (void)state;
    fixture f;
    start(&f, test_path("a.larder"), SOME_MEMORY);
    assert_int_equal(put(&f, 1, 1000), LARDER_OK);
    assert_int_equal(put(&f, 2, 1001), LARDER_ETOOBIG);
    assert_int_equal(get(&f, 2, 1001), LARDER_SOURCE_NONE);
    assert_int_equal(put_as(&f, 1, 2, 1001, mark_now(&f)), LARDER_ETOOBIG);
    assert_int_equal(larder__cache_entries(f.cache), 0); /* version 1 can go: version 2 is what runs now */
    stop(&f);
}

static void test_cache_run_that_began_before_an_invalidation_is_kept_nowhere(void **state)
{
    (void)state;
    static const larder__invalidation_kind kinds[] = {LARDER__INVALIDATE_KEY, LARDER__INVALIDATE_CHANNEL,
                                                      LARDER__INVALIDATE_ALL};
    for (size_t i = 0; i < 3; i++) {
        fixture f;
        start(&f, test_path("a.larder"), SOME_MEMORY);
        larder__mark before = mark_now(&f);
        invalidate(&f, kinds[i], 1);
        assert_int_equal(put_as(&f, 1, 1, 100, before), LARDER_ECANCELLED);
        assert_int_equal(get(&f, 1, 100), LARDER_SOURCE_NONE);
        assert_int_equal(put(&f, 1, 50), LARDER_OK);
        assert_int_equal(put_as(&f, 1, 1, 100, before), LARDER_ECANCELLED);
        assert_int_equal(get(&f, 1, 50), LARDER_SOURCE_MEMORY); /* the newer answer stands */
        stop(&f);
    }
}

static void test_cache_invalidation_holds_at_once_in_both_tiers(void **state)
{
    (void)state;
    static const larder__invalidation_kind kinds[] = {LARDER__INVALIDATE_KEY, LARDER__INVALIDATE_CHANNEL,
                                                      LARDER__INVALIDATE_ALL};
    for (size_t i = 0; i < 3; i++) {
        fixture f;
        start(&f, test_path("a.larder"), SOME_MEMORY);
        put(&f, 1, 100);
        put(&f, 2, 100);
        assert_int_equal(fixture_flush(&f.s), LARDER_OK);
        invalidate(&f, kinds[i], 1);
        assert_int_equal(get(&f, 1, 100), LARDER_SOURCE_NONE);
        larder_source other = kinds[i] == LARDER__INVALIDATE_KEY ? LARDER_SOURCE_MEMORY : LARDER_SOURCE_NONE;
        assert_int_equal(get(&f, 2, 100), other);
        assert_int_equal(fixture_flush(&f.s), LARDER_OK);
        forget_memory(&f, SOME_MEMORY);
        assert_int_equal(get(&f, 1, 100), LARDER_SOURCE_NONE);
        stop(&f);
    }
}

static void test_cache_memory_of_an_invalidated_channel_is_freed_though_nobody_asks_for_it(void **state)
{
    (void)state;
    fixture f;
    start(&f, test_path("a.larder"), 10 * SOME_MEMORY);
    for (uint32_t n = 0; n < 1500; n++) {
        put(&f, n, 10);
    }
    invalidate(&f, LARDER__INVALIDATE_CHANNEL, 0);
    assert_int_equal(larder__cache_entries(f.cache), 1500);
    larder__cache_save_uses(f.cache);
    assert_int_equal(larder__cache_entries(f.cache), 1500 - 1024);
    larder__cache_save_uses(f.cache);
    assert_int_equal(larder__cache_entries(f.cache), 0);
    assert_int_equal(larder__cache_bytes(f.cache), 0);
    stop(&f);
}

/* ---- uses ---- */

static void test_cache_uses_reach_the_file_in_bulk(void **state)
{
    (void)state;
    fixture f;
    start(&f, test_path("a.larder"), 10 * SOME_MEMORY);
    for (uint32_t n = 0; n < 600; n++) {
        assert_int_equal(put(&f, n, 10), LARDER_OK);
    }
    assert_int_equal(fixture_flush(&f.s), LARDER_OK);
    for (uint32_t n = 0; n < 600; n++) {
        get(&f, n, 10);
        get(&f, n, 10);
    }
    assert_int_equal(larder__cache_save_uses(f.cache), 1);
    assert_int_equal(larder__cache_save_uses(f.cache), 0);
    assert_int_equal(larder__cache_save_uses(f.cache), 0);
    assert_int_equal(fixture_flush(&f.s), LARDER_OK);
    assert_int_equal(fixture_number(&f.s, "SELECT sum(hits) FROM entries"), 1200);
    assert_int_equal(fixture_number(&f.s, "SELECT min(used_ms) FROM entries"), f.s.clock.wall_ms);
    stop(&f);
}

static void test_cache_uses_that_the_store_cannot_take_are_offered_again(void **state)
{
    (void)state;
    fixture f;
    start(&f, test_path("a.larder"), SOME_MEMORY);
    put(&f, 1, 100);
    assert_int_equal(fixture_flush(&f.s), LARDER_OK);
    get(&f, 1, 100);
    test_alloc_fail_at(1, 1);
    assert_int_equal(larder__cache_save_uses(f.cache), 0);
    assert_true(test_alloc_failed() > 0);
    test_alloc_fail_at(0, 0);
    get(&f, 1, 100);
    assert_int_equal(larder__cache_save_uses(f.cache), 0);
    assert_int_equal(fixture_flush(&f.s), LARDER_OK);
    assert_int_equal(fixture_number(&f.s, "SELECT hits FROM entries"), 2);
    stop(&f);
}

/* ---- failures ---- */

static void test_cache_new_fails_without_leaks_when_any_allocation_does(void **state)
{
    (void)state;
    fixture f;
    start(&f, NULL, SOME_MEMORY);
    larder__cache_free(f.cache);
    f.cache = NULL;
    long live = test_alloc_live();
    int status = LARDER_ENOMEM;
    for (unsigned long nth = 1; status != LARDER_OK; nth++) {
        test_alloc_fail_at(nth, 0);
        status = new_cache(&f, SOME_MEMORY);
        if (status != LARDER_OK) {
            assert_int_equal(status, LARDER_ENOMEM);
            assert_null(f.cache);
            assert_int_equal(test_alloc_live(), live);
        }
    }
    test_alloc_fail_at(0, 0);
    stop(&f);
}

/* Whichever allocation fails, a get after a put gives that answer or nothing, never the one before it. */
static void test_cache_put_and_get_survive_every_failed_allocation(void **state)
{
    (void)state;
    for (unsigned long nth = 1; nth < 30; nth++) {
        fixture f;
        start(&f, test_path("a.larder"), SOME_MEMORY);
        assert_int_equal(put(&f, 1, 100), LARDER_OK);
        assert_int_equal(fixture_flush(&f.s), LARDER_OK);
        test_alloc_fail_at(nth, 0);
        int status = put(&f, 1, 50);
        test_alloc_fail_at(nth, 0);
        larder_source source = get(&f, 2, 100);
        test_alloc_fail_at(0, 0);
        assert_int_equal(source, LARDER_SOURCE_NONE);
        assert_true(status == LARDER_OK || status == LARDER_ENOMEM);
        if (status == LARDER_OK) {
            assert_true(get(&f, 1, 50) != LARDER_SOURCE_NONE);
        }
        stop(&f);
    }
}

int main(void)
{
    test_alloc_install();
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_cache_answers_from_memory_what_was_put),
        cmocka_unit_test(test_cache_answers_from_disk_once_and_from_memory_after_that),
        cmocka_unit_test(test_cache_without_memory_tier_answers_what_is_not_committed_yet),
        cmocka_unit_test(test_cache_keeps_empty_answers_in_both_tiers),
        cmocka_unit_test(test_cache_without_a_file_answers_from_memory_alone),
        cmocka_unit_test(test_cache_other_version_and_expired_answers_are_misses_in_both_tiers),
        cmocka_unit_test(test_cache_answer_from_disk_that_memory_cannot_hold_is_served_each_time),
        cmocka_unit_test(test_cache_answer_over_the_entry_limit_is_kept_nowhere),
        cmocka_unit_test(test_cache_run_that_began_before_an_invalidation_is_kept_nowhere),
        cmocka_unit_test(test_cache_invalidation_holds_at_once_in_both_tiers),
        cmocka_unit_test(test_cache_memory_of_an_invalidated_channel_is_freed_though_nobody_asks_for_it),
        cmocka_unit_test(test_cache_uses_reach_the_file_in_bulk),
        cmocka_unit_test(test_cache_uses_that_the_store_cannot_take_are_offered_again),
        cmocka_unit_test(test_cache_new_fails_without_leaks_when_any_allocation_does),
        cmocka_unit_test(test_cache_put_and_get_survive_every_failed_allocation),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
