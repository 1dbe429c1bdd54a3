#include "kvctl.h"

#include "help.h"
#include "output.h"

#include <stdio.h>
#include <string.h>

struct verb {
    int (*run)(struct kvctl *ctl);
    bool needs_session;
};

static const struct verb verbs[VERBS_LEN] = {
    [VERB_PUT] = {verb_put, true},           [VERB_GET] = {verb_get, true},
    [VERB_REMOVE] = {verb_remove, true},     [VERB_SCAN] = {verb_scan, true},
    [VERB_IMPORT] = {verb_import, true},     [VERB_EXPORT] = {verb_export, true},
    [VERB_STATUS] = {verb_status, true},     [VERB_DIGEST] = {verb_digest, true},
    [VERB_LEAVE] = {verb_leave, true},       [VERB_HANDOVER] = {verb_handover, true},
    [VERB_TAKEOVER] = {verb_takeover, true}, [VERB_BENCH] = {verb_bench, false},
};

static int kvctl_run_help(const struct options *options)
{
    if (options->version) {
        printf("kvctl %s\n", KV_VERSION);
        return EXIT_DONE;
    }
    const char *topic = options->verb == VERBS_LEN ? "" : options_verb_name(options->verb);
    if (options->verb == VERB_HELP) {
        topic = options->args_len == 0 ? "" : options->args[0];
    }
    if (!help_print(stdout, topic)) {
        output_error("no help on '%s' (see kvctl --help)", topic);
        return EXIT_USAGE;
    }
    return EXIT_DONE;
}

int kvctl_run(int argc, char **argv)
{
    struct kvctl ctl;
    memset(&ctl, 0, sizeof(ctl));
    char error[OPTIONS_ERROR_MAX] = "";
    if (!options_parse(argc, argv, &ctl.options, error)) {
        output_error("%s", error);
        return EXIT_USAGE;
    }
    if (ctl.options.help || ctl.options.version || ctl.options.verb == VERB_HELP) {
        return output_finish(kvctl_run_help(&ctl.options));
    }
    const struct verb *verb = &verbs[ctl.options.verb];
    if (!verb->needs_session) {
        return output_finish(verb->run(&ctl));
    }
    int status = session_open(&ctl.session, &ctl.options);
    if (status != EXIT_DONE) {
        return status;
    }
    status = verb->run(&ctl);
    session_close(&ctl.session);
    return output_finish(status);
}
