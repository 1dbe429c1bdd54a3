#include "kvctl.h"

#include <signal.h>

int main(int argc, char **argv)
{
    /* A reader that went away is a write error like any other. */
    signal(SIGPIPE, SIG_IGN);
    return kvctl_run(argc, argv);
}
