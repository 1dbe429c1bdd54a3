#include "resolver.h"

#include <netdb.h>
#include <string.h>

#define RESOLVER_ADDRESSES_MAX 8u

/* The name of one link. */
struct resolver_entry {
    struct resolver *owner;
    struct kv_link *link; /* NULL: forgotten while the lookup goes on */
    struct list node;
    bool is_looking;
    uv_getaddrinfo_t request;
    union address_socket addresses[RESOLVER_ADDRESSES_MAX];
    uint32_t addresses_len;
    uint32_t next;
};

void resolver_init(struct resolver *resolver, const struct kv_host *host,
                   resolver_answer_fn on_answer, void (*on_idle)(void *ctx), void *ctx)
{
    memset(resolver, 0, sizeof *resolver);
    resolver->host = host;
    resolver->on_answer = on_answer;
    resolver->on_idle = on_idle;
    resolver->ctx = ctx;
    list_init(&resolver->entries);
}

bool resolver_is_idle(const struct resolver *resolver)
{
    return resolver->lookups_len == 0;
}

static struct resolver_entry *find(const struct resolver *resolver, const struct kv_link *link)
{
    for (struct list *at = resolver->entries.next; at != &resolver->entries; at = at->next) {
        struct resolver_entry *entry = LIST_ENTRY(at, resolver_entry, node);
        if (entry->link == link) {
            return entry;
        }
    }
    return NULL;
}

static struct resolver_entry *find_or_create(struct resolver *resolver, struct kv_link *link)
{
    struct resolver_entry *entry = find(resolver, link);
    if (entry == NULL) {
        entry = resolver->host->allocate(resolver->host->ctx, sizeof *entry);
        if (entry != NULL) {
            memset(entry, 0, sizeof *entry);
            entry->owner = resolver;
            entry->link = link;
            list_append(&resolver->entries, &entry->node);
        }
    }
    return entry;
}

static void answer_error(struct resolver *resolver, struct kv_link *link, int32_t error,
                         const char *text)
{
    resolver->on_answer(resolver->ctx, link, error, text, NULL);
}

static void answer_next(struct resolver_entry *entry)
{
    struct resolver *resolver = entry->owner;
    union address_socket address = entry->addresses[entry->next];
    entry->next++;
    resolver->on_answer(resolver->ctx, entry->link, KV_OK, NULL, &address);
}

static void take_addresses(struct resolver_entry *entry, const struct addrinfo *found)
{
    entry->addresses_len = 0;
    entry->next = 0;
    for (const struct addrinfo *at = found; at != NULL; at = at->ai_next) {
        if (entry->addresses_len < RESOLVER_ADDRESSES_MAX &&
            address_copy(at->ai_addr, &entry->addresses[entry->addresses_len])) {
            entry->addresses_len++;
        }
    }
}

static void on_found(uv_getaddrinfo_t *request, int status, struct addrinfo *found)
{
    struct resolver_entry *entry = request->data;
    struct resolver *resolver = entry->owner;
    entry->is_looking = false;
    resolver->lookups_len--;
    take_addresses(entry, status == 0 ? found : NULL);
    uv_freeaddrinfo(found);
    if (entry->link == NULL) {
        resolver->host->release(resolver->host->ctx, entry);
    } else if (entry->addresses_len > 0) {
        answer_next(entry);
    } else {
        answer_error(resolver, entry->link, KV_E_NOT_FOUND,
                     status < 0 ? uv_strerror(status) : "no address");
    }
    if (resolver_is_idle(resolver)) {
        resolver->on_idle(resolver->ctx);
    }
}

static void look_up(struct resolver_entry *entry, const struct address *address)
{
    struct resolver *resolver = entry->owner;
    struct addrinfo hints = {.ai_family = AF_UNSPEC, .ai_socktype = SOCK_DGRAM};
    entry->request.data = entry;
    int status = uv_getaddrinfo(resolver->host->loop, &entry->request, on_found, address->host,
                                address->port_text, &hints);
    if (status != 0) {
        answer_error(resolver, entry->link, KV_E_IO, uv_strerror(status));
        return;
    }
    entry->is_looking = true;
    resolver->lookups_len++;
}

void resolver_ask(struct resolver *resolver, struct kv_link *link, const char *uri,
                  uint32_t attempt)
{
    struct address address;
    if (address_parse("udp", uri, &address) != KV_OK) {
        answer_error(resolver, link, KV_E_INVALID, "not of the form udp://HOST:PORT");
        return;
    }
    if (address.is_literal) {
        resolver->on_answer(resolver->ctx, link, KV_OK, NULL, &address.socket);
        return;
    }
    struct resolver_entry *entry = find_or_create(resolver, link);
    if (entry == NULL) {
        answer_error(resolver, link, KV_E_NOMEM, "out of memory");
    } else if (entry->is_looking) {
        return; /* its answer is the answer to this as well */
    } else if (attempt > 0 && entry->next < entry->addresses_len) {
        answer_next(entry);
    } else {
        look_up(entry, &address);
    }
}

static void forget(struct resolver_entry *entry)
{
    list_remove(&entry->node);
    entry->link = NULL;
    if (entry->is_looking) {
        uv_cancel((uv_req_t *)&entry->request); /* on_found() comes in any case, and frees it */
    } else {
        entry->owner->host->release(entry->owner->host->ctx, entry);
    }
}

void resolver_forget(struct resolver *resolver, const struct kv_link *link)
{
    struct resolver_entry *entry = find(resolver, link);
    if (entry != NULL) {
        forget(entry);
    }
}

void resolver_stop(struct resolver *resolver)
{
    while (!list_is_empty(&resolver->entries)) {
        forget(LIST_ENTRY(resolver->entries.next, resolver_entry, node));
    }
}
