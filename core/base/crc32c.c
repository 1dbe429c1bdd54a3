#include "base/crc32c.h"

#include <pthread.h>
#include <stdbool.h>
#include <string.h>

#define CRC32C_REFLECTED 0x82f63b78u

static uint32_t crc32c_table[256];
static bool crc32c_has_instruction;
static pthread_once_t crc32c_once = PTHREAD_ONCE_INIT;

static void crc32c_init(void)
{
    for (uint32_t byte = 0; byte < 256; byte++) {
        uint32_t crc = byte;
        for (int bit = 0; bit < 8; bit++) {
            crc = (crc >> 1) ^ ((crc & 1u) != 0 ? CRC32C_REFLECTED : 0u);
        }
        crc32c_table[byte] = crc;
    }
#if defined(__x86_64__)
    crc32c_has_instruction = __builtin_cpu_supports("sse4.2");
#endif
}

static uint32_t crc32c_by_table(uint32_t crc, const unsigned char *bytes, size_t len)
{
    for (size_t i = 0; i < len; i++) {
        crc = (crc >> 8) ^ crc32c_table[(crc ^ bytes[i]) & 0xffu];
    }
    return crc;
}

#if defined(__x86_64__)
__attribute__((target("sse4.2"))) static uint32_t
crc32c_by_instruction(uint32_t crc, const unsigned char *bytes, size_t len)
{
    uint64_t wide = crc;
    for (; len >= 8; bytes += 8, len -= 8) {
        uint64_t word;
        memcpy(&word, bytes, sizeof(word));
        wide = __builtin_ia32_crc32di(wide, word);
    }
    crc = (uint32_t)wide;
    for (; len > 0; bytes++, len--) {
        crc = __builtin_ia32_crc32qi(crc, *bytes);
    }
    return crc;
}
#endif

uint32_t crc32c(uint32_t crc, const void *bytes, size_t len)
{
    pthread_once(&crc32c_once, crc32c_init);
#if defined(__x86_64__)
    if (crc32c_has_instruction) {
        return ~crc32c_by_instruction(~crc, bytes, len);
    }
#endif
    return ~crc32c_by_table(~crc, bytes, len);
}

uint32_t crc32c_portable(uint32_t crc, const void *bytes, size_t len)
{
    pthread_once(&crc32c_once, crc32c_init);
    return ~crc32c_by_table(~crc, bytes, len);
}
