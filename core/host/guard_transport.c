/*
 * Happy path: calls go down to the plugin, callbacks come up with the handle that the guard gave
 * for the link, which is looked up in a table and becomes the guard's link.
 *
 * Failure: a handle names a slot and its generation, never an address, so that a callback for a
 * link that is closed (or for one that never was) is told from a good one without touching freed
 * memory. A callback that breaks the contract is dropped, counted, and logged once per kind and
 * instance: a plugin gone wild must not flood the log. Since a transport may lose messages, what is
 * dropped is repaired by the sequencing above. A wrong order of calls is our own mistake and ends
 * the process.
 *
 * Re-entrance: within a callback the host may call anything, also close_link() of that very link.
 * So after a callback a link is looked up again before it is touched.
 */
#include "host/guard_transport.h"

#include "base/alloc.h"
#include "base/check.h"
#include "base/status.h"

#include <inttypes.h>
#include <pthread.h>
#include <stdarg.h>
#include <stdatomic.h>
#include <stdio.h>
#include <string.h>

#define GUARD_SLOT_NONE UINT32_MAX
#define GUARD_URI_GUARD 64u /* bytes beyond a URI's room, to see a plugin that writes too far */

enum guard_transport_state {
    GUARD_TRANSPORT_RUNNING,
    GUARD_TRANSPORT_STOPPING,
    GUARD_TRANSPORT_STOPPED,
    GUARD_TRANSPORT_ABANDONED, /* destroyed though the plugin never stopped */
};

/* The ways to break the contract in a callback; one bit each. */
enum guard_fault {
    GUARD_FAULT_STRANGER,
    GUARD_FAULT_INSIDE,
    GUARD_FAULT_THREAD,
    GUARD_FAULT_STOPPED,
    GUARD_FAULT_STOPPING,
    GUARD_FAULT_ACCEPT,
    GUARD_FAULT_UP,
    GUARD_FAULT_NOT_UP,
    GUARD_FAULT_MESSAGE,
    GUARD_FAULT_WRITABLE,
    GUARD_FAULT_REASON,
    GUARD_FAULTS_LEN,
};

static const char *const guard_fault_texts[GUARD_FAULTS_LEN] = {
    [GUARD_FAULT_STRANGER] = "it called back for a link that is closed or never was",
    [GUARD_FAULT_INSIDE] = "it called back from within a call",
    [GUARD_FAULT_THREAD] = "it called back from a thread that is not the loop's",
    [GUARD_FAULT_STOPPED] = "it called back after on_stopped or before start, or stopped unasked",
    [GUARD_FAULT_STOPPING] = "it announced a peer after stop()",
    [GUARD_FAULT_ACCEPT] = "it announced a peer without link or address, or above links_max",
    [GUARD_FAULT_UP] = "it called on_up for a link that is up",
    [GUARD_FAULT_NOT_UP] = "it called back for a link that is not up",
    [GUARD_FAULT_MESSAGE] = "it delivered a message above message_max or without bytes",
    [GUARD_FAULT_WRITABLE] = "it called on_writable for a link that was not busy",
    [GUARD_FAULT_REASON] = "it gave a reason to on_down that is no error code",
};

struct guard_link {
    struct kv_link *link; /* the plugin's; NULL while connect() runs */
    void *user;
    uint32_t slot;
    bool is_accepted;
    bool is_pending; /* on_accept has not returned: the plugin is told by its result */
    bool is_up;
    bool is_busy; /* the last send() answered KV_E_BUSY: on_writable is owed */
};

struct guard_slot {
    struct guard_link *link; /* NULL: free */
    uint32_t generation;
    uint32_t next_free;
};

struct guard_transport {
    const struct kv_transport_ops *ops;
    struct services *services;
    void *self;
    struct kv_transport_limits limits;
    struct guard_transport_events events;
    void *ctx;
    pthread_t thread;
    enum guard_transport_state state;
    uint32_t inside; /* calls into the plugin that have not returned */
    uint32_t accepted_len;
    struct guard_slot *slots;
    uint32_t slots_len;
    uint32_t free_slot;
    _Atomic uint64_t violations;
    _Atomic uint32_t told; /* bits of enum guard_fault that were logged */
};

__attribute__((format(printf, 2, 3))) static void guard_transport_log(struct guard_transport *guard,
                                                                      const char *format, ...)
{
    char text[512];
    va_list arguments;
    va_start(arguments, format);
    vsnprintf(text, sizeof(text), format, arguments);
    va_end(arguments);
    const struct kv_host *host = services_table(guard->services);
    host->log(host->ctx, KV_LOG_ERROR, text);
}

static void guard_transport_blame(struct guard_transport *guard, enum guard_fault fault)
{
    atomic_fetch_add_explicit(&guard->violations, 1, memory_order_relaxed);
    uint32_t told = atomic_fetch_or_explicit(&guard->told, 1u << fault, memory_order_relaxed);
    if ((told & (1u << fault)) == 0) {
        guard_transport_log(guard, "the plugin broke its contract: %s (further ones are counted)",
                            guard_fault_texts[fault]);
    }
}

uint64_t guard_transport_violations(const struct guard_transport *guard)
{
    return atomic_load_explicit(&guard->violations, memory_order_relaxed);
}

/* The plugin's code if it is one of ours, else KV_E_CONTRACT and a line. */
static int32_t guard_transport_check_code(struct guard_transport *guard, const char *function,
                                          int32_t status)
{
    if (status > 0 || status < KV_STATUS_LAST_) {
        atomic_fetch_add_explicit(&guard->violations, 1, memory_order_relaxed);
        guard_transport_log(guard,
                            "the plugin broke its contract: %s() returned %" PRId32
                            ", which is no status code",
                            function, status);
        return KV_E_CONTRACT;
    }
    return status;
}

/* --- links and their handles --- */

static struct guard_link *guard_link_create(struct guard_transport *guard)
{
    if (guard->free_slot == GUARD_SLOT_NONE) {
        uint32_t len = guard->slots_len == 0 ? 16 : guard->slots_len * 2;
        KV_CHECK(len > guard->slots_len);
        guard->slots = alloc_resize(guard->slots, len * sizeof(guard->slots[0]));
        for (uint32_t i = len; i > guard->slots_len; i--) {
            guard->slots[i - 1] = (struct guard_slot){NULL, 1, guard->free_slot};
            guard->free_slot = i - 1;
        }
        guard->slots_len = len;
    }
    struct guard_slot *slot = &guard->slots[guard->free_slot];
    slot->link = alloc_zeroed(1, sizeof(*slot->link));
    slot->link->slot = guard->free_slot;
    guard->free_slot = slot->next_free;
    return slot->link;
}

static void guard_link_destroy(struct guard_transport *guard, struct guard_link *link)
{
    struct guard_slot *slot = &guard->slots[link->slot];
    KV_CHECK(slot->link == link);
    slot->link = NULL;
    slot->generation++; /* handles of the old link are strangers from now on */
    slot->next_free = guard->free_slot;
    guard->free_slot = link->slot;
    if (link->is_accepted) {
        guard->accepted_len--;
    }
    alloc_free(link);
}

/* What the plugin gets as `user`: never NULL, never an address. */
static void *guard_link_handle(const struct guard_transport *guard, const struct guard_link *link)
{
    uint64_t generation = guard->slots[link->slot].generation;
    return (void *)(uintptr_t)(generation << 32 | (link->slot + 1));
}

static struct guard_link *guard_link_find(const struct guard_transport *guard, const void *handle)
{
    uint64_t number = (uintptr_t)handle;
    uint32_t slot = (uint32_t)number - 1; /* 0 becomes UINT32_MAX: no slot */
    if (slot >= guard->slots_len || guard->slots[slot].generation != number >> 32) {
        return NULL;
    }
    return guard->slots[slot].link;
}

/* --- callbacks --- */

/* Whether a callback may come now at all. */
static bool guard_transport_may_call(struct guard_transport *guard)
{
    if (!pthread_equal(guard->thread, pthread_self())) {
        guard_transport_blame(guard, GUARD_FAULT_THREAD);
        return false;
    }
    if (guard->inside != 0) {
        guard_transport_blame(guard, GUARD_FAULT_INSIDE);
        return false;
    }
    if (guard->state >= GUARD_TRANSPORT_STOPPED) {
        if (guard->state == GUARD_TRANSPORT_STOPPED) {
            guard_transport_blame(guard, GUARD_FAULT_STOPPED);
        }
        return false; /* an abandoned guard has nobody to tell */
    }
    return true;
}

/* The link of a callback, or NULL: drop it. */
static struct guard_link *guard_transport_enter(struct guard_transport *guard, const void *handle)
{
    if (!guard_transport_may_call(guard)) {
        return NULL;
    }
    struct guard_link *link = guard_link_find(guard, handle);
    /* Links closed while stopping are not told to the plugin, so it may still speak of them. */
    if (link == NULL && guard->state == GUARD_TRANSPORT_RUNNING) {
        guard_transport_blame(guard, GUARD_FAULT_STRANGER);
    }
    return link;
}

static void *guard_transport_on_accept(void *ctx, struct kv_link *theirs, const char *remote_uri)
{
    struct guard_transport *guard = ctx;
    if (!guard_transport_may_call(guard)) {
        return NULL;
    }
    if (guard->state != GUARD_TRANSPORT_RUNNING) {
        guard_transport_blame(guard, GUARD_FAULT_STOPPING);
        return NULL;
    }
    if (theirs == NULL || remote_uri == NULL || memchr(remote_uri, '\0', KV_URI_MAX) == NULL ||
        guard->accepted_len >= guard->limits.links_max) {
        guard_transport_blame(guard, GUARD_FAULT_ACCEPT);
        return NULL;
    }
    struct guard_link *link = guard_link_create(guard);
    link->link = theirs;
    link->is_accepted = true;
    link->is_pending = true;
    link->is_up = true;
    guard->accepted_len++;
    void *handle = guard_link_handle(guard, link);
    bool is_taken = guard->events.on_accept(guard->ctx, link, remote_uri);
    if (guard_link_find(guard, handle) == NULL) {
        return NULL; /* the host closed it within the callback */
    }
    if (!is_taken) {
        guard_link_destroy(guard, link);
        return NULL;
    }
    link->is_pending = false;
    return handle;
}

static void guard_transport_on_up(void *ctx, void *handle)
{
    struct guard_transport *guard = ctx;
    struct guard_link *link = guard_transport_enter(guard, handle);
    if (link == NULL) {
        return;
    }
    if (link->is_up) {
        guard_transport_blame(guard, GUARD_FAULT_UP);
        return;
    }
    link->is_up = true;
    guard->events.on_up(guard->ctx, link);
}

static void guard_transport_on_message(void *ctx, void *handle, const void *bytes, uint32_t len)
{
    struct guard_transport *guard = ctx;
    struct guard_link *link = guard_transport_enter(guard, handle);
    if (link == NULL) {
        return;
    }
    if (!link->is_up) {
        guard_transport_blame(guard, GUARD_FAULT_NOT_UP);
        return;
    }
    if (len > guard->limits.message_max || (bytes == NULL && len > 0)) {
        guard_transport_blame(guard, GUARD_FAULT_MESSAGE);
        return;
    }
    guard->events.on_message(guard->ctx, link, bytes, len);
}

static void guard_transport_on_writable(void *ctx, void *handle)
{
    struct guard_transport *guard = ctx;
    struct guard_link *link = guard_transport_enter(guard, handle);
    if (link == NULL) {
        return;
    }
    if (!link->is_up || !link->is_busy) {
        guard_transport_blame(guard, !link->is_up ? GUARD_FAULT_NOT_UP : GUARD_FAULT_WRITABLE);
        return;
    }
    link->is_busy = false;
    guard->events.on_writable(guard->ctx, link);
}

static void guard_transport_on_down(void *ctx, void *handle, int32_t reason)
{
    struct guard_transport *guard = ctx;
    struct guard_link *link = guard_transport_enter(guard, handle);
    if (link == NULL) {
        return;
    }
    if (!link->is_up) {
        guard_transport_blame(guard, GUARD_FAULT_NOT_UP);
        return;
    }
    if (reason >= 0 || reason < KV_STATUS_LAST_) {
        guard_transport_blame(guard, GUARD_FAULT_REASON);
        reason = KV_E_CONTRACT; /* the link is down all the same */
    }
    link->is_up = false;
    link->is_busy = false;
    guard->events.on_down(guard->ctx, link, reason);
    link = guard_link_find(guard, handle);
    if (link != NULL && link->is_accepted) {
        guard_link_destroy(guard, link);
    }
}

static void guard_transport_on_stopped(void *ctx)
{
    struct guard_transport *guard = ctx;
    if (!guard_transport_may_call(guard)) {
        return;
    }
    if (guard->state != GUARD_TRANSPORT_STOPPING) {
        guard_transport_blame(guard, GUARD_FAULT_STOPPED);
        return;
    }
    guard->state = GUARD_TRANSPORT_STOPPED;
    guard->events.on_stopped(guard->ctx); /* may destroy the guard: nothing after this */
}

static const struct kv_transport_events guard_transport_table = {
    .on_accept = guard_transport_on_accept,
    .on_up = guard_transport_on_up,
    .on_message = guard_transport_on_message,
    .on_writable = guard_transport_on_writable,
    .on_down = guard_transport_on_down,
    .on_stopped = guard_transport_on_stopped,
};

/* --- calls --- */

int32_t guard_transport_create(const struct loaded_plugin *plugin, struct services *services,
                               const struct kv_setting *settings,
                               const struct kv_transport_limits *limits,
                               const struct guard_transport_events *events, void *ctx,
                               struct guard_transport **ret_guard)
{
    KV_CHECK(plugin->descriptor.kind == KV_KIND_TRANSPORT);
    struct guard_transport *guard = alloc_zeroed(1, sizeof(*guard));
    guard->ops = &plugin->ops.transport;
    guard->services = services;
    guard->limits = *limits;
    guard->events = *events;
    guard->ctx = ctx;
    guard->thread = pthread_self();
    guard->state = GUARD_TRANSPORT_RUNNING;
    guard->free_slot = GUARD_SLOT_NONE;
    loader_pin(plugin);
    guard->inside = 1;
    int32_t status = guard->ops->create(services_table(services), settings,
                                        plugin->descriptor.options_len, &guard->self);
    status = guard_transport_check_code(guard, "create", status);
    if (status == KV_OK && guard->self == NULL) {
        guard_transport_log(
            guard, "the plugin broke its contract: create() succeeded without an instance");
        status = KV_E_CONTRACT;
    } else if (status == KV_OK) {
        status = guard->ops->start(guard->self, &guard->limits, &guard_transport_table, guard);
        status = guard_transport_check_code(guard, "start", status);
        if (status != KV_OK) {
            guard->ops->destroy(guard->self);
        }
    }
    guard->inside = 0;
    if (status != KV_OK) {
        alloc_free(guard);
        return status;
    }
    *ret_guard = guard;
    return KV_OK;
}

int32_t guard_transport_listen(struct guard_transport *guard, const char *uri, char *ret_uri)
{
    char real[KV_URI_MAX + GUARD_URI_GUARD];
    if (guard->state != GUARD_TRANSPORT_RUNNING) {
        return KV_E_CLOSED;
    }
    if (memchr(uri, '\0', KV_URI_MAX) == NULL) {
        return KV_E_INVALID;
    }
    memset(real, 0xa5, sizeof(real));
    real[0] = '\0';
    guard->inside++;
    int32_t status = guard->ops->listen(guard->self, uri, real);
    guard->inside--;
    status = guard_transport_check_code(guard, "listen", status);
    if (status != KV_OK) {
        return status;
    }
    size_t len = strnlen(real, KV_URI_MAX);
    bool is_beyond = false;
    for (size_t i = KV_URI_MAX; i < sizeof(real); i++) {
        is_beyond = is_beyond || (unsigned char)real[i] != 0xa5;
    }
    if (len == 0 || len == KV_URI_MAX || is_beyond) {
        atomic_fetch_add_explicit(&guard->violations, 1, memory_order_relaxed);
        guard_transport_log(guard, "the plugin broke its contract: listen() %s",
                            len == 0 ? "gave no address" : "gave an address that is too long");
        return KV_E_CONTRACT;
    }
    memcpy(ret_uri, real, len + 1);
    return KV_OK;
}

int32_t guard_transport_connect(struct guard_transport *guard, const char *uri, void *user,
                                struct guard_link **ret_link)
{
    if (guard->state != GUARD_TRANSPORT_RUNNING) {
        return KV_E_CLOSED;
    }
    if (memchr(uri, '\0', KV_URI_MAX) == NULL) {
        return KV_E_INVALID;
    }
    struct guard_link *link = guard_link_create(guard);
    link->user = user;
    guard->inside++;
    int32_t status =
        guard->ops->connect(guard->self, uri, guard_link_handle(guard, link), &link->link);
    guard->inside--;
    status = guard_transport_check_code(guard, "connect", status);
    if (status == KV_OK && link->link == NULL) {
        atomic_fetch_add_explicit(&guard->violations, 1, memory_order_relaxed);
        guard_transport_log(guard,
                            "the plugin broke its contract: connect() succeeded without a link");
        status = KV_E_CONTRACT;
    }
    if (status != KV_OK) {
        guard_link_destroy(guard, link);
        return status;
    }
    *ret_link = link;
    return KV_OK;
}

int32_t guard_transport_send(struct guard_transport *guard, struct guard_link *link,
                             const struct kv_slice *slices, uint32_t slices_len)
{
    size_t len = 0;
    for (uint32_t i = 0; i < slices_len; i++) {
        if (slices[i].len > guard->limits.message_max - len) {
            return KV_E_TOO_LARGE;
        }
        len += slices[i].len;
    }
    if (guard->state != GUARD_TRANSPORT_RUNNING || !link->is_up) {
        return KV_E_CLOSED;
    }
    guard->inside++;
    int32_t status = guard->ops->send(guard->self, link->link, slices, slices_len);
    guard->inside--;
    status = guard_transport_check_code(guard, "send", status);
    if (status == KV_E_BUSY) {
        link->is_busy = true;
    }
    return status;
}

void guard_transport_flush(struct guard_transport *guard)
{
    if (guard->state == GUARD_TRANSPORT_RUNNING) {
        guard->inside++;
        guard->ops->flush(guard->self);
        guard->inside--;
    }
}

void guard_transport_close_link(struct guard_transport *guard, struct guard_link *link)
{
    struct kv_link *theirs = link->link;
    bool is_pending = link->is_pending;
    guard_link_destroy(guard, link);
    /* A plugin that was stopped is closing all of them anyway. */
    if (guard->state == GUARD_TRANSPORT_RUNNING && !is_pending) {
        guard->inside++;
        guard->ops->close_link(guard->self, theirs);
        guard->inside--;
    }
}

void guard_transport_stop(struct guard_transport *guard)
{
    if (guard->state != GUARD_TRANSPORT_RUNNING) {
        return;
    }
    guard->state = GUARD_TRANSPORT_STOPPING;
    guard->inside++;
    guard->ops->stop(guard->self);
    guard->inside--;
}

void guard_transport_destroy(struct guard_transport *guard)
{
    if (guard == NULL) {
        return;
    }
    KV_CHECK(guard->state != GUARD_TRANSPORT_RUNNING);
    for (uint32_t i = 0; i < guard->slots_len; i++) {
        alloc_free(guard->slots[i].link);
    }
    alloc_free(guard->slots);
    if (guard->state == GUARD_TRANSPORT_STOPPING) {
        /* Its handles are on the loop still and may call back: the guard stays, empty. */
        guard_transport_log(guard, "the plugin broke its contract: it did not stop");
        guard->slots = NULL;
        guard->slots_len = 0;
        guard->state = GUARD_TRANSPORT_ABANDONED;
        return;
    }
    guard->ops->destroy(guard->self);
    if (services_live(guard->services) != 0) {
        guard_transport_log(guard, "the plugin kept %" PRId64 " pieces of memory after destroy()",
                            services_live(guard->services));
    }
    alloc_free(guard);
}

void guard_link_set_user(struct guard_link *link, void *user)
{
    link->user = user;
}

void *guard_link_user(const struct guard_link *link)
{
    return link->user;
}
