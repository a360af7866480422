/* cli/commands.h: the commands that main.c's table lists. A command is a file cmd_<name>.c with one of these. */
#ifndef LARDER_CLI_COMMANDS_H
#define LARDER_CLI_COMMANDS_H

#include "args.h"

extern const cli_command cmd_cache_list;
extern const cli_command cmd_cache_show;
extern const cli_command cmd_cache_clear;
extern const cli_command cmd_cache_stats;
extern const cli_command cmd_metrics;
extern const cli_command cmd_key;

#endif
