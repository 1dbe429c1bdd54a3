#include "logic/waiting.h"

#include "base/alloc.h"
#include "base/check.h"
#include "logic/bug.h"

#include <string.h>

void waiting_init(struct waiting *waiting)
{
    waiting->first = NULL;
    waiting->end = &waiting->first;
    waiting->len = 0;
    waiting->bytes = 0;
    waiting->earliest_ms = UINT64_MAX;
}

/* Takes the request that *place points to out of the queue. */
static struct waiting_request *waiting_unlink(struct waiting *waiting,
                                              struct waiting_request **place)
{
    struct waiting_request *request = *place;
    *place = request->next;
    if (waiting->end == &request->next) {
        waiting->end = place;
    }
    KV_CHECK(waiting->len > 0 && waiting->bytes >= request->len);
    waiting->len--;
    waiting->bytes -= request->len;
    if (waiting->len == 0) {
        waiting->earliest_ms = UINT64_MAX;
    }
    return request;
}

void waiting_close(struct waiting *waiting)
{
    while (waiting->first != NULL) {
        alloc_free(waiting_unlink(waiting, &waiting->first));
    }
}

bool waiting_add(struct waiting *waiting, uint64_t link, uint64_t request, uint64_t min_index,
                 uint64_t deadline_ms, const void *bytes, size_t len)
{
    if (waiting->len >= WAITING_REQUESTS_MAX || len > WAITING_BYTES_MAX - waiting->bytes) {
        return false;
    }
    if (BUG(lose_waiting) && waiting->len == 2) {
        return true;
    }
    struct waiting_request *entry = alloc_bytes(sizeof(*entry) + len);
    entry->next = NULL;
    entry->link = link;
    entry->request = request;
    entry->min_index = min_index;
    entry->deadline_ms = deadline_ms;
    entry->len = len;
    memcpy(entry->bytes, bytes, len);
    *waiting->end = entry;
    waiting->end = &entry->next;
    waiting->len++;
    waiting->bytes += len;
    waiting->earliest_ms = context_earlier(waiting->earliest_ms, deadline_ms);
    return true;
}

struct waiting_request *waiting_take_reached(struct waiting *waiting, uint64_t reached)
{
    for (struct waiting_request **place = &waiting->first; *place != NULL;
         place = &(*place)->next) {
        if ((*place)->min_index <= reached) {
            return waiting_unlink(waiting, place);
        }
    }
    return NULL;
}

struct waiting_request *waiting_take_expired(struct waiting *waiting, uint64_t now_ms)
{
    if (now_ms < waiting->earliest_ms) {
        return NULL;
    }
    uint64_t earliest_ms = UINT64_MAX;
    for (struct waiting_request **place = &waiting->first; *place != NULL;
         place = &(*place)->next) {
        if ((*place)->deadline_ms <= now_ms) {
            return waiting_unlink(waiting, place);
        }
        earliest_ms = context_earlier(earliest_ms, (*place)->deadline_ms);
    }
    waiting->earliest_ms = earliest_ms;
    return NULL;
}

void waiting_drop_link(struct waiting *waiting, uint64_t link)
{
    struct waiting_request **place = &waiting->first;
    while (*place != NULL) {
        if ((*place)->link == link) {
            alloc_free(waiting_unlink(waiting, place));
        } else {
            place = &(*place)->next;
        }
    }
}
