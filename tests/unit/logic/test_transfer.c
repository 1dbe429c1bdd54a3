/*
 * The transfer: pieces of the primary's content, applied by a joiner while updates flow, make its
 * memory and its store equal to the primary's, whatever it held before.
 */
#include "fixture.h"
#include "joiner.h"

#include "base/alloc.h"
#include "base/hash.h"
#include "base/rand.h"

#include <stdlib.h>
#include <string.h>

/* --- cutting --- */

static void an_empty_store_is_one_empty_piece(void **state)
{
    (void)state;
    struct store *store = store_create();
    struct buffer records;
    uint32_t count = 7;
    buffer_init(&records);
    assert_true(transfer_cut(store, 0, UINT64_MAX, 1000, &records, &count) == UINT64_MAX);
    assert_int_equal(count, 0);
    assert_int_equal(records.len, 0);
    buffer_close(&records);
    store_destroy(store);
}

/* The pieces join without a gap or an overlap, keep to the limit, and hold every pair once. */
static void pieces_cover_everything_once(void **state)
{
    (void)state;
    const size_t bytes_max = 1000;
    struct store *store = store_create();
    struct store *copy = store_create();
    char key[32];
    for (uint64_t i = 1; i <= 500; i++) {
        snprintf(key, sizeof(key), "key-%llu", (unsigned long long)i);
        joiner_fill(store, key, "value", 1, i);
    }
    uint64_t low = 0;
    uint64_t high;
    uint32_t sum = 0;
    do {
        struct buffer records;
        uint32_t count;
        buffer_init(&records);
        high = transfer_cut(store, low, UINT64_MAX, bytes_max, &records, &count);
        assert_true(high >= low);
        assert_true(records.len <= bytes_max);
        assert_true(count > 0 || high == UINT64_MAX);
        struct bytes_reader reader = bytes_reader_init(records.bytes, records.len);
        struct kv_record record;
        while (reader.left > 0) {
            assert_true(record_decode(&reader, &record));
            uint64_t hash = hash_bytes(record.key, record.key_len);
            assert_true(hash >= low && hash <= high);
        }
        assert_int_equal(joiner_apply_batch(copy, &records), count);
        sum += count;
        low = high + 1;
        buffer_close(&records);
    } while (high != UINT64_MAX);
    assert_int_equal(sum, 500);
    joiner_assert_same(store, copy);
    store_destroy(store);
    store_destroy(copy);
}

static void a_piece_holds_one_pair_at_least(void **state)
{
    (void)state;
    struct store *store = store_create();
    struct buffer records;
    uint32_t count;
    buffer_init(&records);
    joiner_fill(store, "a", "a value larger than the limit", 1, 1);
    joiner_fill(store, "b", "a value larger than the limit", 1, 2);
    uint64_t high = transfer_cut(store, 0, UINT64_MAX, 1, &records, &count);
    assert_int_equal(count, 1);
    assert_true(high != UINT64_MAX);
    assert_true(transfer_cut(store, high + 1, UINT64_MAX, 1, &records, &count) == UINT64_MAX);
    assert_int_equal(count, 1);
    buffer_close(&records);
    store_destroy(store);
}

/* A piece ends where its range does, and is told to. */
static void a_piece_keeps_to_its_range(void **state)
{
    (void)state;
    struct store *store = store_create();
    struct buffer records;
    uint32_t count;
    buffer_init(&records);
    joiner_fill(store, "a", "value", 1, 1);
    uint64_t hash = hash_bytes("a", 1);
    assert_true(transfer_cut(store, 0, hash - 1, 1000, &records, &count) == hash - 1);
    assert_int_equal(count, 0);
    assert_true(transfer_cut(store, hash, hash, 1000, &records, &count) == hash);
    assert_int_equal(count, 1);
    assert_true(transfer_cut(store, hash + 1, UINT64_MAX, 1000, &records, &count) == UINT64_MAX);
    assert_int_equal(count, 0);
    buffer_close(&records);
    store_destroy(store);
}

/* --- applying --- */

static void keys_that_the_primary_lacks_disappear(void **state)
{
    (void)state;
    struct joiner joiner;
    struct store *primary = store_create();
    joiner_open(&joiner);
    joiner_put(&joiner, "stale", "value", 1, 3);
    joiner_put(&joiner, "", "an empty key", 1, 4);
    assert_int_equal(joiner_take(&joiner, primary, 10, 10), 2);
    assert_int_equal(store_len(joiner.memory), 0);
    assert_int_equal(store_len(joiner.disk), 0);
    joiner_close(&joiner);
    store_destroy(primary);
}

static void what_is_the_same_already_is_not_written_again(void **state)
{
    (void)state;
    struct joiner joiner;
    struct store *primary = store_create();
    joiner_open(&joiner);
    joiner_fill(primary, "same", "value", 1, 3);
    joiner_put(&joiner, "same", "value", 1, 3);
    joiner_fill(primary, "other", "new", 1, 5);
    joiner_put(&joiner, "other", "old", 1, 4);
    assert_int_equal(joiner_take(&joiner, primary, 10, 10), 1);
    joiner_assert_same(primary, joiner.memory);
    joiner_assert_same(primary, joiner.disk);
    joiner_close(&joiner);
    store_destroy(primary);
}

static void the_tail_of_the_log_is_done_again(void **state)
{
    (void)state;
    struct joiner joiner;
    struct store *primary = store_create();
    struct store_entry entry;
    joiner_open(&joiner);
    joiner_fill(primary, "x", "as of 10", 1, 10);
    struct kv_record records[] = {fixture_record("x", "at 11", 1, 11),
                                  fixture_record("gone", NULL, 1, 12),
                                  fixture_record("y", "at 13", 1, 13)};
    for (size_t i = 0; i < 3; i++) {
        log_append(joiner.log, &records[i]);
        joiner_apply(joiner.disk, &records[i]);
    }
    joiner_apply(joiner.memory, &records[0]);
    joiner_apply(joiner.memory, &records[1]);
    /* Records 11 and 12 are committed here, 13 is not: the store is told of all three. */
    assert_int_equal(joiner_take(&joiner, primary, 12, 10), 1 + 3);
    assert_true(store_get(joiner.memory, "x", 1, &entry));
    assert_int_equal(entry.position.index, 11);
    assert_false(store_get(joiner.memory, "y", 1, &entry));
    assert_true(store_get(joiner.disk, "x", 1, &entry));
    assert_int_equal(entry.position.index, 11);
    assert_true(store_get(joiner.disk, "y", 1, &entry));
    joiner_close(&joiner);
    store_destroy(primary);
}

static void outside_its_range_a_piece_changes_nothing(void **state)
{
    (void)state;
    struct joiner joiner;
    struct buffer told;
    uint32_t count;
    uint64_t hash = hash_bytes("here", 4);
    joiner_open(&joiner);
    buffer_init(&told);
    joiner_put(&joiner, "here", "value", 1, 3);
    struct kv_record record = fixture_record("here", "later", 1, 11);
    log_append(joiner.log, &record);
    struct transfer_piece below = {0, hash - 1, 10, NULL, 0, 0};
    struct transfer_piece above = {hash + 1, UINT64_MAX, 10, NULL, 0, 0};
    struct transfer_piece exact = {hash, hash, 10, NULL, 0, 0};
    assert_true(transfer_apply(joiner.memory, joiner.log, 10, &below, &told, &count));
    assert_int_equal(count, 0);
    assert_true(transfer_apply(joiner.memory, joiner.log, 10, &above, &told, &count));
    assert_int_equal(count, 0);
    assert_int_equal(store_len(joiner.memory), 1);
    assert_true(transfer_apply(joiner.memory, joiner.log, 10, &exact, &told, &count));
    assert_int_equal(count, 2); /* the removal, and the record of the log */
    assert_int_equal(store_len(joiner.memory), 0);
    buffer_close(&told);
    joiner_close(&joiner);
}

/* as_of beyond the log's end: the log passes through states that are older, and catches up. */
static void a_piece_may_be_ahead_of_the_log(void **state)
{
    (void)state;
    struct joiner joiner;
    struct store *source = store_create();
    joiner_open(&joiner);
    joiner_fill(source, "x", "at 14", 1, 14);
    struct kv_record log[] = {fixture_record("x", "at 11", 1, 11),
                              fixture_record("y", "at 12", 1, 12), fixture_record("y", NULL, 1, 13),
                              fixture_record("x", "at 14", 1, 14)};
    assert_int_equal(joiner_take(&joiner, source, 10, 14), 1);
    for (size_t i = 0; i < 4; i++) {
        log_append(joiner.log, &log[i]);
        joiner_apply(joiner.disk, &log[i]);
        joiner_apply(joiner.memory, &log[i]);
    }
    joiner_assert_same(source, joiner.memory);
    joiner_assert_same(source, joiner.disk);
    store_destroy(source);
    joiner_close(&joiner);
}

/* --- invalid pieces --- */

/* As content; newer_too: as the pairs that come with digests, too. */
static void assert_refused(struct joiner *joiner, const struct buffer *records, uint64_t low,
                           uint64_t high, bool newer_too)
{
    struct buffer told;
    uint32_t count = 99;
    uint64_t digest = store_digest(joiner->memory);
    buffer_init(&told);
    struct transfer_piece piece = joiner_piece(records, 1, low, high, 10);
    assert_false(transfer_apply(joiner->memory, joiner->log, 10, &piece, &told, &count));
    if (newer_too) {
        assert_false(transfer_apply_newer(joiner->memory, joiner->log, 10, &piece, &told, &count));
    }
    assert_int_equal(told.len, 0);
    assert_int_equal(count, 99);
    assert_int_equal(store_digest(joiner->memory), digest);
    buffer_close(&told);
}

static void append(struct buffer *records, const struct kv_record *record)
{
    record_encode(record, buffer_room(records, record_size(record)));
}

static void a_removal_in_a_piece_is_refused(void **state)
{
    (void)state;
    struct joiner joiner;
    struct buffer records;
    joiner_open(&joiner);
    joiner_put(&joiner, "stale", "value", 1, 3); /* would disappear with a valid piece */
    buffer_init(&records);
    struct kv_record removal = fixture_record("k", NULL, 1, 9);
    append(&records, &removal);
    assert_refused(&joiner, &records, 0, UINT64_MAX, true);
    buffer_close(&records);
    joiner_close(&joiner);
}

static void a_pair_outside_the_range_is_refused(void **state)
{
    (void)state;
    struct joiner joiner;
    struct buffer records;
    uint64_t hash = hash_bytes("k", 1);
    joiner_open(&joiner);
    joiner_put(&joiner, "stale", "value", 1, 3);
    buffer_init(&records);
    struct kv_record record = fixture_record("k", "v", 1, 9);
    append(&records, &record);
    assert_refused(&joiner, &records, hash + 1, UINT64_MAX, true);
    assert_refused(&joiner, &records, 0, hash - 1, true);
    buffer_close(&records);
    joiner_close(&joiner);
}

static void pairs_out_of_order_are_refused(void **state)
{
    (void)state;
    struct joiner joiner;
    struct buffer records;
    joiner_open(&joiner);
    joiner_put(&joiner, "stale", "value", 1, 3);
    buffer_init(&records);
    bool a_first = hash_bytes("a", 1) < hash_bytes("b", 1);
    struct kv_record later = fixture_record(a_first ? "b" : "a", "v", 1, 9);
    struct kv_record earlier = fixture_record(a_first ? "a" : "b", "v", 1, 8);
    append(&records, &later);
    append(&records, &earlier);
    assert_refused(&joiner, &records, 0, UINT64_MAX, false);
    buffer_close(&records);
    joiner_close(&joiner);
}

static void a_piece_that_is_cut_off_is_refused(void **state)
{
    (void)state;
    struct joiner joiner;
    struct buffer records;
    joiner_open(&joiner);
    joiner_put(&joiner, "stale", "value", 1, 3);
    buffer_init(&records);
    struct kv_record record = fixture_record("key", "value", 1, 9);
    append(&records, &record);
    for (size_t len = records.len - 1; len > 0; len--) {
        struct buffer cut = {records.bytes, len, len};
        assert_refused(&joiner, &cut, 0, UINT64_MAX, true);
    }
    buffer_close(&records);
    joiner_close(&joiner);
}

/* --- keys with equal hashes --- */

#define COLLIDING_KEY_BYTES 32u

/* The hash (XXH3, 17 to 32 bytes) multiplies words of the key after an exclusive or with its public
 * secret: a first word equal to the secret's makes a zero product, whatever the second word is. */
static void colliding_key(uint8_t *key, uint8_t number)
{
    static const uint8_t secret[8] = {0xb8, 0xfe, 0x6c, 0x39, 0x23, 0xa4, 0x4b, 0xbe};
    memset(key, 1, COLLIDING_KEY_BYTES);
    memcpy(key, secret, sizeof(secret));
    key[8] = number;
}

static void keys_of_one_hash_are_never_separated(void **state)
{
    (void)state;
    struct joiner joiner;
    struct store *primary = store_create();
    struct buffer records;
    struct buffer told;
    uint8_t keys[6][COLLIDING_KEY_BYTES];
    uint32_t count;
    joiner_open(&joiner);
    for (uint8_t i = 0; i < 6; i++) {
        colliding_key(keys[i], i);
        assert_true(hash_bytes(keys[i], COLLIDING_KEY_BYTES) ==
                    hash_bytes(keys[0], COLLIDING_KEY_BYTES));
    }
    /* The primary has 0 to 3; the joiner 2 (the same), 3 (older), 4 and 5 (stale). */
    for (uint8_t i = 0; i < 4; i++) {
        store_put(primary, keys[i], COLLIDING_KEY_BYTES, "new", 3, (struct kv_position){1, i + 5});
    }
    for (uint8_t i = 2; i < 6; i++) {
        struct kv_position position = {1, i == 2 ? 7 : 1};
        const char *value = i == 2 ? "new" : "old";
        store_put(joiner.memory, keys[i], COLLIDING_KEY_BYTES, value, 3, position);
        store_put(joiner.disk, keys[i], COLLIDING_KEY_BYTES, value, 3, position);
    }
    buffer_init(&records);
    buffer_init(&told);
    uint64_t high = transfer_cut(primary, 0, UINT64_MAX, 1, &records, &count);
    assert_int_equal(count, 4); /* whatever the limit is */
    struct transfer_piece piece = joiner_piece(&records, count, 0, high, 10);
    assert_true(transfer_apply(joiner.memory, joiner.log, 10, &piece, &told, &count));
    assert_int_equal(count, 2 + 3); /* two removals; 0, 1 and 3 */
    joiner_apply_batch(joiner.disk, &told);
    joiner_assert_same(primary, joiner.memory);
    joiner_assert_same(primary, joiner.disk);
    buffer_close(&records);
    buffer_close(&told);
    joiner_close(&joiner);
    store_destroy(primary);
}

/* --- the property --- */

#define PROPERTY_KEYS     120u
#define PROPERTY_UPDATES  200u
#define PROPERTY_MESSAGES 4096u

/* A message of the session, on its way: one record of the log (piece.as_of is its index, records
 * NULL), or a piece. */
struct sent {
    bool is_piece;
    struct buffer records;
    struct transfer_piece piece;
};

struct property {
    struct rand rand;
    uint32_t colliding;    /* so many of the keys have one and the same hash */
    struct store *primary; /* committed content */
    struct log *log;       /* the primary's */
    uint64_t committed;    /* at the primary */
    uint64_t cursor;
    bool all_cut;
    struct sent sent[PROPERTY_MESSAGES];
    uint32_t sent_len;
    uint32_t taken; /* by the joiner */
    uint64_t applied;
    struct joiner joiner;
};

static uint32_t property_key(struct property *property, char *key)
{
    uint64_t number = rand_below(&property->rand, PROPERTY_KEYS);
    if (number < property->colliding) {
        colliding_key((uint8_t *)key, (uint8_t)number);
        return COLLIDING_KEY_BYTES;
    }
    return (uint32_t)snprintf(key, COLLIDING_KEY_BYTES, "%llu", (unsigned long long)number);
}

/* A common past, of which the joiner has kept a part, changed a part, and added to. */
static void property_past(struct property *property)
{
    char key[COLLIDING_KEY_BYTES];
    char value[24];
    for (uint64_t index = 1; index <= rand_below(&property->rand, 200); index++) {
        uint32_t len = property_key(property, key);
        int value_len = snprintf(value, sizeof(value), "past-%llu", (unsigned long long)index);
        struct kv_position position = {1, index};
        if (rand_percent(&property->rand, 80)) {
            store_put(property->primary, key, len, value, (uint32_t)value_len, position);
        }
        if (rand_percent(&property->rand, 70)) {
            position.view = rand_percent(&property->rand, 80) ? 1 : 0; /* another's update */
            value_len -= position.view == 1 ? 0 : 2;
            store_put(property->joiner.memory, key, len, value, (uint32_t)value_len, position);
            store_put(property->joiner.disk, key, len, value, (uint32_t)value_len, position);
        }
    }
}

static void property_open(struct property *property, uint64_t seed, uint32_t colliding)
{
    memset(property, 0, sizeof(*property));
    property->colliding = colliding;
    property->rand.state = seed;
    property->primary = store_create();
    property->committed = 1000;
    property->applied = 1000;
    property->log = log_create((struct kv_position){1, 1000});
    property->joiner.memory = store_create();
    property->joiner.disk = store_create();
    property->joiner.log = log_create((struct kv_position){1, 1000});
    property_past(property);
}

static void property_close(struct property *property)
{
    for (uint32_t i = 0; i < property->sent_len; i++) {
        buffer_close(&property->sent[i].records);
    }
    store_destroy(property->primary);
    log_unref(property->log);
    joiner_close(&property->joiner);
}

static struct sent *property_send(struct property *property)
{
    assert_true(property->sent_len < PROPERTY_MESSAGES);
    return &property->sent[property->sent_len++];
}

/* The primary takes an update, and sends it at once. */
static void property_update(struct property *property)
{
    char key[COLLIDING_KEY_BYTES];
    char value[24];
    uint64_t index = log_last_index(property->log) + 1;
    int value_len = snprintf(value, sizeof(value), "live-%llu", (unsigned long long)index);
    struct kv_record record = {.key = key,
                               .key_len = property_key(property, key),
                               .kind = KV_RECORD_REMOVE,
                               .position = {2, index}};
    if (rand_percent(&property->rand, 65)) {
        record.kind = KV_RECORD_INSERT;
        record.value = value;
        record.value_len = (uint32_t)value_len;
    }
    log_append(property->log, &record);
    property_send(property)->piece.as_of = index;
}

static void property_commit(struct property *property, uint64_t index)
{
    while (property->committed < index) {
        struct kv_record record = log_get(property->log, ++property->committed);
        joiner_apply(property->primary, &record);
    }
}

static void property_cut(struct property *property)
{
    struct sent *sent = property_send(property);
    uint32_t count;
    sent->is_piece = true;
    buffer_init(&sent->records);
    uint64_t high = transfer_cut(property->primary, property->cursor, UINT64_MAX,
                                 rand_below(&property->rand, 1500), &sent->records, &count);
    sent->piece = joiner_piece(&sent->records, count, property->cursor, high, property->committed);
    property->all_cut = high == UINT64_MAX;
    property->cursor = high + 1;
}

/* The joiner takes the next message: in order, but as late as it likes. */
static void property_take(struct property *property)
{
    struct sent *sent = &property->sent[property->taken++];
    struct joiner *joiner = &property->joiner;
    if (!sent->is_piece) {
        struct kv_record record = log_get(property->log, sent->piece.as_of);
        log_append(joiner->log, &record);
        joiner_apply(joiner->disk, &record);
        return;
    }
    struct buffer told;
    uint32_t count;
    buffer_init(&told);
    assert_true(transfer_apply(joiner->memory, joiner->log, property->applied, &sent->piece, &told,
                               &count));
    assert_int_equal(joiner_apply_batch(joiner->disk, &told), count);
    buffer_close(&told);
    /* Nothing older than the newest piece is asked for again. */
    uint64_t keep = property->applied < sent->piece.as_of ? property->applied : sent->piece.as_of;
    log_trim(joiner->log, keep, 0);
}

/* The joiner hears what is committed, and shows it as far as it has it. */
static void property_show(struct property *property, uint64_t committed)
{
    uint64_t last = log_last_index(property->joiner.log);
    uint64_t index = committed < last ? committed : last;
    while (property->applied < index) {
        struct kv_record record = log_get(property->joiner.log, ++property->applied);
        joiner_apply(property->joiner.memory, &record);
    }
}

static uint64_t between(struct rand *rand, uint64_t low, uint64_t high)
{
    return low + rand_below(rand, high - low + 1);
}

static void property_run(struct property *property)
{
    struct rand *rand = &property->rand;
    uint32_t updates = (uint32_t)rand_below(rand, PROPERTY_UPDATES);
    while (updates > 0 || !property->all_cut || property->taken < property->sent_len) {
        uint64_t last = log_last_index(property->log);
        switch (rand_below(rand, 5)) {
        case 0:
            if (updates > 0) {
                property_update(property);
                updates--;
            }
            break;
        case 1:
            property_commit(property, between(rand, property->committed, last));
            break;
        case 2:
            if (!property->all_cut) {
                property_cut(property);
            }
            break;
        case 3:
            if (property->taken < property->sent_len) {
                property_take(property);
            }
            break;
        default:
            property_show(property,
                          between(rand, property->applied,
                                  property->committed > property->applied ? property->committed
                                                                          : property->applied));
            break;
        }
    }
    property_commit(property, log_last_index(property->log));
    property_show(property, property->committed);
}

static void property_hold(uint32_t colliding)
{
    struct property *property = malloc(sizeof(*property));
    uint64_t compared = 0;
    assert_non_null(property);
    for (uint64_t seed = 1; seed <= 1000; seed++) {
        property_open(property, seed, colliding);
        property_run(property);
        joiner_assert_same(property->primary, property->joiner.memory);
        joiner_assert_same(property->primary, property->joiner.disk);
        compared += store_len(property->primary);
        property_close(property);
    }
    assert_true(compared > 10000);
    free(property);
}

static void pieces_and_updates_in_any_rhythm_make_both_equal(void **state)
{
    (void)state;
    property_hold(0);
}

static void the_same_with_colliding_keys(void **state)
{
    (void)state;
    property_hold(6);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(an_empty_store_is_one_empty_piece),
        cmocka_unit_test(pieces_cover_everything_once),
        cmocka_unit_test(a_piece_holds_one_pair_at_least),
        cmocka_unit_test(a_piece_keeps_to_its_range),
        cmocka_unit_test(keys_that_the_primary_lacks_disappear),
        cmocka_unit_test(a_piece_may_be_ahead_of_the_log),
        cmocka_unit_test(what_is_the_same_already_is_not_written_again),
        cmocka_unit_test(the_tail_of_the_log_is_done_again),
        cmocka_unit_test(outside_its_range_a_piece_changes_nothing),
        cmocka_unit_test(a_removal_in_a_piece_is_refused),
        cmocka_unit_test(a_pair_outside_the_range_is_refused),
        cmocka_unit_test(pairs_out_of_order_are_refused),
        cmocka_unit_test(a_piece_that_is_cut_off_is_refused),
        cmocka_unit_test(keys_of_one_hash_are_never_separated),
        cmocka_unit_test(pieces_and_updates_in_any_rhythm_make_both_equal),
        cmocka_unit_test(the_same_with_colliding_keys),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
