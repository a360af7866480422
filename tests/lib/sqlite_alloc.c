/* tests/lib/sqlite_alloc.c: counts and refuses in front of the allocator that SQLite has. */
#include "sqlite_alloc.h"

#include <sqlite3.h>
#include <stdio.h>
#include <stdlib.h>

static sqlite3_mem_methods real;
static unsigned long count;
static unsigned long fail_at;
static int all_after;
static unsigned long failed;
static long live;

static int refuse(void)
{
    unsigned long n = __atomic_add_fetch(&count, 1, __ATOMIC_SEQ_CST);
    unsigned long at = __atomic_load_n(&fail_at, __ATOMIC_SEQ_CST);
    if (at != 0 && (n == at || (n > at && __atomic_load_n(&all_after, __ATOMIC_SEQ_CST)))) {
        __atomic_add_fetch(&failed, 1, __ATOMIC_SEQ_CST);
        return 1;
    }
    return 0;
}

static void *hook_malloc(int size)
{
    void *block = refuse() ? NULL : real.xMalloc(size);
    if (block != NULL) {
        __atomic_add_fetch(&live, 1, __ATOMIC_SEQ_CST);
    }
    return block;
}

static void *hook_realloc(void *block, int size)
{
    return refuse() ? NULL : real.xRealloc(block, size);
}

static void hook_free(void *block)
{
    __atomic_sub_fetch(&live, 1, __ATOMIC_SEQ_CST);
    real.xFree(block);
}

void sqlite_alloc_install(void)
{
    int rc = sqlite3_config(SQLITE_CONFIG_GETMALLOC, &real);
    sqlite3_mem_methods hooked = real;
    hooked.xMalloc = hook_malloc;
    hooked.xRealloc = hook_realloc;
    hooked.xFree = hook_free;
    if (rc != SQLITE_OK || sqlite3_config(SQLITE_CONFIG_MALLOC, &hooked) != SQLITE_OK) {
        fprintf(stderr, "sqlite_alloc: too late to install\n");
        abort();
    }
}

void sqlite_alloc_fail_at(unsigned long nth, int all)
{
    __atomic_store_n(&fail_at, 0, __ATOMIC_SEQ_CST);
    __atomic_store_n(&count, 0, __ATOMIC_SEQ_CST);
    __atomic_store_n(&failed, 0, __ATOMIC_SEQ_CST);
    __atomic_store_n(&all_after, all, __ATOMIC_SEQ_CST);
    __atomic_store_n(&fail_at, nth, __ATOMIC_SEQ_CST);
}

unsigned long sqlite_alloc_count(void)
{
    return __atomic_load_n(&count, __ATOMIC_SEQ_CST);
}

unsigned long sqlite_alloc_failed(void)
{
    return __atomic_load_n(&failed, __ATOMIC_SEQ_CST);
}

long sqlite_alloc_live(void)
{
    return __atomic_load_n(&live, __ATOMIC_SEQ_CST);
}
