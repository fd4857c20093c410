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
//! worse. A plan for which there was no room is taken back, so that the reader's next step plans it
//! again; a hole in what is read ahead would cost the reader a wait.
//!
//! A window does not end with its section: what does not fit is handed to whoever knows the section
//! that follows ([`Onward`]), where the reader is expected from then on.

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

/// What to read ahead for a reader.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Plan {
    /// Blocks of its section to load, if any.
    pub(super) blocks: Option<Range<usize>>,
    /// Set if its window reaches beyond the section.
    pub(super) onward: Option<Onward>,
}

/// A window that goes on in the section that follows.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Onward {
    /// What is read ahead for the reader up to the section's end.
    pub(super) ahead_bytes: u64,
    pub(super) window_bytes: u64,
    /// Whether the window is being filled; if not, that begins when half of it is used up.
    pub(super) filling: bool,
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

    /// Takes note of `step` and says what to load ahead.
    pub(super) fn observe(&self, index: &SectionIndex, step: &Step) -> Plan {
        let mut cursors = self.cursors.lock();
        let known = take_cursor(&mut cursors, step);
        let sequential = known.is_some() || step.blocks.start == 0;
        let mut cursor = known.unwrap_or_else(|| self.new_cursor(step));
        self.advance(&mut cursor, step);
        let window = Onward { ahead_bytes: 0, window_bytes: cursor.window_bytes, filling: false };
        let plan = match sequential {
            true => fill_window(&mut cursor, index.blocks(), step.blocks.end, window),
            false => None,
        };
        if plan.is_some() {
            cursor.window_bytes = (cursor.window_bytes * 2).min(self.window_bytes_max);
        }
        remember(&mut cursors, cursor);
        plan.unwrap_or_default()
    }

    /// Expects a reader, whose window reaches beyond its section, at the start of `section`, the one
    /// that follows, and says what to load of it.
    pub(super) fn expect(&self, index: &SectionIndex, section: SectionKey, onward: Onward) -> Plan {
        let mut cursors = self.cursors.lock();
        let expected = |cursor: &Cursor| cursor.section == section && cursor.last_block == 0;
        let known = cursors.iter().rposition(expected).and_then(|place| cursors.remove(place));
        let mut cursor = known.unwrap_or(Cursor {
            section,
            last_block: 0,
            ahead_until: 0,
            window_bytes: self.window_bytes_min,
        });
        cursor.window_bytes = cursor.window_bytes.max(onward.window_bytes);
        let plan = fill_window(&mut cursor, index.blocks(), 0, onward);
        remember(&mut cursors, cursor);
        plan.unwrap_or_default()
    }

    /// Takes a plan back for which there was no room: what starts at `block` is not on its way.
    pub(super) fn take_back(&self, section: SectionKey, blocks: &Range<usize>) {
        let mut cursors = self.cursors.lock();
        let planned =
            |cursor: &&mut Cursor| cursor.section == section && cursor.ahead_until == blocks.end;
        if let Some(cursor) = cursors.iter_mut().rev().find(planned) {
            cursor.ahead_until = blocks.start;
        }
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
}

/// Extends what is read ahead to the whole window, once half of it is used up. `window` says what
/// is ahead of the reader before it comes to this section. `None` if there is enough ahead.
fn fill_window(
    cursor: &mut Cursor,
    blocks: &[BlockEntry],
    read_until: usize,
    window: Onward,
) -> Option<Plan> {
    let start = cursor.ahead_until;
    let bytes: u64 = blocks.get(read_until..start)?.iter().map(|block| block.length).sum();
    let mut ahead_bytes = window.ahead_bytes + bytes;
    if !window.filling && ahead_bytes > window.window_bytes / 2 {
        return None;
    }
    for block in blocks.get(start..)? {
        if ahead_bytes >= window.window_bytes {
            break;
        }
        ahead_bytes += block.length;
        cursor.ahead_until += 1;
    }
    let planned = start < cursor.ahead_until;
    let filling = window.filling || planned;
    let beyond = cursor.ahead_until == blocks.len() && ahead_bytes < window.window_bytes;
    Some(Plan {
        blocks: planned.then_some(start..cursor.ahead_until),
        onward: beyond.then_some(Onward { ahead_bytes, filling, ..window }),
    })
}

fn remember(cursors: &mut VecDeque<Cursor>, cursor: Cursor) {
    if cursors.len() == READERS_MAX {
        cursors.pop_front();
    }
    cursors.push_back(cursor);
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

    /// The blocks that are planned when a reader takes `step`.
    fn blocks(planner: &AheadPlanner, index: &SectionIndex, step: &Step) -> Option<Range<usize>> {
        planner.observe(index, step).blocks
    }

    #[test]
    fn the_window_doubles_as_it_is_used_up_and_stops_at_its_limit() {
        let (planner, index) = (planner(), section(100));
        let plans: Vec<_> = (0..40)
            .filter_map(|block| blocks(&planner, &index, &step(block..block + 1, false)))
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
            assert_eq!(blocks(&planner, &index, &step(block..block + 1, true)), None);
        }
    }

    #[test]
    fn a_reader_in_the_middle_is_read_ahead_for_from_its_second_read_on() {
        let (planner, index) = (planner(), section(100));
        assert_eq!(blocks(&planner, &index, &step(50..51, true)), None);
        assert_eq!(blocks(&planner, &index, &step(51..52, true)), Some(52..53));
    }

    #[test]
    fn readers_of_one_section_are_told_apart() {
        let (planner, index) = (planner(), section(100));
        planner.observe(&index, &step(0..1, true));
        assert_eq!(blocks(&planner, &index, &step(40..41, true)), None);
        assert_eq!(blocks(&planner, &index, &step(1..2, false)), Some(2..3));
        assert_eq!(blocks(&planner, &index, &step(41..42, true)), Some(42..43));
    }

    #[test]
    fn a_reader_whose_future_was_evicted_starts_over() {
        let (planner, index) = (planner(), section(100));
        for block in 0..20 {
            planner.observe(&index, &step(block..block + 1, false));
        }
        assert_eq!(blocks(&planner, &index, &step(20..21, true)), Some(21..22));
    }

    #[test]
    fn a_window_goes_on_in_the_section_that_follows() {
        let (planner, here, next) = (planner(), section(3), section(100));
        let onward =
            |block: usize, missed| planner.observe(&here, &step(block..block + 1, missed)).onward;
        assert_eq!((onward(0, true), onward(1, false)), (None, None));
        let onward = onward(2, false).unwrap();
        assert_eq!(onward, Onward { ahead_bytes: 0, window_bytes: 2 * MIB, filling: false });
        let there = (ObjectId(2), 0);
        assert_eq!(planner.expect(&next, there, onward).blocks, Some(0..2));
        assert_eq!(planner.expect(&next, there, onward), Plan::default(), "nothing twice");
        let first = Step { section: there, blocks: 0..1, missed: false };
        assert_eq!(planner.observe(&next, &first).blocks, Some(2..3), "its window came with it");
    }

    #[test]
    fn short_sections_hand_the_window_on_and_on() {
        let (planner, short) = (planner(), section(2));
        let mut onward = Onward { ahead_bytes: MIB, window_bytes: 8 * MIB, filling: false };
        for (object, ahead_bytes) in [(2, 3), (3, 5), (4, 7)] {
            let ahead_bytes = ahead_bytes * MIB;
            onward = planner.expect(&short, (ObjectId(object), 0), onward).onward.unwrap();
            assert_eq!((onward.ahead_bytes, onward.filling), (ahead_bytes, true));
        }
    }

    #[test]
    fn a_plan_that_found_no_room_is_made_again() {
        let (planner, index) = (planner(), section(100));
        let planned = blocks(&planner, &index, &step(0..1, true)).unwrap();
        planner.take_back((ObjectId(1), 0), &planned);
        assert_eq!(blocks(&planner, &index, &step(1..2, true)), Some(2..3));
    }

    #[test]
    fn the_plan_ends_with_the_section_and_memory_with_its_limit() {
        let (planner, index) = (planner(), section(3));
        let plans = (0..3).map(|block| blocks(&planner, &index, &step(block..block + 1, false)));
        assert_eq!(plans.collect::<Vec<_>>(), [Some(1..2), Some(2..3), None]);
        for object in 0..1000 {
            let step = Step { section: (ObjectId(object), 0), blocks: 0..1, missed: true };
            planner.observe(&index, &step);
        }
        assert_eq!(planner.cursors.lock().len(), READERS_MAX);
    }
}
