//! What a transition leaves for the broker to do.

use antiphon_common::Timestamp;

use crate::error::GroupError;
use crate::names::MemberId;
use crate::offsets_records::GroupRecord;
use crate::replies::{JoinRefused, Reply, ReplyToken};

/// The number of an append, counted from 1 over the life of a shard.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct AppendId(pub u64);

/// Records to be written to the shard's partition as **one** batch: all of them or none.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Append {
    /// To be given back to `append_succeeded` or `append_failed`.
    pub id: AppendId,
    /// The create time of the batch.
    pub timestamp: Timestamp,
    /// At least one.
    pub records: Vec<GroupRecord>,
}

/// What a transition leaves for the broker to do.
///
/// 1. `replies` can be sent at once. A reply that must wait for a record is not among them: the
///    shard keeps its token until it is told that the append succeeded or failed, and only then
///    hands out the reply, in the effects of that call.
/// 2. `appends` are written in the order given, and after those of earlier effects.
/// 3. Every append is reported exactly once, by `append_succeeded` when it is durable or by
///    `append_failed` when it certainly never will be. Reports may come out of order; the shard
///    acts on them in the order of the appends.
/// 4. After any call `next_deadline` may have changed.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
#[must_use = "replies and records must reach the clients and the log"]
pub struct Effects {
    /// Answers, to be sent at once.
    pub replies: Vec<(ReplyToken, Reply)>,
    /// Batches to be written.
    pub appends: Vec<Append>,
}

impl Effects {
    pub(crate) fn reply(token: ReplyToken, reply: Reply) -> Self {
        Self { replies: vec![(token, reply)], appends: Vec::new() }
    }

    pub(crate) fn refuse_join(token: ReplyToken, error: GroupError, member_id: MemberId) -> Self {
        Self::reply(token, Reply::Join(Err(JoinRefused { error, member_id })))
    }
}
