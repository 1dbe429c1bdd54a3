#include "logic/undo.h"

#include "base/alloc.h"
#include "base/check.h"
#include "base/hash.h"
#include "logic/bug.h"
#include "logic/record.h"

#include <string.h>

static bool undo_is_same_key(const struct replica *replica, uint64_t index, uint64_t hash,
                             const struct kv_record *record)
{
    const struct operations *operations = &replica->primary.operations;
    if (operations_hash(operations, index) != hash ||
        (operations_at(operations, index)->is_void && !BUG(undo_to_void))) {
        return false;
    }
    struct kv_record other = log_get(replica->log, index);
    return record_has_key(&other, record->key, record->key_len);
}

/* The first update of the key after index that is not void; 0: there is none. */
static uint64_t undo_find_newer(const struct replica *replica, uint64_t index, uint64_t hash,
                                const struct kv_record *record)
{
    for (uint64_t next = index + 1; next <= log_last_index(replica->log); next++) {
        if (BUG(undo_over_newer)) {
            break;
        }
        if (undo_is_same_key(replica, next, hash, record)) {
            return next;
        }
    }
    return 0;
}

/* The last update of the key before index that is neither void nor committed; 0: there is none. */
static uint64_t undo_find_older(const struct replica *replica, uint64_t index, uint64_t hash,
                                const struct kv_record *record)
{
    for (uint64_t before = index - 1; before > replica->committed; before--) {
        if (undo_is_same_key(replica, before, hash, record)) {
            return before;
        }
    }
    return 0;
}

/* Gives the record the kind and the value that its key had before index; returns where they are
 * from, as operation.restores says. */
static uint64_t undo_fill(const struct replica *replica, uint64_t index, uint64_t hash,
                          struct kv_record *record)
{
    uint64_t older = undo_find_older(replica, index, hash, record);
    struct store_entry entry;
    record->kind = KV_RECORD_REMOVE;
    record->value = NULL;
    record->value_len = 0;
    if (older != 0) {
        struct kv_record before = log_get(replica->log, older);
        record->kind = before.kind;
        record->value = before.value;
        record->value_len = before.value_len;
    } else if (store_get(replica->store, record->key, record->key_len, &entry)) {
        record->kind = KV_RECORD_INSERT;
        record->value = entry.value;
        record->value_len = entry.value_len;
    }
    return older;
}

/* Appends the record that makes up for the one at index; returns its index. */
static uint64_t undo_append(struct replica *replica, uint64_t index)
{
    uint64_t last = log_last_index(replica->log);
    uint64_t hash = operations_hash(&replica->primary.operations, index);
    struct kv_record record = log_get(replica->log, index);
    uint64_t restores = undo_fill(replica, index, hash, &record);
    record.position.view = replica->view.number;
    record.position.index = last + 1;
    record.client = 0;
    record.request = index;
    struct operation *operation =
        operations_add(&replica->primary.operations, replica->committed + 1, last, hash);
    log_append(replica->log, &record);
    operation->restores = restores;
    operation->is_undo = true;
    replica->primary.operations.undos++;
    operation->answered = true;
    context_count(replica->context, COUNTER_operations_undone);
    return last + 1;
}

/* Makes up for a void record: forbids the commit index to stop from it on until that is done. */
static void undo_make_up(struct replica *replica, uint64_t index)
{
    struct kv_record record = log_get(replica->log, index);
    uint64_t hash = operations_hash(&replica->primary.operations, index);
    uint64_t end = undo_find_newer(replica, index, hash, &record);
    if (end == 0) {
        end = BUG(forget_undo) ? index + 1 : undo_append(replica, index);
    }
    if (!BUG(show_failed)) {
        index_set_add(&replica->primary.stops, index, end - 1);
    }
}

bool undo_is_possible(const struct replica *replica, uint64_t index)
{
    return index > replica->committed && index <= log_last_index(replica->log) &&
           !operations_at(&replica->primary.operations, index)->is_undo;
}

/* The undos that bring back the value of the one at index are void with it, and so on; they stand
 * in ascending order, each behind what it restores. True when there are any. */
static bool undo_void_copies(struct replica *replica, uint64_t index, uint64_t last)
{
    const struct operations *operations = &replica->primary.operations;
    bool is_any = false;
    for (uint64_t next = index + 1; next <= last; next++) {
        struct operation *undo = operations_at(operations, next);
        if (undo->is_undo && !undo->is_void && undo->restores > replica->committed &&
            operations_at(operations, undo->restores)->is_void && !BUG(undo_to_void)) {
            undo->is_void = true;
            undo->is_pending = true;
            index_set_add(&replica->primary.voids, next, next);
            is_any = true;
        }
    }
    return is_any;
}

void undo_refuse(struct replica *replica, uint64_t index, struct bytes_view reason)
{
    KV_CHECK(undo_is_possible(replica, index));
    struct operations *operations = &replica->primary.operations;
    struct operation *operation = operations_at(operations, index);
    if (operation->is_void) {
        return;
    }
    operation->is_void = true;
    index_set_add(&replica->primary.voids, index, index);
    if (reason.len > 0) {
        size_t len = reason.len < TEXT_MAX ? reason.len : TEXT_MAX;
        operation->reason = alloc_zeroed(1, len + 1);
        memcpy(operation->reason, reason.at, len);
    }
    if (replica->primary.barrier_ms == 0) {
        replica->primary.barrier_ms = replica->context->now_ms;
    }
    uint64_t last = log_last_index(replica->log);
    bool has_copies = operations->undos > 0 && undo_void_copies(replica, index, last);
    undo_make_up(replica, index);
    for (uint64_t next = index + 1; has_copies && next <= last; next++) {
        if (operations_at(operations, next)->is_pending) {
            operations_at(operations, next)->is_pending = false;
            undo_make_up(replica, next);
        }
    }
}

void undo_adopt(struct replica *replica, uint64_t index)
{
    struct operations *operations = &replica->primary.operations;
    struct kv_record undo = log_get(replica->log, index);
    uint64_t undone = undo.request;
    if (undo.client != 0) {
        return;
    }
    operations_at(operations, index)->is_undo = true;
    operations->undos++;
    if (undone <= replica->committed || undone >= index) {
        return; /* no more than a record that nobody waits for */
    }
    struct kv_record record = log_get(replica->log, undone);
    uint64_t hash = operations_hash(operations, undone);
    operations_at(operations, undone)->is_void = true;
    operations_at(operations, index)->restores = undo_find_older(replica, undone, hash, &record);
    index_set_add(&replica->primary.voids, undone, undone);
    index_set_add(&replica->primary.stops, undone, index - 1);
    if (replica->primary.barrier_ms == 0) {
        replica->primary.barrier_ms = replica->context->now_ms;
    }
}
