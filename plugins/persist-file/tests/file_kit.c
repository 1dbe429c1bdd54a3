#include "file_kit.h"

#include "../store.h"
#include "base/check.h"

#include <sched.h>
#include <time.h>

#define DEADLINE_MS 20000

uint64_t file_kit_wait_compacted(struct kit_store *store)
{
    struct compact *compact = &((struct store *)store->self)->compact;
    struct timespec start;
    clock_gettime(CLOCK_MONOTONIC, &start);
    for (;;) {
        pthread_mutex_lock(&compact->lock);
        bool idle = compact->target == 0;
        uint64_t done = compact->done;
        pthread_mutex_unlock(&compact->lock);
        if (idle) {
            return done;
        }
        struct timespec now;
        clock_gettime(CLOCK_MONOTONIC, &now);
        KV_CHECK((now.tv_sec - start.tv_sec) * 1000 < DEADLINE_MS);
        sched_yield();
    }
}

static const struct kv_setting bad_options[] = {
    {"path", ""},
    {"sync", "sometimes"},
    {"sync", ""},
    {"segment_bytes", "4095"},
    {"segment_bytes", "-1"},
    {"segment_bytes", "12 MB"},
    {"segment_bytes", "99999999999999999999999"},
    {"compact_min_bytes", "0"},
    {"compact_min_bytes", ""},
    {"preallocate_bytes", "1073741825"},
    {"colour", "blue"},
};

const struct kit_plugin kit_plugin = {
    .small = {"always", "4096", "4096", "2048"},
    .never = {"never", "4096", "4096", "0"},
    .bad_options = bad_options,
    .bad_options_len = sizeof(bad_options) / sizeof(bad_options[0]),
    .wait_idle = file_kit_wait_compacted,
};
