/* tests/fault/test_kill.c: kill -9 at random moments.
 *
 * A child opens a file and does random puts, clears and flushes on one thread. It tells its parent, through a pipe and
 * one line a step, what it is about to do and what was acknowledged. The parent kills it, and then holds the file
 * against the story:
 *
 *   P k g   the run of key k began that will answer with generation g: from now on it may be in the file
 *   D g     its answer was delivered
 *   H k g n it was answered from the cache with g, and sent when n clears had been called for
 *   K k     key k is about to be cleared    A   all is (the channel or everything)
 *   c i     the callback of the ith clear said that it is committed
 *   f       a flush is about to be asked    F   it was acknowledged: all D, K and A before its f are in the file
 *   S n     n requests will have been sent  R n n requests were answered
 *   o, O    the file is about to be opened, is open
 *
 * From this follows, for each key, which generations a fresh instance may find and whether it may find none. Runs of a
 * key do not overlap, so that "newest" is defined. LARDER_KILLS sets how many kills; LARDER_TEST_SEED repeats a run.
 */
#include "driver.h"

#include "child.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#define KEYS 24
#define LIVES 6 /* of one file, at most */

/* ---- the child ---- */

typedef struct worker {
    driver d;
    test_random random;
    long next_generation;
    int busy[KEYS];
    unsigned long sent;
    unsigned long answered;
    unsigned long clears;
    unsigned in_flight;
    larder_request *later; /* one run that answers when the next step comes */
    unsigned later_key;
    long later_generation;
} worker;

typedef struct sent {
    worker *w;
    unsigned key;
    unsigned long clears; /* called for before */
} sent;

static unsigned request_key(const larder_request *request)
{
    return (unsigned)strtoul(larder_request_args(request, NULL) + 1, NULL, 10);
}

static void answer(worker *w, larder_request *request, unsigned key, long generation)
{
    char *text = driver_value(key, generation, w->d.pad + (size_t)generation % 50);
    larder_answer_json(request, text, strlen(text));
    free(text);
}

static void on_run(larder_request *request, void *user_data)
{
    worker *w = user_data;
    unsigned key = request_key(request);
    long generation = w->next_generation++;
    child_say("P %u %ld\n", key, generation);
    if (w->later == NULL && test_random_below(&w->random, 8) == 0) {
        w->later = request;
        w->later_key = key;
        w->later_generation = generation;
        return;
    }
    answer(w, request, key, generation);
}

static void answer_later(worker *w)
{
    if (w->later != NULL) {
        larder_request *request = w->later;
        w->later = NULL;
        answer(w, request, w->later_key, w->later_generation);
    }
}

static void on_response(const larder_response *response, void *user_data)
{
    sent *s = user_data;
    worker *w = s->w;
    const char *data = larder_response_data(response, NULL);
    const char *generation = data == NULL ? NULL : strstr(data, "\"g\":");
    if (generation == NULL) {
        child_say("? %s: %s\n", larder_response_code(response), larder_response_message(response));
        _exit(3);
    }
    w->answered++;
    if (larder_response_meta(response)->cached) {
        child_say("H %u %ld %lu\nR %lu\n", s->key, strtol(generation + 4, NULL, 10), s->clears, w->answered);
    } else {
        child_say("D %ld\nR %lu\n", strtol(generation + 4, NULL, 10), w->answered);
    }
    w->busy[s->key] = 0;
    w->in_flight--;
    free(s);
}

static void step_send(worker *w)
{
    unsigned key = (unsigned)test_random_below(&w->random, KEYS);
    if (w->busy[key]) {
        return;
    }
    sent *s = malloc(sizeof *s);
    s->w = w;
    s->key = key;
    s->clears = w->clears;
    char args[16];
    snprintf(args, sizeof args, "[%u]", key);
    larder_send_options options;
    larder_send_options_init(&options);
    options.cache = test_random_below(&w->random, 3) == 0 ? LARDER_CACHE_DEFAULT : LARDER_CACHE_REFRESH;
    child_say("S %lu\n", ++w->sent);
    w->busy[key] = 1;
    w->in_flight++;
    int status = larder_send(w->d.l, "kv", args, LARDER_NUL, &options, on_response, s, NULL, NULL);
    if (status != LARDER_OK) {
        child_say("? send %d\n", status);
        _exit(4);
    }
}

static void on_cleared(int status, void *user_data)
{
    if (status == LARDER_OK) {
        child_say("c %zu\n", (size_t)(uintptr_t)user_data);
    } else {
        child_say("? clear %d\n", status);
    }
}

static void step_clear(worker *w)
{
    uint64_t kind = test_random_below(&w->random, 8);
    int status;
    void *index = (void *)(uintptr_t)w->clears++;
    if (kind == 0) {
        child_say("A\n");
        status = larder_invalidate_all(w->d.l, on_cleared, index, NULL);
    } else if (kind == 1) {
        child_say("A\n");
        status = larder_invalidate_channel(w->d.l, "kv", on_cleared, index, NULL);
    } else {
        unsigned key = (unsigned)test_random_below(&w->random, KEYS);
        char args[16];
        snprintf(args, sizeof args, "[%u]", key);
        child_say("K %u\n", key);
        status = larder_invalidate(w->d.l, "kv", args, LARDER_NUL, NULL, on_cleared, index, NULL);
    }
    if (status != LARDER_OK) {
        child_say("? clear %d\n", status);
        _exit(5);
    }
}

static void on_flushed(int status, void *user_data)
{
    int *waiting = user_data;
    *waiting = 0;
    if (status == LARDER_OK) {
        child_say("F\n");
    } else {
        child_say("? flush %d\n", status);
    }
}

static void child_steps(worker *w)
{
    int flushing = 0;
    for (;;) {
        uint64_t what = test_random_below(&w->random, 20);
        if (what < 14) {
            step_send(w);
        } else if (what < 16) {
            step_clear(w);
        } else if (what == 16 && !flushing) {
            flushing = 1;
            child_say("f\n");
            if (larder_flush(w->d.l, on_flushed, &flushing) != LARDER_OK) {
                _exit(6);
            }
        } else if (what == 17) {
            answer_later(w);
        }
        uv_run(&w->d.loop, what == 18 || w->in_flight > 16 ? UV_RUN_ONCE : UV_RUN_NOWAIT);
        if (w->in_flight > 16) {
            answer_later(w);
        }
    }
}

/* --child PATH SEED FIRST_GENERATION PAD: runs until it is killed. */
static int child_main(char **argv)
{
    worker *w = calloc(1, sizeof *w);
    w->random.state = strtoull(argv[1], NULL, 10);
    w->next_generation = strtol(argv[2], NULL, 10);
    driver_init(&w->d, argv[0]);
    w->d.pad = strtoul(argv[3], NULL, 10);
    w->d.options.commit_interval_ms = (uint32_t)test_random_below(&w->random, 4);
    w->d.options.metrics_interval_ms = 5;
    w->d.options.sweep_interval_ms = 20;
    w->d.options.queue_bytes = (size_t)1 << 30; /* nothing is left out for lack of room */
    child_say("o\n");
    if (larder_open(&w->d.l, &w->d.options, &w->d.error) != LARDER_OK) {
        child_say("? open: %s\n", w->d.error.message);
        return 2;
    }
    child_say("O\n");
    larder_handler_options options;
    larder_handler_options_init(&options);
    options.cacheable = 1;
    options.ttl_ms = 3600000;
    options.user_data = w;
    if (larder_register(w->d.l, "kv", on_run, &options, NULL) != LARDER_OK) {
        return 7;
    }
    child_steps(w);
    return 0;
}

/* ---- what the file may hold ---- */

typedef struct put {
    long generation;
    int clears;  /* committed clears that came after it */
    int maybe;   /* clears after it that may be committed */
    int certain; /* it was flushed */
} put;

typedef struct key_state {
    put *puts; /* oldest first */
    size_t count;
} key_state;

typedef struct clear {
    int key; /* -1: all */
    int committed;
    size_t at[KEYS]; /* puts of each key that it covers: those before */
} clear;

typedef struct story {
    key_state keys[KEYS];
    clear *clears;
    size_t clear_count;
    size_t flush_delivered; /* what the flush under way promises */
    size_t flush_clears;
    unsigned long flush_answered;
    long *delivered;
    size_t delivered_count;
    unsigned long sent;
    unsigned long answered;
    unsigned long requests_flushed;
    int opening;
    int flushing;
    int uncommitted; /* changes since the last acknowledgement */
    size_t acknowledgements;
    long last_generation;
    char failure[512];
} story;

static void story_put(story *s, unsigned key, long generation)
{
    key_state *k = &s->keys[key];
    k->puts = realloc(k->puts, (k->count + 1) * sizeof *k->puts);
    assert_non_null(k->puts);
    put p = {generation, 0, 0, 0};
    k->puts[k->count++] = p;
    s->last_generation = generation > s->last_generation ? generation : s->last_generation;
}

static put *story_find(story *s, long generation)
{
    for (unsigned key = 0; key < KEYS; key++) {
        for (size_t i = s->keys[key].count; i > 0; i--) {
            if (s->keys[key].puts[i - 1].generation == generation) {
                return &s->keys[key].puts[i - 1];
            }
        }
    }
    return NULL;
}

static void story_clear(story *s, int key)
{
    s->clears = realloc(s->clears, (s->clear_count + 1) * sizeof *s->clears);
    assert_non_null(s->clears);
    clear *c = &s->clears[s->clear_count++];
    c->key = key;
    c->committed = 0;
    for (unsigned i = 0; i < KEYS; i++) {
        c->at[i] = key < 0 || key == (int)i ? s->keys[i].count : 0;
    }
    s->uncommitted = 1;
}

static void story_flushed(story *s)
{
    for (size_t i = 0; i < s->flush_delivered; i++) {
        put *p = story_find(s, s->delivered[i]);
        if (p != NULL) {
            p->certain = 1;
        }
    }
    for (size_t i = 0; i < s->flush_clears; i++) {
        s->clears[i].committed = 1;
    }
    s->requests_flushed = s->flush_answered;
    s->flushing = 0;
    s->uncommitted = 0;
    s->acknowledgements++;
}

/* In this life of the child what is cached may not be older than the last clear either. */
static void story_hit(story *s, unsigned key, long generation, size_t clears)
{
    size_t covered = 0;
    for (size_t i = 0; i < clears && i < s->clear_count; i++) {
        covered = s->clears[i].at[key] > covered ? s->clears[i].at[key] : covered;
    }
    const key_state *k = &s->keys[key];
    if (k->count == 0 || k->puts[k->count - 1].generation != generation || covered == k->count) {
        snprintf(s->failure, sizeof s->failure,
                 "while running, key %u was answered from the cache with generation %ld, "
                 "which is %s",
                 key, generation, covered == k->count ? "cleared" : "not the newest");
    }
}

static void story_delivered(story *s, long generation)
{
    s->delivered = realloc(s->delivered, (s->delivered_count + 1) * sizeof *s->delivered);
    assert_non_null(s->delivered);
    s->delivered[s->delivered_count++] = generation;
    s->uncommitted = 1;
}

static void story_line(story *s, const char *line)
{
    unsigned key = 0;
    long number = 0;
    size_t clears = 0;
    sscanf(line + 1, "%u %ld %zu", &key, &number, &clears);
    switch (line[0]) {
    case 'o':
        s->opening = 1;
        break;
    case 'O':
        s->opening = 0;
        break;
    case 'S':
        s->sent = strtoul(line + 1, NULL, 10);
        break;
    case 'R':
        s->answered = strtoul(line + 1, NULL, 10);
        break;
    case 'P':
        story_put(s, key, number);
        break;
    case 'H':
        story_hit(s, key, number, clears);
        break;
    case 'D':
        story_delivered(s, strtol(line + 1, NULL, 10));
        break;
    case 'K':
        story_clear(s, (int)key);
        break;
    case 'A':
        story_clear(s, -1);
        break;
    case 'c':
        assert_true(key < s->clear_count);
        s->clears[key].committed = 1;
        s->acknowledgements++;
        break;
    case 'f':
        s->flushing = 1;
        s->flush_delivered = s->delivered_count;
        s->flush_clears = s->clear_count;
        s->flush_answered = s->answered;
        break;
    case 'F':
        story_flushed(s);
        break;
    default:
        snprintf(s->failure, sizeof s->failure, "the child says: %s", line);
        break;
    }
}

/* Only whole lines count: the kill may have cut the last. */
static void story_read(story *s, char *text)
{
    for (char *line = text;;) {
        char *end = strchr(line, '\n');
        if (end == NULL) {
            break;
        }
        *end = '\0';
        story_line(s, line);
        line = end + 1;
    }
    for (size_t i = 0; i < s->clear_count; i++) {
        for (unsigned key = 0; key < KEYS; key++) {
            for (size_t p = 0; p < s->clears[i].at[key]; p++) {
                *(s->clears[i].committed ? &s->keys[key].puts[p].clears : &s->keys[key].puts[p].maybe) += 1;
            }
        }
    }
}

/* What a fresh instance found for a key: a generation, or -1. Writes why that cannot be; and makes it the only truth.
 */
static void story_judge(story *s, unsigned key, long found)
{
    key_state *k = &s->keys[key];
    size_t newest_certain = 0; /* index + 1 */
    for (size_t i = 0; i < k->count; i++) {
        if (k->puts[i].certain) {
            newest_certain = i + 1;
        }
    }
    const put *certain = newest_certain > 0 ? &k->puts[newest_certain - 1] : NULL;
    if (found < 0) {
        if (certain != NULL && certain->clears == 0 && certain->maybe == 0) {
            snprintf(s->failure, sizeof s->failure, "key %u: generation %ld was flushed and is not there", key,
                     certain->generation);
        }
    } else {
        const put *p = story_find(s, found);
        if (p == NULL || p < k->puts || p >= k->puts + k->count) {
            snprintf(s->failure, sizeof s->failure, "key %u: generation %ld was never put", key, found);
        } else if (p->clears > 0) {
            snprintf(s->failure, sizeof s->failure, "key %u: generation %ld is there after a committed clear", key,
                     found);
        } else if (certain != NULL && p < certain) {
            snprintf(s->failure, sizeof s->failure, "key %u: generation %ld is there, %ld was flushed after it", key,
                     found, certain->generation);
        }
    }
    k->count = 0;
    if (found >= 0) {
        story_put(s, key, found);
        k->puts[0].certain = 1;
    }
}

/* The next life begins: what was found is what there is. */
static void story_next(story *s)
{
    free(s->clears);
    free(s->delivered);
    s->clears = NULL;
    s->delivered = NULL;
    s->clear_count = s->delivered_count = s->acknowledgements = 0;
    s->flush_delivered = s->flush_clears = 0;
    s->sent = s->answered = s->requests_flushed = s->flush_answered = 0;
    s->opening = s->flushing = s->uncommitted = 0;
}

static void story_release(story *s)
{
    story_next(s);
    for (unsigned key = 0; key < KEYS; key++) {
        free(s->keys[key].puts);
    }
}

/* ---- the parent ---- */

typedef struct tally {
    unsigned long creating, opening, flushing, committing, idle;
    unsigned long certain, found, acknowledgements;
} tally;

/* Nothing but Larder opens the file before Larder has recovered it. */
static void verify(story *s, tally *t, const char *path, int64_t *requests)
{
    driver d;
    driver_init(&d, path);
    d.refuse = 1;
    if (driver_open(&d) != LARDER_OK) {
        snprintf(s->failure, sizeof s->failure, "does not open: %.400s", d.error.message);
        driver_close(&d);
        return;
    }
    for (unsigned key = 0; key < KEYS; key++) {
        driver_answer a = driver_send(&d, key, LARDER_CACHE_DEFAULT);
        story_judge(s, key, a.generation);
        if (a.generation >= 0 && (!a.whole || a.source != LARDER_SOURCE_DISK)) {
            snprintf(s->failure, sizeof s->failure, "key %u: the bytes are not those that were put", key);
        }
        t->found += a.generation >= 0;
    }
    larder_close_report report = driver_close(&d);
    const char *sound = driver_integrity(path);
    if (report.status != LARDER_OK || strcmp(sound, "ok") != 0) {
        snprintf(s->failure, sizeof s->failure, "closing: %s; integrity_check: %s", larder_status_name(report.status),
                 sound);
    }
    int64_t least = *requests + KEYS + (int64_t)s->requests_flushed;
    int64_t most = *requests + KEYS + (int64_t)s->sent;
    *requests = driver_number(path, "SELECT requests FROM totals");
    if (*requests < least || *requests > most) {
        snprintf(s->failure, sizeof s->failure, "the file counts %lld requests, it must be %lld to %lld",
                 (long long)*requests, (long long)least, (long long)most);
    }
}

static void pause_us(uint64_t us)
{
    struct timespec wait = {(time_t)(us / 1000000), (long)(us % 1000000) * 1000};
    nanosleep(&wait, NULL);
}

/* When: during its opening, or after it has said a few things, and then a random while. */
static void kill_somewhere(child *c, test_random *random, int while_opening)
{
    if (while_opening) {
        child_read(c, "o\n", 20000000);
        pause_us(test_random_below(random, 12000));
    } else {
        child_read(c, "O\n", 20000000);
        child_read(c, NULL, (int64_t)test_random_below(random, 60000));
        pause_us(test_random_below(random, 300));
    }
    child_kill(c);
    child_wait(c);
}

static void count_phase(tally *t, const story *s, int first)
{
    if (s->opening) {
        *(first ? &t->creating : &t->opening) += 1;
    } else if (s->flushing) {
        t->flushing++;
    } else {
        *(s->uncommitted ? &t->committing : &t->idle) += 1;
    }
    t->acknowledgements += s->acknowledgements;
}

static void live_and_die(story *s, tally *t, test_random *random, const char *path, int first)
{
    char seed[32];
    char generation[32];
    char pad[32];
    snprintf(seed, sizeof seed, "%llu", (unsigned long long)test_random_next(random));
    snprintf(generation, sizeof generation, "%ld", s->last_generation + 1);
    snprintf(pad, sizeof pad, "%d",
             test_random_below(random, 3) == 0 ? 40000 : 500); /* large: checkpoints come often */
    const char *args[] = {"--child", path, seed, generation, pad, NULL};
    child c;
    child_start(&c, args);
    kill_somewhere(&c, random, first ? test_random_below(random, 2) == 0 : test_random_below(random, 8) == 0);
    story_read(s, c.text);
    child_release(&c);
    count_phase(t, s, first);
    for (unsigned key = 0; key < KEYS; key++) {
        for (size_t i = 0; i < s->keys[key].count; i++) {
            t->certain += (unsigned long)s->keys[key].puts[i].certain;
        }
    }
}

static void test_kill_at_any_moment_keeps_what_was_acknowledged(void **state)
{
    (void)state;
    test_random random = {test_random_seed("kill")};
    const char *given = getenv("LARDER_KILLS");
    unsigned long kills = given != NULL ? strtoul(given, NULL, 10) : 200;
    const char *folder = test_dir();
    char path[4096] = "";
    tally t = {0};
    story s;
    memset(&s, 0, sizeof s);
    int64_t requests = 0;
    for (unsigned long i = 0; i < kills; i++) {
        int first = i % LIVES == 0 || (i % LIVES < 3 && test_random_below(&random, 3) == 0);
        if (first) {
            story_release(&s);
            memset(&s, 0, sizeof s);
            requests = 0;
            snprintf(path, sizeof path, "%s/%lu.larder", folder, i);
        }
        live_and_die(&s, &t, &random, path, first);
        if (s.failure[0] == '\0') {
            verify(&s, &t, path, &requests);
        }
        if (s.failure[0] != '\0') {
            fail_msg("kill %lu, %s: %s", i, path, s.failure);
        }
        story_next(&s);
    }
    story_release(&s);
    print_message(
        "  %lu kills: %lu creating, %lu opening, %lu committing, %lu flushing, %lu idle; %lu acknowledgements, "
        "%lu flushed answers, %lu found\n",
        kills, t.creating, t.opening, t.committing, t.flushing, t.idle, t.acknowledgements, t.certain, t.found);
}

int main(int argc, char **argv)
{
    if (argc == 6 && strcmp(argv[1], "--child") == 0) {
        return child_main(argv + 2);
    }
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_kill_at_any_moment_keeps_what_was_acknowledged),
    };
    cmocka_set_test_filter(argc == 2 ? argv[1] : NULL); /* a pattern with * and ? */
    return cmocka_run_group_tests(tests, NULL, NULL);
}
