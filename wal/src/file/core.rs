//! What the threads of one open log share.

use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::time::Duration;

use antiphon_common::{Clock, Lsn};
use parking_lot::{Condvar, Mutex};

use super::counters::Counters;
use super::delivery::{Delivery, Lost};
use super::group::{Group, Stamp};
use super::log::{Log, Phase, Ticketed};
use super::segment_file::WriteMode;
use super::segment_table::Segment;
use super::summaries::Summaries;
use super::{DiskHook, DiskOperation};
use crate::fault::OnFatal;
use crate::format::segment::SegmentHeader;
use crate::slab::SlabPool;
use crate::{AppendError, Completion, FatalFault, WalStats};

pub(crate) struct Core {
    pub(crate) directory: PathBuf,
    pub(crate) stamp: Stamp,
    pub(crate) mode: WriteMode,
    pub(crate) segment_bytes: u64,
    pub(crate) capacity_bytes: u64,
    pub(crate) spin: Duration,
    pub(crate) slab_reserve_idle: Duration,
    pub(crate) clock: Arc<dyn Clock>,
    pub(crate) hook: Option<DiskHook>,
    pub(crate) slabs: Arc<SlabPool>,
    /// Of frames that are loaded after the opening, each as large as it must be.
    pub(crate) loaded: Arc<SlabPool>,
    pub(crate) summaries: Summaries,
    pub(crate) log: Mutex<Log>,
    /// Wakes a parked writer: a group is queued, or the log ends.
    pub(crate) work: Condvar,
    /// Wakes writers whose segment was entered on credit: its file is there, or never will be.
    pub(crate) attached: Condvar,
    /// Wakes the housekeeper.
    pub(crate) chores: Condvar,
    pub(crate) delivery: Delivery,
    pub(crate) counters: Counters,
    /// Bytes queued, readable without the lock. Written under it.
    pub(crate) queued_hint: AtomicUsize,
    /// Writers awake and looking for work. They need no wake-up call.
    pub(crate) spinning: AtomicUsize,
    /// Writers between taking a group and finishing its write.
    pub(crate) writing: AtomicUsize,
    pub(crate) writers_left: AtomicUsize,
    pub(crate) durable: AtomicU64,
    pub(crate) on_fatal: Mutex<Option<OnFatal>>,
}

impl Core {
    pub(crate) fn append(
        &self,
        length: usize,
        fill: &mut dyn FnMut(&mut [u8]),
        completion: Completion,
    ) -> Result<Lsn, AppendError> {
        let mut log = self.log.lock();
        let appended = log.append(length, fill, completion);
        self.publish_queue(&log);
        // A writer that looks for work finds it, even if it gives up looking right now: it takes
        // the lock before it sleeps.
        let wake = log.parked > 0 && self.spinning.load(Ordering::SeqCst) == 0;
        let chore = log.segments.needs_attention();
        drop(log);
        if wake && appended.is_ok() {
            self.work.notify_one();
        }
        if chore {
            self.chores.notify_one();
        }
        let lsn = appended?;
        self.counters.appended_bytes.fetch_add(length as u64, Ordering::Relaxed);
        Ok(lsn)
    }

    fn publish_queue(&self, log: &Log) {
        self.queued_hint.store(log.queued_bytes(), Ordering::SeqCst);
    }

    pub(crate) fn durable(&self) -> Lsn {
        Lsn(self.durable.load(Ordering::Acquire))
    }

    /// The oldest queued group.
    pub(crate) fn take(&self, log: &mut Log) -> Option<Ticketed> {
        let taken = log.take();
        self.publish_queue(log);
        taken
    }

    /// Waits for the file of a segment that was entered on credit.
    pub(crate) fn await_file(&self, segment: &Segment) -> Result<(), Lost> {
        let mut log = self.log.lock();
        while segment.file.get().is_none() {
            match &log.phase {
                Phase::Failed(fault) => return Err(Lost::Failed(fault.clone())),
                Phase::Closing if log.segments.is_out_of_space() => return Err(Lost::Closed),
                Phase::Open | Phase::Closing => self.attached.wait(&mut log),
            }
        }
        Ok(())
    }

    pub(crate) fn before(&self, operation: DiskOperation) -> std::io::Result<()> {
        self.hook.as_ref().map_or(Ok(()), |hook| hook(operation))
    }

    pub(crate) fn finish(&self, group: Ticketed, outcome: Result<(), Lost>) {
        if self.delivery.finish(group, outcome, &|group| self.note_durable(group)) {
            self.fail(FatalFault::Panicked { place: "a completion" });
        }
    }

    fn note_durable(&self, group: &Group) {
        self.durable.store(group.last_lsn().get(), Ordering::Release);
        let payload = group.payload_bytes().get();
        self.counters.durable_bytes.fetch_add(payload, Ordering::Relaxed);
        self.summarise(group);
    }

    fn summarise(&self, group: &Group) {
        let Some(file) = group.segment.file.get() else { return };
        let header = SegmentHeader {
            segment: file.id,
            epoch: self.stamp.epoch,
            first_lsn: group.segment.first_lsn,
            file_bytes: self.segment_bytes,
            salt: self.stamp.salt,
        };
        if self.summaries.note(group, header) {
            // Under the lock, so that the housekeeper is not between its look and its sleep.
            let _log = self.log.lock();
            self.chores.notify_one();
        }
    }

    /// Ends the log: nothing that is not durable yet will be acknowledged. Only the first fault
    /// counts.
    pub(crate) fn fail(&self, fault: FatalFault) {
        let queued = {
            let mut log = self.log.lock();
            if matches!(log.phase, Phase::Failed(_)) {
                return;
            }
            log.phase = Phase::Failed(fault.clone());
            std::iter::from_fn(|| self.take(&mut log)).collect::<Vec<_>>()
        };
        tracing::error!(error = %fault, "write-ahead log failed; nothing more is acknowledged");
        self.wake_all();
        let on_fatal = self.on_fatal.lock().take();
        if let Some(on_fatal) = on_fatal {
            on_fatal(fault.clone());
        }
        for group in queued {
            self.finish(group, Err(Lost::Failed(fault.clone())));
        }
    }

    /// Takes no more appends and lets the threads drain the queue.
    pub(crate) fn begin_close(&self) {
        let mut log = self.log.lock();
        if matches!(log.phase, Phase::Open) {
            log.phase = Phase::Closing;
        }
        drop(log);
        self.wake_all();
    }

    pub(crate) fn wake_all(&self) {
        self.work.notify_all();
        self.attached.notify_all();
        self.chores.notify_all();
    }

    pub(crate) fn stats(&self) -> WalStats {
        let mut stats = WalStats::default();
        {
            let log = self.log.lock();
            stats.next_lsn = log.next_lsn;
            stats.queued_bytes = log.queued_bytes() as u64;
            (stats.segments, stats.spare_segments, stats.disk_bytes) = log.segments.usage();
        }
        stats.durable_lsn = self.durable();
        stats.disk_capacity_bytes = self.capacity_bytes;
        stats.slab_bytes = self.slabs.leased_bytes() + self.loaded.leased_bytes();
        stats.slab_free_bytes = self.slabs.free_bytes();
        self.counters.add_to(&mut stats);
        stats
    }
}
