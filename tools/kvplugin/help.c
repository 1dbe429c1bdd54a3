/* The manual that kvplugin carries: the whole and for each verb. */
#include "kvplugin.h"

#include <string.h>

static const char help_whole[] =
    "kvplugin: looks at plugins of kvnode, checks them, begins new ones.\n"
    "\n"
    "  kvplugin info PLUGIN [--json]         what the host sees\n"
    "  kvplugin check PLUGIN [NAME=VALUE...] runs the contract, as TAP\n"
    "  kvplugin new NAME [--dir DIR]         a complete project of your own\n"
    "  kvplugin dump PLUGIN [NAME=VALUE...]  the content of a store\n"
    "  kvplugin get PLUGIN KEY [NAME=VALUE...]  one key of a store\n"
    "\n"
    "PLUGIN is a path to an .so, or a name that is looked up as kvnode does: in $KV_PLUGINS, then\n"
    "beside the program, then in the installed plugin folder. NAME=VALUE is a setting.\n"
    "\n"
    "  -h, --help     this text, or what a verb takes (kvplugin VERB --help)\n"
    "      --version  version\n"
    "\n"
    "Exit status: 0 done, 1 a check failed or a store cannot be read, 2 usage, 3 the plugin was\n"
    "refused (the reason is on stderr).\n";

static const struct {
    const char *verb;
    const char *text;
} help_verbs[] = {
    {"info", "kvplugin info PLUGIN [--json]\n"
             "\n"
             "Loads the plugin as kvnode does and shows what it sees: path, kind, name, version,\n"
             "ABI beside the host's, capabilities, options with type, default and help.\n"},
    {"check",
     "kvplugin check PLUGIN [NAME=VALUE...] [--only GROUP] [--list] [--rounds N] [--seed N]\n"
     "               [--timeout S] [--volatile] [--keep] [--listen URI]\n"
     "\n"
     "Runs the contract of <kvnode/persist.h> (or <kvnode/transport.h>) and writes TAP: each "
     "check\n"
     "in a process of its own, so that a crash or a hang of the plugin fails that check alone.\n"
     "\n"
     "Each check needs new, empty stores. In a VALUE, {dir} stands for a fresh temporary folder "
     "of\n"
     "each store and {n} for a number that no other store gets, so that also a store on a server\n"
     "is checked with several instances: collection=check_{n}. An option named path that is not\n"
     "given is {dir}/store.\n"
     "\n"
     "  --only GROUP  only the checks of that group; --list names groups and checks\n"
     "  --rounds N    times kill -9 in the group kill, default 20\n"
     "  --seed N      of the random histories, default 1\n"
     "  --timeout S   seconds after which a check counts as hanging, default 60; four times that\n"
     "                and two a round for those that are long\n"
     "  --volatile    the store keeps nothing beyond its instance (memory, a pipe): what needs it\n"
     "                is skipped\n"
     "  --keep        leaves the temporary folder and says where it is\n"
     "  --listen URI  where a transport listens, default SCHEME://127.0.0.1:0 by its name\n"},
    {"new",
     "kvplugin new NAME [--dir DIR]\n"
     "\n"
     "Makes the folder DIR/NAME (DIR: the current one) with a complete persistence plugin:\n"
     "source with numbered steps, CMakeLists.txt, README.md, a test that runs kvplugin check.\n"
     "It builds and passes as it is. NAME: a-z, 0-9, '-', a letter first, at most 63 bytes.\n"},
    {"dump", "kvplugin dump PLUGIN [NAME=VALUE...] [--tsv | --json]\n"
             "\n"
             "Opens the store and writes its pairs as kvctl export does: JSON lines, or tsv with\n"
             "--tsv. The store must not be in use; opening may recover it. The plugin needs LOAD.\n"
             "The position goes to stderr.\n"},
    {"get",
     "kvplugin get PLUGIN KEY [NAME=VALUE...]\n"
     "\n"
     "Writes the value of one key and a newline. The plugin needs GET, or LOAD. Exit status\n"
     "1: there is no such key.\n"},
};

void help_print(FILE *out, const char *verb)
{
    for (size_t i = 0; verb != NULL && i < sizeof(help_verbs) / sizeof(help_verbs[0]); i++) {
        if (strcmp(verb, help_verbs[i].verb) == 0) {
            fputs(help_verbs[i].text, out);
            return;
        }
    }
    fputs(help_whole, out);
}
