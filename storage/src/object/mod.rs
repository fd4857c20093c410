//! The object file format: many partitions' history in one immutable object.
//!
//! ```text
//! +-----------+-----------+-- ... --+---------------+------------+
//! | section 0 | section 1 |         | section table | footer 64B |
//! +-----------+-----------+-- ... --+---------------+------------+
//!      |
//!      +-- block 0 | block 1 | ...      each at most 1 MiB, cut between batches
//!             |
//!             +-- batch | batch | ...   exactly the bytes that went over Kafka's wire
//! ```
//!
//! A reader fetches the tail of the object, finds the footer at its end, the table through the
//! footer, and from then on reads blocks. Every byte is covered by a CRC-32C: blocks by their index
//! entries, the index entries by the footer's table CRC, the footer by itself. The layouts stand at
//! the top of `footer.rs`, `section.rs` and `block.rs`; `docs/formats/object.md` tells the whole
//! story.
//!
//! Neighbours: [`crate::store`] puts objects into the bucket, [`crate::cold`] reads them back.

mod block;
mod builder;
mod error;
mod fields;
mod footer;
mod index;
mod layout;
mod section;
mod streamed;

pub use block::{BLOCK_BYTES_TARGET, BlockEntry};
pub use builder::{BatchSlice, BuildObjectError, BuiltObject, OBJECT_BYTES_MAX, ObjectBuilder};
pub use error::{DecodeObjectError, LoadLayoutError};
pub use footer::{FOOTER_BYTES, FORMAT_VERSION, Footer, WriterIdentity};
pub use index::SectionIndex;
pub(crate) use layout::footer_of_tail;
pub use layout::{ObjectLayout, TABLE_BYTES_MAX};
pub use section::{SectionKind, SectionSummary};
pub use streamed::StreamedObject;

#[cfg(test)]
pub(crate) mod samples;
#[cfg(test)]
mod tests;

/// CRC-32C (CRC-32/ISCSI), the checksum Kafka's batches use and the only one in this format.
pub(crate) fn crc32c(bytes: &[u8]) -> u32 {
    crc_fast::crc32_iscsi(bytes)
}
