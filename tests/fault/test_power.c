/* tests/fault/test_power.c: the power goes while a program writes. See lib/fault_vfs.h for what the disk may then hold.
 *
 * One thread puts, clears and flushes, one after the other, so that after each step there is one true state. The cut
 * comes at a random change of the files, also while the file is being made and during checkpoints. A fresh instance on
 * what is left must find the state after some step that had begun: with durability FULL, none before the last
 * acknowledged flush; with NORMAL, any (the newest commits may be lost, but in order). In every case the file is sound.
 * The control is a disk that lies about syncs: it must be seen to break all this, or the test proves nothing.
 * LARDER_CUTS sets how many rounds.
 */
#include "driver.h"

#include "fault_vfs.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

#define KEYS 10
#define STEPS 20000
#define IMAGES 6

typedef struct state_of {
    long generation[KEYS]; /* -1: nothing */
} state_of;

typedef struct history {
    state_of *states; /* after step i; 0: the empty file */
    size_t begun;     /* atomic: steps that have begun */
    size_t flushed;   /* atomic: steps that a flush has acknowledged */
    size_t begun_at_cut;
    size_t flushed_at_cut;
    long generation;
    size_t pad;
} history;

typedef struct outcome {
    unsigned long images, lost, disordered, unsound, refused;
    unsigned long flushed_steps;
} outcome;

static void on_kv(larder_request *request, void *user_data)
{
    history *h = user_data;
    unsigned key = (unsigned)strtoul(larder_request_args(request, NULL) + 1, NULL, 10);
    char *text = driver_value(key, h->generation, h->pad);
    larder_answer_json(request, text, strlen(text));
    free(text);
}

static void note(void *user_data)
{
    history *h = user_data;
    h->flushed_at_cut = __atomic_load_n(&h->flushed, __ATOMIC_SEQ_CST);
    h->begun_at_cut = __atomic_load_n(&h->begun, __ATOMIC_SEQ_CST);
}

static void put(larder *l, const char *args)
{
    larder_send_options options;
    larder_send_options_init(&options);
    options.cache = LARDER_CACHE_REFRESH;
    larder_response *response = NULL;
    assert_int_equal(larder_send_wait(l, "kv", args, LARDER_NUL, &options, &response, NULL), LARDER_OK);
    assert_true(larder_response_success(response));
    larder_response_release(response);
}

/* The state after a step stands in the history before the step can have any effect. */
static void step(larder *l, history *h, test_random *random)
{
    enum { PUT, CLEAR, CLEAR_CHANNEL, FLUSH };
    static const int mix[] = {PUT, PUT, PUT, PUT, PUT, PUT, PUT, PUT, PUT, CLEAR, CLEAR, CLEAR_CHANNEL, FLUSH, FLUSH};
    int what = mix[test_random_below(random, sizeof mix / sizeof mix[0])];
    unsigned key = (unsigned)test_random_below(random, KEYS);
    size_t i = h->begun + 1;
    assert_true(i < STEPS);
    h->states[i] = h->states[i - 1];
    h->pad = test_random_below(random, 20000);
    h->generation += what == PUT;
    for (unsigned k = 0; k < KEYS; k++) {
        if (what == CLEAR_CHANNEL || (k == key && what != FLUSH)) {
            h->states[i].generation[k] = what == PUT ? h->generation : -1;
        }
    }
    __atomic_store_n(&h->begun, i, __ATOMIC_SEQ_CST);
    char args[16];
    snprintf(args, sizeof args, "[%u]", key);
    if (what == PUT) {
        put(l, args);
    } else if (what == CLEAR) {
        assert_int_equal(larder_invalidate(l, "kv", args, LARDER_NUL, NULL, NULL, NULL, NULL), LARDER_OK);
    } else if (what == CLEAR_CHANNEL) {
        assert_int_equal(larder_invalidate_channel(l, "kv", NULL, NULL, NULL), LARDER_OK);
    } else {
        assert_int_equal(larder_flush_wait(l), LARDER_OK);
        __atomic_store_n(&h->flushed, i, __ATOMIC_SEQ_CST);
    }
}

static void run_until_cut(const char *path, larder_durability durability, history *h, test_random *random,
                          const fault_cut *cut)
{
    larder_options options;
    larder_options_init(&options);
    options.path = path;
    options.durability = durability;
    options.commit_interval_ms = 1;
    options.metrics_interval_ms = 5;
    options.sweep_interval_ms = 20;
    options.queue_bytes = (size_t)1 << 30;
    larder *l = NULL;
    larder_error error;
    if (larder_open(&l, &options, &error) != LARDER_OK) {
        fail_msg("%s", error.message);
    }
    larder_handler_options handler;
    larder_handler_options_init(&handler);
    handler.cacheable = 1;
    handler.ttl_ms = 3600000;
    handler.user_data = h;
    assert_int_equal(larder_register(l, "kv", on_kv, &handler, NULL), LARDER_OK);
    while (!__atomic_load_n(&cut->taken, __ATOMIC_SEQ_CST)) {
        step(l, h, random);
    }
    assert_int_equal(larder_close_wait(l, 1000, NULL), LARDER_OK);
}

/* Looks at one image. */
static void look(const char *path, const history *h, outcome *out)
{
    out->images++;
    driver d;
    driver_init(&d, path);
    d.refuse = 1;
    int status = driver_open(&d);
    state_of found;
    for (unsigned key = 0; key < KEYS && status == LARDER_OK; key++) {
        driver_answer a = driver_send(&d, key, LARDER_CACHE_DEFAULT);
        found.generation[key] = a.generation;
        out->unsound += a.generation >= 0 && !a.whole;
    }
    driver_close(&d);
    if (status != LARDER_OK) {
        if (out->refused++ == 0) {
            print_message("  not opened: %s\n", d.error.message);
        }
        return;
    }
    if (strcmp(driver_integrity(path), "ok") != 0 || d.degraded > 0) {
        out->unsound++;
        return;
    }
    size_t i = h->begun_at_cut;
    while (i > 0 && memcmp(&h->states[i], &found, sizeof found) != 0) {
        i--;
    }
    if (memcmp(&h->states[i], &found, sizeof found) != 0) {
        out->disordered++;
    } else if (i < h->flushed_at_cut && memcmp(&h->states[h->flushed_at_cut], &found, sizeof found) != 0) {
        out->lost++;
    }
}

static unsigned long rounds_wanted(void)
{
    const char *given = getenv("LARDER_CUTS");
    return given != NULL ? strtoul(given, NULL, 10) : 40;
}

static outcome cut_many(const char *name, larder_durability durability, int lying, unsigned long rounds)
{
    test_random random = {test_random_seed(name)};
    const char *base = test_dir();
    outcome out = {0};
    history h;
    h.states = calloc(STEPS, sizeof *h.states);
    assert_non_null(h.states);
    for (unsigned key = 0; key < KEYS; key++) {
        h.states[0].generation[key] = -1;
    }
    for (unsigned long round = 0; round < rounds; round++) {
        char folder[4096];
        char path[4200];
        snprintf(folder, sizeof folder, "%s/%lu", base, round);
        assert_int_equal(mkdir(folder, 0700), 0);
        snprintf(path, sizeof path, "%s/a.larder", folder);
        h.begun = h.flushed = h.begun_at_cut = h.flushed_at_cut = 0;
        h.generation = 0;
        fault_vfs_reset();
        fault_vfs_power(1);
        fault_vfs_ignore_syncs(lying);
        fault_cut cut = {folder, IMAGES, test_random_next(&random), note, &h, 0};
        fault_vfs_cut_at(1 + test_random_below(&random, round % 4 == 0 ? 200 : 8000), &cut);
        run_until_cut(path, durability, &h, &random, &cut);
        fault_vfs_reset();
        fault_vfs_ignore_syncs(1); /* for the images, which nobody cuts, only to save time */
        out.flushed_steps += h.flushed_at_cut;
        for (unsigned image = 0; image < IMAGES; image++) {
            snprintf(path, sizeof path, "%s/%u/a.larder", folder, image);
            look(path, &h, &out);
        }
        test_shell(NULL, "rm -rf '%s'", folder);
    }
    free(h.states);
    fault_vfs_reset();
    print_message(
        "  %s: %lu cuts, %lu images, %lu steps flushed; %lu lost what was flushed, %lu out of order, %lu unsound, "
        "%lu not opened\n",
        name, rounds, out.images, out.flushed_steps, out.lost, out.disordered, out.unsound, out.refused);
    return out;
}

static void test_power_cut_with_full_durability_loses_nothing_that_was_flushed(void **state)
{
    (void)state;
    outcome out = cut_many("power, FULL", LARDER_DURABILITY_FULL, 0, rounds_wanted());
    assert_int_equal(out.lost, 0);
    assert_int_equal(out.disordered, 0);
    assert_int_equal(out.unsound, 0);
    assert_int_equal(out.refused, 0);
}

static void test_power_cut_with_normal_durability_leaves_a_sound_file(void **state)
{
    (void)state;
    outcome out = cut_many("power, NORMAL", LARDER_DURABILITY_NORMAL, 0, rounds_wanted());
    assert_int_equal(out.disordered, 0);
    assert_int_equal(out.unsound, 0);
    assert_int_equal(out.refused, 0);
    assert_true(out.lost > 0); /* else the model loses nothing */
}

static void test_power_cut_on_a_lying_disk_is_seen(void **state)
{
    (void)state;
    outcome out = cut_many("power, control", LARDER_DURABILITY_FULL, 1, rounds_wanted() / 2 + 1);
    assert_true(out.lost + out.disordered > 0);
    assert_true(out.unsound + out.refused > 0);
}

int main(int argc, char **argv)
{
    fault_vfs_install();
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_power_cut_with_full_durability_loses_nothing_that_was_flushed),
        cmocka_unit_test(test_power_cut_with_normal_durability_leaves_a_sound_file),
        cmocka_unit_test(test_power_cut_on_a_lying_disk_is_seen),
    };
    cmocka_set_test_filter(argc == 2 ? argv[1] : NULL); /* a pattern with * and ? */
    return cmocka_run_group_tests(tests, NULL, NULL);
}
