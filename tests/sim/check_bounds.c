#include "check.h"

#include <inttypes.h>

/* One record more than the limit says is fine where a limit is looked at before the record comes.
 */
static uint64_t record_max(const struct world *world)
{
    return 40u + world->plan.limits.key_bytes + world->plan.limits.value_bytes;
}

static void bound(struct world *world, const struct machine *machine, const char *what,
                  uint64_t value, uint64_t limit)
{
    if (value > limit) {
        world_fail(world, "G8 bounded", "%s: %s is %" PRIu64 ", the limit %" PRIu64, machine->name,
                   what, value, limit);
    }
}

void check_bounds_after_step(struct world *world, struct machine *machine)
{
    const struct node_state *state = &machine->state;
    const struct node_limits *limits = &world->plan.limits;
    bound(world, machine, "updates waiting", state->operations_waiting, limits->inflight_ops);
    /* For a role, for a position, for a lease. */
    bound(world, machine, "requests waiting", state->requests_waiting, 3 * WAITING_REQUESTS_MAX);
    /* Records that undo others come on top: each holds a value that was there before. */
    bool undoes = (world->plan.faults & (1u << FAULT_DISK_REFUSE)) != 0;
    /* A secondary with room takes one Snapshot more; what the primary may have uncommitted bounds
     * that too. */
    uint64_t snapshot =
        limits->inflight_bytes < SNAPSHOT_BYTES_MAX ? limits->inflight_bytes : SNAPSHOT_BYTES_MAX;
    bound(world, machine, "bytes of the log", state->log_bytes,
          (state->role == ROLE_PRIMARY ? 0 : snapshot) + limits->log_bytes +
              (limits->inflight_bytes + record_max(world)) * (undoes ? 2 : 1) +
              (undoes ? 64 * record_max(world) : 0));
    bound(world, machine, "bytes of a window", state->window_bytes_max_seen,
          WINDOW_BYTES_MAX + SNAPSHOT_BYTES_MAX + record_max(world));
    bound(world, machine, "replicators", state->replicators, MEMBERS_MAX);
    bound(world, machine, "effects of a step", machine->effects.len,
          (uint64_t)limits->inflight_ops + WAITING_REQUESTS_MAX +
              MEMBERS_MAX * WINDOW_MESSAGES_MAX);
}

void check_bounds_on_batch(struct world *world, struct machine *machine)
{
    const struct disk_job *job = &machine->disk.job;
    bound(world, machine, "records of a batch", job->records_len, PERSIST_RECORDS_MAX);
    bound(world, machine, "bytes of a batch", job->len, PERSIST_BYTES_MAX + record_max(world));
}

void check_bounds_on_send(struct world *world, struct machine *machine,
                          const struct message *message, size_t len)
{
    bound(world, machine, "bytes of a message", len, node_message_max(&world->plan.limits));
    if (message->type == MESSAGE_SNAPSHOT && message->body.snapshot.count > 1) {
        bound(world, machine, "bytes of a Snapshot", message->body.snapshot.records.len,
              SNAPSHOT_BYTES_MAX);
    }
}
