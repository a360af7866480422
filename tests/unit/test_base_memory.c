/* tests/unit/test_base_memory.c: counted bodies and the allocator hook. */
#include "support.h"

#include "base/alloc.h"
#include "base/body.h"

#define COUNT(table) (sizeof(table) / sizeof(table)[0])

/* ---- body ---- */

static void test_body_copies_and_terminates(void **state)
{
    (void)state;
    char bytes[] = "a\0b";
    larder__body *body = larder__body_new(bytes, 3, 5);
    assert_non_null(body);
    bytes[0] = 'x';
    assert_int_equal(body->len, 3);
    assert_int_equal(body->content, 5);
    assert_memory_equal(body->data, "a\0b\0", 4);
    larder__body_release(body);
    body = larder__body_new(NULL, 0, 0);
    assert_non_null(body);
    assert_string_equal(body->data, "");
    larder__body_release(body);
}

static void test_body_lives_until_its_last_reference_goes(void **state)
{
    (void)state;
    long live = test_alloc_live();
    larder__body *body = larder__body_new("data", 4, 0);
    assert_ptr_equal(larder__body_retain(body), body);
    assert_ptr_equal(larder__body_retain(body), body);
    larder__body_release(body);
    larder__body_release(body);
    assert_int_equal(test_alloc_live(), live + 1);
    assert_string_equal(body->data, "data");
    larder__body_release(body);
    assert_int_equal(test_alloc_live(), live);
    assert_null(larder__body_retain(NULL));
    larder__body_release(NULL);
}

static void test_body_without_memory_is_null(void **state)
{
    (void)state;
    test_alloc_fail_at(1, 0);
    assert_null(larder__body_new("data", 4, 0));
    test_alloc_fail_at(0, 0);
    assert_null(larder__body_new("data", SIZE_MAX, 0));
    assert_null(larder__body_new("data", SIZE_MAX - sizeof(larder__body), 0));
    assert_int_equal(test_alloc_count(), 0);
}

static void share_body(void *arg)
{
    larder__body *body = arg;
    for (int i = 0; i < 20000; i++) {
        larder__body_release(larder__body_retain(body));
    }
    larder__body_release(body);
}

static void test_body_is_counted_across_threads(void **state)
{
    (void)state;
    long live = test_alloc_live();
    larder__body *body = larder__body_new("data", 4, 0);
    uv_thread_t threads[4];
    for (size_t i = 0; i < COUNT(threads); i++) {
        assert_int_equal(uv_thread_create(&threads[i], share_body, larder__body_retain(body)), 0);
    }
    for (size_t i = 0; i < COUNT(threads); i++) {
        uv_thread_join(&threads[i]);
    }
    assert_int_equal(__atomic_load_n(&body->references, __ATOMIC_SEQ_CST), 1);
    larder__body_release(body);
    assert_int_equal(test_alloc_live(), live);
}

/* ---- alloc ---- */

static int frees;

static void *refuse_malloc(size_t size)
{
    (void)size;
    return NULL;
}

static void *refuse_calloc(size_t count, size_t size)
{
    (void)count;
    (void)size;
    return NULL;
}

static void *refuse_realloc(void *block, size_t size)
{
    (void)block;
    (void)size;
    return NULL;
}

static void count_free(void *block)
{
    (void)block;
    frees++;
}

static void test_alloc_hook_takes_all_functions_or_none(void **state)
{
    (void)state;
    assert_int_equal(larder_set_allocator(NULL), LARDER_EINVAL);
    const larder_allocator whole = {refuse_malloc, refuse_calloc, refuse_realloc, count_free};
    for (int missing = 0; missing < 4; missing++) {
        larder_allocator part = whole;
        part.malloc_fn = missing == 0 ? NULL : part.malloc_fn;
        part.calloc_fn = missing == 1 ? NULL : part.calloc_fn;
        part.realloc_fn = missing == 2 ? NULL : part.realloc_fn;
        part.free_fn = missing == 3 ? NULL : part.free_fn;
        assert_int_equal(larder_set_allocator(&part), LARDER_EINVAL);
    }
    void *block = larder__malloc(10); /* what was refused is not in use */
    assert_non_null(block);
    larder__free(block);
    assert_int_equal(larder_set_allocator(&whole), LARDER_OK);
    assert_null(larder__malloc(1));
    assert_null(larder__calloc(1, 1));
    assert_null(larder__realloc(NULL, 1));
    assert_null(larder__strdup("x"));
    assert_null(larder__strndup("x", 1));
    larder__free(NULL);
    larder_free(NULL);
    assert_int_equal(frees, 0);
    larder_free(&frees);
    assert_int_equal(frees, 1);
    const larder_allocator none = {NULL, NULL, NULL, NULL};
    assert_int_equal(larder_set_allocator(&none), LARDER_OK);
    block = larder__malloc(10); /* the standard one again */
    assert_non_null(block);
    larder__free(block);
    test_alloc_install();
}

static void test_alloc_copies_strings(void **state)
{
    (void)state;
    char *copy = larder__strndup("ab\0cd", 5);
    assert_memory_equal(copy, "ab\0cd\0", 6);
    larder__free(copy);
    copy = larder__strndup(NULL, 0);
    assert_string_equal(copy, "");
    larder__free(copy);
    copy = larder__strdup("text");
    assert_string_equal(copy, "text");
    larder__free(copy);
    char *zeroed = larder__calloc(10, 10);
    for (int i = 0; i < 100; i++) {
        assert_int_equal(zeroed[i], 0);
    }
    test_alloc_fail_at(1, 0);
    assert_null(larder__realloc(zeroed, 1000));
    zeroed[99] = 1; /* it stays as it was */
    test_alloc_fail_at(0, 0);
    larder__free(zeroed);
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
        cmocka_unit_test(test_body_copies_and_terminates),
        cmocka_unit_test(test_body_lives_until_its_last_reference_goes),
        cmocka_unit_test(test_body_without_memory_is_null),
        cmocka_unit_test(test_body_is_counted_across_threads),
        cmocka_unit_test(test_alloc_hook_takes_all_functions_or_none),
        cmocka_unit_test(test_alloc_copies_strings),
    };
    return cmocka_run_group_tests(tests, setup, teardown);
}
