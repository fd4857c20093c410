//! The write-ahead log on a disk that keeps only what was synced.
//!
//! Without threads: the run says when frames become durable ([`SimWal::sync`]) and what a crash
//! leaves ([`SimWal::crash`]): all that was acknowledged, and of the rest a prefix, because a write
//! that nobody waited for may still have reached the disk.

use std::collections::VecDeque;
use std::fmt;
use std::sync::Arc;

use antiphon_common::{ByteCount, Lsn, WalEpoch};
use antiphon_wal::{AppendError, Completion, Replayed, Shortage, Wal, WalStats};
use bytes::Bytes;
use parking_lot::Mutex;

use super::dice::Dice;

/// Small enough that an outage of the bucket fills it.
const CAPACITY_BYTES: usize = 192 << 10;
/// Frames that a disk loses which says "synced" before it is true.
const LIES_MAX: u64 = 12;

struct State {
    kept: VecDeque<Replayed>,
    pending: VecDeque<(Bytes, Completion)>,
    durable: Lsn,
    closed: bool,
}

/// One opening of the log.
pub(crate) struct SimWal(Mutex<State>);

impl SimWal {
    /// Opens the log over what the disk holds. `Err` is the gap that a real log refuses to open
    /// over: the first frame it has, although an earlier one is needed.
    pub(crate) fn open(disk: Vec<Replayed>, expected_start: Lsn) -> Result<Arc<Self>, Lsn> {
        let first = disk.first().map_or(expected_start, |frame| frame.lsn);
        if first > expected_start {
            return Err(first);
        }
        let last = disk.last().map_or(Lsn::ZERO, |frame| frame.lsn);
        let durable = last.max(expected_start.prev());
        let pending = VecDeque::new();
        Ok(Arc::new(Self(Mutex::new(State { kept: disk.into(), pending, durable, closed: false }))))
    }

    /// Frames that wait to become durable.
    pub(crate) fn waiting(&self) -> usize {
        self.0.lock().pending.len()
    }

    /// Makes the oldest `frames` durable, which acknowledges them.
    pub(crate) fn sync(&self, frames: usize) {
        for _ in 0..frames {
            let mut state = self.0.lock();
            let Some((payload, completion)) = state.pending.pop_front() else { return };
            state.keep(payload.clone());
            drop(state);
            completion(Ok(payload));
        }
    }

    /// The machine stops. What the disk holds afterwards; `lies` makes it one that said "synced"
    /// before it was true.
    pub(crate) fn crash(&self, dice: &mut Dice, lies: bool) -> Vec<Replayed> {
        let mut state = self.0.lock();
        let lucky = dice.below(state.pending.len() as u64 + 1);
        for _ in 0..lucky {
            if let Some((payload, _)) = state.pending.pop_front() {
                state.keep(payload);
            }
        }
        let mut kept: Vec<_> = state.kept.iter().cloned().collect();
        if lies {
            kept.truncate(kept.len().saturating_sub(dice.below(LIES_MAX) as usize));
        }
        kept
    }
}

impl State {
    fn keep(&mut self, payload: Bytes) {
        self.durable = self.durable.next();
        self.kept.push_back(Replayed { lsn: self.durable, epoch: WalEpoch(1), payload });
    }

    fn next_lsn(&self) -> Lsn {
        Lsn(self.durable.get() + self.pending.len() as u64 + 1)
    }

    fn held_bytes(&self) -> usize {
        let kept: usize = self.kept.iter().map(|frame| frame.payload.len()).sum();
        kept + self.pending.iter().map(|(payload, _)| payload.len()).sum::<usize>()
    }
}

impl Wal for SimWal {
    fn append(
        &self,
        length: usize,
        fill: &mut dyn FnMut(&mut [u8]),
        completion: Completion,
    ) -> Result<Lsn, AppendError> {
        let mut state = self.0.lock();
        if state.closed {
            return Err(AppendError::Closed);
        }
        if state.held_bytes() + length > CAPACITY_BYTES {
            let wanted = ByteCount(length as u64);
            return Err(AppendError::Full { shortage: Shortage::Capacity, wanted });
        }
        let mut payload = vec![0; length];
        fill(&mut payload);
        let lsn = state.next_lsn();
        state.pending.push_back((payload.into(), completion));
        Ok(lsn)
    }

    fn durable(&self) -> Lsn {
        self.0.lock().durable
    }

    fn trim(&self, through: Lsn) {
        self.0.lock().kept.retain(|frame| frame.lsn > through);
    }

    fn stats(&self) -> WalStats {
        let state = self.0.lock();
        WalStats {
            next_lsn: state.next_lsn(),
            durable_lsn: state.durable,
            disk_bytes: state.held_bytes() as u64,
            disk_capacity_bytes: CAPACITY_BYTES as u64,
            ..WalStats::default()
        }
    }

    fn close(&self) {
        self.0.lock().closed = true;
        self.sync(usize::MAX);
    }
}

impl fmt::Debug for SimWal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("SimWal").field("durable", &self.durable()).finish_non_exhaustive()
    }
}
