#include "cluster.h"

#include <stdlib.h>
#include <string.h>

/* A copy of text of the client library; NULL counts as empty. */
static char *cluster_copy(const char *text)
{
    size_t size = text == NULL ? 1 : strlen(text) + 1;
    char *copy = memory_allocate(size);
    memcpy(copy, text == NULL ? "" : text, size);
    return copy;
}

static char **cluster_copy_all(const char *const *texts, uint32_t len)
{
    char **copies = memory_allocate_zero(len, sizeof(*copies));
    for (uint32_t i = 0; i < len; i++) {
        copies[i] = cluster_copy(texts[i]);
    }
    return copies;
}

static void cluster_free_all(char **texts, uint32_t len)
{
    for (uint32_t i = 0; i < len; i++) {
        free(texts[i]);
    }
    free(texts);
}

struct view_answer {
    struct outcome *outcome;
    struct cluster *cluster;
};

static void cluster_on_view(void *ctx, const struct kv_answer *answer)
{
    struct view_answer *view = ctx;
    struct cluster *cluster = view->cluster;
    outcome_take(view->outcome, answer);
    if (answer->status != KV_OK) {
        return;
    }
    cluster->id = answer->cluster;
    cluster->view = answer->view;
    cluster->forced = answer->forced;
    cluster->told_by = cluster_copy(answer->told_by);
    cluster->arbiter_uris = cluster_copy_all(answer->arbiter_uris, answer->arbiter_uris_len);
    cluster->arbiter_uris_len = answer->arbiter_uris_len;
    cluster->primary = cluster_copy(answer->primary);
    cluster->nodes_len = answer->nodes_len;
    cluster->nodes = memory_allocate_zero(answer->nodes_len, sizeof(*cluster->nodes));
    for (uint32_t i = 0; i < answer->nodes_len; i++) {
        const struct kv_client_node *from = &answer->nodes[i];
        struct cluster_node *node = &cluster->nodes[i];
        node->name = cluster_copy(from->name);
        node->role = cluster_copy(from->role);
        node->uris = cluster_copy_all(from->uris, from->uris_len);
        node->uris_len = from->uris_len;
    }
}

static void cluster_on_status(void *ctx, const struct kv_answer *answer)
{
    struct cluster_node *node = ctx;
    outcome_take(&node->outcome, answer);
    if (answer->status != KV_OK) {
        return;
    }
    node->is_up = true;
    node->says = cluster_copy(answer->role);
    node->position = answer->position;
    node->durable_index = answer->durable_index;
    node->committed_index = answer->committed_index;
    node->keys = answer->keys;
    node->digest = answer->digest;
    node->persist_plugin = cluster_copy(answer->persist_plugin);
    node->persist_state = cluster_copy(answer->persist_state);
    node->persist_error = cluster_copy(answer->persist_error);
    node->counter_names = cluster_copy_all(answer->counter_names, answer->counters_len);
    node->counter_values =
        memory_allocate_zero(answer->counters_len, sizeof(*node->counter_values));
    for (uint32_t i = 0; i < answer->counters_len; i++) {
        node->counter_values[i] = answer->counter_values[i];
    }
    node->counters_len = answer->counters_len;
}

void cluster_ask(struct session *session, uint32_t node_ms, struct outcome *ret_outcome,
                 struct cluster *ret_cluster)
{
    struct cluster cluster = {0};
    struct view_answer view = {ret_outcome, &cluster};
    memset(ret_outcome, 0, sizeof(*ret_outcome));
    session_finish(session,
                   kv_client_view(session->client, session->view_ms, cluster_on_view, &view),
                   ret_outcome);
    if (ret_outcome->status != KV_OK) {
        return;
    }
    for (uint32_t i = 0; i < cluster.nodes_len; i++) {
        struct cluster_node *node = &cluster.nodes[i];
        int32_t status =
            kv_client_status(session->client, node->name, node_ms, cluster_on_status, node);
        if (status != KV_OK) {
            outcome_refuse(&node->outcome, status);
        }
    }
    for (uint32_t i = 0; i < cluster.nodes_len; i++) {
        struct cluster_node *node = &cluster.nodes[i];
        session_wait(session, &node->outcome.is_done);
        const char *reason = node->outcome.reason[0] == '\0' ? outcome_word(node->outcome.status)
                                                             : node->outcome.reason;
        node->reason = cluster_copy(node->is_up ? "" : reason);
    }
    *ret_cluster = cluster;
}

void cluster_close(struct cluster *cluster)
{
    for (uint32_t i = 0; i < cluster->nodes_len; i++) {
        struct cluster_node *node = &cluster->nodes[i];
        free(node->name);
        free(node->role);
        free(node->says);
        cluster_free_all(node->uris, node->uris_len);
        free(node->reason);
        free(node->persist_plugin);
        free(node->persist_state);
        free(node->persist_error);
        cluster_free_all(node->counter_names, node->counters_len);
        free(node->counter_values);
    }
    free(cluster->nodes);
    free(cluster->primary);
    free(cluster->told_by);
    cluster_free_all(cluster->arbiter_uris, cluster->arbiter_uris_len);
    memset(cluster, 0, sizeof(*cluster));
}

bool cluster_is_in_sync(const struct cluster_node *node)
{
    return strcmp(node->role, "candidate") != 0;
}

bool cluster_lacks_arbiter(struct session *session, const struct cluster *cluster,
                           uint32_t within_ms)
{
    bool is_away = false;
    for (uint32_t i = 0; i < cluster->arbiter_uris_len && cluster->told_by[0] != '\0'; i++) {
        bool is_tried = false;
        if (session_answers_at(session, cluster->arbiter_uris[i], within_ms, &is_tried)) {
            return false;
        }
        is_away = is_away || is_tried;
    }
    return is_away;
}

bool cluster_is_waiting(const struct cluster_node *node)
{
    return node->is_up && strcmp(node->says, "joining") == 0;
}

bool cluster_has_primary(const struct cluster *cluster)
{
    const struct cluster_node *primary = cluster_find(cluster, cluster->primary);
    return primary != NULL && primary->is_up && !cluster_is_waiting(primary);
}

const struct cluster_node *cluster_find(const struct cluster *cluster, const char *name)
{
    for (uint32_t i = 0; i < cluster->nodes_len; i++) {
        if (strcmp(cluster->nodes[i].name, name) == 0) {
            return &cluster->nodes[i];
        }
    }
    return NULL;
}
