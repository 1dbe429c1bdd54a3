#include "pairs.h"

#include <string.h>

enum pairs_format pairs_format_of(const char *path)
{
    const char *suffix = strrchr(path, '.');
    return suffix != NULL && strcmp(suffix, ".jsonl") == 0 ? PAIRS_JSONL : PAIRS_TSV;
}

bool pairs_format_parse(const char *text, enum pairs_format *ret_format)
{
    if (strcmp(text, "tsv") == 0) {
        *ret_format = PAIRS_TSV;
    } else if (strcmp(text, "jsonl") == 0) {
        *ret_format = PAIRS_JSONL;
    } else {
        return false;
    }
    return true;
}

bool pairs_decode(enum pairs_format format, const uint8_t *line, size_t len,
                  struct text_buffer *key, struct text_buffer *value, char *ret_error)
{
    key->len = 0;
    value->len = 0;
    return format == PAIRS_JSONL ? pairs_jsonl_decode(line, len, key, value, ret_error)
                                 : pairs_tsv_decode(line, len, key, value, ret_error);
}

void pairs_encode(enum pairs_format format, const void *key, size_t key_len, const void *value,
                  size_t value_len, struct text_buffer *out)
{
    if (format == PAIRS_JSONL) {
        pairs_jsonl_encode(key, key_len, value, value_len, out);
    } else {
        pairs_tsv_encode(key, key_len, value, value_len, out);
    }
}
