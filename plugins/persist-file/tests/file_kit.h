/* What the tests of persist-file have besides the common kit. Its options after the path are sync,
 * compact_min_bytes, segment_bytes and preallocate_bytes. Test code only. */
#ifndef PERSIST_FILE_TESTS_FILE_KIT_H
#define PERSIST_FILE_TESTS_FILE_KIT_H

#include "fixture.h"

/* Waits until no compaction runs; how many have succeeded since open(). */
uint64_t file_kit_wait_compacted(struct kit_store *store);

#endif
