/* store/lockfile.h: the file beside the database (path + "-lock", mode 0600) that keeps writers apart and lets
 * processes notice each other.
 *
 * flock(2) on it is held around every write transaction and every checkpoint: SQLite up to 3.51.2 can corrupt a WAL
 * database when two connections write or checkpoint at the same instant (sqlite.org/wal.html, section 11). The kernel
 * drops the lock of a process that dies.
 *
 * Its first page is mapped by all: counters that are raised after commits, read without a system call.
 */
#ifndef LARDER_STORE_LOCKFILE_H
#define LARDER_STORE_LOCKFILE_H

#include <larder/larder.h>

#define LARDER__LOCKFILE_SLOTS 64
#define LARDER__LOCKFILE_PAUSE_MS 5 /* the longest pause between two tries: who gives way to others waits longer */

typedef struct larder__lockfile_page {
    uint64_t magic;                            /* "LRDRlck1" */
    uint64_t invalidations;                    /* raised after each commit that logged an invalidation */
    uint64_t commits;                          /* raised after every commit */
    uint64_t distrust_all;                     /* nonzero: slots ran out; as below */
    uint64_t distrust[LARDER__LOCKFILE_SLOTS]; /* origins that hold an invalidation they cannot commit; whoever opens
                                                  the file next invalidates everything first */
} larder__lockfile_page;

typedef struct larder__lockfile larder__lockfile;

/* Opens or makes it. LARDER_EACCESS, LARDER_EIO, LARDER_ENOMEM, LARDER_EFOREIGN when something else stands at that path
 * (a directory, a link, another content). */
int larder__lockfile_open(larder__lockfile **out, const char *database_path, larder_error *error);
/* For readers: an existing one only, mapped for reading; LARDER_ENOTFOUND. */
int larder__lockfile_open_existing(larder__lockfile **out, const char *database_path, larder_error *error);
void larder__lockfile_close(larder__lockfile *lock); /* releases the lock; NULL is fine */

/* 1 locked by us now, 0 somebody else has it, LARDER_E… */
int larder__lockfile_try(larder__lockfile *lock);
/* Tries with a growing pause up to timeout_ms. LARDER_OK, LARDER_ELOCKED, LARDER_EMOVED when the file was deleted or
 * replaced. For threads that may block. */
int larder__lockfile_lock(larder__lockfile *lock, uint32_t timeout_ms, larder_error *error);
void larder__lockfile_unlock(larder__lockfile *lock);
int larder__lockfile_moved(const larder__lockfile *lock); /* 1: the path no longer leads to it */

uint64_t larder__lockfile_invalidations(const larder__lockfile *lock);
void larder__lockfile_committed(larder__lockfile *lock, int with_invalidations);
void larder__lockfile_distrust(larder__lockfile *lock, uint64_t origin, int on); /* origin is not 0 */
/* 1: some slot is set. With the lock held, after everything was invalidated: larder__lockfile_trust clears them. */
int larder__lockfile_distrusted(const larder__lockfile *lock);
void larder__lockfile_trust(larder__lockfile *lock);

#endif
