/* metrics/metrics.h: counters of the instance and of each channel. Counted on the loop by plain stores that other
 * threads may read (relaxed atomics: a mov on the usual machines); what was counted since the last time is handed to
 * the store. */
#ifndef LARDER_METRICS_METRICS_H
#define LARDER_METRICS_METRICS_H

#include "base/list.h"
#include "store/store.h"

typedef struct larder__metrics larder__metrics;

/* One channel's counters, to be kept by its handler. Times are summed in nanoseconds and saved in whole microseconds;
 * what is over stays for the next save, so that rounding loses nothing. */
typedef struct larder__channel_metrics {
    larder__list link; /* among those that changed since the last save */
    larder__map_node node;
    larder__channel *channel; /* NULL: unknown channels */
    larder__counters unsaved; /* its times only hold what a failed save gave back */
    uint64_t response_time_ns;
    uint64_t max_response_time_ns;
    uint64_t handler_time_ns;
    larder__metrics *metrics;
} larder__channel_metrics;

int larder__metrics_new(larder__metrics **out, larder__store *store); /* LARDER_ENOMEM; the store is borrowed */
void larder__metrics_free(larder__metrics *metrics); /* once the store has stopped, so that no save is under way */

/* The channel's counters, made if need be and kept by `metrics` as long as it lives (one per channel: a handler that is
 * registered again goes on with them). NULL channel: the unknown. NULL when out of memory. */
larder__channel_metrics *larder__metrics_channel(larder__metrics *metrics, larder__channel *channel);

/* Hot path: one call a response. Nothing allocates or fails. */
typedef struct larder__measure {
    larder_source source; /* where the answer came from */
    int success;
    int missed; /* the cache was asked and had nothing */
    uint64_t response_time_ns;
} larder__measure;
void larder__metrics_request(larder__channel_metrics *channel);
void larder__metrics_response(larder__channel_metrics *channel, const larder__measure *measure);
void larder__metrics_handler_run(larder__channel_metrics *channel, uint64_t time_ns);
void larder__metrics_late(larder__channel_metrics *channel);
void larder__metrics_not_stored(larder__channel_metrics *channel);

/* Hands what is unsaved to the store. While a save is under way it only asks for another one, made when that has ended.
 * A failed save is added back, for the next call. LARDER_OK, also when there is nothing; LARDER_ENOMEM. */
int larder__metrics_save(larder__metrics *metrics);
int larder__metrics_saving(const larder__metrics *metrics); /* 1: a save is under way */
/* Any thread: fills in what was counted here, `requests` to `response_time_ns` and `not_stored`; the rest is left. */
void larder__metrics_snapshot(const larder__metrics *metrics, larder_metrics *out);

#endif
