/* tests/lib/driver.h: one instance on a loop of the test's own, driven step by step: each call turns the loop until its
 * answer has come. For tests that care about what the store does, not about concurrency. */
#ifndef LARDER_TEST_DRIVER_H
#define LARDER_TEST_DRIVER_H

#include "support.h"

typedef struct driver {
    uv_loop_t loop;
    larder *l;
    larder_options options;
    larder_error error;
    long generation; /* the handler of "kv" puts this into its answers, and the size below */
    size_t pad;
    int refuse; /* the handler of "kv" fails instead: what is answered then comes from the cache */
    unsigned long runs;
    /* events, and the last one's words */
    int degraded;
    int recovered;
    int not_stored;            /* events */
    uint64_t not_stored_count; /* their sum */
    uint64_t recovered_count;
    int degraded_status;
    char degraded_message[512];
} driver;

typedef struct driver_answer {
    int status; /* of larder_send; what follows only if it is 0 */
    int times;  /* how often it was answered */
    int success;
    larder_source source;
    long generation; /* in the answer of "kv"; -1: none */
    int whole;       /* its bytes are those that the handler gives for this key, generation and size */
    char code[64];
} driver_answer;

/* The loop, the options with their defaults and this path. Set d->options before driver_open. */
void driver_init(driver *d, const char *path);
/* Opens, subscribes to the store's events, and registers "kv": cacheable, ttl one hour, args [n], answer
 * {"k":n,"g":generation,"pad":"…"}. Returns larder_open's status. */
int driver_open(driver *d);
driver_answer driver_send(driver *d, unsigned key, larder_cache_mode mode);
int driver_flush(driver *d);
/* key < 0: the channel; -2: all. Waits for the commit. */
int driver_invalidate(driver *d, int key);
void driver_turn(driver *d, int ms); /* turns the loop for that long */
/* Closes and frees all; the report says how it went. Also after a failed open. */
larder_close_report driver_close(driver *d);

/* The answer of "kv", as JSON, malloced. */
char *driver_value(unsigned key, long generation, size_t pad);

/* "ok", or what PRAGMA integrity_check says, or an error's text; through the "unix" VFS. Static. */
const char *driver_integrity(const char *path);
/* One number out of the file, through "unix", read only; -1 when it cannot be had. */
int64_t driver_number(const char *path, const char *sql);

#endif
