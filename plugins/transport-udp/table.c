#include "table.h"

#include <string.h>

#define TABLE_CAPACITY_MIN 16u

void table_init(struct table *table, const struct kv_host *host)
{
    *table = (struct table){.host = host};
}

void table_close(struct table *table)
{
    table->host->release(table->host->ctx, table->entries);
    *table = (struct table){.host = table->host};
}

static uint32_t table_home(const struct table *table, uint64_t token)
{
    return (uint32_t)token & (table->capacity - 1);
}

/* Place of the token, or the free one at which its search ends. */
static uint32_t table_probe(const struct table *table, uint64_t token)
{
    uint32_t at = table_home(table, token);
    while (table->entries[at].token != 0 && table->entries[at].token != token) {
        at = (at + 1) & (table->capacity - 1);
    }
    return at;
}

static int32_t table_grow(struct table *table)
{
    struct table before = *table;
    uint32_t capacity = before.capacity == 0 ? TABLE_CAPACITY_MIN : 2 * before.capacity;
    size_t size = capacity * sizeof(struct table_entry);
    struct table_entry *entries = table->host->allocate(table->host->ctx, size);
    if (entries == NULL) {
        return KV_E_NOMEM;
    }
    memset(entries, 0, size);
    table->entries = entries;
    table->capacity = capacity;
    for (uint32_t at = 0; at < before.capacity; at++) {
        if (before.entries[at].token != 0) {
            entries[table_probe(table, before.entries[at].token)] = before.entries[at];
        }
    }
    table->host->release(table->host->ctx, before.entries);
    return KV_OK;
}

int32_t table_add(struct table *table, uint64_t token, struct kv_link *link)
{
    if (2 * (table->len + 1) > table->capacity && table_grow(table) != KV_OK) {
        return KV_E_NOMEM;
    }
    table->entries[table_probe(table, token)] = (struct table_entry){token, link};
    table->len++;
    return KV_OK;
}

struct kv_link *table_find(const struct table *table, uint64_t token)
{
    if (table->len == 0 || token == 0) {
        return NULL;
    }
    return table->entries[table_probe(table, token)].link;
}

/* Moves up what could not stand at its home because of the entry that goes. */
void table_remove(struct table *table, uint64_t token)
{
    if (table_find(table, token) == NULL) {
        return;
    }
    uint32_t mask = table->capacity - 1;
    uint32_t hole = table_probe(table, token);
    for (uint32_t at = (hole + 1) & mask; table->entries[at].token != 0; at = (at + 1) & mask) {
        uint32_t home = table_home(table, table->entries[at].token);
        if (((at - home) & mask) >= ((at - hole) & mask)) {
            table->entries[hole] = table->entries[at];
            hole = at;
        }
    }
    table->entries[hole] = (struct table_entry){0, NULL};
    table->len--;
}
