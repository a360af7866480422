/* tests/lib/command.c */
#include "command.h"

#include <errno.h>
#ifdef __APPLE__
#include <util.h>
#else
#include <pty.h>
#endif
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

/* ---- running ---- */

static test_run last;

static void set_environment(void)
{
    static char *path;
    const char *command = getenv("LARDER_COMMAND");
    if (path != NULL) {
        return;
    }
    if (command == NULL || strrchr(command, '/') == NULL) {
        fail_msg("LARDER_COMMAND must be the path of the command to test");
        return;
    }
    int folder = (int)(strrchr(command, '/') - command);
    assert_true(asprintf(&path, "%.*s:%s", folder, command, getenv("PATH")) > 0);
    setenv("PATH", path, 1);
    setenv("HOME", test_dir(), 1);
    setenv("TERM", "xterm", 1);
    setenv("LC_ALL", "C.UTF-8", 1);
    setenv("TZ", "UTC", 1);
    unsetenv("LARDER_DB");
    unsetenv("XDG_STATE_HOME");
    unsetenv("NO_COLOR");
    unsetenv("COLUMNS");
}

static int exit_code(int status)
{
    return WIFEXITED(status) ? WEXITSTATUS(status) : 128 + WTERMSIG(status);
}

static char *read_all(int fd, size_t *len)
{
    size_t capacity = 65536;
    char *bytes = malloc(capacity);
    *len = 0;
    for (;;) {
        assert_non_null(bytes);
        ssize_t n = read(fd, bytes + *len, capacity - *len - 1);
        if (n < 0 && errno == EINTR) {
            continue;
        }
        if (n <= 0) { /* a terminal's end is EIO */
            break;
        }
        *len += (size_t)n;
        if (*len + 1 == capacity) {
            capacity *= 2;
            bytes = realloc(bytes, capacity);
        }
    }
    bytes[*len] = '\0';
    return bytes;
}

static void forget_last(void)
{
    free(last.out);
    free(last.err);
    memset(&last, 0, sizeof last);
}

const test_run *test_command(const char *format, ...)
{
    char *line = NULL;
    va_list args;
    set_environment();
    forget_last();
    va_start(args, format);
    assert_true(vasprintf(&line, format, args) >= 0);
    va_end(args);
    FILE *out = tmpfile();
    FILE *err = tmpfile();
    assert_true(out != NULL && err != NULL);
    pid_t child = fork();
    assert_true(child >= 0);
    if (child == 0) {
        dup2(fileno(out), STDOUT_FILENO);
        dup2(fileno(err), STDERR_FILENO);
        execl("/bin/bash", "bash", "-c", line, (char *)NULL);
        _exit(127);
    }
    int status;
    struct rusage usage;
    assert_int_equal(wait4(child, &status, 0, &usage), child);
    last.code = exit_code(status);
    last.max_kb = usage.ru_maxrss;
    size_t err_len;
    rewind(out);
    rewind(err);
    last.out = read_all(fileno(out), &last.out_len);
    last.err = read_all(fileno(err), &err_len);
    fclose(out);
    fclose(err);
    free(line);
    return &last;
}

const test_run *test_terminal(unsigned columns, const char *typed, const char *format, ...)
{
    char *line = NULL;
    struct winsize size = {.ws_row = 50, .ws_col = (unsigned short)columns};
    va_list args;
    set_environment();
    forget_last();
    va_start(args, format);
    assert_true(vasprintf(&line, format, args) >= 0);
    va_end(args);
    int terminal;
    pid_t child = forkpty(&terminal, NULL, NULL, &size);
    assert_true(child >= 0);
    if (child == 0) {
        execl("/bin/bash", "bash", "-c", line, (char *)NULL);
        _exit(127);
    }
    if (typed != NULL) {
        assert_int_equal(write(terminal, typed, strlen(typed)), (ssize_t)strlen(typed));
    }
    last.out = read_all(terminal, &last.out_len);
    int status;
    assert_int_equal(waitpid(child, &status, 0), child);
    close(terminal);
    last.code = exit_code(status);
    size_t kept = 0;
    for (size_t i = 0; i <= last.out_len; i++) {
        if (last.out[i] != '\r' || last.out[i + 1] != '\n') {
            last.out[kept++] = last.out[i];
        }
    }
    last.out_len = kept - 1;
    free(line);
    return &last;
}

/* ---- filling ---- */

static void answer(larder_request *request, void *user_data)
{
    const test_answer *a = *(const test_answer *const *)user_data;
    size_t len = a->len != 0 ? a->len : strlen(a->bytes);
    if (a->content == LARDER_CONTENT_JSON) {
        larder_answer_json(request, a->bytes, len);
    } else if (a->content == LARDER_CONTENT_TEXT) {
        larder_answer_text(request, a->bytes, len);
    } else {
        larder_answer_bytes(request, a->bytes, len);
    }
}

static int64_t wall_now(void)
{
    struct timespec now;
    clock_gettime(CLOCK_REALTIME, &now);
    return (int64_t)now.tv_sec * 1000 + now.tv_nsec / 1000000;
}

static void fill_one(larder *l, const test_answer *a)
{
    larder_error error = {0};
    larder_handler_options handler;
    larder_send_options send;
    larder_response *response = NULL;
    larder_handler_options_init(&handler);
    handler.cacheable = 1;
    handler.ttl_ms = a->ttl_ms != 0 ? a->ttl_ms : 3600000;
    handler.user_data = &a;
    larder_send_options_init(&send);
    send.scope = a->scope;
    if (larder_register(l, a->channel, answer, &handler, &error) != LARDER_OK
        || larder_send_wait(l, a->channel, a->args, LARDER_NUL, &send, &response, &error) != LARDER_OK) {
        fail_msg("%s", error.message);
    }
    if (!larder_response_success(response)) {
        fail_msg("%s: %s", a->channel, larder_response_message(response));
    }
    larder_response_release(response);
    assert_int_equal(larder_unregister(l, a->channel, NULL), LARDER_OK);
}

void test_fill(const char *path, const test_answer *answers, size_t count)
{
    larder_error error = {0};
    larder_options options;
    larder *l;
    test_clock clock;
    set_environment(); /* so that a later run leaves alone what the test sets after this */
    test_clock_init(&clock);
    larder_options_init(&options);
    options.path = path;
    options.clock = &clock.clock;
    clock.wall_ms = wall_now() - (count > 0 ? answers[0].age_ms : 0);
    if (larder_open(&l, &options, &error) != LARDER_OK) {
        fail_msg("%s", error.message);
    }
    for (size_t i = 0; i < count; i++) {
        test_clock_jump(&clock, wall_now() - answers[i].age_ms - clock.wall_ms);
        assert_int_equal(larder_tick(l), LARDER_OK);
        fill_one(l, &answers[i]);
    }
    assert_int_equal(larder_flush_wait(l), LARDER_OK);
    larder_close_report report;
    assert_int_equal(larder_close_wait(l, 1000, &report), LARDER_OK);
    assert_int_equal(report.status, LARDER_OK);
}
