/* tests/flow/test_events.c: subscribing, and unsubscribing at awkward moments. */
#include "flow.h"

static flow f;
static answer a;

typedef struct listener {
    int count;
    larder_event_type type;
    char channel[64];
    char code[64];
    char message[256];
    uint64_t id;
    struct listener *victim; /* unsubscribed when an event comes */
} listener;

static listener one;
static listener two;
static listener three;

static int setup(void **state)
{
    (void)state;
    flow_init(&f, NULL);
    flow_open(&f);
    a = (answer){0, NULL};
    memset(&one, 0, sizeof one);
    memset(&two, 0, sizeof two);
    memset(&three, 0, sizeof three);
    return 0;
}

static int teardown(void **state)
{
    (void)state;
    flow_end(&f);
    answer_clear(&a);
    return 0;
}

static void hear(const larder_event *event, void *user_data)
{
    listener *who = user_data;
    who->count++;
    who->type = event->type;
    snprintf(who->channel, sizeof who->channel, "%s", event->channel == NULL ? "" : event->channel);
    snprintf(who->code, sizeof who->code, "%s", event->code == NULL ? "" : event->code);
    snprintf(who->message, sizeof who->message, "%s", event->message);
    if (who->victim != NULL) {
        assert_int_equal(larder_unsubscribe(f.l, who->victim->id), LARDER_OK);
        who->victim = NULL;
    }
}

static void subscribe(listener *who, uint32_t mask)
{
    assert_int_equal(larder_subscribe(f.l, mask, hear, who, &who->id), LARDER_OK);
}

static void test_every_error_response_is_an_event(void **state)
{
    (void)state;
    subscribe(&one, LARDER_EVENT_ANY);
    flow_register(&f, "echo", echo, NULL);
    flow_ask(&f, "echo", "1", &a);
    assert_int_equal(one.count, 0);
    flow_ask(&f, "no:such", "1", &a);
    assert_int_equal(one.count, 1);
    assert_int_equal(one.type, LARDER_EVENT_REQUEST_FAILED);
    assert_string_equal(one.channel, "no:such");
    assert_string_equal(one.code, "HANDLER_NOT_FOUND");
    assert_string_equal(one.message, "no:such: no handler is registered on this channel");
    flow_ask(&f, "echo", "{", &a);
    assert_int_equal(one.count, 2);
    assert_string_equal(one.code, "INVALID_ARGS");
}

static void test_only_what_the_mask_names_is_heard(void **state)
{
    (void)state;
    subscribe(&one, LARDER_EVENT_LATE_ANSWER | LARDER_EVENT_STORE_DEGRADED);
    subscribe(&two, LARDER_EVENT_REQUEST_FAILED);
    flow_ask(&f, "no:such", "1", &a);
    assert_int_equal(one.count, 0);
    assert_int_equal(two.count, 1);
}

static void test_a_subscriber_may_unsubscribe_itself_and_others_inside_its_callback(void **state)
{
    (void)state;
    subscribe(&one, LARDER_EVENT_ANY);
    subscribe(&two, LARDER_EVENT_ANY);
    subscribe(&three, LARDER_EVENT_ANY);
    one.victim = &two; /* the one that would come next */
    three.victim = &three;
    flow_ask(&f, "no:such", "1", &a);
    assert_int_equal(one.count, 1);
    assert_int_equal(two.count, 0);
    assert_int_equal(three.count, 1);
    flow_ask(&f, "no:such", "1", &a);
    assert_int_equal(one.count, 2);
    assert_int_equal(two.count, 0);
    assert_int_equal(three.count, 1);
    assert_int_equal(larder_unsubscribe(f.l, two.id), LARDER_ENOTFOUND);
}

static void subscribe_another(const larder_event *event, void *user_data)
{
    (void)event;
    (void)user_data;
    if (one.id == 0) {
        subscribe(&one, LARDER_EVENT_ANY);
    }
}

static void test_who_subscribes_during_an_event_hears_the_next_one(void **state)
{
    (void)state;
    assert_int_equal(larder_subscribe(f.l, LARDER_EVENT_ANY, subscribe_another, NULL, NULL), LARDER_OK);
    flow_ask(&f, "no:such", "1", &a);
    assert_int_equal(one.count, 0);
    flow_ask(&f, "no:such", "1", &a);
    assert_int_equal(one.count, 1);
}

static void test_after_unsubscribing_no_event_comes(void **state)
{
    (void)state;
    subscribe(&one, LARDER_EVENT_ANY);
    flow_send(&f, "no:such", "1", NULL, &a);
    assert_int_equal(larder_unsubscribe(f.l, one.id), LARDER_OK);
    test_run_until(&f.loop, &a.count);
    assert_int_equal(one.count, 0);
}

static void send_from_event(const larder_event *event, void *user_data)
{
    (void)event;
    if (a.response == NULL && one.count++ == 0) {
        flow_send(&f, "echo", "\"from an event\"", NULL, user_data);
    }
}

static void test_an_event_callback_may_send(void **state)
{
    (void)state;
    answer inner = {0, NULL};
    flow_register(&f, "echo", echo, NULL);
    assert_int_equal(larder_subscribe(f.l, LARDER_EVENT_ANY, send_from_event, &inner, NULL), LARDER_OK);
    flow_send(&f, "no:such", "1", NULL, &a);
    test_run_until(&f.loop, &inner.count);
    assert_data(&inner, "\"from an event\"");
    answer_clear(&inner);
}

static void test_bad_subscriptions_are_refused(void **state)
{
    (void)state;
    assert_int_equal(larder_subscribe(f.l, 0, hear, &one, NULL), LARDER_EINVAL);
    assert_int_equal(larder_subscribe(f.l, LARDER_EVENT_ANY, NULL, &one, NULL), LARDER_EINVAL);
    assert_int_equal(larder_unsubscribe(f.l, 99), LARDER_ENOTFOUND);
}

/* The file goes away under the program: requests go on, and it is said. */
static void test_the_stores_trouble_is_passed_on(void **state)
{
    (void)state;
    int calls = 0;
    flow_close(&f, 0);
    f.options.path = test_path("events.larder");
    flow_open(&f);
    subscribe(&one, LARDER_EVENT_STORE_DEGRADED);
    subscribe(&two, LARDER_EVENT_STORE_RECOVERED);
    flow_register_cached(&f, "count", count_calls, &calls);
    flow_ask(&f, "count", "1", &a);
    flow_flush(&f);
    assert_int_equal(test_shell(NULL, "rm %s %s-*", f.options.path, f.options.path), 0);
    flow_ask(&f, "count", "2", &a);
    assert_data(&a, "2");
    test_run_until(&f.loop, &one.count);
    assert_true(strstr(one.message, f.options.path) != NULL);
    test_run_until(&f.loop, &two.count);
    flow_ask(&f, "count", "3", &a);
    assert_data(&a, "3");
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, setup, teardown)

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(test_every_error_response_is_an_event),
        TEST(test_only_what_the_mask_names_is_heard),
        TEST(test_a_subscriber_may_unsubscribe_itself_and_others_inside_its_callback),
        TEST(test_who_subscribes_during_an_event_hears_the_next_one),
        TEST(test_after_unsubscribing_no_event_comes),
        TEST(test_an_event_callback_may_send),
        TEST(test_bad_subscriptions_are_refused),
        TEST(test_the_stores_trouble_is_passed_on),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
