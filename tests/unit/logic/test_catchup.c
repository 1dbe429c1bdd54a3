/*
 * Fetching what a joiner lacks, message by message, while updates flow and answers are lost,
 * doubled and late: at the end source and joiner hold the same, in memory and on disk. Which source
 * is asked, when questions are repeated, and answers that do not fit.
 */
#include "catchup_bench.h"

#include <kvnode/status.h>
#include <string.h>

/* --- the property --- */

#define PROPERTY_UPDATES 400u

struct property {
    uint32_t keys;
    uint32_t chaos;   /* percent */
    uint32_t updates; /* still to come, while it is fetched */
    bool base_known;
};

static struct kv_record property_record(struct bench *bench, const struct property *property,
                                        char *memory, struct kv_position position)
{
    uint64_t number = rand_below(&bench->rand, property->keys);
    struct kv_record record = {.key = memory, .kind = KV_RECORD_REMOVE, .position = position};
    record.key_len = (uint32_t)snprintf(memory, 24, "%llu", (unsigned long long)number);
    if (rand_percent(&bench->rand, 75)) {
        record.kind = KV_RECORD_INSERT;
        record.value = memory + 24;
        record.value_len =
            (uint32_t)snprintf(memory + 24, 40, "v%llu-%llu", (unsigned long long)position.view,
                               (unsigned long long)position.index);
    }
    return record;
}

/* A common past; what the source went on with; and what the joiner has of its own: after base
 * only, or, where base is not known, anything. */
static void property_past(struct bench *bench, const struct property *property, uint64_t base,
                          uint64_t last)
{
    char memory[64];
    for (uint64_t index = 1; index <= last; index++) {
        struct kv_record record =
            property_record(bench, property, memory, (struct kv_position){1, index});
        joiner_apply(bench->source.store, &record);
        joiner_apply(bench->truth, &record);
        if (index <= base) {
            joiner_apply(bench->memory, &record);
            joiner_apply(bench->disk, &record);
        }
    }
    uint64_t own = rand_below(&bench->rand, 2) == 0 ? 0 : rand_below(&bench->rand, 40);
    for (uint64_t i = 1; i <= own; i++) {
        struct kv_position position = {rand_below(&bench->rand, 2), base + i};
        if (!property->base_known) {
            position.index = rand_below(&bench->rand, last + 100);
        }
        struct kv_record record = property_record(bench, property, memory, position);
        if (property->base_known && position.view == 1) {
            record.value = "as long";
            record.value_len = record.kind == KV_RECORD_INSERT ? 7 : 0;
        }
        joiner_apply(bench->memory, &record);
        joiner_apply(bench->disk, &record);
    }
}

static void property_update(struct bench *bench, const struct property *property)
{
    char memory[64];
    struct kv_position position = {2, log_last_index(bench->log) + 1};
    struct kv_record record = property_record(bench, property, memory, position);
    log_append(bench->log, &record);
}

/* The joiner takes the next record of the stream. */
static void property_stream(struct bench *bench)
{
    uint64_t index = log_last_index(bench->own_log) + 1;
    if (index <= log_last_index(bench->log)) {
        struct kv_record record = log_get(bench->log, index);
        log_append(bench->own_log, &record);
        joiner_apply(bench->disk, &record);
    }
}

static uint64_t between(struct rand *rand, uint64_t low, uint64_t high)
{
    return low + rand_below(rand, high - low + 1);
}

/* Newer pairs are asked for beside digests only, never beside content. */
static void assert_pairs_are_for_digests(const struct bench *bench)
{
    struct message message;
    const struct bench_message *item = &bench->asked.items[bench->asked.first];
    assert_int_equal(message_decode(item->bytes, item->len, &message), KV_OK);
    assert_true(message.body.fetch.parts > 0 || message.body.fetch.base == UINT64_MAX);
}

static void property_step(struct bench *bench, struct property *property)
{
    struct rand *rand = &bench->rand;
    uint64_t committed = bench->source.committed;
    switch (rand_below(rand, 8)) {
    case 0:
        if (property->updates > 0) {
            property->updates--;
            property_update(bench, property);
        }
        break;
    case 1:
        bench_commit(bench, between(rand, committed, log_last_index(bench->log)));
        break;
    case 2:
        property_stream(bench);
        break;
    case 3:
        if (committed > bench->applied) {
            bench_show(bench, between(rand, bench->applied, committed));
        }
        break;
    case 4:
        bench_ask(bench, rand_percent(rand, 80), property->chaos);
        break;
    case 5:
        if (bench->asked.len > 0) {
            assert_pairs_are_for_digests(bench);
            bench_answer(bench, property->chaos > 0, property->chaos);
        }
        break;
    case 6:
        if (bench->answered.len > 0) {
            bench_take(bench, property->chaos > 0);
        }
        break;
    default:
        bench_wait(bench, rand_below(rand, BENCH_RETRANSMIT_MS / 2), property->chaos);
        break;
    }
}

static bool property_is_complete(const struct bench *bench)
{
    return catchup_is_done(&bench->catchup) && bench->applied >= bench->catchup.as_of;
}

/* Returns how many pairs there were in the end. */
static uint64_t property_hold(uint64_t seed, struct property property)
{
    const uint64_t last = 50 + 3ull * property.keys;
    struct bench *bench = bench_create(seed, last);
    uint64_t base = rand_below(&bench->rand, last + 1);
    property_past(bench, &property, base, last);
    catchup_begin(&bench->catchup, bench->memory, last, property.base_known ? base : UINT64_MAX);
    uint64_t steps = 0;
    while (!property_is_complete(bench)) {
        property_step(bench, &property);
        assert_true(++steps < 10000000);
    }
    joiner_assert_same(bench->truth, bench->memory); /* not a moment later */
    while (bench->applied < log_last_index(bench->log)) {
        property_stream(bench);
        bench_show(bench, log_last_index(bench->log));
    }
    joiner_assert_same(bench->truth, bench->memory);
    joiner_assert_same(bench->truth, bench->disk);
    uint64_t len = store_len(bench->memory);
    bench_destroy(bench);
    return len;
}

static void property_hold_all(bool base_known, uint32_t chaos, uint32_t seeds)
{
    static const uint32_t keys[] = {1, 30, 300, 3000};
    int64_t live = alloc_live();
    uint64_t compared = 0;
    for (uint64_t seed = 1; seed <= seeds; seed++) {
        struct property property = {keys[seed % 4], chaos, 0, base_known};
        property.updates = seed % 3 == 0 ? 0 : PROPERTY_UPDATES;
        compared += property_hold(seed, property);
    }
    assert_true(compared > 100ull * seeds);
    assert_int_equal(alloc_live(), live);
}

static void with_a_base_both_end_equal(void **state)
{
    (void)state;
    property_hold_all(true, 0, 120);
}

static void without_one_too(void **state)
{
    (void)state;
    property_hold_all(false, 0, 120);
}

static void and_when_messages_are_lost_doubled_and_late(void **state)
{
    (void)state;
    property_hold_all(true, 15, 80);
    property_hold_all(false, 15, 80);
}

/* --- sources --- */

static uint32_t effects_len(const struct bench *bench, enum effect_kind kind)
{
    uint32_t len = 0;
    for (uint32_t i = 0; i < bench->effects.len; i++) {
        len += bench->effects.items[i].kind == kind ? 1u : 0u;
    }
    return len;
}

static const char *opened_uri(const struct bench *bench)
{
    for (uint32_t i = 0; i < bench->effects.len; i++) {
        if (bench->effects.items[i].kind == EFFECT_OPEN_LINK) {
            return bench->effects.items[i].as.open_link.uris[0];
        }
    }
    return "none";
}

/* Nothing is sent before the link is up. */
static void open_link(struct bench *bench)
{
    if (effects_len(bench, EFFECT_OPEN_LINK) > 0) {
        assert_int_equal(effects_len(bench, EFFECT_SEND), 0);
        catchup_on_link_up(&bench->catchup, &bench->context, bench->catchup.link);
    }
}

static void pump(struct bench *bench, bool has_room)
{
    effects_reset(&bench->effects);
    catchup_pump(&bench->catchup, &bench->context, &bench->view, has_room);
    open_link(bench);
}

static void tick(struct bench *bench, uint64_t ms)
{
    effects_reset(&bench->effects);
    bench->context.now_ms += ms;
    catchup_tick(&bench->catchup, &bench->context, &bench->view);
    open_link(bench);
}

static void secondaries_are_asked_before_the_primary(void **state)
{
    (void)state;
    struct bench *bench = bench_create(1, 10);
    bench_add_member(bench, 33, MEMBER_IN_SYNC);
    bench_add_member(bench, 44, MEMBER_CANDIDATE);
    bench_add_member(bench, 55, MEMBER_IN_SYNC);
    pump(bench, true);
    assert_int_equal(bench->effects.len, 0); /* nothing is begun */
    assert_false(catchup_is_done(&bench->catchup));
    catchup_begin(&bench->catchup, bench->memory, 10, UINT64_MAX);
    pump(bench, true);
    assert_string_equal(opened_uri(bench), "test://33");
    assert_int_equal(effects_len(bench, EFFECT_SEND), FETCHES_MAX);
    assert_false(catchup_is_done(&bench->catchup));
    /* Each one that says nothing is left for the next. */
    static const char *const next[] = {"test://55", "test://22", "test://33"};
    uint64_t silent_ms = BENCH_SILENCE_MS;
    for (size_t i = 0; i < 3; i++) {
        tick(bench, silent_ms);
        assert_string_equal(opened_uri(bench), next[i]);
        assert_int_equal(effects_len(bench, EFFECT_CLOSE_LINK), 1);
        assert_int_equal(effects_len(bench, EFFECT_SEND), FETCHES_MAX);
        silent_ms *= 2;
    }
    /* One that is not in sync any more is not asked any more. */
    bench->view.members[2].state = MEMBER_CANDIDATE;
    pump(bench, true);
    assert_string_equal(opened_uri(bench), "test://55");
    bench->view.members[4].state = MEMBER_CANDIDATE;
    bench->view.members[0].state = MEMBER_CANDIDATE;
    pump(bench, true);
    assert_string_equal(opened_uri(bench), "none");
    assert_int_equal(effects_len(bench, EFFECT_CLOSE_LINK), 1);
    assert_true(catchup_wake_ms(&bench->catchup, &bench->context) == UINT64_MAX);
    bench->view.members[0].state = MEMBER_IN_SYNC;
    pump(bench, true);
    assert_string_equal(opened_uri(bench), "test://22");
    effects_reset(&bench->effects);
    catchup_end(&bench->catchup, &bench->context);
    assert_int_equal(effects_len(bench, EFFECT_CLOSE_LINK), 1);
    bench_destroy(bench);
}

#define FIRST_MS (BENCH_SILENCE_MS / 2) /* before a question is repeated */

static void questions_are_repeated_at_growing_distances(void **state)
{
    (void)state;
    struct bench *bench = bench_create(1, 10);
    catchup_begin(&bench->catchup, bench->memory, 10, UINT64_MAX);
    pump(bench, false);
    assert_int_equal(effects_len(bench, EFFECT_SEND), 0); /* the store is behind */
    assert_true(catchup_floor(&bench->catchup) == UINT64_MAX);
    pump(bench, true);
    assert_int_equal(catchup_floor(&bench->catchup), 10);
    assert_true(catchup_wake_ms(&bench->catchup, &bench->context) == 1000 + FIRST_MS);
    tick(bench, FIRST_MS - 1);
    assert_int_equal(bench->effects.len, 0);
    tick(bench, 1);
    assert_int_equal(effects_len(bench, EFFECT_SEND), FETCHES_MAX);
    tick(bench, FIRST_MS); /* silent: over a new link, with more patience */
    assert_int_equal(effects_len(bench, EFFECT_OPEN_LINK), 1);
    assert_int_equal(effects_len(bench, EFFECT_SEND), FETCHES_MAX);
    tick(bench, FIRST_MS);
    assert_int_equal(effects_len(bench, EFFECT_SEND), FETCHES_MAX);
    tick(bench, FIRST_MS);
    assert_int_equal(bench->effects.len, 0);
    tick(bench, FIRST_MS);
    assert_int_equal(effects_len(bench, EFFECT_SEND), FETCHES_MAX);
    assert_int_equal(effects_len(bench, EFFECT_OPEN_LINK), 0);
    effects_reset(&bench->effects);
    catchup_on_link_up(&bench->catchup, &bench->context, bench->catchup.link + 1);
    assert_int_equal(bench->effects.len, 0);
    catchup_on_link_up(&bench->catchup, &bench->context, bench->catchup.link);
    assert_int_equal(effects_len(bench, EFFECT_SEND), FETCHES_MAX);
    bench_destroy(bench);
}

/* What many later ones have overtaken is lost, and not waited for. */
static void a_lost_question_is_asked_again_soon(void **state)
{
    (void)state;
    struct bench *bench = bench_create(1, 3000);
    for (uint64_t i = 1; i <= 3000; i++) {
        bench_put(bench->memory, i, i);
    }
    catchup_begin(&bench->catchup, bench->memory, 3000, UINT64_MAX);
    bench_ask(bench, true, 0);
    struct bench_message lost = bench_take_message(&bench->asked, &bench->rand, false);
    alloc_free(lost.bytes);
    for (uint32_t i = 0; i <= FETCHES_MAX; i++) {
        assert_true(catchup_wake_ms(&bench->catchup, &bench->context) > bench->context.now_ms);
        assert_true(bench_answer(bench, false, 0));
        bench_take(bench, false);
        bench_ask(bench, true, 0);
    }
    assert_true(catchup_wake_ms(&bench->catchup, &bench->context) <= bench->context.now_ms);
    tick(bench, 0);
    assert_int_equal(effects_len(bench, EFFECT_SEND), 1);
    assert_true(catchup_wake_ms(&bench->catchup, &bench->context) > bench->context.now_ms);
    bench_destroy(bench);
}

/* Where what is to be asked for might become too much to remember, content is asked for. */
static void what_is_to_be_asked_stays_bounded(void **state)
{
    (void)state;
    struct bench *bench = bench_create(1, 10);
    struct catchup *catchup = &bench->catchup;
    for (uint64_t i = 1; i <= 500; i++) {
        bench_put(bench->memory, i, i);
    }
    catchup_begin(catchup, bench->memory, 10, UINT64_MAX);
    struct catchup_range *ranges = alloc_zeroed(CATCHUP_RANGES_MAX, sizeof(*ranges));
    uint32_t more = CATCHUP_RANGES_MAX - catchup->ranges_len;
    for (uint32_t i = 0; i < more; i++) {
        ranges[i] = (struct catchup_range){.low = i, .high = i, .content = true};
    }
    memcpy(ranges + more, catchup->ranges, catchup->ranges_len * sizeof(*ranges));
    alloc_free(catchup->ranges);
    catchup->ranges = ranges;
    catchup->ranges_len = CATCHUP_RANGES_MAX;
    catchup->ranges_capacity = CATCHUP_RANGES_MAX;
    pump(bench, true);
    assert_int_equal(catchup->fetches_len, FETCHES_MAX);
    for (uint32_t i = 0; i < FETCHES_MAX; i++) {
        assert_int_equal(catchup->fetches[i].parts, 0);
    }
    catchup_begin(catchup, bench->memory, 10, UINT64_MAX); /* with room, it is digests */
    pump(bench, true);
    for (uint32_t i = 0; i < FETCHES_MAX; i++) {
        assert_true(catchup->fetches[i].parts > 0);
    }
    bench_destroy(bench);
}

/* --- answers that do not fit --- */

/* An answer to the first question of a joiner with some pairs, which asks for digests. */
static struct message first_answer(struct bench *bench)
{
    struct message message;
    struct bench_message item = bench_take_message(&bench->asked, &bench->rand, false);
    assert_int_equal(message_decode(item.bytes, item.len, &message), KV_OK);
    source_answer(&bench->source, item.link, &message);
    alloc_free(item.bytes);
    const struct kv_slice *slice = &bench->effects.items[bench->effects.len - 1].as.send.slices[0];
    assert_int_equal(message_decode(slice->bytes, slice->len, &message), KV_OK);
    return message;
}

static void what_does_not_fit_changes_nothing(void **state)
{
    (void)state;
    struct bench *bench = bench_create(1, 1000);
    for (uint64_t i = 1; i <= 500; i++) {
        bench_put(bench->source.store, i, i);
        bench_put(bench->memory, i, i % 7 == 0 ? 600 : i);
        bench_put(bench->disk, i, i % 7 == 0 ? 600 : i);
    }
    catchup_begin(&bench->catchup, bench->memory, 1000, 400);
    uint64_t digest = store_digest(bench->memory);
    bench_ask(bench, true, 0);
    struct message good = first_answer(bench);
    assert_true(good.body.fetched.digests_len > 1 && good.body.fetched.count > 0);
    struct message bad[7];
    for (size_t i = 0; i < 7; i++) {
        bad[i] = good;
    }
    bad[0].body.fetched.request += 100;
    bad[1].body.fetched.low++;
    bad[2].body.fetched.high++;
    bad[3].body.fetched.digests_len--;
    bad[4].body.fetched.as_of.index = 999; /* the log begins after 1000 */
    bad[5].body.fetched.as_of.index = UINT64_MAX;
    bad[6].body.fetched.request++; /* another range */
    for (size_t i = 0; i < 7; i++) {
        assert_false(bench_fetched(bench, &bad[i]));
    }
    assert_int_equal(store_digest(bench->memory), digest);
    assert_int_equal(bench->told, 0);
    assert_int_equal(bench->catchup.fetches_len, FETCHES_MAX);
    assert_true(bench_fetched(bench, &good));
    assert_false(bench_fetched(bench, &good)); /* once is enough */
    assert_int_equal(bench->catchup.fetches_len, FETCHES_MAX - 1);
    assert_int_equal(bench->context.counters[COUNTER_ranges_fetched], 1);
    assert_int_equal(bench->context.counters[COUNTER_ranges_answered], 1);
    bench_destroy(bench);
}

/* A pair outside the range it is said to be of. */
static void foreign_pairs_are_refused(void **state)
{
    (void)state;
    struct bench *bench = bench_create(1, 1000);
    bench_put(bench->source.store, 1, 1);
    catchup_begin(&bench->catchup, bench->memory, 1000, UINT64_MAX);
    bench_ask(bench, true, 0);
    struct buffer records;
    uint32_t count;
    buffer_init(&records);
    transfer_cut(bench->source.store, 0, UINT64_MAX, SIZE_MAX, &records, &count);
    uint32_t refused = 0;
    for (uint32_t i = 0; i < FETCHES_MAX; i++) {
        struct message answer = first_answer(bench);
        if (answer.body.fetched.count == 0) {
            answer.body.fetched.count = 1;
            answer.body.fetched.records.at = records.bytes;
            answer.body.fetched.records.len = records.len;
            refused += bench_fetched(bench, &answer) ? 0 : 1;
        }
        effects_reset(&bench->effects);
    }
    assert_int_equal(refused, FETCHES_MAX - 1);
    assert_int_equal(store_len(bench->memory), 0);
    buffer_close(&records);
    bench_destroy(bench);
}

static void spoil(struct rand *rand, struct bench_message *item)
{
    for (uint64_t flips = 1 + rand_below(rand, 3); flips > 0; flips--) {
        item->bytes[rand_below(rand, item->len)] ^= (uint8_t)(1u << rand_below(rand, 8));
    }
}

/* Questions and answers with bits turned over: both ends refuse them or go on, and what is refused
 * has changed nothing. */
static void spoilt_messages_do_no_harm(void **state)
{
    (void)state;
    struct message message;
    uint64_t refused = 0;
    uint64_t answered = 0;
    for (uint64_t seed = 1; seed <= 300; seed++) {
        struct bench *bench = bench_create(seed, 1000);
        for (uint64_t i = 1; i <= 200; i++) {
            bench_put(bench->source.store, i, i);
            bench_put(bench->memory, i, i % 3 == 0 ? 1 : i);
        }
        catchup_begin(&bench->catchup, bench->memory, 1000, seed % 2 == 0 ? 100 : UINT64_MAX);
        bench_ask(bench, true, 0);
        for (uint32_t i = 0; i < FETCHES_MAX; i++) {
            struct bench_message *item = &bench->asked.items[bench->asked.first];
            if (seed % 3 == 0) {
                spoil(&bench->rand, item);
            }
            bool is_fetch = message_decode(item->bytes, item->len, &message) == KV_OK &&
                            message.type == MESSAGE_FETCH;
            if (is_fetch && message.body.fetch.min_index <= bench->source.committed) {
                bench_answer(bench, false, 0);
                answered++;
            } else {
                alloc_free(bench_take_message(&bench->asked, &bench->rand, false).bytes);
            }
        }
        while (bench->answered.len > 0) {
            struct bench_message item = bench_take_message(&bench->answered, &bench->rand, false);
            uint64_t digest = store_digest(bench->memory);
            spoil(&bench->rand, &item);
            if (message_decode(item.bytes, item.len, &message) == KV_OK &&
                message.type == MESSAGE_FETCHED && !bench_fetched(bench, &message)) {
                assert_true(store_digest(bench->memory) == digest);
                refused++;
            }
            alloc_free(item.bytes);
        }
        bench_destroy(bench);
    }
    assert_true(refused > 300 && answered > 3000);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(with_a_base_both_end_equal),
        cmocka_unit_test(without_one_too),
        cmocka_unit_test(and_when_messages_are_lost_doubled_and_late),
        cmocka_unit_test(secondaries_are_asked_before_the_primary),
        cmocka_unit_test(questions_are_repeated_at_growing_distances),
        cmocka_unit_test(a_lost_question_is_asked_again_soon),
        cmocka_unit_test(what_is_to_be_asked_stays_bounded),
        cmocka_unit_test(what_does_not_fit_changes_nothing),
        cmocka_unit_test(foreign_pairs_are_refused),
        cmocka_unit_test(spoilt_messages_do_no_harm),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
