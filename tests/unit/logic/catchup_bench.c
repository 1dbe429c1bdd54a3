#include "catchup_bench.h"

#include <kvnode/status.h>
#include <string.h>

void bench_add_member(struct bench *bench, uint64_t node, enum member_state state)
{
    struct member *member = &bench->view.members[bench->view.members_len++];
    member->node = node;
    member->state = (uint8_t)state;
    member->uris_len = 1;
    snprintf(member->uris[0], sizeof(member->uris[0]), "test://%llu", (unsigned long long)node);
}

struct bench *bench_create(uint64_t seed, uint64_t index)
{
    struct bench *bench = alloc_zeroed(1, sizeof(*bench));
    bench->rand.state = seed;
    bench->config = (struct node_config){.node = BENCH_JOINER,
                                         .retransmit_ms = BENCH_RETRANSMIT_MS,
                                         .replica_timeout_ms = BENCH_SILENCE_MS};
    effects_init(&bench->effects);
    bench->context = (struct context){
        .config = &bench->config, .effects = &bench->effects, .now_ms = 1000, .next_link = 1};
    bench->view.number = 2;
    bench->view.primary = BENCH_PRIMARY;
    bench_add_member(bench, BENCH_PRIMARY, MEMBER_IN_SYNC);
    bench_add_member(bench, BENCH_JOINER, MEMBER_CANDIDATE);
    bench->source.context = &bench->context;
    bench->source.store = store_create();
    bench->source.committed = index;
    bench->source.committed_view = 1;
    bench->log = log_create((struct kv_position){1, index});
    bench->own_log = log_create((struct kv_position){1, index});
    bench->memory = store_create();
    bench->disk = store_create();
    bench->truth = store_create();
    bench->applied = index;
    catchup_init(&bench->catchup);
    return bench;
}

static void bench_close_wire(struct bench_wire *wire)
{
    for (uint32_t i = 0; i < wire->len; i++) {
        alloc_free(wire->items[(wire->first + i) % BENCH_WIRE_MAX].bytes);
    }
}

void bench_destroy(struct bench *bench)
{
    bench_close_wire(&bench->asked);
    bench_close_wire(&bench->answered);
    catchup_end(&bench->catchup, NULL);
    catchup_close(&bench->catchup);
    store_destroy(bench->source.store);
    store_destroy(bench->memory);
    store_destroy(bench->disk);
    store_destroy(bench->truth);
    log_unref(bench->log);
    log_unref(bench->own_log);
    effects_close(&bench->effects);
    alloc_free(bench);
}

static void bench_add_message(struct bench_wire *wire, uint64_t link, const void *bytes, size_t len)
{
    assert_true(wire->len < BENCH_WIRE_MAX);
    struct bench_message *item = &wire->items[(wire->first + wire->len++) % BENCH_WIRE_MAX];
    item->link = link;
    item->bytes = alloc_bytes(len);
    item->len = len;
    memcpy(item->bytes, bytes, len);
    wire->bytes += len;
    wire->messages++;
}

struct bench_message bench_take_message(struct bench_wire *wire, struct rand *rand, bool shuffled)
{
    assert_true(wire->len > 0);
    struct bench_message *first = &wire->items[wire->first];
    if (shuffled) {
        struct bench_message *other =
            &wire->items[(wire->first + rand_below(rand, wire->len)) % BENCH_WIRE_MAX];
        struct bench_message swapped = *first;
        *first = *other;
        *other = swapped;
    }
    wire->first = (wire->first + 1) % BENCH_WIRE_MAX;
    wire->len--;
    return *first;
}

/* Puts what the last step sends on the wire; chaos: percent that is lost, and percent doubled. */
static void bench_carry(struct bench *bench, struct bench_wire *wire, uint32_t chaos)
{
    for (uint32_t i = 0; i < bench->effects.len; i++) {
        const struct effect *effect = &bench->effects.items[i];
        if (effect->kind != EFFECT_SEND || rand_percent(&bench->rand, chaos)) {
            continue;
        }
        assert_int_equal(effect->as.send.slices_len, 1);
        const struct kv_slice *slice = &effect->as.send.slices[0];
        bench_add_message(wire, effect->as.send.link, slice->bytes, slice->len);
        if (rand_percent(&bench->rand, chaos)) {
            bench_add_message(wire, effect->as.send.link, slice->bytes, slice->len);
        }
    }
    effects_reset(&bench->effects);
}

void bench_ask(struct bench *bench, bool has_room, uint32_t chaos)
{
    catchup_pump(&bench->catchup, &bench->context, &bench->view, has_room);
    if (bench->catchup.link != 0 && !bench->catchup.link_is_up) {
        catchup_on_link_up(&bench->catchup, &bench->context, bench->catchup.link);
    }
    bench_carry(bench, &bench->asked, chaos);
}

bool bench_answer(struct bench *bench, bool shuffled, uint32_t chaos)
{
    struct message message;
    struct bench_message item = bench_take_message(&bench->asked, &bench->rand, shuffled);
    assert_int_equal(message_decode(item.bytes, item.len, &message), KV_OK);
    assert_int_equal(message.type, MESSAGE_FETCH);
    bool reached = message.body.fetch.min_index <= bench->source.committed;
    if (reached) {
        source_answer(&bench->source, item.link, &message);
        bench_carry(bench, &bench->answered, chaos);
    } else {
        bench_add_message(&bench->asked, item.link, item.bytes, item.len);
    }
    alloc_free(item.bytes);
    return reached;
}

static void bench_tell_disk(struct bench *bench, const struct buffer *records, uint32_t count)
{
    struct bytes_reader reader = bytes_reader_init(records->bytes, records->len);
    struct kv_record record;
    for (uint32_t i = 0; i < count; i++) {
        assert_true(record_decode(&reader, &record));
        joiner_apply(bench->disk, &record);
    }
    assert_int_equal(reader.left, 0);
    bench->told += count;
}

bool bench_fetched(struct bench *bench, const struct message *message)
{
    struct catchup_target target = {bench->memory, bench->own_log, bench->applied};
    struct buffer records;
    uint32_t count = 0;
    buffer_init(&records);
    bool taken =
        catchup_on_fetched(&bench->catchup, &bench->context, &target, message, &records, &count);
    assert_true(taken || records.len == 0);
    bench_tell_disk(bench, &records, count);
    bench->refused += taken ? 0 : 1;
    buffer_close(&records);
    return taken;
}

void bench_take(struct bench *bench, bool shuffled)
{
    struct message message;
    struct bench_message item = bench_take_message(&bench->answered, &bench->rand, shuffled);
    assert_int_equal(message_decode(item.bytes, item.len, &message), KV_OK);
    bench_fetched(bench, &message);
    alloc_free(item.bytes);
}

void bench_wait(struct bench *bench, uint64_t ms, uint32_t chaos)
{
    bench->context.now_ms += ms;
    if (catchup_wake_ms(&bench->catchup, &bench->context) <= bench->context.now_ms) {
        catchup_tick(&bench->catchup, &bench->context, &bench->view);
        bench_carry(bench, &bench->asked, chaos);
    }
}

void bench_show(struct bench *bench, uint64_t committed)
{
    uint64_t last = log_last_index(bench->own_log);
    while (bench->applied < committed && bench->applied < last) {
        struct kv_record record = log_get(bench->own_log, ++bench->applied);
        joiner_apply(bench->memory, &record);
        joiner_apply(bench->truth, &record);
    }
    bench->catchup.min_index = bench->applied;
    log_trim(bench->own_log, context_earlier(bench->applied, catchup_floor(&bench->catchup)), 0);
}

void bench_commit(struct bench *bench, uint64_t index)
{
    while (bench->source.committed < index) {
        struct kv_record record = log_get(bench->log, ++bench->source.committed);
        joiner_apply(bench->source.store, &record);
    }
}

void bench_put(struct store *store, uint64_t number, uint64_t index)
{
    struct rand rand = {number};
    uint64_t key[2] = {rand_next(&rand), rand_next(&rand)};
    uint8_t value[100];
    memset(value, (int)(index % 251), sizeof(value));
    store_put(store, key, sizeof(key), value, sizeof(value), (struct kv_position){1, index});
}

void bench_remove(struct store *store, uint64_t number)
{
    struct rand rand = {number};
    uint64_t key[2] = {rand_next(&rand), rand_next(&rand)};
    assert_true(store_remove(store, key, sizeof(key)));
}
