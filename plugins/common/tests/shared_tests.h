/*
 * The tests that hold for any transport: each transport's test programs put them into their own
 * tables, beside what is particular to it. What holds for all but in its last figures is a
 * shared_check_x() that the program's own test calls and adds those figures to. One thread.
 */
#ifndef PLUGINS_COMMON_TESTS_SHARED_TESTS_H
#define PLUGINS_COMMON_TESTS_SHARED_TESTS_H

#include "ends.h"

/* ---- links between two well-behaved ends ---- */

void shared_test_descriptor(void **state);
void shared_test_peer_message_max(void **state);
void shared_test_reconnect(void **state);
void shared_test_dead_port(void **state);
void shared_test_listen_refusals(void **state);
void shared_test_names(void **state);
void shared_test_ipv6(void **state);

#define SHARED_LINK_TESTS                                                                     \
    cmocka_unit_test(shared_test_descriptor), cmocka_unit_test(shared_test_peer_message_max), \
        cmocka_unit_test(shared_test_reconnect), cmocka_unit_test(shared_test_dead_port),     \
        cmocka_unit_test(shared_test_listen_refusals), cmocka_unit_test(shared_test_names),   \
        cmocka_unit_test(shared_test_ipv6)

#define SHARED_SETTINGS_MAX 6
#define SHARED_BATCH_LEN    20000
#define SHARED_LINKS_LEN    200

/* None of the bad lists (as for node_open()) opens an instance, nor does any that is bad for every
 * transport; the good one does. */
void shared_check_settings(const char *const (*bad)[SHARED_SETTINGS_MAX], size_t bad_len,
                           const char *const *good);
/* Messages of all sizes go over one link and come back as they were; the nodes stay open. */
void shared_check_echo(struct ends *ends);
/* Connects and sends SHARED_BATCH_LEN messages in one turn of the loop, without flush. */
void shared_queue_batch(struct ends *ends);
/* Flushes them: they arrive in order. The client has stopped then: its counters can be read. */
void shared_check_batch(struct ends *ends);
/* SHARED_LINKS_LEN links carry messages there and back. The client has stopped then. */
void shared_check_many_links(struct ends *ends);

/* ---- ending links and instances ---- */

void shared_test_endings_in_callbacks(void **state);
void shared_test_unused(void **state);

#define SHARED_ENDING_TESTS \
    cmocka_unit_test(shared_test_endings_in_callbacks), cmocka_unit_test(shared_test_unused)

#endif
