/* The life cycle as the node uses it when things go wrong or end early, and traces in the process.
 */
#include "cases.h"

#include "base/alloc.h"

#include <dirent.h>
#include <fcntl.h>
#include <inttypes.h>
#include <locale.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#define LIFE_CYCLES      10
#define LIFE_DEADLINE_MS 2000

static void life_create_destroy(struct kit *kit)
{
    struct kit_place place;
    kit_place_make(kit, &place);
    struct kit_store *store = kit_store_at(kit, &place);
    for (int i = 0; i < 3; i++) {
        kit_create(store);
        kit_destroy(store);
    }
    kit_store_drop(store);
}

static void life_open_close(struct kit *kit)
{
    struct kit_store *store = kit_new(kit);
    kit_close(store); /* neither load nor apply */
    kit_open(store);
    kit_close(store);
    kit_end(store);
}

/* One short life with a bit of everything. */
static void life_cycle(struct kit *kit)
{
    struct kit_store *store = kit_new(kit);
    kit_insert(store, "a", "x");
    kit_insert(store, "b", "x");
    kit_apply(store);
    kit_remove(store, "a");
    kit_apply(store);
    kit_reopen(store);
    kit_expect(store);
    kit_end(store);
}

static void life_failed_open(struct kit *kit)
{
    char moved[KIT_PATH_MAX + 8];
    struct kit_place place;
    kit_place_make(kit, &place);
    struct kit_store *store = kit_store_at(kit, &place);
    /* A file stands where the store's folder should be. */
    snprintf(moved, sizeof(moved), "%s.away", place.folder);
    int fd = rename(place.folder, moved) != 0
                 ? -1
                 : open(place.folder, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0600);
    if (fd < 0 || close(fd) != 0) {
        kit_fail("the kit cannot make the file %s", place.folder);
    }
    struct kv_setting *settings = kit_settings(kit, &place);
    int32_t status = kit_try_create(store, settings);
    loader_settings_free(settings);
    for (int i = 0; i < 3 && status == KV_OK; i++) {
        int32_t opened = kit_try_open(store); /* again without close: it needs none */
        if (opened == KV_OK) {
            kit_fail("open() of a store whose place is not a folder: expected an error, found "
                     "KV_OK");
        }
    }
    if (unlink(place.folder) != 0 || rename(moved, place.folder) != 0) {
        kit_fail("the kit cannot make the folder %s again", place.folder);
    }
    if (status == KV_OK) {
        kit_open(store); /* now it can be opened */
        kit_insert(store, "a", "x");
        kit_apply(store);
        kit_reopen(store);
        kit_expect(store);
        kit_destroy(store);
    }
    kit_store_drop(store);
}

static void life_failed_destroy(struct kit *kit)
{
    struct kit_place place;
    kit_place_make(kit, &place);
    struct kit_store *store = kit_store_at(kit, &place);
    if (rmdir(place.folder) != 0 || symlink("/dev/null/nowhere", place.folder) != 0) {
        kit_fail("the kit cannot make the link %s", place.folder);
    }
    struct kv_setting *settings = kit_settings(kit, &place);
    int32_t status = kit_try_create(store, settings);
    loader_settings_free(settings);
    if (status == KV_OK) {
        if (kit_try_open(store) == KV_OK) {
            kit_fail("open() of a store whose place cannot be: expected an error, found KV_OK");
        }
        kit_destroy(store);
    }
    kit_store_drop(store);
}

/* --- traces --- */

static uint32_t life_entries(const char *folder)
{
    uint32_t entries = 0;
    DIR *dir = opendir(folder);
    if (dir == NULL) {
        kit_skip("there is no %s here", folder);
    }
    while (readdir(dir) != NULL) {
        entries++;
    }
    closedir(dir);
    return entries;
}

/* Waits a while for as few entries as before: a thread ends a moment after it was told to. */
static void life_expect_entries(const char *folder, const char *what, uint32_t before)
{
    uint32_t after = life_entries(folder);
    for (int ms = 0; ms < LIFE_DEADLINE_MS && after > before; ms += 10) {
        kit_pause_ms(10);
        after = life_entries(folder);
    }
    if (after > before) {
        kit_fail("after %d more lives of a store: expected as many %s as before (%" PRIu32
                 "), found %" PRIu32,
                 LIFE_CYCLES, what, before, after);
    }
}

static void life_leaves_nothing(struct kit *kit)
{
    life_cycle(kit); /* what a library makes once for all is there now */
    life_cycle(kit);
    uint32_t files = life_entries("/proc/self/fd");
    uint32_t threads = life_entries("/proc/self/task");
    for (int i = 0; i < LIFE_CYCLES; i++) {
        life_cycle(kit);
    }
    life_expect_entries("/proc/self/fd", "open files", files);
    life_expect_entries("/proc/self/task", "threads", threads);
}

static void life_keeps_process(struct kit *kit)
{
    char folder[KIT_PATH_MAX];
    char folder_after[KIT_PATH_MAX];
    struct sigaction actions[32];
    mode_t mask = umask(022);
    umask(mask);
    if (getcwd(folder, sizeof(folder)) == NULL) {
        kit_skip("the current folder cannot be told");
    }
    char *locale = alloc_string(setlocale(LC_ALL, NULL), strlen(setlocale(LC_ALL, NULL)));
    for (int i = 1; i < 32; i++) {
        sigaction(i, NULL, &actions[i]);
    }
    life_cycle(kit);
    if (getcwd(folder_after, sizeof(folder_after)) == NULL || strcmp(folder, folder_after) != 0) {
        kit_fail("expected the process in the folder %s as before, found it elsewhere", folder);
    }
    if (strcmp(locale, setlocale(LC_ALL, NULL)) != 0) {
        kit_fail("expected the locale %s as before, found %s", locale, setlocale(LC_ALL, NULL));
    }
    for (int i = 1; i < 32; i++) {
        struct sigaction after;
        if (sigaction(i, NULL, &after) == 0 && after.sa_handler != actions[i].sa_handler) {
            kit_fail("expected the process's handling of signal %d as before, found it changed", i);
        }
    }
    mode_t mask_after = umask(mask);
    if (mask_after != mask) {
        kit_fail("expected the umask %03o as before, found %03o", mask, mask_after);
    }
    alloc_free(locale);
}

static void life_is_silent(struct kit *kit)
{
    char text[201];
    char shown[MODEL_SHOW_TEXT_MAX];
    int capture = memfd_create("output", MFD_CLOEXEC);
    fflush(NULL);
    int out = dup(STDOUT_FILENO);
    int err = dup(STDERR_FILENO);
    if (capture < 0 || out < 0 || err < 0 || dup2(capture, STDOUT_FILENO) < 0 ||
        dup2(capture, STDERR_FILENO) < 0) {
        kit_skip("the output cannot be captured here");
    }
    life_cycle(kit);
    fflush(NULL);
    dup2(out, STDOUT_FILENO);
    dup2(err, STDERR_FILENO);
    close(out);
    close(err);
    ssize_t len = pread(capture, text, sizeof(text) - 1, 0);
    close(capture);
    if (len > 0) {
        kit_fail("expected nothing on stdout and stderr (kv_host.log is for what is to be said), "
                 "found %s",
                 model_show(text, (size_t)len, shown));
    }
}

static const struct check_case life_cases[] = {
    {"destroy right after create leaves nothing", life_create_destroy, 0, 0},
    {"close right after open does no harm", life_open_close, 0, 0},
    {"an open that failed can be tried again until it succeeds", life_failed_open, 0, CASE_FOLDER},
    {"destroy after an open that failed leaves nothing", life_failed_destroy, 0, CASE_FOLDER},
    {"no open files and threads are left after destroy", life_leaves_nothing, 0, 0},
    {"folder, umask, locale and signals of the process stay as they were", life_keeps_process, 0,
     0},
    {"nothing is written to stdout and stderr", life_is_silent, 0, 0},
};

const struct check_group group_life = {"life", KV_KIND_PERSIST, CASES_OF(life_cases)};
