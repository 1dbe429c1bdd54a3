/*
 * export and scan: all pairs, page by page, from the node named, else from whoever is primary: a
 * cursor means the same to every node, so a failover in between does no harm. A page that was not
 * answered is asked for again; nothing is written before it is answered, so nothing is written
 * twice.
 */
#include "cluster.h"
#include "json_bytes.h"
#include "kvctl.h"
#include "output.h"
#include "pairs.h"
#include "progress.h"

#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#define EXPORT_RETRY_PAUSE_MS 100u

struct export
{
    struct kvctl *ctl;
    enum pairs_format format;
    char *node; /* for people: the one named, or who was primary at the beginning */
    FILE *file;
    struct progress progress;
    bool shows_progress;
    uint64_t keys; /* of the node at the beginning: for the progress */

    uint64_t cursor;
    bool is_end;
    struct outcome outcome; /* of the page asked for */
    struct text_buffer page;
    uint64_t count;
    uint64_t left; /* pairs that may still be written */
    uint64_t retries;
};

static void export_on_page(void *ctx, const struct kv_answer *answer)
{
    struct export *export = ctx;
    outcome_take(&export->outcome, answer);
    if (answer->status != KV_OK) {
        return;
    }
    for (uint32_t i = 0; i<answer->records_len &&export->left> 0; i++) {
        const struct kv_record *record = &answer->records[i];
        pairs_encode(export->format, record->key, record->key_len, record->value, record->value_len,
                     &export->page);
        export->count++;
        export->left--;
    }
    export->cursor = answer->next;
    export->is_end = answer->end != 0 || export->left == 0;
}

/* One page, in as many attempts as allowed. Returns an exit status. */
static int export_page(struct export *export)
{
    struct kvctl *ctl = export->ctl;
    const char *prefix = ctl->options.prefix;
    uint32_t limit = export->left > UINT32_MAX ? 0 : (uint32_t) export->left;
    export->page.len = 0;
    for (uint64_t attempt = 0;; attempt++) {
        memset(&export->outcome, 0, sizeof(export->outcome));
        session_finish(&ctl->session,
                       kv_client_scan(ctl->session.client, ctl->options.node, prefix,
                                      strlen(prefix), export->cursor, limit, 0, export_on_page,
                                      export),
                       &export->outcome);
        int32_t status = export->outcome.status;
        if (status == KV_OK) {
            break;
        }
        if (status == KV_E_NOT_FOUND || ctl->session.is_interrupted ||
            attempt >= ctl->options.retries) {
            progress_clear(&export->progress);
            char what[160];
            snprintf(what, sizeof(what), "%s from node '%.80s'",
                     options_verb_name(ctl->options.verb), export->node);
            int exit_status = outcome_report(&export->outcome, what);
            return exit_status == EXIT_NOT_FOUND ? EXIT_REJECTED : exit_status;
        }
        export->retries++;
        session_pause(&ctl->session, EXPORT_RETRY_PAUSE_MS);
    }
    errno = 0;
    if (export->page.len > 0 &&
        fwrite(export->page.bytes, 1, export->page.len, export->file) != export->page.len) {
        progress_clear(&export->progress);
        output_error("cannot write the output: %s", strerror(errno));
        return EXIT_FAILED;
    }
    return EXIT_DONE;
}

/* Chooses the node and learns how much it has. Returns an exit status. */
static int export_choose_node(struct export *export)
{
    struct kvctl *ctl = export->ctl;
    struct outcome outcome;
    struct cluster cluster;
    uint32_t node_ms = ctl->options.timeout_ms < 500 ? (uint32_t)ctl->options.timeout_ms : 500;
    cluster_ask(&ctl->session, node_ms, &outcome, &cluster);
    if (outcome.status != KV_OK) {
        char what[320];
        snprintf(what, sizeof(what), "%s, asking the arbiter %.250s",
                 options_verb_name(ctl->options.verb), ctl->options.arbiter);
        return outcome_report(&outcome, what);
    }
    int status = EXIT_REJECTED;
    const char *name = ctl->options.node != NULL ? ctl->options.node : cluster.primary;
    const struct cluster_node *node = cluster_find(&cluster, name);
    if (node == NULL && ctl->options.node == NULL) {
        output_error("the cluster has no primary now; --node NAME reads from another node");
        goto out;
    }
    if (node == NULL) {
        output_error("no node '%s' in the view", name);
        goto out;
    }
    export->node = memory_allocate(strlen(name) + 1);
    memcpy(export->node, name, strlen(name) + 1);
    export->keys = node->keys;
    status = EXIT_DONE;
out:
    cluster_close(&cluster);
    return status;
}

/* All pages. Returns an exit status. */
static int export_run(struct export *export)
{
    int status = EXIT_DONE;
    while (status == EXIT_DONE && !export->is_end) {
        status = export_page(export);
        if (status == EXIT_DONE && export->ctl->session.is_interrupted) {
            progress_clear(&export->progress);
            output_error("interrupted");
            status = EXIT_FAILED;
        }
        if (export->shows_progress) {
            progress_update(&export->progress, export->count, export->keys, export->count);
        }
    }
    return status;
}

static int export_check_format(struct export *export)
{
    const char *format = export->ctl->options.format;
    if (format != NULL && !pairs_format_parse(format, &export->format)) {
        output_error("--format is tsv or jsonl, not '%s'", format);
        return EXIT_USAGE;
    }
    return EXIT_DONE;
}

int verb_scan(struct kvctl *ctl)
{
    struct export export = {.ctl = ctl, .file = stdout, .left = ctl->options.limit};
    export.format = ctl->options.json ? PAIRS_JSONL : PAIRS_TSV;
    int status = export_choose_node(&export);
    if (status == EXIT_DONE) {
        status = export_run(&export);
    }
    text_buffer_close(&export.page);
    free(export.node);
    return status;
}

/* Where an export goes. A regular file appears under its name only when it is complete. */
struct target {
    char *path;      /* the real one, symbolic links followed */
    char *temp_path; /* NULL: written to directly */
    FILE *file;
};

static int target_open(struct target *target, const char *path)
{
    *target = (struct target){.file = stdout};
    if (strcmp(path, "-") == 0) {
        return EXIT_DONE;
    }
    struct stat info;
    bool exists = stat(path, &info) == 0;
    const char *open_path = path;
    int flags = O_WRONLY | O_CLOEXEC;
    target->path = exists ? realpath(path, NULL) : strdup(path);
    if (target->path != NULL && (!exists || S_ISREG(info.st_mode))) {
        size_t size = strlen(target->path) + 32;
        target->temp_path = memory_allocate(size);
        snprintf(target->temp_path, size, "%s.%ld.tmp", target->path, (long)getpid());
        open_path = target->temp_path;
        flags |= O_CREAT | O_TRUNC;
    }
    int fd = target->path == NULL ? -1 : open(open_path, flags, 0666);
    target->file = fd < 0 ? NULL : fdopen(fd, "w");
    if (target->file == NULL) {
        output_error("cannot write %s: %s", open_path, strerror(errno));
        if (fd >= 0) {
            close(fd);
        }
        return EXIT_USAGE;
    }
    return EXIT_DONE;
}

/* Completes the file when status is EXIT_DONE, else removes it. Returns an exit status. */
static int target_close(struct target *target, int status)
{
    if (target->file != NULL && target->file != stdout) {
        bool is_kept = status == EXIT_DONE && fflush(target->file) == 0;
        if (target->temp_path != NULL) {
            is_kept = is_kept && fsync(fileno(target->file)) == 0;
        }
        int error = errno;
        if (fclose(target->file) != 0 && is_kept) {
            error = errno;
            is_kept = false;
        }
        if (is_kept && target->temp_path != NULL && rename(target->temp_path, target->path) != 0) {
            error = errno;
            is_kept = false;
        }
        if (!is_kept && target->temp_path != NULL) {
            unlink(target->temp_path);
        }
        if (!is_kept && status == EXIT_DONE) {
            output_error("cannot write %s: %s", target->path, strerror(error));
            status = EXIT_FAILED;
        }
    }
    free(target->path);
    free(target->temp_path);
    return status;
}

static void export_summarise(struct export *export, FILE *json_file)
{
    double seconds = progress_seconds(&export->progress);
    double rate = seconds > 0 ? (double)export->count / seconds : 0;
    progress_finish(&export->progress, export->count, export->count, export->count);
    if (export->ctl->options.json) {
        json_t *object =
            json_pack("{s:s, s:I, s:I, s:f, s:f}", "node", export->node, "exported",
                      (json_int_t) export->count, "retried", (json_int_t) export->retries,
                      "seconds", seconds, "pairs_per_s", rate);
        struct text_buffer line = {0};
        json_bytes_dump(object, &line);
        fprintf(json_file, "%.*s\n", (int)line.len, (const char *)line.bytes);
        text_buffer_close(&line);
    }
    fprintf(stderr, "exported %" PRIu64 " pairs from node '%s', %.2f s, %.0f pairs/s\n",
            export->count, export->node, seconds, rate);
}

int verb_export(struct kvctl *ctl)
{
    const char *path = ctl->options.args_len == 0 ? "-" : ctl->options.args[0];
    struct export export = {.ctl = ctl, .left = UINT64_MAX, .shows_progress = true};
    struct target target = {0};
    export.format = pairs_format_of(path);
    int status = export_check_format(&export);
    if (status == EXIT_DONE) {
        status = export_choose_node(&export);
    }
    if (status == EXIT_DONE) {
        status = target_open(&target, path);
    }
    if (status != EXIT_DONE) {
        goto out;
    }
    export.file = target.file;
    progress_start(&export.progress, "export", ctl->options.progress);
    session_catch_interrupt(&ctl->session, NULL, NULL);
    status = export_run(&export);
out:
    status = target_close(&target, status);
    if (status == EXIT_DONE) {
        export_summarise(&export, export.file == stdout ? stderr : stdout);
    }
    text_buffer_close(&export.page);
    free(export.node);
    return status;
}
