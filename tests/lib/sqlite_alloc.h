/* tests/lib/sqlite_alloc.h: makes SQLite's own allocations fail, as test_alloc_* does for Larder's. Thread-safe. */
#ifndef LARDER_TEST_SQLITE_ALLOC_H
#define LARDER_TEST_SQLITE_ALLOC_H

void sqlite_alloc_install(void); /* once, before anything of SQLite runs */
/* The nth from now (1: the next) fails; with `all_after`, every one from then on. 0: none. Resets the count. */
void sqlite_alloc_fail_at(unsigned long nth, int all_after);
unsigned long sqlite_alloc_count(void);  /* since fail_at was called */
unsigned long sqlite_alloc_failed(void); /* how many were refused since */
long sqlite_alloc_live(void);            /* blocks not freed, since install */

#endif
