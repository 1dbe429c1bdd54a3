/*
 * Links by token: a hash table with linear probing. Tokens are random, so their low bits are the
 * hash. Pure; owned by one endpoint.
 */
#ifndef TRANSPORT_UDP_TABLE_H
#define TRANSPORT_UDP_TABLE_H

#include <stdint.h>

#include <kvnode/transport.h>

struct table_entry {
    uint64_t token; /* 0: free */
    struct kv_link *link;
};

struct table {
    const struct kv_host *host;
    struct table_entry *entries;
    uint32_t capacity; /* a power of two, at most half full */
    uint32_t len;
};

void table_init(struct table *table, const struct kv_host *host);
void table_close(struct table *table);

/* token: not 0, not in the table. KV_E_NOMEM: nothing changed. */
int32_t table_add(struct table *table, uint64_t token, struct kv_link *link);

/* NULL: none. */
struct kv_link *table_find(const struct table *table, uint64_t token);

/* One that is not there is fine. */
void table_remove(struct table *table, uint64_t token);

#endif
