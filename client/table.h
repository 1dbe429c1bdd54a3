/*
 * Finds the request that an answer belongs to: request id to request, open addressing, constant
 * time. Used by the client library on the loop's thread.
 */
#ifndef CLIENT_TABLE_H
#define CLIENT_TABLE_H

#include <stdint.h>

struct request;

struct table_slot {
    uint64_t id; /* 0: empty */
    struct request *request;
};

struct table {
    struct table_slot *slots;
    uint32_t bits; /* 2^bits slots, at most half of them used */
    uint32_t len;
};

void table_init(struct table *table);
void table_close(struct table *table);

/* id is not 0 and not in the table. */
void table_put(struct table *table, uint64_t id, struct request *request);

/* NULL when absent. */
struct request *table_find(const struct table *table, uint64_t id);

/* id is in the table. */
void table_remove(struct table *table, uint64_t id);

#endif
