#include "load.h"

#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#define LOAD_FILE "load.tsv"

void load_start(struct rig *rig, uint64_t seed, uint32_t depth, const char *const *nodes)
{
    char path[PROC_PATH_MAX];
    char seed_text[32];
    char depth_text[32];
    const char *argv[RIG_NODES_MAX + 8] = {CLUSTER_LOAD, rig->arbiter, path, seed_text, depth_text};
    proc_join(rig->folder, LOAD_FILE, path);
    snprintf(seed_text, sizeof(seed_text), "%llu", (unsigned long long)seed);
    snprintf(depth_text, sizeof(depth_text), "%u", depth);
    for (uint32_t i = 0; nodes != NULL && nodes[i] != NULL; i++) {
        assert_true(i < RIG_NODES_MAX);
        argv[5 + i] = nodes[i];
    }
    proc_start(&rig->other, rig->folder, "load", NULL, argv);
}

static uint64_t load_acked(const struct rig *rig)
{
    size_t len = 0;
    uint64_t acked = 0;
    char *text = proc_read_file(rig->other.out, &len);
    while (len > 0 && text[len - 1] != '\n') {
        len--; /* a line that is half written */
    }
    if (len > 0) {
        text[len - 1] = '\0';
        const char *line = strrchr(text, '\n');
        acked = strtoull((line == NULL ? text : line + 1) + strlen("acked "), NULL, 10);
    }
    free(text);
    return acked;
}

void load_wait_more(struct rig *rig, uint64_t more)
{
    uint64_t wanted = load_acked(rig) + more;
    uint64_t end_ms = proc_now_ms() + PROC_DEADLINE_MS;
    while (load_acked(rig) < wanted) {
        assert_true(proc_is_running(&rig->other));
        if (proc_now_ms() > end_ms) {
            fail_msg("the load has %llu acknowledgements, not %llu, after %u ms",
                     (unsigned long long)load_acked(rig), (unsigned long long)wanted,
                     PROC_DEADLINE_MS);
        }
        proc_pause();
    }
}

void load_stop(struct rig *rig)
{
    proc_signal(&rig->other, SIGTERM);
    int status = proc_wait(&rig->other, PROC_DEADLINE_MS);
    if (status != 0) {
        fail_msg("the load ended with %d (9: a read was wrong)", status);
    }
}

/* One line of the load's account against what the node has; counts what is there. */
static void load_check_key(const struct content *content, const char *node, char *line,
                           uint32_t *ret_present)
{
    char *confirmed = strchr(line, '\t') + 1;
    char *unconfirmed = strchr(confirmed, '\t') + 1;
    confirmed[-1] = '\0';
    unconfirmed[-1] = '\0';
    const char *value = content_value(content, line);
    const char *shown = value == NULL ? "-" : value;
    *ret_present += value == NULL ? 0 : 1;
    if (strcmp(shown, confirmed) != 0 && strcmp(shown, unconfirmed) != 0) {
        fail_msg("%s at %s: \"%.60s\"; acknowledged was \"%.60s\", unconfirmed \"%.60s\"", line,
                 node, shown, confirmed, unconfirmed);
    }
}

void load_check(struct rig *rig, const char *node)
{
    char path[PROC_PATH_MAX];
    struct content account;
    struct content content;
    uint32_t present = 0;
    uint32_t exported = 0;
    proc_join(rig->folder, LOAD_FILE, path);
    content_read(path, &account);
    assert_true(account.len > 0);
    assert_true(load_acked(rig) > 0);
    content_export(rig, node, &content);
    for (uint32_t i = 0; i < account.len; i++) {
        load_check_key(&content, node, account.lines[i], &present);
    }
    for (uint32_t i = 0; i < content.len; i++) {
        exported += strncmp(content.lines[i], "load-", 5) == 0 ? 1 : 0;
    }
    if (present != exported) {
        fail_msg("%s has %u keys of the load, %u of them are known", node, exported, present);
    }
    content_close(&account);
    content_close(&content);
}
