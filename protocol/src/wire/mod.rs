//! Kafka's primitive types as bytes: reading what strangers sent, writing what we answer.

mod reader;
mod writer;

pub use reader::{Defect, Malformed};
pub(crate) use reader::{Reader, TAG_ENTRY_BYTES};
pub(crate) use writer::{Writer, unsigned_varint_size};
