#include "rig.h"

#include <arpa/inet.h>
#include <netinet/in.h>
#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cmocka.h>

#define RIG_PORT_LEAST 20000u
#define RIG_PORT_COUNT 12000u /* below the range from which the kernel takes ports by itself */

int rig_setup(void **state)
{
    const char *temporary = getenv("TMPDIR");
    struct rig *rig = calloc(1, sizeof(*rig));
    assert_non_null(rig);
    *state = rig;
    snprintf(rig->folder, sizeof(rig->folder), "%s/kv-cluster-XXXXXX",
             temporary == NULL ? "/tmp" : temporary);
    return mkdtemp(rig->folder) == NULL ? -1 : 0;
}

static void rig_print_logs(struct rig *rig)
{
    for (uint32_t i = 0; i < rig->nodes_len; i++) {
        if (rig->nodes[i].starts > 0) {
            proc_print_tail(rig->nodes[i].proc.err);
        }
    }
    if (rig->other.err[0] != '\0') {
        proc_print_tail(rig->other.err);
    }
    if (rig->run.out != NULL) {
        fprintf(stderr, "--- last kvctl: exit %d\n%.3000s\n%.3000s\n", rig->run.exit_status,
                rig->run.out, rig->run.err);
    }
}

int rig_teardown(void **state)
{
    struct rig *rig = *state;
    for (uint32_t i = 0; i < rig->nodes_len; i++) {
        proc_kill(&rig->nodes[i].proc);
    }
    proc_kill(&rig->other);
    proc_kill(&rig->ctl);
    if (!rig->is_passed) {
        rig_print_logs(rig);
    }
    const char *keep = getenv("KV_CLUSTER_KEEP");
    if (keep == NULL || keep[0] == '\0') {
        proc_remove_folder(rig->folder);
    } else {
        fprintf(stderr, "kept: %s\n", rig->folder);
    }
    free(rig->run.out);
    free(rig->run.err);
    free(rig);
    return 0;
}

void rig_pass(struct rig *rig)
{
    rig->is_passed = true;
}

static const char *rig_environment(const char *name, const char *fallback)
{
    const char *text = getenv(name);
    return text == NULL || text[0] == '\0' ? fallback : text;
}

const char *rig_scheme(void)
{
    return rig_environment("KV_TEST_TRANSPORT", "tcp");
}

void rig_uri(const char *host, uint16_t port, char *ret_uri)
{
    int len = snprintf(ret_uri, RIG_URI_MAX, "%s://%s:%u", rig_scheme(), host, port);
    assert_true(len > 0 && (size_t)len < RIG_URI_MAX);
}

uint16_t rig_free_port(void)
{
    static uint32_t next;
    int type = strcmp(rig_scheme(), "tcp") == 0 ? SOCK_STREAM : SOCK_DGRAM;
    if (next == 0) {
        next = (uint32_t)getpid() * 7919u;
    }
    for (uint32_t i = 0; i < RIG_PORT_COUNT; i++) {
        uint16_t port = (uint16_t)(RIG_PORT_LEAST + next++ % RIG_PORT_COUNT);
        struct sockaddr_in address = {.sin_family = AF_INET, .sin_port = htons(port)};
        address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
        int fd = socket(AF_INET, type | SOCK_CLOEXEC, 0);
        assert_true(fd >= 0);
        int result = bind(fd, (struct sockaddr *)&address, sizeof(address));
        close(fd);
        if (result == 0) {
            return port;
        }
    }
    fail_msg("no free port");
    return 0;
}

struct rig_node *rig_add(struct rig *rig, const char *name, uint32_t roles, const char *settings)
{
    assert_true(rig->nodes_len < RIG_NODES_MAX);
    struct rig_node *node = &rig->nodes[rig->nodes_len++];
    node->rig = rig;
    node->roles = roles;
    node->settings = settings == NULL ? RIG_SETTINGS : settings;
    snprintf(node->name, sizeof(node->name), "%s", name);
    rig_uri("127.0.0.1", 0, node->listen);
    proc_join(rig->folder, name, node->data);
    if ((roles & RIG_ARBITER) != 0 && rig->arbiter[0] == '\0') {
        rig_uri("127.0.0.1", rig_free_port(), node->listen);
        memcpy(rig->arbiter, node->listen, sizeof(rig->arbiter));
    }
    return node;
}

/* The group of a node's transport. */
static void rig_write_transport(const struct rig_node *node, char *ret_text, size_t size)
{
    char plugin[PROC_PATH_MAX];
    snprintf(plugin, sizeof(plugin), "transport-%s", rig_scheme());
    int len = node->transport == NULL
                  ? snprintf(ret_text, size, "plugin = \"%s\"; listen = \"%s\";",
                             rig_environment("KV_TEST_TRANSPORT_PLUGIN", plugin), node->listen)
                  : snprintf(ret_text, size, "%s listen = \"%s\";", node->transport, node->listen);
    assert_true(len > 0 && (size_t)len < size);
}

static void rig_write_config(const struct rig_node *node, const char *path)
{
    char text[8192];
    char transport[2048];
    const char *roles = node->roles == RIG_ARBITER   ? "\"arbiter\""
                        : node->roles == RIG_REPLICA ? "\"replica\""
                                                     : "\"arbiter\", \"replica\"";
    rig_write_transport(node, transport, sizeof(transport));
    int len =
        snprintf(text, sizeof(text),
                 "node = { name = \"%s\"; roles = [%s]; arbiter = \"%s\"; data = \"%s\"; };\n"
                 "transports = ( { %s } );\n%s",
                 node->name, roles, node->rig->arbiter, node->data, transport, node->settings);
    assert_true(len > 0 && (size_t)len < sizeof(text));
    proc_write_file(path, text, (size_t)len);
}

void rig_launch(struct rig_node *node)
{
    char file[64];
    char path[PROC_PATH_MAX];
    snprintf(file, sizeof(file), "%s.cfg", node->name);
    proc_join(node->rig->folder, file, path);
    rig_write_config(node, path);
    snprintf(file, sizeof(file), "%s.%u", node->name, ++node->starts);
    const char *argv[] = {CLUSTER_KVNODE, "-c", path, NULL};
    node->is_frozen = false;
    proc_start(&node->proc, node->rig->folder, file, NULL, argv);
}

char *rig_wait_ready(struct rig_node *node)
{
    uint64_t end_ms = proc_now_ms() + PROC_DEADLINE_MS;
    for (;;) {
        bool is_running = proc_is_running(&node->proc);
        char *text = proc_read_file(node->proc.out, NULL);
        char *end = strchr(text, '\n');
        if (end != NULL) {
            *end = '\0';
            return text;
        }
        free(text);
        if (!is_running) {
            fail_msg("%s ended before it was ready (wait status %d)", node->name,
                     node->proc.wait_status);
        }
        if (proc_now_ms() > end_ms) {
            fail_msg("%s is not ready within %u ms", node->name, PROC_DEADLINE_MS);
        }
        proc_pause();
    }
}

void rig_start(struct rig_node *node)
{
    char begin[128];
    char listen[RIG_URI_MAX];
    rig_launch(node);
    char *line = rig_wait_ready(node);
    snprintf(begin, sizeof(begin), "ready name=%s role=", node->name);
    snprintf(listen, sizeof(listen), " listen=%s://127.0.0.1:", rig_scheme());
    bool is_right = strncmp(line, begin, strlen(begin)) == 0 && strstr(line, listen) != NULL;
    if (!is_right) {
        fail_msg("not the ready line of %s: %s", node->name, line);
    }
    free(line);
}

static void rig_check_stdout(const struct rig_node *node)
{
    char *text = proc_read_file(node->proc.out, NULL);
    uint32_t lines = 0;
    for (const char *c = text; *c != '\0'; c++) {
        lines += *c == '\n' ? 1 : 0;
    }
    if (lines != 1 || text[strlen(text) - 1] != '\n') {
        fail_msg("stdout of %s is not one line: %s", node->name, text);
    }
    free(text);
}

void rig_expect_end(struct rig_node *node, int exit_status, const char *text)
{
    int status = proc_wait(&node->proc, PROC_DEADLINE_MS);
    if (status != exit_status) {
        fail_msg("%s ended with %d, not %d", node->name, status, exit_status);
    }
    char *log = proc_read_file(node->proc.err, NULL);
    bool has_text = text == NULL || strstr(log, text) != NULL;
    free(log);
    if (!has_text) {
        fail_msg("the log of %s has no \"%s\"", node->name, text);
    }
}

void rig_stop(struct rig_node *node)
{
    proc_signal(&node->proc, SIGTERM);
    rig_expect_end(node, 0, NULL);
    rig_check_stdout(node);
}

void rig_kill(struct rig_node *node)
{
    /* One that has ended by itself would be a finding, not a kill. */
    assert_true(proc_is_running(&node->proc));
    proc_kill(&node->proc);
}

void rig_freeze(struct rig_node *node)
{
    node->is_frozen = true;
    proc_signal(&node->proc, SIGSTOP);
}

void rig_thaw(struct rig_node *node)
{
    node->is_frozen = false;
    proc_signal(&node->proc, SIGCONT);
}

void rig_wait_log(struct rig_node *node, const char *text)
{
    uint64_t end_ms = proc_now_ms() + PROC_DEADLINE_MS;
    for (;;) {
        char *log = proc_read_file(node->proc.err, NULL);
        bool has_text = strstr(log, text) != NULL;
        free(log);
        if (has_text) {
            return;
        }
        if (proc_now_ms() > end_ms) {
            fail_msg("the log of %s has no \"%s\" within %u ms", node->name, text,
                     PROC_DEADLINE_MS);
        }
        proc_pause();
    }
}

/* --- kvctl --- */

const struct rig_run *rig_kvctl(struct rig *rig, const char *const *words)
{
    const char *argv[RIG_ARGS_MAX] = {CLUSTER_KVCTL, "-a", rig->arbiter};
    uint32_t len = 3;
    for (uint32_t i = 0; words[i] != NULL; i++) {
        assert_true(len + 1 < RIG_ARGS_MAX);
        argv[len++] = words[i];
    }
    proc_start(&rig->ctl, rig->folder, "kvctl", NULL, argv);
    rig->run.exit_status = proc_wait(&rig->ctl, 2 * PROC_DEADLINE_MS);
    free(rig->run.out);
    free(rig->run.err);
    rig->run.out = proc_read_file(rig->ctl.out, &rig->run.out_len);
    rig->run.err = proc_read_file(rig->ctl.err, NULL);
    return &rig->run;
}

const struct rig_run *rig_kvctl_expect(struct rig *rig, int exit_status, const char *const *words)
{
    const struct rig_run *run = rig_kvctl(rig, words);
    if (run->exit_status != exit_status) {
        fail_msg("kvctl %s %s ended with %d, not %d: %.500s", words[0],
                 words[1] == NULL ? "" : words[1], run->exit_status, exit_status, run->err);
    }
    return run;
}
