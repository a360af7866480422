/* base/json.h: the strict one-pass JSON scanner of the hot path.
 *
 * It accepts exactly one RFC 8259 value in valid UTF-8 with white space around it. Refused, with their byte offset:
 * anything else, invalid UTF-8 (RFC 3629: overlong forms, surrogates, beyond U+10FFFF), lone surrogates in \u escapes,
 * duplicate members (compared after unescaping), trailing bytes, arrays and objects nested deeper than 64, and
 * numbers, zero excepted, whose exponent in scientific form (p-1 below) is beyond ±10^15. No recursion; no allocation
 * but for the output buffer, the stack of members and, in objects whose members are out of order, the scratch; all are
 * kept in the scanner and reused.
 *
 * The canonical form has no white space; members sorted by the bytes of their unescaped names (= by code point);
 * strings with the shortest escapes (\" \\ \b \t \n \f \r, other controls as \u00xx in lower case, everything else raw
 * UTF-8); numbers as exact decimals that never pass through binary, in the layout of ECMAScript's Number::toString:
 * with D the digits without leading and trailing zeros, n of them, and the value D × 10^(p-n):
 *     0 for any zero, also -0;   n ≤ p ≤ 21: D and p-n zeros;   0 < p ≤ 21: a point after p digits;
 *     -6 < p ≤ 0: 0. and -p zeros and D;   else d.ddde±x (d e±x when n = 1), x = p-1 without leading zeros.
 */
#ifndef LARDER_BASE_JSON_H
#define LARDER_BASE_JSON_H

#include "base/buf.h"

#include <larder/status.h>

#define LARDER__JSON_MAX_DEPTH 64
#define LARDER__JSON_MAX_SIZE ((size_t)512 * 1024 * 1024) /* of a text; the output is at most 5.25 times as long */

typedef struct larder__json_member {
    uint64_t head;          /* the first eight bytes of the unescaped name, big-endian, padded with zeros */
    uint32_t start;         /* of this member's name in the output, its opening quote */
    uint32_t end;           /* after its value */
    uint32_t at;            /* of this member's name in the text, for messages */
    uint32_t name_len : 31; /* as in the output, with both quotes */
    uint32_t escaped : 1;   /* the name has backslashes in the output */
} larder__json_member;

/* One per thread; reused without allocating once its buffers have grown. */
typedef struct larder__json {
    larder__buf out;              /* the canonical form of the last scan, when asked for */
    larder__buf scratch;          /* for putting members in order */
    larder__json_member *members; /* stack: those of all open objects */
    size_t members_capacity;
} larder__json;

void larder__json_init(larder__json *json);
void larder__json_release(larder__json *json);

/* Scans and writes the canonical form to json->out (terminated; valid until the next call). LARDER_OK; LARDER_EJSON
 * with a sentence such as: duplicate member "a" at byte 17 (line 2, column 5); LARDER_ENOMEM; LARDER_ETOOBIG. *offset
 * (may be NULL) is set on LARDER_EJSON: where an escape is wrong its backslash, where UTF-8 is wrong the first byte of
 * the sequence, where a number is too large its first byte, for a duplicate the later name. Lines and columns count
 * from 1, columns in characters. The text must not lie in this scanner's own buffers. */
int larder__json_canonical(larder__json *json, const char *text, size_t len, size_t *offset, larder_error *error);

/* Scans only: valid or not, the content of json->out is lost. Same results. */
int larder__json_validate(larder__json *json, const char *text, size_t len, size_t *offset, larder_error *error);

typedef enum larder__json_kind {
    LARDER__JSON_NULL,
    LARDER__JSON_FALSE,
    LARDER__JSON_TRUE,
    LARDER__JSON_NUMBER,
    LARDER__JSON_STRING,
    LARDER__JSON_ARRAY,
    LARDER__JSON_OBJECT
} larder__json_kind;

typedef struct larder__json_span {
    const char *name; /* as written, without the quotes; borrowed from the text */
    size_t name_len;
    int name_escaped;  /* 1: the name has backslashes */
    const char *value; /* the value's bytes as written, without white space around it */
    size_t value_len;
    larder__json_kind kind;
} larder__json_span;

/* Where the members of the outermost object lie, in their order, so that a value can be spliced as it is. Validates
 * the whole text as above. Calls `each` once a member, only after all is known to be valid; nonzero ends it and is
 * returned. `each` may use the scanner: the spans borrow from the text alone. LARDER_EJSON also when the value is no
 * object. */
int larder__json_members(larder__json *json, const char *text, size_t len,
                         int (*each)(const larder__json_span *member, void *user_data), void *user_data,
                         larder_error *error);

/* Valid UTF-8 (RFC 3629) without NUL: for channels, scopes and text answers with NULs allowed by `allow_nul`. Returns
 * the offset of the first bad byte, or `len`. */
size_t larder__utf8_valid(const char *text, size_t len, int allow_nul);

#endif
