/*
 * takeover: makes a node the primary by force, while the primary is gone and nobody can follow it
 * safely. Without --force it only tells what that would mean.
 */
#include "cluster.h"
#include "json_bytes.h"
#include "kvctl.h"
#include "output.h"

#include <inttypes.h>
#include <string.h>

#define TAKEOVER_NODE_MS 500u

static const char takeover_warning[] =
    "updates that were acknowledged and that it lacks are lost; what it lacks, nobody knows";

/* Ends with an error sentence; prints the JSON object, which it frees, first. */
static int takeover_finish(struct kvctl *ctl, const struct outcome *outcome, json_t *object)
{
    const char *node = ctl->options.args[0];
    if (ctl->options.json) {
        json_bytes_set(object, "node", node, strlen(node));
        json_object_set_new(object, "result", json_string(outcome_word(outcome->status)));
        json_bytes_set(object, "reason", outcome->reason, strlen(outcome->reason));
        output_json(object);
    } else {
        json_decref(object);
    }
    if (outcome->status == KV_OK) {
        return EXIT_DONE;
    }
    char what[160];
    snprintf(what, sizeof(what), "takeover by node '%.80s'", node);
    return outcome_report(outcome, what);
}

/* ---- what it would mean ---- */

static void takeover_print_node(const struct cluster_node *node, bool is_in_view)
{
    if (!is_in_view) {
        printf("  it is not in the view: it has to be up and asking the arbiter to be let in\n");
    } else if (!node->is_up) {
        printf("  %s %s: down: %s\n", node->role, node->name, node->reason);
    } else {
        const char *waits = cluster_is_waiting(node) ? ", waits to be let in" : "";
        printf("  %s %s: up%s, position %" PRIu64 "/%" PRIu64
               " (view/index), durable index %" PRIu64 ", committed index %" PRIu64 "\n",
               node->role, node->name, waits, node->position.view, node->position.index,
               node->durable_index, node->committed_index);
    }
}

static void takeover_print_plan(const struct cluster *cluster, const char *name, bool lacks_arbiter)
{
    printf("The last in-sync set, of view %" PRIu64 ":\n", cluster->view);
    for (uint32_t i = 0; i < cluster->nodes_len; i++) {
        if (cluster_is_in_sync(&cluster->nodes[i])) {
            takeover_print_node(&cluster->nodes[i], true);
        }
    }
    printf("The node that would become the primary, %s:\n", name);
    const struct cluster_node *node = cluster_find(cluster, name);
    takeover_print_node(node, node != NULL);
    if (cluster_has_primary(cluster)) {
        bool can_follow =
            !lacks_arbiter && node != NULL && node->is_up && strcmp(node->role, "secondary") == 0;
        printf("The primary %s is up: nothing is forced while it is", cluster->primary);
        if (can_follow) {
            printf("; kvctl handover %s loses nothing", name);
        }
        printf(".\n");
        return;
    }
    if (lacks_arbiter) {
        printf("The arbiter does not answer: nothing can be forced until it is back.\n");
        return;
    }
    printf("By force it becomes the only member: %s.\n"
           "Safer: start a missing node of the set; the arbiter goes on by itself as soon as it "
           "may.\n",
           takeover_warning);
}

static json_t *takeover_plan_json(const struct cluster *cluster)
{
    json_t *object = json_object();
    json_t *nodes = json_array();
    json_t *missing = json_array();
    for (uint32_t i = 0; i < cluster->nodes_len; i++) {
        const struct cluster_node *node = &cluster->nodes[i];
        if (!cluster_is_in_sync(node)) {
            continue;
        }
        json_array_append_new(nodes, json_string(node->name));
        if (!node->is_up) {
            json_array_append_new(missing, json_string(node->name));
        }
    }
    json_object_set_new(object, "view", json_integer((json_int_t)cluster->view));
    json_object_set_new(object, "in_sync", nodes);
    json_object_set_new(object, "missing", missing);
    return object;
}

/* ---- doing it ---- */

static int takeover_force(struct kvctl *ctl)
{
    const char *node = ctl->options.args[0];
    struct outcome outcome = {0};
    session_finish(&ctl->session,
                   kv_client_takeover(ctl->session.client, node, 0, session_on_answer, &outcome),
                   &outcome);
    if (outcome.status == KV_E_NOT_FOUND) {
        outcome.status = KV_E_REJECTED; /* status 1 is about keys */
        snprintf(outcome.reason, sizeof(outcome.reason), "the arbiter knows no such node");
    }
    json_t *object = json_object();
    if (outcome.status != KV_OK) {
        return takeover_finish(ctl, &outcome, object);
    }
    struct outcome asked;
    struct cluster cluster;
    cluster_ask(&ctl->session, TAKEOVER_NODE_MS, &asked, &cluster);
    if (asked.status == KV_OK) {
        json_object_set_new(object, "view", json_integer((json_int_t)cluster.view));
        if (!ctl->options.json) {
            printf("%s is the primary, view %" PRIu64 ", forced\n", node, cluster.view);
        }
        cluster_close(&cluster);
    } else if (!ctl->options.json) {
        printf("%s is the primary, forced\n", node);
    }
    output_error("%s is the primary by force: %s", node, takeover_warning);
    return takeover_finish(ctl, &outcome, object);
}

int verb_takeover(struct kvctl *ctl)
{
    uint32_t node_ms = ctl->options.timeout_ms < TAKEOVER_NODE_MS
                           ? (uint32_t)ctl->options.timeout_ms
                           : TAKEOVER_NODE_MS;
    struct outcome outcome;
    struct cluster cluster;
    cluster_ask(&ctl->session, node_ms, &outcome, &cluster);
    if (outcome.status != KV_OK) {
        char what[320];
        snprintf(what, sizeof(what), "takeover, asking the arbiter %.250s", ctl->options.arbiter);
        return outcome_report(&outcome, what);
    }
    if (ctl->options.force) {
        cluster_close(&cluster);
        return takeover_force(ctl);
    }
    if (!ctl->options.json) {
        takeover_print_plan(&cluster, ctl->options.args[0],
                            cluster_lacks_arbiter(&ctl->session, &cluster, node_ms));
    }
    json_t *object = takeover_plan_json(&cluster);
    cluster_close(&cluster);
    struct outcome refused = {.status = KV_E_REJECTED};
    snprintf(refused.reason, sizeof(refused.reason), "only with --force");
    return takeover_finish(ctl, &refused, object);
}
