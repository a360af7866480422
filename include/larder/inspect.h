/* larder/inspect.h: look into a Larder file, and clear it, from a program that is not dispatching: the command, tools.
 *
 * Works while other programs have the file open: no request sent to them after a clear gets what was cleared. Every
 * call may block on the disk; use one larder_inspect from one thread at a time. Strings and bytes passed to a callback
 * are borrowed for the call. A callback returns 0 to go on; anything else ends the listing and is returned.
 */
#ifndef LARDER_INSPECT_H
#define LARDER_INSPECT_H

#include <larder/larder.h>

#ifdef __cplusplus
extern "C" {
#endif

typedef struct larder_inspect larder_inspect;

typedef enum larder_inspect_mode {
    LARDER_INSPECT_READ = 0, /* reads only: never creates or changes the database */
    LARDER_INSPECT_WRITE = 1 /* may clear */
} larder_inspect_mode;

/* Opens an existing file; never creates one. LARDER_ENOTFOUND no such file; LARDER_EFOREIGN, LARDER_ECORRUPT,
 * LARDER_ENEWER, LARDER_ESCHEMA (also a file of an older Larder that no program has migrated yet), LARDER_EACCESS,
 * LARDER_EREADONLY (for WRITE), LARDER_ELOCKED, LARDER_EIO, LARDER_ENOMEM: *out is NULL. */
LARDER_EXPORT int larder_inspect_open(larder_inspect **out, const char *path, larder_inspect_mode mode,
                                      larder_error *error);
LARDER_EXPORT void larder_inspect_close(larder_inspect *in); /* NULL is fine */

typedef struct larder_entry_info {
    char key[LARDER_KEY_HEX_SIZE];
    const char *channel;
    const char *scope; /* NULL when none */
    const char *args;  /* canonical JSON, NUL-terminated */
    size_t args_len;
    uint32_t version; /* of the handler that made it */
    larder_content content;
    uint64_t size;      /* bytes of the value */
    const void *value;  /* larder_inspect_entry only, else NULL */
    int64_t created_ms; /* wall clock, as the next two */
    int64_t expires_ms;
    int64_t used_ms;  /* last use that was recorded, 0 never */
    uint64_t hits;    /* uses of this answer that were recorded */
    uint64_t cost_us; /* what computing it took */
    int expired;      /* at the time of the listing */
} larder_entry_info;

typedef struct larder_filter {
    size_t size;
    const char *channel;    /* exactly this channel; NULL: any */
    const char *key_prefix; /* hex digits, up to 64; NULL: any */
    int with_expired;       /* 0: only what can still be served */
    uint64_t limit;         /* 0: all */
} larder_filter;
LARDER_EXPORT void larder_filter_init(larder_filter *filter);

typedef int (*larder_entry_cb)(const larder_entry_info *entry, void *user_data);
/* The entries that pass the filter (NULL: all that can be served), newest first; those that were invalidated are
 * hidden. LARDER_EINVAL a prefix that is not hexadecimal. */
LARDER_EXPORT int larder_inspect_entries(larder_inspect *in, const larder_filter *filter, larder_entry_cb each,
                                         void *user_data, larder_error *error);
/* The one entry whose key begins with `key_prefix`, with its value, also if it has expired. LARDER_ENOTFOUND;
 * LARDER_EINVAL when several do, or the prefix is not hexadecimal. */
LARDER_EXPORT int larder_inspect_entry(larder_inspect *in, const char *key_prefix, larder_entry_cb each,
                                       void *user_data, larder_error *error);

typedef struct larder_channel_info {
    const char *channel; /* "(unknown)": requests to channels without a handler */
    uint64_t entries;    /* that can be served now */
    uint64_t bytes;      /* of their values */
    uint64_t expired;    /* still in the file, no longer served */
    uint64_t requests, responses, errors, memory_hits, disk_hits, misses, handler_runs;
    uint64_t response_time_us; /* sum */
    uint64_t max_response_time_us;
    uint64_t handler_time_us; /* sum over handler runs */
} larder_channel_info;
typedef int (*larder_channel_cb)(const larder_channel_info *channel, void *user_data);
/* What is cached and what was counted, per channel, by name. Counters are totals of all processes since the file was
 * made. */
LARDER_EXPORT int larder_inspect_channels(larder_inspect *in, larder_channel_cb each, void *user_data,
                                          larder_error *error);

typedef struct larder_file_info {
    uint32_t schema_version;
    uint64_t file_bytes; /* pages times page size, without the WAL */
    uint64_t free_bytes; /* of these, in free pages */
    int64_t created_ms;
} larder_file_info;
LARDER_EXPORT int larder_inspect_file(larder_inspect *in, larder_file_info *out, larder_error *error);

/* Clears the entries that pass the filter (NULL: all, and answers that running programs are about to store too).
 * Committed when it returns. *removed (may be NULL) is the number of entries that could be served before and cannot
 * now. Needs WRITE. LARDER_EINVAL, LARDER_ELOCKED, LARDER_EFULL, LARDER_EIO: nothing was cleared. */
LARDER_EXPORT int larder_inspect_clear(larder_inspect *in, const larder_filter *filter, uint64_t *removed,
                                       larder_error *error);

#ifdef __cplusplus
}
#endif
#endif
