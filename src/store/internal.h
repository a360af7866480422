/* store/internal.h: what the parts of the SQLite store share: the items that travel to the writer and back, the writer,
 * the store. Nobody outside src/store includes this.
 *
 * An item has one owner at a time: the loop fills it in; larder__writer_push hands it to the writer; it comes back,
 * with its status, in the list that larder__writer_take_done gives; the loop then frees it. Only the members marked
 * "loop" may be touched on the loop in between.
 */
#ifndef LARDER_STORE_INTERNAL_H
#define LARDER_STORE_INTERNAL_H

#include "base/clock.h"
#include "base/json.h"
#include "base/list.h"
#include "base/map.h"
#include "store/db.h"
#include "store/store.h"

#include <uv.h>

typedef enum larder__item_kind {
    LARDER__ITEM_PUT,
    LARDER__ITEM_INVALIDATE,
    LARDER__ITEM_COUNT,
    LARDER__ITEM_USES,
    LARDER__ITEM_FLUSH,
    LARDER__ITEM_REOPENED /* from the writer only: the file was replaced, `lock` belongs to the new one */
} larder__item_kind;

typedef struct larder__item {
    larder__list link;
    larder__item_kind kind;
    int status;            /* the outcome, once it is back */
    uint32_t generation;   /* of the file that it was meant for */
    size_t bytes;          /* loop: what it counts in the queue */
    larder_status_cb done; /* loop */
    void *user_data;       /* loop */

    larder__map_node overlay;   /* loop: PUT, and INVALIDATE of a key */
    int in_overlay;             /* loop */
    struct larder__item *under; /* loop: PUT, the waiting invalidation of its key whose place it took in the overlay */

    uint8_t key[LARDER_KEY_SIZE]; /* PUT, INVALIDATE of a key; not changed after the push, as the rest */
    larder__channel *channel;
    larder__mark mark;     /* PUT */
    larder__record record; /* PUT: holds references on value and args */

    larder__invalidation_kind what; /* INVALIDATE */
    uint64_t number;
    int64_t log_id; /* the outcome */
    int kept;       /* writer: it failed once and waits */

    larder__lockfile *lock; /* REOPENED */
    size_t count;           /* COUNT, USES: how many follow */
    union {
        larder__channel_count counts[1];
        larder__use uses[1];
        char scope[1];
    } tail;
} larder__item;

larder__item *larder__item_new(larder__item_kind kind, size_t tail_bytes); /* NULL when out of memory */
void larder__item_free(larder__item *item);
void larder__items_free(larder__list *items); /* all that are in the list */

/* ---- writer ---- */

typedef struct larder__writer {
    /* Set before the thread starts. */
    const char *path;
    larder_durability durability;
    size_t page_cache_bytes;
    const larder_clock *clock;
    uint64_t origin; /* names this instance in the log; never 0 */
    uint32_t commit_interval_ms;
    uint32_t sweep_interval_ms;
    uint32_t lock_timeout_ms;
    void (*wake)(void *owner);
    void *owner;

    uv_thread_t thread;
    int started;
    uv_mutex_t mutex;
    uv_cond_t cond;

    /* Under the mutex. */
    larder__list queue;
    size_t queue_items;
    size_t queue_bytes;
    int urgent;    /* a flush or an invalidation waits */
    int retry_now; /* a flush: do not wait for the pause after a failure */
    int stopping;
    int quiet;         /* the owner is going: no more wake */
    int sleeping;      /* the thread waits on cond */
    uint64_t first_at; /* uv_hrtime when the oldest item came */
    larder__list done;
    int finished; /* the thread's last act */
    int final_status;

    /* Read anywhere, atomically. */
    int failing;     /* 0, or why the last commit failed */
    int reader_gone; /* set by the loop when failing is LARDER_EMOVED; reset by the writer */
    int distrusted;  /* our slot in the lock file is set */
    uint64_t commits;
    uint64_t errors;

    /* The thread's own. */
    larder__db *db; /* NULL only while `moved` */
    larder__lockfile *lock;
    int moved;               /* the file at the path is not the one that was open */
    uint32_t generation;     /* of the file: one more each time it is reopened */
    uint32_t row_generation; /* of the channels' row ids */
    uint64_t retry_at;       /* uv_hrtime: not before, after a failure */
    uint64_t pause_ms;
    size_t kept_invalidations;
    int64_t log_head; /* within a transaction */
    int wal_pages;    /* in the WAL after the last commit */
    int wal_checked;  /* of these, when it was checkpointed last */
    uint64_t idle_at; /* uv_hrtime of the last commit */
    int truncate_due;
    int64_t sweep_after; /* rowid; -1: no pass under way */
    int64_t sweep_head;  /* log head when the pass began */
    uint64_t sweep_at;   /* uv_hrtime: when the next slice or pass is due */
    int sweep_again;     /* an invalidation came while a pass was under way */
} larder__writer;

/* Opens the file (creates, migrates) and makes ready; the thread is started apart, so that the opener may use db first.
 */
int larder__writer_open(larder__writer *writer, larder_error *error);
/* Opens the file at the path in the place of what is open; on failure that stays. */
int larder__writer_open_file(larder__writer *writer, larder_error *error);
int larder__writer_start(larder__writer *writer);
void larder__writer_close(larder__writer *writer); /* joins the thread, if it was started */
/* Takes all of `items` over (loop thread). */
void larder__writer_push(larder__writer *writer, larder__list *items, size_t count, size_t bytes, int urgent,
                         int retry_now);
/* 1 if a waiting invalidation of everything could be moved behind all that was pushed since; 0 if it is not in the
 * queue. */
int larder__writer_requeue(larder__writer *writer, larder__item *item, uint64_t number);
void larder__writer_take_done(larder__writer *writer, larder__list *out, int *finished);
/* The loop has closed its connection to a file that is gone: the writer may open the one at its path. */
void larder__writer_reader_gone(larder__writer *writer);
void larder__writer_stop(larder__writer *writer);

/* commit.c: one group in one locked transaction. Item outcomes are in their status. LARDER_OK, or why all of it failed.
 */
int larder__writer_commit(larder__writer *writer, larder__list *group);
/* The lock, the check that the file is still ours, BEGIN IMMEDIATE, and the reverse. */
int larder__writer_begin(larder__writer *writer);
int larder__writer_end(larder__writer *writer, int status, int with_invalidations);
int larder__log_add(larder__writer *writer, larder__invalidation_kind kind, const char *channel, const uint8_t *key,
                    uint64_t number, int64_t *id);
int64_t larder__log_number(larder__db *db, enum larder__sql statement, int *status); /* log_head, log_floor */

/* sweep.c: steps of their own, between groups. */
void larder__writer_sweep_started(larder__writer *writer, uint64_t now); /* an invalidation was committed */
int larder__writer_sweep_step(larder__writer *writer, uint64_t now);
void larder__writer_watch_wal(larder__writer *writer); /* once db is open */
void larder__writer_checkpoint_step(larder__writer *writer);
void larder__writer_checkpoint_idle(larder__writer *writer);

/* ---- store ---- */

struct larder__store {
    larder__store_options options;
    char *path;
    larder_clock clock;
    larder__validity validity;
    larder__json json;   /* to check values that come from the file */
    larder__map overlay; /* items by key: the newest of each */
    larder__list staged; /* put in this dispatch, not pushed yet */
    size_t staged_count;
    size_t staged_bytes;
    int staged_urgent;
    int in_dispatch;
    uint64_t mono_ns; /* of the dispatch */

    larder__writer writer;
    int writer_open;
    larder__lockfile *lock; /* the writer's, as the loop knows it */
    uint32_t generation;    /* of the file, as the loop knows it */
    larder__item *spare;    /* an invalidation of everything that needs no memory */
    int spare_queued;
    int spare_again;      /* it was needed once more while the writer had it */
    size_t invalidations; /* not committed yet */

    larder__db *reader;
    int reading;            /* a read transaction is open */
    unsigned gets;          /* in this dispatch */
    int blind;              /* the log could not be read: nothing may be served */
    int read_failing;       /* 0, or why reading failed */
    uint64_t read_again_at; /* mono: not before */
    uint32_t data_version;
    uint64_t beat_at;            /* mono: when data_version was asked last */
    uint64_t seen_invalidations; /* the lock file's counter */

    int moved;             /* the reader was closed, REOPENED is waited for */
    int degraded;          /* DEGRADED was said */
    uint64_t lost;         /* since then */
    int unsaved;           /* 0, or the failure that an answer was given up for; the next flush says it */
    uint64_t not_stored;   /* atomic */
    uint64_t unreported;   /* not stored because the queue was full, since the last event */
    uint64_t reported_at;  /* mono */
    uint64_t read_errors;  /* atomic */
    uint64_t queued_bytes; /* atomic */
    int stopping;
    int stopped_told;
    larder__list local_done; /* without a file: items to report at the next settle */
};

/* reader.c */
int larder__reader_open(larder__store *store, larder__db_mode mode, larder_error *error);
void larder__reader_close(larder__store *store);
void larder__reader_notice(larder__store *store);
int larder__reader_load(larder__store *store); /* the last invalidations: all that rows are measured against */
int larder__reader_get(larder__store *store, larder__channel *channel, const uint8_t *key, uint32_t version,
                       int64_t wall_ms, larder__record *out);
void larder__reader_end(larder__store *store);
void larder__reader_pause(larder__store *store); /* after a failure */

/* store.c */
void larder__store_read_failed(larder__store *store, int status);
void larder__store_read_worked(larder__store *store);

#endif
