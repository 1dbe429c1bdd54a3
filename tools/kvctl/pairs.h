/*
 * The file formats of import and export: one pair a line, any bytes in key and value.
 *
 * tsv:   KEY TAB VALUE. Written as \t \n \r \\ are those four characters, as \xNN any other byte
 *        that does not print. A tab, newline or carriage return stands for itself never.
 * jsonl: {"key":"...","value":"..."}; what is not UTF-8 as "key_base64", "value_base64".
 *
 * Nothing is guessed: a line that says no pair exactly is refused with the reason.
 */
#ifndef KVCTL_PAIRS_H
#define KVCTL_PAIRS_H

#include "text_buffer.h"

#include <stdbool.h>

#define PAIRS_ERROR_MAX 200u

enum pairs_format { PAIRS_TSV, PAIRS_JSONL };

/* The format that the file's name ends with (.tsv, .jsonl), else tsv. */
enum pairs_format pairs_format_of(const char *path);

/* "tsv" or "jsonl"; false: neither. */
bool pairs_format_parse(const char *text, enum pairs_format *ret_format);

/* Reads one line (without its newline) into key and value, whose earlier content is dropped.
 * False: no pair; ret_error (PAIRS_ERROR_MAX bytes) says why, key and value are undefined. */
bool pairs_decode(enum pairs_format format, const uint8_t *line, size_t len,
                  struct text_buffer *key, struct text_buffer *value, char *ret_error);

/* Appends the pair's line with its newline. */
void pairs_encode(enum pairs_format format, const void *key, size_t key_len, const void *value,
                  size_t value_len, struct text_buffer *out);

/* One format each, as above. */
bool pairs_tsv_decode(const uint8_t *line, size_t len, struct text_buffer *key,
                      struct text_buffer *value, char *ret_error);
void pairs_tsv_encode(const void *key, size_t key_len, const void *value, size_t value_len,
                      struct text_buffer *out);
bool pairs_jsonl_decode(const uint8_t *line, size_t len, struct text_buffer *key,
                        struct text_buffer *value, char *ret_error);
void pairs_jsonl_encode(const void *key, size_t key_len, const void *value, size_t value_len,
                        struct text_buffer *out);

/* Appends bytes as one field of tsv; also how messages name a key. */
void pairs_tsv_encode_field(const void *bytes, size_t len, struct text_buffer *out);

#endif
