//! What is on disk, one file per persisted thing. The prose version is `docs/formats/wal.md`.

mod fields;
pub(crate) mod frame;
pub(crate) mod segment;
pub(crate) mod summary;

/// Groups and the segment header start at multiples of this, in the file and in memory: the largest
/// block that common disks and `O_DIRECT` ask for, and a page.
pub(crate) const BLOCK_BYTES: usize = 4096;

/// `position` rounded up to the next block boundary.
pub(crate) const fn block_ceiling(position: u64) -> u64 {
    position.next_multiple_of(BLOCK_BYTES as u64)
}

const _: () = assert!(segment::HEADER_BYTES <= BLOCK_BYTES);
const _: () = assert!(frame::HEADER_BYTES < BLOCK_BYTES);
