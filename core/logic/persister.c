#include "logic/persister.h"

#include "base/alloc.h"
#include "base/check.h"
#include "logic/bug.h"
#include "logic/record.h"

#include <stdio.h>
#include <string.h>

#define PERSISTER_JOBS_MIN 64u

struct persist_job {
    uint64_t mark;
    struct log *log; /* with a reference, then first to last of it; or NULL, then bytes */
    uint64_t first;
    uint64_t last;
    bool complete; /* log: the store's content is complete with it */
    uint8_t *bytes;
    struct kv_position position; /* bytes: reached with it */
    size_t len;
    uint32_t count;
    bool ends_batch;
};

void persister_init(struct persister *persister)
{
    memset(persister, 0, sizeof(*persister));
    persister->records_max = PERSIST_RECORDS_FIRST;
}

static struct persist_job *persister_job(const struct persister *persister, uint32_t place)
{
    return &persister->jobs[(persister->jobs_first + place) & (persister->jobs_capacity - 1)];
}

static void persister_drop_first(struct persister *persister)
{
    struct persist_job *job = persister_job(persister, 0);
    persister->bytes -= job->len;
    log_unref(job->log);
    alloc_free(job->bytes);
    persister->jobs_first = (persister->jobs_first + 1) & (persister->jobs_capacity - 1);
    persister->jobs_len--;
}

void persister_close(struct persister *persister)
{
    while (persister->jobs_len > 0) {
        persister_drop_first(persister);
    }
    alloc_free(persister->jobs);
    persister_init(persister);
}

static struct persist_job *persister_add(struct persister *persister)
{
    if (persister->jobs_len == persister->jobs_capacity) {
        uint32_t capacity =
            persister->jobs_capacity == 0 ? PERSISTER_JOBS_MIN : persister->jobs_capacity * 2;
        struct persist_job *jobs = alloc_zeroed(capacity, sizeof(*jobs));
        for (uint32_t i = 0; i < persister->jobs_len; i++) {
            jobs[i] = *persister_job(persister, i);
        }
        alloc_free(persister->jobs);
        persister->jobs = jobs;
        persister->jobs_capacity = capacity;
        persister->jobs_first = 0;
    }
    struct persist_job *job = persister_job(persister, persister->jobs_len++);
    memset(job, 0, sizeof(*job));
    return job;
}

/* The newest job when it may take one more record of the log, which must be the next one. */
static struct persist_job *persister_job_to_extend(struct persister *persister,
                                                   const struct log *log, uint64_t index,
                                                   uint32_t len)
{
    if (persister->jobs_len == persister->in_flight) {
        return NULL;
    }
    struct persist_job *job = persister_job(persister, persister->jobs_len - 1);
    bool fits = job->log == log && job->last + 1 == index && job->count < persister->records_max &&
                job->len + len <= PERSIST_BYTES_MAX && !job->ends_batch;
    return fits ? job : NULL;
}

void persister_add_log(struct persister *persister, struct log *log, uint64_t first, uint64_t last,
                       bool complete, uint64_t mark)
{
    KV_CHECK(first <= last && first >= log_first_index(log) && last <= log_last_index(log));
    for (uint64_t index = first; index <= last; index++) {
        uint32_t len = log_record_bytes(log, index);
        struct persist_job *job = persister_job_to_extend(persister, log, index, len);
        if (job == NULL) {
            job = persister_add(persister);
            job->log = log;
            log_ref(log);
            job->first = index;
        }
        job->last = index;
        job->count++;
        job->len += len;
        job->complete = complete;
        persister->bytes += len;
    }
    persister_job(persister, persister->jobs_len - 1)->mark = mark;
}

void persister_add_bytes(struct persister *persister, uint8_t *bytes, size_t len, uint32_t count,
                         struct kv_position position, uint64_t mark)
{
    KV_CHECK((len == 0) == (count == 0));
    struct persist_job *job = persister_add(persister);
    job->bytes = bytes;
    job->len = len;
    job->count = count;
    job->position = position;
    job->mark = mark;
    persister->bytes += len;
}

void persister_end_batch(struct persister *persister)
{
    KV_CHECK(persister->jobs_len > persister->in_flight);
    persister_job(persister, persister->jobs_len - 1)->ends_batch = true;
}

void persister_void_marks(struct persister *persister)
{
    for (uint32_t i = 0; i < persister->jobs_len; i++) {
        persister_job(persister, i)->mark = 0;
    }
}

/* Slices that a job of this length may need: two neighbouring chunks of a log are together larger
 * than a chunk, and only their first and last may be cut. */
#define PERSISTER_JOB_SLICES_MAX 128u

/* How many jobs make the next batch: at least one, then as many as fit. */
static uint32_t persister_choose(const struct persister *persister)
{
    uint32_t records = 0;
    uint64_t bytes = 0;
    uint32_t slices = 0;
    uint32_t jobs = 0;
    for (; jobs < persister->jobs_len; jobs++) {
        const struct persist_job *job = persister_job(persister, jobs);
        records += job->count;
        bytes += job->len;
        slices += job->log == NULL ? 1 : PERSISTER_JOB_SLICES_MAX;
        bool fits = records <= persister->records_max && bytes <= PERSIST_BYTES_MAX &&
                    slices <= PERSISTER_SLICES_MAX;
        if (jobs > 0 && (!fits || persister_job(persister, jobs - 1)->ends_batch)) {
            break;
        }
    }
    return jobs;
}

static uint32_t persister_job_slices(const struct persist_job *job, struct kv_slice *slices)
{
    if (job->log == NULL) {
        slices[0].bytes = job->bytes;
        slices[0].len = job->len;
        return job->count > 0 ? 1 : 0;
    }
    uint32_t slices_len;
    size_t bytes;
    uint64_t last = log_slices(job->log, job->first, job->last, SIZE_MAX, slices,
                               PERSISTER_JOB_SLICES_MAX, &slices_len, &bytes);
    KV_CHECK(last == job->last && bytes == job->len);
    return slices_len;
}

/* Emits the first in_flight jobs as one batch. */
static void persister_emit(struct persister *persister, struct context *context)
{
    struct effect *effect = effects_add(context->effects, EFFECT_PERSIST);
    uint32_t slices_len = 0;
    for (uint32_t i = 0; i < persister->in_flight; i++) {
        const struct persist_job *job = persister_job(persister, i);
        slices_len += persister_job_slices(job, persister->slices + slices_len);
        effect->as.persist.records_len += job->count;
        effect->as.persist.bytes += job->len;
        if (job->log == NULL) {
            effect->as.persist.position = job->position;
        } else if (job->complete) {
            effect->as.persist.position = log_get(job->log, job->last).position;
        } else {
            effect->as.persist.position = (struct kv_position){0, 0};
        }
    }
    effect->as.persist.reset = !persister->was_told;
    effect->as.persist.is_primary = persister->is_primary;
    effect->as.persist.view = context->view;
    if (persister->failures == 0) {
        persister->since_ms = context->now_ms;
    }
    persister->emitted_ms = context->now_ms;
    persister->emitted_len = effect->as.persist.records_len;
    persister->measured = false;
    persister->offered = effect->as.persist.position;
    effect->as.persist.batch = ++persister->batch;
    effect->as.persist.slices = persister->slices;
    effect->as.persist.slices_len = slices_len;
    context_count(context, COUNTER_persist_batches);
}

/* A slow store gets smaller batches: one that takes longer than replica_timeout looks like silence
 * to the others, however busy the store is. */
static void persister_adapt(struct persister *persister, const struct context *context)
{
    uint64_t took_ms = context->now_ms - persister->emitted_ms;
    uint32_t target_ms = context->config->replica_timeout_ms / BATCHES_PER_REPLICA_TIMEOUT;
    if (took_ms > target_ms && persister->records_max > PERSIST_RECORDS_MIN) {
        persister->records_max /= 2;
    } else if (took_ms < target_ms / 4 && persister->records_max < PERSIST_RECORDS_MAX &&
               persister->emitted_len >= persister->records_max / 2) {
        persister->records_max *= 2;
    }
}

void persister_pump(struct persister *persister, struct context *context)
{
    if (persister->in_flight == 0 && persister->batch > 0 && !persister->measured) {
        persister->measured = true;
        persister_adapt(persister, context);
    }
    if (persister->failed) {
        if (context->now_ms < persister->retry_ms) {
            return;
        }
        persister->failed = false;
        persister_emit(persister, context);
    } else if (persister->in_flight == 0 && persister->jobs_len > 0) {
        persister->in_flight = persister_choose(persister);
        persister_emit(persister, context);
    }
}

bool persister_is_in_flight(const struct persister *persister, uint64_t batch)
{
    return persister->in_flight > 0 && !persister->failed && batch == persister->batch;
}

void persister_find(const struct persister *persister, uint32_t number, const struct log *log,
                    struct refused *ret_refused)
{
    uint32_t place = 0;
    const struct persist_job *job = persister_job(persister, place);
    while (number >= job->count) {
        KV_CHECK(place + 1 < persister->in_flight);
        number -= job->count;
        job = persister_job(persister, ++place);
    }
    ret_refused->index = 0;
    if (job->log != NULL) {
        ret_refused->record = log_get(job->log, job->first + number);
        ret_refused->index = job->log == log ? job->first + number : 0;
        return;
    }
    struct bytes_reader reader = bytes_reader_init(job->bytes, job->len);
    for (uint32_t i = 0; i <= number; i++) {
        KV_CHECK(record_decode(&reader, &ret_refused->record));
    }
}

bool persister_on_persisted(struct persister *persister, uint64_t batch, const struct log *log,
                            struct persist_done *ret_done)
{
    if (!persister_is_in_flight(persister, batch)) {
        return false;
    }
    struct persist_done done = {0, 0};
    for (; persister->in_flight > 0; persister->in_flight--) {
        const struct persist_job *job = persister_job(persister, 0);
        done.mark = job->mark > done.mark ? job->mark : done.mark;
        done.index = job->log == log ? job->last : done.index;
        persister_drop_first(persister);
    }
    persister->error[0] = '\0';
    persister->failures = 0;
    persister->was_told = true;
    persister->stored = persister->offered;
    *ret_done = done;
    return true;
}

/* Doubles with each failure; the first pauses are short, as most failures are. */
static uint64_t persister_pause_ms(const struct persister *persister, const struct context *context)
{
    uint64_t pause_ms = context->config->retransmit_ms;
    for (uint32_t i = 0; i < persister->failures && pause_ms < PERSIST_RETRY_MS_MAX; i++) {
        pause_ms *= 2;
    }
    return pause_ms < PERSIST_RETRY_MS_MAX ? pause_ms : PERSIST_RETRY_MS_MAX;
}

bool persister_on_failed(struct persister *persister, struct context *context, uint64_t batch,
                         const char *error)
{
    if (!persister_is_in_flight(persister, batch)) {
        return false;
    }
    persister->failed = true;
    persister->retry_ms = context->now_ms + persister_pause_ms(persister, context);
    persister->failures++;
    snprintf(persister->error, sizeof(persister->error), "%s", error == NULL ? "" : error);
    context_count(context, COUNTER_persist_failures);
    return true;
}

bool persister_idle(const struct persister *persister)
{
    return persister->jobs_len == 0;
}

uint64_t persister_bytes(const struct persister *persister)
{
    return persister->bytes;
}

bool persister_is_stuck(const struct persister *persister, const struct context *context)
{
    return persister->in_flight > 0 &&
           context->now_ms - persister->since_ms >= context->config->operation_timeout_ms;
}

uint64_t persister_wake_ms(const struct persister *persister)
{
    return persister->failed ? persister->retry_ms : UINT64_MAX;
}
