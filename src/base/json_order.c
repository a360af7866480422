/* base/json_order.c: the members of objects: are they in order, are they distinct, and putting them in order.
 *
 * Each name is compared with the one before it. As long as that is lower nothing else is done. Otherwise the members
 * are sorted when their object ends (merge sort from runs sorted by insertion: n log n whatever comes, no recursion),
 * and duplicates are next to each other then. The bytes are put in order by way of json->scratch.
 *
 * Names are compared by their unescaped bytes; the output has them escaped, so those with backslashes go a slower
 * way. */
#include "base/alloc.h"
#include "base/json_scan.h"
#include "base/utf8.h"

#include <string.h>

#define FIRST_MEMBERS 32
#define RUN 12        /* sorted by insertion */
#define NAME_SHOWN 64 /* bytes of a name in a message */

/* The unescaped byte at *p in a name of the output, which is moved behind it. */
static unsigned char unescaped_byte(const char **p)
{
    static const unsigned char values[128] =
        {['"'] = '"', ['\\'] = '\\', ['b'] = '\b', ['f'] = '\f', ['n'] = '\n', ['r'] = '\r', ['t'] = '\t'};
    const char *at = *p;
    if (at[0] != '\\') {
        *p = at + 1;
        return (unsigned char)at[0];
    }
    if (at[1] != 'u') {
        *p = at + 2;
        return values[(unsigned char)at[1] & 127];
    }
    *p = at + 6; /* \u00xx, in lower case, below 0x20 */
    int low = at[5] <= '9' ? at[5] - '0' : at[5] - 'a' + 10;
    return (unsigned char)((at[4] - '0') * 16 + low);
}

static int compare_escaped(const char *a, const char *a_end, const char *b, const char *b_end)
{
    while (a < a_end && b < b_end) {
        int difference = unescaped_byte(&a) - unescaped_byte(&b);
        if (difference != 0) {
            return difference;
        }
    }
    return (a < a_end) - (b < b_end);
}

static int compare(const char *out, const larder__json_member *a, const larder__json_member *b)
{
    if (a->head != b->head) {
        return a->head < b->head ? -1 : 1;
    }
    const char *a_name = out + a->start + 1;
    const char *b_name = out + b->start + 1;
    size_t a_len = a->name_len - 2u;
    size_t b_len = b->name_len - 2u;
    if (a->escaped || b->escaped) {
        return compare_escaped(a_name, a_name + a_len, b_name, b_name + b_len);
    }
    int difference = memcmp(a_name, b_name, a_len < b_len ? a_len : b_len);
    return difference != 0 ? difference : (a_len > b_len) - (a_len < b_len);
}

static uint64_t head_of(const char *name, size_t len, int escaped)
{
    uint64_t head = 0;
    if (escaped) {
        const char *p = name;
        for (int shift = 56; shift >= 0 && p < name + len; shift -= 8) {
            head |= (uint64_t)unescaped_byte(&p) << shift;
        }
        return head;
    }
    head = __builtin_bswap64(larder__load8(name)); /* the slack is behind it */
    return len >= 8 ? head : len == 0 ? 0 : head & ~(uint64_t)0 << (64 - 8 * len);
}

/* The name is cut where it is long, but not inside a character or an escape. */
static int refuse_duplicate(larder__json_scan *scan, const larder__json_member *member)
{
    const char *name = scan->json->out.data + member->start + 1;
    const char *end = name + member->name_len - 2;
    const char *shown = name;
    while (shown < end && shown - name < NAME_SHOWN) {
        unescaped_byte(&shown);
        while (shown < end && larder__utf8_continues(*shown)) {
            shown++;
        }
    }
    return larder__json_refuse(scan, scan->text + member->at, "duplicate member \"%.*s%s\"", (int)(shown - name), name,
                               shown < end ? "..." : "");
}

static int reserve_members(larder__json_scan *scan, size_t needed)
{
    larder__json *json = scan->json;
    if (needed <= json->members_capacity) {
        return LARDER_OK;
    }
    size_t capacity = json->members_capacity == 0 ? FIRST_MEMBERS : json->members_capacity;
    while (capacity < needed) {
        capacity *= 2;
    }
    larder__json_member *members = NULL;
    if (capacity <= SIZE_MAX / sizeof members[0]) {
        members = larder__realloc(json->members, capacity * sizeof members[0]);
    }
    if (members == NULL) {
        return larder__json_no_memory(scan);
    }
    json->members = members;
    json->members_capacity = capacity;
    return LARDER_OK;
}

int larder__json_member_begin(larder__json_scan *scan, larder__json_frame *frame, size_t start, const char *at)
{
    if (scan->members == scan->json->members_capacity && reserve_members(scan, scan->members + 1) != LARDER_OK) {
        return LARDER_ENOMEM;
    }
    const char *out = scan->json->out.data;
    larder__json_member *member = &scan->json->members[scan->members++];
    member->start = (uint32_t)start;
    member->name_len = (uint32_t)((size_t)(scan->w - out) - start) & INT32_MAX;
    member->at = (uint32_t)(at - scan->text);
    member->escaped = scan->escaped & 1;
    member->head = head_of(out + start + 1, member->name_len - 2u, scan->escaped);
    if (frame->unordered || scan->members - 1 == frame->first) {
        return LARDER_OK;
    }
    int order = compare(out, member - 1, member);
    if (order == 0) {
        return refuse_duplicate(scan, member);
    }
    frame->unordered = order > 0;
    return LARDER_OK;
}

static void sort_run(const char *out, larder__json_member *members, size_t count)
{
    for (size_t i = 1; i < count; i++) {
        larder__json_member moving = members[i];
        size_t to = i;
        while (to > 0 && compare(out, &members[to - 1], &moving) > 0) {
            members[to] = members[to - 1];
            to--;
        }
        members[to] = moving;
    }
}

/* Merges members[0 .. middle) with members[middle .. count), both sorted; `spare` holds `middle`. Equal ones keep
 * their order. */
static void merge(const char *out, larder__json_member *members, size_t middle, size_t count,
                  larder__json_member *spare)
{
    if (compare(out, &members[middle - 1], &members[middle]) <= 0) {
        return;
    }
    memcpy(spare, members, middle * sizeof spare[0]);
    size_t left = 0;
    size_t right = middle;
    size_t to = 0;
    while (left < middle && right < count) {
        members[to++] = compare(out, &spare[left], &members[right]) <= 0 ? spare[left++] : members[right++];
    }
    memcpy(&members[to], &spare[left], (middle - left) * sizeof spare[0]);
}

static void sort(const char *out, larder__json_member *members, size_t count, larder__json_member *spare)
{
    for (size_t at = 0; at < count; at += RUN) {
        sort_run(out, members + at, count - at < RUN ? count - at : RUN);
    }
    for (size_t width = RUN; width < count; width *= 2) {
        for (size_t at = 0; count - at > width; at += 2 * width) {
            size_t both = count - at < 2 * width ? count - at : 2 * width;
            merge(out, members + at, width, both, spare);
            if (both < 2 * width) {
                break;
            }
        }
    }
}

/* The duplicate that comes first in the text; NULL if there is none. Equal names lie in the order of the text. */
static const larder__json_member *first_duplicate(const char *out, const larder__json_member *members, size_t count)
{
    const larder__json_member *found = NULL;
    for (size_t i = 1; i < count; i++) {
        if ((found == NULL || members[i].at < found->at) && compare(out, &members[i - 1], &members[i]) == 0) {
            found = &members[i];
        }
    }
    return found;
}

/* Writes the members, which take the bytes [start, end) of the output with a comma between any two, in their new
 * order. */
static int rearrange(larder__json_scan *scan, const larder__json_member *members, size_t count, size_t start,
                     size_t end)
{
    larder__buf *scratch = &scan->json->scratch;
    char *out = scan->json->out.data;
    larder__buf_clear(scratch);
    if (larder__buf_reserve(scratch, end - start + 1) != LARDER_OK) {
        return larder__json_no_memory(scan);
    }
    char *w = scratch->data;
    for (size_t i = 0; i < count; i++) {
        size_t len = members[i].end - members[i].start;
        memcpy(w, out + members[i].start, len);
        w[len] = ',';
        w += len + 1;
    }
    memcpy(out + start, scratch->data, end - start);
    return LARDER_OK;
}

int larder__json_members_end(larder__json_scan *scan, larder__json_frame *frame)
{
    size_t count = scan->members - frame->first;
    if (frame->unordered) {
        if (reserve_members(scan, scan->members + count) != LARDER_OK) {
            return LARDER_ENOMEM;
        }
        const char *out = scan->json->out.data;
        larder__json_member *members = scan->json->members + frame->first;
        size_t start = members[0].start;
        size_t end = members[count - 1].end;
        sort(out, members, count, members + count);
        const larder__json_member *duplicate = first_duplicate(out, members, count);
        if (duplicate != NULL) {
            return refuse_duplicate(scan, duplicate);
        }
        int status = rearrange(scan, members, count, start, end);
        if (status != LARDER_OK) {
            return status;
        }
    }
    scan->members = frame->first;
    return LARDER_OK;
}
