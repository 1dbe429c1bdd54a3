/* Answers that are late, out of order, repeated, missing, refusing or garbage; links that break; a
 * primary that moves; an arbiter that is away. */
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

static void expect_reason(struct outcome *outcome, const char *part)
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

static void get(struct fake *fake, const char *node, uint32_t deadline_ms, struct outcome *outcome)
{
    assert_int_equal(
        kv_client_get(fake->client, node, "key", 3, 0, deadline_ms, outcome_on_answer, outcome),
        KV_OK);
}

static struct kv_client_counters counters(struct fake *fake)
{
    struct kv_client_counters counters;
    kv_client_read_counters(fake->client, &counters);
    return counters;
}

/* What the script's hook does to the next `count` requests that reach a node. */
enum action {
    ACTION_LATE,  /* answers after `delay_ms` */
    ACTION_TWICE, /* answers twice */
    ACTION_NEVER,
    ACTION_REJECT, /* with `reason` */
    ACTION_FAIL,   /* OperationFailed with `reason` */
    ACTION_CUT,    /* closes the link */
    ACTION_GARBAGE,
    ACTION_VERSION,     /* "I speak protocol version 9" */
    ACTION_OTHER_KIND,  /* an answer, but to another kind of request */
    ACTION_ODD_REQUEST, /* a message that is no answer */
    ACTION_OLD_HEADER,  /* a message of another protocol version */
};

struct script {
    enum action action;
    uint32_t node; /* which */
    uint32_t count;
    uint32_t delay_ms;
    uint8_t reason;
    uint32_t retry_after_ms;
    uint32_t seen;
    uint64_t seen_ms[64]; /* when */
};

static void script_send(struct script *script, struct fake_node *node, struct guard_link *link,
                        const struct message *message)
{
    struct message answer = {.type = MESSAGE_OPERATION_FAILED};
    switch (script->action) {
    case ACTION_FAIL:
        answer.body.operation_failed.request = fake_request_id(message);
        answer.body.operation_failed.reason = script->reason;
        fake_send(node, link, &answer, 0);
        return;
    case ACTION_GARBAGE:
        fake_send_bytes(node, link, "KVnonsense", 10, 0);
        return;
    case ACTION_VERSION:
        answer.type = MESSAGE_UNSUPPORTED;
        answer.body.unsupported.version = 9;
        fake_send(node, link, &answer, 0);
        return;
    case ACTION_OTHER_KIND:
        answer.type = MESSAGE_GET_RESULT;
        answer.body.get_result.request = fake_request_id(message);
        fake_send(node, link, &answer, 0);
        return;
    case ACTION_ODD_REQUEST:
        answer.type = MESSAGE_STATUS;
        fake_send(node, link, &answer, 0);
        return;
    default: { /* ACTION_OLD_HEADER */
        uint8_t bytes[MESSAGE_HEADER_BYTES + 8] = {'K', 'V', 9, MESSAGE_OPERATION_ACK};
        fake_send_bytes(node, link, bytes, sizeof(bytes), 0);
        return;
    }
    }
}

static bool script_hook(void *ctx, struct fake_node *node, struct guard_link *link,
                        const struct message *message)
{
    struct script *script = ctx;
    if (node->index != script->node || message->type == MESSAGE_LOCATE || script->count == 0) {
        return false;
    }
    script->count--;
    if (script->seen < 64u) {
        script->seen_ms[script->seen] = fake_now_ms();
    }
    script->seen++;
    switch (script->action) {
    case ACTION_LATE:
        fake_serve(node, link, message, script->delay_ms);
        return true;
    case ACTION_TWICE:
        fake_serve(node, link, message, 0);
        fake_serve(node, link, message, 1);
        return true;
    case ACTION_NEVER:
        return true;
    case ACTION_REJECT:
        fake_reject(node, link, message, script->reason, script->retry_after_ms);
        return true;
    case ACTION_CUT:
        fake_node_cut(node->fake, node->index);
        return true;
    default:
        script_send(script, node, link, message);
        return true;
    }
}

static void start(struct fake *fake, uint32_t nodes, struct script *script)
{
    fake_init(fake, nodes);
    fake->hook = script_hook;
    fake->hook_ctx = script;
    fake_client(fake, NULL);
}

/* ---- answers ---- */

static void test_answer_after_the_deadline(void **state)
{
    (void)state;
    struct fake fake;
    struct script script = {.action = ACTION_LATE, .node = 1, .count = 2, .delay_ms = 250};
    struct outcome update = {0}, read = {0}, next = {0};
    start(&fake, 1, &script);
    uint64_t start_ms = fake_now_ms();
    insert(&fake, 100, &update);
    get(&fake, NULL, 100, &read);
    expect(&fake, &update, KV_E_TIMEOUT);
    expect_reason(&update, "may have been executed");
    expect(&fake, &read, KV_E_TIMEOUT);
    assert_true(update.at_ms >= start_ms + 99u);
    fake_run(&fake, 300);
    assert_int_equal(update.answers, 1);
    assert_int_equal(counters(&fake).strays, 2);
    insert(&fake, 0, &next);
    expect(&fake, &next, KV_OK);
    fake_close(&fake);
}

static void test_answers_out_of_order(void **state)
{
    (void)state;
    struct fake fake;
    struct script script = {.action = ACTION_LATE, .node = 1, .count = 1, .delay_ms = 100};
    struct outcome slow = {0}, quick = {0};
    start(&fake, 1, &script);
    insert(&fake, 0, &slow);
    get(&fake, NULL, 0, &quick);
    expect(&fake, &quick, KV_OK);
    assert_int_equal(slow.answers, 0);
    expect(&fake, &slow, KV_OK);
    assert_int_equal(slow.position.index, 1);
    fake_close(&fake);
}

static void test_answers_twice(void **state)
{
    (void)state;
    struct fake fake;
    struct script script = {.action = ACTION_TWICE, .node = 1, .count = 10};
    struct outcome outcomes[10] = {0};
    start(&fake, 1, &script);
    for (uint32_t i = 0; i < 10; i++) {
        insert(&fake, 0, &outcomes[i]);
    }
    for (uint32_t i = 0; i < 10; i++) {
        expect(&fake, &outcomes[i], KV_OK);
    }
    fake_run(&fake, 50);
    for (uint32_t i = 0; i < 10; i++) {
        assert_int_equal(outcomes[i].answers, 1);
    }
    assert_int_equal(counters(&fake).strays, 10);
    fake_close(&fake);
}

static void test_failed(void **state)
{
    (void)state;
    static const uint8_t reasons[] = {FAIL_TIMEOUT, FAIL_STOPPED};
    for (uint32_t i = 0; i < 2; i++) {
        struct fake fake;
        struct script script = {.action = ACTION_FAIL, .node = 1, .count = 1, .reason = reasons[i]};
        struct outcome update = {0};
        start(&fake, 1, &script);
        insert(&fake, 0, &update);
        expect(&fake, &update, KV_E_TIMEOUT);
        assert_string_equal(update.reason, message_fail_text(reasons[i]));
        assert_int_equal(fake.nodes[1].updates, 1); /* not repeated */
        fake_close(&fake);
    }
}

/* ---- refusals ---- */

static void test_refused_then_taken(void **state)
{
    (void)state;
    static const uint8_t reasons[] = {REJECT_NOT_PRIMARY, REJECT_NOT_READY,   REJECT_LEAVING,
                                      REJECT_OVERLOADED,  REJECT_MIN_IN_SYNC, REJECT_STORE};
    for (uint32_t i = 0; i < sizeof(reasons); i++) {
        struct fake fake;
        struct script script = {
            .action = ACTION_REJECT, .node = 1, .count = 3, .reason = reasons[i]};
        struct outcome update = {0};
        start(&fake, 1, &script);
        insert(&fake, 0, &update);
        expect(&fake, &update, KV_OK);
        assert_int_equal(fake.nodes[1].updates, 4);
        assert_int_equal(counters(&fake).retried, 3);
        fake_close(&fake);
    }
}

static void test_refused_until_the_deadline(void **state)
{
    (void)state;
    struct fake fake;
    struct script script = {
        .action = ACTION_REJECT, .node = 1, .count = UINT32_MAX, .reason = REJECT_MIN_IN_SYNC};
    struct outcome update = {0}, read = {0};
    start(&fake, 1, &script);
    insert(&fake, 400, &update);
    get(&fake, "n1", 400, &read);
    expect(&fake, &update, KV_E_REJECTED);
    assert_string_equal(update.reason, message_reject_text(REJECT_MIN_IN_SYNC));
    expect(&fake, &read, KV_E_REJECTED);
    fake_close(&fake);
}

static void test_overloaded_waits_as_told(void **state)
{
    (void)state;
    struct fake fake;
    struct script script = {.action = ACTION_REJECT,
                            .node = 1,
                            .count = 1,
                            .reason = REJECT_OVERLOADED,
                            .retry_after_ms = 300};
    struct outcome update = {0}, behind = {0};
    start(&fake, 1, &script);
    insert(&fake, 0, &update);
    fake_run(&fake, 50);
    assert_int_equal(script.seen, 1);
    insert(&fake, 0, &behind); /* does not overtake */
    expect(&fake, &update, KV_OK);
    assert_true(update.at_ms >= script.seen_ms[0] + 299u);
    expect(&fake, &behind, KV_OK);
    assert_true(update.position.index < behind.position.index);
    fake_close(&fake);
}

static void test_refused_for_good(void **state)
{
    (void)state;
    static const uint8_t reasons[] = {REJECT_TOO_LARGE, REJECT_DEADLINE, REJECT_UNSUPPORTED,
                                      REJECT_NOT_FOUND};
    for (uint32_t i = 0; i < sizeof(reasons); i++) {
        struct fake fake;
        struct script script = {
            .action = ACTION_REJECT, .node = 1, .count = 1, .reason = reasons[i]};
        struct outcome update = {0};
        start(&fake, 1, &script);
        insert(&fake, 0, &update);
        expect(&fake, &update, reasons[i] == REJECT_TOO_LARGE ? KV_E_TOO_LARGE : KV_E_REJECTED);
        assert_string_equal(update.reason, message_reject_text(reasons[i]));
        assert_int_equal(fake.nodes[1].updates, 1);
        fake_close(&fake);
    }
}

/* A thousand waiting requests are no storm for a primary that is not ready. */
static void test_refusals_make_no_storm(void **state)
{
    (void)state;
    enum { COUNT = 1000 };
    static struct outcome outcomes[COUNT];
    struct fake fake;
    struct script script = {
        .action = ACTION_REJECT, .node = 1, .count = UINT32_MAX, .reason = REJECT_NOT_READY};
    start(&fake, 1, &script);
    memset(outcomes, 0, sizeof(outcomes));
    for (uint32_t i = 0; i < COUNT; i++) {
        insert(&fake, 10000, &outcomes[i]);
    }
    fake_run(&fake, 1000);
    assert_true(script.seen <= COUNT + 55u);
    assert_true(script.seen >= COUNT + 3u);
    assert_true(fake.nodes[FAKE_ARBITER].locates <= 52u); /* every 20 to 100 ms */
    script.count = 0;                                     /* it is ready now */
    for (uint32_t i = 0; i < COUNT; i++) {
        expect(&fake, &outcomes[i], KV_OK);
        assert_int_equal(outcomes[i].position.index, i + 1u); /* in the order of the calls */
    }
    fake_close(&fake);
}

/* ---- links ---- */

static void test_link_lost(void **state)
{
    (void)state;
    struct fake fake;
    struct script script = {.action = ACTION_NEVER, .node = 1, .count = 4};
    struct outcome update = {0}, read = {0}, scan = {0}, named = {0};
    start(&fake, 1, &script);
    insert(&fake, 3000, &update);
    get(&fake, NULL, 3000, &read);
    kv_client_scan(fake.client, NULL, "", 0, 0, 0, 3000, outcome_on_answer, &scan);
    kv_client_status(fake.client, "n1", 3000, outcome_on_answer, &named);
    assert_true(fake_wait(&fake, &script.seen, 4, WAIT_MS));
    uint64_t cut_ms = fake_now_ms();
    fake_node_cut(&fake, 1);
    expect(&fake, &update, KV_E_TIMEOUT);
    expect_reason(&update, "connection to n1 lost, outcome unknown");
    assert_true(update.at_ms < cut_ms + 1500u); /* at once, not at the deadline */
    expect(&fake, &read, KV_OK);
    expect(&fake, &scan, KV_OK);
    expect(&fake, &named, KV_OK);
    assert_int_equal(fake.nodes[1].updates, 1);
    fake_close(&fake);
}

static void test_node_restarts(void **state)
{
    (void)state;
    struct fake fake;
    struct script script = {0};
    struct outcome before = {0}, during = {0}, read = {0}, status = {0};
    start(&fake, 1, &script);
    insert(&fake, 0, &before);
    expect(&fake, &before, KV_OK);
    fake_node_stop(&fake, 1);
    insert(&fake, 4000, &during);
    get(&fake, "n1", 4000, &read);
    kv_client_status(fake.client, "n1", 200, outcome_on_answer, &status);
    expect(&fake, &status, KV_E_UNREACHABLE);
    expect_reason(&status, "n1");
    fake_run(&fake, 100);
    fake_node_start(&fake, 1);
    expect(&fake, &during, KV_OK);
    expect(&fake, &read, KV_OK);
    fake_close(&fake);
}

static void expect_dropped(enum action action, int32_t update_status, const char *reason)
{
    struct fake fake;
    struct script script = {.action = ACTION_NEVER, .node = 1, .count = 1};
    struct outcome update = {0}, read = {0}, next = {0};
    start(&fake, 1, &script);
    insert(&fake, 4000, &update);
    assert_true(fake_wait(&fake, &script.seen, 1, WAIT_MS));
    script.action = action;
    script.count = 1;
    kv_client_status(fake.client, "n1", 4000, outcome_on_answer, &read);
    expect(&fake, &update, update_status);
    expect_reason(&update, reason);
    expect(&fake, &read, update_status == KV_E_REJECTED ? KV_E_REJECTED : KV_OK);
    insert(&fake, 4000, &next);
    expect(&fake, &next, KV_OK);
    assert_int_equal(counters(&fake).malformed, 1);
    fake_close(&fake);
}

static void test_garbage(void **state)
{
    (void)state;
    expect_dropped(ACTION_GARBAGE, KV_E_TIMEOUT, "no message");
    expect_dropped(ACTION_OTHER_KIND, KV_E_TIMEOUT, "malformed answer");
    expect_dropped(ACTION_ODD_REQUEST, KV_E_TIMEOUT, "no answer");
}

static void test_other_protocol_version(void **state)
{
    (void)state;
    expect_dropped(ACTION_VERSION, KV_E_REJECTED, "it speaks protocol version 9");
    expect_dropped(ACTION_OLD_HEADER, KV_E_REJECTED, "it speaks protocol version 9");
}

static bool bad_view_hook(void *ctx, struct fake_node *node, struct guard_link *link,
                          const struct message *message)
{
    uint32_t *left = ctx;
    if (message->type != MESSAGE_LOCATE || *left == 0) {
        return false;
    }
    *left -= 1;
    struct message answer = {.type = MESSAGE_LOCATED};
    answer.body.located.request = fake_request_id(message);
    answer.body.located.view.at = (const uint8_t *)"junk";
    answer.body.located.view.len = 4;
    fake_send(node, link, &answer, 0);
    return true;
}

static void test_malformed_view(void **state)
{
    (void)state;
    struct fake fake;
    uint32_t left = 1;
    struct outcome update = {0};
    fake_init(&fake, 1);
    fake.hook = bad_view_hook;
    fake.hook_ctx = &left;
    fake_client(&fake, NULL);
    insert(&fake, 4000, &update);
    expect(&fake, &update, KV_OK);
    assert_int_equal(counters(&fake).malformed, 1);
    fake_close(&fake);
}

/* ---- the primary moves ---- */

static void test_primary_moves(void **state)
{
    (void)state;
    enum { COUNT = 200 };
    static struct outcome outcomes[COUNT];
    struct fake fake;
    struct script script = {0};
    struct outcome first = {0};
    start(&fake, 2, &script);
    memset(outcomes, 0, sizeof(outcomes));
    insert(&fake, 0, &first);
    expect(&fake, &first, KV_OK);
    fake_set_primary(&fake, 2); /* n1 answers NOT_PRIMARY from now on */
    for (uint32_t i = 0; i < COUNT; i++) {
        insert(&fake, 0, &outcomes[i]);
    }
    for (uint32_t i = 0; i < COUNT; i++) {
        expect(&fake, &outcomes[i], KV_OK);
        assert_int_equal(outcomes[i].position.index, i + 2u);
    }
    assert_int_equal(fake.nodes[2].updates, COUNT);
    assert_true(fake.nodes[FAKE_ARBITER].locates <= 4u);
    fake_close(&fake);
}

static void test_primary_dies(void **state)
{
    (void)state;
    struct fake fake;
    struct script script = {0};
    struct outcome first = {0}, update = {0};
    start(&fake, 2, &script);
    insert(&fake, 0, &first);
    expect(&fake, &first, KV_OK);
    fake_node_stop(&fake, 1);
    insert(&fake, 4000, &update);
    fake_run(&fake, 200);
    assert_int_equal(update.answers, 0);
    uint64_t locates = fake.nodes[FAKE_ARBITER].locates;
    assert_true(locates >= 2u && locates <= 12u); /* every 20 to 100 ms */
    fake_set_primary(&fake, 2);
    expect(&fake, &update, KV_OK);
    fake_close(&fake);
}

/* A frozen primary answers nothing: what reads goes to the new one, an update is not repeated. */
static void test_primary_freezes(void **state)
{
    (void)state;
    struct fake fake;
    struct script script = {.action = ACTION_NEVER, .node = 1, .count = UINT32_MAX};
    struct outcome update = {0}, read = {0}, next = {0};
    start(&fake, 2, &script);
    insert(&fake, 2000, &update);
    get(&fake, NULL, 4000, &read);
    assert_true(fake_wait(&fake, &script.seen, 2, WAIT_MS));
    fake_set_primary(&fake, 2);
    expect(&fake, &read, KV_OK);
    insert(&fake, 4000, &next);
    expect(&fake, &next, KV_OK);
    expect(&fake, &update, KV_E_TIMEOUT);
    assert_int_equal(fake.nodes[2].updates, 1);
    fake_close(&fake);
}

static void test_no_primary(void **state)
{
    (void)state;
    struct fake fake;
    struct script script = {0};
    struct outcome hasty = {0}, patient = {0};
    fake_init(&fake, 1);
    fake.hook = script_hook;
    fake.hook_ctx = &script;
    fake.view.primary = 0;
    fake.view.ack = 0;
    fake_client(&fake, NULL);
    insert(&fake, 1000, &hasty);
    insert(&fake, 4000, &patient);
    expect(&fake, &hasty, KV_E_UNREACHABLE);
    expect_reason(&hasty, "no primary (view 1)");
    uint64_t locates = fake.nodes[FAKE_ARBITER].locates;
    assert_true(locates >= 8u && locates <= 52u); /* every 20 to 100 ms */
    fake_set_primary(&fake, 1);
    expect(&fake, &patient, KV_OK);
    fake_close(&fake);
}

static void test_member_moves_and_leaves(void **state)
{
    (void)state;
    struct fake fake;
    struct script script = {.action = ACTION_NEVER, .node = 2};
    struct outcome before = {0}, after = {0}, waiting = {0}, view = {0}, gone = {0};
    start(&fake, 2, &script);
    get(&fake, "n2", 0, &before);
    expect(&fake, &before, KV_OK);
    /* n2 restarts elsewhere. */
    script.count = 1;
    get(&fake, "n2", 4000, &waiting);
    assert_true(fake_wait(&fake, &script.seen, 1, WAIT_MS));
    fake_node_stop(&fake, 2);
    fake.nodes[2].uri[0] = '\0';
    fake_node_start(&fake, 2);
    snprintf(fake.view.members[1].uris[0], sizeof(fake.view.members[1].uris[0]), "%.200s",
             fake.nodes[2].uri);
    fake.view.members[1].incarnation++;
    fake.view.number++;
    kv_client_view(fake.client, 0, outcome_on_answer, &view);
    expect(&fake, &view, KV_OK);
    get(&fake, "n2", 4000, &after);
    expect(&fake, &after, KV_OK);
    expect(&fake, &waiting, KV_OK);
    /* n2 leaves. */
    fake_remove_member(&fake, 2);
    memset(&view, 0, sizeof(view));
    kv_client_view(fake.client, 0, outcome_on_answer, &view);
    expect(&fake, &view, KV_OK);
    get(&fake, "n2", 4000, &gone);
    expect(&fake, &gone, KV_E_NOT_FOUND);
    fake_close(&fake);
}

/* ---- the arbiter is away ---- */

static void test_arbiter_away_with_a_known_view(void **state)
{
    (void)state;
    struct fake fake;
    struct script script = {.action = ACTION_REJECT, .node = 1, .reason = REJECT_NOT_READY};
    struct outcome first = {0}, update = {0}, view = {0}, leave = {0}, refused = {0}, back = {0};
    start(&fake, 1, &script);
    insert(&fake, 0, &first);
    expect(&fake, &first, KV_OK);
    fake_node_stop(&fake, FAKE_ARBITER);
    fake_run(&fake, 50);
    insert(&fake, 0, &update);
    kv_client_view(fake.client, 0, outcome_on_answer, &view);
    kv_client_leave(fake.client, "n1", 200, outcome_on_answer, &leave);
    expect(&fake, &update, KV_OK);
    expect(&fake, &view, KV_OK); /* the member's */
    assert_string_equal(view.told_by, "n1");
    expect(&fake, &leave, KV_E_UNREACHABLE);
    expect_reason(&leave, "the arbiter");
    /* The known primary is tried again even though nobody can be asked. */
    script.count = 2;
    insert(&fake, 4000, &refused);
    expect(&fake, &refused, KV_OK);
    fake_node_start(&fake, FAKE_ARBITER);
    kv_client_view(fake.client, 4000, outcome_on_answer, &back);
    expect(&fake, &back, KV_OK);
    fake_close(&fake);
}

static void test_arbiter_comes_late(void **state)
{
    (void)state;
    struct fake fake;
    struct script script = {0};
    struct outcome hasty = {0}, named = {0}, patient = {0};
    fake_init(&fake, 1);
    fake.hook = script_hook;
    fake.hook_ctx = &script;
    fake_node_stop(&fake, FAKE_ARBITER);
    fake_client(&fake, NULL);
    insert(&fake, 150, &hasty);
    get(&fake, "n1", 150, &named);
    insert(&fake, 4000, &patient);
    expect(&fake, &hasty, KV_E_UNREACHABLE);
    expect_reason(&hasty, fake.nodes[FAKE_ARBITER].uri);
    expect(&fake, &named, KV_E_UNREACHABLE);
    fake_node_start(&fake, FAKE_ARBITER);
    expect(&fake, &patient, KV_OK);
    fake_close(&fake);
}

static bool silent_arbiter_hook(void *ctx, struct fake_node *node, struct guard_link *link,
                                const struct message *message)
{
    uint32_t *left = ctx;
    (void)node;
    (void)link;
    if (message->type != MESSAGE_LOCATE || *left == 0) {
        return false;
    }
    *left -= 1;
    return true;
}

static void test_arbiter_loses_a_question(void **state)
{
    (void)state;
    struct fake fake;
    uint32_t left = 1;
    struct outcome update = {0};
    fake_init(&fake, 1);
    fake.hook = silent_arbiter_hook;
    fake.hook_ctx = &left;
    fake_client(&fake, NULL);
    insert(&fake, 4000, &update);
    expect(&fake, &update, KV_OK);
    assert_int_equal(fake.nodes[FAKE_ARBITER].locates, 2);
    fake_close(&fake);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_answer_after_the_deadline),
        cmocka_unit_test(test_answers_out_of_order),
        cmocka_unit_test(test_answers_twice),
        cmocka_unit_test(test_failed),
        cmocka_unit_test(test_refused_then_taken),
        cmocka_unit_test(test_refused_until_the_deadline),
        cmocka_unit_test(test_overloaded_waits_as_told),
        cmocka_unit_test(test_refused_for_good),
        cmocka_unit_test(test_refusals_make_no_storm),
        cmocka_unit_test(test_link_lost),
        cmocka_unit_test(test_node_restarts),
        cmocka_unit_test(test_garbage),
        cmocka_unit_test(test_other_protocol_version),
        cmocka_unit_test(test_malformed_view),
        cmocka_unit_test(test_primary_moves),
        cmocka_unit_test(test_primary_dies),
        cmocka_unit_test(test_primary_freezes),
        cmocka_unit_test(test_no_primary),
        cmocka_unit_test(test_member_moves_and_leaves),
        cmocka_unit_test(test_arbiter_away_with_a_known_view),
        cmocka_unit_test(test_arbiter_comes_late),
        cmocka_unit_test(test_arbiter_loses_a_question),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
