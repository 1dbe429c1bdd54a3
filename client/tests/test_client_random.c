/*
 * Random requests against a cluster with random faults. Whatever happens: each request gets exactly
 * one answer, soon after its deadline at the latest; what is answered "not executed" was not, what
 * is answered "done" was, nothing is executed twice; and when the faults stop the client works.
 * The seeds are fixed; KV_SEED=N runs that one alone.
 */
#include "fake.h"

#include "base/alloc.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#define REQUESTS_MAX 5000u
#define STATUSES_LEN 32u
#define SLACK_MS     2000u /* the machine may be busy; a forgotten request is never answered */
#define SEEDS        10u
#define LOAD_MS      1500u
#define ISSUE_MS     2u

struct world;

struct one {
    struct world *world;
    uint64_t deadline_ms;
    uint32_t answers;
    int32_t status;
    uint32_t executed;
    bool is_update;
};

struct world {
    struct fake fake;
    struct rand rand;
    struct one ones[REQUESTS_MAX];
    uint32_t ones_len;
    uint32_t late;
    uint32_t answered;
    uint32_t statuses[STATUSES_LEN]; /* how many answers had -status */
    bool is_healed;
    bool is_inside; /* a kv_client_ call is running */
};

static void issue(struct world *world);

static void world_on_answer(void *ctx, const struct kv_answer *answer)
{
    struct one *one = ctx;
    struct world *world = one->world;
    assert_false(world->is_inside);
    one->answers++;
    one->status = answer->status;
    world->answered++;
    world->statuses[-answer->status]++;
    world->late += fake_now_ms() > one->deadline_ms + SLACK_MS;
    if (rand_percent(&world->rand, 5)) {
        issue(world);
    }
}

/* One random request. */
static void issue(struct world *world)
{
    static const char *const nodes[] = {NULL, NULL, "n1", "n2", "n3", "n8"};
    if (world->ones_len == REQUESTS_MAX) {
        return;
    }
    uint32_t index = world->ones_len++;
    struct one *one = &world->ones[index];
    struct kv_client *client = world->fake.client;
    const char *node = nodes[rand_below(&world->rand, 6)];
    uint32_t deadline_ms = 20u + (uint32_t)rand_below(&world->rand, 800);
    int32_t status = KV_OK;
    one->world = world;
    one->deadline_ms = fake_now_ms() + deadline_ms;
    world->is_inside = true;
    uint64_t choice = rand_below(&world->rand, 100);
    if (choice < 55) {
        one->is_update = true;
        status = kv_client_insert(client, "k", 1, &index, sizeof(index), deadline_ms,
                                  world_on_answer, one);
    } else if (choice < 80) {
        status = kv_client_get(client, node, "k", 1, 0, deadline_ms, world_on_answer, one);
    } else if (choice < 88) {
        status = kv_client_scan(client, node, "", 0, 0, 0, deadline_ms, world_on_answer, one);
    } else if (choice < 94) {
        status = kv_client_status(client, node, deadline_ms, world_on_answer, one);
    } else if (choice < 98) {
        status = kv_client_view(client, deadline_ms, world_on_answer, one);
    } else if (choice < 99) {
        status = kv_client_leave(client, "n2", deadline_ms, world_on_answer, one);
    } else {
        status = index % 2 == 0
                     ? kv_client_handover(client, "n3", deadline_ms, world_on_answer, one)
                     : kv_client_takeover(client, "n1", deadline_ms, world_on_answer, one);
    }
    world->is_inside = false;
    if (status != KV_OK) {
        assert_true(status == KV_E_CLOSED || status == KV_E_BUSY);
        one->answers = 1; /* refused at the call: never answered */
        one->status = status;
        world->answered++;
    }
}

static bool world_hook(void *ctx, struct fake_node *node, struct guard_link *link,
                       const struct message *message)
{
    static const uint8_t reasons[] = {REJECT_NOT_READY,   REJECT_LEAVING,    REJECT_OVERLOADED,
                                      REJECT_MIN_IN_SYNC, REJECT_TOO_LARGE,  REJECT_DEADLINE,
                                      REJECT_NOT_PRIMARY, REJECT_UNSUPPORTED};
    struct world *world = ctx;
    struct rand *rand = &world->rand;
    uint64_t choice = world->is_healed ? 999 : rand_below(rand, 400);
    bool is_update = message->type == MESSAGE_INSERT;
    bool is_primary = node->index == world->fake.view.primary;
    if (choice < 60 && message->type != MESSAGE_LOCATE) {
        uint8_t reason = reasons[rand_below(rand, sizeof(reasons))];
        uint32_t retry_after_ms = (uint32_t)rand_below(rand, 60);
        fake_reject(node, link, message, reason, retry_after_ms);
        if (choice < 20) {
            fake_reject(node, link, message, reason, retry_after_ms); /* and once more */
        }
        return true;
    }
    if (is_update && is_primary) {
        uint32_t index = 0;
        assert_int_equal(message->body.operation.value.len, sizeof(index));
        memcpy(&index, message->body.operation.value.at, sizeof(index));
        if (index < REQUESTS_MAX) {
            world->ones[index].executed++;
        }
    }
    if (choice < 80) {
        return true; /* never answers */
    }
    if (choice < 82) {
        fake_node_cut(&world->fake, node->index);
        return true;
    }
    if (choice < 84) {
        fake_send_bytes(node, link, "KV garbage", rand_below(rand, 11), 0);
        return true;
    }
    if (choice < 90 && is_update) {
        struct message answer = {.type = MESSAGE_OPERATION_FAILED};
        answer.body.operation_failed.request = fake_request_id(message);
        answer.body.operation_failed.reason = FAIL_TIMEOUT;
        fake_send(node, link, &answer, 0);
        fake_serve(node, link, message, 5); /* too late */
        return true;
    }
    if (choice < 180) {
        uint32_t delay_ms = (uint32_t)rand_below(rand, choice < 100 ? 600 : 20);
        fake_serve(node, link, message, delay_ms);
        if (choice % 4 == 0) {
            fake_serve(node, link, message, delay_ms + 3u);
        }
        return true;
    }
    return false;
}

/* The arbiter, or a member, is said to be at a further address as well, where another one is. */
static void misdirect(struct fake *fake, uint32_t index)
{
    struct view *view = &fake->view;
    struct member *member = &view->members[index % view->members_len];
    view->number++;
    if (index == FAKE_ARBITER) {
        view->arbiter_uris_len = 1;
        memcpy(view->arbiter_uris[0], fake->nodes[2].uri, sizeof(view->arbiter_uris[0]));
    } else {
        member->uris_len = 2;
        memcpy(member->uris[1], member->uris[0], sizeof(member->uris[0]));
        memcpy(member->uris[0], fake->nodes[FAKE_ARBITER].uri, sizeof(member->uris[0]));
    }
}

/* Each at its own address only. */
static void put_right(struct fake *fake)
{
    struct view *view = &fake->view;
    view->number++;
    view->arbiter_uris_len = 0;
    for (uint32_t i = 0; i < view->members_len; i++) {
        struct member *member = &view->members[i];
        member->uris_len = 1;
        memcpy(member->uris[0], fake->nodes[member->node].uri, sizeof(member->uris[0]));
    }
}

/* A random change of the cluster; between two runs of the loop. */
static void disturb(struct world *world)
{
    struct fake *fake = &world->fake;
    uint32_t index = (uint32_t)rand_below(&world->rand, fake->nodes_len);
    uint64_t choice = rand_below(&world->rand, 100);
    if (fake->nodes[FAKE_ARBITER].guard == NULL && choice < 50) {
        fake_node_start(fake, FAKE_ARBITER);
    } else if (choice < 50) {
        fake_set_primary(fake, index); /* 0: none */
    } else if (choice < 55) {
        misdirect(fake, index);
    } else if (choice < 60) {
        put_right(fake);
    } else if (choice < 80) {
        fake_node_cut(fake, index);
    } else if (fake->nodes[index].guard != NULL) {
        fake_node_stop(fake, index);
    } else {
        fake_node_start(fake, index);
    }
}

static void heal(struct world *world)
{
    world->is_healed = true;
    for (uint32_t i = 0; i < world->fake.nodes_len; i++) {
        if (world->fake.nodes[i].guard == NULL) {
            fake_node_start(&world->fake, i);
        }
    }
    put_right(&world->fake);
    fake_set_primary(&world->fake, 3);
}

static void check(struct world *world)
{
    for (uint32_t i = 0; i < world->ones_len; i++) {
        const struct one *one = &world->ones[i];
        assert_int_equal(one->answers, 1);
        if (!one->is_update) {
            continue;
        }
        assert_true(one->executed <= 1);
        if (one->status == KV_OK) {
            assert_int_equal(one->executed, 1);
        } else if (one->status == KV_E_UNREACHABLE || one->status == KV_E_REJECTED ||
                   one->status == KV_E_TOO_LARGE) {
            assert_int_equal(one->executed, 0);
        }
    }
    assert_int_equal(world->late, 0);
}

/* Adds the numbers of answers by status to totals. */
static void run_seed(uint64_t seed, uint32_t *totals)
{
    struct world *world = calloc(1, sizeof(*world));
    assert_non_null(world);
    struct fake *fake = &world->fake;
    const struct kv_client_options options = {.inflight_max = 400};
    world->rand.state = seed;
    fake_init(fake, 3);
    fake->hook = world_hook;
    fake->hook_ctx = world;
    fake_client(fake, &options);
    uint64_t end_ms = fake_now_ms() + LOAD_MS;
    uint64_t disturb_ms = fake_now_ms() + 50u;
    uint64_t issue_ms = 0;
    while (fake_now_ms() < end_ms) {
        for (uint64_t i = rand_below(&world->rand, 6); i > 0 && fake_now_ms() >= issue_ms; i--) {
            issue(world);
            issue_ms = i == 1 ? fake_now_ms() + ISSUE_MS : 0;
        }
        uv_run(&fake->loop, UV_RUN_ONCE);
        if (fake_now_ms() >= disturb_ms) {
            disturb(world);
            disturb_ms = fake_now_ms() + rand_below(&world->rand, 150);
        }
    }
    bool is_closed_early = rand_percent(&world->rand, 30);
    if (is_closed_early) {
        fake_client_close(fake);
        assert_int_equal(world->answered, world->ones_len);
    } else {
        heal(world);
        uint64_t wait_ms = fake_now_ms() + 1000u + SLACK_MS;
        while (world->answered < world->ones_len && fake_now_ms() < wait_ms) {
            uv_run(&fake->loop, UV_RUN_ONCE);
        }
        struct outcome update = {0};
        uint32_t value = UINT32_MAX;
        assert_int_equal(kv_client_insert(fake->client, "k", 1, &value, sizeof(value), 5000,
                                          outcome_on_answer, &update),
                         KV_OK);
        assert_true(fake_wait(fake, &update.answers, 1, 5000 + SLACK_MS));
        if (update.status != KV_OK) {
            fail_msg("after the faults: %d, %s", update.status, update.reason);
        }
        /* A callback may have issued another one meanwhile. */
        fake_wait(fake, &world->answered, world->ones_len, 1000u + SLACK_MS);
        assert_int_equal(kv_client_inflight(fake->client), 0);
    }
    check(world);
    print_message("seed %llu: %u requests, %u ok, %u timeout, %u rejected, %u unreachable\n",
                  (unsigned long long)seed, world->ones_len, world->statuses[0],
                  world->statuses[-KV_E_TIMEOUT], world->statuses[-KV_E_REJECTED],
                  world->statuses[-KV_E_UNREACHABLE]);
    for (uint32_t i = 0; i < STATUSES_LEN; i++) {
        totals[i] += world->statuses[i];
    }
    fake_close(fake);
    free(world);
}

static void test_random_faults(void **state)
{
    (void)state;
    int64_t live = alloc_live();
    uint32_t totals[STATUSES_LEN] = {0};
    const char *only = getenv("KV_SEED");
    if (only != NULL) {
        run_seed(strtoull(only, NULL, 10), totals);
        return;
    }
    for (uint64_t seed = 1; seed <= SEEDS; seed++) {
        run_seed(seed, totals);
    }
    assert_int_equal(alloc_live(), live);
    /* The faults were neither absent nor so many that nothing was tested. */
    static const int32_t expected[] = {KV_OK, KV_E_TIMEOUT, KV_E_REJECTED, KV_E_UNREACHABLE};
    for (uint32_t i = 0; i < sizeof(expected) / sizeof(expected[0]); i++) {
        assert_true(totals[-expected[i]] >= 20);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_random_faults),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
