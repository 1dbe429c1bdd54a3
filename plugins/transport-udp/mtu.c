#include "mtu.h"

#include <stddef.h>

/* What real paths take, ascending, as UDP payload: Ethernet with tunnels on it, Ethernet over IPv6
 * and IPv4, FDDI and some clouds, jumbo frames, and the loopback. */
static const uint32_t sizes[] = {MTU_BASE, 1400, 1452, 1472, 4000, 8952, 16384, 32768, 65000};
#define SIZES_LEN (sizeof sizes / sizeof sizes[0])

/* The next size to try, cut by max; 0: there is none. */
static uint32_t find_larger(const struct mtu *mtu)
{
    for (size_t i = 0; i < SIZES_LEN; i++) {
        uint32_t size = sizes[i] < mtu->max ? sizes[i] : mtu->max;
        if (size > mtu->size) {
            return size;
        }
    }
    return 0;
}

/* The largest one below `size`, at least MTU_BASE. */
static uint32_t find_smaller(uint32_t size)
{
    uint32_t found = MTU_BASE;
    for (size_t i = 0; i < SIZES_LEN && sizes[i] < size; i++) {
        found = sizes[i];
    }
    return found;
}

static void begin_search(struct mtu *mtu, uint32_t size, uint64_t next_us)
{
    mtu->size = size;
    mtu->probe_size = find_larger(mtu);
    mtu->probes_lost = 0;
    mtu->is_probing = false;
    mtu->next_us = next_us;
}

void mtu_init(struct mtu *mtu, uint32_t max)
{
    *mtu = (struct mtu){.max = max > MTU_BASE ? max : MTU_BASE};
    begin_search(mtu, MTU_BASE, 0);
}

uint32_t mtu_get_probe(const struct mtu *mtu, uint64_t now_us)
{
    return !mtu->is_probing && now_us >= mtu->next_us ? mtu->probe_size : 0;
}

void mtu_on_probe_sent(struct mtu *mtu)
{
    mtu->is_probing = true;
}

/* The answer to a probe that was taken for lost is as good as any; one to a probe of before the
 * search began anew tells of the path as it was. */
void mtu_on_probe_acked(struct mtu *mtu, uint32_t size, uint64_t now_us)
{
    if (mtu->probe_size != 0 && size == mtu->probe_size) {
        begin_search(mtu, size, now_us);
    }
}

void mtu_on_probe_lost(struct mtu *mtu, uint64_t now_us)
{
    if (!mtu->is_probing) {
        return;
    }
    mtu->is_probing = false;
    mtu->probes_lost++;
    if (mtu->probes_lost == MTU_PROBES) {
        begin_search(mtu, mtu->size, now_us + MTU_RAISE_US);
    }
}

void mtu_on_too_large(struct mtu *mtu, uint32_t size, uint64_t now_us)
{
    if (size <= mtu->size) {
        begin_search(mtu, find_smaller(size), now_us + MTU_RAISE_US);
    } else if (size <= mtu->probe_size) {
        begin_search(mtu, mtu->size, now_us + MTU_RAISE_US);
    }
}

void mtu_on_black_hole(struct mtu *mtu, uint64_t now_us)
{
    begin_search(mtu, MTU_BASE, now_us);
}
