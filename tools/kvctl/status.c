/*
 * status: the view and each node's account of itself, for people as a table, for scripts as JSON.
 */
#include "cluster.h"
#include "json_bytes.h"
#include "kvctl.h"
#include "output.h"

#include <inttypes.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#define STATUS_NODE_MS_MAX 500u

/* How far a node's commits are behind the primary's. False: one of the two is unknown. */
static bool status_lag(const struct cluster *cluster, const struct cluster_node *node,
                       uint64_t *ret_lag)
{
    const struct cluster_node *primary = cluster_find(cluster, cluster->primary);
    if (!cluster_has_primary(cluster) || !node->is_up || cluster_is_waiting(node)) {
        return false;
    }
    /* The two were not asked at the same instant: the secondary may seem ahead. */
    *ret_lag = node->committed_index < primary->committed_index
                   ? primary->committed_index - node->committed_index
                   : 0;
    return true;
}

static void json_set_text(json_t *object, const char *name, const char *text)
{
    json_bytes_set(object, name, text, strlen(text));
}

/* JSON has no unsigned 64-bit numbers here: jansson's go up to 2^63 - 1. */
static void json_set_number(json_t *object, const char *name, uint64_t number)
{
    json_object_set_new(object, name,
                        json_integer(number > INT64_MAX ? INT64_MAX : (json_int_t)number));
}

static void json_set_null(json_t *object, const char *name)
{
    json_object_set_new(object, name, json_null());
}

static void json_set_hex(json_t *object, const char *name, uint64_t number)
{
    char text[17];
    snprintf(text, sizeof(text), "%016" PRIx64, number);
    json_set_text(object, name, text);
}

static void status_set_down(json_t *object, const struct cluster_node *node)
{
    static const char *const members[] = {"position", "durable_index", "committed_index",
                                          "lag",      "keys",          "digest"};
    for (size_t i = 0; i < sizeof(members) / sizeof(members[0]); i++) {
        json_set_null(object, members[i]);
    }
    json_t *persistence = json_object();
    json_set_null(persistence, "plugin");
    json_set_null(persistence, "state");
    json_set_null(persistence, "error");
    json_object_set_new(object, "persistence", persistence);
    json_set_text(object, "reason", node->reason);
}

static void status_set_up(json_t *object, const struct cluster *cluster,
                          const struct cluster_node *node)
{
    json_t *position = json_object();
    json_set_number(position, "view", node->position.view);
    json_set_number(position, "index", node->position.index);
    json_object_set_new(object, "position", position);
    json_set_number(object, "durable_index", node->durable_index);
    json_set_number(object, "committed_index", node->committed_index);
    uint64_t lag = 0;
    if (status_lag(cluster, node, &lag)) {
        json_set_number(object, "lag", lag);
    } else {
        json_set_null(object, "lag");
    }
    json_set_number(object, "keys", node->keys);
    json_set_hex(object, "digest", node->digest);
    json_t *persistence = json_object();
    json_set_text(persistence, "plugin", node->persist_plugin);
    json_set_text(persistence, "state", node->persist_state);
    json_set_text(persistence, "error", node->persist_error);
    json_object_set_new(object, "persistence", persistence);
    json_set_text(object, "reason", node->reason);
    json_t *counters = json_object();
    for (uint32_t i = 0; i < node->counters_len; i++) {
        json_set_number(counters, node->counter_names[i], node->counter_values[i]);
    }
    json_object_set_new(object, "counters", counters);
}

/* While the primary is not there: the missing nodes of the in-sync set, of which some have to
 * come back if none of the set is up. */
static json_t *status_waiting_json(const struct cluster *cluster)
{
    json_t *names = json_array();
    for (uint32_t i = 0; i < cluster->nodes_len && !cluster_has_primary(cluster); i++) {
        if (!cluster->nodes[i].is_up && cluster_is_in_sync(&cluster->nodes[i])) {
            json_array_append_new(names, json_string(cluster->nodes[i].name));
        }
    }
    return names;
}

static void status_print_json(const struct cluster *cluster, const char *arbiter)
{
    json_t *object = json_object();
    json_set_hex(object, "cluster", cluster->id);
    json_set_number(object, "view", cluster->view);
    if (cluster->primary[0] == '\0') {
        json_set_null(object, "primary");
    } else {
        json_set_text(object, "primary", cluster->primary);
    }
    json_set_text(object, "arbiter", arbiter);
    json_t *nodes = json_array();
    for (uint32_t i = 0; i < cluster->nodes_len; i++) {
        const struct cluster_node *node = &cluster->nodes[i];
        json_t *entry = json_object();
        json_set_text(entry, "name", node->name);
        json_set_text(entry, "role", node->role);
        json_set_text(entry, "state", node->is_up ? "up" : "down");
        json_t *listen = json_array();
        for (uint32_t j = 0; j < node->uris_len; j++) {
            json_array_append_new(listen, json_string(node->uris[j]));
        }
        json_object_set_new(entry, "listen", listen);
        if (node->is_up) {
            status_set_up(entry, cluster, node);
        } else {
            status_set_down(entry, node);
        }
        json_array_append_new(nodes, entry);
    }
    json_object_set_new(object, "nodes", nodes);
    if (cluster->forced == 0) {
        json_set_null(object, "forced");
    } else {
        json_set_number(object, "forced", cluster->forced);
    }
    if (cluster->told_by[0] == '\0') {
        json_set_null(object, "told_by");
    } else {
        json_set_text(object, "told_by", cluster->told_by);
    }
    json_object_set_new(object, "waiting_for", status_waiting_json(cluster));
    output_json(object);
}

/* The table: its cells as text, then each column as wide as its widest cell. */

enum column {
    COLUMN_NODE,
    COLUMN_ROLE,
    COLUMN_STATE,
    COLUMN_POSITION,
    COLUMN_DURABLE,
    COLUMN_COMMITTED,
    COLUMN_LAG,
    COLUMN_KEYS,
    COLUMN_DIGEST,
    COLUMN_PERSISTENCE,
    COLUMN_LISTEN,
    COLUMNS_LEN
};

#define CELL_MAX 320u

struct row {
    char cells[COLUMNS_LEN][CELL_MAX];
};

static const char *const column_titles[COLUMNS_LEN] = {
    "NODE",
    "ROLE",
    "STATE",
    "POSITION (view/index)",
    "DURABLE (index)",
    "COMMITTED (index)",
    "LAG (updates)",
    "KEYS",
    "DIGEST",
    "PERSISTENCE",
    "LISTEN",
};

static const bool column_is_number[COLUMNS_LEN] = {
    [COLUMN_DURABLE] = true,
    [COLUMN_COMMITTED] = true,
    [COLUMN_LAG] = true,
    [COLUMN_KEYS] = true,
};

static void row_fill(struct row *row, const struct cluster *cluster,
                     const struct cluster_node *node)
{
    for (uint32_t i = 0; i < COLUMNS_LEN; i++) {
        snprintf(row->cells[i], CELL_MAX, "-");
    }
    snprintf(row->cells[COLUMN_NODE], CELL_MAX, "%s", node->name);
    snprintf(row->cells[COLUMN_ROLE], CELL_MAX, "%s", node->role);
    snprintf(row->cells[COLUMN_STATE], CELL_MAX, "%s",
             cluster_is_waiting(node) ? "waits"
             : node->is_up            ? "up"
                                      : "down");
    if (node->uris_len > 0) {
        snprintf(row->cells[COLUMN_LISTEN], CELL_MAX, "%s%s", node->uris[0],
                 node->uris_len > 1 ? ", ..." : "");
    }
    if (!node->is_up) {
        return;
    }
    snprintf(row->cells[COLUMN_POSITION], CELL_MAX, "%" PRIu64 "/%" PRIu64, node->position.view,
             node->position.index);
    snprintf(row->cells[COLUMN_DURABLE], CELL_MAX, "%" PRIu64, node->durable_index);
    snprintf(row->cells[COLUMN_COMMITTED], CELL_MAX, "%" PRIu64, node->committed_index);
    uint64_t lag = 0;
    if (status_lag(cluster, node, &lag)) {
        snprintf(row->cells[COLUMN_LAG], CELL_MAX, "%" PRIu64, lag);
    }
    snprintf(row->cells[COLUMN_KEYS], CELL_MAX, "%" PRIu64, node->keys);
    snprintf(row->cells[COLUMN_DIGEST], CELL_MAX, "%016" PRIx64, node->digest);
    snprintf(row->cells[COLUMN_PERSISTENCE], CELL_MAX, "%s %s", node->persist_plugin,
             node->persist_state);
}

static const char *cell_colour(const struct cluster_node *node, enum column column)
{
    if (column == COLUMN_STATE) {
        return cluster_is_waiting(node) ? "\033[33m" : node->is_up ? "\033[32m" : "\033[31m";
    }
    if (column == COLUMN_ROLE) {
        return strcmp(node->role, "primary") == 0     ? "\033[1m"
               : strcmp(node->role, "candidate") == 0 ? "\033[33m"
                                                      : "";
    }
    if (column == COLUMN_PERSISTENCE && node->is_up && node->persist_error[0] != '\0') {
        return "\033[33m";
    }
    return "";
}

/* node: NULL for the titles. */
static void row_print(const struct row *row, const int widths[COLUMNS_LEN],
                      const struct cluster_node *node, bool is_coloured)
{
    for (uint32_t i = 0; i < COLUMNS_LEN; i++) {
        const char *colour = is_coloured && node != NULL ? cell_colour(node, (enum column)i) : "";
        int width = i + 1 == COLUMNS_LEN ? 0 : widths[i];
        printf("%s%s%*s%s", i == 0 ? "" : "  ", colour, column_is_number[i] ? width : -width,
               row->cells[i], colour[0] == '\0' ? "" : "\033[0m");
    }
    printf("\n");
}

/* The primary is not there: who is missing, and how it goes on. */
static void status_print_missing(const struct cluster *cluster, bool lacks_arbiter)
{
    const struct cluster_node *primary = cluster_find(cluster, cluster->primary);
    bool is_waiting = primary != NULL && cluster_is_waiting(primary);
    bool has_follower = false;
    uint32_t missing = 0;
    printf("the primary %s %s", cluster->primary,
           is_waiting ? "waits to be let in" : "does not answer");
    for (uint32_t i = 0; i < cluster->nodes_len; i++) {
        const struct cluster_node *node = &cluster->nodes[i];
        if (!cluster_is_in_sync(node)) {
            continue;
        }
        has_follower = has_follower || (node->is_up && !cluster_is_waiting(node));
        if (!node->is_up) {
            printf("%s %s", missing == 0 ? "; missing of the in-sync set:" : "", node->name);
            missing++;
        }
    }
    const char *goes_on = "; the arbiter waits for them (see kvctl takeover --help)";
    if (lacks_arbiter) {
        goes_on = "";
    } else if (has_follower) {
        goes_on = "; another one of the set is about to follow it";
    } else if (missing == 0) {
        goes_on = "; all of the in-sync set are up: the arbiter chooses one of them";
    }
    printf("%s\n", goes_on);
}

/* What is to be said of the cluster as a whole. */
static void status_print_remarks(const struct cluster *cluster, bool lacks_arbiter)
{
    if (cluster->told_by[0] != '\0') {
        printf("this is what %s says, not the arbiter: there may be a later view\n",
               cluster->told_by);
    }
    if (lacks_arbiter) {
        printf("the arbiter does not answer: nobody is promoted or taken out until it is back\n");
    }
    if (cluster->forced != 0) {
        printf("view %" PRIu64 " was forced: updates acknowledged before it may be missing\n",
               cluster->forced);
    }
    if (cluster->primary[0] == '\0') {
        printf("the cluster has no primary yet\n");
    } else if (!cluster_has_primary(cluster)) {
        status_print_missing(cluster, lacks_arbiter);
    }
}

static void status_print_table(const struct cluster *cluster, const char *arbiter,
                               bool lacks_arbiter)
{
    bool is_coloured = isatty(STDOUT_FILENO) == 1 && getenv("NO_COLOR") == NULL;
    printf("cluster %016" PRIx64 "  view %" PRIu64 "  primary %s  arbiter %s\n\n", cluster->id,
           cluster->view, cluster->primary[0] == '\0' ? "none" : cluster->primary, arbiter);
    int widths[COLUMNS_LEN] = {0};
    struct row *rows = memory_allocate_zero(cluster->nodes_len + 1u, sizeof(*rows));
    for (uint32_t i = 0; i < COLUMNS_LEN; i++) {
        snprintf(rows[0].cells[i], CELL_MAX, "%s", column_titles[i]);
    }
    for (uint32_t i = 0; i < cluster->nodes_len; i++) {
        row_fill(&rows[i + 1], cluster, &cluster->nodes[i]);
    }
    for (uint32_t i = 0; i <= cluster->nodes_len; i++) {
        for (uint32_t j = 0; j < COLUMNS_LEN; j++) {
            int width = (int)strlen(rows[i].cells[j]);
            widths[j] = width > widths[j] ? width : widths[j];
        }
    }
    for (uint32_t i = 0; i <= cluster->nodes_len; i++) {
        row_print(&rows[i], widths, i == 0 ? NULL : &cluster->nodes[i - 1], is_coloured);
    }
    free(rows);
    status_print_remarks(cluster, lacks_arbiter);
    for (uint32_t i = 0; i < cluster->nodes_len; i++) {
        const struct cluster_node *node = &cluster->nodes[i];
        if (!node->is_up) {
            printf("%s is down: %s\n", node->name, node->reason);
        } else if (node->persist_error[0] != '\0') {
            printf("%s, persistence: %s\n", node->name, node->persist_error);
        }
    }
}

int verb_status(struct kvctl *ctl)
{
    uint32_t node_ms = ctl->options.timeout_ms < STATUS_NODE_MS_MAX
                           ? (uint32_t)ctl->options.timeout_ms
                           : STATUS_NODE_MS_MAX;
    struct outcome outcome;
    struct cluster cluster;
    cluster_ask(&ctl->session, node_ms, &outcome, &cluster);
    if (outcome.status != KV_OK) {
        char what[320];
        snprintf(what, sizeof(what), "asking the arbiter %.250s", ctl->options.arbiter);
        return outcome_report(&outcome, what);
    }
    const char *arbiter =
        cluster.arbiter_uris_len == 0 ? ctl->options.arbiter : cluster.arbiter_uris[0];
    if (ctl->options.json) {
        status_print_json(&cluster, arbiter);
    } else {
        status_print_table(&cluster, arbiter,
                           cluster_lacks_arbiter(&ctl->session, &cluster, node_ms));
    }
    cluster_close(&cluster);
    return EXIT_DONE;
}
