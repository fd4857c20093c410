//! When to read ahead, and how far. Pure: decides, does nothing.
//!
//! A reader is known by where it stopped: the next read of the same section that starts in the
//! block where another ended, or in the block after it, is taken for the same reader going on.
//! (Kafka's fetch carries no more than an offset.) A reader that starts at a section's first block
//! is taken for sequential at once, because that is how it came from the section before.
//!
//! Each time a reader has used up half of what was read ahead for it, the window doubles and the
//! gap is filled. A reader that finds gone what was read ahead for it starts over with the smallest
//! window: the cache is too small for all its readers, and reading further ahead would make it
//! worse.

use std::collections::VecDeque;
use std::ops::Range;

use antiphon_common::ObjectId;
use parking_lot::Mutex;

use crate::object::{BlockEntry, SectionIndex};

/// How many readers are remembered; the one that read longest ago is forgotten first.
const READERS_MAX: usize = 256;

/// One partition's section of one object, by where it starts.
pub(super) type SectionKey = (ObjectId, u64);

/// What a reader is about to do.
#[derive(Clone, Debug)]
pub(super) struct Step {
    pub(super) section: SectionKey,
    /// The blocks it reads now. Not empty.
    pub(super) blocks: Range<usize>,
    /// Whether any of them has to be loaded.
    pub(super) missed: bool,
}

/// A reader going through a section.
#[derive(Debug)]
struct Cursor {
    section: SectionKey,
    /// The block in which its last read ended.
    last_block: usize,
    /// The block up to which was read ahead, exclusive.
    ahead_until: usize,
    window_bytes: u64,
}

/// Remembers readers and plans their read-ahead.
#[derive(Debug)]
pub(super) struct AheadPlanner {
    /// The one that read last at the back.
    cursors: Mutex<VecDeque<Cursor>>,
    window_bytes_min: u64,
    window_bytes_max: u64,
}

impl AheadPlanner {
    pub(super) fn new(window_bytes_min: u64, window_bytes_max: u64) -> Self {
        Self {
            cursors: Mutex::new(VecDeque::with_capacity(READERS_MAX)),
            window_bytes_min: window_bytes_min.min(window_bytes_max),
            window_bytes_max,
        }
    }

    /// Takes note of `step` and returns the blocks to load ahead, if any.
    pub(super) fn observe(&self, index: &SectionIndex, step: &Step) -> Option<Range<usize>> {
        let mut cursors = self.cursors.lock();
        let known = take_cursor(&mut cursors, step);
        let sequential = known.is_some() || step.blocks.start == 0;
        let mut cursor = known.unwrap_or_else(|| self.new_cursor(step));
        self.advance(&mut cursor, step);
        let plan = match sequential {
            true => self.fill_window(&mut cursor, index.blocks(), step.blocks.end),
            false => None,
        };
        if cursors.len() == READERS_MAX {
            cursors.pop_front();
        }
        cursors.push_back(cursor);
        plan
    }

    fn new_cursor(&self, step: &Step) -> Cursor {
        Cursor {
            section: step.section,
            last_block: step.blocks.start,
            ahead_until: step.blocks.start,
            window_bytes: self.window_bytes_min,
        }
    }

    fn advance(&self, cursor: &mut Cursor, step: &Step) {
        let evicted = step.missed && step.blocks.start < cursor.ahead_until;
        if evicted {
            cursor.ahead_until = step.blocks.end;
            cursor.window_bytes = self.window_bytes_min;
        }
        cursor.last_block = step.blocks.end.saturating_sub(1);
        cursor.ahead_until = cursor.ahead_until.max(step.blocks.end);
    }

    /// Extends what is read ahead to the whole window, once half of it is used up.
    fn fill_window(
        &self,
        cursor: &mut Cursor,
        blocks: &[BlockEntry],
        read_until: usize,
    ) -> Option<Range<usize>> {
        let start = cursor.ahead_until;
        let ahead = blocks.get(read_until..start)?;
        let mut ahead_bytes: u64 = ahead.iter().map(|block| block.length).sum();
        if ahead_bytes > cursor.window_bytes / 2 {
            return None;
        }
        for block in blocks.get(start..)? {
            if ahead_bytes >= cursor.window_bytes {
                break;
            }
            ahead_bytes += block.length;
            cursor.ahead_until += 1;
        }
        cursor.window_bytes = (cursor.window_bytes * 2).min(self.window_bytes_max);
        (start < cursor.ahead_until).then_some(start..cursor.ahead_until)
    }
}

fn take_cursor(cursors: &mut VecDeque<Cursor>, step: &Step) -> Option<Cursor> {
    let goes_on = |cursor: &Cursor| {
        cursor.section == step.section
            && (cursor.last_block..=cursor.last_block + 1).contains(&step.blocks.start)
    };
    let place = cursors.iter().rposition(goes_on)?;
    cursors.remove(place)
}

#[cfg(test)]
mod tests {
    use antiphon_common::{Offset, PartitionId, Timestamp};

    use super::*;

    const MIB: u64 = 1 << 20;

    /// A section of `count` blocks of one MiB.
    fn section(count: u64) -> SectionIndex {
        let block = |number: u64| BlockEntry {
            base_offset: Offset(number as i64 * 10),
            position: number * MIB,
            length: MIB,
            max_timestamp: Timestamp(0),
            crc: 0,
        };
        SectionIndex::of_blocks(PartitionId(1), Offset(i64::MAX), (0..count).map(block).collect())
            .unwrap()
    }

    fn planner() -> AheadPlanner {
        AheadPlanner::new(MIB / 2, 8 * MIB)
    }

    fn step(blocks: Range<usize>, missed: bool) -> Step {
        Step { section: (ObjectId(1), 0), blocks, missed }
    }

    #[test]
    fn the_window_doubles_as_it_is_used_up_and_stops_at_its_limit() {
        let (planner, index) = (planner(), section(100));
        let plans: Vec<_> = (0..40)
            .filter_map(|block| planner.observe(&index, &step(block..block + 1, false)))
            .collect();
        assert_eq!(plans[..4], [1..2, 2..3, 3..5, 5..8]);
        let longest = plans.iter().map(Range::len).max();
        assert!(longest.is_some_and(|blocks| blocks <= 8), "{plans:?}");
        for (plan, next) in plans.iter().zip(&plans[1..]) {
            assert_eq!(plan.end, next.start, "no block is planned twice or left out");
        }
    }

    #[test]
    fn nothing_is_planned_for_random_reads() {
        let (planner, index) = (planner(), section(100));
        for block in [50, 10, 70, 30, 90] {
            assert_eq!(planner.observe(&index, &step(block..block + 1, true)), None);
        }
    }

    #[test]
    fn a_reader_in_the_middle_is_read_ahead_for_from_its_second_read_on() {
        let (planner, index) = (planner(), section(100));
        assert_eq!(planner.observe(&index, &step(50..51, true)), None);
        assert_eq!(planner.observe(&index, &step(51..52, true)), Some(52..53));
    }

    #[test]
    fn readers_of_one_section_are_told_apart() {
        let (planner, index) = (planner(), section(100));
        planner.observe(&index, &step(0..1, true));
        assert_eq!(planner.observe(&index, &step(40..41, true)), None);
        assert_eq!(planner.observe(&index, &step(1..2, false)), Some(2..3));
        assert_eq!(planner.observe(&index, &step(41..42, true)), Some(42..43));
    }

    #[test]
    fn a_reader_whose_future_was_evicted_starts_over() {
        let (planner, index) = (planner(), section(100));
        for block in 0..20 {
            planner.observe(&index, &step(block..block + 1, false));
        }
        assert_eq!(planner.observe(&index, &step(20..21, true)), Some(21..22));
    }

    #[test]
    fn the_plan_ends_with_the_section_and_memory_with_its_limit() {
        let (planner, index) = (planner(), section(3));
        let plans = (0..3).map(|block| planner.observe(&index, &step(block..block + 1, false)));
        assert_eq!(plans.collect::<Vec<_>>(), [Some(1..2), Some(2..3), None]);
        for object in 0..1000 {
            let step = Step { section: (ObjectId(object), 0), blocks: 0..1, missed: true };
            planner.observe(&index, &step);
        }
        assert_eq!(planner.cursors.lock().len(), READERS_MAX);
    }
}
