/* Names and texts of the numbers in messages. */
#include "logic/message.h"

static const char *const message_type_names[256] = {
    [MESSAGE_JOIN] = "Join",
    [MESSAGE_JOINED_PRIMARY] = "JoinedPrimary",
    [MESSAGE_JOINED_SECONDARY] = "JoinedSecondary",
    [MESSAGE_JOIN_REJECTED] = "JoinRejected",
    [MESSAGE_REPLICAS] = "Replicas",
    [MESSAGE_LEAVE] = "Leave",
    [MESSAGE_HEARTBEAT] = "Heartbeat",
    [MESSAGE_CAUGHT_UP] = "CaughtUp",
    [MESSAGE_SUSPECT] = "Suspect",
    [MESSAGE_HANDOVER] = "Handover",
    [MESSAGE_SNAPSHOT] = "Snapshot",
    [MESSAGE_SNAPSHOT_ACK] = "SnapshotAck",
    [MESSAGE_RESUME] = "Resume",
    [MESSAGE_FETCH] = "Fetch",
    [MESSAGE_FETCHED] = "Fetched",
    [MESSAGE_INSERT] = "Insert",
    [MESSAGE_REMOVE] = "Remove",
    [MESSAGE_GET] = "Get",
    [MESSAGE_SCAN] = "Scan",
    [MESSAGE_STATUS] = "Status",
    [MESSAGE_LOCATE] = "Locate",
    [MESSAGE_PROMOTE] = "Promote",
    [MESSAGE_OPERATION_ACK] = "OperationAck",
    [MESSAGE_OPERATION_FAILED] = "OperationFailed",
    [MESSAGE_OPERATION_REJECTED] = "OperationRejected",
    [MESSAGE_GET_RESULT] = "GetResult",
    [MESSAGE_SCAN_RESULT] = "ScanResult",
    [MESSAGE_STATUS_RESULT] = "StatusResult",
    [MESSAGE_LOCATED] = "Located",
    [MESSAGE_UNSUPPORTED] = "Unsupported",
};

const char *message_type_name(uint8_t type)
{
    const char *name = message_type_names[type];
    return name == NULL ? "?" : name;
}

const char *message_reject_text(uint8_t reason)
{
    switch (reason) {
    case REJECT_NOT_PRIMARY:
        return "not the primary";
    case REJECT_NOT_READY:
        return "not ready yet";
    case REJECT_OVERLOADED:
        return "overloaded";
    case REJECT_TOO_LARGE:
        return "key or value is larger than limits.key_bytes or limits.value_bytes of the node";
    case REJECT_LEAVING:
        return "the node is leaving";
    case REJECT_MIN_IN_SYNC:
        return "fewer nodes in sync than min_in_sync asks for";
    case REJECT_DEADLINE:
        return "the deadline passed before it was begun";
    case REJECT_NOT_FOUND:
        return "no such node";
    case REJECT_UNSUPPORTED:
        return "this node does not do that";
    case REJECT_NAME_IN_USE:
        return "another node of this name is in the view";
    case REJECT_WRONG_CLUSTER:
        return "the data folder belongs to another cluster";
    case REJECT_IS_PRIMARY:
        return "the primary is the only node in sync: nobody can take its place";
    case REJECT_DATA_LOST:
        return "the primary's store is empty or incomplete";
    case REJECT_NEWER_DATA:
        return "the node's data is newer than the arbiter's view";
    case REJECT_STORE:
        return "the primary's store takes no updates at the moment";
    case REJECT_COPY:
        return "the data folder is a copy of one that is, or was later, in use";
    case REJECT_PRIMARY_THERE:
        return "nothing is forced while the primary is there";
    default:
        return "unknown reason";
    }
}

const char *message_fail_text(uint8_t reason)
{
    switch (reason) {
    case FAIL_TIMEOUT:
        return "not durable everywhere in time";
    case FAIL_STOPPED:
        return "the node stopped being primary";
    case FAIL_REFUSED:
        return "refused by a store, and undone";
    default:
        return "unknown reason";
    }
}

const char *message_role_name(uint8_t role)
{
    switch (role) {
    case ROLE_JOINING:
        return "joining";
    case ROLE_PRIMARY:
        return "primary";
    case ROLE_SECONDARY:
        return "secondary";
    case ROLE_CANDIDATE:
        return "candidate";
    case ROLE_ARBITER:
        return "arbiter";
    default:
        return "?";
    }
}

const char *message_persist_state_name(uint8_t state)
{
    switch (state) {
    case PERSIST_LOADING:
        return "loading";
    case PERSIST_OK:
        return "ok";
    case PERSIST_RETRYING:
        return "retrying";
    case PERSIST_HANGING:
        return "hanging";
    case PERSIST_REFUSING:
        return "refusing";
    default:
        return "?";
    }
}
