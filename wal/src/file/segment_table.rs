//! Which segment files exist and which one is being filled. Bookkeeping only: no disk access here,
//! because it happens under the append lock.
//!
//! ```text
//!            create                     roll                    trim
//! (nothing) -------->  ready (spare)  -------->  written  ---------------->  unused
//!                          ^                                                   |
//!                          +------------------ recycle by rename --------------+----> deleted
//! ```
//!
//! When the active segment is full and no spare is ready, the next one is entered on credit: frames
//! get their places in it at once and the writer that comes first waits for its file.

use std::collections::VecDeque;
use std::path::{Path, PathBuf};
use std::sync::{Arc, OnceLock};

use antiphon_common::Lsn;

use super::segment_file::SegmentFile;
use crate::Shortage;
use crate::format::BLOCK_BYTES;
use crate::format::segment::SegmentId;

/// A segment of this opening.
#[derive(Debug)]
pub(crate) struct Segment {
    pub(crate) first_lsn: Lsn,
    /// Whether the header is on disk already; else it goes out with the first group.
    pub(crate) has_header: bool,
    /// Empty while the segment is entered on credit.
    pub(crate) file: OnceLock<SegmentFile>,
}

impl Segment {
    pub(crate) fn new(first_lsn: Lsn, has_header: bool, file: Option<SegmentFile>) -> Arc<Self> {
        Arc::new(Self { first_lsn, has_header, file: file.map_or_else(OnceLock::new, Into::into) })
    }
}

/// A segment of an earlier opening, kept until it is trimmed.
#[derive(Debug)]
pub(crate) struct Stored {
    pub(crate) first_lsn: Lsn,
    pub(crate) leftover: Leftover,
}

/// A file that may be recycled or deleted.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Leftover {
    pub(crate) path: PathBuf,
    pub(crate) bytes: u64,
}

/// The limits the table keeps.
#[derive(Clone, Copy, Debug)]
pub(crate) struct TableLimits {
    pub(crate) segment_bytes: u64,
    pub(crate) segments_max: usize,
    pub(crate) spares_max: usize,
    pub(crate) leaves_raw: bool,
}

/// What the housekeeper should do next.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Chore {
    /// Allocate a new file under this number.
    Create(SegmentId),
    /// Rename the file to this number.
    Recycle(Leftover, SegmentId),
    /// Delete the file.
    Delete(Leftover),
}

#[derive(Debug)]
pub(crate) struct SegmentTable {
    limits: TableLimits,
    stored: VecDeque<Stored>,
    /// The last one is active.
    written: VecDeque<Arc<Segment>>,
    ready: VecDeque<SegmentFile>,
    unused: Vec<Leftover>,
    /// Size of the file that a chore is at work on, if any.
    at_work: Option<u64>,
    next_id: SegmentId,
    /// Where the next group of the active segment starts.
    position: u64,
    no_space: bool,
    trimmed: Lsn,
}

impl SegmentTable {
    pub(crate) fn new(
        limits: TableLimits,
        stored: VecDeque<Stored>,
        unused: Vec<Leftover>,
        active: Arc<Segment>,
        next_id: SegmentId,
    ) -> Self {
        Self {
            limits,
            stored,
            written: VecDeque::from([active]),
            ready: VecDeque::new(),
            unused,
            at_work: None,
            next_id,
            position: BLOCK_BYTES as u64,
            no_space: false,
            trimmed: Lsn::ZERO,
        }
    }

    pub(crate) fn active(&self) -> &Arc<Segment> {
        self.written.back().expect("there always is an active segment")
    }

    pub(crate) fn position(&self) -> u64 {
        self.position
    }

    pub(crate) fn advance_to(&mut self, position: u64) {
        assert!(position >= self.position && position <= self.limits.segment_bytes);
        assert!(position.is_multiple_of(BLOCK_BYTES as u64));
        self.position = position;
    }

    /// Whether the active segment is worth leaving early: its file is merely allocated, as that of an
    /// opening's first segment is, and a zero-filled one is ready.
    pub(crate) fn has_better(&self) -> bool {
        let is_zeroed = |file: &SegmentFile| file.is_zeroed;
        let is_raw = self.active().file.get().is_some_and(|file| !file.is_zeroed);
        let has_frames = self.position > BLOCK_BYTES as u64;
        self.limits.leaves_raw && is_raw && has_frames && self.ready.front().is_some_and(is_zeroed)
    }

    /// Makes the next segment the active one.
    pub(crate) fn roll(&mut self, first_lsn: Lsn) -> Result<(), Shortage> {
        let file = self.ready.pop_front();
        if file.is_none() {
            self.check_credit()?;
        }
        self.written.push_back(Segment::new(first_lsn, false, file));
        self.position = BLOCK_BYTES as u64;
        Ok(())
    }

    /// Whether a segment without a file may be entered.
    fn check_credit(&self) -> Result<(), Shortage> {
        // A file that is being prepared right now will serve the first segment without one.
        let promised = (self.awaiting() + 1).max(usize::from(self.at_work.is_some()));
        if self.files() + promised > self.limits.segments_max {
            return Err(Shortage::Capacity);
        }
        if self.no_space { Err(Shortage::FileSystem) } else { Ok(()) }
    }

    /// Files on disk, without the one at work.
    fn files(&self) -> usize {
        let written = self.written.len() - self.awaiting();
        self.stored.len() + written + self.ready.len() + self.unused.len()
    }

    fn awaiting(&self) -> usize {
        self.written.iter().rev().take_while(|segment| segment.file.get().is_none()).count()
    }

    /// Whether the file at `path` holds frames that are not trimmed.
    pub(crate) fn holds(&self, path: &Path) -> bool {
        let mut written = self.written.iter().filter_map(|segment| segment.file.get());
        self.stored.iter().any(|stored| stored.leftover.path == path)
            || written.any(|file| file.path == path)
    }

    /// Whether somebody waits for a file: zero-filling must be cut short.
    pub(crate) fn is_urgent(&self) -> bool {
        self.awaiting() > 0
    }

    pub(crate) fn trim(&mut self, through: Lsn) {
        self.trimmed = self.trimmed.max(through);
    }

    /// Picks the next chore and marks it as begun.
    pub(crate) fn begin_chore(&mut self, durable: Lsn) -> Option<Chore> {
        self.retire(durable);
        let chore = self.pick_chore()?;
        let bytes = match &chore {
            Chore::Create(_) => self.limits.segment_bytes,
            Chore::Recycle(leftover, _) | Chore::Delete(leftover) => leftover.bytes,
        };
        self.at_work = Some(bytes);
        Some(chore)
    }

    fn pick_chore(&mut self) -> Option<Chore> {
        if let Some(leftover) = self.unused.pop() {
            let fits = leftover.bytes == self.limits.segment_bytes;
            let wanted = self.is_urgent() || self.ready.len() < self.limits.spares_max;
            let recycle = fits && wanted;
            return Some(match recycle {
                true => Chore::Recycle(leftover, self.claim_id()),
                false => Chore::Delete(leftover),
            });
        }
        let room = self.files() < self.limits.segments_max;
        (self.wants_new_file() && room).then(|| Chore::Create(self.claim_id()))
    }

    /// A log that nobody has written to since it was opened needs no spare.
    fn wants_new_file(&self) -> bool {
        let used = self.written.len() > 1 || self.position > BLOCK_BYTES as u64;
        self.is_urgent() || (used && self.ready.is_empty() && self.limits.spares_max > 0)
    }

    /// Whether the housekeeper has something to do that it may not know of yet. It looks by itself
    /// after each chore and, while the file system is full, now and then.
    pub(crate) fn needs_attention(&self) -> bool {
        let idle = self.at_work.is_none() && !self.no_space;
        idle && self.wants_new_file() && self.files() < self.limits.segments_max
    }

    fn claim_id(&mut self) -> SegmentId {
        let id = self.next_id;
        self.next_id = id.next();
        id
    }

    /// Moves what is trimmed and durable to `unused`, oldest first.
    fn retire(&mut self, durable: Lsn) {
        let through = self.trimmed.min(durable);
        while let Some(end) = self.oldest_stored_end()
            && end <= through
        {
            self.unused.extend(self.stored.pop_front().map(|stored| stored.leftover));
        }
        while self.stored.is_empty()
            && let Some(next) = self.written.get(1)
            && next.first_lsn.prev() <= through
        {
            let retired = self.written.pop_front();
            let file = retired.as_ref().and_then(|segment| segment.file.get());
            let bytes = self.limits.segment_bytes;
            self.unused.extend(file.map(|file| Leftover { path: file.path.clone(), bytes }));
        }
    }

    fn oldest_stored_end(&self) -> Option<Lsn> {
        self.stored.front()?;
        let next = self.stored.get(1).map(|stored| stored.first_lsn);
        Some(next.unwrap_or(self.written[0].first_lsn).prev())
    }

    /// A chore produced a file: it serves the oldest segment without one, or becomes a spare.
    /// Returns whether a writer may be waiting for it.
    pub(crate) fn finish_with(&mut self, file: SegmentFile) -> bool {
        self.at_work = None;
        self.no_space = false;
        let first_awaiting = self.written.len() - self.awaiting();
        match self.written.get(first_awaiting) {
            Some(segment) => segment.file.set(file).is_ok(),
            None => {
                self.ready.push_back(file);
                false
            }
        }
    }

    /// A chore is over and produced nothing.
    pub(crate) fn finish_without(&mut self, no_space: bool) {
        self.at_work = None;
        self.no_space |= no_space;
    }

    pub(crate) fn is_out_of_space(&self) -> bool {
        self.no_space
    }

    /// Whether the active segment has no file and gets none until there is room again: what is
    /// appended to it could only wait.
    pub(crate) fn is_starved(&self) -> bool {
        self.no_space && self.is_urgent()
    }

    /// Segments with frames, spare files, and bytes of all files.
    pub(crate) fn usage(&self) -> (u64, u64, u64) {
        let whole = (self.written.len() - self.awaiting() + self.ready.len()) as u64;
        let stored: u64 = self.stored.iter().map(|stored| stored.leftover.bytes).sum();
        let unused: u64 = self.unused.iter().map(|leftover| leftover.bytes).sum();
        let bytes = whole * self.limits.segment_bytes + stored + unused + self.at_work.unwrap_or(0);
        let live = (self.stored.len() + self.written.len()) as u64;
        (live, self.ready.len() as u64, bytes)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::file::directory::segment_path;
    use crate::file::segment_file::WriteMode;

    const BYTES: u64 = 4 * BLOCK_BYTES as u64;

    fn file(folder: &Path, id: u64) -> SegmentFile {
        let (path, id) = (segment_path(folder, SegmentId(id)), SegmentId(id));
        SegmentFile::create(&path, id, BYTES, WriteMode::Buffered).expect("created")
    }

    fn stored(first_lsn: u64, id: u64, folder: &Path) -> Stored {
        let leftover = Leftover { path: segment_path(folder, SegmentId(id)), bytes: BYTES };
        Stored { first_lsn: Lsn(first_lsn), leftover }
    }

    /// Segment 1 holds frames 1 to 3 and comes from an earlier opening, segment 2 holds 4 to 9,
    /// segment 3 is active.
    fn table(folder: &Path) -> SegmentTable {
        let limits =
            TableLimits { segment_bytes: BYTES, segments_max: 4, spares_max: 1, leaves_raw: true };
        let first = Segment::new(Lsn(4), true, Some(file(folder, 2)));
        let old = VecDeque::from([stored(1, 1, folder)]);
        let mut table = SegmentTable::new(limits, old, Vec::new(), first, SegmentId(4));
        table.ready.push_back(file(folder, 3));
        table.roll(Lsn(10)).expect("a spare is ready");
        table
    }

    fn retired(table: &mut SegmentTable, durable: u64) -> Vec<PathBuf> {
        table.retire(Lsn(durable));
        table.unused.drain(..).map(|leftover| leftover.path).collect()
    }

    #[test]
    fn only_whole_trimmed_and_durable_segments_are_retired_oldest_first() {
        let folder = tempfile::tempdir().expect("a folder");
        let path = |id| segment_path(folder.path(), SegmentId(id));
        let mut table = table(folder.path());
        table.trim(Lsn(2));
        assert!(retired(&mut table, 20).is_empty(), "frame 3 is not trimmed");
        table.trim(Lsn(8));
        assert_eq!(retired(&mut table, 20), [path(1)], "frame 9 is not trimmed");
        table.trim(Lsn::MAX);
        assert!(retired(&mut table, 8).is_empty(), "frame 9 is not durable");
        assert_eq!(retired(&mut table, 9), [path(2)]);
        assert!(retired(&mut table, 99).is_empty(), "the active segment stays");
    }

    #[test]
    fn credit_ends_at_the_capacity_and_files_go_to_the_oldest_waiting_segment() {
        let folder = tempfile::tempdir().expect("a folder");
        let mut table = table(folder.path());
        table.roll(Lsn(20)).expect("one more file is allowed");
        assert_eq!(table.roll(Lsn(30)), Err(Shortage::Capacity));
        assert!(table.is_urgent());
        assert_eq!(table.begin_chore(Lsn(9)), Some(Chore::Create(SegmentId(4))));
        assert!(table.finish_with(file(folder.path(), 4)), "a writer may be waiting");
        assert_eq!(table.active().file.get().map(|file| file.id), Some(SegmentId(4)));
        assert_eq!(table.begin_chore(Lsn(9)), None, "at capacity there are no spares");
    }

    #[test]
    fn without_space_nothing_is_entered_on_credit() {
        let folder = tempfile::tempdir().expect("a folder");
        let mut table = table(folder.path());
        table.finish_without(true);
        assert_eq!(table.roll(Lsn(20)), Err(Shortage::FileSystem));
        table.trim(Lsn(3));
        let recycled = table.begin_chore(Lsn(9));
        assert!(matches!(recycled, Some(Chore::Recycle(_, SegmentId(4)))), "{recycled:?}");
        table.finish_with(file(folder.path(), 4));
        assert_eq!(table.roll(Lsn(20)), Ok(()), "a recycled file needs no space");
    }
}
