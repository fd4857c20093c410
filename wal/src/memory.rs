//! The log for tests: nothing survives, unless the test says so.

use std::collections::VecDeque;
use std::fmt;
use std::sync::Arc;
use std::thread::{self, JoinHandle, ThreadId};

use antiphon_common::{ByteCount, Lsn, WalEpoch};
use bytes::Bytes;
use parking_lot::{Condvar, Mutex};

use crate::file::run_completion;
use crate::{AppendError, AppendFailed, Completion, FatalFault, Replayed, Shortage, Wal, WalStats};

/// How a memory log is opened.
#[derive(Clone, Debug)]
pub struct MemoryWalOptions {
    /// The number of this opening.
    pub epoch: WalEpoch,
    /// Where numbering starts when nothing survived.
    pub first_lsn_if_empty: Lsn,
    /// Limit of payload bytes held until they are trimmed (default 256 MiB).
    pub capacity_bytes: ByteCount,
    /// The largest payload (default 64 MiB).
    pub payload_bytes_max: usize,
}

impl Default for MemoryWalOptions {
    fn default() -> Self {
        Self {
            epoch: WalEpoch(1),
            first_lsn_if_empty: Lsn::FIRST,
            capacity_bytes: ByteCount::mebibytes(256),
            payload_bytes_max: 64 << 20,
        }
    }
}

#[derive(Clone, Debug, PartialEq, Eq)]
enum Phase {
    Open,
    Closing,
    Crashed,
    Failed(&'static str),
}

struct Pending {
    payload: Bytes,
    completion: Completion,
}

struct State {
    phase: Phase,
    /// Durable and not trimmed.
    kept: VecDeque<Replayed>,
    /// Appended and not durable, the first one at `durable.next()`.
    pending: VecDeque<Pending>,
    durable: Lsn,
    next_lsn: Lsn,
    /// How many more frames may become durable; `None` is no limit.
    permits: Option<u64>,
    stats: WalStats,
}

impl State {
    fn held_bytes(&self) -> usize {
        let kept: usize = self.kept.iter().map(|frame| frame.payload.len()).sum();
        kept + self.pending.iter().map(|frame| frame.payload.len()).sum::<usize>()
    }

    fn may_release(&self) -> bool {
        let permitted = self.permits != Some(0) || self.phase != Phase::Open;
        permitted && !self.pending.is_empty()
    }
}

struct Shared {
    options: MemoryWalOptions,
    state: Mutex<State>,
    changed: Condvar,
}

/// A log in memory with the contract of [`Wal`] and hooks for tests: durability can be held back
/// and released frame by frame, and a crash can be simulated.
pub struct MemoryWal {
    shared: Arc<Shared>,
    thread: Mutex<Option<JoinHandle<()>>>,
    thread_id: ThreadId,
}

impl MemoryWal {
    /// An empty log.
    pub fn new(options: MemoryWalOptions) -> Self {
        Self::reopen(options, Vec::new(), &mut |_| {})
    }

    /// A log that continues after `survivors`, what [`MemoryWal::crash`] returned. Hands each of
    /// them to `replayed`.
    pub fn reopen(
        options: MemoryWalOptions,
        survivors: Vec<Replayed>,
        replayed: &mut dyn FnMut(Replayed),
    ) -> Self {
        survivors.iter().cloned().for_each(replayed);
        let last = survivors.last().map_or(options.first_lsn_if_empty.prev(), |frame| frame.lsn);
        let state = State {
            phase: Phase::Open,
            kept: survivors.into(),
            pending: VecDeque::new(),
            durable: last,
            next_lsn: last.next(),
            permits: None,
            stats: WalStats::default(),
        };
        let shared = Shared { options, state: Mutex::new(state), changed: Condvar::new() };
        let shared = Arc::new(shared);
        let body = Arc::clone(&shared);
        let thread = thread::spawn(move || deliver(&body));
        let thread_id = thread.thread().id();
        Self { shared, thread: Mutex::new(Some(thread)), thread_id }
    }

    /// From now on nothing becomes durable, except what `release` lets through.
    pub fn hold(&self) {
        self.shared.state.lock().permits = Some(0);
    }

    /// Lets `frames` more frames become durable.
    pub fn release(&self, frames: u64) {
        let mut state = self.shared.state.lock();
        state.permits = state.permits.map(|permits| permits.saturating_add(frames));
        drop(state);
        self.shared.changed.notify_all();
    }

    /// Ends `hold`.
    pub fn resume(&self) {
        self.shared.state.lock().permits = None;
        self.shared.changed.notify_all();
    }

    /// The machine stops: what is not durable is gone, and its completions fail. Returns what a
    /// recovery would find, for [`MemoryWal::reopen`].
    pub fn crash(&self) -> Vec<Replayed> {
        let mut state = self.shared.state.lock();
        state.phase = Phase::Crashed;
        let survivors = state.kept.iter().cloned().collect();
        drop(state);
        self.join();
        survivors
    }

    /// The disk breaks: like a failed sync of the file log.
    pub fn fail(&self, reason: &'static str) {
        self.shared.state.lock().phase = Phase::Failed(reason);
        self.shared.changed.notify_all();
    }

    fn join(&self) {
        self.shared.changed.notify_all();
        if thread::current().id() != self.thread_id
            && let Some(thread) = self.thread.lock().take()
        {
            let _ = thread.join();
        }
    }
}

/// The body of the thread that stands for the disk.
fn deliver(shared: &Shared) {
    let mut state = shared.state.lock();
    loop {
        if state.may_release() {
            let (completion, result) = settle_next(&mut state, shared.options.epoch);
            drop(state);
            if run_completion(completion, result) {
                shared.state.lock().phase = Phase::Failed("a completion panicked");
            }
            state = shared.state.lock();
        } else if matches!(state.phase, Phase::Open | Phase::Failed(_)) {
            shared.changed.wait(&mut state);
        } else {
            return;
        }
    }
}

fn settle_next(state: &mut State, epoch: WalEpoch) -> (Completion, Result<Bytes, AppendFailed>) {
    let lost = state.next_lsn.get() - state.pending.len() as u64;
    let Pending { payload, completion } = state.pending.pop_front().expect("may_release");
    let lsn = Lsn(lost);
    let fault = match state.phase {
        Phase::Open | Phase::Closing => None,
        Phase::Crashed => Some(FatalFault::Injected("crash")),
        Phase::Failed(reason) => Some(FatalFault::Injected(reason)),
    };
    if let Some(fault) = fault {
        return (completion, Err(AppendFailed::Failed { lsn, fault }));
    }
    state.permits = state.permits.map(|permits| permits.saturating_sub(1));
    state.durable = lsn;
    state.stats.groups += 1;
    state.stats.durable_bytes += payload.len() as u64;
    state.kept.push_back(Replayed { lsn, epoch, payload: payload.clone() });
    (completion, Ok(payload))
}

impl Wal for MemoryWal {
    fn append(
        &self,
        length: usize,
        fill: &mut dyn FnMut(&mut [u8]),
        completion: Completion,
    ) -> Result<Lsn, AppendError> {
        let mut state = self.shared.state.lock();
        match state.phase {
            Phase::Open => {}
            Phase::Closing | Phase::Crashed => return Err(AppendError::Closed),
            Phase::Failed(reason) => {
                return Err(AppendError::Failed(FatalFault::Injected(reason)));
            }
        }
        let (limit, wanted) = (self.shared.options.payload_bytes_max, ByteCount(length as u64));
        if length > limit {
            return Err(AppendError::TooLarge { length: wanted, limit: ByteCount(limit as u64) });
        }
        let capacity = self.shared.options.capacity_bytes.get() as usize;
        if state.held_bytes() + length > capacity {
            return Err(AppendError::Full { shortage: Shortage::Capacity, wanted });
        }
        let mut payload = vec![0; length];
        fill(&mut payload);
        let lsn = state.next_lsn;
        state.next_lsn = lsn.next();
        state.stats.appended_bytes += length as u64;
        state.pending.push_back(Pending { payload: payload.into(), completion });
        drop(state);
        self.shared.changed.notify_all();
        Ok(lsn)
    }

    fn durable(&self) -> Lsn {
        self.shared.state.lock().durable
    }

    fn trim(&self, through: Lsn) {
        self.shared.state.lock().kept.retain(|frame| frame.lsn > through);
    }

    fn stats(&self) -> WalStats {
        let state = self.shared.state.lock();
        WalStats {
            next_lsn: state.next_lsn,
            durable_lsn: state.durable,
            queued_bytes: state.pending.iter().map(|frame| frame.payload.len() as u64).sum(),
            disk_bytes: state.held_bytes() as u64,
            disk_capacity_bytes: self.shared.options.capacity_bytes.get(),
            ..state.stats
        }
    }

    fn close(&self) {
        {
            let mut state = self.shared.state.lock();
            if matches!(state.phase, Phase::Open | Phase::Failed(_)) {
                let failed = state.phase != Phase::Open;
                state.phase = if failed { Phase::Crashed } else { Phase::Closing };
            }
        }
        self.join();
    }
}

impl Drop for MemoryWal {
    fn drop(&mut self) {
        self.close();
    }
}

impl fmt::Debug for MemoryWal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("MemoryWal").field("durable", &self.durable()).finish_non_exhaustive()
    }
}
