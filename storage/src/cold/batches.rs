//! Cutting whole batches out of a block.
//!
//! Only three fields of a batch's header are looked at (record batch v2, KIP-98): base offset at
//! byte 0, batch length (what follows byte 12) at byte 8, last offset delta at byte 23. The block's
//! CRC was checked before, so what is found wrong here was written wrong.

use antiphon_common::Offset;
use bytes::Bytes;

use super::error::BlockFault;

const BASE_OFFSET_AT: usize = 0;
const BATCH_LENGTH_AT: usize = 8;
const BATCH_LENGTH_COUNTS_FROM: usize = 12;
const LAST_OFFSET_DELTA_AT: usize = 23;
const HEADER_BYTES: usize = 61;

/// Which batches of a segment a reader wants.
#[derive(Clone, Copy, Debug)]
pub(super) struct Wanted {
    /// The first batch is the first one that ends at or after this offset.
    pub(super) from: Offset,
    /// The last batch is the last one that starts at or before this offset.
    pub(super) until: Offset,
    /// How many bytes there is room for.
    pub(super) room: usize,
    /// Whether the first batch is wanted even if there is no room for it.
    pub(super) at_least_one: bool,
}

/// What was cut out of a block.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Cut {
    /// The batches, possibly none.
    pub(super) bytes: Bytes,
    /// Whether reading goes on in the next block: nothing wanted was left behind in this one.
    pub(super) to_end: bool,
}

/// Where one batch ends, in the block and in the partition.
struct BatchEnd {
    position: usize,
    base_offset: Offset,
    last_offset: Offset,
}

/// Cuts what is wanted out of `block`, which starts at a batch.
pub(super) fn cut(block: &Bytes, wanted: Wanted) -> Result<Cut, BlockFault> {
    let start = find_start(block, wanted.from)?;
    let mut end = start;
    while end < block.len() {
        let batch = batch_end(block, end)?;
        let forced = wanted.at_least_one && end == start;
        let fits = batch.position - start <= wanted.room || forced;
        if !fits || batch.base_offset > wanted.until {
            return Ok(Cut { bytes: block.slice(start..end), to_end: false });
        }
        end = batch.position;
    }
    Ok(Cut { bytes: block.slice(start..), to_end: true })
}

fn find_start(block: &[u8], from: Offset) -> Result<usize, BlockFault> {
    let mut at = 0;
    while at < block.len() {
        let batch = batch_end(block, at)?;
        if batch.last_offset >= from {
            break;
        }
        at = batch.position;
    }
    Ok(at)
}

fn batch_end(block: &[u8], at: usize) -> Result<BatchEnd, BlockFault> {
    peek(block.get(at..).unwrap_or_default(), at).ok_or(BlockFault::Batch { at })
}

fn peek(bytes: &[u8], at: usize) -> Option<BatchEnd> {
    let header = bytes.first_chunk::<HEADER_BYTES>()?;
    let base = i64::from_be_bytes(*header.get(BASE_OFFSET_AT..)?.first_chunk()?);
    let length = i32::from_be_bytes(*header.get(BATCH_LENGTH_AT..)?.first_chunk()?);
    let delta = i32::from_be_bytes(*header.get(LAST_OFFSET_DELTA_AT..)?.first_chunk()?);
    let size = usize::try_from(length).ok()?.checked_add(BATCH_LENGTH_COUNTS_FROM)?;
    let whole = (HEADER_BYTES..=bytes.len()).contains(&size);
    let last_offset = Offset(base).checked_add(i64::from(delta))?;
    (whole && delta >= 0).then_some(BatchEnd {
        position: at + size,
        base_offset: Offset(base),
        last_offset,
    })
}

/// The last offset of a run of whole batches, as [`super::ColdReader::read`] returns them; `None`
/// if it is empty or no such run. Walks the run's headers.
pub fn last_offset_of_run(run: &[u8]) -> Option<Offset> {
    let (mut at, mut last) = (0, None);
    while at < run.len() {
        let batch = batch_end(run, at).ok()?;
        (at, last) = (batch.position, Some(batch.last_offset));
    }
    last
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::object::samples::batch;

    /// Offsets 0-9, 10-19, a hole, 30-39; 100, 200 and 300 bytes.
    fn block() -> Bytes {
        [batch(0, 10, 100), batch(10, 10, 200), batch(30, 10, 300)].concat().into()
    }

    fn range_of(from: i64, until: i64, room: usize, at_least_one: bool) -> (usize, usize, bool) {
        let block = block();
        let wanted = Wanted { from: Offset(from), until: Offset(until), room, at_least_one };
        let Cut { bytes, to_end } = cut(&block, wanted).unwrap();
        let start = bytes.as_ptr() as usize - block.as_ptr() as usize;
        (start, start + bytes.len(), to_end)
    }

    #[test]
    fn starts_with_the_batch_that_contains_the_offset() {
        assert_eq!(range_of(0, 99, 1000, false), (0, 600, true));
        assert_eq!(range_of(9, 99, 1000, false), (0, 600, true));
        assert_eq!(range_of(10, 99, 1000, false), (100, 600, true));
        assert_eq!(range_of(25, 99, 1000, false), (300, 600, true), "in a hole: the next batch");
    }

    #[test]
    fn nothing_of_this_block_is_wanted_and_the_next_one_is() {
        let wanted = Wanted { from: Offset(40), until: Offset(99), room: 10, at_least_one: true };
        assert_eq!(cut(&block(), wanted), Ok(Cut { bytes: Bytes::new(), to_end: true }));
    }

    #[test]
    fn ends_where_the_room_or_the_segment_ends() {
        assert_eq!(range_of(0, 99, 300, false), (0, 300, false));
        assert_eq!(range_of(0, 99, 299, false), (0, 100, false));
        assert_eq!(range_of(0, 19, 1000, false), (0, 300, false));
    }

    #[test]
    fn a_first_batch_without_room_comes_only_when_one_is_demanded() {
        assert_eq!(range_of(10, 99, 50, true), (100, 300, false));
        assert_eq!(range_of(10, 99, 50, false), (100, 100, false));
    }

    #[test]
    fn a_run_knows_its_last_offset() {
        assert_eq!(last_offset_of_run(&block()), Some(Offset(39)));
        assert_eq!(last_offset_of_run(&[]), None);
        assert_eq!(last_offset_of_run(&block()[..599]), None);
    }

    proptest! {
        #[test]
        fn arbitrary_bytes_never_panic(
            bytes: Vec<u8>, from: i64, room in 0..1000usize, at_least_one: bool,
        ) {
            let wanted =
                Wanted { from: Offset(from), until: Offset(i64::MAX), room, at_least_one };
            let _ = cut(&Bytes::from(bytes), wanted);
        }

        #[test]
        fn damaged_lengths_never_panic(length: i32, delta: i32, base: i64) {
            let mut bytes = batch(base, 1, 100);
            bytes[8..12].copy_from_slice(&length.to_be_bytes());
            bytes[23..27].copy_from_slice(&delta.to_be_bytes());
            let wanted = Wanted {
                from: Offset(0), until: Offset(i64::MAX), room: 1000, at_least_one: true,
            };
            let _ = cut(&Bytes::from(bytes), wanted);
        }
    }
}
