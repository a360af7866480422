/* tests/flow/flow.h: an instance on a loop of the test's, answers that are kept, and handlers that every flow test
 * needs. Public headers only. */
#ifndef LARDER_TEST_FLOW_H
#define LARDER_TEST_FLOW_H

#include "support.h"

#include <stdio.h>
#include <string.h>

/* ---- answers ---- */

typedef struct answer {
    int count; /* how often the callback came */
    larder_response *response;
} answer;

static inline void on_answer(const larder_response *response, void *user_data)
{
    answer *a = user_data;
    if (a->response != NULL) {
        larder_response_release(a->response);
    }
    a->response = larder_response_retain(response);
    __atomic_add_fetch(&a->count, 1, __ATOMIC_SEQ_CST);
}

static inline void answer_clear(answer *a)
{
    larder_response_release(a->response);
    *a = (answer){0, NULL};
}

#define assert_data(a, text) assert_string_equal(larder_response_data((a)->response, NULL), text)
#define assert_code(a, text) assert_string_equal(larder_response_code((a)->response), text)
#define assert_source(a, where) assert_int_equal(larder_response_meta((a)->response)->source, where)

/* ---- an instance ---- */

typedef struct flow {
    uv_loop_t loop;
    test_clock clock;
    larder_options options;
    larder *l;
    int closed;
    larder_close_report report;
} flow;

/* Options for a loop and a clock of the test's; then flow_open. */
static inline void flow_init(flow *f, const char *path)
{
    memset(f, 0, sizeof *f);
    test_clock_init(&f->clock);
    larder_options_init(&f->options);
    f->options.path = path;
    f->options.loop = &f->loop;
    f->options.clock = &f->clock.clock;
    assert_int_equal(uv_loop_init(&f->loop), 0);
}

static inline void flow_open(flow *f)
{
    larder_error error = {.message = ""};
    if (larder_open(&f->l, &f->options, &error) != LARDER_OK) {
        fail_msg("larder_open: %s", error.message);
    }
    f->closed = 0;
}

static inline void on_flow_closed(const larder_close_report *report, void *user_data)
{
    flow *f = user_data;
    f->report = *report;
    f->closed = 1;
}

static inline void flow_close(flow *f, uint32_t grace_ms)
{
    f->closed = 0;
    assert_int_equal(larder_close(f->l, grace_ms, on_flow_closed, f), LARDER_OK);
    test_run_until(&f->loop, &f->closed);
    f->l = NULL;
}

static inline void flow_end(flow *f)
{
    flow_close(f, 0);
    test_loop_close(&f->loop);
}

static inline void flow_register(flow *f, const char *channel, larder_handler_fn fn,
                                 const larder_handler_options *options)
{
    larder_error error = {.message = ""};
    if (larder_register(f->l, channel, fn, options, &error) != LARDER_OK) {
        fail_msg("larder_register: %s", error.message);
    }
}

/* A handler that caches, on `user_data`. */
static inline void flow_register_cached(flow *f, const char *channel, larder_handler_fn fn, void *user_data)
{
    larder_handler_options options;
    larder_handler_options_init(&options);
    options.cacheable = 1;
    options.user_data = user_data;
    flow_register(f, channel, fn, &options);
}

static inline void flow_register_with(flow *f, const char *channel, larder_handler_fn fn, void *user_data)
{
    larder_handler_options options;
    larder_handler_options_init(&options);
    options.user_data = user_data;
    flow_register(f, channel, fn, &options);
}

static inline uint64_t flow_send(flow *f, const char *channel, const char *args, const larder_send_options *options,
                                 answer *a)
{
    larder_error error = {.message = ""};
    uint64_t id = 0;
    if (larder_send(f->l, channel, args, LARDER_NUL, options, on_answer, a, &id, &error) != LARDER_OK) {
        fail_msg("larder_send: %s", error.message);
    }
    return id;
}

/* Sends and turns the loop until the answer is there, in place of what *a held. */
static inline void flow_ask_with(flow *f, const char *channel, const char *args, const larder_send_options *options,
                                 answer *a)
{
    answer_clear(a);
    flow_send(f, channel, args, options, a);
    test_run_until(&f->loop, &a->count);
    assert_int_equal(a->count, 1);
}

static inline void flow_ask(flow *f, const char *channel, const char *args, answer *a)
{
    flow_ask_with(f, channel, args, NULL, a);
}

typedef struct outcome {
    int done;
    int status;
} outcome;

static inline void on_status(int status, void *user_data)
{
    outcome *o = user_data;
    o->status = status;
    o->done++;
}

static inline void flow_flush(flow *f)
{
    outcome o = {0, 0};
    assert_int_equal(larder_flush(f->l, on_status, &o), LARDER_OK);
    test_run_until(&f->loop, &o.done);
    assert_int_equal(o.status, LARDER_OK);
}

/* Moves the clock and lets the instance notice. */
static inline void flow_advance(flow *f, int64_t ms)
{
    test_clock_advance(&f->clock, ms);
    assert_int_equal(larder_tick(f->l), LARDER_OK);
}

/* ---- handlers ---- */

static inline void echo(larder_request *request, void *user_data)
{
    (void)user_data;
    size_t len;
    const char *args = larder_request_args(request, &len);
    larder_answer_json(request, args, len);
}

/* Answers how often it was called, in an int of the test's. */
static inline void count_calls(larder_request *request, void *user_data)
{
    int *calls = user_data;
    char text[16];
    snprintf(text, sizeof text, "%d", ++*calls);
    larder_answer_json(request, text, LARDER_NUL);
}

/* Keeps its requests for the test to answer. */
typedef struct keeper {
    int calls;
    larder_request *requests[4096];
} keeper;

static inline void keep_request(larder_request *request, void *user_data)
{
    keeper *k = user_data;
    assert_true(k->calls < 4096);
    k->requests[k->calls++] = request;
}

/* ---- threads ---- */

/* Runs `entry` in a thread to its end, without the loop turning. */
static inline void run_in_thread(void (*entry)(void *argument), void *argument)
{
    uv_thread_t thread;
    assert_int_equal(uv_thread_create(&thread, entry, argument), 0);
    uv_thread_join(&thread);
}

#endif
