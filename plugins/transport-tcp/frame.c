#include "frame.h"

#include <string.h>

#include <kvnode/status.h>

static const uint8_t frame_magic[4] = {'K', 'V', 'T', 'C'};

static void put_u32(uint8_t *at, uint32_t value)
{
    for (int i = 0; i < 4; i++) {
        at[i] = (uint8_t)(value >> (8 * i));
    }
}

static uint32_t get_u32(const uint8_t *at)
{
    return (uint32_t)at[0] | (uint32_t)at[1] << 8 | (uint32_t)at[2] << 16 | (uint32_t)at[3] << 24;
}

void frame_encode_preamble(uint8_t *at, uint32_t message_max)
{
    memcpy(at, frame_magic, sizeof frame_magic);
    put_u32(at + 4, FRAME_VERSION);
    put_u32(at + 8, message_max);
}

int32_t frame_check_preamble(const uint8_t *at, size_t len, struct frame_preamble *ret_preamble)
{
    size_t magic_len = len < sizeof frame_magic ? len : sizeof frame_magic;
    if (memcmp(at, frame_magic, magic_len) != 0) {
        return KV_E_MALFORMED;
    }
    if (len < 8) {
        return KV_E_RETRY;
    }
    uint32_t version = get_u32(at + 4);
    if (version != FRAME_VERSION) {
        ret_preamble->version = version;
        return KV_E_VERSION;
    }
    if (len < FRAME_PREAMBLE_LEN) {
        return KV_E_RETRY;
    }
    ret_preamble->version = version;
    ret_preamble->message_max = get_u32(at + 8);
    return KV_OK;
}

void frame_encode_header(uint8_t *at, uint32_t len, uint32_t crc)
{
    put_u32(at, len);
    put_u32(at + 4, crc);
}

int32_t frame_measure(const uint8_t *at, size_t len, uint32_t message_max, size_t *ret_need)
{
    /* The length alone is enough to turn an oversized message away. */
    if (len < 4) {
        *ret_need = FRAME_HEADER_LEN;
        return KV_OK;
    }
    uint32_t payload_len = get_u32(at);
    *ret_need = (size_t)FRAME_HEADER_LEN + payload_len;
    return payload_len > message_max ? KV_E_TOO_LARGE : KV_OK;
}

uint32_t frame_get_crc(const uint8_t *at)
{
    return get_u32(at + 4);
}
