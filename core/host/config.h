/*
 * The configuration: read with libconfig from a file, changed by `--set PATH=VALUE`, checked in
 * full before anything is started. Every setting has a default except node.name and node.arbiter;
 * a replica's store is by default persist-file in DATA/store, an arbiter alone has none; an arbiter
 * that is not told where to listen does so at node.arbiter. Mistakes
 * are reported as `FILE:LINE: what, and what would be right`, an unknown setting with its nearest
 * known name. Main thread, before the loop.
 */
#ifndef HOST_CONFIG_H
#define HOST_CONFIG_H

#include "logic/limits.h"
#include "logic/node.h"

#include <kvnode/abi.h>

#define CONFIG_TRANSPORTS_MAX 8u
#define CONFIG_ERROR_MAX      4096u
#define CONFIG_MISTAKES_MAX   10u

/* A plugin with the settings that the user wrote for it, as text, and where each stands: FILE:LINE
 * (of an included file, too), or "--set PATH". */
struct config_plugin {
    char *plugin; /* name or path */
    struct kv_setting *settings;
    char **places; /* of each setting */
    uint32_t settings_len;
    char *place; /* of the group */
};

struct config_transport {
    struct config_plugin plugin; /* without `listen` */
    char *uris[URIS_MAX];        /* `listen`: one text or a list of texts */
    uint32_t uris_len;
    bool is_default; /* no `listen`: the address follows from the plugin's name */
};

struct config {
    char *file;
    char *plugin_folder; /* `plugins`; NULL: loader.h says where it looks */
    char *log_level;     /* "error" | "warn" | "info" | "debug" */
    struct {
        char *name;
        char *arbiter;
        char *arbiter_place; /* where that stands: "FILE:LINE" or "--set node.arbiter" */
        char *data; /* folder of the node's identity and the arbiter's state; "data/NAME" */
        bool is_arbiter;
        bool is_replica;
    } node;
    struct config_transport transports[CONFIG_TRANSPORTS_MAX];
    uint32_t transports_len;
    bool has_persistence;
    struct config_plugin persistence; /* without isolate and what belongs to it */
    struct {
        bool is_wanted;      /* `persistence.isolate`: in a process of its own */
        uint32_t memory_mb;  /* MiB of its address space; 0: no limit */
        uint32_t timeout_ms; /* of one call but load(); 0: none */
    } isolate;
    struct {
        enum ack_mode ack;
        uint32_t min_in_sync;
        uint32_t operation_timeout_ms;
        uint32_t retransmit_ms;
        uint32_t replica_timeout_ms;
        uint32_t join_timeout_ms;
        uint32_t return_wait_ms;
    } replication;
    struct node_limits limits;
    uint32_t limits_links;       /* `limits.links`: accepted links at a time */
    uint64_t limits_queue_bytes; /* `limits.queue_bytes`: waiting to be sent on one link */
};

/* (The names leave config_read and config_destroy to libconfig, which has them already.)
 * sets: sets_len texts "PATH=VALUE". KV_OK, or KV_E_INVALID with ret_error (CONFIG_ERROR_MAX
 * bytes): one mistake a line, at most ten, each with FILE:LINE (or "--set PATH"). */
int32_t config_load(const char *file, const char *const *sets, uint32_t sets_len,
                    struct config **ret_config, char *ret_error);
void config_release(struct config *config); /* NULL is fine */

/* Writes where a plugin's setting stands ("FILE:LINE" or "--set PATH"), or its group when index is
 * settings_len: what loader_settings() gives. */
void config_where(const struct config *config, const struct config_plugin *plugin, uint32_t index,
                  char *ret_text, size_t size);

/* The settings with a number: what the reference file and its test are written from. Units: the
 * name's last word. NULL beyond the last. */
struct config_number {
    const char *group;
    const char *name;
    uint64_t least;
    uint64_t most;
    uint64_t fallback; /* the default */
};
const struct config_number *config_number_at(uint32_t index);

#endif
