/*
 * digest: one node's, or all nodes' until they agree. Under load the nodes are asked at different
 * instants, so they are compared only when all name the same committed index.
 */
#include "cluster.h"
#include "json_bytes.h"
#include "kvctl.h"
#include "output.h"

#include <inttypes.h>
#include <string.h>

#define DIGEST_NODE_MS_MAX 500u
#define DIGEST_PAUSE_MS    20u

static void digest_print(const struct cluster_node *node, bool json)
{
    char digest[17];
    snprintf(digest, sizeof(digest), "%016" PRIx64, node->digest);
    if (json) {
        output_json(json_pack("{s:s, s:s, s:I}", "name", node->name, "digest", digest,
                              "committed_index", (json_int_t)node->committed_index));
    } else {
        printf("%s %s %" PRIu64 "\n", node->name, digest, node->committed_index);
    }
}

static int digest_report_arbiter(struct kvctl *ctl, const struct outcome *outcome)
{
    char what[320];
    snprintf(what, sizeof(what), "asking the arbiter %.250s", ctl->options.arbiter);
    return outcome_report(outcome, what);
}

struct agreement {
    uint32_t up_len;
    uint32_t down_len;
    bool same_index;
    bool same_digest;
};

static struct agreement digest_compare(const struct cluster *cluster)
{
    struct agreement agreement = {.same_index = true, .same_digest = true};
    const struct cluster_node *first = NULL;
    for (uint32_t i = 0; i < cluster->nodes_len; i++) {
        const struct cluster_node *node = &cluster->nodes[i];
        if (!node->is_up) {
            agreement.down_len++;
            continue;
        }
        agreement.up_len++;
        first = first == NULL ? node : first;
        agreement.same_index &= node->committed_index == first->committed_index;
        agreement.same_digest &= node->digest == first->digest;
    }
    return agreement;
}

static bool digest_agrees(const struct agreement *agreement)
{
    return agreement->up_len > 0 && agreement->same_index && agreement->same_digest;
}

static int digest_conclude(const struct cluster *cluster, bool json, uint64_t timeout_ms)
{
    for (uint32_t i = 0; i < cluster->nodes_len; i++) {
        const struct cluster_node *node = &cluster->nodes[i];
        if (node->is_up) {
            digest_print(node, json);
        } else {
            output_error("node '%s' is down and was not compared: %s", node->name, node->reason);
        }
    }
    struct agreement agreement = digest_compare(cluster);
    if (digest_agrees(&agreement)) {
        return EXIT_DONE;
    }
    if (agreement.up_len == 0) {
        output_error("no node of the view is up");
        return EXIT_UNREACHABLE;
    }
    output_error(agreement.same_index
                     ? "the digests differ at the same committed index (after %" PRIu64 " ms)"
                     : "the nodes did not reach the same committed index within %" PRIu64 " ms",
                 timeout_ms);
    return EXIT_FAILED;
}

static int digest_all(struct kvctl *ctl, uint32_t node_ms)
{
    uint64_t end_ms = uv_hrtime() / 1000000 + ctl->options.timeout_ms;
    for (;;) {
        struct outcome outcome;
        struct cluster cluster;
        cluster_ask(&ctl->session, node_ms, &outcome, &cluster);
        if (outcome.status != KV_OK) {
            return digest_report_arbiter(ctl, &outcome);
        }
        struct agreement agreement = digest_compare(&cluster);
        bool is_good = digest_agrees(&agreement) && agreement.down_len == 0;
        if (is_good || uv_hrtime() / 1000000 >= end_ms) {
            int status = digest_conclude(&cluster, ctl->options.json, ctl->options.timeout_ms);
            cluster_close(&cluster);
            return status;
        }
        cluster_close(&cluster);
        session_pause(&ctl->session, DIGEST_PAUSE_MS);
    }
}

struct digest_answer {
    struct outcome outcome;
    struct cluster_node node;
};

static void digest_on_status(void *ctx, const struct kv_answer *answer)
{
    struct digest_answer *digest = ctx;
    outcome_take(&digest->outcome, answer);
    digest->node.digest = answer->digest;
    digest->node.committed_index = answer->committed_index;
}

static int digest_one(struct kvctl *ctl)
{
    struct digest_answer digest = {0};
    const char *name = ctl->options.node;
    session_finish(&ctl->session,
                   kv_client_status(ctl->session.client, name, 0, digest_on_status, &digest),
                   &digest.outcome);
    if (digest.outcome.status == KV_E_NOT_FOUND) {
        output_error("no node '%s' in the view", name);
        return EXIT_REJECTED;
    }
    if (digest.outcome.status != KV_OK) {
        char what[128];
        snprintf(what, sizeof(what), "digest of node '%.80s'", name);
        return outcome_report(&digest.outcome, what);
    }
    digest.node.name = (char *)(uintptr_t)name;
    digest_print(&digest.node, ctl->options.json);
    return EXIT_DONE;
}

int verb_digest(struct kvctl *ctl)
{
    if (ctl->options.node != NULL) {
        return digest_one(ctl);
    }
    uint32_t node_ms = ctl->options.timeout_ms < DIGEST_NODE_MS_MAX
                           ? (uint32_t)ctl->options.timeout_ms
                           : DIGEST_NODE_MS_MAX;
    return digest_all(ctl, node_ms);
}
