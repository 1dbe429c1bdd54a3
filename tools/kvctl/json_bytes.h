/*
 * Arbitrary bytes in JSON: member "NAME" holds them as a string when they are UTF-8, else member
 * "NAME_base64" (RFC 4648, padded). Both ways without loss.
 */
#ifndef KVCTL_JSON_BYTES_H
#define KVCTL_JSON_BYTES_H

#include "text_buffer.h"

#include <jansson.h>
#include <stdbool.h>

void json_bytes_set(json_t *object, const char *name, const void *bytes, size_t len);

/* Appends the bytes of member NAME or NAME_base64 of an object that has one of them. False: it has
 * neither or both, or it is no text, or no base64; ret_error (200 bytes) says which. */
bool json_bytes_get(const json_t *object, const char *name, struct text_buffer *out,
                    char *ret_error);

/* False: not base64 as RFC 4648 writes it. */
bool base64_decode(const char *text, size_t len, struct text_buffer *out);
void base64_encode(const uint8_t *bytes, size_t len, struct text_buffer *out);

/* Appends the object as one compact line without newline, members in the order they were set, and
 * frees it. */
void json_bytes_dump(json_t *object, struct text_buffer *out);

#endif
