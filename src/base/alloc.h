/* base/alloc.h: all memory that Larder asks for goes through here, so that an embedder can replace it and a test can
 * make the Nth request fail. */
#ifndef LARDER_BASE_ALLOC_H
#define LARDER_BASE_ALLOC_H

#include <stddef.h>

void *larder__malloc(size_t size);
void *larder__calloc(size_t count, size_t size); /* zeroed; NULL on overflow */
void *larder__realloc(void *block, size_t size); /* on failure the block stays as it was */
void larder__free(void *block);                  /* NULL is fine */
char *larder__strdup(const char *text);
char *larder__strndup(const char *text, size_t len); /* copies exactly len bytes and a NUL */

#endif
