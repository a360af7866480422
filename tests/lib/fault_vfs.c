/* tests/lib/fault_vfs.c */
#include "fault_vfs.h"

#include <fcntl.h>
#include <pthread.h>
#include <sqlite3.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#define SECTOR 512

/* A change that was made after the file's last sync. */
typedef struct change {
    struct change *next;
    int64_t offset; /* of a write; the new size of a truncation */
    int truncation;
    size_t len;
    unsigned char bytes[];
} change;

typedef struct bytes {
    unsigned char *data;
    size_t len;
    size_t capacity;
} bytes;

enum { GONE_NOT_SYNCED = 1, GONE = 2 };

/* A path, as the power model knows it. */
typedef struct node {
    struct node *next;
    char *path;
    bytes durable;
    change *first;
    change **last;
    int named; /* the folder's entry is durable too */
    int gone;  /* GONE_NOT_SYNCED: deleted, which is not durable; GONE */
} node;

typedef struct fault_file {
    sqlite3_file base;
    sqlite3_file *real; /* lies behind this struct */
    node *node;         /* NULL: the power model was off, or the file has no name */
    char *path;
    int syncs_folder; /* its next sync does, as the system's VFS does for a new journal or WAL */
} fault_file;

typedef struct fault {
    unsigned long count;
    unsigned long fail_at;
    int all_after;
    int code;
} fault;

static pthread_mutex_t mutex =
    PTHREAD_MUTEX_INITIALIZER; /* guards all below; held during changes, so that they have an order */
static sqlite3_vfs *real_vfs;
static sqlite3_vfs our_vfs;
static fault faults[FAULT_OP_COUNT];
static const char *only;
static unsigned long failed;
static int64_t space = -1;
static int power;
static int syncs_ignored;
static node *nodes;
static fault_cut *cut;
static unsigned long cut_at;
static unsigned long changes;

static void die(const char *what)
{
    fprintf(stderr, "fault_vfs: %s\n", what);
    abort();
}

static void *need(void *block)
{
    if (block == NULL) {
        die("out of memory");
    }
    return block;
}

/* ---- what survives ---- */

static void bytes_resize(bytes *b, size_t len)
{
    if (len >= b->capacity) {
        b->capacity = len * 2 + 4096;
        b->data = need(realloc(b->data, b->capacity));
    }
    if (len > b->len) {
        memset(b->data + b->len, 0, len - b->len);
    }
    b->len = len;
}

static void bytes_write(bytes *b, int64_t offset, const unsigned char *data, size_t len)
{
    if ((size_t)offset + len > b->len) {
        bytes_resize(b, (size_t)offset + len);
    }
    memcpy(b->data + offset, data, len);
}

static uint64_t next_random(uint64_t *state) /* splitmix64 */
{
    uint64_t z = (*state += 0x9e3779b97f4a7c15ull);
    z = (z ^ (z >> 30)) * 0xbf58476d1ce4e5b9ull;
    z = (z ^ (z >> 27)) * 0x94d049bb133111ebull;
    return z ^ (z >> 31);
}

static void change_apply(bytes *image, const change *c)
{
    if (c->truncation) {
        bytes_resize(image, (size_t)c->offset);
    } else {
        bytes_write(image, c->offset, c->bytes, c->len);
    }
}

/* Each sector of the write is there, or not, or, rarely, nonsense. */
static void change_tear(bytes *image, const change *c, uint64_t *random)
{
    size_t at = 0;
    while (at < c->len) {
        size_t piece = SECTOR - (size_t)(c->offset + (int64_t)at) % SECTOR;
        if (piece > c->len - at) {
            piece = c->len - at;
        }
        uint64_t choice = next_random(random) % 16;
        if (choice < 7) {
            bytes_write(image, c->offset + (int64_t)at, c->bytes + at, piece);
        } else if (choice == 7) {
            unsigned char nonsense[SECTOR];
            memset(nonsense, (int)(next_random(random) & 0xff), sizeof nonsense);
            bytes_write(image, c->offset + (int64_t)at, nonsense, piece);
        }
        at += piece;
    }
}

enum { OUTCOME_NOTHING, OUTCOME_ALL, OUTCOME_PREFIX, OUTCOME_MIXED };

static void image_changes(bytes *image, const node *n, int outcome, uint64_t *random)
{
    size_t count = 0;
    for (const change *c = n->first; c != NULL; c = c->next) {
        count++;
    }
    size_t keep = outcome == OUTCOME_PREFIX ? (size_t)(next_random(random) % (count + 1)) : count;
    size_t i = 0;
    for (const change *c = n->first; c != NULL; c = c->next, i++) {
        uint64_t choice = outcome == OUTCOME_MIXED ? next_random(random) % 3 : 0;
        if (i >= keep || outcome == OUTCOME_NOTHING || choice == 1) {
            continue;
        }
        if (choice == 2 || (outcome == OUTCOME_PREFIX && i + 1 == keep)) {
            if (!c->truncation) {
                change_tear(image, c, random);
            }
        } else {
            change_apply(image, c);
        }
    }
}

static void image_save(const char *folder, const char *path, const bytes *image)
{
    char name[8192];
    const char *slash = strrchr(path, '/');
    snprintf(name, sizeof name, "%s/%s", folder, slash == NULL ? path : slash + 1);
    int fd = open(name, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0600);
    if (fd < 0 || (image->len > 0 && write(fd, image->data, image->len) != (ssize_t)image->len) || close(fd) != 0) {
        die("cannot write an image");
    }
}

static void node_image(const node *n, const char *folder, int outcome, uint64_t *random)
{
    int present = n->named;
    if (n->gone == GONE) {
        return;
    }
    if (!n->named) {
        present = outcome == OUTCOME_ALL || (outcome != OUTCOME_NOTHING && next_random(random) % 2 == 0);
    }
    if (n->gone && present) {
        present = outcome == OUTCOME_NOTHING || (outcome != OUTCOME_ALL && next_random(random) % 2 == 0);
    }
    if (!present) {
        return;
    }
    bytes image = {NULL, 0, 0};
    bytes_resize(&image, n->durable.len);
    if (n->durable.len > 0) {
        memcpy(image.data, n->durable.data, n->durable.len);
    }
    image_changes(&image, n, outcome, random);
    image_save(folder, n->path, &image);
    free(image.data);
}

static void cut_take(void)
{
    fault_cut *now = cut;
    cut = NULL;
    cut_at = 0;
    if (now->on_cut != NULL) {
        now->on_cut(now->user_data);
    }
    uint64_t random = now->seed;
    for (unsigned i = 0; i < now->images; i++) {
        char folder[4096];
        snprintf(folder, sizeof folder, "%s/%u", now->folder, i);
        if (mkdir(folder, 0700) != 0) {
            die("cannot make an image's folder");
        }
        int outcome = i < 2 ? (int)i : (next_random(&random) % 2 == 0 ? OUTCOME_PREFIX : OUTCOME_MIXED);
        for (const node *n = nodes; n != NULL; n = n->next) {
            node_image(n, folder, outcome, &random);
        }
    }
    __atomic_store_n(&now->taken, 1, __ATOMIC_SEQ_CST);
}

/* A change is about to be durable or has been remembered: the moment for a cut. */
static void changed(void)
{
    changes++;
    if (cut != NULL && cut_at != 0 && changes >= cut_at) {
        cut_take();
    }
}

static void node_forget_changes(node *n, int apply)
{
    while (n->first != NULL) {
        change *c = n->first;
        n->first = c->next;
        if (apply) {
            change_apply(&n->durable, c);
        }
        free(c);
    }
    n->last = &n->first;
}

static void nodes_free(void)
{
    while (nodes != NULL) {
        node *n = nodes;
        nodes = n->next;
        node_forget_changes(n, 0);
        free(n->durable.data);
        free(n->path);
        free(n);
    }
}

static node *node_find(const char *path)
{
    node *n = nodes;
    while (n != NULL && strcmp(n->path, path) != 0) {
        n = n->next;
    }
    return n;
}

/* Through the descriptor that is open: opening the file once more, and closing it, would drop SQLite's locks. */
static void node_load(node *n, sqlite3_file *file)
{
    sqlite3_int64 size = 0;
    if (file->pMethods->xFileSize(file, &size) != SQLITE_OK) {
        die("cannot take a file's size");
    }
    bytes_resize(&n->durable, (size_t)size);
    if (size > 0 && file->pMethods->xRead(file, n->durable.data, (int)size, 0) != SQLITE_OK) {
        die("cannot read a file");
    }
}

static node *node_open(const char *path, int existed, sqlite3_file *file)
{
    node *n = node_find(path);
    if (n == NULL) {
        n = need(calloc(1, sizeof *n));
        n->path = need(strdup(path));
        n->last = &n->first;
        n->next = nodes;
        nodes = n;
        n->named = existed;
        node_load(n, file);
    } else if (n->gone) {
        node_forget_changes(n, 0); /* a new file under an old name: the old one is not coming back */
        n->durable.len = 0;
        n->gone = 0;
        n->named = 0;
    }
    return n;
}

static void node_change(node *n, int truncation, int64_t offset, const void *data, size_t len)
{
    if (n != NULL) {
        change *c = need(malloc(sizeof *c + len));
        c->next = NULL;
        c->truncation = truncation;
        c->offset = offset;
        c->len = len;
        if (len > 0) {
            memcpy(c->bytes, data, len);
        }
        *n->last = c;
        n->last = &c->next;
    }
    changed();
}

/* All entries of the folder are durable: those that were made and those that were removed. (Tests keep to one folder.)
 */
static void folder_synced(void)
{
    for (node *n = nodes; n != NULL; n = n->next) {
        n->gone = n->gone ? GONE : 0;
        n->named = 1;
    }
}

static void node_sync(fault_file *f)
{
    changed(); /* before it took effect: a cut during the sync */
    if (f->node == NULL || syncs_ignored) {
        return;
    }
    node_forget_changes(f->node, 1);
    f->node->named = 1;
    if (f->syncs_folder) {
        f->syncs_folder = 0;
        folder_synced();
    }
}

static void node_delete(const char *path, int sync_folder)
{
    node *n = power ? node_find(path) : NULL;
    if (n != NULL) {
        n->gone = GONE_NOT_SYNCED;
    }
    changed();
    if (sync_folder && !syncs_ignored) {
        folder_synced();
    }
}

/* ---- faults ---- */

static int path_counts(const char *path)
{
    if (only == NULL) {
        return 1;
    }
    size_t len = path == NULL ? 0 : strlen(path);
    size_t suffix = strlen(only);
    return len >= suffix && strcmp(path + len - suffix, only) == 0;
}

/* SQLITE_OK, or what the operation must return. With the mutex held. */
static int refuse(fault_op op, const char *path)
{
    if (!path_counts(path)) {
        return SQLITE_OK;
    }
    fault *f = &faults[op];
    f->count++;
    if (f->fail_at != 0 && (f->count == f->fail_at || (f->count > f->fail_at && f->all_after))) {
        failed++;
        return f->code;
    }
    return SQLITE_OK;
}

/* How many bytes of a write find room; takes them from the budget. */
static size_t take_space(sqlite3_file *real, int64_t offset, size_t len)
{
    sqlite3_int64 size = 0;
    if (space < 0 || real->pMethods->xFileSize(real, &size) != SQLITE_OK) {
        return len;
    }
    int64_t growth = offset + (int64_t)len - size;
    if (growth <= 0) {
        return len;
    }
    int64_t lacking = growth > space ? growth - space : 0;
    space -= growth - lacking;
    return (int64_t)len > lacking ? len - (size_t)lacking : 0;
}

static void give_space(int64_t bytes_freed)
{
    if (space >= 0 && bytes_freed > 0) {
        space += bytes_freed;
    }
}

/* ---- a file's methods ---- */

static sqlite3_file *real_of(sqlite3_file *file)
{
    return ((fault_file *)file)->real;
}

static int file_close(sqlite3_file *file)
{
    fault_file *f = (fault_file *)file;
    int rc = f->real->pMethods != NULL ? f->real->pMethods->xClose(f->real) : SQLITE_OK;
    free(f->path);
    f->path = NULL;
    return rc;
}

static int file_read(sqlite3_file *file, void *out, int len, sqlite3_int64 offset)
{
    pthread_mutex_lock(&mutex);
    int rc = refuse(FAULT_READ, ((fault_file *)file)->path);
    pthread_mutex_unlock(&mutex);
    return rc != SQLITE_OK ? rc : real_of(file)->pMethods->xRead(real_of(file), out, len, offset);
}

static int file_write(sqlite3_file *file, const void *data, int len, sqlite3_int64 offset)
{
    fault_file *f = (fault_file *)file;
    pthread_mutex_lock(&mutex);
    int rc = refuse(FAULT_WRITE, f->path);
    if (rc == SQLITE_OK) {
        size_t fits = take_space(f->real, offset, (size_t)len);
        if (fits > 0) {
            rc = f->real->pMethods->xWrite(f->real, data, (int)fits, offset);
        }
        if (rc == SQLITE_OK && fits > 0) {
            node_change(f->node, 0, offset, data, fits);
        }
        if (rc == SQLITE_OK && fits < (size_t)len) {
            failed++;
            rc = SQLITE_FULL;
        }
    }
    pthread_mutex_unlock(&mutex);
    return rc;
}

static int file_truncate(sqlite3_file *file, sqlite3_int64 size)
{
    fault_file *f = (fault_file *)file;
    pthread_mutex_lock(&mutex);
    int rc = refuse(FAULT_TRUNCATE, f->path);
    if (rc == SQLITE_OK) {
        sqlite3_int64 before = size;
        f->real->pMethods->xFileSize(f->real, &before);
        rc = f->real->pMethods->xTruncate(f->real, size);
        if (rc == SQLITE_OK) {
            give_space(before - size);
            node_change(f->node, 1, size, NULL, 0);
        }
    }
    pthread_mutex_unlock(&mutex);
    return rc;
}

static int file_sync(sqlite3_file *file, int flags)
{
    fault_file *f = (fault_file *)file;
    pthread_mutex_lock(&mutex);
    int rc = refuse(FAULT_SYNC, f->path);
    if (rc == SQLITE_OK && !power && !syncs_ignored) { /* under the model the real disk does not matter, and is slow */
        rc = f->real->pMethods->xSync(f->real, flags);
    }
    if (rc == SQLITE_OK) {
        node_sync(f);
    }
    pthread_mutex_unlock(&mutex);
    return rc;
}

static int file_size(sqlite3_file *file, sqlite3_int64 *size)
{
    return real_of(file)->pMethods->xFileSize(real_of(file), size);
}

static int file_lock(sqlite3_file *file, int level)
{
    return real_of(file)->pMethods->xLock(real_of(file), level);
}

static int file_unlock(sqlite3_file *file, int level)
{
    return real_of(file)->pMethods->xUnlock(real_of(file), level);
}

static int file_check_reserved(sqlite3_file *file, int *out)
{
    return real_of(file)->pMethods->xCheckReservedLock(real_of(file), out);
}

static int file_control(sqlite3_file *file, int op, void *arg)
{
    return real_of(file)->pMethods->xFileControl(real_of(file), op, arg);
}

static int file_sector_size(sqlite3_file *file)
{
    return real_of(file)->pMethods->xSectorSize(real_of(file));
}

static int file_characteristics(sqlite3_file *file)
{
    return real_of(file)->pMethods->xDeviceCharacteristics(real_of(file));
}

static int file_shm_map(sqlite3_file *file, int region, int size, int extend, void volatile **out)
{
    return real_of(file)->pMethods->xShmMap(real_of(file), region, size, extend, out);
}

static int file_shm_lock(sqlite3_file *file, int offset, int count, int flags)
{
    return real_of(file)->pMethods->xShmLock(real_of(file), offset, count, flags);
}

static void file_shm_barrier(sqlite3_file *file)
{
    real_of(file)->pMethods->xShmBarrier(real_of(file));
}

static int file_shm_unmap(sqlite3_file *file, int delete_it)
{
    return real_of(file)->pMethods->xShmUnmap(real_of(file), delete_it);
}

/* Version 2: without xFetch, so that nothing is mapped. */
static const sqlite3_io_methods methods = {
    2,
    file_close,
    file_read,
    file_write,
    file_truncate,
    file_sync,
    file_size,
    file_lock,
    file_unlock,
    file_check_reserved,
    file_control,
    file_sector_size,
    file_characteristics,
    file_shm_map,
    file_shm_lock,
    file_shm_barrier,
    file_shm_unmap,
    NULL,
    NULL,
};

/* ---- the VFS ---- */

static int vfs_open(sqlite3_vfs *vfs, const char *name, sqlite3_file *file, int flags, int *out_flags)
{
    (void)vfs;
    fault_file *f = (fault_file *)file;
    memset(f, 0, sizeof *f);
    f->real = (sqlite3_file *)(void *)(f + 1);
    memset(f->real, 0, (size_t)real_vfs->szOsFile);
    pthread_mutex_lock(&mutex);
    int rc = refuse(FAULT_OPEN, name);
    if (rc == SQLITE_OK) {
        struct stat info;
        int existed = name != NULL && stat(name, &info) == 0;
        rc = real_vfs->xOpen(real_vfs, name, f->real, flags, out_flags);
        if (rc == SQLITE_OK && name != NULL) {
            f->path = need(strdup(name));
            f->node = power ? node_open(name, existed, f->real) : NULL;
            f->syncs_folder =
                (flags & SQLITE_OPEN_CREATE) != 0
                && (flags & (SQLITE_OPEN_MAIN_JOURNAL | SQLITE_OPEN_SUPER_JOURNAL | SQLITE_OPEN_WAL)) != 0;
        }
        f->base.pMethods = f->real->pMethods != NULL ? &methods : NULL;
    }
    pthread_mutex_unlock(&mutex);
    return rc;
}

static int vfs_delete(sqlite3_vfs *vfs, const char *name, int sync_folder)
{
    (void)vfs;
    pthread_mutex_lock(&mutex);
    int rc = refuse(FAULT_DELETE, name);
    if (rc == SQLITE_OK) {
        struct stat info;
        int64_t size = stat(name, &info) == 0 ? (int64_t)info.st_size : 0;
        rc = real_vfs->xDelete(real_vfs, name, power ? 0 : sync_folder);
        if (rc == SQLITE_OK) {
            give_space(size);
            node_delete(name, sync_folder);
        }
    }
    pthread_mutex_unlock(&mutex);
    return rc;
}

void fault_vfs_install(void)
{
    real_vfs = sqlite3_vfs_find("unix");
    if (real_vfs == NULL) {
        die("there is no VFS named unix");
    }
    our_vfs = *real_vfs; /* what is not replaced below asks nothing of the struct it is called with */
    our_vfs.pNext = NULL;
    our_vfs.zName = "fault";
    our_vfs.szOsFile = (int)sizeof(fault_file) + real_vfs->szOsFile;
    our_vfs.xOpen = vfs_open;
    our_vfs.xDelete = vfs_delete;
    if (sqlite3_vfs_register(&our_vfs, 1) != SQLITE_OK) {
        die("cannot register");
    }
}

/* ---- the switches ---- */

void fault_vfs_reset(void)
{
    pthread_mutex_lock(&mutex);
    memset(faults, 0, sizeof faults);
    only = NULL;
    failed = 0;
    space = -1;
    power = 0;
    syncs_ignored = 0;
    cut = NULL;
    cut_at = 0;
    changes = 0;
    nodes_free();
    pthread_mutex_unlock(&mutex);
}

void fault_vfs_only(const char *suffix)
{
    pthread_mutex_lock(&mutex);
    only = suffix;
    pthread_mutex_unlock(&mutex);
}

unsigned long fault_vfs_count(fault_op op)
{
    pthread_mutex_lock(&mutex);
    unsigned long count = faults[op].count;
    pthread_mutex_unlock(&mutex);
    return count;
}

void fault_vfs_fail(fault_op op, unsigned long nth, int all_after, int code)
{
    pthread_mutex_lock(&mutex);
    fault f = {0, nth, all_after, code};
    faults[op] = f;
    pthread_mutex_unlock(&mutex);
}

unsigned long fault_vfs_failed(void)
{
    pthread_mutex_lock(&mutex);
    unsigned long count = failed;
    pthread_mutex_unlock(&mutex);
    return count;
}

void fault_vfs_space(int64_t bytes_left)
{
    pthread_mutex_lock(&mutex);
    space = bytes_left;
    pthread_mutex_unlock(&mutex);
}

void fault_vfs_power(int on)
{
    pthread_mutex_lock(&mutex);
    nodes_free();
    power = on;
    pthread_mutex_unlock(&mutex);
}

void fault_vfs_ignore_syncs(int on)
{
    pthread_mutex_lock(&mutex);
    syncs_ignored = on;
    pthread_mutex_unlock(&mutex);
}

void fault_vfs_cut_at(unsigned long nth, fault_cut *how)
{
    pthread_mutex_lock(&mutex);
    cut = how;
    cut_at = nth;
    changes = 0;
    pthread_mutex_unlock(&mutex);
}

unsigned long fault_vfs_changes(void)
{
    pthread_mutex_lock(&mutex);
    unsigned long count = changes;
    pthread_mutex_unlock(&mutex);
    return count;
}
