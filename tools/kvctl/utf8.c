#include "utf8.h"

size_t utf8_character_len(const uint8_t *bytes, size_t len)
{
    uint8_t first = bytes[0];
    if (first < 0x80) {
        return 1;
    }
    size_t character_len;
    if (first >= 0xc2 && first <= 0xdf) {
        character_len = 2;
    } else if (first >= 0xe0 && first <= 0xef) {
        character_len = 3;
    } else if (first >= 0xf0 && first <= 0xf4) {
        character_len = 4;
    } else {
        return 0;
    }
    if (len < character_len) {
        return 0;
    }
    for (size_t i = 1; i < character_len; i++) {
        if ((bytes[i] & 0xc0) != 0x80) {
            return 0;
        }
    }
    /* Four first bytes narrow what the second may be: overlong forms, surrogates, the upper end. */
    uint8_t second = bytes[1];
    if ((first == 0xe0 && second < 0xa0) || (first == 0xed && second > 0x9f) ||
        (first == 0xf0 && second < 0x90) || (first == 0xf4 && second > 0x8f)) {
        return 0;
    }
    return character_len;
}

bool utf8_is_valid(const uint8_t *bytes, size_t len)
{
    size_t at = 0;
    while (at < len) {
        size_t character_len = utf8_character_len(bytes + at, len - at);
        if (character_len == 0) {
            return false;
        }
        at += character_len;
    }
    return true;
}
