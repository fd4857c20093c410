//! Bringing the tail into memory while the broker already serves.
//!
//! A start takes the frames of sealed log segments from their summaries: positions, producers and epochs
//! are right at once, and acknowledgements go on, while the batches themselves are still on disk. One
//! task reads them, in log order. Meanwhile
//!
//! - whoever reads such a batch waits for it, as for history;
//! - a flush waits for the batches that it takes, so that nothing is trimmed before it was read;
//! - the tail's budget is charged for all of them from the beginning, so that producers wait when they
//!   would have waited before the stop. Where more is unflushed than the budget allows, which takes a
//!   smaller one than before the stop, no more is read into memory than that, unless somebody waits for it.
//!
//! A batch that turns out to be damaged was acknowledged and is lost: the broker ends, and the next
//! start, which finds no summary any more, refuses to open the log.

use std::collections::VecDeque;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use antiphon_common::Lsn;
use antiphon_wal::{Backlog, LoadError, Replayed};
use tokio::sync::{Notify, watch};
use tracing::{error, info};

use super::{FatalReport, frame};
use crate::log::{LogContext, MissingBytes, worth_keeping};

/// How long a simulated log takes to read a frame.
const SIMULATED_READ: Duration = Duration::from_millis(2);

/// The tail cannot be brought into memory: the write-ahead log is damaged.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("the write-ahead log could not be read to its end")]
pub struct TailLost;

#[derive(Clone, Copy, Debug)]
enum Progress {
    /// Everything up to here is in memory.
    Through(Lsn),
    Lost,
}

/// How far the tail is in memory. See the module's page.
#[derive(Debug)]
pub(crate) struct TailLoading {
    progress: watch::Sender<Progress>,
    /// What the budget is charged for batches that are not in memory.
    pub(super) missing_bytes: AtomicU64,
    /// Somebody waits for everything up to here.
    wanted: AtomicU64,
    /// There may be room, or somebody waits.
    room: Notify,
}

impl Default for TailLoading {
    fn default() -> Self {
        Self {
            progress: watch::Sender::new(Progress::Through(Lsn::MAX)),
            missing_bytes: AtomicU64::new(0),
            wanted: AtomicU64::new(0),
            room: Notify::new(),
        }
    }
}

impl TailLoading {
    /// Waits until everything up to `lsn` is in memory.
    pub(crate) async fn wait_for(&self, lsn: Lsn) -> Result<(), TailLost> {
        let is_settled = |progress: &Progress| match progress {
            Progress::Through(through) => *through >= lsn,
            Progress::Lost => true,
        };
        let mut progress = self.progress.subscribe();
        self.wanted.fetch_max(lsn.get(), Ordering::Relaxed);
        self.room.notify_one();
        match progress.wait_for(is_settled).await.as_deref() {
            Ok(Progress::Through(_)) => Ok(()),
            Ok(Progress::Lost) | Err(_) => Err(TailLost),
        }
    }

    /// Whether all of the tail is in memory.
    pub(crate) fn is_over(&self) -> bool {
        matches!(*self.progress.borrow(), Progress::Through(Lsn::MAX))
    }

    /// Something may have left memory.
    pub(crate) fn note_room(&self) {
        self.room.notify_one();
    }

    fn set(&self, progress: Progress) {
        self.progress.send_replace(progress);
    }
}

/// A batch that is charged and not in memory.
#[derive(Debug)]
pub(super) struct Missing {
    pub(super) lsn: Lsn,
    pub(super) bytes: MissingBytes,
    pub(super) cost: u64,
}

/// Where deferred frames come from.
#[derive(Debug)]
pub(super) enum Source {
    File(Backlog),
    /// A simulated log holds them all the time and takes its time.
    Simulated(VecDeque<Replayed>),
}

impl Source {
    /// The next frames from `from` on, and the source back.
    async fn load(self, from: Lsn) -> (Self, Result<Vec<Replayed>, LoadError>) {
        match self {
            Self::Simulated(mut frames) => {
                tokio::time::sleep(SIMULATED_READ).await;
                while frames.pop_front_if(|frame| frame.lsn < from).is_some() {}
                let next = frames.pop_front().into_iter().collect();
                (Self::Simulated(frames), Ok(next))
            }
            Self::File(mut backlog) => {
                let reading = tokio::task::spawn_blocking(move || {
                    let loaded = backlog.load(from);
                    (Self::File(backlog), loaded)
                });
                match reading.await {
                    Ok(read) => read,
                    Err(failed) => std::panic::resume_unwind(failed.into_panic()),
                }
            }
        }
    }
}

/// The task that reads; it ends with whoever holds this.
#[derive(Debug)]
pub(super) struct LoaderTask(tokio::task::JoinHandle<()>);

impl Drop for LoaderTask {
    fn drop(&mut self) {
        self.0.abort();
    }
}

/// Reads what a start deferred.
#[derive(Debug)]
pub(super) struct Loader {
    pub(super) context: Arc<LogContext>,
    pub(super) source: Source,
    /// In log order.
    pub(super) missing: VecDeque<Missing>,
    pub(super) on_fatal: FatalReport,
}

impl Loader {
    /// Starts, if there is anything to read. Readers and flushes wait from now on.
    pub(super) fn start(self) -> Option<LoaderTask> {
        self.missing.front()?;
        let bytes = self.missing.iter().map(|missing| missing.cost).sum();
        self.context.loading.missing_bytes.store(bytes, Ordering::Relaxed);
        self.publish();
        let history = self.context.history.clone();
        Some(LoaderTask(history.spawn(self.run())))
    }

    async fn run(mut self) {
        let started = self.context.clock.monotonic();
        let batches = self.missing.len();
        while let Some(next) = self.missing.front().map(|missing| missing.lsn) {
            self.await_room(next).await;
            let (source, loaded) = self.source.load(next).await;
            self.source = source;
            match loaded {
                Ok(frames) if frames.is_empty() => return self.give_up(&"it ends too early"),
                Ok(frames) => self.take(frames),
                Err(damage) => return self.give_up(&damage),
            }
        }
        let elapsed = self.context.clock.monotonic().saturating_sub(started);
        info!(batches, ms = elapsed.as_millis() as u64, "all of the log is in memory");
    }

    fn give_up(&self, damage: &dyn std::fmt::Display) {
        self.context.loading.set(Progress::Lost);
        error!(error = %damage, "acknowledged records are lost; the next start will refuse this log");
        (self.on_fatal)(&format!("the write-ahead log cannot be read: {damage}"));
    }

    /// Waits until the budget has room, or somebody waits for `next`: a flush, which makes room, or a reader.
    async fn await_room(&self, next: Lsn) {
        let LogContext { budget, loading, .. } = &*self.context;
        loop {
            let missing = loading.missing_bytes.load(Ordering::Relaxed);
            let held = budget.used().saturating_sub(missing);
            if held < budget.limit() || loading.wanted.load(Ordering::Relaxed) >= next.get() {
                return;
            }
            loading.room.notified().await;
        }
    }

    fn take(&mut self, frames: Vec<Replayed>) {
        for Replayed { lsn, payload, .. } in frames {
            // Those of topics that are gone, and those that history has, are nobody's.
            let Some(missing) = self.missing.pop_front_if(|missing| missing.lsn == lsn) else {
                continue;
            };
            // The only one who sets it.
            let _ = missing.bytes.set(worth_keeping(frame::batch_of(&payload)));
            self.context.loading.missing_bytes.fetch_sub(missing.cost, Ordering::Relaxed);
        }
        self.publish();
    }

    /// Everything before the next batch that is missing is in memory, whoever read it. The log may be
    /// trimmed as far as that; what a topic that is gone has left there is not read any more.
    fn publish(&self) {
        let through = self.missing.front().map_or(Lsn::MAX, |missing| missing.lsn.prev());
        self.context.loading.set(Progress::Through(through));
    }
}
