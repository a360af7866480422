/* cli/table.c: cells wait until the widths are known, then each row is written as soon as it is complete. */
#include "table.h"

#include <string.h>

enum { ROWS_MEASURED = 256, GAP = 2 };
#define BYTES_MEASURED (1u << 20)

void table_init(table *t, output *out, const table_column *columns, size_t count)
{
    memset(t, 0, sizeof *t);
    t->out = out;
    t->columns = columns;
    t->count = count;
}

void table_release(table *t)
{
    text_release(&t->cells);
}

/* ---- fitting ---- */

static size_t row_width(const table *t)
{
    size_t sum = GAP * (t->count - 1);
    for (size_t i = 0; i < t->count; i++) {
        sum += t->widths[i];
    }
    return sum;
}

/* Takes columns from the widest that may shrink, one at a time, until a row fits or none may. A last one that may
 * shrink gets what is left over, for rows still to come. */
static void fit_terminal(table *t)
{
    size_t last = t->count - 1;
    size_t width = row_width(t);
    if (t->columns[last].shrinks > 0 && width < t->out->columns) {
        t->widths[last] += t->out->columns - width;
        return;
    }
    for (; width > t->out->columns; width--) {
        size_t widest = t->count;
        for (size_t i = 0; i < t->count; i++) {
            size_t least = t->columns[i].shrinks;
            if (least > 0 && t->widths[i] > least && (widest == t->count || t->widths[i] > t->widths[widest])) {
                widest = i;
            }
        }
        if (widest == t->count) {
            return;
        }
        t->widths[widest]--;
    }
}

static void measure(table *t)
{
    for (size_t i = 0; i < t->count; i++) {
        t->widths[i] = strlen(t->columns[i].title);
    }
    const char *cell = text_string(&t->cells);
    for (size_t i = 0; i < t->waiting; i++) {
        size_t len = strlen(cell);
        size_t width = text_width(cell, len);
        if (width > t->widths[i % t->count]) {
            t->widths[i % t->count] = width;
        }
        cell += len + 1;
    }
    if (t->out->terminal) {
        fit_terminal(t);
    }
    t->measured = 1;
}

/* ---- writing ---- */

static void pad(text *to, size_t columns)
{
    for (size_t i = 0; i < columns; i++) {
        text_append(to, " ", 1);
    }
}

static void write_cell(table *t, size_t column, const char *cell, output_style style)
{
    const table_column *c = &t->columns[column];
    const char *ellipsis = "";
    size_t len = strlen(cell);
    size_t width = text_width(cell, len);
    if (t->out->terminal && c->shrinks > 0 && width > t->widths[column]) {
        size_t dots = t->out->ascii ? 3 : 1;
        ellipsis = t->out->ascii ? "..." : "\xe2\x80\xa6";
        len = text_fit(cell, len, t->widths[column] - dots, &width);
        width += dots;
    }
    size_t padding = width < t->widths[column] ? t->widths[column] - width : 0;
    pad(&t->out->pending, c->right ? padding : 0);
    output_style_on(t->out, style);
    text_append(&t->out->pending, cell, len);
    text_add(&t->out->pending, ellipsis);
    output_style_off(t->out, style);
    if (column + 1 < t->count) {
        pad(&t->out->pending, (c->right ? 0 : padding) + GAP);
    } else {
        text_add(&t->out->pending, "\n");
    }
}

static void write_waiting(table *t)
{
    const char *cell = text_string(&t->cells);
    if (!t->measured) {
        measure(t);
        for (size_t i = 0; i < t->count; i++) {
            write_cell(t, i, t->columns[i].title, STYLE_BOLD);
        }
    }
    for (size_t i = 0; i < t->waiting; i++) {
        write_cell(t, i % t->count, cell, t->columns[i % t->count].style);
        cell += strlen(cell) + 1;
    }
    t->out->pending.failed |= t->cells.failed;
    t->waiting = 0;
    text_clear(&t->cells);
}

/* ---- cells ---- */

static void cell_added(table *t)
{
    text_append(&t->cells, "", 1);
    if (t->cells.failed) { /* written as out of memory, by output_broken */
        t->out->pending.failed = 1;
        t->waiting = 0;
        text_clear(&t->cells);
        return;
    }
    t->waiting++;
    t->next++;
    if (t->next == t->count) {
        t->next = 0;
        t->rows++;
        if (t->measured || t->rows == ROWS_MEASURED || t->cells.len > BYTES_MEASURED) {
            write_waiting(t);
        }
    }
}

void table_cell(table *t, const char *bytes, size_t len)
{
    if (t->out->terminal && t->columns[t->next].shrinks > 0) {
        /* What cannot be on the screen need not be kept. A column takes at most four bytes a character, and joined
         * characters some more. */
        size_t most = 16 * t->out->columns;
        len = len < most ? len : most;
    }
    text_escape(&t->cells, bytes, len, TEXT_LINE, t->out->ascii);
    cell_added(t);
}

void table_add(table *t, const char *string)
{
    text_add(&t->cells, string);
    cell_added(t);
}

void table_number(table *t, uint64_t number)
{
    text_format(&t->cells, "%llu", (unsigned long long)number);
    cell_added(t);
}

void table_finish(table *t)
{
    if (t->rows > 0) {
        write_waiting(t);
    }
}
