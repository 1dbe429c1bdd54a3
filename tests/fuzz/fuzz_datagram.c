/* libFuzzer: endpoint_receive() of the UDP transport. */
#include "harness_datagram.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    harness_datagram(data, size);
    return 0;
}
