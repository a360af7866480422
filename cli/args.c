/* cli/args.c: the command line, through getopt_long; spelling help; where the cache is.
 *
 * All options of all commands are known to one table, so that --db may stand before the command. Whether the
 * command takes an option is looked at when the command is known. */
#include "args.h"

#include <ctype.h>
#include <errno.h>
#include <getopt.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { LONG_BASE = 1000 }; /* getopt_long returns LONG_BASE + option, so that letters cannot be mistaken for it */

static const struct {
    const char *name;
    int letter;
    const char *value;
    const char *help;
} table[OPTION_COUNT] = {
#define CLI_OPTION_ROW(id, name, letter, value, help) {name, letter, value, help},
    CLI_OPTION_MAP(CLI_OPTION_ROW)
#undef CLI_OPTION_ROW
};

/* ---- reading ---- */

static void remember_problem(cli_args *args, const char *word, const char *problem)
{
    if (args->unknown == NULL) {
        args->unknown = word;
        args->problem = problem;
    }
}

static void add_operand(cli_args *args, const char *operand)
{
    if (args->operand_count == OPERANDS_MAX) {
        remember_problem(args, operand, "one argument too many");
        return;
    }
    args->operands[args->operand_count++] = operand;
}

static void take_option(cli_args *args, int option, const char *value)
{
    args->given |= 1u << option;
    args->values[option] = value;
}

/* `word` is the element of argv that getopt_long was at. */
static void take(cli_args *args, int code, const char *word)
{
    if (code == 1) {
        add_operand(args, optarg);
    } else if (code == 'h') {
        take_option(args, OPTION_HELP, NULL);
    } else if (code == 'V') {
        take_option(args, OPTION_VERSION, NULL);
    } else if (code >= LONG_BASE) {
        take_option(args, code - LONG_BASE, optarg);
    } else if (code == ':') {
        remember_problem(args, word, "a value is missing after it");
    } else if (optopt >= LONG_BASE) {
        remember_problem(args, word, "it takes no value");
    } else {
        remember_problem(args, word, "unknown option");
    }
}

void args_parse(cli_args *args, int argc, char **argv)
{
    struct option long_options[OPTION_COUNT + 1];
    memset(args, 0, sizeof *args);
    memset(long_options, 0, sizeof long_options);
    for (int i = 0; i < OPTION_COUNT; i++) {
        long_options[i].name = table[i].name;
        long_options[i].has_arg = table[i].value != NULL ? required_argument : no_argument;
        long_options[i].val = LONG_BASE + i;
    }
    /* "-": operands come in their order, as code 1, also where POSIXLY_CORRECT is set. ":": getopt_long says
     * nothing. */
    for (;;) {
        const char *word = optind < argc ? argv[optind] : "";
        int code = getopt_long(argc, argv, "-:hV", long_options, NULL);
        if (code < 0) {
            break;
        }
        take(args, code, word);
    }
    for (int i = optind; i < argc; i++) {
        add_operand(args, argv[i]);
    }
}

void args_shift(cli_args *args, int count)
{
    args->operand_count -= count;
    memmove(args->operands, args->operands + count, (size_t)args->operand_count * sizeof args->operands[0]);
}

/* ---- spelling ---- */

const char *args_nearest(const char *word, const char *const *names, size_t count)
{
    const char *nearest = NULL;
    unsigned least = 1 + (unsigned)strlen(word) / 3; /* so far off may it be: 1 in 2 letters, 3 in 6 */
    for (size_t i = 0; i < count; i++) {
        unsigned distance = text_distance(word, names[i]);
        if (distance < least || (distance == least && nearest == NULL)) {
            least = distance;
            nearest = names[i];
        }
    }
    return nearest;
}

/* Of the options that this command takes. `word` may be "--chanel=x". */
static const char *nearest_option(const char *word, unsigned options)
{
    const char *names[OPTION_COUNT];
    size_t count = 0;
    char name[64];
    snprintf(name, sizeof name, "%s", word + strspn(word, "-"));
    name[strcspn(name, "=")] = '\0';
    for (int i = 0; i < OPTION_COUNT; i++) {
        if (options & (1u << i)) {
            names[count++] = table[i].name;
        }
    }
    return args_nearest(name, names, count);
}

/* ---- checking ---- */

static int usage_error(const cli_command *command, const char *what, const char *why)
{
    output_error("%s: %s; see larder %s%s--help", what, why, command->name, command->name[0] != '\0' ? " " : "");
    return EXIT_USAGE;
}

static int problem_error(const cli_args *args, const cli_command *command)
{
    const char *word = args->unknown;
    const char *near = strcmp(args->problem, "unknown option") == 0 ? nearest_option(word, command->options) : NULL;
    if (near != NULL) {
        output_error("%s: %s; did you mean --%s?", word, args->problem, near);
        return EXIT_USAGE;
    }
    if (word[0] == '-' && isdigit((unsigned char)word[1])) {
        output_error("%s: %s; write -- before an argument that begins with -", word, args->problem);
        return EXIT_USAGE;
    }
    return usage_error(command, word, args->problem);
}

static int check_options(const cli_args *args, const cli_command *command)
{
    unsigned extra = args->given & ~command->options;
    for (int i = 0; i < OPTION_COUNT; i++) {
        if (extra & (1u << i)) {
            char option[32];
            char why[96];
            snprintf(option, sizeof option, "--%s", table[i].name);
            snprintf(why, sizeof why, "not an option of larder %s", command->name);
            return usage_error(command, option, why);
        }
        if (table[i].value != NULL && args->values[i] != NULL && args->values[i][0] == '\0') {
            char option[32];
            snprintf(option, sizeof option, "--%s", table[i].name);
            return usage_error(command, option, "its value is empty");
        }
    }
    return EXIT_DONE;
}

static int check_operands(const cli_args *args, const cli_command *command)
{
    if (args->operand_count > command->operand_count) {
        return usage_error(command, args->operands[command->operand_count], "one argument too many");
    }
    if (args->operand_count < command->operand_count) {
        char why[96];
        snprintf(why, sizeof why, "needs %s", command->operands);
        return usage_error(command, command->name, why);
    }
    return EXIT_DONE;
}

int args_key_prefix(const char *digits)
{
    size_t len = strspn(digits, "0123456789abcdefABCDEF");
    return digits[len] == '\0' && len > 0 && len < LARDER_KEY_HEX_SIZE;
}

static int fill_filter(cli_args *args, const cli_command *command)
{
    const char *limit = args->values[OPTION_LIMIT];
    larder_filter *filter = &args->filter;
    larder_filter_init(filter);
    filter->channel = args->values[OPTION_CHANNEL];
    filter->key_prefix = args->values[OPTION_KEY];
    filter->with_expired = args_has(args, BIT(EXPIRED));
    if (filter->key_prefix != NULL && !args_key_prefix(filter->key_prefix)) {
        return usage_error(command, filter->key_prefix,
                           "not the beginning of a key, which is up to 64 hexadecimal digits");
    }
    if (limit != NULL) {
        char *end;
        errno = 0;
        filter->limit = strtoull(limit, &end, 10);
        if (!isdigit((unsigned char)limit[0]) || *end != '\0' || errno != 0 || filter->limit == 0) {
            return usage_error(command, limit, "not a limit, which is a number from 1");
        }
    }
    return EXIT_DONE;
}

int args_check(cli_args *args, const cli_command *command)
{
    if (args->unknown != NULL) {
        return problem_error(args, command);
    }
    int code = check_options(args, command);
    if (code == EXIT_DONE) {
        code = check_operands(args, command);
    }
    return code == EXIT_DONE ? fill_filter(args, command) : code;
}

void args_describe(text *t, unsigned options)
{
    for (int i = 0; i < OPTION_COUNT; i++) {
        char left[64];
        if (!(options & (1u << i))) {
            continue;
        }
        int n = table[i].letter ? snprintf(left, sizeof left, "-%c, ", table[i].letter) : 0;
        snprintf(left + n, sizeof left - (size_t)n, "--%s%s%s", table[i].name, table[i].value != NULL ? " " : "",
                 table[i].value != NULL ? table[i].value : "");
        text_format(t, "  %-16s  %s\n", left, table[i].help);
    }
}

/* ---- the file ---- */

int args_path(const cli_args *args, text *path)
{
    const char *given = args->values[OPTION_DB] != NULL ? args->values[OPTION_DB] : getenv("LARDER_DB");
    const char *state = getenv("XDG_STATE_HOME");
    const char *home = getenv("HOME");
    if (given != NULL && given[0] != '\0') {
        text_add(path, given);
    } else if (state != NULL && state[0] == '/') { /* a relative one is invalid and ignored, says the specification */
        text_format(path, "%s/larder/cache.db", state);
    } else if (home != NULL && home[0] != '\0') {
        text_format(path, "%s/.local/state/larder/cache.db", home);
    } else {
        output_error("no cache: HOME is not set; name the file with --db or LARDER_DB");
        return EXIT_FAILED;
    }
    if (path->failed) {
        output_error("out of memory");
        return EXIT_FAILED;
    }
    return EXIT_DONE;
}

int args_open(const cli_args *args, larder_inspect_mode mode, larder_inspect **in)
{
    text path = {0};
    larder_error error = {0};
    *in = NULL;
    int code = args_path(args, &path);
    if (code == EXIT_DONE) {
        int status = larder_inspect_open(in, text_string(&path), mode, &error);
        if (status == LARDER_ENOTFOUND) {
            output_error("no cache at %s: nothing has been stored there yet (choose another with --db or LARDER_DB)",
                         text_string(&path));
            code = EXIT_FAILED;
        } else if (status != LARDER_OK) {
            code = output_failure(status, &error);
        }
    }
    text_release(&path);
    return code;
}
