/*
 * The manual that kvctl carries: --help for the whole and for each verb.
 */
#ifndef KVCTL_HELP_H
#define KVCTL_HELP_H

#include <stdbool.h>
#include <stdio.h>

/* topic: a verb, or "" for the whole. False: there is no such topic. */
bool help_print(FILE *file, const char *topic);

#endif
