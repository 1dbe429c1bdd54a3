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
    operations_init(operations);
}

struct operation *operations_at(const struct operations *operations, uint64_t index)
{
    return &operations->items[index & (operations->capacity - 1)];
}

static void operations_grow(struct operations *operations, uint64_t first, uint64_t last)
{
    struct operations grown = *operations;
    grown.capacity = operations->capacity == 0 ? OPERATIONS_MIN : operations->capacity * 2;
    grown.items = alloc_zeroed(grown.capacity, sizeof(*grown.items));
    for (uint64_t index = first; index <= last; index++) {
        *operations_at(&grown, index) = *operations_at(operations, index);
    }
    alloc_free(operations->items);
    *operations = grown;
}

struct operation *operations_add(struct operations *operations, uint64_t first, uint64_t last)
{
    if (last + 1 - first >= operations->capacity) {
        operations_grow(operations, first, last);
    }
    struct operation *operation = operations_at(operations, last + 1);
    memset(operation, 0, sizeof(*operation));
    return operation;
}

void operations_done(struct operations *operations, uint64_t index)
{
    struct operation *operation = operations_at(operations, index);
    alloc_free(operation->reason);
    operation->reason = NULL;
}
