/* cli/output.c: what standard output is, writing to it, and messages on standard error.
 *
 * Failure modes: a write that fails is remembered with its errno; later writes are dropped, and output_close reports it
 * once. EPIPE alone is quiet: `larder cache list | head -1` has done what was asked. */
#include "output.h"

#include <errno.h>
#include <fcntl.h>
#include <langinfo.h>
#include <locale.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <unistd.h>

#define PENDING_MAX 65536

void output_secure_descriptors(void)
{
    for (int fd = 0; fd <= 2; fd++) {
        /* open gives the lowest free number, which is fd. Read-only, so that writing to it fails and is reported. */
        if (fcntl(fd, F_GETFD) < 0 && open("/dev/null", fd == 0 ? O_WRONLY : O_RDONLY) < 0) {
            _exit(EXIT_FAILED);
        }
    }
}

/* ---- the terminal ---- */

static size_t terminal_columns(void)
{
    const char *given = getenv("COLUMNS");
    char *end;
    long columns = given != NULL ? strtol(given, &end, 10) : 0;
    if (columns > 0 && columns < 100000 && *end == '\0') {
        return (size_t)columns;
    }
    struct winsize size;
    if (ioctl(STDOUT_FILENO, TIOCGWINSZ, &size) == 0 && size.ws_col > 0) {
        return size.ws_col;
    }
    return 80;
}

/* Widths are always those of UTF-8, which is what is written. The C locale names no character set and in practice
 * sits in front of UTF-8 terminals; in a true 8-bit one, bytes 0x80 to 0x9f of UTF-8 would act as control
 * characters. */
static int charset_is_other(void)
{
    setlocale(LC_CTYPE, "");
    const char *codeset = nl_langinfo(CODESET);
    int other = strcmp(codeset, "UTF-8") != 0 && strcmp(codeset, "ANSI_X3.4-1968") != 0
                && strcmp(codeset, "US-ASCII") != 0 && codeset[0] != '\0';
    if (strcmp(codeset, "UTF-8") != 0 && setlocale(LC_CTYPE, "C.UTF-8") == NULL) {
        setlocale(LC_CTYPE, "en_US.UTF-8"); /* macOS; without either, widths of 1 are assumed */
    }
    return other;
}

void output_init(output *out, int no_colour)
{
    const char *term = getenv("TERM");
    const char *refused = getenv("NO_COLOR");
    memset(out, 0, sizeof *out);
    out->terminal = isatty(STDOUT_FILENO);
    out->ascii = charset_is_other() && out->terminal;
    out->columns = out->terminal ? terminal_columns() : 0;
    out->colour = out->terminal && !no_colour && (refused == NULL || refused[0] == '\0') && term != NULL
                  && term[0] != '\0' && strcmp(term, "dumb") != 0;
}

static const char *const style_codes[] = {"", "\033[1m", "\033[2m", "\033[33m"};

void output_style_on(output *out, output_style style)
{
    if (out->colour && style != STYLE_PLAIN) {
        text_add(&out->pending, style_codes[style]);
    }
}

void output_style_off(output *out, output_style style)
{
    if (out->colour && style != STYLE_PLAIN) {
        text_add(&out->pending, "\033[0m");
    }
}

/* ---- writing ---- */

static void write_pending(output *out)
{
    size_t done = 0;
    while (done < out->pending.len && out->error == 0) {
        ssize_t n = write(STDOUT_FILENO, out->pending.data + done, out->pending.len - done);
        if (n < 0 && errno != EINTR) {
            out->error = errno;
        }
        done += n > 0 ? (size_t)n : 0;
    }
    if (out->pending.failed) {
        out->error = ENOMEM;
    }
    text_clear(&out->pending);
}

int output_broken(output *out)
{
    if (out->pending.len > PENDING_MAX || out->pending.failed) {
        write_pending(out);
    }
    return out->error != 0;
}

int output_close(output *out)
{
    write_pending(out);
    text_release(&out->pending);
    /* A file on a network may report a full disk only now. */
    if (out->error == 0 && close(STDOUT_FILENO) < 0 && errno != EINTR) {
        out->error = errno;
    }
    if (out->error == 0 || out->error == EPIPE) {
        return EXIT_DONE;
    }
    if (out->error == ENOMEM) {
        output_error("standard output: out of memory");
    } else {
        output_error("standard output: cannot write: %s", strerror(out->error));
    }
    return EXIT_FAILED;
}

/* ---- standard error ---- */

void output_error(const char *format, ...)
{
    text words = {0};
    text line = {0};
    char *plain = NULL;
    va_list args;
    va_start(args, format);
    if (vasprintf(&plain, format, args) < 0) {
        plain = NULL;
    }
    va_end(args);
    const char *shown = plain != NULL ? plain : "out of memory";
    text_escape(&words, shown, strlen(shown), TEXT_LINE, 0);
    free(plain);
    text_format(&line, "larder: %s\n", text_string(&words));
    /* One write, so that lines of several processes do not mix. There is nowhere to report its failure. */
    if (!words.failed && !line.failed && write(STDERR_FILENO, line.data, line.len) < 0) {
        errno = 0;
    }
    text_release(&words);
    text_release(&line);
}

int output_failure(int status, const larder_error *error)
{
    if (error != NULL && error->message[0] != '\0') {
        output_error("%s", error->message);
    } else {
        output_error("%s", larder_status_text(status));
    }
    return EXIT_FAILED;
}
