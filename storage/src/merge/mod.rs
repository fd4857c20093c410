//! Merging: many small segments of a partition become one large one.
//!
//! ```text
//!   flush --> MergeQueue      which partition is worth a look, and when
//!                 |
//!              Planner        rows of one partition -> which neighbours to merge
//!                 |
//!              Merger         read pieces, checked -> write the object -> commit -> show readers
//! ```
//!
//! Flushes make an object every few seconds, in which each partition has a little. Left alone, a
//! replay would cost a request for each of them, the catalog a row for each and partition, and an
//! object would stay until the last of its partitions lets go of it. So neighbours are rewritten, by
//! level ([`MergeOptions`]), into objects of one partition with 128 to 256 MiB.
//!
//! What holds here:
//! 1. Batches are copied byte for byte; every block's checksum is verified when it is read, and what
//!    was read must be as much as the rows say.
//! 2. A merge is in memory a piece at a time ([`MERGE_MEMORY_BYTES`]): large objects are put in parts.
//! 3. Readers see the old rows or the new ones. Objects of the old ones outlive every read that was
//!    planned with them, by the catalog's grace.
//! 4. A commit whose answer was lost is repeated, with the same object, until its outcome is known.
//! 5. What a crash leaves is an object that nobody names; the sweep removes it.
//! 6. One merge runs at a time, in the traffic class of compaction, and stands still while flushes
//!    cannot keep up. A partition is merged or compacted, never both.
//! 7. No timer goes through partitions or rows: flushes say which partitions are due, and a look reads
//!    what is not settled yet, which is bounded by the options.
//!
//! Neighbours: [`crate::log`] swaps the rows, [`crate::sweep`] removes what is left over.

mod error;
mod merger;
mod options;
mod plan;
mod queue;
mod source;
mod stats;
#[cfg(test)]
pub(crate) mod tests;
mod write;

pub(crate) use merger::{Logs, Merger};
pub use options::MergeOptions;
pub(crate) use queue::MergeQueue;
pub(crate) use source::{Piece, pieces_of, read_piece};
pub use stats::MergeStats;

/// The most memory that merging uses: an object that is put whole, or the parts of one that is not,
/// and the piece that was read last.
pub const MERGE_MEMORY_BYTES: u64 = {
    let whole = write::WHOLE_PUT_BYTES_MAX;
    let parts = crate::store::STREAMED_PUT_MEMORY_BYTES;
    source::PIECE_BYTES + if whole > parts { whole } else { parts }
};
