/* hello: the smallest program around Larder. The first answer comes from the handler, the second from the cache. */
#include <larder/larder.h>
#include <stdio.h>

static void on_square(larder_request *request, void *user_data)
{
    (void)user_data;
    int number = 0;
    char answer[32];
    if (sscanf(larder_request_args(request, NULL), "[%5d]", &number) != 1) {
        larder_fail(request, "VALIDATION_ERROR", "math:square takes [number]", NULL);
        return;
    }
    int len = snprintf(answer, sizeof answer, "%lld", (long long)number * number);
    larder_answer_json(request, answer, (size_t)len);
}

int main(void)
{
    larder *l;
    larder_error error;
    larder_options options;
    larder_options_init(&options);
    options.path = "hello.larder"; /* one SQLite file; look into it with sqlite3 or larder */
    if (larder_open(&l, &options, &error) != LARDER_OK) {
        fprintf(stderr, "hello: %s\n", error.message);
        return 1;
    }

    larder_handler_options handler;
    larder_handler_options_init(&handler);
    handler.cacheable = 1; /* kept for five minutes, also when the program is started anew */
    int status = larder_register(l, "math:square", on_square, &handler, &error);

    for (int i = 0; i < 2 && status == LARDER_OK; i++) {
        larder_response *response;
        status = larder_send_wait(l, "math:square", "[12]", LARDER_NUL, NULL, &response, &error);
        if (status == LARDER_OK) {
            int cached = larder_response_meta(response)->cached;
            printf("%s (%s)\n", larder_response_data(response, NULL), cached ? "from the cache" : "from the handler");
            larder_response_release(response);
        }
    }
    if (status != LARDER_OK) {
        fprintf(stderr, "hello: %s\n", error.message);
    }
    larder_close_wait(l, 1000, NULL);
    return status == LARDER_OK ? 0 : 1;
}
