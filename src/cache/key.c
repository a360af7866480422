/* cache/key.c: keys of requests.
 *
 * The digest is fetched once and its context restarted (EVP_DigestInit_ex2 without a type): about 160 ns for 64 bytes
 * where the one-shot SHA256() takes 500. The parts of a short key are put side by side first: each update of the
 * context costs more than copying some dozens of bytes.
 *
 * Fails only when OpenSSL does: no provider with SHA-256, or no memory (which it asks for when a hasher is made, not
 * for a key).
 */
#include "cache/key.h"

#include "base/alloc.h"
#include "base/error.h"
#include "base/json.h"

#include <openssl/evp.h>
#include <string.h>

#define GATHERED 512 /* bytes: longer messages are hashed part by part */

struct larder__hasher {
    EVP_MD *digest;
    EVP_MD_CTX *context;
};

int larder__hasher_new(larder__hasher **out)
{
    *out = NULL;
    larder__hasher *hasher = larder__calloc(1, sizeof *hasher);
    if (hasher == NULL) {
        return LARDER_ENOMEM;
    }
    hasher->digest = EVP_MD_fetch(NULL, "SHA256", NULL);
    hasher->context = EVP_MD_CTX_new();
    if (hasher->digest == NULL || hasher->context == NULL
        || !EVP_DigestInit_ex2(hasher->context, hasher->digest, NULL)) {
        larder__hasher_free(hasher);
        return LARDER_ESYSTEM;
    }
    *out = hasher;
    return LARDER_OK;
}

void larder__hasher_free(larder__hasher *hasher)
{
    if (hasher == NULL) {
        return;
    }
    EVP_MD_CTX_free(hasher->context);
    EVP_MD_free(hasher->digest);
    larder__free(hasher);
}

static int update_parts(EVP_MD_CTX *context, const char *channel, size_t channel_len, const char *args, size_t args_len,
                        const char *scope, size_t scope_len)
{
    return EVP_DigestUpdate(context, channel, channel_len) && EVP_DigestUpdate(context, "", 1)
           && EVP_DigestUpdate(context, args, args_len)
           && (scope == NULL || (EVP_DigestUpdate(context, "", 1) && EVP_DigestUpdate(context, scope, scope_len)));
}

static int update_gathered(EVP_MD_CTX *context, const char *channel, size_t channel_len, const char *args,
                           size_t args_len, const char *scope, size_t scope_len)
{
    char message[GATHERED];
    memcpy(message, channel, channel_len);
    message[channel_len] = '\0';
    memcpy(message + channel_len + 1, args, args_len);
    size_t len = channel_len + 1 + args_len;
    if (scope != NULL) {
        message[len] = '\0';
        memcpy(message + len + 1, scope, scope_len);
        len += 1 + scope_len;
    }
    return EVP_DigestUpdate(context, message, len);
}

int larder__hasher_key(larder__hasher *hasher, uint8_t key[LARDER_KEY_SIZE], const char *channel, size_t channel_len,
                       const char *args, size_t args_len, const char *scope, size_t scope_len)
{
    if (!EVP_DigestInit_ex2(hasher->context, NULL, NULL)) {
        return LARDER_ESYSTEM;
    }
    int is_short = channel_len <= LARDER_CHANNEL_MAX && scope_len <= LARDER_CHANNEL_MAX && args_len < GATHERED
                   && channel_len + args_len + scope_len + 2 <= GATHERED;
    int updated = is_short ? update_gathered(hasher->context, channel, channel_len, args, args_len, scope, scope_len)
                           : update_parts(hasher->context, channel, channel_len, args, args_len, scope, scope_len);
    return updated && EVP_DigestFinal_ex(hasher->context, key, NULL) ? LARDER_OK : LARDER_ESYSTEM;
}

int larder__name_check(const char *what, const char *name, size_t len, larder_error *error)
{
    if (name == NULL || len == 0) {
        return larder__fail(error, LARDER_EINVAL, "%s is empty", what);
    }
    if (len > LARDER_CHANNEL_MAX) {
        return larder__fail(error, LARDER_EINVAL, "%s is %zu bytes long, over the limit of %d", what, len,
                            LARDER_CHANNEL_MAX);
    }
    size_t bad = larder__utf8_valid(name, len, 0);
    if (bad == len) {
        return LARDER_OK;
    }
    if (name[bad] == '\0') {
        return larder__fail(error, LARDER_EINVAL, "%s has a NUL at byte %zu", what, bad);
    }
    return larder__fail(error, LARDER_EINVAL, "%s is not valid UTF-8 at byte %zu", what, bad);
}

static int hash_once(uint8_t key[LARDER_KEY_SIZE], const char *channel, size_t channel_len, const larder__buf *args,
                     const char *scope, larder_error *error)
{
    larder__hasher *hasher;
    int status = larder__hasher_new(&hasher);
    if (status == LARDER_OK) {
        status = larder__hasher_key(hasher, key, channel, channel_len, args->data, args->len, scope,
                                    scope == NULL ? 0 : strlen(scope));
        larder__hasher_free(hasher);
    }
    if (status != LARDER_OK) {
        return larder__fail(error, status, "computing a cache key: %s", larder_status_text(status));
    }
    return LARDER_OK;
}

int larder_key(uint8_t key[LARDER_KEY_SIZE], const char *channel, size_t channel_len, const char *args, size_t args_len,
               const char *scope, larder_error *error)
{
    if (channel != NULL && channel_len == LARDER_NUL) {
        channel_len = strlen(channel);
    }
    int status = larder__name_check("channel", channel, channel_len, error);
    if (status == LARDER_OK && scope != NULL) {
        status = larder__name_check("scope", scope, strlen(scope), error);
    }
    if (status != LARDER_OK) {
        return status;
    }
    if (args == NULL) {
        args = "null";
        args_len = LARDER_NUL;
    }
    larder__json json;
    larder__json_init(&json);
    status = larder__json_canonical(&json, args, args_len == LARDER_NUL ? strlen(args) : args_len, NULL, error);
    if (status == LARDER_OK) {
        status = hash_once(key, channel, channel_len, &json.out, scope, error);
    }
    larder__json_release(&json);
    return status;
}

void larder_key_hex(char hex[LARDER_KEY_HEX_SIZE], const uint8_t key[LARDER_KEY_SIZE])
{
    static const char digits[] = "0123456789abcdef";
    for (size_t i = 0; i < LARDER_KEY_SIZE; i++) {
        hex[2 * i] = digits[key[i] >> 4];
        hex[2 * i + 1] = digits[key[i] & 15];
    }
    hex[LARDER_KEY_HEX_SIZE - 1] = '\0';
}
