/* The test store persist-memory: what its file holds is there in the next process, whole batches
 * only. Tests of crashes and of isolation stand on it. */
#include "base/alloc.h"
#include "host/guard_persist.h"

#include <setjmp.h>
#include <stdarg.h>
#include <cmocka.h>

#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

static char folder[] = "/tmp/kvnode-memory-XXXXXX";
static char path[64];
static struct loaded_plugin *plugin;

static int load(void **state)
{
    (void)state;
    char error[LOADER_ERROR_MAX];
    if (mkdtemp(folder) == NULL) {
        return -1;
    }
    snprintf(path, sizeof(path), "%s/file", folder);
    return loader_load("persist-memory", KV_TEST_PLUGINS, KV_KIND_PERSIST, &plugin, error);
}

static int unload(void **state)
{
    (void)state;
    loader_release(plugin);
    return rmdir(folder) == 0 && alloc_live() == 0 ? 0 : -1;
}

/* One life of a process with the store. */
struct life {
    struct services *services;
    struct kv_setting *settings;
    struct guard_persist *guard;
    struct kv_position position;
};

static void begin(struct life *life, const char *name, const char *value)
{
    const struct kv_setting given[] = {{"file", path}, {name, value}};
    char error[LOADER_ERROR_MAX];
    uint32_t at = 0;
    life->services = services_create("persist-memory", NULL, NULL, NULL);
    assert_int_equal(loader_settings(plugin, given, 2, &life->settings, &at, error), KV_OK);
    assert_int_equal(
        guard_persist_create(plugin, life->services, life->settings, NULL, &life->guard), KV_OK);
    assert_int_equal(guard_persist_open(life->guard, &life->position), KV_OK);
}

static void end(struct life *life)
{
    guard_persist_destroy(life->guard);
    assert_int_equal(services_live(life->services), 0);
    loader_settings_free(life->settings);
    services_destroy(life->services);
}

/* Stores a pair as a record of that position, or removes the key with value NULL. */
static int32_t put_at(struct life *life, const char *key, const char *value,
                      struct kv_position position, uint32_t *ret_refused)
{
    const struct persist_refusal *refusals = NULL;
    *ret_refused = 0;
    uint32_t value_len = value == NULL ? 0 : (uint32_t)strlen(value);
    const struct kv_record record = {key,
                                     value,
                                     (uint32_t)strlen(key),
                                     value_len,
                                     value == NULL ? KV_RECORD_REMOVE : KV_RECORD_INSERT,
                                     0,
                                     position,
                                     7,
                                     position.index};
    return guard_persist_apply(life->guard, &record, 1, position, &refusals, ret_refused);
}

/* The same in view 1; returns how many records were refused. */
static uint32_t put(struct life *life, const char *key, const char *value, uint64_t index)
{
    uint32_t refused;
    assert_int_equal(put_at(life, key, value, (struct kv_position){1, index}, &refused), KV_OK);
    return refused;
}

static int32_t keep(void *ctx, const struct kv_record *record)
{
    char *text = ctx;
    size_t len = strlen(text);
    snprintf(text + len, 256 - len, "%.*s=%.*s@%u;", (int)record->key_len,
             (const char *)record->key, (int)record->value_len,
             record->value_len == 0 ? "" : (const char *)record->value,
             (unsigned)record->position.index);
    return KV_OK;
}

static void another_process_has_it(void **state)
{
    (void)state;
    struct life life;
    char text[256] = "";
    begin(&life, "refuse", "bad");
    assert_int_equal(life.position.index, 0);
    assert_int_equal(put(&life, "a", "1", 1), 0);
    assert_int_equal(put(&life, "b", "", 2), 0);
    assert_int_equal(put(&life, "a", "2", 3), 0);
    assert_int_equal(put(&life, "bad", "x", 4), 1);
    assert_int_equal(put(&life, "bad", NULL, 5), 0); /* it can be taken back */
    end(&life);
    begin(&life, "refuse", "");
    assert_true(life.position.view == 1 && life.position.index == 5);
    assert_int_equal(guard_persist_load(life.guard, keep, text), KV_OK);
    assert_string_equal(text, "bad=@5;a=2@3;b=@2;");
    text[0] = '\0';
    assert_int_equal(guard_persist_get(life.guard, "a", 1, keep, text), KV_OK);
    assert_string_equal(text, "a=2@3;");
    assert_int_equal(guard_persist_reset(life.guard), KV_OK);
    end(&life);
    begin(&life, "refuse", "");
    assert_true(life.position.view == 0);
    assert_int_equal(guard_persist_get(life.guard, "a", 1, keep, text), KV_E_NOT_FOUND);
    end(&life);
    unlink(path);
}

/* Cut off anywhere within its last batch, the file holds those before it, and goes on from there.
 */
static void torn_end_is_cut_off(void **state)
{
    (void)state;
    struct life life;
    struct stat one;
    struct stat two;
    begin(&life, "refuse", "");
    put(&life, "a", "1", 1);
    assert_int_equal(stat(path, &one), 0);
    put(&life, "b", "2", 2);
    assert_int_equal(stat(path, &two), 0);
    end(&life);
    for (off_t size = one.st_size; size < two.st_size; size++) {
        char text[256] = "";
        assert_int_equal(truncate(path, size), 0);
        begin(&life, "refuse", "");
        assert_int_equal(life.position.index, 1);
        put(&life, "b", "3", 2);
        end(&life);
        begin(&life, "refuse", "");
        assert_int_equal(guard_persist_load(life.guard, keep, text), KV_OK);
        assert_string_equal(text, "b=3@2;a=1@1;");
        end(&life);
    }
    unlink(path);
}

/* Two nodes with one file: what one has written the other finds, and once one of a later view has
 * written, the one before cannot. */
static void two_nodes_have_it(void **state)
{
    (void)state;
    struct life one;
    struct life two;
    uint32_t refused;
    char text[256] = "";
    begin(&one, "scope", "shared");
    begin(&two, "scope", "shared");
    assert_int_equal(put_at(&one, "a", "1", (struct kv_position){1, 1}, &refused), KV_OK);
    assert_int_equal(put_at(&two, "b", "2", (struct kv_position){2, 2}, &refused), KV_OK);
    assert_int_equal(put_at(&one, "a", "3", (struct kv_position){1, 2}, &refused), KV_E_REJECTED);
    assert_int_equal(put_at(&one, "a", "3", (struct kv_position){1, 2}, &refused), KV_E_REJECTED);
    guard_persist_close(one.guard);
    assert_int_equal(guard_persist_open(one.guard, &one.position), KV_OK);
    assert_true(one.position.view == 2 && one.position.index == 2);
    assert_int_equal(guard_persist_load(one.guard, keep, text), KV_OK);
    assert_string_equal(text, "b=2@2;a=1@1;");
    assert_int_equal(put_at(&one, "a", "3", (struct kv_position){1, 3}, &refused), KV_E_REJECTED);
    assert_int_equal(put_at(&one, "a", "4", (struct kv_position){3, 3}, &refused), KV_OK);
    text[0] = '\0';
    assert_int_equal(put_at(&two, "b", "4", (struct kv_position){2, 3}, &refused), KV_E_REJECTED);
    assert_int_equal(guard_persist_get(two.guard, "a", 1, keep, text), KV_OK);
    assert_string_equal(text, "a=4@3;");
    end(&two);
    end(&one);
    unlink(path);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(another_process_has_it),
        cmocka_unit_test(torn_end_is_cut_off),
        cmocka_unit_test(two_nodes_have_it),
    };
    return cmocka_run_group_tests(tests, load, unload);
}
