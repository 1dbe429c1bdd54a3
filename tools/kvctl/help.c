#include "help.h"

#include <string.h>

static const char help_whole[] =
    "kvctl: reads, writes and watches a kvnode cluster.\n"
    "\n"
    "  kvctl [-a ARBITER_URI] [--json] [--timeout MS] VERB ...\n"
    "\n"
    "  put KEY VALUE        stores a value (VALUE -: from stdin)\n"
    "  get KEY              writes the value and a newline\n"
    "  remove KEY           removes a key\n"
    "  scan                 writes pairs\n"
    "  import FILE|-        inserts all pairs of a file\n"
    "  export [FILE|-]      writes all pairs to a file\n"
    "  status               shows the nodes of the cluster\n"
    "  digest               shows whether the nodes hold the same data\n"
    "  leave NAME           takes a node out of the cluster\n"
    "  handover NAME        makes another node the primary; nothing is lost\n"
    "  takeover NAME        the same by force, when the primary is gone for good\n"
    "  bench                measures throughput and latency\n"
    "  help [VERB]          this text, or what a verb takes (also: kvctl VERB --help)\n"
    "\n"
    "Options, before or after the verb:\n"
    "  -a, --arbiter URI    whom to ask first, the arbiter or any member; default: the\n"
    "                       environment's KV_ARBITER, then tcp://127.0.0.1:7400\n"
    "      --json           one JSON object a line on stdout; bytes that are not UTF-8 stand in\n"
    "                       members key_base64, value_base64\n"
    "      --timeout MS     how long a request may take, failover included, default 2000; for\n"
    "                       leave, handover and takeover 12000\n"
    "      --plugins DIR    folder of the transport plugins, default: the installed one\n"
    "  -h, --help           help\n"
    "      --version        version\n"
    "      --               what follows are arguments, also those that start with '-'\n"
    "\n"
    "Exit status: 0 done, 1 key not found, 2 usage, 3 failed (not confirmed in time, or\n"
    "refused by a store and undone), 4 rejected "
    "(certainly not executed), 5 nobody reachable.\n";

struct help_topic {
    const char *name;
    const char *text;
};

static const struct help_topic help_topics[] = {
    {"put",
     "kvctl put KEY VALUE\n"
     "\n"
     "Stores VALUE under KEY. Done means: it is in the store of the primary and of every\n"
     "in-sync secondary. VALUE - takes the value from stdin, all bytes up to its end (so the\n"
     "value \"-\" itself is stored by: printf - | kvctl put KEY -).\n"},
    {"get",
     "kvctl get KEY [--node NAME] [--at-least INDEX]\n"
     "\n"
     "Writes the value's bytes and a newline. --node NAME reads from that node instead of\n"
     "the primary. --at-least INDEX: from a state that holds the update of that index, which\n"
     "put --json told; the node waits for it, at most for --timeout. Exit status 1: there is\n"
     "no such key; 4: there is no such node.\n"},
    {"remove",
     "kvctl remove KEY\n"
     "\n"
     "Removes KEY. Removing a key that is not there is done as well, unless the node says\n"
     "otherwise (exit status 1).\n"},
    {"scan", "kvctl scan [--prefix P] [--limit N] [--node NAME] [--at-least INDEX] [--retries N]\n"
             "\n"
             "Writes KEY, a tab, VALUE and a newline for each pair whose key starts with P, in no\n"
             "useful order, at most N of them. Bytes that do not print are escaped as in the tsv\n"
             "format (kvctl help import). --json: one jsonl object a line.\n"},
    {"import",
     "kvctl import FILE|- [--format tsv|jsonl] [--window N] [--retries N] [--skip-bad]\n"
     "             [--progress]\n"
     "\n"
     "Inserts all pairs of FILE, or of stdin (-). Without --format a name that ends in .jsonl is\n"
     "jsonl, anything else tsv.\n"
     "  tsv    KEY, a tab, VALUE on a line; \\t \\n \\r \\\\ for these four characters, \\xNN for\n"
     "         any other byte that does not print\n"
     "  jsonl  {\"key\":\"...\",\"value\":\"...\"}; bytes that are not UTF-8 as key_base64,\n"
     "         value_base64\n"
     "When a key occurs more than once the last line wins.\n"
     "\n"
     "  --window N    pairs in flight at a time, default 1024\n"
     "  --retries N   how often an insert that was not confirmed is made again, 100 ms apart,\n"
     "                default 20\n"
     "  --skip-bad    reports lines that are no pair and goes on; without it the first one ends\n"
     "                the import (what was sent before is still confirmed) with exit status 2\n"
     "  --progress    shows the progress also when stderr is no terminal, every 5 s\n"
     "\n"
     "The first Ctrl-C stops sending, waits for the answers and says how far it came (exit status\n"
     "3). An import may simply be run again: it inserts the same pairs.\n"},
    {"export",
     "kvctl export [FILE|-] [--format tsv|jsonl] [--node NAME] [--at-least INDEX] [--retries N]\n"
     "             [--progress]\n"
     "\n"
     "Writes all pairs of one node, of whoever is the primary if none is named, to FILE or "
     "stdout,\n"
     "in the formats of import. FILE appears when it is complete. A pair that is updated meanwhile "
     "is written as "
     "it\n"
     "was before or after. With --json the summary is a JSON object, on stdout, or on stderr when\n"
     "the pairs go to stdout.\n"},
    {"status",
     "kvctl status [--json]\n"
     "\n"
     "The arbiter's view and what each node says of itself. A node that does not answer within\n"
     "500 ms (or --timeout, if shorter) is shown as down; in JSON its numbers are null then.\n"
     "State waits: the process is up and waits to be let in by the arbiter (in JSON: up).\n"
     "lag: how many committed updates the node is behind the primary. While the primary is not\n"
     "there it says who is missing of the in-sync set (JSON: waiting_for). told_by: the member "
     "that\n"
     "told the view, if not the arbiter. \"view N was forced\" (JSON: forced): the last takeover "
     "by\n"
     "force made view N; updates acknowledged before it may be missing. That stays true, so the "
     "line\n"
     "stays, and tells nothing of the present state.\n"},
    {"digest",
     "kvctl digest [--node NAME]\n"
     "\n"
     "Writes NAME, DIGEST and the committed index it belongs to, a line for each node that is up.\n"
     "The digest covers all pairs, whatever their order and the store. Without --node it waits up "
     "to\n"
     "--timeout until all nodes of the view name the same digest at the same index; exit status "
     "3:\n"
     "they did not. Nodes that are still down then are named on stderr and not compared.\n"},
    {"leave",
     "kvctl leave NAME\n"
     "\n"
     "Takes a node out of the cluster; done when it is out of the view. A primary hands\n"
     "over first, if there is another in-sync node. Exit status 4: refused, or no node of\n"
     "that name.\n"},
    {"handover",
     "kvctl handover NAME\n"
     "\n"
     "Makes NAME, an in-sync secondary, the primary, and waits until it is. The old primary stays\n"
     "in sync, no update is lost, clients follow by themselves. Exit status 3: not in time; 4:\n"
     "rejected, with the reason.\n"},
    {"takeover",
     "kvctl takeover NAME [--force]\n"
     "\n"
     "For when the primary is gone and the arbiter waits for nodes that will not come back. "
     "Without\n"
     "--force it shows the last in-sync set, who is missing and how far NAME is, does nothing, "
     "and\n"
     "ends with exit status 4. --force makes NAME, a member or a node that waits to be let in, "
     "the\n"
     "primary and the only member: acknowledged updates that it lacks are LOST. It is rejected\n"
     "(exit status 4) while the primary is there.\n"},
    {"bench",
     "kvctl bench [--connections N] [--depth D] [--seconds S | --count N] [--read PERCENT]\n"
     "            [--keys K] [--key-bytes B] [--value-bytes B] [--node NAME] [--seed S]\n"
     "\n"
     "Measures throughput and latency: N clients (50), each with D requests outstanding (1), for\n"
     "S seconds (10) or N requests, PERCENT of them reads (50), on K random keys (100000) of B "
     "bytes\n"
     "(16) with values of B bytes (100). --node NAME: reads go to that node. It writes keys that\n"
     "start with \"bench\". The random numbers follow from --seed (1). It goes on through a "
     "failover:\n"
     "what failed is counted. Exit status 3: not all requests were done.\n"},
    {"help", "kvctl help [VERB]\n"},
};

bool help_print(FILE *file, const char *topic)
{
    if (topic[0] == '\0') {
        fputs(help_whole, file);
        return true;
    }
    for (size_t i = 0; i < sizeof(help_topics) / sizeof(help_topics[0]); i++) {
        if (strcmp(topic, help_topics[i].name) == 0) {
            fputs(help_topics[i].text, file);
            return true;
        }
    }
    return false;
}
