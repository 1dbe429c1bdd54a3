/* The table of status codes. */
#include "base/status.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <cmocka.h>
#include <string.h>

static void test_every_code_has_name_text_and_class(void **state)
{
    (void)state;
    for (int32_t code = -1; code >= KV_STATUS_LAST_; code--) {
        assert_memory_equal(status_name(code), "KV_E_", 5);
        assert_true(strlen(status_text(code)) > 0);
        assert_string_not_equal(status_text(code), "unknown status");
        int class = status_class(code);
        assert_true(class == KV_CLASS_RETRY || class == KV_CLASS_FATAL || class == KV_CLASS_CALLER);
        for (int32_t other = -1; other > code; other--) {
            assert_string_not_equal(status_name(other), status_name(code));
            assert_string_not_equal(status_text(other), status_text(code));
        }
    }
}

static void test_known_codes(void **state)
{
    (void)state;
    assert_string_equal(status_name(KV_OK), "KV_OK");
    assert_string_equal(status_text(KV_OK), "done");
    assert_int_equal(status_class(KV_OK), 0);
    assert_string_equal(status_name(KV_E_BUSY), "KV_E_BUSY");
    assert_int_equal(status_class(KV_E_BUSY), KV_CLASS_RETRY);
    assert_int_equal(status_class(KV_E_CORRUPT), KV_CLASS_FATAL);
    assert_int_equal(status_class(KV_E_INVALID), KV_CLASS_CALLER);
    /* part of the plugin ABI: they never change */
    assert_int_equal(KV_E_NOMEM, -1);
    assert_int_equal(KV_E_CORRUPT, -6);
    assert_int_equal(KV_E_EXISTS, -17);
}

static void test_numbers_that_are_no_code(void **state)
{
    (void)state;
    static const int32_t numbers[] = {1, 77, INT32_MAX, INT32_MIN, KV_STATUS_LAST_ - 1};
    for (size_t i = 0; i < sizeof(numbers) / sizeof(numbers[0]); i++) {
        assert_string_equal(status_text(numbers[i]), "unknown status");
        assert_int_equal(status_class(numbers[i]), KV_CLASS_FATAL);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_every_code_has_name_text_and_class),
        cmocka_unit_test(test_known_codes),
        cmocka_unit_test(test_numbers_that_are_no_code),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
