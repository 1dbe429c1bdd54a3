/* Three nodes on machines of their own: network namespaces on a bridge, with the packet sizes, the
 * losses and the silence of real links, which the loopback does not have. Skipped, with exit status
 * 77, where the system does not allow such a network.
 *
 * n1 is arbiter and primary. What happens to the network happens to n2. The client is where n3 is.
 */
#include "content.h"
#include "forge.h"
#include "load.h"
#include "netns.h"
#include "state.h"

#include "base/rand.h"

#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <cmocka.h>

#define MIB          1048576u
#define ETHERNET_LEN 14u
#define CUT_MS       3000u
#define EXIT_SKIPPED 77

/* For large values on a busy machine: what is late by that much did not get through at all. */
#define LARGE_SETTINGS \
    "replication = { operation_timeout_ms = 20000; replica_timeout_ms = 8000; };\n"
#define LARGE_TIMEOUT "20000"

#define N1            0u
#define N2            1u
#define N3            2u
#define FORGER        3u
#define VICTIM        4u
#define PORT          7400u

/* What one run of a test is about. */
struct variant {
    const char *scheme;
    bool is_v6;
};

static struct variant udp = {"udp", false};
static struct variant udp6 = {"udp", true};
static struct variant tcp = {"tcp", false};
static struct variant tcp6 = {"tcp", true};

static struct netns machines;
static const struct variant *chosen;

static int machines_setup(void **state)
{
    chosen = *state;
    netns_open(&machines, 5);
    return rig_setup(state);
}

static int machines_teardown(void **state)
{
    int result = rig_teardown(state);
    netns_close(&machines);
    return result;
}

/* --- the cluster --- */

static void machines_uri(uint32_t host, uint32_t port, char *ret_uri)
{
    snprintf(ret_uri, RIG_URI_MAX, chosen->is_v6 ? "%s://[fd00:77::%u]:%u" : "%s://10.77.0.%u:%u",
             chosen->scheme, host + 1, port);
}

/* As rig_start(), with an address of the host it runs at. */
static void machines_start(struct rig_node *node, uint32_t host)
{
    char text[2048];
    char file[64];
    char path[PROC_PATH_MAX];
    const char *argv[] = {CLUSTER_KVNODE, "-c", path, NULL};
    bool is_arbiter = (node->roles & RIG_ARBITER) != 0;
    machines_uri(host, is_arbiter ? PORT : 0, node->listen);
    if (is_arbiter) {
        memcpy(node->rig->arbiter, node->listen, sizeof(node->rig->arbiter));
    }
    int len = snprintf(
        text, sizeof(text),
        "node = { name = \"%s\"; roles = [%s\"replica\"]; arbiter = \"%s\"; data = \"%s\"; };\n"
        "transports = ( { plugin = \"transport-%s\"; listen = \"%s\"; } );\n%s",
        node->name, is_arbiter ? "\"arbiter\", " : "", node->rig->arbiter, node->data,
        chosen->scheme, node->listen, node->settings);
    assert_true(len > 0 && (size_t)len < sizeof(text));
    snprintf(file, sizeof(file), "%s.cfg", node->name);
    proc_join(node->rig->folder, file, path);
    proc_write_file(path, text, (size_t)len);
    snprintf(file, sizeof(file), "%s.%u", node->name, ++node->starts);
    uint32_t home = machines.home;
    netns_go(&machines, host);
    proc_start(&node->proc, node->rig->folder, file, NULL, argv);
    netns_go(&machines, home);
    free(rig_wait_ready(node));
}

static void machines_start_all(struct rig *rig, const char *settings)
{
    netns_go(&machines, N3);
    machines_start(rig_add(rig, "n1", RIG_ARBITER | RIG_REPLICA, settings), N1);
    machines_start(rig_add(rig, "n2", RIG_REPLICA, settings), N2);
    machines_start(rig_add(rig, "n3", RIG_REPLICA, settings), N3);
    state_wait_in_sync(rig, 3);
}

static void machines_stop_all(struct rig *rig)
{
    rig_stop(&rig->nodes[N3]);
    rig_stop(&rig->nodes[N2]);
    rig_stop(&rig->nodes[N1]);
}

/* A number of the line that the transport leaves behind. */
static uint64_t machines_counter(const struct rig_node *node, const char *counter)
{
    char *log = proc_read_file(node->proc.err, NULL);
    const char *at = strstr(log, "udp: stopped;");
    at = at == NULL ? NULL : strstr(at, counter);
    if (at == NULL) {
        fail_msg("%s has not told its \"%s\"", node->name, counter);
    }
    uint64_t value = strtoull(at + strlen(counter), NULL, 10);
    free(log);
    return value;
}

/* --- content --- */

struct sizes {
    uint32_t pairs;
    uint32_t value_len;
};

/* A file of pairs with values of just these lengths; the last entry has no pairs. */
static void machines_make_file(const char *path, const char *prefix, const struct sizes *sizes)
{
    struct rand rand = {7};
    uint32_t key = 0;
    FILE *file = fopen(path, "w");
    assert_non_null(file);
    for (; sizes->pairs > 0; sizes++) {
        for (uint32_t i = 0; i < sizes->pairs; i++) {
            fprintf(file, "%s%u\t", prefix, key++);
            for (uint32_t at = 0; at < sizes->value_len; at++) {
                fputc('a' + (int)rand_below(&rand, 26), file);
            }
            fputc('\n', file);
        }
    }
    assert_int_equal(fclose(file), 0);
}

static void machines_check_content(struct rig *rig, const char *path)
{
    struct content expected;
    content_read(path, &expected);
    for (uint32_t i = 0; i < rig->nodes_len; i++) {
        struct content content;
        content_export(rig, rig->nodes[i].name, &content);
        content_expect_equal(&expected, &content, rig->nodes[i].name);
        content_close(&content);
    }
    content_close(&expected);
}

static void test_import(void **state)
{
    struct rig *rig = *state;
    char path[PROC_PATH_MAX];
    static const struct sizes sizes[] = {{3000, 100}, {10, 200000}, {4, MIB}, {0, 0}};
    machines_start_all(rig, LARGE_SETTINGS);
    proc_join(rig->folder, "input.tsv", path);
    machines_make_file(path, "key-", sizes);
    KVCTL_EXPECT(rig, 0, "--timeout", LARGE_TIMEOUT, "import", path);
    state_wait_agree(rig, 3);
    machines_check_content(rig, path);
    machines_stop_all(rig);
    rig_pass(rig);
}

/* --- the size of datagrams --- */

static void machines_wait_large(int tap, uint32_t least)
{
    uint32_t seen = 0;
    uint64_t end_ms = proc_now_ms() + PROC_DEADLINE_MS;
    while ((seen += netns_tap_count(tap)) < least) {
        if (proc_now_ms() > end_ms) {
            fail_msg("only %u of %u large datagrams to n2", seen, least);
        }
        proc_pause();
    }
}

/* The path to n2 becomes narrower while large values are on their way, and nobody tells n1. */
static void test_a_smaller_mtu(void **state)
{
    struct rig *rig = *state;
    char first[PROC_PATH_MAX];
    char second[PROC_PATH_MAX];
    static const struct sizes many[] = {{24, MIB}, {10, 200000}, {500, 100}, {0, 0}};
    static const struct sizes few[] = {{4, MIB}, {0, 0}};
    const char *argv[] = {CLUSTER_KVCTL, "-a",  rig->arbiter, "--timeout", LARGE_TIMEOUT,
                          "import",      first, "--window",   "6",         NULL};
    machines_start_all(rig, LARGE_SETTINGS);
    proc_join(rig->folder, "first.tsv", first);
    proc_join(rig->folder, "second.tsv", second);
    machines_make_file(first, "first-", many);
    machines_make_file(second, "second-", few);
    int large = netns_tap(&machines, N1, N2, 1280 + ETHERNET_LEN);
    int full = netns_tap(&machines, N1, N2, 1500 + ETHERNET_LEN - 1);
    proc_start(&rig->other, rig->folder, "import", NULL, argv);
    machines_wait_large(full, 2 * MIB / 1500); /* it had found that 1500 pass */
    netns_ip(&machines, N2, "link set eth0 mtu 1280\n");
    netns_ip(&machines, NETNS_HUB, "link set v2 mtu 1280\n");
    assert_true(proc_is_running(&rig->other));
    assert_int_equal(proc_wait(&rig->other, PROC_DEADLINE_MS), 0);
    state_wait_agree(rig, 3);
    netns_tap_count(large);
    KVCTL_EXPECT(rig, 0, "--timeout", LARGE_TIMEOUT, "import", second);
    state_wait_agree(rig, 3);
    uint32_t count = netns_tap_count(large);
    if (count > 32) { /* 4 MiB are more than 3,000; some are probes of larger sizes */
        fail_msg("%u datagrams that cannot pass any more were sent to n2", count);
    }
    close(large);
    close(full);
    assert_int_equal(state_number(rig, "n2", "keys"), 24 + 10 + 500 + 4);
    assert_int_equal(state_counter(rig, "n1", "members_suspected"), 0); /* it was fast enough */
    machines_stop_all(rig);
    rig_pass(rig);
}

/* --- partitions --- */

/* How n2 is cut off, over IPv4. A host's neighbour with an address that nobody has: what is sent to
 * it is lost without a word. */
enum cut { CUT_LINK, CUT_FROM, CUT_TO, CUT_ROUTE };

static void machines_lose(uint32_t host, uint32_t to, bool is_lost)
{
    if (is_lost) {
        netns_ip(&machines, host,
                 "neighbour replace 10.77.0.%u lladdr 02:00:00:00:00:77 dev eth0 nud permanent\n",
                 to + 1);
    } else {
        netns_ip(&machines, host, "neighbour del 10.77.0.%u dev eth0\n", to + 1);
    }
}

static void machines_set_cut(enum cut cut, bool is_cut)
{
    switch (cut) {
    case CUT_LINK:
        netns_ip(&machines, NETNS_HUB, "link set v2 %s\n", is_cut ? "down" : "up");
        break;
    case CUT_FROM:
        machines_lose(N2, N1, is_cut);
        machines_lose(N2, N3, is_cut);
        break;
    case CUT_TO:
        machines_lose(N1, N2, is_cut);
        machines_lose(N3, N2, is_cut);
        break;
    case CUT_ROUTE: /* here the sender is told at once */
        netns_ip(&machines, N2, "route %s blackhole 10.77.0.1\n", is_cut ? "add" : "del");
        break;
    }
}

/* Under load: n2 is taken out, writes go on without it, and it comes back. */
static void machines_cut(struct rig *rig, enum cut cut)
{
    uint64_t end_ms = proc_now_ms() + CUT_MS;
    machines_set_cut(cut, true);
    state_wait_gone(rig, "n2");
    load_wait_more(rig, 300);
    while (proc_now_ms() < end_ms) { /* the time cut off is what is tested */
        proc_pause();
    }
    load_wait_more(rig, 50);
    machines_set_cut(cut, false);
    state_wait_in_sync(rig, 3);
    load_wait_more(rig, 50);
}

/* No update failed: the operations' time-out leaves room for n2 to be taken out first. */
static void machines_check_none_failed(struct rig *rig)
{
    char *text = proc_read_file(rig->other.err, NULL);
    bool is_clean = strstr(text, " unconfirmed=0\n") != NULL;
    free(text);
    if (!is_clean) {
        fail_msg("updates failed");
    }
}

static void machines_check_cuts(struct rig *rig, const enum cut *cuts, uint32_t cuts_len)
{
    static const char *const readable[] = {"n1", "n3", NULL};
    machines_start_all(rig, NULL);
    load_start(rig, 12, 32, readable);
    load_wait_more(rig, 300);
    for (uint32_t i = 0; i < cuts_len; i++) {
        machines_cut(rig, cuts[i]);
    }
    load_stop(rig);
    state_wait_agree(rig, 3);
    load_check(rig, "n1");
    load_check(rig, "n2");
    load_check(rig, "n3");
    machines_check_none_failed(rig);
    rig_pass(rig);
}

static void test_every_partition(void **state)
{
    static const enum cut cuts[] = {CUT_LINK, CUT_FROM, CUT_TO, CUT_ROUTE};
    machines_check_cuts(*state, cuts, 4);
}

static void test_partitions(void **state)
{
    static const enum cut cuts[] = {CUT_LINK, CUT_FROM};
    machines_check_cuts(*state, cuts, 2);
}

/* --- forged datagrams --- */

#define FORGED_MAX    40u
#define FORGED_ROUNDS 20u
#define VICTIM_PORT   30000u
#define DAMAGED_PORT  29999u

/* All that n1 heard when the others joined, said once more by somebody else. As it was, under its
 * sender's address and under that of a victim, damaged under both, and cut. */
static void machines_forge(int forger, const struct forge_datagram *heard, uint32_t i,
                           uint32_t round)
{
    struct forge_datagram forged = *heard;
    forge_send(forger, &forged, N1, PORT);
    forged.from = forge_address(VICTIM);
    forged.from_port = (uint16_t)(VICTIM_PORT + i);
    forge_send(forger, &forged, N1, PORT);
    forged.from_port = DAMAGED_PORT;
    forged.bytes[(round * 7u) % forged.len] ^= (uint8_t)(1u << round % 8);
    forge_send(forger, &forged, N1, PORT);
    forged.from = heard->from;
    forged.from_port = heard->from_port;
    forge_send(forger, &forged, N1, PORT);
    forged = *heard;
    forged.len = (uint16_t)(forged.len * round / FORGED_ROUNDS);
    forge_send(forger, &forged, N1, PORT);
}

/* What came to a victim; its end. */
static uint64_t machines_count_answers(int victim, uint64_t max)
{
    uint64_t came = forge_count(victim);
    if (came > max) {
        fail_msg("%llu bytes answered %llu forged ones", (unsigned long long)came,
                 (unsigned long long)max);
    }
    close(victim);
    return came;
}

/* No link was lost, whatever was said in its name. */
static void machines_check_links(const struct rig *rig)
{
    for (uint32_t i = 0; i < rig->nodes_len; i++) {
        char *log = proc_read_file(rig->nodes[i].proc.err, NULL);
        bool is_lost = strstr(log, " is lost: ") != NULL;
        free(log);
        if (is_lost) {
            fail_msg("%s has lost a link", rig->nodes[i].name);
        }
    }
}

/* The victim gets at most what went out in its name, whatever it was, and the cluster goes on. */
static void test_forged_datagrams(void **state)
{
    struct rig *rig = *state;
    static struct forge_datagram heard[FORGED_MAX];
    static const char *const names[] = {"n1", "n2", "n3", NULL};
    int victims[FORGED_MAX];
    uint64_t answered = 0;
    netns_go(&machines, N3);
    machines_start(rig_add(rig, "n1", RIG_ARBITER | RIG_REPLICA, NULL), N1);
    int tap = forge_tap(&machines, N1, PORT);
    int forger = forge_open(&machines, FORGER);
    machines_start(rig_add(rig, "n2", RIG_REPLICA, NULL), N2);
    machines_start(rig_add(rig, "n3", RIG_REPLICA, NULL), N3);
    state_wait_in_sync(rig, 3);
    uint32_t heard_len = forge_take(tap, heard, FORGED_MAX);
    assert_true(heard_len >= FORGED_MAX / 4);
    for (uint32_t i = 0; i < heard_len; i++) {
        victims[i] = forge_victim(&machines, VICTIM, (uint16_t)(VICTIM_PORT + i));
    }
    int damaged = forge_victim(&machines, VICTIM, DAMAGED_PORT);
    load_start(rig, 13, 32, names);
    for (uint32_t round = 0; round < FORGED_ROUNDS; round++) {
        for (uint32_t i = 0; i < heard_len; i++) {
            machines_forge(forger, &heard[i], i, round);
        }
        load_wait_more(rig, 20);
    }
    load_wait_more(rig, 500);
    for (uint32_t i = 0; i < heard_len; i++) {
        answered += machines_count_answers(victims[i], FORGED_ROUNDS * heard[i].len);
    }
    assert_int_equal(machines_count_answers(damaged, 0), 0);
    assert_true(answered > 0); /* some were greetings, which are answered: we would see more */
    close(forger);
    close(tap);
    load_stop(rig);
    state_wait_agree(rig, 3);
    machines_check_none_failed(rig);
    machines_check_links(rig);
    machines_stop_all(rig);
    assert_true(machines_counter(&rig->nodes[N1], " corrupt=") > 0);
    assert_true(machines_counter(&rig->nodes[N1], " forged=") > 0);
    rig_pass(rig);
}

#define VARIANT(test, variant)                                                            \
    {                                                                                     \
        .name = #test " over " #variant, .test_func = test, .setup_func = machines_setup, \
        .teardown_func = machines_teardown, .initial_state = &variant,                    \
    }

int main(void)
{
    char reason[NETNS_TEXT_MAX];
    const struct CMUnitTest tests[] = {
        VARIANT(test_import, udp),        VARIANT(test_import, tcp),
        VARIANT(test_import, udp6),       VARIANT(test_import, tcp6),
        VARIANT(test_a_smaller_mtu, udp), VARIANT(test_every_partition, udp),
        VARIANT(test_partitions, tcp),    VARIANT(test_forged_datagrams, udp),
    };
    if (!netns_is_possible(reason)) {
        fprintf(stderr, "SKIPPED: %s\n", reason);
        return EXIT_SKIPPED;
    }
    return cmocka_run_group_tests(tests, NULL, NULL);
}
