/*
 * import: pairs of a file, inserted with many requests in flight and bounded memory.
 *
 * Happy path: import_pump() takes lines as long as the window has room, each becomes a pair and a
 * request; an answer frees its pair and pumps again.
 * An insert that was not confirmed is inserted again after a pause: that does no harm as long as no
 * later line of the same key overtakes it, so later lines of a key wait for the earlier one
 * (keys_busy.h). Reading stops at the first bad line (what was sent is still confirmed), when a
 * pair cannot be confirmed in all its attempts, and at Ctrl-C (what was not sent is dropped then,
 * and counted).
 */
#include "json_bytes.h"
#include "keys_busy.h"
#include "kvctl.h"
#include "lines.h"
#include "output.h"
#include "pairs.h"
#include "progress.h"

#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

#define IMPORT_WINDOW_BYTES_MAX (64u * 1024u * 1024u)
#define IMPORT_KEEP_BYTES_MAX   4096u /* a pair's memory above this is given back */
#define IMPORT_RETRY_PAUSE_MS   100u
#define IMPORT_MESSAGES_MAX     20u
/* Lines taken in one go, so that answers and Ctrl-C have their turn. */
#define IMPORT_LINES_A_TURN 4096u

struct pair {
    struct busy_key busy; /* first: a busy_key is its pair */
    struct import *import;
    struct pair *next; /* in the list it is in: spare, ready, retry */
    uint64_t line;
    uint64_t attempts;
    uint64_t retry_at_ms;
    struct text_buffer key;
    struct text_buffer value;
};

struct pair_list {
    struct pair *first;
    struct pair *last;
};

struct import {
    struct kvctl *ctl;
    const char *name; /* of the file, for people */
    enum pairs_format format;
    struct lines lines;
    struct progress progress;
    struct keys_busy keys;
    uv_timer_t retry_timer;
    uv_idle_t turn; /* active when there is more to read at once */

    struct pair_list spare;
    struct pair_list ready; /* may be sent, were waiting for an earlier line of their key */
    struct pair_list retry; /* by time */
    uint64_t pairs_len;     /* in whatever state but spare */
    uint64_t pairs_bytes;

    bool is_read;   /* no further lines are taken */
    bool is_halted; /* nothing more is sent */
    bool is_done;
    int status; /* exit status, of the first thing that went wrong */

    uint64_t imported;
    uint64_t retries;
    uint64_t bad_lines;
    uint64_t unconfirmed; /* sent, outcome unknown or refused */
    uint64_t not_sent;
    uint64_t messages;
};

static void pair_list_push(struct pair_list *list, struct pair *pair)
{
    pair->next = NULL;
    if (list->first == NULL) {
        list->first = pair;
    } else {
        list->last->next = pair;
    }
    list->last = pair;
}

static struct pair *pair_list_pop(struct pair_list *list)
{
    struct pair *pair = list->first;
    if (pair != NULL) {
        list->first = pair->next;
        pair->next = NULL;
    }
    return pair;
}

static void import_say(struct import *import, uint64_t line, const char *text)
{
    progress_clear(&import->progress);
    if (import->messages < IMPORT_MESSAGES_MAX) {
        output_error("%s:%" PRIu64 ": %s", import->name, line, text);
    } else if (import->messages == IMPORT_MESSAGES_MAX) {
        output_error("%s:%" PRIu64 ": and so on; further lines are only counted", import->name,
                     line);
    }
    import->messages++;
}

static void import_set_status(struct import *import, int status)
{
    if (import->status == EXIT_DONE) {
        import->status = status;
    }
}

/* A line that can never be inserted. exit_status: of kvctl, unless bad lines are skipped. */
static void import_refuse_line(struct import *import, uint64_t line, const char *text,
                               int exit_status)
{
    import->bad_lines++;
    import_say(import, line, text);
    if (!import->ctl->options.skip_bad) {
        import->is_read = true;
        import_set_status(import, exit_status);
    }
}

static struct pair *import_take_spare(struct import *import)
{
    struct pair *pair = pair_list_pop(&import->spare);
    if (pair == NULL) {
        pair = memory_allocate_zero(1, sizeof(*pair));
        pair->import = import;
    }
    pair->attempts = 0;
    return pair;
}

static void import_give_spare(struct import *import, struct pair *pair)
{
    if (pair->key.capacity + pair->value.capacity > IMPORT_KEEP_BYTES_MAX) {
        text_buffer_close(&pair->key);
        text_buffer_close(&pair->value);
    }
    pair_list_push(&import->spare, pair);
}

/* The pair is settled, one way or the other: the next one of its key is ready. */
static void import_release(struct import *import, struct pair *pair)
{
    struct busy_key *next = keys_busy_remove(&import->keys, &pair->busy);
    if (next != NULL) {
        pair_list_push(&import->ready, (struct pair *)next);
    }
    import->pairs_len--;
    import->pairs_bytes -= pair->key.len + pair->value.len;
    import_give_spare(import, pair);
}

static void import_on_answer(void *ctx, const struct kv_answer *answer);
static void import_pump(struct import *import);

static void import_on_retry_time(uv_timer_t *timer)
{
    import_pump(timer->data);
}

static void import_schedule_retry(struct import *import, struct pair *pair)
{
    import->retries++;
    pair->retry_at_ms = uv_now(&import->ctl->session.loop) + IMPORT_RETRY_PAUSE_MS;
    pair_list_push(&import->retry, pair);
    if (!uv_is_active((uv_handle_t *)&import->retry_timer)) {
        uv_timer_start(&import->retry_timer, import_on_retry_time, IMPORT_RETRY_PAUSE_MS, 0);
    }
}

/* What to do about a pair that was not inserted. */
static void import_on_failure(struct import *import, struct pair *pair,
                              const struct outcome *outcome)
{
    pair->attempts++;
    if (outcome->status == KV_E_TOO_LARGE || outcome->status == KV_E_REFUSED) {
        import_refuse_line(import, pair->line, outcome->reason,
                           outcome->status == KV_E_REFUSED ? EXIT_FAILED : EXIT_USAGE);
        import_release(import, pair);
        return;
    }
    if (!import->is_halted && pair->attempts <= import->ctl->options.retries) {
        if (import->retries == 0) {
            char again[OUTPUT_REASON_MAX + 80];
            snprintf(again, sizeof(again), "%s: %s; such lines are tried again",
                     outcome_word(outcome->status), outcome->reason);
            import_say(import, pair->line, again);
        }
        import_schedule_retry(import, pair);
        return;
    }
    char text[OUTPUT_REASON_MAX + 80];
    snprintf(text, sizeof(text), "not confirmed in %" PRIu64 " attempts, the last one %s: %s",
             pair->attempts, outcome_word(outcome->status), outcome->reason);
    import_say(import, pair->line, text);
    import->unconfirmed++;
    import->is_read = true;
    import->is_halted = true;
    import_set_status(import, outcome_exit(outcome->status));
    import_release(import, pair);
}

static void import_send(struct import *import, struct pair *pair)
{
    int32_t status =
        kv_client_insert(import->ctl->session.client, pair->key.bytes, pair->key.len,
                         pair->value.bytes, pair->value.len, 0, import_on_answer, pair);
    if (status != KV_OK) {
        struct outcome outcome;
        outcome_refuse(&outcome, status);
        import_on_failure(import, pair, &outcome);
    }
}

static void import_on_answer(void *ctx, const struct kv_answer *answer)
{
    struct pair *pair = ctx;
    struct import *import = pair->import;
    if (answer->status == KV_OK) {
        import->imported++;
        import_release(import, pair);
    } else {
        struct outcome outcome;
        outcome_take(&outcome, answer);
        import_on_failure(import, pair, &outcome);
    }
    import_pump(import);
}

/* Reads one line into a pair. False: there is none now. */
static bool import_take_line(struct import *import)
{
    const uint8_t *line = NULL;
    size_t len = 0;
    char error[PAIRS_ERROR_MAX];
    enum lines_result result = lines_next(&import->lines, &line, &len);
    switch (result) {
    case LINES_WAIT:
        return false;
    case LINES_END:
        import->is_read = true;
        return false;
    case LINES_FAILED:
        import->is_read = true;
        progress_clear(&import->progress);
        output_error("cannot read %s: %s", import->name, strerror(import->lines.error));
        import_set_status(import, EXIT_FAILED);
        return false;
    case LINES_TOO_LONG:
        import_refuse_line(import, import->lines.number, "the line is too long", EXIT_USAGE);
        return true;
    case LINES_LINE:
        break;
    }
    struct pair *pair = import_take_spare(import);
    pair->line = import->lines.number;
    if (!pairs_decode(import->format, line, len, &pair->key, &pair->value, error)) {
        import_refuse_line(import, pair->line, error, EXIT_USAGE);
        import_give_spare(import, pair);
        return true;
    }
    import->pairs_len++;
    import->pairs_bytes += pair->key.len + pair->value.len;
    if (keys_busy_add(&import->keys, &pair->busy, pair->key.bytes, pair->key.len)) {
        import_send(import, pair);
    }
    return true;
}

/* Gives up what is not in flight. */
static void import_drop_unsent(struct import *import)
{
    struct pair *pair;
    while ((pair = pair_list_pop(&import->retry)) != NULL) {
        import->unconfirmed++;
        import_release(import, pair);
    }
    while ((pair = pair_list_pop(&import->ready)) != NULL) {
        import->not_sent++;
        import_release(import, pair);
    }
}

static void import_send_due(struct import *import)
{
    uint64_t now_ms = uv_now(&import->ctl->session.loop);
    while (import->retry.first != NULL && import->retry.first->retry_at_ms <= now_ms) {
        import_send(import, pair_list_pop(&import->retry));
    }
    if (import->retry.first != NULL && !uv_is_active((uv_handle_t *)&import->retry_timer)) {
        uv_timer_start(&import->retry_timer, import_on_retry_time,
                       import->retry.first->retry_at_ms - now_ms, 0);
    }
    struct pair *pair;
    while ((pair = pair_list_pop(&import->ready)) != NULL) {
        import_send(import, pair);
    }
}

static void import_on_turn(uv_idle_t *turn)
{
    uv_idle_stop(turn);
    import_pump(turn->data);
}

/* Does all that can be done now. Called after whatever changed something. */
static void import_pump(struct import *import)
{
    if (!import->is_halted) {
        import_send_due(import);
    }
    uint32_t lines = 0;
    while (!import->is_read && import->pairs_len < import->ctl->options.window &&
           import->pairs_bytes < IMPORT_WINDOW_BYTES_MAX) {
        if (lines++ == IMPORT_LINES_A_TURN) {
            uv_idle_start(&import->turn, import_on_turn);
            break;
        }
        if (!import_take_line(import)) {
            break;
        }
    }
    if (import->is_halted) {
        import_drop_unsent(import);
    }
    progress_update(&import->progress, lines_bytes_taken(&import->lines), import->lines.bytes_total,
                    import->imported);
    import->is_done = import->is_read && import->pairs_len == 0;
}

static void import_on_readable(void *ctx)
{
    import_pump(ctx);
}

static void import_on_interrupt(void *ctx)
{
    struct import *import = ctx;
    progress_clear(&import->progress);
    output_error("interrupted; waiting for the answers to what was sent");
    import->is_read = true;
    import->is_halted = true;
    import_set_status(import, EXIT_FAILED);
    import_pump(import);
}

static void import_summarise(struct import *import)
{
    double seconds = progress_seconds(&import->progress);
    double rate = seconds > 0 ? (double)import->imported / seconds : 0;
    progress_finish(&import->progress, lines_bytes_taken(&import->lines), import->lines.bytes_total,
                    import->imported);
    if (import->ctl->options.json) {
        json_t *object = json_object();
        json_bytes_set(object, "file", import->name, strlen(import->name));
        json_object_set_new(object, "imported", json_integer((json_int_t)import->imported));
        json_object_set_new(object, "retried", json_integer((json_int_t)import->retries));
        json_object_set_new(object, "bad_lines", json_integer((json_int_t)import->bad_lines));
        json_object_set_new(object, "unconfirmed", json_integer((json_int_t)import->unconfirmed));
        json_object_set_new(object, "not_sent", json_integer((json_int_t)import->not_sent));
        json_object_set_new(object, "seconds", json_real(seconds));
        json_object_set_new(object, "pairs_per_s", json_real(rate));
        output_json(object);
    }
    fprintf(stderr, "imported %" PRIu64 " pairs, %" PRIu64 " retried, %.2f s, %.0f pairs/s",
            import->imported, import->retries, seconds, rate);
    if (import->bad_lines > 0) {
        fprintf(stderr, ", %" PRIu64 " bad lines", import->bad_lines);
    }
    if (import->unconfirmed + import->not_sent > 0) {
        fprintf(stderr, ", %" PRIu64 " not confirmed, %" PRIu64 " not sent", import->unconfirmed,
                import->not_sent);
    }
    fputc('\n', stderr);
}

/* Whether somebody answers at all: a quick and clear answer instead of many attempts. */
static int import_check_cluster(struct kvctl *ctl)
{
    struct outcome outcome = {0};
    session_finish(&ctl->session,
                   kv_client_view(ctl->session.client, 0, session_on_answer, &outcome), &outcome);
    if (outcome.status == KV_OK) {
        return EXIT_DONE;
    }
    char what[320];
    snprintf(what, sizeof(what), "import, asking the arbiter %.250s", ctl->options.arbiter);
    return outcome_report(&outcome, what);
}

static void import_run(struct import *import)
{
    struct session *session = &import->ctl->session;
    keys_busy_init(&import->keys, import->ctl->options.window);
    uv_timer_init(&session->loop, &import->retry_timer);
    import->retry_timer.data = import;
    uv_idle_init(&session->loop, &import->turn);
    import->turn.data = import;
    progress_start(&import->progress, "import", import->ctl->options.progress);
    session_catch_interrupt(session, import_on_interrupt, import);

    import_pump(import);
    session_wait(session, &import->is_done);

    uv_close((uv_handle_t *)&import->retry_timer, NULL);
    uv_close((uv_handle_t *)&import->turn, NULL);
    import_summarise(import);
    struct pair *pair;
    while ((pair = pair_list_pop(&import->spare)) != NULL) {
        text_buffer_close(&pair->key);
        text_buffer_close(&pair->value);
        free(pair);
    }
    keys_busy_close(&import->keys);
    session_catch_interrupt(session, NULL, NULL);
}

int verb_import(struct kvctl *ctl)
{
    const char *path = ctl->options.args[0];
    struct import *import = memory_allocate_zero(1, sizeof(*import));
    import->ctl = ctl;
    import->name = strcmp(path, "-") == 0 ? "stdin" : path;
    import->format = pairs_format_of(path);
    if (ctl->options.format != NULL && !pairs_format_parse(ctl->options.format, &import->format)) {
        output_error("--format is tsv or jsonl, not '%s'", ctl->options.format);
        free(import);
        return EXIT_USAGE;
    }
    int error = lines_open(&import->lines, &ctl->session.loop, path, import_on_readable, import);
    if (error != 0) {
        output_error("cannot open %s: %s", import->name, strerror(error));
        free(import);
        return EXIT_USAGE;
    }
    int status = import_check_cluster(ctl);
    if (status == EXIT_DONE) {
        import_run(import);
        status = import->status;
    }
    lines_close(&import->lines);
    /* Closed handles are part of it: let the loop forget them first. */
    uv_run(&ctl->session.loop, UV_RUN_NOWAIT);
    free(import);
    return status;
}
