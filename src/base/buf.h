/* base/buf.h: a growing run of bytes. A failed allocation is remembered, so that a writer may append many times and
 * look once: after a failure appends do nothing. */
#ifndef LARDER_BASE_BUF_H
#define LARDER_BASE_BUF_H

#include <stddef.h>
#include <stdint.h>

typedef struct larder__buf {
    char *data; /* NUL-terminated after larder__buf_terminate */
    size_t len;
    size_t capacity;
    int failed; /* 1: memory ran out, the content is not whole */
} larder__buf;

void larder__buf_init(larder__buf *buf);
void larder__buf_release(larder__buf *buf);
static inline void larder__buf_clear(larder__buf *buf) /* to reuse: keeps the memory */
{
    buf->len = 0;
    buf->failed = 0;
}
int larder__buf_reserve(larder__buf *buf, size_t more); /* LARDER_OK, LARDER_ENOMEM */
void larder__buf_append(larder__buf *buf, const void *bytes, size_t len);
void larder__buf_text(larder__buf *buf, const char *text);
void larder__buf_format(larder__buf *buf, const char *format, ...) __attribute__((format(printf, 2, 3)));
void larder__buf_json_string(larder__buf *buf, const char *text, size_t len); /* quoted, escaped; text is valid UTF-8 */
void larder__buf_base64(larder__buf *buf, const void *bytes, size_t len);     /* RFC 4648, section 4, no quotes */
int larder__buf_terminate(larder__buf *buf); /* LARDER_ENOMEM also when an append had failed */
char *larder__buf_take(larder__buf *buf);    /* the terminated bytes, larder__free them; NULL when failed */

#endif
