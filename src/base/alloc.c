/* base/alloc.c: the allocator hook. Set once, before use; read without a lock. */
#include "base/alloc.h"

#include <larder/larder.h>
#include <stdlib.h>
#include <string.h>

static const larder_allocator standard = {malloc, calloc, realloc, free};
static larder_allocator current = {malloc, calloc, realloc, free};

int larder_set_allocator(const larder_allocator *allocator)
{
    if (allocator == NULL) {
        return LARDER_EINVAL;
    }
    int given = (allocator->malloc_fn != NULL) + (allocator->calloc_fn != NULL) + (allocator->realloc_fn != NULL)
                + (allocator->free_fn != NULL);
    if (given != 0 && given != 4) {
        return LARDER_EINVAL;
    }
    current = given == 0 ? standard : *allocator;
    return LARDER_OK;
}

void *larder__malloc(size_t size)
{
    return current.malloc_fn(size);
}

void *larder__calloc(size_t count, size_t size)
{
    return current.calloc_fn(count, size);
}

void *larder__realloc(void *block, size_t size)
{
    return current.realloc_fn(block, size);
}

void larder__free(void *block)
{
    if (block != NULL) {
        current.free_fn(block);
    }
}

void larder_free(void *block)
{
    larder__free(block);
}

char *larder__strndup(const char *text, size_t len)
{
    char *copy = larder__malloc(len + 1);
    if (copy == NULL) {
        return NULL;
    }
    if (len > 0) {
        memcpy(copy, text, len);
    }
    copy[len] = '\0';
    return copy;
}

char *larder__strdup(const char *text)
{
    return larder__strndup(text, strlen(text));
}
