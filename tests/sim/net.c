#include "net.h"

#include "base/alloc.h"
#include "base/check.h"

#include <string.h>

#define CONNECT_MIN_US 100u
#define CONNECT_MAX_US 3000u
#define RETRY_MIN_US   20000u
#define RETRY_MAX_US   100000u
#define LATE_MAX_US    3000000u

/* How a connection's end is noticed, with late_downs; else at once. */
#define NOTICED_LATE_PERCENT  50u
#define NOTICED_NEVER_PERCENT 25u
#define NOTICED_LATE_MAX_US   4000000u

#define SECOND_SCHEME         "second://"

static struct machine *net_machine(struct world *world, uint32_t end)
{
    return end < MACHINES_MAX ? &world->machines[end] : NULL;
}

/* Is the process at that end still the one that the connection was made with? A client always is.
 */
static bool net_alive(struct world *world, uint32_t end, uint64_t epoch)
{
    const struct machine *machine = net_machine(world, end);
    return machine == NULL || (machine->node != NULL && machine->epoch == epoch);
}

static void net_news(struct world *world, uint32_t end, uint64_t epoch, uint64_t link, bool up,
                     uint64_t at_us)
{
    if (end >= MACHINES_MAX || link == 0 || !net_alive(world, end, epoch)) {
        return;
    }
    struct link_news *news = alloc_zeroed(1, sizeof(*news));
    news->link = link;
    news->up = up;
    heap_push(&world->heap, at_us, WAKE_LINK, end, epoch, news);
}

static void net_retry_after(struct world *world, uint32_t place, uint64_t at_us, uint64_t low_us,
                            uint64_t high_us)
{
    heap_push(&world->heap, at_us + world_draw(world, low_us, high_us), WAKE_CONNECT, place,
              world->conns[place].serial, NULL);
}

static void net_retry(struct world *world, uint32_t place, uint64_t low_us, uint64_t high_us)
{
    net_retry_after(world, place, world->now_us, low_us, high_us);
}

static bool net_is_second(const char *uri)
{
    return strncmp(uri, SECOND_SCHEME, strlen(SECOND_SCHEME)) == 0;
}

/* The first one that the opener has a transport for; NULL: none. Clients have one for each. */
static const char *net_served(struct world *world, uint32_t opener, const char *const *uris,
                              uint32_t uris_len)
{
    const struct machine *machine = net_machine(world, opener);
    bool has_second = machine == NULL || machine->second_uri[0] != '\0';
    uint32_t i = 0;
    while (i < uris_len && net_is_second(uris[i]) && !has_second) {
        i++;
    }
    return i < uris_len ? uris[i] : NULL;
}

uint32_t net_open(struct world *world, uint32_t opener, uint64_t opener_epoch, uint64_t link,
                  const char *const *uris, uint32_t uris_len)
{
    const char *uri = net_served(world, opener, uris, uris_len);
    uri = uri == NULL ? "" : uri;
    uint32_t place = 0;
    while (place < world->conns_len && world->conns[place].in_use) {
        place++;
    }
    if (place == world->conns_capacity) {
        world->conns_capacity = world->conns_capacity * 2 + 64;
        world->conns = alloc_resize(world->conns, world->conns_capacity * sizeof(*world->conns));
    }
    struct conn *conn = &world->conns[place];
    uint32_t serial = 0;
    if (place == world->conns_len) {
        world->conns_len++;
    } else {
        serial = conn->serial;
    }
    memset(conn, 0, sizeof(*conn));
    conn->in_use = true;
    conn->serial = serial + 1;
    conn->opener = opener;
    conn->opener_epoch = opener_epoch;
    conn->opener_link = link;
    conn->second = net_is_second(uri);
    conn->acceptor = MACHINES_MAX;
    for (uint32_t i = 0; i < world->machines_len; i++) {
        if (strcmp(world->machines[i].uri, uri) == 0 ||
            strcmp(world->machines[i].second_uri, uri) == 0) {
            conn->acceptor = i;
        }
    }
    net_retry(world, place, CONNECT_MIN_US, CONNECT_MAX_US);
    return place;
}

struct conn *net_find(struct world *world, uint32_t machine, uint64_t link)
{
    for (uint32_t i = 0; i < world->conns_len; i++) {
        struct conn *conn = &world->conns[i];
        bool opened = (link & LINK_OPENED_BIT) != 0;
        if (conn->in_use && opened && conn->opener == machine && conn->opener_link == link) {
            return conn;
        }
        if (conn->in_use && !opened && conn->acceptor == machine && conn->acceptor_link == link &&
            conn->up) {
            return conn;
        }
    }
    return NULL;
}

static void net_post(struct world *world, struct conn *conn, struct packet *packet)
{
    uint64_t delay_us = world_draw(world, world->plan.delay_min_us, world->delay_max_us);
    if (rand_percent(&world->rand, world->late_percent)) {
        delay_us += world_draw(world, 0, LATE_MAX_US);
    }
    uint64_t at_us = world->now_us + delay_us;
    if (!world->datagrams) {
        uint64_t *last_us = &conn->last_us[packet->to_opener];
        at_us = at_us > *last_us ? at_us : *last_us;
        *last_us = at_us;
    }
    heap_push(&world->heap, at_us, WAKE_PACKET, 0, 0, packet);
}

void net_send(struct world *world, struct conn *conn, bool to_opener, uint32_t op,
              const struct kv_slice *slices, uint32_t slices_len)
{
    uint32_t from = to_opener ? conn->acceptor : conn->opener;
    uint32_t to = to_opener ? conn->opener : conn->acceptor;
    if (!conn->up || world->blocked[from][to] || rand_percent(&world->rand, world->loss_percent)) {
        return;
    }
    size_t len = 0;
    for (uint32_t i = 0; i < slices_len; i++) {
        len += slices[i].len;
    }
    uint32_t copies = 1 + rand_percent(&world->rand, world->double_percent);
    while (copies-- > 0) {
        struct packet *packet = alloc_bytes(sizeof(*packet) + len);
        packet->conn = (uint32_t)(conn - world->conns);
        packet->serial = conn->serial;
        packet->generation = conn->generation;
        packet->to_opener = to_opener;
        packet->op = op;
        packet->len = 0;
        for (uint32_t i = 0; i < slices_len; i++) {
            if (slices[i].len > 0) {
                memcpy(packet->bytes + packet->len, slices[i].bytes, slices[i].len);
            }
            packet->len += slices[i].len;
        }
        net_post(world, conn, packet);
    }
}

/* When one end notices that the other one is gone. */
static uint64_t net_noticed_us(struct world *world)
{
    uint64_t at_us = world->now_us + world_draw(world, 10, RETRY_MIN_US / 2);
    uint64_t faults_end_us = world->plan.safety_ms * 1000ull;
    if (!world->plan.late_downs || at_us >= faults_end_us) {
        return at_us;
    }
    uint64_t how = rand_below(&world->rand, 100);
    if (how < NOTICED_NEVER_PERCENT) {
        return faults_end_us;
    }
    at_us += how < NOTICED_NEVER_PERCENT + NOTICED_LATE_PERCENT
                 ? world_draw(world, 0, NOTICED_LATE_MAX_US)
                 : 0;
    return at_us < faults_end_us ? at_us : faults_end_us;
}

/* The connection is down: both ends hear of it, unless one of them does it itself. Returns when the
 * opener notices. */
static uint64_t net_down(struct world *world, struct conn *conn, bool tell_opener,
                         bool tell_acceptor)
{
    uint64_t opener_us = world->now_us;
    if (!conn->up) {
        return opener_us;
    }
    conn->up = false;
    conn->generation++;
    if (tell_opener) {
        opener_us = net_noticed_us(world);
        net_news(world, conn->opener, conn->opener_epoch, conn->opener_link, false, opener_us);
    }
    if (tell_acceptor) {
        net_news(world, conn->acceptor, conn->acceptor_epoch, conn->acceptor_link, false,
                 net_noticed_us(world));
    }
    return opener_us;
}

void net_close(struct world *world, struct conn *conn, bool by_opener)
{
    uint64_t noticed_us = net_down(world, conn, !by_opener, by_opener);
    if (by_opener) {
        conn->in_use = false;
    } else {
        net_retry_after(world, (uint32_t)(conn - world->conns), noticed_us, RETRY_MIN_US,
                        RETRY_MAX_US);
    }
}

void net_break(struct world *world, struct conn *conn)
{
    if (conn->up) {
        uint64_t noticed_us = net_down(world, conn, true, true);
        net_retry_after(world, (uint32_t)(conn - world->conns), noticed_us, RETRY_MIN_US,
                        RETRY_MAX_US);
    }
}

void net_crash(struct world *world, uint32_t machine)
{
    for (uint32_t i = 0; i < world->conns_len; i++) {
        struct conn *conn = &world->conns[i];
        if (!conn->in_use) {
            continue;
        }
        if (conn->opener == machine) {
            net_down(world, conn, false, true);
            conn->in_use = false;
        } else if (conn->acceptor == machine) {
            net_break(world, conn);
        }
    }
}

void net_move(struct world *world, uint32_t machine)
{
    for (uint32_t i = 0; i < world->conns_len; i++) {
        struct conn *conn = &world->conns[i];
        if (conn->in_use && conn->acceptor == machine) {
            net_break(world, conn);
            conn->acceptor = MACHINES_MAX;
            conn->in_use = conn->opener < MACHINES_MAX;
        }
    }
}

void net_on_connect(struct world *world, uint32_t place, uint64_t serial)
{
    struct conn *conn = &world->conns[place];
    if (!conn->in_use || conn->serial != serial || conn->up ||
        !net_alive(world, conn->opener, conn->opener_epoch)) {
        return;
    }
    struct machine *target = net_machine(world, conn->acceptor);
    bool firewalled = !conn->second && world->firewalled[conn->opener][conn->acceptor];
    if (target == NULL || target->node == NULL || firewalled ||
        world->blocked[conn->opener][conn->acceptor] ||
        world->blocked[conn->acceptor][conn->opener]) {
        net_retry(world, place, RETRY_MIN_US, RETRY_MAX_US);
        return;
    }
    conn->up = true;
    conn->acceptor_epoch = target->epoch;
    conn->acceptor_link = target->next_accepted++;
    net_news(world, conn->opener, conn->opener_epoch, conn->opener_link, true, world->now_us);
}

bool net_arrives(struct world *world, const struct packet *packet, uint32_t *ret_end,
                 uint64_t *ret_link)
{
    const struct conn *conn = &world->conns[packet->conn];
    if (!conn->in_use || conn->serial != packet->serial || !conn->up ||
        (conn->generation != packet->generation && !world->datagrams)) {
        return false;
    }
    *ret_end = packet->to_opener ? conn->opener : conn->acceptor;
    *ret_link = packet->to_opener ? conn->opener_link : conn->acceptor_link;
    return net_alive(world, *ret_end,
                     packet->to_opener ? conn->opener_epoch : conn->acceptor_epoch);
}
