/*
 * Faults at the plugin's system calls, put in by the linker (--wrap): the plugin itself has no
 * seam.
 *
 * Counts the calls that change something or make it durable, and at the n-th kills the process,
 * cuts its power, or fails the call. Thread-safe; test code only.
 */
#ifndef PERSIST_FILE_TESTS_FAULT_H
#define PERSIST_FILE_TESTS_FAULT_H

#include <stdbool.h>
#include <stdint.h>

#define FAULT_KILL  1 /* SIGKILL before the call; of a write, some of it is done */
#define FAULT_POWER 2 /* as KILL, and what was not synced is lost: sectors, names */
#define FAULT_ERROR 3 /* the call fails; of a write, some of it may be done */

/* which calls count, a mask */
#define FAULT_WRITE    0x001u
#define FAULT_SYNC     0x002u
#define FAULT_TRUNCATE 0x004u
#define FAULT_OPEN     0x008u
#define FAULT_RENAME   0x010u
#define FAULT_UNLINK   0x020u
#define FAULT_MKDIR    0x080u
#define FAULT_READ     0x100u
#define FAULT_ALL      0x0bfu /* all that kvnode writes with; reads apart */

struct fault_plan {
    int action;     /* FAULT_; 0: only count */
    uint32_t calls; /* mask */
    uint64_t at;    /* 1: the first call */
    uint64_t last;  /* FAULT_ERROR: up to this one fail; 0: only the one at `at` */
    int error;      /* errno of FAULT_ERROR */
    uint64_t seed;  /* how much of a write is done, which sectors are lost */
};

/* From now on. */
void fault_begin(const struct fault_plan *plan);

/* Back to normal; how many calls were counted. */
uint64_t fault_end(void);

#endif
