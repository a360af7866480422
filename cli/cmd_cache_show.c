/* cli/cmd_cache_show.c: larder cache show: one entry and its value.
 *
 * A person at a terminal gets JSON laid out in lines, text with its control characters escaped, bytes as a
 * hexadecimal dump; a pipe gets the value as it is. */
#include "commands.h"
#include "entry.h"

#include <ctype.h>
#include <stdio.h>
#include <string.h>

typedef struct showing {
    const cli_args *args;
    output *out;
} showing;

/* ---- the value ---- */

/* One line as hexdump -C has it. */
static void hex_line(text *t, size_t offset, const unsigned char *bytes, size_t len)
{
    char shown[17] = "";
    text_format(t, "%08zx ", offset);
    for (size_t i = 0; i < 16; i++) {
        text_add(t, i == 8 ? "  " : " ");
        if (i < len) {
            text_format(t, "%02x", bytes[i]);
            shown[i] = bytes[i] >= 0x20 && bytes[i] < 0x7f ? (char)bytes[i] : '.';
        } else {
            text_add(t, "  ");
        }
    }
    text_format(t, "  |%s|\n", shown);
}

static void hex_dump(output *out, const unsigned char *bytes, size_t len)
{
    for (size_t i = 0; i < len && !output_broken(out); i += 16) {
        hex_line(&out->pending, i, bytes + i, len - i < 16 ? len - i : 16);
    }
}

static void value_on_terminal(output *out, const larder_entry_info *entry)
{
    text *t = &out->pending;
    const char *value = entry->value;
    if (entry->content == LARDER_CONTENT_BYTES) {
        hex_dump(out, entry->value, entry->size);
        return;
    }
    if (entry->content == LARDER_CONTENT_JSON && json_valid(value, entry->size)) {
        json_pretty(t, value, entry->size, out->ascii);
    } else {
        text_escape(t, value, entry->size, TEXT_LINES, out->ascii);
    }
    if (t->len == 0 || t->data[t->len - 1] != '\n') {
        text_add(t, "\n");
    }
}

static void value_in_pipe(output *out, const larder_entry_info *entry)
{
    const char *value = entry->value;
    text_append(&out->pending, value, entry->size);
    if (entry->content != LARDER_CONTENT_BYTES && entry->size > 0 && value[entry->size - 1] != '\n') {
        text_add(&out->pending, "\n");
    }
}

/* ---- what is known of it ---- */

static void label(output *out, const char *name)
{
    output_style_on(out, STYLE_BOLD);
    text_format(&out->pending, "%-10s", name);
    output_style_off(out, STYLE_BOLD);
}

static void line(output *out, const char *name, const char *bytes, size_t len)
{
    label(out, name);
    text_escape(&out->pending, bytes, len, TEXT_LINE, out->ascii);
    text_add(&out->pending, "\n");
}

/* "2024-05-01 12:00:00 +0200 (3m ago)" */
static void time_line(output *out, const char *name, int64_t when, int64_t now, const char *past)
{
    text *t = &out->pending;
    label(out, name);
    text_time(t, when);
    text_add(t, when > now ? " (in " : " (");
    text_span(t, when > now ? when - now : now - when);
    text_format(t, "%s)\n", when > now ? "" : past);
}

static void describe(output *out, const larder_entry_info *entry)
{
    text *t = &out->pending;
    const char *type = larder_content_name(entry->content);
    int64_t now = now_ms();
    line(out, "Key", entry->key, strlen(entry->key));
    line(out, "Channel", entry->channel, strlen(entry->channel));
    if (entry->scope != NULL) {
        line(out, "Scope", entry->scope, strlen(entry->scope));
    }
    line(out, "Args", entry->args, entry->args_len);
    line(out, "Type", type, strlen(type));
    label(out, "Size");
    text_size(t, entry->size);
    text_format(t, entry->size < 1024 ? "\n" : " (%llu bytes)\n", (unsigned long long)entry->size);
    time_line(out, "Created", entry->created_ms, now, " ago");
    time_line(out, "Expires", entry->expires_ms, now, " ago, no longer served");
    if (entry->used_ms > 0) {
        time_line(out, "Last used", entry->used_ms, now, " ago");
    }
    label(out, "Hits");
    text_format(t, "%llu\n", (unsigned long long)entry->hits);
    label(out, "Cost");
    text_duration(t, (double)entry->cost_us);
    text_add(t, " to compute\n");
    label(out, "Handler");
    text_format(t, "version %u\n\n", (unsigned)entry->version);
}

static void object(output *out, const larder_entry_info *entry)
{
    text *t = &out->pending;
    int first = 1;
    text_add(t, "{");
    entry_members(t, &first, entry);
    json_name(t, &first, "value");
    if (entry->content == LARDER_CONTENT_JSON) {
        json_value(t, entry->value, entry->size);
    } else if (entry->content == LARDER_CONTENT_TEXT) {
        json_string(t, entry->value, entry->size);
    } else {
        json_base64(t, entry->value, entry->size);
    }
    text_add(t, "}\n");
}

/* ---- the command ---- */

static int each(const larder_entry_info *entry, void *user_data)
{
    showing *show = user_data;
    output *out = show->out;
    if (args_has(show->args, BIT(JSON))) {
        object(out, entry);
    } else if (args_has(show->args, BIT(RAW))) {
        text_append(&out->pending, entry->value, entry->size);
    } else {
        describe(out, entry);
        if (out->terminal) {
            value_on_terminal(out, entry);
        } else {
            value_in_pipe(out, entry);
        }
    }
    return 0;
}

static int run(const cli_args *args, output *out)
{
    larder_inspect *in;
    larder_error error = {0};
    showing show = {.args = args, .out = out};
    const char *prefix = args->operands[0];
    if (!args_key_prefix(prefix)) {
        output_error(
            "%s: not the beginning of a key, which is up to 64 hexadecimal digits; larder cache list shows keys",
            prefix);
        return EXIT_USAGE;
    }
    if (args_has(args, BIT(JSON)) && args_has(args, BIT(RAW))) {
        output_error("--json and --raw: they exclude one another; leave one out");
        return EXIT_USAGE;
    }
    int code = args_open(args, LARDER_INSPECT_READ, &in);
    if (code != EXIT_DONE) {
        return code;
    }
    int status = larder_inspect_entry(in, prefix, each, &show, &error);
    larder_inspect_close(in);
    if (status == LARDER_ENOTFOUND) {
        output_error("%s: no entry has a key that begins so; larder cache list shows what is there", prefix);
        return EXIT_FAILED;
    }
    if (status == LARDER_EINVAL) {
        output_error(
            "%s: several entries have keys that begin so; give more digits (larder cache list --expired --key %s)",
            prefix, prefix);
        return EXIT_FAILED;
    }
    return status < 0 ? output_failure(status, &error) : EXIT_DONE;
}

const cli_command cmd_cache_show = {
    .name = "cache show",
    .operands = "KEY",
    .operand_count = 1,
    .options = OPTIONS_FILE | BIT(RAW),
    .summary = "show one entry and its value",
    .about = "Shows everything that is known of one entry, and its value. KEY is the key or\n"
             "its first digits, as many as no other key begins with. An entry that has\n"
             "expired and is still in the file is shown too.\n"
             "\n"
             "On a terminal, JSON is laid out in lines, control characters in text are\n"
             "escaped, and bytes are a hexadecimal dump. In a pipe the value comes as it is;\n"
             "with --raw, it alone. With --json: one object; the value is JSON, a string for\n"
             "text, base64 in a string for bytes.\n",
    .examples = "  larder cache show 3fa9c2\n"
                "  larder cache show $(larder key db:search '[\"VSAM error\"]')\n"
                "  larder cache show --raw 3fa9c2 > answer.json\n",
    .run = run,
};
