/*
 * A cluster of scripted servers for the tests of the client library: an arbiter and nodes, each
 * with a transport of its own, in the test's loop. They answer as a healthy cluster would unless
 * the test's hook takes a message over. Also the test's own half: outcomes and waiting.
 */
#ifndef TESTS_FAKE_H
#define TESTS_FAKE_H

#include "logic/message.h"
#include "logic/view.h"

#include "base/rand.h"
#include "host/guard_transport.h"

#include <kvnode/client.h>
#include <uv.h>

#define FAKE_NODES_MAX 5u
#define FAKE_LINKS_MAX 16u
#define FAKE_ARBITER   0u

struct fake;

struct fake_node {
    struct fake *fake;
    uint32_t index; /* 0: the arbiter */
    char name[32];
    char uri[KV_URI_MAX];
    struct services *services;
    struct guard_transport *guard; /* NULL: not running */
    bool is_stopped;
    struct guard_link *links[FAKE_LINKS_MAX];
    uint32_t links_len;
    uint64_t received; /* messages */
    uint64_t updates;  /* Insert and Remove among them */
    uint64_t locates;
    uint64_t last_request; /* id of the last request received */
    uint32_t last_deadline_ms;
    uint64_t last_min_index; /* of the last Get or Scan */
    uint8_t last_at_primary;
    uint8_t last_force; /* of the last Promote */
    bool is_deaf;       /* takes everything, answers nothing: a stopped process */
};

/* True: the test has dealt with the message. */
typedef bool (*fake_hook_fn)(void *ctx, struct fake_node *node, struct guard_link *link,
                             const struct message *message);

struct fake_late {
    struct fake_node *node;
    struct guard_link *link;
    uint64_t due_ms;
    uint8_t *bytes;
    size_t len;
};

struct fake {
    uv_loop_t loop;
    uv_timer_t timer; /* every millisecond: late answers, and lets waiting look at the clock */
    struct loaded_plugin *plugin;
    struct kv_setting *settings;
    struct fake_node nodes[1u + FAKE_NODES_MAX];
    uint32_t nodes_len; /* the arbiter included */
    struct view view;
    fake_hook_fn hook;
    void *hook_ctx;
    uint64_t index; /* of the last update acknowledged */
    struct fake_late *lates;
    uint32_t lates_len;
    uint32_t lates_capacity;
    struct kv_client *client;
    bool is_client_closed;
};

/* What became of a request. */
struct outcome {
    struct fake *fake;
    uint32_t answers;
    int32_t status;
    char reason[256];
    uint32_t retry_after_ms;
    struct kv_position position;
    char value[64];
    uint32_t value_len;
    uint32_t records_len;
    uint64_t view;
    uint64_t forced;
    char told_by[32];
    uint32_t arbiter_uris_len;
    char primary[32];
    uint32_t nodes_len;
    char name[32];
    uint64_t keys;
    uint64_t at_ms;
};

/* Starts the arbiter and nodes "n1".."nN"; n1 is primary, the others in sync. */
void fake_init(struct fake *fake, uint32_t nodes_len);
/* Closes the client, if there is one, and everything else; checks that the loop is empty. */
void fake_close(struct fake *fake);

/* A client of the fake's arbiter. options may be NULL. */
void fake_client(struct fake *fake, const struct kv_client_options *options);
void fake_client_close(struct fake *fake);

void fake_node_start(struct fake *fake, uint32_t index); /* on the address it had before */
void fake_node_stop(struct fake *fake, uint32_t index);
/* Closes the links of its clients. */
void fake_node_cut(struct fake *fake, uint32_t index);

/* Puts another node in charge in a new view; 0: none. */
void fake_set_primary(struct fake *fake, uint32_t index);
void fake_remove_member(struct fake *fake, uint32_t index);

/* Sends on the link; delay_ms 0: now. Late answers are dropped with their link. */
void fake_send(struct fake_node *node, struct guard_link *link, const struct message *message,
               uint32_t delay_ms);
void fake_send_bytes(struct fake_node *node, struct guard_link *link, const void *bytes, size_t len,
                     uint32_t delay_ms);
void fake_reject(struct fake_node *node, struct guard_link *link, const struct message *message,
                 uint8_t reason, uint32_t retry_after_ms);
/* Answers as a healthy cluster would. */
void fake_serve(struct fake_node *node, struct guard_link *link, const struct message *message,
                uint32_t delay_ms);

/* The id of any request message. */
uint64_t fake_request_id(const struct message *message);

/* Runs the loop until *count reaches wanted; false after timeout_ms. */
bool fake_wait(struct fake *fake, const uint32_t *count, uint32_t wanted, uint32_t timeout_ms);
/* Runs the loop for a while. */
void fake_run(struct fake *fake, uint32_t ms);

uint64_t fake_now_ms(void);

void outcome_on_answer(void *ctx, const struct kv_answer *answer);

#endif
