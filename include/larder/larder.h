/* larder/larder.h: embed Larder: open a store, register handlers, send requests, invalidate, measure.
 *
 * Happy path
 *     larder_options o;  larder_options_init(&o);  o.path = "app.larder";
 *     larder *l;         larder_open(&l, &o, &err);
 *     larder_handler_options h;  larder_handler_options_init(&h);  h.cacheable = 1;
 *     larder_register(l, "db:search", on_search, &h, &err);
 *     larder_send(l, "db:search", "[\"VSAM\"]", LARDER_NUL, NULL, on_answer, me, NULL, &err);
 *
 * Threads. "The loop" is the libuv loop given in the options, or one that Larder runs in a thread of its own. All
 * callbacks come on the loop's thread, except blocking handlers (a worker thread). No callback ever comes from inside
 * the call that asked for it. Each function says from which threads it may be called. Calls of one thread keep their
 * order. Until a loop of the caller's has turned once, the thread that opened the instance counts as the loop's thread.
 *
 * Ownership. Copied: the pointer need not outlive the call. Borrowed: valid until the moment named. Taken: Larder frees
 * it.
 *
 * Strings are UTF-8. A length may be LARDER_NUL, "up to the NUL". JSON is RFC 8259, with duplicate members, lone
 * surrogates and nesting deeper than 64 refused.
 *
 * Signals. Larder writes to files only; the library installs no handler and raises nothing. After fork() a child must
 * not use an instance that it inherited: calls return LARDER_EFORK.
 */
#ifndef LARDER_LARDER_H
#define LARDER_LARDER_H

#include <larder/status.h>
#include <stddef.h>
#include <stdint.h>

#ifdef __cplusplus
extern "C" {
#endif

#define LARDER_VERSION_MAJOR 0
#define LARDER_VERSION_MINOR 1
#define LARDER_VERSION_PATCH 0
#define LARDER_VERSION_STRING "0.1.0"

#define LARDER_NUL ((size_t)-1)
#define LARDER_CHANNEL_MAX 255 /* bytes in a channel's name, and in a scope */
#define LARDER_KEY_SIZE 32
#define LARDER_KEY_HEX_SIZE 65 /* 64 digits and the NUL */

typedef struct larder larder;                   /* one open instance */
typedef struct larder_request larder_request;   /* one run of a handler, as the handler sees it */
typedef struct larder_response larder_response; /* one answer, as the caller sees it */
struct uv_loop_s;                               /* uv_loop_t of <uv.h> */

/* The library's version, "0.1.0". Static. Any thread. */
LARDER_EXPORT const char *larder_version(void);

/* ---- process-wide ------------------------------------------------------------------------------------------------ */

/* Replaces malloc and its kin for all that Larder allocates itself (SQLite, libuv and OpenSSL have hooks of their own).
 * Call before anything else of Larder, once; the functions must be thread-safe. All NULL restores the C library's.
 * LARDER_EINVAL when only some are given. */
typedef struct larder_allocator {
    void *(*malloc_fn)(size_t size);
    void *(*calloc_fn)(size_t count, size_t size);
    void *(*realloc_fn)(void *block, size_t size);
    void (*free_fn)(void *block);
} larder_allocator;
LARDER_EXPORT int larder_set_allocator(const larder_allocator *allocator);

/* Clocks, for tests and simulations. Both functions are called from several threads. */
typedef struct larder_clock {
    int64_t (*wall_ms)(void *user_data);  /* milliseconds since 1970-01-01 UTC; may jump */
    uint64_t (*mono_ns)(void *user_data); /* nanoseconds from any start; never goes back */
    void *user_data;                      /* borrowed until the instance is closed */
} larder_clock;

/* ---- open and close ---------------------------------------------------------------------------------------------- */

typedef enum larder_durability {
    LARDER_DURABILITY_NORMAL = 0, /* what is flushed survives a crash of the process; a power cut may lose the newest
                                     commits, never the file (SQLite: WAL, synchronous=NORMAL) */
    LARDER_DURABILITY_FULL = 1    /* what is flushed survives a power cut too (synchronous=FULL) */
} larder_durability;

typedef struct larder_options {
    size_t size;                  /* set by larder_options_init; lets the struct grow */
    const char *path;             /* database file, copied. NULL: no file, the memory tier only */
    struct uv_loop_s *loop;       /* borrowed until the close callback; NULL: Larder runs a loop in its own thread */
    larder_durability durability; /* NORMAL */
    size_t memory_bytes;          /* bound of the memory tier, all included: 64 MiB; 0 turns the tier off */
    size_t max_args_bytes;        /* a request's arguments: 1 MiB */
    size_t max_response_bytes;    /* a handler's answer: 16 MiB */
    size_t max_entry_bytes;       /* answers larger than this are not cached: 1 MiB */
    size_t queue_bytes;           /* answers waiting for the writer: 16 MiB; what does not fit stays in memory only */
    size_t page_cache_bytes;      /* pages of the file that are kept: 64 MiB, and a quarter more for the writer */
    uint32_t max_in_flight;      /* requests sent and not answered yet: 100,000; beyond it send is LARDER_EOVERLOADED */
    uint32_t workers;            /* threads for blocking handlers, started when needed: 4 */
    uint32_t default_timeout_ms; /* 30,000; for handlers and requests that name none */
    uint32_t commit_interval_ms; /* what is queued is committed at least this often: 10 */
    uint32_t metrics_interval_ms; /* counters are written this often: 1,000 */
    uint32_t sweep_interval_ms;   /* a pass over expired rows starts this often: 60,000 */
    uint32_t lock_timeout_ms;     /* how long open, flush and a commit wait for another process's lock: 5,000 */
    const larder_clock *clock;    /* copied; NULL: the system's */
} larder_options;

LARDER_EXPORT void larder_options_init(larder_options *options);

/* Opens an instance. Blocks for the file's recovery and migrations. A missing file is created with mode 0600; its
 * folder must exist. The options are copied. With options.loop, call it on the loop's thread or before the loop runs;
 * the loop stays alive until larder_close has called back.
 *
 * LARDER_EINVAL options; LARDER_EACCESS, LARDER_EREADONLY, LARDER_EIO, LARDER_EFULL, LARDER_ELOCKED the file cannot be
 * used now; LARDER_EFOREIGN another program's file; LARDER_ECORRUPT; LARDER_ENEWER; LARDER_ESCHEMA; LARDER_ENOMEM. On
 * failure *out is NULL, nothing needs closing, and the file is as it was. */
LARDER_EXPORT int larder_open(larder **out, const larder_options *options, larder_error *error);

typedef struct larder_close_report {
    int status;             /* LARDER_OK, or why the last flush failed */
    uint32_t cancelled;     /* requests answered with CLOSED because the grace time was over */
    uint32_t stuck_workers; /* blocking handlers that had not returned; their threads are left to them */
    uint64_t unsaved;       /* answers that could not be written */
} larder_close_report;
typedef void (*larder_close_cb)(const larder_close_report *report, void *user_data);

/* Stops accepting, waits up to grace_ms for what is in flight, answers the rest with CLOSED, flushes, and calls back on
 * the loop (never from inside this call). The instance is gone when `done` returns. Any thread. LARDER_ECLOSED when
 * closing already: then this call's callback does not come. `done` may be NULL. */
LARDER_EXPORT int larder_close(larder *l, uint32_t grace_ms, larder_close_cb done, void *user_data);

/* The same, for programs whose loop Larder runs: blocks until all is done. `report` may be NULL. LARDER_ETHREAD on the
 * loop's thread, or when the instance lives on the caller's own loop. */
LARDER_EXPORT int larder_close_wait(larder *l, uint32_t grace_ms, larder_close_report *report);

/* ---- handlers ---------------------------------------------------------------------------------------------------- */

/* Called once for each run, on the loop, or on a worker if the handler is `blocking`. It answers with exactly one of
 * the larder_answer… calls or larder_fail, before it returns or later, from any thread. `request` is valid until then,
 * also after its deadline passed or Larder closed: a late answer is dropped and frees it. */
typedef void (*larder_handler_fn)(larder_request *request, void *user_data);

/* Refuses arguments with a message. `args` is the canonical JSON, borrowed for the call, not NUL-terminated. Returns 0,
 * or nonzero after writing a NUL-terminated reason into `message` (size bytes). Runs on the loop for every request,
 * also those that the cache will answer; it must not block. */
typedef int (*larder_validate_fn)(const char *args, size_t args_len, char *message, size_t size, void *user_data);

typedef struct larder_handler_options {
    size_t size;
    uint32_t version;            /* 1; entries that another version stored are misses */
    int cacheable;               /* 0; 1: successful answers are kept and served for ttl_ms */
    int64_t ttl_ms;              /* 300,000; at least 1 */
    uint32_t timeout_ms;         /* 0: the instance's default */
    int blocking;                /* 0; 1: runs on a worker thread */
    int scoped;                  /* 0; 1: requests without a scope are refused with VALIDATION_ERROR */
    const char *description;     /* copied; NULL */
    larder_validate_fn validate; /* NULL */
    void *user_data;             /* for the handler and validate; borrowed, until user_data_free was called */
    void (*user_data_free)(
        void *user_data); /* NULL; called once, when unregistered (or closed) and no run is left: on the
                             loop, or, for runs that outlive larder_close, where the last one ends */
} larder_handler_options;
LARDER_EXPORT void larder_handler_options_init(larder_handler_options *options);

/* Registers a handler. `channel` (1 to 255 bytes of UTF-8, no NUL) and options are copied; options may be NULL. Any
 * thread; requests sent after it returns find it. LARDER_EEXIST the channel is taken; LARDER_EINVAL; LARDER_ENOMEM;
 * LARDER_ECLOSED. On failure user_data_free is not called. */
LARDER_EXPORT int larder_register(larder *l, const char *channel, larder_handler_fn handler,
                                  const larder_handler_options *options, larder_error *error);

/* Takes a handler away: requests dispatched from now on get HANDLER_NOT_FOUND; runs in flight finish. What is cached
 * stays. Any thread. LARDER_ENOTFOUND. */
LARDER_EXPORT int larder_unregister(larder *l, const char *channel, larder_error *error);

typedef struct larder_handler_info {
    const char *channel; /* borrowed for the call, as all in here */
    const larder_handler_options *options;
} larder_handler_info;
/* Calls `each` for every registered handler, by channel in byte order, from inside this call; a nonzero return ends it
 * and is returned. Any thread; `each` must not register or unregister. */
LARDER_EXPORT int larder_handlers(larder *l, int (*each)(const larder_handler_info *info, void *user_data),
                                  void *user_data);

/* What a run can ask. Any thread, until it has answered. Pointers are borrowed until then. */
LARDER_EXPORT const char *larder_request_channel(const larder_request *request);
/* The arguments as canonical JSON, NUL-terminated; the length goes to *len (may be NULL). "null" when none were given.
 */
LARDER_EXPORT const char *larder_request_args(const larder_request *request, size_t *len);
LARDER_EXPORT const char *larder_request_scope(const larder_request *request); /* NULL when none */
/* Milliseconds until the deadline; 0 when it has passed. */
LARDER_EXPORT uint32_t larder_request_remaining_ms(const larder_request *request);
/* 1 when nobody waits for the answer any more: cancelled, timed out or closed. A blocking handler may poll it. */
LARDER_EXPORT int larder_request_cancelled(const larder_request *request);

/* Answers. Any thread; the bytes are copied. After any of these calls, `request` is gone, whatever they return.
 * larder_answer_json: `json` must be one valid JSON value; if it is not, the caller gets IPC_HANDLER_ERROR with the
 * place, and LARDER_EJSON is returned. text: valid UTF-8, else LARDER_EINVAL and IPC_HANDLER_ERROR. bytes: anything.
 * LARDER_ETOOBIG, LARDER_ENOMEM: the caller gets RESPONSE_TOO_LARGE, NO_MEMORY. LARDER_OK also when nobody waits any
 * more. Null and empty answers are answers and are cached. */
LARDER_EXPORT int larder_answer_json(larder_request *request, const char *json, size_t len);
LARDER_EXPORT int larder_answer_text(larder_request *request, const char *text, size_t len);
LARDER_EXPORT int larder_answer_bytes(larder_request *request, const void *bytes, size_t len);
/* Fails the request. `code` NULL: IPC_HANDLER_ERROR; `message` NULL: the code's text; `details` NULL or one valid JSON
 * value (dropped if it is not). All copied. Failures are never cached. */
LARDER_EXPORT int larder_fail(larder_request *request, const char *code, const char *message, const char *details);

/* ---- requests ---------------------------------------------------------------------------------------------------- */

typedef enum larder_cache_mode {
    LARDER_CACHE_DEFAULT = 0, /* answer from the cache if it can, store what the handler says */
    LARDER_CACHE_REFRESH = 1, /* ask the handler, store what it says; if that cannot be stored, what was goes too */
    LARDER_CACHE_BYPASS = 2   /* ask the handler, leave the cache alone */
} larder_cache_mode;

typedef struct larder_send_options {
    size_t size;
    uint32_t timeout_ms; /* 0: the handler's, or the instance's default */
    larder_cache_mode cache;
    const char *scope; /* copied; NULL: none. Part of the cache key: answers are never shared between scopes */
} larder_send_options;
LARDER_EXPORT void larder_send_options_init(larder_send_options *options);

/* Comes exactly once, on the loop. `response` is borrowed for the call; larder_response_retain keeps it. */
typedef void (*larder_response_cb)(const larder_response *response, void *user_data);

/* Sends a request. channel, args and options are copied; `args` is any JSON value, NULL means `null`; `options` may be
 * NULL. *id (may be NULL) is for larder_cancel. Any thread. 0: `done` comes exactly once. <0: it never comes:
 * LARDER_EINVAL (channel empty, over 255 bytes or not UTF-8; a bad option), LARDER_ETOOBIG (args), LARDER_EOVERLOADED,
 * LARDER_ECLOSED, LARDER_ENOMEM, LARDER_EFORK. What can only be known later (no such handler, invalid JSON, refused
 * arguments) comes as a response. */
LARDER_EXPORT int larder_send(larder *l, const char *channel, const char *args, size_t args_len,
                              const larder_send_options *options, larder_response_cb done, void *user_data,
                              uint64_t *id, larder_error *error);

/* The same, blocking. On 0, *out is the response, whatever it says; release it. LARDER_ETHREAD on the loop's thread. */
LARDER_EXPORT int larder_send_wait(larder *l, const char *channel, const char *args, size_t args_len,
                                   const larder_send_options *options, larder_response **out, larder_error *error);

/* Cancels a request: it is answered with CANCELLED unless its answer is on the way already. An id that is unknown or
 * answered is ignored. Any thread. */
LARDER_EXPORT int larder_cancel(larder *l, uint64_t id);

/* ---- responses --------------------------------------------------------------------------------------------------- */

typedef enum larder_content {
    LARDER_CONTENT_JSON = 0, /* application/json */
    LARDER_CONTENT_TEXT = 1, /* text/plain; charset=utf-8 */
    LARDER_CONTENT_BYTES = 2 /* application/octet-stream */
} larder_content;
LARDER_EXPORT const char *larder_content_name(larder_content content); /* the media type; static */

typedef enum larder_source {
    LARDER_SOURCE_NONE = 0, /* answered without cache and handler (an error) */
    LARDER_SOURCE_HANDLER = 1,
    LARDER_SOURCE_MEMORY = 2,
    LARDER_SOURCE_DISK = 3
} larder_source;

typedef struct larder_response_metadata {
    larder_source source;
    int cached;                 /* source is MEMORY or DISK */
    int64_t created_ms;         /* wall clock: when the handler gave this answer; 0 for errors */
    int64_t expires_ms;         /* wall clock: until when the cache may serve it; 0 when it is not cached */
    uint64_t execution_time_ns; /* what the handler took, now or when the cached answer was made */
    uint64_t response_time_ns;  /* from larder_send to this response */
} larder_response_metadata;

/* Accessors: any thread, while the response is borrowed or retained. Pointers live as long as the response does. */
LARDER_EXPORT int larder_response_success(const larder_response *response);
/* The answer's bytes, NUL-terminated; NULL for an error. */
LARDER_EXPORT const char *larder_response_data(const larder_response *response, size_t *len);
LARDER_EXPORT larder_content larder_response_content(const larder_response *response);
LARDER_EXPORT const char *larder_response_code(const larder_response *response);    /* NULL for a success */
LARDER_EXPORT const char *larder_response_message(const larder_response *response); /* NULL for a success */
LARDER_EXPORT const char *larder_response_details(const larder_response *response); /* JSON, or NULL */
LARDER_EXPORT const larder_response_metadata *larder_response_meta(const larder_response *response);

/* The whole as one JSON object: success, data (bytes as base64) or error {code, message, details}, metadata {cached,
 * source, contentType, createdAt, expiresAt, executionTime, responseTime (milliseconds)}. *out is NUL-terminated;
 * release it with larder_free. *len may be NULL. LARDER_ENOMEM. */
LARDER_EXPORT int larder_response_envelope(const larder_response *response, char **out, size_t *len);
LARDER_EXPORT void larder_free(void *block); /* what a function of Larder allocated for the caller; NULL is fine */

/* Keeps a response past its callback: returns it, or a copy, to be released once; NULL when out of memory. */
LARDER_EXPORT larder_response *larder_response_retain(const larder_response *response);
LARDER_EXPORT void larder_response_release(larder_response *response); /* NULL is fine */

/* ---- the cache --------------------------------------------------------------------------------------------------- */

/* The cache key: SHA-256 (FIPS 180-4) of channel, 0x00, canonical args, and, with a scope, 0x00 and the scope. `args`
 * NULL means `null`; scope may be NULL. Pure; any thread. LARDER_EINVAL (channel or scope empty, over 255 bytes, with a
 * NUL, not UTF-8), LARDER_EJSON with the place. */
LARDER_EXPORT int larder_key(uint8_t key[LARDER_KEY_SIZE], const char *channel, size_t channel_len, const char *args,
                             size_t args_len, const char *scope, larder_error *error);
LARDER_EXPORT void larder_key_hex(char hex[LARDER_KEY_HEX_SIZE], const uint8_t key[LARDER_KEY_SIZE]);

/* Comes exactly once, on the loop. */
typedef void (*larder_status_cb)(int status, void *user_data);

/* Invalidations. In this process they hold at once: no request sent after the call returns gets an older answer, and a
 * run in flight does not store its own. `done` (may be NULL) comes when they are committed: from then on they hold in
 * other processes and after a crash. An invalidation is never dropped (while more than
 * 10,000 wait for their commit, those without `done` widen to everything); while the disk is full `done` waits for it
 * to heal, or comes with the error at close. 0: done comes. <0: nothing was done: LARDER_EINVAL, LARDER_EJSON,
 * LARDER_ENOMEM, LARDER_ECLOSED. Any thread. */
LARDER_EXPORT int larder_invalidate(larder *l, const char *channel, const char *args, size_t args_len,
                                    const char *scope, larder_status_cb done, void *user_data, larder_error *error);
LARDER_EXPORT int larder_invalidate_channel(larder *l, const char *channel, larder_status_cb done, void *user_data,
                                            larder_error *error);
LARDER_EXPORT int larder_invalidate_all(larder *l, larder_status_cb done, void *user_data, larder_error *error);

/* Writes what is queued: answers, invalidations, counters. `done` comes with LARDER_OK when all that was answered or
 * invalidated before the call is committed, or, within the lock timeout, with the reason why not (LARDER_EFULL,
 * LARDER_ELOCKED, LARDER_EIO; LARDER_EMOVED when the file was deleted). What a failure kept out of the file is reported
 * by the first flush after it. Answers that were never taken up because the queue was full are not part of it:
 * LARDER_EVENT_NOT_STORED counts them. Any thread. 0: done comes. */
LARDER_EXPORT int larder_flush(larder *l, larder_status_cb done, void *user_data);
/* The same, blocking; returns that status. LARDER_ETHREAD on the loop's thread. */
LARDER_EXPORT int larder_flush_wait(larder *l);

/* Reads the clock anew and acts on what is due. Only needed after moving a clock of one's own. Any thread. */
LARDER_EXPORT int larder_tick(larder *l);

/* ---- events ------------------------------------------------------------------------------------------------------ */

typedef enum larder_event_type {
    LARDER_EVENT_REQUEST_FAILED = 1,  /* a response with an error: channel, code, message */
    LARDER_EVENT_LATE_ANSWER = 2,     /* a handler answered after its deadline or a cancellation */
    LARDER_EVENT_STORE_DEGRADED = 4,  /* the file cannot be read or written: status, message; requests go on */
    LARDER_EVENT_STORE_RECOVERED = 8, /* it can again; `count` answers were not stored meanwhile */
    LARDER_EVENT_NOT_STORED = 16 /* `count` answers did not fit into the writer's queue since the last such event */
} larder_event_type;
#define LARDER_EVENT_ANY 0xffffffffu

typedef struct larder_event {
    larder_event_type type;
    int status;          /* LARDER_E…, or 0 */
    const char *channel; /* or NULL; borrowed for the call, as all in here */
    const char *code;    /* or NULL */
    const char *message;
    uint64_t count;
} larder_event;
typedef void (*larder_event_cb)(const larder_event *event, void *user_data);

/* Asks for the events in `mask`. Several may subscribe; each may unsubscribe inside its callback. Callbacks come on the
 * loop. Any thread. *id names the subscription. */
LARDER_EXPORT int larder_subscribe(larder *l, uint32_t mask, larder_event_cb on_event, void *user_data, uint64_t *id);
/* After it returns on the loop's thread no callback comes; from another thread, one may still be under way. */
LARDER_EXPORT int larder_unsubscribe(larder *l, uint64_t id);

/* ---- metrics ----------------------------------------------------------------------------------------------------- */

typedef struct larder_metrics {
    size_t size;        /* set by the caller to sizeof */
    uint64_t requests;  /* accepted by larder_send and dispatched */
    uint64_t responses; /* successful ones */
    uint64_t errors;
    uint64_t memory_hits;
    uint64_t disk_hits;
    uint64_t misses; /* cacheable requests that no tier could answer */
    uint64_t handler_runs;
    uint64_t late_answers;
    uint64_t response_time_ns; /* sum over all responses and errors */
    uint64_t not_stored;       /* answers that were not written: queue full, disk full */
    uint64_t store_errors;     /* reads and commits that failed */
    uint64_t commits;          /* group commits */
    uint64_t memory_entries;   /* now, as what follows */
    uint64_t memory_bytes;
    uint64_t in_flight;
    uint64_t queued_bytes; /* waiting for the writer */
} larder_metrics;
/* This instance's counters since it was opened. Any thread, no lock; each number is exact, all of them together are of
 * about the same moment. Totals of all processes and restarts are in the file (view `totals`). */
LARDER_EXPORT int larder_get_metrics(larder *l, larder_metrics *out);

#ifdef __cplusplus
}
#endif
#endif
