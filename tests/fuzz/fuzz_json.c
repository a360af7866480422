/* tests/fuzz/fuzz_json.c: libFuzzer on the JSON scanner. Built with -DLARDER_FUZZ=ON and clang; run it on a folder for
 * its corpus: tests/fuzz_json -max_total_time=300 corpus/
 *
 * Whatever the bytes are: nothing is read or written out of bounds, validation agrees with the canonical form, an
 * offset lies within the text, the canonical form is its own, is UTF-8, is at most 5.25 times as long, and the members
 * of an object are valid texts that lie inside it. A promise that is broken aborts. */
#include "base/json.h"

#include <stdlib.h>
#include <string.h>

int LLVMFuzzerTestOneInput(const unsigned char *data, size_t size);

static larder__json json;
static larder__json other;

static void require(int promise)
{
    if (!promise) {
        abort();
    }
}

typedef struct bounds {
    const char *start;
    const char *end;
} bounds;

static int check_member(const larder__json_span *member, void *user_data)
{
    const bounds *b = user_data;
    require(member->name > b->start && member->name + member->name_len < member->value);
    require(member->value_len > 0 && member->value + member->value_len < b->end);
    require(larder__json_validate(&other, member->value, member->value_len, NULL, NULL) == LARDER_OK);
    require(larder__json_validate(&other, member->name - 1, member->name_len + 2, NULL, NULL) == LARDER_OK);
    require(member->name_escaped == (memchr(member->name, '\\', member->name_len) != NULL));
    return 0;
}

int LLVMFuzzerTestOneInput(const unsigned char *data, size_t size)
{
    const char *text = (const char *)data;
    size_t offset = 0;
    larder_error error = {0, 0, ""};
    int status = larder__json_canonical(&json, text, size, &offset, &error);
    require(status == LARDER_OK || status == LARDER_EJSON);
    require(larder__json_validate(&other, text, size, NULL, NULL) == status);
    size_t valid = larder__utf8_valid(text, size, 1);
    require(larder__utf8_valid(text, size, 0) <= valid);
    if (status != LARDER_OK) {
        require(offset <= size && error.status == LARDER_EJSON && error.message[0] != '\0');
        require(larder__json_members(&other, text, size, check_member, NULL, NULL) == LARDER_EJSON);
        return 0;
    }
    require(valid == size);
    require(json.out.len <= size * 21 / 4);
    require(strlen(json.out.data) == json.out.len);
    require(larder__utf8_valid(json.out.data, json.out.len, 0) == json.out.len);
    require(larder__json_canonical(&other, json.out.data, json.out.len, NULL, NULL) == LARDER_OK);
    require(other.out.len == json.out.len && memcmp(other.out.data, json.out.data, json.out.len) == 0);
    bounds b = {text, text + size};
    status = larder__json_members(&json, text, size, check_member, &b, NULL);
    require(status == (json.out.data[0] == '{' ? LARDER_OK : LARDER_EJSON));
    return 0;
}
