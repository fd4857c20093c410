//! Why a log was not opened, and what a successful opening found.

use std::io;
use std::path::PathBuf;
use std::time::Duration;

use antiphon_common::{ErrorKind, Lsn, WalEpoch};

use super::classify::{Corruption, Ending};
use crate::format::segment::{SegmentId, VERSION};

/// Why a log was not opened. The files are as they were.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum OpenError {
    /// The options contradict themselves.
    #[error("the write-ahead log's options are wrong: {problem}")]
    Options {
        /// What to change.
        problem: &'static str,
    },
    /// An opening with this epoch or a later one has written here.
    #[error(
        "segment {segment} was written by epoch {found}, not older than this opening's {epoch}: \
         another process opened the log, or the epoch was not advanced"
    )]
    Fenced {
        /// The segment.
        segment: SegmentId,
        /// Its epoch.
        found: WalEpoch,
        /// The epoch of this opening.
        epoch: WalEpoch,
    },
    /// Frames that are still needed are gone.
    #[error(
        "the log starts at frame {found}, but frames from {expected} on are not stored anywhere \
         else: segment files are missing"
    )]
    Gap {
        /// The first frame the caller needs.
        expected: Lsn,
        /// The first frame there is.
        found: Lsn,
    },
    /// An acknowledged frame is damaged or missing.
    #[error(
        "{path} is corrupt at byte {position}: frame {lsn} is missing or damaged, and {reason}"
    )]
    Corrupt {
        /// The segment.
        segment: SegmentId,
        /// Its file.
        path: PathBuf,
        /// Where in the file.
        position: u64,
        /// The frame that should be there.
        lsn: Lsn,
        /// How we know that it was acknowledged.
        reason: Corruption,
    },
    /// A newer build wrote this log.
    #[error(
        "{path} has format version {found}; this build reads up to {VERSION}: run the build that \
         wrote it"
    )]
    NewerFormat {
        /// The file.
        path: PathBuf,
        /// Its version.
        found: u32,
    },
    /// The disk or the file system said no.
    #[error("{operation} {path}: {source}")]
    Io {
        /// What was tried.
        operation: &'static str,
        /// On what.
        path: PathBuf,
        /// What the kernel said.
        source: io::Error,
    },
}

impl OpenError {
    /// What the caller should do.
    pub const fn kind(&self) -> ErrorKind {
        match self {
            Self::Options { .. } => ErrorKind::Invalid,
            Self::Fenced { .. } => ErrorKind::Fenced,
            Self::Gap { .. } | Self::Corrupt { .. } => ErrorKind::Corrupt,
            Self::NewerFormat { .. } => ErrorKind::Invalid,
            Self::Io { .. } => ErrorKind::Internal,
        }
    }
}

/// Adds what was tried, and on what, to an I/O error.
pub(crate) fn while_doing(
    operation: &'static str,
    path: impl Into<PathBuf>,
) -> impl FnOnce(io::Error) -> OpenError {
    let path = path.into();
    move |source| OpenError::Io { operation, path, source }
}

/// What an opening found.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RecoveryReport {
    /// How the log had ended.
    pub ending: Ending,
    /// Frames handed to the caller, deferred ones included.
    pub frames: u64,
    /// Their payload bytes.
    pub payload_bytes: u64,
    /// The first frame handed over, if any.
    pub first_lsn: Option<Lsn>,
    /// The number that the next append gets.
    pub next_lsn: Lsn,
    /// Segments read.
    pub segments_read: u64,
    /// Segments not read because everything in them is before the expected start.
    pub segments_skipped: u64,
    /// Sealed segments that were not read because their summary says what is in them.
    pub segments_deferred: u64,
    /// How long reading took.
    pub elapsed: Duration,
}
