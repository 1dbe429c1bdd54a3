#include "kvplugin.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

/* Where an option's value goes. */
struct argument_option {
    const char *name;
    const char **text;
    bool *flag;
    uint64_t *number;
};

static const struct argument_option *arguments_find(const struct argument_option *options,
                                                    size_t len, const char *name)
{
    for (size_t i = 0; i < len; i++) {
        if (strcmp(options[i].name, name) == 0) {
            return &options[i];
        }
    }
    return NULL;
}

static bool arguments_number(const char *text, uint64_t *ret_number)
{
    char *end = NULL;
    errno = 0;
    unsigned long long number = strtoull(text, &end, 10);
    if (text[0] < '0' || text[0] > '9' || *end != '\0' || errno != 0) {
        return false;
    }
    *ret_number = number;
    return true;
}

/* A word that is no option: the plugin, then (of get) the key, then settings. */
static bool arguments_word(struct arguments *arguments, char *word, char *ret_error)
{
    if (arguments->name == NULL) {
        arguments->name = word;
        return true;
    }
    if (strcmp(arguments->verb, "get") == 0 && arguments->key == NULL) {
        arguments->key = word;
        return true;
    }
    char *equals = strchr(word, '=');
    struct kit_request *request = &arguments->request;
    if (equals == NULL || equals == word || strcmp(arguments->verb, "new") == 0 ||
        strcmp(arguments->verb, "info") == 0) {
        snprintf(ret_error, ARGUMENTS_ERROR_MAX, "unexpected \"%.64s\"%s", word,
                 equals == NULL ? "; a setting is written name=value" : "");
        return false;
    }
    if (request->given_len == KIT_GIVEN_MAX) {
        snprintf(ret_error, ARGUMENTS_ERROR_MAX, "more than %u settings", KIT_GIVEN_MAX);
        return false;
    }
    *equals = '\0';
    request->given[request->given_len].name = word;
    request->given[request->given_len].value = equals + 1;
    request->given_len++;
    return true;
}

bool arguments_parse(int argc, char **argv, struct arguments *ret_arguments, char *ret_error)
{
    struct arguments *a = ret_arguments;
    uint64_t rounds = 20;
    uint64_t timeout_s = 60;
    memset(a, 0, sizeof(*a));
    a->request.seed = 1;
    const struct argument_option options[] = {
        {"--help", NULL, &a->is_help, NULL},
        {"-h", NULL, &a->is_help, NULL},
        {"--version", NULL, &a->is_version, NULL},
        {"--json", NULL, &a->is_json, NULL},
        {"--tsv", NULL, &a->is_tsv, NULL},
        {"--dir", &a->dir, NULL, NULL},
        {"--only", &a->request.only, NULL, NULL},
        {"--listen", &a->request.listen, NULL, NULL},
        {"--list", NULL, &a->request.is_list, NULL},
        {"--keep", NULL, &a->request.is_keep, NULL},
        {"--volatile", NULL, &a->request.is_volatile, NULL},
        {"--rounds", NULL, NULL, &rounds},
        {"--timeout", NULL, NULL, &timeout_s},
        {"--seed", NULL, NULL, &a->request.seed},
        {"--as-case", &a->request.as_case, NULL, NULL},
        {"--as-writer", &a->request.as_writer, NULL, NULL},
        {"--folder", &a->request.folder, NULL, NULL},
        {"--number", NULL, NULL, &a->request.number},
        {"--after", NULL, NULL, &a->request.after},
    };
    bool is_rest = false;
    for (int i = 1; i < argc; i++) {
        const struct argument_option *option =
            is_rest ? NULL : arguments_find(options, sizeof(options) / sizeof(options[0]), argv[i]);
        if (!is_rest && strcmp(argv[i], "--") == 0) {
            is_rest = true;
        } else if (option != NULL && option->flag != NULL) {
            *option->flag = true;
        } else if (option != NULL && i + 1 == argc) {
            snprintf(ret_error, ARGUMENTS_ERROR_MAX, "%s needs a value", argv[i]);
            return false;
        } else if (option != NULL && option->text != NULL) {
            *option->text = argv[++i];
        } else if (option != NULL) {
            if (!arguments_number(argv[++i], option->number)) {
                snprintf(ret_error, ARGUMENTS_ERROR_MAX, "%s needs a number, not \"%.64s\"",
                         option->name, argv[i]);
                return false;
            }
        } else if (!is_rest && argv[i][0] == '-' && argv[i][1] != '\0') {
            snprintf(ret_error, ARGUMENTS_ERROR_MAX, "unknown option \"%.64s\"", argv[i]);
            return false;
        } else if (a->verb == NULL) {
            a->verb = argv[i];
        } else if (!arguments_word(a, argv[i], ret_error)) {
            return false;
        }
    }
    if (rounds > 500000 || timeout_s == 0 || timeout_s > 86400) {
        snprintf(ret_error, ARGUMENTS_ERROR_MAX,
                 "--rounds is at most 500000, --timeout 1 to 86400 seconds");
        return false;
    }
    a->request.rounds = (uint32_t)rounds;
    a->request.timeout_s = (uint32_t)timeout_s;
    a->request.plugin = a->name;
    return true;
}
