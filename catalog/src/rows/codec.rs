//! How rows become bytes: big-endian numbers, so that keys sort as their numbers do, and
//! length-prefixed text. Values open with a version byte.

use bytes::Bytes;
use uuid::Uuid;

/// Why stored bytes are not the row they should be.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum RowError {
    /// The bytes end inside a field.
    #[error("{missing} bytes are missing from the field `{field}`")]
    Truncated {
        /// The field.
        field: &'static str,
        /// How many more bytes it needs.
        missing: usize,
    },
    /// Bytes are left after the last field.
    #[error("{count} bytes follow the last field")]
    TrailingBytes {
        /// How many.
        count: usize,
    },
    /// The value's version byte is not one this program reads.
    #[error("row version {found}; this program reads version {supported}")]
    UnknownVersion {
        /// The version byte.
        found: u8,
        /// What this program reads.
        supported: u8,
    },
    /// The key belongs to another kind of row.
    #[error("the key starts with {found:#04x} instead of {expected:#04x}")]
    WrongKind {
        /// The first byte of the key.
        found: u8,
        /// The first byte of this kind's keys.
        expected: u8,
    },
    /// A text field is not UTF-8.
    #[error("the field `{field}` is not UTF-8")]
    NotText {
        /// The field.
        field: &'static str,
    },
    /// A field holds a number that its type does not have.
    #[error("the field `{field}` holds {found}, which is out of range")]
    OutOfRange {
        /// The field.
        field: &'static str,
        /// What it holds.
        found: u64,
    },
}

/// Appends fields to a growing buffer.
#[derive(Debug, Default)]
pub(crate) struct Encoder(Vec<u8>);

impl Encoder {
    pub(crate) fn key(kind: u8) -> Self {
        Self(vec![kind])
    }

    pub(crate) fn value(version: u8) -> Self {
        Self(vec![version])
    }

    pub(crate) fn u8(mut self, field: u8) -> Self {
        self.0.push(field);
        self
    }

    pub(crate) fn bool(self, field: bool) -> Self {
        self.u8(u8::from(field))
    }

    pub(crate) fn u32(self, field: u32) -> Self {
        self.raw(&field.to_be_bytes())
    }

    pub(crate) fn u64(self, field: u64) -> Self {
        self.raw(&field.to_be_bytes())
    }

    pub(crate) fn u128(self, field: u128) -> Self {
        self.raw(&field.to_be_bytes())
    }

    pub(crate) fn i32(self, field: i32) -> Self {
        self.raw(&field.to_be_bytes())
    }

    pub(crate) fn i64(self, field: i64) -> Self {
        self.raw(&field.to_be_bytes())
    }

    pub(crate) fn uuid(self, field: Uuid) -> Self {
        self.raw(field.as_bytes())
    }

    /// A count of what follows. Lengths in a catalog are far below 2^32; the cast cannot lose bits
    /// of anything that fits in memory here.
    pub(crate) fn count(self, count: usize) -> Self {
        self.u32(count as u32)
    }

    pub(crate) fn text(self, field: &str) -> Self {
        self.count(field.len()).raw(field.as_bytes())
    }

    pub(crate) fn raw(mut self, field: &[u8]) -> Self {
        self.0.extend_from_slice(field);
        self
    }

    pub(crate) fn finish(self) -> Vec<u8> {
        self.0
    }
}

/// Takes fields off the front of stored bytes. Never panics, never allocates more than the bytes
/// at hand can fill.
#[derive(Debug)]
pub(crate) struct Decoder<'a> {
    rest: &'a [u8],
}

impl<'a> Decoder<'a> {
    /// Bare fields, without a kind or version byte in front.
    pub(crate) fn fields(bytes: &'a [u8]) -> Self {
        Self { rest: bytes }
    }

    /// Fields of a key, after its kind byte.
    pub(crate) fn key(bytes: &'a [u8], expected: u8) -> Result<Self, RowError> {
        let mut decoder = Self { rest: bytes };
        match decoder.u8("kind")? {
            found if found == expected => Ok(decoder),
            found => Err(RowError::WrongKind { found, expected }),
        }
    }

    /// Fields of a value, after its version byte.
    pub(crate) fn value(bytes: &'a [u8], supported: u8) -> Result<Self, RowError> {
        let mut decoder = Self { rest: bytes };
        match decoder.u8("version")? {
            found if found == supported => Ok(decoder),
            found => Err(RowError::UnknownVersion { found, supported }),
        }
    }

    /// Fields of a value whose version byte may be any from 1 to `newest`, and which one it is.
    pub(crate) fn value_up_to(bytes: &'a [u8], newest: u8) -> Result<(u8, Self), RowError> {
        let mut decoder = Self { rest: bytes };
        match decoder.u8("version")? {
            found if (1..=newest).contains(&found) => Ok((found, decoder)),
            found => Err(RowError::UnknownVersion { found, supported: newest }),
        }
    }

    fn take(&mut self, field: &'static str, length: usize) -> Result<&'a [u8], RowError> {
        let missing = length.saturating_sub(self.rest.len());
        let Some((taken, rest)) = self.rest.split_at_checked(length) else {
            return Err(RowError::Truncated { field, missing });
        };
        self.rest = rest;
        Ok(taken)
    }

    fn array<const N: usize>(&mut self, field: &'static str) -> Result<[u8; N], RowError> {
        let taken = self.take(field, N)?;
        taken.try_into().map_err(|_| RowError::Truncated { field, missing: N })
    }

    pub(crate) fn u8(&mut self, field: &'static str) -> Result<u8, RowError> {
        Ok(u8::from_be_bytes(self.array(field)?))
    }

    pub(crate) fn bool(&mut self, field: &'static str) -> Result<bool, RowError> {
        match self.u8(field)? {
            0 => Ok(false),
            1 => Ok(true),
            found => Err(RowError::OutOfRange { field, found: u64::from(found) }),
        }
    }

    pub(crate) fn u32(&mut self, field: &'static str) -> Result<u32, RowError> {
        Ok(u32::from_be_bytes(self.array(field)?))
    }

    pub(crate) fn u64(&mut self, field: &'static str) -> Result<u64, RowError> {
        Ok(u64::from_be_bytes(self.array(field)?))
    }

    pub(crate) fn u128(&mut self, field: &'static str) -> Result<u128, RowError> {
        Ok(u128::from_be_bytes(self.array(field)?))
    }

    pub(crate) fn i32(&mut self, field: &'static str) -> Result<i32, RowError> {
        Ok(i32::from_be_bytes(self.array(field)?))
    }

    pub(crate) fn i64(&mut self, field: &'static str) -> Result<i64, RowError> {
        Ok(i64::from_be_bytes(self.array(field)?))
    }

    /// A signed number that stands in a key and is therefore never negative.
    pub(crate) fn unsigned_i64(&mut self, field: &'static str) -> Result<i64, RowError> {
        let found = self.u64(field)?;
        i64::try_from(found).map_err(|_| RowError::OutOfRange { field, found })
    }

    pub(crate) fn unsigned_i32(&mut self, field: &'static str) -> Result<i32, RowError> {
        let found = self.u32(field)?;
        i32::try_from(found).map_err(|_| RowError::OutOfRange { field, found: u64::from(found) })
    }

    pub(crate) fn uuid(&mut self, field: &'static str) -> Result<Uuid, RowError> {
        Ok(Uuid::from_bytes(self.array(field)?))
    }

    /// A count of elements that each take at least `element_bytes_min`, refused when the bytes
    /// that are left cannot hold that many.
    pub(crate) fn count(
        &mut self,
        field: &'static str,
        element_bytes_min: usize,
    ) -> Result<usize, RowError> {
        let count = self.u32(field)? as usize;
        let missing = count.saturating_mul(element_bytes_min).saturating_sub(self.rest.len());
        if missing == 0 { Ok(count) } else { Err(RowError::Truncated { field, missing }) }
    }

    pub(crate) fn text(&mut self, field: &'static str) -> Result<String, RowError> {
        let length = self.u32(field)? as usize;
        let bytes = self.take(field, length)?;
        let text = std::str::from_utf8(bytes).map_err(|_| RowError::NotText { field })?;
        Ok(text.to_owned())
    }

    /// Everything that is left, as text.
    pub(crate) fn rest_as_text(self, field: &'static str) -> Result<String, RowError> {
        let text = std::str::from_utf8(self.rest).map_err(|_| RowError::NotText { field })?;
        Ok(text.to_owned())
    }

    /// Everything that is left, as bytes.
    pub(crate) fn rest_as_bytes(self) -> Bytes {
        Bytes::copy_from_slice(self.rest)
    }

    pub(crate) fn finish(self) -> Result<(), RowError> {
        match self.rest.len() {
            0 => Ok(()),
            count => Err(RowError::TrailingBytes { count }),
        }
    }
}
