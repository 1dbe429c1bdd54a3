/*
 * Happy path: for each check that applies, start a process, hear its report, write a line of TAP.
 *
 * Failure: the check says what is wrong; or its process dies (signal, exit, sanitizer), or it does
 * not end in time: each is a "not ok" with what is known, and the next check runs.
 */
#include "runner.h"

#include "cases.h"
#include "report.h"
#include "spawn.h"

#include <errno.h>
#include <ftw.h>
#include <inttypes.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

static const struct check_group *const runner_groups[] = {
    &group_descriptor,     &group_settings, &group_open,  &group_order,
    &group_repeat,         &group_reopen,   &group_bytes, &group_refusal,
    &group_load,           &group_get,      &group_reset, &group_pair,
    &group_life,           &group_memory,   &group_kill,  &group_transport_descriptor,
    &group_transport_life,
};
#define RUNNER_GROUPS (sizeof(runner_groups) / sizeof(runner_groups[0]))

struct runner {
    const struct kit_request *request;
    const struct loaded_plugin *plugin;
    char folder[KIT_PATH_MAX];
    uint32_t number; /* of the check that runs */
    uint32_t failed;
    uint32_t skipped;
};

void runner_list(FILE *out, uint32_t kind)
{
    for (size_t g = 0; g < RUNNER_GROUPS; g++) {
        for (uint32_t c = 0; runner_groups[g]->kind == kind && c < runner_groups[g]->cases_len;
             c++) {
            fprintf(out, "%s: %s\n", runner_groups[g]->name, runner_groups[g]->cases[c].name);
        }
    }
}

static bool runner_takes(const struct kit_request *request, const struct loaded_plugin *plugin,
                         const struct check_group *group)
{
    return group->kind == plugin->descriptor.kind &&
           (request->only == NULL || strcmp(request->only, group->name) == 0);
}

/* --- the child --- */

/* name: "group: name" as runner_list() writes it. */
static const struct check_case *runner_find(const char *name, uint32_t kind)
{
    for (size_t g = 0; g < RUNNER_GROUPS; g++) {
        size_t len = strlen(runner_groups[g]->name);
        if (runner_groups[g]->kind != kind || strncmp(name, runner_groups[g]->name, len) != 0 ||
            strncmp(name + len, ": ", 2) != 0) {
            continue;
        }
        for (uint32_t c = 0; c < runner_groups[g]->cases_len; c++) {
            if (strcmp(name + len + 2, runner_groups[g]->cases[c].name) == 0) {
                return &runner_groups[g]->cases[c];
            }
        }
    }
    return NULL;
}

int runner_child(const struct kit_request *request, const struct loaded_plugin *plugin)
{
    struct kit kit = {.request = request, .plugin = plugin, .rand = {request->seed}};
    signal(SIGPIPE, SIG_IGN);
    kit.ops = &plugin->ops.persist;
    snprintf(kit.folder, sizeof(kit.folder), "%s", request->folder);
    loader_pin(plugin);
    if (request->as_writer != NULL) {
        return group_kill_writer(&kit);
    }
    const struct check_case *check = runner_find(request->as_case, plugin->descriptor.kind);
    if (check == NULL) {
        return 2;
    }
    check->run(&kit);
    kit_pass();
    return 0;
}

/* --- the parent --- */

/* Why a check does not apply; NULL: it does. */
static const char *runner_skip_reason(const struct runner *runner, const struct check_case *check)
{
    const struct kit_request *request = runner->request;
    uint64_t capabilities = runner->plugin->descriptor.capabilities;
    if ((check->capabilities & KV_PERSIST_LOAD & ~capabilities) != 0) {
        return "the plugin has no KV_PERSIST_LOAD";
    }
    if ((check->capabilities & KV_PERSIST_GET & ~capabilities) != 0) {
        return "the plugin has no KV_PERSIST_GET";
    }
    if ((check->capabilities & KV_PERSIST_RESET & ~capabilities) != 0) {
        return "the plugin has no KV_PERSIST_RESET";
    }
    if ((check->needs & CASE_CONTENT) != 0 &&
        (capabilities & (KV_PERSIST_LOAD | KV_PERSIST_GET)) == 0) {
        return "the plugin has neither KV_PERSIST_LOAD nor KV_PERSIST_GET to look with";
    }
    if ((check->needs & CASE_PERMANENT) != 0 && request->is_volatile) {
        return "the store keeps nothing beyond its instance (--volatile)";
    }
    if ((check->needs & CASE_FOLDER) != 0) {
        bool has_folder = false;
        bool has_path = false;
        for (uint32_t i = 0; i < request->given_len; i++) {
            has_folder = has_folder || strstr(request->given[i].value, "{dir}") != NULL;
            has_path = has_path || strcmp(request->given[i].name, "path") == 0;
        }
        for (uint32_t i = 0; !has_path && i < runner->plugin->descriptor.options_len; i++) {
            has_folder =
                has_folder || strcmp(runner->plugin->descriptor.options[i].name, "path") == 0;
        }
        if (!has_folder) {
            return "no setting names a folder with {dir}";
        }
    }
    return NULL;
}

static void runner_print_notes(const struct spawn_end *end)
{
    for (const char *line = spawn_next_line(end, NULL); line != NULL;
         line = spawn_next_line(end, line)) {
        if (line[0] == REPORT_NOTE) {
            printf("# %s\n", line + 1);
        }
    }
}

/* Writes the outcome; true: not failed. */
static bool runner_judge(struct runner *runner, const char *name, const struct spawn_end *end,
                         int timeout_ms)
{
    const char *failed = spawn_text_of(end, REPORT_FAILED);
    const char *skipped = spawn_text_of(end, REPORT_SKIPPED);
    bool is_clean = !end->is_timeout && WIFEXITED(end->status) && WEXITSTATUS(end->status) == 0;
    if (failed == NULL && is_clean && skipped != NULL) {
        printf("ok %" PRIu32 " - %s # SKIP %s\n", runner->number, name, skipped);
        runner->skipped++;
        return true;
    }
    if (failed == NULL && is_clean && spawn_text_of(end, REPORT_PASSED) != NULL) {
        printf("ok %" PRIu32 " - %s\n", runner->number, name);
        runner_print_notes(end);
        return true;
    }
    printf("not ok %" PRIu32 " - %s\n", runner->number, name);
    if (failed != NULL) {
        printf("# %s\n", failed);
    } else if (end->is_timeout) {
        printf("# the plugin hung: expected the check done within %d s, found it still running "
               "(--timeout)\n",
               timeout_ms / 1000);
    } else if (WIFSIGNALED(end->status)) {
        printf("# the plugin's process died: signal %d (%s)\n", WTERMSIG(end->status),
               strsignal(WTERMSIG(end->status)));
    } else {
        printf("# the plugin's process ended by itself: exit status %d%s\n",
               WEXITSTATUS(end->status),
               spawn_text_of(end, REPORT_PASSED) != NULL ? ", after the check had passed" : "");
    }
    if (end->output[0] != '\0') {
        printf("# it wrote to stdout or stderr: %s\n", end->output);
    }
    runner_print_notes(end);
    return false;
}

static void runner_case(struct runner *runner, const struct check_group *group,
                        const struct check_case *check)
{
    char name[256];
    char folder[KIT_PATH_MAX + 16];
    struct kit_request request = *runner->request;
    struct spawned spawned;
    struct spawn_end end;
    runner->number++;
    snprintf(name, sizeof(name), "%s: %s", group->name, check->name);
    const char *skip = runner_skip_reason(runner, check);
    if (skip != NULL) {
        printf("ok %" PRIu32 " - %s # SKIP %s\n", runner->number, name, skip);
        runner->skipped++;
        return;
    }
    snprintf(folder, sizeof(folder), "%s/%" PRIu32, runner->folder, runner->number);
    uint32_t timeout_s = request.timeout_s;
    if ((check->needs & CASE_LONG) != 0) {
        timeout_s = timeout_s * 4 + request.rounds * 2;
    }
    request.as_case = name;
    request.folder = folder;
    if (mkdir(folder, 0700) != 0 || !spawn_start(&request, &spawned)) {
        printf("not ok %" PRIu32 " - %s\n# the kit cannot start a process: %s\n", runner->number,
               name, strerror(errno));
        runner->failed++;
        return;
    }
    spawn_finish(&spawned, (int)(timeout_s * 1000u), &end);
    runner->failed += !runner_judge(runner, name, &end, (int)(timeout_s * 1000u));
    spawn_end_close(&end);
    fflush(stdout);
}

static int runner_remove(const char *path, const struct stat *about, int type, struct FTW *walk)
{
    (void)about;
    (void)type;
    (void)walk;
    remove(path);
    return 0;
}

int runner_run(const struct kit_request *request, const struct loaded_plugin *plugin)
{
    struct runner runner = {.request = request, .plugin = plugin};
    const char *tmp = getenv("TMPDIR");
    uint32_t total = 0;
    for (size_t g = 0; g < RUNNER_GROUPS; g++) {
        total += runner_takes(request, plugin, runner_groups[g]) ? runner_groups[g]->cases_len : 0;
    }
    if (total == 0) {
        fprintf(stderr, "kvplugin: there is no group \"%s\" of checks; --list names them\n",
                request->only == NULL ? "" : request->only);
        return 2;
    }
    int len = snprintf(runner.folder, sizeof(runner.folder), "%s/kvplugin-check-XXXXXX",
                       tmp == NULL || tmp[0] == '\0' ? "/tmp" : tmp);
    if (len > (int)KIT_PATH_MAX / 2 || mkdtemp(runner.folder) == NULL) {
        fprintf(stderr, "kvplugin: cannot make a temporary folder %s: %s\n", runner.folder,
                strerror(errno));
        return 2;
    }
    printf("1..%" PRIu32 "\n# %s %s, seed %" PRIu64 "\n", total, plugin->descriptor.name,
           plugin->descriptor.version, request->seed);
    fflush(stdout);
    for (size_t g = 0; g < RUNNER_GROUPS; g++) {
        for (uint32_t c = 0;
             runner_takes(request, plugin, runner_groups[g]) && c < runner_groups[g]->cases_len;
             c++) {
            runner_case(&runner, runner_groups[g], &runner_groups[g]->cases[c]);
        }
    }
    printf("# %" PRIu32 " checks: %" PRIu32 " passed, %" PRIu32 " skipped, %" PRIu32 " failed\n",
           total, total - runner.skipped - runner.failed, runner.skipped, runner.failed);
    if (request->is_keep) {
        printf("# the stores are kept in %s\n", runner.folder);
    } else {
        nftw(runner.folder, runner_remove, 16, FTW_DEPTH | FTW_PHYS | FTW_MOUNT);
    }
    fflush(stdout);
    return runner.failed > 0 ? 1 : 0;
}
