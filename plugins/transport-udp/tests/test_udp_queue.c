/* Unit tests of the outgoing stream: by hand, and at random against a flat array. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "base/rand.h"
#include "counting_host.h"
#include "queue.h"

#define SLICE_LEN_MAX (5u * QUEUE_BLOCK_LEN)

/* The byte at an offset of the stream; its period is prime, so that no block is like another. */
static uint8_t get_byte(uint64_t offset)
{
    return (uint8_t)(offset % 251);
}

static void fill(uint8_t *bytes, uint64_t offset, size_t len)
{
    for (size_t i = 0; i < len; i++) {
        bytes[i] = get_byte(offset + i);
    }
}

static void check_bytes(const struct queue *queue, uint64_t from, uint32_t len)
{
    struct kv_slice slices[QUEUE_SLICES_MAX];
    uint32_t slices_len = queue_get(queue, from, len, slices);
    assert_true(slices_len <= QUEUE_SLICES_MAX);
    uint64_t offset = from;
    for (uint32_t i = 0; i < slices_len; i++) {
        const uint8_t *bytes = slices[i].bytes;
        assert_true(slices[i].len > 0);
        for (size_t at = 0; at < slices[i].len; at++) {
            if (bytes[at] != get_byte(offset + at)) {
                fail_msg("byte %llu is wrong", (unsigned long long)(offset + at));
            }
        }
        offset += slices[i].len;
    }
    assert_true(offset == from + len);
}

static void check_all(const struct queue *queue)
{
    for (uint64_t from = queue->base; from < queue->end;) {
        uint64_t left = queue->end - from;
        uint32_t len = left < 65536 ? (uint32_t)left : 65536;
        check_bytes(queue, from, len);
        from += len;
    }
}

static void test_by_hand(void **state)
{
    (void)state;
    struct counting_host host;
    counting_host_init(&host);
    struct queue queue;
    queue_init(&queue, &host.table);
    uint8_t *bytes = malloc(10 * QUEUE_BLOCK_LEN);
    assert_non_null(bytes);
    assert_int_equal(queue_append(&queue, NULL, 0), KV_OK);
    assert_int_equal(host.blocks, 0);
    /* exactly one block, then one byte more */
    fill(bytes, 0, QUEUE_BLOCK_LEN + 1);
    struct kv_slice slices[3] = {{bytes, QUEUE_BLOCK_LEN - 1}, {NULL, 0}, {bytes, 1}};
    slices[2].bytes = bytes + QUEUE_BLOCK_LEN - 1;
    assert_int_equal(queue_append(&queue, slices, 3), KV_OK);
    assert_int_equal(queue.blocks_len, 1);
    slices[0] = (struct kv_slice){bytes + QUEUE_BLOCK_LEN, 1};
    assert_int_equal(queue_append(&queue, slices, 1), KV_OK);
    assert_int_equal(queue.blocks_len, 2);
    check_all(&queue);
    queue_release(&queue, QUEUE_BLOCK_LEN);
    assert_int_equal(queue.blocks_len, 1);
    queue_release(&queue, QUEUE_BLOCK_LEN + 1);
    assert_int_equal(host.blocks, 0);
    /* 64 KiB that begin at the last byte of a block touch five of them */
    queue_close(&queue);
    queue_init(&queue, &host.table);
    fill(bytes, 0, 6 * QUEUE_BLOCK_LEN);
    slices[0] = (struct kv_slice){bytes, 6 * QUEUE_BLOCK_LEN};
    assert_int_equal(queue_append(&queue, slices, 1), KV_OK);
    struct kv_slice got[QUEUE_SLICES_MAX];
    assert_int_equal(queue_get(&queue, QUEUE_BLOCK_LEN - 1, 65536, got), 5);
    assert_int_equal(got[0].len, 1);
    assert_int_equal(queue_get(&queue, 0, 65536, got), 4);
    assert_int_equal(queue_get(&queue, 7, 0, got), 0);
    queue_close(&queue);
    assert_true(queue.base == queue.end);
    free(bytes);
    counting_host_close(&host);
}

/* An append that gets no memory at any of its calls takes nothing; so does one that is cut. */
static void test_taken_back(void **state)
{
    (void)state;
    uint8_t *bytes = malloc(10 * QUEUE_BLOCK_LEN);
    assert_non_null(bytes);
    for (uint32_t before = 0; before < 3 * QUEUE_BLOCK_LEN; before += QUEUE_BLOCK_LEN / 2) {
        struct counting_host host;
        counting_host_init(&host);
        struct queue queue;
        queue_init(&queue, &host.table);
        fill(bytes, 0, before);
        struct kv_slice slices[2] = {{bytes, before}, {NULL, 0}};
        assert_int_equal(queue_append(&queue, slices, 1), KV_OK);
        uint32_t blocks_len = queue.blocks_len;
        fill(bytes, before, 10 * QUEUE_BLOCK_LEN);
        slices[0] = (struct kv_slice){bytes, 3 * QUEUE_BLOCK_LEN};
        slices[1] = (struct kv_slice){bytes + 3 * QUEUE_BLOCK_LEN, 7 * QUEUE_BLOCK_LEN};
        int32_t status = KV_E_NOMEM;
        uint32_t refused = 0;
        while (status != KV_OK) {
            host.fail_in = refused + 1;
            status = queue_append(&queue, slices, 2);
            if (status != KV_OK) {
                assert_int_equal(status, KV_E_NOMEM);
                refused++;
                assert_int_equal(queue.blocks_len, blocks_len);
                assert_int_equal(host.blocks, before == 0 ? 0 : blocks_len + 1);
                assert_true(queue.end == before);
                check_all(&queue);
            }
        }
        host.fail_in = 0;
        assert_true(refused >= 10);
        check_all(&queue);
        queue_cut(&queue, before);
        assert_int_equal(queue.blocks_len, blocks_len);
        assert_int_equal(host.blocks, before == 0 ? 0 : blocks_len + 1);
        assert_true(queue.end == before);
        check_all(&queue);
        queue_close(&queue);
        counting_host_close(&host);
    }
    free(bytes);
}

/* Two slices at random, from the end of the queue on; cuts some of what it appended. */
static void append_some(struct queue *queue, struct counting_host *host, struct rand *rand,
                        uint8_t *bytes)
{
    size_t len_max = rand_percent(rand, 80) ? 3000 : SLICE_LEN_MAX;
    size_t len = (size_t)rand_below(rand, len_max + 1);
    size_t first = (size_t)rand_below(rand, len + 1);
    uint64_t end = queue->end;
    fill(bytes, end, len);
    struct kv_slice slices[2] = {{bytes, first}, {bytes + first, len - first}};
    host->fail_in = rand_below(rand, 8);
    int32_t status = queue_append(queue, slices, 2);
    host->fail_in = 0;
    if (status != KV_OK) {
        assert_int_equal(status, KV_E_NOMEM);
        assert_true(queue->end == end);
        return;
    }
    assert_true(queue->end == end + len);
    if (rand_percent(rand, 10)) {
        queue_cut(queue, end + rand_below(rand, len + 1));
    }
}

static void test_random(void **state)
{
    (void)state;
    uint8_t *bytes = malloc(SLICE_LEN_MAX);
    assert_non_null(bytes);
    for (uint64_t seed = 1; seed <= 20; seed++) {
        struct rand rand = {seed};
        struct counting_host host;
        counting_host_init(&host);
        struct queue queue;
        queue_init(&queue, &host.table);
        for (int step = 0; step < 400; step++) {
            append_some(&queue, &host, &rand, bytes);
            uint64_t held = queue.end - queue.base;
            if (held > 0 && rand_percent(&rand, 60)) {
                uint64_t from = queue.base + rand_below(&rand, held);
                uint64_t left = queue.end - from;
                uint64_t len = rand_below(&rand, (left < 65536 ? left : 65536) + 1);
                check_bytes(&queue, from, (uint32_t)len);
            }
            if (rand_percent(&rand, 50)) {
                bool is_all = rand_percent(&rand, 10);
                queue_release(&queue, queue.base + (is_all ? held : rand_below(&rand, held + 1)));
            }
            held = queue.end - queue.base;
            assert_true(held > 0 || host.blocks == 0);
            assert_true(queue.blocks_len <= held / QUEUE_BLOCK_LEN + 2);
            assert_int_equal(host.blocks, queue.blocks_len == 0 ? 0 : queue.blocks_len + 1);
        }
        check_all(&queue);
        queue_close(&queue);
        counting_host_close(&host);
    }
    free(bytes);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_by_hand),
        cmocka_unit_test(test_taken_back),
        cmocka_unit_test(test_random),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
