/*
 * A set of pairs as kvctl's tsv lines: what a test put in, or what a node exported. Lines are
 * compared as text, in which both directions write a pair alike.
 */
#ifndef CLUSTER_CONTENT_H
#define CLUSTER_CONTENT_H

#include "rig.h"

struct content {
    char *text;
    char **lines; /* sorted; "KEY\tVALUE" */
    uint32_t len;
};

/* Takes the lines of a file. */
void content_read(const char *path, struct content *ret_content);

/* Exports a node's content and takes it. The export has to succeed. */
void content_export(struct rig *rig, const char *node, struct content *ret_content);

void content_close(struct content *content);

/* The value of a key, NUL-terminated; NULL: it is not there. Borrowed. */
const char *content_value(const struct content *content, const char *key);

/* Fails the test when both are not the same, naming the first pair that differs. */
void content_expect_equal(const struct content *expected, const struct content *content,
                          const char *what);

/* Writes a tsv file of pairs made up from a seed: keys "PREFIX0000001", values of 0 to value_max
 * bytes. */
void content_make_file(const char *path, const char *prefix, uint32_t pairs, uint32_t value_max,
                       uint64_t seed);

#endif
