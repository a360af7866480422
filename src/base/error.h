/* base/error.h: filling a larder_error. */
#ifndef LARDER_BASE_ERROR_H
#define LARDER_BASE_ERROR_H

#include <larder/status.h>

/* Writes the record (error may be NULL) and returns `status`, so that failing reads `return larder__fail(error, …)`. */
int larder__fail(larder_error *error, int status, const char *format, ...) __attribute__((format(printf, 3, 4)));
/* The same for a system call: keeps errno, and chooses the status that fits it (LARDER_ENOMEM, LARDER_EACCESS,
 * LARDER_EFULL, LARDER_EREADONLY, LARDER_ENOTFOUND, LARDER_EIO, else LARDER_ESYSTEM); the message gets ": strerror"
 * added. */
int larder__fail_errno(larder_error *error, int err, const char *format, ...) __attribute__((format(printf, 3, 4)));

#endif
