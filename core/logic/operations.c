#include "logic/operations.h"

#include "base/alloc.h"

#include <string.h>

#define OPERATIONS_MIN 256u

void operations_init(struct operations *operations)
{
    memset(operations, 0, sizeof(*operations));
    operations->earliest_ms = UINT64_MAX;
}

void operations_close(struct operations *operations, uint64_t first, uint64_t last)
{
    for (uint64_t index = first; operations->capacity > 0 && index <= last; index++) {
        operations_done(operations, index);
    }
    alloc_free(operations->items);
    alloc_free(operations->hashes);
    operations_init(operations);
}

struct operation *operations_at(const struct operations *operations, uint64_t index)
{
    return &operations->items[index & (operations->capacity - 1)];
}

uint64_t operations_hash(const struct operations *operations, uint64_t index)
{
    return operations->hashes[index & (operations->capacity - 1)];
}

static void operations_grow(struct operations *operations, uint64_t first, uint64_t last)
{
    struct operations grown = *operations;
    grown.capacity = operations->capacity == 0 ? OPERATIONS_MIN : operations->capacity * 2;
    grown.items = alloc_zeroed(grown.capacity, sizeof(*grown.items));
    grown.hashes = alloc_zeroed(grown.capacity, sizeof(*grown.hashes));
    for (uint64_t index = first; index <= last; index++) {
        *operations_at(&grown, index) = *operations_at(operations, index);
        grown.hashes[index & (grown.capacity - 1)] = operations_hash(operations, index);
    }
    alloc_free(operations->items);
    alloc_free(operations->hashes);
    *operations = grown;
}

struct operation *operations_add(struct operations *operations, uint64_t first, uint64_t last,
                                 uint64_t hash)
{
    if (last + 1 - first >= operations->capacity) {
        operations_grow(operations, first, last);
    }
    struct operation *operation = operations_at(operations, last + 1);
    operations->hashes[(last + 1) & (operations->capacity - 1)] = hash;
    memset(operation, 0, sizeof(*operation));
    return operation;
}

void operations_done(struct operations *operations, uint64_t index)
{
    struct operation *operation = operations_at(operations, index);
    operations->undos -= operation->is_undo ? 1 : 0;
    alloc_free(operation->reason);
    operation->reason = NULL;
}
