//! What a handler gives back to its connection.

use std::collections::VecDeque;
use std::fmt;

use super::budget::Held;
use antiphon_storage::AckWait;
use bytes::Bytes;

/// What happens on the connection after a request.
pub(crate) enum Outcome {
    /// Send these bytes; the room that they take in a budget is given back when they are sent.
    Reply(VecDeque<Bytes>, Option<Held>),
    /// Send what the closure makes once the appends are durable; other Produce requests of the
    /// connection may be read meanwhile (KIP-98 producers keep up to five in flight).
    AfterAck(PendingReply),
    /// A fetch on the live side needs history: handle it again on the history side.
    Cold,
    /// The protocol wants no answer (acks=0).
    Nothing,
    /// Close the connection; the reason goes to the log.
    Close(String),
}

impl Outcome {
    pub(crate) fn reply(bytes: Bytes) -> Self {
        Self::Reply(VecDeque::from([bytes]), None)
    }
}

impl fmt::Debug for Outcome {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Reply(..) => "Reply",
            Self::AfterAck(_) => "AfterAck",
            Self::Cold => "Cold",
            Self::Nothing => "Nothing",
            Self::Close(_) => "Close",
        })
    }
}

/// A response that waits for durability.
pub(crate) struct PendingReply {
    /// Resolves to whether every append is durable.
    pub(crate) acked: AckWait,
    /// Makes the response; `false` means that the log failed. `None` closes the connection.
    pub(crate) finish: Box<dyn FnOnce(bool) -> Option<Bytes> + Send>,
}
