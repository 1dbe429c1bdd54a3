#include "kvplugin.h"

#include "runner.h"

#include <string.h>

struct loaded_plugin *plugin_load(const char *name, uint32_t kind)
{
    char error[LOADER_ERROR_MAX];
    char here[KIT_PATH_MAX];
    struct loaded_plugin *plugin = NULL;
    size_t len = strlen(name);
    if (strchr(name, '/') == NULL && len > 3 && strcmp(name + len - 3, ".so") == 0 &&
        len < sizeof(here) - 3) {
        snprintf(here, sizeof(here), "./%s", name);
        name = here;
    }
    if (loader_load(name, NULL, kind, &plugin, error) != KV_OK) {
        fprintf(stderr, "kvplugin: %s\n", error);
    }
    return plugin;
}

int verb_check(const struct arguments *arguments)
{
    const struct kit_request *request = &arguments->request;
    struct loaded_plugin *plugin = plugin_load(arguments->name, 0);
    int status = EXIT_REFUSED;
    if (plugin == NULL) {
        return status;
    }
    if (request->is_list) {
        runner_list(stdout, plugin->descriptor.kind);
        status = EXIT_DONE;
    } else if (request->as_case != NULL || request->as_writer != NULL) {
        status = request->folder == NULL ? EXIT_USAGE : runner_child(request, plugin);
    } else {
        status = runner_run(request, plugin);
    }
    loader_release(plugin);
    return status;
}

int main(int argc, char **argv)
{
    static const struct {
        const char *name;
        int (*run)(const struct arguments *arguments);
    } verbs[] = {{"info", verb_info},
                 {"check", verb_check},
                 {"new", verb_new},
                 {"dump", verb_dump},
                 {"get", verb_get}};
    struct arguments arguments;
    char error[ARGUMENTS_ERROR_MAX];
    if (!arguments_parse(argc, argv, &arguments, error)) {
        fprintf(stderr, "kvplugin: %s; kvplugin --help says more\n", error);
        return EXIT_USAGE;
    }
    if (arguments.is_version) {
        printf("kvplugin %s (ABI %d.%d)\n", KV_VERSION, KV_ABI_MAJOR, KV_ABI_MINOR);
        return EXIT_DONE;
    }
    if (arguments.is_help) {
        help_print(stdout, arguments.verb);
        return EXIT_DONE;
    }
    for (size_t i = 0; arguments.verb != NULL && i < sizeof(verbs) / sizeof(verbs[0]); i++) {
        if (strcmp(arguments.verb, verbs[i].name) != 0) {
            continue;
        }
        if (arguments.name == NULL || (verbs[i].run == verb_get && arguments.key == NULL)) {
            help_print(stderr, verbs[i].name);
            return EXIT_USAGE;
        }
        return verbs[i].run(&arguments);
    }
    help_print(stderr, NULL);
    return EXIT_USAGE;
}
