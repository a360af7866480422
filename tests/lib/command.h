/* tests/lib/command.h: for tests of the command: running it in a shell or at a terminal, and a cache to look into. */
#ifndef LARDER_TEST_COMMAND_H
#define LARDER_TEST_COMMAND_H

#include "support.h"

/* What a run left; valid until the next run. Bytes are followed by a NUL. */
typedef struct test_run {
    int code; /* exit status; 128 + signal */
    char *out;
    size_t out_len;
    char *err;   /* NULL at a terminal, which has one stream */
    long max_kb; /* the most memory that one process of it had; not at a terminal */
} test_run;

/* Runs a line in a shell in which `larder` is the command that was built (LARDER_COMMAND). HOME is an empty folder;
 * LARDER_DB, XDG_STATE_HOME, NO_COLOR and COLUMNS are unset. */
const test_run *test_command(const char *format, ...) __attribute__((format(printf, 1, 2)));
/* The same at a pseudo-terminal of so many columns, where `typed` (NULL: nothing) is typed. Carriage returns are
 * left out. */
const test_run *test_terminal(unsigned columns, const char *typed, const char *format, ...)
    __attribute__((format(printf, 3, 4)));

/* One answer to be cached. */
typedef struct test_answer {
    const char *channel;
    const char *args;
    const char *scope; /* NULL */
    const char *bytes;
    size_t len; /* 0: up to the NUL */
    larder_content content;
    int64_t ttl_ms; /* 0: an hour */
    int64_t age_ms; /* how long ago it was given */
} test_answer;

/* Has the library answer these requests, in their order, and store the answers in the file at `path`. */
void test_fill(const char *path, const test_answer *answers, size_t count);

#endif
