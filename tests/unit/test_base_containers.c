/* tests/unit/test_base_containers.c: buffers, map, list and heap. */
#include "support.h"

#include "base/alloc.h"
#include "base/buf.h"
#include "base/heap.h"
#include "base/json.h"
#include "base/list.h"
#include "base/map.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define COUNT(table) (sizeof(table) / sizeof(table)[0])

/* ---- buf ---- */

static void test_buf_holds_what_was_appended(void **state)
{
    (void)state;
    test_random rng = {test_random_seed("buf")};
    static char model[200000];
    for (int round = 0; round < 20; round++) {
        larder__buf buf;
        larder__buf_init(&buf);
        size_t len = 0;
        while (len < 100000) {
            char piece[700];
            size_t size = test_random_below(&rng, round % 2 == 0 ? 20 : sizeof piece);
            for (size_t i = 0; i < size; i++) {
                piece[i] = (char)test_random_next(&rng);
            }
            memcpy(model + len, piece, size);
            len += size;
            larder__buf_append(&buf, piece, size);
            assert_int_equal(buf.len, len);
            assert_true(buf.capacity >= buf.len);
        }
        assert_int_equal(larder__buf_terminate(&buf), LARDER_OK);
        assert_int_equal(buf.len, len);
        assert_memory_equal(buf.data, model, len);
        assert_int_equal(buf.data[len], '\0');
        larder__buf_release(&buf);
    }
}

static void test_buf_clear_keeps_the_memory(void **state)
{
    (void)state;
    larder__buf buf;
    larder__buf_init(&buf);
    larder__buf_text(&buf, "something");
    test_alloc_fail_at(1, 1);
    larder__buf_clear(&buf);
    assert_int_equal(buf.len, 0);
    larder__buf_text(&buf, "other");
    assert_int_equal(larder__buf_terminate(&buf), LARDER_OK);
    assert_string_equal(buf.data, "other");
    test_alloc_fail_at(0, 0);
    larder__buf_release(&buf);
    larder__buf_release(&buf);
    assert_null(buf.data);
}

static void test_buf_reserve_makes_room_for_exactly_that(void **state)
{
    (void)state;
    larder__buf buf;
    larder__buf_init(&buf);
    assert_int_equal(larder__buf_reserve(&buf, 0), LARDER_OK);
    assert_null(buf.data);
    assert_int_equal(larder__buf_reserve(&buf, 1000), LARDER_OK);
    assert_true(buf.capacity >= 1000);
    buf.len = buf.capacity;
    assert_int_equal(larder__buf_reserve(&buf, 0), LARDER_OK);
    assert_int_equal(larder__buf_reserve(&buf, 1), LARDER_OK);
    assert_true(buf.capacity > buf.len);
    larder__buf_release(&buf);
}

static void test_buf_formats_texts_longer_than_its_room(void **state)
{
    (void)state;
    char expected[3000];
    char word[400];
    memset(word, 'w', sizeof word - 1);
    word[sizeof word - 1] = '\0';
    snprintf(expected, sizeof expected, "first %d %s %5.2f", 7, word, 2.5);
    larder__buf buf;
    larder__buf_init(&buf);
    larder__buf_text(&buf, "first ");
    larder__buf_format(&buf, "%d %s %5.2f", 7, word, 2.5);
    larder__buf_format(&buf, "%s", "");
    assert_int_equal(larder__buf_terminate(&buf), LARDER_OK);
    assert_string_equal(buf.data, expected);
    larder__buf_release(&buf);
}

static void test_buf_remembers_a_failed_allocation_until_cleared(void **state)
{
    (void)state;
    larder__buf buf;
    larder__buf_init(&buf);
    larder__buf_text(&buf, "kept");
    size_t room = buf.capacity - buf.len;
    char *large = calloc(1, room + 1);
    assert_non_null(large);
    test_alloc_fail_at(1, 0);
    larder__buf_append(&buf, large, room + 1);
    free(large);
    assert_int_equal(test_alloc_failed(), 1);
    assert_int_equal(buf.failed, 1);
    assert_int_equal(buf.len, 4);
    larder__buf_text(&buf, "x");
    larder__buf_format(&buf, "%d", 1);
    larder__buf_json_string(&buf, "x", 1);
    larder__buf_base64(&buf, "x", 1);
    assert_int_equal(buf.len, 4);
    assert_int_equal(larder__buf_reserve(&buf, 1), LARDER_ENOMEM);
    assert_int_equal(larder__buf_terminate(&buf), LARDER_ENOMEM);
    assert_null(larder__buf_take(&buf));
    larder__buf_clear(&buf);
    larder__buf_text(&buf, "again");
    assert_int_equal(larder__buf_terminate(&buf), LARDER_OK);
    assert_string_equal(buf.data, "again");
    larder__buf_release(&buf);
}

static void test_buf_refuses_sizes_that_overflow_without_asking_for_memory(void **state)
{
    (void)state;
    larder__buf buf;
    larder__buf_init(&buf);
    larder__buf_text(&buf, "x");
    test_alloc_fail_at(0, 0);
    assert_int_equal(larder__buf_reserve(&buf, SIZE_MAX), LARDER_ENOMEM);
    assert_int_equal(larder__buf_reserve(&buf, SIZE_MAX - 1), LARDER_ENOMEM);
    assert_int_equal(test_alloc_count(), 0);
    assert_int_equal(buf.failed, 1);
    larder__buf_release(&buf);
}

static void test_buf_every_allocation_may_fail(void **state)
{
    (void)state;
    long live = test_alloc_live();
    int whole = 0;
    for (unsigned long nth = 1; !whole; nth++) {
        larder__buf buf;
        larder__buf_init(&buf);
        test_alloc_fail_at(nth, 0);
        for (int i = 0; i < 200; i++) {
            larder__buf_format(&buf, "%d,", i);
            larder__buf_json_string(&buf, "a\n\x01", 3);
            larder__buf_base64(&buf, "abcde", 5);
        }
        char *text = larder__buf_take(&buf);
        whole = text != NULL;
        assert_int_equal(whole, test_alloc_failed() == 0);
        if (whole) {
            assert_int_equal(strlen(text), 200 * (11 + 8) + 10 * 2 + 90 * 3 + 100 * 4);
            assert_true(nth > 5);
        }
        test_alloc_fail_at(0, 0);
        larder__free(text);
        larder__buf_release(&buf);
        assert_int_equal(test_alloc_live(), live);
    }
}

static void test_buf_take_gives_the_bytes_away(void **state)
{
    (void)state;
    larder__buf buf;
    larder__buf_init(&buf);
    char *empty = larder__buf_take(&buf);
    assert_string_equal(empty, "");
    assert_null(buf.data);
    larder__buf_text(&buf, "mine");
    char *taken = larder__buf_take(&buf);
    larder__buf_text(&buf, "yours");
    assert_string_equal(taken, "mine");
    larder__free(empty);
    larder__free(taken);
    larder__buf_release(&buf);
}

static void test_buf_writes_json_strings_in_canonical_form(void **state)
{
    (void)state;
    char all[300];
    size_t len = 0;
    for (int c = 0; c < 0x80; c++) {
        all[len++] = (char)c;
    }
    memcpy(all + len, "\xc3\xa9\xf0\x9f\x98\x80", 6);
    len += 6;
    larder__buf buf;
    larder__buf_init(&buf);
    larder__json json;
    larder__json_init(&json);
    for (size_t start = 0; start <= len; start++) {
        if (start > 0x80 && start != len) {
            continue;
        }
        larder__buf_clear(&buf);
        larder__buf_json_string(&buf, all + start, len - start);
        assert_int_equal(larder__buf_terminate(&buf), LARDER_OK);
        assert_int_equal(larder__json_canonical(&json, buf.data, buf.len, NULL, NULL), LARDER_OK);
        assert_string_equal(json.out.data, buf.data);
    }
    larder__buf_clear(&buf);
    larder__buf_json_string(&buf, "\0\x1f\"\\/\b\t\n\x0b\f\r\x7f", 12);
    assert_int_equal(larder__buf_terminate(&buf), LARDER_OK);
    assert_string_equal(buf.data, "\"\\u0000\\u001f\\\"\\\\/\\b\\t\\n\\u000b\\f\\r\x7f\"");
    larder__json_release(&json);
    larder__buf_release(&buf);
}

static void test_buf_writes_base64_as_rfc_4648_has_it(void **state)
{
    (void)state;
    static const char *const table[][2] = {
        {"", ""},
        {"f", "Zg=="},
        {"fo", "Zm8="},
        {"foo", "Zm9v"},
        {"foob", "Zm9vYg=="},
        {"fooba", "Zm9vYmE="},
        {"foobar", "Zm9vYmFy"},
        {"\xff\xfe\xfb", "//77"},
        {"\xfb\xef\xbe", "++++"},
    };
    for (size_t i = 0; i < COUNT(table); i++) {
        larder__buf buf;
        larder__buf_init(&buf);
        larder__buf_base64(&buf, table[i][0], strlen(table[i][0]));
        assert_int_equal(larder__buf_terminate(&buf), LARDER_OK);
        assert_string_equal(buf.data, table[i][1]);
        larder__buf_release(&buf);
    }
}

/* ---- map ---- */

typedef struct item {
    larder__map_node node;
    unsigned key;
    int in_map;
    int visits;
} item;

static item *find_item(larder__map *map, unsigned key, uint64_t hash)
{
    for (larder__map_node *n = larder__map_first(map, hash); n != NULL; n = larder__map_next(n, hash)) {
        item *found = LARDER__CONTAINER(n, item, node);
        if (found->key == key) {
            return found;
        }
    }
    return NULL;
}

/* Every fourth key shares its hash with the three after it. */
static uint64_t hash_key(unsigned key)
{
    unsigned shared = key / 4;
    return larder__hash_bytes(&shared, sizeof shared);
}

static void test_map_agrees_with_a_model(void **state)
{
    (void)state;
    enum { ITEMS = 3000 };
    test_random rng = {test_random_seed("map")};
    item *items = calloc(ITEMS, sizeof items[0]);
    assert_non_null(items);
    larder__map map;
    assert_int_equal(larder__map_init(&map), LARDER_OK);
    size_t count = 0;
    for (int step = 0; step < 40000; step++) {
        unsigned key = (unsigned)test_random_below(&rng, ITEMS);
        item *i = &items[key];
        if (i->in_map) {
            larder__map_remove(&map, &i->node);
            count--;
        } else {
            i->key = key;
            larder__map_insert(&map, &i->node, hash_key(key));
            count++;
        }
        i->in_map = !i->in_map;
        assert_int_equal(map.count, count);
        unsigned other = (unsigned)test_random_below(&rng, ITEMS);
        assert_ptr_equal(find_item(&map, other, hash_key(other)), items[other].in_map ? &items[other] : NULL);
    }
    for (unsigned key = 0; key < ITEMS; key++) {
        assert_ptr_equal(find_item(&map, key, hash_key(key)), items[key].in_map ? &items[key] : NULL);
    }
    larder__map_release(&map);
    free(items);
}

typedef struct sweep {
    larder__map *map;
    size_t visits;
} sweep;

static void visit_item(larder__map_node *node, void *user_data)
{
    sweep *s = user_data;
    item *i = LARDER__CONTAINER(node, item, node);
    i->visits++;
    s->visits++;
    if (i->key % 3 == 0) {
        larder__map_remove(s->map, node);
        memset(node, 0xa5, sizeof *node); /* as if freed */
    }
}

static void test_map_each_visits_once_and_lets_the_node_go(void **state)
{
    (void)state;
    static item items[1000];
    larder__map map;
    assert_int_equal(larder__map_init(&map), LARDER_OK);
    sweep s = {&map, 0};
    larder__map_each(&map, visit_item, &s);
    assert_int_equal(s.visits, 0);
    for (unsigned key = 0; key < COUNT(items); key++) {
        items[key].key = key;
        larder__map_insert(&map, &items[key].node, hash_key(key));
    }
    larder__map_each(&map, visit_item, &s);
    assert_int_equal(s.visits, COUNT(items));
    assert_int_equal(map.count, 666);
    for (unsigned key = 0; key < COUNT(items); key++) {
        assert_int_equal(items[key].visits, 1);
        assert_ptr_equal(find_item(&map, key, hash_key(key)), key % 3 == 0 ? NULL : &items[key]);
    }
    larder__map_release(&map);
    larder__map_each(&map, visit_item, &s); /* a released map has nothing to visit */
    assert_int_equal(s.visits, COUNT(items));
}

static void test_map_goes_on_when_it_cannot_grow_and_grows_later(void **state)
{
    (void)state;
    static item items[2000];
    larder__map map;
    assert_int_equal(larder__map_init(&map), LARDER_OK);
    size_t mask = map.mask;
    test_alloc_fail_at(1, 1);
    for (unsigned key = 0; key < 1999; key++) {
        items[key].key = key;
        larder__map_insert(&map, &items[key].node, hash_key(key));
    }
    assert_true(test_alloc_failed() > 0);
    assert_int_equal(map.mask, mask);
    assert_int_equal(map.count, 1999);
    for (unsigned key = 0; key < 1999; key++) {
        assert_ptr_equal(find_item(&map, key, hash_key(key)), &items[key]);
    }
    larder__map_remove(&map, &items[500].node);
    assert_null(find_item(&map, 500, hash_key(500)));
    test_alloc_fail_at(0, 0);
    items[1999].key = 1999;
    larder__map_insert(&map, &items[1999].node, hash_key(1999));
    assert_true(map.mask > mask);
    for (unsigned key = 0; key < 2000; key++) {
        assert_ptr_equal(find_item(&map, key, hash_key(key)), key == 500 ? NULL : &items[key]);
    }
    larder__map_release(&map);
}

static void test_map_init_reports_memory_that_runs_out(void **state)
{
    (void)state;
    larder__map map;
    test_alloc_fail_at(1, 0);
    assert_int_equal(larder__map_init(&map), LARDER_ENOMEM);
    test_alloc_fail_at(0, 0);
    larder__map_release(&map);
}

static void test_hash_bytes_is_fnv_1a(void **state)
{
    (void)state;
    /* from the authors' own table */
    assert_true(larder__hash_bytes("", 0) == 0xcbf29ce484222325ull);
    assert_true(larder__hash_bytes("a", 1) == 0xaf63dc4c8601ec8cull);
    assert_true(larder__hash_bytes("foobar", 6) == 0x85944171f73967e8ull);
}

/* ---- list ---- */

typedef struct entry {
    int number;
    larder__list link;
} entry;

static void expect_list(larder__list *head, const char *expected)
{
    char forth[64] = "";
    char back[64] = "";
    for (larder__list *n = head->next; n != head; n = n->next) {
        size_t len = strlen(forth);
        snprintf(forth + len, sizeof forth - len, "%d", LARDER__CONTAINER(n, entry, link)->number);
    }
    for (larder__list *n = head->prev; n != head; n = n->prev) {
        char copy[64];
        snprintf(copy, sizeof copy, "%s", back);
        snprintf(back, sizeof back, "%d%.50s", LARDER__CONTAINER(n, entry, link)->number, copy);
    }
    assert_string_equal(forth, expected);
    assert_string_equal(back, expected);
    assert_int_equal(larder__list_empty(head), expected[0] == '\0');
}

static void test_list_keeps_its_order(void **state)
{
    (void)state;
    entry e[6];
    larder__list head;
    larder__list_init(&head);
    expect_list(&head, "");
    assert_null(larder__list_shift(&head));
    for (int i = 0; i < 6; i++) {
        e[i].number = i;
        larder__list_init(&e[i].link);
    }
    larder__list_append(&head, &e[1].link);
    larder__list_append(&head, &e[2].link);
    larder__list_prepend(&head, &e[0].link);
    larder__list_append(&head, &e[3].link);
    expect_list(&head, "0123");
    larder__list_remove(&e[2].link);
    expect_list(&head, "013");
    larder__list_remove(&e[2].link); /* twice: harmless */
    expect_list(&head, "013");
    assert_ptr_equal(larder__list_shift(&head), &e[0].link);
    assert_true(larder__list_empty(&e[0].link));
    expect_list(&head, "13");
    larder__list_append(&head, &e[0].link);
    expect_list(&head, "130");
    assert_ptr_equal(larder__list_shift(&head), &e[1].link);
    assert_ptr_equal(larder__list_shift(&head), &e[3].link);
    assert_ptr_equal(larder__list_shift(&head), &e[0].link);
    assert_null(larder__list_shift(&head));
    expect_list(&head, "");
}

static void test_list_moves_all_to_the_end_of_another(void **state)
{
    (void)state;
    entry e[5];
    larder__list to;
    larder__list from;
    larder__list_init(&to);
    larder__list_init(&from);
    for (int i = 0; i < 5; i++) {
        e[i].number = i;
    }
    larder__list_move_all(&to, &from);
    expect_list(&to, "");
    larder__list_append(&from, &e[0].link);
    larder__list_append(&from, &e[1].link);
    larder__list_move_all(&to, &from);
    expect_list(&to, "01");
    expect_list(&from, "");
    larder__list_append(&from, &e[2].link);
    larder__list_append(&from, &e[3].link);
    larder__list_append(&from, &e[4].link);
    larder__list_move_all(&to, &from);
    expect_list(&to, "01234");
    expect_list(&from, "");
    larder__list_move_all(&to, &from);
    expect_list(&to, "01234");
}

/* ---- heap ---- */

enum { NODES = 300 };

static size_t model_count(const larder__heap_node *nodes, const int *inside)
{
    size_t count = 0;
    for (size_t i = 0; i < NODES; i++) {
        assert_int_equal(inside[i], nodes[i].index != 0);
        count += (size_t)inside[i];
    }
    return count;
}

static void expect_heap(const larder__heap *heap, const larder__heap_node *nodes, const int *inside)
{
    uint64_t least = UINT64_MAX;
    for (size_t i = 0; i < NODES; i++) {
        if (inside[i] && nodes[i].when < least) {
            least = nodes[i].when;
        }
    }
    size_t count = model_count(nodes, inside);
    assert_int_equal(heap->count, count);
    larder__heap_node *first = larder__heap_first(heap);
    if (count == 0) {
        assert_null(first);
    } else {
        assert_true(first->when == least);
    }
}

static void test_heap_agrees_with_a_model_under_random_removals(void **state)
{
    (void)state;
    test_random rng = {test_random_seed("heap")};
    static larder__heap_node nodes[NODES];
    static int inside[NODES];
    larder__heap heap;
    larder__heap_init(&heap);
    for (int step = 0; step < 20000; step++) {
        size_t i = test_random_below(&rng, NODES);
        /* few different times, so that many are equal; phases of growing and shrinking */
        if (!inside[i] && test_random_below(&rng, 4) < (step / 2000 % 2 == 0 ? 3u : 1u)) {
            assert_int_equal(larder__heap_reserve(&heap, 1), LARDER_OK);
            larder__heap_insert(&heap, &nodes[i], test_random_below(&rng, step % 3 == 0 ? 5 : 1000));
            inside[i] = 1;
        } else {
            larder__heap_remove(&heap, &nodes[i]); /* nothing if it is not in */
            inside[i] = 0;
        }
        expect_heap(&heap, nodes, inside);
    }
    uint64_t last = 0;
    larder__heap_node *first;
    while ((first = larder__heap_first(&heap)) != NULL) {
        assert_true(first->when >= last);
        last = first->when;
        larder__heap_remove(&heap, first);
        assert_int_equal(first->index, 0);
        inside[first - nodes] = 0;
        expect_heap(&heap, nodes, inside);
    }
    larder__heap_release(&heap);
}

static void test_heap_sorts(void **state)
{
    (void)state;
    static larder__heap_node nodes[1000];
    test_random rng = {test_random_seed("heap sort")};
    larder__heap heap;
    larder__heap_init(&heap);
    assert_int_equal(larder__heap_reserve(&heap, COUNT(nodes)), LARDER_OK);
    test_alloc_fail_at(1, 1);
    for (size_t i = 0; i < COUNT(nodes); i++) {
        larder__heap_insert(&heap, &nodes[i], test_random_next(&rng));
    }
    for (size_t i = 0; i < COUNT(nodes); i++) {
        larder__heap_node *first = larder__heap_first(&heap);
        for (size_t other = 0; other < COUNT(nodes); other++) {
            assert_true(nodes[other].index == 0 || nodes[other].when >= first->when);
        }
        larder__heap_remove(&heap, first);
    }
    assert_null(larder__heap_first(&heap));
    assert_int_equal(test_alloc_count(), 0); /* what was reserved is enough */
    test_alloc_fail_at(0, 0);
    larder__heap_release(&heap);
    larder__heap_release(&heap);
}

static void test_heap_that_cannot_grow_stays_as_it_was(void **state)
{
    (void)state;
    static larder__heap_node nodes[64];
    larder__heap heap;
    larder__heap_init(&heap);
    test_alloc_fail_at(1, 0);
    assert_int_equal(larder__heap_reserve(&heap, 1), LARDER_ENOMEM);
    test_alloc_fail_at(0, 0);
    assert_int_equal(larder__heap_reserve(&heap, 64), LARDER_OK);
    for (size_t i = 0; i < 64; i++) {
        larder__heap_insert(&heap, &nodes[i], 64 - i);
    }
    test_alloc_fail_at(1, 0);
    assert_int_equal(larder__heap_reserve(&heap, 1), LARDER_ENOMEM);
    test_alloc_fail_at(0, 0);
    assert_int_equal(heap.count, 64);
    for (size_t i = 64; i > 0; i--) {
        assert_ptr_equal(larder__heap_first(&heap), &nodes[i - 1]);
        larder__heap_remove(&heap, &nodes[i - 1]);
    }
    larder__heap_release(&heap);
}

static int setup(void **state)
{
    (void)state;
    test_alloc_install();
    return 0;
}

static int teardown(void **state)
{
    (void)state;
    assert_int_equal(test_alloc_live(), 0);
    return 0;
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_buf_holds_what_was_appended),
        cmocka_unit_test(test_buf_clear_keeps_the_memory),
        cmocka_unit_test(test_buf_reserve_makes_room_for_exactly_that),
        cmocka_unit_test(test_buf_formats_texts_longer_than_its_room),
        cmocka_unit_test(test_buf_remembers_a_failed_allocation_until_cleared),
        cmocka_unit_test(test_buf_refuses_sizes_that_overflow_without_asking_for_memory),
        cmocka_unit_test(test_buf_every_allocation_may_fail),
        cmocka_unit_test(test_buf_take_gives_the_bytes_away),
        cmocka_unit_test(test_buf_writes_json_strings_in_canonical_form),
        cmocka_unit_test(test_buf_writes_base64_as_rfc_4648_has_it),
        cmocka_unit_test(test_map_agrees_with_a_model),
        cmocka_unit_test(test_map_each_visits_once_and_lets_the_node_go),
        cmocka_unit_test(test_map_goes_on_when_it_cannot_grow_and_grows_later),
        cmocka_unit_test(test_map_init_reports_memory_that_runs_out),
        cmocka_unit_test(test_hash_bytes_is_fnv_1a),
        cmocka_unit_test(test_list_keeps_its_order),
        cmocka_unit_test(test_list_moves_all_to_the_end_of_another),
        cmocka_unit_test(test_heap_agrees_with_a_model_under_random_removals),
        cmocka_unit_test(test_heap_sorts),
        cmocka_unit_test(test_heap_that_cannot_grow_stays_as_it_was),
    };
    return cmocka_run_group_tests(tests, setup, teardown);
}
