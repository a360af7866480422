/* cli/cmd_cache_clear.c: larder cache clear. To clear everything has to be said, with --all or by answering a
 * question. */
#include "commands.h"
#include "entry.h"

#include <stdio.h>
#include <string.h>
#include <unistd.h>

static int count_entries(const larder_channel_info *channel, void *user_data)
{
    channel_add(user_data, channel);
    return 0;
}

/* EXIT_DONE: the answer was yes. */
static int ask(const cli_args *args)
{
    larder_inspect *in;
    larder_error error = {0};
    larder_channel_info total = {0};
    char answer[16] = "";
    int code = args_open(args, LARDER_INSPECT_READ, &in);
    if (code != EXIT_DONE) {
        return code;
    }
    int status = larder_inspect_channels(in, count_entries, &total, &error);
    larder_inspect_close(in);
    if (status < 0) {
        return output_failure(status, &error);
    }
    fprintf(stderr, "Clear all %llu entries? [y/N] ", (unsigned long long)total.entries);
    fflush(stderr);
    if (fgets(answer, sizeof answer, stdin) == NULL) {
        fputs("\n", stderr); /* the end of input leaves the cursor behind the question */
    }
    answer[strcspn(answer, "\r\n")] = '\0';
    if (strcasecmp(answer, "y") == 0 || strcasecmp(answer, "yes") == 0) {
        return EXIT_DONE;
    }
    fputs("Nothing was cleared.\n", stderr);
    return EXIT_FAILED;
}

/* EXIT_DONE: go on. */
static int permission(const cli_args *args)
{
    int filtered = args_has(args, BIT(CHANNEL) | BIT(KEY));
    if (filtered && args_has(args, BIT(ALL))) {
        output_error("--all with --channel or --key: they exclude one another; leave one out");
        return EXIT_USAGE;
    }
    if (filtered || args_has(args, BIT(ALL))) {
        return EXIT_DONE;
    }
    if (isatty(STDIN_FILENO) && isatty(STDERR_FILENO)) {
        return ask(args);
    }
    output_error("cache clear: nothing was named to clear; pass --channel, --key, or --all for everything");
    return EXIT_USAGE;
}

static int run(const cli_args *args, output *out)
{
    larder_inspect *in;
    larder_error error = {0};
    uint64_t removed = 0;
    int code = permission(args);
    if (code == EXIT_DONE) {
        code = args_open(args, LARDER_INSPECT_WRITE, &in);
    }
    if (code != EXIT_DONE) {
        return code;
    }
    int filtered = args_has(args, BIT(CHANNEL) | BIT(KEY));
    int status = larder_inspect_clear(in, filtered ? &args->filter : NULL, &removed, &error);
    larder_inspect_close(in);
    if (status < 0) {
        return output_failure(status, &error);
    }
    if (args_has(args, BIT(JSON))) {
        text_format(&out->pending, "{\"cleared\":%llu}\n", (unsigned long long)removed);
    } else {
        text_format(&out->pending, "Cleared %llu %s.\n", (unsigned long long)removed,
                    removed == 1 ? "entry" : "entries");
    }
    return EXIT_DONE;
}

const cli_command cmd_cache_clear = {
    .name = "cache clear",
    .options = OPTIONS_FILE | BIT(CHANNEL) | BIT(KEY) | BIT(ALL),
    .summary = "clear a channel, some keys, or everything",
    .about = "Clears cached answers and prints how many could be served before and cannot\n"
             "now. No request sent afterwards to a program that has the file open gets what\n"
             "was cleared, nor is what it was computing stored. Counters stay.\n"
             "\n"
             "Without --channel, --key or --all it asks first; where there is nobody to ask,\n"
             "it refuses.\n",
    .examples = "  larder cache clear --channel db:search\n"
                "  larder cache clear --key $(larder key db:search '[\"VSAM error\"]')\n"
                "  larder cache clear --all\n",
    .run = run,
};
