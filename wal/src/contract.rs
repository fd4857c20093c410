//! The trait every write-ahead log fulfils, and the words it speaks.

use std::fmt::Debug;
use std::time::Duration;

use antiphon_common::{ByteCount, ErrorKind, Lsn, WalEpoch};
use bytes::Bytes;

use crate::FatalFault;

/// What an append calls when its frame is durable, or never will be.
pub type Completion = Box<dyn FnOnce(Result<Bytes, AppendFailed>) + Send>;

/// A broker's write-ahead log: numbered frames of opaque bytes, made durable in groups.
///
/// # The contract
///
/// 1. **Numbering.** `append` claims the next [`Lsn`]; numbers have no holes, within one opening and
///    across openings. Two appends by one thread, or ordered by a lock that the callers hold, get
///    ascending numbers.
/// 2. **All or nothing.** An `append` that returns an error claimed no number, wrote nothing, and
///    drops its completion without calling it. One that returns `Ok` calls its completion exactly
///    once.
/// 3. **Durability.** A completion that receives `Ok` runs after its frame *and every earlier frame*
///    are durable at this log's boundary (its disk, for the file implementation). [`Wal::durable`]
///    is then already at least that frame.
/// 4. **Order.** Completions run one at a time, in `Lsn` order over the whole log, on a thread of
///    the log, and outside every lock that `append` takes: a completion may take a lock that some
///    caller holds while it appends, and may itself append.
/// 5. **No copy.** The `Bytes` a completion receives are the very memory that went to disk. Holding
///    them pins their slab (1 MiB by default), so whoever caches them accounts by slab.
/// 6. **No waiting.** `append` never waits for the disk. When it cannot take the frame it says
///    [`AppendError::Full`] at once, and the caller decides how to wait.
/// 7. **Failure is final.** After a write or sync has failed nothing is retried (Linux reports such
///    an error once and then forgets the dirty pages: "fsyncgate", 2018). Every frame not yet
///    completed gets [`AppendFailed`], in order, and every later append [`AppendError::Failed`]. A
///    frame whose completion got an error *may* be found by the next replay: its fate is unknown,
///    not "absent".
/// 8. **Replay.** Opening yields, in order and without a hole, every frame from the position the
///    caller still needs that was ever completed with `Ok`, and possibly later ones whose fate
///    was unknown. What one opening did not yield, no later one will.
/// 9. **Trim.** `trim(through)` permits the log to forget frames up to and including `through`; it
///    never forgets a later one. It says nothing about when.
/// 10. **Fencing.** Each opening carries a greater [`WalEpoch`] than every opening before it, and
///     writes nothing into what an earlier epoch wrote. Keeping two processes out of one folder is
///     the caller's job.
pub trait Wal: Send + Sync + Debug {
    /// Appends one frame of `length` bytes which `fill` writes in place.
    ///
    /// `fill` is called once, with a slice of exactly `length` bytes of unspecified content, while
    /// the log's append lock is held: it must only copy, and must not call the log.
    ///
    /// # Errors
    /// See [`AppendError`]; [`AppendError::kind`] says whether trying again can help.
    fn append(
        &self,
        length: usize,
        fill: &mut dyn FnMut(&mut [u8]),
        completion: Completion,
    ) -> Result<Lsn, AppendError>;

    /// The end of the contiguous durable prefix. At open: the last frame that replay found.
    fn durable(&self) -> Lsn;

    /// Permits forgetting every frame up to and including `through`. Returns at once.
    fn trim(&self, through: Lsn);

    /// Counters since open, and what the log occupies now.
    fn stats(&self) -> WalStats;

    /// Makes what was appended durable, stops the log's threads and waits for both. Idempotent.
    /// Called from a completion it stops the log but does not wait.
    fn close(&self);
}

/// One frame that survived, as replay hands it over.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Replayed {
    /// The frame's position.
    pub lsn: Lsn,
    /// The opening that wrote it.
    pub epoch: WalEpoch,
    /// What was appended. Shares a read buffer (at most about 4 MiB) with its neighbours.
    pub payload: Bytes,
}

/// A frame that survived, as an opening that defers reading hands it over.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Survivor {
    /// Read and checked.
    Frame(Replayed),
    /// Known from its segment's summary. Its payload comes later, from the [`crate::Backlog`].
    Deferred(DeferredFrame),
}

/// What is known of a frame before it is read.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct DeferredFrame {
    /// The frame's position.
    pub lsn: Lsn,
    /// The opening that wrote it.
    pub epoch: WalEpoch,
    /// Bytes of its payload.
    pub payload_bytes: usize,
    /// How the payload begins: as many bytes as the options said that summaries keep, or all of it.
    pub prefix: Bytes,
}

impl Survivor {
    /// The frame's position.
    pub const fn lsn(&self) -> Lsn {
        match self {
            Self::Frame(frame) => frame.lsn,
            Self::Deferred(frame) => frame.lsn,
        }
    }
}

/// Why an append was refused. Nothing was claimed or written.
#[derive(Clone, Debug, thiserror::Error)]
#[non_exhaustive]
pub enum AppendError {
    /// There is no room now; there will be after a trim, a write or an administrator.
    #[error("the log cannot take {wanted} more bytes: {shortage}")]
    Full {
        /// What ran out.
        shortage: Shortage,
        /// The size of the refused frame.
        wanted: ByteCount,
    },
    /// The frame could never fit.
    #[error("a frame of {length} bytes exceeds the log's limit of {limit}")]
    TooLarge {
        /// The size of the refused payload.
        length: ByteCount,
        /// The largest payload this log takes.
        limit: ByteCount,
    },
    /// The kernel refused memory for a slab.
    #[error("no memory for a slab of {wanted} bytes")]
    OutOfMemory {
        /// The size of the slab.
        wanted: ByteCount,
    },
    /// `close` was called.
    #[error("the log is closed")]
    Closed,
    /// A write failed earlier; the process must stop and recover.
    #[error("the log has failed: {0}")]
    Failed(FatalFault),
}

impl AppendError {
    /// What the caller should do.
    pub const fn kind(&self) -> ErrorKind {
        match self {
            Self::Full { .. } | Self::OutOfMemory { .. } => ErrorKind::Retry,
            Self::TooLarge { .. } => ErrorKind::Invalid,
            Self::Closed => ErrorKind::Closed,
            Self::Failed(_) => ErrorKind::Internal,
        }
    }
}

/// What a full log ran out of.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Shortage {
    /// The log holds as many bytes on disk as it may; trimming helps.
    #[error("its disk budget is used up until something is trimmed")]
    Capacity,
    /// The file system has no room for another segment.
    #[error("the file system is full")]
    FileSystem,
    /// Too many bytes wait to be written; waiting for completions helps.
    #[error("too many bytes are waiting to be written")]
    Backlog,
}

/// Why a claimed frame was not acknowledged. It may still be found by the next replay.
#[derive(Clone, Debug, thiserror::Error)]
#[non_exhaustive]
pub enum AppendFailed {
    /// This frame's write, or an earlier one, failed.
    #[error("frame {lsn} was not made durable: {fault}")]
    Failed {
        /// The frame.
        lsn: Lsn,
        /// The first failure of the log.
        fault: FatalFault,
    },
    /// The log was closed while the file system had no room for this frame's segment.
    #[error("frame {lsn} was not made durable before the log closed")]
    Closed {
        /// The frame.
        lsn: Lsn,
    },
}

/// What a log has done since it was opened, and what it occupies now.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct WalStats {
    /// The number that the next append will get.
    pub next_lsn: Lsn,
    /// The end of the contiguous durable prefix.
    pub durable_lsn: Lsn,
    /// Payload bytes accepted by `append`.
    pub appended_bytes: u64,
    /// Payload bytes whose completion was told `Ok`.
    pub durable_bytes: u64,
    /// Groups written; frames divided by groups is the mean group size.
    pub groups: u64,
    /// Separate sync calls. Zero when every write is durable by itself (`O_DSYNC`).
    pub syncs: u64,
    /// Bytes written to the log's files, padding and headers included.
    pub written_bytes: u64,
    /// Time spent in durable writes, summed over groups.
    pub write_time: Duration,
    /// The slowest durable write.
    pub write_time_max: Duration,
    /// Bytes that wait for a writer.
    pub queued_bytes: u64,
    /// Segments that hold frames or are being filled.
    pub segments: u64,
    /// Segments prepared for later.
    pub spare_segments: u64,
    /// Bytes of all segment files, spares included.
    pub disk_bytes: u64,
    /// The limit of `disk_bytes`.
    pub disk_capacity_bytes: u64,
    /// Memory of slabs that frames or their readers still hold.
    pub slab_bytes: u64,
    /// Memory of slabs kept for reuse.
    pub slab_free_bytes: u64,
}
