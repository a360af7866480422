/* store/item.c: the things that travel between the loop and the writer. */
#include "base/alloc.h"
#include "store/internal.h"

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

void larder__items_free(larder__list *items)
{
    larder__list *link;
    while ((link = larder__list_shift(items)) != NULL) {
        larder__item_free(LARDER__CONTAINER(link, larder__item, link));
    }
}
