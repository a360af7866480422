/* store/item.c: the things that travel between the loop and the writer. */
#include "base/alloc.h"
#include "store/internal.h"

#include <string.h>

larder__item *larder__item_new(larder__item_kind kind, size_t tail_bytes)
{
    larder__item *item = larder__calloc(1, sizeof *item + tail_bytes);
    if (item == NULL) {
        return NULL;
    }
    larder__list_init(&item->link);
    item->kind = kind;
    item->bytes = sizeof *item + tail_bytes;
    return item;
}

void larder__item_free(larder__item *item)
{
    if (item == NULL) {
        return;
    }
    larder__body_release(item->record.value);
    larder__body_release(item->record.args);
    larder__free(item);
}

static const char *const content_types[] = {
    [LARDER_CONTENT_JSON] = "application/json",
    [LARDER_CONTENT_TEXT] = "text/plain; charset=utf-8",
    [LARDER_CONTENT_BYTES] = "application/octet-stream",
};

const char *larder__content_type(int content)
{
    return content_types[content];
}

int larder__content_of(const char *type)
{
    for (int i = 0; type != NULL && i < (int)(sizeof content_types / sizeof content_types[0]); i++) {
        if (strcmp(type, content_types[i]) == 0) {
            return i;
        }
    }
    return -1;
}
