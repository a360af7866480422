/* base/error.c: status texts, and the error record. */
#include "base/error.h"

#include <errno.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

const char *larder_status_name(int status)
{
    switch (status) {
#define NAME(name, value, text)                                                                                        \
    case value:                                                                                                        \
        return "LARDER_" #name;
        LARDER_STATUS_MAP(NAME)
#undef NAME
    default:
        return "LARDER_UNKNOWN";
    }
}

const char *larder_status_text(int status)
{
    switch (status) {
#define TEXT(name, value, text)                                                                                        \
    case value:                                                                                                        \
        return text;
        LARDER_STATUS_MAP(TEXT)
#undef TEXT
    default:
        return "unknown status";
    }
}

__attribute__((format(printf, 2, 0))) static void write_message(larder_error *error, const char *format, va_list args)
{
    int len = vsnprintf(error->message, sizeof error->message, format, args);
    if (len < 0) {
        error->message[0] = '\0';
    }
}

int larder__fail(larder_error *error, int status, const char *format, ...)
{
    if (error != NULL) {
        va_list args;
        va_start(args, format);
        error->status = status;
        error->system_errno = 0;
        write_message(error, format, args);
        va_end(args);
    }
    return status;
}

static int status_of_errno(int err)
{
    static const struct {
        int err;
        int status;
    } table[] = {
        {ENOMEM, LARDER_ENOMEM},    {EACCES, LARDER_EACCESS}, {EPERM, LARDER_EACCESS},
        {ENOSPC, LARDER_EFULL},     {EDQUOT, LARDER_EFULL},   {EROFS, LARDER_EREADONLY},
        {ENOENT, LARDER_ENOTFOUND}, {EIO, LARDER_EIO},        {EEXIST, LARDER_EEXIST},
    };
    for (size_t i = 0; i < sizeof table / sizeof table[0]; i++) {
        if (table[i].err == err) {
            return table[i].status;
        }
    }
    return LARDER_ESYSTEM;
}

int larder__fail_errno(larder_error *error, int err, const char *format, ...)
{
    int status = status_of_errno(err);
    if (error != NULL) {
        va_list args;
        va_start(args, format);
        error->status = status;
        error->system_errno = err;
        write_message(error, format, args);
        va_end(args);
        size_t used = strlen(error->message);
        char reason[128];
        const char *text = strerror_r(err, reason, sizeof reason); /* GNU's: thread-safe, and always a text */
        snprintf(error->message + used, sizeof error->message - used, ": %s", text);
    }
    return status;
}
