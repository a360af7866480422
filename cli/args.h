/* cli/args.h: what a command line says. Options may stand anywhere, before or after the command's words; "--" ends
 * them. */
#ifndef LARDER_CLI_ARGS_H
#define LARDER_CLI_ARGS_H

#include "output.h"

#include <larder/inspect.h>

/* name, letter (0 none), name of its value (NULL none), what help says. One list gives the enum, the table for
 * getopt_long, and the help. */
#define CLI_OPTION_MAP(X)                                                                                              \
    X(DB, "db", 0, "FILE", "the cache to look into (see FILES)")                                                       \
    X(CHANNEL, "channel", 0, "NAME", "only entries of this channel")                                                   \
    X(KEY, "key", 0, "PREFIX", "only keys that begin with these hexadecimal digits")                                   \
    X(EXPIRED, "expired", 0, NULL, "also entries that have expired and are still in the file")                         \
    X(LIMIT, "limit", 0, "N", "at most N entries")                                                                     \
    X(ALL, "all", 0, NULL, "every entry of every channel")                                                             \
    X(RAW, "raw", 0, NULL, "the bytes of the value and nothing else")                                                  \
    X(SCOPE, "scope", 0, "SCOPE", "the scope the request is sent with: a user, a tenant")                              \
    X(JSON, "json", 0, NULL, "print JSON")                                                                             \
    X(NO_COLOR, "no-color", 0, NULL, "no bold and no colours (as NO_COLOR in the environment)")                        \
    X(HELP, "help", 'h', NULL, "print this help")                                                                      \
    X(VERSION, "version", 'V', NULL, "print the version")

enum {
#define CLI_OPTION_ENUM(id, name, letter, value, help) OPTION_##id,
    CLI_OPTION_MAP(CLI_OPTION_ENUM)
#undef CLI_OPTION_ENUM
        OPTION_COUNT
};
#define BIT(option) (1u << OPTION_##option)
#define OPTIONS_ALWAYS (BIT(NO_COLOR) | BIT(HELP))
#define OPTIONS_FILE (OPTIONS_ALWAYS | BIT(DB) | BIT(JSON)) /* of commands that open a file */

enum { OPERANDS_MAX = 8 };

typedef struct cli_args {
    unsigned given;                     /* bits of the options that were */
    const char *values[OPTION_COUNT];   /* of those that have one; the last, if repeated. Borrowed from argv */
    const char *operands[OPERANDS_MAX]; /* the command's own, without its name */
    int operand_count;
    const char *unknown;  /* the first thing that looked like an option and was none, or had a wrong value; NULL */
    const char *problem;  /* what is wrong with it */
    larder_filter filter; /* made of channel, key, expired and limit */
} cli_args;

typedef struct cli_command {
    const char *name;                              /* "cache list", "metrics" */
    const char *operands;                          /* "CHANNEL ARGS", or "" */
    int operand_count;                             /* exactly so many */
    unsigned options;                              /* bits of those it takes */
    const char *summary;                           /* a few words */
    const char *about;                             /* paragraphs, ended by a new line */
    const char *examples;                          /* lines, each indented by two */
    int (*run)(const cli_args *args, output *out); /* an exit code; errors are reported */
} cli_command;

/* Reads argv. Never fails: what is wrong is kept in `unknown` and `problem`, until the command is known. */
void args_parse(cli_args *args, int argc, char **argv);
/* Takes the first `count` operands away. */
void args_shift(cli_args *args, int count);
/* Reports what is wrong for this command, and fills in the filter. EXIT_DONE or EXIT_USAGE. */
int args_check(cli_args *args, const cli_command *command);

static inline int args_has(const cli_args *args, unsigned bits)
{
    return (args->given & bits) != 0;
}

/* 1: one to 64 hexadecimal digits. */
int args_key_prefix(const char *digits);

/* Appends the options in `options`, as help shows them. */
void args_describe(text *t, unsigned options);

/* The nearest of `names` to a word, or NULL when none is near. */
const char *args_nearest(const char *word, const char *const *names, size_t count);

/* The file: --db, else LARDER_DB, else larder/cache.db in the user's state folder (XDG Base Directory Specification
 * 0.8). EXIT_DONE, or EXIT_FAILED after saying why. `path` is the caller's to release in both cases. */
int args_path(const cli_args *args, text *path);
/* Opens it. EXIT_DONE, or EXIT_FAILED after saying why; *in is NULL then. */
int args_open(const cli_args *args, larder_inspect_mode mode, larder_inspect **in);

#endif
