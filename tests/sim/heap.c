#include "heap.h"

#include "base/alloc.h"

#include <string.h>

void heap_init(struct heap *heap)
{
    memset(heap, 0, sizeof(*heap));
}

void heap_close(struct heap *heap)
{
    for (uint32_t i = 0; i < heap->len; i++) {
        alloc_free(heap->items[i].memory);
    }
    alloc_free(heap->items);
    heap_init(heap);
}

static bool wake_before(const struct wake *a, const struct wake *b)
{
    return a->at_us != b->at_us ? a->at_us < b->at_us : a->order < b->order;
}

void heap_push(struct heap *heap, uint64_t at_us, enum wake_kind kind, uint32_t index,
               uint64_t serial, void *memory)
{
    if (heap->len == heap->capacity) {
        heap->capacity = heap->capacity == 0 ? 256 : heap->capacity * 2;
        heap->items = alloc_resize(heap->items, heap->capacity * sizeof(*heap->items));
    }
    struct wake wake = {at_us, heap->next_order++, kind, index, serial, memory};
    uint32_t at = heap->len++;
    while (at > 0 && wake_before(&wake, &heap->items[(at - 1) / 2])) {
        heap->items[at] = heap->items[(at - 1) / 2];
        at = (at - 1) / 2;
    }
    heap->items[at] = wake;
}

bool heap_pop(struct heap *heap, struct wake *ret_wake)
{
    if (heap->len == 0) {
        return false;
    }
    *ret_wake = heap->items[0];
    struct wake last = heap->items[--heap->len];
    uint32_t at = 0;
    for (;;) {
        uint32_t child = 2 * at + 1;
        if (child >= heap->len) {
            break;
        }
        if (child + 1 < heap->len && wake_before(&heap->items[child + 1], &heap->items[child])) {
            child++;
        }
        if (!wake_before(&heap->items[child], &last)) {
            break;
        }
        heap->items[at] = heap->items[child];
        at = child;
    }
    if (heap->len > 0) {
        heap->items[at] = last;
    }
    return true;
}
