#include "table.h"

#include "base/alloc.h"
#include "base/check.h"

#include <stddef.h>

#define TABLE_BITS_MIN 8u

void table_init(struct table *table)
{
    table->bits = TABLE_BITS_MIN;
    table->len = 0;
    table->slots = alloc_zeroed((size_t)1 << table->bits, sizeof(*table->slots));
}

void table_close(struct table *table)
{
    alloc_free(table->slots);
    table->slots = NULL;
}

static uint32_t table_mask(const struct table *table)
{
    return ((uint32_t)1 << table->bits) - 1u;
}

/* Ids are dense; Fibonacci hashing spreads them evenly, so that runs stay short also when old
 * requests are still there after the ids have wrapped around the slots. */
static uint32_t table_home(const struct table *table, uint64_t id)
{
    return (uint32_t)((id * 0x9e3779b97f4a7c15ull) >> (64u - table->bits));
}

/* Where id is, or the empty slot where it would be. */
static uint32_t table_locate(const struct table *table, uint64_t id)
{
    uint32_t at = table_home(table, id);
    while (table->slots[at].id != 0 && table->slots[at].id != id) {
        at = (at + 1u) & table_mask(table);
    }
    return at;
}

static void table_grow(struct table *table)
{
    struct table_slot *old = table->slots;
    uint32_t old_len = (uint32_t)1 << table->bits;
    table->bits++;
    table->slots = alloc_zeroed((size_t)1 << table->bits, sizeof(*table->slots));
    for (uint32_t i = 0; i < old_len; i++) {
        if (old[i].id != 0) {
            table->slots[table_locate(table, old[i].id)] = old[i];
        }
    }
    alloc_free(old);
}

void table_put(struct table *table, uint64_t id, struct request *request)
{
    KV_CHECK(id != 0);
    if (table->len >= (uint32_t)1 << (table->bits - 1u)) {
        table_grow(table);
    }
    struct table_slot *slot = &table->slots[table_locate(table, id)];
    KV_CHECK(slot->id == 0);
    slot->id = id;
    slot->request = request;
    table->len++;
}

struct request *table_find(const struct table *table, uint64_t id)
{
    return id == 0 ? NULL : table->slots[table_locate(table, id)].request;
}

void table_remove(struct table *table, uint64_t id)
{
    uint32_t mask = table_mask(table);
    uint32_t hole = table_locate(table, id);
    KV_CHECK(id != 0 && table->slots[hole].id == id);
    /* Moves up those behind it that would not be found across the hole. */
    for (uint32_t at = (hole + 1u) & mask; table->slots[at].id != 0; at = (at + 1u) & mask) {
        uint32_t home = table_home(table, table->slots[at].id);
        if (((at - home) & mask) >= ((at - hole) & mask)) {
            table->slots[hole] = table->slots[at];
            hole = at;
        }
    }
    table->slots[hole].id = 0;
    table->slots[hole].request = NULL;
    table->len--;
}
