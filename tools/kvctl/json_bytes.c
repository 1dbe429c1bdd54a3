#include "json_bytes.h"

#include "pairs.h"
#include "utf8.h"

#include <stdio.h>
#include <string.h>

#define JSON_NAME_MAX 80u

static const char base64_digits[] =
    "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";

void base64_encode(const uint8_t *bytes, size_t len, struct text_buffer *out)
{
    for (size_t at = 0; at < len; at += 3) {
        size_t left = len - at;
        uint32_t group = (uint32_t)bytes[at] << 16;
        if (left > 1) {
            group |= (uint32_t)bytes[at + 1] << 8;
        }
        if (left > 2) {
            group |= bytes[at + 2];
        }
        char text[4] = {base64_digits[group >> 18], base64_digits[(group >> 12) & 63],
                        left > 1 ? base64_digits[(group >> 6) & 63] : '=',
                        left > 2 ? base64_digits[group & 63] : '='};
        text_buffer_append(out, text, sizeof(text));
    }
}

static int base64_digit(char c)
{
    const char *at = c == '\0' ? NULL : strchr(base64_digits, c);
    return at == NULL ? -1 : (int)(at - base64_digits);
}

bool base64_decode(const char *text, size_t len, struct text_buffer *out)
{
    if (len % 4 != 0) {
        return false;
    }
    for (size_t at = 0; at < len; at += 4) {
        size_t pad = 0;
        if (at + 4 == len) {
            pad = text[at + 3] != '=' ? 0 : text[at + 2] != '=' ? 1 : 2;
        }
        uint32_t group = 0;
        for (size_t i = 0; i < 4; i++) {
            int digit = i >= 4 - pad ? 0 : base64_digit(text[at + i]);
            if (digit < 0) {
                return false;
            }
            group = group << 6 | (uint32_t)digit;
        }
        /* The bits that padding cuts off are zero, so that each text has one meaning. */
        if ((pad == 1 && (group & 0xff) != 0) || (pad == 2 && (group & 0xffff) != 0)) {
            return false;
        }
        uint8_t bytes[3] = {(uint8_t)(group >> 16), (uint8_t)(group >> 8), (uint8_t)group};
        text_buffer_append(out, bytes, 3 - pad);
    }
    return true;
}

void json_bytes_set(json_t *object, const char *name, const void *bytes, size_t len)
{
    if (utf8_is_valid(bytes, len)) {
        json_object_set_new(object, name, json_stringn(len == 0 ? "" : bytes, len));
        return;
    }
    char member[JSON_NAME_MAX];
    struct text_buffer text = {0};
    base64_encode(bytes, len, &text);
    snprintf(member, sizeof(member), "%s_base64", name);
    json_object_set_new(object, member, json_stringn((const char *)text.bytes, text.len));
    text_buffer_close(&text);
}

bool json_bytes_get(const json_t *object, const char *name, struct text_buffer *out,
                    char *ret_error)
{
    char member[JSON_NAME_MAX];
    snprintf(member, sizeof(member), "%s_base64", name);
    const json_t *plain = json_object_get(object, name);
    const json_t *base64 = json_object_get(object, member);
    if ((plain == NULL) == (base64 == NULL)) {
        snprintf(ret_error, PAIRS_ERROR_MAX, "%s of \"%s\" and \"%s\" must be given",
                 plain == NULL ? "one" : "only one", name, member);
        return false;
    }
    const json_t *given = plain != NULL ? plain : base64;
    if (!json_is_string(given)) {
        snprintf(ret_error, PAIRS_ERROR_MAX, "\"%s\" must be a string",
                 plain != NULL ? name : member);
        return false;
    }
    const char *text = json_string_value(given);
    size_t len = json_string_length(given);
    if (plain != NULL) {
        text_buffer_append(out, text, len);
        return true;
    }
    if (!base64_decode(text, len, out)) {
        snprintf(ret_error, PAIRS_ERROR_MAX, "\"%s\" is not base64", member);
        return false;
    }
    return true;
}

static int json_append(const char *text, size_t len, void *ctx)
{
    text_buffer_append(ctx, text, len);
    return 0;
}

void json_bytes_dump(json_t *object, struct text_buffer *out)
{
    json_dump_callback(object, json_append, out, JSON_COMPACT | JSON_REAL_PRECISION(9));
    json_decref(object);
}
