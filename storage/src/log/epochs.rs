//! Which leader wrote which offsets (KIP-101): the history that lets a client find out where its
//! own view of the log and ours part.

use antiphon_common::{LeaderEpoch, Offset};

/// Start offsets of leader epochs, ascending in both fields.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct EpochHistory {
    entries: Vec<(LeaderEpoch, Offset)>,
}

/// Where an epoch ends, as OffsetForLeaderEpoch answers it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct EpochEnd {
    /// The largest epoch at or below the one asked for that has records.
    pub epoch: LeaderEpoch,
    /// The offset after its last record.
    pub end_offset: Offset,
}

impl EpochHistory {
    /// A history from entries as the catalog keeps them.
    pub fn from_entries(entries: Vec<(LeaderEpoch, Offset)>) -> Self {
        debug_assert!(entries.is_sorted());
        Self { entries }
    }

    /// Entries that begin below `end`, which is what may be made durable with a flush up to `end`.
    pub fn entries_below(&self, end: Offset) -> Vec<(LeaderEpoch, Offset)> {
        self.entries.iter().copied().filter(|(_, start)| *start < end).collect()
    }

    /// The newest epoch, if there is any.
    pub fn latest(&self) -> Option<LeaderEpoch> {
        self.entries.last().map(|(epoch, _)| *epoch)
    }

    /// The epoch that wrote the record at `offset`.
    pub fn epoch_at(&self, offset: Offset) -> Option<LeaderEpoch> {
        let after = self.entries.partition_point(|(_, start)| *start <= offset);
        Some(self.entries.get(after.checked_sub(1)?)?.0)
    }

    /// Notes that `epoch` writes from `start` on. An epoch that never wrote a record leaves no trace.
    pub fn begin(&mut self, epoch: LeaderEpoch, start: Offset) {
        if self.latest() >= Some(epoch) {
            return;
        }
        while self.entries.last().is_some_and(|(_, previous)| *previous >= start) {
            self.entries.pop();
        }
        self.entries.push((epoch, start));
    }

    /// Forgets epochs that ended at or below `log_start`; the one that `log_start` lies in now
    /// begins there.
    pub fn trim(&mut self, log_start: Offset) {
        let ended = self.entries.iter().skip(1).take_while(|(_, start)| *start <= log_start);
        let ended = ended.count();
        self.entries.drain(..ended);
        if let Some((_, start)) = self.entries.first_mut() {
            *start = (*start).max(log_start);
        }
    }

    /// Where `epoch` ends, given the log's end; `None` when nothing is known about it (newer than
    /// every entry, or there are no entries).
    pub fn end_of(&self, epoch: LeaderEpoch, log_end: Offset) -> Option<EpochEnd> {
        if self.latest() == Some(epoch) {
            return Some(EpochEnd { epoch, end_offset: log_end });
        }
        let higher = self.entries.partition_point(|(known, _)| *known <= epoch);
        let (_, end_offset) = *self.entries.get(higher)?;
        let floor = higher.checked_sub(1).and_then(|index| self.entries.get(index));
        Some(EpochEnd { epoch: floor.map_or(epoch, |(known, _)| *known), end_offset })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn history(entries: &[(i32, i64)]) -> EpochHistory {
        let mut history = EpochHistory::default();
        for (epoch, start) in entries {
            history.begin(LeaderEpoch(*epoch), Offset(*start));
        }
        history
    }

    fn end(history: &EpochHistory, epoch: i32) -> Option<(i32, i64)> {
        let end = history.end_of(LeaderEpoch(epoch), Offset(100))?;
        Some((end.epoch.get(), end.end_offset.get()))
    }

    #[test]
    fn an_epoch_ends_where_the_next_begins() {
        let history = history(&[(1, 0), (3, 40), (7, 90)]);
        assert_eq!(end(&history, 7), Some((7, 100)));
        assert_eq!(end(&history, 3), Some((3, 90)));
        assert_eq!(end(&history, 5), Some((3, 90)));
        assert_eq!(end(&history, 2), Some((1, 40)));
        assert_eq!(end(&history, 0), Some((0, 0)));
        assert_eq!(end(&history, 8), None);
    }

    #[test]
    fn an_epoch_without_records_leaves_no_trace() {
        let history = history(&[(1, 0), (2, 10), (3, 10)]);
        assert_eq!(history.entries_below(Offset(100)).len(), 2);
        assert_eq!(end(&history, 2), Some((1, 10)));
    }

    #[test]
    fn trimming_keeps_the_epoch_that_the_log_now_starts_in() {
        let mut history = history(&[(1, 0), (3, 40), (7, 90)]);
        history.trim(Offset(50));
        assert_eq!(
            history.entries_below(Offset(1000)),
            [(LeaderEpoch(3), Offset(50)), (LeaderEpoch(7), Offset(90))]
        );
    }
}
