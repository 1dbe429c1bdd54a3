#include "host/arbiter_registry.h"

#include "base/alloc.h"
#include "base/buffer.h"
#include "base/check.h"
#include "host/log.h"

#include <inttypes.h>
#include <string.h>

#define ARBITER_REGISTRY_MODULE    "registry"
#define ARBITER_REGISTRY_REPORT_MS 1000u

struct arbiter_registry {
    struct registry *registry;
    struct clock *clock;
    arbiter_registry_step_fn step;
    void *ctx;
    bool is_writing;
    bool has_held; /* a change that was noticed during a write */
    uint64_t held_number;
    struct buffer held;
    uint64_t failed_ms; /* when a failure was reported last; 0: never */
    uint64_t failures;
};

struct arbiter_registry *arbiter_registry_create(struct registry *registry, struct clock *clock,
                                                 arbiter_registry_step_fn step, void *ctx)
{
    struct arbiter_registry *self = alloc_zeroed(1, sizeof(*self));
    self->registry = registry;
    self->clock = clock;
    self->step = step;
    self->ctx = ctx;
    buffer_init(&self->held);
    return self;
}

int32_t arbiter_registry_read(struct arbiter_registry *self, const uint8_t **ret_bytes,
                              size_t *ret_len, char *ret_error)
{
    struct registry_state state;
    int32_t status = self->registry->ops->read(self->registry, &state, ret_error);
    if (status == 0) {
        *ret_bytes = state.bytes;
        *ret_len = state.len;
    }
    return status;
}

static void arbiter_registry_tell_change(struct arbiter_registry *self,
                                         const struct registry_state *state)
{
    log_event(KV_LOG_DEBUG, ARBITER_REGISTRY_MODULE,
              "registry-changed number=%" PRIu64 " bytes=%zu", state->number, state->len);
    struct event event = {.kind = EVENT_REGISTRY_CHANGED,
                          .as.registry_changed = {.bytes = state->bytes, .len = state->len}};
    self->step(self->ctx, &event);
}

static void arbiter_registry_on_changed(void *ctx, const struct registry_state *state)
{
    struct arbiter_registry *self = ctx;
    if (!self->is_writing) {
        arbiter_registry_tell_change(self, state);
        return;
    }
    self->has_held = true;
    self->held_number = state->number;
    self->held.len = 0;
    if (state->len > 0) {
        memcpy(buffer_room(&self->held, state->len), state->bytes, state->len);
    }
}

/* Where its step begins another write, the next one's outcome comes first. */
static void arbiter_registry_tell_held(struct arbiter_registry *self)
{
    if (!self->has_held || self->is_writing) {
        return;
    }
    struct registry_state state = {.number = self->held_number};
    self->has_held = false;
    state.bytes = buffer_take(&self->held, &state.len);
    arbiter_registry_tell_change(self, &state);
    alloc_free((void *)state.bytes);
}

/* What keeps failing is asked for again every retransmit_ms, and reported once a second. */
static void arbiter_registry_report(struct arbiter_registry *self, const char *error)
{
    uint64_t now_ms = clock_now_ms(self->clock);
    self->failures++;
    if (self->failed_ms == 0 || now_ms - self->failed_ms >= ARBITER_REGISTRY_REPORT_MS) {
        char quoted[LOG_QUOTED_MAX];
        self->failed_ms = now_ms;
        log_event(KV_LOG_ERROR, ARBITER_REGISTRY_MODULE,
                  "registry-failed reason=\"%s\" failures=%" PRIu64, log_quote(error, quoted),
                  self->failures);
    }
}

static void arbiter_registry_on_done(void *ctx, const struct registry_result *result)
{
    struct arbiter_registry *self = ctx;
    KV_CHECK(self->is_writing);
    self->is_writing = false;
    struct event event = {.kind = EVENT_REGISTRY_WRITTEN, .as.registry.number = result->number};
    switch (result->outcome) {
    case REGISTRY_STORED:
        self->step(self->ctx, &event);
        break;
    case REGISTRY_CONFLICT:
        arbiter_registry_tell_change(self, &result->stored);
        break;
    case REGISTRY_FAILED:
        arbiter_registry_report(self, result->error);
        event.kind = EVENT_REGISTRY_FAILED;
        self->step(self->ctx, &event);
        break;
    default:
        KV_CHECK(false);
    }
    arbiter_registry_tell_held(self);
}

void arbiter_registry_watch(struct arbiter_registry *self)
{
    self->registry->ops->watch(self->registry, arbiter_registry_on_changed, self);
}

void arbiter_registry_write(struct arbiter_registry *self, const struct effect *effect)
{
    KV_CHECK(effect->kind == EFFECT_REGISTRY_WRITE && !self->is_writing);
    self->is_writing = true;
    self->registry->ops->compare_and_set(
        self->registry, effect->as.registry_write.expected, effect->as.registry_write.number,
        effect->as.registry_write.bytes, effect->as.registry_write.len, arbiter_registry_on_done,
        self);
}

void arbiter_registry_stop(struct arbiter_registry *self, registry_stopped_fn stopped, void *ctx)
{
    self->registry->ops->stop(self->registry, stopped, ctx);
}

void arbiter_registry_destroy(struct arbiter_registry *self)
{
    if (self == NULL) {
        return;
    }
    self->registry->ops->destroy(self->registry);
    buffer_close(&self->held);
    alloc_free(self);
}
