/* The state of a cmocka test with one store: a fake host and two empty folders, removed afterwards.
 * Test code only. */
#ifndef PLUGINS_TESTS_FIXTURE_H
#define PLUGINS_TESTS_FIXTURE_H

#include "kit.h"

#define FIXTURE_TEST(function) \
    cmocka_unit_test_setup_teardown(function, fixture_set_up, fixture_tear_down)

struct fixture {
    struct kit_host host;
    char path[KIT_PATH_LEN_MAX];  /* of the store */
    char trial[KIT_PATH_LEN_MAX]; /* for a copy to damage, or another store */
    struct kit_store store;       /* closed at the end, if it is open */
};

int fixture_set_up(void **state);
int fixture_tear_down(void **state);

/* Closes the store, if it is open, and opens that of `path`, which must work. */
void fixture_reopen(struct fixture *fixture, const struct kit_options *options);

#endif
