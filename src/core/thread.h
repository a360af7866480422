/* core/thread.h: starting Larder's own threads, and noticing a fork. */
#ifndef LARDER_CORE_THREAD_H
#define LARDER_CORE_THREAD_H

#include <larder/status.h>
#include <stdint.h>
#include <uv.h>

/* Starts a thread in which every signal is blocked, so that the program's handlers never run on a thread that it does
 * not know. LARDER_ESYSTEM or LARDER_ENOMEM, with the reason. */
int larder__thread_start(uv_thread_t *thread, uv_thread_cb entry, void *argument, const char *what,
                         larder_error *error);

/* Raised in a child by every fork() once somebody has asked; an instance that remembers another value was inherited. */
uint32_t larder__fork_generation(void);
/* Begins to watch. LARDER_ENOMEM. */
int larder__fork_watch(void);

#endif
