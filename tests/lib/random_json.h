/* tests/lib/random_json.h: random JSON: trees, and texts that mean them. One thread at a time. Link jansson. */
#ifndef LARDER_TEST_RANDOM_JSON_H
#define LARDER_TEST_RANDOM_JSON_H

#include "support.h"

#include <jansson.h>

typedef struct test_text {
    char bytes[1 << 16];
    size_t len;
} test_text;
void test_text_put(test_text *text, const void *bytes, size_t len); /* appends; the test fails when it is full */
void test_text_puts(test_text *text, const char *words);

/* A tree that jansson reads back as it is: integers of 64 bits, reals, no NUL in names.
 * It has up to 6 - depth levels. */
json_t *test_json_tree(test_random *random, size_t depth);
/* Appends the tree in a spelling of its own each time: white space, order of members, escapes, decimals. */
void test_json_spelling(test_random *random, test_text *text, const json_t *tree);

#endif
