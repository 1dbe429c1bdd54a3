/* The guard in front of persistence plugins: a good one, failing ones and lying ones. */
#include "base/alloc.h"
#include "host/guard_persist.h"

#include <setjmp.h>
#include <stdarg.h>
#include <cmocka.h>

#include <string.h>

/* --- a plugin whose every answer is set by the test --- */

static struct fake {
    int32_t create_status;
    int creates_nothing;
    int32_t open_status;
    struct kv_position open_position;
    int32_t load_status;
    const struct kv_record *emitted; /* by load() */
    uint32_t emitted_len;
    int ignores_stop; /* load() goes on and returns load_status whatever emit says */
    int32_t apply_status;
    uint32_t apply_result;
    uint32_t apply_result_at;
    const uint32_t *apply_results;    /* of each record; NULL: apply_result at apply_result_at */
    const char *const *apply_reasons; /* of each record, NULL: none; given backwards */
    int logs_reason;
    int32_t reset_status;
    int resets;
    int32_t get_status;
    const struct kv_record *got; /* emitted by get() */
    uint32_t got_len;
    int writes_beyond;
    int opens, closes, destroys, applies;
    void *kept; /* memory that destroy() forgets */
    int leaks;
    kv_emit_fn emit;
    void *emit_ctx;
    const struct kv_host *host;
} fake;

static int32_t fake_create(const struct kv_host *host, const struct kv_setting *settings,
                           uint32_t settings_len, void **ret_self)
{
    (void)settings;
    (void)settings_len;
    fake.host = host;
    if (fake.create_status == KV_OK && !fake.creates_nothing) {
        *ret_self = &fake;
    }
    return fake.create_status;
}

static int32_t fake_open(void *self, struct kv_position *ret_position)
{
    assert_ptr_equal(self, &fake);
    fake.opens++;
    *ret_position = fake.open_position;
    return fake.open_status;
}

static int32_t fake_load(void *self, kv_emit_fn emit, void *ctx)
{
    assert_ptr_equal(self, &fake);
    fake.emit = emit;
    fake.emit_ctx = ctx;
    for (uint32_t i = 0; i < fake.emitted_len; i++) {
        int32_t status = emit(ctx, fake.emitted == NULL ? NULL : &fake.emitted[i]);
        if (status != KV_OK && !fake.ignores_stop) {
            return status;
        }
    }
    return fake.load_status;
}

static int32_t fake_apply(void *self, const struct kv_record *records, uint32_t count,
                          struct kv_position position, uint32_t *results)
{
    (void)self;
    (void)records;
    (void)position;
    fake.applies++;
    for (uint32_t i = count; i-- > 0;) {
        assert_int_equal(results[i], KV_RESULT_STORED);
        results[i] = fake.apply_results != NULL  ? fake.apply_results[i]
                     : i == fake.apply_result_at ? fake.apply_result
                                                 : KV_RESULT_STORED;
        if (fake.apply_reasons != NULL && fake.apply_reasons[i] != NULL) {
            fake.host->reason(fake.host->ctx, i, fake.apply_reasons[i]);
        }
    }
    if (fake.writes_beyond) {
        results[count] = 0;
    }
    if (fake.logs_reason) {
        fake.host->log(fake.host->ctx, KV_LOG_ERROR, "the plugin's own reason");
    }
    return fake.apply_status;
}

static void fake_close(void *self)
{
    (void)self;
    fake.closes++;
}

static void fake_destroy(void *self)
{
    (void)self;
    fake.destroys++;
    if (fake.leaks) {
        fake.kept = fake.host->allocate(fake.host->ctx, 1);
    }
}

static int32_t fake_reset(void *self)
{
    assert_ptr_equal(self, &fake);
    fake.resets++;
    return fake.reset_status;
}

static int32_t fake_get(void *self, const void *key, uint32_t key_len, kv_emit_fn emit, void *ctx)
{
    assert_ptr_equal(self, &fake);
    assert_memory_equal(key, "k", key_len);
    for (uint32_t i = 0; i < fake.got_len; i++) {
        int32_t status = emit(ctx, &fake.got[i]);
        if (status != KV_OK && !fake.ignores_stop) {
            return status;
        }
    }
    return fake.get_status;
}

#define FAKE_CAPABILITIES (KV_PERSIST_LOAD | KV_PERSIST_RESET | KV_PERSIST_GET)

static struct loaded_plugin fake_plugin = {
    .path = "fake",
    .descriptor = {.kind = KV_KIND_PERSIST, .name = "fake", .capabilities = FAKE_CAPABILITIES},
    .ops.persist = {fake_create, fake_open, fake_load, fake_apply, fake_close, fake_destroy,
                    fake_reset, fake_get},
};

static struct services *services;
static int lines;
static char last_line[1200];

static void note(void *ctx, const char *plugin, uint32_t level, const char *text)
{
    (void)ctx;
    (void)plugin;
    (void)level;
    lines++;
    strncpy(last_line, text, sizeof(last_line) - 1);
}

static int setup(void **state)
{
    (void)state;
    memset(&fake, 0, sizeof(fake));
    lines = 0;
    last_line[0] = '\0';
    services = services_create("fake", NULL, note, NULL);
    return 0;
}

static int teardown(void **state)
{
    (void)state;
    services_destroy(services);
    return alloc_live() == 0 ? 0 : -1;
}

static struct guard_persist *opened(void)
{
    struct guard_persist *guard = NULL;
    struct kv_position position;
    assert_int_equal(guard_persist_create(&fake_plugin, services, NULL, NULL, &guard), KV_OK);
    assert_int_equal(guard_persist_open(guard, &position), KV_OK);
    return guard;
}

static void said(const char *text)
{
    if (strstr(last_line, text) == NULL) {
        fail_msg("\"%s\" does not contain \"%s\"", last_line, text);
    }
}

static const struct kv_position five = {1, 5};
static const struct kv_record pair = {"k", "v", 1, 1, KV_RECORD_INSERT, 0, {1, 5}, 7, 8};

/* The refusals of the last apply(). */
static const struct persist_refusal *refusals;
static uint32_t refusals_len;

static int32_t apply(struct guard_persist *guard, const struct kv_record *records, uint32_t count)
{
    refusals = NULL;
    refusals_len = 99;
    return guard_persist_apply(guard, records, count, five, &refusals, &refusals_len);
}

/* --- tests --- */

static void create_fails_or_lies(void **state)
{
    (void)state;
    struct guard_persist *guard = NULL;
    fake.create_status = KV_E_INVALID;
    assert_int_equal(guard_persist_create(&fake_plugin, services, NULL, NULL, &guard),
                     KV_E_INVALID);
    assert_int_equal(lines, 0);
    fake.create_status = 5;
    assert_int_equal(guard_persist_create(&fake_plugin, services, NULL, NULL, &guard),
                     KV_E_CONTRACT);
    said("create() returned 5");
    fake.create_status = KV_OK;
    fake.creates_nothing = 1;
    assert_int_equal(guard_persist_create(&fake_plugin, services, NULL, NULL, &guard),
                     KV_E_CONTRACT);
    said("without an instance");
    assert_int_equal(lines, 2);
    assert_null(guard);
}

static void open_fails_lies_and_succeeds_again(void **state)
{
    (void)state;
    struct guard_persist *guard = NULL;
    struct kv_position position = {9, 9};
    assert_int_equal(guard_persist_create(&fake_plugin, services, NULL, NULL, &guard), KV_OK);
    fake.open_status = KV_E_CORRUPT;
    assert_int_equal(guard_persist_open(guard, &position), KV_E_CORRUPT);
    fake.open_status = -4711;
    assert_int_equal(guard_persist_open(guard, &position), KV_E_CONTRACT);
    said("open() returned -4711");
    fake.open_status = KV_OK;
    fake.open_position = (struct kv_position){0, 3};
    assert_int_equal(guard_persist_open(guard, &position), KV_E_CONTRACT);
    said("position (0, 3)");
    assert_int_equal(fake.closes, 1); /* it was open */
    assert_int_equal(position.view, 9);
    fake.open_position = (struct kv_position){2, 3};
    assert_int_equal(guard_persist_open(guard, &position), KV_OK);
    assert_int_equal(position.index, 3);
    guard_persist_close(guard);
    guard_persist_close(guard);
    assert_int_equal(fake.closes, 2);
    assert_int_equal(guard_persist_open(guard, &position), KV_OK);
    guard_persist_destroy(guard); /* closes it */
    assert_int_equal(fake.closes, 3);
    assert_int_equal(fake.destroys, 1);
    guard_persist_destroy(NULL);
}

struct taken {
    uint32_t len;
    uint32_t stop_at; /* 0: never */
};

static int32_t take(void *ctx, const struct kv_record *record)
{
    struct taken *taken = ctx;
    assert_non_null(record);
    taken->len++;
    return taken->len == taken->stop_at ? KV_E_NOMEM : KV_OK;
}

static void load_gives_records(void **state)
{
    (void)state;
    static const struct kv_record records[] = {
        {"k", "v", 1, 1, KV_RECORD_INSERT, 0, {1, 5}, 7, 8},
        {NULL, NULL, 0, 0, KV_RECORD_INSERT, 0, {1, 6}, 7, 8},
        {"k", NULL, 1, 0, KV_RECORD_REMOVE, 0, {1, 7}, 7, 8},
    };
    struct taken taken = {0, 0};
    struct guard_persist *guard = opened();
    assert_true(guard_persist_can_load(guard));
    fake.emitted = records;
    fake.emitted_len = 3;
    assert_int_equal(guard_persist_load(guard, take, &taken), KV_OK);
    assert_int_equal(taken.len, 3);
    guard_persist_close(guard);
    /* The caller stops it, and a plugin that goes on changes nothing. */
    struct kv_position position;
    for (int ignores = 0; ignores < 2; ignores++) {
        fake.ignores_stop = ignores;
        taken = (struct taken){0, 2};
        assert_int_equal(guard_persist_open(guard, &position), KV_OK);
        assert_int_equal(guard_persist_load(guard, take, &taken), KV_E_NOMEM);
        assert_int_equal(taken.len, 2);
        guard_persist_close(guard);
    }
    assert_int_equal(lines, 0);
    fake.emitted_len = 0;
    fake.load_status = KV_E_CORRUPT;
    assert_int_equal(guard_persist_open(guard, &position), KV_OK);
    assert_int_equal(guard_persist_load(guard, take, &taken), KV_E_CORRUPT);
    guard_persist_close(guard);
    fake.load_status = 1;
    assert_int_equal(guard_persist_open(guard, &position), KV_OK);
    assert_int_equal(guard_persist_load(guard, take, &taken), KV_E_CONTRACT);
    said("load() returned 1");
    guard_persist_destroy(guard);
}

static void malformed_records(void **state)
{
    (void)state;
    static const struct {
        struct kv_record record;
        const char *text;
    } bad[] = {
        {{NULL, "v", 3, 1, KV_RECORD_INSERT, 0, {1, 1}, 0, 0}, "a key with a length"},
        {{"k", NULL, 1, 3, KV_RECORD_INSERT, 0, {1, 1}, 0, 0}, "a value with a length"},
        {{"k", "v", 1, 1, 0, 0, {1, 1}, 0, 0}, "an unknown kind"},
        {{"k", "v", 1, 1, 3, 0, {1, 1}, 0, 0}, "an unknown kind"},
        {{"k", "v", 1, 1, KV_RECORD_INSERT, 1, {1, 1}, 0, 0}, "a reserved member"},
        {{"k", "v", 1, 1, KV_RECORD_REMOVE, 0, {1, 1}, 0, 0}, "a removal with a value"},
        {{"k", "v", GUARD_KEY_BYTES_MAX + 1, 1, KV_RECORD_INSERT, 0, {1, 1}, 0, 0}, "a key longer"},
        {{"k", "v", 1, GUARD_VALUE_BYTES_MAX + 1, KV_RECORD_INSERT, 0, {1, 1}, 0, 0},
         "a value longer"},
    };
    struct kv_position position;
    struct guard_persist *guard = NULL;
    assert_int_equal(guard_persist_create(&fake_plugin, services, NULL, NULL, &guard), KV_OK);
    for (size_t i = 0; i <= sizeof(bad) / sizeof(bad[0]); i++) {
        struct taken taken = {0, 0};
        int is_null = i == sizeof(bad) / sizeof(bad[0]);
        fake.emitted = is_null ? NULL : &bad[i].record;
        fake.emitted_len = 1;
        fake.ignores_stop = 1; /* and claims that all is well */
        lines = 0;
        assert_int_equal(guard_persist_open(guard, &position), KV_OK);
        assert_int_equal(guard_persist_load(guard, take, &taken), KV_E_CONTRACT);
        assert_int_equal(taken.len, 0);
        assert_int_equal(lines, 1);
        said(is_null ? "no record at all" : bad[i].text);
        guard_persist_close(guard);
    }
    guard_persist_destroy(guard);
}

static void emit_outside_load(void **state)
{
    (void)state;
    struct taken taken = {0, 0};
    struct guard_persist *guard = opened();
    assert_int_equal(guard_persist_load(guard, take, &taken), KV_OK);
    assert_int_equal(fake.emit(fake.emit_ctx, &pair), KV_E_CONTRACT);
    said("outside load()");
    assert_int_equal(taken.len, 0);
    guard_persist_destroy(guard);
}

static void without_load(void **state)
{
    (void)state;
    struct taken taken = {0, 0};
    fake_plugin.descriptor.capabilities = 0;
    struct guard_persist *guard = opened();
    assert_false(guard_persist_can_load(guard));
    assert_int_equal(guard_persist_load(guard, take, &taken), KV_OK);
    assert_int_equal(taken.len, 0);
    guard_persist_destroy(guard);
    fake_plugin.descriptor.capabilities = FAKE_CAPABILITIES;
}

static void results_of_apply(void **state)
{
    (void)state;
    struct kv_record records[4] = {pair, pair, pair, pair};
    struct guard_persist *guard = opened();
    assert_int_equal(apply(guard, records, 4), KV_OK);
    assert_int_equal(apply(guard, NULL, 0), KV_OK);
    assert_int_equal(lines, 0);
    fake.apply_result_at = 2;
    fake.apply_result = KV_RESULT_RETRY;
    assert_int_equal(apply(guard, records, 4), KV_E_RETRY);
    said("could not store record 3 of 4");
    fake.apply_result = KV_RESULT_UNKNOWN;
    assert_int_equal(apply(guard, records, 4), KV_E_RETRY);
    assert_int_equal(lines, 2);
    assert_int_equal(refusals_len, 99); /* touched only on success */
    fake.apply_result = KV_RESULT_REFUSED;
    assert_int_equal(apply(guard, records, 4), KV_OK);
    assert_int_equal(refusals_len, 1);
    assert_int_equal(refusals[0].record, 2);
    assert_string_equal(refusals[0].reason,
                        "the store refused the record (key of 1 bytes, value of 1 bytes)");
    assert_int_equal(lines, 2); /* no failure */
    fake.apply_result = 4;
    assert_int_equal(apply(guard, records, 4), KV_E_CONTRACT);
    said("record 3 of 4 the result 4");
    fake.apply_result = KV_RESULT_STORED;
    assert_int_equal(apply(guard, records, 4), KV_OK);
    guard_persist_destroy(guard);
}

static void codes_of_apply(void **state)
{
    (void)state;
    char text[1200];
    struct guard_persist *guard = opened();
    fake.apply_status = KV_E_IO;
    assert_int_equal(apply(guard, &pair, 1), KV_E_IO);
    said("KV_E_IO"); /* the guard gives a reason where the plugin gave none */
    fake.logs_reason = 1;
    assert_int_equal(apply(guard, &pair, 1), KV_E_IO);
    services_last_error(services, text, sizeof(text));
    assert_string_equal(text, "the plugin's own reason");
    fake.logs_reason = 0;
    lines = 0;
    fake.apply_status = 1;
    assert_int_equal(apply(guard, &pair, 1), KV_E_CONTRACT);
    said("apply() returned 1");
    assert_int_equal(lines, 1);
    fake.apply_status = KV_STATUS_LAST_ - 1;
    assert_int_equal(apply(guard, &pair, 1), KV_E_CONTRACT);
    fake.apply_status = KV_OK;
    fake.writes_beyond = 1;
    assert_int_equal(apply(guard, &pair, 1), KV_E_CONTRACT);
    said("beyond its 1 results");
    fake.writes_beyond = 0;
    assert_int_equal(apply(guard, &pair, 1), KV_OK);
    guard_persist_destroy(guard);
}

/* The reasons of refusals: the record's own, else the line logged for the only one, else made. */
static void reasons_of_refusals(void **state)
{
    (void)state;
    static const uint32_t results[] = {KV_RESULT_REFUSED, KV_RESULT_STORED, KV_RESULT_REFUSED,
                                       KV_RESULT_REFUSED};
    static const char *const reasons[] = {"the first\nis bad", "stored all the same", NULL, ""};
    static const char made[] = "the store refused the record (key of 1 bytes, value of 1 bytes)";
    struct kv_record records[4] = {pair, pair, pair, pair};
    struct guard_persist *guard = opened();
    fake.apply_results = results;
    fake.apply_reasons = reasons;
    fake.logs_reason = 1;
    assert_int_equal(apply(guard, records, 4), KV_OK);
    assert_int_equal(refusals_len, 3);
    assert_int_equal(refusals[0].record, 0);
    assert_string_equal(refusals[0].reason, "the first is bad");
    assert_int_equal(refusals[1].record, 2);
    assert_string_equal(refusals[1].reason, made); /* the line may be about any of them */
    assert_int_equal(refusals[2].record, 3);
    assert_string_equal(refusals[2].reason, made);
    /* The reasons of one call do not outlive it. */
    fake.apply_reasons = NULL;
    assert_int_equal(apply(guard, records, 2), KV_OK);
    assert_int_equal(refusals_len, 1);
    assert_string_equal(refusals[0].reason, "the plugin's own reason");
    fake.logs_reason = 0;
    assert_int_equal(apply(guard, records, 2), KV_OK);
    assert_string_equal(refusals[0].reason, made); /* nor does a line of an earlier call */
    fake.apply_results = NULL;
    assert_int_equal(apply(guard, records, 4), KV_OK);
    assert_int_equal(refusals_len, 0);
    guard_persist_destroy(guard);
}

static void refused_and_to_be_repeated(void **state)
{
    (void)state;
    static const uint32_t results[] = {KV_RESULT_REFUSED, KV_RESULT_UNKNOWN, KV_RESULT_RETRY};
    static const uint32_t wrong[] = {KV_RESULT_REFUSED, KV_RESULT_RETRY, 4};
    static const char *const reasons[] = {NULL, "the lock is taken", NULL};
    char text[1200];
    struct kv_record records[3] = {pair, pair, pair};
    struct guard_persist *guard = opened();
    fake.apply_results = results;
    assert_int_equal(apply(guard, records, 3), KV_E_RETRY);
    assert_int_equal(refusals_len, 99);
    said("could not store record 2 of 3 (key of 1 bytes");
    fake.apply_reasons = reasons;
    assert_int_equal(apply(guard, records, 3), KV_E_RETRY);
    services_last_error(services, text, sizeof(text));
    assert_string_equal(text, "the store could not store record 2 of 3: the lock is taken");
    fake.apply_results = wrong;
    assert_int_equal(apply(guard, records, 3), KV_E_CONTRACT);
    said("record 3 of 3 the result 4");
    guard_persist_close(guard); /* and it can be opened again */
    struct kv_position position;
    fake.apply_results = NULL;
    fake.apply_reasons = NULL;
    assert_int_equal(guard_persist_open(guard, &position), KV_OK);
    assert_int_equal(apply(guard, records, 3), KV_OK);
    guard_persist_destroy(guard);
}

/* So many refusals that not all reasons are kept: each has one all the same. */
static void very_many_refusals(void **state)
{
    (void)state;
    enum { MANY = SERVICES_REASONS_MAX + 500 };
    static struct kv_record records[MANY];
    static uint32_t results[MANY];
    static const char *reasons[MANY];
    uint32_t given = 0;
    for (uint32_t i = 0; i < MANY; i++) {
        records[i] = pair;
        results[i] = KV_RESULT_REFUSED;
        reasons[i] = "not this one";
    }
    struct guard_persist *guard = opened();
    fake.apply_results = results;
    fake.apply_reasons = reasons;
    assert_int_equal(apply(guard, records, MANY), KV_OK);
    assert_int_equal(refusals_len, MANY);
    for (uint32_t i = 0; i < MANY; i++) {
        assert_int_equal(refusals[i].record, i);
        given += strcmp(refusals[i].reason, "not this one") == 0 ? 1 : 0;
        assert_true(strlen(refusals[i].reason) > 0);
    }
    assert_int_equal(given, SERVICES_REASONS_MAX);
    guard_persist_destroy(guard);
}

static void reset(void **state)
{
    (void)state;
    struct kv_position position;
    struct taken taken = {0, 0};
    struct guard_persist *guard = opened();
    assert_int_equal(guard_persist_reset(guard), KV_OK); /* before load() */
    assert_int_equal(guard_persist_load(guard, take, &taken), KV_OK);
    assert_int_equal(guard_persist_reset(guard), KV_OK); /* and after it */
    assert_int_equal(fake.resets, 2);
    assert_int_equal(lines, 0);
    fake.reset_status = KV_E_IO;
    assert_int_equal(guard_persist_reset(guard), KV_E_IO);
    said("could not be emptied");
    fake.reset_status = 3;
    assert_int_equal(guard_persist_reset(guard), KV_E_CONTRACT);
    said("reset() returned 3");
    guard_persist_close(guard);
    fake_plugin.descriptor.capabilities = 0;
    assert_int_equal(guard_persist_open(guard, &position), KV_OK);
    assert_int_equal(guard_persist_reset(guard), KV_OK);
    assert_int_equal(fake.resets, 4); /* not called */
    fake_plugin.descriptor.capabilities = FAKE_CAPABILITIES;
    guard_persist_destroy(guard);
}

static int32_t get(struct guard_persist *guard, const struct kv_record *got, uint32_t got_len,
                   struct taken *taken)
{
    *taken = (struct taken){0, taken->stop_at};
    fake.got = got;
    fake.got_len = got_len;
    lines = 0;
    return guard_persist_get(guard, "k", 1, take, taken);
}

static void get_of_one_key(void **state)
{
    (void)state;
    static const struct kv_record other = {"j", "v", 1, 1, KV_RECORD_INSERT, 0, {1, 5}, 7, 8};
    static const struct kv_record longer = {"kk", "v", 2, 1, KV_RECORD_INSERT, 0, {1, 5}, 7, 8};
    static const struct kv_record odd = {"k", "v", 1, 1, 9, 0, {1, 5}, 7, 8};
    struct taken taken = {0, 0};
    struct guard_persist *guard = opened();
    assert_int_equal(get(guard, &pair, 1, &taken), KV_OK); /* before load(), too */
    assert_int_equal(taken.len, 1);
    assert_int_equal(guard_persist_load(guard, take, &taken), KV_OK);
    assert_int_equal(apply(guard, &pair, 1), KV_OK);
    assert_int_equal(get(guard, &pair, 1, &taken), KV_OK);
    assert_int_equal(lines, 0);
    fake.ignores_stop = 1;
    assert_int_equal(get(guard, &other, 1, &taken), KV_E_CONTRACT);
    said("get() emitted a record with another key than the one asked for");
    assert_int_equal(get(guard, &longer, 1, &taken), KV_E_CONTRACT);
    assert_int_equal(get(guard, &odd, 1, &taken), KV_E_CONTRACT);
    said("get() emitted a record with an unknown kind");
    assert_int_equal(taken.len, 0);
    assert_int_equal(get(guard, NULL, 0, &taken), KV_E_CONTRACT);
    said("returned KV_OK and emitted nothing");
    fake.get_status = KV_E_NOT_FOUND;
    assert_int_equal(get(guard, NULL, 0, &taken), KV_E_NOT_FOUND);
    assert_int_equal(lines, 0);
    assert_int_equal(get(guard, &pair, 1, &taken), KV_E_CONTRACT);
    said("returned KV_E_NOT_FOUND and emitted the key");
    fake.get_status = 12;
    assert_int_equal(get(guard, NULL, 0, &taken), KV_E_CONTRACT);
    said("get() returned 12");
    taken.stop_at = 1;
    fake.get_status = KV_OK;
    assert_int_equal(get(guard, &pair, 1, &taken), KV_E_NOMEM); /* the caller stops it */
    assert_int_equal(fake.emit(fake.emit_ctx, &pair), KV_E_CONTRACT);
    said("outside load() and get()");
    fake_plugin.descriptor.capabilities = 0;
    assert_int_equal(get(guard, &pair, 1, &taken), KV_E_REJECTED);
    assert_int_equal(taken.len, 0);
    fake_plugin.descriptor.capabilities = FAKE_CAPABILITIES;
    guard_persist_destroy(guard);
}

static void kept_memory_is_told(void **state)
{
    (void)state;
    struct guard_persist *guard = opened();
    fake.leaks = 1;
    guard_persist_destroy(guard);
    said("kept 1 pieces of memory");
    fake.host->release(fake.host->ctx, fake.kept);
}

/* The same through a real shared object: faults on demand, then all is well again. */
static void real_plugin(void **state)
{
    (void)state;
    char error[LOADER_ERROR_MAX];
    struct loaded_plugin *plugin = NULL;
    struct kv_setting *settings = NULL;
    struct guard_persist *guard = NULL;
    struct kv_position position;
    uint32_t at = 0;
    const struct kv_setting given[] = {
        {"fail_every", "2"}, {"lie_every", "3"}, {"retry_every", "5"}, {"refuse", "bad"}};
    assert_int_equal(
        loader_load("persist-memory", KV_TEST_PLUGINS, KV_KIND_PERSIST, &plugin, error), KV_OK);
    assert_int_equal(loader_settings(plugin, given, 4, &settings, &at, error), KV_OK);
    assert_int_equal(guard_persist_create(plugin, services, settings, NULL, &guard), KV_OK);
    assert_int_equal(guard_persist_open(guard, &position), KV_OK);
    assert_int_equal(position.index, 0);
    assert_int_equal(apply(guard, &pair, 1), KV_OK);         /* 1 */
    assert_int_equal(apply(guard, &pair, 1), KV_E_IO);       /* 2 */
    assert_int_equal(apply(guard, &pair, 1), KV_E_CONTRACT); /* 3 */
    assert_int_equal(apply(guard, &pair, 1), KV_E_IO);       /* 4 */
    assert_int_equal(apply(guard, &pair, 1), KV_E_RETRY);    /* 5 */
    assert_int_equal(apply(guard, &pair, 1), KV_E_IO);       /* 6 */
    struct kv_record bad = pair;
    bad.key = "bad";
    bad.key_len = 3;
    assert_int_equal(apply(guard, &bad, 1), KV_OK); /* 7 */
    assert_int_equal(refusals_len, 1);
    assert_string_equal(refusals[0].reason, "keys like this one are not taken here");
    struct taken one = {0, 0};
    assert_int_equal(guard_persist_get(guard, "k", 1, take, &one), KV_OK);
    assert_int_equal(one.len, 1);
    assert_int_equal(guard_persist_get(guard, "bad", 3, take, &one), KV_E_NOT_FOUND);
    guard_persist_close(guard);
    assert_int_equal(guard_persist_open(guard, &position), KV_OK);
    assert_int_equal(position.index, 5);
    struct taken taken = {0, 0};
    assert_int_equal(guard_persist_load(guard, take, &taken), KV_OK);
    assert_int_equal(taken.len, 1);
    assert_int_equal(guard_persist_reset(guard), KV_OK);
    assert_int_equal(guard_persist_get(guard, "k", 1, take, &one), KV_E_NOT_FOUND);
    guard_persist_destroy(guard);
    assert_int_equal(services_live(services), 0);
    loader_settings_free(settings);
    loader_release(plugin);
}

#define TEST(function) cmocka_unit_test_setup_teardown(function, setup, teardown)

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(create_fails_or_lies), TEST(open_fails_lies_and_succeeds_again),
        TEST(load_gives_records),   TEST(malformed_records),
        TEST(emit_outside_load),    TEST(without_load),
        TEST(results_of_apply),     TEST(codes_of_apply),
        TEST(reasons_of_refusals),  TEST(refused_and_to_be_repeated),
        TEST(very_many_refusals),   TEST(reset),
        TEST(get_of_one_key),       TEST(kept_memory_is_told),
        TEST(real_plugin),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
