//! Kafka's primitive types as bytes: reading what strangers sent, writing what we answer.

mod reader;
mod writer;

pub(crate) use reader::{DECODED_BYTES_MAX, Reader};
pub use reader::{Defect, Malformed};
pub(crate) use writer::{Writer, unsigned_varint_size};
