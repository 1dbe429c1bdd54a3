/*
 * A replica that hears nothing of its arbiter: it asks it, looks for it at the other addresses that
 * it knows and at other members, takes the link where it answers, and follows it when a view says
 * that it has moved.
 */
#include "fixture.h"

#include <stdlib.h>
#include <string.h>

static int setup(void **state)
{
    struct fixture *fixture = calloc(1, sizeof(*fixture));
    fixture_init(fixture, false, true);
    *state = fixture;
    return 0;
}

static int teardown(void **state)
{
    fixture_close(*state);
    free(*state);
    return 0;
}

/* Members 22 (primary), this node, 33; the arbiter listens at these addresses. */
static void make_view(struct view *view, uint64_t number, const char *first, const char *second)
{
    fixture_view(view, number, 22);
    fixture_add_member(view, 22, 1, MEMBER_IN_SYNC);
    fixture_add_member(view, FIXTURE_NODE, 2, MEMBER_IN_SYNC);
    fixture_add_member(view, 33, 3, MEMBER_IN_SYNC);
    if (first != NULL) {
        snprintf(view->arbiter_uris[view->arbiter_uris_len++], URI_MAX + 1, "%s", first);
    }
    if (second != NULL) {
        snprintf(view->arbiter_uris[view->arbiter_uris_len++], URI_MAX + 1, "%s", second);
    }
}

static void become_member(struct fixture *fixture, const char *first, const char *second)
{
    struct view view;
    fixture_start(fixture);
    fixture_load(fixture, (struct kv_position){0, 0});
    make_view(&view, 4, first, second);
    fixture_tell_view(fixture, MESSAGE_JOINED_SECONDARY, &view);
}

/* A view over any link. */
static void deliver_view(struct fixture *fixture, uint64_t link, uint8_t type,
                         const struct view *view)
{
    struct message message = fixture_message(type, view->number, 1);
    struct bytes_view encoded = fixture_encode_view(fixture, view);
    if (type == MESSAGE_LOCATED) {
        message.body.located.view = encoded;
    } else {
        message.body.replicas.view = encoded;
    }
    fixture_deliver(fixture, link, &message);
}

/* The next address that it tries, within two replica_timeouts; "": none. */
static const char *next_probe(struct fixture *fixture, uint64_t *ret_link)
{
    *ret_link = 0;
    for (uint32_t ms = 0; ms < 2 * FIXTURE_REPLICA_MS; ms += 10) {
        fixture_happens(fixture, EVENT_TICK, 10);
        if (fixture_effects_len(fixture, EFFECT_OPEN_LINK) > 0) {
            const struct effect *open = fixture_effect(fixture, EFFECT_OPEN_LINK, 0);
            assert_int_equal(open->as.open_link.uris_len, 1);
            *ret_link = open->as.open_link.link;
            return open->as.open_link.uris[0];
        }
    }
    return "";
}

static uint64_t heartbeat_view(struct fixture *fixture)
{
    while (fixture_sent_len(fixture, MESSAGE_HEARTBEAT) == 0) {
        fixture_happens(fixture, EVENT_TICK, 10);
    }
    return fixture_sent(fixture, MESSAGE_HEARTBEAT, 0, NULL).view;
}

/* An arbiter answers a heartbeat that knows no view: so its silence says that it is gone. */
static void after_silence_it_asks_for_a_word(void **state)
{
    struct fixture *fixture = *state;
    struct view view;
    become_member(fixture, NULL, NULL);
    fixture_happens(fixture, EVENT_TICK, 2 * FIXTURE_REPLICA_MS - 1);
    assert_int_equal(heartbeat_view(fixture), 4);
    fixture_happens(fixture, EVENT_TICK, FIXTURE_REPLICA_MS / 2);
    assert_int_equal(heartbeat_view(fixture), 0);
    assert_int_equal(fixture_effects_len(fixture, EFFECT_OPEN_LINK), 0); /* not elsewhere yet */
    make_view(&view, 4, NULL, NULL);
    deliver_view(fixture, fixture_arbiter_link(fixture), MESSAGE_REPLICAS, &view);
    fixture_happens(fixture, EVENT_TICK, FIXTURE_REPLICA_MS);
    assert_int_equal(heartbeat_view(fixture), 4);
}

/* One address after the other, each for one replica_timeout: those told, then the other members;
 * neither this node itself nor the address in use. And round again. */
static void it_looks_everywhere_but_at_itself(void **state)
{
    static const char *const expected[] = {"test://told1", "test://told2", "test://n22",
                                           "test://n33"};
    struct fixture *fixture = *state;
    uint64_t link = 0;
    uint64_t before_ms = 0;
    become_member(fixture, "test://told1", "test://told2");
    fixture_happens(fixture, EVENT_TICK, 3 * FIXTURE_REPLICA_MS - 10);
    assert_int_equal(fixture_effects_len(fixture, EFFECT_OPEN_LINK), 0);
    for (uint32_t i = 0; i < 8; i++) {
        uint64_t previous = link;
        assert_string_equal(next_probe(fixture, &link), expected[i % 4]);
        assert_true(before_ms == 0 || fixture->now_ms - before_ms >= FIXTURE_REPLICA_MS);
        before_ms = fixture->now_ms;
        if (i > 0) { /* one at a time */
            assert_true(link != previous);
        }
        fixture_link_event(fixture, EVENT_LINK_UP, link);
        uint64_t to;
        assert_int_equal(fixture_sent(fixture, MESSAGE_HEARTBEAT, 0, &to).view, 0);
        assert_int_equal(to, link);
    }
}

static void not_joined_yet_it_asks_there_to_join(void **state)
{
    struct fixture *fixture = *state;
    struct view view;
    uint64_t link;
    fixture_start(fixture);
    fixture_load(fixture, (struct kv_position){0, 0});
    /* A view that it is not in tells the addresses all the same. */
    fixture_view(&view, 4, 22);
    fixture_add_member(&view, 22, 1, MEMBER_IN_SYNC);
    snprintf(view.arbiter_uris[view.arbiter_uris_len++], URI_MAX + 1, "test://told1");
    deliver_view(fixture, fixture_arbiter_link(fixture), MESSAGE_REPLICAS, &view);
    fixture_happens(fixture, EVENT_TICK, 3 * FIXTURE_REPLICA_MS - 10);
    assert_string_equal(next_probe(fixture, &link), "test://told1");
    fixture_link_event(fixture, EVENT_LINK_UP, link);
    uint64_t to;
    fixture_sent(fixture, MESSAGE_JOIN, 0, &to);
    assert_int_equal(to, link);
}

/* Where an arbiter's word comes from is the link to it, from then on. */
static void where_it_answers_is_the_link(void **state)
{
    struct fixture *fixture = *state;
    struct view view;
    uint64_t link;
    uint64_t to;
    become_member(fixture, "test://told1", NULL);
    fixture_happens(fixture, EVENT_TICK, 3 * FIXTURE_REPLICA_MS - 10);
    assert_string_equal(next_probe(fixture, &link), "test://told1");
    make_view(&view, 4, "test://told1", NULL);
    deliver_view(fixture, link, MESSAGE_REPLICAS, &view);
    assert_int_equal(fixture_effect(fixture, EFFECT_CLOSE_LINK, 0)->as.close_link.link,
                     fixture_arbiter_link(fixture));
    assert_int_equal(heartbeat_view(fixture), 4);
    fixture_sent(fixture, MESSAGE_HEARTBEAT, 0, &to);
    assert_int_equal(to, link);
    /* Silent again: then the configured address is one of the others. */
    fixture_happens(fixture, EVENT_TICK, 2 * FIXTURE_REPLICA_MS);
    assert_string_equal(next_probe(fixture, &to), "test://n22");
    assert_string_equal(next_probe(fixture, &to), "test://n33");
    assert_string_equal(next_probe(fixture, &to), "test://arbiter");
}

/* The old link speaks again first: the search is over, and that link stays. */
static void a_word_over_the_old_link_ends_the_search(void **state)
{
    struct fixture *fixture = *state;
    struct view view;
    uint64_t link;
    uint64_t to;
    become_member(fixture, NULL, NULL);
    fixture_happens(fixture, EVENT_TICK, 3 * FIXTURE_REPLICA_MS - 10);
    assert_string_equal(next_probe(fixture, &link), "test://n22");
    make_view(&view, 4, NULL, NULL);
    deliver_view(fixture, fixture_arbiter_link(fixture), MESSAGE_REPLICAS, &view);
    assert_int_equal(fixture_effect(fixture, EFFECT_CLOSE_LINK, 0)->as.close_link.link, link);
    assert_int_equal(heartbeat_view(fixture), 4);
    fixture_sent(fixture, MESSAGE_HEARTBEAT, 0, &to);
    assert_int_equal(to, fixture_arbiter_link(fixture));
}

/* A member tells its view, and is no arbiter for that: the search goes on. */
static void a_member_tells_a_view_and_no_more(void **state)
{
    struct fixture *fixture = *state;
    struct node_state seen;
    struct view view;
    uint64_t link;
    uint64_t to;
    become_member(fixture, NULL, NULL);
    fixture_happens(fixture, EVENT_TICK, 3 * FIXTURE_REPLICA_MS - 10);
    assert_string_equal(next_probe(fixture, &link), "test://n22");
    make_view(&view, 6, NULL, NULL);
    deliver_view(fixture, link, MESSAGE_LOCATED, &view);
    node_observe(fixture->node, &seen);
    assert_int_equal(seen.view, 6);
    assert_int_equal(heartbeat_view(fixture), 0);
    fixture_sent(fixture, MESSAGE_HEARTBEAT, 0, &to);
    assert_int_equal(to, fixture_arbiter_link(fixture));
    assert_string_equal(next_probe(fixture, &link), "test://n33");
}

/* ... with the address where the arbiter listens now: it goes there. */
static void a_member_tells_where_it_is_now(void **state)
{
    struct fixture *fixture = *state;
    struct view view;
    uint64_t link;
    become_member(fixture, "test://arbiter", NULL);
    fixture_happens(fixture, EVENT_TICK, 3 * FIXTURE_REPLICA_MS - 10);
    assert_string_equal(next_probe(fixture, &link), "test://n22");
    make_view(&view, 6, "test://moved", NULL);
    deliver_view(fixture, link, MESSAGE_LOCATED, &view);
    const struct effect *open = fixture_effect(fixture, EFFECT_OPEN_LINK, 0);
    assert_int_equal(open->as.open_link.uris_len, 1);
    assert_string_equal(open->as.open_link.uris[0], "test://moved");
    assert_int_equal(fixture_effects_len(fixture, EFFECT_CLOSE_LINK), 2); /* old and probe */
    uint64_t moved = open->as.open_link.link;
    uint64_t to;
    fixture_link_event(fixture, EVENT_LINK_UP, moved);
    fixture_sent(fixture, MESSAGE_HEARTBEAT, 0, &to);
    assert_int_equal(to, moved);
}

/* All of its addresses, since this node may have a transport for one of them only; told once. */
static void it_follows_a_moved_arbiter(void **state)
{
    struct fixture *fixture = *state;
    struct view view;
    become_member(fixture, "test://arbiter", NULL);
    make_view(&view, 5, "other://moved", "test://moved");
    deliver_view(fixture, fixture_arbiter_link(fixture), MESSAGE_REPLICAS, &view);
    const struct effect *open = fixture_effect(fixture, EFFECT_OPEN_LINK, 0);
    assert_int_equal(open->as.open_link.uris_len, 2);
    assert_string_equal(open->as.open_link.uris[0], "other://moved");
    assert_string_equal(open->as.open_link.uris[1], "test://moved");
    assert_int_equal(fixture_effect(fixture, EFFECT_CLOSE_LINK, 0)->as.close_link.link,
                     fixture_arbiter_link(fixture));
    uint64_t link = open->as.open_link.link;
    make_view(&view, 6, "other://moved", "test://moved"); /* the same: it stays */
    deliver_view(fixture, link, MESSAGE_REPLICAS, &view);
    assert_int_equal(fixture_effects_len(fixture, EFFECT_OPEN_LINK), 0);
    make_view(&view, 5, "test://arbiter", NULL); /* an old one says nothing about today */
    deliver_view(fixture, link, MESSAGE_LOCATED, &view);
    assert_int_equal(fixture_effects_len(fixture, EFFECT_OPEN_LINK), 0);
}

/* --- what a member tells --- */

static uint32_t located(struct fixture *fixture, uint64_t link)
{
    uint32_t len = 0;
    uint64_t to;
    for (uint32_t i = 0; i < fixture_sent_len(fixture, MESSAGE_LOCATED); i++) {
        struct message message = fixture_sent(fixture, MESSAGE_LOCATED, i, &to);
        assert_int_equal(message.body.located.request, 0);
        len += to == link ? 1 : 0;
    }
    return len;
}

/* One that looks for the arbiter here is told the view, which says where that listens. */
static void one_that_looks_for_the_arbiter_is_told_the_view(void **state)
{
    struct fixture *fixture = *state;
    struct message beat = fixture_message(MESSAGE_HEARTBEAT, 0, 55);
    struct message join = fixture_message(MESSAGE_JOIN, 0, 55);
    struct view view;
    join.body.join.incarnation = beat.body.heartbeat.incarnation = 7;
    join.body.join.ack = ACK_DURABLE;
    join.body.join.name = fixture_text("n55");
    join.body.join.uris_len = 1;
    join.body.join.uris[0] = fixture_text("test://n55");
    fixture_start(fixture);
    fixture_load(fixture, (struct kv_position){0, 0});
    fixture_deliver(fixture, 77, &beat);
    assert_int_equal(located(fixture, 77), 0); /* it knows none */
    make_view(&view, 4, "test://told1", NULL);
    fixture_tell_view(fixture, MESSAGE_JOINED_SECONDARY, &view);
    fixture_deliver(fixture, 77, &beat);
    assert_int_equal(located(fixture, 77), 1);
    fixture_deliver(fixture, 77, &join);
    assert_int_equal(located(fixture, 77), 1);
    struct bytes_view bytes = fixture_sent(fixture, MESSAGE_LOCATED, 0, NULL).body.located.view;
    struct view told;
    assert_int_equal(view_decode(bytes.at, bytes.len, &told), KV_OK);
    assert_int_equal(told.number, 4);
    assert_string_equal(told.arbiter_uris[0], "test://told1");
}

/* A primary of an older view: it is told, now and then, that it is none any more. */
static void a_primary_of_an_older_view_is_told(void **state)
{
    struct fixture *fixture = *state;
    become_member(fixture, NULL, NULL);
    struct message old = fixture_snapshot(fixture, 3, SNAPSHOT_PROBE, 0);
    fixture_deliver(fixture, 88, &old);
    assert_int_equal(located(fixture, 88), 1);
    assert_int_equal(fixture_counter(fixture, "messages_old_view"), 1);
    fixture_deliver(fixture, 88, &old);
    assert_int_equal(located(fixture, 88), 0);
    fixture_happens(fixture, EVENT_TICK, FIXTURE_RETRANSMIT_MS);
    fixture_deliver(fixture, 88, &old);
    assert_int_equal(located(fixture, 88), 1);
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, setup, teardown)

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(after_silence_it_asks_for_a_word),
        TEST(it_looks_everywhere_but_at_itself),
        TEST(not_joined_yet_it_asks_there_to_join),
        TEST(where_it_answers_is_the_link),
        TEST(a_word_over_the_old_link_ends_the_search),
        TEST(a_member_tells_a_view_and_no_more),
        TEST(a_member_tells_where_it_is_now),
        TEST(it_follows_a_moved_arbiter),
        TEST(one_that_looks_for_the_arbiter_is_told_the_view),
        TEST(a_primary_of_an_older_view_is_told),
    };
    return cmocka_run_group_tests_name("probing", tests, NULL, NULL);
}
