/* core/thread.c: threads that take no signals, and the count of forks.
 *
 * getpid() is a system call with today's C libraries, so that asking it on every send would cost more than the send: a
 * pthread_atfork handler counts instead. */
#include "core/thread.h"

#include "base/error.h"

#include <pthread.h>
#include <signal.h>

static uint32_t generation;
static pthread_once_t watch_once = PTHREAD_ONCE_INIT;
static int watch_result;

static void on_child(void)
{
    __atomic_add_fetch(&generation, 1, __ATOMIC_RELAXED);
}

static void watch(void)
{
    watch_result = pthread_atfork(NULL, NULL, on_child);
}

int larder__fork_watch(void)
{
    pthread_once(&watch_once, watch);
    return watch_result == 0 ? LARDER_OK : LARDER_ENOMEM;
}

uint32_t larder__fork_generation(void)
{
    return __atomic_load_n(&generation, __ATOMIC_RELAXED);
}

int larder__thread_start(uv_thread_t *thread, uv_thread_cb entry, void *argument, const char *what, larder_error *error)
{
    sigset_t all;
    sigset_t before;
    sigfillset(&all);
    pthread_sigmask(SIG_SETMASK, &all, &before);
    int err = uv_thread_create(thread, entry, argument);
    pthread_sigmask(SIG_SETMASK, &before, NULL);
    if (err != 0) {
        return larder__fail_errno(error, -err, "cannot start %s thread", what);
    }
    return LARDER_OK;
}
