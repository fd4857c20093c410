//! Reading history: from a segment and an offset to the raw batches, without copying them.
//!
//! ```text
//! read(segment, from) --> index cache --> which blocks
//!                                             |
//!                                   block cache, single flight
//!                                             |
//!             neighbours in one GET: demand slots, read-ahead with slots of its own
//!                                             |
//!                 remote store: GET, hedged   |   local folder: direct reads
//!                                             |
//!                          CRC-32C of each block, then slices of it
//! ```
//!
//! What holds here:
//! 1. A block's CRC is checked before the block is cached or served.
//! 2. However many readers want one block, one GET is in flight for it; the same for an index.
//! 3. A demand read never queues behind read-ahead: each has its own slots, and read-ahead that
//!    finds no free slot is dropped. A demand read may join a read-ahead whose GET is already
//!    running.
//! 4. Memory is `cache_bytes` for blocks, `index_cache_bytes` for indexes, and at most half and a
//!    quarter of `cache_bytes` for what demand and read-ahead have in flight. What callers hold is
//!    theirs to count: a slice keeps its whole block alive.
//! 5. A load runs to its end even if the reader that started it goes away; others may wait for it.
//!
//! Neighbours: [`crate::object`] defines tables and blocks, [`crate::store`] the client.

mod ahead;
mod batches;
mod block_cache;
mod buffers;
mod convoy;
mod error;
mod files;
mod gets;
mod hedge;
mod indexes;
mod options;
mod reader;
mod remote;
mod segment;
mod stats;

pub use ahead::Onward;
pub use batches::last_offset_of_run;
pub use convoy::ReaderId;
pub use error::{BlockFault, ColdReadError};
pub use options::ColdOptions;
pub use reader::{ColdRead, ColdReader};
pub use segment::SegmentRef;
pub use stats::ColdStats;

#[cfg(test)]
mod tests;
