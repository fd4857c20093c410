//! The log on a local disk.
//!
//! ```text
//! append --(append lock)--> open group --> writer threads --> delivery --> completions
//!                              |            pwrite, durable     in log order
//!                              v
//!                        segment table <--> housekeeper thread (prepare, recycle, delete)
//! ```
//!
//! | part | idea |
//! |---|---|
//! | `log` | what the append lock protects: placing frames, queueing groups |
//! | `group` | frames written together; from payloads to the image on disk |
//! | `writer`, `spin` | taking groups, making them durable, waiting for more |
//! | `delivery` | completions in order |
//! | `summaries` | what the next opening need not read |
//! | `segment_table`, `segment_file`, `directory`, `housekeeper` | the files |
//! | `open` | recovery, then a new segment and the threads |

mod core;
mod counters;
mod delivery;
pub(crate) mod directory;
mod group;
mod housekeeper;
mod log;
mod open;
mod options;
mod segment_file;
pub(crate) mod segment_table;
mod spin;
pub(crate) mod summaries;
mod writer;

use std::fmt;
use std::sync::Arc;
use std::thread::{self, JoinHandle, ThreadId};

use antiphon_common::Lsn;
use parking_lot::Mutex;

use self::core::Core;
pub(crate) use self::delivery::run as run_completion;
pub use self::options::{DirectIo, DiskHook, DiskOperation, FileWalOptions};
use crate::{
    AppendError, Backlog, Completion, FatalFault, OpenError, RecoveryReport, Replayed, Survivor,
    Wal, WalStats,
};

/// A write-ahead log in a folder of a local disk. Dropping it closes it.
pub struct FileWal {
    core: Arc<Core>,
    threads: Mutex<Vec<JoinHandle<()>>>,
    thread_ids: Vec<ThreadId>,
}

impl FileWal {
    /// Recovers the log in the folder, handing each surviving frame to `replayed`, and opens it for
    /// appending under a new epoch. Frames may already have been handed over when an error comes.
    ///
    /// # Errors
    /// See [`OpenError`]. The files are not changed by a failed opening, apart from a new segment
    /// that may have been created empty.
    pub fn open(
        options: FileWalOptions,
        replayed: &mut dyn FnMut(Replayed),
    ) -> Result<(Self, RecoveryReport), OpenError> {
        let mut whole = |survivor| {
            if let Survivor::Frame(frame) = survivor {
                replayed(frame);
            }
        };
        let (wal, report, backlog) = open::open(options, false, &mut whole)?;
        debug_assert!(backlog.is_empty(), "nothing is deferred unless somebody asks");
        Ok((wal, report))
    }

    /// As [`FileWal::open`], but sealed segments whose summary is intact are not read: their frames are
    /// handed over as deferred, and are read by whoever drains the [`Backlog`]. Until then the caller
    /// must not trim them.
    ///
    /// # Errors
    /// See [`OpenError`]. Damage in a segment that is deferred is found later, by
    /// [`Backlog::load`].
    pub fn open_deferring(
        options: FileWalOptions,
        sink: &mut dyn FnMut(Survivor),
    ) -> Result<(Self, RecoveryReport, Backlog), OpenError> {
        open::open(options, true, sink)
    }

    /// Whether writes go past the page cache.
    pub fn is_direct(&self) -> bool {
        self.core.mode == segment_file::WriteMode::Direct
    }

    /// What made the log fail, if it has.
    pub fn failure(&self) -> Option<FatalFault> {
        match &self.core.log.lock().phase {
            log::Phase::Failed(fault) => Some(fault.clone()),
            log::Phase::Open | log::Phase::Closing => None,
        }
    }
}

impl Wal for FileWal {
    fn append(
        &self,
        length: usize,
        fill: &mut dyn FnMut(&mut [u8]),
        completion: Completion,
    ) -> Result<Lsn, AppendError> {
        self.core.append(length, fill, completion)
    }

    fn durable(&self) -> Lsn {
        self.core.durable()
    }

    fn trim(&self, through: Lsn) {
        self.core.log.lock().segments.trim(through);
        self.core.chores.notify_one();
    }

    fn stats(&self) -> WalStats {
        self.core.stats()
    }

    fn close(&self) {
        self.core.begin_close();
        // Held while joining, so that a second caller returns only when everything is written.
        let Some(mut threads) = self.lock_threads() else { return };
        for thread in threads.drain(..) {
            // Its panic, if any, has been reported as the log's failure.
            let _ = thread.join();
        }
    }
}

impl FileWal {
    /// `None` on a thread of the log, which cannot wait for itself.
    fn lock_threads(&self) -> Option<parking_lot::MutexGuard<'_, Vec<JoinHandle<()>>>> {
        let is_ours = self.thread_ids.contains(&thread::current().id());
        if is_ours { None } else { Some(self.threads.lock()) }
    }
}

impl Drop for FileWal {
    fn drop(&mut self) {
        self.close();
    }
}

impl fmt::Debug for FileWal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("FileWal")
            .field("directory", &self.core.directory)
            .field("epoch", &self.core.stamp.epoch)
            .field("durable", &self.core.durable())
            .finish_non_exhaustive()
    }
}
