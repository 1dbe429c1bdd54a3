/* kvnode: reads the command line and the configuration, then runs the node. */
#include "host/config.h"
#include "host/isolate.h"
#include "host/log.h"
#include "host/plugins.h"
#include "host/runtime.h"
#include "logic/message.h"

#include <fcntl.h>
#include <getopt.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/resource.h>
#include <unistd.h>

#define MAIN_SETS_MAX 256u

static const char main_usage[] = "usage: kvnode -c FILE [--set PATH=VALUE]... [--check]\n"
                                 "       kvnode --version | --help\n";

static const char main_help[] =
    "\n"
    "Runs one node of a kvnode cluster in the foreground.\n"
    "\n"
    "  -c, --config FILE      the configuration; etc/kv.cfg shows every setting\n"
    "  -s, --set PATH=VALUE   overrides one setting, for example node.name=n2; repeatable\n"
    "      --check            reads the configuration, loads the plugins, checks their\n"
    "                         settings, starts nothing\n"
    "  -V, --version          prints the versions of program, plugin ABI and protocol\n"
    "  -h, --help             prints this\n"
    "\n"
    "When the node serves, one line goes to stdout:\n"
    "  ready name=NAME role=ROLE listen=URI[,URI...]\n"
    "The log goes to stderr, one line of key=value for each event.\n"
    "\n"
    "SIGTERM, SIGINT and SIGHUP: the first makes the node leave the cluster (a primary hands\n"
    "over first, if there is a secondary in sync) and end with status 0; a second one stops it\n"
    "without leaving, with its store closed, also with status 0; a third one ends the process at "
    "once.\n"
    "\n"
    "Exit status: 0 done, 2 usage or configuration, 3 a plugin is missing or refused,\n"
    "4 could not bind or join, 5 storage failed.\n";

struct main_options {
    const char *file;
    const char *sets[MAIN_SETS_MAX];
    uint32_t sets_len;
    bool check_only;
    bool show_version;
    bool show_help;
};

/* False, with a line on stderr: the command line is wrong. */
static bool main_parse(int argc, char **argv, struct main_options *ret_options)
{
    enum { OPTION_CHECK = 256 };
    static const struct option known[] = {
        {"config", required_argument, NULL, 'c'},   {"set", required_argument, NULL, 's'},
        {"check", no_argument, NULL, OPTION_CHECK}, {"version", no_argument, NULL, 'V'},
        {"help", no_argument, NULL, 'h'},           {NULL, 0, NULL, 0},
    };
    int option;
    while ((option = getopt_long(argc, argv, "c:s:Vh", known, NULL)) != -1) {
        switch (option) {
        case 'c':
            ret_options->file = optarg;
            break;
        case 's':
            if (ret_options->sets_len == MAIN_SETS_MAX) {
                fprintf(stderr, "kvnode: more than %u --set\n", MAIN_SETS_MAX);
                return false;
            }
            ret_options->sets[ret_options->sets_len++] = optarg;
            break;
        case OPTION_CHECK:
            ret_options->check_only = true;
            break;
        case 'V':
            ret_options->show_version = true;
            break;
        case 'h':
            ret_options->show_help = true;
            break;
        default:
            return false; /* getopt_long() said what is wrong */
        }
    }
    if (optind < argc) {
        fprintf(stderr, "kvnode: unexpected argument \"%s\"\n", argv[optind]);
        return false;
    }
    if (ret_options->file == NULL && !ret_options->show_help && !ret_options->show_version) {
        fprintf(stderr, "kvnode: -c FILE is missing\n");
        return false;
    }
    return true;
}

/* Whoever started us without descriptors 0 to 2 would else have what is written to them end up in a
 * file or a connection that is opened later. */
static void main_fill_standard_descriptors(void)
{
    int fd;
    do {
        fd = open("/dev/null", O_RDWR);
    } while (fd >= 0 && fd <= STDERR_FILENO);
    if (fd >= 0) {
        close(fd);
    }
}

/* Each link takes a descriptor: as many as the system lets this process have. */
static void main_raise_descriptor_limit(void)
{
    struct rlimit limit;
    if (getrlimit(RLIMIT_NOFILE, &limit) == 0 && limit.rlim_cur < limit.rlim_max) {
        limit.rlim_cur = limit.rlim_max;
        setrlimit(RLIMIT_NOFILE, &limit);
    }
}

static int main_run(const struct main_options *options)
{
    struct config *config = NULL;
    struct plugins plugins = {0};
    char config_error[CONFIG_ERROR_MAX];
    char plugins_error[PLUGINS_ERROR_MAX];
    if (config_load(options->file, options->sets, options->sets_len, &config, config_error) !=
        KV_OK) {
        fprintf(stderr, "%s\n", config_error);
        return RUNTIME_EXIT_CONFIG;
    }
    int exit_status = RUNTIME_EXIT_DONE;
    log_init(log_level_from_name(config->log_level), config->node.name, STDERR_FILENO);
    int32_t status = plugins_load(config, &plugins, plugins_error);
    if (status == KV_OK && options->check_only) {
        status = plugins_check(config, &plugins, plugins_error);
    }
    if (status != KV_OK) {
        fprintf(stderr, "%s\n", plugins_error);
        exit_status = status == KV_E_INVALID ? RUNTIME_EXIT_CONFIG : RUNTIME_EXIT_PLUGIN;
    } else if (options->check_only) {
        printf("%s: ok\n", options->file);
    } else {
        exit_status = runtime_run(config, &plugins);
    }
    plugins_close(&plugins);
    config_release(config);
    return exit_status;
}

int main(int argc, char **argv)
{
    struct main_options options = {0};
    main_fill_standard_descriptors();
    if (argc > 1 && strcmp(argv[1], ISOLATE_CHILD_ARGUMENT) == 0) {
        return isolate_child_main();
    }
    if (!main_parse(argc, argv, &options)) {
        fputs(main_usage, stderr);
        return RUNTIME_EXIT_CONFIG;
    }
    if (options.show_help) {
        fputs(main_usage, stdout);
        fputs(main_help, stdout);
        return RUNTIME_EXIT_DONE;
    }
    if (options.show_version) {
        printf("kvnode %s, plugin ABI %d.%d, protocol %u\n", KV_VERSION, KV_ABI_MAJOR, KV_ABI_MINOR,
               MESSAGE_VERSION);
        return RUNTIME_EXIT_DONE;
    }
    signal(SIGPIPE, SIG_IGN);
    main_raise_descriptor_limit();
    return main_run(&options);
}
