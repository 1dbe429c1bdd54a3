#include "fake_client.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <uv.h>

struct fake fake;

enum fake_kind {
    FAKE_INSERT,
    FAKE_REMOVE,
    FAKE_GET,
    FAKE_SCAN,
    FAKE_VIEW,
    FAKE_STATUS,
    FAKE_LEAVE,
    FAKE_HANDOVER,
    FAKE_TAKEOVER
};

struct fake_request {
    enum fake_kind kind;
    bool is_at_arbiter; /* asked by a client that was given arbiter_uri */
    struct fake_pair pair;
    char node[64];
    uint64_t cursor;
    uint32_t limit;
    kv_answer_fn on_answer;
    void *ctx;
};

struct kv_client {
    uv_idle_t turn;
    bool is_at_arbiter;
    struct fake_request *requests;
    uint32_t requests_len;
    uint32_t requests_max;
    uint32_t inflight_max;
    kv_closed_fn on_closed;
    void *closed_ctx;
};

static void fake_copy(uint8_t **ret_copy, const void *bytes, size_t len)
{
    *ret_copy = malloc(len + 1);
    if (len > 0) {
        memcpy(*ret_copy, bytes, len);
    }
}

static void fake_free(struct fake_pair *pair)
{
    free(pair->key);
    free(pair->value);
}

void fake_reset(void)
{
    for (uint32_t i = 0; i < fake.pairs_len; i++) {
        fake_free(&fake.pairs[i]);
    }
    memset(&fake, 0, sizeof(fake));
    const char *const names[] = {"n1", "n2", "n3"};
    for (uint32_t i = 0; i < 3; i++) {
        fake.nodes[i] = (struct fake_node){.name = names[i],
                                           .role = i == 0 ? "primary" : "secondary",
                                           .is_up = true,
                                           .committed_index = 42,
                                           .digest = 0xabcdef};
    }
    fake.nodes_len = 3;
    fake.primary = "n1";
    fake.random = 12345;
}

const struct fake_pair *fake_find(const void *key, size_t key_len)
{
    for (uint32_t i = 0; i < fake.pairs_len; i++) {
        const struct fake_pair *pair = &fake.pairs[i];
        if (pair->key_len == key_len && (key_len == 0 || memcmp(pair->key, key, key_len) == 0)) {
            return pair;
        }
    }
    return NULL;
}

void fake_put(const void *key, size_t key_len, const void *value, size_t value_len)
{
    struct fake_pair *pair = (struct fake_pair *)(uintptr_t)fake_find(key, key_len);
    if (pair == NULL) {
        if (fake.pairs_len == FAKE_PAIRS_MAX) {
            abort();
        }
        pair = &fake.pairs[fake.pairs_len++];
        fake_copy(&pair->key, key, key_len);
        pair->key_len = key_len;
    } else {
        free(pair->value);
    }
    fake_copy(&pair->value, value, value_len);
    pair->value_len = value_len;
}

static struct fake_node *fake_node_of(const char *name)
{
    for (uint32_t i = 0; i < fake.nodes_len; i++) {
        if (strcmp(fake.nodes[i].name, name) == 0) {
            return &fake.nodes[i];
        }
    }
    return NULL;
}

static void fake_answer_insert(const struct fake_request *request, struct kv_answer *answer)
{
    const struct fake_pair *pair = &request->pair;
    uint64_t number = fake.inserts++;
    if (fake.decide_insert != NULL) {
        answer->status = fake.decide_insert(number, pair->key, pair->key_len);
    }
    if (answer->status == KV_OK || (answer->status == KV_E_TIMEOUT && fake.is_executed_late)) {
        fake_put(pair->key, pair->key_len, pair->value, pair->value_len);
    }
    answer->position = (struct kv_position){3, number + 1};
}

static void fake_answer_remove(const struct fake_request *request, struct kv_answer *answer)
{
    const struct fake_pair *found = fake_find(request->pair.key, request->pair.key_len);
    if (found != NULL) {
        struct fake_pair *pair = (struct fake_pair *)(uintptr_t)found;
        fake_free(pair);
        *pair = fake.pairs[--fake.pairs_len];
    }
    answer->position = (struct kv_position){3, 99};
}

static void fake_answer_get(const struct fake_request *request, struct kv_answer *answer)
{
    const struct fake_pair *pair = fake_find(request->pair.key, request->pair.key_len);
    answer->status = pair == NULL ? KV_E_NOT_FOUND : KV_OK;
    if (pair != NULL) {
        answer->value = pair->value;
        answer->value_len = (uint32_t)pair->value_len;
        answer->position = (struct kv_position){3, 7};
    }
}

static void fake_answer_scan(const struct fake_request *request, struct kv_answer *answer,
                             struct kv_record records[FAKE_PAGE_PAIRS])
{
    uint64_t number = fake.scans++;
    if (fake.decide_scan != NULL) {
        answer->status = fake.decide_scan(number);
    }
    if (answer->status != KV_OK) {
        return;
    }
    uint64_t at = request->cursor;
    uint32_t max =
        request->limit == 0 || request->limit > FAKE_PAGE_PAIRS ? FAKE_PAGE_PAIRS : request->limit;
    for (; at < fake.pairs_len && answer->records_len < max; at++) {
        const struct fake_pair *pair = &fake.pairs[at];
        size_t prefix_len = request->pair.key_len;
        if (pair->key_len < prefix_len ||
            (prefix_len > 0 && memcmp(pair->key, request->pair.key, prefix_len) != 0)) {
            continue;
        }
        records[answer->records_len++] = (struct kv_record){.key = pair->key,
                                                            .key_len = (uint32_t)pair->key_len,
                                                            .value = pair->value,
                                                            .value_len = (uint32_t)pair->value_len,
                                                            .kind = KV_RECORD_INSERT};
    }
    answer->records = records;
    answer->next = at;
    answer->end = at >= fake.pairs_len;
}

static void fake_answer_view(const struct fake_request *request, struct kv_answer *answer,
                             struct kv_client_node nodes[FAKE_NODES_MAX])
{
    static const char *const uris[] = {"tcp://127.0.0.1:1234"};
    bool is_away = request->is_at_arbiter && fake.is_arbiter_away;
    answer->status = is_away ? KV_E_UNREACHABLE : fake.view_status;
    if (answer->status != KV_OK) {
        return;
    }
    answer->cluster = 0x0123456789abcdefull;
    answer->view = 3;
    answer->primary = fake.primary;
    for (uint32_t i = 0; i < fake.nodes_len; i++) {
        nodes[i] = (struct kv_client_node){fake.nodes[i].name, fake.nodes[i].role, uris, 1};
    }
    answer->nodes = nodes;
    answer->nodes_len = fake.nodes_len;
    answer->forced = fake.view_forced;
    answer->told_by = request->is_at_arbiter ? "" : fake.told_by;
    answer->arbiter_uris = &fake.arbiter_uri;
    answer->arbiter_uris_len = fake.arbiter_uri == NULL ? 0 : 1;
}

static void fake_answer_command(const struct fake_request *request, struct kv_answer *answer)
{
    answer->status = fake.command_status;
    if (answer->status != KV_OK) {
        answer->reason = fake.command_reason == NULL ? "" : fake.command_reason;
        return;
    }
    if (request->kind == FAKE_LEAVE) {
        return;
    }
    for (uint32_t i = 0; i < fake.nodes_len; i++) {
        bool is_it = strcmp(fake.nodes[i].name, request->node) == 0;
        fake.nodes[i].role = is_it ? "primary" : "secondary";
        fake.primary = is_it ? fake.nodes[i].name : fake.primary;
    }
    fake.takeovers += request->kind == FAKE_TAKEOVER;
}

static void fake_answer_status(const struct fake_request *request, struct kv_answer *answer)
{
    static const char *const counter_names[] = {"messages_in"};
    static const uint64_t counter_values[] = {5};
    struct fake_node *node = fake_node_of(request->node);
    if (node != NULL && fake.on_status != NULL) {
        fake.on_status(node);
    }
    if (!node->is_up) {
        answer->status = KV_E_UNREACHABLE;
        answer->reason = "connection refused";
        return;
    }
    answer->name = node->name;
    answer->role = node->says == NULL ? node->role : node->says;
    answer->position = (struct kv_position){3, node->committed_index + 1};
    answer->durable_index = node->committed_index + 1;
    answer->committed_index = node->committed_index;
    answer->keys = fake.pairs_len;
    answer->digest = node->digest;
    answer->persist_plugin = "persist-file";
    answer->persist_state = "ok";
    answer->persist_error = "";
    answer->counter_names = counter_names;
    answer->counter_values = counter_values;
    answer->counters_len = 1;
}

static void fake_answer(struct fake_request *request)
{
    struct kv_record records[FAKE_PAGE_PAIRS];
    struct kv_client_node nodes[FAKE_NODES_MAX];
    struct kv_answer answer = {.status = KV_OK, .reason = ""};
    if (request->node[0] != '\0' && fake_node_of(request->node) == NULL) {
        answer.status = KV_E_NOT_FOUND;
    } else if (request->kind == FAKE_INSERT) {
        fake_answer_insert(request, &answer);
    } else if (request->kind == FAKE_REMOVE) {
        fake_answer_remove(request, &answer);
    } else if (request->kind == FAKE_GET) {
        fake_answer_get(request, &answer);
    } else if (request->kind == FAKE_SCAN) {
        fake_answer_scan(request, &answer, records);
    } else if (request->kind == FAKE_VIEW) {
        fake_answer_view(request, &answer, nodes);
    } else if (request->kind == FAKE_STATUS) {
        fake_answer_status(request, &answer);
    } else {
        fake_answer_command(request, &answer);
    }
    if (answer.status != KV_OK && answer.reason[0] == '\0') {
        answer.reason = "scripted";
        answer.retry_after_ms = answer.status == KV_E_REJECTED ? 50 : 0;
    }
    fake.inflight--;
    request->on_answer(request->ctx, &answer);
    fake_free(&request->pair);
}

/* Answers about half of what is outstanding, drawn at random. */
static void fake_on_turn(uv_idle_t *turn)
{
    struct kv_client *client = turn->data;
    uint32_t answers = client->requests_len / 2 + 1;
    while (answers-- > 0 && client->requests_len > 0) {
        fake.random = fake.random * 6364136223846793005ull + 1442695040888963407ull;
        uint32_t at = (uint32_t)((fake.random >> 33) % client->requests_len);
        struct fake_request request = client->requests[at];
        client->requests[at] = client->requests[--client->requests_len];
        fake_answer(&request);
    }
    if (client->requests_len == 0) {
        uv_idle_stop(turn);
    }
}

int32_t kv_client_create(struct uv_loop_s *loop, const struct kv_client_options *options,
                         struct kv_client **ret_client, char *ret_error)
{
    if (strncmp(options->arbiter_uri, "tcp://", 6) != 0) {
        snprintf(ret_error, 512, "not a tcp:// URI");
        return KV_E_INVALID;
    }
    struct kv_client *client = calloc(1, sizeof(*client));
    uv_idle_init(loop, &client->turn);
    client->turn.data = client;
    client->inflight_max = options->inflight_max;
    client->is_at_arbiter =
        fake.arbiter_uri != NULL && strcmp(options->arbiter_uri, fake.arbiter_uri) == 0;
    fake.clients++;
    fake.seen_index = options->seen_index;
    *ret_client = client;
    return KV_OK;
}

static void fake_on_closed(uv_handle_t *handle)
{
    struct kv_client *client = handle->data;
    fake.clients--;
    client->on_closed(client->closed_ctx);
    free(client->requests);
    free(client);
}

void kv_client_close(struct kv_client *client, kv_closed_fn on_closed, void *ctx)
{
    client->on_closed = on_closed;
    client->closed_ctx = ctx;
    for (uint32_t i = 0; i < client->requests_len; i++) {
        fake_free(&client->requests[i].pair);
    }
    client->requests_len = 0;
    uv_close((uv_handle_t *)&client->turn, fake_on_closed);
}

static struct fake_request *fake_ask(struct kv_client *client, enum fake_kind kind,
                                     kv_answer_fn on_answer, void *ctx)
{
    if (client->requests_len == client->requests_max) {
        client->requests_max = client->requests_max * 2 + 8;
        client->requests =
            realloc(client->requests, client->requests_max * sizeof(*client->requests));
    }
    struct fake_request *request = &client->requests[client->requests_len++];
    memset(request, 0, sizeof(*request));
    request->kind = kind;
    request->is_at_arbiter = client->is_at_arbiter;
    request->on_answer = on_answer;
    request->ctx = ctx;
    fake.inflight++;
    fake.inflight_max = fake.inflight > fake.inflight_max ? fake.inflight : fake.inflight_max;
    uv_idle_start(&client->turn, fake_on_turn);
    return request;
}

static void fake_set_pair(struct fake_request *request, const void *key, size_t key_len,
                          const void *value, size_t value_len)
{
    fake_copy(&request->pair.key, key, key_len);
    fake_copy(&request->pair.value, value, value_len);
    request->pair.key_len = key_len;
    request->pair.value_len = value_len;
}

static void fake_set_node(struct fake_request *request, const char *node)
{
    snprintf(request->node, sizeof(request->node), "%s", node == NULL ? "" : node);
}

static void fake_note_node(const char *node)
{
    snprintf(fake.last_node_name, sizeof(fake.last_node_name), "%s", node == NULL ? "" : node);
    fake.last_node = fake.last_node_name;
}

int32_t kv_client_insert(struct kv_client *client, const void *key, size_t key_len,
                         const void *value, size_t value_len, uint32_t deadline_ms,
                         kv_answer_fn on_answer, void *ctx)
{
    (void)deadline_ms;
    if (key_len > 1000) {
        return KV_E_TOO_LARGE;
    }
    fake_set_pair(fake_ask(client, FAKE_INSERT, on_answer, ctx), key, key_len, value, value_len);
    return KV_OK;
}

int32_t kv_client_remove(struct kv_client *client, const void *key, size_t key_len,
                         uint32_t deadline_ms, kv_answer_fn on_answer, void *ctx)
{
    (void)deadline_ms;
    fake_set_pair(fake_ask(client, FAKE_REMOVE, on_answer, ctx), key, key_len, NULL, 0);
    return KV_OK;
}

int32_t kv_client_get(struct kv_client *client, const char *node, const void *key, size_t key_len,
                      uint64_t min_index, uint32_t deadline_ms, kv_answer_fn on_answer, void *ctx)
{
    (void)deadline_ms;
    (void)min_index;
    struct fake_request *request = fake_ask(client, FAKE_GET, on_answer, ctx);
    fake_set_pair(request, key, key_len, NULL, 0);
    fake_set_node(request, node);
    fake_note_node(node);
    return KV_OK;
}

int32_t kv_client_scan(struct kv_client *client, const char *node, const void *prefix,
                       size_t prefix_len, uint64_t cursor, uint32_t limit, uint32_t deadline_ms,
                       kv_answer_fn on_answer, void *ctx)
{
    (void)deadline_ms;
    struct fake_request *request = fake_ask(client, FAKE_SCAN, on_answer, ctx);
    fake_set_pair(request, prefix, prefix_len, NULL, 0);
    fake_set_node(request, node);
    fake_note_node(node);
    request->cursor = cursor;
    request->limit = limit;
    return KV_OK;
}

int32_t kv_client_view(struct kv_client *client, uint32_t deadline_ms, kv_answer_fn on_answer,
                       void *ctx)
{
    (void)deadline_ms;
    fake_ask(client, FAKE_VIEW, on_answer, ctx);
    return KV_OK;
}

int32_t kv_client_status(struct kv_client *client, const char *node, uint32_t deadline_ms,
                         kv_answer_fn on_answer, void *ctx)
{
    (void)deadline_ms;
    fake_set_node(fake_ask(client, FAKE_STATUS, on_answer, ctx), node);
    return KV_OK;
}

int32_t kv_client_leave(struct kv_client *client, const char *node, uint32_t deadline_ms,
                        kv_answer_fn on_answer, void *ctx)
{
    (void)deadline_ms;
    fake_set_node(fake_ask(client, FAKE_LEAVE, on_answer, ctx), node);
    return KV_OK;
}

int32_t kv_client_handover(struct kv_client *client, const char *node, uint32_t deadline_ms,
                           kv_answer_fn on_answer, void *ctx)
{
    (void)deadline_ms;
    fake_set_node(fake_ask(client, FAKE_HANDOVER, on_answer, ctx), node);
    return KV_OK;
}

int32_t kv_client_takeover(struct kv_client *client, const char *node, uint32_t deadline_ms,
                           kv_answer_fn on_answer, void *ctx)
{
    (void)deadline_ms;
    fake_set_node(fake_ask(client, FAKE_TAKEOVER, on_answer, ctx), node);
    return KV_OK;
}

uint32_t kv_client_inflight(const struct kv_client *client)
{
    return client->requests_len;
}
