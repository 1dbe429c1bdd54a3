/* A node whose store, or that of another node, does not take an update: refused for good, which is
 * told apart from "it may still become durable"; or not now, which is tried again. The user reads
 * the words of the node. */
#include "fake.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#define WAIT_MS 5000u

/* How n1 answers the next `count` updates. */
struct script {
    uint8_t type; /* MESSAGE_OPERATION_FAILED or MESSAGE_OPERATION_REJECTED */
    uint8_t reason;
    const char *text;
    uint32_t retry_after_ms;
    uint32_t count;
};

static bool script_hook(void *ctx, struct fake_node *node, struct guard_link *link,
                        const struct message *message)
{
    struct script *script = ctx;
    struct message answer = {.type = script->type};
    struct bytes_view text = {(const uint8_t *)script->text, strlen(script->text)};
    if (message->type != MESSAGE_INSERT || script->count == 0) {
        return false;
    }
    script->count--;
    if (script->type == MESSAGE_OPERATION_FAILED) {
        answer.body.operation_failed.request = fake_request_id(message);
        answer.body.operation_failed.reason = script->reason;
        answer.body.operation_failed.text = text;
    } else {
        answer.body.operation_rejected.request = fake_request_id(message);
        answer.body.operation_rejected.reason = script->reason;
        answer.body.operation_rejected.retry_after_ms = script->retry_after_ms;
        answer.body.operation_rejected.text = text;
    }
    fake_send(node, link, &answer, 0);
    return true;
}

static void start(struct fake *fake, struct script *script)
{
    fake_init(fake, 1);
    fake->hook = script_hook;
    fake->hook_ctx = script;
    fake_client(fake, NULL);
}

static void insert(struct fake *fake, uint32_t deadline_ms, struct outcome *outcome)
{
    assert_int_equal(
        kv_client_insert(fake->client, "k", 1, "v", 1, deadline_ms, outcome_on_answer, outcome),
        KV_OK);
}

static void expect(struct fake *fake, struct outcome *outcome, int32_t status, const char *reason)
{
    assert_true(fake_wait(fake, &outcome->answers, 1, WAIT_MS));
    if (outcome->status != status) {
        fail_msg("status %d (%s), not %d", outcome->status, outcome->reason, status);
    }
    assert_string_equal(outcome->reason, reason);
    assert_int_equal(outcome->answers, 1);
}

static uint64_t retried(struct fake *fake)
{
    struct kv_client_counters counters;
    kv_client_read_counters(fake->client, &counters);
    return counters.retried;
}

/* Undone everywhere: a code of its own, the store's words, no second try; the next one goes on. */
static void expect_refused(const char *text, const char *reason)
{
    struct fake fake;
    struct script script = {
        .type = MESSAGE_OPERATION_FAILED, .reason = FAIL_REFUSED, .text = text, .count = 1};
    struct outcome update = {0}, behind = {0};
    start(&fake, &script);
    insert(&fake, 0, &update);
    insert(&fake, 0, &behind);
    expect(&fake, &update, KV_E_REFUSED, reason);
    expect(&fake, &behind, KV_OK, "");
    fake_run(&fake, 50);
    assert_int_equal(update.answers, 1);
    assert_int_equal(fake.nodes[1].updates, 2);
    assert_int_equal(retried(&fake), 0);
    fake_close(&fake);
}

static void test_refused_for_good(void **state)
{
    (void)state;
    char longest[TEXT_MAX + 1];
    char reason[TEXT_MAX + 128];
    char shown[sizeof(((struct outcome *)NULL)->reason)];
    const char *refused = message_fail_text(FAIL_REFUSED);
    snprintf(reason, sizeof(reason), "%s: not valid JSON", refused);
    expect_refused("not valid JSON", reason);
    expect_refused("", refused);
    /* The longest text that a message holds: what is shown is cut, not lost. */
    memset(longest, 'x', TEXT_MAX);
    longest[TEXT_MAX] = '\0';
    snprintf(reason, sizeof(reason), "%s: %s", refused, longest);
    memcpy(shown, reason, sizeof(shown) - 1);
    shown[sizeof(shown) - 1] = '\0';
    expect_refused(longest, shown);
}

/* It may still become durable: what it waits for is told, the code is the time-out's. */
static void test_failed_in_time_says_why(void **state)
{
    (void)state;
    struct fake fake;
    char reason[256];
    struct script script = {.type = MESSAGE_OPERATION_FAILED,
                            .reason = FAIL_TIMEOUT,
                            .text = "n3 has not confirmed it",
                            .count = 1};
    struct outcome update = {0};
    start(&fake, &script);
    insert(&fake, 0, &update);
    snprintf(reason, sizeof(reason), "%s: %s", message_fail_text(FAIL_TIMEOUT), script.text);
    expect(&fake, &update, KV_E_TIMEOUT, reason);
    assert_int_equal(fake.nodes[1].updates, 1);
    fake_close(&fake);
}

/* The primary's store stands still: tried again until the deadline; then the user reads why. */
static void test_store_stands_still(void **state)
{
    (void)state;
    struct fake fake;
    char reason[256];
    struct script script = {.type = MESSAGE_OPERATION_REJECTED,
                            .reason = REJECT_STORE,
                            .text = "no space left on device",
                            .retry_after_ms = 50,
                            .count = UINT32_MAX};
    struct outcome update = {0}, next = {0};
    start(&fake, &script);
    uint64_t start_ms = fake_now_ms();
    insert(&fake, 400, &update);
    snprintf(reason, sizeof(reason), "%s: %s", message_reject_text(REJECT_STORE), script.text);
    expect(&fake, &update, KV_E_REJECTED, reason);
    assert_true(update.at_ms >= start_ms + 399u);
    assert_true(fake.nodes[1].updates >= 2);
    assert_int_equal(retried(&fake), fake.nodes[1].updates);
    script.count = 0; /* there is space again */
    insert(&fake, 0, &next);
    expect(&fake, &next, KV_OK, "");
    fake_close(&fake);
}

/* It works again within the deadline: the user notices nothing. */
static void test_store_works_again(void **state)
{
    (void)state;
    struct fake fake;
    struct script script = {.type = MESSAGE_OPERATION_REJECTED,
                            .reason = REJECT_STORE,
                            .text = "no space left on device",
                            .retry_after_ms = 20,
                            .count = 3};
    struct outcome update = {0};
    start(&fake, &script);
    insert(&fake, 0, &update);
    expect(&fake, &update, KV_OK, "");
    assert_int_equal(fake.nodes[1].updates, 4);
    assert_int_equal(retried(&fake), 3);
    fake_close(&fake);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_refused_for_good),
        cmocka_unit_test(test_failed_in_time_says_why),
        cmocka_unit_test(test_store_stands_still),
        cmocka_unit_test(test_store_works_again),
    };
    return cmocka_run_group_tests_name("client_refused", tests, NULL, NULL);
}
