/*
 * The simulated persistence of one machine: a map of keys with the position reached, kept over the
 * death of the process, and the arbiter's registry beside it. It is as bad as a plugin may be:
 * slow, failing, failing after it has stored a batch or a part of one, refusing records for good,
 * hanging for seconds; a crash
 * keeps the batch in flight, nothing of it, or (where the store is not atomic) a part.
 *
 * It shows what it is given to the checkers (check.h). The simulator only.
 */
#ifndef SIM_DISK_H
#define SIM_DISK_H

#include "world.h"

enum disk_outcome {
    DISK_STORED = 1,
    DISK_FAILED,  /* nothing is stored */
    DISK_UNKNOWN, /* stored, and reported as failed */
    DISK_PART,    /* the first records are stored without the position; reported as failed */
    DISK_CHANGED, /* the registry: somebody else has written it; nothing is stored */
};

void disk_close(struct disk *disk);

/* Begins what an EFFECT_PERSIST asks for. */
void disk_persist(struct world *world, struct machine *machine, const struct effect *effect);

/* The job is over: stores what its outcome says; true when it is to be reported as stored, together
 * with the job's refusals. */
bool disk_finish(struct world *world, struct machine *machine);

/* Frees what a job owns. */
void disk_job_close(struct disk_job *job);

/* The process died, perhaps with a batch in flight. */
void disk_crash(struct world *world, struct machine *machine);

/* Begins what an EFFECT_REGISTRY_WRITE asks for. */
void disk_registry_write(struct world *world, struct machine *machine, const struct effect *effect);

/* Says how the write has ended. */
enum disk_outcome disk_registry_finish(struct world *world, struct machine *machine);

/* Somebody else writes the registry: the same view with the next number. False: there is none. */
bool disk_registry_meddle(struct world *world, struct machine *machine);

/* A copy of the data folder, the registry excepted. */
void disk_copy(struct disk *to, const struct disk *from);

/* The content is lost; the rest of the data folder is not. */
void disk_lose(struct disk *disk);

/* The content becomes what its position says. */
void disk_repair(struct world *world, struct machine *machine);

/* Encoded records (record.h) of the content; free with alloc_free(). */
uint8_t *disk_content(struct world *world, const struct machine *machine, size_t *ret_len);

#endif
