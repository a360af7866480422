/* store/inspect.h: what inspect.c (listings) and inspect_clear.c share. */
#ifndef LARDER_STORE_INSPECT_H
#define LARDER_STORE_INSPECT_H

#include "store/db.h"

#include <larder/inspect.h>

struct larder_inspect {
    larder__db *reader;     /* LARDER__DB_VISIT */
    larder__db *writer;     /* NULL unless opened for writing */
    larder__lockfile *lock; /* made when first needed */
};

/* A filter, checked, in the form that statements take. */
typedef struct larder__selection {
    const char *channel; /* NULL: any; borrowed */
    int by_key;          /* low and high are given */
    uint8_t low[LARDER_KEY_SIZE];
    uint8_t high[LARDER_KEY_SIZE];
    int with_expired;
    uint64_t limit;
    int64_t now_ms;
} larder__selection;

/* LARDER_EINVAL a prefix that is no run of up to 64 hexadecimal digits, or a filter that was not initialised. */
int larder__selection_init(larder__selection *selection, const larder_filter *filter, larder_error *error);

/* Binds what the statement names of :channel, :low, :high, :now_ms. */
void larder__selection_bind(const larder__selection *selection, sqlite3_stmt *statement);

#endif
