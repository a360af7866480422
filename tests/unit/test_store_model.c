/* Two stores on one file against a plain model: whatever is put, invalidated, flushed and reopened in whatever order,
 * no get returns an answer that an earlier invalidation had covered.
 *
 * The model: each key's truth is a number that only grows. A run reads it when it begins and puts it when it ends. A
 * change raises it and invalidates, through one store, by key, channel or all. For that store the old numbers are
 * forbidden at once; for the other from the moment the invalidation is committed. */
#include "store_fixture.h"

#include <stdio.h>
#include <stdlib.h>

enum { KEYS = 24, CHANNELS = 3, RUNS = 16, STORES = 2 };

typedef struct run {
    int active;
    int store;
    int key;
    int value;
    larder__mark mark;
} run;

typedef struct model {
    store_fixture stores[STORES];
    const char *path;
    test_random random;
    int truth[KEYS];
    int least[STORES][KEYS];   /* what a get of that store may return at the least */
    int waiting[STORES][KEYS]; /* becomes the least of the others once this store has committed */
    run runs[RUNS];
    long hits, misses, refused;
} model;

static const char *const channel_names[CHANNELS] = {"a", "b", "c"};

static larder__channel *channel_of(model *m, int store, int key)
{
    return larder__validity_channel(larder__store_validity(m->stores[store].store), channel_names[key % CHANNELS], 1);
}

static void key_bytes(uint8_t bytes[LARDER_KEY_SIZE], int key)
{
    memset(bytes, 0, LARDER_KEY_SIZE);
    bytes[0] = (uint8_t)key;
}

static void begin_run(model *m)
{
    run *r = &m->runs[test_random_below(&m->random, RUNS)];
    if (r->active) {
        return;
    }
    r->active = 1;
    r->store = (int)test_random_below(&m->random, STORES);
    r->key = (int)test_random_below(&m->random, KEYS);
    store_fixture *f = &m->stores[r->store];
    larder__store_begin(f->store, f->clock.mono_ns);
    r->mark = larder__validity_mark(larder__store_validity(f->store));
    larder__store_end(f->store);
    r->value = m->truth[r->key];
}

static void end_run(model *m)
{
    run *r = &m->runs[test_random_below(&m->random, RUNS)];
    if (!r->active) {
        return;
    }
    r->active = 0;
    store_fixture *f = &m->stores[r->store];
    char text[16];
    snprintf(text, sizeof text, "%d", r->value);
    larder__record record = {
        .channel = channel_of(m, r->store, r->key),
        .version = 1,
        .created_ms = f->clock.wall_ms,
        .expires_ms = f->clock.wall_ms + 3600000,
        .value = larder__body_new(text, strlen(text), LARDER_CONTENT_JSON),
        .args = larder__body_new("null", 4, LARDER_CONTENT_JSON),
    };
    key_bytes(record.key, r->key);
    int status = larder__store_put(f->store, &record, r->mark);
    m->refused += status == LARDER_ECANCELLED;
    larder__body_release(record.value);
    larder__body_release(record.args);
}

static void change_one(model *m, int store, int key)
{
    m->truth[key]++;
    m->least[store][key] = m->truth[key];
    m->waiting[store][key] = m->truth[key];
}

static void change(model *m)
{
    int store = (int)test_random_below(&m->random, STORES);
    int key = (int)test_random_below(&m->random, KEYS);
    larder__invalidation_kind kind = LARDER__INVALIDATE_KEY;
    uint64_t dice = test_random_below(&m->random, 20);
    kind = dice == 0 ? LARDER__INVALIDATE_ALL : dice < 5 ? LARDER__INVALIDATE_CHANNEL : kind;
    for (int k = 0; k < KEYS; k++) {
        if (k == key || kind == LARDER__INVALIDATE_ALL
            || (kind == LARDER__INVALIDATE_CHANNEL && k % CHANNELS == key % CHANNELS)) {
            change_one(m, store, k);
        }
    }
    uint8_t bytes[LARDER_KEY_SIZE];
    key_bytes(bytes, key);
    int status = larder__store_invalidate(m->stores[store].store, kind, channel_of(m, store, key),
                                          kind == LARDER__INVALIDATE_KEY ? bytes : NULL, NULL, NULL);
    assert_int_equal(status, LARDER_OK);
}

static void committed(model *m, int store)
{
    for (int other = 0; other < STORES; other++) {
        for (int k = 0; k < KEYS; k++) {
            if (m->waiting[store][k] > m->least[other][k]) {
                m->least[other][k] = m->waiting[store][k];
            }
        }
    }
}

static void look(model *m)
{
    int store = (int)test_random_below(&m->random, STORES);
    store_fixture *f = &m->stores[store];
    larder__store_begin(f->store, f->clock.mono_ns);
    for (uint64_t n = 1 + test_random_below(&m->random, 3); n > 0; n--) {
        int key = (int)test_random_below(&m->random, KEYS);
        uint8_t bytes[LARDER_KEY_SIZE];
        larder__record record;
        key_bytes(bytes, key);
        if (!larder__store_get(f->store, channel_of(m, store, key), bytes, 1, f->clock.wall_ms, &record)) {
            m->misses++;
            continue;
        }
        m->hits++;
        int value = atoi(record.value->data);
        larder__body_release(record.value);
        if (value < m->least[store][key] || value > m->truth[key]) {
            fail_msg("store %d served %d for key %d, where %d was invalidated", store, value, key,
                     m->least[store][key]);
        }
    }
    larder__store_end(f->store);
}

static void reopen(model *m)
{
    int store = (int)test_random_below(&m->random, STORES);
    for (int i = 0; i < RUNS; i++) {
        m->runs[i].active &= m->runs[i].store != store;
    }
    fixture_stop_store(&m->stores[store]);
    assert_int_equal(m->stores[store].stop_status, LARDER_OK);
    committed(m, store);
    fixture_open(&m->stores[store]);
}

static void step(model *m)
{
    uint64_t dice = test_random_below(&m->random, 1000);
    if (dice < 350) {
        look(m);
    } else if (dice < 600) {
        begin_run(m);
    } else if (dice < 850) {
        end_run(m);
    } else if (dice < 940) {
        change(m);
    } else if (dice < 980) {
        larder__store_settle(m->stores[dice % STORES].store);
    } else if (dice < 998) {
        int store = (int)(dice % STORES);
        assert_int_equal(fixture_flush(&m->stores[store]), LARDER_OK);
        committed(m, store);
    } else {
        reopen(m);
    }
}

static void test_no_answer_is_served_after_an_invalidation_that_covers_it(void **state)
{
    (void)state;
    const char *given = getenv("LARDER_MODEL_STEPS");
    long steps = given != NULL ? atol(given) : 40000;
    static model m;
    memset(&m, 0, sizeof m);
    m.path = test_path("model.larder");
    m.random.state = test_random_seed("store model");
    for (int i = 0; i < STORES; i++) {
        fixture_start(&m.stores[i], m.path);
    }
    for (long i = 0; i < steps; i++) {
        step(&m);
    }
    for (int i = 0; i < STORES; i++) {
        fixture_end(&m.stores[i]);
    }
    print_message("%ld steps: %ld hits, %ld misses, %ld answers refused as invalidated\n", steps, m.hits, m.misses,
                  m.refused);
    assert_true(m.hits > steps / 20); /* a store that never hits would pass otherwise */
    assert_true(m.refused > 0);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_no_answer_is_served_after_an_invalidation_that_covers_it),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
