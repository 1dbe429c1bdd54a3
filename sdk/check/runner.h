/*
 * The kit from outside: runs each check in a process of its own and writes TAP to stdout. Called by
 * main() of kvplugin only.
 */
#ifndef KVNODE_CHECK_RUNNER_H
#define KVNODE_CHECK_RUNNER_H

#include "kit.h"

#include <stdio.h>

/* Runs the checks that fit the plugin's kind. 0: all passed or were skipped; 1: one failed;
 * 2: request->only names no group, or there is no temporary folder (told on stderr). */
int runner_run(const struct kit_request *request, const struct loaded_plugin *plugin);

/* The process of one check or writer, see kit_request.as_case and as_writer. Exit status. */
int runner_child(const struct kit_request *request, const struct loaded_plugin *plugin);

/* Group and name of each check, one a line. */
void runner_list(FILE *out, uint32_t kind);

#endif
