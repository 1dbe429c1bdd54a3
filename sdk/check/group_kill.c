/*
 * kill -9. A writer, in a process of its own, opens the store, looks at what it finds, then applies
 * batch after batch of the workload and tells each by number before it begins and once it is
 * stored. The check kills it at a random moment and starts the next one with what was told last.
 *
 * What the next one must find: a position that a batch reaches, not before the last one told to be
 * stored and not after the last one begun. With KV_PERSIST_ATOMIC exactly the content at that
 * position; without, a key of the batch that was interrupted may be as that batch says already. The
 * writer then goes on with the batch after the position, which heals it.
 */
#include "cases.h"
#include "report.h"
#include "spawn.h"
#include "workload.h"

#include "base/alloc.h"

#include <errno.h>
#include <inttypes.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#define KILL_OPENED     'o' /* a writer's first message; the last batch that the store has */
#define KILL_BEGUN      'b'
#define KILL_STORED     's'
#define KILL_BATCHES    400u /* that one writer applies at most */
#define KILL_STORES_MAX 30u  /* stored batches after which a writer is killed at the latest */

/* One message of a writer. Shorter than a pipe's unit, so it comes whole or not at all. */
struct kill_message {
    uint64_t batch;
    char mark;
    char reserved[7];
};

/* --- the writer's side --- */

static void kill_tell(char mark, uint64_t batch)
{
    struct kill_message message = {batch, mark, {0}};
    if (write(SPAWN_DATA_FD, &message, sizeof(message)) != (ssize_t)sizeof(message)) {
        _exit(1); /* nobody listens any more */
    }
}

/* Brings store->model to the batch that reaches `position`. Returns its number; 0: none yet. */
static uint64_t kill_replay(struct kit_store *store, struct workload *workload,
                            struct kv_position position)
{
    while (position.view != 0 &&
           (store->position.view != position.view || store->position.index != position.index)) {
        struct batch batch;
        if (workload->next.index > position.index) {
            kit_fail("after kill -9: open() gave the position (%" PRIu64 ", %" PRIu64
                     "), expected one that a batch reaches",
                     position.view, position.index);
        }
        workload_next(workload, &batch);
        model_apply(&store->model, &batch, NULL);
        store->position = batch.position;
        batch_close(&batch);
    }
    return workload->batch;
}

/* A key may be as the interrupted batch says: then that is what is expected of it. */
static void kill_allow(struct kit_store *store, const struct batch *next, struct model *found)
{
    for (uint32_t i = 0; i < next->count; i++) {
        const struct kv_record *record = &next->records[i];
        const struct model_entry *entry = model_find(found, record->key, record->key_len);
        bool is_gone =
            (entry == NULL || entry->kind == KV_RECORD_REMOVE) && record->kind == KV_RECORD_REMOVE;
        if (is_gone || (entry != NULL && model_entry_is(entry, record))) {
            model_put(&store->model, record);
        }
    }
}

static void kill_find(struct kit_store *store, const struct batch *next, struct model *ret_found)
{
    if (kit_has(store->kit, KV_PERSIST_LOAD)) {
        kit_load(store, ret_found);
        return;
    }
    model_init(ret_found);
    for (uint32_t i = 0; i < store->model.len + next->count; i++) {
        struct model one;
        const struct model_entry *entry = &store->model.entries[i];
        bool is_old = i < store->model.len;
        const struct kv_record *record = is_old ? NULL : &next->records[i - store->model.len];
        const void *key = is_old ? entry->key : record->key;
        uint32_t key_len = is_old ? entry->key_len : record->key_len;
        if (kit_get(store, key, key_len, &one)) {
            model_adopt(ret_found, &one.entries[0]);
        }
        model_close(&one);
    }
}

/* The content as the position says, or on the way to the next batch. */
static void kill_look(struct kit_store *store, const struct workload *workload)
{
    char text[MODEL_TEXT_MAX];
    struct workload ahead = *workload;
    struct batch next;
    struct model found;
    if (!kit_has(store->kit, KV_PERSIST_LOAD) && !kit_has(store->kit, KV_PERSIST_GET)) {
        return;
    }
    workload_next(&ahead, &next);
    kill_find(store, &next, &found);
    if (!kit_has(store->kit, KV_PERSIST_ATOMIC)) {
        kill_allow(store, &next, &found);
    }
    if (model_differs(&store->model, &found, text)) {
        kit_fail("after kill -9, at the position (%" PRIu64 ", %" PRIu64 "): %s",
                 store->position.view, store->position.index, text);
    }
    model_close(&found);
    batch_close(&next);
}

int group_kill_writer(struct kit *kit)
{
    struct kit_place place = {.number = kit->request->number};
    struct workload workload;
    struct kv_position position = {0, 0};
    snprintf(place.folder, sizeof(place.folder), "%s", kit->request->as_writer);
    struct kit_store *store = kit_store_at(kit, &place);
    workload_init(&workload, kit->request->seed);
    kit_create(store);
    int32_t status = kit->ops->open(store->self, &position);
    if (status != KV_OK) {
        kit_fail("after kill -9: expected open() to recover the store, found %s%s",
                 kit_code(status), kit_log(store));
    }
    store->is_open = true;
    store->is_fresh = true;
    uint64_t batch = kill_replay(store, &workload, position);
    if (batch < kit->request->after) {
        kit_fail("after kill -9: batch %" PRIu64 " was stored (apply returned KV_OK), expected its "
                 "position or a later one, found (%" PRIu64 ", %" PRIu64
                 "), that of batch %" PRIu64,
                 kit->request->after, position.view, position.index, batch);
    }
    kill_look(store, &workload);
    kill_tell(KILL_OPENED, batch);
    for (uint32_t i = 0; i < KILL_BATCHES; i++) {
        struct batch next;
        workload_next(&workload, &next);
        kill_tell(KILL_BEGUN, workload.batch);
        kit_apply_batch(store, &next, false);
        kill_tell(KILL_STORED, workload.batch);
        batch_close(&next);
    }
    kit_end(store);
    kit_pass();
    return 0;
}

/* --- the check's side --- */

struct kill_watch {
    struct kit *kit;
    const struct kit_place *place;
    uint64_t stored; /* the last batch told to be stored */
    uint64_t begun;
    uint64_t kills_within; /* while a batch was begun and not stored */
    uint64_t kills_opening;
};

static uint64_t kill_now_us(void)
{
    struct timespec now;
    clock_gettime(CLOCK_MONOTONIC, &now);
    return (uint64_t)now.tv_sec * 1000000u + (uint64_t)now.tv_nsec / 1000u;
}

/* Waits for a message until a moment. 1: there is one; 0: the time is over; -1: the writer is gone.
 */
static int kill_hear(struct kill_watch *watch, int fd, uint64_t until_us, bool *ret_is_open,
                     uint32_t *stores)
{
    struct kill_message message;
    uint64_t now_us = kill_now_us();
    uint64_t left_us = until_us > now_us ? until_us - now_us : 0;
    struct timespec left = {(time_t)(left_us / 1000000u), (long)(left_us % 1000000u) * 1000L};
    struct pollfd ready = {fd, POLLIN, 0};
    if (ppoll(&ready, 1, &left, NULL) <= 0) {
        return 0;
    }
    if (read(fd, &message, sizeof(message)) != (ssize_t)sizeof(message)) {
        return -1;
    }
    if (message.mark == KILL_OPENED) {
        *ret_is_open = true;
        if (message.batch > watch->begun) {
            kit_fail("after kill -9: found batch %" PRIu64 " in the store, expected none after "
                     "%" PRIu64 ", the last one begun",
                     message.batch, watch->begun);
        }
        watch->stored = message.batch > watch->stored ? message.batch : watch->stored;
    } else if (message.mark == KILL_BEGUN) {
        watch->begun = message.batch > watch->begun ? message.batch : watch->begun;
    } else {
        watch->stored = message.batch > watch->stored ? message.batch : watch->stored;
        *stores += 1;
    }
    return 1;
}

static void kill_start(struct kill_watch *watch, struct spawned *writer)
{
    struct kit_request request = *watch->kit->request;
    request.as_case = NULL;
    request.as_writer = watch->place->folder;
    request.number = watch->place->number;
    request.after = watch->stored;
    request.folder = watch->kit->folder;
    if (!spawn_start(&request, writer)) {
        kit_fail("the kit cannot start a process: %s", strerror(errno));
    }
}

/* Kills it, hears what it told before, and judges how it ended. */
static void kill_finish(struct kill_watch *watch, struct spawned *writer, bool *is_open,
                        uint32_t *stores)
{
    struct spawn_end end;
    kill(writer->pid, SIGKILL);
    while (kill_hear(watch, writer->data_fd, kill_now_us() + 1000000u, is_open, stores) > 0) {
    }
    spawn_finish(writer, 10000, &end);
    const char *text = spawn_text_of(&end, REPORT_FAILED);
    if (text != NULL) {
        kit_fail("%s", text);
    }
    if (WIFSIGNALED(end.status) && WTERMSIG(end.status) != SIGKILL) {
        kit_fail("the plugin's process died before it was killed: signal %d; it wrote: %s",
                 WTERMSIG(end.status), end.output);
    }
    if (WIFEXITED(end.status) && spawn_text_of(&end, REPORT_PASSED) == NULL) {
        kit_fail("the plugin's process ended before it was killed: exit status %d; it wrote: %s",
                 WEXITSTATUS(end.status), end.output);
    }
    spawn_end_close(&end);
}

/* One writer's life. Some are killed while they open, others within a batch or between two. */
static void kill_round(struct kill_watch *watch, uint32_t round)
{
    struct spawned writer;
    struct rand *rand = &watch->kit->rand;
    bool is_open = false;
    uint32_t stores = 0;
    bool is_while_opening = round > 0 && rand_percent(rand, 20);
    uint32_t stores_wanted = (uint32_t)rand_below(rand, KILL_STORES_MAX);
    uint64_t until_us =
        kill_now_us() +
        (is_while_opening ? rand_below(rand, 8000) : watch->kit->request->timeout_s * 1000000ull);
    kill_start(watch, &writer);
    int heard = 1;
    while (heard == 1 && (is_while_opening || !is_open || stores < stores_wanted)) {
        heard = kill_hear(watch, writer.data_fd, until_us, &is_open, &stores);
    }
    if (heard == 0 && !is_while_opening) {
        kill(writer.pid, SIGKILL);
        kit_fail("the writer hung: expected %" PRIu32 " batches stored within %" PRIu32
                 " s, found %" PRIu32 "%s",
                 stores_wanted, watch->kit->request->timeout_s, stores,
                 is_open ? "" : " and the store not opened");
    }
    if (heard == 1 && !is_while_opening) {
        until_us = kill_now_us() + rand_below(rand, 4000);
        while (heard == 1) {
            heard = kill_hear(watch, writer.data_fd, until_us, &is_open, &stores);
        }
    }
    kill_finish(watch, &writer, &is_open, &stores);
    watch->kills_opening += !is_open;
    watch->kills_within += is_open && watch->begun > watch->stored;
}

static void kill_rounds(struct kit *kit)
{
    struct kit_place place;
    kit_place_make(kit, &place);
    struct kill_watch watch = {kit, &place, 0, 0, 0, 0};
    uint32_t rounds = kit->request->rounds;
    for (uint32_t i = 0; i < rounds; i++) {
        kill_round(&watch, i);
    }
    /* The last look: whoever opens now finds it right, or fails the check. */
    struct spawned writer;
    bool is_open = false;
    uint32_t stores = 0;
    uint64_t until_us = kill_now_us() + kit->request->timeout_s * 1000000ull;
    kill_start(&watch, &writer);
    while (!is_open && kill_hear(&watch, writer.data_fd, until_us, &is_open, &stores) == 1) {
    }
    kill_finish(&watch, &writer, &is_open, &stores);
    if (!is_open) {
        kit_fail("the store was not opened within %" PRIu32 " s after the last kill -9",
                 kit->request->timeout_s);
    }
    kit_note("%" PRIu32 " rounds, %" PRIu64 " batches stored; killed within a batch %" PRIu64
             " times, while opening %" PRIu64 " times (seed %" PRIu64 ")",
             rounds, watch.stored, watch.kills_within, watch.kills_opening, kit->request->seed);
    if (!kit_has(kit, KV_PERSIST_LOAD) && !kit_has(kit, KV_PERSIST_GET)) {
        kit_note("only positions could be looked at: the store has neither LOAD nor GET");
    }
}

static const struct check_case kill_cases[] = {
    {"what was stored survives kill -9 at random moments", kill_rounds, 0,
     CASE_PERMANENT | CASE_LONG},
};

const struct check_group group_kill = {"kill", KV_KIND_PERSIST, CASES_OF(kill_cases)};
