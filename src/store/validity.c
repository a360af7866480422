/* store/validity.c: see the header for the rules. */
#include "store/validity.h"

#include "base/alloc.h"
#include "base/list.h"

#include <string.h>

#define RING 4096

struct larder__recent_key {
    larder__map_node node;
    uint64_t number; /* 0: place not used */
    uint8_t key[LARDER_KEY_SIZE];
};

int larder__validity_init(larder__validity *validity)
{
    memset(validity, 0, sizeof *validity);
    int status = larder__map_init(&validity->channels);
    if (status != LARDER_OK) {
        return status;
    }
    status = larder__map_init(&validity->keys);
    if (status != LARDER_OK) {
        goto err_after_channels;
    }
    validity->ring = larder__calloc(RING, sizeof validity->ring[0]);
    if (validity->ring == NULL) {
        status = LARDER_ENOMEM;
        goto err_after_keys;
    }
    return LARDER_OK;

err_after_keys:
    larder__map_release(&validity->keys);
err_after_channels:
    larder__map_release(&validity->channels);
    return status;
}

static void free_channel(larder__map_node *node, void *user_data)
{
    (void)user_data;
    larder__free(LARDER__CONTAINER(node, larder__channel, node));
}

void larder__validity_release(larder__validity *validity)
{
    if (validity->channels.buckets != NULL) {
        larder__map_each(&validity->channels, free_channel, NULL);
    }
    larder__map_release(&validity->channels);
    larder__map_release(&validity->keys);
    larder__free(validity->ring);
    validity->ring = NULL;
}

larder__channel *larder__validity_find(larder__validity *validity, const char *name, size_t len)
{
    uint64_t hash = larder__hash_bytes(name, len);
    larder__map_node *node = larder__map_first(&validity->channels, hash);
    for (; node != NULL; node = larder__map_next(node, hash)) {
        larder__channel *channel = LARDER__CONTAINER(node, larder__channel, node);
        if (channel->name_len == len && memcmp(channel->name, name, len) == 0) {
            return channel;
        }
    }
    return NULL;
}

larder__channel *larder__validity_channel(larder__validity *validity, const char *name, size_t len)
{
    larder__channel *channel = larder__validity_find(validity, name, len);
    if (channel != NULL) {
        return channel;
    }
    channel = larder__calloc(1, sizeof *channel + len + 1);
    if (channel == NULL) {
        return NULL;
    }
    memcpy(channel->name, name, len);
    channel->name_len = (uint32_t)len;
    larder__map_insert(&validity->channels, &channel->node, larder__hash_bytes(name, len));
    return channel;
}

static larder__recent_key *find_recent(const larder__validity *validity, const uint8_t key[LARDER_KEY_SIZE])
{
    uint64_t hash = larder__hash_key(key);
    larder__map_node *node = larder__map_first(&validity->keys, hash);
    for (; node != NULL; node = larder__map_next(node, hash)) {
        larder__recent_key *recent = LARDER__CONTAINER(node, larder__recent_key, node);
        if (memcmp(recent->key, key, LARDER_KEY_SIZE) == 0) {
            return recent;
        }
    }
    return NULL;
}

/* A key that is in the ring already takes a new place: the ring stays in the order of the numbers. */
static void remember_key(larder__validity *validity, const uint8_t key[LARDER_KEY_SIZE], uint64_t number)
{
    larder__recent_key *old = find_recent(validity, key);
    if (old != NULL) {
        larder__map_remove(&validity->keys, &old->node);
        old->number = 0;
    }
    larder__recent_key *place = &validity->ring[validity->ring_at];
    if (place->number != 0) {
        validity->floor = place->number;
        larder__map_remove(&validity->keys, &place->node);
    }
    place->number = number;
    memcpy(place->key, key, LARDER_KEY_SIZE);
    larder__map_insert(&validity->keys, &place->node, larder__hash_key(key));
    validity->ring_at = (validity->ring_at + 1) % RING;
}

uint64_t larder__validity_invalidate(larder__validity *validity, larder__invalidation_kind kind,
                                     larder__channel *channel, const uint8_t key[LARDER_KEY_SIZE])
{
    uint64_t number = ++validity->number;
    switch (kind) {
    case LARDER__INVALIDATE_KEY:
        remember_key(validity, key, number);
        break;
    case LARDER__INVALIDATE_CHANNEL:
        channel->invalidated = number;
        break;
    case LARDER__INVALIDATE_ALL:
        validity->all = number;
        break;
    }
    return number;
}

int larder__validity_holds(const larder__validity *validity, const larder__channel *channel,
                           const uint8_t key[LARDER_KEY_SIZE], larder__mark mark)
{
    if (!larder__validity_holds_channel(validity, channel, mark.number) || mark.number < validity->floor) {
        return 0;
    }
    if (mark.number == validity->number) {
        return 1;
    }
    const larder__recent_key *recent = find_recent(validity, key);
    return recent == NULL || recent->number <= mark.number;
}
