#include "pairs.h"

#include "json_bytes.h"

#include <stdio.h>
#include <string.h>

static bool jsonl_check_members(json_t *object, char *ret_error)
{
    static const char *const known[] = {"key", "key_base64", "value", "value_base64"};
    const char *name;
    json_t *value;
    json_object_foreach(object, name, value)
    {
        size_t i = 0;
        while (i < sizeof(known) / sizeof(known[0]) && strcmp(name, known[i]) != 0) {
            i++;
        }
        if (i == sizeof(known) / sizeof(known[0])) {
            snprintf(ret_error, PAIRS_ERROR_MAX, "unknown member \"%.60s\"", name);
            return false;
        }
    }
    return true;
}

bool pairs_jsonl_decode(const uint8_t *line, size_t len, struct text_buffer *key,
                        struct text_buffer *value, char *ret_error)
{
    json_error_t error;
    json_t *object =
        json_loadb((const char *)line, len, JSON_ALLOW_NUL | JSON_REJECT_DUPLICATES, &error);
    bool ok = false;
    if (object == NULL) {
        snprintf(ret_error, PAIRS_ERROR_MAX, "column %d: %s", error.column, error.text);
        goto out;
    }
    if (!json_is_object(object)) {
        snprintf(ret_error, PAIRS_ERROR_MAX, "not a JSON object");
        goto out;
    }
    ok = jsonl_check_members(object, ret_error) && json_bytes_get(object, "key", key, ret_error) &&
         json_bytes_get(object, "value", value, ret_error);
out:
    json_decref(object);
    return ok;
}

void pairs_jsonl_encode(const void *key, size_t key_len, const void *value, size_t value_len,
                        struct text_buffer *out)
{
    json_t *object = json_object();
    json_bytes_set(object, "key", key, key_len);
    json_bytes_set(object, "value", value, value_len);
    json_bytes_dump(object, out);
    text_buffer_append_byte(out, '\n');
}
