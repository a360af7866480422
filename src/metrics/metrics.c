/* metrics/metrics.c: counting, and handing what was counted to the store.
 *
 * Each event is counted twice: in its channel's counters, which only the loop sees and which are emptied into the file,
 * and in the instance's totals, which any thread may read. Channels that counted something since the last save are in a
 * list, so that a save costs nothing for the others. The rows of a save are kept until the store has answered; if it
 * failed they are added back. Room for them is made when a channel is, so that a save itself needs no memory.
 */
#include "metrics/metrics.h"

#include "base/alloc.h"

#include <string.h>

#define NS_IN_US 1000

typedef struct totals { /* relaxed atomics with one writer, the loop */
    uint64_t requests;
    uint64_t responses;
    uint64_t errors;
    uint64_t memory_hits;
    uint64_t disk_hits;
    uint64_t misses;
    uint64_t handler_runs;
    uint64_t late_answers;
    uint64_t response_time_ns;
    uint64_t not_stored;
} totals;

struct larder__metrics {
    larder__store *store;
    larder__map channels;
    larder__list changed;
    larder__channel_metrics **saving; /* whose rows are under way */
    larder__channel_count *rows;      /* the same, as handed over */
    size_t capacity;                  /* of both; at least the number of channels */
    size_t saving_count;              /* 0: no save is under way */
    int again;
    totals totals;
};

int larder__metrics_new(larder__metrics **out, larder__store *store)
{
    *out = NULL;
    larder__metrics *metrics = larder__calloc(1, sizeof *metrics);
    if (metrics == NULL) {
        return LARDER_ENOMEM;
    }
    if (larder__map_init(&metrics->channels) != LARDER_OK) {
        larder__free(metrics);
        return LARDER_ENOMEM;
    }
    metrics->store = store;
    larder__list_init(&metrics->changed);
    *out = metrics;
    return LARDER_OK;
}

static void free_channel(larder__map_node *node, void *user_data)
{
    (void)user_data;
    larder__free(LARDER__CONTAINER(node, larder__channel_metrics, node));
}

void larder__metrics_free(larder__metrics *metrics)
{
    if (metrics == NULL) {
        return;
    }
    larder__map_each(&metrics->channels, free_channel, NULL);
    larder__map_release(&metrics->channels);
    larder__free(metrics->saving);
    larder__free(metrics->rows);
    larder__free(metrics);
}

static int reserve_rows(larder__metrics *metrics, size_t count)
{
    if (count <= metrics->capacity) {
        return LARDER_OK;
    }
    size_t capacity = metrics->capacity == 0 ? 8 : metrics->capacity * 2;
    larder__channel_metrics **saving = larder__realloc(metrics->saving, capacity * sizeof saving[0]);
    if (saving == NULL) {
        return LARDER_ENOMEM;
    }
    metrics->saving = saving;
    larder__channel_count *rows = larder__realloc(metrics->rows, capacity * sizeof rows[0]);
    if (rows == NULL) {
        return LARDER_ENOMEM;
    }
    metrics->rows = rows;
    metrics->capacity = capacity;
    return LARDER_OK;
}

larder__channel_metrics *larder__metrics_channel(larder__metrics *metrics, larder__channel *channel)
{
    uint64_t hash = (uint64_t)(uintptr_t)channel;
    larder__map_node *node = larder__map_first(&metrics->channels, hash);
    if (node != NULL) { /* the hash is the whole identity */
        return LARDER__CONTAINER(node, larder__channel_metrics, node);
    }
    if (reserve_rows(metrics, metrics->channels.count + 1) != LARDER_OK) {
        return NULL;
    }
    larder__channel_metrics *made = larder__calloc(1, sizeof *made);
    if (made == NULL) {
        return NULL;
    }
    larder__list_init(&made->link);
    made->channel = channel;
    made->metrics = metrics;
    larder__map_insert(&metrics->channels, &made->node, hash);
    return made;
}

/* ---- counting ---- */

static void add(uint64_t *total, uint64_t by) /* not an atomic addition: only the loop writes */
{
    __atomic_store_n(total, *total + by, __ATOMIC_RELAXED);
}

static void changed(larder__channel_metrics *channel)
{
    if (larder__list_empty(&channel->link)) {
        larder__list_append(&channel->metrics->changed, &channel->link);
    }
}

void larder__metrics_request(larder__channel_metrics *channel)
{
    channel->unsaved.requests++;
    add(&channel->metrics->totals.requests, 1);
    changed(channel);
}

void larder__metrics_response(larder__channel_metrics *channel, const larder__measure *measure)
{
    larder__counters *unsaved = &channel->unsaved;
    totals *all = &channel->metrics->totals;
    if (measure->success) {
        unsaved->responses++;
        add(&all->responses, 1);
    } else {
        unsaved->errors++;
        add(&all->errors, 1);
    }
    if (measure->source == LARDER_SOURCE_MEMORY) {
        unsaved->memory_hits++;
        add(&all->memory_hits, 1);
    } else if (measure->source == LARDER_SOURCE_DISK) {
        unsaved->disk_hits++;
        add(&all->disk_hits, 1);
    } else if (measure->missed) {
        unsaved->misses++;
        add(&all->misses, 1);
    }
    channel->response_time_ns += measure->response_time_ns;
    if (channel->max_response_time_ns < measure->response_time_ns) {
        channel->max_response_time_ns = measure->response_time_ns;
    }
    add(&all->response_time_ns, measure->response_time_ns);
    changed(channel);
}

void larder__metrics_handler_run(larder__channel_metrics *channel, uint64_t time_ns)
{
    channel->unsaved.handler_runs++;
    channel->handler_time_ns += time_ns;
    add(&channel->metrics->totals.handler_runs, 1);
    changed(channel);
}

void larder__metrics_late(larder__channel_metrics *channel)
{
    channel->unsaved.late_answers++;
    add(&channel->metrics->totals.late_answers, 1);
    changed(channel);
}

void larder__metrics_not_stored(larder__channel_metrics *channel)
{
    channel->unsaved.not_stored++;
    add(&channel->metrics->totals.not_stored, 1);
    changed(channel);
}

/* ---- saving ---- */

static void merge(larder__counters *into, const larder__counters *from)
{
    uint64_t longest = into->max_response_time_us > from->max_response_time_us ? into->max_response_time_us
                                                                               : from->max_response_time_us;
#define MERGE_SUM(name) into->name += from->name;
    LARDER__COUNTER_MAP(MERGE_SUM)
#undef MERGE_SUM
    into->max_response_time_us = longest;
}

/* Empties a channel into a row. The longest time is rounded up, so that no average is above it. */
static void take(larder__channel_metrics *channel, larder__channel_count *row)
{
    larder__counters times = {
        .response_time_us = channel->response_time_ns / NS_IN_US,
        .max_response_time_us = (channel->max_response_time_ns + NS_IN_US - 1) / NS_IN_US,
        .handler_time_us = channel->handler_time_ns / NS_IN_US,
    };
    row->channel = channel->channel;
    row->counters = channel->unsaved;
    merge(&row->counters, &times);
    memset(&channel->unsaved, 0, sizeof channel->unsaved);
    channel->response_time_ns %= NS_IN_US;
    channel->max_response_time_ns = 0;
    channel->handler_time_ns %= NS_IN_US;
}

static void give_back(larder__metrics *metrics)
{
    for (size_t i = 0; i < metrics->saving_count; i++) {
        merge(&metrics->saving[i]->unsaved, &metrics->rows[i].counters);
        changed(metrics->saving[i]);
    }
}

static void on_saved(int status, void *user_data)
{
    larder__metrics *metrics = user_data;
    if (status != LARDER_OK) {
        give_back(metrics);
    }
    int again = metrics->again && status == LARDER_OK; /* a file that fails is left alone until the next call */
    metrics->saving_count = 0;
    metrics->again = 0;
    if (again) {
        larder__metrics_save(metrics);
    }
}

int larder__metrics_save(larder__metrics *metrics)
{
    if (metrics->saving_count > 0) {
        metrics->again = 1;
        return LARDER_OK;
    }
    size_t count = 0;
    for (larder__list *node; (node = larder__list_shift(&metrics->changed)) != NULL; count++) {
        metrics->saving[count] = LARDER__CONTAINER(node, larder__channel_metrics, link);
        take(metrics->saving[count], &metrics->rows[count]);
    }
    if (count == 0) {
        return LARDER_OK;
    }
    metrics->saving_count = count;
    int status = larder__store_count(metrics->store, metrics->rows, count, on_saved, metrics);
    if (status != LARDER_OK) {
        give_back(metrics);
        metrics->saving_count = 0;
    }
    return status;
}

int larder__metrics_saving(const larder__metrics *metrics)
{
    return metrics->saving_count > 0;
}

void larder__metrics_snapshot(const larder__metrics *metrics, larder_metrics *out)
{
    const totals *all = &metrics->totals;
    out->requests = __atomic_load_n(&all->requests, __ATOMIC_RELAXED);
    out->responses = __atomic_load_n(&all->responses, __ATOMIC_RELAXED);
    out->errors = __atomic_load_n(&all->errors, __ATOMIC_RELAXED);
    out->memory_hits = __atomic_load_n(&all->memory_hits, __ATOMIC_RELAXED);
    out->disk_hits = __atomic_load_n(&all->disk_hits, __ATOMIC_RELAXED);
    out->misses = __atomic_load_n(&all->misses, __ATOMIC_RELAXED);
    out->handler_runs = __atomic_load_n(&all->handler_runs, __ATOMIC_RELAXED);
    out->late_answers = __atomic_load_n(&all->late_answers, __ATOMIC_RELAXED);
    out->response_time_ns = __atomic_load_n(&all->response_time_ns, __ATOMIC_RELAXED);
    out->not_stored = __atomic_load_n(&all->not_stored, __ATOMIC_RELAXED);
}
