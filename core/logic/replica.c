#include "logic/replica.h"

#include "base/alloc.h"
#include "base/check.h"
#include "logic/membership.h"
#include "logic/primary.h"
#include "logic/requests.h"

struct replica *replica_create(struct context *context)
{
    struct replica *replica = alloc_zeroed(1, sizeof(*replica));
    replica->context = context;
    replica->role = ROLE_JOINING;
    replica->store = store_create();
    replica->log = log_create((struct kv_position){0, 0});
    operations_init(&replica->primary.operations);
    index_set_init(&replica->primary.voids);
    index_set_init(&replica->primary.stops);
    waiting_init(&replica->primary.reads);
    refusals_init(&replica->secondary.refusals);
    catchup_init(&replica->secondary.catchup);
    waiting_init(&replica->secondary.fetched);
    buffer_init(&replica->doubtful);
    persister_init(&replica->persister);
    waiting_init(&replica->role_waiting);
    waiting_init(&replica->index_waiting);
    return replica;
}

void replica_destroy(struct replica *replica)
{
    if (replica == NULL) {
        return;
    }
    for (uint32_t i = 0; i < replica->primary.replicators_len; i++) {
        replicator_close(replica->primary.replicators[i], NULL);
        alloc_free(replica->primary.replicators[i]);
    }
    operations_close(&replica->primary.operations, replica->committed + 1,
                     log_last_index(replica->log));
    index_set_close(&replica->primary.voids);
    index_set_close(&replica->primary.stops);
    waiting_close(&replica->primary.reads);
    refusals_close(&replica->secondary.refusals);
    catchup_close(&replica->secondary.catchup);
    waiting_close(&replica->secondary.fetched);
    buffer_close(&replica->doubtful);
    waiting_close(&replica->role_waiting);
    waiting_close(&replica->index_waiting);
    persister_close(&replica->persister);
    log_unref(replica->log);
    store_destroy(replica->store);
    alloc_free(replica);
}

void replica_apply(struct replica *replica, const struct kv_record *record)
{
    if (record->kind == KV_RECORD_REMOVE) {
        store_remove(replica->store, record->key, record->key_len);
    } else {
        store_put(replica->store, record->key, record->key_len, record->value, record->value_len,
                  record->position);
    }
}

void replica_commit(struct replica *replica, uint64_t index)
{
    KV_CHECK(index >= replica->committed && index <= log_last_index(replica->log));
    while (replica->committed < index) {
        struct kv_record record = log_get(replica->log, replica->committed + 1);
        replica_apply(replica, &record);
        replica->committed++;
        replica->committed_view = record.position.view;
    }
    requests_take_reached(replica);
    replica_tell_ready(replica);
}

bool replica_is_shown(const struct replica *replica)
{
    return replica->whole && replica->compared &&
           replica->secondary.announced >= replica->secondary.shown_from;
}

bool replica_serves_reads(const struct replica *replica)
{
    return replica->role == ROLE_PRIMARY ||
           (replica->role == ROLE_SECONDARY && replica_is_shown(replica));
}

void replica_tell_ready(struct replica *replica)
{
    bool is_settled = replica->role != ROLE_PRIMARY || replica->primary.settled;
    if (replica->ready_role == 0 && is_settled && replica_serves_reads(replica)) {
        replica->ready_role = (uint8_t)replica->role;
        effects_add(replica->context->effects, EFFECT_READY)->as.ready.role = replica->ready_role;
    }
}

uint64_t replica_durable_index(const struct replica *replica)
{
    switch (replica->role) {
    case ROLE_PRIMARY:
        return replica->primary.durable_index;
    default:
        return replica->secondary.durable_index;
    }
}

uint64_t replica_known_index(const struct replica *replica)
{
    const struct secondary *secondary = &replica->secondary;
    if (replica->role == ROLE_PRIMARY) {
        return primary_source(replica).committed;
    }
    return secondary->announced < secondary->shown_from && secondary->announced < replica->committed
               ? secondary->announced
               : replica->committed;
}

uint64_t replica_deadline_ms(const struct replica *replica, uint32_t asked_ms)
{
    uint32_t timeout_ms = replica->context->config->operation_timeout_ms;
    if (asked_ms > 0 && asked_ms < timeout_ms) {
        timeout_ms = asked_ms;
    }
    return replica->context->now_ms + timeout_ms;
}
