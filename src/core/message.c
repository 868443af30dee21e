#include "core/message.h"

static message_handler *const handlers[MESSAGE_KINDS] = {
    [MESSAGE_TASK] = exec_on_task,
    [MESSAGE_RESULT] = task_on_result,
    [MESSAGE_CREDIT] = dispatch_on_credit,
    [MESSAGE_GONE] = task_on_gone,
    [MESSAGE_CANCEL] = cancel_on_cancel,
    [MESSAGE_RELEASE] = exec_on_release,
    [MESSAGE_REQUEST] = object_on_request,
    [MESSAGE_ANSWER] = object_on_answer,
    [MESSAGE_VALUE] = object_on_value,
    [MESSAGE_HOLD] = object_on_hold,
    [MESSAGE_STOP] = cancel_on_stop,
    [MESSAGE_REGISTER] = home_on_register,
    [MESSAGE_REGISTERED] = recover_on_registered,
    [MESSAGE_OFFER] = home_on_offer,
    [MESSAGE_ADOPT] = recover_on_adopt,
    [MESSAGE_LOOKUP] = home_on_lookup,
    [MESSAGE_FOUND] = recover_on_found,
    [MESSAGE_NOT_MINE] = recover_on_not_mine,
    [MESSAGE_WANT] = replica_on_want,
    [MESSAGE_HERE] = fetch_on_here,
    [MESSAGE_UNWANT] = replica_on_unwant,
    [MESSAGE_FREED] = replica_on_freed,
    [MESSAGE_FETCH] = spread_on_fetch,
    [MESSAGE_CHUNK] = replica_on_chunk,
    [MESSAGE_RESTORE] = pin_on_restore,
    [MESSAGE_RESTORED] = pin_on_restored,
    [MESSAGE_LEAVE] = spill_on_leave,
    [MESSAGE_LEAVE_ANSWER] = spill_on_leave_answer,
    [MESSAGE_ROOM] = room_on_room,
    [MESSAGE_OPEN] = stream_on_open,
    [MESSAGE_TERMS] = source_on_terms,
    [MESSAGE_READ] = stream_on_read,
    [MESSAGE_ITEMS] = inbox_on_items,
    [MESSAGE_TAKEN] = source_on_taken,
    [MESSAGE_ENDED] = inbox_on_ended,
    [MESSAGE_LOST] = lost_on_lost,
    [MESSAGE_CLAIM] = heirs_on_claim,
    [MESSAGE_CLAIMED] = heirs_on_claimed,
    [MESSAGE_GRAPH_PART] = member_on_part,
    [MESSAGE_GRAPH_READY] = conduct_on_ready,
    [MESSAGE_GRAPH_LAUNCH] = member_on_launch,
    [MESSAGE_GRAPH_VALUE] = member_on_value,
    [MESSAGE_GRAPH_TOLD] = member_on_told,
    [MESSAGE_GRAPH_RESULT] = conduct_on_result,
    [MESSAGE_GRAPH_FAILED] = conduct_on_failed,
    [MESSAGE_GRAPH_STOP] = member_on_stop,
    [MESSAGE_GRAPH_ENDED] = conduct_on_ended,
    [MESSAGE_GRAPH_DROP] = member_on_drop,
    [MESSAGE_SETTLED] = recover_on_settled,
    [MESSAGE_CLEARED] = recover_on_cleared,
    [MESSAGE_QUIET] = finish_on_quiet,
    [MESSAGE_QUIET_ANSWER] = finish_on_quiet_answer,
    [MESSAGE_STOP_ALL] = finish_on_stop_all,
};

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
    struct wire_reader reader = wire_reader_init(body, body_bytes);
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
