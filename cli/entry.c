/* cli/entry.c: entries and channels in cells and JSON. */
#include "entry.h"

#include <stdio.h>
#include <time.h>

int64_t now_ms(void)
{
    struct timespec now;
    clock_gettime(CLOCK_REALTIME, &now);
    return (int64_t)now.tv_sec * 1000 + now.tv_nsec / 1000000;
}

void entry_members(text *t, int *first, const larder_entry_info *entry)
{
    json_member_string(t, first, "key", entry->key);
    json_member_string(t, first, "channel", entry->channel);
    json_member_string(t, first, "scope", entry->scope);
    json_name(t, first, "args");
    json_value(t, entry->args, entry->args_len);
    json_member_number(t, first, "version", entry->version);
    json_member_string(t, first, "content_type", larder_content_name(entry->content));
    json_member_number(t, first, "size", entry->size);
    json_member_signed(t, first, "created_ms", entry->created_ms);
    json_member_signed(t, first, "expires_ms", entry->expires_ms);
    json_member_signed(t, first, "used_ms", entry->used_ms);
    json_member_number(t, first, "hits", entry->hits);
    json_member_number(t, first, "cost_us", entry->cost_us);
    json_name(t, first, "expired");
    text_add(t, entry->expired ? "true" : "false");
}

void channel_add(larder_channel_info *total, const larder_channel_info *channel)
{
    total->entries += channel->entries;
    total->bytes += channel->bytes;
    total->expired += channel->expired;
    total->requests += channel->requests;
    total->responses += channel->responses;
    total->errors += channel->errors;
    total->memory_hits += channel->memory_hits;
    total->disk_hits += channel->disk_hits;
    total->misses += channel->misses;
    total->handler_runs += channel->handler_runs;
    total->response_time_us += channel->response_time_us;
    total->handler_time_us += channel->handler_time_us;
    if (channel->max_response_time_us > total->max_response_time_us) {
        total->max_response_time_us = channel->max_response_time_us;
    }
}

uint64_t channel_hits(const larder_channel_info *channel)
{
    return channel->memory_hits + channel->disk_hits;
}

void channel_hit_rate_cell(table *t, const larder_channel_info *channel)
{
    uint64_t hits = channel_hits(channel);
    char words[32] = "-";
    if (hits + channel->misses > 0) {
        double rate = 100.0 * (double)hits / (double)(hits + channel->misses);
        /* 100 % is said only of what is. */
        snprintf(words, sizeof words, "%.1f %%", channel->misses > 0 && rate > 99.9 ? 99.9 : rate);
    }
    table_add(t, words);
}

void duration_cell(table *t, uint64_t sum_us, uint64_t count)
{
    text words = {0};
    if (count > 0) {
        text_duration(&words, (double)sum_us / (double)count);
    } else {
        text_add(&words, "-");
    }
    table_add(t, text_string(&words));
    text_release(&words);
}

void channel_response_cell(table *t, const larder_channel_info *channel)
{
    duration_cell(t, channel->response_time_us, channel->responses + channel->errors);
}

void channel_rate_members(text *t, int *first, const larder_channel_info *channel)
{
    double hits = (double)channel_hits(channel);
    double answered = (double)channel->responses + (double)channel->errors;
    json_member_ratio(t, first, "hit_rate_percent", 100 * hits, hits + (double)channel->misses);
    json_member_ratio(t, first, "average_response_ms", (double)channel->response_time_us / 1000, answered);
}
