/*
 * A cluster of real processes for one test: kvnode with a configuration file each in a folder of
 * its own, kvctl with its output captured. A test ends with rig_pass(); a teardown without it
 * prints the ends of all logs. All processes and files are gone afterwards in either case.
 *
 * The environment chooses the transport of all nodes and of kvctl: KV_TEST_TRANSPORT, the scheme
 * (default tcp), and KV_TEST_TRANSPORT_PLUGIN, a node's plugin (default transport-SCHEME).
 */
#ifndef CLUSTER_RIG_H
#define CLUSTER_RIG_H

#include "proc.h"

#define RIG_NODES_MAX 8u
#define RIG_URI_MAX   64u
#define RIG_ARGS_MAX  24u

#define RIG_ARBITER   1u
#define RIG_REPLICA   2u

struct rig;

struct rig_node {
    struct rig *rig;
    char name[32];
    uint32_t roles; /* RIG_ARBITER | RIG_REPLICA */
    char listen[RIG_URI_MAX];
    char data[PROC_PATH_MAX];
    const char *settings; /* groups of the configuration beside node, transports */
    /* What stands in the group of its transport beside listen; NULL: the plugin as above. To be
     * set before the start; borrowed. */
    const char *transport;
    uint32_t starts;
    bool is_frozen;
    struct proc proc;
};

/* The last run of kvctl: valid until the next. */
struct rig_run {
    int exit_status;
    char *out;
    size_t out_len;
    char *err;
};

struct rig {
    char folder[PROC_PATH_MAX];
    char arbiter[RIG_URI_MAX]; /* its address: that of the first node with this role */
    struct rig_node nodes[RIG_NODES_MAX];
    uint32_t nodes_len;
    struct rig_run run;
    struct proc ctl;
    struct proc other; /* one more process: a load, or what a test runs */
    bool is_passed;
};

/* Patient enough for a busy machine and sanitizers; the other settings have their defaults. */
#define RIG_SETTINGS "replication = { operation_timeout_ms = 3000; };\n"

/* For cmocka_unit_test_setup_teardown(); *state is the rig. */
int rig_setup(void **state);
int rig_teardown(void **state);

/* The test came to its end. */
void rig_pass(struct rig *rig);

/* The scheme of all addresses: tcp, or what KV_TEST_TRANSPORT says. */
const char *rig_scheme(void);

/* A port of 127.0.0.1 that nobody listens on with that scheme, and that the kernel gives to nobody
 * by itself. */
uint16_t rig_free_port(void);

/* ret_uri (RIG_URI_MAX bytes) = SCHEME://HOST:PORT */
void rig_uri(const char *host, uint16_t port, char *ret_uri);

/* A node that is not started. An arbiter gets an address that it keeps when it is started again;
 * others take a free port at each start. settings: NULL: RIG_SETTINGS. */
struct rig_node *rig_add(struct rig *rig, const char *name, uint32_t roles, const char *settings);

/* Writes the configuration and starts the process. */
void rig_launch(struct rig_node *node);

/* Waits for the ready line: its text, to be freed. */
char *rig_wait_ready(struct rig_node *node);

/* Both, and checks what the line says. */
void rig_start(struct rig_node *node);

/* The process is to end by itself with this status; its log must hold text (NULL: anything). */
void rig_expect_end(struct rig_node *node, int exit_status, const char *text);

/* A clean stop with SIGTERM: exit status 0, and one line on stdout in all its life. */
void rig_stop(struct rig_node *node);

/* kill -9 */
void rig_kill(struct rig_node *node);

void rig_freeze(struct rig_node *node);
void rig_thaw(struct rig_node *node);

/* Waits until the node's log, of this start, has the text. */
void rig_wait_log(struct rig_node *node, const char *text);

/* Runs kvctl -a ARBITER with these words; the result is valid until the next run. */
const struct rig_run *rig_kvctl(struct rig *rig, const char *const *words);
#define KVCTL(rig, ...) rig_kvctl(rig, (const char *const[]){__VA_ARGS__, NULL})

/* The same, and fails the test when the exit status is another. */
const struct rig_run *rig_kvctl_expect(struct rig *rig, int exit_status, const char *const *words);
#define KVCTL_EXPECT(rig, exit_status, ...) \
    rig_kvctl_expect(rig, exit_status, (const char *const[]){__VA_ARGS__, NULL})

#endif
