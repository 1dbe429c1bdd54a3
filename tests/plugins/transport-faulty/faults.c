#include "faults.h"

#include <kvnode/status.h>

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define FAULTS_PERMILLE_MAX 1000u
#define FAULTS_NAMES_LEN    6u

/* One name of faults_parse(). */
struct faults_name {
    const char *name;
    uint64_t max;
    uint64_t value;
    bool is_given;
};

/* --- settings --- */

static struct faults_name *faults_find(struct faults_name *names, const char *text, size_t len)
{
    for (uint32_t i = 0; i < FAULTS_NAMES_LEN; i++) {
        if (strlen(names[i].name) == len && memcmp(names[i].name, text, len) == 0) {
            return &names[i];
        }
    }
    return NULL;
}

/* "NAME=NUMBER" of that length. */
static int32_t faults_parse_one(struct faults_name *names, const char *text, size_t len,
                                char *ret_error)
{
    const char *equals = memchr(text, '=', len);
    struct faults_name *found =
        equals == NULL ? NULL : faults_find(names, text, (size_t)(equals - text));
    if (found == NULL) {
        snprintf(ret_error, FAULTS_ERROR_MAX,
                 "\"%.*s\": NAME=NUMBER is needed, with a name out of seed, drop, duplicate, "
                 "reorder, corrupt, delay_ms",
                 (int)(len > 32 ? 32 : len), text);
        return KV_E_INVALID;
    }
    char *end = NULL;
    errno = 0;
    unsigned long long value = strtoull(equals + 1, &end, 10);
    bool is_number = equals[1] >= '0' && equals[1] <= '9' && end == text + len && errno == 0;
    if (!is_number || value > found->max || found->is_given) {
        snprintf(ret_error, FAULTS_ERROR_MAX, "%s: one number from 0 to %llu is needed",
                 found->name, (unsigned long long)found->max);
        return KV_E_INVALID;
    }
    found->value = value;
    found->is_given = true;
    return KV_OK;
}

int32_t faults_parse(const char *text, struct faults_settings *ret_settings, char *ret_error)
{
    struct faults_name names[FAULTS_NAMES_LEN] = {
        {"seed", UINT64_MAX, 1, false},
        {"drop", FAULTS_PERMILLE_MAX, 0, false},
        {"duplicate", FAULTS_PERMILLE_MAX, 0, false},
        {"reorder", FAULTS_PERMILLE_MAX, 0, false},
        {"corrupt", FAULTS_PERMILLE_MAX, 0, false},
        {"delay_ms", FAULTS_DELAY_MS_MAX, 0, false},
    };
    while (*text != '\0') {
        size_t len = strcspn(text, ",");
        int32_t status = faults_parse_one(names, text, len, ret_error);
        if (status != KV_OK) {
            return status;
        }
        text += len + (text[len] == ',' ? 1 : 0);
    }
    *ret_settings = (struct faults_settings){
        .seed = names[0].value,
        .drop_permille = (uint32_t)names[1].value,
        .duplicate_permille = (uint32_t)names[2].value,
        .reorder_permille = (uint32_t)names[3].value,
        .corrupt_permille = (uint32_t)names[4].value,
        .delay_ms = (uint32_t)names[5].value,
    };
    return KV_OK;
}

int32_t faults_init(struct faults *faults, const struct faults_settings *settings, char *ret_error)
{
    const struct {
        const char *name;
        uint32_t value;
        uint32_t max;
    } bounds[] = {
        {"drop", settings->drop_permille, FAULTS_PERMILLE_MAX},
        {"duplicate", settings->duplicate_permille, FAULTS_PERMILLE_MAX},
        {"reorder", settings->reorder_permille, FAULTS_PERMILLE_MAX},
        {"corrupt", settings->corrupt_permille, FAULTS_PERMILLE_MAX},
        {"delay_ms", settings->delay_ms, FAULTS_DELAY_MS_MAX},
    };
    for (size_t i = 0; i < sizeof(bounds) / sizeof(bounds[0]); i++) {
        if (bounds[i].value > bounds[i].max) {
            snprintf(ret_error, FAULTS_ERROR_MAX, "%s: a number from 0 to %u is needed",
                     bounds[i].name, bounds[i].max);
            return KV_E_INVALID;
        }
    }
    *faults = (struct faults){.settings = *settings, .state = settings->seed};
    return KV_OK;
}

/* --- verdicts --- */

/* splitmix64: Steele, Lea, Flood, "Fast splittable pseudorandom number generators", 2014. */
static uint64_t faults_random(struct faults *faults)
{
    faults->state += 0x9e3779b97f4a7c15ull;
    uint64_t mixed = faults->state;
    mixed = (mixed ^ (mixed >> 30)) * 0xbf58476d1ce4e5b9ull;
    mixed = (mixed ^ (mixed >> 27)) * 0x94d049bb133111ebull;
    return mixed ^ (mixed >> 31);
}

static bool faults_happens(struct faults *faults, uint32_t permille, uint64_t *counter)
{
    bool happens = faults_random(faults) % FAULTS_PERMILLE_MAX < permille;
    *counter += happens ? 1 : 0;
    return happens;
}

void faults_decide(struct faults *faults, struct faults_verdict *ret_verdict)
{
    const struct faults_settings *settings = &faults->settings;
    struct faults_counters *counters = &faults->counters;
    struct faults_verdict verdict = {.copies_len = 1};
    counters->messages++;
    if (faults_happens(faults, settings->drop_permille, &counters->dropped)) {
        *ret_verdict = (struct faults_verdict){0};
        return;
    }
    if (faults_happens(faults, settings->duplicate_permille, &counters->duplicated)) {
        verdict.copies_len = 2;
    }
    for (uint32_t i = 0; i < verdict.copies_len; i++) {
        struct faults_copy *copy = &verdict.copies[i];
        copy->delay_ms = (uint32_t)(faults_random(faults) % (settings->delay_ms + 1u));
        counters->delayed += copy->delay_ms > 0 ? 1 : 0;
        if (faults_happens(faults, settings->reorder_permille, &counters->reordered)) {
            copy->delay_ms += 1u + (uint32_t)(faults_random(faults) % FAULTS_REORDER_MS_MAX);
        }
        if (faults_happens(faults, settings->corrupt_permille, &counters->corrupted)) {
            copy->flips_len = 1u + (uint32_t)(faults_random(faults) % FAULTS_FLIPS_MAX);
            for (uint32_t k = 0; k < copy->flips_len; k++) {
                copy->flips[k] = faults_random(faults);
            }
        }
    }
    *ret_verdict = verdict;
}

void faults_flip(const struct faults_copy *copy, void *bytes, size_t len)
{
    uint8_t *at = bytes;
    for (uint32_t i = 0; len > 0 && i < copy->flips_len; i++) {
        uint64_t bit = copy->flips[i] % (len * 8u);
        bool is_flipped = false;
        for (uint32_t k = 0; k < i; k++) {
            is_flipped = is_flipped || copy->flips[k] % (len * 8u) == bit;
        }
        if (!is_flipped) {
            at[bit / 8u] ^= (uint8_t)(1u << (bit % 8u));
        }
    }
}

/* --- the queue --- */

void faults_queue_init(struct faults_queue *queue)
{
    queue->ends = (struct faults_held){0, &queue->ends, &queue->ends};
    queue->len = 0;
}

void faults_queue_put(struct faults_queue *queue, struct faults_held *held, uint64_t due_ms)
{
    /* From the end: what comes last is mostly due last, or nearly so. */
    struct faults_held *before = queue->ends.prev;
    while (before != &queue->ends && before->due_ms > due_ms) {
        before = before->prev;
    }
    held->due_ms = due_ms;
    held->prev = before;
    held->next = before->next;
    before->next->prev = held;
    before->next = held;
    queue->len++;
}

struct faults_held *faults_queue_first(const struct faults_queue *queue)
{
    return faults_queue_next(queue, &queue->ends);
}

struct faults_held *faults_queue_next(const struct faults_queue *queue,
                                      const struct faults_held *held)
{
    return held->next == &queue->ends ? NULL : held->next;
}

void faults_queue_remove(struct faults_queue *queue, struct faults_held *held)
{
    held->prev->next = held->next;
    held->next->prev = held->prev;
    held->next = NULL;
    held->prev = NULL;
    queue->len--;
}

struct faults_held *faults_queue_take(struct faults_queue *queue, uint64_t now_ms)
{
    struct faults_held *first = faults_queue_first(queue);
    if (first == NULL || first->due_ms > now_ms) {
        return NULL;
    }
    faults_queue_remove(queue, first);
    return first;
}
