#include "options.h"

#include <errno.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum option_type { OPTION_FLAG, OPTION_NUMBER, OPTION_TEXT };

#define V(name)   (1u << VERB_##name)
#define ANY_VERB  ((1u << VERBS_LEN) - 1)
#define WITH_NODE (V(GET) | V(SCAN) | V(EXPORT) | V(DIGEST) | V(BENCH))
#define READS     (V(GET) | V(SCAN) | V(EXPORT))
#define FILES     (V(IMPORT) | V(EXPORT))

struct option_spec {
    const char *name; /* with its dashes */
    enum option_type type;
    size_t offset; /* of its member */
    uint64_t min;
    uint64_t max;
    uint32_t verbs; /* bits of those that know it */
};

#define FLAG(name, member, verbs)                                        \
    {                                                                    \
        name, OPTION_FLAG, offsetof(struct options, member), 0, 0, verbs \
    }
#define TEXT(name, member, verbs)                                        \
    {                                                                    \
        name, OPTION_TEXT, offsetof(struct options, member), 0, 0, verbs \
    }
#define NUMBER(name, member, min, max, verbs)                                  \
    {                                                                          \
        name, OPTION_NUMBER, offsetof(struct options, member), min, max, verbs \
    }

static const struct option_spec option_specs[] = {
    FLAG("-h", help, ANY_VERB),
    FLAG("--help", help, ANY_VERB),
    FLAG("--version", version, ANY_VERB),
    FLAG("--json", json, ANY_VERB),
    TEXT("-a", arbiter, ANY_VERB),
    TEXT("--arbiter", arbiter, ANY_VERB),
    TEXT("--plugins", plugins, ANY_VERB),
    NUMBER("--timeout", timeout_ms, 1, 3600000, ANY_VERB),
    TEXT("--node", node, WITH_NODE),
    NUMBER("--at-least", at_least, 0, UINT64_MAX, READS),
    FLAG("--force", force, V(TAKEOVER)),
    TEXT("--prefix", prefix, V(SCAN)),
    NUMBER("--limit", limit, 1, UINT64_MAX - 1, V(SCAN)),
    TEXT("--format", format, FILES),
    NUMBER("--window", window, 1, 65536, V(IMPORT)),
    NUMBER("--retries", retries, 0, 1000000, FILES | V(SCAN)),
    FLAG("--skip-bad", skip_bad, V(IMPORT)),
    FLAG("--progress", progress, FILES),
    NUMBER("--connections", connections, 1, 10000, V(BENCH)),
    NUMBER("--depth", depth, 1, 65536, V(BENCH)),
    NUMBER("--seconds", seconds, 1, 1000000, V(BENCH)),
    NUMBER("--count", count, 1, UINT64_MAX / 2, V(BENCH)),
    NUMBER("--read", read_percent, 0, 100, V(BENCH)),
    NUMBER("--keys", keys, 1, 1000000000000, V(BENCH)),
    NUMBER("--key-bytes", key_bytes, 1, 65536, V(BENCH)),
    NUMBER("--value-bytes", value_bytes, 0, 67108864, V(BENCH)),
    NUMBER("--seed", seed, 0, UINT64_MAX, V(BENCH)),
};

struct verb_spec {
    const char *name;
    uint32_t args_min;
    uint32_t args_max;
    const char *args; /* for people */
};

static const struct verb_spec verb_specs[VERBS_LEN] = {
    [VERB_PUT] = {"put", 2, 2, "KEY VALUE"},
    [VERB_GET] = {"get", 1, 1, "KEY"},
    [VERB_REMOVE] = {"remove", 1, 1, "KEY"},
    [VERB_SCAN] = {"scan", 0, 0, "no argument"},
    [VERB_IMPORT] = {"import", 1, 1, "FILE or -"},
    [VERB_EXPORT] = {"export", 0, 1, "at most one FILE"},
    [VERB_STATUS] = {"status", 0, 0, "no argument"},
    [VERB_DIGEST] = {"digest", 0, 0, "no argument"},
    [VERB_LEAVE] = {"leave", 1, 1, "the NAME of a node"},
    [VERB_HANDOVER] = {"handover", 1, 1, "the NAME of a node"},
    [VERB_TAKEOVER] = {"takeover", 1, 1, "the NAME of a node"},
    [VERB_BENCH] = {"bench", 0, 0, "no argument"},
    [VERB_HELP] = {"help", 0, 1, "at most one VERB"},
};

/* What one request may take; what changes the view takes longer: the arbiter gives up after 10 s.
 */
#define TIMEOUT_MS      2000u
#define TIMEOUT_VIEW_MS 12000u

static void options_set_defaults(struct options *options)
{
    *options = (struct options){
        .verb = VERBS_LEN,
        .prefix = "",
        .limit = UINT64_MAX,
        .window = 1024,
        .retries = 20,
        .connections = 50,
        .depth = 1,
        .seconds = 10,
        .read_percent = 50,
        .keys = 100000,
        .key_bytes = 16,
        .value_bytes = 100,
        .seed = 1,
    };
    options->arbiter = getenv("KV_ARBITER");
    if (options->arbiter == NULL || options->arbiter[0] == '\0') {
        options->arbiter = "tcp://127.0.0.1:7400";
    }
}

const char *options_verb_name(enum verb_id verb)
{
    return verb_specs[verb].name;
}

static bool options_parse_number(const struct option_spec *spec, const char *text,
                                 uint64_t *ret_number, char *ret_error)
{
    char *end = NULL;
    errno = 0;
    unsigned long long number = strtoull(text, &end, 10);
    bool is_number = text[0] >= '0' && text[0] <= '9' && *end == '\0';
    if (!is_number || errno == ERANGE || number < spec->min || number > spec->max) {
        snprintf(ret_error, OPTIONS_ERROR_MAX,
                 "%s takes a whole number from %llu to %llu, not '%.80s'", spec->name,
                 (unsigned long long)spec->min, (unsigned long long)spec->max, text);
        return false;
    }
    *ret_number = number;
    return true;
}

/* The option that argument names, with the text behind its '=' in ret_value (NULL: none). */
static const struct option_spec *options_find(const char *argument, const char **ret_value)
{
    for (size_t i = 0; i < sizeof(option_specs) / sizeof(option_specs[0]); i++) {
        const struct option_spec *spec = &option_specs[i];
        size_t len = strlen(spec->name);
        if (strncmp(argument, spec->name, len) != 0) {
            continue;
        }
        if (argument[len] == '\0') {
            *ret_value = NULL;
            return spec;
        }
        if (argument[len] == '=' && spec->name[1] == '-') {
            *ret_value = argument + len + 1;
            return spec;
        }
    }
    return NULL;
}

/* Takes the option at argv[*at] and moves *at to its last word. */
static bool options_take(int argc, char **argv, int *at, struct options *options,
                         const struct option_spec **ret_spec, char *ret_error)
{
    const char *value = NULL;
    const struct option_spec *spec = options_find(argv[*at], &value);
    if (spec == NULL) {
        snprintf(ret_error, OPTIONS_ERROR_MAX,
                 "unknown option '%.80s'; a key or value that starts with '-' goes behind '--'",
                 argv[*at]);
        return false;
    }
    void *member = (char *)options + spec->offset;
    if (spec->type == OPTION_FLAG) {
        if (value != NULL) {
            snprintf(ret_error, OPTIONS_ERROR_MAX, "%s takes no value", spec->name);
            return false;
        }
        *(bool *)member = true;
    } else {
        if (value == NULL && *at + 1 >= argc) {
            snprintf(ret_error, OPTIONS_ERROR_MAX, "%s needs a value", spec->name);
            return false;
        }
        if (value == NULL) {
            value = argv[++*at];
        }
        if (spec->type == OPTION_TEXT) {
            *(const char **)member = value;
        } else if (!options_parse_number(spec, value, member, ret_error)) {
            return false;
        }
    }
    *ret_spec = spec;
    return true;
}

static bool options_take_word(struct options *options, const char *word, char *ret_error)
{
    if (options->verb != VERBS_LEN) {
        if (options->args_len == OPTIONS_ARGS_MAX) {
            snprintf(ret_error, OPTIONS_ERROR_MAX, "too many arguments from '%.80s' on", word);
            return false;
        }
        options->args[options->args_len++] = word;
        return true;
    }
    for (uint32_t i = 0; i < VERBS_LEN; i++) {
        if (strcmp(word, verb_specs[i].name) == 0) {
            options->verb = (enum verb_id)i;
            return true;
        }
    }
    snprintf(ret_error, OPTIONS_ERROR_MAX, "unknown verb '%.80s' (see kvctl --help)", word);
    return false;
}

/* What can be said only when all words are known. */
static bool options_check(const struct options *options, const struct option_spec *const *taken,
                          uint32_t taken_len, char *ret_error)
{
    if (options->help || options->version) {
        return true;
    }
    if (options->verb == VERBS_LEN) {
        snprintf(ret_error, OPTIONS_ERROR_MAX, "a verb is missing (see kvctl --help)");
        return false;
    }
    const struct verb_spec *verb = &verb_specs[options->verb];
    if (options->args_len < verb->args_min || options->args_len > verb->args_max) {
        snprintf(ret_error, OPTIONS_ERROR_MAX, "%s takes %s (see kvctl %s --help)", verb->name,
                 verb->args, verb->name);
        return false;
    }
    for (uint32_t i = 0; i < taken_len; i++) {
        if ((taken[i]->verbs & 1u << options->verb) == 0) {
            snprintf(ret_error, OPTIONS_ERROR_MAX, "%s does not belong to %s (see kvctl %s --help)",
                     taken[i]->name, verb->name, verb->name);
            return false;
        }
    }
    return true;
}

bool options_parse(int argc, char **argv, struct options *ret_options, char *ret_error)
{
    struct options options;
    options_set_defaults(&options);
    const struct option_spec *taken[64];
    uint32_t taken_len = 0;
    bool only_words = false;
    for (int at = 1; at < argc; at++) {
        const char *word = argv[at];
        if (only_words || word[0] != '-' || word[1] == '\0') {
            if (!options_take_word(&options, word, ret_error)) {
                return false;
            }
        } else if (strcmp(word, "--") == 0) {
            only_words = true;
        } else {
            if (taken_len == sizeof(taken) / sizeof(taken[0])) {
                snprintf(ret_error, OPTIONS_ERROR_MAX, "too many options");
                return false;
            }
            if (!options_take(argc, argv, &at, &options, &taken[taken_len], ret_error)) {
                return false;
            }
            taken_len++;
        }
    }
    if (!options_check(&options, taken, taken_len, ret_error)) {
        return false;
    }
    if (options.timeout_ms == 0) {
        bool changes_view = options.verb == VERB_LEAVE || options.verb == VERB_HANDOVER ||
                            options.verb == VERB_TAKEOVER;
        options.timeout_ms = changes_view ? TIMEOUT_VIEW_MS : TIMEOUT_MS;
    }
    *ret_options = options;
    return true;
}
