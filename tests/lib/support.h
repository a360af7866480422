/* tests/lib/support.h: what every test needs, once: temporary folders, a clock to set, a loop with a deadline, failing
 * allocations. Include this first: it brings cmocka with what cmocka needs before it. */
#ifndef LARDER_TEST_SUPPORT_H
#define LARDER_TEST_SUPPORT_H

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <larder/larder.h>
#include <uv.h>

/* A new empty folder, mode 0700, under TMPDIR or /tmp; the process removes it, with all in it, at exit (not when
 * killed). Returns a path that lives as long as the process. */
const char *test_dir(void);
/* "<a new folder>/<name>". Lives as long as the process. */
const char *test_path(const char *name);

/* A clock that stands still until it is moved. Thread-safe. Starts at wall 1,700,000,000,000 ms and mono 1 s. */
typedef struct test_clock {
    int64_t wall_ms;    /* atomic */
    uint64_t mono_ns;   /* atomic */
    larder_clock clock; /* hand &clock.clock to larder_options */
} test_clock;
void test_clock_init(test_clock *clock);
void test_clock_advance(test_clock *clock, int64_t ms); /* both clocks */
void test_clock_jump(test_clock *clock, int64_t ms);    /* the wall clock only; may be negative */

/* Turns the loop until *flag is nonzero; fails the test when that takes more than 20 s of real time. */
void test_run_until(uv_loop_t *loop, const int *flag);
/* Closes the loop; fails the test when a handle is still open. */
void test_loop_close(uv_loop_t *loop);

/* Allocations. After test_alloc_install() (before anything of Larder runs) each allocation of Larder is counted, and
 * those that test_alloc_fail_at names fail. Thread-safe. */
void test_alloc_install(void);
/* The nth from now (1: the next) fails; with `all_after`, every one from then on. 0: none. Resets the count. */
void test_alloc_fail_at(unsigned long nth, int all_after);
unsigned long test_alloc_count(void); /* since fail_at was called */
int test_alloc_failed(void);          /* how many were made to fail since */
long test_alloc_live(void);           /* blocks not freed, since install */

/* Runs a shell command; returns its exit status; its standard output goes to *out (free it), standard error is left
 * alone. */
int test_shell(char **out, const char *format, ...) __attribute__((format(printf, 2, 3)));

/* A pseudo-random number generator with a printed seed (splitmix64); LARDER_TEST_SEED sets it. */
typedef struct test_random {
    uint64_t state;
} test_random;
uint64_t test_random_seed(const char *test); /* chooses, prints "test: seed N", returns */
uint64_t test_random_next(test_random *random);
uint64_t test_random_below(test_random *random, uint64_t bound);

#endif
