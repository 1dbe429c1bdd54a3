/* Bounded reading and writing: byte order, the end, and that a fault is remembered. */
#include "base/bytes.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <cmocka.h>

static void test_little_endian(void **state)
{
    (void)state;
    static const uint8_t expected[] = {0xab, 4, 3, 2, 1, 8, 7, 6,   5,  4,
                                       3,    2, 1, 2, 0, 0, 0, 'h', 'i'};
    uint8_t bytes[sizeof(expected)];
    struct bytes_writer writer = bytes_writer_init(bytes, sizeof(bytes));
    bytes_write_u8(&writer, 0xab);
    bytes_write_u32(&writer, 0x01020304u);
    bytes_write_u64(&writer, 0x0102030405060708ull);
    bytes_write_view(&writer, "hi", 2);
    assert_false(writer.failed);
    assert_int_equal(writer.len, sizeof(expected));
    assert_memory_equal(bytes, expected, sizeof(expected));

    struct bytes_reader reader = bytes_reader_init(bytes, sizeof(bytes));
    assert_int_equal(bytes_read_u8(&reader), 0xab);
    assert_int_equal(bytes_read_u32(&reader), 0x01020304u);
    assert_int_equal(bytes_read_u64(&reader), 0x0102030405060708ull);
    struct bytes_view view = bytes_read_view(&reader);
    assert_int_equal(view.len, 2);
    assert_memory_equal(view.at, "hi", 2);
    assert_int_equal(reader.left, 0);
    assert_false(reader.failed);
}

static void test_largest_numbers(void **state)
{
    (void)state;
    uint8_t bytes[8];
    bytes_put_u64(bytes, UINT64_MAX);
    assert_int_equal(bytes_get_u64(bytes), UINT64_MAX);
    assert_int_equal(bytes_get_u32(bytes), UINT32_MAX);
    bytes_put_u64(bytes, 1ull << 63);
    assert_int_equal(bytes_get_u64(bytes), 1ull << 63);
    assert_int_equal(bytes_get_u32(bytes), 0);
}

static void test_reader_remembers_its_fault(void **state)
{
    (void)state;
    uint8_t bytes[8] = {1, 2, 3, 4, 5, 6, 7, 8};
    struct bytes_reader reader = bytes_reader_init(bytes, 7);
    assert_int_equal(bytes_read_u64(&reader), 0);
    assert_true(reader.failed);
    assert_int_equal(bytes_read_u8(&reader), 0); /* although there is one */
    assert_null(bytes_read(&reader, 0));
    struct bytes_view view = bytes_read_view(&reader);
    assert_null(view.at);
    assert_int_equal(view.len, 0);
}

static void test_view_longer_than_what_is_left(void **state)
{
    (void)state;
    uint8_t bytes[8] = {5, 0, 0, 0, 'a', 'b', 'c', 'd'};
    struct bytes_reader reader = bytes_reader_init(bytes, sizeof(bytes));
    struct bytes_view view = bytes_read_view(&reader);
    assert_true(reader.failed);
    assert_null(view.at);
    assert_int_equal(view.len, 0);
    bytes_put_u32(bytes, UINT32_MAX);
    reader = bytes_reader_init(bytes, sizeof(bytes));
    bytes_read_view(&reader);
    assert_true(reader.failed);
    bytes[0] = 4;
    bytes[1] = bytes[2] = bytes[3] = 0;
    reader = bytes_reader_init(bytes, sizeof(bytes));
    assert_int_equal(bytes_read_view(&reader).len, 4);
    assert_false(reader.failed);
}

static void test_writer_stops_at_its_end(void **state)
{
    (void)state;
    uint8_t bytes[8] = {0, 0, 0, 0, 0, 0, 0, 0x77};
    struct bytes_writer writer = bytes_writer_init(bytes, 7);
    bytes_write_u32(&writer, 1);
    bytes_write_u32(&writer, 2);
    assert_true(writer.failed);
    assert_int_equal(writer.len, 4);
    bytes_write_u8(&writer, 9); /* although there is room */
    assert_int_equal(writer.len, 4);
    assert_int_equal(bytes[4], 0);
    assert_int_equal(bytes[7], 0x77);
    assert_null(bytes_write_room(&writer, 0));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_little_endian),
        cmocka_unit_test(test_largest_numbers),
        cmocka_unit_test(test_reader_remembers_its_fault),
        cmocka_unit_test(test_view_longer_than_what_is_left),
        cmocka_unit_test(test_writer_stops_at_its_end),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
