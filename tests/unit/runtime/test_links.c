/* The table of links against a plain list of what should be in it. */
#include "base/rand.h"
#include "host/links.h"
#include "logic/effect.h"

#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <cmocka.h>

#define ACCEPTED_MAX 50u
#define STEPS        20000u
#define MODEL_MAX    400u

static struct guard_transport *const transport = (struct guard_transport *)0x1000;

/* Never followed: stands for a guard's link. */
static struct guard_link *fake_guard(uint64_t n)
{
    return (struct guard_link *)(uintptr_t)(n * 16);
}

static void test_accepted_numbers(void **state)
{
    (void)state;
    struct links links;
    uint64_t before = 0;
    links_init(&links, 3);
    for (unsigned round = 0; round < 100; round++) {
        struct link *link = links_accept(&links, transport, fake_guard(round + 1));
        assert_non_null(link);
        assert_true(link->number > before && (link->number & LINK_OPENED_BIT) == 0);
        assert_true(link_is_accepted(link));
        assert_ptr_equal(links_find(&links, link->number), link);
        assert_ptr_equal(link->guard, fake_guard(round + 1));
        assert_ptr_equal(link->transport, transport);
        assert_null(links_find(&links, before));
        before = link->number;
        links_remove(&links, link);
        assert_null(links_find(&links, before));
    }
    links_close(&links);
}

static void test_limit(void **state)
{
    (void)state;
    struct links links;
    links_init(&links, 2);
    struct link *first = links_accept(&links, transport, fake_guard(1));
    assert_non_null(links_accept(&links, transport, fake_guard(2)));
    assert_null(links_accept(&links, transport, fake_guard(3)));
    links_remove(&links, first);
    assert_non_null(links_accept(&links, transport, fake_guard(4)));
    assert_null(links_accept(&links, transport, fake_guard(5)));
    links_close(&links);
}

static void test_strange_numbers(void **state)
{
    (void)state;
    struct links links;
    links_init(&links, ACCEPTED_MAX);
    links_accept(&links, transport, fake_guard(1));
    links_open(&links, LINK_OPENED_BIT | 1, transport);
    static const uint64_t strange[] = {0,
                                       1,
                                       2,
                                       1ull << LINKS_SLOT_BITS | 1,
                                       1ull << 40,
                                       LINK_OPENED_BIT,
                                       LINK_OPENED_BIT | 2,
                                       LINK_OPENED_BIT | 65,
                                       UINT64_MAX,
                                       UINT64_MAX >> 1};
    for (size_t i = 0; i < sizeof(strange) / sizeof(strange[0]); i++) {
        assert_null(links_find(&links, strange[i]));
    }
    links_close(&links);
}

struct model {
    struct link *links[MODEL_MAX];
    uint64_t numbers[MODEL_MAX];
    unsigned len;
};

static void remove_at(struct links *links, struct model *model, unsigned at)
{
    uint64_t number = model->numbers[at];
    links_remove(links, model->links[at]);
    model->len--;
    model->links[at] = model->links[model->len];
    model->numbers[at] = model->numbers[model->len];
    assert_null(links_find(links, number));
}

static void test_random(void **state)
{
    (void)state;
    for (uint64_t seed = 1; seed <= 5; seed++) {
        struct rand rand = {seed};
        struct links links;
        struct model model = {.len = 0};
        uint64_t opened = 0;
        links_init(&links, ACCEPTED_MAX);
        for (unsigned step = 0; step < STEPS; step++) {
            struct link *link = NULL;
            if (model.len == MODEL_MAX || (model.len > 0 && rand_percent(&rand, 48))) {
                remove_at(&links, &model, (unsigned)rand_below(&rand, model.len));
            } else if (rand_percent(&rand, 30)) {
                link = links_accept(&links, transport, fake_guard(step + 1));
            } else {
                /* Gaps that are powers of two make numbers collide in the hash. */
                opened += 1 + (rand_percent(&rand, 20) ? 1ull << rand_below(&rand, 12) : 0);
                link = links_open(&links, LINK_OPENED_BIT | opened, transport);
            }
            if (link != NULL) {
                model.links[model.len] = link;
                model.numbers[model.len++] = link->number;
            }
            for (unsigned i = 0; step % 50 == 0 && i < model.len; i++) {
                assert_ptr_equal(links_find(&links, model.numbers[i]), model.links[i]);
            }
        }
        links_close(&links);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_accepted_numbers),
        cmocka_unit_test(test_limit),
        cmocka_unit_test(test_strange_numbers),
        cmocka_unit_test(test_random),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
