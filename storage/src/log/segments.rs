//! Where a partition's history is: rows of the catalog, read a page at a time where a reader is,
//! and kept only as long as there is room.
//!
//! A partition may have a hundred thousand rows, a broker ten thousand partitions; neither a start
//! nor the first read of a partition may load them all. What is cached is never needed for
//! correctness: a page that is gone is read again, and pages of a partition whose history was
//! rewritten are forgotten, because the objects that they name will be deleted.

use std::collections::BTreeMap;

use antiphon_catalog::SegmentRow;
use antiphon_common::{Offset, PartitionId};
use parking_lot::Mutex;

use super::partition_log::PartitionLog;
use super::read::ReadColdError;

/// Rows that one look at the catalog brings: at the usual size of flushes, the next gigabyte of a
/// busy partition.
pub(super) const PAGE_ROWS: usize = 128;
/// Rows kept over all partitions.
const ROWS_MAX: usize = 32 << 10;
/// What one page takes besides its rows: its entries in both maps, estimated.
const PAGE_OVERHEAD_BYTES: usize = 160;
/// The most memory that rows of history take: 32 Ki rows, in the worst case in pages of one row.
pub const SEGMENT_ROWS_MEMORY_BYTES: u64 =
    (ROWS_MAX * (size_of::<SegmentRow>() + PAGE_OVERHEAD_BYTES)) as u64;

type PageKey = (PartitionId, Offset);

/// Pages of rows of all partitions, the least recently used going first.
#[derive(Debug, Default)]
pub(crate) struct SegmentPages {
    pages: Mutex<Pages>,
}

#[derive(Debug, Default)]
struct Pages {
    /// By partition and last offset: the first page at or after an offset is the one to look into.
    by_end: BTreeMap<PageKey, Page>,
    by_use: BTreeMap<u64, PageKey>,
    rows: usize,
    uses: u64,
    /// Counts what makes pages stale, so that a page read before is not kept after.
    changes: u64,
}

#[derive(Debug)]
struct Page {
    rows: Vec<SegmentRow>,
    used: u64,
}

impl SegmentPages {
    /// The row at `offset`, if a page here says which it is.
    fn find(&self, partition: PartitionId, offset: Offset) -> Option<SegmentRow> {
        let mut pages = self.pages.lock();
        pages.uses += 1;
        let now = pages.uses;
        let ends = (partition, offset)..=(partition, Offset(i64::MAX));
        let (key, page) = pages.by_end.range_mut(ends).next()?;
        let index = page.rows.partition_point(|row| row.last_offset < offset);
        let row = page.rows.get(index).filter(|row| row.base_offset <= offset)?.clone();
        let (key, before) = (*key, std::mem::replace(&mut page.used, now));
        pages.by_use.remove(&before);
        pages.by_use.insert(now, key);
        Some(row)
    }

    /// A mark of what is known now, for [`Self::keep`].
    fn changes(&self) -> u64 {
        self.pages.lock().changes
    }

    /// Keeps a page that was read since `changes`, unless rows changed meanwhile.
    fn keep(&self, partition: PartitionId, rows: Vec<SegmentRow>, changes: u64) {
        let Some(last) = rows.last() else { return };
        let key = (partition, last.last_offset);
        let mut pages = self.pages.lock();
        if pages.changes != changes {
            return;
        }
        pages.remove(key);
        pages.uses += 1;
        let used = pages.uses;
        pages.rows += rows.len();
        pages.by_use.insert(used, key);
        pages.by_end.insert(key, Page { rows, used });
        while pages.rows > ROWS_MAX {
            let Some((_, oldest)) = pages.by_use.first_key_value() else { break };
            let oldest = *oldest;
            pages.remove(oldest);
        }
    }

    /// Forgets all rows of a partition: others took their place.
    pub(super) fn forget(&self, partition: PartitionId) {
        let mut pages = self.pages.lock();
        pages.changes += 1;
        let all = (partition, Offset(i64::MIN))..=(partition, Offset(i64::MAX));
        let keys: Vec<PageKey> = pages.by_end.range(all).map(|(key, _)| *key).collect();
        keys.into_iter().for_each(|key| pages.remove(key));
    }

    /// Rows held now.
    pub(crate) fn rows(&self) -> u64 {
        self.pages.lock().rows as u64
    }
}

impl Pages {
    fn remove(&mut self, key: PageKey) {
        if let Some(page) = self.by_end.remove(&key) {
            self.rows -= page.rows.len();
            self.by_use.remove(&page.used);
        }
    }
}

impl PartitionLog {
    /// The segment that holds `offset`.
    pub(super) async fn segment_containing(
        &self,
        offset: Offset,
    ) -> Result<Option<SegmentRow>, ReadColdError> {
        let pages = &self.context.segments;
        if let Some(row) = pages.find(self.id, offset) {
            return Ok(Some(row));
        }
        let changes = pages.changes();
        let rows = self.segments_from(offset).await?;
        let found = rows.first().filter(|row| row.base_offset <= offset).cloned();
        pages.keep(self.id, rows, changes);
        Ok(found)
    }

    /// The next page of rows that hold offsets at or after `offset`; empty at the end of history.
    /// For passes over history, which leave nothing behind in memory.
    pub(super) async fn segments_from(
        &self,
        offset: Offset,
    ) -> Result<Vec<SegmentRow>, ReadColdError> {
        let rows = self.context.catalog.segments_from(self.id, offset, PAGE_ROWS).await;
        rows.map_err(|source| ReadColdError::Catalog { partition: self.id, source })
    }

    /// Forgets what is known of where history is: it was rewritten, or turned out to be gone.
    pub(super) fn forget_segments(&self) {
        self.context.segments.forget(self.id);
        *self.oldest_segment.lock() = None;
    }
}

#[cfg(test)]
mod tests {
    use antiphon_common::{LeaderEpoch, ObjectId, Timestamp};

    use super::*;

    fn row(partition: u64, base: i64) -> SegmentRow {
        SegmentRow {
            partition_id: PartitionId(partition),
            base_offset: Offset(base),
            last_offset: Offset(base + 9),
            object_id: ObjectId(1),
            position: 0,
            length: 1,
            index_position: 0,
            index_length: 0,
            base_timestamp: Timestamp::NONE,
            max_timestamp: Timestamp::NONE,
            record_count: 10,
            leader_epoch: LeaderEpoch(0),
            level: 0,
            created_at: Timestamp(0),
            crc: None,
        }
    }

    fn page(partition: u64, start: i64) -> Vec<SegmentRow> {
        (0..PAGE_ROWS as i64).map(|index| row(partition, start + index * 10)).collect()
    }

    fn base_at(pages: &SegmentPages, partition: u64, offset: i64) -> Option<i64> {
        pages.find(PartitionId(partition), Offset(offset)).map(|row| row.base_offset.get())
    }

    #[test]
    fn a_page_answers_for_the_offsets_that_it_covers_and_for_its_partition() {
        let pages = SegmentPages::default();
        pages.keep(PartitionId(1), page(1, 1000), 0);
        assert_eq!(base_at(&pages, 1, 1000), Some(1000));
        assert_eq!(base_at(&pages, 1, 1019), Some(1010));
        assert_eq!(base_at(&pages, 1, 2279), Some(2270));
        for (partition, offset) in [(1, 999), (1, 2280), (0, 1000), (2, 1000)] {
            assert_eq!(base_at(&pages, partition, offset), None, "{partition} {offset}");
        }
    }

    #[test]
    fn memory_is_bounded_and_what_is_used_stays() {
        let pages = SegmentPages::default();
        for number in 0..1_000 {
            pages.keep(PartitionId(number), page(number, 0), 0);
            assert_eq!(base_at(&pages, 0, 5), Some(0), "page 0 is used all the time");
            assert!(pages.rows() <= ROWS_MAX as u64);
        }
        assert_eq!(base_at(&pages, 1, 5), None);
        let pages = pages.pages.lock();
        assert_eq!(pages.by_use.len(), pages.by_end.len());
    }

    #[test]
    fn rows_that_were_read_before_a_rewrite_are_not_kept_after_it() {
        let pages = SegmentPages::default();
        pages.keep(PartitionId(1), page(1, 0), pages.changes());
        let before = pages.changes();
        pages.forget(PartitionId(1));
        assert_eq!((base_at(&pages, 1, 5), pages.rows()), (None, 0));
        pages.keep(PartitionId(1), page(1, 0), before);
        assert_eq!(base_at(&pages, 1, 5), None);
    }
}
