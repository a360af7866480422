/* cli/output.h: standard output, as a terminal or a pipe, and standard error.
 *
 * Everything is gathered in `pending` and written in large pieces; output_broken, asked between rows, keeps memory
 * flat and says when there is no use in going on. A closed pipe is a reader that has seen enough, no failure. */
#ifndef LARDER_CLI_OUTPUT_H
#define LARDER_CLI_OUTPUT_H

#include "text.h"

#include <larder/larder.h>

enum { EXIT_DONE = 0, EXIT_FAILED = 1, EXIT_USAGE = 2 };

typedef struct output {
    text pending;
    int terminal;   /* standard output is one */
    int colour;     /* escape sequences for bold and colours may be written */
    int ascii;      /* the terminal's character set is not UTF-8 */
    size_t columns; /* the terminal's width; 0 when it is none */
    int error;      /* errno of the write that failed, or 0 */
} output;

typedef enum output_style { STYLE_PLAIN, STYLE_BOLD, STYLE_DIM, STYLE_WARN } output_style;

/* Makes descriptors 0 to 2 valid, so that no file that is opened later takes the place of a closed standard output. */
void output_secure_descriptors(void);
/* Colours: a terminal that can (TERM is set and not "dumb"), unless `no_colour` or NO_COLOR is not empty. The width is
 * COLUMNS, else what the terminal says, else 80. */
void output_init(output *out, int no_colour);
/* 0 as long as more can be written; writes what is pending when it is much. */
int output_broken(output *out);
/* Writes the rest. EXIT_DONE, also when the reader has gone; EXIT_FAILED after saying why. */
int output_close(output *out);

void output_style_on(output *out, output_style style);
void output_style_off(output *out, output_style style);

/* "larder: " and the words, with what could act on a terminal escaped, as one line on standard error. */
void output_error(const char *format, ...) __attribute__((format(printf, 1, 2)));
/* The error of a call into the library: its message, else its status. Returns EXIT_FAILED. */
int output_failure(int status, const larder_error *error);

#endif
