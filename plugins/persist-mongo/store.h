/*
 * What the parts of the plugin share: one instance, its settings, its connection. One thread at a
 * time per instance; nothing global but libmongoc's own state (mongo.c).
 */
#ifndef PERSIST_MONGO_STORE_H
#define PERSIST_MONGO_STORE_H

#include <kvnode/persist.h>
#include <mongoc/mongoc.h>
#include <stdbool.h>

#define MONGO_TEXT_MAX   512u
#define MONGO_WRITER_LEN 24u /* an ObjectId as text */

struct mongo {
    const struct kv_host *host;
    /* settings, owned */
    mongoc_uri_t *uri;
    char *database_name;
    char *collection_name;
    bool is_synced; /* sync = "always" */
    bool is_shared; /* scope = "shared" */
    /* open */
    mongoc_client_t *client;
    mongoc_collection_t *pairs;
    mongoc_collection_t *meta; /* COLLECTION.kvnode: one document, see state.h */
    mongoc_write_concern_t *concern;
    char writer[MONGO_WRITER_LEN + 1]; /* drawn at each open */
    struct kv_position position;       /* as far as is known */
};

/* Logs an ERROR line with what libmongoc says, which never holds credentials, and gives the status
 * for it: KV_E_IO (closed and opened again: connections), KV_E_RETRY (the server may take it
 * later). */
int32_t mongo_fail(const struct mongo *mongo, const char *what, const bson_error_t *error);

__attribute__((format(printf, 3, 4))) void mongo_log(const struct mongo *mongo, uint32_t level,
                                                     const char *format, ...);

/* Positions are stored as signed 64-bit numbers. */
void mongo_append_position(bson_t *document, const char *name, struct kv_position position);

/* False: there is no such member, or it is no position. */
bool mongo_read_position(const bson_t *document, const char *name,
                         struct kv_position *ret_position);

/* < 0, 0, > 0 */
int mongo_compare(struct kv_position a, struct kv_position b);

#endif
