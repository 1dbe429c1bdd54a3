/*
 * What the tests of persist-mongo share: the plugin's operations behind short calls that check what
 * comes back, a model of the content, and a server of a test's own. The plugin is the shared object
 * that a node would load.
 */
#ifndef MONGO_TEST_KIT_H
#define MONGO_TEST_KIT_H

#include "kit_host.h"

#include <kvnode/persist.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>

/* One instance of the plugin. */
struct kit_store {
    struct kit_host *host;
    void *self;
    bool is_open;
    struct kv_position position; /* as open() gave it */
};

/* settings: "name=value" texts, NULL-terminated; the others have their defaults, the collection one
 * of its own for each test program. Fails the test unless create() gives `expected`. */
void kit_create(struct kit_store *store, struct kit_host *host, int32_t expected,
                const char *const *settings);
int32_t kit_open(struct kit_store *store);

/* create() and open(): the code of the first that fails. */
int32_t kit_try(struct kit_store *store, struct kit_host *host, const char *const *settings);
void kit_close(struct kit_store *store);
void kit_destroy(struct kit_store *store); /* checks that nothing is left allocated */

/* The URI of the server, KV_MONGO_URI. */
const char *kit_uri(void);

/* A collection name that is used by nobody else. Static text, valid until the call after next. */
const char *kit_collection(void);

/* A record; value NULL: a removal. Borrowed. */
struct kv_record kit_record(uint64_t index, const char *key, const char *value);

/* apply(), with results that a caller may want to see (NULL: all must be stored). */
int32_t kit_apply(struct kit_store *store, const struct kv_record *records, uint32_t count,
                  struct kv_position position, uint32_t *ret_results);

int32_t kit_reset(struct kit_store *store);

/* The content by load(): "KEY=VALUE@INDEX;" of each pair in order of key; bytes that do not print
 * as \xNN. To be freed. */
char *kit_content(struct kit_store *store);

/* load() alone: its code. */
int32_t kit_load(struct kit_store *store);

/* The same of one key by get(); "" when it is absent. */
char *kit_get(struct kit_store *store, const char *key);

/* A server of the test's own, from KV_MONGO_RUN; false: the server is one that was given, it cannot
 * be stopped. */
struct kit_server {
    pid_t pid;
    int port;
    char folder[256];
    char uri[64];
};
bool kit_server_start(struct kit_server *server);
void kit_server_stop(struct kit_server *server); /* cleanly */
void kit_server_signal(struct kit_server *server, int number);
void kit_server_restart(struct kit_server *server); /* on the same data and port */
void kit_server_remove(struct kit_server *server);

uint64_t kit_now_ms(void);

#endif
