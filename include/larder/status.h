/* larder/status.h: status codes, error codes of responses, and the error record.
 *
 * Every call that can fail returns an int: 0 (LARDER_OK) or a negative LARDER_E…. A failure's words travel beside it
 * in a larder_error that the caller owns: nothing is kept in a global or a thread-local. Strict C99, C++11.
 */
#ifndef LARDER_STATUS_H
#define LARDER_STATUS_H

#ifdef __cplusplus
extern "C" {
#endif

#if defined(__GNUC__) || defined(__clang__)
#define LARDER_EXPORT __attribute__((visibility("default")))
#else
#define LARDER_EXPORT
#endif

/* name, value, text. One list gives the enum, larder_status_name() and larder_status_text(). Values are kept for ever.
 */
#define LARDER_STATUS_MAP(X)                                                                                           \
    X(OK, 0, "success")                                                                                                \
    X(EINVAL, -1, "invalid argument")                                                                                  \
    X(ENOMEM, -2, "out of memory")                                                                                     \
    X(EJSON, -3, "invalid JSON")                                                                                       \
    X(ETOOBIG, -4, "over the size limit")                                                                              \
    X(EEXIST, -5, "already exists")                                                                                    \
    X(ENOTFOUND, -6, "not found")                                                                                      \
    X(ECLOSED, -7, "closing or closed")                                                                                \
    X(EOVERLOADED, -8, "queue is full")                                                                                \
    X(ETIMEDOUT, -9, "deadline passed")                                                                                \
    X(ECANCELLED, -10, "cancelled")                                                                                    \
    X(EIO, -11, "input/output error")                                                                                  \
    X(EFULL, -12, "disk or quota is full")                                                                             \
    X(ELOCKED, -13, "file is locked by another process")                                                               \
    X(ECORRUPT, -14, "file is damaged")                                                                                \
    X(EFOREIGN, -15, "file belongs to another program")                                                                \
    X(ENEWER, -16, "file was written by a newer Larder")                                                               \
    X(EREADONLY, -17, "file cannot be written")                                                                        \
    X(EACCESS, -18, "permission denied")                                                                               \
    X(ETHREAD, -19, "called on the wrong thread")                                                                      \
    X(EFORK, -20, "used in a forked child")                                                                            \
    X(ESCHEMA, -21, "file's schema is not the one that its version names")                                             \
    X(EMOVED, -22, "file was deleted or replaced while open")                                                          \
    X(EALREADY, -23, "already answered")                                                                               \
    X(ESYSTEM, -24, "operating system refused")

typedef enum larder_status {
#define LARDER_STATUS_ENUM(name, value, text) LARDER_##name = (value),
    LARDER_STATUS_MAP(LARDER_STATUS_ENUM)
#undef LARDER_STATUS_ENUM
        LARDER_STATUS_MIN = -24
} larder_status;

/* The error codes that a response carries: name, string, text. The strings are stable; programs compare them.
 * A handler may also fail with a code of its own (upper-case letters, digits and underscores). */
#define LARDER_CODE_MAP(X)                                                                                             \
    X(HANDLER_ERROR, "IPC_HANDLER_ERROR", "the handler failed")                                                        \
    X(HANDLER_NOT_FOUND, "HANDLER_NOT_FOUND", "no handler is registered on this channel")                              \
    X(INVALID_ARGS, "INVALID_ARGS", "the arguments are not valid JSON")                                                \
    X(VALIDATION_ERROR, "VALIDATION_ERROR", "the arguments were refused")                                              \
    X(TIMEOUT, "TIMEOUT", "no answer came before the deadline")                                                        \
    X(CANCELLED, "CANCELLED", "the request was cancelled")                                                             \
    X(OVERLOADED, "OVERLOADED", "too much is in flight")                                                               \
    X(CLOSED, "CLOSED", "the program is closing")                                                                      \
    X(NO_MEMORY, "NO_MEMORY", "memory ran out")                                                                        \
    X(RESPONSE_TOO_LARGE, "RESPONSE_TOO_LARGE", "the answer is over the size limit")

#define LARDER_CODE_STRING(name, string, text) string
#define LARDER_ERROR_MESSAGE_SIZE 512

/* What failed, on what, why, and what to do: one sentence or two in UTF-8, always NUL-terminated. Owned by the caller;
 * every call that takes a larder_error * accepts NULL, and writes it on failure only. */
typedef struct larder_error {
    int status;       /* the LARDER_E… that was returned */
    int system_errno; /* errno of the system call behind it, or 0 */
    char message[LARDER_ERROR_MESSAGE_SIZE];
} larder_error;

/* "LARDER_EINVAL"; "LARDER_UNKNOWN" for a number that is no status. Never NULL, static. Any thread. */
LARDER_EXPORT const char *larder_status_name(int status);
/* "invalid argument"; never NULL, static. Any thread. */
LARDER_EXPORT const char *larder_status_text(int status);

#ifdef __cplusplus
}
#endif
#endif
