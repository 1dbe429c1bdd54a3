/* The guard in front of transport plugins: a good one, and each way to break the contract. */
#include "base/alloc.h"
#include "host/guard_transport.h"

#include <setjmp.h>
#include <stdarg.h>
#include <cmocka.h>

#include <pthread.h>
#include <string.h>

/* --- a plugin whose every answer is set by the test; links are addresses into `links` --- */

static char links[8];
#define LINK(i) ((struct kv_link *)&links[i])

static struct fake {
    int32_t create_status, start_status, listen_status, connect_status, send_status;
    int creates_nothing;
    int connects_nothing;
    const char *listen_uri; /* given back; NULL: nothing is written */
    int listen_is_endless;
    int calls_back; /* from within each call */
    int sends, flushes, closes, stops, destroys;
    struct kv_link *closed;
    size_t sent_len;
    void *user; /* of the last connect() */
    const struct kv_transport_events *events;
    void *ctx;
} fake;

static void fake_call_back(void)
{
    if (fake.calls_back) {
        fake.events->on_up(fake.ctx, fake.user);
    }
}

static int32_t fake_create(const struct kv_host *host, const struct kv_setting *settings,
                           uint32_t settings_len, void **ret_self)
{
    (void)host;
    (void)settings;
    (void)settings_len;
    if (fake.create_status == KV_OK && !fake.creates_nothing) {
        *ret_self = &fake;
    }
    return fake.create_status;
}

static int32_t fake_start(void *self, const struct kv_transport_limits *limits,
                          const struct kv_transport_events *events, void *ctx)
{
    assert_ptr_equal(self, &fake);
    assert_int_equal(limits->message_max, 100);
    fake.events = events;
    fake.ctx = ctx;
    fake_call_back();
    return fake.start_status;
}

static int32_t fake_listen(void *self, const char *uri, char *ret_uri)
{
    (void)self;
    (void)uri;
    fake_call_back();
    if (fake.listen_uri != NULL) {
        memcpy(ret_uri, fake.listen_uri, strlen(fake.listen_uri) + 1);
    }
    if (fake.listen_is_endless) {
        memset(ret_uri, 'a', KV_URI_MAX + 1);
    }
    return fake.listen_status;
}

static int32_t fake_connect(void *self, const char *uri, void *user, struct kv_link **ret_link)
{
    (void)self;
    (void)uri;
    fake.user = user;
    fake_call_back();
    if (!fake.connects_nothing) {
        *ret_link = LINK(0);
    }
    return fake.connect_status;
}

static int32_t fake_send(void *self, struct kv_link *link, const struct kv_slice *slices,
                         uint32_t slices_len)
{
    (void)self;
    assert_non_null(link);
    fake.sends++;
    fake.sent_len = 0;
    for (uint32_t i = 0; i < slices_len; i++) {
        fake.sent_len += slices[i].len;
    }
    fake_call_back();
    return fake.send_status;
}

static void fake_flush(void *self)
{
    (void)self;
    fake.flushes++;
    fake_call_back();
}

static void fake_close_link(void *self, struct kv_link *link)
{
    (void)self;
    fake.closes++;
    fake.closed = link;
    fake_call_back();
}

static void fake_stop(void *self)
{
    (void)self;
    fake.stops++;
    fake_call_back();
    if (fake.calls_back) {
        fake.events->on_stopped(fake.ctx);
    }
}

static void fake_destroy(void *self)
{
    (void)self;
    fake.destroys++;
}

static const struct loaded_plugin fake_plugin = {
    .path = "fake",
    .descriptor = {.kind = KV_KIND_TRANSPORT, .name = "fake"},
    .ops.transport = {fake_create, fake_start, fake_listen, fake_connect, fake_send, fake_flush,
                      fake_close_link, fake_stop, fake_destroy},
};

/* --- the guard's user --- */

static struct seen {
    int accepts, ups, messages, writables, downs, stops;
    int refuses;            /* on_accept answers false */
    int closes_in_callback; /* on_accept, on_message and on_down close the link they are about */
    int32_t reason;
    uint32_t len;
    struct guard_link *link;
    struct guard_transport *guard;
} seen;

static void close_if_wanted(struct guard_link *link)
{
    if (seen.closes_in_callback) {
        guard_transport_close_link(seen.guard, link);
    }
}

static bool on_accept(void *ctx, struct guard_link *link, const char *remote_uri)
{
    assert_ptr_equal(ctx, &seen);
    assert_string_equal(remote_uri, "fake://peer");
    seen.accepts++;
    seen.link = link;
    guard_link_set_user(link, &links[7]);
    close_if_wanted(link);
    return !seen.refuses;
}

static void on_up(void *ctx, struct guard_link *link)
{
    assert_ptr_equal(ctx, &seen);
    assert_non_null(link);
    seen.ups++;
}

static void on_message(void *ctx, struct guard_link *link, const void *bytes, uint32_t len)
{
    (void)ctx;
    (void)bytes;
    seen.messages++;
    seen.len = len;
    seen.link = link;
    close_if_wanted(link);
}

static void on_writable(void *ctx, struct guard_link *link)
{
    (void)ctx;
    (void)link;
    seen.writables++;
}

static void on_down(void *ctx, struct guard_link *link, int32_t reason)
{
    (void)ctx;
    seen.downs++;
    seen.reason = reason;
    close_if_wanted(link);
}

static void on_stopped(void *ctx)
{
    (void)ctx;
    seen.stops++;
}

static const struct guard_transport_events user_events = {on_accept,   on_up,   on_message,
                                                          on_writable, on_down, on_stopped};
static const struct kv_transport_limits limits = {100, 2, 1000};

static struct services *services;
static int lines;
static char last_line[1200];

static void note(void *ctx, const char *plugin, uint32_t level, const char *text)
{
    (void)ctx;
    (void)plugin;
    assert_int_equal(level, KV_LOG_ERROR);
    lines++;
    strncpy(last_line, text, sizeof(last_line) - 1);
}

static int setup(void **state)
{
    (void)state;
    memset(&fake, 0, sizeof(fake));
    memset(&seen, 0, sizeof(seen));
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

static struct guard_transport *started(void)
{
    struct guard_transport *guard = NULL;
    assert_int_equal(
        guard_transport_create(&fake_plugin, services, NULL, &limits, &user_events, &seen, &guard),
        KV_OK);
    seen.guard = guard;
    return guard;
}

static void finish(struct guard_transport *guard)
{
    guard_transport_stop(guard);
    fake.events->on_stopped(fake.ctx);
    guard_transport_destroy(guard);
    assert_int_equal(fake.destroys, 1);
}

static struct guard_link *connected(struct guard_transport *guard)
{
    struct guard_link *link = NULL;
    assert_int_equal(guard_transport_connect(guard, "fake://a", &seen, &link), KV_OK);
    assert_ptr_equal(guard_link_user(link), &seen);
    fake.events->on_up(fake.ctx, fake.user);
    return link;
}

/* So many violations, one line each, the last with this text. */
static void broke(const struct guard_transport *guard, uint64_t violations, const char *text)
{
    assert_int_equal(guard_transport_violations(guard), violations);
    if (strstr(last_line, text) == NULL) {
        fail_msg("\"%s\" does not contain \"%s\"", last_line, text);
    }
}

/* --- tests --- */

static void create_and_start_fail_or_lie(void **state)
{
    (void)state;
    static const struct {
        int32_t create, start, expected;
        int nothing, destroys;
    } rows[] = {
        {KV_E_INVALID, 0, KV_E_INVALID, 0, 0}, {3, 0, KV_E_CONTRACT, 0, 0},
        {KV_OK, 0, KV_E_CONTRACT, 1, 0},       {KV_OK, KV_E_IO, KV_E_IO, 0, 1},
        {KV_OK, 1, KV_E_CONTRACT, 0, 2},
    };
    for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
        struct guard_transport *guard = NULL;
        fake.create_status = rows[i].create;
        fake.start_status = rows[i].start;
        fake.creates_nothing = rows[i].nothing;
        assert_int_equal(guard_transport_create(&fake_plugin, services, NULL, &limits, &user_events,
                                                &seen, &guard),
                         rows[i].expected);
        assert_null(guard);
        assert_int_equal(fake.destroys, rows[i].destroys);
    }
    assert_int_equal(lines, 3);
    guard_transport_destroy(NULL);
}

static void good_life(void **state)
{
    (void)state;
    char uri[KV_URI_MAX];
    struct guard_transport *guard = started();
    fake.listen_uri = "fake://here:1";
    assert_int_equal(guard_transport_listen(guard, "fake://here:0", uri), KV_OK);
    assert_string_equal(uri, "fake://here:1");
    struct guard_link *link = NULL;
    const struct kv_slice slices[] = {{"abc", 3}, {"de", 2}};
    assert_int_equal(guard_transport_connect(guard, "fake://a", NULL, &link), KV_OK);
    assert_int_equal(guard_transport_send(guard, link, slices, 2), KV_E_CLOSED); /* not up */
    fake.events->on_up(fake.ctx, fake.user);
    assert_int_equal(guard_transport_send(guard, link, slices, 2), KV_OK);
    assert_int_equal(fake.sent_len, 5);
    fake.events->on_message(fake.ctx, fake.user, "xyz", 3);
    fake.events->on_message(fake.ctx, fake.user, NULL, 0);
    assert_int_equal(seen.messages, 2);
    assert_ptr_equal(seen.link, link);
    fake.events->on_down(fake.ctx, fake.user, KV_E_IO);
    assert_int_equal(seen.reason, KV_E_IO);
    assert_int_equal(guard_transport_send(guard, link, slices, 2), KV_E_CLOSED);
    fake.events->on_up(fake.ctx, fake.user);
    assert_int_equal(seen.ups, 2);
    guard_transport_flush(guard);
    assert_int_equal(fake.flushes, 1);
    void *peer = fake.events->on_accept(fake.ctx, LINK(1), "fake://peer");
    assert_non_null(peer);
    assert_ptr_equal(guard_link_user(seen.link), &links[7]);
    assert_int_equal(guard_transport_send(guard, seen.link, slices, 1), KV_OK);
    fake.events->on_down(fake.ctx, peer, KV_E_CLOSED);
    assert_int_equal(seen.downs, 2);
    guard_transport_close_link(guard, link);
    assert_ptr_equal(fake.closed, LINK(0));
    assert_int_equal(guard_transport_violations(guard), 0);
    finish(guard);
    assert_int_equal(seen.stops, 1);
    assert_int_equal(lines, 0);
}

static void sizes_of_messages(void **state)
{
    (void)state;
    static char bytes[200];
    struct guard_transport *guard = started();
    struct guard_link *link = connected(guard);
    const struct kv_slice fits[] = {{bytes, 60}, {bytes, 40}};
    const struct kv_slice too_long[] = {{bytes, 60}, {bytes, 41}};
    const struct kv_slice overflow[] = {{bytes, 60}, {bytes, SIZE_MAX - 10}};
    assert_int_equal(guard_transport_send(guard, link, fits, 2), KV_OK);
    assert_int_equal(guard_transport_send(guard, link, too_long, 2), KV_E_TOO_LARGE);
    assert_int_equal(guard_transport_send(guard, link, overflow, 2), KV_E_TOO_LARGE);
    assert_int_equal(fake.sends, 1);
    fake.events->on_message(fake.ctx, fake.user, bytes, 100);
    assert_int_equal(seen.messages, 1);
    fake.events->on_message(fake.ctx, fake.user, bytes, 101);
    broke(guard, 1, "above message_max");
    fake.events->on_message(fake.ctx, fake.user, NULL, 1);
    fake.events->on_message(fake.ctx, fake.user, bytes, UINT32_MAX);
    assert_int_equal(seen.messages, 1);
    assert_int_equal(guard_transport_violations(guard), 3);
    assert_int_equal(lines, 1); /* once per kind: it must not flood the log */
    finish(guard);
}

static void codes_of_calls(void **state)
{
    (void)state;
    char uri[KV_URI_MAX] = "untouched";
    char endless[KV_URI_MAX + 1];
    struct guard_transport *guard = started();
    struct guard_link *link = connected(guard);
    const struct kv_slice slice = {"abc", 3};
    fake.send_status = 17;
    assert_int_equal(guard_transport_send(guard, link, &slice, 1), KV_E_CONTRACT);
    broke(guard, 1, "send() returned 17");
    fake.listen_status = KV_E_EXISTS;
    assert_int_equal(guard_transport_listen(guard, "fake://x", uri), KV_E_EXISTS);
    fake.listen_status = -99;
    assert_int_equal(guard_transport_listen(guard, "fake://x", uri), KV_E_CONTRACT);
    broke(guard, 2, "listen() returned -99");
    fake.listen_status = KV_OK;
    assert_int_equal(guard_transport_listen(guard, "fake://x", uri), KV_E_CONTRACT);
    broke(guard, 3, "gave no address");
    fake.listen_is_endless = 1;
    assert_int_equal(guard_transport_listen(guard, "fake://x", uri), KV_E_CONTRACT);
    broke(guard, 4, "too long");
    assert_string_equal(uri, "untouched");
    struct guard_link *other = NULL;
    fake.connect_status = KV_E_INVALID;
    assert_int_equal(guard_transport_connect(guard, "fake://x", NULL, &other), KV_E_INVALID);
    fake.connect_status = 1;
    assert_int_equal(guard_transport_connect(guard, "fake://x", NULL, &other), KV_E_CONTRACT);
    fake.connect_status = KV_OK;
    fake.connects_nothing = 1;
    assert_int_equal(guard_transport_connect(guard, "fake://x", NULL, &other), KV_E_CONTRACT);
    broke(guard, 6, "without a link");
    assert_null(other);
    /* The failed link's handle is a stranger now. */
    fake.events->on_up(fake.ctx, fake.user);
    broke(guard, 7, "closed or never was");
    memset(endless, 'u', sizeof(endless) - 1);
    endless[KV_URI_MAX] = '\0';
    assert_int_equal(guard_transport_listen(guard, endless, uri), KV_E_INVALID);
    assert_int_equal(guard_transport_connect(guard, endless, NULL, &other), KV_E_INVALID);
    finish(guard);
}

static void writable_only_when_owed(void **state)
{
    (void)state;
    struct guard_transport *guard = started();
    struct guard_link *link = connected(guard);
    const struct kv_slice slice = {"abc", 3};
    fake.events->on_writable(fake.ctx, fake.user);
    broke(guard, 1, "not busy");
    fake.send_status = KV_E_BUSY;
    assert_int_equal(guard_transport_send(guard, link, &slice, 1), KV_E_BUSY);
    fake.events->on_writable(fake.ctx, fake.user);
    assert_int_equal(seen.writables, 1);
    fake.events->on_writable(fake.ctx, fake.user);
    assert_int_equal(seen.writables, 1);
    assert_int_equal(guard_transport_send(guard, link, &slice, 1), KV_E_BUSY);
    fake.events->on_down(fake.ctx, fake.user, KV_E_IO);
    fake.events->on_writable(fake.ctx, fake.user); /* owed no more */
    assert_int_equal(seen.writables, 1);
    broke(guard, 3, "not up");
    finish(guard);
}

static void callbacks_out_of_turn(void **state)
{
    (void)state;
    struct guard_transport *guard = started();
    connected(guard);
    fake.events->on_up(fake.ctx, fake.user);
    broke(guard, 1, "on_up for a link that is up");
    fake.events->on_down(fake.ctx, fake.user, KV_OK);
    broke(guard, 2, "no error code");
    assert_int_equal(seen.downs, 1);
    assert_int_equal(seen.reason, KV_E_CONTRACT);
    fake.events->on_down(fake.ctx, fake.user, KV_E_IO);
    broke(guard, 3, "not up");
    fake.events->on_message(fake.ctx, fake.user, "x", 1);
    assert_int_equal(seen.downs, 1);
    assert_int_equal(seen.messages, 0);
    void *peer = fake.events->on_accept(fake.ctx, LINK(1), "fake://peer");
    fake.events->on_down(fake.ctx, peer, KV_E_IO);
    fake.events->on_down(fake.ctx, peer, KV_E_IO); /* twice */
    broke(guard, 5, "closed or never was");
    assert_int_equal(seen.downs, 2);
    fake.events->on_message(fake.ctx, NULL, "x", 1);
    fake.events->on_message(fake.ctx, &fake, "x", 1); /* an address of its own */
    fake.events->on_message(fake.ctx, (void *)UINTPTR_MAX, "x", 1);
    assert_int_equal(guard_transport_violations(guard), 8);
    assert_int_equal(seen.messages, 0);
    fake.events->on_stopped(fake.ctx);
    broke(guard, 9, "stopped unasked");
    assert_int_equal(seen.stops, 0);
    finish(guard);
}

static void callbacks_for_a_closed_link(void **state)
{
    (void)state;
    struct guard_transport *guard = started();
    void *stale[2];
    struct guard_link *link = connected(guard);
    stale[0] = fake.user;
    guard_transport_close_link(guard, link);
    stale[1] = fake.events->on_accept(fake.ctx, LINK(1), "fake://peer"); /* takes the same slot */
    assert_ptr_not_equal(stale[0], stale[1]);
    fake.events->on_message(fake.ctx, stale[0], "x", 1);
    assert_int_equal(seen.messages, 0);
    guard_transport_close_link(guard, seen.link);
    for (int i = 0; i < 2; i++) {
        fake.events->on_up(fake.ctx, stale[i]);
        fake.events->on_message(fake.ctx, stale[i], "x", 1);
        fake.events->on_writable(fake.ctx, stale[i]);
        fake.events->on_down(fake.ctx, stale[i], KV_E_IO);
    }
    broke(guard, 9, "closed or never was");
    assert_int_equal(seen.messages + seen.writables + seen.downs, 0);
    assert_int_equal(lines, 1);
    finish(guard);
}

static void callbacks_from_within_calls(void **state)
{
    (void)state;
    char uri[KV_URI_MAX];
    struct guard_link *link = NULL;
    const struct kv_slice slice = {"abc", 3};
    fake.calls_back = 1;
    struct guard_transport *guard = started();
    broke(guard, 1, "from within a call");
    fake.listen_uri = "fake://here:1";
    assert_int_equal(guard_transport_listen(guard, "fake://x", uri), KV_OK);
    assert_int_equal(guard_transport_connect(guard, "fake://x", NULL, &link), KV_OK);
    assert_int_equal(guard_transport_violations(guard), 3);
    fake.events->on_up(fake.ctx, fake.user); /* a good one */
    assert_int_equal(guard_transport_send(guard, link, &slice, 1), KV_OK);
    guard_transport_flush(guard);
    guard_transport_close_link(guard, link);
    guard_transport_stop(guard);
    assert_int_equal(guard_transport_violations(guard), 8); /* stop() calls back twice */
    assert_int_equal(seen.ups, 1);
    assert_int_equal(seen.stops, 0);
    assert_int_equal(lines, 1);
    fake.events->on_stopped(fake.ctx);
    guard_transport_destroy(guard);
    assert_int_equal(seen.stops, 1);
}

static void peers_that_are_none(void **state)
{
    (void)state;
    char endless[KV_URI_MAX + 1];
    memset(endless, 'u', sizeof(endless) - 1);
    endless[KV_URI_MAX] = '\0';
    struct guard_transport *guard = started();
    assert_null(fake.events->on_accept(fake.ctx, NULL, "fake://peer"));
    assert_null(fake.events->on_accept(fake.ctx, LINK(1), NULL));
    assert_null(fake.events->on_accept(fake.ctx, LINK(1), endless));
    broke(guard, 3, "announced a peer");
    assert_int_equal(seen.accepts, 0);
    seen.refuses = 1;
    assert_null(fake.events->on_accept(fake.ctx, LINK(1), "fake://peer"));
    assert_int_equal(seen.accepts, 1);
    seen.refuses = 0;
    void *first = fake.events->on_accept(fake.ctx, LINK(1), "fake://peer");
    assert_non_null(first);
    assert_non_null(fake.events->on_accept(fake.ctx, LINK(2), "fake://peer"));
    assert_null(fake.events->on_accept(fake.ctx, LINK(3), "fake://peer")); /* links_max is 2 */
    broke(guard, 4, "announced a peer");
    fake.events->on_down(fake.ctx, first, KV_E_IO);
    assert_non_null(fake.events->on_accept(fake.ctx, LINK(3), "fake://peer"));
    finish(guard);
}

static void host_closes_within_callbacks(void **state)
{
    (void)state;
    struct guard_transport *guard = started();
    seen.closes_in_callback = 1;
    assert_null(fake.events->on_accept(fake.ctx, LINK(1), "fake://peer"));
    assert_int_equal(fake.closes, 0); /* NULL says it */
    seen.closes_in_callback = 0;
    void *peer = fake.events->on_accept(fake.ctx, LINK(1), "fake://peer");
    seen.closes_in_callback = 1;
    fake.events->on_message(fake.ctx, peer, "x", 1);
    assert_int_equal(fake.closes, 1);
    assert_ptr_equal(fake.closed, LINK(1));
    seen.closes_in_callback = 0;
    peer = fake.events->on_accept(fake.ctx, LINK(2), "fake://peer");
    seen.closes_in_callback = 1;
    fake.events->on_down(fake.ctx, peer, KV_E_IO);
    assert_int_equal(fake.closes, 2);
    connected(guard);
    fake.events->on_down(fake.ctx, fake.user, KV_E_IO);
    assert_int_equal(fake.closes, 3);
    assert_int_equal(guard_transport_violations(guard), 0);
    finish(guard);
}

static void after_stop(void **state)
{
    (void)state;
    char uri[KV_URI_MAX];
    struct guard_link *other = NULL;
    const struct kv_slice slice = {"abc", 3};
    struct guard_transport *guard = started();
    struct guard_link *link = connected(guard);
    void *user = fake.user;
    void *peer = fake.events->on_accept(fake.ctx, LINK(1), "fake://peer");
    struct guard_link *accepted = seen.link;
    guard_transport_stop(guard);
    guard_transport_stop(guard);
    assert_int_equal(fake.stops, 1);
    assert_int_equal(guard_transport_send(guard, link, &slice, 1), KV_E_CLOSED);
    assert_int_equal(guard_transport_listen(guard, "fake://x", uri), KV_E_CLOSED);
    assert_int_equal(guard_transport_connect(guard, "fake://x", NULL, &other), KV_E_CLOSED);
    guard_transport_flush(guard);
    assert_int_equal(fake.flushes, 0);
    assert_null(fake.events->on_accept(fake.ctx, LINK(2), "fake://peer"));
    broke(guard, 1, "after stop()");
    guard_transport_close_link(guard, accepted);
    assert_int_equal(fake.closes, 0);                  /* the plugin closes them all anyway */
    fake.events->on_down(fake.ctx, peer, KV_E_CLOSED); /* and may say so */
    fake.events->on_message(fake.ctx, user, "x", 1);   /* still arrives */
    assert_int_equal(seen.messages, 1);
    assert_int_equal(guard_transport_violations(guard), 1);
    fake.events->on_stopped(fake.ctx);
    fake.events->on_stopped(fake.ctx);
    fake.events->on_message(fake.ctx, user, "x", 1);
    fake.events->on_down(fake.ctx, user, KV_E_IO);
    assert_null(fake.events->on_accept(fake.ctx, LINK(2), "fake://peer"));
    broke(guard, 5, "after on_stopped");
    assert_int_equal(seen.stops, 1);
    assert_int_equal(seen.messages, 1);
    guard_transport_destroy(guard);
}

/* LeakSanitizer sees the guard through this: it stays on purpose. */
static struct guard_transport *abandoned;

static void never_stopped(void **state)
{
    (void)state;
    int64_t live = alloc_live();
    struct guard_transport *guard = started();
    connected(guard);
    guard_transport_stop(guard);
    abandoned = guard;
    guard_transport_destroy(guard);
    assert_int_equal(fake.destroys, 0);
    assert_int_equal(alloc_live(), live + 1);
    fake.events->on_message(fake.ctx, fake.user, "x", 1); /* harmless */
    fake.events->on_stopped(fake.ctx);
    assert_null(fake.events->on_accept(fake.ctx, LINK(2), "fake://peer"));
    assert_int_equal(seen.messages + seen.stops + seen.accepts, 0);
    alloc_free(abandoned); /* of the test's tidiness only */
}

static void *call_from_a_thread(void *argument)
{
    fake.events->on_message(fake.ctx, argument, "x", 1);
    fake.events->on_stopped(fake.ctx);
    return NULL;
}

static void wrong_thread(void **state)
{
    (void)state;
    pthread_t thread;
    struct guard_transport *guard = started();
    connected(guard);
    assert_int_equal(pthread_create(&thread, NULL, call_from_a_thread, fake.user), 0);
    assert_int_equal(pthread_join(thread, NULL), 0);
    broke(guard, 2, "not the loop's");
    assert_int_equal(seen.messages, 0);
    finish(guard);
}

static void many_links(void **state)
{
    (void)state;
    struct guard_link *all[100];
    void *users[100];
    struct guard_transport *guard = started();
    for (int i = 0; i < 100; i++) {
        assert_int_equal(guard_transport_connect(guard, "fake://a", &all[i], &all[i]), KV_OK);
        users[i] = fake.user;
        for (int k = 0; k < i; k++) {
            assert_ptr_not_equal(users[k], users[i]);
        }
    }
    for (int i = 99; i >= 0; i--) {
        fake.events->on_up(fake.ctx, users[i]);
        fake.events->on_message(fake.ctx, users[i], "x", 1);
        assert_ptr_equal(seen.link, all[i]);
        assert_ptr_equal(guard_link_user(seen.link), &all[i]);
    }
    for (int i = 0; i < 100; i += 2) {
        guard_transport_close_link(guard, all[i]);
    }
    assert_int_equal(guard_transport_violations(guard), 0);
    finish(guard); /* frees the other half */
}

#define TEST(function) cmocka_unit_test_setup_teardown(function, setup, teardown)

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(create_and_start_fail_or_lie),
        TEST(good_life),
        TEST(sizes_of_messages),
        TEST(codes_of_calls),
        TEST(writable_only_when_owed),
        TEST(callbacks_out_of_turn),
        TEST(callbacks_for_a_closed_link),
        TEST(callbacks_from_within_calls),
        TEST(peers_that_are_none),
        TEST(host_closes_within_callbacks),
        TEST(after_stop),
        TEST(never_stopped),
        TEST(wrong_thread),
        TEST(many_links),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
