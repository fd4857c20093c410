//! One layer of the broker alone: the write-ahead log, and two other ways to write one.
//!
//! ```text
//! drive: one thread, N appends outstanding --- Log::append ---> FileWal       the broker's own
//!                                                               raw::Threads  blocking writes
//!                                                               raw::Ring     io_uring
//! ```
//!
//! The raw ones are the bare pattern (a group is what was appended during the last write; one aligned
//! copy; acknowledgement in order) without frames, checksums, segments or recovery. They are there to be
//! compared with each other: what one of them wins over the other, the broker's log could win.

mod drive;
mod file_wal;
mod raw;
mod table;

use std::io;
use std::path::Path;

use serde::Serialize;

pub(crate) use drive::{Load, Measured, drive};
pub(crate) use table::Table;

/// Called when an append is durable (`true`) or never will be.
type Done = Box<dyn FnOnce(bool) + Send>;

/// Something that makes bytes durable, in order.
trait Log {
    /// Appends a copy of `payload`. Says no when there is no room now; `done` is then dropped.
    fn append(&self, payload: &[u8], done: Done) -> bool;

    /// Called now and then: what was acknowledged long ago may be forgotten.
    fn forget_the_past(&self) {}
}

/// A way to write a log.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
pub(crate) enum Variant {
    /// The broker's log.
    FileWal(file_wal::Settings),
    /// Blocking writes on threads of their own.
    Threads {
        /// How many, hence writes in flight.
        threads: usize,
        /// Whether an idle one looks for work before it sleeps.
        spin: bool,
    },
    /// One thread with an io_uring.
    Ring {
        /// Writes in flight.
        depth: usize,
        /// Whether the thread looks for completions and work before it sleeps.
        spin: bool,
        /// Whether the kernel is told to write on a worker thread of its own at once
        /// (`IOSQE_ASYNC`), instead of submitting the write and finishing it later.
        worker: bool,
    },
}

impl Variant {
    /// What is compared: the broker's log with one setting changed at a time, then the raw patterns.
    pub(crate) fn all() -> Vec<Self> {
        let threads = [(1, false), (2, false), (2, true)];
        let threads = threads.map(|(threads, spin)| Self::Threads { threads, spin });
        let rings = [(1, false, false), (2, false, false), (4, false, false)];
        let rings = rings.into_iter().chain([(2, true, false), (2, false, true), (2, true, true)]);
        let rings = rings.map(|(depth, spin, worker)| Self::Ring { depth, spin, worker });
        let wals = file_wal::Settings::all().into_iter().map(Self::FileWal);
        wals.chain(threads).chain(rings).collect()
    }

    /// How a person calls it.
    pub(crate) fn label(&self) -> String {
        let looks = |spin: bool| if spin { "spin" } else { "no spin" };
        match self {
            Self::FileWal(settings) => settings.label(),
            Self::Threads { threads, spin } => format!("raw, {threads} threads, {}", looks(*spin)),
            Self::Ring { depth, spin, worker } => {
                let worker = if *worker { ", kernel worker" } else { "" };
                format!("io_uring, {depth} in flight, {}{worker}", looks(*spin))
            }
        }
    }

    /// Opens it in `folder`, which is empty.
    fn open(&self, folder: &Path) -> io::Result<Box<dyn Log>> {
        Ok(match self {
            Self::FileWal(settings) => Box::new(settings.open(folder)?),
            Self::Threads { threads, spin } => {
                Box::new(raw::Threads::start(folder, *threads, *spin)?)
            }
            Self::Ring { depth, spin, worker } => {
                Box::new(raw::Ring::start(folder, *depth, *spin, *worker)?)
            }
        })
    }
}

/// Why io_uring cannot be used here, if it cannot.
pub(crate) fn ring_refusal() -> Option<io::Error> {
    raw::refusal()
}
