/* cli/cmd_cache_stats.c: larder cache stats: per channel what is cached and how well it serves, and the file's size. */
#include "commands.h"
#include "entry.h"

#include <string.h>

static const table_column columns[] = {
    {"CHANNEL", 0, 12, STYLE_PLAIN}, {"ENTRIES", 1, 0, STYLE_PLAIN},     {"SIZE", 1, 0, STYLE_PLAIN},
    {"EXPIRED", 1, 0, STYLE_PLAIN},  {"MEMORY HITS", 1, 0, STYLE_PLAIN}, {"DISK HITS", 1, 0, STYLE_PLAIN},
    {"MISSES", 1, 0, STYLE_PLAIN},   {"HIT RATE", 1, 0, STYLE_PLAIN},    {"AVG RESPONSE", 1, 0, STYLE_PLAIN},
};

typedef struct stats {
    output *out;
    table table;
    larder_channel_info total;
    int json;
    int first;
} stats;

static void row(table *t, const larder_channel_info *channel)
{
    text size = {0};
    text_size(&size, channel->bytes);
    table_cell(t, channel->channel, strlen(channel->channel));
    table_number(t, channel->entries);
    table_add(t, text_string(&size));
    table_number(t, channel->expired);
    table_number(t, channel->memory_hits);
    table_number(t, channel->disk_hits);
    table_number(t, channel->misses);
    channel_hit_rate_cell(t, channel);
    channel_response_cell(t, channel);
    text_release(&size);
}

static void members(text *t, int *first, const larder_channel_info *channel)
{
    json_member_number(t, first, "entries", channel->entries);
    json_member_number(t, first, "bytes", channel->bytes);
    json_member_number(t, first, "expired", channel->expired);
    json_member_number(t, first, "memory_hits", channel->memory_hits);
    json_member_number(t, first, "disk_hits", channel->disk_hits);
    json_member_number(t, first, "misses", channel->misses);
    channel_rate_members(t, first, channel);
}

static int each(const larder_channel_info *channel, void *user_data)
{
    stats *s = user_data;
    text *t = &s->out->pending;
    int first = 1;
    channel_add(&s->total, channel);
    if (!s->json) {
        row(&s->table, channel);
        return output_broken(s->out);
    }
    text_add(t, s->first ? "\n{" : ",\n{");
    s->first = 0;
    json_member_string(t, &first, "channel", channel->channel);
    members(t, &first, channel);
    text_add(t, "}");
    return output_broken(s->out);
}

static void file_line(text *t, const larder_file_info *file, const char *path)
{
    text_add(t, "\nFile  ");
    text_size(t, file->file_bytes);
    text_add(t, ", of which ");
    text_size(t, file->free_bytes);
    text_add(t, " free, made ");
    text_time(t, file->created_ms);
    text_add(t, "\n      ");
    text_escape(t, path, strlen(path), TEXT_LINE, 0);
    text_add(t, "\n");
}

static void file_object(text *t, const larder_file_info *file, const char *path)
{
    int first = 1;
    text_add(t, "{");
    json_member_string(t, &first, "path", path);
    json_member_number(t, &first, "bytes", file->file_bytes);
    json_member_number(t, &first, "free_bytes", file->free_bytes);
    json_member_number(t, &first, "schema_version", file->schema_version);
    json_member_signed(t, &first, "created_ms", file->created_ms);
    text_add(t, "}");
}

static void finish(stats *s, const larder_file_info *file, const char *path)
{
    text *t = &s->out->pending;
    int first = 1;
    s->total.channel = "total";
    if (!s->json) {
        row(&s->table, &s->total);
        table_finish(&s->table);
        file_line(t, file, path);
        return;
    }
    text_add(t, "],\n\"total\":{");
    members(t, &first, &s->total);
    text_add(t, "},\n\"file\":");
    file_object(t, file, path);
    text_add(t, "}\n");
}

static int run(const cli_args *args, output *out)
{
    larder_inspect *in;
    larder_error error = {0};
    larder_file_info file = {0};
    text path = {0};
    stats s = {.out = out, .json = args_has(args, BIT(JSON)), .first = 1};
    int code = args_open(args, LARDER_INSPECT_READ, &in);
    if (code != EXIT_DONE) {
        return code;
    }
    table_init(&s.table, out, columns, sizeof columns / sizeof columns[0]);
    text_add(&out->pending, s.json ? "{\"channels\":[" : "");
    int status = larder_inspect_file(in, &file, &error);
    if (status == LARDER_OK) {
        status = larder_inspect_channels(in, each, &s, &error);
    }
    if (status == LARDER_OK && args_path(args, &path) == EXIT_DONE) {
        finish(&s, &file, text_string(&path));
    }
    larder_inspect_close(in);
    table_release(&s.table);
    text_release(&path);
    return status < 0 ? output_failure(status, &error) : EXIT_DONE;
}

const cli_command cmd_cache_stats = {
    .name = "cache stats",
    .options = OPTIONS_FILE,
    .summary = "how full and how useful the cache is, per channel",
    .about = "For every channel: entries that can be served and the size of their values,\n"
             "entries that have expired and are still in the file, hits in memory and on\n"
             "disk, misses, the share of hits, and the average time from request to response.\n"
             "Then the total, and the file with its free pages. Hits and misses are those of\n"
             "all programs since the file was made.\n"
             "\n"
             "With --json: {\"channels\": [...], \"total\": {...}, \"file\": {...}}.\n",
    .examples = "  larder cache stats\n"
                "  larder cache stats --json | jq '.channels | sort_by(-.bytes)[:5]'\n",
    .run = run,
};
