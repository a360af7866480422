/* cli/text.h: UTF-8 for people: growing text, what is safe to show, how wide it is, and sizes, ages and times in
 * words.
 *
 * What a cache holds was written by others. Everything that reaches a terminal as text passes text_escape, so that
 * a stored value cannot move the cursor, set a title or reorder a line. */
#ifndef LARDER_CLI_TEXT_H
#define LARDER_CLI_TEXT_H

#include <stddef.h>
#include <stdint.h>

/* Grows as needed; after a failed allocation `failed` is set and appends do nothing, so that one look at the end is
 * enough. */
typedef struct text {
    char *data; /* NUL-terminated; NULL while nothing was appended */
    size_t len;
    size_t capacity;
    int failed;
} text;

void text_release(text *t);
void text_clear(text *t);               /* to reuse: keeps the memory */
const char *text_string(const text *t); /* "" while nothing was appended; borrowed until the next append */
void text_append(text *t, const char *bytes, size_t len);
void text_add(text *t, const char *string);
void text_format(text *t, const char *format, ...) __attribute__((format(printf, 2, 3)));

/* Decodes one character: its length in bytes and *character; 0 when these bytes are not UTF-8 (RFC 3629). len > 0. */
size_t text_decode(const char *bytes, size_t len, uint32_t *character);

typedef enum text_mode {
    TEXT_LINE, /* for one line: new lines and tabs are escaped too */
    TEXT_LINES /* new lines and tabs stay */
} text_mode;

/* Appends `bytes` with control characters, what is invisible or changes the direction of writing, and invalid bytes as
 * escapes: \n \t \r, \u001b, surrogate pairs as JSON has them, \xff. `ascii`: everything that is not ASCII too. */
void text_escape(text *t, const char *bytes, size_t len, text_mode mode, int ascii);

/* Terminal columns of escaped text (East Asian wide characters are two, combining ones none). */
size_t text_width(const char *bytes, size_t len);
/* The longest beginning of `bytes` that fits `columns`; *width (may be NULL) is what it takes. */
size_t text_fit(const char *bytes, size_t len, size_t columns, size_t *width);

/* Appends "512 B", "1.2 KiB", "34 MiB". */
void text_size(text *t, uint64_t bytes);
/* Appends a span in one unit: "350ms", "12s", "5m", "3h", "4d", "5y". Negative spans are "0s". */
void text_span(text *t, int64_t ms);
/* Appends a measured time: "12 us", "1.23 ms", "4.5 s". */
void text_duration(text *t, double us);
/* Appends local time and its offset from UTC: "2024-05-01 12:00:00 +0200". */
void text_time(text *t, int64_t wall_ms);

/* How many insertions, deletions, replacements and swaps of neighbours turn one word into the other (Damerau and
 * Levenshtein, with adjacent transpositions); 99 for words beyond 63 bytes. */
unsigned text_distance(const char *a, const char *b);

#endif
