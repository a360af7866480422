/* What an invalidation covers, and what it leaves alone. */
#include "support.h"

#include "store/validity.h"

#include <string.h>

static larder__validity validity;

static int setup(void **state)
{
    (void)state;
    return larder__validity_init(&validity);
}

static int teardown(void **state)
{
    (void)state;
    larder__validity_release(&validity);
    return 0;
}

static larder__channel *channel(const char *name)
{
    larder__channel *found = larder__validity_channel(&validity, name, strlen(name));
    assert_non_null(found);
    return found;
}

static void make_key(uint8_t key[LARDER_KEY_SIZE], uint32_t number)
{
    memset(key, 0, LARDER_KEY_SIZE);
    memcpy(key + 8, &number, sizeof number); /* all in one chain: the hash is of the first 8 bytes */
}

static int holds(const char *name, uint32_t key_number, larder__mark mark)
{
    uint8_t key[LARDER_KEY_SIZE];
    make_key(key, key_number);
    return larder__validity_holds(&validity, channel(name), key, mark);
}

static void invalidate_key(uint32_t key_number)
{
    uint8_t key[LARDER_KEY_SIZE];
    make_key(key, key_number);
    larder__validity_invalidate(&validity, LARDER__INVALIDATE_KEY, NULL, key);
}

static void test_a_channel_is_interned_once(void **state)
{
    (void)state;
    assert_ptr_equal(channel("a"), channel("a"));
    assert_ptr_not_equal(channel("a"), channel("b"));
    assert_null(larder__validity_find(&validity, "c", 1));
}

static void test_a_mark_holds_until_its_key_is_invalidated(void **state)
{
    (void)state;
    larder__mark mark = larder__validity_mark(&validity);
    assert_true(holds("a", 1, mark));
    invalidate_key(2);
    assert_true(holds("a", 1, mark));
    invalidate_key(1);
    assert_false(holds("a", 1, mark));
    assert_true(holds("a", 1, larder__validity_mark(&validity)));
}

static void test_a_channel_invalidation_covers_that_channel_alone(void **state)
{
    (void)state;
    larder__mark mark = larder__validity_mark(&validity);
    channel("b");
    larder__validity_invalidate(&validity, LARDER__INVALIDATE_CHANNEL, channel("a"), NULL);
    assert_false(holds("a", 1, mark));
    assert_true(holds("b", 1, mark));
    assert_true(holds("a", 1, larder__validity_mark(&validity)));
}

static void test_all_covers_every_channel(void **state)
{
    (void)state;
    larder__mark mark = larder__validity_mark(&validity);
    larder__validity_invalidate(&validity, LARDER__INVALIDATE_ALL, NULL, NULL);
    assert_false(holds("a", 1, mark));
    assert_false(holds("b", 2, mark));
    assert_true(holds("a", 1, larder__validity_mark(&validity)));
}

static void test_a_key_invalidated_twice_counts_the_later_time(void **state)
{
    (void)state;
    invalidate_key(1);
    larder__mark between = larder__validity_mark(&validity);
    assert_true(holds("a", 1, between));
    invalidate_key(1);
    assert_false(holds("a", 1, between));
}

static void test_a_mark_older_than_the_ring_holds_for_nothing(void **state)
{
    (void)state;
    larder__mark old = larder__validity_mark(&validity);
    invalidate_key(0);
    larder__mark after_first = larder__validity_mark(&validity);
    for (uint32_t i = 1; i < 4096; i++) {
        invalidate_key(i);
    }
    assert_true(holds("a", 99999, old));
    assert_false(holds("a", 0, old));
    invalidate_key(4096); /* key 0 falls out of the ring: whether it covers an old mark is no longer known */
    assert_false(holds("a", 99999, old));
    assert_false(holds("a", 0, old));
    assert_true(holds("a", 0, after_first)); /* taken after that invalidation */
    assert_false(holds("a", 4096, after_first));
}

static void test_the_ring_agrees_with_a_plain_model(void **state)
{
    (void)state;
    enum { KEYS = 200 };
    static uint64_t last[KEYS]; /* number of the last invalidation of each key */
    test_random random = {test_random_seed("validity ring")};
    larder__mark marks[64] = {{0, 0}};
    for (int step = 0; step < 200000; step++) {
        uint32_t key = (uint32_t)test_random_below(&random, KEYS);
        size_t slot = test_random_below(&random, 64);
        switch (test_random_below(&random, 3)) {
        case 0:
            invalidate_key(key);
            last[key] = validity.number;
            break;
        case 1:
            marks[slot] = larder__validity_mark(&validity);
            break;
        default: {
            int right = last[key] <= marks[slot].number;
            int said = holds("a", key, marks[slot]);
            assert_true(said <= right); /* never holds when it must not */
            if (validity.number - marks[slot].number < 4096) {
                assert_int_equal(said, right); /* and is exact within the ring */
            }
        }
        }
    }
}

static void test_a_row_holds_when_its_seq_reaches_what_covers_it(void **state)
{
    (void)state;
    larder__channel *a = channel("a");
    a->log_id = 7;
    validity.all_log_id = 5;
    assert_true(larder__validity_row_holds(&validity, a, 7));
    assert_false(larder__validity_row_holds(&validity, a, 6));
    assert_false(larder__validity_row_holds(&validity, channel("b"), 4));
    assert_true(larder__validity_row_holds(&validity, channel("b"), 5));
    a->pending = 1;
    assert_false(larder__validity_row_holds(&validity, a, 100));
    a->pending = 0;
    validity.all_pending = 1;
    assert_false(larder__validity_row_holds(&validity, a, 100));
}

static void test_every_failed_allocation_is_reported(void **state)
{
    (void)state;
    larder__validity fresh;
    for (unsigned long n = 1;; n++) {
        long live = test_alloc_live();
        test_alloc_fail_at(n, 0);
        int status = larder__validity_init(&fresh);
        larder__channel *made = status == LARDER_OK ? larder__validity_channel(&fresh, "a", 1) : NULL;
        int failed = test_alloc_failed();
        test_alloc_fail_at(0, 0);
        assert_int_equal(failed > 0, made == NULL);
        if (status == LARDER_OK) {
            larder__validity_release(&fresh);
        } else {
            assert_int_equal(status, LARDER_ENOMEM);
        }
        assert_int_equal(test_alloc_live(), live);
        if (!failed) {
            break;
        }
    }
}

int main(void)
{
    test_alloc_install();
#define TEST(name) cmocka_unit_test_setup_teardown(name, setup, teardown)
    const struct CMUnitTest tests[] = {
        TEST(test_a_channel_is_interned_once),
        TEST(test_a_mark_holds_until_its_key_is_invalidated),
        TEST(test_a_channel_invalidation_covers_that_channel_alone),
        TEST(test_all_covers_every_channel),
        TEST(test_a_key_invalidated_twice_counts_the_later_time),
        TEST(test_a_mark_older_than_the_ring_holds_for_nothing),
        TEST(test_the_ring_agrees_with_a_plain_model),
        TEST(test_a_row_holds_when_its_seq_reaches_what_covers_it),
        cmocka_unit_test(test_every_failed_allocation_is_reported),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
