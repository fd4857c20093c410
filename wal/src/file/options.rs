//! How a file log is opened.

use std::fmt;
use std::io;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use antiphon_common::{ByteCount, Environment, Lsn, WalEpoch};

use super::summaries::SummaryLimits;
use crate::fault::OnFatal;
use crate::format::segment::SegmentId;
use crate::format::summary::PREFIX_BYTES_MAX;
use crate::format::{BLOCK_BYTES, frame};

/// Whether to go past the page cache.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum DirectIo {
    /// `O_DIRECT | O_DSYNC` where the file system takes it, else buffered writes and `fdatasync`.
    #[default]
    Auto,
    /// Always buffered writes and `fdatasync`.
    Off,
}

/// Something the log is about to do to the disk, shown to a [`DiskHook`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum DiskOperation {
    /// A durable write of one group.
    WriteGroup {
        /// The segment.
        segment: SegmentId,
        /// Where in the segment.
        position: u64,
        /// How much, padding included.
        bytes: usize,
        /// The group's first frame.
        first_lsn: Lsn,
    },
    /// Allocating a new segment file.
    PrepareSegment {
        /// The segment.
        segment: SegmentId,
    },
}

/// Called before each [`DiskOperation`], on the thread that performs it. An error stands for the
/// operation's own; blocking makes the disk slow. For fault injection.
pub type DiskHook = Arc<dyn Fn(DiskOperation) -> io::Result<()> + Send + Sync>;

/// Everything a file log needs to know. Start from [`FileWalOptions::new`].
pub struct FileWalOptions {
    /// Where the segments are. Created if absent. The caller holds the lock on it.
    pub directory: PathBuf,
    /// The number of this opening; greater than that of every opening before it.
    pub epoch: WalEpoch,
    /// The first frame the caller still needs: one past what the catalog names as flushed. Frames
    /// before it are not replayed and may be gone; if this one is missing while later ones exist,
    /// opening is refused.
    pub expected_start: Lsn,
    /// Where numbering starts when the folder holds no log. At most `expected_start`, which wins.
    pub first_lsn_if_empty: Lsn,
    /// Size of a segment file (default 64 MiB). The unit of trimming; bounds the largest append.
    pub segment_bytes: ByteCount,
    /// Size of a slab (default 1 MiB): the largest group of small appends, and the unit in which
    /// readers pin memory.
    pub slab_bytes: ByteCount,
    /// Memory of unused slabs kept against page faults (default 32 MiB).
    pub slab_reserve_bytes: ByteCount,
    /// Unused slabs are given back after this long without traffic (default 10 s).
    pub slab_reserve_idle: Duration,
    /// Prepared segments to keep (default 2). One is zero-filled ahead of need; more come only from
    /// recycling.
    pub spare_segments: usize,
    /// Whether a segment whose space is merely allocated, as that of an opening's first one is, is left
    /// as soon as a zero-filled one is ready (default yes). Costs at most one segment of space;
    /// saves the file system's journal commit in front of every acknowledgement.
    pub leaves_raw_segments: bool,
    /// Limit of all segment files together (default 4 GiB), rounded down to whole segments.
    pub capacity_bytes: ByteCount,
    /// Limit of bytes appended but not yet taken by a writer (default 64 MiB).
    pub backlog_bytes: ByteCount,
    /// Threads that write groups, hence groups in flight (default 2).
    pub writers: usize,
    /// How long an idle writer looks for work before it sleeps, counted from the end of the last
    /// write in flight. Zero, the default, never looks: measured, looking gains nothing beside other
    /// threads and loses milliseconds to them (`docs/rfcs/0008-short-slices.md`).
    pub spin: Duration,
    /// How many bytes of each payload the summaries of segments repeat; `None`, the default, makes no
    /// summaries. What an opening needs of a frame before it can do without the rest for a while; at
    /// most 1024.
    pub summary_prefix_bytes: Option<usize>,
    /// Whether to go past the page cache.
    pub direct_io: DirectIo,
    /// Clock (for latencies) and randomness (for the salt).
    pub environment: Environment,
    /// Called once, on a thread of the log, when the log fails.
    pub on_fatal: Option<OnFatal>,
    /// Fault injection; `None` in production.
    pub disk_hook: Option<DiskHook>,
}

impl FileWalOptions {
    /// The defaults, for a log in `directory` of which everything is still needed.
    pub fn new(directory: impl Into<PathBuf>, epoch: WalEpoch, environment: Environment) -> Self {
        Self {
            directory: directory.into(),
            epoch,
            expected_start: Lsn::FIRST,
            first_lsn_if_empty: Lsn::FIRST,
            segment_bytes: ByteCount::mebibytes(64),
            slab_bytes: ByteCount::mebibytes(1),
            slab_reserve_bytes: ByteCount::mebibytes(32),
            slab_reserve_idle: Duration::from_secs(10),
            spare_segments: 2,
            leaves_raw_segments: true,
            capacity_bytes: ByteCount::mebibytes(4096),
            backlog_bytes: ByteCount::mebibytes(64),
            writers: 2,
            spin: Duration::ZERO,
            summary_prefix_bytes: None,
            direct_io: DirectIo::Auto,
            environment,
            on_fatal: None,
            disk_hook: None,
        }
    }

    /// What is wrong with these options, in words that say what to change.
    pub(crate) fn problem(&self) -> Option<&'static str> {
        let block = BLOCK_BYTES as u64;
        let prefix = self.summary_prefix_bytes.unwrap_or(0);
        let aligned = |bytes: ByteCount| bytes.get() > 0 && bytes.get().is_multiple_of(block);
        let rules = [
            (self.epoch > WalEpoch::ZERO, "epoch must be at least 1"),
            (self.expected_start >= Lsn::FIRST, "expected_start must be at least 1"),
            (
                (Lsn::FIRST..=self.expected_start).contains(&self.first_lsn_if_empty),
                "first_lsn_if_empty must be at least 1 and at most expected_start",
            ),
            (aligned(self.segment_bytes), "segment_bytes must be a multiple of 4096"),
            (self.segment_bytes.get() >= 4 * block, "segment_bytes must be at least 16384"),
            (self.segment_bytes.get() <= 1 << 31, "segment_bytes must be at most 2 GiB"),
            (aligned(self.slab_bytes), "slab_bytes must be a multiple of 4096"),
            (self.slab_bytes.get() <= 1 << 30, "slab_bytes must be at most 1 GiB"),
            (self.segments_max() >= 2, "capacity_bytes must hold at least two segments"),
            (self.spare_segments >= 1, "spare_segments must be at least 1"),
            (self.backlog_bytes.get() > 0, "backlog_bytes must be positive"),
            ((1..=16).contains(&self.writers), "writers must be between 1 and 16"),
            (prefix <= PREFIX_BYTES_MAX, "summary_prefix_bytes must be at most 1024"),
        ];
        rules.into_iter().find(|(holds, _)| !holds).map(|(_, rule)| rule)
    }

    pub(crate) fn summaries(&self) -> SummaryLimits {
        let (prefix_bytes, segment_bytes) = (self.summary_prefix_bytes, self.segment_bytes.get());
        SummaryLimits { prefix_bytes, segment_bytes }
    }

    pub(crate) fn segments_max(&self) -> usize {
        (self.capacity_bytes.get() / self.segment_bytes.get().max(1)) as usize
    }

    /// The end of what groups may use in a segment. The last block is kept for the end mark, so
    /// that a clean close always has room for it.
    pub(crate) const fn usable_bytes(&self) -> u64 {
        self.segment_bytes.0 - BLOCK_BYTES as u64
    }

    /// The largest payload that fits one segment.
    pub(crate) const fn payload_bytes_max(&self) -> usize {
        self.usable_bytes() as usize - BLOCK_BYTES - frame::HEADER_BYTES
    }
}

impl fmt::Debug for FileWalOptions {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("FileWalOptions")
            .field("directory", &self.directory)
            .field("epoch", &self.epoch)
            .field("expected_start", &self.expected_start)
            .field("segment_bytes", &self.segment_bytes)
            .field("slab_bytes", &self.slab_bytes)
            .field("capacity_bytes", &self.capacity_bytes)
            .field("writers", &self.writers)
            .field("spin", &self.spin)
            .field("direct_io", &self.direct_io)
            .finish_non_exhaustive()
    }
}
