/* cache/key.h: SHA-256 keys, with the digest fetched once and its context reused (OpenSSL 3's cheap way). */
#ifndef LARDER_CACHE_KEY_H
#define LARDER_CACHE_KEY_H

#include <larder/larder.h>

typedef struct larder__hasher larder__hasher; /* one per thread */

int larder__hasher_new(larder__hasher **out); /* LARDER_ENOMEM, LARDER_ESYSTEM */
void larder__hasher_free(larder__hasher *hasher);

/* Key of a channel, canonical args and a scope (NULL none): channel 0x00 args [0x00 scope]. LARDER_ESYSTEM when OpenSSL
 * fails. No allocation. */
int larder__hasher_key(larder__hasher *hasher, uint8_t key[LARDER_KEY_SIZE], const char *channel, size_t channel_len,
                       const char *args, size_t args_len, const char *scope, size_t scope_len);

/* LARDER_OK, or LARDER_EINVAL with a sentence that says `what` ("channel", "scope") is empty, over 255 bytes, holds a
 * NUL, or is not UTF-8, and where. */
int larder__name_check(const char *what, const char *name, size_t len, larder_error *error);

#endif
