#include "kit.h"

#include <ctype.h>
#include <dlfcn.h>
#include <fcntl.h>
#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include <cmocka.h>

#define KIT_SETTINGS_MAX    16u
#define KIT_SERVER_START_MS 60000u

uint64_t kit_now_ms(void)
{
    struct timespec now;
    clock_gettime(CLOCK_MONOTONIC, &now);
    return (uint64_t)now.tv_sec * 1000 + (uint64_t)now.tv_nsec / 1000000;
}

/* --- the plugin --- */

static const struct kv_plugin *kit_plugin(void)
{
    static const struct kv_plugin *plugin;
    if (plugin == NULL) {
        void *handle = dlopen(MONGO_PLUGIN, RTLD_NOW | RTLD_LOCAL);
        if (handle == NULL) {
            fail_msg("%s", dlerror());
        }
        plugin = dlsym(handle, KV_PLUGIN_SYMBOL);
        assert_non_null(plugin);
    }
    return plugin;
}

static const struct kv_persist_ops *kit_ops(void)
{
    return kit_plugin()->ops;
}

const char *kit_uri(void)
{
    const char *uri = getenv("KV_MONGO_URI");
    if (uri == NULL) {
        fail_msg("KV_MONGO_URI is not set: run this through server/with_mongo.sh");
    }
    return uri;
}

const char *kit_collection(void)
{
    static char names[2][64];
    static unsigned number;
    char *name = names[number % 2];
    snprintf(name, sizeof(names[0]), "test_%d_%u", (int)getpid(), number++);
    return name;
}

/* Fills in what the texts "name=value" do not say. */
static uint32_t kit_settings(const char *const *texts, char (*memory)[256],
                             struct kv_setting *settings)
{
    const struct kv_plugin *plugin = kit_plugin();
    for (uint32_t i = 0; i < plugin->options_len; i++) {
        const struct kv_option *option = &plugin->options[i];
        const char *value = option->default_value;
        if (strcmp(option->name, "uri") == 0) {
            value = kit_uri();
        }
        if (strcmp(option->name, "timeout_ms") == 0) {
            value = "20000"; /* the machine may be busy with other tests */
        }
        for (const char *const *text = texts; *text != NULL; text++) {
            size_t len = strlen(option->name);
            if (strncmp(*text, option->name, len) == 0 && (*text)[len] == '=') {
                value = *text + len + 1;
            }
        }
        snprintf(memory[i], sizeof(memory[i]), "%s", value);
        settings[i].name = option->name;
        settings[i].value = memory[i];
    }
    return plugin->options_len;
}

static int32_t kit_create_any(struct kit_store *store, struct kit_host *host,
                              const char *const *texts)
{
    char memory[KIT_SETTINGS_MAX][256];
    struct kv_setting settings[KIT_SETTINGS_MAX];
    memset(store, 0, sizeof(*store));
    store->host = host;
    uint32_t len = kit_settings(texts, memory, settings);
    int32_t status = kit_ops()->create(&host->table, settings, len, &store->self);
    memset(memory, 'x', sizeof(memory)); /* borrowed for the call */
    return status;
}

int32_t kit_try(struct kit_store *store, struct kit_host *host, const char *const *texts)
{
    int32_t status = kit_create_any(store, host, texts);
    return status == KV_OK ? kit_open(store) : status;
}

void kit_create(struct kit_store *store, struct kit_host *host, int32_t expected,
                const char *const *texts)
{
    int32_t status = kit_create_any(store, host, texts);
    if (status != expected) {
        fail_msg("create() gave %d, not %d\n%s", (int)status, (int)expected, host->log);
    }
}

int32_t kit_open(struct kit_store *store)
{
    int32_t status = kit_ops()->open(store->self, &store->position);
    store->is_open = status == KV_OK;
    return status;
}

void kit_close(struct kit_store *store)
{
    if (store->is_open) {
        kit_ops()->close(store->self);
        store->is_open = false;
    }
}

void kit_destroy(struct kit_store *store)
{
    kit_close(store);
    if (store->self != NULL) {
        kit_ops()->destroy(store->self);
        store->self = NULL;
    }
    assert_int_equal(store->host->live, 0);
}

struct kv_record kit_record(uint64_t index, const char *key, const char *value)
{
    struct kv_record record = {.key = key,
                               .value = value,
                               .key_len = (uint32_t)strlen(key),
                               .value_len = value == NULL ? 0 : (uint32_t)strlen(value),
                               .kind = value == NULL ? KV_RECORD_REMOVE : KV_RECORD_INSERT,
                               .position = {1, index},
                               .client = 7,
                               .request = index};
    return record;
}

int32_t kit_apply(struct kit_store *store, const struct kv_record *records, uint32_t count,
                  struct kv_position position, uint32_t *ret_results)
{
    uint32_t *results = calloc(count + 1u, sizeof(*results));
    assert_non_null(results);
    results[count] = 0xc0de;
    int32_t status = kit_ops()->apply(store->self, records, count, position, results);
    assert_int_equal(results[count], 0xc0de);
    for (uint32_t i = 0; i < count; i++) {
        if (ret_results != NULL) {
            ret_results[i] = results[i];
        } else if (status == KV_OK && results[i] != KV_RESULT_STORED) {
            fail_msg("record %u has the result %u\n%s", i, results[i], store->host->log);
        }
    }
    free(results);
    return status;
}

int32_t kit_reset(struct kit_store *store)
{
    return kit_ops()->reset(store->self);
}

/* --- the content --- */

struct kit_text {
    char **lines;
    size_t len;
};

static char *kit_print(char *at, const void *bytes, size_t len)
{
    for (size_t i = 0; i < len; i++) {
        unsigned char byte = ((const unsigned char *)bytes)[i];
        at += isprint(byte) ? sprintf(at, "%c", byte) : sprintf(at, "\\x%02x", byte);
    }
    return at;
}

static int32_t kit_emit(void *ctx, const struct kv_record *record)
{
    struct kit_text *text = ctx;
    char *line = malloc(((size_t)record->key_len + record->value_len) * 4 + 64);
    assert_non_null(line);
    char *at = kit_print(line, record->key, record->key_len);
    at += sprintf(at, "=");
    at = kit_print(at, record->value, record->value_len);
    sprintf(at, "@%u;", (unsigned)record->position.index);
    text->lines = realloc(text->lines, (text->len + 1) * sizeof(*text->lines));
    assert_non_null(text->lines);
    text->lines[text->len++] = line;
    return KV_OK;
}

static int kit_compare(const void *a, const void *b)
{
    return strcmp(*(char *const *)a, *(char *const *)b);
}

static char *kit_join(struct kit_text *text)
{
    size_t size = 1;
    if (text->len > 0) {
        qsort(text->lines, text->len, sizeof(*text->lines), kit_compare);
    }
    for (size_t i = 0; i < text->len; i++) {
        size += strlen(text->lines[i]);
    }
    char *joined = calloc(1, size);
    assert_non_null(joined);
    char *at = joined;
    for (size_t i = 0; i < text->len; i++) {
        at = stpcpy(at, text->lines[i]);
        free(text->lines[i]);
    }
    free(text->lines);
    return joined;
}

int32_t kit_load(struct kit_store *store)
{
    struct kit_text text = {NULL, 0};
    int32_t status = kit_ops()->load(store->self, kit_emit, &text);
    free(kit_join(&text));
    return status;
}

char *kit_content(struct kit_store *store)
{
    struct kit_text text = {NULL, 0};
    int32_t status = kit_ops()->load(store->self, kit_emit, &text);
    if (status != KV_OK) {
        fail_msg("load() gave %d\n%s", (int)status, store->host->log);
    }
    return kit_join(&text);
}

char *kit_get(struct kit_store *store, const char *key)
{
    struct kit_text text = {NULL, 0};
    int32_t status = kit_ops()->get(store->self, key, (uint32_t)strlen(key), kit_emit, &text);
    assert_true(status == (text.len == 0 ? KV_E_NOT_FOUND : KV_OK));
    return kit_join(&text);
}

/* --- a server --- */

static void kit_server_exec(const struct kit_server *server, int out)
{
    char command[1024];
    snprintf(command, sizeof(command), "exec %s '%s' %d", getenv("KV_MONGO_RUN"), server->folder,
             server->port);
    int null = open("/dev/null", O_RDWR | O_CLOEXEC);
    dup2(null, STDIN_FILENO);
    dup2(null, STDERR_FILENO);
    dup2(out, STDOUT_FILENO);
    execl("/bin/sh", "sh", "-c", command, (char *)NULL);
    _exit(127);
}

static void kit_server_launch(struct kit_server *server)
{
    int ends[2];
    char line[64] = "";
    size_t len = 0;
    assert_int_equal(pipe2(ends, O_CLOEXEC), 0);
    server->pid = fork();
    assert_true(server->pid >= 0);
    if (server->pid == 0) {
        kit_server_exec(server, ends[1]);
    }
    close(ends[1]);
    uint64_t end_ms = kit_now_ms() + KIT_SERVER_START_MS;
    while (strchr(line, '\n') == NULL && len + 1 < sizeof(line) && kit_now_ms() < end_ms) {
        ssize_t got = read(ends[0], line + len, sizeof(line) - len - 1);
        if (got <= 0) {
            break;
        }
        len += (size_t)got;
    }
    close(ends[0]);
    if (sscanf(line, "ready %d", &server->port) != 1) {
        fail_msg("the server does not start");
    }
    snprintf(server->uri, sizeof(server->uri), "mongodb://127.0.0.1:%d", server->port);
}

bool kit_server_start(struct kit_server *server)
{
    memset(server, 0, sizeof(*server));
    if (getenv("KV_MONGO_RUN") == NULL) {
        return false;
    }
    const char *temporary = getenv("TMPDIR");
    snprintf(server->folder, sizeof(server->folder), "%s/kv-mongo-XXXXXX",
             temporary == NULL ? "/tmp" : temporary);
    assert_non_null(mkdtemp(server->folder));
    kit_server_launch(server);
    return true;
}

void kit_server_signal(struct kit_server *server, int number)
{
    assert_int_equal(kill(server->pid, number), 0);
}

static void kit_server_reap(struct kit_server *server)
{
    int status;
    assert_int_equal(waitpid(server->pid, &status, 0), server->pid);
    server->pid = 0;
}

void kit_server_stop(struct kit_server *server)
{
    kit_server_signal(server, SIGTERM);
    kit_server_reap(server);
}

void kit_server_restart(struct kit_server *server)
{
    if (server->pid != 0) {
        kit_server_reap(server); /* it was killed */
    }
    kit_server_launch(server);
}

void kit_server_remove(struct kit_server *server)
{
    char command[512];
    if (server->pid != 0) {
        kit_server_signal(server, SIGKILL);
        kit_server_reap(server);
    }
    snprintf(command, sizeof(command), "rm -rf '%s'", server->folder);
    assert_int_equal(system(command), 0);
}
