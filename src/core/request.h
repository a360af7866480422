/* core/request.h: a request as its caller's side has it: what was asked, by when, and room for the response.
 *
 * One block holds all, the texts too. Nothing more is needed to answer it with an error. The response is its first part
 * and counted: a caller who retains the response keeps the block. */
#ifndef LARDER_CORE_REQUEST_H
#define LARDER_CORE_REQUEST_H

#include "base/heap.h"
#include "core/inbox.h"
#include "core/outcome.h"
#include "core/registry.h"

#define LARDER__RESPONSE_TEXT 160

struct larder_response {
    int references; /* atomic */
    larder__outcome outcome;
    larder_response_metadata meta;
    char details[32];                 /* for details of our own */
    char text[LARDER__RESPONSE_TEXT]; /* for messages of our own, as long as they fit */
};

typedef struct larder__request {
    larder_response response; /* first: what a caller retains is the block */
    larder__message message;
    larder__map_node pending;   /* by id, while `waiting` */
    larder__heap_node deadline; /* likewise */
    int waiting;
    larder_request *run; /* the handler's side, while it owes an answer */
    uint64_t id;
    uint64_t sent_ns;
    larder_response_cb done;
    void *user_data;
    larder__channel_metrics *metrics; /* from the dispatch on */
    int missed;                       /* the cache was asked and had nothing */
    uint32_t timeout_ms;              /* 0: the handler's, or the default */
    larder_cache_mode cache;
    uint32_t channel_len;
    uint32_t scope_len;
    size_t args_len;
    const char *channel; /* these three in the block, NUL-terminated; scope NULL when none */
    const char *scope;
    const char *args;
} larder__request;

/* Checks and copies. Statuses as larder_send; the in-flight bound and closing are the inbox's to check. */
int larder__request_new(larder__request **out, larder *l, const char *channel, const char *args, size_t args_len,
                        const larder_send_options *options, larder_error *error);
void larder__request_free(larder__request *request);

/* Loop thread, all that follow. Turns the response into an error of ours. */
void larder__request_fail(larder__request *request, larder__code code, const char *format, ...)
    __attribute__((format(printf, 3, 4)));
/* The same with the code's own text after the channel. */
void larder__request_fail_plain(larder__request *request, larder__code code);

/* Gives the response to the caller: counts it, reports it if it is an error, calls back, lets go. */
void larder__request_finish(larder *l, larder__request *request);

/* Makes room for one more waiting request; LARDER_ENOMEM. Then larder__request_wait cannot fail. */
int larder__request_prepare_wait(larder *l);
void larder__request_wait(larder *l, larder__request *request);
larder__request *larder__request_find(larder *l, uint64_t id);     /* among the waiting ones; or NULL */
uint64_t larder__request_deadline(const larder__request *request); /* its timeout_ms is settled */

/* Answers those whose deadline is at or before now_ns with TIMEOUT. */
void larder__request_time_out(larder *l, uint64_t now_ns);
/* Answers all that wait with CLOSED; returns how many. */
uint32_t larder__request_close_all(larder *l);

#endif
