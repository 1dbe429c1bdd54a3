#include "fixture.h"

#include "base/alloc.h"
#include "base/check.h"
#include "base/buffer.h"
#include "base/hash.h"
#include "logic/record.h"

#include <kvnode/status.h>
#include <string.h>

#define ARBITER_URI "test://arbiter"

void fixture_init(struct fixture *fixture, bool is_arbiter, bool is_replica)
{
    int64_t alloc_before = alloc_live();
    memset(fixture, 0, sizeof(*fixture));
    fixture->alloc_before = alloc_before;
    fixture->config = (struct node_config){
        .is_arbiter = is_arbiter,
        .is_replica = is_replica,
        .node = FIXTURE_NODE,
        .incarnation = FIXTURE_INCARNATION,
        .starts = 1,
        .name = "n11",
        .arbiter_uri = ARBITER_URI,
        .uris = {"test://n11"},
        .uris_len = 1,
        .ack = ACK_DURABLE,
        .min_in_sync = 1,
        .operation_timeout_ms = FIXTURE_OPERATION_MS,
        .retransmit_ms = FIXTURE_RETRANSMIT_MS,
        .replica_timeout_ms = FIXTURE_REPLICA_MS,
        .limits = {.key_bytes = FIXTURE_KEY_BYTES_MAX,
                   .value_bytes = FIXTURE_VALUE_BYTES_MAX,
                   .inflight_ops = FIXTURE_INFLIGHT_OPS_MAX,
                   .inflight_bytes = FIXTURE_INFLIGHT_BYTES_MAX},
        .persist_plugin = "persist-test",
        .new_cluster = FIXTURE_CLUSTER,
    };
    fixture->now_ms = FIXTURE_START_MS;
    effects_init(&fixture->effects);
    fixture->context.config = &fixture->config;
    fixture->context.effects = &fixture->effects;
    fixture->context.now_ms = fixture->now_ms;
    fixture->context.cluster = FIXTURE_CLUSTER;
    fixture->context.next_link = 1;
}

void fixture_close(struct fixture *fixture)
{
    node_destroy(fixture->node);
    effects_close(&fixture->effects);
    assert_int_equal(alloc_live(), fixture->alloc_before);
}

void fixture_advance(struct fixture *fixture, uint64_t ms)
{
    fixture->now_ms += ms;
    fixture->context.now_ms = fixture->now_ms;
    effects_reset(&fixture->effects);
}

/* --- effects --- */

uint32_t fixture_effects_len(const struct fixture *fixture, enum effect_kind kind)
{
    uint32_t len = 0;
    for (uint32_t i = 0; i < fixture->effects.len; i++) {
        len += fixture->effects.items[i].kind == kind ? 1u : 0u;
    }
    return len;
}

const struct effect *fixture_effect(const struct fixture *fixture, enum effect_kind kind,
                                    uint32_t place)
{
    for (uint32_t i = 0; i < fixture->effects.len; i++) {
        if (fixture->effects.items[i].kind == kind && place-- == 0) {
            return &fixture->effects.items[i];
        }
    }
    fail_msg("no such effect: kind %d", (int)kind);
    return NULL;
}

/* The message of a SEND in one piece. */
static struct message fixture_decode(struct fixture *fixture, const struct effect *send)
{
    size_t len = 0;
    for (uint32_t i = 0; i < send->as.send.slices_len; i++) {
        len += send->as.send.slices[i].len;
    }
    uint8_t *bytes = arena_alloc(&fixture->effects.arena, len);
    struct bytes_writer writer = bytes_writer_init(bytes, len);
    for (uint32_t i = 0; i < send->as.send.slices_len; i++) {
        bytes_write(&writer, send->as.send.slices[i].bytes, send->as.send.slices[i].len);
    }
    struct message message;
    assert_int_equal(message_decode(bytes, len, &message), KV_OK);
    return message;
}

static const struct effect *fixture_find_sent(struct fixture *fixture, uint8_t type, uint32_t place,
                                              uint32_t *ret_len, struct message *ret_message)
{
    const struct effect *found = NULL;
    *ret_len = 0;
    for (uint32_t i = 0; i < fixture->effects.len; i++) {
        const struct effect *effect = &fixture->effects.items[i];
        if (effect->kind != EFFECT_SEND) {
            continue;
        }
        struct message message = fixture_decode(fixture, effect);
        if (message.type == type && (*ret_len)++ == place) {
            found = effect;
            *ret_message = message;
        }
    }
    return found;
}

uint32_t fixture_sent_len(struct fixture *fixture, uint8_t type)
{
    uint32_t len;
    struct message message;
    fixture_find_sent(fixture, type, 0, &len, &message);
    return len;
}

struct message fixture_sent(struct fixture *fixture, uint8_t type, uint32_t place,
                            uint64_t *ret_link)
{
    uint32_t len;
    struct message message;
    memset(&message, 0, sizeof(message));
    const struct effect *effect = fixture_find_sent(fixture, type, place, &len, &message);
    if (effect == NULL) {
        fail_msg("%s number %u was not sent", message_type_name(type), place);
    } else if (ret_link != NULL) {
        *ret_link = effect->as.send.link;
    }
    return message;
}

/* --- messages, records, views --- */

struct message fixture_message(uint8_t type, uint64_t view, uint64_t sender)
{
    struct message message;
    memset(&message, 0, sizeof(message));
    message.type = type;
    message.cluster = FIXTURE_CLUSTER;
    message.view = view;
    message.sender = sender;
    return message;
}

struct bytes_view fixture_text(const char *text)
{
    struct bytes_view view = {(const uint8_t *)text, strlen(text)};
    return view;
}

bool fixture_equals(struct bytes_view bytes, const char *text)
{
    return bytes.len == strlen(text) && (bytes.len == 0 || memcmp(bytes.at, text, bytes.len) == 0);
}

struct kv_record fixture_record(const char *key, const char *value, uint64_t view, uint64_t index)
{
    struct kv_record record = {
        .key = key,
        .value = value,
        .key_len = (uint32_t)strlen(key),
        .value_len = value == NULL ? 0 : (uint32_t)strlen(value),
        .kind = value == NULL ? KV_RECORD_REMOVE : KV_RECORD_INSERT,
        .position = {view, index},
        .client = 900,
        .request = index,
    };
    return record;
}

void fixture_view(struct view *view, uint64_t number, uint64_t primary)
{
    memset(view, 0, sizeof(*view));
    view->number = number;
    view->cluster = FIXTURE_CLUSTER;
    view->primary = primary;
    view->ack = primary == 0 ? 0 : ACK_DURABLE;
}

struct member *fixture_add_member(struct view *view, uint64_t node, uint64_t joined,
                                  enum member_state state)
{
    assert_true(view->members_len < MEMBERS_MAX);
    struct member *member = &view->members[view->members_len++];
    memset(member, 0, sizeof(*member));
    member->node = node;
    member->starts = 1;
    member->incarnation = FIXTURE_INCARNATION;
    member->joined = joined;
    member->state = (uint8_t)state;
    member->uris_len = 1;
    snprintf(member->name, sizeof(member->name), "n%llu", (unsigned long long)node);
    snprintf(member->uris[0], sizeof(member->uris[0]), "test://n%llu", (unsigned long long)node);
    return member;
}

struct bytes_view fixture_encode_view(struct fixture *fixture, const struct view *view)
{
    uint8_t *bytes = arena_alloc(&fixture->effects.arena, VIEW_BYTES_MAX);
    struct bytes_writer writer = bytes_writer_init(bytes, VIEW_BYTES_MAX);
    view_encode(view, &writer);
    assert_false(writer.failed);
    struct bytes_view encoded = {bytes, writer.len};
    return encoded;
}

/* --- a whole node --- */

void fixture_start(struct fixture *fixture)
{
    assert_int_equal(node_create(&fixture->config, &fixture->node), KV_OK);
    fixture_happens(fixture, EVENT_START, 0);
}

void fixture_step(struct fixture *fixture, const struct event *event)
{
    struct event copy = *event;
    copy.now_ms = fixture->now_ms;
    node_step(fixture->node, &copy, &fixture->effects);
    bool sent = false;
    for (uint32_t i = 0; i < fixture->effects.len; i++) {
        enum effect_kind kind = fixture->effects.items[i].kind;
        assert_false(kind == EFFECT_PERSIST && sent); /* the order rule of effect.h */
        sent = sent || kind == EFFECT_SEND;
    }
}

void fixture_happens(struct fixture *fixture, enum event_kind kind, uint64_t later_ms)
{
    struct event event = {.kind = kind};
    fixture->now_ms += later_ms;
    fixture_step(fixture, &event);
}

void fixture_link_event(struct fixture *fixture, enum event_kind kind, uint64_t link)
{
    struct event event = {.kind = kind};
    event.as.link.link = link;
    fixture_step(fixture, &event);
}

void fixture_deliver_bytes(struct fixture *fixture, uint64_t link, const void *bytes, size_t len)
{
    struct event event = {.kind = EVENT_MESSAGE};
    event.as.message.link = link;
    event.as.message.bytes = bytes;
    event.as.message.len = len;
    fixture_step(fixture, &event);
}

void fixture_deliver(struct fixture *fixture, uint64_t link, const struct message *message)
{
    size_t size = message_size(message);
    uint8_t *bytes = alloc_bytes(size);
    assert_int_equal(message_encode(message, bytes, size), size);
    fixture_deliver_bytes(fixture, link, bytes, size);
    alloc_free(bytes); /* a node that kept a pointer into it would be caught by the sanitizer */
}

void fixture_load(struct fixture *fixture, struct kv_position position)
{
    struct event event = {.kind = EVENT_LOADED};
    event.as.loaded.position = position;
    fixture_step(fixture, &event);
}

uint64_t fixture_arbiter_link(const struct fixture *fixture)
{
    KV_CHECK(fixture->node != NULL);
    return LINK_OPENED_BIT | 1; /* the first that it opens */
}

void fixture_tell_view(struct fixture *fixture, uint8_t type, const struct view *view)
{
    struct message message = fixture_message(type, view->number, 1);
    message.cluster = view->cluster;
    struct bytes_view encoded = fixture_encode_view(fixture, view);
    if (type == MESSAGE_REPLICAS) {
        message.body.replicas.view = encoded;
    } else {
        const struct member *self = view_find(view, FIXTURE_NODE);
        message.body.joined.incarnation = self == NULL ? 0 : self->incarnation;
        message.body.joined.view = encoded;
    }
    fixture_deliver(fixture, fixture_arbiter_link(fixture), &message);
}

void fixture_become_primary(struct fixture *fixture)
{
    struct view view;
    fixture_start(fixture);
    fixture_load(fixture, (struct kv_position){0, 0});
    fixture_view(&view, 1, FIXTURE_NODE);
    fixture_add_member(&view, FIXTURE_NODE, 1, MEMBER_IN_SYNC);
    fixture_tell_view(fixture, MESSAGE_JOINED_PRIMARY, &view);
}

void fixture_become_secondary(struct fixture *fixture, enum member_state state)
{
    struct view view;
    fixture_start(fixture);
    fixture_load(fixture, (struct kv_position){0, 0});
    fixture_view(&view, 2, FIXTURE_PRIMARY);
    fixture_add_member(&view, FIXTURE_PRIMARY, 1, MEMBER_IN_SYNC);
    fixture_add_member(&view, FIXTURE_NODE, 2, state);
    fixture_tell_view(fixture, MESSAGE_JOINED_SECONDARY, &view);
}

void fixture_load_record(struct fixture *fixture, const struct kv_record *record)
{
    uint8_t bytes[512];
    struct event event = {.kind = EVENT_LOADED_RECORDS};
    assert_true(record_size(record) <= sizeof(bytes));
    record_encode(record, bytes);
    event.as.loaded_records.bytes = bytes;
    event.as.loaded_records.len = record_size(record);
    fixture_step(fixture, &event);
}

struct message fixture_snapshot(const struct fixture *fixture, uint64_t view, uint8_t kind,
                                uint64_t seq)
{
    struct message message = fixture_message(MESSAGE_SNAPSHOT, view, FIXTURE_PRIMARY);
    message.body.snapshot.session = view;
    message.body.snapshot.kind = kind;
    message.body.snapshot.seq = seq;
    message.body.snapshot.sent_ms = fixture->now_ms;
    return message;
}

void fixture_begin(struct fixture *fixture, uint64_t view, uint8_t tail, struct kv_position as_of)
{
    struct message begin = fixture_snapshot(fixture, view, SNAPSHOT_BEGIN, 0);
    begin.body.snapshot.tail = tail;
    begin.body.snapshot.as_of = as_of;
    begin.body.snapshot.base = tail == TAIL_NONE ? UINT64_MAX : 0;
    begin.body.snapshot.last = as_of.index;
    begin.body.snapshot.committed = as_of.index;
    fixture_deliver(fixture, FIXTURE_PRIMARY_LINK, &begin);
}

/* The answer to one Fetch of content. */
static void fixture_answer(struct fixture *fixture, const struct message *fetch,
                           struct kv_position as_of, const struct kv_record *pairs,
                           uint32_t pairs_len)
{
    struct buffer records;
    struct message fetched = fixture_message(MESSAGE_FETCHED, fetch->view, FIXTURE_PRIMARY);
    assert_int_equal(fetch->body.fetch.parts, 0); /* so few pairs are not compared */
    fetched.body.fetched.request = fetch->body.fetch.request;
    fetched.body.fetched.as_of = as_of;
    fetched.body.fetched.low = fetch->body.fetch.low;
    fetched.body.fetched.high = fetch->body.fetch.high;
    buffer_init(&records);
    for (uint32_t i = 0; i < pairs_len; i++) {
        uint64_t hash = hash_bytes(pairs[i].key, pairs[i].key_len);
        if (hash >= fetch->body.fetch.low && hash <= fetch->body.fetch.high) {
            record_encode(&pairs[i], buffer_room(&records, record_size(&pairs[i])));
            fetched.body.fetched.count++;
        }
    }
    fetched.body.fetched.records.at = records.bytes;
    fetched.body.fetched.records.len = records.len;
    fixture_deliver(fixture, FIXTURE_PRIMARY_LINK, &fetched);
    buffer_close(&records);
}

/* The batch handed over in the last step, if it is a position alone, is stored. */
static void fixture_store_position(struct fixture *fixture)
{
    struct event event = {.kind = EVENT_PERSISTED};
    if (fixture_effects_len(fixture, EFFECT_PERSIST) == 0 ||
        fixture_effect(fixture, EFFECT_PERSIST, 0)->as.persist.slices_len > 0) {
        return;
    }
    event.as.persist.batch = fixture_effect(fixture, EFFECT_PERSIST, 0)->as.persist.batch;
    fixture_step(fixture, &event);
}

uint32_t fixture_fetched(struct fixture *fixture, struct kv_position as_of,
                         const struct kv_record *pairs, uint32_t pairs_len)
{
    struct message fetches[FETCHES_MAX];
    fixture_happens(fixture, EVENT_FLUSH, 0);
    bool opens = fixture_effects_len(fixture, EFFECT_OPEN_LINK) > 0;
    if (opens) { /* to the source: it asks when that is up */
        uint64_t link = fixture_effect(fixture, EFFECT_OPEN_LINK, 0)->as.open_link.link;
        fixture_store_position(fixture);
        fixture_link_event(fixture, EVENT_LINK_UP, link);
    }
    uint32_t len = fixture_sent_len(fixture, MESSAGE_FETCH);
    assert_true(len <= FETCHES_MAX);
    for (uint32_t i = 0; i < len; i++) {
        fetches[i] = fixture_sent(fixture, MESSAGE_FETCH, i, NULL);
    }
    if (!opens) {
        fixture_store_position(fixture);
    }
    for (uint32_t i = 0; i < len; i++) {
        fixture_answer(fixture, &fetches[i], as_of, pairs, pairs_len);
    }
    return len;
}

void fixture_become_complete(struct fixture *fixture)
{
    struct kv_position as_of = {1, 10};
    fixture_become_secondary(fixture, MEMBER_IN_SYNC);
    fixture_begin(fixture, 2, TAIL_NONE, as_of);
    assert_true(fixture_fetched(fixture, as_of, NULL, 0) > 0);
    while (fixture_store_all(fixture) > 0) {
    }
}

uint32_t fixture_store_all(struct fixture *fixture)
{
    uint32_t batches = 0;
    fixture_happens(fixture, EVENT_FLUSH, 0);
    while (fixture_effects_len(fixture, EFFECT_PERSIST) > 0) {
        struct event event = {.kind = EVENT_PERSISTED};
        event.as.persist.batch = fixture_effect(fixture, EFFECT_PERSIST, 0)->as.persist.batch;
        fixture_step(fixture, &event);
        batches++;
        if (fixture_effects_len(fixture, EFFECT_SEND) > 0) {
            break; /* answers: the caller wants to see them */
        }
        fixture_happens(fixture, EVENT_FLUSH, 0);
    }
    return batches;
}

uint64_t fixture_counter(struct fixture *fixture, const char *name)
{
    struct message status = fixture_message(MESSAGE_STATUS, 0, 900);
    status.cluster = 0;
    fixture_deliver(fixture, FIXTURE_CLIENT_LINK, &status);
    struct message answer = fixture_sent(fixture, MESSAGE_STATUS_RESULT, 0, NULL);
    for (uint32_t i = 0; i < answer.body.status_result.counters_len; i++) {
        if (fixture_equals(answer.body.status_result.counters[i].name, name)) {
            return answer.body.status_result.counters[i].value;
        }
    }
    fail_msg("no counter %s", name);
    return 0;
}
