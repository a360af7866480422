/* tests/lib/child.h: this test program once more, as a process of its own that can be killed. It is executed anew, not
 * only forked, since threads and locks do not survive a fork. */
#ifndef LARDER_TEST_CHILD_H
#define LARDER_TEST_CHILD_H

#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>

#define CHILD_TO_PARENT 100   /* in the child: what it says */
#define CHILD_FROM_PARENT 101 /* and what it is told; end of file when the parent goes away */

typedef struct child {
    pid_t pid;
    int said; /* read here what the child says */
    int tell;
    char *text; /* all that was read so far, NUL-terminated */
    size_t len;
} child;

/* Runs /proc/self/exe with these arguments (up to 14, ended by NULL); main must look for them. */
void child_start(child *c, const char *const *args);
/* Reads what the child says until `needle` is found in it (1), it ends (0), or that many microseconds have passed (-1).
 * needle NULL: to the end or the time. */
int child_read(child *c, const char *needle, int64_t timeout_us);
void child_kill(child *c); /* SIGKILL; then all that it had said is read */
int child_wait(child *c);  /* exit status, or 128 + signal */
void child_release(child *c);

/* In the child. Ends the process when nobody listens. */
void child_say(const char *format, ...) __attribute__((format(printf, 1, 2)));
void child_wait_for_parent(void); /* until it has told something or has gone */

#endif
