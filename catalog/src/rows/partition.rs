//! One partition: who leads it and how far its history reaches.
//!
//! ```text
//! key    04 | partition_id u64
//! value  02 | topic_id 16 bytes | index i32 | leader i32 | leader_epoch i32
//!           | log_start i64 | flushed_end i64 | history_bytes u64
//!           | settled_end i64
//!           | count u32, then (leader_epoch i32 | start_offset i64) of each epoch, ascending
//! ```
//!
//! Version 1 had no `settled_end`; it is read as zero, which makes the merge planner look.

use antiphon_common::{BrokerId, LeaderEpoch, Offset, PartitionId, PartitionIndex, TopicId};

use super::codec::{Decoder, Encoder};
use super::{Row, RowError, RowKind};

const VERSION: u8 = 2;
const EPOCH_BYTES: usize = 12;

/// One partition: who leads it and how far its history reaches.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PartitionRow {
    /// Identity for life.
    pub partition_id: PartitionId,
    /// The topic it belongs to.
    pub topic_id: TopicId,
    /// Its number within the topic.
    pub index: PartitionIndex,
    /// The broker that takes its writes.
    pub leader: BrokerId,
    /// The newest epoch the catalog knows of; see [`crate::effective_leader_epoch`] for the one in force.
    pub leader_epoch: LeaderEpoch,
    /// The first offset that a client may read.
    pub log_start: Offset,
    /// All records below are in objects.
    pub flushed_end: Offset,
    /// Bytes of all its segments.
    pub history_bytes: u64,
    /// Segments below are as large as merging makes them; the planner of merges begins here.
    pub settled_end: Offset,
    /// Where each leader epoch began (KIP-101), ascending, for what is in objects.
    pub epochs: Vec<(LeaderEpoch, Offset)>,
}

impl PartitionRow {
    pub(crate) fn key_of(partition_id: PartitionId) -> Vec<u8> {
        Encoder::key(Self::KIND.tag()).u64(partition_id.0).finish()
    }
}

impl Row for PartitionRow {
    const KIND: RowKind = RowKind::Partition;

    fn key(&self) -> Vec<u8> {
        Self::key_of(self.partition_id)
    }

    fn value(&self) -> Vec<u8> {
        let head = Encoder::value(VERSION)
            .uuid(self.topic_id.0)
            .i32(self.index.0)
            .i32(self.leader.0)
            .i32(self.leader_epoch.get())
            .i64(self.log_start.get())
            .i64(self.flushed_end.get())
            .u64(self.history_bytes)
            .i64(self.settled_end.get())
            .count(self.epochs.len());
        let epochs = self.epochs.iter();
        epochs.fold(head, |out, (epoch, start)| out.i32(epoch.get()).i64(start.get())).finish()
    }

    fn decode(key: &[u8], value: &[u8]) -> Result<Self, RowError> {
        let mut key = Decoder::key(key, Self::KIND.tag())?;
        let (version, mut value) = Decoder::value_up_to(value, VERSION)?;
        let row = Self {
            partition_id: PartitionId(key.u64("partition_id")?),
            topic_id: TopicId(value.uuid("topic_id")?),
            index: PartitionIndex(value.i32("index")?),
            leader: BrokerId(value.i32("leader")?),
            leader_epoch: LeaderEpoch(value.i32("leader_epoch")?),
            log_start: Offset(value.i64("log_start")?),
            flushed_end: Offset(value.i64("flushed_end")?),
            history_bytes: value.u64("history_bytes")?,
            settled_end: match version {
                1 => Offset::ZERO,
                _ => Offset(value.i64("settled_end")?),
            },
            epochs: decode_epochs(&mut value)?,
        };
        key.finish()?;
        value.finish()?;
        Ok(row)
    }
}

fn decode_epochs(value: &mut Decoder<'_>) -> Result<Vec<(LeaderEpoch, Offset)>, RowError> {
    let count = value.count("epochs", EPOCH_BYTES)?;
    let one = |_| Ok((LeaderEpoch(value.i32("epoch")?), Offset(value.i64("start_offset")?)));
    (0..count).map(one).collect()
}
