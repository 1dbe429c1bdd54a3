/*
 * put, get, remove: one request, one answer.
 */
#include "json_bytes.h"
#include "kvctl.h"
#include "output.h"
#include "pairs.h"

#include <errno.h>
#include <string.h>
#include <unistd.h>

/* A value from stdin is limited as one in a message is. */
#define VALUE_BYTES_MAX (64u * 1024u * 1024u)

/* With --json one object tells what came of a request to a key, whatever that was. */
static void key_print_json(const char *key, const struct outcome *outcome, const json_t *value)
{
    json_t *object = json_object();
    json_bytes_set(object, "key", key, strlen(key));
    json_object_set_new(object, "result", json_string(outcome_word(outcome->status)));
    if (outcome->status == KV_OK) {
        json_object_update(object, (json_t *)(uintptr_t)value);
        json_object_set_new(object, "position",
                            json_pack("{s:I, s:I}", "view", (json_int_t)outcome->position.view,
                                      "index", (json_int_t)outcome->position.index));
    } else {
        json_bytes_set(object, "reason", outcome->reason, strlen(outcome->reason));
        json_object_set_new(object, "retry_after_ms",
                            json_integer((json_int_t)outcome->retry_after_ms));
    }
    output_json(object);
}

/* Ends a verb about one key. */
static int key_finish(struct kvctl *ctl, const char *what, const struct outcome *outcome,
                      const json_t *value)
{
    const char *key = ctl->options.args[0];
    if (ctl->options.json) {
        key_print_json(key, outcome, value);
    }
    if (outcome->status == KV_OK) {
        return EXIT_DONE;
    }
    struct text_buffer text = {0};
    int status = outcome_report(outcome, output_name_key(&text, what, key, strlen(key)));
    text_buffer_close(&text);
    return status;
}

/* All of stdin. False: could not be read, reported. */
static bool key_read_stdin(struct text_buffer *ret_value)
{
    struct text_buffer value = {0};
    for (;;) {
        uint8_t *room = text_buffer_room(&value, 65536);
        ssize_t len = read(STDIN_FILENO, room, 65536);
        if (len < 0 && errno == EINTR) {
            continue;
        }
        if (len < 0) {
            output_error("cannot read the value from stdin: %s", strerror(errno));
            break;
        }
        if (len == 0) {
            *ret_value = value;
            return true;
        }
        value.len += (size_t)len;
        if (value.len > VALUE_BYTES_MAX) {
            output_error("the value on stdin is larger than %u bytes", VALUE_BYTES_MAX);
            break;
        }
    }
    text_buffer_close(&value);
    return false;
}

int verb_put(struct kvctl *ctl)
{
    const char *key = ctl->options.args[0];
    struct text_buffer value = {0};
    struct outcome outcome = {0};
    int status = EXIT_USAGE;
    if (strcmp(ctl->options.args[1], "-") != 0) {
        text_buffer_append_text(&value, ctl->options.args[1]);
    } else if (!key_read_stdin(&value)) {
        goto out;
    }
    session_finish(&ctl->session,
                   kv_client_insert(ctl->session.client, key, strlen(key), value.bytes, value.len,
                                    0, session_on_answer, &outcome),
                   &outcome);
    status = key_finish(ctl, "put of key", &outcome, NULL);
out:
    text_buffer_close(&value);
    return status;
}

int verb_remove(struct kvctl *ctl)
{
    const char *key = ctl->options.args[0];
    struct outcome outcome = {0};
    session_finish(
        &ctl->session,
        kv_client_remove(ctl->session.client, key, strlen(key), 0, session_on_answer, &outcome),
        &outcome);
    return key_finish(ctl, "remove of key", &outcome, NULL);
}

struct get_answer {
    struct outcome outcome;
    struct text_buffer value;
};

static void key_on_value(void *ctx, const struct kv_answer *answer)
{
    struct get_answer *get = ctx;
    outcome_take(&get->outcome, answer);
    if (answer->status == KV_OK) {
        text_buffer_append(&get->value, answer->value, answer->value_len);
    }
}

int verb_get(struct kvctl *ctl)
{
    const char *key = ctl->options.args[0];
    const char *node = ctl->options.node;
    struct get_answer get = {0};
    session_finish(
        &ctl->session,
        kv_client_get(ctl->session.client, node, key, strlen(key), 0, 0, key_on_value, &get),
        &get.outcome);
    json_t *value = json_object();
    int status = EXIT_REJECTED;
    if (get.outcome.status == KV_E_NOT_FOUND && node != NULL &&
        session_lacks_node(&ctl->session, node)) {
        goto out;
    }
    if (get.outcome.status == KV_OK) {
        json_bytes_set(value, "value", get.value.bytes, get.value.len);
    }
    status = key_finish(ctl, "get of key", &get.outcome, value);
    if (status == EXIT_DONE && !ctl->options.json) {
        text_buffer_append_byte(&get.value, '\n');
        fwrite(get.value.bytes, 1, get.value.len, stdout);
    }
out:
    json_decref(value);
    text_buffer_close(&get.value);
    return status;
}
