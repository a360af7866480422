/* cli/cmd_cache_list.c: larder cache list. Each entry is written as it is read: a cache of any size takes little
 * memory. */
#include "commands.h"
#include "entry.h"

#include <string.h>

enum { KEY_SHOWN = 12 };

static const table_column columns[] = {
    {"KEY", 0, 0, STYLE_WARN},  {"CHANNEL", 0, 12, STYLE_PLAIN}, {"SIZE", 1, 0, STYLE_PLAIN},
    {"AGE", 1, 0, STYLE_PLAIN}, {"HITS", 1, 0, STYLE_PLAIN},     {"EXPIRES IN", 1, 0, STYLE_PLAIN},
    {"ARGS", 0, 16, STYLE_DIM},
};

typedef struct listing {
    output *out;
    table table;
    int64_t now;
    uint64_t count;
} listing;

static void span_cell(table *t, int64_t ms)
{
    text words = {0};
    text_span(&words, ms);
    table_add(t, text_string(&words));
    text_release(&words);
}

static void size_cell(table *t, uint64_t bytes)
{
    text words = {0};
    text_size(&words, bytes);
    table_add(t, text_string(&words));
    text_release(&words);
}

/* The arguments, after "@scope" if there is one. No JSON begins with @. */
static void args_cell(table *t, const larder_entry_info *entry)
{
    text words = {0};
    if (entry->scope == NULL) {
        table_cell(t, entry->args, entry->args_len);
        return;
    }
    text_format(&words, "@%s ", entry->scope);
    text_append(&words, entry->args, entry->args_len);
    table_cell(t, text_string(&words), words.len);
    text_release(&words);
}

static int each_row(const larder_entry_info *entry, void *user_data)
{
    listing *list = user_data;
    table_cell(&list->table, entry->key, KEY_SHOWN);
    table_cell(&list->table, entry->channel, strlen(entry->channel));
    size_cell(&list->table, entry->size);
    span_cell(&list->table, list->now - entry->created_ms);
    table_number(&list->table, entry->hits);
    if (entry->expired) {
        table_add(&list->table, "expired");
    } else {
        span_cell(&list->table, entry->expires_ms - list->now);
    }
    args_cell(&list->table, entry);
    list->count++;
    return output_broken(list->out);
}

static int each_object(const larder_entry_info *entry, void *user_data)
{
    listing *list = user_data;
    text *t = &list->out->pending;
    int first = 1;
    text_add(t, list->count++ == 0 ? "[\n{" : ",\n{");
    entry_members(t, &first, entry);
    text_add(t, "}");
    return output_broken(list->out);
}

static int run(const cli_args *args, output *out)
{
    larder_inspect *in;
    larder_error error = {0};
    listing list = {.out = out, .now = now_ms()};
    int json = args_has(args, BIT(JSON));
    int code = args_open(args, LARDER_INSPECT_READ, &in);
    if (code != EXIT_DONE) {
        return code;
    }
    table_init(&list.table, out, columns, sizeof columns / sizeof columns[0]);
    int status = larder_inspect_entries(in, &args->filter, json ? each_object : each_row, &list, &error);
    larder_inspect_close(in);
    table_finish(&list.table);
    table_release(&list.table);
    if (status < 0) {
        return output_failure(status, &error);
    }
    if (json) {
        text_add(&out->pending, list.count == 0 ? "[]\n" : "\n]\n");
    } else if (list.count == 0 && out->terminal) {
        output_error("no entries: nothing is cached that the filters let pass; --expired shows old ones too");
    }
    return EXIT_DONE;
}

const cli_command cmd_cache_list = {
    .name = "cache list",
    .options = OPTIONS_FILE | BIT(CHANNEL) | BIT(KEY) | BIT(EXPIRED) | BIT(LIMIT),
    .summary = "list what is cached, newest first",
    .about = "Lists the cached answers that can still be served, newest first: the first\n"
             "digits of the key, the channel, the size of the answer, its age, how often it\n"
             "was used, how long it still holds, and the arguments of the request, after @\n"
             "and the scope where there is one.\n"
             "\n"
             "On a terminal, channels and arguments are shortened to fit its width; elsewhere\n"
             "they are whole. With --json: one array of objects, one on each line, with the\n"
             "names and units of the columns of the table \"entries\" (times in milliseconds\n"
             "since 1970, UTC).\n",
    .examples = "  larder cache list --channel db:search --limit 20\n"
                "  larder cache list --json | jq -r '.[] | select(.size > 100000) | .key'\n",
    .run = run,
};
