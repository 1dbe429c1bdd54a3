#include "logic/node.h"

#include "base/alloc.h"
#include "base/check.h"
#include "logic/arbiter.h"
#include "logic/bug.h"
#include "logic/members.h"
#include "logic/membership.h"
#include "logic/primary.h"
#include "logic/record.h"
#include "logic/requests.h"
#include "logic/secondary.h"

#include <string.h>

struct node {
    struct node_config config; /* its texts are owned */
    struct context context;
    struct arbiter *arbiter; /* NULL: not this role */
    struct replica *replica; /* NULL: not this role */
    uint64_t before_ms;      /* time of the event before */
    uint64_t told_view_ms;   /* when a sender of an older view was last told of the present one */
};

/* --- life --- */

static bool node_config_valid(const struct node_config *config)
{
    if ((!config->is_arbiter && !config->is_replica) || config->node == 0 || config->name == NULL ||
        !view_name_valid(config->name, strlen(config->name))) {
        return false;
    }
    if (config->is_arbiter && config->new_cluster == 0 && config->registry_len == 0) {
        return false;
    }
    if (config->is_replica && (config->arbiter_uri == NULL || config->uris_len == 0)) {
        return false;
    }
    if (config->uris_len > URIS_MAX || config->persist_plugin == NULL) {
        return false;
    }
    for (uint32_t i = 0; i < config->uris_len; i++) {
        if (!view_uri_valid(config->uris[i], strlen(config->uris[i]))) {
            return false;
        }
    }
    return true;
}

static void node_copy_config(struct node *node, const struct node_config *config)
{
    struct node_config *copy = &node->config;
    *copy = *config;
    copy->name = alloc_string(config->name, strlen(config->name));
    copy->persist_plugin = alloc_string(config->persist_plugin, strlen(config->persist_plugin));
    copy->arbiter_uri = config->arbiter_uri == NULL
                            ? NULL
                            : alloc_string(config->arbiter_uri, strlen(config->arbiter_uri));
    for (uint32_t i = 0; i < config->uris_len; i++) {
        copy->uris[i] = alloc_string(config->uris[i], strlen(config->uris[i]));
    }
}

int32_t node_create(const struct node_config *config, struct node **ret_node)
{
    if (!node_config_valid(config)) {
        return KV_E_INVALID;
    }
    struct node *node = alloc_zeroed(1, sizeof(*node));
    node_copy_config(node, config);
    node->context.config = &node->config;
    node->context.cluster = config->cluster;
    node->context.next_link = 1;
    if (config->is_arbiter && arbiter_create(&node->context, &node->arbiter) != KV_OK) {
        node_destroy(node);
        return KV_E_CORRUPT;
    }
    /* The registry's bytes are borrowed for this call only. */
    node->config.registry = NULL;
    node->config.registry_len = 0;
    if (config->is_replica) {
        node->replica = replica_create(&node->context);
    }
    *ret_node = node;
    return KV_OK;
}

void node_destroy(struct node *node)
{
    if (node == NULL) {
        return;
    }
    arbiter_destroy(node->arbiter);
    replica_destroy(node->replica);
    for (uint32_t i = 0; i < node->config.uris_len; i++) {
        alloc_free((void *)node->config.uris[i]);
    }
    alloc_free((void *)node->config.arbiter_uri);
    alloc_free((void *)node->config.persist_plugin);
    alloc_free((void *)node->config.name);
    alloc_free(node);
}

/* --- messages --- */

static void node_send_view(struct node *node, uint64_t link)
{
    if (node->replica != NULL && node->replica->view.number > 0) {
        requests_answer_locate(&node->context, &node->replica->view, link, 0);
    }
}

/* A primary that does not know yet that it is none any more, since the arbiter does not reach it,
 * say: it is told, now and then. */
static void node_tell_view(struct node *node, uint64_t link, const struct message *message)
{
    uint64_t since_ms = node->context.now_ms - node->told_view_ms;
    if (message->type == MESSAGE_SNAPSHOT && since_ms >= node->config.retransmit_ms) {
        node->told_view_ms = node->context.now_ms;
        node_send_view(node, link);
    }
}

/* Rule 3: between primary and secondary only messages of this very view count. */
static bool node_view_fits(struct node *node, uint64_t link, const struct message *message)
{
    if (message->view < node->replica->view.number && !BUG(stale_view)) {
        context_count(&node->context, COUNTER_messages_old_view);
        node_tell_view(node, link, message);
        return false;
    }
    if (message->view > node->replica->view.number) {
        context_count(&node->context, COUNTER_messages_future_view);
        return false;
    }
    return true;
}

static void node_on_replica_message(struct node *node, uint64_t link, const struct message *message,
                                    const struct event *event)
{
    struct replica *replica = node->replica;
    /* A refusal to join may come from another cluster's arbiter, and says so. */
    if (message->type != MESSAGE_JOIN_REJECTED && message->cluster != 0 &&
        node->context.cluster != 0 && message->cluster != node->context.cluster) {
        context_count(&node->context, COUNTER_messages_foreign_cluster);
        return;
    }
    if (requests_is_request(message->type)) {
        requests_on_message(replica, link, message, event->as.message.bytes, event->as.message.len);
        return;
    }
    switch (message->type) {
    case MESSAGE_SNAPSHOT:
        if (node_view_fits(node, link, message)) {
            secondary_on_snapshot(replica, link, message);
        }
        break;
    case MESSAGE_SNAPSHOT_ACK:
    case MESSAGE_RESUME:
        if (replica->role != ROLE_PRIMARY) {
            context_count(&node->context, COUNTER_messages_unexpected);
        } else if (!node_view_fits(node, link, message)) {
            break;
        } else if (message->type == MESSAGE_RESUME) {
            members_on_resume(replica, link, message);
        } else {
            primary_on_ack(replica, link, message);
        }
        break;
    case MESSAGE_FETCHED:
        secondary_on_fetched(replica, message, event->as.message.bytes, event->as.message.len);
        break;
    case MESSAGE_JOINED_PRIMARY:
    case MESSAGE_JOINED_SECONDARY:
    case MESSAGE_JOIN_REJECTED:
    case MESSAGE_REPLICAS:
    case MESSAGE_LOCATED: /* of somebody who saw that this node's view is old */
        membership_on_message(replica, link, message);
        break;
    default:
        context_count(&node->context, COUNTER_messages_unexpected);
        break;
    }
}

/* Some messages go both ways between a replica and the arbiter: those on this replica's link to the
 * arbiter are meant for it, any other for the arbiter here. */
static bool node_is_from_arbiter(const struct node *node, uint64_t link,
                                 const struct message *message)
{
    bool goes_both_ways = message->type == MESSAGE_LEAVE || message->type == MESSAGE_SUSPECT ||
                          message->type == MESSAGE_HANDOVER;
    return goes_both_ways && node->replica != NULL && link == node->replica->membership.arbiter;
}

/* A peer that sends what is no message is dropped; a link that this node opened is kept, since it
 * is the way to the arbiter or to a member: what came on it is ignored. */
static void node_drop_peer(struct node *node, uint64_t link)
{
    if ((link & LINK_OPENED_BIT) == 0) {
        context_close_link(&node->context, link);
    }
}

static void node_on_foreign_version(struct node *node, uint64_t link, const struct message *message)
{
    context_count(&node->context, COUNTER_messages_foreign_version);
    effects_note(node->context.effects, NOTE_WARN, "foreign-version theirs=%u ours=%u",
                 message->version, MESSAGE_VERSION);
    struct message answer = context_message(&node->context, MESSAGE_UNSUPPORTED);
    answer.body.unsupported.version = MESSAGE_VERSION;
    context_send(&node->context, link, &answer);
    node_drop_peer(node, link);
}

/* Answers a client whose request this node's roles do not cover. */
static void node_on_stranger(struct node *node, uint64_t link, const struct message *message)
{
    if (message->type == MESSAGE_STATUS) {
        requests_answer_status(&node->context, node->replica, link, message->body.request.request);
        return;
    }
    context_count(&node->context, COUNTER_messages_unexpected);
    switch (message->type) {
    case MESSAGE_JOIN:
    case MESSAGE_HEARTBEAT: /* a node that looks for the arbiter, which may have moved */
        node_send_view(node, link);
        break;
    case MESSAGE_INSERT:
    case MESSAGE_REMOVE:
    case MESSAGE_GET:
        context_reject(&node->context, link, message->body.operation.request, REJECT_UNSUPPORTED,
                       0);
        break;
    case MESSAGE_SCAN:
        context_reject(&node->context, link, message->body.scan.request, REJECT_UNSUPPORTED, 0);
        break;
    case MESSAGE_LOCATE:
        context_reject(&node->context, link, message->body.request.request, REJECT_UNSUPPORTED, 0);
        break;
    case MESSAGE_LEAVE:
        if (message->body.leave.request != 0) {
            context_reject(&node->context, link, message->body.leave.request, REJECT_UNSUPPORTED,
                           0);
        }
        break;
    case MESSAGE_PROMOTE:
        context_reject(&node->context, link, message->body.promote.request, REJECT_UNSUPPORTED, 0);
        break;
    default:
        break;
    }
}

static void node_on_arbiter_message(struct node *node, uint64_t link, const struct message *message)
{
    if (message->cluster != 0 && node->context.cluster != 0 &&
        message->cluster != node->context.cluster) {
        context_count(&node->context, COUNTER_messages_foreign_cluster);
        return;
    }
    membership_on_message(node->replica, link, message);
}

static void node_on_message(struct node *node, const struct event *event)
{
    uint64_t link = event->as.message.link;
    struct message message;
    int32_t status = message_decode(event->as.message.bytes, event->as.message.len, &message);
    if (status == KV_E_VERSION) {
        node_on_foreign_version(node, link, &message);
        return;
    }
    if (status != KV_OK) {
        context_count(&node->context, COUNTER_messages_malformed);
        effects_note(node->context.effects, NOTE_WARN, "malformed-message bytes=%zu",
                     event->as.message.len);
        node_drop_peer(node, link);
        return;
    }
    bool is_for_replica =
        !arbiter_is_for(message.type) || (message.type == MESSAGE_LOCATE && node->arbiter == NULL);
    if (node_is_from_arbiter(node, link, &message)) {
        node_on_arbiter_message(node, link, &message);
    } else if (!is_for_replica && node->arbiter != NULL) {
        arbiter_on_message(node->arbiter, link, &message);
    } else if (is_for_replica && node->replica != NULL) {
        node_on_replica_message(node, link, &message, event);
    } else {
        node_on_stranger(node, link, &message);
    }
}

/* --- the other events --- */

static void node_on_start(struct node *node)
{
    if (node->arbiter != NULL) {
        arbiter_start(node->arbiter);
    }
    if (node->replica != NULL) {
        membership_init(node->replica);
    } else {
        effects_add(node->context.effects, EFFECT_READY)->as.ready.role = ROLE_ARBITER;
    }
}

static void node_on_loaded_records(struct node *node, const struct event *event)
{
    struct bytes_reader reader =
        bytes_reader_init(event->as.loaded_records.bytes, event->as.loaded_records.len);
    struct kv_record record;
    KV_CHECK(node->replica != NULL && !node->replica->loaded);
    while (reader.left > 0) {
        KV_CHECK(record_decode(&reader, &record)); /* the host encoded them */
        replica_apply(node->replica, &record);
    }
}

static void node_on_loaded(struct node *node, const struct event *event)
{
    struct replica *replica = node->replica;
    KV_CHECK(replica != NULL && !replica->loaded);
    if (event->as.loaded.position.index > INDEX_MAX) {
        struct effect *effect = effects_add(node->context.effects, EFFECT_STOP);
        effect->as.stop.exit_status = 5;
        effect->as.stop.reason = "the store gives a position that no log can reach";
        return;
    }
    replica->loaded = true;
    replica->loaded_position = event->as.loaded.position;
    replica->whole = replica->loaded_position.view != 0;
    replica->secondary.durable_index = replica->loaded_position.index;
    replica->secondary.shown_from = replica->loaded_position.index;
    replica->persister.stored = replica->loaded_position;
    log_unref(replica->log);
    replica->log = log_create(replica->loaded_position);
    replica->committed = replica->loaded_position.index;
    replica->committed_view = replica->loaded_position.view;
    effects_note(node->context.effects, NOTE_INFO, "loaded keys=%llu view=%llu index=%llu",
                 (unsigned long long)store_len(replica->store),
                 (unsigned long long)replica->loaded_position.view,
                 (unsigned long long)replica->loaded_position.index);
    membership_start(replica);
}

static void node_on_persist_failed(struct node *node, const struct event *event, const char *error)
{
    struct persister *persister = &node->replica->persister;
    if (persister_on_failed(persister, &node->context, event->as.persist.batch, error) &&
        (persister->failures & (persister->failures - 1)) == 0) { /* told less and less often */
        effects_note(node->context.effects, NOTE_WARN,
                     "persist-failed batch=%llu attempts=%u reason=\"%s\"",
                     (unsigned long long)event->as.persist.batch, persister->failures,
                     context_quotable(&node->context, persister->error, strlen(persister->error)));
    }
}

/* Records that the store will never take. False: nobody can do anything about one of them but try
 * again; the batch then counts as failed. */
static bool node_on_refused(struct node *node, const struct event *event)
{
    struct replica *replica = node->replica;
    uint32_t len = event->as.persist.refusals_len;
    if (len == 0 || !persister_is_in_flight(&replica->persister, event->as.persist.batch)) {
        return true;
    }
    struct refused *refused = arena_alloc(&node->context.effects->arena, len * sizeof(*refused));
    for (uint32_t i = 0; i < len; i++) {
        persister_find(&replica->persister, event->as.persist.refusals[i].record, replica->log,
                       &refused[i]);
        refused[i].reason = event->as.persist.refusals[i].reason;
    }
    bool is_done = replica->role == ROLE_PRIMARY ? primary_on_refused(replica, refused, len)
                                                 : secondary_on_refused(replica, refused, len);
    if (!is_done) {
        const char *reason = refused[0].reason;
        bool has_reason = reason != NULL && reason[0] != '\0';
        node_on_persist_failed(node, event, has_reason ? reason : "the store refuses a record");
    }
    return is_done;
}

static void node_on_persisted(struct node *node, const struct event *event)
{
    struct replica *replica = node->replica;
    struct persist_done done;
    if (!node_on_refused(node, event)) {
        return;
    }
    bool was_failing = replica->persister.error[0] != '\0';
    if (!persister_on_persisted(&replica->persister, event->as.persist.batch, replica->log,
                                &done)) {
        return;
    }
    if (was_failing) {
        effects_note(node->context.effects, NOTE_INFO, "persist-works-again batch=%llu",
                     (unsigned long long)event->as.persist.batch);
    }
    if (replica->role == ROLE_PRIMARY) {
        primary_on_persisted(replica, &done);
    } else {
        secondary_on_persisted(replica, &done);
    }
}

static void node_on_link_up(struct node *node, uint64_t link)
{
    if (node->arbiter != NULL) {
        arbiter_on_link_up(node->arbiter, link);
    }
    if (node->replica != NULL) {
        membership_on_link_up(node->replica, link);
        members_on_link_up(node->replica, link);
        catchup_on_link_up(&node->replica->secondary.catchup, &node->context, link);
    }
}

static void node_on_link_down(struct node *node, uint64_t link)
{
    if (node->arbiter != NULL) {
        arbiter_on_link_down(node->arbiter, link);
    }
    if (node->replica != NULL) {
        requests_on_link_down(node->replica, link);
    }
}

static void node_on_tick(struct node *node)
{
    if (node->replica != NULL) {
        /* A retry may be due; before anything is sent. */
        persister_pump(&node->replica->persister, &node->context);
    }
    if (node->arbiter != NULL) {
        arbiter_tick(node->arbiter);
    }
    if (node->replica != NULL) {
        requests_tick(node->replica);
        primary_tick(node->replica);
        secondary_tick(node->replica);
        membership_tick(node->replica);
    }
}

static void node_on_flush(struct node *node)
{
    struct replica *replica = node->replica;
    if (replica == NULL) {
        return;
    }
    if (replica->role == ROLE_PRIMARY) {
        primary_flush(replica);
    } else {
        secondary_flush(replica);
    }
    if (replica->membership.leaving) {
        membership_tick(replica);
    }
}

static void node_on_leave(struct node *node)
{
    if (node->replica != NULL) {
        membership_leave(node->replica, true);
    } else {
        struct effect *effect = effects_add(node->context.effects, EFFECT_STOP);
        effect->as.stop.exit_status = 0;
        effect->as.stop.reason = "stopped";
    }
}

/* A process that was stopped for a while, or a clock that jumped, has heard nobody meanwhile: that
 * is not the others' silence. */
static void node_notice_gap(struct node *node)
{
    uint64_t gap_ms = node->context.now_ms - node->before_ms;
    if (node->arbiter != NULL && gap_ms > node->config.replica_timeout_ms / 2) {
        arbiter_forgive(node->arbiter, gap_ms);
    }
    if (node->replica != NULL && gap_ms > node->config.replica_timeout_ms / 2) {
        members_forgive(node->replica);
        secondary_forgive(node->replica);
    }
    node->before_ms = node->context.now_ms;
}

void node_step(struct node *node, const struct event *event, struct effects *effects)
{
    KV_CHECK(event->now_ms >= node->before_ms);
    effects_reset(effects);
    node->context.effects = effects;
    node->context.now_ms = event->now_ms;
    node_notice_gap(node);
    switch (event->kind) {
    case EVENT_START:
        node_on_start(node);
        break;
    case EVENT_LOADED_RECORDS:
        node_on_loaded_records(node, event);
        break;
    case EVENT_LOADED:
        node_on_loaded(node, event);
        break;
    case EVENT_LINK_UP:
        node_on_link_up(node, event->as.link.link);
        break;
    case EVENT_LINK_DOWN:
        node_on_link_down(node, event->as.link.link);
        break;
    case EVENT_MESSAGE:
        node_on_message(node, event);
        break;
    case EVENT_PERSISTED:
        node_on_persisted(node, event);
        break;
    case EVENT_PERSIST_FAILED:
        if (BUG(persist_skip_failed)) {
            node_on_persisted(node, event);
        } else {
            node_on_persist_failed(node, event, event->as.persist.error);
        }
        break;
    case EVENT_REGISTRY_WRITTEN:
        arbiter_on_written(node->arbiter, event->as.registry.number);
        break;
    case EVENT_REGISTRY_FAILED:
        arbiter_on_write_failed(node->arbiter, event->as.registry.number);
        break;
    case EVENT_REGISTRY_CHANGED:
        arbiter_on_registry_changed(node->arbiter, event->as.registry_changed.bytes,
                                    event->as.registry_changed.len);
        break;
    case EVENT_TICK:
        node_on_tick(node);
        break;
    case EVENT_FLUSH:
        node_on_flush(node);
        break;
    case EVENT_LEAVE:
        node_on_leave(node);
        break;
    default:
        KV_CHECK(false);
    }
    node->context.effects = NULL;
}

uint64_t node_wake_ms(const struct node *node)
{
    uint64_t wake_ms = UINT64_MAX;
    if (node->arbiter != NULL) {
        wake_ms = context_earlier(wake_ms, arbiter_wake_ms(node->arbiter));
    }
    if (node->replica != NULL) {
        wake_ms = context_earlier(wake_ms, requests_wake_ms(node->replica));
        wake_ms = context_earlier(wake_ms, primary_wake_ms(node->replica));
        wake_ms = context_earlier(wake_ms, secondary_wake_ms(node->replica));
        wake_ms = context_earlier(wake_ms, membership_wake_ms(node->replica));
        wake_ms = context_earlier(wake_ms, persister_wake_ms(&node->replica->persister));
    }
    return wake_ms;
}

uint32_t node_message_max(const struct node_limits *limits)
{
    uint32_t records = limits->key_bytes + limits->value_bytes;
    return (records > SNAPSHOT_BYTES_MAX ? records : SNAPSHOT_BYTES_MAX) + MESSAGE_OVERHEAD_MAX;
}

/* --- observers --- */

void node_observe(const struct node *node, struct node_state *ret_state)
{
    const struct replica *replica = node->replica;
    memset(ret_state, 0, sizeof(*ret_state));
    if (replica == NULL) {
        ret_state->role = ROLE_ARBITER;
        ret_state->view = node->arbiter->view.number;
        ret_state->primary = node->arbiter->view.primary;
        return;
    }
    ret_state->role = (uint8_t)replica->role;
    ret_state->view = replica->view.number;
    ret_state->primary = replica->view.primary;
    ret_state->last = log_last(replica->log);
    ret_state->durable_index = replica_durable_index(replica);
    ret_state->committed_index = replica->committed;
    ret_state->keys = store_len(replica->store);
    ret_state->digest = store_digest(replica->store);
    ret_state->serves_reads = replica_serves_reads(replica);
    if (replica->role == ROLE_PRIMARY && !replica->primary.settled) {
        /* What it took over may not be committed yet: reads wait. */
        ret_state->serves_reads = false;
        ret_state->committed_index = primary_source(replica).committed;
    }
    ret_state->operations_waiting = (uint32_t)replica->primary.operations.waiting;
    ret_state->requests_waiting =
        replica->role_waiting.len + replica->index_waiting.len + replica->primary.reads.len;
    ret_state->log_records = log_len(replica->log);
    ret_state->log_bytes = log_bytes(replica->log);
    ret_state->replicators = replica->primary.replicators_len;
    for (uint32_t i = 0; i < replica->primary.replicators_len; i++) {
        uint64_t bytes = replica->primary.replicators[i]->window_bytes_max_seen;
        if (bytes > ret_state->window_bytes_max_seen) {
            ret_state->window_bytes_max_seen = bytes;
        }
    }
}

bool node_peek(const struct node *node, const void *key, uint32_t key_len,
               struct bytes_view *ret_value, struct kv_position *ret_position)
{
    struct store_entry entry;
    if (node->replica == NULL || !store_get(node->replica->store, key, key_len, &entry)) {
        return false;
    }
    ret_value->at = entry.value;
    ret_value->len = entry.value_len;
    *ret_position = entry.position;
    return true;
}
