/* base/body.c: counted immutable bytes. */
#include "base/body.h"

#include "base/alloc.h"

#include <larder/larder.h>
#include <stdint.h>
#include <string.h>

larder__body *larder__body_new(const void *bytes, size_t len, int content)
{
    if (len > SIZE_MAX - sizeof(larder__body) - 1) {
        return NULL;
    }
    larder__body *body = larder__malloc(sizeof *body + len + 1);
    if (body == NULL) {
        return NULL;
    }
    body->references = 1;
    body->content = content;
    body->len = len;
    if (len > 0) {
        memcpy(body->data, bytes, len);
    }
    body->data[len] = '\0';
    return body;
}

larder__body *larder__body_retain(larder__body *body)
{
    if (body != NULL) {
        __atomic_add_fetch(&body->references, 1, __ATOMIC_RELAXED);
    }
    return body;
}

void larder__body_release(larder__body *body)
{
    if (body != NULL && __atomic_sub_fetch(&body->references, 1, __ATOMIC_ACQ_REL) == 0) {
        larder__free(body);
    }
}

static const char *const content_names[] = {
    [LARDER_CONTENT_JSON] = "application/json",
    [LARDER_CONTENT_TEXT] = "text/plain; charset=utf-8",
    [LARDER_CONTENT_BYTES] = "application/octet-stream",
};

const char *larder_content_name(larder_content content)
{
    int known = content >= LARDER_CONTENT_JSON && content <= LARDER_CONTENT_BYTES;
    return content_names[known ? content : LARDER_CONTENT_BYTES];
}

int larder__content_of(const char *name)
{
    for (int i = 0; name != NULL && i < (int)(sizeof content_names / sizeof content_names[0]); i++) {
        if (strcmp(name, content_names[i]) == 0) {
            return i;
        }
    }
    return -1;
}
