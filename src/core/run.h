/* core/run.h: struct larder_request, one run of a handler, as the handler has it.
 *
 * Two references: the call of the handler function, and the answer that is owed. The loop reaches a run through its
 * request; from the moment that the caller was answered otherwise (deadline, cancellation, close) the run is the
 * handler's alone, until the late answer brings it back, or, when everything was closed, frees it where it is given. */
#ifndef LARDER_CORE_RUN_H
#define LARDER_CORE_RUN_H

#include "core/request.h"
#include "store/store.h"

struct larder_request {
    larder__message message; /* ANSWER */
    int references;          /* atomic */
    int answered;            /* atomic: by whom first */
    int cancelled;           /* atomic: nobody waits any more */
    int calling;             /* loop thread: its handler is being called right now */
    int ready;               /* loop thread: answered within that call */
    int queued;              /* under the workers' lock: in their queue, by `waiting` */
    larder__list waiting;
    larder__inbox *inbox;     /* referenced */
    larder__handler *handler; /* referenced */
    larder__request *request; /* loop thread; NULL when nobody waits */
    larder__body *args;       /* canonical; a reference */
    const char *scope;        /* in this block, or NULL */
    size_t max_response_bytes;
    uint64_t deadline_ns;
    uint64_t started_ns;
    uint64_t answered_ns;
    larder__outcome outcome;
    int keep; /* the answer goes into the cache, under `key`, if nothing invalidated `mark` */
    uint8_t key[LARDER_KEY_SIZE];
    larder__mark mark;
};

/* The scanner's canonical args and the request's scope are copied. NULL when out of memory. */
larder_request *larder__run_new(larder *l, larder__request *request, larder__handler *handler, const char *args,
                                size_t args_len);
void larder__run_unref(larder_request *run); /* any thread */

/* Loop thread. Calls the handler here: 1 when it has answered within the call. */
int larder__run_call(larder_request *run);
/* Worker thread: calls the handler, and gives up the call's reference. `json` checks answers given meanwhile. */
void larder__run_work(larder_request *run, larder__json *json);

#endif
