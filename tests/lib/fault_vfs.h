/* tests/lib/fault_vfs.h: an SQLite VFS over the system's own that counts what is asked of the disk, refuses it when
 * told to, runs full, and can say what a power cut at some moment would have left.
 *
 * fault_vfs_install() makes it the default, so that a library under test uses it without knowing; "unix" stays
 * available by name for looking at files from outside. Thread-safe. Memory mapping of the database is not offered, so
 * that every read of a page passes here; the WAL index (-shm) is the system's business, as it does not survive a power
 * cut.
 *
 * Power cuts. While the model is on, each file has a durable image: its bytes at its last sync. Writes, truncations and
 * deletions since then reach the real file (the process reads what it wrote) and are remembered. A cut builds from
 * these what a disk could hold: of all that came after the sync each piece is kept, dropped or torn by sectors,
 * independently, as seeded. A file that was never synced may be missing; one that was deleted may be back until its
 * folder is synced, which the system's VFS does with the first sync of a new journal or WAL. The cut is taken at the
 * nth change counted from now, on the thread that makes it, while all others are held: what was acknowledged by then is
 * what must be found. It goes into folders of its own; the process runs on.
 */
#ifndef LARDER_TEST_FAULT_VFS_H
#define LARDER_TEST_FAULT_VFS_H

#include <stdint.h>

typedef enum fault_op {
    FAULT_OPEN,
    FAULT_READ,
    FAULT_WRITE,
    FAULT_TRUNCATE,
    FAULT_SYNC,
    FAULT_DELETE,
    FAULT_OP_COUNT
} fault_op;

void fault_vfs_install(void); /* once, before a database is opened */
/* Everything off and zero: faults, budget, filter, power model. */
void fault_vfs_reset(void);

/* Only files whose path ends so ("-wal", ".larder") are counted and made to fail; NULL: all. Borrowed. */
void fault_vfs_only(const char *suffix);
unsigned long fault_vfs_count(fault_op op); /* since the last reset or fail of that operation */

/* The nth operation of this kind from now (1: the next) returns `code` and does nothing; with `all_after` all from then
 * on. 0: none any more. Resets the count. */
void fault_vfs_fail(fault_op op, unsigned long nth, int all_after, int code);
unsigned long fault_vfs_failed(void); /* operations refused since the last reset, also for lack of space */

/* Files may grow by this many bytes in all; what does not fit is written as far as it does and is SQLITE_FULL.
 * Shrinking and deleting give back. -1: no bound. */
void fault_vfs_space(int64_t bytes);

typedef struct fault_cut {
    const char *folder; /* an existing one; image i goes into folder/i */
    unsigned images; /* how many of the possible outcomes; the first loses all, the second nothing, others as seeded */
    uint64_t seed;
    void (*on_cut)(void *user_data); /* at the moment itself, all others held: note what is acknowledged; NULL */
    void *user_data;
    int taken; /* out */
} fault_cut;

/* On: only while no file is open. Off: forgets all. */
void fault_vfs_power(int on);
/* A disk that lies: syncs report success and mean nothing. (Also saves their time where they do not matter.) */
void fault_vfs_ignore_syncs(int on);
/* At the nth change (write, truncation, sync, deletion) from now; 0: never. `cut` is borrowed until it was taken or
 * replaced. */
void fault_vfs_cut_at(unsigned long nth, fault_cut *cut);
unsigned long fault_vfs_changes(void); /* since cut_at */

#endif
