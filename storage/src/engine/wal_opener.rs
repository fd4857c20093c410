//! Another write-ahead log than the file log, for simulations.

use std::fmt;
use std::sync::Arc;

use antiphon_common::Lsn;
use antiphon_wal::{RecoveryReport, Replayed, Wal};

/// A write-ahead log that is open, and what it held.
#[derive(Debug)]
pub struct OpenedWal {
    /// The log.
    pub wal: Arc<dyn Wal>,
    /// Its frames, in order.
    pub frames: Vec<Replayed>,
    /// How many of the first frames are to be taken for ones that the log has not read yet: storage
    /// serves before it has them.
    pub deferred: usize,
    /// What opening found.
    pub report: RecoveryReport,
}

/// Opens a write-ahead log, given the first frame that the catalog does not have yet.
type Open = dyn Fn(Lsn) -> Result<OpenedWal, antiphon_wal::OpenError> + Send + Sync;

/// Opens the write-ahead log in place of the file log: a simulation decides by it what is durable,
/// and what a crash leaves.
#[derive(Clone)]
pub struct WalOpener(pub Arc<Open>);

impl WalOpener {
    pub(super) fn open(&self, expected_start: Lsn) -> Result<OpenedWal, antiphon_wal::OpenError> {
        (self.0)(expected_start)
    }
}

impl fmt::Debug for WalOpener {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("WalOpener")
    }
}
