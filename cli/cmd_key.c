/* cli/cmd_key.c: larder key: the cache key of a request, for cache show and cache clear, and for other programs. */
#include "commands.h"
#include "json.h"

#include <errno.h>
#include <string.h>
#include <unistd.h>

/* EXIT_DONE, or EXIT_FAILED after saying why. */
static int read_standard_input(text *t)
{
    char piece[65536];
    for (;;) {
        ssize_t n = read(STDIN_FILENO, piece, sizeof piece);
        if (n == 0) {
            break;
        }
        if (n < 0 && errno != EINTR) {
            output_error("standard input: cannot read: %s", strerror(errno));
            return EXIT_FAILED;
        }
        text_append(t, piece, n > 0 ? (size_t)n : 0);
    }
    if (t->failed) {
        output_error("standard input: out of memory");
        return EXIT_FAILED;
    }
    return EXIT_DONE;
}

static void print(const cli_args *args, const char *hex, const text *json, output *out)
{
    text *t = &out->pending;
    int first = 1;
    if (!args_has(args, BIT(JSON))) {
        text_format(t, "%s\n", hex);
        return;
    }
    text_add(t, "{");
    json_member_string(t, &first, "key", hex);
    json_member_string(t, &first, "channel", args->operands[0]);
    json_member_string(t, &first, "scope", args->values[OPTION_SCOPE]);
    json_name(t, &first, "args");
    json_value(t, text_string(json), json->len);
    text_add(t, "}\n");
}

static int run(const cli_args *args, output *out)
{
    text json = {0};
    larder_error error = {0};
    uint8_t key[LARDER_KEY_SIZE];
    char hex[LARDER_KEY_HEX_SIZE];
    const char *channel = args->operands[0];
    int code = EXIT_DONE;
    if (strcmp(args->operands[1], "-") == 0) {
        code = read_standard_input(&json);
    } else {
        text_add(&json, args->operands[1]);
    }
    if (code == EXIT_DONE) {
        int status =
            larder_key(key, channel, strlen(channel), text_string(&json), json.len, args->values[OPTION_SCOPE], &error);
        if (status == LARDER_OK) {
            larder_key_hex(hex, key);
            print(args, hex, &json, out);
        } else {
            code = output_failure(status, &error);
        }
    }
    text_release(&json);
    return code;
}

const cli_command cmd_key = {
    .name = "key",
    .operands = "CHANNEL ARGS",
    .operand_count = 2,
    .options = OPTIONS_ALWAYS | BIT(SCOPE) | BIT(JSON),
    .summary = "print the cache key of a request",
    .about = "Prints the key under which the answer to a request is cached, 64 hexadecimal\n"
             "digits. ARGS is the request's arguments, any JSON value (null where there are\n"
             "none); - reads it from standard input. How it is written does not matter: white\n"
             "space, the order of members, and 100, 1e2 or 100.0 all give one key.\n"
             "\n"
             "The key is the SHA-256 of the channel, a NUL byte and the arguments in\n"
             "canonical form; with a scope, of a NUL byte and the scope after that.\n",
    .examples = "  larder key db:search '[\"VSAM error\"]'\n"
                "  larder key user:settings null --scope alice\n"
                "  printf '%s\\0%s' db:search '[\"VSAM error\"]' | sha256sum    # the same\n"
                "  larder key math:add -- -5    # an argument that begins with -\n",
    .run = run,
};
