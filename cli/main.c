/* cli/main.c: larder, the command: one table of commands, help, and what is common to all runs.
 *
 * Exit codes: 0 done; 1 failed, and standard error says why; 2 wrong usage. */
#include "commands.h"

#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static const cli_command *const commands[] = {
    &cmd_cache_list, &cmd_cache_show, &cmd_cache_clear, &cmd_cache_stats, &cmd_metrics, &cmd_key,
};
enum { COMMAND_COUNT = sizeof commands / sizeof commands[0] };

/* What `larder` and `larder cache` take before a command is named. */
static const cli_command root = {.name = "", .options = OPTIONS_FILE | BIT(VERSION), .operands = ""};
static const cli_command cache_group = {.name = "cache", .options = OPTIONS_FILE, .operands = ""};

static const char files[] = "  --db FILE, else the file that LARDER_DB names, else larder/cache.db in\n"
                            "  $XDG_STATE_HOME, which is ~/.local/state unless set. No command makes a file.\n"
                            "  A program that has it open is not disturbed. It can be read with sqlite3 too:\n"
                            "  sqlite3 FILE 'SELECT * FROM cache'\n";

/* ---- help ---- */

static void heading(output *out, const char *words)
{
    output_style_on(out, STYLE_BOLD);
    text_add(&out->pending, words);
    output_style_off(out, STYLE_BOLD);
    text_add(&out->pending, "\n");
}

static void help_files(output *out)
{
    heading(out, "FILES");
    text_add(&out->pending, files);
}

static void list_commands(output *out, const char *prefix)
{
    heading(out, "COMMANDS");
    for (size_t i = 0; i < COMMAND_COUNT; i++) {
        const cli_command *command = commands[i];
        char left[64];
        if (strncmp(command->name, prefix, strlen(prefix)) == 0) {
            snprintf(left, sizeof left, "%s %s", command->name, command->operands != NULL ? command->operands : "");
            text_format(&out->pending, "  %-18s  %s\n", left, command->summary);
        }
    }
}

static void help_root(output *out)
{
    text *t = &out->pending;
    text_add(t, "larder: look into a Larder cache, and clear it.\n\n");
    heading(out, "USAGE");
    text_add(t, "  larder COMMAND [OPTIONS]\n\n");
    list_commands(out, "");
    text_add(t, "  help [COMMAND]      this help, or a command's (as COMMAND --help)\n\n");
    heading(out, "OPTIONS");
    args_describe(t, root.options);
    text_add(t, "\n");
    heading(out, "EXAMPLES");
    text_add(t, "  larder cache list --channel db:search\n"
                "  larder cache show $(larder key db:search '[\"VSAM error\"]')\n"
                "  larder --db app.larder cache stats\n\n");
    help_files(out);
    text_add(t, "\n");
    heading(out, "EXIT CODES");
    text_add(t, "  0 done; 1 failed, and standard error says why; 2 wrong usage\n");
}

static void help_cache(output *out)
{
    text *t = &out->pending;
    text_add(t, "larder cache: what is cached, entry by entry and in numbers.\n\n");
    heading(out, "USAGE");
    text_add(t, "  larder cache COMMAND [OPTIONS]\n\n");
    list_commands(out, "cache ");
    text_add(t, "\n");
    heading(out, "OPTIONS");
    args_describe(t, cache_group.options);
    text_add(t, "\nlarder cache COMMAND --help says more.\n\n");
    help_files(out);
}

static void help_command(output *out, const cli_command *command)
{
    text *t = &out->pending;
    const char *operands = command->operands != NULL ? command->operands : "";
    text_format(t, "larder %s: %s.\n\n", command->name, command->summary);
    heading(out, "USAGE");
    text_format(t, "  larder %s%s%s [OPTIONS]\n\n", command->name, operands[0] != '\0' ? " " : "", operands);
    text_format(t, "%s\n", command->about);
    heading(out, "OPTIONS");
    args_describe(t, command->options);
    text_add(t, "\n");
    heading(out, "EXAMPLES");
    text_add(t, command->examples);
    if (command->options & BIT(DB)) {
        text_add(t, "\n");
        help_files(out);
    }
}

/* ---- which command ---- */

/* The command that the first operands name, taken out of them; NULL. */
static const cli_command *find_command(cli_args *args)
{
    for (size_t i = 0; i < COMMAND_COUNT; i++) {
        char words[64];
        int count = strchr(commands[i]->name, ' ') != NULL ? 2 : 1;
        if (args->operand_count < count) {
            continue;
        }
        snprintf(words, sizeof words, "%s%s%s", args->operands[0], count == 2 ? " " : "",
                 count == 2 ? args->operands[1] : "");
        if (strcmp(words, commands[i]->name) == 0) {
            args_shift(args, count);
            return commands[i];
        }
    }
    return NULL;
}

/* "chache list", "list" and "cache lst" are all near "cache list". */
static const char *nearest_command(const cli_args *args)
{
    const char *names[2 * COMMAND_COUNT + 1];
    size_t count = 0;
    char words[128];
    snprintf(words, sizeof words, "%s%s%s", args->operands[0], args->operand_count > 1 ? " " : "",
             args->operand_count > 1 ? args->operands[1] : "");
    for (size_t i = 0; i < COMMAND_COUNT; i++) {
        names[count++] = commands[i]->name;
    }
    const char *near = args_nearest(words, names, count);
    names[count++] = "cache";
    for (size_t i = 0; near == NULL && i < COMMAND_COUNT; i++) {
        const char *last = strrchr(commands[i]->name, ' ');
        if (text_distance(args->operands[0], last != NULL ? last + 1 : commands[i]->name) <= 1) {
            near = commands[i]->name;
        }
    }
    return near != NULL ? near : args_nearest(args->operands[0], names, count);
}

static int unknown_command(const cli_args *args)
{
    const char *first = args->operands[0];
    int in_cache = strcmp(first, "cache") == 0;
    const char *near = nearest_command(args);
    const char *group = in_cache ? "cache " : "";
    const char *name = in_cache ? args->operands[1] : first;
    if (near != NULL && strcmp(near, "cache") != 0) {
        output_error("%s%s: unknown command; did you mean larder %s?", group, name, near);
    } else {
        output_error("%s%s: unknown command; larder %s--help lists them", group, name, near != NULL ? "cache " : group);
    }
    return EXIT_USAGE;
}

/* ---- runs ---- */

static int is_group(const cli_args *args)
{
    return args->operand_count == 1 && strcmp(args->operands[0], "cache") == 0;
}

static int help(const cli_args *args, const cli_command *command, output *out)
{
    if (command != NULL) {
        help_command(out, command);
    } else if (is_group(args)) {
        help_cache(out);
    } else if (args->operand_count == 0) {
        help_root(out);
    } else {
        return unknown_command(args);
    }
    return EXIT_DONE;
}

/* No command, or `cache` alone: the version, or wrong usage. */
static int run_bare(cli_args *args, output *out)
{
    int group = is_group(args);
    if (group) {
        args_shift(args, 1);
    }
    int code = args_check(args, group ? &cache_group : &root);
    if (code != EXIT_DONE) {
        return code;
    }
    if (args_has(args, BIT(VERSION))) {
        text_format(&out->pending, "larder %s\n", larder_version());
        return EXIT_DONE;
    }
    output_error("%s; larder %s--help lists them",
                 group ? "cache: a command is missing after it" : "a command is missing", group ? "cache " : "");
    return EXIT_USAGE;
}

static int run(cli_args *args, output *out)
{
    if (args->operand_count > 0 && strcmp(args->operands[0], "help") == 0) {
        args_shift(args, 1);
        args->given |= BIT(HELP);
    }
    const cli_command *command = find_command(args);
    if (args_has(args, BIT(HELP))) {
        return help(args, command, out);
    }
    if (command == NULL && (args->operand_count == 0 || is_group(args))) {
        return run_bare(args, out);
    }
    if (command == NULL && args->unknown == NULL) {
        return unknown_command(args);
    }
    int code = args_check(args, command != NULL ? command : &root);
    return code == EXIT_DONE ? command->run(args, out) : code;
}

int main(int argc, char **argv)
{
    output out;
    cli_args args;
    output_secure_descriptors();
    signal(SIGPIPE, SIG_IGN); /* a closed pipe is an error of write, and quiet */
    args_parse(&args, argc, argv);
    output_init(&out, args_has(&args, BIT(NO_COLOR)));
    int code = run(&args, &out);
    int written = output_close(&out);
    return code != EXIT_DONE ? code : written;
}
