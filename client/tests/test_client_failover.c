/* The primary changes, the arbiter is away or has moved: where a client finds the view, what it
 * moves to the new primary, what it tells of the state that its reads need; and the commands that
 * make another primary. */
#include "fake.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#define WAIT_MS 5000u

static void expect(struct fake *fake, struct outcome *outcome, int32_t status)
{
    assert_true(fake_wait(fake, &outcome->answers, 1, WAIT_MS));
    if (outcome->status != status) {
        fail_msg("status %d (%s), not %d", outcome->status, outcome->reason, status);
    }
    assert_int_equal(outcome->answers, 1);
}

static void expect_reason(const struct outcome *outcome, const char *part)
{
    if (strstr(outcome->reason, part) == NULL) {
        fail_msg("\"%s\" is not in \"%s\"", part, outcome->reason);
    }
}

static void insert(struct fake *fake, uint32_t deadline_ms, struct outcome *outcome)
{
    assert_int_equal(
        kv_client_insert(fake->client, "k", 1, "v", 1, deadline_ms, outcome_on_answer, outcome),
        KV_OK);
}

static void get(struct fake *fake, const char *node, uint64_t min_index, struct outcome *outcome)
{
    assert_int_equal(
        kv_client_get(fake->client, node, "key", 3, min_index, 4000, outcome_on_answer, outcome),
        KV_OK);
}

/* A cluster whose first update is done, so that the client knows the view. */
static void start(struct fake *fake, uint32_t nodes_len)
{
    struct outcome first = {0};
    fake_init(fake, nodes_len);
    fake_client(fake, NULL);
    insert(fake, 0, &first);
    expect(fake, &first, KV_OK);
}

/* ---- the primary changes ---- */

/* What the default deadline has to be enough for: the cluster needs most of a second. */
static void test_default_deadline_outlasts_a_failover(void **state)
{
    (void)state;
    struct fake fake;
    struct outcome update = {0}, read = {0}, scan = {0};
    start(&fake, 2);
    fake_node_stop(&fake, 1);
    insert(&fake, 0, &update);
    get(&fake, NULL, 0, &read);
    kv_client_scan(fake.client, NULL, "", 0, 0, 0, 0, outcome_on_answer, &scan);
    fake_run(&fake, 800);
    assert_int_equal(update.answers + read.answers + scan.answers, 0);
    fake_set_primary(&fake, 2);
    uint64_t change_ms = fake_now_ms();
    expect(&fake, &update, KV_OK);
    expect(&fake, &read, KV_OK);
    expect(&fake, &scan, KV_OK);
    /* Generous: what matters is that it is no back-off of a second. */
    assert_true(update.at_ms < change_ms + 900u);
    assert_int_equal(fake.nodes[2].updates, 1);
    fake_close(&fake);
}

/* A process that is stopped: its links stay up. What reads is answered by the new primary, what was
 * not sent goes there; an update that was sent stays unknown. */
static void test_frozen_primary(void **state)
{
    (void)state;
    struct fake fake;
    struct outcome sent = {0}, read = {0}, scan = {0}, later = {0};
    start(&fake, 3);
    fake.nodes[1].is_deaf = true;
    insert(&fake, 1500, &sent);
    get(&fake, NULL, 0, &read);
    kv_client_scan(fake.client, NULL, "", 0, 0, 0, 0, outcome_on_answer, &scan);
    fake_run(&fake, 100);
    fake_set_primary(&fake, 2);
    expect(&fake, &read, KV_OK);
    expect(&fake, &scan, KV_OK);
    insert(&fake, 0, &later);
    expect(&fake, &later, KV_OK);
    expect(&fake, &sent, KV_E_TIMEOUT);
    expect_reason(&sent, "may have been executed");
    assert_int_equal(fake.nodes[2].updates, 1);
    fake_close(&fake);
}

static bool refuse_hook(void *ctx, struct fake_node *node, struct guard_link *link,
                        const struct message *message)
{
    uint8_t reason = *(const uint8_t *)ctx;
    if (node->index != 1 || message->type != MESSAGE_INSERT) {
        return false;
    }
    fake_reject(node, link, message, reason, 5000);
    return true;
}

/* The pause that the old primary asks for is not kept towards the new one. */
static void test_refusals_end_with_their_primary(void **state)
{
    (void)state;
    static const uint8_t reasons[] = {REJECT_NOT_PRIMARY, REJECT_NOT_READY,  REJECT_LEAVING,
                                      REJECT_MIN_IN_SYNC, REJECT_OVERLOADED, REJECT_STORE};
    for (uint32_t i = 0; i < sizeof(reasons); i++) {
        struct fake fake;
        struct outcome update = {0}, view = {0};
        uint8_t reason = reasons[i];
        start(&fake, 2);
        fake.hook = refuse_hook;
        fake.hook_ctx = &reason;
        insert(&fake, 4000, &update);
        fake_run(&fake, 50);
        fake_set_primary(&fake, 2);
        kv_client_view(fake.client, 0, outcome_on_answer, &view);
        expect(&fake, &view, KV_OK);
        expect(&fake, &update, KV_OK);
        fake_close(&fake);
    }
}

/* ---- who tells the view ---- */

static void test_members_tell_the_view(void **state)
{
    (void)state;
    struct fake fake;
    struct outcome update = {0}, view = {0}, read = {0};
    start(&fake, 3);
    fake_node_stop(&fake, FAKE_ARBITER);
    fake_node_stop(&fake, 1);
    fake_set_primary(&fake, 3);
    insert(&fake, 4000, &update);
    get(&fake, NULL, 0, &read);
    expect(&fake, &update, KV_OK);
    expect(&fake, &read, KV_OK);
    kv_client_view(fake.client, 0, outcome_on_answer, &view);
    expect(&fake, &view, KV_OK);
    assert_int_equal(view.view, 2);
    assert_true(strcmp(view.told_by, "n2") == 0 || strcmp(view.told_by, "n3") == 0);
    fake_close(&fake);
}

/* An arbiter that is stopped, or is one no more: it takes questions, or answers with old views. */
static bool old_view_hook(void *ctx, struct fake_node *node, struct guard_link *link,
                          const struct message *message)
{
    struct fake *fake = ctx;
    if (message->type != MESSAGE_LOCATE || node->index != FAKE_ARBITER) {
        return false;
    }
    struct view newer = fake->view;
    fake->view.number = 1;
    fake->view.primary = 1;
    fake_serve(node, link, message, 0);
    fake->view = newer;
    return true;
}

static void test_arbiter_is_of_no_help(void **state)
{
    (void)state;
    for (uint32_t i = 0; i < 2; i++) {
        struct fake fake;
        struct outcome update = {0};
        start(&fake, 3);
        fake.nodes[FAKE_ARBITER].is_deaf = i == 0;
        fake.hook = i == 0 ? NULL : old_view_hook;
        fake.hook_ctx = &fake;
        fake_node_stop(&fake, 1);
        fake_set_primary(&fake, 2);
        insert(&fake, 4000, &update);
        expect(&fake, &update, KV_OK);
        fake_close(&fake);
    }
}

/* A member's view of an earlier number, or of another cluster, changes nothing. */
static bool odd_member_hook(void *ctx, struct fake_node *node, struct guard_link *link,
                            const struct message *message)
{
    struct fake *fake = ctx;
    if (message->type != MESSAGE_LOCATE || node->index != 2) {
        return false;
    }
    struct view right = fake->view;
    fake->view.number = 99;
    fake->view.cluster++;
    fake->view.primary = 2;
    fake_serve(node, link, message, 0);
    fake->view = right;
    return true;
}

static void test_foreign_view_of_a_member(void **state)
{
    (void)state;
    struct fake fake;
    struct outcome update = {0}, view = {0};
    start(&fake, 2);
    fake.hook = odd_member_hook;
    fake.hook_ctx = &fake;
    fake_node_stop(&fake, FAKE_ARBITER);
    fake_node_stop(&fake, 1);
    kv_client_view(fake.client, 0, outcome_on_answer, &view);
    expect(&fake, &view, KV_OK);
    assert_int_equal(view.view, 1);
    insert(&fake, 400, &update);
    expect(&fake, &update, KV_E_UNREACHABLE);
    assert_int_equal(fake.nodes[2].updates, 0);
    fake_close(&fake);
}

/* The arbiter starts elsewhere and its view says where; n3 plays it. */
static bool moved_arbiter_hook(void *ctx, struct fake_node *node, struct guard_link *link,
                               const struct message *message)
{
    uint32_t *leaves = ctx;
    (void)link;
    if (message->type == MESSAGE_LEAVE) {
        assert_int_equal(node->index, 3);
        *leaves += 1;
    }
    return false;
}

static void test_arbiter_moves(void **state)
{
    (void)state;
    struct fake fake;
    uint32_t leaves = 0;
    struct outcome leave = {0}, view = {0};
    start(&fake, 3);
    fake.hook = moved_arbiter_hook;
    fake.hook_ctx = &leaves;
    fake_node_stop(&fake, FAKE_ARBITER);
    fake.view.number++;
    fake.view.arbiter_uris_len = 1;
    snprintf(fake.view.arbiter_uris[0], sizeof(fake.view.arbiter_uris[0]), "%.200s",
             fake.nodes[3].uri);
    kv_client_leave(fake.client, "n2", 4000, outcome_on_answer, &leave);
    expect(&fake, &leave, KV_OK);
    assert_int_equal(leaves, 1);
    kv_client_view(fake.client, 4000, outcome_on_answer, &view);
    expect(&fake, &view, KV_OK);
    assert_string_equal(view.told_by, "");
    assert_int_equal(view.arbiter_uris_len, 1);
    fake_close(&fake);
}

/* The address given is a member's: it tells the view, and where the arbiter is. */
static bool no_arbiter_hook(void *ctx, struct fake_node *node, struct guard_link *link,
                            const struct message *message)
{
    (void)ctx;
    if (message->type != MESSAGE_LEAVE || node->index != FAKE_ARBITER) {
        return false;
    }
    fake_reject(node, link, message, REJECT_UNSUPPORTED, 0);
    return true;
}

static void test_address_of_a_member(void **state)
{
    (void)state;
    struct fake fake;
    struct outcome leave = {0}, update = {0}, view = {0};
    fake_init(&fake, 3);
    fake.hook = no_arbiter_hook;
    struct member *member = &fake.view.members[0];
    snprintf(member->uris[1], sizeof(member->uris[1]), "%.200s", fake.nodes[FAKE_ARBITER].uri);
    member->uris_len = 2;
    fake.view.arbiter_uris_len = 1;
    snprintf(fake.view.arbiter_uris[0], sizeof(fake.view.arbiter_uris[0]), "%.200s",
             fake.nodes[3].uri);
    fake_client(&fake, NULL);
    insert(&fake, 0, &update);
    expect(&fake, &update, KV_OK);
    kv_client_view(fake.client, 0, outcome_on_answer, &view);
    expect(&fake, &view, KV_OK);
    assert_string_equal(view.told_by, "n1");
    fake_node_stop(&fake, 3);
    kv_client_leave(fake.client, "n2", 500, outcome_on_answer, &leave);
    expect(&fake, &leave, KV_E_UNREACHABLE);
    expect_reason(&leave, "none of its 2 addresses: ");
    expect_reason(&leave, fake.nodes[FAKE_ARBITER].uri);
    expect_reason(&leave, fake.nodes[3].uri);
    fake_node_start(&fake, 3);
    memset(&leave, 0, sizeof(leave));
    kv_client_leave(fake.client, "n2", 0, outcome_on_answer, &leave);
    expect(&fake, &leave, KV_OK);
    memset(&view, 0, sizeof(view));
    kv_client_view(fake.client, 0, outcome_on_answer, &view);
    expect(&fake, &view, KV_OK);
    assert_string_equal(view.told_by, ""); /* it has found the arbiter meanwhile */
    fake_close(&fake);
}

/* Of a member's addresses the first one does not connect. */
static void test_further_address_of_a_member(void **state)
{
    (void)state;
    struct fake fake;
    struct outcome update = {0}, named = {0};
    fake_init(&fake, 2);
    struct member *member = &fake.view.members[0];
    memcpy(member->uris[1], member->uris[0], sizeof(member->uris[0]));
    snprintf(member->uris[0], sizeof(member->uris[0]), "%.200s", fake.nodes[2].uri);
    member->uris_len = 2;
    fake_node_stop(&fake, 2);
    fake_client(&fake, NULL);
    insert(&fake, 0, &update);
    expect(&fake, &update, KV_OK);
    /* The transport's reason stands in the answer. */
    kv_client_get(fake.client, "n2", "k", 1, 0, 300, outcome_on_answer, &named);
    expect(&fake, &named, KV_E_UNREACHABLE);
    expect_reason(&named, "refused");
    fake_close(&fake);
}

/* ---- own updates are read anywhere ---- */

static void test_reads_wait_for_own_updates(void **state)
{
    (void)state;
    struct fake fake;
    struct outcome outcomes[8] = {0};
    struct kv_position position;
    fake_init(&fake, 2);
    fake_client(&fake, NULL);
    kv_client_position(fake.client, &position);
    assert_int_equal(position.index, 0);
    fake.index = 40;
    get(&fake, "n2", 0, &outcomes[0]);
    expect(&fake, &outcomes[0], KV_OK);
    assert_int_equal(fake.nodes[2].last_min_index, 0);
    assert_int_equal(fake.nodes[2].last_at_primary, 0);
    insert(&fake, 0, &outcomes[1]);
    expect(&fake, &outcomes[1], KV_OK);
    kv_client_position(fake.client, &position);
    assert_int_equal(position.index, 41);
    assert_int_equal(position.view, 1);
    get(&fake, "n2", 7, &outcomes[2]);
    expect(&fake, &outcomes[2], KV_OK);
    assert_int_equal(fake.nodes[2].last_min_index, 41);
    kv_client_scan(fake.client, "n2", "", 0, 0, 0, 0, outcome_on_answer, &outcomes[3]);
    fake.nodes[2].last_min_index = 0;
    expect(&fake, &outcomes[3], KV_OK);
    assert_int_equal(fake.nodes[2].last_min_index, 41);
    get(&fake, "n2", 50, &outcomes[4]);
    expect(&fake, &outcomes[4], KV_OK);
    assert_int_equal(fake.nodes[2].last_min_index, 50);
    /* The primary's reads show them without waiting, but only the primary may answer. */
    get(&fake, NULL, 0, &outcomes[5]);
    expect(&fake, &outcomes[5], KV_OK);
    assert_int_equal(fake.nodes[1].last_min_index, 0);
    assert_int_equal(fake.nodes[1].last_at_primary, 1);
    /* After a forced view they may be lost. */
    fake_set_primary(&fake, 2);
    fake.view.forced = fake.view.number;
    kv_client_view(fake.client, 0, outcome_on_answer, &outcomes[6]);
    expect(&fake, &outcomes[6], KV_OK);
    assert_int_equal(outcomes[6].forced, 2);
    kv_client_position(fake.client, &position);
    assert_int_equal(position.index, 0);
    get(&fake, "n1", 0, &outcomes[7]);
    expect(&fake, &outcomes[7], KV_OK);
    assert_int_equal(fake.nodes[1].last_min_index, 0);
    fake_close(&fake);
}

static void test_position_is_handed_over(void **state)
{
    (void)state;
    struct fake fake;
    const struct kv_client_options options = {.seen_index = 30, .stale_reads = 1};
    struct outcome outcomes[4] = {0};
    fake_init(&fake, 2);
    fake_client(&fake, &options);
    fake.index = 90;
    get(&fake, "n2", 0, &outcomes[0]);
    expect(&fake, &outcomes[0], KV_OK);
    assert_int_equal(fake.nodes[2].last_min_index, 30);
    kv_client_scan(fake.client, NULL, "", 0, 0, 0, 0, outcome_on_answer, &outcomes[1]);
    expect(&fake, &outcomes[1], KV_OK);
    assert_int_equal(fake.nodes[1].last_min_index, 30);
    insert(&fake, 0, &outcomes[2]);
    expect(&fake, &outcomes[2], KV_OK);
    get(&fake, "n2", 0, &outcomes[3]);
    expect(&fake, &outcomes[3], KV_OK);
    assert_int_equal(fake.nodes[2].last_min_index, 30); /* stale_reads: not 91 */
    fake_close(&fake);
}

/* ---- commands ---- */

static void test_handover_and_takeover(void **state)
{
    (void)state;
    struct fake fake;
    struct outcome handover = {0}, takeover = {0}, absent = {0}, wrong = {0}, update = {0};
    start(&fake, 3);
    kv_client_handover(fake.client, "n2", 0, outcome_on_answer, &handover);
    expect(&fake, &handover, KV_OK);
    assert_int_equal(fake.view.primary, 2);
    assert_int_equal(fake.nodes[FAKE_ARBITER].last_force, 0);
    insert(&fake, 0, &update);
    expect(&fake, &update, KV_OK);
    assert_int_equal(fake.nodes[2].updates, 1);
    kv_client_takeover(fake.client, "n3", 0, outcome_on_answer, &takeover);
    expect(&fake, &takeover, KV_OK);
    assert_int_equal(fake.nodes[FAKE_ARBITER].last_force, 1);
    assert_int_equal(fake.view.forced, fake.view.number);
    kv_client_handover(fake.client, "n9", 0, outcome_on_answer, &absent);
    expect(&fake, &absent, KV_E_NOT_FOUND);
    kv_client_takeover(fake.client, NULL, 0, outcome_on_answer, &wrong);
    expect(&fake, &wrong, KV_E_NOT_FOUND);
    fake_close(&fake);
}

static bool promote_hook(void *ctx, struct fake_node *node, struct guard_link *link,
                         const struct message *message)
{
    uint32_t *promotes = ctx;
    if (message->type != MESSAGE_PROMOTE) {
        return false;
    }
    *promotes += 1;
    struct message answer = {.type = MESSAGE_OPERATION_FAILED};
    answer.body.operation_failed.request = fake_request_id(message);
    answer.body.operation_failed.reason = FAIL_TIMEOUT;
    if (message->body.promote.force != 0) {
        fake_reject(node, link, message, REJECT_PRIMARY_THERE, 0);
    } else if (*promotes == 1) {
        fake_send(node, link, &answer, 0);
    } else {
        fake_node_cut(node->fake, node->index);
    }
    return true;
}

static void test_commands_that_fail(void **state)
{
    (void)state;
    struct fake fake;
    uint32_t promotes = 0;
    struct outcome slow = {0}, lost = {0}, forced = {0};
    start(&fake, 2);
    fake.hook = promote_hook;
    fake.hook_ctx = &promotes;
    kv_client_handover(fake.client, "n2", 0, outcome_on_answer, &slow);
    expect(&fake, &slow, KV_E_TIMEOUT);
    expect_reason(&slow, "the arbiter has not done it in time");
    kv_client_handover(fake.client, "n2", 0, outcome_on_answer, &lost);
    expect(&fake, &lost, KV_E_TIMEOUT);
    expect_reason(&lost, "outcome unknown");
    kv_client_takeover(fake.client, "n2", 4000, outcome_on_answer, &forced);
    expect(&fake, &forced, KV_E_REJECTED);
    expect_reason(&forced, message_reject_text(REJECT_PRIMARY_THERE));
    assert_int_equal(promotes, 3); /* none was repeated */
    fake_close(&fake);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_default_deadline_outlasts_a_failover),
        cmocka_unit_test(test_frozen_primary),
        cmocka_unit_test(test_refusals_end_with_their_primary),
        cmocka_unit_test(test_members_tell_the_view),
        cmocka_unit_test(test_arbiter_is_of_no_help),
        cmocka_unit_test(test_foreign_view_of_a_member),
        cmocka_unit_test(test_arbiter_moves),
        cmocka_unit_test(test_address_of_a_member),
        cmocka_unit_test(test_further_address_of_a_member),
        cmocka_unit_test(test_reads_wait_for_own_updates),
        cmocka_unit_test(test_position_is_handed_over),
        cmocka_unit_test(test_handover_and_takeover),
        cmocka_unit_test(test_commands_that_fail),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
