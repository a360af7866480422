/* base/json_scan.h: one scan in progress, shared by the scanner's own files (json*.c) and nobody else.
 *
 * Between any two steps there is room in the output for all bytes that are left in the text and SLACK more, so that
 * nothing that writes has to ask: strings never grow, and a number grows by less than SLACK, after which the room is
 * made again. */
#ifndef LARDER_BASE_JSON_SCAN_H
#define LARDER_BASE_JSON_SCAN_H

#include "base/json.h"

#define LARDER__JSON_SLACK 64

typedef struct larder__json_frame {
    size_t first; /* index of its first member in json->members */
    int is_object;
    int unordered; /* 1: a member came before one that sorts lower */
} larder__json_frame;

typedef struct larder__json_scan {
    const char *p;   /* the next byte of the text */
    const char *end; /* after the text */
    char *w;         /* where the next byte of output goes; json->out.len is set from it at the end */
    larder__json *json;
    size_t members; /* how many of json->members are in use */
    size_t depth;
    unsigned escaped; /* 1: the last string has backslashes in the output */
    const char *text;
    size_t *offset;
    larder_error *error;
    larder__json_frame frames[LARDER__JSON_MAX_DEPTH];
} larder__json_scan;

/* LARDER_EJSON, with "<what> at byte 17 (line 2, column 5)". */
int larder__json_refuse(larder__json_scan *scan, const char *at, const char *format, ...)
    __attribute__((cold, format(printf, 3, 4)));
/* "expected <wanted>, found <the byte at `at`> at byte …" */
int larder__json_expected(larder__json_scan *scan, const char *at, const char *wanted) __attribute__((cold));
int larder__json_no_memory(larder__json_scan *scan) __attribute__((cold));

/* Each reads one token at scan->p, writes its canonical form, and moves both pointers. LARDER_OK or a status as
 * above. */
int larder__json_string(larder__json_scan *scan);
int larder__json_number(larder__json_scan *scan);

/* A member begins whose name, just written, starts at scan->w's `start` in the output and at `at` in the text. */
int larder__json_member_begin(larder__json_scan *scan, larder__json_frame *frame, size_t start, const char *at);
/* All members of an object are written: puts them in order, refuses duplicates, forgets them. */
int larder__json_members_end(larder__json_scan *scan, larder__json_frame *frame);

/* Makes room for what is left of the text and SLACK. */
int larder__json_make_room(larder__json_scan *scan);

#endif
