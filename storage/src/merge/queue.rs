//! Which partitions are worth a look, and when: kept up to date by the flushes themselves, so that
//! nobody ever goes through all partitions, let alone through their rows.

use std::collections::{BTreeSet, HashMap};
use std::time::Duration;

use antiphon_catalog::{PartitionRow, SegmentRow};
use antiphon_common::{Offset, PartitionId, Timestamp};
use parking_lot::Mutex;
use tokio::sync::Notify;

use super::options::MergeOptions;
use super::plan::Open;

/// Partitions with something to merge, by the time of the next look. Some hundred bytes each.
#[derive(Debug)]
pub(crate) struct MergeQueue {
    options: MergeOptions,
    inner: Mutex<Inner>,
    sooner: Notify,
}

#[derive(Debug, Default)]
struct Inner {
    partitions: HashMap<PartitionId, Backlog>,
    by_time: BTreeSet<(Timestamp, PartitionId)>,
}

#[derive(Clone, Copy, Debug)]
struct Backlog {
    /// The planner reads rows from here on.
    from: Offset,
    open: Open,
    due: Option<Timestamp>,
}

impl MergeQueue {
    pub(crate) fn new(options: MergeOptions) -> Self {
        Self { options, inner: Mutex::default(), sooner: Notify::new() }
    }

    pub(crate) fn options(&self) -> &MergeOptions {
        &self.options
    }

    /// Takes note of what earlier runs left: a look at each partition whose history is not settled.
    pub(crate) fn restore(&self, row: &PartitionRow, now: Timestamp) {
        let unsettled = row.history_bytes > 0 && row.flushed_end > row.settled_end;
        let due = unsettled.then(|| after(now, self.options.first_look_after));
        self.inner.lock().set(row.partition_id, row.settled_end, Open::default(), due);
    }

    /// Takes note of a segment that was flushed.
    pub(crate) fn flushed(&self, segment: &SegmentRow) {
        let mut inner = self.inner.lock();
        let id = segment.partition_id;
        let Backlog { from, open, due } = inner.get(id);
        let open = Open { segments: open.segments + 1, bytes: open.bytes + segment.length };
        let look = match self.options.suffices(open.segments, open.bytes) {
            true => segment.created_at,
            false => after(segment.created_at, self.options.age),
        };
        let sooner = due.is_none_or(|due| look < due);
        inner.set(id, from, open, Some(due.map_or(look, |due| due.min(look))));
        drop(inner);
        if sooner {
            self.sooner.notify_one();
        }
    }

    /// Resolves when some look was brought forward since the last call.
    pub(crate) async fn sooner(&self) {
        self.sooner.notified().await;
    }

    /// How long until the next look; `None` if none is due ever.
    pub(crate) fn until_due(&self, now: Timestamp) -> Option<Duration> {
        let (due, _) = *self.inner.lock().by_time.first()?;
        let millis = due.get().saturating_sub(now.get()).max(0);
        Some(Duration::from_millis(millis.unsigned_abs()))
    }

    /// Takes the partition whose look is due longest, and where to read from.
    pub(crate) fn take_due(&self, now: Timestamp) -> Option<(PartitionId, Offset)> {
        let mut inner = self.inner.lock();
        let (_, id) = *inner.by_time.first().filter(|(due, _)| *due <= now)?;
        let Backlog { from, open, .. } = inner.get(id);
        inner.set(id, from, open, None);
        Some((id, from))
    }

    /// What a look found. Flushes that came meanwhile have asked for a look of their own.
    pub(crate) fn looked(
        &self,
        id: PartitionId,
        from: Offset,
        open: Open,
        again: Option<Timestamp>,
    ) {
        let mut inner = self.inner.lock();
        let Backlog { due, .. } = inner.get(id);
        let due = [due, again].into_iter().flatten().min();
        inner.set(id, from, open, due);
    }

    /// Asks for a look at `at`.
    pub(crate) fn look_at(&self, id: PartitionId, at: Timestamp) {
        let mut inner = self.inner.lock();
        let Backlog { from, open, due } = inner.get(id);
        inner.set(id, from, open, Some(due.map_or(at, |due| due.min(at))));
    }

    /// Forgets a partition that is gone.
    pub(crate) fn forget(&self, id: PartitionId) {
        let mut inner = self.inner.lock();
        inner.set(id, Offset::ZERO, Open::default(), None);
        inner.partitions.remove(&id);
    }

    /// Partitions whose look is due at `now`. Counts as far as the result goes.
    pub(crate) fn due(&self, now: Timestamp) -> u64 {
        let end = (after(now, Duration::from_millis(1)), PartitionId(0));
        self.inner.lock().by_time.range(..end).count() as u64
    }
}

impl Inner {
    fn get(&self, id: PartitionId) -> Backlog {
        let none = Backlog { from: Offset::ZERO, open: Open::default(), due: None };
        self.partitions.get(&id).copied().unwrap_or(none)
    }

    fn set(&mut self, id: PartitionId, from: Offset, open: Open, due: Option<Timestamp>) {
        let before = self.partitions.insert(id, Backlog { from, open, due });
        if let Some(due) = before.and_then(|before| before.due) {
            self.by_time.remove(&(due, id));
        }
        self.by_time.extend(due.map(|due| (due, id)));
    }
}

/// `duration` after `time`.
pub(crate) fn after(time: Timestamp, duration: Duration) -> Timestamp {
    let millis = i64::try_from(duration.as_millis()).unwrap_or(i64::MAX);
    Timestamp(time.get().saturating_add(millis))
}
