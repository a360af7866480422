/* cli/table.h: rows in aligned columns, as they come.
 *
 * The widths are those of the first rows (up to 256, or 1 MiB of them), so that memory stays flat however long the
 * list is; a later cell that is wider is written whole. On a terminal, columns that may shrink are shortened with
 * an ellipsis until a row fits; elsewhere nothing is shortened. */
#ifndef LARDER_CLI_TABLE_H
#define LARDER_CLI_TABLE_H

#include "output.h"

#define TABLE_COLUMNS_MAX 12

typedef struct table_column {
    const char *title;
    int right;      /* numbers: aligned to the right */
    size_t shrinks; /* on a terminal, down to so many columns; 0: never */
    output_style style;
} table_column;

typedef struct table {
    output *out;                 /* borrowed */
    const table_column *columns; /* borrowed */
    size_t count;
    size_t widths[TABLE_COLUMNS_MAX];
    text cells;     /* of the rows that wait, each ended by a NUL */
    size_t waiting; /* how many cells those are */
    size_t rows;    /* that were added at all */
    size_t next;    /* the column of the next cell */
    int measured;
} table;

void table_init(table *t, output *out, const table_column *columns, size_t count);
void table_release(table *t);
/* The next cell of a row: bytes of others, escaped here. */
void table_cell(table *t, const char *bytes, size_t len);
/* The same, for words of our own. */
void table_add(table *t, const char *string);
void table_number(table *t, uint64_t number);
/* Writes what waits. With no rows nothing is written, not even the titles. */
void table_finish(table *t);

#endif
