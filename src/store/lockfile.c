/* store/lockfile.c: flock(2) across processes, and a page of counters that all of them map.
 *
 * Job. An exclusive lock that the kernel drops when its holder dies, and signals between processes that cost a load.
 * flock belongs to an open file description: two instances in one process exclude each other, as two processes do. A
 * forked child shares the description; it must not unlock what its parent holds, so it only ever closes (O_CLOEXEC
 * keeps programs that are started from having it at all, since the lock lives as long as any copy).
 *
 * Failure. Touching a mapped page that the file no longer has is SIGBUS. Blocks are allocated before mapping, so that a
 * full disk shows there; and whoever takes the lock looks at the size, and restores it. Between that, a program of the
 * same user that truncates the file while others run it can still end them: nothing but Larder has business with this
 * file. */
#include "store/lockfile.h"

#include "base/alloc.h"
#include "base/clock.h"
#include "base/error.h"
#include "store/path.h"

#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <sys/file.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

#define MAGIC 0x316b636c5244524cull /* "LRDRlck1", read as little-endian */
#define FILE_SIZE 4096
#define FIRST_PAUSE_NS 100000u

struct larder__lockfile {
    larder__lockfile_page *page;
    char *path;
    int fd;
    int locked;
    int writable;
    pid_t owner;
    dev_t device;
    ino_t inode;
};

/* ---- opening ---- */

static int fail_memory(larder_error *error, const char *path)
{
    return larder__fail(error, LARDER_ENOMEM, "out of memory while opening %s", path);
}

static int fail_foreign(larder_error *error, const char *path, const char *what)
{
    return larder__fail(error, LARDER_EFOREIGN, "%s is %s, where Larder keeps its lock: move it away", path, what);
}

static int open_file(larder__lockfile *lock, int flags, larder_error *error)
{
    struct stat info;
    /* O_NONBLOCK: opening a FIFO must not wait for its other end. */
    lock->fd = open(lock->path, flags | O_NOFOLLOW | O_CLOEXEC | O_NONBLOCK, 0600);
    if (lock->fd < 0) {
        int err = errno;
        if (err == ELOOP || err == EISDIR || err == ENXIO) {
            return fail_foreign(error, lock->path, err == ELOOP ? "a symbolic link" : "a folder, FIFO or socket");
        }
        return larder__fail_errno(error, err, "cannot open the lock file %s", lock->path);
    }
    if (fstat(lock->fd, &info) != 0) {
        return larder__fail_errno(error, errno, "cannot read the lock file %s", lock->path);
    }
    if (!S_ISREG(info.st_mode)) {
        return fail_foreign(error, lock->path, "no regular file");
    }
    if (info.st_size > FILE_SIZE) {
        return fail_foreign(error, lock->path, "a file with other content");
    }
    lock->device = info.st_dev;
    lock->inode = info.st_ino;
    return LARDER_OK;
}

/* Before anything is changed: the first bytes are ours, or nothing yet. */
static int check_magic(larder__lockfile *lock, uint64_t *magic, larder_error *error)
{
    *magic = 0;
    ssize_t got = pread(lock->fd, magic, sizeof *magic, 0);
    if (got < 0) {
        return larder__fail_errno(error, errno, "cannot read the lock file %s", lock->path);
    }
    if (got != 0 && *magic != 0 && *magic != MAGIC) {
        return fail_foreign(error, lock->path, "a file with other content");
    }
    return LARDER_OK;
}

/* Gives the file blocks for its page; what it holds stays. Returns 0 or an errno. */
static int allocate(int fd)
{
    struct stat info;
    if (fstat(fd, &info) != 0) {
        return errno;
    }
    if (info.st_size >= FILE_SIZE) {
        return 0;
    }
    int err = posix_fallocate(fd, 0, FILE_SIZE);
    if (err == EOPNOTSUPP || err == EINVAL) {
        err = ftruncate(fd, FILE_SIZE) == 0 ? 0 : errno;
    }
    return err;
}

static int map_page(larder__lockfile *lock, larder_error *error)
{
    int protection = lock->writable ? PROT_READ | PROT_WRITE : PROT_READ;
    void *page = mmap(NULL, FILE_SIZE, protection, MAP_SHARED, lock->fd, 0);
    if (page == MAP_FAILED) {
        return larder__fail_errno(error, errno, "cannot map the lock file %s", lock->path);
    }
    lock->page = page;
    return LARDER_OK;
}

static int open_for_writing(larder__lockfile *lock, larder_error *error)
{
    uint64_t magic = 0;
    int status = open_file(lock, O_RDWR | O_CREAT, error);
    if (status == LARDER_OK) {
        status = check_magic(lock, &magic, error);
    }
    if (status != LARDER_OK) {
        return status;
    }
    int err = allocate(lock->fd);
    if (err != 0) {
        return larder__fail_errno(error, err, "cannot make the lock file %s", lock->path);
    }
    status = map_page(lock, error);
    if (status == LARDER_OK) {
        uint64_t none = 0; /* whoever comes first writes the magic; a second one finds it */
        __atomic_compare_exchange_n(&lock->page->magic, &none, MAGIC, 0, __ATOMIC_SEQ_CST, __ATOMIC_SEQ_CST);
    }
    return status;
}

static int open_for_reading(larder__lockfile *lock, larder_error *error)
{
    uint64_t magic = 0;
    struct stat info;
    int status = open_file(lock, O_RDONLY, error);
    if (status == LARDER_OK) {
        status = check_magic(lock, &magic, error);
    }
    if (status != LARDER_OK) {
        return status;
    }
    if (fstat(lock->fd, &info) != 0 || info.st_size < FILE_SIZE || magic != MAGIC) {
        return larder__fail(error, LARDER_ENOTFOUND, "the lock file %s is not set up yet", lock->path);
    }
    return map_page(lock, error);
}

static int open_any(larder__lockfile **out, const char *database_path, int writable, larder_error *error)
{
    char *path = NULL;
    *out = NULL;
    int status = larder__path_resolve(&path, database_path, error);
    if (status != LARDER_OK) {
        return status;
    }
    larder__lockfile *lock = larder__calloc(1, sizeof *lock);
    if (lock != NULL) {
        lock->fd = -1;
        lock->writable = writable;
        lock->owner = getpid();
        lock->path = larder__path_beside(path, "-lock");
    }
    if (lock == NULL || lock->path == NULL) {
        status = fail_memory(error, path);
    } else {
        status = writable ? open_for_writing(lock, error) : open_for_reading(lock, error);
    }
    larder__free(path);
    if (status != LARDER_OK) {
        larder__lockfile_close(lock);
        return status;
    }
    *out = lock;
    return LARDER_OK;
}

int larder__lockfile_open(larder__lockfile **out, const char *database_path, larder_error *error)
{
    return open_any(out, database_path, 1, error);
}

int larder__lockfile_open_existing(larder__lockfile **out, const char *database_path, larder_error *error)
{
    return open_any(out, database_path, 0, error);
}

void larder__lockfile_close(larder__lockfile *lock)
{
    if (lock == NULL) {
        return;
    }
    larder__lockfile_unlock(lock);
    if (lock->page != NULL) {
        munmap(lock->page, FILE_SIZE);
    }
    if (lock->fd >= 0) {
        close(lock->fd);
    }
    larder__free(lock->path);
    larder__free(lock);
}

/* ---- locking ---- */

int larder__lockfile_moved(const larder__lockfile *lock)
{
    struct stat info;
    return lstat(lock->path, &info) != 0 || info.st_dev != lock->device || info.st_ino != lock->inode;
}

static int try_flock(int fd)
{
    int result;
    do {
        result = flock(fd, LOCK_EX | LOCK_NB);
    } while (result != 0 && errno == EINTR);
    return result;
}

int larder__lockfile_try(larder__lockfile *lock)
{
    if (!lock->writable) {
        return LARDER_EREADONLY;
    }
    if (lock->owner != getpid()) {
        return LARDER_EFORK;
    }
    if (lock->locked) {
        return 1;
    }
    if (try_flock(lock->fd) != 0) {
        return errno == EWOULDBLOCK ? 0 : LARDER_EIO;
    }
    lock->locked = 1;
    /* Another file at the path has a lock of its own, which others take: ours would keep nobody out. */
    int status = larder__lockfile_moved(lock) ? LARDER_EMOVED : LARDER_OK;
    if (status == LARDER_OK) {
        int err = allocate(lock->fd);
        status = err == 0 ? LARDER_OK : err == ENOSPC || err == EDQUOT ? LARDER_EFULL : LARDER_EIO;
    }
    if (status != LARDER_OK) {
        larder__lockfile_unlock(lock);
        return status;
    }
    return 1;
}

static void pause_ns(uint64_t ns)
{
    struct timespec time = {(time_t)(ns / 1000000000u), (long)(ns % 1000000000u)};
    nanosleep(&time, NULL); /* a signal only makes the next try come earlier */
}

static int fail_lock(larder_error *error, int status, const larder__lockfile *lock, uint32_t timeout_ms)
{
    if (status == LARDER_ELOCKED) {
        return larder__fail(error, status, "another process has held %s for %u ms: try again, or end that process",
                            lock->path, timeout_ms);
    }
    if (status == LARDER_EMOVED) {
        return larder__fail(error, status, "%s was deleted or replaced while it was open", lock->path);
    }
    return larder__fail(error, status, "cannot lock %s: %s", lock->path, larder_status_text(status));
}

int larder__lockfile_lock(larder__lockfile *lock, uint32_t timeout_ms, larder_error *error)
{
    uint64_t start = larder__mono_ns(&larder__system_clock);
    uint64_t limit = (uint64_t)timeout_ms * 1000000u;
    uint64_t pause = FIRST_PAUSE_NS;
    for (;;) {
        int result = larder__lockfile_try(lock);
        if (result == 1) {
            return LARDER_OK;
        }
        if (result < 0) {
            return fail_lock(error, result, lock, timeout_ms);
        }
        uint64_t waited = larder__mono_ns(&larder__system_clock) - start;
        if (waited >= limit) {
            return fail_lock(error, LARDER_ELOCKED, lock, timeout_ms);
        }
        pause_ns(pause < limit - waited ? pause : limit - waited);
        pause = pause < LARDER__LOCKFILE_PAUSE_MS * 500000u ? pause * 2 : LARDER__LOCKFILE_PAUSE_MS * 1000000u;
    }
}

void larder__lockfile_unlock(larder__lockfile *lock)
{
    if (lock->locked && lock->owner == getpid()) {
        lock->locked = 0;
        flock(lock->fd, LOCK_UN);
    }
}

/* ---- the page ---- */

uint64_t larder__lockfile_invalidations(const larder__lockfile *lock)
{
    return __atomic_load_n(&lock->page->invalidations, __ATOMIC_ACQUIRE);
}

void larder__lockfile_committed(larder__lockfile *lock, int with_invalidations)
{
    if (!lock->writable) {
        return;
    }
    if (with_invalidations) {
        __atomic_add_fetch(&lock->page->invalidations, 1, __ATOMIC_RELEASE);
    }
    __atomic_add_fetch(&lock->page->commits, 1, __ATOMIC_RELEASE);
}

static void distrust(larder__lockfile_page *page, uint64_t origin)
{
    for (int i = 0; i < LARDER__LOCKFILE_SLOTS; i++) {
        if (__atomic_load_n(&page->distrust[i], __ATOMIC_SEQ_CST) == origin) {
            return;
        }
    }
    for (int i = 0; i < LARDER__LOCKFILE_SLOTS; i++) {
        uint64_t none = 0;
        if (__atomic_compare_exchange_n(&page->distrust[i], &none, origin, 0, __ATOMIC_SEQ_CST, __ATOMIC_SEQ_CST)) {
            return;
        }
    }
    __atomic_store_n(&page->distrust_all, 1, __ATOMIC_SEQ_CST); /* only larder__lockfile_trust takes it back */
}

void larder__lockfile_distrust(larder__lockfile *lock, uint64_t origin, int on)
{
    if (!lock->writable || origin == 0) {
        return;
    }
    if (on) {
        distrust(lock->page, origin);
        return;
    }
    for (int i = 0; i < LARDER__LOCKFILE_SLOTS; i++) {
        uint64_t ours = origin;
        __atomic_compare_exchange_n(&lock->page->distrust[i], &ours, 0, 0, __ATOMIC_SEQ_CST, __ATOMIC_SEQ_CST);
    }
}

int larder__lockfile_distrusted(const larder__lockfile *lock)
{
    uint64_t any = __atomic_load_n(&lock->page->distrust_all, __ATOMIC_SEQ_CST);
    for (int i = 0; i < LARDER__LOCKFILE_SLOTS; i++) {
        any |= __atomic_load_n(&lock->page->distrust[i], __ATOMIC_SEQ_CST);
    }
    return any != 0;
}

void larder__lockfile_trust(larder__lockfile *lock)
{
    if (!lock->writable) {
        return;
    }
    for (int i = 0; i < LARDER__LOCKFILE_SLOTS; i++) {
        __atomic_store_n(&lock->page->distrust[i], 0, __ATOMIC_SEQ_CST);
    }
    __atomic_store_n(&lock->page->distrust_all, 0, __ATOMIC_SEQ_CST);
}
