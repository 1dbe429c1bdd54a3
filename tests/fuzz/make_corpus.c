/*
 * Writes the samples into a corpus folder: make_corpus FOLDER. To be run, and its result committed,
 * when the wire format changes; test_fuzz_corpus fails until then.
 */
#include "base/alloc.h"
#include "samples.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>

static int write_sample(const char *root, const struct sample *sample)
{
    char path[4096];
    snprintf(path, sizeof(path), "%s/%s", root, sample->folder);
    if (mkdir(path, 0777) != 0 && errno != EEXIST) {
        fprintf(stderr, "%s: %s\n", path, strerror(errno));
        return 1;
    }
    snprintf(path, sizeof(path), "%s/%s/%s", root, sample->folder, sample->name);
    FILE *file = fopen(path, "wb");
    if (file == NULL) {
        fprintf(stderr, "%s: %s\n", path, strerror(errno));
        return 1;
    }
    size_t written = fwrite(sample->bytes, 1, sample->len, file);
    if (fclose(file) != 0 || written != sample->len) {
        fprintf(stderr, "%s: %s\n", path, strerror(errno));
        return 1;
    }
    return 0;
}

int main(int argc, char **argv)
{
    if (argc != 2) {
        fprintf(stderr, "usage: make_corpus FOLDER\n");
        return 2;
    }
    int failed = 0;
    for (size_t i = 0; i < samples_len() && failed == 0; i++) {
        struct sample sample = sample_make(i);
        failed = write_sample(argv[1], &sample);
        alloc_free(sample.bytes);
    }
    return failed;
}
