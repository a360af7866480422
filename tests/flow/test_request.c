/* tests/flow/test_request.c: a request's way to its handler and back: at once, later, from another thread, from a
 * worker; and everything that is refused on the way. */
#include "flow.h"

#include <stdlib.h>
#include <sys/wait.h>
#include <unistd.h>

static flow f;
static answer a;

static int setup(void **state)
{
    (void)state;
    flow_init(&f, NULL);
    flow_open(&f);
    a = (answer){0, NULL};
    return 0;
}

static int teardown(void **state)
{
    (void)state;
    flow_end(&f);
    answer_clear(&a);
    return 0;
}

/* ---- when and where answers are given ---- */

static void test_an_answer_at_once_comes_in_the_callback_and_never_inside_send(void **state)
{
    (void)state;
    flow_register(&f, "echo", echo, NULL);
    flow_send(&f, "echo", "[1, 2]", NULL, &a);
    assert_int_equal(a.count, 0);
    test_run_until(&f.loop, &a.count);
    assert_int_equal(a.count, 1);
    assert_true(larder_response_success(a.response));
    assert_data(&a, "[1,2]");
    assert_source(&a, LARDER_SOURCE_HANDLER);
    assert_int_equal(larder_response_content(a.response), LARDER_CONTENT_JSON);
    assert_null(larder_response_code(a.response));
    assert_null(larder_response_message(a.response));
}

static void test_an_answer_may_be_given_after_the_handler_returned(void **state)
{
    (void)state;
    static keeper k;
    k.calls = 0;
    flow_register_with(&f, "later", keep_request, &k);
    flow_send(&f, "later", "7", NULL, &a);
    test_run_until(&f.loop, &k.calls);
    assert_int_equal(a.count, 0);
    assert_string_equal(larder_request_channel(k.requests[0]), "later");
    assert_string_equal(larder_request_args(k.requests[0], NULL), "7");
    assert_int_equal(larder_answer_json(k.requests[0], "\"done\"", LARDER_NUL), LARDER_OK);
    assert_int_equal(a.count, 0); /* never inside the call */
    test_run_until(&f.loop, &a.count);
    assert_data(&a, "\"done\"");
}

static void answer_kept(void *argument)
{
    keeper *k = argument;
    larder_answer_json(k->requests[0], "{\"from\":\"another thread\"}", LARDER_NUL);
}

static void test_an_answer_may_come_from_another_thread(void **state)
{
    (void)state;
    static keeper k;
    k.calls = 0;
    flow_register_with(&f, "thread", keep_request, &k);
    flow_send(&f, "thread", NULL, NULL, &a);
    test_run_until(&f.loop, &k.calls);
    run_in_thread(answer_kept, &k);
    assert_int_equal(a.count, 0);
    test_run_until(&f.loop, &a.count);
    assert_data(&a, "{\"from\":\"another thread\"}");
}

typedef struct gate {
    uv_sem_t go;
    uv_thread_t ran_on;
    int entered;
} gate;

static void wait_at_gate(larder_request *request, void *user_data)
{
    gate *g = user_data;
    g->ran_on = uv_thread_self();
    __atomic_store_n(&g->entered, 1, __ATOMIC_SEQ_CST);
    uv_sem_wait(&g->go);
    larder_answer_text(request, "through", LARDER_NUL);
}

static void test_a_blocking_handler_runs_on_a_worker_while_the_loop_turns(void **state)
{
    (void)state;
    gate g = {.entered = 0};
    answer other = {0, NULL};
    larder_handler_options options;
    larder_handler_options_init(&options);
    options.blocking = 1;
    options.user_data = &g;
    uv_sem_init(&g.go, 0);
    flow_register(&f, "block", wait_at_gate, &options);
    flow_register(&f, "echo", echo, NULL);
    flow_send(&f, "block", NULL, NULL, &a);
    flow_ask(&f, "echo", "true", &other); /* is answered while the other one blocks */
    assert_int_equal(a.count, 0);
    uv_sem_post(&g.go);
    test_run_until(&f.loop, &a.count);
    uv_thread_t here = uv_thread_self();
    assert_false(uv_thread_equal(&g.ran_on, &here));
    assert_data(&a, "through");
    assert_int_equal(larder_response_content(a.response), LARDER_CONTENT_TEXT);
    answer_clear(&other);
    uv_sem_destroy(&g.go);
}

static void test_a_response_that_is_retained_outlives_its_instance(void **state)
{
    (void)state;
    flow_register(&f, "echo", echo, NULL);
    flow_ask(&f, "echo", "\"kept\"", &a);
    flow_close(&f, 0);
    assert_data(&a, "\"kept\"");
    flow_open(&f); /* for the teardown */
}

/* ---- arguments ---- */

static void test_arguments_reach_the_handler_in_canonical_form(void **state)
{
    (void)state;
    flow_register(&f, "echo", echo, NULL);
    flow_ask(&f, "echo", " { \"b\" : 1e2, \"a\" : -0 } ", &a);
    assert_data(&a, "{\"a\":0,\"b\":100}");
    flow_ask(&f, "echo", NULL, &a);
    assert_data(&a, "null");
}

static void test_an_unknown_channel_is_answered_with_handler_not_found(void **state)
{
    (void)state;
    flow_ask(&f, "no:such", "[]", &a);
    assert_false(larder_response_success(a.response));
    assert_code(&a, "HANDLER_NOT_FOUND");
    assert_string_equal(larder_response_message(a.response), "no:such: no handler is registered on this channel");
    assert_null(larder_response_data(a.response, NULL));
    assert_source(&a, LARDER_SOURCE_NONE);
}

static void test_invalid_json_is_answered_with_its_place(void **state)
{
    (void)state;
    int calls = 0;
    flow_register_with(&f, "count", count_calls, &calls);
    flow_ask(&f, "count", "[1,\n 2,]", &a);
    assert_code(&a, "INVALID_ARGS");
    assert_non_null(strstr(larder_response_message(a.response), "line 2"));
    assert_string_equal(larder_response_details(a.response), "{\"offset\":7}");
    flow_ask(&f, "count", "", &a);
    assert_code(&a, "INVALID_ARGS");
    assert_int_equal(calls, 0);
}

static int want_array(const char *args, size_t len, char *message, size_t size, void *user_data)
{
    (void)user_data;
    if (len > 0 && args[0] == '[') {
        return 0;
    }
    if (len > 0 && args[0] == '{') {
        return 1; /* without a word */
    }
    snprintf(message, size, "search wants an array, not %.*s", (int)len, args);
    return 1;
}

static void test_validation_refuses_with_its_own_message(void **state)
{
    (void)state;
    larder_handler_options options;
    larder_handler_options_init(&options);
    options.validate = want_array;
    flow_register(&f, "search", echo, &options);
    flow_ask(&f, "search", "12", &a);
    assert_code(&a, "VALIDATION_ERROR");
    assert_string_equal(larder_response_message(a.response), "search wants an array, not 12");
    flow_ask(&f, "search", "{}", &a);
    assert_code(&a, "VALIDATION_ERROR");
    assert_string_equal(larder_response_message(a.response), "search: the arguments were refused");
    flow_ask(&f, "search", "[]", &a);
    assert_data(&a, "[]");
}

static void answer_scope(larder_request *request, void *user_data)
{
    (void)user_data;
    const char *scope = larder_request_scope(request);
    larder_answer_text(request, scope == NULL ? "(none)" : scope, LARDER_NUL);
}

static void test_a_scoped_handler_refuses_requests_without_a_scope(void **state)
{
    (void)state;
    larder_handler_options options;
    larder_send_options send;
    larder_handler_options_init(&options);
    larder_send_options_init(&send);
    options.scoped = 1;
    flow_register(&f, "mine", answer_scope, &options);
    flow_register(&f, "any", answer_scope, NULL);
    flow_ask(&f, "mine", NULL, &a);
    assert_code(&a, "VALIDATION_ERROR");
    send.scope = "tenant 7";
    flow_ask_with(&f, "mine", NULL, &send, &a);
    assert_data(&a, "tenant 7");
    flow_ask(&f, "any", NULL, &a);
    assert_data(&a, "(none)");
}

/* ---- answers of all kinds ---- */

static int last_status;

static void answer_as_told(larder_request *request, void *user_data)
{
    (void)user_data;
    const char *what = larder_request_args(request, NULL);
    if (strcmp(what, "\"null\"") == 0) {
        last_status = larder_answer_json(request, "null", LARDER_NUL);
    } else if (strcmp(what, "\"text\"") == 0) {
        last_status = larder_answer_text(request, "a\"b\n\xc3\xa9", LARDER_NUL);
    } else if (strcmp(what, "\"empty\"") == 0) {
        last_status = larder_answer_text(request, NULL, 0);
    } else if (strcmp(what, "\"bytes\"") == 0) {
        last_status = larder_answer_bytes(request, "\0\xff\1\2", 4);
    } else if (strcmp(what, "\"bad json\"") == 0) {
        last_status = larder_answer_json(request, "[1,", LARDER_NUL);
    } else if (strcmp(what, "\"bad text\"") == 0) {
        last_status = larder_answer_text(request, "ab\xff", LARDER_NUL);
    } else if (strcmp(what, "\"fail\"") == 0) {
        last_status = larder_fail(request, "NO_SUCH_BOOK", "there is no such book", "{\"book\":7}");
    } else if (strcmp(what, "\"fail plainly\"") == 0) {
        last_status = larder_fail(request, NULL, NULL, NULL);
    } else if (strcmp(what, "\"fail badly\"") == 0) {
        last_status = larder_fail(request, "no such book", "bytes \xff\xfe", "{not json");
    } else {
        larder_answer_json(request, "1", 1);
        last_status = larder_answer_json(request, "2", 1);
    }
}

static void test_text_bytes_and_null_are_answers(void **state)
{
    (void)state;
    size_t len;
    flow_register(&f, "told", answer_as_told, NULL);
    flow_ask(&f, "told", "\"null\"", &a);
    assert_data(&a, "null");
    flow_ask(&f, "told", "\"text\"", &a);
    assert_data(&a, "a\"b\n\xc3\xa9");
    assert_int_equal(larder_response_content(a.response), LARDER_CONTENT_TEXT);
    flow_ask(&f, "told", "\"empty\"", &a);
    assert_non_null(larder_response_data(a.response, &len));
    assert_int_equal(len, 0);
    flow_ask(&f, "told", "\"bytes\"", &a);
    assert_memory_equal(larder_response_data(a.response, &len), "\0\xff\1\2", 4);
    assert_int_equal(len, 4);
    assert_int_equal(larder_response_content(a.response), LARDER_CONTENT_BYTES);
}

static void test_answers_that_are_not_what_they_say_fail_the_request(void **state)
{
    (void)state;
    flow_register(&f, "told", answer_as_told, NULL);
    flow_ask(&f, "told", "\"bad json\"", &a);
    assert_int_equal(last_status, LARDER_EJSON);
    assert_code(&a, "IPC_HANDLER_ERROR");
    assert_non_null(strstr(larder_response_message(a.response), "byte 3"));
    flow_ask(&f, "told", "\"bad text\"", &a);
    assert_int_equal(last_status, LARDER_EINVAL);
    assert_code(&a, "IPC_HANDLER_ERROR");
    assert_string_equal(larder_response_message(a.response), "told: the text answer is not valid UTF-8 at byte 2");
}

static void test_a_failure_carries_code_message_and_details(void **state)
{
    (void)state;
    flow_register(&f, "told", answer_as_told, NULL);
    flow_ask(&f, "told", "\"fail\"", &a);
    assert_int_equal(last_status, LARDER_OK);
    assert_code(&a, "NO_SUCH_BOOK");
    assert_string_equal(larder_response_message(a.response), "there is no such book");
    assert_string_equal(larder_response_details(a.response), "{\"book\":7}");
    flow_ask(&f, "told", "\"fail plainly\"", &a);
    assert_code(&a, "IPC_HANDLER_ERROR");
    assert_string_equal(larder_response_message(a.response), "the handler failed");
    flow_ask(&f, "told", "\"fail badly\"", &a);
    assert_int_equal(last_status, LARDER_EINVAL);
    assert_code(&a, "IPC_HANDLER_ERROR");
    assert_string_equal(larder_response_message(a.response), "bytes ??");
    assert_null(larder_response_details(a.response));
}

static void test_the_second_answer_in_one_call_is_refused(void **state)
{
    (void)state;
    flow_register(&f, "told", answer_as_told, NULL);
    flow_ask(&f, "told", "\"twice\"", &a);
    assert_int_equal(last_status, LARDER_EALREADY);
    assert_data(&a, "1");
}

static void answer_long(larder_request *request, void *user_data)
{
    static char text[300];
    memset(text, 'x', sizeof text);
    last_status = larder_answer_text(request, text, *(size_t *)user_data);
}

static void test_an_answer_over_the_limit_is_response_too_large(void **state)
{
    (void)state;
    size_t len = 256;
    flow_close(&f, 0);
    f.options.max_response_bytes = 256;
    flow_open(&f);
    flow_register_with(&f, "long", answer_long, &len);
    flow_ask(&f, "long", NULL, &a);
    assert_true(larder_response_success(a.response));
    len = 257;
    flow_ask(&f, "long", NULL, &a);
    assert_int_equal(last_status, LARDER_ETOOBIG);
    assert_code(&a, "RESPONSE_TOO_LARGE");
    assert_string_equal(larder_response_message(a.response),
                        "long: the answer is 257 bytes long, over the limit of 256");
}

/* ---- the envelope ---- */

static void assert_envelope(const char *expected)
{
    char *text = NULL;
    size_t len = 0;
    assert_int_equal(larder_response_envelope(a.response, &text, &len), LARDER_OK);
    assert_int_equal(strlen(text), len);
    assert_string_equal(text, expected);
    larder_free(text);
}

static void test_the_envelope_is_the_whole_response_as_json(void **state)
{
    (void)state;
    flow_register(&f, "told", answer_as_told, NULL);
    flow_ask(&f, "told", "\"text\"", &a);
    assert_envelope(
        "{\"success\":true,\"data\":\"a\\\"b\\n\xc3\xa9\",\"metadata\":{\"cached\":false,\"source\":\"handler\","
        "\"contentType\":\"text/plain; charset=utf-8\",\"createdAt\":1700000000000,\"expiresAt\":null,"
        "\"executionTime\":0.000,\"responseTime\":0.000}}");
    flow_ask(&f, "told", "\"bytes\"", &a);
    assert_envelope("{\"success\":true,\"data\":\"AP8BAg==\",\"metadata\":{\"cached\":false,\"source\":\"handler\","
                    "\"contentType\":\"application/octet-stream\",\"createdAt\":1700000000000,\"expiresAt\":null,"
                    "\"executionTime\":0.000,\"responseTime\":0.000}}");
    flow_ask(&f, "told", "\"fail\"", &a);
    assert_envelope("{\"success\":false,\"error\":{\"code\":\"NO_SUCH_BOOK\",\"message\":\"there is no such book\","
                    "\"details\":{\"book\":7}},\"metadata\":{\"cached\":false,\"source\":\"handler\","
                    "\"contentType\":\"application/json\",\"createdAt\":null,\"expiresAt\":null,"
                    "\"executionTime\":0.000,\"responseTime\":0.000}}");
}

static void test_response_times_come_from_the_clock(void **state)
{
    (void)state;
    static keeper k;
    k.calls = 0;
    flow_register_with(&f, "later", keep_request, &k);
    flow_send(&f, "later", "null", NULL, &a);
    test_clock_advance(&f.clock, 3); /* in the queue */
    test_run_until(&f.loop, &k.calls);
    test_clock_advance(&f.clock, 5); /* in the handler */
    larder_answer_json(k.requests[0], "1", 1);
    test_clock_advance(&f.clock, 2); /* on the way back */
    test_run_until(&f.loop, &a.count);
    assert_int_equal(larder_response_meta(a.response)->execution_time_ns, 5000000);
    assert_int_equal(larder_response_meta(a.response)->response_time_ns, 10000000);
    assert_int_equal(larder_response_meta(a.response)->created_ms, 1700000000010);
}

/* ---- registering ---- */

static void test_a_channel_is_registered_once(void **state)
{
    (void)state;
    larder_error error;
    flow_register(&f, "one", echo, NULL);
    assert_int_equal(larder_register(f.l, "one", echo, NULL, &error), LARDER_EEXIST);
    assert_string_equal(error.message, "one: a handler is registered on this channel already");
    assert_int_equal(larder_unregister(f.l, "one", NULL), LARDER_OK);
    assert_int_equal(larder_unregister(f.l, "one", &error), LARDER_ENOTFOUND);
    flow_register(&f, "one", echo, NULL);
    flow_ask(&f, "one", "5", &a);
    assert_data(&a, "5");
}

typedef struct owned {
    keeper k;
    int freed;
    uv_thread_t freed_on;
} owned;

static void free_owned(void *user_data)
{
    owned *o = user_data;
    o->freed++;
    o->freed_on = uv_thread_self();
}

static void keep_owned(larder_request *request, void *user_data)
{
    keep_request(request, &((owned *)user_data)->k);
}

static void test_a_handler_lives_until_its_last_run_has_answered(void **state)
{
    (void)state;
    static owned o;
    memset(&o, 0, sizeof o);
    answer after = {0, NULL};
    larder_handler_options options;
    larder_handler_options_init(&options);
    options.user_data = &o;
    options.user_data_free = free_owned;
    flow_register(&f, "owned", keep_owned, &options);
    flow_send(&f, "owned", "null", NULL, &a);
    test_run_until(&f.loop, &o.k.calls);
    assert_int_equal(larder_unregister(f.l, "owned", NULL), LARDER_OK);
    flow_ask(&f, "owned", "null", &after);
    assert_code(&after, "HANDLER_NOT_FOUND");
    assert_int_equal(o.freed, 0);
    run_in_thread(answer_kept, &o.k);
    test_run_until(&f.loop, &o.freed);
    assert_int_equal(a.count, 1);
    assert_int_equal(o.freed, 1);
    uv_thread_t here = uv_thread_self();
    assert_true(uv_thread_equal(&o.freed_on, &here));
    answer_clear(&after);
}

static void test_closing_frees_the_user_data_of_handlers_that_are_still_registered(void **state)
{
    (void)state;
    static owned o;
    memset(&o, 0, sizeof o);
    larder_handler_options options;
    larder_handler_options_init(&options);
    options.user_data = &o;
    options.user_data_free = free_owned;
    flow_register(&f, "owned", keep_owned, &options);
    flow_close(&f, 0);
    assert_int_equal(o.freed, 1);
    flow_open(&f);
}

static int list_one(const larder_handler_info *info, void *user_data)
{
    char *text = user_data;
    strcat(text, info->channel);
    strcat(text, info->options->cacheable ? "+ " : " ");
    if (info->options->description != NULL) {
        strcat(text, info->options->description);
    }
    return strcmp(info->channel, "stop") == 0 ? 42 : 0;
}

static void test_handlers_are_listed_by_channel_in_byte_order(void **state)
{
    (void)state;
    char text[200] = "";
    char description[] = "(finds) ";
    larder_handler_options options;
    larder_handler_options_init(&options);
    options.description = description;
    options.cacheable = 1;
    flow_register(&f, "b", echo, NULL);
    flow_register(&f, "\xc3\xa9", echo, NULL);
    flow_register(&f, "a:2", echo, &options);
    flow_register(&f, "a", echo, NULL);
    memset(description, '!', 3); /* it was copied */
    assert_int_equal(larder_handlers(f.l, list_one, text), 0);
    assert_string_equal(text, "a a:2+ (finds) b \xc3\xa9 ");
    text[0] = '\0';
    flow_register(&f, "stop", echo, NULL);
    assert_int_equal(larder_handlers(f.l, list_one, text), 42);
    assert_string_equal(text, "a a:2+ (finds) b stop ");
}

/* ---- what is refused at once ---- */

static void test_bad_channels_scopes_and_arguments_are_refused_by_send(void **state)
{
    (void)state;
    char longest[LARDER_CHANNEL_MAX + 2];
    larder_error error;
    memset(longest, 'c', sizeof longest);
    longest[LARDER_CHANNEL_MAX + 1] = '\0';
    assert_int_equal(larder_send(f.l, NULL, NULL, 0, NULL, on_answer, &a, NULL, &error), LARDER_EINVAL);
    assert_int_equal(larder_send(f.l, "", NULL, 0, NULL, on_answer, &a, NULL, &error), LARDER_EINVAL);
    assert_string_equal(error.message, "channel is empty");
    assert_int_equal(larder_send(f.l, longest, NULL, 0, NULL, on_answer, &a, NULL, &error), LARDER_EINVAL);
    assert_int_equal(larder_send(f.l, "\xff", NULL, 0, NULL, on_answer, &a, NULL, &error), LARDER_EINVAL);
    assert_int_equal(larder_send(f.l, "c", NULL, 0, NULL, NULL, &a, NULL, &error), LARDER_EINVAL);
    larder_send_options options;
    larder_send_options_init(&options);
    options.scope = "";
    assert_int_equal(larder_send(f.l, "c", NULL, 0, &options, on_answer, &a, NULL, &error), LARDER_EINVAL);
    longest[LARDER_CHANNEL_MAX] = '\0'; /* as long as it may be */
    flow_register(&f, longest, echo, NULL);
    flow_ask(&f, longest, "1", &a);
    assert_data(&a, "1");
    flow_ask(&f, longest, "[", &a); /* a message that does not fit into the request's own room */
    assert_code(&a, "INVALID_ARGS");
    assert_memory_equal(larder_response_message(a.response), longest, LARDER_CHANNEL_MAX);
}

static void test_arguments_over_the_limit_are_refused_by_send(void **state)
{
    (void)state;
    larder_error error;
    flow_close(&f, 0);
    f.options.max_args_bytes = 8;
    flow_open(&f);
    flow_register(&f, "echo", echo, NULL);
    assert_int_equal(larder_send(f.l, "echo", "123456789", LARDER_NUL, NULL, on_answer, &a, NULL, &error),
                     LARDER_ETOOBIG);
    assert_string_equal(error.message, "echo: the arguments are 9 bytes long, over the limit of 8");
    flow_ask(&f, "echo", "12345678", &a);
    assert_data(&a, "12345678");
}

static void test_more_in_flight_than_allowed_is_overloaded(void **state)
{
    (void)state;
    static keeper k;
    answer many[3] = {{0, NULL}, {0, NULL}, {0, NULL}};
    larder_error error;
    k.calls = 0;
    flow_close(&f, 0);
    f.options.max_in_flight = 2;
    flow_open(&f);
    flow_register_with(&f, "later", keep_request, &k);
    flow_send(&f, "later", "0", NULL, &many[0]);
    flow_send(&f, "later", "1", NULL, &many[1]);
    assert_int_equal(larder_send(f.l, "later", "2", 1, NULL, on_answer, &many[2], NULL, &error), LARDER_EOVERLOADED);
    assert_string_equal(error.message, "later: 2 requests are in flight already (option max_in_flight)");
    while (k.calls < 2) {
        uv_run(&f.loop, UV_RUN_ONCE);
    }
    larder_answer_json(k.requests[0], "0", 1);
    test_run_until(&f.loop, &many[0].count);
    flow_send(&f, "later", "2", NULL, &many[2]);
    while (k.calls < 3) {
        uv_run(&f.loop, UV_RUN_ONCE);
    }
    larder_answer_json(k.requests[1], "1", 1);
    larder_answer_json(k.requests[2], "2", 1);
    test_run_until(&f.loop, &many[2].count);
    for (int i = 0; i < 3; i++) {
        assert_int_equal(many[i].count, 1);
        answer_clear(&many[i]);
    }
}

static void assert_open_refuses(const larder_options *options, const char *word)
{
    larder *l = (larder *)&f;
    larder_error error;
    assert_int_equal(larder_open(&l, options, &error), LARDER_EINVAL);
    assert_null(l);
    assert_non_null(strstr(error.message, word));
}

static void test_bad_options_are_refused_with_a_sentence(void **state)
{
    (void)state;
    larder_options o;
#define REFUSED(field, value)                                                                                          \
    do {                                                                                                               \
        larder_options_init(&o);                                                                                       \
        o.field = value;                                                                                               \
        assert_open_refuses(&o, #field);                                                                               \
    } while (0)
    REFUSED(size, 0);
    REFUSED(path, "");
    REFUSED(durability, (larder_durability)7);
    REFUSED(max_args_bytes, 0);
    REFUSED(max_response_bytes, 0);
    REFUSED(queue_bytes, 0);
    REFUSED(max_in_flight, 0);
    REFUSED(workers, 0);
    REFUSED(default_timeout_ms, 0);
    REFUSED(metrics_interval_ms, 0);
    REFUSED(sweep_interval_ms, 0);
    larder_clock half = {.wall_ms = f.clock.clock.wall_ms};
    REFUSED(clock, &half);
    larder_handler_options h;
    larder_error error;
    larder_handler_options_init(&h);
    h.ttl_ms = 0;
    assert_int_equal(larder_register(f.l, "h", echo, &h, &error), LARDER_EINVAL);
    assert_string_equal(error.message, "ttl_ms is 0, it must be at least 1");
    larder_handler_options_init(&h);
    h.cacheable = 2;
    assert_int_equal(larder_register(f.l, "h", echo, &h, &error), LARDER_EINVAL);
    assert_int_equal(larder_register(f.l, "h", NULL, NULL, &error), LARDER_EINVAL);
    larder_send_options s;
    larder_send_options_init(&s);
    s.cache = (larder_cache_mode)3;
    assert_int_equal(larder_send(f.l, "h", NULL, 0, &s, on_answer, &a, NULL, &error), LARDER_EINVAL);
}

static void test_options_of_an_older_and_of_a_newer_caller(void **state)
{
    (void)state;
    struct {
        larder_handler_options known;
        int64_t unknown;
    } newer;
    larder_error error;
    memset(&newer, 0, sizeof newer);
    larder_handler_options_init(&newer.known);
    newer.known.size = sizeof newer;
    flow_register(&f, "newer", echo, &newer.known);
    newer.unknown = 1;
    assert_int_equal(larder_register(f.l, "newest", echo, &newer.known, &error), LARDER_EINVAL);
    assert_non_null(strstr(error.message, "does not know"));
    larder_handler_options older;
    larder_handler_options_init(&older);
    older.size = offsetof(larder_handler_options, ttl_ms);
    older.ttl_ms = -1; /* not part of it */
    flow_register(&f, "older", echo, &older);
    flow_ask(&f, "older", "[]", &a);
    assert_data(&a, "[]");
}

static void test_a_forked_child_may_not_use_what_it_inherited(void **state)
{
    (void)state;
    pid_t child = fork();
    assert_true(child >= 0);
    if (child == 0) {
        larder_error error;
        int sent = larder_send(f.l, "echo", NULL, 0, NULL, on_answer, &a, NULL, &error);
        _exit(sent == LARDER_EFORK && larder_close(f.l, 0, NULL, NULL) == LARDER_EFORK ? 0 : 1);
    }
    int result = 0;
    assert_int_equal(waitpid(child, &result, 0), child);
    assert_true(WIFEXITED(result) && WEXITSTATUS(result) == 0);
    flow_register(&f, "echo", echo, NULL); /* the parent goes on */
    flow_ask(&f, "echo", "1", &a);
    assert_data(&a, "1");
}

static void test_calls_that_wait_are_refused_on_the_loops_thread(void **state)
{
    (void)state;
    larder_response *response = NULL;
    assert_int_equal(larder_send_wait(f.l, "echo", NULL, 0, NULL, &response, NULL), LARDER_ETHREAD);
    assert_null(response);
    uv_run(&f.loop, UV_RUN_NOWAIT);
    assert_int_equal(larder_send_wait(f.l, "echo", NULL, 0, NULL, &response, NULL), LARDER_ETHREAD);
    assert_int_equal(larder_flush_wait(f.l), LARDER_ETHREAD);
    assert_int_equal(larder_close_wait(f.l, 0, NULL), LARDER_ETHREAD);
}

static void test_metrics_count_requests_responses_and_errors(void **state)
{
    (void)state;
    larder_metrics m = {.size = sizeof m};
    flow_register(&f, "echo", echo, NULL);
    flow_ask(&f, "echo", "1", &a);
    flow_ask(&f, "echo", "[", &a);
    flow_ask(&f, "none", "1", &a);
    assert_int_equal(larder_get_metrics(f.l, &m), LARDER_OK);
    assert_int_equal(m.requests, 3);
    assert_int_equal(m.responses, 1);
    assert_int_equal(m.errors, 2);
    assert_int_equal(m.handler_runs, 1);
    assert_int_equal(m.in_flight, 0);
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, setup, teardown)

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(test_an_answer_at_once_comes_in_the_callback_and_never_inside_send),
        TEST(test_an_answer_may_be_given_after_the_handler_returned),
        TEST(test_an_answer_may_come_from_another_thread),
        TEST(test_a_blocking_handler_runs_on_a_worker_while_the_loop_turns),
        TEST(test_a_response_that_is_retained_outlives_its_instance),
        TEST(test_arguments_reach_the_handler_in_canonical_form),
        TEST(test_an_unknown_channel_is_answered_with_handler_not_found),
        TEST(test_invalid_json_is_answered_with_its_place),
        TEST(test_validation_refuses_with_its_own_message),
        TEST(test_a_scoped_handler_refuses_requests_without_a_scope),
        TEST(test_text_bytes_and_null_are_answers),
        TEST(test_answers_that_are_not_what_they_say_fail_the_request),
        TEST(test_a_failure_carries_code_message_and_details),
        TEST(test_the_second_answer_in_one_call_is_refused),
        TEST(test_an_answer_over_the_limit_is_response_too_large),
        TEST(test_the_envelope_is_the_whole_response_as_json),
        TEST(test_response_times_come_from_the_clock),
        TEST(test_a_channel_is_registered_once),
        TEST(test_a_handler_lives_until_its_last_run_has_answered),
        TEST(test_closing_frees_the_user_data_of_handlers_that_are_still_registered),
        TEST(test_handlers_are_listed_by_channel_in_byte_order),
        TEST(test_bad_channels_scopes_and_arguments_are_refused_by_send),
        TEST(test_arguments_over_the_limit_are_refused_by_send),
        TEST(test_more_in_flight_than_allowed_is_overloaded),
        TEST(test_bad_options_are_refused_with_a_sentence),
        TEST(test_options_of_an_older_and_of_a_newer_caller),
        TEST(test_a_forked_child_may_not_use_what_it_inherited),
        TEST(test_calls_that_wait_are_refused_on_the_loops_thread),
        TEST(test_metrics_count_requests_responses_and_errors),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
