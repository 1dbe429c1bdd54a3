/*
 * Unit tests of the incoming stream: by hand, and at random, where the pieces of one stream come
 * late, twice, overlapping or not at all, and memory runs out now and then.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "assembly.h"
#include "base/rand.h"
#include "counting_host.h"

#define KEPT_LEN_MAX     16384u /* of an empty buffer */
#define MESSAGE_MAX      200000u
#define MESSAGES_LEN_MAX 4096u

/* A stream of messages, and what of it came out at the other end. */
struct world {
    struct counting_host host;
    struct assembly assembly;
    uint8_t *stream;
    size_t stream_len;
    size_t offsets[MESSAGES_LEN_MAX]; /* of the messages, without their headers */
    uint32_t lens[MESSAGES_LEN_MAX];
    uint32_t messages_len;
    uint32_t delivered;
    uint32_t in_place; /* of those: borrowed from `piece` */
    uint32_t nomem;    /* pieces refused */
    uint32_t close_at; /* the delivery at which the link goes away; UINT32_MAX: never */
    const uint8_t *piece;
    size_t piece_len;
};

static void world_init(struct world *world, uint32_t message_max)
{
    memset(world, 0, sizeof *world);
    counting_host_init(&world->host);
    assembly_init(&world->assembly, &world->host.table, message_max);
    world->close_at = UINT32_MAX;
}

static void world_close(struct world *world)
{
    assembly_close(&world->assembly);
    free(world->stream);
    counting_host_close(&world->host);
}

static void world_append(struct world *world, uint32_t len, struct rand *rand)
{
    world->stream = realloc(world->stream, world->stream_len + 4 + len);
    assert_non_null(world->stream);
    uint8_t *at = world->stream + world->stream_len;
    for (uint32_t i = 0; i < 4; i++) {
        at[i] = (uint8_t)(len >> (8 * i));
    }
    for (uint32_t i = 0; i < len; i += 8) {
        uint64_t bits = rand_next(rand);
        memcpy(at + 4 + i, &bits, len - i < 8 ? len - i : 8);
    }
    assert_true(world->messages_len < MESSAGES_LEN_MAX);
    world->offsets[world->messages_len] = world->stream_len + 4;
    world->lens[world->messages_len] = len;
    world->messages_len++;
    world->stream_len += 4 + (size_t)len;
}

static bool on_message(void *ctx, const uint8_t *bytes, uint32_t len)
{
    struct world *world = ctx;
    uint32_t index = world->delivered;
    assert_true(index < world->messages_len);
    assert_int_equal(len, world->lens[index]);
    assert_memory_equal(bytes, world->stream + world->offsets[index], len);
    world->delivered++;
    if (bytes >= world->piece && bytes <= world->piece + world->piece_len) {
        world->in_place++;
    }
    if (world->delivered == world->close_at) {
        assembly_close(&world->assembly);
        memset(&world->assembly, 0xa5, sizeof world->assembly);
        return false;
    }
    return true;
}

/* Gives [offset, offset + len) of the stream in memory of its own. */
static int32_t world_give(struct world *world, size_t offset, size_t len)
{
    uint8_t *piece = malloc(len + 1);
    assert_non_null(piece);
    memcpy(piece, world->stream + offset, len);
    world->piece = piece;
    world->piece_len = len;
    int32_t status = assembly_add(&world->assembly, offset, piece, len, on_message, world);
    free(piece);
    return status;
}

static void test_in_place(void **state)
{
    (void)state;
    struct rand rand = {1};
    struct world world;
    world_init(&world, 1000);
    for (uint32_t i = 0; i < 9; i++) {
        world_append(&world, i * 10, &rand);
    }
    /* Whole messages, several in a piece: nothing is copied. */
    assert_int_equal(world_give(&world, 0, world.offsets[4] - 4), KV_OK);
    assert_int_equal(world.delivered, 4);
    assert_int_equal(world.in_place, 4);
    assert_int_equal(world.host.calls, 0);
    /* Two and the beginning of the next: that alone is kept, and what follows it is in place. */
    assert_int_equal(world_give(&world, world.offsets[4] - 4, 44 + 54 + 10), KV_OK);
    assert_int_equal(world.delivered, 6);
    assert_int_equal(world.in_place, 6);
    assert_true(ranges_total(&world.assembly.have) == 10);
    size_t offset = world.offsets[6] + 6;
    assert_int_equal(world_give(&world, offset, world.stream_len - offset), KV_OK);
    assert_int_equal(world.delivered, 9);
    assert_int_equal(world.in_place, 8);
    assert_int_equal(world.assembly.have.len, 0);
    assert_true(assembly_limit(&world.assembly) == world.stream_len + assembly_window(1000));
    /* All of it once more: nothing new. */
    assert_int_equal(world_give(&world, 0, world.stream_len), KV_OK);
    assert_int_equal(world.delivered, 9);
    world_close(&world);
}

/* Every way to cut a short stream in three, in every order. */
static void test_three_pieces(void **state)
{
    (void)state;
    static const uint8_t orders[6][3] = {{0, 1, 2}, {0, 2, 1}, {1, 0, 2},
                                         {1, 2, 0}, {2, 0, 1}, {2, 1, 0}};
    struct rand rand = {2};
    for (size_t first = 0; first <= 23; first++) {
        for (size_t second = first; second <= 23; second++) {
            for (uint32_t order = 0; order < 6; order++) {
                struct world world;
                world_init(&world, 1000);
                world_append(&world, 3, &rand);
                world_append(&world, 0, &rand);
                world_append(&world, 8, &rand);
                const size_t cuts[4] = {0, first, second, world.stream_len};
                assert_int_equal(world.stream_len, 23);
                for (uint32_t i = 0; i < 3; i++) {
                    uint32_t piece = orders[order][i];
                    size_t len = cuts[piece + 1] - cuts[piece];
                    assert_int_equal(world_give(&world, cuts[piece], len), KV_OK);
                }
                assert_int_equal(world.delivered, 3);
                assert_true(world.assembly.base == 23);
                world_close(&world);
            }
        }
    }
}

/* The bytes that came first count. */
static void test_first_wins(void **state)
{
    (void)state;
    struct rand rand = {3};
    struct world world;
    world_init(&world, 1000);
    world_append(&world, 100, &rand);
    assert_int_equal(world_give(&world, 20, 10), KV_OK);
    assert_int_equal(world_give(&world, 40, 10), KV_OK);
    uint8_t *right = malloc(world.stream_len);
    assert_non_null(right);
    memcpy(right, world.stream, world.stream_len);
    memset(world.stream + 20, 1, 10);
    memset(world.stream + 40, 2, 10);
    assert_int_equal(world_give(&world, 10, 50), KV_OK);
    memcpy(world.stream, right, world.stream_len);
    assert_int_equal(world_give(&world, 0, 10), KV_OK);
    assert_int_equal(world_give(&world, 60, 44), KV_OK);
    assert_int_equal(world.delivered, 1);
    free(right);
    world_close(&world);
}

static void test_limit(void **state)
{
    (void)state;
    struct rand rand = {4};
    struct world world;
    world_init(&world, 1000);
    uint64_t window = assembly_window(1000);
    assert_true(window == 1000 + 4 + 1024 * 1024);
    while (world.stream_len <= window + 1000) {
        world_append(&world, 1000, &rand);
    }
    assert_true(assembly_limit(&world.assembly) == window);
    assert_int_equal(world_give(&world, window, 1), KV_E_MALFORMED);
    assert_int_equal(world_give(&world, window - 1, 2), KV_E_MALFORMED);
    uint8_t byte = 0;
    assert_int_equal(assembly_add(&world.assembly, UINT64_MAX, &byte, 1, on_message, &world),
                     KV_E_MALFORMED);
    assert_int_equal(assembly_add(&world.assembly, 1, &byte, SIZE_MAX, on_message, &world),
                     KV_E_MALFORMED);
    assert_int_equal(world.host.calls, 0);
    assert_int_equal(world_give(&world, 1, window - 1), KV_OK);
    assert_int_equal(world.assembly.capacity, window); /* not a byte more */
    assert_int_equal(world.delivered, 0);
    assert_int_equal(world_give(&world, 0, 1), KV_OK);
    assert_int_equal(world.delivered, window / 1004);
    assert_true(assembly_limit(&world.assembly) == world.delivered * 1004 + window);
    /* Full up to the new limit, with a gap again: the bytes move, the buffer does not grow. */
    size_t from = (size_t)window + 1;
    assert_int_equal(world_give(&world, from, world.stream_len - from), KV_OK);
    assert_int_equal(world.assembly.capacity, window);
    assert_int_equal(world_give(&world, window, 1), KV_OK);
    assert_int_equal(world.delivered, world.messages_len);
    assert_true(world.assembly.capacity <= KEPT_LEN_MAX); /* and goes back */
    world_close(&world);
}

/* An announced length is found too large as soon as it is there, whatever it came in. */
static void test_too_large(void **state)
{
    (void)state;
    for (uint32_t before = 0; before < 2; before++) {
        for (size_t first = 0; first <= 4; first++) {
            for (uint32_t is_late = 0; is_late < 2; is_late++) {
                struct rand rand = {5};
                struct world world;
                world_init(&world, 1000);
                for (uint32_t i = 0; i < before; i++) {
                    world_append(&world, 1000, &rand);
                }
                size_t begin = world.stream_len;
                world_append(&world, 1001, &rand);
                size_t pieces[3] = {begin + first, begin + 4, begin + 4};
                int32_t status = KV_OK;
                if (is_late) {
                    assert_int_equal(world_give(&world, pieces[0], begin + 4 - pieces[0]),
                                     first == 0 && before == 0 ? KV_E_TOO_LARGE : KV_OK);
                    status = world_give(&world, 0, pieces[0]);
                    assert_int_equal(status, first == 0 && before == 0 ? KV_OK : KV_E_TOO_LARGE);
                } else {
                    status = world_give(&world, 0, pieces[0]);
                    assert_int_equal(status, first == 4 ? KV_E_TOO_LARGE : KV_OK);
                    if (first < 4) {
                        status = world_give(&world, pieces[0], begin + 4 - pieces[0]);
                        assert_int_equal(status, KV_E_TOO_LARGE);
                    }
                }
                assert_int_equal(world.delivered, before);
                assert_true(world.host.bytes <= KEPT_LEN_MAX);
                world_close(&world);
            }
        }
    }
}

static void test_gaps(void **state)
{
    (void)state;
    struct rand rand = {6};
    struct world world;
    world_init(&world, MESSAGE_MAX);
    world_append(&world, 10000, &rand);
    for (uint32_t i = 0; i < ASSEMBLY_GAPS_MAX; i++) {
        assert_int_equal(world_give(&world, 10 + 4 * (size_t)i, 1), KV_OK);
    }
    assert_int_equal(world_give(&world, 9990, 1), KV_E_RETRY);
    assert_int_equal(world_give(&world, 12, 1), KV_E_RETRY);
    assert_int_equal(world_give(&world, 2, 1), KV_E_RETRY);
    assert_int_equal(world.assembly.have.len, ASSEMBLY_GAPS_MAX);
    assert_true(ranges_total(&world.assembly.have) == ASSEMBLY_GAPS_MAX);
    /* What makes a gap smaller, or closes some, is taken. */
    assert_int_equal(world_give(&world, 0, 1), KV_OK);
    assert_int_equal(world_give(&world, 1, 1), KV_OK);
    assert_int_equal(world_give(&world, 11, 1), KV_OK);
    assert_int_equal(world_give(&world, 9990, 1), KV_E_RETRY);
    assert_int_equal(world_give(&world, 12, 3), KV_OK);
    assert_int_equal(world_give(&world, 9990, 1), KV_OK);
    assert_int_equal(world_give(&world, 2, world.stream_len - 2), KV_OK);
    assert_int_equal(world.delivered, 1);
    assert_int_equal(world.assembly.have.len, 0);
    world_close(&world);
}

/* The link goes away from within each of its deliveries: what is left of it is not touched, which
 * the sanitizers and the pattern in its place would show. */
static void test_closed(void **state)
{
    (void)state;
    for (uint32_t close_at = 1; close_at <= 5; close_at++) {
        for (size_t late = 0; late < 20; late++) {
            struct rand rand = {7};
            struct world world;
            world_init(&world, 1000);
            for (uint32_t i = 0; i < 6; i++) {
                world_append(&world, 20, &rand);
            }
            world.close_at = close_at;
            if (late > 0) { /* out of the buffer */
                assert_int_equal(world_give(&world, late, world.stream_len - late), KV_OK);
            }
            size_t len = late > 0 ? late : world.stream_len - 1;
            assert_int_equal(world_give(&world, 0, len), KV_E_CLOSED);
            assert_int_equal(world.delivered, close_at);
            const uint8_t *bytes = (const uint8_t *)&world.assembly;
            for (size_t i = 0; i < sizeof world.assembly; i++) {
                assert_int_equal(bytes[i], 0xa5);
            }
            free(world.stream);
            counting_host_close(&world.host);
        }
    }
}

/* A steady stream whose messages never end with a piece needs no memory again and again, and none
 * for what is announced and did not come. */
static void test_steady(void **state)
{
    (void)state;
    struct rand rand = {8};
    struct world world;
    world_init(&world, 64u << 20);
    for (uint32_t i = 0; i < 2000; i++) {
        world_append(&world, 1000, &rand);
    }
    for (size_t offset = 0; offset < world.stream_len; offset += 1201) {
        size_t left = world.stream_len - offset;
        assert_int_equal(world_give(&world, offset, left < 1201 ? left : 1201), KV_OK);
    }
    assert_int_equal(world.delivered, world.messages_len);
    assert_true(world.host.calls <= 2);
    assert_true(world.host.bytes_most <= KEPT_LEN_MAX);
    size_t begin = world.stream_len;
    world_append(&world, 64u << 20, &(struct rand){9});
    world.host.calls = 0;
    for (uint32_t i = 0; i < 100; i++) {
        assert_int_equal(world_give(&world, begin + 1000 * (size_t)i, 1000), KV_OK);
        assert_true(world.assembly.capacity <= 2 * 1000 * ((size_t)i + 1) + 4096);
    }
    assert_true(world.host.calls <= 8); /* it doubles */
    world_close(&world);
}

static bool count_message(void *ctx, const uint8_t *bytes, uint32_t len)
{
    uint32_t *count = ctx;
    (void)bytes;
    (void)len;
    *count += 1;
    return true;
}

/* A peer that keeps bytes at the far end of the window while it sends the smallest messages at the
 * near one: the buffer is not moved for each of them. */
static void test_far_bytes_move_little(void **state)
{
    (void)state;
    enum { COUNT = 20000 };
    struct counting_host host;
    struct assembly assembly;
    uint32_t delivered = 0;
    uint32_t moves = 0;
    counting_host_init(&host);
    assembly_init(&assembly, &host.table, 1u << 20);
    for (uint32_t i = 0; i < COUNT; i++) {
        size_t start = assembly.start;
        uint64_t limit = assembly_limit(&assembly);
        assert_int_equal(assembly_add(&assembly, limit - 4, (const uint8_t *)"far", 4,
                                      count_message, &delivered),
                         KV_OK);
        moves += assembly.start < start;
        assert_int_equal(assembly_add(&assembly, assembly.base, (const uint8_t *)"\0\0\0\0", 4,
                                      count_message, &delivered),
                         KV_OK);
        assert_int_equal(delivered, i + 1);
    }
    assert_true(moves <= 1);
    assert_true(assembly.capacity < (size_t)3 << 20);
    assembly_close(&assembly);
    counting_host_close(&host);
}

/* ---- at random ---- */

#define PIECES_LEN_MAX 65536u

/* The stream cut in pieces; those that were taken are not sent again but by chance. */
struct pieces {
    size_t offsets[PIECES_LEN_MAX + 1];
    bool is_taken[PIECES_LEN_MAX];
    uint32_t len;
    uint32_t first; /* that was not taken */
};

static void pieces_cut(struct pieces *pieces, size_t stream_len, size_t len_max, struct rand *rand)
{
    memset(pieces, 0, sizeof *pieces);
    while (pieces->offsets[pieces->len] < stream_len) {
        size_t left = stream_len - pieces->offsets[pieces->len];
        size_t len = 1 + (size_t)rand_below(rand, len_max);
        assert_true(pieces->len < PIECES_LEN_MAX);
        pieces->len++;
        pieces->offsets[pieces->len] = pieces->offsets[pieces->len - 1] + (len < left ? len : left);
    }
}

/* Sends one piece as a bad network might let it through: any of the next `spread` ones. */
static void send_some(struct world *world, struct pieces *pieces, uint32_t spread,
                      struct rand *rand)
{
    while (pieces->first < pieces->len && pieces->is_taken[pieces->first]) {
        pieces->first++;
    }
    uint32_t low = pieces->first > spread / 8 ? pieces->first - spread / 8 : 0;
    uint32_t index = low + (uint32_t)rand_below(rand, spread);
    if (rand_percent(rand, 25) || index >= pieces->len) {
        index = pieces->first;
    }
    bool is_again = index < pieces->len && pieces->is_taken[index];
    if (index >= pieces->len || (is_again && rand_percent(rand, 80)) || rand_percent(rand, 10)) {
        return; /* nothing left, not sent again, or lost */
    }
    size_t from = pieces->offsets[index];
    size_t to = pieces->offsets[index + 1];
    if (rand_percent(rand, 20)) {
        size_t more = (size_t)rand_below(rand, 2000);
        from -= more < from ? more : from;
        to += more < world->stream_len - to ? more : world->stream_len - to;
    }
    uint64_t limit = assembly_limit(&world->assembly);
    if (to > limit) {
        return; /* a sender that keeps to it */
    }
    world->host.fail_in = rand_percent(rand, 50) ? 1 + rand_below(rand, 2) : 0;
    int32_t status = world_give(world, from, to - from);
    world->host.fail_in = 0;
    assert_true(status == KV_OK || status == KV_E_NOMEM || status == KV_E_RETRY);
    world->nomem += status == KV_E_NOMEM;
    pieces->is_taken[index] = pieces->is_taken[index] || status == KV_OK;
    assert_true(assembly_limit(&world->assembly) >= limit);
}

static void test_random(void **state)
{
    (void)state;
    struct pieces *pieces = malloc(sizeof *pieces);
    assert_non_null(pieces);
    uint32_t nomem = 0;
    for (uint64_t seed = 1; seed <= 24; seed++) {
        struct rand rand = {seed};
        struct world world;
        world_init(&world, MESSAGE_MAX);
        uint32_t messages_len = seed % 3 == 0 ? 2000 : 60;
        for (uint32_t i = 0; i < messages_len; i++) {
            bool is_long = seed % 3 != 0 && rand_percent(&rand, 50);
            uint64_t len = rand_below(&rand, is_long ? MESSAGE_MAX + 1 : 300);
            world_append(&world, (uint32_t)len, &rand);
        }
        world_append(&world, seed % 2 == 0 ? MESSAGE_MAX : 0, &rand);
        pieces_cut(pieces, world.stream_len, seed % 2 == 0 ? 1500 : 60000, &rand);
        uint32_t spread = (uint32_t[]){4, 50, 3000}[seed % 4 % 3];
        uint64_t window = assembly_window(MESSAGE_MAX);
        uint64_t capacity_max = window + window / ASSEMBLY_SPARE_SHARE;
        uint64_t steps = 0;
        while (pieces->first < pieces->len) {
            send_some(&world, pieces, spread, &rand);
            assert_true(world.assembly.capacity <= capacity_max);
            assert_true(world.assembly.have.len <= ASSEMBLY_GAPS_MAX + 1);
            assert_true(world.assembly.have.len > 0 || world.assembly.capacity <= KEPT_LEN_MAX);
            steps++;
            assert_true(steps < 100 * (uint64_t)pieces->len + 10000);
        }
        assert_int_equal(world.delivered, world.messages_len);
        assert_true(world.assembly.base == world.stream_len);
        assert_int_equal(world.assembly.have.len, 0);
        assert_true(world.host.bytes <= KEPT_LEN_MAX + 1024);
        assert_true(world.host.bytes_most <= 2 * capacity_max + 65536);
        nomem += world.nomem;
        world_close(&world);
    }
    assert_true(nomem > 50);
    free(pieces);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_in_place),
        cmocka_unit_test(test_three_pieces),
        cmocka_unit_test(test_first_wins),
        cmocka_unit_test(test_limit),
        cmocka_unit_test(test_too_large),
        cmocka_unit_test(test_gaps),
        cmocka_unit_test(test_closed),
        cmocka_unit_test(test_steady),
        cmocka_unit_test(test_far_bytes_move_little),
        cmocka_unit_test(test_random),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
