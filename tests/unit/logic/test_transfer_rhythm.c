/*
 * The property of a transfer: pieces of the primary's content, and updates, in whatever rhythm they
 * come, make the memory and the store of a joiner equal to the primary's, and the store is never
 * told anything older than before.
 */
#include "joiner.h"

#include "base/hash.h"
#include "base/rand.h"

#include <stdlib.h>
#include <string.h>

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
    struct store *told;  /* by key, the position of what the store was told last */
    uint64_t told_again; /* keys that were told before */
};

/* Nothing older than what it was told of that key before; as_of: what the record tells is the state
 * at that index (a removal bears the position of the pair that it takes out). */
static void property_tells(struct property *property, const struct kv_record *record,
                           uint64_t as_of)
{
    struct kv_position position = record->position;
    struct store_entry before;
    if (record->kind == KV_RECORD_REMOVE) {
        position.index = as_of;
    }
    if (store_get(property->told, record->key, record->key_len, &before)) {
        assert_true(position.index >= before.position.index);
        property->told_again++;
    }
    store_put(property->told, record->key, record->key_len, NULL, 0, position);
    joiner_apply(property->joiner.disk, record);
}

static uint32_t property_key(struct property *property, char *key)
{
    uint64_t number = rand_below(&property->rand, PROPERTY_KEYS);
    if (number < property->colliding) {
        joiner_colliding_key((uint8_t *)key, (uint8_t)number);
        return JOINER_COLLIDING_BYTES;
    }
    return (uint32_t)snprintf(key, JOINER_COLLIDING_BYTES, "%llu", (unsigned long long)number);
}

/* A common past, of which the joiner has kept a part, changed a part, and added to. */
static void property_past(struct property *property)
{
    char key[JOINER_COLLIDING_BYTES];
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
    property->told = store_create();
    property_past(property);
}

static void property_close(struct property *property)
{
    for (uint32_t i = 0; i < property->sent_len; i++) {
        buffer_close(&property->sent[i].records);
    }
    store_destroy(property->primary);
    store_destroy(property->told);
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
    char key[JOINER_COLLIDING_BYTES];
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
        property_tells(property, &record, record.position.index);
        return;
    }
    struct buffer told;
    struct kv_record record;
    uint32_t count;
    buffer_init(&told);
    assert_true(transfer_apply(joiner->memory, joiner->log, property->applied, &sent->piece, &told,
                               &count));
    struct bytes_reader reader = bytes_reader_init(told.bytes, told.len);
    for (; reader.left > 0; count--) {
        assert_true(record_decode(&reader, &record));
        property_tells(property, &record, sent->piece.as_of);
    }
    assert_int_equal(count, 0);
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
    uint64_t told_again = 0;
    assert_non_null(property);
    for (uint64_t seed = 1; seed <= 1000; seed++) {
        property_open(property, seed, colliding);
        property_run(property);
        joiner_assert_same(property->primary, property->joiner.memory);
        joiner_assert_same(property->primary, property->joiner.disk);
        compared += store_len(property->primary);
        told_again += property->told_again;
        property_close(property);
    }
    assert_true(compared > 10000);
    assert_true(told_again > 10000);
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
        cmocka_unit_test(pieces_and_updates_in_any_rhythm_make_both_equal),
        cmocka_unit_test(the_same_with_colliding_keys),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
