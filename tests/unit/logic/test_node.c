/*
 * The node as a whole: what it cannot be made of, and that nothing that comes from outside, of any
 * kind, in any role, ends it: it is counted, and the link of what cannot be understood is closed.
 */
#include "fixture.h"

#include "base/alloc.h"
#include "base/rand.h"
#include "logic/record.h"
#include "samples.h"

#include <kvnode/status.h>
#include <stdlib.h>
#include <string.h>

#define STRANGER_LINK 70u
#define PRIMARY_LINK  FIXTURE_PRIMARY_LINK

/* --- roles --- */

enum test_role {
    AS_ARBITER,
    AS_STARTED,
    AS_JOINING,
    AS_PRIMARY,
    AS_SECONDARY,
    AS_CANDIDATE,
    AS_BOTH, /* arbiter, and a replica that has not joined yet */
    AS_END,
};

static const char *const role_names[AS_END] = {"arbiter",   "started",   "joining", "primary",
                                               "secondary", "candidate", "both"};

static void open_as(struct fixture *fixture, enum test_role role)
{
    fixture_init(fixture, role == AS_ARBITER || role == AS_BOTH, role != AS_ARBITER);
    switch (role) {
    case AS_PRIMARY:
        fixture_become_primary(fixture);
        break;
    case AS_SECONDARY:
        fixture_become_secondary(fixture, MEMBER_IN_SYNC);
        break;
    case AS_CANDIDATE:
        fixture_become_secondary(fixture, MEMBER_CANDIDATE);
        break;
    default:
        fixture_start(fixture);
        if (role == AS_JOINING || role == AS_BOTH) {
            fixture_load(fixture, (struct kv_position){0, 0});
        }
        break;
    }
}

static uint64_t view_number(const struct fixture *fixture)
{
    struct node_state observed;
    node_observe(fixture->node, &observed);
    return observed.view;
}

/* --- creation --- */

static void assert_invalid(struct fixture *fixture, const char *what)
{
    struct node *node = NULL;
    int32_t status = node_create(&fixture->config, &node);
    if (status != KV_E_INVALID) {
        fail_msg("%s: status %d", what, status);
    }
    assert_null(node);
}

static void what_cannot_be_a_node_is_refused(void **state)
{
    (void)state;
    char long_text[URI_MAX + 2];
    struct fixture fixture;
    fixture_init(&fixture, true, true);
    const struct node_config valid = fixture.config;
    memset(long_text, 'x', sizeof(long_text));
    long_text[sizeof(long_text) - 1] = '\0';

    fixture.config.is_arbiter = fixture.config.is_replica = false;
    assert_invalid(&fixture, "neither arbiter nor replica");
    fixture.config = valid;
    fixture.config.node = 0;
    assert_invalid(&fixture, "node 0");
    fixture.config = valid;
    fixture.config.name = NULL;
    assert_invalid(&fixture, "no name");
    fixture.config.name = "";
    assert_invalid(&fixture, "an empty name");
    fixture.config.name = "no spaces";
    assert_invalid(&fixture, "a name with a space");
    fixture.config.name = long_text;
    assert_invalid(&fixture, "a long name");
    fixture.config = valid;
    fixture.config.arbiter_uri = NULL;
    assert_invalid(&fixture, "a replica without arbiter");
    fixture.config = valid;
    fixture.config.uris_len = 0;
    assert_invalid(&fixture, "a replica that listens nowhere");
    fixture.config.uris_len = URIS_MAX + 1;
    assert_invalid(&fixture, "too many addresses");
    fixture.config = valid;
    fixture.config.uris[0] = long_text;
    assert_invalid(&fixture, "a long address");
    fixture.config = valid;
    fixture.config.new_cluster = 0;
    assert_invalid(&fixture, "an arbiter without cluster and registry");
    fixture.config = valid;
    fixture.config.persist_plugin = NULL;
    assert_invalid(&fixture, "no name of a plugin");
    fixture_close(&fixture);
}

/* Nobody would let it join: an address in a Join has one byte at least. */
static void an_empty_address_is_refused(void **state)
{
    (void)state;
    struct fixture fixture;
    fixture_init(&fixture, false, true);
    fixture.config.uris[0] = "";
    assert_invalid(&fixture, "an empty address");
    fixture_close(&fixture);
}

static void a_damaged_registry_is_refused(void **state)
{
    (void)state;
    struct fixture fixture;
    struct node *node = NULL;
    fixture_init(&fixture, true, false);
    fixture.config.registry = "not a view";
    fixture.config.registry_len = 10;
    assert_int_equal(node_create(&fixture.config, &node), KV_E_CORRUPT);
    assert_null(node);
    fixture_close(&fixture);
}

static void the_configuration_is_copied(void **state)
{
    (void)state;
    struct fixture fixture;
    char name[] = "mine";
    char uri[] = "test://mine";
    fixture_init(&fixture, false, true);
    fixture.config.name = name;
    fixture.config.uris[0] = uri;
    fixture_start(&fixture);
    memset(name, 'x', sizeof(name) - 1);
    memset(uri, 'x', sizeof(uri) - 1);
    fixture_load(&fixture, (struct kv_position){0, 0});
    struct message join = fixture_sent(&fixture, MESSAGE_JOIN, 0, NULL);
    assert_true(fixture_equals(join.body.join.name, "mine"));
    assert_true(fixture_equals(join.body.join.uris[0], "test://mine"));
    fixture_close(&fixture);
}

static void an_arbiter_alone_is_ready_at_once_and_stops_at_once(void **state)
{
    (void)state;
    struct fixture fixture;
    open_as(&fixture, AS_ARBITER);
    assert_int_equal(fixture_effect(&fixture, EFFECT_READY, 0)->as.ready.role, ROLE_ARBITER);
    assert_true(node_wake_ms(fixture.node) == UINT64_MAX);
    fixture_happens(&fixture, EVENT_FLUSH, 0);
    fixture_happens(&fixture, EVENT_TICK, 1000);
    assert_int_equal(fixture.effects.len, 0);
    fixture_happens(&fixture, EVENT_LEAVE, 0);
    assert_int_equal(fixture_effect(&fixture, EFFECT_STOP, 0)->as.stop.exit_status, 0);
    fixture_close(&fixture);
}

static void content_is_loaded_before_joining(void **state)
{
    (void)state;
    struct fixture fixture;
    uint8_t bytes[256];
    struct kv_record first = fixture_record("key", "old", 1, 1);
    struct kv_record second = fixture_record("key", "new", 1, 2);
    struct bytes_view value;
    struct kv_position position;
    open_as(&fixture, AS_STARTED);
    record_encode(&first, bytes);
    record_encode(&second, bytes + record_size(&first));
    struct event event = {.kind = EVENT_LOADED_RECORDS};
    event.as.loaded_records.bytes = bytes;
    event.as.loaded_records.len = record_size(&first) + record_size(&second);
    fixture_step(&fixture, &event);
    fixture_load(&fixture, (struct kv_position){1, 2});
    assert_true(node_peek(fixture.node, "key", 3, &value, &position));
    assert_true(fixture_equals(value, "new"));
    assert_int_equal(position.index, 2);
    struct node_state observed;
    node_observe(fixture.node, &observed);
    assert_int_equal(observed.committed_index, 2);
    assert_int_equal(observed.keys, 1);
    fixture_close(&fixture);
}

static void the_longest_message_fits_any_record(void **state)
{
    (void)state;
    struct node_limits limits = {.key_bytes = 100, .value_bytes = 1000};
    assert_int_equal(node_message_max(&limits), SNAPSHOT_BYTES_MAX + MESSAGE_OVERHEAD_MAX);
    limits.value_bytes = SNAPSHOT_BYTES_MAX;
    assert_int_equal(node_message_max(&limits), SNAPSHOT_BYTES_MAX + 100 + MESSAGE_OVERHEAD_MAX);
    assert_true(MESSAGE_OVERHEAD_MAX >= MESSAGE_HEADER_BYTES + 16 + VIEW_BYTES_MAX);
}

/* --- what cannot be understood --- */

/* Counted, noted, and the link is closed. */
static void assert_malformed(struct fixture *fixture, const void *bytes, size_t len)
{
    uint64_t before = fixture_counter(fixture, "messages_malformed");
    fixture_deliver_bytes(fixture, STRANGER_LINK, bytes, len);
    assert_int_equal(fixture_effects_len(fixture, EFFECT_SEND), 0);
    assert_int_equal(fixture_effect(fixture, EFFECT_CLOSE_LINK, 0)->as.close_link.link,
                     STRANGER_LINK);
    assert_int_equal(fixture_effects_len(fixture, EFFECT_NOTE), 1);
    assert_int_equal(fixture_counter(fixture, "messages_malformed"), before + 1);
}

static void malformed_messages_close_the_link(void **state)
{
    (void)state;
    for (enum test_role role = 0; role < AS_END; role++) {
        struct fixture fixture;
        open_as(&fixture, role);
        assert_malformed(&fixture, "", 0);
        assert_malformed(&fixture, "KV", 2);
        assert_malformed(&fixture, "GET / HTTP/1.1\r\nHost: somewhere\r\n\r\n", 37);
        for (size_t i = 0; i < samples_len(); i++) {
            struct sample sample = sample_make(i);
            struct message message;
            /* One byte less; a sample that is still whole without it does not exist. */
            if (strcmp(sample.folder, "message") == 0 &&
                message_decode(sample.bytes, sample.len - 1, &message) != KV_E_VERSION) {
                assert_malformed(&fixture, sample.bytes, sample.len - 1);
            }
            alloc_free(sample.bytes);
        }
        fixture_close(&fixture);
    }
}

static void a_foreign_version_is_told_ours(void **state)
{
    (void)state;
    for (enum test_role role = 0; role < AS_END; role++) {
        struct fixture fixture;
        uint8_t bytes[MESSAGE_HEADER_BYTES + 3] = {'K', 'V', MESSAGE_VERSION + 1, MESSAGE_GET};
        open_as(&fixture, role);
        fixture_deliver_bytes(&fixture, STRANGER_LINK, bytes, sizeof(bytes));
        uint64_t link;
        struct message answer = fixture_sent(&fixture, MESSAGE_UNSUPPORTED, 0, &link);
        assert_int_equal(link, STRANGER_LINK);
        assert_int_equal(answer.body.unsupported.version, MESSAGE_VERSION);
        assert_int_equal(fixture_effect(&fixture, EFFECT_CLOSE_LINK, 0)->as.close_link.link,
                         STRANGER_LINK);
        assert_int_equal(fixture_counter(&fixture, "messages_foreign_version"), 1);
        fixture_close(&fixture);
    }
}

/* Else two nodes of different versions would tell each other so for ever. */
static void unsupported_is_not_answered(void **state)
{
    (void)state;
    for (enum test_role role = 0; role < AS_END; role++) {
        struct fixture fixture;
        uint8_t bytes[MESSAGE_HEADER_BYTES + 1] = {'K', 'V', MESSAGE_VERSION + 1,
                                                   MESSAGE_UNSUPPORTED};
        bytes[MESSAGE_HEADER_BYTES] = MESSAGE_VERSION + 1;
        open_as(&fixture, role);
        fixture_deliver_bytes(&fixture, STRANGER_LINK, bytes, sizeof(bytes));
        assert_int_equal(fixture_effects_len(&fixture, EFFECT_SEND), 0);
        fixture_close(&fixture);
    }
}

static void another_clusters_messages_are_counted_and_ignored(void **state)
{
    (void)state;
    static const uint8_t types[] = {MESSAGE_SNAPSHOT, MESSAGE_SNAPSHOT_ACK, MESSAGE_INSERT};
    struct fixture fixture;
    open_as(&fixture, AS_SECONDARY);
    for (uint32_t i = 0; i < 3; i++) {
        struct message message = fixture_message(types[i], 2, 22);
        message.cluster = FIXTURE_CLUSTER + 1;
        message.body.snapshot.kind = types[i] == MESSAGE_SNAPSHOT ? SNAPSHOT_PROBE : 0;
        fixture_deliver(&fixture, PRIMARY_LINK, &message);
        assert_int_equal(fixture.effects.len, 0);
    }
    assert_int_equal(fixture_counter(&fixture, "messages_foreign_cluster"), 3);
    assert_int_equal(fixture_counter(&fixture, "messages_unexpected"), 0);
    fixture_close(&fixture);
}

static void another_views_messages_are_counted_and_ignored(void **state)
{
    (void)state;
    struct fixture fixture;
    open_as(&fixture, AS_SECONDARY);
    for (uint64_t view = 1; view <= 3; view += 2) {
        struct message probe = fixture_message(MESSAGE_SNAPSHOT, view, 22);
        probe.body.snapshot.session = 2;
        probe.body.snapshot.kind = SNAPSHOT_PROBE;
        fixture_deliver(&fixture, PRIMARY_LINK, &probe);
        fixture_happens(&fixture, EVENT_FLUSH, 0);
        assert_int_equal(fixture.effects.len, 0);
    }
    assert_int_equal(fixture_counter(&fixture, "messages_old_view"), 1);
    assert_int_equal(fixture_counter(&fixture, "messages_future_view"), 1);
    fixture_close(&fixture);
}

/* --- what is not for it --- */

static bool is_for_an_arbiter(uint8_t type)
{
    return type == MESSAGE_JOIN || type == MESSAGE_LEAVE || type == MESSAGE_HEARTBEAT ||
           type == MESSAGE_CAUGHT_UP || type == MESSAGE_SUSPECT || type == MESSAGE_HANDOVER ||
           type == MESSAGE_PROMOTE;
}

static bool is_an_answer(uint8_t type)
{
    return type >= MESSAGE_OPERATION_ACK;
}

/* True when no node in this role takes such a message from a stranger. */
static bool is_stray(enum test_role role, uint8_t type)
{
    bool is_arbiter = role == AS_ARBITER || role == AS_BOTH;
    if (is_an_answer(type)) { /* a replica takes a newer view from anybody */
        return type != MESSAGE_LOCATED || role == AS_ARBITER;
    }
    if (is_for_an_arbiter(type)) {
        return !is_arbiter;
    }
    if (role == AS_ARBITER) {
        return type != MESSAGE_STATUS && type != MESSAGE_LOCATE;
    }
    return type == MESSAGE_SNAPSHOT || type == MESSAGE_SNAPSHOT_ACK || type == MESSAGE_RESUME ||
           type == MESSAGE_FETCHED ||
           (type == MESSAGE_JOIN_REJECTED && role != AS_JOINING && role != AS_BOTH);
}

/* The sample as a stranger of this very cluster and view would send it. */
static struct message stranger_message(const struct fixture *fixture, const struct sample *sample)
{
    struct message message;
    assert_int_equal(message_decode(sample->bytes, sample->len, &message), KV_OK);
    message.cluster = FIXTURE_CLUSTER;
    message.view = view_number(fixture);
    message.sender = 99;
    return message;
}

/* How often the message was counted as unexpected; asking for the counter may count itself. */
static uint64_t strays_counted(struct fixture *fixture, const struct message *message)
{
    uint64_t first = fixture_counter(fixture, "messages_unexpected");
    uint64_t before = fixture_counter(fixture, "messages_unexpected");
    fixture_deliver(fixture, STRANGER_LINK, message);
    return fixture_counter(fixture, "messages_unexpected") - before - (before - first);
}

static void asking_an_arbiter_for_its_status_is_not_unexpected(void **state)
{
    (void)state;
    struct fixture fixture;
    open_as(&fixture, AS_ARBITER);
    for (uint32_t i = 0; i < 3; i++) {
        assert_int_equal(fixture_counter(&fixture, "messages_unexpected"), 0);
    }
    fixture_close(&fixture);
}

/* One message to a fresh node; 1 when that is a stray and was not counted once. */
static uint32_t stray_wrong(enum test_role role, const struct sample *sample, uint32_t *strays)
{
    struct fixture fixture;
    open_as(&fixture, role);
    struct message message = stranger_message(&fixture, sample);
    uint64_t counted = strays_counted(&fixture, &message);
    fixture_close(&fixture);
    if (!is_stray(role, message.type)) {
        return 0;
    }
    (*strays)++;
    if (counted != 1) {
        print_error("%s (%s) as %s: counted %d\n", message_type_name(message.type), sample->name,
                    role_names[role], (int)counted);
    }
    return counted == 1 ? 0 : 1;
}

static void stray_messages_are_counted(void **state)
{
    (void)state;
    uint32_t strays = 0;
    uint32_t wrong = 0;
    for (enum test_role role = 0; role < AS_END; role++) {
        for (size_t i = 0; i < samples_len(); i++) {
            struct sample sample = sample_make(i);
            if (strcmp(sample.folder, "message") == 0) {
                wrong += stray_wrong(role, &sample, &strays);
            }
            alloc_free(sample.bytes);
        }
    }
    assert_int_equal(wrong, 0);
    assert_true(strays > 100);
}

static void a_request_that_this_node_does_not_do_is_rejected(void **state)
{
    (void)state;
    static const uint8_t types[] = {MESSAGE_INSERT, MESSAGE_REMOVE, MESSAGE_GET, MESSAGE_SCAN};
    struct fixture fixture;
    open_as(&fixture, AS_ARBITER);
    for (uint32_t i = 0; i < 4; i++) {
        struct message message = fixture_message(types[i], 0, 900);
        message.body.operation.request = 3; /* the first member in both bodies */
        fixture_deliver(&fixture, STRANGER_LINK, &message);
        struct message answer = fixture_sent(&fixture, MESSAGE_OPERATION_REJECTED, 0, NULL);
        assert_int_equal(answer.body.operation_rejected.request, 3);
        assert_int_equal(answer.body.operation_rejected.reason, REJECT_UNSUPPORTED);
    }
    fixture_close(&fixture);
    open_as(&fixture, AS_PRIMARY);
    struct message promote = fixture_message(MESSAGE_PROMOTE, 0, 900);
    promote.body.promote.request = 4;
    promote.body.promote.name = fixture_text("n11");
    fixture_deliver(&fixture, STRANGER_LINK, &promote);
    struct message answer = fixture_sent(&fixture, MESSAGE_OPERATION_REJECTED, 0, NULL);
    assert_int_equal(answer.body.operation_rejected.request, 4);
    assert_int_equal(answer.body.operation_rejected.reason, REJECT_UNSUPPORTED);
    fixture_close(&fixture);
}

/* A client that has lost its arbiter asks any node which view it knows. */
static void a_replica_tells_its_view(void **state)
{
    (void)state;
    static const enum test_role roles[] = {AS_PRIMARY, AS_SECONDARY, AS_CANDIDATE, AS_JOINING};
    static const uint64_t numbers[] = {1, 2, 2, 0};
    for (uint32_t i = 0; i < 4; i++) {
        struct fixture fixture;
        struct view view;
        open_as(&fixture, roles[i]);
        struct message locate = fixture_message(MESSAGE_LOCATE, 0, 900);
        locate.body.request.request = 5;
        fixture_deliver(&fixture, STRANGER_LINK, &locate);
        struct message answer = fixture_sent(&fixture, MESSAGE_LOCATED, 0, NULL);
        assert_int_equal(answer.body.located.request, 5);
        struct bytes_view bytes = answer.body.located.view;
        assert_int_equal(view_decode(bytes.at, bytes.len, &view), KV_OK);
        assert_int_equal(view.number, numbers[i]);
        fixture_close(&fixture);
    }
}

/* Deposed, and the arbiter does not reach it: whom it writes to tells it, now and then. */
static void an_old_primary_is_told_the_view(void **state)
{
    (void)state;
    struct fixture fixture;
    struct view view;
    uint64_t link;
    open_as(&fixture, AS_SECONDARY);
    struct message probe = fixture_snapshot(&fixture, 1, SNAPSHOT_PROBE, 0);
    fixture_deliver(&fixture, PRIMARY_LINK, &probe);
    struct message told = fixture_sent(&fixture, MESSAGE_LOCATED, 0, &link);
    assert_int_equal(link, PRIMARY_LINK);
    assert_int_equal(view_decode(told.body.located.view.at, told.body.located.view.len, &view),
                     KV_OK);
    assert_int_equal(view.number, 2);
    fixture_deliver(&fixture, PRIMARY_LINK, &probe);
    assert_int_equal(fixture_sent_len(&fixture, MESSAGE_LOCATED), 0); /* a moment ago */
    fixture_happens(&fixture, EVENT_TICK, FIXTURE_RETRANSMIT_MS);
    fixture_deliver(&fixture, PRIMARY_LINK, &probe);
    assert_int_equal(fixture_sent_len(&fixture, MESSAGE_LOCATED), 1);
    fixture_close(&fixture);

    open_as(&fixture, AS_PRIMARY); /* and what it does then */
    struct message located = fixture_message(MESSAGE_LOCATED, 2, 22);
    fixture_view(&view, 2, 22);
    fixture_add_member(&view, 22, 2, MEMBER_IN_SYNC);
    located.body.located.view = fixture_encode_view(&fixture, &view);
    fixture_deliver(&fixture, STRANGER_LINK, &located);
    assert_int_equal(view_number(&fixture), 2);
    struct node_state observed;
    node_observe(fixture.node, &observed);
    assert_int_equal(observed.role, ROLE_JOINING);
    fixture_close(&fixture);
}

/* One that looks for the arbiter at a replica's address is told the view: it says where that is. */
static void who_looks_for_the_arbiter_is_told(void **state)
{
    (void)state;
    static const uint8_t types[] = {MESSAGE_HEARTBEAT, MESSAGE_JOIN};
    for (uint32_t i = 0; i < 2; i++) {
        struct fixture fixture;
        open_as(&fixture, AS_SECONDARY);
        struct message message = fixture_message(types[i], 0, 55);
        if (types[i] == MESSAGE_JOIN) {
            message.body.join.ack = ACK_DURABLE;
            message.body.join.name = fixture_text("n55");
            message.body.join.uris_len = 1;
            message.body.join.uris[0] = fixture_text("test://n55");
        }
        fixture_deliver(&fixture, STRANGER_LINK, &message);
        uint64_t link;
        fixture_sent(&fixture, MESSAGE_LOCATED, 0, &link);
        assert_int_equal(link, STRANGER_LINK);
        fixture_close(&fixture);
    }
}

/* Every message there is, from anybody, on any link, of any view, with anything else happening. */
static void nothing_ends_a_node(void **state)
{
    (void)state;
    static const uint64_t senders[] = {0, FIXTURE_NODE, 22, 1, UINT64_MAX};
    struct rand rand = {99};
    for (uint32_t round = 0; round < 4 * AS_END; round++) {
        struct fixture fixture;
        open_as(&fixture, (enum test_role)(round % AS_END));
        for (uint32_t i = 0; i < 2000; i++) {
            struct sample sample = sample_make(rand_below(&rand, samples_len()));
            if (strcmp(sample.folder, "message") == 0) {
                const uint64_t links[] = {STRANGER_LINK, PRIMARY_LINK,
                                          fixture_arbiter_link(&fixture)};
                struct message message = stranger_message(&fixture, &sample);
                message.view += rand_below(&rand, 3) - 1;
                message.sender = senders[rand_below(&rand, 5)];
                message.cluster = rand_percent(&rand, 90) ? FIXTURE_CLUSTER : 0;
                fixture_deliver(&fixture, links[rand_below(&rand, 3)], &message);
            }
            alloc_free(sample.bytes);
            if (rand_percent(&rand, 20)) {
                fixture_happens(&fixture, rand_percent(&rand, 50) ? EVENT_FLUSH : EVENT_TICK,
                                rand_below(&rand, 50));
            }
        }
        fixture_close(&fixture);
    }
}

/* --- time --- */

/* Primary of view 2 with node 22 as a candidate that says nothing. */
static void become_primary_of_two(struct fixture *fixture)
{
    struct view view;
    fixture_become_primary(fixture);
    fixture_view(&view, 2, FIXTURE_NODE);
    fixture_add_member(&view, FIXTURE_NODE, 1, MEMBER_IN_SYNC);
    fixture_add_member(&view, 22, 2, MEMBER_CANDIDATE);
    fixture_tell_view(fixture, MESSAGE_REPLICAS, &view);
}

static void a_pause_of_its_own_is_not_the_others_silence(void **state)
{
    (void)state;
    struct fixture fixture;
    fixture_init(&fixture, false, true);
    become_primary_of_two(&fixture);
    fixture_happens(&fixture, EVENT_TICK, 100 * FIXTURE_REPLICA_MS);
    assert_int_equal(fixture_sent_len(&fixture, MESSAGE_SUSPECT), 0);
    uint64_t resumed_ms = fixture.now_ms;
    while (fixture_sent_len(&fixture, MESSAGE_SUSPECT) == 0) {
        assert_true(fixture.now_ms < resumed_ms + 2 * FIXTURE_REPLICA_MS);
        fixture_happens(&fixture, EVENT_TICK, 50);
    }
    assert_int_equal(fixture.now_ms, resumed_ms + FIXTURE_REPLICA_MS);
    struct message suspect = fixture_sent(&fixture, MESSAGE_SUSPECT, 0, NULL);
    assert_int_equal(suspect.view, 2);
    assert_int_equal(suspect.body.member.node, 22);
    assert_int_equal(suspect.body.member.joined, 2);
    fixture_close(&fixture);
}

/* --- what the parts share --- */

static void effects_are_a_list_with_memory_of_its_own(void **state)
{
    (void)state;
    struct effects effects;
    effects_init(&effects);
    for (uint32_t round = 0; round < 3; round++) {
        for (uint32_t i = 0; i < 1000; i++) {
            effects_note(&effects, NOTE_INFO, "number=%u text=%s", i, "x");
            assert_int_equal(effects_add(&effects, EFFECT_SEND)->as.send.link, 0); /* zeroed */
        }
        assert_int_equal(effects.len, 2000);
        assert_string_equal(effects.items[0].as.note.text, "number=0 text=x");
        assert_string_equal(effects.items[1998].as.note.text, "number=999 text=x");
        assert_int_equal(effects.items[1998].kind, EFFECT_NOTE);
        effects_reset(&effects);
        assert_int_equal(effects.len, 0);
    }
    effects_close(&effects);
}

static void a_context_sends_opens_and_closes(void **state)
{
    (void)state;
    struct fixture fixture;
    fixture_init(&fixture, false, true);
    char where[2][16] = {"test://a", "other://a"};
    const char *const uris[2] = {where[0], where[1]};
    uint64_t first = context_open_link(&fixture.context, uris, 2);
    uint64_t second = context_open_link(&fixture.context, uris + 1, 1);
    assert_int_not_equal(first, second);
    memset(where, 'x', sizeof(where)); /* they are copied */
    const struct effect *open = fixture_effect(&fixture, EFFECT_OPEN_LINK, 0);
    assert_int_equal(open->as.open_link.uris_len, 2);
    assert_string_equal(open->as.open_link.uris[0], "test://a");
    assert_string_equal(open->as.open_link.uris[1], "other://a");
    open = fixture_effect(&fixture, EFFECT_OPEN_LINK, 1);
    assert_int_equal(open->as.open_link.uris_len, 1);
    assert_string_equal(open->as.open_link.uris[0], "other://a");
    assert_true((first & second & LINK_OPENED_BIT) != 0);
    context_close_link(&fixture.context, first);
    context_close_link(&fixture.context, 0); /* none */
    assert_int_equal(fixture_effects_len(&fixture, EFFECT_CLOSE_LINK), 1);

    fixture.context.view = 6;
    struct message message = context_message(&fixture.context, MESSAGE_OPERATION_ACK);
    context_send(&fixture.context, 0, &message); /* nobody */
    assert_int_equal(fixture_effects_len(&fixture, EFFECT_SEND), 0);
    context_reject(&fixture.context, 9, 4, REJECT_OVERLOADED, 50);
    uint64_t link;
    message = fixture_sent(&fixture, MESSAGE_OPERATION_REJECTED, 0, &link);
    assert_int_equal(link, 9);
    assert_int_equal(message.cluster, FIXTURE_CLUSTER);
    assert_int_equal(message.view, 6);
    assert_int_equal(message.sender, FIXTURE_NODE);
    assert_int_equal(message.body.operation_rejected.retry_after_ms, 50);
    assert_int_equal(fixture.context.counters[COUNTER_requests_rejected], 1);
    assert_int_equal(context_earlier(3, UINT64_MAX), 3);
    fixture_close(&fixture);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(what_cannot_be_a_node_is_refused),
        cmocka_unit_test(an_empty_address_is_refused),
        cmocka_unit_test(a_damaged_registry_is_refused),
        cmocka_unit_test(the_configuration_is_copied),
        cmocka_unit_test(an_arbiter_alone_is_ready_at_once_and_stops_at_once),
        cmocka_unit_test(content_is_loaded_before_joining),
        cmocka_unit_test(the_longest_message_fits_any_record),
        cmocka_unit_test(malformed_messages_close_the_link),
        cmocka_unit_test(a_foreign_version_is_told_ours),
        cmocka_unit_test(unsupported_is_not_answered),
        cmocka_unit_test(another_clusters_messages_are_counted_and_ignored),
        cmocka_unit_test(another_views_messages_are_counted_and_ignored),
        cmocka_unit_test(asking_an_arbiter_for_its_status_is_not_unexpected),
        cmocka_unit_test(stray_messages_are_counted),
        cmocka_unit_test(a_request_that_this_node_does_not_do_is_rejected),
        cmocka_unit_test(a_replica_tells_its_view),
        cmocka_unit_test(an_old_primary_is_told_the_view),
        cmocka_unit_test(who_looks_for_the_arbiter_is_told),
        cmocka_unit_test(nothing_ends_a_node),
        cmocka_unit_test(a_pause_of_its_own_is_not_the_others_silence),
        cmocka_unit_test(effects_are_a_list_with_memory_of_its_own),
        cmocka_unit_test(a_context_sends_opens_and_closes),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
