//! Builds one response frame: size prefix, response header, body.

use bytes::{BufMut, BytesMut};

use crate::encode::EncodeError;

/// Bytes of the size in front of every frame.
const SIZE_PREFIX_BYTES: usize = 4;

/// The bytes `value` takes as an unsigned varint.
pub(crate) const fn unsigned_varint_size(value: u32) -> usize {
    // Seven bits a byte; zero still takes one.
    let bits = 32 - (value | 1).leading_zeros();
    bits.div_ceil(7) as usize
}

/// Writes a response in the layout of one API version.
#[derive(Debug)]
pub(crate) struct Writer {
    buffer: BytesMut,
    flexible: bool,
}

impl Writer {
    /// Starts a frame: room for its size, then the response header, which has a tagged-field
    /// section in flexible versions (header version 1).
    pub(crate) fn response(correlation_id: i32, flexible: bool, capacity: usize) -> Self {
        let mut buffer = BytesMut::with_capacity(capacity);
        buffer.put_i32(0);
        buffer.put_i32(correlation_id);
        let mut writer = Self { buffer, flexible };
        writer.no_tagged_fields();
        writer
    }

    /// Bytes written so far, the size prefix included.
    pub(crate) fn len(&self) -> usize {
        self.buffer.len()
    }

    /// Ends the frame, whose body goes on for `outside` bytes that are not in this buffer.
    pub(crate) fn finish(mut self, outside: usize) -> Result<BytesMut, EncodeError> {
        let length = (self.buffer.len() - SIZE_PREFIX_BYTES).saturating_add(outside);
        let prefix = i32::try_from(length).map_err(|_| EncodeError::FrameTooLarge { length })?;
        if let Some(size) = self.buffer.first_chunk_mut::<SIZE_PREFIX_BYTES>() {
            *size = prefix.to_be_bytes();
        }
        Ok(self.buffer)
    }

    pub(crate) fn i16(&mut self, value: i16) {
        self.buffer.put_i16(value);
    }

    pub(crate) fn i32(&mut self, value: i32) {
        self.buffer.put_i32(value);
    }

    pub(crate) fn i64(&mut self, value: i64) {
        self.buffer.put_i64(value);
    }

    pub(crate) fn uuid(&mut self, value: uuid::Uuid) {
        self.buffer.put_slice(value.as_bytes());
    }

    pub(crate) fn unsigned_varint(&mut self, mut value: u32) {
        while value >= 0x80 {
            self.buffer.put_u8(value as u8 | 0x80);
            value >>= 7;
        }
        self.buffer.put_u8(value as u8);
    }

    /// The length of an array, of bytes or of records; `None` is null.
    pub(crate) fn length(&mut self, length: Option<usize>) -> Result<(), EncodeError> {
        let Some(length) = length else {
            if self.flexible {
                self.unsigned_varint(0)
            } else {
                self.i32(-1)
            }
            return Ok(());
        };
        let raw = i32::try_from(length).map_err(|_| EncodeError::FrameTooLarge { length })?;
        if self.flexible {
            self.unsigned_varint(raw as u32 + 1)
        } else {
            self.i32(raw)
        }
        Ok(())
    }

    pub(crate) fn nullable_string(&mut self, text: Option<&str>) -> Result<(), EncodeError> {
        let Some(text) = text else {
            if self.flexible {
                self.unsigned_varint(0)
            } else {
                self.i16(-1)
            }
            return Ok(());
        };
        let raw = i16::try_from(text.len())
            .map_err(|_| EncodeError::StringTooLong { length: text.len() })?;
        if self.flexible {
            self.unsigned_varint(raw as u32 + 1)
        } else {
            self.i16(raw)
        }
        self.buffer.put_slice(text.as_bytes());
        Ok(())
    }

    pub(crate) fn string(&mut self, text: &str) -> Result<(), EncodeError> {
        self.nullable_string(Some(text))
    }

    /// An empty tagged-field section, which only flexible versions have.
    pub(crate) fn no_tagged_fields(&mut self) {
        self.tagged_field_count(0);
    }

    /// How many tagged fields follow.
    pub(crate) fn tagged_field_count(&mut self, count: u32) {
        if self.flexible {
            self.unsigned_varint(count);
        }
    }

    /// The tag and size in front of a tagged field's content.
    pub(crate) fn tagged_field(&mut self, tag: u32, size: usize) {
        self.unsigned_varint(tag);
        self.unsigned_varint(size as u32);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn varint_sizes_match_what_is_written() {
        for value in [0, 1, 127, 128, 16_383, 16_384, 2_097_151, 2_097_152, u32::MAX] {
            let mut writer = Writer::response(0, false, 16);
            let before = writer.len();
            writer.unsigned_varint(value);
            assert_eq!(writer.len() - before, unsigned_varint_size(value), "{value}");
        }
    }

    #[test]
    fn the_size_prefix_counts_what_lies_outside() {
        let frame = Writer::response(7, true, 16).finish(1_000).unwrap();
        assert_eq!(frame[..], [0, 0, 3, 0xed, 0, 0, 0, 7, 0]);
    }
}
