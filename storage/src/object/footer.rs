//! The last 64 bytes of every object: where the table is, and who wrote the object.
//!
//! ```text
//! offset size field
//!      0    8 magic            "ANTIPHON"
//!      8    2 format version   1
//!     10    2 reserved         zero
//!     12    4 broker           of the writer
//!     16    8 broker epoch     of the writer
//!     24   16 object id        the object's own name
//!     40    8 table position   from the start of the object
//!     48    8 table length     bytes; the table ends where the footer begins
//!     56    4 table CRC-32C
//!     60    4 footer CRC-32C   of bytes 0..60
//! ```
//!
//! All numbers are big-endian, the byte order of the record batches around them. The writer's
//! identity is there because create-if-absent may collide with our own retry: whoever finds the key
//! taken reads the footer back and compares (see `Store::put_object`).

use antiphon_common::{BrokerEpoch, BrokerId, ObjectId};

use super::crc32c;
use super::error::DecodeObjectError;
use super::fields::{i32_at, i64_at, u16_at, u32_at, u64_at, u128_at};

/// The footer's length; it never changes, whatever the version.
pub const FOOTER_BYTES: usize = 64;
/// The version that this program writes, and the newest that it reads.
pub const FORMAT_VERSION: u16 = 1;

const MAGIC: u64 = u64::from_be_bytes(*b"ANTIPHON");

const MAGIC_AT: usize = 0;
const VERSION_AT: usize = 8;
const BROKER_AT: usize = 12;
const BROKER_EPOCH_AT: usize = 16;
const OBJECT_ID_AT: usize = 24;
const TABLE_POSITION_AT: usize = 40;
const TABLE_LENGTH_AT: usize = 48;
const TABLE_CRC_AT: usize = 56;
const FOOTER_CRC_AT: usize = 60;

const _: () = assert!(FOOTER_CRC_AT + size_of::<u32>() == FOOTER_BYTES);

/// Who wrote an object, and under which name.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct WriterIdentity {
    /// The broker that wrote it.
    pub broker: BrokerId,
    /// The epoch under which that broker was registered.
    pub broker_epoch: BrokerEpoch,
    /// The object's own id: unique, so no two writes ever share an identity.
    pub object: ObjectId,
}

/// The decoded footer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Footer {
    /// Who wrote the object.
    pub writer: WriterIdentity,
    /// Where the section table starts, in bytes from the start of the object.
    pub table_position: u64,
    /// The table's length in bytes.
    pub table_length: u64,
    /// CRC-32C of the table.
    pub table_crc: u32,
}

impl Footer {
    /// The footer as bytes.
    pub fn encode(&self) -> [u8; FOOTER_BYTES] {
        let mut bytes = [0; FOOTER_BYTES];
        let mut put = |at: usize, field: &[u8]| bytes[at..at + field.len()].copy_from_slice(field);
        put(MAGIC_AT, &MAGIC.to_be_bytes());
        put(VERSION_AT, &FORMAT_VERSION.to_be_bytes());
        put(BROKER_AT, &self.writer.broker.0.to_be_bytes());
        put(BROKER_EPOCH_AT, &self.writer.broker_epoch.get().to_be_bytes());
        put(OBJECT_ID_AT, &self.writer.object.0.to_be_bytes());
        put(TABLE_POSITION_AT, &self.table_position.to_be_bytes());
        put(TABLE_LENGTH_AT, &self.table_length.to_be_bytes());
        put(TABLE_CRC_AT, &self.table_crc.to_be_bytes());
        let crc = crc32c(&bytes[..FOOTER_CRC_AT]);
        bytes[FOOTER_CRC_AT..].copy_from_slice(&crc.to_be_bytes());
        bytes
    }

    /// Reads the footer of an object of `object_size` bytes from `bytes`, its last 64. The magic is
    /// looked at first, so that a file of another kind is called that and not a damaged object.
    pub fn decode(bytes: &[u8], object_size: u64) -> Result<Self, DecodeObjectError> {
        check_magic_and_version(bytes)?;
        check_crc(bytes)?;
        let footer = Self {
            writer: WriterIdentity {
                broker: BrokerId(i32_at(bytes, BROKER_AT)?),
                broker_epoch: BrokerEpoch(i64_at(bytes, BROKER_EPOCH_AT)?),
                object: ObjectId(u128_at(bytes, OBJECT_ID_AT)?),
            },
            table_position: u64_at(bytes, TABLE_POSITION_AT)?,
            table_length: u64_at(bytes, TABLE_LENGTH_AT)?,
            table_crc: u32_at(bytes, TABLE_CRC_AT)?,
        };
        footer.check_table_fits(object_size)?;
        Ok(footer)
    }

    fn check_table_fits(&self, object_size: u64) -> Result<(), DecodeObjectError> {
        let limit = object_size.saturating_sub(FOOTER_BYTES as u64);
        match self.table_position.checked_add(self.table_length) {
            Some(end) if end == limit => Ok(()),
            _ => Err(DecodeObjectError::OutOfBounds {
                structure: "section table",
                position: self.table_position,
                length: self.table_length,
                limit,
            }),
        }
    }
}

fn check_magic_and_version(bytes: &[u8]) -> Result<(), DecodeObjectError> {
    let magic = u64_at(bytes, MAGIC_AT)?;
    if magic != MAGIC {
        return Err(DecodeObjectError::Magic { found: magic });
    }
    match u16_at(bytes, VERSION_AT)? {
        FORMAT_VERSION => Ok(()),
        found => Err(DecodeObjectError::Version { found }),
    }
}

fn check_crc(bytes: &[u8]) -> Result<(), DecodeObjectError> {
    let expected = u32_at(bytes, FOOTER_CRC_AT)?;
    let found = crc32c(bytes.get(..FOOTER_CRC_AT).unwrap_or_default());
    if expected != found {
        return Err(DecodeObjectError::Checksum { structure: "footer", expected, found });
    }
    Ok(())
}
