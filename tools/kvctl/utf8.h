/*
 * Which bytes are well-formed UTF-8 (RFC 3629: no overlong forms, no surrogates, at most U+10FFFF).
 */
#ifndef KVCTL_UTF8_H
#define KVCTL_UTF8_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/* Bytes of the character that bytes (len > 0) start with: 1 to 4; 0: it is none. */
size_t utf8_character_len(const uint8_t *bytes, size_t len);

bool utf8_is_valid(const uint8_t *bytes, size_t len);

#endif
