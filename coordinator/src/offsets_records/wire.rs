//! The primitives of Kafka's message format, for the few messages that live in
//! `__consumer_offsets`. Big endian. Every read is bounded by the bytes that are there.

use bytes::{Buf, BufMut, Bytes, BytesMut};

use super::DecodeError;

/// Reads primitives off the front of a record's key or value.
#[derive(Debug)]
pub(crate) struct Reader {
    bytes: Bytes,
}

impl Reader {
    pub(crate) fn new(bytes: &Bytes) -> Self {
        Self { bytes: bytes.clone() }
    }

    fn remaining(&self) -> usize {
        self.bytes.len()
    }

    pub(crate) fn i16(&mut self) -> Result<i16, DecodeError> {
        self.bytes.try_get_i16().map_err(|_| DecodeError::Truncated)
    }

    pub(super) fn i32(&mut self) -> Result<i32, DecodeError> {
        self.bytes.try_get_i32().map_err(|_| DecodeError::Truncated)
    }

    pub(super) fn i64(&mut self) -> Result<i64, DecodeError> {
        self.bytes.try_get_i64().map_err(|_| DecodeError::Truncated)
    }

    fn take(&mut self, length: usize) -> Result<Bytes, DecodeError> {
        if length > self.bytes.len() {
            return Err(DecodeError::Truncated);
        }
        Ok(self.bytes.split_to(length))
    }

    /// An unsigned varint of at most five bytes.
    pub(super) fn varint(&mut self) -> Result<u32, DecodeError> {
        let mut value = 0u64;
        for shift in (0..35).step_by(7) {
            let byte = self.bytes.try_get_u8().map_err(|_| DecodeError::Truncated)?;
            value |= u64::from(byte & 0x7f) << shift;
            if byte & 0x80 == 0 {
                return u32::try_from(value).map_err(|_| DecodeError::Length);
            }
        }
        Err(DecodeError::Length)
    }

    /// A length: 16 or 32 bits with -1 for null, or in flexible versions a varint one too large
    /// with 0 for null.
    fn length(&mut self, fixed: FixedLength, flexible: bool) -> Result<Option<usize>, DecodeError> {
        if flexible {
            return Ok(self.varint()?.checked_sub(1).map(|length| length as usize));
        }
        let length = match fixed {
            FixedLength::Short => i32::from(self.i16()?),
            FixedLength::Int => self.i32()?,
        };
        if length == -1 {
            return Ok(None);
        }
        usize::try_from(length).map(Some).map_err(|_| DecodeError::Length)
    }

    pub(super) fn nullable_string(
        &mut self,
        flexible: bool,
    ) -> Result<Option<String>, DecodeError> {
        let Some(length) = self.length(FixedLength::Short, flexible)? else { return Ok(None) };
        let bytes = self.take(length)?;
        String::from_utf8(bytes.into()).map(Some).map_err(|_| DecodeError::Utf8)
    }

    pub(crate) fn string(&mut self, flexible: bool) -> Result<String, DecodeError> {
        self.nullable_string(flexible)?.ok_or(DecodeError::Null)
    }

    pub(super) fn bytes(&mut self, flexible: bool) -> Result<Bytes, DecodeError> {
        let length = self.length(FixedLength::Int, flexible)?.ok_or(DecodeError::Null)?;
        self.take(length)
    }

    /// The number of elements of an array, refused if they cannot fit into what remains.
    pub(crate) fn array_length(
        &mut self,
        element_bytes_min: usize,
        flexible: bool,
    ) -> Result<usize, DecodeError> {
        let length = self.length(FixedLength::Int, flexible)?.ok_or(DecodeError::Null)?;
        if length > self.remaining() / element_bytes_min.max(1) {
            return Err(DecodeError::Truncated);
        }
        Ok(length)
    }

    /// Steps over tagged fields: nothing that this crate needs is in one.
    pub(super) fn skip_tagged_fields(&mut self, flexible: bool) -> Result<(), DecodeError> {
        if !flexible {
            return Ok(());
        }
        for _ in 0..self.varint()? {
            let _tag = self.varint()?;
            let size = self.varint()? as usize;
            self.take(size)?;
        }
        Ok(())
    }
}

#[derive(Clone, Copy, Debug)]
enum FixedLength {
    Short,
    Int,
}

/// Writes a string with a 16-bit length. The callers' limits keep names far below the longest
/// representable one; text beyond it would be cut rather than corrupt the record.
pub(super) fn put_string(buffer: &mut BytesMut, text: &str) {
    let end = text.floor_char_boundary(i16::MAX as usize);
    let text = text.get(..end).unwrap_or_default();
    buffer.put_i16(text.len() as i16);
    buffer.put_slice(text.as_bytes());
}

pub(super) fn put_nullable_string(buffer: &mut BytesMut, text: Option<&str>) {
    match text {
        Some(text) => put_string(buffer, text),
        None => buffer.put_i16(-1),
    }
}

pub(super) fn put_bytes(buffer: &mut BytesMut, bytes: &Bytes) {
    buffer.put_i32(bytes.len() as i32);
    buffer.put_slice(bytes);
}
