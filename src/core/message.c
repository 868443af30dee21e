#include "core/message.h"

#define HANDLER(kind, handler) [MESSAGE_##kind] = handler,
static message_handler *const handlers[MESSAGE_KINDS] = {MESSAGE_EACH(HANDLER)};

void message_send(struct rank *rank, uint32_t peer, enum message_kind kind,
                  struct wire_header about, const void *body, size_t body_bytes)
{
    void *room = message_begin(rank, peer, kind, &about, body_bytes);
    if (room) {
        if (body_bytes) {
            memcpy(room, body, body_bytes);
        }
        message_end(rank);
    }
}

void message_tell(struct rank *rank, uint32_t peer, enum message_kind kind,
                  struct wire_header about, const void *body, size_t body_bytes)
{
    if (peer != rank->number) {
        message_send(rank, peer, kind, about, body, body_bytes);
        return;
    }
    struct wire_reader reader = wire_reader_init(body ? body : "", body_bytes);
    about.kind = (uint8_t)kind;
    handlers[kind](rank, peer, &about, &reader);
}

void message_receive(void *owner, uint32_t from, const struct wire_header *header, const void *body)
{
    struct rank *rank = owner;
    struct wire_reader reader = wire_reader_init(body, header->length);
    if (MT_UNLIKELY(header->kind == 0 || header->kind >= MESSAGE_KINDS)) {
        comm_mark_down(rank->comm, from);
        return;
    }
    rank->counted_received += message_is_counted(header->kind);
    handlers[header->kind](rank, from, header, &reader);
    if (MT_UNLIKELY(reader.failed)) {
        comm_mark_down(rank->comm, from);
    }
}

void message_receive_noted(void *owner, uint32_t from, const struct wire_header *header,
                           const void *body)
{
    timeline_note_received(owner, from, header);
    message_receive(owner, from, header, body);
}
