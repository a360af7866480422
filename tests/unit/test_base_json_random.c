/* tests/unit/test_base_json_random.c: the JSON scanner beside jansson, on random documents and on random damage to
 * them.
 *
 * The seed is printed; LARDER_TEST_SEED sets it, LARDER_TEST_ROUNDS the number of rounds. Where jansson is known to
 * differ, the difference is checked for what it is (see agree()), not passed over. */
#include "random_json.h"

#include "base/json.h"

#include <jansson.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define TREE_FLAGS (JSON_REJECT_DUPLICATES | JSON_DECODE_ANY | JSON_ALLOW_NUL)
/* Integers of any size, as far as a double goes: whether they are accepted can then be compared. */
#define WIDE_FLAGS (TREE_FLAGS | JSON_DECODE_INT_AS_REAL)

static test_random rng;
static larder__json json;

static size_t below(size_t bound)
{
    return (size_t)test_random_below(&rng, bound);
}

static size_t rounds(size_t usual)
{
    const char *given = getenv("LARDER_TEST_ROUNDS");
    return given != NULL ? (size_t)strtoull(given, NULL, 10) : usual;
}

static json_t *load(const char *bytes, size_t len, size_t flags, json_error_t *error)
{
    return json_loadb(bytes, len, flags, error);
}

/* ---- valid documents ---- */

static void canonical(const test_text *t, test_text *out)
{
    larder_error error = {0, 0, ""};
    if (larder__json_canonical(&json, t->bytes, t->len, NULL, &error) != LARDER_OK) {
        fail_msg("refused: %s\n%.*s", error.message, (int)t->len, t->bytes);
    }
    out->len = 0;
    test_text_put(out, json.out.data, json.out.len);
}

static void expect_equal(const test_text *a, const test_text *b)
{
    if (a->len != b->len || memcmp(a->bytes, b->bytes, a->len) != 0) {
        fail_msg("differ:\n%.*s\n%.*s", (int)a->len, a->bytes, (int)b->len, b->bytes);
    }
}

static void test_json_spellings_of_one_tree_have_one_canonical_form_that_means_the_tree(void **state)
{
    (void)state;
    static test_text one, other, first, second, again;
    rng.state = test_random_seed("spellings");
    size_t equal = 0;
    for (size_t round = rounds(3000); round > 0; round--) {
        json_t *tree = test_json_tree(&rng, 0);
        one.len = other.len = 0;
        test_json_spelling(&rng, &one, tree);
        test_json_spelling(&rng, &other, tree);
        canonical(&one, &first);
        canonical(&other, &second);
        expect_equal(&first, &second);
        canonical(&first, &again);
        expect_equal(&first, &again);
        json_error_t error;
        json_t *read = load(first.bytes, first.len, TREE_FLAGS, &error);
        if (read == NULL || !json_equal(read, tree)) {
            fail_msg("not the tree (%s):\n%.*s", read == NULL ? error.text : "differs", (int)first.len, first.bytes);
        }
        equal++;
        json_decref(read);
        json_decref(tree);
    }
    assert_true(equal > 0);
}

/* ---- members ---- */

typedef struct walk {
    json_t *tree;
    size_t count;
} walk;

static int check_member(const larder__json_span *span, void *user_data)
{
    walk *w = user_data;
    static test_text quoted;
    quoted.len = 0;
    test_text_puts(&quoted, "\"");
    test_text_put(&quoted, span->name, span->name_len);
    test_text_puts(&quoted, "\"");
    assert_int_equal(span->name_escaped, span->name_len > 0 && memchr(span->name, '\\', span->name_len) != NULL);
    json_t *name = load(quoted.bytes, quoted.len, TREE_FLAGS, NULL);
    json_t *value = load(span->value, span->value_len, WIDE_FLAGS, NULL);
    assert_non_null(name);
    assert_non_null(value);
    json_t *expected = json_object_getn(w->tree, json_string_value(name), json_string_length(name));
    assert_non_null(expected);
    assert_true(json_equal(value, expected));
    static const json_type types[] = {JSON_NULL,   JSON_FALSE, JSON_TRUE,  JSON_REAL,
                                      JSON_STRING, JSON_ARRAY, JSON_OBJECT};
    assert_int_equal(json_typeof(value), types[span->kind]);
    char last = span->value[span->value_len - 1];
    assert_null(memchr(" \t\r\n", span->value[0], 4));
    assert_null(memchr(" \t\r\n", last, 4));
    w->count++;
    json_decref(name);
    json_decref(value);
    return 0;
}

static void test_json_members_are_those_that_jansson_finds(void **state)
{
    (void)state;
    static test_text t;
    rng.state = test_random_seed("members");
    size_t objects = 0;
    for (size_t round = rounds(3000); round > 0; round--) {
        json_t *tree = test_json_tree(&rng, 0);
        t.len = 0;
        test_json_spelling(&rng, &t, tree);
        walk w = {load(t.bytes, t.len, WIDE_FLAGS, NULL), 0};
        assert_non_null(w.tree);
        int status = larder__json_members(&json, t.bytes, t.len, check_member, &w, NULL);
        assert_int_equal(status, json_is_object(tree) ? LARDER_OK : LARDER_EJSON);
        assert_int_equal(w.count, json_object_size(tree));
        objects += json_is_object(tree) != 0;
        json_decref(w.tree);
        json_decref(tree);
    }
    assert_true(objects > 0);
}

/* ---- damage ---- */

static void damage(test_text *t)
{
    static const char *const tokens[] = {"{",
                                         "}",
                                         "[",
                                         "]",
                                         ",",
                                         ":",
                                         "\"",
                                         "\\",
                                         "\\u",
                                         "\\u0000",
                                         "\\ud800",
                                         "null",
                                         "true",
                                         "-",
                                         "0",
                                         ".",
                                         "e",
                                         "E+",
                                         "1e400",
                                         "1e-400",
                                         "00",
                                         "9223372036854775808",
                                         " ",
                                         "\n",
                                         "\x0b",
                                         "\x1f",
                                         "\xc3",
                                         "\xed\xa0\x80",
                                         "\xf0",
                                         "\x80",
                                         "{}",
                                         "[]",
                                         "\"\"",
                                         "\"a\"",
                                         "\"a\":1,",
                                         "\"\\u0061\":1",
                                         ",1",
                                         "\\udc00",
                                         "\\ud83d\\ude00",
                                         "[[[[[[[[[[",
                                         "1e9999999999999999999"};
    size_t at = below(t->len + 1);
    size_t span = t->len > at ? 1 + below(t->len - at < 8 ? t->len - at : 8) : 0;
    switch (below(5)) {
    case 0: /* a bit */
        if (at < t->len) {
            t->bytes[at] = (char)(t->bytes[at] ^ (1 << below(8)));
        }
        break;
    case 1: /* a byte */
        if (at < t->len) {
            t->bytes[at] = (char)below(256);
        }
        break;
    case 2: /* some bytes gone */
        memmove(t->bytes + at, t->bytes + at + span, t->len - at - span);
        t->len -= span;
        break;
    case 3: { /* some bytes twice */
        char copy[8];
        memcpy(copy, t->bytes + at, span);
        memmove(t->bytes + at + span, t->bytes + at, t->len - at);
        memcpy(t->bytes + at, copy, span);
        t->len += span;
        break;
    }
    default: { /* a token put in */
        const char *token = tokens[below(sizeof tokens / sizeof tokens[0])];
        size_t len = strlen(token);
        memmove(t->bytes + at + len, t->bytes + at, t->len - at);
        memcpy(t->bytes + at, token, len);
        t->len += len;
        break;
    }
    }
}

/* Brackets that are open before `end`, outside strings. */
static size_t open_before(const test_text *t, size_t end)
{
    size_t depth = 0;
    int in_string = 0;
    for (size_t i = 0; i < end; i++) {
        char c = t->bytes[i];
        if (in_string) {
            i += c == '\\';
            in_string = c != '"';
        } else if (c == '"') {
            in_string = 1;
        } else if (c == '[' || c == '{') {
            depth++;
        } else if (c == ']' || c == '}') {
            depth--;
        }
    }
    return depth;
}

static int is_number_byte(char c)
{
    return c != '\0' && strchr("0123456789+-.eE", c) != NULL;
}

static size_t digits_end(const test_text *t, size_t at)
{
    while (at < t->len && t->bytes[at] >= '0' && t->bytes[at] <= '9') {
        at++;
    }
    return at;
}

/* Behind the longest number at `at`; `at` when there is none. */
static size_t number_end(const test_text *t, size_t at)
{
    size_t i = at + (at < t->len && t->bytes[at] == '-');
    size_t end = i < t->len && t->bytes[i] == '0' ? i + 1 : digits_end(t, i);
    if (end == i) {
        return at;
    }
    if (end < t->len && t->bytes[end] == '.' && digits_end(t, end + 1) > end + 1) {
        end = digits_end(t, end + 1);
    }
    if (end < t->len && (t->bytes[end] | 0x20) == 'e') {
        size_t digits = end + 1 + (end + 1 < t->len && strchr("+-", t->bytes[end + 1]) != NULL);
        end = digits_end(t, digits) > digits ? digits_end(t, digits) : end;
    }
    return end;
}

/* Where the number begins that ends at `end`: other numbers may touch it. */
static size_t number_start(const test_text *t, size_t end)
{
    size_t start = end;
    while (start > 0 && is_number_byte(t->bytes[start - 1])) {
        start--;
    }
    while (number_end(t, start) < end) {
        start = number_end(t, start) > start ? number_end(t, start) : start + 1;
    }
    assert_int_equal(number_end(t, start), end);
    return start;
}

/* The number at `at` has an exponent of at least fifteen digits that count. */
static int exponent_is_vast(const test_text *t, size_t at)
{
    size_t digits = 0;
    size_t i = at;
    while (i < t->len && is_number_byte(t->bytes[i]) && (t->bytes[i] | 0x20) != 'e') {
        i++;
    }
    i += i < t->len && (t->bytes[i] | 0x20) == 'e';
    while (i < t->len && strchr("+-0", t->bytes[i]) != NULL && t->bytes[i] != '\0') {
        i++;
    }
    for (; i < t->len && t->bytes[i] >= '0' && t->bytes[i] <= '9'; i++) {
        digits++;
    }
    return digits >= 15;
}

typedef struct differences {
    size_t overflow;
    size_t nul_name;
    size_t nul_byte;
    size_t depth;
    size_t exponent;
} differences;

/* What jansson would say if it could hold any number and any name: where it stops at one that it cannot hold, that is
 * replaced by one that it can, and it is asked again. */
static int jansson_accepts(const test_text *given, differences *seen, json_t **tree)
{
    static test_text t;
    t = *given;
    for (;;) {
        json_error_t error;
        *tree = load(t.bytes, t.len, WIDE_FLAGS, &error);
        if (*tree != NULL) {
            return 1;
        }
        if (json_error_code(&error) == json_error_numeric_overflow) {
            size_t end = (size_t)error.position;
            size_t start = number_start(&t, end);
            start += t.bytes[start] == '-'; /* kept: it parts this number from one before it */
            memset(t.bytes + start, ' ', end - start);
            t.bytes[start] = '1';
            seen->overflow++;
        } else if (json_error_code(&error) == json_error_null_byte_in_key) {
            size_t replaced = 0;
            for (size_t i = 0; i + 6 <= t.len; i++) {
                if (memcmp(t.bytes + i, "\\u0000", 6) == 0) {
                    memcpy(t.bytes + i, "\\ue123", 6);
                    replaced++;
                }
            }
            assert_true(replaced > 0);
            seen->nul_name++;
        } else {
            return 0;
        }
    }
}

/* Both accept or both refuse. The known differences, each made sure of:
 *   a number beyond a double, a NUL in a name: jansson cannot hold them (jansson_accepts looks behind them);
 *   a NUL byte after a number or word: jansson loses it; it is never JSON;
 *   more than 64 open brackets, an exponent beyond 10^15: we refuse, as json.h says. */
static void agree(const test_text *t, differences *seen)
{
    size_t offset = 0;
    larder_error error = {0, 0, ""};
    static test_text out;
    int accepted = larder__json_canonical(&json, t->bytes, t->len, &offset, &error) == LARDER_OK;
    out.len = 0;
    test_text_put(&out, json.out.data, json.out.len);
    assert_int_equal(larder__json_validate(&json, t->bytes, t->len, NULL, NULL), accepted ? LARDER_OK : LARDER_EJSON);
    assert_true(offset <= t->len);
    if (memchr(t->bytes, '\0', t->len) != NULL) {
        assert_false(accepted);
        seen->nul_byte++;
        return;
    }
    if (!accepted && strncmp(error.message, "nested", 6) == 0) {
        assert_int_equal(open_before(t, offset), 64);
        seen->depth++;
        return;
    }
    if (!accepted && strncmp(error.message, "number with an exponent", 23) == 0) {
        assert_true(exponent_is_vast(t, offset));
        seen->exponent++;
        return;
    }
    json_t *theirs;
    size_t replaced = seen->overflow + seen->nul_name;
    if (jansson_accepts(t, seen, &theirs) != accepted) {
        fail_msg("jansson %s, we do not (%s):\n%.*s", accepted ? "refuses" : "accepts", error.message, (int)t->len,
                 t->bytes);
    }
    if (accepted && replaced == seen->overflow + seen->nul_name) {
        json_t *ours = load(out.bytes, out.len, WIDE_FLAGS, NULL);
        if (ours == NULL || !json_equal(ours, theirs)) {
            fail_msg("another value:\n%.*s\n%.*s", (int)t->len, t->bytes, (int)out.len, out.bytes);
        }
        json_decref(ours);
    }
    json_decref(theirs);
}

static void test_json_agrees_with_jansson_on_damaged_documents(void **state)
{
    (void)state;
    static test_text whole, t;
    rng.state = test_random_seed("damage");
    differences seen = {0, 0, 0, 0, 0};
    size_t accepted = 0;
    size_t refused = 0;
    for (size_t round = rounds(3000); round > 0; round--) {
        json_t *tree = test_json_tree(&rng, below(5));
        whole.len = 0;
        size_t around = below(20) == 0 ? 55 + below(15) : 0; /* near the depth that we bear */
        for (size_t i = 0; i < around; i++) {
            test_text_puts(&whole, "[");
        }
        test_json_spelling(&rng, &whole, tree);
        json_decref(tree);
        for (size_t i = 0; i < around; i++) {
            test_text_puts(&whole, "]");
        }
        for (size_t i = 0; i < 10; i++) {
            t = whole;
            for (size_t count = 1 + below(4); count > 0; count--) {
                damage(&t);
            }
            agree(&t, &seen);
            accepted += json.out.len > 0;
            refused += json.out.len == 0;
        }
    }
    print_message("damage: %zu accepted, %zu refused; number too large for jansson %zu, NUL in a name %zu, NUL "
                  "byte %zu, depth %zu, exponent %zu\n",
                  accepted, refused, seen.overflow, seen.nul_name, seen.nul_byte, seen.depth, seen.exponent);
    assert_true(accepted > 0 && refused > 0);
}

static void test_json_agrees_with_jansson_on_every_short_text(void **state)
{
    (void)state;
    /* All texts of up to five of these tokens: every way of putting the grammar together, right and wrong. */
    static const char *const tokens[] = {"{", "}", "[", "]", ",", ":", "\"a\"", "\"b\"", "1", "-0", "true", " "};
    static const size_t count = sizeof tokens / sizeof tokens[0];
    static test_text t;
    differences seen = {0, 0, 0, 0, 0};
    size_t accepted = 0;
    for (size_t length = 0; length <= 5; length++) {
        size_t texts = 1;
        for (size_t i = 0; i < length; i++) {
            texts *= count;
        }
        for (size_t number = 0; number < texts; number++) {
            t.len = 0;
            for (size_t i = 0, rest = number; i < length; i++, rest /= count) {
                test_text_puts(&t, tokens[rest % count]);
            }
            agree(&t, &seen);
            accepted += json.out.len > 0;
        }
    }
    assert_true(accepted > 100);
}

static void test_json_differs_from_jansson_where_it_is_documented(void **state)
{
    (void)state;
    static const struct {
        const char *text;
        size_t len;
        int ours;
        int theirs;
    } table[] = {
        {"9223372036854775808", 19, 1, 0}, /* integers beyond 64 bits */
        {"1e400", 5, 1, 0},                /* beyond a double */
        {"{\"\\u0000\":1}", 12, 1, 0},     /* NUL in a name */
        {"1\0", 2, 0, 1},                  /* a NUL byte that jansson loses */
        {"1e-9999999999999999", 19, 0, 1}, /* an exponent beyond 10^15 */
    };
    for (size_t i = 0; i < sizeof table / sizeof table[0]; i++) {
        int ours = larder__json_canonical(&json, table[i].text, table[i].len, NULL, NULL) == LARDER_OK;
        json_t *tree = load(table[i].text, table[i].len, TREE_FLAGS, NULL);
        assert_int_equal(ours, table[i].ours);
        assert_int_equal(tree != NULL, table[i].theirs);
        json_decref(tree);
    }
    /* what jansson reads as one value, and keys must tell apart */
    static const char *const apart[][2] = {{"9007199254740993.0", "9007199254740992.0"},
                                           {"0.1", "0.1000000000000000055"}};
    for (size_t i = 0; i < sizeof apart / sizeof apart[0]; i++) {
        json_t *a = load(apart[i][0], strlen(apart[i][0]), TREE_FLAGS, NULL);
        json_t *b = load(apart[i][1], strlen(apart[i][1]), TREE_FLAGS, NULL);
        assert_true(json_equal(a, b));
        char ours[64];
        assert_int_equal(larder__json_canonical(&json, apart[i][0], strlen(apart[i][0]), NULL, NULL), LARDER_OK);
        snprintf(ours, sizeof ours, "%s", json.out.data);
        assert_int_equal(larder__json_canonical(&json, apart[i][1], strlen(apart[i][1]), NULL, NULL), LARDER_OK);
        assert_string_not_equal(ours, json.out.data);
        json_decref(a);
        json_decref(b);
    }
    char deep[200];
    memset(deep, '[', 65);
    memset(deep + 65, ']', 65);
    json_t *tree = load(deep, 130, TREE_FLAGS, NULL);
    assert_non_null(tree);
    assert_int_equal(larder__json_canonical(&json, deep, 130, NULL, NULL), LARDER_EJSON);
    json_decref(tree);
}

static int setup(void **state)
{
    (void)state;
    larder__json_init(&json);
    return 0;
}

static int teardown(void **state)
{
    (void)state;
    larder__json_release(&json);
    return 0;
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_json_spellings_of_one_tree_have_one_canonical_form_that_means_the_tree),
        cmocka_unit_test(test_json_members_are_those_that_jansson_finds),
        cmocka_unit_test(test_json_agrees_with_jansson_on_damaged_documents),
        cmocka_unit_test(test_json_agrees_with_jansson_on_every_short_text),
        cmocka_unit_test(test_json_differs_from_jansson_where_it_is_documented),
    };
    return cmocka_run_group_tests(tests, setup, teardown);
}
