#include "host/config.h"

#include "base/alloc.h"
#include "base/check.h"
#include "host/config_file.h"
#include "host/config_together.h"
#include "host/guard_persist.h"
#include "host/loader.h"

#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#define CONFIG_LISTEN_EXAMPLE    "tcp://127.0.0.1:0"
#define CONFIG_TRANSPORT_DEFAULT "transport-tcp"
#define CONFIG_TRANSPORT_PREFIX  "transport-"
#define CONFIG_PERSIST_DEFAULT   "persist-file"
#define CONFIG_MS_MAX            3600000u

#define CONFIG_COUNT(array)      ((uint32_t)(sizeof(array) / sizeof((array)[0])))

/* Where a number goes: the member of struct config, and its width. */
struct config_member {
    struct config_number number;
    size_t offset;
    size_t size;
};

#define CONFIG_NUMBER(group, name, member, least, most, fallback)              \
    {                                                                          \
        {group, name, least, most, fallback}, offsetof(struct config, member), \
            sizeof(((struct config *)NULL)->member)                            \
    }

static const struct config_member config_members[] = {
    CONFIG_NUMBER("replication", "min_in_sync", replication.min_in_sync, 1, MEMBERS_MAX, 1),
    CONFIG_NUMBER("replication", "operation_timeout_ms", replication.operation_timeout_ms, 1,
                  CONFIG_MS_MAX, 1000),
    CONFIG_NUMBER("replication", "retransmit_ms", replication.retransmit_ms, 1, CONFIG_MS_MAX, 100),
    CONFIG_NUMBER("replication", "replica_timeout_ms", replication.replica_timeout_ms, 1,
                  CONFIG_MS_MAX, 500),
    CONFIG_NUMBER("replication", "join_timeout_ms", replication.join_timeout_ms, 0, CONFIG_MS_MAX,
                  30000),
    CONFIG_NUMBER("replication", "return_wait_ms", replication.return_wait_ms, 1, CONFIG_MS_MAX,
                  10000),
    CONFIG_NUMBER("persistence", "isolate_memory_mb", isolate.memory_mb, 0, 16777216, 0),
    CONFIG_NUMBER("persistence", "isolate_timeout_ms", isolate.timeout_ms, 0, CONFIG_MS_MAX, 30000),
    CONFIG_NUMBER("limits", "key_bytes", limits.key_bytes, 1, GUARD_KEY_BYTES_MAX, 65536),
    CONFIG_NUMBER("limits", "value_bytes", limits.value_bytes, 1, GUARD_VALUE_BYTES_MAX, 1048576),
    CONFIG_NUMBER("limits", "inflight_ops", limits.inflight_ops, 1, 1048576, 65536),
    CONFIG_NUMBER("limits", "inflight_bytes", limits.inflight_bytes, 4096, 1ull << 40, 268435456),
    CONFIG_NUMBER("limits", "log_bytes", limits.log_bytes, 0, 1ull << 39, 16777216),
    CONFIG_NUMBER("limits", "links", limits_links, 1, 1048576, 1024),
    CONFIG_NUMBER("limits", "queue_bytes", limits_queue_bytes, 4096, 1ull << 40, 16777216),
};

static const char *const config_levels[] = {"error", "warn", "info", "debug"};
static const char *const config_acks[] = {"durable", "received", "local"}; /* enum ack_mode - 1 */
static const char *const config_roles[] = {"arbiter", "replica"};

const struct config_number *config_number_at(uint32_t index)
{
    return index < CONFIG_COUNT(config_members) ? &config_members[index].number : NULL;
}

static char *config_copy(const char *text)
{
    return alloc_string(text, strlen(text));
}

/* --- reading one setting --- */

/* The path of a setting for people: "node.name". */
static const char *config_path(const config_setting_t *group, const char *name, char *ret_path,
                               size_t size)
{
    const char *group_name = config_setting_name(group);
    snprintf(ret_path, size, "%s%s%.100s", group_name == NULL ? "" : group_name,
             group_name == NULL ? "" : ".", name);
    return ret_path;
}

static const char *config_type_text(const config_setting_t *setting)
{
    switch (config_setting_type(setting)) {
    case CONFIG_TYPE_GROUP:
        return "a group";
    case CONFIG_TYPE_LIST:
    case CONFIG_TYPE_ARRAY:
        return "a list";
    case CONFIG_TYPE_STRING:
        return "a text";
    case CONFIG_TYPE_BOOL:
        return "true or false";
    case CONFIG_TYPE_FLOAT:
        return "a number with a fraction";
    default:
        return "a number";
    }
}

static bool config_is_list(const config_setting_t *setting)
{
    return config_setting_is_list(setting) || config_setting_is_array(setting);
}

/* Reports each member of group that is not known. */
static void config_check_names(struct config_file *file, const config_setting_t *group,
                               const char *const *known, uint32_t known_len)
{
    for (int i = 0; i < config_setting_length(group); i++) {
        const config_setting_t *setting = config_setting_get_elem(group, (unsigned)i);
        const char *name = config_setting_name(setting);
        bool is_known = false;
        for (uint32_t k = 0; k < known_len; k++) {
            is_known = is_known || strcmp(known[k], name) == 0;
        }
        if (!is_known) {
            char path[160];
            config_file_mistake(file, setting, "unknown setting %s; the nearest is %s",
                                config_path(group, name, path, sizeof(path)),
                                loader_nearest_name(name, known, known_len));
        }
    }
}

/* A member that must be a group; NULL when it is absent or no group. */
static const config_setting_t *config_group(struct config_file *file, const char *name)
{
    const config_setting_t *group =
        config_setting_get_member(config_root_setting(&file->tree), name);
    if (group != NULL && !config_setting_is_group(group)) {
        config_file_mistake(file, group, "%s must be a group, %s = { ... };, not %s", name, name,
                            config_type_text(group));
        return NULL;
    }
    return group;
}

/* A member's text, borrowed from the tree; NULL when it is absent or wrong. group may be NULL. */
static const char *config_text(struct config_file *file, const config_setting_t *group,
                               const char *name)
{
    const config_setting_t *setting = group == NULL ? NULL : config_setting_get_member(group, name);
    if (setting == NULL) {
        return NULL;
    }
    char path[160];
    config_path(group, name, path, sizeof(path));
    if (config_setting_type(setting) != CONFIG_TYPE_STRING) {
        config_file_mistake(file, setting, "%s must be a text in quotes, not %s", path,
                            config_type_text(setting));
        return NULL;
    }
    const char *text = config_setting_get_string(setting);
    if (text[0] == '\0') {
        config_file_mistake(file, setting, "%s must not be empty", path);
        return NULL;
    }
    return text;
}

/* A member that must be one of the words: its index, or fallback. */
static uint32_t config_word(struct config_file *file, const config_setting_t *group,
                            const char *name, const char *const *words, uint32_t words_len,
                            uint32_t fallback)
{
    const char *text = config_text(file, group, name);
    if (text == NULL) {
        return fallback;
    }
    char list[128] = "";
    size_t len = 0;
    for (uint32_t i = 0; i < words_len; i++) {
        if (strcmp(text, words[i]) == 0) {
            return i;
        }
        len += (size_t)snprintf(list + len, sizeof(list) - len, "%s\"%s\"", i == 0 ? "" : ", ",
                                words[i]);
    }
    char path[160];
    config_file_mistake(file, config_setting_get_member(group, name),
                        "%s must be one of %s, not \"%.64s\"; the nearest is \"%s\"",
                        config_path(group, name, path, sizeof(path)), list, text,
                        loader_nearest_name(text, words, words_len));
    return fallback;
}

static bool config_read_bool(struct config_file *file, const config_setting_t *group,
                             const char *name, bool fallback)
{
    const config_setting_t *setting = group == NULL ? NULL : config_setting_get_member(group, name);
    if (setting == NULL) {
        return fallback;
    }
    if (config_setting_type(setting) != CONFIG_TYPE_BOOL) {
        char path[160];
        config_file_mistake(file, setting, "%s must be true or false, not %s",
                            config_path(group, name, path, sizeof(path)),
                            config_type_text(setting));
        return fallback;
    }
    return config_setting_get_bool(setting) == CONFIG_TRUE;
}

static uint64_t config_read_number(struct config_file *file, const config_setting_t *group,
                                   const struct config_number *number)
{
    const config_setting_t *setting =
        group == NULL ? NULL : config_setting_get_member(group, number->name);
    if (setting == NULL) {
        return number->fallback;
    }
    int type = config_setting_type(setting);
    if (type != CONFIG_TYPE_INT && type != CONFIG_TYPE_INT64) {
        config_file_mistake(
            file, setting, "%s.%s must be a whole number from %" PRIu64 " to %" PRIu64 ", not %s",
            number->group, number->name, number->least, number->most, config_type_text(setting));
        return number->fallback;
    }
    long long value = type == CONFIG_TYPE_INT ? config_setting_get_int(setting)
                                              : config_setting_get_int64(setting);
    if (value < 0 || (uint64_t)value < number->least || (uint64_t)value > number->most) {
        config_file_mistake(file, setting,
                            "%s.%s must be from %" PRIu64 " to %" PRIu64 ", not %lld",
                            number->group, number->name, number->least, number->most, value);
        return number->fallback;
    }
    return (uint64_t)value;
}

/* --- node --- */

static void config_read_roles(struct config_file *file, const config_setting_t *group,
                              struct config *config)
{
    const config_setting_t *roles =
        group == NULL ? NULL : config_setting_get_member(group, "roles");
    if (roles == NULL) {
        config->node.is_replica = true;
        return;
    }
    if (!config_is_list(roles) || config_setting_length(roles) == 0) {
        config_file_mistake(file, roles,
                            "node.roles must be [\"arbiter\"], [\"replica\"] or both, not %s",
                            config_is_list(roles) ? "empty" : config_type_text(roles));
        return;
    }
    for (int i = 0; i < config_setting_length(roles); i++) {
        const config_setting_t *item = config_setting_get_elem(roles, (unsigned)i);
        const char *role = config_setting_get_string(item);
        bool *is_set = role == NULL                   ? NULL
                       : strcmp(role, "arbiter") == 0 ? &config->node.is_arbiter
                       : strcmp(role, "replica") == 0 ? &config->node.is_replica
                                                      : NULL;
        if (is_set == NULL) {
            const char *text = role == NULL ? "" : role;
            config_file_mistake(file, item,
                                "node.roles takes \"arbiter\" and \"replica\", not %s%.64s%s; the "
                                "nearest is \"%s\"",
                                role == NULL ? config_type_text(item) : "\"", text,
                                role == NULL ? "" : "\"",
                                loader_nearest_name(text, config_roles, 2));
        } else if (*is_set) {
            config_file_mistake(file, item, "node.roles has \"%s\" twice; give it once", role);
        } else {
            *is_set = true;
        }
    }
}

static bool config_check_uri(struct config_file *file, const config_setting_t *setting,
                             const char *what, const char *uri)
{
    if (strstr(uri, "://") == NULL || strlen(uri) > URI_MAX) {
        config_file_mistake(file, setting,
                            "%s must be an address like tcp://127.0.0.1:7400 of at most %d bytes, "
                            "not \"%.64s\"",
                            what, URI_MAX, uri);
        return false;
    }
    return true;
}

static void config_read_node(struct config_file *file, struct config *config)
{
    static const char *const known[] = {"name", "roles", "arbiter", "data"};
    const config_setting_t *group = config_group(file, "node");
    if (group != NULL) {
        config_check_names(file, group, known, CONFIG_COUNT(known));
    }
    const char *name = config_text(file, group, "name");
    const char *arbiter = config_text(file, group, "arbiter");
    const char *data = config_text(file, group, "data");
    if (group == NULL || config_setting_get_member(group, "name") == NULL) {
        config_file_mistake(file, group,
                            "node.name is missing; give each node one of its own, "
                            "like node = { name = \"n1\"; ... };");
    }
    if (group == NULL || config_setting_get_member(group, "arbiter") == NULL) {
        config_file_mistake(file, group,
                            "node.arbiter is missing; give the arbiter's address, "
                            "like \"tcp://127.0.0.1:7400\"");
    }
    if (name != NULL && !view_name_valid(name, strlen(name))) {
        config_file_mistake(file, config_setting_get_member(group, "name"),
                            "node.name must be 1 to %d letters, digits, '-', '_' and '.', not "
                            "\"%.80s\"",
                            NODE_NAME_MAX, name);
        name = NULL;
    }
    if (name != NULL && (strcmp(name, ".") == 0 || strcmp(name, "..") == 0)) {
        config_file_mistake(file, config_setting_get_member(group, "name"),
                            "node.name must not be \"%s\", which names a folder; give it a letter "
                            "or a digit, like \"n1\"",
                            name);
        name = NULL;
    }
    if (arbiter != NULL) {
        config_check_uri(file, config_setting_get_member(group, "arbiter"), "node.arbiter",
                         arbiter);
    }
    config->node.name = config_copy(name == NULL ? "" : name);
    config->node.arbiter = config_copy(arbiter == NULL ? "" : arbiter);
    char place[CONFIG_PLACE_MAX];
    config_file_place(file, group == NULL ? NULL : config_setting_get_member(group, "arbiter"),
                      place);
    config->node.arbiter_place = config_copy(place);
    char path[NODE_NAME_MAX + sizeof("data/")];
    snprintf(path, sizeof(path), "data/%s", config->node.name);
    config->node.data = config_copy(data == NULL ? path : data);
    config_read_roles(file, group, config);
}

/* --- plugins --- */

/* A plugin's setting as text; false: it is no single value. */
static bool config_value_text(const config_setting_t *setting, char *ret_text, size_t size)
{
    switch (config_setting_type(setting)) {
    case CONFIG_TYPE_INT:
        snprintf(ret_text, size, "%d", config_setting_get_int(setting));
        return true;
    case CONFIG_TYPE_INT64:
        snprintf(ret_text, size, "%lld", config_setting_get_int64(setting));
        return true;
    case CONFIG_TYPE_FLOAT:
        snprintf(ret_text, size, "%.17g", config_setting_get_float(setting));
        return true;
    case CONFIG_TYPE_BOOL:
        snprintf(ret_text, size, "%s", config_setting_get_bool(setting) ? "true" : "false");
        return true;
    default:
        return false;
    }
}

static void config_plugin_add(struct config_plugin *plugin, const char *name, const char *value,
                              const char *place)
{
    uint32_t len = plugin->settings_len + 1;
    plugin->settings = alloc_resize(plugin->settings, len * sizeof(plugin->settings[0]));
    plugin->places = alloc_resize(plugin->places, len * sizeof(plugin->places[0]));
    plugin->settings[len - 1].name = config_copy(name);
    plugin->settings[len - 1].value = config_copy(value);
    plugin->places[len - 1] = config_copy(place);
    plugin->settings_len = len;
}

static bool config_plugin_has(const struct config_plugin *plugin, const char *name)
{
    for (uint32_t i = 0; i < plugin->settings_len; i++) {
        if (strcmp(plugin->settings[i].name, name) == 0) {
            return true;
        }
    }
    return false;
}

static bool config_is_one_of(const char *name, const char *const *names)
{
    while (*names != NULL && strcmp(*names, name) != 0) {
        names++;
    }
    return *names != NULL;
}

/* All members of group but `own`, the host's (NULL after the last), become settings. group NULL:
 * the default. */
static void config_read_plugin(struct config_file *file, const config_setting_t *group,
                               const char *fallback, const char *const *own,
                               struct config_plugin *plugin)
{
    char place[CONFIG_PLACE_MAX];
    const char *name = config_text(file, group, "plugin");
    plugin->plugin = config_copy(name == NULL ? fallback : name);
    config_file_place(file, group, place);
    plugin->place = config_copy(place);
    for (int i = 0; group != NULL && i < config_setting_length(group); i++) {
        const config_setting_t *setting = config_setting_get_elem(group, (unsigned)i);
        const char *setting_name = config_setting_name(setting);
        char number[64];
        const char *value = config_setting_get_string(setting);
        if (config_is_one_of(setting_name, own)) {
            continue;
        }
        if (value == NULL && config_value_text(setting, number, sizeof(number))) {
            value = number;
        }
        if (value == NULL) {
            config_file_mistake(file, setting,
                                "the plugin's setting %.100s must be a text, a number, true or "
                                "false, not %s",
                                setting_name, config_type_text(setting));
            continue;
        }
        config_file_place(file, setting, place);
        config_plugin_add(plugin, setting_name, value, place);
    }
}

/* One address of a transport's `listen`. */
static void config_read_listen(struct config_file *file, const config_setting_t *setting,
                               struct config_transport *transport)
{
    const char *uri = config_setting_get_string(setting);
    if (uri == NULL) {
        config_file_mistake(file, setting,
                            "listen must be an address in quotes, or a list of "
                            "them, not %s",
                            config_type_text(setting));
    } else if (transport->uris_len == URIS_MAX) {
        config_file_mistake(file, setting, "listen must have at most %d addresses", URIS_MAX);
    } else if (config_check_uri(file, setting, "listen", uri)) {
        transport->uris[transport->uris_len++] = config_copy(uri);
    }
}

/* The scheme of a plugin's addresses as far as its name or its file's name tells, before it is
 * loaded: "udp" of "transport-udp" and of "/usr/lib/transport-udp.so". */
static char *config_scheme(const char *plugin)
{
    const char *slash = strrchr(plugin, '/');
    const char *name = slash == NULL ? plugin : slash + 1;
    size_t prefix_len = strlen(CONFIG_TRANSPORT_PREFIX);
    name += strncmp(name, CONFIG_TRANSPORT_PREFIX, prefix_len) == 0 ? prefix_len : 0;
    size_t len = strlen(name);
    bool is_file = slash != NULL && len > 3 && strcmp(name + len - 3, ".so") == 0;
    return alloc_string(name, is_file ? len - 3 : len);
}

/* Where a transport listens that is not told: that of an arbiter where all look for it, unless one
 * before it does so, any other on a free port. */
static void config_default_listen(struct config_file *file, const config_setting_t *group,
                                  const struct config *config, struct config_transport *transport)
{
    static const char anywhere[] = "://127.0.0.1:0";
    const char *arbiter = config->node.arbiter;
    char *scheme = config_scheme(transport->plugin.plugin);
    size_t len = strlen(scheme);
    size_t size = len + sizeof(anywhere);
    char *uri = alloc_bytes(size);
    snprintf(uri, size, "%s%s", scheme, anywhere);
    bool is_arbiters = config->node.is_arbiter && strncmp(arbiter, scheme, len) == 0 &&
                       strncmp(arbiter + len, "://", 3) == 0 && !config_listens_at(config, arbiter);
    if (is_arbiters ||
        config_check_uri(file, group, "the default of listen, from the plugin's name,", uri)) {
        transport->uris[transport->uris_len++] = config_copy(is_arbiters ? arbiter : uri);
        transport->is_default = true;
    }
    alloc_free(uri);
    alloc_free(scheme);
}

static void config_read_transport(struct config_file *file, const config_setting_t *group,
                                  const struct config *config, struct config_transport *transport)
{
    static const char *const own[] = {"plugin", "listen", NULL};
    config_read_plugin(file, group, CONFIG_TRANSPORT_DEFAULT, own, &transport->plugin);
    const config_setting_t *listen =
        group == NULL ? NULL : config_setting_get_member(group, "listen");
    if (listen == NULL) {
        config_default_listen(file, group, config, transport);
    } else if (config_is_list(listen)) {
        for (int i = 0; i < config_setting_length(listen); i++) {
            config_read_listen(file, config_setting_get_elem(listen, (unsigned)i), transport);
        }
    } else {
        config_read_listen(file, listen, transport);
    }
}

static void config_read_transports(struct config_file *file, struct config *config)
{
    const config_setting_t *list =
        config_setting_get_member(config_root_setting(&file->tree), "transports");
    if (list == NULL) {
        config_read_transport(file, NULL, config, &config->transports[0]);
        config->transports_len++;
        return;
    }
    if (!config_setting_is_list(list) || config_setting_length(list) == 0 ||
        config_setting_length(list) > (int)CONFIG_TRANSPORTS_MAX) {
        config_file_mistake(file, list,
                            "transports must be a list of 1 to %u groups, ( { plugin = \"%s\"; "
                            "listen = \"%s\"; } );",
                            CONFIG_TRANSPORTS_MAX, CONFIG_TRANSPORT_DEFAULT, CONFIG_LISTEN_EXAMPLE);
        return;
    }
    uint32_t uris_len = 0;
    uint32_t mistakes_len = file->mistakes_len;
    for (int i = 0; i < config_setting_length(list); i++) {
        const config_setting_t *group = config_setting_get_elem(list, (unsigned)i);
        if (!config_setting_is_group(group)) {
            config_file_mistake(file, group,
                                "each item of transports must be a group, { plugin = ... }, not %s",
                                config_type_text(group));
            continue;
        }
        config_read_transport(file, group, config, &config->transports[config->transports_len]);
        uris_len += config->transports[config->transports_len++].uris_len;
    }
    if (mistakes_len == file->mistakes_len && (uris_len == 0 || uris_len > URIS_MAX)) {
        config_file_mistake(file, list,
                            "the transports listen on %" PRIu32 " addresses; a node must have 1 to "
                            "%d: each item of transports has those of its listen, or one by "
                            "default",
                            uris_len, URIS_MAX);
    }
}

static void config_read_persistence(struct config_file *file, struct config *config)
{
    static const char *const own[] = {"plugin", "isolate", "isolate_memory_mb",
                                      "isolate_timeout_ms", NULL};
    const config_setting_t *group = config_group(file, "persistence");
    struct config_plugin *plugin = &config->persistence;
    if (!config->node.is_replica) {
        if (group != NULL && config->node.is_arbiter) {
            config_file_mistake(file, group,
                                "a node that is an arbiter only stores no data; remove "
                                "persistence, or add \"replica\" to node.roles");
        }
        return;
    }
    config->has_persistence = true;
    config->isolate.is_wanted = config_read_bool(file, group, "isolate", false);
    config_read_plugin(file, group, CONFIG_PERSIST_DEFAULT, own, plugin);
    if (strcmp(plugin->plugin, CONFIG_PERSIST_DEFAULT) != 0) {
        return;
    }
    if (!config_plugin_has(plugin, "path")) {
        size_t size = strlen(config->node.data) + sizeof("/store");
        char *path = alloc_bytes(size);
        snprintf(path, size, "%s/store", config->node.data);
        config_plugin_add(plugin, "path", path, plugin->place);
        alloc_free(path);
    }
    if (!config_plugin_has(plugin, "sync")) {
        config_plugin_add(plugin, "sync", "always", plugin->place);
    }
}

/* --- numbers --- */

static void config_read_numbers(struct config_file *file, struct config *config)
{
    static const char *const groups[] = {"replication", "limits", "persistence"};
    for (uint32_t g = 0; g < CONFIG_COUNT(groups); g++) {
        const char *known[CONFIG_COUNT(config_members) + 1];
        uint32_t known_len = 0;
        const config_setting_t *group = config_group(file, groups[g]);
        for (uint32_t i = 0; i < CONFIG_COUNT(config_members); i++) {
            const struct config_member *member = &config_members[i];
            if (strcmp(member->number.group, groups[g]) != 0) {
                continue;
            }
            known[known_len++] = member->number.name;
            uint64_t value = config_read_number(file, group, &member->number);
            char *at = (char *)config + member->offset;
            if (member->size == sizeof(uint32_t)) {
                uint32_t narrow = (uint32_t)value;
                memcpy(at, &narrow, sizeof(narrow));
            } else {
                KV_CHECK(member->size == sizeof(value));
                memcpy(at, &value, sizeof(value));
            }
        }
        if (g == 0) {
            known[known_len++] = "ack";
            config->replication.ack = (enum ack_mode)(
                1 + config_word(file, group, "ack", config_acks, CONFIG_COUNT(config_acks), 0));
        }
        if (group != NULL && g < 2) { /* what else is in persistence is the plugin's */
            config_check_names(file, group, known, known_len);
        }
    }
}

int32_t config_load(const char *file_name, const char *const *sets, uint32_t sets_len,
                    struct config **ret_config, char *ret_error)
{
    static const char *const known[] = {"node",   "transports", "persistence", "replication",
                                        "limits", "plugins",    "log_level"};
    struct config_file file;
    struct config *config = alloc_zeroed(1, sizeof(*config));
    int32_t status = config_file_open(&file, file_name, sets, sets_len, ret_error);
    if (status != KV_OK) {
        goto out;
    }
    const config_setting_t *root = config_root_setting(&file.tree);
    config->file = config_copy(file_name);
    config_check_names(&file, root, known, CONFIG_COUNT(known));
    config_read_node(&file, config);
    config_read_transports(&file, config);
    config_read_persistence(&file, config);
    config_read_numbers(&file, config);
    const char *folder = config_text(&file, root, "plugins");
    config->plugin_folder = folder == NULL ? NULL : config_copy(folder);
    config->log_level = config_copy(config_levels[config_word(
        &file, root, "log_level", config_levels, CONFIG_COUNT(config_levels), 2)]);
    if (file.mistakes_len == 0) {
        config_check_together(&file, config);
    }
    if (file.mistakes_len > 0) {
        status = KV_E_INVALID;
        goto out;
    }
    *ret_config = config;
    config = NULL;
out:
    config_file_close(&file);
    config_release(config);
    return status;
}

static void config_plugin_close(struct config_plugin *plugin)
{
    for (uint32_t i = 0; i < plugin->settings_len; i++) {
        alloc_free((void *)plugin->settings[i].name);
        alloc_free((void *)plugin->settings[i].value);
        alloc_free(plugin->places[i]);
    }
    alloc_free(plugin->settings);
    alloc_free(plugin->places);
    alloc_free(plugin->plugin);
    alloc_free(plugin->place);
}

void config_release(struct config *config)
{
    if (config == NULL) {
        return;
    }
    for (uint32_t i = 0; i < config->transports_len; i++) {
        for (uint32_t k = 0; k < config->transports[i].uris_len; k++) {
            alloc_free(config->transports[i].uris[k]);
        }
        config_plugin_close(&config->transports[i].plugin);
    }
    config_plugin_close(&config->persistence);
    alloc_free(config->file);
    alloc_free(config->plugin_folder);
    alloc_free(config->log_level);
    alloc_free(config->node.name);
    alloc_free(config->node.arbiter);
    alloc_free(config->node.arbiter_place);
    alloc_free(config->node.data);
    alloc_free(config);
}

void config_where(const struct config *config, const struct config_plugin *plugin, uint32_t index,
                  char *ret_text, size_t size)
{
    const char *place = index < plugin->settings_len ? plugin->places[index] : plugin->place;
    snprintf(ret_text, size, "%s", place == NULL ? config->file : place);
}
