#include "host/config_together.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define CONFIG_ISOLATE_MEMORY_MB_MIN           32u
#define CONFIG_RETRANSMITS_PER_REPLICA_TIMEOUT 3u

/* A secondary is silent, or the primary's lease has run out, only when several messages in a row
 * are lost. The default of return_wait_ms grows with replica_timeout_ms. */
static void config_check_times(struct config_file *file, struct config *config)
{
    const config_t *tree = &file->tree;
    uint32_t timeout_ms = config->replication.replica_timeout_ms;
    uint32_t retransmit_ms = config->replication.retransmit_ms;
    if (timeout_ms / CONFIG_RETRANSMITS_PER_REPLICA_TIMEOUT < retransmit_ms) {
        const config_setting_t *at = config_lookup(tree, "replication.replica_timeout_ms");
        config_file_mistake(
            file, at != NULL ? at : config_lookup(tree, "replication"),
            "replication.replica_timeout_ms (%" PRIu32 ") must be at least %u times "
            "replication.retransmit_ms (%" PRIu32 "): the primary's lease is half of "
            "it and is renewed every retransmit_ms, and one lost message must not "
            "cost a replica its place",
            timeout_ms, CONFIG_RETRANSMITS_PER_REPLICA_TIMEOUT, retransmit_ms);
    }
    const config_setting_t *wait = config_lookup(tree, "replication.return_wait_ms");
    if (config->replication.return_wait_ms < timeout_ms && wait == NULL) {
        config->replication.return_wait_ms = timeout_ms;
    } else if (config->replication.return_wait_ms < timeout_ms) {
        config_file_mistake(file, wait,
                            "replication.return_wait_ms (%" PRIu32 ") must be at least "
                            "replication.replica_timeout_ms (%" PRIu32 "), the time after which a "
                            "silent node counts as down",
                            config->replication.return_wait_ms, timeout_ms);
    }
}

/* The defaults of log_bytes and queue_bytes follow the other limits. */
static void config_check_limits(struct config_file *file, struct config *config)
{
    const config_t *tree = &file->tree;
    uint64_t record_max = (uint64_t)config->limits.key_bytes + config->limits.value_bytes;
    uint64_t message_max = node_message_max(&config->limits);
    if (config->limits.inflight_bytes < record_max) {
        const config_setting_t *at = config_lookup(tree, "limits.inflight_bytes");
        config_file_mistake(file, at != NULL ? at : config_lookup(tree, "limits"),
                            "limits.inflight_bytes must be at least %" PRIu64
                            ", the longest key and value together, not %" PRIu64,
                            record_max, config->limits.inflight_bytes);
    }
    const config_setting_t *log = config_lookup(tree, "limits.log_bytes");
    uint64_t log_max = config->limits.inflight_bytes / 2;
    if (config->limits.log_bytes > log_max && log == NULL) {
        config->limits.log_bytes = log_max;
    } else if (config->limits.log_bytes > log_max) {
        config_file_mistake(file, log,
                            "limits.log_bytes must be at most %" PRIu64
                            ", half of limits.inflight_bytes, which is all that the log may hold, "
                            "not %" PRIu64,
                            log_max, config->limits.log_bytes);
    }
    const config_setting_t *queue = config_lookup(tree, "limits.queue_bytes");
    if (config->limits_queue_bytes < message_max && queue == NULL) {
        config->limits_queue_bytes = message_max;
    } else if (config->limits_queue_bytes < message_max) {
        config_file_mistake(file, queue,
                            "limits.queue_bytes must be at least %" PRIu64
                            ", the longest message with these limits, not %" PRIu64,
                            message_max, config->limits_queue_bytes);
    }
}

/* --- the arbiter's address --- */

/* "SCHEME://HOST:PORT" cut into pieces. */
struct config_uri {
    size_t scheme_len;
    const char *host;
    size_t host_len;
    long port; /* -1: none, or no number */
};

static struct config_uri config_cut_uri(const char *uri)
{
    struct config_uri cut = {.port = -1};
    const char *separator = strstr(uri, "://");
    cut.scheme_len = separator == NULL ? 0 : (size_t)(separator - uri);
    cut.host = separator == NULL ? uri : separator + 3;
    cut.host_len = strlen(cut.host);
    const char *colon = strrchr(cut.host, ':');
    if (colon != NULL && colon[1] >= '0' && colon[1] <= '9') {
        char *end = NULL;
        long port = strtol(colon + 1, &end, 10);
        if (*end == '\0') {
            cut.port = port;
            cut.host_len = (size_t)(colon - cut.host);
        }
    }
    return cut;
}

/* True for an address in digits that stands for itself only: no name, which may mean any address,
 * and none that stands for all of a machine. */
static bool config_is_one_host(const struct config_uri *uri)
{
    static const char *const all[] = {"0.0.0.0", "[::]", "0"};
    for (size_t i = 0; i < sizeof(all) / sizeof(all[0]); i++) {
        if (strlen(all[i]) == uri->host_len && memcmp(all[i], uri->host, uri->host_len) == 0) {
            return false;
        }
    }
    return strspn(uri->host, "0123456789.") >= uri->host_len || uri->host[0] == '[';
}

/* False only when a node that listens at `listen` surely cannot be reached at `arbiter`. */
static bool config_may_be_reached(const char *listen, const char *arbiter)
{
    struct config_uri at = config_cut_uri(listen);
    struct config_uri wanted = config_cut_uri(arbiter);
    if (strcmp(listen, arbiter) == 0) {
        return true;
    }
    if (at.scheme_len != wanted.scheme_len || memcmp(listen, arbiter, at.scheme_len) != 0) {
        return false;
    }
    if (at.port < 0 || wanted.port < 0 || at.port == 0) {
        return true; /* not a form that is understood here, or a port that is not known yet */
    }
    bool is_same_host =
        at.host_len == wanted.host_len && memcmp(at.host, wanted.host, at.host_len) == 0;
    return at.port == wanted.port &&
           (is_same_host || !config_is_one_host(&at) || !config_is_one_host(&wanted));
}

bool config_listens_at(const struct config *config, const char *uri)
{
    bool is_found = false;
    for (uint32_t i = 0; i < config->transports_len; i++) {
        for (uint32_t k = 0; k < config->transports[i].uris_len; k++) {
            is_found = is_found || strcmp(config->transports[i].uris[k], uri) == 0;
        }
    }
    return is_found;
}

/* All nodes look for the arbiter at node.arbiter: it must be there itself. */
static void config_check_arbiter(struct config_file *file, const struct config *config)
{
    char list[URIS_MAX * (URI_MAX + 4)] = "";
    size_t len = 0;
    for (uint32_t i = 0; i < config->transports_len; i++) {
        const struct config_transport *transport = &config->transports[i];
        for (uint32_t k = 0; k < transport->uris_len; k++) {
            if (config_may_be_reached(transport->uris[k], config->node.arbiter)) {
                return;
            }
            len += (size_t)snprintf(list + len, sizeof(list) - len, "%s\"%s\"",
                                    len == 0 ? "" : ", ", transport->uris[k]);
        }
    }
    config_file_mistake(file, config_lookup(&file->tree, "node.arbiter"),
                        "node.arbiter is \"%s\", and this node, which is the arbiter, does not "
                        "listen there but at %s; give node.arbiter one of these, or add it to "
                        "listen",
                        config->node.arbiter, list);
}

/* Port 0 is a free one to who listens there: an arbiter that does so tells which it got, to all
 * others it is no address. */
static bool config_check_arbiter_port(struct config_file *file, const struct config *config)
{
    const char *arbiter = config->node.arbiter;
    if (config_cut_uri(arbiter).port != 0 ||
        (config->node.is_arbiter && config_listens_at(config, arbiter))) {
        return true;
    }
    config_file_mistake(file, config_lookup(&file->tree, "node.arbiter"),
                        "node.arbiter is \"%s\", and nobody can be found at port 0; give the port "
                        "that the arbiter listens at",
                        arbiter);
    return false;
}

/* --- isolate --- */

static void config_check_isolate(struct config_file *file, const struct config *config)
{
    static const char *const names[] = {"isolate_memory_mb", "isolate_timeout_ms"};
    for (size_t i = 0; !config->isolate.is_wanted && i < 2; i++) {
        char path[64];
        snprintf(path, sizeof(path), "persistence.%s", names[i]);
        const config_setting_t *at = config_lookup(&file->tree, path);
        uint64_t value = i == 0 ? config->isolate.memory_mb : config->isolate.timeout_ms;
        uint32_t n = 0;
        while (strcmp(config_number_at(n)->name, names[i]) != 0) {
            n++;
        }
        if (at != NULL && value != config_number_at(n)->fallback) {
            config_file_mistake(file, at,
                                "%s means nothing while the plugin runs in the node's own process; "
                                "give persistence.isolate = true too, or remove it",
                                path);
        }
    }
    if (config->isolate.is_wanted && config->isolate.memory_mb != 0 &&
        config->isolate.memory_mb < CONFIG_ISOLATE_MEMORY_MB_MIN) {
        config_file_mistake(
            file, config_lookup(&file->tree, "persistence.isolate_memory_mb"),
            "persistence.isolate_memory_mb must be at least %u, what a process "
            "takes before the plugin does anything, or 0 for no limit, not %" PRIu32,
            CONFIG_ISOLATE_MEMORY_MB_MIN, config->isolate.memory_mb);
    }
}

void config_check_together(struct config_file *file, struct config *config)
{
    config_check_times(file, config);
    config_check_limits(file, config);
    config_check_isolate(file, config);
    if (config_check_arbiter_port(file, config) && config->node.is_arbiter) {
        config_check_arbiter(file, config);
    }
}
