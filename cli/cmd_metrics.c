/* cli/cmd_metrics.c: larder metrics: what was asked and answered, per channel and in all. */
#include "commands.h"
#include "entry.h"

#include <string.h>

static const table_column columns[] = {
    {"CHANNEL", 0, 12, STYLE_PLAIN},     {"REQUESTS", 1, 0, STYLE_PLAIN},     {"ERRORS", 1, 0, STYLE_PLAIN},
    {"HITS", 1, 0, STYLE_PLAIN},         {"MISSES", 1, 0, STYLE_PLAIN},       {"HIT RATE", 1, 0, STYLE_PLAIN},
    {"AVG RESPONSE", 1, 0, STYLE_PLAIN}, {"MAX RESPONSE", 1, 0, STYLE_PLAIN}, {"RUNS", 1, 0, STYLE_PLAIN},
    {"AVG RUN", 1, 0, STYLE_PLAIN},
};

typedef struct metrics {
    output *out;
    table table;
    larder_channel_info total;
    int json;
    int first;
} metrics;

static void row(table *t, const larder_channel_info *channel)
{
    table_cell(t, channel->channel, strlen(channel->channel));
    table_number(t, channel->requests);
    table_number(t, channel->errors);
    table_number(t, channel_hits(channel));
    table_number(t, channel->misses);
    channel_hit_rate_cell(t, channel);
    channel_response_cell(t, channel);
    duration_cell(t, channel->max_response_time_us, channel->responses + channel->errors > 0);
    table_number(t, channel->handler_runs);
    duration_cell(t, channel->handler_time_us, channel->handler_runs);
}

static void members(text *t, int *first, const larder_channel_info *channel)
{
    json_member_number(t, first, "requests", channel->requests);
    json_member_number(t, first, "responses", channel->responses);
    json_member_number(t, first, "errors", channel->errors);
    json_member_number(t, first, "memory_hits", channel->memory_hits);
    json_member_number(t, first, "disk_hits", channel->disk_hits);
    json_member_number(t, first, "misses", channel->misses);
    channel_rate_members(t, first, channel);
    json_member_ratio(t, first, "max_response_ms", (double)channel->max_response_time_us / 1000,
                      channel->responses + channel->errors > 0);
    json_member_number(t, first, "handler_runs", channel->handler_runs);
    json_member_ratio(t, first, "average_handler_ms", (double)channel->handler_time_us / 1000,
                      (double)channel->handler_runs);
}

static int each(const larder_channel_info *channel, void *user_data)
{
    metrics *m = user_data;
    text *t = &m->out->pending;
    int first = 1;
    channel_add(&m->total, channel);
    if (!m->json) {
        row(&m->table, channel);
        return output_broken(m->out);
    }
    text_add(t, m->first ? "\n{" : ",\n{");
    m->first = 0;
    json_member_string(t, &first, "channel", channel->channel);
    members(t, &first, channel);
    text_add(t, "}");
    return output_broken(m->out);
}

static void finish(metrics *m)
{
    text *t = &m->out->pending;
    int first = 1;
    m->total.channel = "total";
    if (!m->json) {
        row(&m->table, &m->total);
        table_finish(&m->table);
        return;
    }
    text_add(t, "],\n\"total\":{");
    members(t, &first, &m->total);
    text_add(t, "}}\n");
}

static int run(const cli_args *args, output *out)
{
    larder_inspect *in;
    larder_error error = {0};
    metrics m = {.out = out, .json = args_has(args, BIT(JSON)), .first = 1};
    int code = args_open(args, LARDER_INSPECT_READ, &in);
    if (code != EXIT_DONE) {
        return code;
    }
    table_init(&m.table, out, columns, sizeof columns / sizeof columns[0]);
    text_add(&out->pending, m.json ? "{\"channels\":[" : "");
    int status = larder_inspect_channels(in, each, &m, &error);
    if (status == LARDER_OK) {
        finish(&m);
    }
    larder_inspect_close(in);
    table_release(&m.table);
    return status < 0 ? output_failure(status, &error) : EXIT_DONE;
}

const cli_command cmd_metrics = {
    .name = "metrics",
    .options = OPTIONS_FILE,
    .summary = "requests, errors, hits and times, per channel and in all",
    .about = "For every channel, and in all: requests, errors, hits (memory and disk),\n"
             "misses, the share of hits, the average and the longest time from request to\n"
             "response, how often the handler ran, and how long it took. The numbers are\n"
             "those of all programs since the file was made; a running program adds its own\n"
             "about once a second. \"(unknown)\" is where requests to channels without a\n"
             "handler are counted.\n"
             "\n"
             "With --json: {\"channels\": [...], \"total\": {...}}, times in milliseconds.\n",
    .examples = "  larder metrics\n"
                "  larder metrics --json | jq .total.hit_rate_percent\n"
                "  sqlite3 cache.db 'SELECT * FROM channel_stats'\n",
    .run = run,
};
