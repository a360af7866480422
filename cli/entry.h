/* cli/entry.h: what several commands say of an entry or a channel. */
#ifndef LARDER_CLI_ENTRY_H
#define LARDER_CLI_ENTRY_H

#include "json.h"
#include "table.h"

#include <larder/inspect.h>

int64_t now_ms(void); /* since 1970, to tell ages */

/* The members of an entry's object but its value, named as the columns of the table `entries`. */
void entry_members(text *t, int *first, const larder_entry_info *entry);

/* Adds a channel's numbers to a total. */
void channel_add(larder_channel_info *total, const larder_channel_info *channel);
uint64_t channel_hits(const larder_channel_info *channel);
/* Cells: the share of hits among cacheable requests, and the time per response; "-" when there was none. */
void channel_hit_rate_cell(table *t, const larder_channel_info *channel);
void channel_response_cell(table *t, const larder_channel_info *channel);
void duration_cell(table *t, uint64_t sum_us, uint64_t count);
/* The members hit_rate_percent and average_response_ms, null when there was none. */
void channel_rate_members(text *t, int *first, const larder_channel_info *channel);

#endif
