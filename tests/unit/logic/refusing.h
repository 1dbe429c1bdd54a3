/*
 * What the tests of refused records share: a store that refuses single records of a batch, and
 * acknowledgements that tell refusals. On top of fixture.h.
 */
#ifndef LOGIC_REFUSING_H
#define LOGIC_REFUSING_H

#include "fixture.h"

/* Ends the turn; the number of the batch that is handed over with it, 0: none. records: what it
 * holds, as "k1=v1 k2=-"; size bytes. */
uint64_t refusing_flush(struct fixture *fixture, char *records, size_t size);

/* The batch is stored, all but those of its records with these numbers, ascending. */
void refusing_persisted(struct fixture *fixture, uint64_t batch, const uint32_t *records,
                        uint32_t records_len, const char *reason);

/* The batch is not stored. */
void refusing_persist_failed(struct fixture *fixture, uint64_t batch, const char *error);

/* Ends the turn; what is handed over must be these records, and is stored. */
void refusing_stores(struct fixture *fixture, const char *records);

/* The committed content of the node. value NULL: absent. */
void refusing_expect(const struct fixture *fixture, const char *key, const char *value);

/* What a node tells of itself. */
struct node_state refusing_observe(const struct fixture *fixture);
void refusing_expect_persistence(struct fixture *fixture, uint8_t persist_state, const char *error);

#endif
