/* Plugins built with the frozen headers of ABI 1.0 and of 1.1 load, and their members are where
 * this host looks for them. */
#include "base/alloc.h"
#include "host/guard_persist.h"
#include "host/guard_transport.h"

#include <setjmp.h>
#include <stdarg.h>
#include <cmocka.h>

#include <uv.h>

static char error[LOADER_ERROR_MAX];

static void persistence_of(const char *path)
{
    struct loaded_plugin *plugin = NULL;
    struct kv_setting *settings = NULL;
    struct guard_persist *guard = NULL;
    struct kv_position position = {9, 9};
    const struct persist_refusal *refusals = NULL;
    uint32_t refusals_len = 0;
    struct kv_record record = {"k", "v", 1, 1, KV_RECORD_INSERT, 0, {1, 5}, 7, 8};
    uint32_t at = 0;
    if (loader_load(path, NULL, KV_KIND_PERSIST, &plugin, error) != KV_OK) {
        fail_msg("%s", error);
    }
    assert_string_equal(plugin->descriptor.name, "frozen-persist");
    assert_string_equal(plugin->descriptor.version, "1.0");
    struct services *services = services_create("frozen", NULL, NULL, NULL);
    assert_int_equal(loader_settings(plugin, NULL, 0, &settings, &at, error), KV_OK);
    assert_int_equal(guard_persist_create(plugin, services, settings, NULL, &guard), KV_OK);
    assert_int_equal(guard_persist_open(guard, &position), KV_OK);
    assert_int_equal(position.view, 0);
    assert_int_equal(
        guard_persist_apply(guard, &record, 1, record.position, &refusals, &refusals_len), KV_OK);
    assert_int_equal(refusals_len, 0);
    record.key = "a key of more";
    record.key_len = 13;
    assert_int_equal(
        guard_persist_apply(guard, &record, 1, record.position, &refusals, &refusals_len), KV_OK);
    assert_int_equal(refusals_len, 1);
    assert_int_equal(refusals[0].record, 0);
    guard_persist_close(guard);
    assert_int_equal(guard_persist_open(guard, &position), KV_OK);
    assert_int_equal(position.view, 1);
    assert_int_equal(position.index, 5);
    guard_persist_destroy(guard);
    assert_int_equal(services_live(services), 0);
    loader_settings_free(settings);
    services_destroy(services);
    loader_release(plugin);
}

/* What has happened to the link and the transport. */
struct seen {
    struct guard_transport *guard;
    int ups;
    int messages;
    int stops;
};

static bool on_accept(void *ctx, struct guard_link *link, const char *remote_uri)
{
    (void)ctx;
    (void)link;
    (void)remote_uri;
    return false;
}

static void on_up(void *ctx, struct guard_link *link)
{
    struct seen *seen = ctx;
    const struct kv_slice slices[] = {{"ab", 2}, {"c", 1}};
    seen->ups++;
    assert_int_equal(guard_transport_send(seen->guard, link, slices, 2), KV_OK);
    assert_int_equal(guard_transport_send(seen->guard, link, slices, 2), KV_E_BUSY);
    guard_transport_flush(seen->guard);
}

static void on_message(void *ctx, struct guard_link *link, const void *bytes, uint32_t len)
{
    struct seen *seen = ctx;
    seen->messages++;
    assert_int_equal(len, 3);
    assert_memory_equal(bytes, "abc", 3);
    guard_transport_close_link(seen->guard, link);
    guard_transport_stop(seen->guard);
}

static void on_writable(void *ctx, struct guard_link *link)
{
    (void)ctx;
    (void)link;
}

static void on_down(void *ctx, struct guard_link *link, int32_t reason)
{
    (void)ctx;
    (void)link;
    (void)reason;
}

static void on_stopped(void *ctx)
{
    ((struct seen *)ctx)->stops++;
}

static void transport_of(const char *path)
{
    static const struct guard_transport_events events = {on_accept,   on_up,   on_message,
                                                         on_writable, on_down, on_stopped};
    const struct kv_transport_limits limits = {100, 2, 1000};
    struct loaded_plugin *plugin = NULL;
    struct guard_link *link = NULL;
    struct seen seen = {0};
    char uri[KV_URI_MAX];
    uv_loop_t loop;
    assert_int_equal(uv_loop_init(&loop), 0);
    if (loader_load(path, NULL, KV_KIND_TRANSPORT, &plugin, error) != KV_OK) {
        fail_msg("%s", error);
    }
    struct services *services = services_create("frozen", &loop, NULL, NULL);
    assert_int_equal(
        guard_transport_create(plugin, services, NULL, &limits, &events, &seen, &seen.guard),
        KV_OK);
    assert_int_equal(guard_transport_listen(seen.guard, "frozen://here", uri), KV_OK);
    assert_string_equal(uri, "frozen://here");
    assert_int_equal(guard_transport_connect(seen.guard, "frozen://there", NULL, &link), KV_OK);
    assert_int_equal(uv_run(&loop, UV_RUN_DEFAULT), 0);
    assert_int_equal(seen.ups, 1);
    assert_int_equal(seen.messages, 1);
    assert_int_equal(seen.stops, 1);
    assert_int_equal(guard_transport_violations(seen.guard), 0);
    guard_transport_destroy(seen.guard);
    assert_int_equal(services_live(services), 0);
    services_destroy(services);
    loader_release(plugin);
    assert_int_equal(uv_loop_close(&loop), 0);
}

static void persistence(void **state)
{
    (void)state;
    persistence_of(KV_FROZEN_PERSIST);
    persistence_of(KV_FROZEN_PERSIST_1_1);
}

static void transport(void **state)
{
    (void)state;
    transport_of(KV_FROZEN_TRANSPORT);
    transport_of(KV_FROZEN_TRANSPORT_1_1);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(persistence),
        cmocka_unit_test(transport),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
