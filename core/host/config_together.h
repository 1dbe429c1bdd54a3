/*
 * What is fine in each setting of a configuration and not in all of them together. Part of
 * config.c, which calls it when every setting was read without a mistake. Main thread.
 */
#ifndef HOST_CONFIG_TOGETHER_H
#define HOST_CONFIG_TOGETHER_H

#include "host/config.h"
#include "host/config_file.h"

/* Adds the mistakes to file; fills in defaults that depend on other settings. */
void config_check_together(struct config_file *file, struct config *config);

/* Whether a transport that was read so far listens at this very text. */
bool config_listens_at(const struct config *config, const char *uri);

#endif
