#include "wheel.h"

#include "base/alloc.h"
#include "base/check.h"

void wheel_init(struct wheel *wheel)
{
    wheel->slots = alloc_bytes(WHEEL_SLOTS * sizeof(*wheel->slots));
    wheel->tick = 0;
    wheel->len = 0;
    for (uint32_t i = 0; i < WHEEL_SLOTS; i++) {
        list_init(&wheel->slots[i]);
    }
}

void wheel_close(struct wheel *wheel)
{
    KV_CHECK(wheel->len == 0);
    alloc_free(wheel->slots);
    wheel->slots = NULL;
}

void wheel_add(struct wheel *wheel, struct wheel_entry *entry, uint64_t now_ms)
{
    if (wheel->len == 0) {
        wheel->tick = now_ms / WHEEL_TICK_MS; /* nobody advanced it while it was empty */
    }
    uint64_t tick = entry->deadline_ms / WHEEL_TICK_MS + 1u;
    if (tick <= wheel->tick) {
        tick = wheel->tick + 1u;
    }
    list_append(&wheel->slots[tick % WHEEL_SLOTS], &entry->link);
    wheel->len++;
}

void wheel_remove(struct wheel *wheel, struct wheel_entry *entry)
{
    KV_CHECK(wheel->len > 0 && !list_is_empty(&entry->link));
    list_remove(&entry->link);
    wheel->len--;
}

void wheel_advance(struct wheel *wheel, uint64_t now_ms, wheel_expired_fn on_expired, void *ctx)
{
    uint64_t target = now_ms / WHEEL_TICK_MS;
    if (target > wheel->tick + WHEEL_SLOTS) {
        wheel->tick = target - WHEEL_SLOTS; /* one round sees everything */
    }
    while (wheel->tick < target) {
        wheel->tick++;
        struct list *slot = &wheel->slots[wheel->tick % WHEEL_SLOTS];
        struct list due;
        list_init(&due);
        list_move_all(&due, slot);
        while (!list_is_empty(&due)) {
            struct wheel_entry *entry = LIST_ENTRY(due.next, struct wheel_entry, link);
            list_remove(&entry->link);
            if (entry->deadline_ms > now_ms) {
                list_append(slot, &entry->link); /* of a later round */
            } else {
                wheel->len--;
                on_expired(ctx, entry);
            }
        }
    }
}

struct wheel_entry *wheel_take(struct wheel *wheel)
{
    if (wheel->len == 0) {
        return NULL;
    }
    while (list_is_empty(&wheel->slots[wheel->tick % WHEEL_SLOTS])) {
        wheel->tick++;
    }
    struct list *link = wheel->slots[wheel->tick % WHEEL_SLOTS].next;
    list_remove(link);
    wheel->len--;
    return LIST_ENTRY(link, struct wheel_entry, link);
}
