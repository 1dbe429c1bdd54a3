/*
 * The command line as data. Options may stand before or after the verb; everything behind "--" is
 * an argument. Pure but for the environment variable KV_ARBITER.
 */
#ifndef KVCTL_OPTIONS_H
#define KVCTL_OPTIONS_H

#include <stdbool.h>
#include <stdint.h>

#define OPTIONS_ERROR_MAX 300u
#define OPTIONS_ARGS_MAX  3u

/* Which options and how many arguments a verb takes. */
enum verb_id {
    VERB_PUT,
    VERB_GET,
    VERB_REMOVE,
    VERB_SCAN,
    VERB_IMPORT,
    VERB_EXPORT,
    VERB_STATUS,
    VERB_DIGEST,
    VERB_LEAVE,
    VERB_HANDOVER,
    VERB_TAKEOVER,
    VERB_BENCH,
    VERB_HELP,
    VERBS_LEN
};

/* Texts point into argv or the environment. */
struct options {
    enum verb_id verb;
    const char *args[OPTIONS_ARGS_MAX];
    uint32_t args_len;

    bool help;
    bool version;
    bool json;
    const char *arbiter;
    const char *plugins; /* folder of the transport plugins; NULL: the usual places */
    uint64_t timeout_ms; /* as given, or the verb's default */

    const char *node; /* NULL: the primary */
    const char *prefix;
    uint64_t limit;    /* UINT64_MAX: all */
    uint64_t at_least; /* reads wait for this index of the log; 0: none */
    bool force;

    const char *format; /* NULL: by the file's name */
    uint64_t window;
    uint64_t retries;
    bool skip_bad;
    bool progress;

    uint64_t connections;
    uint64_t depth;
    uint64_t seconds;
    uint64_t count; /* 0: by time */
    uint64_t read_percent;
    uint64_t keys;
    uint64_t key_bytes;
    uint64_t value_bytes;
    uint64_t seed;
};

/* False: ret_error (OPTIONS_ERROR_MAX bytes) says what is wrong. With help or version set, the verb
 * and its arguments may be missing (verb is VERBS_LEN then). */
bool options_parse(int argc, char **argv, struct options *ret_options, char *ret_error);

const char *options_verb_name(enum verb_id verb);

#endif
