//! Offset continuity: every offset of every partition once, in order, up to the end.

/// What one partition still owes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Partition {
    next: i64,
    end: i64,
}

/// Progress over all partitions of a run.
#[derive(Clone, Debug, Default)]
pub(super) struct Progress {
    topics: Vec<Vec<Partition>>,
    unfinished: usize,
    /// Records seen for the first time.
    pub(super) records: u64,
    /// Their bytes.
    pub(super) bytes: u64,
    /// Offsets that were skipped.
    pub(super) missing: u64,
    /// Records that had been seen before.
    pub(super) repeated: u64,
    /// Records beyond the end; written while we read, not counted.
    pub(super) beyond: u64,
}

impl Progress {
    /// Expects the offsets `start..end` of each partition of each topic.
    pub(super) fn new(ranges: Vec<Vec<(i64, i64)>>) -> Self {
        let expect = |&(next, end): &(i64, i64)| Partition { next, end };
        let topics: Vec<Vec<Partition>> =
            ranges.iter().map(|topic| topic.iter().map(expect).collect()).collect();
        let unfinished = topics.iter().flatten().filter(|part| part.next < part.end).count();
        Self { topics, unfinished, ..Self::default() }
    }

    /// Takes note of one record.
    pub(super) fn see(&mut self, topic: usize, partition: i32, offset: i64, bytes: usize) {
        let found = usize::try_from(partition)
            .ok()
            .and_then(|index| self.topics.get_mut(topic)?.get_mut(index));
        let Some(part) = found else {
            self.beyond += 1;
            return;
        };
        if offset >= part.end {
            self.beyond += 1;
        } else if offset < part.next {
            self.repeated += 1;
        } else {
            self.missing += offset.abs_diff(part.next);
            part.next = offset + 1;
            self.records += 1;
            self.bytes += bytes as u64;
            self.unfinished -= usize::from(part.next == part.end);
        }
    }

    /// True when every partition was read to its end.
    pub(super) fn is_done(&self) -> bool {
        self.unfinished == 0
    }

    /// Offsets that never came.
    pub(super) fn outstanding(&self) -> u64 {
        let owed = |part: &Partition| u64::try_from(part.end - part.next).unwrap_or(0);
        self.topics.iter().flatten().map(owed).sum()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_partition_read_in_order_is_done_at_its_end() {
        let mut progress = Progress::new(vec![vec![(5, 7), (3, 3)]]);
        progress.see(0, 0, 5, 10);
        assert!(!progress.is_done());
        progress.see(0, 0, 6, 10);
        assert!(progress.is_done());
        assert_eq!((progress.records, progress.bytes, progress.outstanding()), (2, 20, 0));
    }

    #[test]
    fn gaps_and_repeats_are_counted() {
        let mut progress = Progress::new(vec![vec![(0, 10)]]);
        [0, 1, 1, 5, 4].into_iter().for_each(|offset| progress.see(0, 0, offset, 1));
        assert_eq!((progress.missing, progress.repeated, progress.outstanding()), (3, 2, 4));
    }

    #[test]
    fn what_was_written_meanwhile_is_set_aside() {
        let mut progress = Progress::new(vec![vec![(0, 1)]]);
        progress.see(0, 0, 0, 1);
        progress.see(0, 0, 1, 1);
        progress.see(0, 9, 0, 1);
        assert_eq!((progress.records, progress.beyond, progress.is_done()), (1, 2, true));
    }
}
