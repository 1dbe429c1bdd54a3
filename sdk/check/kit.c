/*
 * Happy path: a place, its settings, create, open, apply ..., close, destroy, every call with
 * borrowed memory that is overwritten afterwards and with results that stand between guards.
 *
 * Failure: a code that is no code, a result that is none, a write beyond the results, memory that
 * is left: each ends the check with a sentence. A code that asks for a repeat is followed as the
 * node does, for a while.
 */
#include "kit.h"

#include "base/alloc.h"
#include "base/status.h"

#include <errno.h>
#include <inttypes.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/random.h>
#include <sys/stat.h>

#define KIT_GUARD     0xc0defe11u /* never a result */
#define KIT_TRIES_MAX 12
#define KIT_VALUE_MAX 4096u

void kit_pause_ms(int ms)
{
    poll(NULL, 0, ms);
}

bool kit_has(const struct kit *kit, uint64_t capability)
{
    return (kit->plugin->descriptor.capabilities & capability) != 0;
}

const char *kit_code(int32_t status)
{
    static _Thread_local char text[128];
    if (status > 0 || status < KV_STATUS_LAST_) {
        snprintf(text, sizeof(text), "%" PRId32 ", which is no status code", status);
    } else if (status == KV_OK) {
        return "KV_OK";
    } else {
        snprintf(text, sizeof(text), "%s (%s)", status_name(status), status_text(status));
    }
    return text;
}

const char *kit_log(struct kit_store *store)
{
    static _Thread_local char text[CHECK_HOST_TEXT_MAX + 32];
    if (store->host.lines_len == 0) {
        return "; it logged nothing";
    }
    snprintf(text, sizeof(text), "; it logged last: %s",
             store->host.lines[(store->host.lines_len - 1) % CHECK_HOST_LINES_MAX]);
    return text;
}

/* --- places and settings --- */

void kit_place_make(struct kit *kit, struct kit_place *ret_place)
{
    int len = snprintf(ret_place->folder, sizeof(ret_place->folder), "%s/place-%" PRIu32,
                       kit->folder, ++kit->places);
    if (len < 0 || (size_t)len >= sizeof(ret_place->folder) ||
        mkdir(ret_place->folder, 0700) != 0) {
        kit_fail("the kit cannot make the folder %s: %s", ret_place->folder, strerror(errno));
    }
    /* Unlike any other, also of another run: stores on a server stay. */
    if (getrandom(&ret_place->number, sizeof(ret_place->number), 0) !=
        (ssize_t)sizeof(ret_place->number)) {
        kit_fail("the kit got no random number: %s", strerror(errno));
    }
    ret_place->number >>= 12;
}

/* The value with {dir} and {n} replaced. */
static char *kit_replace(const char *value, const struct kit_place *place)
{
    char *text = alloc_bytes(KIT_VALUE_MAX);
    size_t at = 0;
    while (*value != '\0' && at + KIT_PATH_MAX + 1 < KIT_VALUE_MAX) {
        if (strncmp(value, "{dir}", 5) == 0) {
            at += (size_t)snprintf(text + at, KIT_PATH_MAX, "%s", place->folder);
            value += 5;
        } else if (strncmp(value, "{n}", 3) == 0) {
            at += (size_t)snprintf(text + at, KIT_PATH_MAX, "%" PRIu64, place->number);
            value += 3;
        } else {
            text[at++] = *value++;
        }
    }
    text[at] = '\0';
    return text;
}

/* An option `path` that was not given stands for a fresh one. */
static bool kit_wants_path(const struct kit *kit)
{
    const struct kv_plugin *descriptor = &kit->plugin->descriptor;
    bool has_option = false;
    for (uint32_t i = 0; i < descriptor->options_len; i++) {
        has_option = has_option || (strcmp(descriptor->options[i].name, "path") == 0 &&
                                    descriptor->options[i].type == KV_OPTION_STRING);
    }
    for (uint32_t i = 0; i < kit->request->given_len; i++) {
        has_option = has_option && strcmp(kit->request->given[i].name, "path") != 0;
    }
    return has_option;
}

struct kv_setting *kit_settings(struct kit *kit, const struct kit_place *place)
{
    struct kv_setting given[KIT_GIVEN_MAX + 1] = {{NULL, NULL}};
    struct kv_setting *settings = NULL;
    char error[LOADER_ERROR_MAX];
    uint32_t len = 0;
    uint32_t at = 0;
    for (; len < kit->request->given_len; len++) {
        given[len].name = kit->request->given[len].name;
        given[len].value = kit_replace(kit->request->given[len].value, place);
    }
    if (kit_wants_path(kit)) {
        given[len].name = "path";
        given[len].value = kit_replace("{dir}/store", place);
        len++;
    }
    if (loader_settings(kit->plugin, given, len, &settings, &at, error) != KV_OK) {
        kit_fail("settings: %s", error);
    }
    for (uint32_t i = 0; i < len; i++) {
        alloc_free((void *)given[i].value);
    }
    return settings;
}

/* --- life --- */

struct kit_store *kit_store_at(struct kit *kit, const struct kit_place *place)
{
    struct kit_store *store = alloc_zeroed(1, sizeof(*store));
    store->kit = kit;
    store->place = *place;
    store->next = (struct kv_position){1, 1};
    check_host_init(&store->host, NULL);
    model_init(&store->model);
    batch_init(&store->batch, store->next);
    batch_init(&store->last, store->next);
    return store;
}

void kit_store_drop(struct kit_store *store)
{
    batch_close(&store->batch);
    batch_close(&store->last);
    model_close(&store->model);
    check_host_close(&store->host);
    alloc_free(store);
}

/* What every call of the plugin is followed by. */
static void kit_check_call(struct kit_store *store, const char *function, int32_t status)
{
    if (status > 0 || status < KV_STATUS_LAST_) {
        kit_fail("%s(): expected KV_OK or a code of <kvnode/status.h>, found %s", function,
                 kit_code(status));
    }
    if (store->host.fault[0] != '\0') {
        kit_fail("%s(): the host's services were misused: %s", function, store->host.fault);
    }
}

/* errors: the host's count before the call. */
static void kit_check_reason(struct kit_store *store, const char *function, int32_t status,
                             uint64_t errors)
{
    if (status != KV_OK && status != KV_E_NOMEM && store->host.errors == errors) {
        kit_fail("%s() returned %s: expected the reason logged with KV_LOG_ERROR before, found "
                 "nothing logged",
                 function, kit_code(status));
    }
}

static char *kit_lend_text(const char *text)
{
    size_t size = strlen(text) + 1;
    char *copy = malloc(size);
    if (copy == NULL) {
        kit_fail("the kit is out of memory");
    }
    return memcpy(copy, text, size);
}

/* A path becomes one that nobody can make anything at: a plugin that kept it then fails, and leaves
 * no files about. */
static void kit_take_text_back(const char *text)
{
    static const char nowhere[] = "/dev/null/";
    char *taken = (char *)text;
    size_t len = strlen(taken);
    for (size_t i = 0; i < len; i++) {
        taken[i] = len < sizeof(nowhere) ? (char)BATCH_POISON : nowhere[i % (sizeof(nowhere) - 1)];
    }
    batch_free_later(taken, len);
}

int32_t kit_try_create(struct kit_store *store, const struct kv_setting *settings)
{
    static char untouched;
    uint32_t len = store->kit->plugin->descriptor.options_len;
    struct kv_setting *lent = calloc(len + 1u, sizeof(*lent));
    for (uint32_t i = 0; lent != NULL && i < len; i++) {
        lent[i].name = kit_lend_text(settings[i].name);
        lent[i].value = kit_lend_text(settings[i].value);
    }
    void *self = &untouched;
    uint64_t errors = store->host.errors;
    int32_t status = store->kit->ops->create(&store->host.table, lent, len, &self);
    for (uint32_t i = 0; lent != NULL && i < len; i++) {
        kit_take_text_back(lent[i].name);
        kit_take_text_back(lent[i].value);
    }
    free(lent);
    kit_check_call(store, "create", status);
    kit_check_reason(store, "create", status, errors);
    if (status != KV_OK && self != &untouched) {
        kit_fail("create() failed with %s: expected *ret_self untouched, found it changed",
                 kit_code(status));
    }
    if (status != KV_OK && store->host.live != 0) {
        kit_fail("create() failed with %s: expected nothing left behind, found %" PRId64
                 " pieces of memory",
                 kit_code(status), store->host.live);
    }
    if (status == KV_OK && (self == &untouched || self == NULL)) {
        kit_fail("create() returned KV_OK: expected an instance in *ret_self, found %s",
                 self == NULL ? "NULL" : "it untouched");
    }
    store->self = status == KV_OK ? self : NULL;
    return status;
}

void kit_create(struct kit_store *store)
{
    struct kv_setting *settings = kit_settings(store->kit, &store->place);
    int32_t status = kit_try_create(store, settings);
    if (status != KV_OK) {
        kit_fail("create(): expected KV_OK, found %s%s", kit_code(status), kit_log(store));
    }
    loader_settings_free(settings);
}

int32_t kit_try_open(struct kit_store *store)
{
    struct kv_position position = {0, 0};
    uint64_t errors = store->host.errors;
    int32_t status = store->kit->ops->open(store->self, &position);
    kit_check_call(store, "open", status);
    kit_check_reason(store, "open", status, errors);
    if (status != KV_OK) {
        return status;
    }
    store->is_open = true;
    store->is_fresh = true;
    if (position.view == 0 && position.index != 0) {
        kit_fail("open(): found the position (0, %" PRIu64 "), which no update has",
                 position.index);
    }
    bool is_right =
        position.view == store->position.view && position.index == store->position.index;
    bool is_forgotten = store->kit->request->is_volatile && position.view == 0;
    if (!is_right && !is_forgotten) {
        bool is_new = store->position.view == 0 && store->last.count == 0;
        kit_fail("open(): expected the position (%" PRIu64 ", %" PRIu64 ")%s, found (%" PRIu64
                 ", %" PRIu64 ")%s",
                 store->position.view, store->position.index,
                 is_new ? " of a new store" : " given with the last batch", position.view,
                 position.index,
                 is_new ? "; do the settings name another store each time? {dir} and {n} do so"
                        : "");
    }
    return KV_OK;
}

void kit_open(struct kit_store *store)
{
    int32_t status = kit_try_open(store);
    if (status != KV_OK) {
        kit_fail("open(): expected KV_OK, found %s%s", kit_code(status), kit_log(store));
    }
}

void kit_close(struct kit_store *store)
{
    store->kit->ops->close(store->self);
    store->is_open = false;
    kit_check_call(store, "close", KV_OK);
}

void kit_destroy(struct kit_store *store)
{
    if (store->is_open) {
        kit_close(store);
    }
    store->kit->ops->destroy(store->self);
    store->self = NULL;
    kit_check_call(store, "destroy", KV_OK);
    if (store->host.live != 0) {
        kit_fail("destroy(): expected no memory of kv_host.allocate left, found %" PRId64
                 " pieces of %" PRId64 " bytes together",
                 store->host.live, store->host.live_bytes);
    }
}

struct kit_store *kit_new(struct kit *kit)
{
    struct kit_place place;
    kit_place_make(kit, &place);
    struct kit_store *store = kit_store_at(kit, &place);
    kit_create(store);
    kit_open(store);
    return store;
}

void kit_end(struct kit_store *store)
{
    kit_destroy(store);
    kit_store_drop(store);
}

/* --- apply --- */

void kit_add(struct kit_store *store, uint32_t kind, const void *key, size_t key_len,
             const void *value, size_t value_len)
{
    if (store->batch.count == 0) {
        batch_close(&store->batch);
        batch_init(&store->batch, store->next);
    }
    batch_add(&store->batch, kind, key, key_len, value, value_len);
}

void kit_insert(struct kit_store *store, const char *key, const char *value)
{
    kit_add(store, KV_RECORD_INSERT, key, strlen(key), value, strlen(value));
}

void kit_remove(struct kit_store *store, const char *key)
{
    kit_add(store, KV_RECORD_REMOVE, key, strlen(key), NULL, 0);
}

int32_t kit_try_apply(struct kit_store *store, const struct batch *batch, uint32_t *results)
{
    /* One guard before, one behind. */
    uint32_t *lent = alloc_zeroed((size_t)batch->count + 2, sizeof(*lent));
    lent[0] = KIT_GUARD;
    lent[batch->count + 1] = KIT_GUARD;
    struct kv_record *records = batch_lend(batch);
    uint64_t errors = store->host.errors;
    check_host_begin_apply(&store->host, batch->count);
    int32_t status =
        store->kit->ops->apply(store->self, records, batch->count, batch->position, lent + 1);
    check_host_end_apply(&store->host);
    batch_take_back(records, batch->count);
    store->is_fresh = false;
    kit_check_call(store, "apply", status);
    kit_check_reason(store, "apply", status, errors);
    if (lent[0] != KIT_GUARD || lent[batch->count + 1] != KIT_GUARD) {
        kit_fail("apply(): expected nothing written %s the %" PRIu32
                 " results, found results[%" PRId64 "] changed",
                 lent[0] != KIT_GUARD ? "before" : "beyond", batch->count,
                 lent[0] != KIT_GUARD ? (int64_t)-1 : (int64_t)batch->count);
    }
    for (uint32_t i = 0; i < batch->count; i++) {
        results[i] = lent[i + 1];
        if (status == KV_OK && results[i] > KV_RESULT_UNKNOWN) {
            kit_fail("apply(): expected a KV_RESULT_ for record %" PRIu32 " of %" PRIu32
                     ", found %" PRIu32,
                     i + 1, batch->count, results[i]);
        }
    }
    alloc_free(lent);
    return status;
}

/* True when the node would repeat the batch. */
static bool kit_is_to_repeat(int32_t status, const uint32_t *results, uint32_t count)
{
    if (status != KV_OK) {
        return status_class(status) == KV_CLASS_RETRY;
    }
    for (uint32_t i = 0; i < count; i++) {
        if (results[i] == KV_RESULT_RETRY || results[i] == KV_RESULT_UNKNOWN) {
            return true;
        }
    }
    return false;
}

/* As the node does: the whole batch again, later and later. */
static void kit_apply_until_known(struct kit_store *store, const struct batch *batch,
                                  uint32_t *results)
{
    int32_t status = kit_try_apply(store, batch, results);
    for (int i = 1; i < KIT_TRIES_MAX && kit_is_to_repeat(status, results, batch->count); i++) {
        kit_pause_ms(10 * i);
        status = kit_try_apply(store, batch, results);
    }
    if (status != KV_OK) {
        kit_fail("apply() of %" PRIu32 " records: expected KV_OK, found %s%s", batch->count,
                 kit_code(status), kit_log(store));
    }
    if (kit_is_to_repeat(status, results, batch->count)) {
        kit_fail("apply() of %" PRIu32 " records: expected each stored or refused, found some "
                 "still to be tried again after %d calls%s",
                 batch->count, KIT_TRIES_MAX, kit_log(store));
    }
}

/* Nothing of it may be refused. */
static void kit_expect_stored(struct kit_store *store, const struct batch *batch,
                              const uint32_t *results)
{
    char key[MODEL_SHOW_TEXT_MAX];
    for (uint32_t i = 0; i < batch->count; i++) {
        if (results[i] == KV_RESULT_STORED) {
            continue;
        }
        const struct kv_record *record = &batch->records[i];
        const char *reason = check_host_reason(&store->host, i);
        kit_fail(
            "apply(): expected record %" PRIu32 " of %" PRIu32 " stored, found it refused (key "
            "%s of %" PRIu32 " bytes, value of %" PRIu32 " bytes)%s%s%s",
            i + 1, batch->count, model_show(record->key, record->key_len, key), record->key_len,
            record->value_len, reason == NULL ? "" : "; reason: ", reason == NULL ? "" : reason,
            reason == NULL ? kit_log(store) : "");
    }
}

void kit_apply_batch(struct kit_store *store, const struct batch *batch, bool is_repeat)
{
    uint32_t *results = alloc_zeroed(batch->count, sizeof(*results));
    kit_apply_until_known(store, batch, results);
    kit_expect_stored(store, batch, results);
    alloc_free(results);
    if (!is_repeat) {
        model_apply(&store->model, batch, NULL);
        store->position = batch->position;
        if (batch->position.view != 0) {
            store->next = (struct kv_position){batch->position.view, batch->position.index + 1};
        }
    }
}

/* What was gathered is the last batch from now on. */
static void kit_turn_over(struct kit_store *store)
{
    store->position = store->batch.position;
    store->next = store->batch.next;
    batch_close(&store->last);
    store->last = store->batch;
    batch_init(&store->batch, store->next);
}

void kit_apply(struct kit_store *store)
{
    uint32_t *results = alloc_zeroed(store->batch.count, sizeof(*results));
    kit_apply_until_known(store, &store->batch, results);
    kit_expect_stored(store, &store->batch, results);
    alloc_free(results);
    model_apply(&store->model, &store->batch, NULL);
    kit_turn_over(store);
}

void kit_offer(struct kit_store *store, uint32_t **ret_results)
{
    uint32_t *results = alloc_zeroed(store->batch.count, sizeof(*results));
    uint64_t errors = store->host.errors;
    kit_apply_until_known(store, &store->batch, results);
    for (uint32_t i = 0; i < store->batch.count; i++) {
        if (results[i] == KV_RESULT_REFUSED && check_host_reason(&store->host, i) == NULL &&
            store->host.errors == errors) {
            kit_fail("apply() refused record %" PRIu32 " of %" PRIu32
                     " for good: expected the reason with kv_host.reason (or a line logged with "
                     "KV_LOG_ERROR), found neither",
                     i + 1, store->batch.count);
        }
    }
    model_apply(&store->model, &store->batch, results);
    kit_turn_over(store);
    *ret_results = results;
}

/* --- content --- */

/* Of a load() or get() that runs. */
struct kit_emission {
    struct kit_store *store;
    const char *function;
    struct model *found;
    uint64_t records;
};

static int32_t kit_emit(void *ctx, const struct kv_record *record)
{
    struct kit_emission *emission = ctx;
    const char *function = emission->function;
    if (record == NULL) {
        kit_fail("%s() emitted NULL in place of a record", function);
    }
    if (record->kind != KV_RECORD_INSERT && record->kind != KV_RECORD_REMOVE) {
        kit_fail("%s() emitted a record of the kind %" PRIu32 ", which there is not", function,
                 record->kind);
    }
    if (record->reserved != 0) {
        kit_fail("%s() emitted a record whose reserved member is %" PRIu32 ", not 0", function,
                 record->reserved);
    }
    if ((record->key == NULL && record->key_len != 0) ||
        (record->value == NULL && record->value_len != 0)) {
        kit_fail("%s() emitted a record with a length and no bytes", function);
    }
    if (record->kind == KV_RECORD_REMOVE && record->value_len != 0) {
        kit_fail("%s() emitted a removal with a value of %" PRIu32 " bytes", function,
                 record->value_len);
    }
    emission->records++;
    model_put(emission->found, record);
    return KV_OK;
}

void kit_load(struct kit_store *store, struct model *ret_found)
{
    struct kit_emission emission = {store, "load", ret_found, 0};
    model_init(ret_found);
    store->is_fresh = false;
    int32_t status = store->kit->ops->load(store->self, kit_emit, &emission);
    kit_check_call(store, "load", status);
    if (status != KV_OK) {
        kit_fail("load(): expected KV_OK, found %s after %" PRIu64 " records%s", kit_code(status),
                 emission.records, kit_log(store));
    }
}

bool kit_get(struct kit_store *store, const void *key, uint32_t key_len, struct model *ret_found)
{
    char shown[MODEL_SHOW_TEXT_MAX];
    struct kit_emission emission = {store, "get", ret_found, 0};
    model_init(ret_found);
    void *lent = malloc(key_len == 0 ? 1 : key_len);
    if (lent == NULL) {
        kit_fail("the kit is out of memory");
    }
    if (key_len > 0) {
        memcpy(lent, key, key_len);
    }
    int32_t status = store->kit->ops->get(store->self, lent, key_len, kit_emit, &emission);
    free(lent);
    kit_check_call(store, "get", status);
    model_show(key, key_len, shown);
    if (status != KV_OK && status != KV_E_NOT_FOUND) {
        kit_fail("get() of the key %s: expected KV_OK or KV_E_NOT_FOUND, found %s%s", shown,
                 kit_code(status), kit_log(store));
    }
    if ((status == KV_OK) != (emission.records > 0)) {
        kit_fail("get() of the key %s returned %s: expected %s emitted, found %" PRIu64
                 " records emitted",
                 shown, kit_code(status), status == KV_OK ? "the key" : "nothing",
                 emission.records);
    }
    for (uint32_t i = 0; i < ret_found->len; i++) {
        if (ret_found->entries[i].key_len != key_len ||
            (key_len > 0 && memcmp(ret_found->entries[i].key, key, key_len) != 0)) {
            kit_fail("get() of the key %s emitted another key", shown);
        }
    }
    return status == KV_OK;
}

static void kit_expect_gotten(struct kit_store *store)
{
    char text[MODEL_TEXT_MAX];
    for (uint32_t i = 0; i < store->model.len; i++) {
        const struct model_entry *entry = &store->model.entries[i];
        struct model found;
        bool is_there = kit_get(store, entry->key, entry->key_len, &found);
        if (model_entry_differs(entry, is_there ? &found.entries[0] : NULL, text)) {
            kit_fail("get(): %s", text);
        }
        model_close(&found);
    }
}

void kit_expect(struct kit_store *store)
{
    char text[MODEL_TEXT_MAX];
    if (kit_has(store->kit, KV_PERSIST_LOAD) && store->is_fresh) {
        struct model found;
        kit_load(store, &found);
        if (model_differs(&store->model, &found, text)) {
            kit_fail("load(): %s", text);
        }
        model_close(&found);
    }
    if (kit_has(store->kit, KV_PERSIST_GET)) {
        kit_expect_gotten(store);
    }
}

void kit_reopen(struct kit_store *store)
{
    kit_close(store);
    kit_open(store);
}

void kit_renew(struct kit_store *store)
{
    kit_destroy(store);
    kit_create(store);
    kit_open(store);
}
