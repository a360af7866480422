/* base/body.h: bytes that do not change and are shared by counting: an answer in the memory tier, in the writer's queue
 * and in a caller's hand is one piece of memory. The count is atomic: bodies cross threads. */
#ifndef LARDER_BASE_BODY_H
#define LARDER_BASE_BODY_H

#include <stddef.h>

typedef struct larder__body {
    int references; /* atomic */
    int content;    /* larder_content */
    size_t len;
    char data[]; /* len bytes and a NUL */
} larder__body;

larder__body *larder__body_new(const void *bytes, size_t len, int content); /* copies; NULL when out of memory */
larder__body *larder__body_retain(larder__body *body);                      /* NULL gives NULL */
void larder__body_release(larder__body *body);                              /* NULL is fine */

/* The larder_content of a media type that larder_content_name gives; -1 for any other, and NULL. */
int larder__content_of(const char *name);

#endif
