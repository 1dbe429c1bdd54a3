#include "kvplugin.h"

#include <inttypes.h>
#include <jansson.h>
#include <string.h>

struct info_bit {
    uint64_t bit;
    const char *name;
};

static const struct info_bit info_persist[] = {
    {KV_PERSIST_LOAD, "LOAD"},
    {KV_PERSIST_ATOMIC, "ATOMIC"},
    {KV_PERSIST_DURABLE, "DURABLE"},
    {KV_PERSIST_RESET, "RESET"},
    {KV_PERSIST_GET, "GET"},
    {KV_PERSIST_SHARED, "SHARED"},
    {0, NULL},
};
static const struct info_bit info_transport[] = {
    {KV_TRANSPORT_ORDERED, "ORDERED"}, {KV_TRANSPORT_RELIABLE, "RELIABLE"}, {0, NULL}};
static const struct info_bit info_features[] = {{KV_HOST_LOOP, "LOOP"}, {0, NULL}};

static const struct info_bit *info_capabilities(const struct kv_plugin *descriptor)
{
    return descriptor->kind == KV_KIND_PERSIST ? info_persist : info_transport;
}

static const char *info_kind(const struct kv_plugin *descriptor)
{
    return descriptor->kind == KV_KIND_PERSIST ? "persistence" : "transport";
}

static const char *info_type(uint32_t type)
{
    return type == KV_OPTION_INT ? "int" : type == KV_OPTION_BOOL ? "bool" : "string";
}

static void info_print_bits(const char *title, uint64_t bits, const struct info_bit *names)
{
    printf("%-14s", title);
    for (; names->name != NULL; names++) {
        if ((bits & names->bit) != 0) {
            printf("%s ", names->name);
        }
    }
    printf("%s\n", bits == 0 ? "none" : "");
}

static void info_print_options(const struct kv_plugin *descriptor)
{
    int name_width = 6;
    int default_width = 8;
    for (uint32_t i = 0; i < descriptor->options_len; i++) {
        const struct kv_option *option = &descriptor->options[i];
        int len = (int)strlen(option->name);
        name_width = len > name_width ? len : name_width;
        len = option->default_value == NULL ? 0 : (int)strlen(option->default_value);
        default_width = len > default_width ? len : default_width;
    }
    if (descriptor->options_len == 0) {
        printf("%-14s%s\n", "options", "none");
        return;
    }
    printf("\n%-*s  %-6s  %-*s  %s\n", name_width, "option", "type", default_width, "default",
           "help");
    for (uint32_t i = 0; i < descriptor->options_len; i++) {
        const struct kv_option *option = &descriptor->options[i];
        const char *text = option->default_value == NULL      ? "required"
                           : option->default_value[0] == '\0' ? "\"\""
                                                              : option->default_value;
        printf("%-*s  %-6s  %-*s  %s\n", name_width, option->name, info_type(option->type),
               default_width, text, option->help);
    }
}

static void info_print(const struct loaded_plugin *plugin)
{
    const struct kv_plugin *descriptor = &plugin->descriptor;
    printf("%-14s%s\n", "path", plugin->path);
    printf("%-14s%s\n", "kind", info_kind(descriptor));
    printf("%-14s%s\n", "name", descriptor->name);
    printf("%-14s%s\n", "version", descriptor->version);
    printf("%-14s%s\n", "summary", descriptor->summary);
    printf("%-14s%d.%d (the host has %d.%d)\n", "abi", descriptor->abi_major, descriptor->abi_minor,
           KV_ABI_MAJOR, KV_ABI_MINOR);
    info_print_bits("capabilities", descriptor->capabilities, info_capabilities(descriptor));
    info_print_bits("host features", descriptor->host_features, info_features);
    if (descriptor->libuv_version != 0) {
        printf("%-14s%u.%u.%u\n", "libuv", descriptor->libuv_version >> 16,
               descriptor->libuv_version >> 8 & 0xff, descriptor->libuv_version & 0xff);
    } else {
        printf("%-14s%s\n", "libuv", "not touched");
    }
    info_print_options(descriptor);
}

static json_t *info_json_bits(uint64_t bits, const struct info_bit *names)
{
    json_t *list = json_array();
    for (; names->name != NULL; names++) {
        if ((bits & names->bit) != 0) {
            json_array_append_new(list, json_string(names->name));
        }
    }
    return list;
}

/* Text that is no UTF-8 becomes null: JSON has no other way to say so. */
static void info_json_text(json_t *object, const char *name, const char *text)
{
    json_t *value = text == NULL ? NULL : json_string(text);
    json_object_set_new(object, name, value == NULL ? json_null() : value);
}

static void info_print_json(const struct loaded_plugin *plugin)
{
    const struct kv_plugin *descriptor = &plugin->descriptor;
    json_t *object = json_object();
    json_t *options = json_array();
    info_json_text(object, "path", plugin->path);
    info_json_text(object, "kind", info_kind(descriptor));
    info_json_text(object, "name", descriptor->name);
    info_json_text(object, "version", descriptor->version);
    info_json_text(object, "summary", descriptor->summary);
    json_object_set_new(object, "abi",
                        json_pack("[ii]", descriptor->abi_major, descriptor->abi_minor));
    json_object_set_new(object, "host_abi", json_pack("[ii]", KV_ABI_MAJOR, KV_ABI_MINOR));
    json_object_set_new(object, "capabilities",
                        info_json_bits(descriptor->capabilities, info_capabilities(descriptor)));
    json_object_set_new(object, "host_features",
                        info_json_bits(descriptor->host_features, info_features));
    json_object_set_new(object, "libuv_version", json_integer(descriptor->libuv_version));
    for (uint32_t i = 0; i < descriptor->options_len; i++) {
        json_t *option = json_object();
        info_json_text(option, "name", descriptor->options[i].name);
        info_json_text(option, "type", info_type(descriptor->options[i].type));
        info_json_text(option, "default", descriptor->options[i].default_value);
        info_json_text(option, "help", descriptor->options[i].help);
        json_array_append_new(options, option);
    }
    json_object_set_new(object, "options", options);
    json_dumpf(object, stdout, JSON_COMPACT);
    putchar('\n');
    json_decref(object);
}

int verb_info(const struct arguments *arguments)
{
    struct loaded_plugin *plugin = plugin_load(arguments->name, 0);
    if (plugin == NULL) {
        return EXIT_REFUSED;
    }
    if (arguments->is_json) {
        info_print_json(plugin);
    } else {
        info_print(plugin);
    }
    loader_release(plugin);
    return fflush(stdout) == 0 ? EXIT_DONE : EXIT_FAILED;
}
