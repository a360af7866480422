/* cli/json.h: writing JSON. Values that are JSON already are copied token by token, so that numbers keep all their
 * digits; what could act on a terminal is written as \u escapes, which mean the same. */
#ifndef LARDER_CLI_JSON_H
#define LARDER_CLI_JSON_H

#include "text.h"

/* One valid value, by the library's own strict rules (larder_key's). */
int json_valid(const char *bytes, size_t len);
/* `bytes` must be valid. Laid out in lines, two spaces a level; `ascii`: other characters escaped too. */
void json_pretty(text *t, const char *bytes, size_t len, int ascii);
/* Without white space. `bytes` must be valid. */
void json_compact(text *t, const char *bytes, size_t len);
/* Quoted and escaped; bytes that are not UTF-8 become U+FFFD. */
void json_string(text *t, const char *bytes, size_t len);
/* The value itself if it is valid, else all of it as a string. */
void json_value(text *t, const char *bytes, size_t len);
/* Quoted base64 (RFC 4648, section 4). */
void json_base64(text *t, const void *bytes, size_t len);

/* A member's name; `first` is set to 0 after the first. */
void json_name(text *t, int *first, const char *name);
void json_member_string(text *t, int *first, const char *name, const char *string); /* NULL: null */
void json_member_number(text *t, int *first, const char *name, uint64_t number);
void json_member_signed(text *t, int *first, const char *name, int64_t number);
/* sum / count with three decimals, null when count is 0. */
void json_member_ratio(text *t, int *first, const char *name, double sum, double count);

#endif
