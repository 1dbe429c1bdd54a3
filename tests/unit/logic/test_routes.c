/*
 * Which of a member's addresses a link begins with: the first, until a whole session passed there
 * without a word.
 */
#include "fixture.h"

#include "logic/routes.h"

#include <stdlib.h>
#include <string.h>

struct bench {
    struct fixture fixture;
    struct routes routes;
    struct view view;
};

static int setup(void **state)
{
    struct bench *bench = calloc(1, sizeof(*bench));
    fixture_init(&bench->fixture, false, true);
    fixture_view(&bench->view, 1, 0);
    *state = bench;
    return 0;
}

static int teardown(void **state)
{
    struct bench *bench = *state;
    fixture_close(&bench->fixture);
    free(bench);
    return 0;
}

static void session_ends(struct bench *bench, uint64_t node, bool suspected, bool heard)
{
    struct replicator replicator = {.node = node, .suspected = suspected, .heard = heard};
    routes_on_session_end(&bench->routes, &replicator);
}

/* A member with the addresses a://, b:// and so on. */
static const struct member *member_with(struct bench *bench, uint64_t node, uint8_t uris_len)
{
    bench->view.members_len = 0;
    struct member *member = fixture_add_member(&bench->view, node, 1, MEMBER_CANDIDATE);
    member->uris_len = uris_len;
    for (uint32_t i = 0; i < uris_len; i++) {
        snprintf(member->uris[i], sizeof(member->uris[i]), "%c://", (char)('a' + i));
    }
    return member;
}

/* The first letters of the addresses of a link that is opened to it now, in their order. */
static void expect_order(struct bench *bench, const struct member *member, const char *order)
{
    fixture_advance(&bench->fixture, 0);
    uint64_t link = routes_open_link(&bench->routes, &bench->fixture.context, member);
    const struct effect *open = fixture_effect(&bench->fixture, EFFECT_OPEN_LINK, 0);
    assert_true(open->as.open_link.link == link);
    assert_int_equal(open->as.open_link.uris_len, strlen(order));
    for (uint32_t i = 0; i < open->as.open_link.uris_len; i++) {
        assert_int_equal(open->as.open_link.uris[i][0], order[i]);
    }
}

static void they_go_round(void **state)
{
    struct bench *bench = *state;
    const struct member *member = member_with(bench, 5, 3);
    expect_order(bench, member, "abc");
    session_ends(bench, 5, true, false);
    expect_order(bench, member, "bca");
    session_ends(bench, 5, true, false);
    expect_order(bench, member, "cab");
    session_ends(bench, 5, true, false);
    expect_order(bench, member, "abc");
    expect_order(bench, member_with(bench, 6, 3), "abc"); /* each node for itself */
    expect_order(bench, member_with(bench, 5, 1), "a");
}

static void only_a_silence_from_the_beginning_counts(void **state)
{
    struct bench *bench = *state;
    const struct member *member = member_with(bench, 5, 2);
    session_ends(bench, 5, true, true);   /* it was there, and fell silent */
    session_ends(bench, 5, false, true);  /* it left */
    session_ends(bench, 5, false, false); /* it came anew before the silence lasted long enough */
    expect_order(bench, member, "ab");
    session_ends(bench, 5, true, false);
    session_ends(bench, 5, true, true);
    expect_order(bench, member, "ba"); /* it stays at the address where it was heard */
}

static void the_oldest_is_forgotten(void **state)
{
    struct bench *bench = *state;
    for (uint64_t node = 1; node <= MEMBERS_MAX; node++) {
        session_ends(bench, node, true, false);
    }
    session_ends(bench, 1, true, false); /* the third address of node 1: now 2 is the oldest */
    session_ends(bench, MEMBERS_MAX + 1, true, false);
    assert_int_equal(bench->routes.len, MEMBERS_MAX);
    expect_order(bench, member_with(bench, 2, 3), "abc");
    expect_order(bench, member_with(bench, 1, 3), "cab");
    for (uint64_t node = 3; node <= MEMBERS_MAX + 1; node++) {
        expect_order(bench, member_with(bench, node, 3), "bca");
    }
}

int main(void)
{
#define TEST(name) cmocka_unit_test_setup_teardown(name, setup, teardown)
    const struct CMUnitTest tests[] = {
        TEST(they_go_round),
        TEST(only_a_silence_from_the_beginning_counts),
        TEST(the_oldest_is_forgotten),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
