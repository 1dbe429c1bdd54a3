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

/* From now on nothing fails any more, and everybody who should run is started. */
void faults_stop(struct world *world);

#endif
