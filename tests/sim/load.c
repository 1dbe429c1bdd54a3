#include "load.h"

#include "describe.h"

#include "base/alloc.h"

#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#define REUSE_AFTER_MS   6000u
#define PATIENCE_MS      3000u /* after that a client stops waiting for an answer */
#define OUTSTANDING_MORE 100u
#define SCAN_AGAIN_US    20000u

static struct conn *load_conn(struct world *world, uint32_t client, uint32_t machine)
{
    uint32_t *place = &world->clients[client].conns[machine];
    if (*place != 0) {
        const struct conn *conn = &world->conns[*place - 1];
        bool is_same = conn->in_use && conn->opener == MACHINES_MAX + client &&
                       conn->acceptor == machine; /* it has not moved */
        *place = is_same ? *place : 0;
    }
    if (*place == 0) {
        const char *uri = world->machines[machine].uri;
        *place = 1 + net_open(world, MACHINES_MAX + client, 0, 0, &uri, 1);
    }
    return &world->conns[*place - 1];
}

void load_init(struct world *world)
{
    for (uint32_t i = 0; i < world->plan.clients; i++) {
        world->clients[i].id = 1000 + i;
        world->clients[i].next_request = world_draw(world, 1, 5);
        world->clients[i].first_open = OP_NONE;
        for (uint32_t machine = 0; machine < world->machines_len; machine++) {
            load_conn(world, i, machine);
        }
        heap_push(&world->heap, world_draw(world, 0, 50000), WAKE_CLIENT, i, 0, NULL);
    }
}

void load_close(struct world *world)
{
    for (uint32_t i = 0; i < world->ops_len; i++) {
        alloc_free(world->ops[i].value);
    }
    alloc_free(world->ops);
}

static uint32_t load_add(struct world *world, uint32_t client, uint8_t type, uint32_t machine)
{
    if (world->ops_len == world->ops_capacity) {
        world->ops_capacity = world->ops_capacity * 2 + 256;
        world->ops = alloc_resize(world->ops, world->ops_capacity * sizeof(*world->ops));
    }
    struct operation *op = &world->ops[world->ops_len];
    memset(op, 0, sizeof(*op));
    op->client = client;
    op->type = type;
    op->machine = machine;
    op->key = KEY_NONE;
    op->sent_us = world->now_us;
    op->open = true;
    op->next_open = world->clients[client].first_open;
    world->clients[client].first_open = world->ops_len;
    return world->ops_len++;
}

/* Ids that are not counted up; they are used again, but not while an answer may still come. */
static uint64_t load_request(struct world *world, uint32_t client)
{
    static const uint64_t odd[ODD_IDS] = {0, UINT64_MAX, 1ull << 63, (1ull << 63) - 1,
                                          17ull + (1ull << 40)};
    if (world->plan.odd_ids && rand_percent(&world->rand, 20)) {
        uint64_t place = rand_below(&world->rand, ODD_IDS);
        if (world->clients[client].odd_us[place] <= world->now_us) {
            world->clients[client].odd_us[place] = world->now_us + REUSE_AFTER_MS * 1000u;
            return odd[place];
        }
    }
    return world->clients[client].next_request++;
}

/* Encodes and sends it; lost when the connection is not up. */
static void load_send(struct world *world, uint32_t index, struct message *message)
{
    struct operation *op = &world->ops[index];
    message->type = op->type;
    message->cluster = 0;
    message->view = 0;
    message->sender = world->clients[op->client].id;
    size_t size = message_size(message);
    uint8_t *bytes = alloc_bytes(size);
    struct kv_slice slice = {bytes, message_encode(message, bytes, size)};
    struct conn *conn = load_conn(world, op->client, op->machine);
    op->open = conn->up;
    net_send(world, conn, false, index, &slice, 1);
    alloc_free(bytes);
}

static uint32_t load_draw_key(struct world *world)
{
    char name[80];
    uint64_t number = rand_below(&world->rand, world->plan.keys);
    int len = snprintf(name, sizeof(name), "key-%" PRIu64, number);
    if (number == 0) {
        len = 0; /* the empty key is a key */
    } else if (number == 1) {
        memset(name, '\0', 64); /* so is one of zeros, as long as may be */
        len = 64;
    }
    return model_key(&world->model, name, (size_t)len);
}

static void load_update(struct world *world, uint32_t client, uint32_t machine)
{
    bool insert = rand_percent(&world->rand, 75);
    uint32_t index = load_add(world, client, insert ? MESSAGE_INSERT : MESSAGE_REMOVE, machine);
    struct operation *op = &world->ops[index];
    op->request = load_request(world, client);
    op->key = load_draw_key(world);
    if (insert && !rand_percent(&world->rand, 3)) {
        char text[32];
        int text_len = snprintf(text, sizeof(text), "%u/%u", client, index);
        op->value_len =
            (uint32_t)text_len + (uint32_t)rand_below(&world->rand, world->plan.value_max);
        if (op->value_len > world->plan.limits.value_bytes) {
            op->value_len = world->plan.limits.value_bytes + rand_percent(&world->rand, 10);
        }
        op->value = alloc_zeroed(op->value_len + 32u, 1);
        memcpy(op->value, text, (size_t)text_len);
    } else {
        op->value = alloc_zeroed(1, 1);
    }
    if (rand_percent(&world->rand, 10)) {
        op->deadline_ms = (uint32_t)world_draw(world, 1, 2000);
    }
    struct message message;
    memset(&message, 0, sizeof(message));
    message.body.operation.request = op->request;
    message.body.operation.deadline_ms = op->deadline_ms;
    message.body.operation.key.at = world->model.keys[op->key].bytes;
    message.body.operation.key.len = world->model.keys[op->key].len;
    message.body.operation.value.at = op->value;
    message.body.operation.value.len = op->value_len;
    load_send(world, index, &message);
}

/* Shall this read show all that is settled? Now and then also asked of one that is no primary any
 * more, and does not know. */
static bool load_is_at_primary(struct world *world, uint32_t machine)
{
    bool is_primary = world->machines[machine].state.role == ROLE_PRIMARY;
    return rand_percent(&world->rand, is_primary ? 80 : 5);
}

static void load_get(struct world *world, uint32_t client, uint32_t machine)
{
    uint32_t index = load_add(world, client, MESSAGE_GET, machine);
    struct operation *op = &world->ops[index];
    op->request = load_request(world, client);
    op->key = load_draw_key(world);
    if (rand_percent(&world->rand, 30)) { /* what it has written, or what is not there yet */
        op->min_index =
            model_index(&world->model, world->model.committed) + rand_below(&world->rand, 3);
        op->deadline_ms = (uint32_t)world_draw(world, 0, 500);
    }
    struct message message;
    memset(&message, 0, sizeof(message));
    message.body.operation.request = op->request;
    message.body.operation.deadline_ms = op->deadline_ms;
    message.body.operation.min_index = op->min_index;
    op->at_primary = load_is_at_primary(world, machine);
    message.body.operation.at_primary = op->at_primary;
    message.body.operation.key.at = world->model.keys[op->key].bytes;
    message.body.operation.key.len = world->model.keys[op->key].len;
    load_send(world, index, &message);
}

void load_scan(struct world *world, uint32_t machine, uint64_t cursor)
{
    if (!load_conn(world, 0, machine)->up && world->phase == PHASE_READ) {
        heap_push(&world->heap, world->now_us + 50000, WAKE_SCAN, machine, cursor, NULL);
        return;
    }
    uint32_t index = load_add(world, 0, MESSAGE_SCAN, machine);
    struct operation *op = &world->ops[index];
    op->request = load_request(world, 0);
    op->cursor = cursor;
    op->counted = world->phase == PHASE_READ;
    struct message message;
    memset(&message, 0, sizeof(message));
    message.body.scan.request = op->request;
    message.body.scan.cursor = cursor;
    op->at_primary = world->phase != PHASE_READ && load_is_at_primary(world, machine);
    message.body.scan.at_primary = op->at_primary;
    message.body.scan.limit = (uint32_t)rand_below(&world->rand, 20);
    load_send(world, index, &message);
}

static void load_ask(struct world *world, uint32_t client, uint8_t type, uint32_t machine)
{
    uint32_t index = load_add(world, client, type, machine);
    world->ops[index].request = load_request(world, client);
    struct message message;
    memset(&message, 0, sizeof(message));
    message.body.request.request = world->ops[index].request;
    load_send(world, index, &message);
}

void load_promote(struct world *world, const char *name, bool force)
{
    uint32_t index = load_add(world, 0, MESSAGE_PROMOTE, 0);
    world->ops[index].request = world->clients[0].next_request++;
    struct message message;
    memset(&message, 0, sizeof(message));
    message.body.promote.request = world->ops[index].request;
    message.body.promote.force = force;
    message.body.promote.name.at = (const uint8_t *)name;
    message.body.promote.name.len = strlen(name);
    load_send(world, index, &message);
}

void load_leave(struct world *world, const char *name)
{
    uint32_t index = load_add(world, 0, MESSAGE_LEAVE, 0);
    world->ops[index].request = world->clients[0].next_request++;
    struct message message;
    memset(&message, 0, sizeof(message));
    message.body.leave.request = world->ops[index].request;
    message.body.leave.name.at = (const uint8_t *)name;
    message.body.leave.name.len = strlen(name);
    load_send(world, index, &message);
}

static uint32_t load_draw_machine(struct world *world)
{
    const struct machine *primary = world_primary(world);
    if (primary != NULL && rand_percent(&world->rand, 65)) {
        return primary->index;
    }
    return (uint32_t)rand_below(&world->rand, world->machines_len);
}

/* Answers that never came are given up. */
static void load_give_up(struct world *world, uint32_t client)
{
    world->clients[client].outstanding = 0;
    uint32_t *place = &world->clients[client].first_open;
    while (*place != OP_NONE) {
        struct operation *op = &world->ops[*place];
        if (!op->open || op->sent_us + PATIENCE_MS * 1000u < world->now_us) {
            op->open = false;
            *place = op->next_open;
        } else {
            world->clients[client].outstanding++;
            place = &op->next_open;
        }
    }
}

void load_forget(struct world *world)
{
    for (uint32_t i = 0; i < world->ops_len; i++) {
        world->ops[i].open = false;
    }
}

/* Two primaries: one of them does not know of the other. Whatever waits elsewhere, one is written
 * to and the other is read from. */
static void load_two_primaries(struct world *world, uint32_t client)
{
    const struct machine *primary = world_primary(world);
    for (uint32_t i = 0; i < world->machines_len && primary != NULL; i++) {
        const struct machine *machine = &world->machines[i];
        if (machine != primary && machine->node != NULL && machine->state.role == ROLE_PRIMARY &&
            world->clients[client].outstanding < world->plan.outstanding + OUTSTANDING_MORE) {
            load_update(world, client, primary->index);
            load_get(world, client, i);
        }
    }
}

void load_on_client(struct world *world, uint32_t client)
{
    if (world->phase > PHASE_CALM) {
        return;
    }
    load_give_up(world, client);
    load_two_primaries(world, client);
    uint32_t burst = 1 + (uint32_t)rand_below(&world->rand, 3);
    while (burst-- > 0 && world->clients[client].outstanding < world->plan.outstanding) {
        world->clients[client].outstanding++;
        uint32_t machine = load_draw_machine(world);
        if (rand_percent(&world->rand, world->plan.update_percent)) {
            load_update(world, client, machine);
        } else if (rand_percent(&world->rand, 80)) {
            load_get(world, client, machine);
        } else if (rand_percent(&world->rand, 40)) {
            load_scan(world, machine, 0);
        } else if (rand_percent(&world->rand, 50)) {
            load_ask(world, client, MESSAGE_STATUS, machine);
        } else {
            load_ask(world, client, MESSAGE_LOCATE, 0);
        }
    }
    heap_push(&world->heap, world->now_us + 100 + world_draw(world, 0, world->plan.pause_max_us),
              WAKE_CLIENT, client, 0, NULL);
}

static void load_on_scan_result(struct world *world, const struct operation *op,
                                const struct message *message)
{
    if (!op->counted) {
        return;
    }
    if (message->body.scan_result.end == 0) {
        load_scan(world, op->machine, message->body.scan_result.next);
        return;
    }
    const struct machine *primary = world_primary(world);
    if (primary == NULL ||
        primary->state.last.index != world->read_last) { /* a late update has arrived */
        world->phase = PHASE_SETTLE;
        heap_push(&world->heap, world->now_us, WAKE_SETTLE, 0, 0, NULL);
        return;
    }
    if (world->scan_found != world->machines[op->machine].state.keys) {
        world_fail(world, "G3 convergent", "a scan of %s finds %" PRIu64 " keys of %" PRIu64,
                   world->machines[op->machine].name, world->scan_found,
                   world->machines[op->machine].state.keys);
    }
    world->scan_found = 0;
    do {
        world->scan_machine++;
    } while (world->scan_machine < world->machines_len &&
             !world_is_replica(&world->machines[world->scan_machine]));
    if (world->scan_machine == world->machines_len) {
        world->phase = PHASE_DONE;
    } else {
        load_scan(world, world->scan_machine, 0);
    }
}

void load_on_packet(struct world *world, uint32_t client, const struct packet *packet)
{
    struct message *message = alloc_zeroed(1, sizeof(*message));
    if (message_decode(packet->bytes, packet->len, message) != KV_OK) {
        goto out;
    }
    for (uint32_t i = world->clients[client].first_open; i != OP_NONE;) {
        struct operation *op = &world->ops[i];
        i = op->next_open;
        if (op->open && op->request == message->body.request.request) {
            op->open = false;
            if (op->type == MESSAGE_SCAN && message->type == MESSAGE_SCAN_RESULT) {
                load_on_scan_result(world, op, message);
            } else if (op->type == MESSAGE_SCAN && op->counted) {
                /* It was out of the view when the others settled, and is not back yet. */
                world->phase = PHASE_SETTLE;
                heap_push(&world->heap, world->now_us + SCAN_AGAIN_US, WAKE_SETTLE, 0, 0, NULL);
            }
            break;
        }
    }
out:
    alloc_free(message);
}
