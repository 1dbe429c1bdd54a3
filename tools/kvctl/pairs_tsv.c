#include "pairs.h"

#include "utf8.h"

#include <stdio.h>
#include <string.h>

static int tsv_hex_digit(uint8_t c)
{
    if (c >= '0' && c <= '9') {
        return c - '0';
    }
    if (c >= 'a' && c <= 'f') {
        return c - 'a' + 10;
    }
    if (c >= 'A' && c <= 'F') {
        return c - 'A' + 10;
    }
    return -1;
}

/* Decodes what follows a backslash at line[at]. Returns the bytes used, 0: no such escape. */
static size_t tsv_decode_escape(const uint8_t *line, size_t len, size_t at,
                                struct text_buffer *field)
{
    if (at + 1 >= len) {
        return 0;
    }
    switch (line[at + 1]) {
    case 't':
        text_buffer_append_byte(field, '\t');
        return 2;
    case 'n':
        text_buffer_append_byte(field, '\n');
        return 2;
    case 'r':
        text_buffer_append_byte(field, '\r');
        return 2;
    case '\\':
        text_buffer_append_byte(field, '\\');
        return 2;
    case 'x':
        break;
    default:
        return 0;
    }
    int high = at + 2 < len ? tsv_hex_digit(line[at + 2]) : -1;
    int low = at + 3 < len ? tsv_hex_digit(line[at + 3]) : -1;
    if (high < 0 || low < 0) {
        return 0;
    }
    text_buffer_append_byte(field, (uint8_t)(high * 16 + low));
    return 4;
}

bool pairs_tsv_decode(const uint8_t *line, size_t len, struct text_buffer *key,
                      struct text_buffer *value, char *ret_error)
{
    struct text_buffer *field = key;
    size_t at = 0;
    while (at < len) {
        uint8_t c = line[at];
        if (c == '\\') {
            size_t used = tsv_decode_escape(line, len, at, field);
            if (used == 0) {
                snprintf(ret_error, PAIRS_ERROR_MAX,
                         "column %zu: a backslash starts one of \\t \\n \\r \\\\ \\xNN", at + 1);
                return false;
            }
            at += used;
            continue;
        }
        if (c == '\t' && field == value) {
            snprintf(ret_error, PAIRS_ERROR_MAX,
                     "column %zu: a second tab; a tab within a value is written \\t", at + 1);
            return false;
        }
        if (c == '\r') {
            snprintf(ret_error, PAIRS_ERROR_MAX,
                     "column %zu: a carriage return; within a value it is written \\r, and lines "
                     "end with a newline alone",
                     at + 1);
            return false;
        }
        if (c == '\t') {
            field = value;
        } else {
            text_buffer_append_byte(field, c);
        }
        at++;
    }
    if (field == key) {
        snprintf(ret_error, PAIRS_ERROR_MAX, "no tab between key and value");
        return false;
    }
    return true;
}

static void tsv_encode_hex(uint8_t byte, struct text_buffer *out)
{
    static const char digits[] = "0123456789abcdef";
    char text[4] = {'\\', 'x', digits[byte >> 4], digits[byte & 15]};
    text_buffer_append(out, text, sizeof(text));
}

void pairs_tsv_encode_field(const void *bytes, size_t len, struct text_buffer *out)
{
    const uint8_t *from = bytes;
    size_t at = 0;
    while (at < len) {
        size_t character_len = utf8_character_len(from + at, len - at);
        if (character_len > 1) {
            text_buffer_append(out, from + at, character_len);
            at += character_len;
            continue;
        }
        uint8_t c = from[at++];
        switch (c) {
        case '\t':
            text_buffer_append_text(out, "\\t");
            break;
        case '\n':
            text_buffer_append_text(out, "\\n");
            break;
        case '\r':
            text_buffer_append_text(out, "\\r");
            break;
        case '\\':
            text_buffer_append_text(out, "\\\\");
            break;
        default:
            if (c >= 0x20 && c < 0x7f) {
                text_buffer_append_byte(out, c);
            } else {
                tsv_encode_hex(c, out);
            }
        }
    }
}

void pairs_tsv_encode(const void *key, size_t key_len, const void *value, size_t value_len,
                      struct text_buffer *out)
{
    pairs_tsv_encode_field(key, key_len, out);
    text_buffer_append_byte(out, '\t');
    pairs_tsv_encode_field(value, value_len, out);
    text_buffer_append_byte(out, '\n');
}
