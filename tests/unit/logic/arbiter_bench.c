#include "arbiter_bench.h"

#include <kvnode/status.h>
#include <stdlib.h>
#include <string.h>

int bench_setup(void **state)
{
    struct bench *bench = calloc(1, sizeof(*bench));
    fixture_init(&bench->fixture, true, false);
    bench->fixture.config.return_wait_ms = BENCH_RETURN_MS;
    assert_int_equal(arbiter_create(&bench->fixture.context, &bench->arbiter), KV_OK);
    arbiter_start(bench->arbiter);
    *state = bench;
    return 0;
}

int bench_teardown(void **state)
{
    struct bench *bench = *state;
    arbiter_destroy(bench->arbiter);
    fixture_close(&bench->fixture);
    free(bench);
    return 0;
}

void bench_deliver(struct bench *bench, uint64_t link, const struct message *message)
{
    fixture_advance(&bench->fixture, 0);
    assert_true(arbiter_is_for(message->type));
    arbiter_on_message(bench->arbiter, link, message);
}

struct message bench_join_of(const char *name, uint64_t node, uint64_t incarnation)
{
    struct message join = fixture_message(MESSAGE_JOIN, 0, node);
    join.cluster = 0;
    join.body.join.incarnation = incarnation;
    join.body.join.starts = 1;
    join.body.join.ack = ACK_DURABLE;
    join.body.join.name = fixture_text(name);
    join.body.join.uris_len = 1;
    join.body.join.uris[0] = fixture_text("test://somewhere");
    return join;
}

void bench_join(struct bench *bench, const char *name, uint64_t node, uint64_t incarnation)
{
    struct message message = bench_join_of(name, node, incarnation);
    bench_deliver(bench, node, &message);
}

void bench_written(struct bench *bench)
{
    const struct effect *write = fixture_effect(&bench->fixture, EFFECT_REGISTRY_WRITE, 0);
    uint64_t number = write->as.registry_write.number;
    bench->registry_len = write->as.registry_write.len;
    memcpy(bench->registry, write->as.registry_write.bytes, bench->registry_len);
    fixture_advance(&bench->fixture, 0);
    arbiter_on_written(bench->arbiter, number);
}

void bench_joined(struct bench *bench, const char *name, uint64_t node, uint64_t incarnation)
{
    bench_join(bench, name, node, incarnation);
    bench_written(bench);
}

uint32_t bench_writes(const struct bench *bench)
{
    return fixture_effects_len(&bench->fixture, EFFECT_REGISTRY_WRITE);
}

uint32_t bench_sends(const struct bench *bench)
{
    return fixture_effects_len(&bench->fixture, EFFECT_SEND);
}

void bench_report(struct bench *bench, uint8_t type, uint64_t sender, uint64_t view, uint64_t node)
{
    const struct member *member = view_find(&bench->arbiter->view, node);
    struct message message = fixture_message(type, view, sender);
    message.body.member.node = node;
    message.body.member.joined = member == NULL ? 0 : member->joined;
    bench_deliver(bench, sender, &message);
}

void bench_make_three(struct bench *bench)
{
    bench_joined(bench, "n1", 1, 100);
    bench_joined(bench, "n2", 2, 100);
    bench_report(bench, MESSAGE_CAUGHT_UP, 1, 2, 2);
    bench_written(bench);
    bench_joined(bench, "n3", 3, 100);
    assert_int_equal(bench->arbiter->view.number, 4);
}

const struct member *bench_member(const struct bench *bench, uint64_t node)
{
    const struct member *found = view_find(&bench->arbiter->view, node);
    assert_non_null(found);
    return found;
}

void bench_heartbeat(struct bench *bench, uint64_t node, uint64_t view, uint64_t incarnation)
{
    struct message beat = fixture_message(MESSAGE_HEARTBEAT, view, node);
    beat.body.heartbeat.incarnation = incarnation;
    bench_deliver(bench, node, &beat);
}

void bench_beat(struct bench *bench, uint64_t node, uint64_t index, bool asks)
{
    struct message beat = fixture_message(MESSAGE_HEARTBEAT, bench->arbiter->view.number, node);
    beat.body.heartbeat.incarnation = bench_member(bench, node)->incarnation;
    beat.body.heartbeat.last.view = 1;
    beat.body.heartbeat.last.index = index;
    beat.body.heartbeat.asks = asks ? 1 : 0;
    bench_deliver(bench, node, &beat);
}

void bench_return(struct bench *bench, const char *name, uint64_t node, uint64_t index)
{
    struct message join = bench_join_of(name, node, BENCH_NEXT_PROCESS);
    join.cluster = FIXTURE_CLUSTER;
    join.body.join.starts = 2;
    join.body.join.durable.view = index == 0 ? 0 : 1;
    join.body.join.durable.index = index;
    bench_deliver(bench, node, &join);
}

void bench_grow_old(struct bench *bench)
{
    fixture_advance(&bench->fixture, 10 * FIXTURE_REPLICA_MS);
}

void bench_make_two_in_sync(struct bench *bench)
{
    bench_make_three(bench);
    bench_report(bench, MESSAGE_CAUGHT_UP, 1, 4, 3);
    bench_written(bench);
    bench_grow_old(bench);
    for (uint64_t node = 1; node <= 3; node++) {
        bench_beat(bench, node, 10, false);
    }
}
