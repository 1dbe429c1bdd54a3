/*
 * What goes wrong: the faults that the plan enables, at random moments, until the safety phase is
 * over; then all is repaired. The simulator only.
 */
#ifndef SIM_FAULTS_H
#define SIM_FAULTS_H

#include "world.h"

/* The next fault; plans the one after it. */
void faults_on_fault(struct world *world);

/* The fault with that number ends; 0: the network is as it should be. */
void faults_on_heal(struct world *world, const struct wake *wake);

/* May the machine's store be lost for ever? Only where another one of those in sync stays. */
bool faults_may_lose(struct world *world, const struct machine *machine);

/* Some time after the arbiter has moved: whoever does not find it is started again. */
void faults_end_moves(struct world *world);

/* From now on nothing fails any more, and everybody who should run is started. */
void faults_stop(struct world *world);

#endif
