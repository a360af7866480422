/* The memory tier alone: its bound, its order, what it must not serve, and its memory. */
#include "support.h"

#include "cache/memory.h"

#include <string.h>

#define NOW INT64_C(1700000000000)
#define MINUTE 60000

typedef struct fixture {
    larder__validity validity;
    larder__memory memory;
    larder__channel *channel;
    larder__channel *other;
} fixture;

static void start(fixture *f, uint64_t limit)
{
    assert_int_equal(larder__validity_init(&f->validity), LARDER_OK);
    f->channel = larder__validity_channel(&f->validity, "db:search", 9);
    f->other = larder__validity_channel(&f->validity, "db:other", 8);
    assert_non_null(f->channel);
    assert_non_null(f->other);
    assert_int_equal(larder__memory_init(&f->memory, limit, &f->validity), LARDER_OK);
}

static void stop(fixture *f)
{
    larder__memory_release(&f->memory);
    larder__validity_release(&f->validity);
    assert_int_equal(test_alloc_live(), 0);
}

static uint64_t room_for(uint64_t entries, size_t value_len)
{
    return entries * larder__memory_entry_bytes(value_len);
}

static void key_of(uint8_t key[LARDER_KEY_SIZE], uint32_t n)
{
    memset(key, (int)(n * 7 + 1) & 0xff, LARDER_KEY_SIZE);
    memcpy(key + LARDER_KEY_SIZE - sizeof n, &n, sizeof n);
}

/* An answer of `len` bytes to key n, valid for a minute, computed now. */
static larder__record record_of(fixture *f, uint32_t n, size_t len)
{
    static char bytes[4096];
    larder__record record = {
        .channel = f->channel,
        .version = 1,
        .created_ms = NOW,
        .expires_ms = NOW + MINUTE,
        .cost_us = 100 + n,
        .value = larder__body_new(bytes, len, LARDER_CONTENT_JSON),
        .number = f->validity.number,
    };
    key_of(record.key, n);
    return record;
}

static int put_record(fixture *f, larder__record record)
{
    int status = larder__memory_put(&f->memory, &record, 0, NOW);
    larder__body_release(record.value);
    return status;
}

static int put(fixture *f, uint32_t n, size_t len)
{
    return put_record(f, record_of(f, n, len));
}

static const larder__memory_entry *get_as(fixture *f, uint32_t n, uint32_t version, int64_t wall_ms)
{
    uint8_t key[LARDER_KEY_SIZE];
    key_of(key, n);
    return larder__memory_get(&f->memory, key, version, wall_ms);
}

static const larder__memory_entry *get(fixture *f, uint32_t n)
{
    return get_as(f, n, 1, NOW);
}

static void expect_empty(const fixture *f)
{
    assert_int_equal(f->memory.entries, 0);
    assert_int_equal(f->memory.bytes, 0);
    assert_true(larder__list_empty(&f->memory.lru));
    assert_true(larder__list_empty(&f->memory.dirty));
}

/* ---- what is served ---- */

static void test_memory_serves_what_was_put(void **state)
{
    (void)state;
    fixture f;
    start(&f, room_for(4, 100));
    assert_null(get(&f, 1));
    larder__record record = record_of(&f, 1, 100);
    larder__body *value = record.value;
    assert_int_equal(put_record(&f, record), LARDER_OK);
    const larder__memory_entry *entry = get(&f, 1);
    assert_non_null(entry);
    assert_ptr_equal(entry->value, value);
    assert_int_equal(entry->cost_us, 101);
    assert_int_equal(entry->created_ms, NOW);
    assert_int_equal(entry->expires_ms, NOW + MINUTE);
    assert_null(get(&f, 2));
    stop(&f);
}

static void test_memory_body_outlives_its_entry_when_a_caller_holds_it(void **state)
{
    (void)state;
    fixture f;
    start(&f, room_for(1, 100));
    put(&f, 1, 100);
    larder__body *held = larder__body_retain(get(&f, 1)->value);
    put(&f, 2, 100);
    assert_null(get(&f, 1));
    assert_int_equal(held->len, 100);
    assert_int_equal(held->references, 1);
    larder__body_release(held);
    stop(&f);
}

static void test_memory_null_and_empty_answers_are_kept(void **state)
{
    (void)state;
    fixture f;
    start(&f, room_for(4, 100));
    assert_int_equal(put(&f, 1, 0), LARDER_OK);
    assert_non_null(get(&f, 1));
    assert_int_equal(get(&f, 1)->value->len, 0);
    stop(&f);
}

static void test_memory_keys_whose_hashes_are_equal_are_kept_apart(void **state)
{
    (void)state;
    fixture f;
    start(&f, room_for(300, 10));
    for (uint32_t n = 0; n < 300; n++) { /* key_of repeats its first 8 bytes every 256 */
        assert_int_equal(put(&f, n, 10), LARDER_OK);
    }
    for (uint32_t n = 0; n < 300; n++) {
        assert_non_null(get(&f, n));
        assert_int_equal(get(&f, n)->cost_us, 100 + n);
    }
    uint8_t key[LARDER_KEY_SIZE];
    key_of(key, 5);
    larder__memory_remove(&f.memory, key);
    assert_null(get(&f, 5));
    assert_non_null(get(&f, 5 + 256));
    stop(&f);
}

static void test_memory_put_replaces_the_entry_of_its_key(void **state)
{
    (void)state;
    fixture f;
    start(&f, room_for(4, 100));
    put(&f, 1, 100);
    assert_non_null(get(&f, 1));
    put(&f, 1, 50);
    assert_int_equal(f.memory.entries, 1);
    assert_int_equal(f.memory.bytes, larder__memory_entry_bytes(50));
    assert_int_equal(get(&f, 1)->value->len, 50);
    assert_int_equal(get(&f, 1)->uses, 2); /* those of the older answer went with it */
    stop(&f);
}

/* ---- what is not ---- */

static void test_memory_expired_entry_is_a_miss_and_leaves(void **state)
{
    (void)state;
    fixture f;
    start(&f, room_for(4, 100));
    put(&f, 1, 100);
    assert_non_null(get_as(&f, 1, 1, NOW + MINUTE - 1));
    assert_null(get_as(&f, 1, 1, NOW + MINUTE));
    expect_empty(&f);
    stop(&f);
}

static void test_memory_other_version_is_a_miss_and_leaves(void **state)
{
    (void)state;
    fixture f;
    start(&f, room_for(4, 100));
    put(&f, 1, 100);
    assert_null(get_as(&f, 1, 2, NOW));
    expect_empty(&f);
    assert_null(get(&f, 1));
    stop(&f);
}

static void test_memory_clock_set_back_makes_nothing_immortal(void **state)
{
    (void)state;
    fixture f;
    start(&f, room_for(4, 100));
    put(&f, 1, 100);
    assert_non_null(get_as(&f, 1, 1, NOW - 1000));
    assert_null(get_as(&f, 1, 1, NOW - 1001));
    expect_empty(&f);
    stop(&f);
}

static void test_memory_channel_invalidation_covers_that_channel_only(void **state)
{
    (void)state;
    fixture f;
    start(&f, room_for(4, 100));
    put(&f, 1, 100);
    larder__record elsewhere = record_of(&f, 2, 100);
    elsewhere.channel = f.other;
    put_record(&f, elsewhere);
    larder__validity_invalidate(&f.validity, LARDER__INVALIDATE_CHANNEL, f.channel, NULL);
    assert_null(get(&f, 1));
    assert_non_null(get(&f, 2));
    assert_int_equal(f.memory.entries, 1);
    put(&f, 1, 100); /* computed after the invalidation */
    assert_non_null(get(&f, 1));
    stop(&f);
}

static void test_memory_invalidation_of_all_covers_everything_before_it(void **state)
{
    (void)state;
    fixture f;
    start(&f, room_for(4, 100));
    put(&f, 1, 100);
    put(&f, 2, 100);
    larder__validity_invalidate(&f.validity, LARDER__INVALIDATE_ALL, NULL, NULL);
    put(&f, 3, 100);
    assert_null(get(&f, 1));
    assert_null(get(&f, 2));
    assert_non_null(get(&f, 3));
    stop(&f);
}

static void test_memory_remove_dead_leaves_what_can_be_served(void **state)
{
    (void)state;
    fixture f;
    start(&f, room_for(4, 100));
    uint8_t key[LARDER_KEY_SIZE];
    key_of(key, 1);
    put(&f, 1, 100);
    larder__memory_remove_dead(&f.memory, key, 1, NOW);
    assert_int_equal(f.memory.entries, 1);
    larder__memory_remove_dead(&f.memory, key, 2, NOW);
    expect_empty(&f);
    put(&f, 1, 100);
    larder__memory_remove_dead(&f.memory, key, 1, NOW + MINUTE);
    expect_empty(&f);
    stop(&f);
}

/* ---- the bound ---- */

static void test_memory_least_recently_used_leaves_first(void **state)
{
    (void)state;
    fixture f;
    start(&f, room_for(3, 100));
    put(&f, 1, 100);
    put(&f, 2, 100);
    put(&f, 3, 100);
    assert_int_equal(f.memory.bytes, f.memory.limit);
    assert_non_null(get(&f, 1));
    put(&f, 4, 100);
    assert_null(get(&f, 2));
    assert_non_null(get(&f, 1));
    assert_non_null(get(&f, 3));
    assert_non_null(get(&f, 4));
    stop(&f);
}

static void test_memory_large_entry_takes_the_place_of_several(void **state)
{
    (void)state;
    fixture f;
    start(&f, room_for(4, 100));
    for (uint32_t n = 1; n <= 4; n++) {
        put(&f, n, 100);
    }
    put(&f, 5, 101); /* one byte more than fits beside three */
    assert_int_equal(f.memory.entries, 3);
    assert_null(get(&f, 1));
    assert_null(get(&f, 2));
    assert_non_null(get(&f, 3));
    stop(&f);
}

static void test_memory_answer_larger_than_the_tier_is_not_kept_and_evicts_nothing_else(void **state)
{
    (void)state;
    fixture f;
    start(&f, room_for(2, 100));
    put(&f, 1, 100);
    put(&f, 2, 100);
    assert_int_equal(put(&f, 2, 3000), LARDER_ETOOBIG);
    assert_null(get(&f, 2)); /* the older answer must not outlive the newer one */
    assert_non_null(get(&f, 1));
    stop(&f);
}

static void test_memory_of_no_bytes_keeps_nothing(void **state)
{
    (void)state;
    fixture f;
    start(&f, 0);
    assert_int_equal(put(&f, 1, 0), LARDER_ETOOBIG);
    assert_null(get(&f, 1));
    expect_empty(&f);
    stop(&f);
}

/* ---- sweeping ---- */

static void test_memory_sweep_frees_invalidated_entries_in_bounded_slices(void **state)
{
    (void)state;
    fixture f;
    start(&f, room_for(100, 10));
    for (uint32_t n = 0; n < 100; n++) {
        put(&f, n, 10);
    }
    larder__validity_invalidate(&f.validity, LARDER__INVALIDATE_CHANNEL, f.channel, NULL);
    assert_int_equal(f.memory.entries, 100);
    assert_int_equal(larder__memory_sweep(&f.memory, 30, NOW), 30);
    assert_int_equal(f.memory.entries, 70);
    assert_int_equal(larder__memory_sweep(&f.memory, 1000, NOW), 70);
    expect_empty(&f);
    stop(&f);
}

static void test_memory_sweep_goes_on_where_it_ended_and_begins_again_at_the_cold_end(void **state)
{
    (void)state;
    fixture f;
    start(&f, room_for(10, 10));
    for (uint32_t n = 0; n < 10; n++) {
        larder__record record = record_of(&f, n, 10);
        record.expires_ms = NOW + (n < 5 ? 2 : 1) * MINUTE; /* the five warmer ones expire first */
        put_record(&f, record);
    }
    assert_int_equal(larder__memory_sweep(&f.memory, 5, NOW + MINUTE), 0);
    assert_int_equal(larder__memory_sweep(&f.memory, 5, NOW + MINUTE), 5);
    assert_int_equal(larder__memory_sweep(&f.memory, 5, NOW + 2 * MINUTE), 5);
    expect_empty(&f);
    stop(&f);
}

static void test_memory_sweep_survives_that_its_place_is_evicted(void **state)
{
    (void)state;
    fixture f;
    start(&f, room_for(4, 10));
    for (uint32_t n = 0; n < 4; n++) {
        put(&f, n, 10);
    }
    assert_int_equal(larder__memory_sweep(&f.memory, 1, NOW), 0); /* goes on with 1 */
    put(&f, 4, 10);                                               /* evicts 0 */
    put(&f, 5, 10);                                               /* evicts 1 */
    assert_int_equal(larder__memory_sweep(&f.memory, 2, NOW + MINUTE), 2);
    assert_int_equal(larder__memory_sweep(&f.memory, 2, NOW + MINUTE), 2);
    expect_empty(&f);
    stop(&f);
}

/* ---- uses ---- */

static void test_memory_uses_are_counted_per_entry_and_saved_once(void **state)
{
    (void)state;
    fixture f;
    start(&f, room_for(4, 100));
    larder__use uses[8];
    put(&f, 1, 100);
    put(&f, 2, 100);
    assert_false(larder__memory_has_uses(&f.memory));
    get_as(&f, 2, 1, NOW + 1);
    get_as(&f, 1, 1, NOW + 2);
    get_as(&f, 2, 1, NOW + 3);
    assert_int_equal(larder__memory_uses(&f.memory, uses, 8), 2);
    assert_int_equal(uses[0].hits, 2);
    assert_int_equal(uses[0].used_ms, NOW + 3);
    assert_int_equal(uses[1].hits, 1);
    assert_int_equal(uses[1].used_ms, NOW + 2);
    uint8_t key[LARDER_KEY_SIZE];
    key_of(key, 2);
    assert_memory_equal(uses[0].key, key, LARDER_KEY_SIZE);
    larder__memory_uses_saved(&f.memory, 1);
    assert_int_equal(larder__memory_uses(&f.memory, uses, 8), 1);
    larder__memory_uses_saved(&f.memory, 1);
    assert_false(larder__memory_has_uses(&f.memory));
    get(&f, 2);
    assert_int_equal(larder__memory_uses(&f.memory, uses, 8), 1);
    assert_int_equal(uses[0].hits, 1);
    stop(&f);
}

static void test_memory_answer_served_as_it_comes_in_counts_as_used(void **state)
{
    (void)state;
    fixture f;
    start(&f, room_for(4, 100));
    larder__record record = record_of(&f, 1, 100);
    larder__use use;
    assert_int_equal(larder__memory_put(&f.memory, &record, 1, NOW), LARDER_OK);
    larder__body_release(record.value);
    assert_int_equal(larder__memory_uses(&f.memory, &use, 1), 1);
    assert_int_equal(use.hits, 1);
    assert_int_equal(use.used_ms, NOW);
    stop(&f);
}

static void test_memory_uses_of_evicted_entries_wait_for_the_next_save(void **state)
{
    (void)state;
    fixture f;
    start(&f, room_for(1, 100));
    larder__use uses[2];
    put(&f, 1, 100);
    get(&f, 1);
    get(&f, 1);
    put(&f, 2, 100);
    get(&f, 2);
    assert_int_equal(larder__memory_uses(&f.memory, uses, 2), 2);
    assert_int_equal(uses[0].hits, 2);
    assert_int_equal(uses[1].hits, 1);
    larder__memory_uses_saved(&f.memory, 2);
    assert_false(larder__memory_has_uses(&f.memory));
    stop(&f);
}

static void test_memory_uses_of_evicted_entries_are_bounded(void **state)
{
    (void)state;
    fixture f;
    start(&f, room_for(1, 100));
    static larder__use uses[LARDER__MEMORY_PENDING + 10];
    for (uint32_t n = 0; n < LARDER__MEMORY_PENDING + 5; n++) {
        put(&f, n, 100);
        get(&f, n);
    }
    assert_int_equal(larder__memory_uses(&f.memory, uses, LARDER__MEMORY_PENDING + 10), LARDER__MEMORY_PENDING + 1);
    larder__memory_uses_saved(&f.memory, 500);
    assert_int_equal(larder__memory_uses(&f.memory, uses, LARDER__MEMORY_PENDING + 10),
                     LARDER__MEMORY_PENDING + 1 - 500);
    uint8_t key[LARDER_KEY_SIZE];
    key_of(key, 500);
    assert_memory_equal(uses[0].key, key, LARDER_KEY_SIZE);
    stop(&f);
}

/* ---- memory ---- */

static void test_memory_hit_allocates_nothing(void **state)
{
    (void)state;
    fixture f;
    start(&f, room_for(100, 10));
    for (uint32_t n = 0; n < 100; n++) {
        put(&f, n, 10);
    }
    test_alloc_fail_at(0, 0);
    for (uint32_t n = 0; n < 100; n++) {
        assert_non_null(get(&f, n));
    }
    assert_int_equal(test_alloc_count(), 0);
    stop(&f);
}

static void test_memory_put_that_gets_no_memory_leaves_neither_answer(void **state)
{
    (void)state;
    fixture f;
    start(&f, room_for(4, 100));
    put(&f, 1, 100);
    larder__record record = record_of(&f, 1, 50);
    test_alloc_fail_at(1, 0);
    assert_int_equal(larder__memory_put(&f.memory, &record, 0, NOW), LARDER_ENOMEM);
    test_alloc_fail_at(0, 0);
    larder__body_release(record.value);
    assert_null(get(&f, 1));
    expect_empty(&f);
    stop(&f);
}

static void test_memory_init_that_gets_no_memory_needs_no_release(void **state)
{
    (void)state;
    larder__validity validity;
    larder__memory memory;
    assert_int_equal(larder__validity_init(&validity), LARDER_OK);
    test_alloc_fail_at(1, 0);
    assert_int_equal(larder__memory_init(&memory, 1000, &validity), LARDER_ENOMEM);
    test_alloc_fail_at(0, 0);
    larder__validity_release(&validity);
    assert_int_equal(test_alloc_live(), 0);
}

/* ---- against a model ---- */

#define MODEL_KEYS 40
#define MODEL_STEPS 60000

typedef struct model_entry {
    uint32_t n;
    uint32_t version;
    int64_t created_ms;
    int64_t expires_ms;
    uint64_t number;
    size_t len;
    larder__channel *channel;
    uint32_t uses;
} model_entry;

typedef struct model { /* the simplest that can be right: an array, hot to cold */
    model_entry entries[MODEL_KEYS];
    size_t count;
    uint64_t pending[MODEL_KEYS]; /* unsaved uses of what was evicted */
} model;

static uint64_t model_bytes(const model *m)
{
    uint64_t bytes = 0;
    for (size_t i = 0; i < m->count; i++) {
        bytes += larder__memory_entry_bytes(m->entries[i].len);
    }
    return bytes;
}

static size_t model_find(const model *m, uint32_t n)
{
    size_t i = 0;
    while (i < m->count && m->entries[i].n != n) {
        i++;
    }
    return i;
}

static void model_remove(model *m, size_t at)
{
    m->count--;
    memmove(&m->entries[at], &m->entries[at + 1], (m->count - at) * sizeof m->entries[0]);
}

static void model_prepend(model *m, model_entry entry)
{
    memmove(&m->entries[1], &m->entries[0], m->count * sizeof m->entries[0]);
    m->entries[0] = entry;
    m->count++;
}

static int model_dead(const fixture *f, const model_entry *e, int64_t wall_ms)
{
    return wall_ms >= e->expires_ms || e->created_ms - wall_ms > 1000 || e->number < e->channel->invalidated
           || e->number < f->validity.all;
}

static void model_put(const fixture *f, model *m, model_entry entry, int64_t wall_ms)
{
    size_t at = model_find(m, entry.n);
    if (at < m->count) {
        model_remove(m, at);
    }
    if (larder__memory_entry_bytes(entry.len) > f->memory.limit) {
        return;
    }
    while (model_bytes(m) + larder__memory_entry_bytes(entry.len) > f->memory.limit) {
        const model_entry *coldest = &m->entries[m->count - 1];
        if (!model_dead(f, coldest, wall_ms)) {
            m->pending[coldest->n] += coldest->uses;
        }
        m->count--;
    }
    model_prepend(m, entry);
}

static int model_get(const fixture *f, model *m, uint32_t n, uint32_t version, int64_t wall_ms)
{
    size_t at = model_find(m, n);
    if (at == m->count) {
        return 0;
    }
    model_entry entry = m->entries[at];
    model_remove(m, at);
    if (entry.version != version || model_dead(f, &entry, wall_ms)) {
        return 0;
    }
    entry.uses++;
    model_prepend(m, entry);
    return 1;
}

/* Same entries in the same order with the same uses; same bytes; within the bound. */
static void expect_same(const fixture *f, const model *m)
{
    size_t i = 0;
    for (const larder__list *node = f->memory.lru.next; node != &f->memory.lru; node = node->next, i++) {
        const larder__memory_entry *entry = LARDER__CONTAINER(node, larder__memory_entry, lru);
        uint8_t key[LARDER_KEY_SIZE];
        assert_true(i < m->count);
        key_of(key, m->entries[i].n);
        assert_memory_equal(entry->key, key, LARDER_KEY_SIZE);
        assert_int_equal(entry->uses, m->entries[i].uses);
        assert_int_equal(entry->value->len, m->entries[i].len);
    }
    assert_int_equal(i, m->count);
    assert_int_equal(f->memory.entries, m->count);
    assert_int_equal(f->memory.map.count, m->count);
    assert_int_equal(f->memory.bytes, model_bytes(m));
    assert_true(f->memory.bytes <= f->memory.limit);
}

static void step_put(fixture *f, model *m, test_random *random, int64_t wall_ms)
{
    model_entry entry = {
        .n = (uint32_t)test_random_below(random, MODEL_KEYS),
        .version = 1 + (uint32_t)test_random_below(random, 2),
        .created_ms = wall_ms,
        .expires_ms = wall_ms + 1 + (int64_t)test_random_below(random, 5000),
        .len = test_random_below(random, 8) == 0 ? 3500 : test_random_below(random, 600),
        .channel = test_random_below(random, 2) ? f->channel : f->other,
        .number = f->validity.number - (f->validity.number > 0 ? test_random_below(random, 2) : 0),
    };
    larder__record record = record_of(f, entry.n, entry.len);
    record.version = entry.version;
    record.created_ms = entry.created_ms;
    record.expires_ms = entry.expires_ms;
    record.channel = entry.channel;
    record.number = entry.number;
    int status = larder__memory_put(&f->memory, &record, 0, wall_ms);
    assert_int_equal(status, larder__memory_entry_bytes(entry.len) > f->memory.limit ? LARDER_ETOOBIG : LARDER_OK);
    larder__body_release(record.value);
    model_put(f, m, entry, wall_ms);
}

/* The model learns from the tier what a slice removed, and checks that all of it was dead and nothing else moved. */
static void step_sweep(fixture *f, model *m, test_random *random, int64_t wall_ms)
{
    size_t limit = test_random_below(random, 12);
    size_t before = m->count;
    size_t removed = larder__memory_sweep(&f->memory, limit, wall_ms);
    assert_true(removed <= limit);
    size_t i = 0;
    const larder__list *node = f->memory.lru.next;
    while (i < m->count) {
        uint8_t key[LARDER_KEY_SIZE];
        key_of(key, m->entries[i].n);
        const larder__memory_entry *entry = LARDER__CONTAINER(node, larder__memory_entry, lru);
        if (node != &f->memory.lru && memcmp(entry->key, key, LARDER_KEY_SIZE) == 0) {
            node = node->next;
            i++;
        } else {
            assert_true(model_dead(f, &m->entries[i], wall_ms));
            model_remove(m, i);
        }
    }
    assert_int_equal(before - m->count, removed);
}

static void step_save(fixture *f, model *m)
{
    larder__use uses[LARDER__MEMORY_PENDING + MODEL_KEYS];
    size_t count = larder__memory_uses(&f->memory, uses, sizeof uses / sizeof uses[0]);
    uint64_t expected[MODEL_KEYS];
    uint64_t got[MODEL_KEYS] = {0};
    memcpy(expected, m->pending, sizeof expected);
    memset(m->pending, 0, sizeof m->pending);
    for (size_t i = 0; i < m->count; i++) {
        expected[m->entries[i].n] += m->entries[i].uses;
        m->entries[i].uses = 0;
    }
    for (size_t i = 0; i < count; i++) {
        uint32_t n;
        memcpy(&n, uses[i].key + LARDER_KEY_SIZE - sizeof n, sizeof n);
        got[n] += uses[i].hits;
    }
    assert_memory_equal(got, expected, sizeof got);
    larder__memory_uses_saved(&f->memory, count);
    assert_false(larder__memory_has_uses(&f->memory));
}

static void test_memory_behaves_as_a_simple_model_does_and_keeps_its_bound(void **state)
{
    (void)state;
    test_random random = {test_random_seed("memory model")};
    fixture f;
    start(&f, room_for(12, 300));
    model m = {.count = 0};
    int64_t wall_ms = NOW;
    for (int step = 0; step < MODEL_STEPS; step++) {
        uint32_t n = (uint32_t)test_random_below(&random, MODEL_KEYS);
        uint64_t dice = test_random_below(&random, 100);
        if (dice < 35) {
            step_put(&f, &m, &random, wall_ms);
        } else if (dice < 85) {
            uint32_t version = test_random_below(&random, 10) == 0 ? 2 : 1;
            int hit = get_as(&f, n, version, wall_ms) != NULL;
            assert_int_equal(hit, model_get(&f, &m, n, version, wall_ms));
        } else if (dice < 90) {
            wall_ms += (int64_t)test_random_below(&random, 1500) - 500; /* now and then it goes back */
        } else if (dice < 92) {
            larder__channel *channel = test_random_below(&random, 2) ? f.channel : f.other;
            larder__validity_invalidate(&f.validity, LARDER__INVALIDATE_CHANNEL, channel, NULL);
        } else if (dice < 93) {
            larder__validity_invalidate(&f.validity, LARDER__INVALIDATE_ALL, NULL, NULL);
        } else if (dice < 97) {
            step_sweep(&f, &m, &random, wall_ms);
        } else {
            step_save(&f, &m);
        }
        expect_same(&f, &m);
    }
    stop(&f);
}

int main(void)
{
    test_alloc_install();
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_memory_serves_what_was_put),
        cmocka_unit_test(test_memory_body_outlives_its_entry_when_a_caller_holds_it),
        cmocka_unit_test(test_memory_null_and_empty_answers_are_kept),
        cmocka_unit_test(test_memory_keys_whose_hashes_are_equal_are_kept_apart),
        cmocka_unit_test(test_memory_put_replaces_the_entry_of_its_key),
        cmocka_unit_test(test_memory_expired_entry_is_a_miss_and_leaves),
        cmocka_unit_test(test_memory_other_version_is_a_miss_and_leaves),
        cmocka_unit_test(test_memory_clock_set_back_makes_nothing_immortal),
        cmocka_unit_test(test_memory_channel_invalidation_covers_that_channel_only),
        cmocka_unit_test(test_memory_invalidation_of_all_covers_everything_before_it),
        cmocka_unit_test(test_memory_remove_dead_leaves_what_can_be_served),
        cmocka_unit_test(test_memory_least_recently_used_leaves_first),
        cmocka_unit_test(test_memory_large_entry_takes_the_place_of_several),
        cmocka_unit_test(test_memory_answer_larger_than_the_tier_is_not_kept_and_evicts_nothing_else),
        cmocka_unit_test(test_memory_of_no_bytes_keeps_nothing),
        cmocka_unit_test(test_memory_sweep_frees_invalidated_entries_in_bounded_slices),
        cmocka_unit_test(test_memory_sweep_goes_on_where_it_ended_and_begins_again_at_the_cold_end),
        cmocka_unit_test(test_memory_sweep_survives_that_its_place_is_evicted),
        cmocka_unit_test(test_memory_uses_are_counted_per_entry_and_saved_once),
        cmocka_unit_test(test_memory_answer_served_as_it_comes_in_counts_as_used),
        cmocka_unit_test(test_memory_uses_of_evicted_entries_wait_for_the_next_save),
        cmocka_unit_test(test_memory_uses_of_evicted_entries_are_bounded),
        cmocka_unit_test(test_memory_hit_allocates_nothing),
        cmocka_unit_test(test_memory_put_that_gets_no_memory_leaves_neither_answer),
        cmocka_unit_test(test_memory_init_that_gets_no_memory_needs_no_release),
        cmocka_unit_test(test_memory_behaves_as_a_simple_model_does_and_keeps_its_bound),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
