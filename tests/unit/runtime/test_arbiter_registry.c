/* What the arbiter is told of its registry, with a provider whose outcomes the test decides. */
#include "host/arbiter_registry.h"

#include "base/alloc.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <cmocka.h>

#include <string.h>

#define EVENTS_MAX 8u

struct fake {
    struct registry base;
    uint64_t expected;
    uint64_t number;
    char bytes[32];
    registry_done_fn done;
    void *done_ctx;
    registry_changed_fn changed;
    void *changed_ctx;
    bool is_destroyed;
};

static struct fake fake;
static struct clock node_clock;
static struct arbiter_registry *registry;
static struct {
    enum event_kind kind;
    uint64_t number;
    char bytes[32];
} events[EVENTS_MAX];
static uint32_t events_len;
static bool writes_on_failure; /* a step with EVENT_REGISTRY_FAILED begins the next write */

static int32_t fake_read(struct registry *self, struct registry_state *ret_state, char *ret_error)
{
    (void)self;
    (void)ret_error;
    *ret_state = (struct registry_state){
        .number = 4, .bytes = (uint8_t *)alloc_string("stored", 6), .len = 6};
    return 0;
}

static void fake_compare_and_set(struct registry *self, uint64_t expected, uint64_t number,
                                 const void *bytes, size_t len, registry_done_fn done, void *ctx)
{
    (void)self;
    assert_null(fake.done);
    fake.expected = expected;
    fake.number = number;
    memcpy(fake.bytes, bytes, len);
    fake.bytes[len] = '\0';
    fake.done = done;
    fake.done_ctx = ctx;
}

static void fake_watch(struct registry *self, registry_changed_fn changed, void *ctx)
{
    (void)self;
    fake.changed = changed;
    fake.changed_ctx = ctx;
}

static void fake_stop(struct registry *self, registry_stopped_fn stopped, void *ctx)
{
    (void)self;
    stopped(ctx);
}

static void fake_destroy(struct registry *self)
{
    (void)self;
    fake.is_destroyed = true;
}

static const struct registry_ops fake_ops = {
    .read = fake_read,
    .compare_and_set = fake_compare_and_set,
    .watch = fake_watch,
    .stop = fake_stop,
    .destroy = fake_destroy,
};

static void write_state(uint64_t expected, uint64_t number, const char *text)
{
    struct effect effect = {
        .kind = EFFECT_REGISTRY_WRITE,
        .as.registry_write = {
            .expected = expected, .number = number, .bytes = text, .len = strlen(text)}};
    arbiter_registry_write(registry, &effect);
}

static void on_event(void *ctx, struct event *event)
{
    assert_ptr_equal(ctx, &fake);
    assert_true(events_len < EVENTS_MAX);
    events[events_len].kind = event->kind;
    if (event->kind == EVENT_REGISTRY_CHANGED) {
        size_t len = event->as.registry_changed.len;
        assert_true(len < sizeof(events[0].bytes));
        memcpy(events[events_len].bytes, len == 0 ? "" : event->as.registry_changed.bytes, len);
        events[events_len].bytes[len] = '\0';
    } else {
        events[events_len].number = event->as.registry.number;
    }
    events_len++;
    if (event->kind == EVENT_REGISTRY_FAILED && writes_on_failure) {
        writes_on_failure = false;
        write_state(7, 8, "again");
    }
}

static void finish(enum registry_outcome outcome, uint64_t stored_number, const char *stored)
{
    struct registry_result result = {
        .outcome = outcome,
        .number = fake.number,
        .stored = {stored_number, (const uint8_t *)stored, strlen(stored)},
        .error = outcome == REGISTRY_FAILED ? "as the test wants" : NULL};
    registry_done_fn done = fake.done;
    fake.done = NULL;
    done(fake.done_ctx, &result);
}

static void change(uint64_t number, const char *text)
{
    struct registry_state state = {number, (const uint8_t *)text, strlen(text)};
    fake.changed(fake.changed_ctx, &state);
}

static int setup(void **state)
{
    (void)state;
    memset(&fake, 0, sizeof(fake));
    fake.base.ops = &fake_ops;
    events_len = 0;
    writes_on_failure = false;
    clock_init(&node_clock);
    registry = arbiter_registry_create(&fake.base, &node_clock, on_event, &fake);
    arbiter_registry_watch(registry);
    return 0;
}

static void on_stopped(void *ctx)
{
    *(bool *)ctx = true;
}

static int teardown(void **state)
{
    (void)state;
    bool is_stopped = false;
    arbiter_registry_stop(registry, on_stopped, &is_stopped);
    arbiter_registry_destroy(registry);
    return is_stopped && fake.is_destroyed ? 0 : -1;
}

static void outcomes(void **state)
{
    (void)state;
    const uint8_t *bytes = NULL;
    size_t len = 0;
    char error[REGISTRY_ERROR_MAX];
    assert_int_equal(arbiter_registry_read(registry, &bytes, &len, error), 0);
    assert_int_equal(len, 6);
    assert_memory_equal(bytes, "stored", 6);
    alloc_free((void *)bytes);
    write_state(4, 5, "five");
    assert_true(fake.expected == 4 && fake.number == 5);
    assert_string_equal(fake.bytes, "five");
    finish(REGISTRY_STORED, 0, "");
    write_state(5, 6, "six");
    finish(REGISTRY_FAILED, 0, "");
    write_state(5, 6, "six");
    finish(REGISTRY_CONFLICT, 9, "nine");
    assert_int_equal(events_len, 3);
    assert_true(events[0].kind == EVENT_REGISTRY_WRITTEN && events[0].number == 5);
    assert_true(events[1].kind == EVENT_REGISTRY_FAILED && events[1].number == 6);
    assert_true(events[2].kind == EVENT_REGISTRY_CHANGED);
    assert_string_equal(events[2].bytes, "nine");
}

static void changes(void **state)
{
    (void)state;
    change(5, "theirs");
    change(0, "");
    assert_int_equal(events_len, 2);
    assert_true(events[0].kind == EVENT_REGISTRY_CHANGED);
    assert_string_equal(events[0].bytes, "theirs");
    assert_true(events[1].kind == EVENT_REGISTRY_CHANGED);
    assert_string_equal(events[1].bytes, "");
}

/* The last change waits for the outcome, and for that of a write which the outcome leads to. */
static void change_during_a_write(void **state)
{
    (void)state;
    write_state(4, 5, "mine");
    change(5, "first");
    change(6, "second");
    assert_int_equal(events_len, 0);
    writes_on_failure = true;
    finish(REGISTRY_FAILED, 0, "");
    assert_int_equal(events_len, 1);
    assert_int_equal(fake.number, 8);
    finish(REGISTRY_STORED, 0, "");
    assert_int_equal(events_len, 3);
    assert_true(events[1].kind == EVENT_REGISTRY_WRITTEN && events[1].number == 8);
    assert_true(events[2].kind == EVENT_REGISTRY_CHANGED);
    assert_string_equal(events[2].bytes, "second");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(outcomes, setup, teardown),
        cmocka_unit_test_setup_teardown(changes, setup, teardown),
        cmocka_unit_test_setup_teardown(change_during_a_write, setup, teardown),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
