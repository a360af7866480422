/* tests/lib/child.c */
#include "support.h"

#include "child.h"

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <spawn.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

extern char **environ;

void child_start(child *c, const char *const *args)
{
    char *argv[16] = {(char *)"/proc/self/exe"};
    for (int i = 0; args[i] != NULL; i++) {
        assert_true(i < 14);
        argv[i + 1] = (char *)args[i];
    }
    int up[2];
    int down[2];
    assert_int_equal(pipe2(up, O_CLOEXEC), 0);
    assert_int_equal(pipe2(down, O_CLOEXEC), 0);
    posix_spawn_file_actions_t actions;
    assert_int_equal(posix_spawn_file_actions_init(&actions), 0);
    posix_spawn_file_actions_adddup2(&actions, up[1], CHILD_TO_PARENT);
    posix_spawn_file_actions_adddup2(&actions, down[0], CHILD_FROM_PARENT);
    assert_int_equal(posix_spawn(&c->pid, "/proc/self/exe", &actions, NULL, argv, environ), 0);
    posix_spawn_file_actions_destroy(&actions);
    close(up[1]);
    close(down[0]);
    c->said = up[0];
    c->tell = down[1];
    c->len = 0;
    c->text = malloc(1);
    assert_non_null(c->text);
    c->text[0] = '\0';
}

/* Takes what has come. 0 at the end. */
static int take(child *c)
{
    char chunk[65536];
    ssize_t got = read(c->said, chunk, sizeof chunk);
    if (got <= 0) {
        return got < 0 && errno == EINTR;
    }
    c->text = realloc(c->text, c->len + (size_t)got + 1);
    assert_non_null(c->text);
    memcpy(c->text + c->len, chunk, (size_t)got);
    c->len += (size_t)got;
    c->text[c->len] = '\0';
    return 1;
}

int child_read(child *c, const char *needle, int64_t timeout_us)
{
    uint64_t end = uv_hrtime() + (uint64_t)timeout_us * 1000;
    for (;;) {
        if (needle != NULL && strstr(c->text, needle) != NULL) {
            return 1;
        }
        uint64_t now = uv_hrtime();
        uint64_t left = now < end ? end - now : 0;
        struct timespec wait = {(time_t)(left / 1000000000u), (long)(left % 1000000000u)};
        struct pollfd poll_fd = {c->said, POLLIN, 0};
        int ready = ppoll(&poll_fd, 1, &wait, NULL);
        if (ready == 0) {
            return -1;
        }
        if (ready > 0 && !take(c)) {
            return 0;
        }
    }
}

void child_kill(child *c)
{
    kill(c->pid, SIGKILL);
    while (take(c)) {
    }
}

int child_wait(child *c)
{
    int status = 0;
    while (waitpid(c->pid, &status, 0) < 0 && errno == EINTR) {
    }
    return WIFEXITED(status) ? WEXITSTATUS(status) : 128 + WTERMSIG(status);
}

void child_release(child *c)
{
    close(c->said);
    close(c->tell);
    free(c->text);
}

void child_say(const char *format, ...)
{
    char line[4096];
    va_list args;
    va_start(args, format);
    int len = vsnprintf(line, sizeof line, format, args);
    va_end(args);
    if (len < 0 || (size_t)len >= sizeof line || write(CHILD_TO_PARENT, line, (size_t)len) != len) {
        _exit(99);
    }
}

void child_wait_for_parent(void)
{
    char byte;
    while (read(CHILD_FROM_PARENT, &byte, 1) < 0 && errno == EINTR) {
    }
}
