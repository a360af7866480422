/* core/workers.h: Larder's own threads for blocking handlers. Started when needed, up to a limit; they share one queue.
 *
 * A handler that hangs takes its thread with it: at close the thread is left alone, and what it still holds (the
 * workers' lock, its run) lives until it returns. */
#ifndef LARDER_CORE_WORKERS_H
#define LARDER_CORE_WORKERS_H

#include "core/run.h"

typedef struct larder__workers larder__workers;

int larder__workers_new(larder__workers **out, larder__inbox *inbox, uint32_t limit); /* LARDER_ENOMEM */

/* Loop thread, all that follow. Queues a run. Fails when there is no thread and none can be started (LARDER_ENOMEM,
 * LARDER_ESYSTEM); then the run is still
 * the caller's. */
int larder__workers_push(larder__workers *workers, larder_request *run, larder_error *error);
/* 1: the run had not begun, and is the caller's again. */
int larder__workers_take_back(larder__workers *workers, larder_request *run);

/* Runs that have begun and not returned. With `notify` the loop gets LARDER__SIGNAL_WORKERS whenever one returns. */
uint32_t larder__workers_busy(larder__workers *workers, int notify);
/* Tells idle threads to end and leaves busy ones alone; returns how many those are. Nothing may be queued any more. */
uint32_t larder__workers_stop(larder__workers *workers);
/* Joins those that have ended; 1: none is left. LARDER__SIGNAL_WORKERS comes when one ends. */
int larder__workers_reap(larder__workers *workers);
void larder__workers_release(
    larder__workers *workers); /* after reap said 1, or if none was ever started; NULL is fine */

#endif
