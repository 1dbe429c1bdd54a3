/*
 * kvplugin, the tool of plugin authors and operators: what its parts share. One thread, one verb a
 * process. It loads plugins exactly as kvnode does.
 */
#ifndef KVPLUGIN_KVPLUGIN_H
#define KVPLUGIN_KVPLUGIN_H

#include "kit.h"

#include <stdbool.h>
#include <stdio.h>

/* Exit status; scripts depend on these. */
#define EXIT_DONE           0
#define EXIT_FAILED         1 /* a check failed; a key is not there; a store cannot be read */
#define EXIT_USAGE          2
#define EXIT_REFUSED        3 /* the plugin was refused */

#define ARGUMENTS_ERROR_MAX 256u

/* The command line as data. Texts point into argv. */
struct arguments {
    const char *verb;
    bool is_help;
    bool is_version;
    bool is_json;
    bool is_tsv;
    const char *dir;
    const char *name; /* what follows the verb first: a plugin, or the name of a new one */
    const char *key;  /* of get */
    struct kit_request request;
};

/* False: ret_error (ARGUMENTS_ERROR_MAX bytes) says what is wrong. */
bool arguments_parse(int argc, char **argv, struct arguments *ret_arguments, char *ret_error);

void help_print(FILE *out, const char *verb); /* verb NULL: the whole */

/* The verbs return the exit status. */
int verb_info(const struct arguments *arguments);
int verb_check(const struct arguments *arguments);
int verb_new(const struct arguments *arguments);
int verb_dump(const struct arguments *arguments);
int verb_get(const struct arguments *arguments);

/* Loads the plugin, or tells on stderr why the host refuses it and returns NULL. A name of an
 * existing file without '/' is taken as that file, as a shell user expects. */
struct loaded_plugin *plugin_load(const char *name, uint32_t kind);

#endif
