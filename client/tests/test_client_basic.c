/* What each request does against a healthy cluster, the limits, and closing in every state. */
#include "fake.h"

#include "base/alloc.h"

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

static void test_each_request(void **state)
{
    (void)state;
    struct fake fake;
    fake_init(&fake, 3);
    fake_client(&fake, NULL);
    struct outcome insert = {0}, erase = {0}, get = {0}, absent = {0}, scan = {0}, status = {0};
    struct outcome view = {0}, leave = {0}, remote = {0};
    struct kv_client *client = fake.client;
    assert_int_equal(kv_client_insert(client, "k", 1, "v", 1, 700, outcome_on_answer, &insert), 0);
    assert_int_equal(kv_client_remove(client, "k", 1, 0, outcome_on_answer, &erase), 0);
    assert_int_equal(kv_client_get(client, NULL, "key", 3, 0, 0, outcome_on_answer, &get), 0);
    assert_int_equal(kv_client_get(client, NULL, "-", 1, 0, 0, outcome_on_answer, &absent), 0);
    assert_int_equal(kv_client_get(client, "n3", "", 0, 7, 0, outcome_on_answer, &remote), 0);
    assert_int_equal(kv_client_scan(client, "n2", "", 0, 0, 0, 0, outcome_on_answer, &scan), 0);
    assert_int_equal(kv_client_status(client, "n3", 0, outcome_on_answer, &status), 0);
    assert_int_equal(kv_client_view(client, 0, outcome_on_answer, &view), 0);
    assert_int_equal(kv_client_leave(client, "n3", 0, outcome_on_answer, &leave), 0);
    assert_int_equal(kv_client_inflight(client), 9);
    assert_int_equal(insert.answers, 0); /* never from within a call */
    expect(&fake, &insert, KV_OK);
    assert_string_equal(insert.reason, "");
    assert_int_equal(insert.position.index, 1);
    expect(&fake, &erase, KV_OK);
    assert_int_equal(erase.position.index, 2);
    expect(&fake, &get, KV_OK);
    assert_string_equal(get.value, "key");
    expect(&fake, &absent, KV_E_NOT_FOUND);
    expect(&fake, &remote, KV_OK);
    assert_int_equal(remote.value_len, 0);
    expect(&fake, &scan, KV_OK);
    assert_int_equal(scan.records_len, 2);
    expect(&fake, &status, KV_OK);
    assert_string_equal(status.name, "n3");
    assert_int_equal(status.keys, 5);
    expect(&fake, &view, KV_OK);
    assert_int_equal(view.view, 1);
    assert_int_equal(view.nodes_len, 3);
    assert_string_equal(view.primary, "n1");
    expect(&fake, &leave, KV_OK);
    assert_int_equal(kv_client_inflight(client), 0);
    assert_true(fake.nodes[1].last_deadline_ms <= 2000);
    fake_close(&fake);
}

/* The node is told how long the answer is still of use. */
static void test_deadline_is_sent_along(void **state)
{
    (void)state;
    struct fake fake;
    fake_init(&fake, 1);
    fake_client(&fake, NULL);
    struct outcome first = {0}, second = {0};
    kv_client_insert(fake.client, "k", 1, "v", 1, 700, outcome_on_answer, &first);
    expect(&fake, &first, KV_OK);
    assert_true(fake.nodes[1].last_deadline_ms > 0 && fake.nodes[1].last_deadline_ms <= 700);
    kv_client_insert(fake.client, "k", 1, "v", 1, 90000, outcome_on_answer, &second);
    expect(&fake, &second, KV_OK);
    assert_true(fake.nodes[1].last_deadline_ms > 80000);
    fake_close(&fake);
}

struct order {
    uint64_t last_order;
    uint32_t updates;
    bool is_ordered;
};

static bool order_hook(void *ctx, struct fake_node *node, struct guard_link *link,
                       const struct message *message)
{
    struct order *order = ctx;
    (void)node;
    (void)link;
    if (message->type == MESSAGE_INSERT) {
        uint64_t number = 0;
        assert_int_equal(message->body.operation.value.len, sizeof(number));
        memcpy(&number, message->body.operation.value.at, sizeof(number));
        order->is_ordered = order->is_ordered && number == order->last_order + 1u;
        order->last_order = number;
        order->updates++;
    }
    return false;
}

static void count_on_answer(void *ctx, const struct kv_answer *answer)
{
    uint32_t *count = ctx;
    assert_int_equal(answer->status, KV_OK);
    *count += 1;
}

static void test_pipelined_updates_keep_their_order(void **state)
{
    (void)state;
    struct fake fake;
    struct order order = {.is_ordered = true};
    fake_init(&fake, 1);
    fake.hook = order_hook;
    fake.hook_ctx = &order;
    fake_client(&fake, NULL);
    uint32_t count = 0;
    for (uint64_t i = 1; i <= 20000; i++) {
        assert_int_equal(kv_client_insert(fake.client, &i, sizeof(i), &i, sizeof(i), 30000,
                                          count_on_answer, &count),
                         KV_OK);
    }
    assert_true(fake_wait(&fake, &count, 20000, 30000));
    assert_true(order.is_ordered);
    assert_int_equal(order.updates, 20000);
    fake_close(&fake);
}

static void test_big_values_wait_for_room(void **state)
{
    (void)state;
    struct fake fake;
    fake_init(&fake, 1);
    fake_client(&fake, NULL);
    enum { LEN = 1 << 20, COUNT = 40 }; /* more than the transport's queue takes */
    char *value = calloc(1, LEN);
    uint32_t count = 0;
    for (uint32_t i = 0; i < COUNT; i++) {
        assert_int_equal(kv_client_insert(fake.client, &i, sizeof(i), value, LEN, 30000,
                                          count_on_answer, &count),
                         KV_OK);
    }
    assert_true(fake_wait(&fake, &count, COUNT, 30000));
    free(value);
    fake_close(&fake);
}

static void test_limits(void **state)
{
    (void)state;
    struct fake fake;
    const struct kv_client_options options = {.inflight_max = 3, .inflight_bytes_max = 100};
    fake_init(&fake, 1);
    fake_client(&fake, &options);
    struct outcome outcomes[5] = {0};
    static char big[101];
    struct kv_client *client = fake.client;
    assert_int_equal(kv_client_insert(client, big, 1, big, 100, 0, outcome_on_answer, outcomes),
                     KV_E_BUSY);
    assert_int_equal(
        kv_client_insert(client, big, (size_t)1 << 40, NULL, 0, 0, outcome_on_answer, outcomes),
        KV_E_TOO_LARGE);
    assert_int_equal(kv_client_insert(client, big, 1, big, 99, 0, outcome_on_answer, &outcomes[0]),
                     KV_OK);
    assert_int_equal(kv_client_get(client, NULL, big, 1, 0, 0, outcome_on_answer, &outcomes[1]),
                     KV_E_BUSY);
    assert_int_equal(kv_client_view(client, 0, outcome_on_answer, &outcomes[1]), KV_OK);
    assert_int_equal(kv_client_view(client, 0, outcome_on_answer, &outcomes[2]), KV_OK);
    assert_int_equal(kv_client_view(client, 0, outcome_on_answer, &outcomes[3]), KV_E_BUSY);
    for (uint32_t i = 0; i < 3; i++) {
        expect(&fake, &outcomes[i], KV_OK);
    }
    assert_int_equal(kv_client_view(client, 0, outcome_on_answer, &outcomes[3]), KV_OK);
    expect(&fake, &outcomes[3], KV_OK);
    fake_close(&fake);
}

static void test_unknown_nodes(void **state)
{
    (void)state;
    struct fake fake;
    fake_init(&fake, 2);
    fake_client(&fake, NULL);
    struct outcome first = {0}, wrong = {0}, wrong_leave = {0}, status = {0};
    kv_client_get(fake.client, "n9", "k", 1, 0, 0, outcome_on_answer, &first);
    kv_client_scan(fake.client, "../n1", "", 0, 0, 0, 0, outcome_on_answer, &wrong);
    kv_client_leave(fake.client, "", 0, outcome_on_answer, &wrong_leave);
    expect(&fake, &first, KV_E_NOT_FOUND);
    expect(&fake, &wrong, KV_E_NOT_FOUND);
    expect(&fake, &wrong_leave, KV_E_NOT_FOUND);
    /* The known view is old: one more question finds the node. */
    uint64_t locates = fake.nodes[FAKE_ARBITER].locates;
    fake.view.number++;
    snprintf(fake.view.members[1].name, sizeof(fake.view.members[1].name), "n9");
    kv_client_status(fake.client, "n9", 0, outcome_on_answer, &status);
    expect(&fake, &status, KV_OK);
    assert_int_equal(fake.nodes[FAKE_ARBITER].locates, locates + 1);
    fake_close(&fake);
}

/* Of a node's addresses the first whose transport is there is used. */
static void test_address_of_an_unknown_transport(void **state)
{
    (void)state;
    struct fake fake;
    struct outcome update = {0}, named = {0};
    fake_init(&fake, 2);
    for (uint32_t i = 0; i < 2; i++) {
        struct member *member = &fake.view.members[i];
        memcpy(member->uris[1], member->uris[0], sizeof(member->uris[0]));
        snprintf(member->uris[0], sizeof(member->uris[0]), "pigeon://loft:%u", i);
        member->uris_len = i == 0 ? 2 : 1;
    }
    fake_client(&fake, NULL);
    kv_client_insert(fake.client, "k", 1, "v", 1, 0, outcome_on_answer, &update);
    expect(&fake, &update, KV_OK);
    kv_client_get(fake.client, "n2", "k", 1, 0, 200, outcome_on_answer, &named);
    expect(&fake, &named, KV_E_UNREACHABLE);
    assert_non_null(strstr(named.reason, "pigeon"));
    fake_close(&fake);
}

static bool leave_hook(void *ctx, struct fake_node *node, struct guard_link *link,
                       const struct message *message)
{
    const uint8_t *reason = ctx;
    if (message->type == MESSAGE_LEAVE) {
        fake_reject(node, link, message, *reason, 300);
        return true;
    }
    return false;
}

static void test_leave_refused(void **state)
{
    (void)state;
    struct fake fake;
    uint8_t reason = REJECT_NOT_FOUND;
    fake_init(&fake, 1);
    fake.hook = leave_hook;
    fake.hook_ctx = &reason;
    fake_client(&fake, NULL);
    struct outcome absent = {0}, busy = {0};
    kv_client_leave(fake.client, "n1", 0, outcome_on_answer, &absent);
    expect(&fake, &absent, KV_E_NOT_FOUND);
    reason = REJECT_OVERLOADED;
    kv_client_leave(fake.client, "n1", 0, outcome_on_answer, &busy);
    expect(&fake, &busy, KV_E_REJECTED);
    assert_string_equal(busy.reason, message_reject_text(REJECT_OVERLOADED));
    assert_int_equal(busy.retry_after_ms, 300);
    fake_close(&fake);
}

static void test_create_refuses(void **state)
{
    (void)state;
    uv_loop_t loop;
    uv_loop_init(&loop);
    static const char *const bad[] = {
        "",       "127.0.0.1:7400",  "tcp:/127.0.0.1:7400", "../x://y",
        "tcp://", "tcp://127.0.0.1", "tcp://127.0.0.1:x"};
    int64_t live = alloc_live();
    for (uint32_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++) {
        const struct kv_client_options options = {.arbiter_uri = bad[i],
                                                  .plugin_folder = TEST_PLUGIN_FOLDER};
        struct kv_client *client = NULL;
        char error[512] = "";
        assert_int_equal(kv_client_create(&loop, &options, &client, error), KV_E_INVALID);
        assert_null(client);
        assert_true(error[0] != '\0');
    }
    const struct kv_client_options unknown = {.arbiter_uri = "pigeon://loft",
                                              .plugin_folder = TEST_PLUGIN_FOLDER};
    struct kv_client *client = NULL;
    char error[512] = "";
    assert_int_equal(kv_client_create(&loop, &unknown, &client, error), KV_E_NOT_FOUND);
    assert_non_null(strstr(error, "transport-pigeon"));
    uv_run(&loop, UV_RUN_DEFAULT);
    assert_int_equal(uv_loop_close(&loop), 0);
    assert_int_equal(alloc_live(), live);
}

/* ---- closing ---- */

static void test_close_at_once(void **state)
{
    (void)state;
    struct fake fake;
    int64_t live = alloc_live();
    fake_init(&fake, 1);
    fake_client(&fake, NULL);
    fake_client_close(&fake);
    /* ... and with requests that were never sent. */
    fake_client(&fake, NULL);
    struct outcome insert = {0}, late = {0};
    kv_client_insert(fake.client, "k", 1, "v", 1, 0, outcome_on_answer, &insert);
    kv_client_close(fake.client, NULL, NULL);
    assert_int_equal(insert.answers, 0);
    assert_int_equal(kv_client_view(fake.client, 0, outcome_on_answer, &late), KV_E_CLOSED);
    expect(&fake, &insert, KV_E_CLOSED);
    fake.client = NULL;
    fake_close(&fake);
    assert_int_equal(alloc_live(), live);
}

struct closer {
    struct fake *fake;
    uint32_t answers;
    uint32_t closed;
    int32_t call_status;
};

static void closer_on_closed(void *ctx)
{
    struct closer *closer = ctx;
    closer->closed++;
}

static void closer_on_answer(void *ctx, const struct kv_answer *answer)
{
    struct closer *closer = ctx;
    (void)answer;
    closer->answers++;
    if (closer->answers == 1) {
        kv_client_close(closer->fake->client, closer_on_closed, closer);
    }
    closer->call_status =
        kv_client_get(closer->fake->client, NULL, "k", 1, 0, 0, closer_on_answer, closer);
}

/* Closing in the first of many answers: the rest is answered all the same, once each. */
static void test_close_within_an_answer(void **state)
{
    (void)state;
    struct fake fake;
    fake_init(&fake, 2);
    fake_client(&fake, NULL);
    struct closer closer = {.fake = &fake};
    for (uint32_t i = 0; i < 300; i++) {
        kv_client_get(fake.client,
                      i % 3u == 0   ? NULL
                      : i % 3u == 1 ? "n2"
                                    : "n7",
                      "k", 1, 0, 0, closer_on_answer, &closer);
    }
    assert_true(fake_wait(&fake, &closer.closed, 1, WAIT_MS));
    assert_int_equal(closer.answers, 300);
    assert_int_equal(closer.call_status, KV_E_CLOSED);
    fake.client = NULL;
    fake_close(&fake);
}

static void test_close_while_nobody_answers(void **state)
{
    (void)state;
    struct fake fake;
    fake_init(&fake, 1);
    fake_node_stop(&fake, FAKE_ARBITER);
    fake_client(&fake, NULL);
    struct outcome insert = {0};
    kv_client_insert(fake.client, "k", 1, "v", 1, 60000, outcome_on_answer, &insert);
    fake_run(&fake, 100);
    assert_int_equal(insert.answers, 0);
    fake_client_close(&fake);
    assert_int_equal(insert.answers, 1);
    assert_int_equal(insert.status, KV_E_CLOSED);
    fake_close(&fake);
}

/* ---- a callback that goes on ---- */

struct chain {
    struct kv_client *client;
    uint32_t left;
    uint32_t done;
    bool is_inside;
};

static void chain_on_answer(void *ctx, const struct kv_answer *answer)
{
    struct chain *chain = ctx;
    assert_int_equal(answer->status, KV_OK);
    assert_false(chain->is_inside);
    chain->done++;
    if (chain->left > 0) {
        chain->left--;
        chain->is_inside = true;
        assert_int_equal(kv_client_insert(chain->client, "k", 1, "v", 1, 0, chain_on_answer, chain),
                         KV_OK);
        chain->is_inside = false;
    }
}

static void test_requests_out_of_answers(void **state)
{
    (void)state;
    struct fake fake;
    fake_init(&fake, 1);
    fake_client(&fake, NULL);
    struct chain chain = {.client = fake.client, .left = 2000};
    kv_client_insert(fake.client, "k", 1, "v", 1, 0, chain_on_answer, &chain);
    assert_true(fake_wait(&fake, &chain.done, 2001, 20000));
    fake_close(&fake);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_each_request),
        cmocka_unit_test(test_deadline_is_sent_along),
        cmocka_unit_test(test_pipelined_updates_keep_their_order),
        cmocka_unit_test(test_big_values_wait_for_room),
        cmocka_unit_test(test_limits),
        cmocka_unit_test(test_unknown_nodes),
        cmocka_unit_test(test_address_of_an_unknown_transport),
        cmocka_unit_test(test_leave_refused),
        cmocka_unit_test(test_create_refuses),
        cmocka_unit_test(test_close_at_once),
        cmocka_unit_test(test_close_within_an_answer),
        cmocka_unit_test(test_close_while_nobody_answers),
        cmocka_unit_test(test_requests_out_of_answers),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
