//! Zigzag varints, as records carry them (the encoding of Protocol Buffers: 7 bits a byte, low bits
//! first, the top bit set on all but the last).
//!
//! Encodings of more bytes than the value needs are read, as Kafka reads them: a client may reserve
//! space for a length and fill it in later, and the bytes are stored as they came. Encodings of more
//! bytes than the *type* can need (5 and 10), or with bits beyond the type, are malformed.

/// Why no varint could be read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum VarintError {
    /// The bytes end before it does.
    Truncated,
    /// It does not fit its type.
    Overflow,
}

/// A reader that consumes a byte slice from the front.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Reader<'a> {
    rest: &'a [u8],
}

impl<'a> Reader<'a> {
    pub(crate) fn new(bytes: &'a [u8]) -> Self {
        Self { rest: bytes }
    }

    pub(crate) fn remaining(&self) -> usize {
        self.rest.len()
    }

    pub(crate) fn rest(&self) -> &'a [u8] {
        self.rest
    }

    pub(crate) fn byte(&mut self) -> Option<u8> {
        let (&first, rest) = self.rest.split_first()?;
        self.rest = rest;
        Some(first)
    }

    pub(crate) fn take(&mut self, length: usize) -> Option<&'a [u8]> {
        let (taken, rest) = self.rest.split_at_checked(length)?;
        self.rest = rest;
        Some(taken)
    }

    /// A 32-bit varint.
    #[inline]
    pub(crate) fn varint(&mut self) -> Result<i32, VarintError> {
        let raw = self.unsigned(u64::from(u32::MAX))? as u32;
        Ok((raw >> 1).cast_signed() ^ -(raw & 1).cast_signed())
    }

    /// A 64-bit varint.
    #[inline]
    pub(crate) fn varlong(&mut self) -> Result<i64, VarintError> {
        let raw = self.unsigned(u64::MAX)?;
        Ok((raw >> 1).cast_signed() ^ -(raw & 1).cast_signed())
    }

    /// Nearly all varints of a record have one byte (null, small deltas) or two (lengths and deltas up
    /// to 8191), so those stay inline.
    #[inline]
    fn unsigned(&mut self, max: u64) -> Result<u64, VarintError> {
        match *self.rest {
            [only @ 0..0x80, ref rest @ ..] => {
                self.rest = rest;
                Ok(u64::from(only))
            }
            [first, second @ 0..0x80, ref rest @ ..] => {
                self.rest = rest;
                Ok(u64::from(first & 0x7f) | u64::from(second) << 7)
            }
            _ => self.unsigned_of_many_bytes(max),
        }
    }

    fn unsigned_of_many_bytes(&mut self, max: u64) -> Result<u64, VarintError> {
        let mut value = 0u64;
        let mut shift = 0;
        loop {
            let byte = self.byte().ok_or(VarintError::Truncated)?;
            let bits = u64::from(byte & 0x7f);
            // `max >> shift` is what still fits above the bits read so far; once the shift has
            // passed the type, not even an empty continuation byte does.
            if shift >= 64 || bits > max >> shift || max >> shift == 0 {
                return Err(VarintError::Overflow);
            }
            value |= bits << shift;
            if byte < 0x80 {
                return Ok(value);
            }
            shift += 7;
        }
    }
}

/// Appends a 32-bit varint.
pub(crate) fn put_varint(out: &mut Vec<u8>, value: i32) {
    put_unsigned(out, u64::from(((value << 1) ^ (value >> 31)).cast_unsigned()));
}

/// Appends a 64-bit varint.
pub(crate) fn put_varlong(out: &mut Vec<u8>, value: i64) {
    put_unsigned(out, ((value << 1) ^ (value >> 63)).cast_unsigned());
}

fn put_unsigned(out: &mut Vec<u8>, mut value: u64) {
    while value >= 0x80 {
        out.push(value as u8 | 0x80);
        value >>= 7;
    }
    out.push(value as u8);
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn known_encodings() {
        for (value, bytes) in [
            (0, &[0x00][..]),
            (-1, &[0x01]),
            (63, &[0x7e]),
            (64, &[0x80, 0x01]),
            (i32::MAX, &[0xfe, 0xff, 0xff, 0xff, 0x0f]),
            (i32::MIN, &[0xff, 0xff, 0xff, 0xff, 0x0f]),
        ] {
            let mut out = Vec::new();
            put_varint(&mut out, value);
            assert_eq!(out, bytes);
            assert_eq!(Reader::new(bytes).varint(), Ok(value));
        }
    }

    #[test]
    fn padded_encodings_are_read_and_overlong_ones_refused() {
        assert_eq!(Reader::new(&[0x82, 0x80, 0x80, 0x80, 0x00]).varint(), Ok(1));
        assert_eq!(Reader::new(&[0x82, 0x00]).varint(), Ok(1));
        for overlong in [
            &[0x80, 0x80, 0x80, 0x80, 0x80, 0x00][..],
            &[0xff, 0xff, 0xff, 0xff, 0x1f],
            &[0xff, 0xff, 0xff, 0xff, 0xff],
        ] {
            assert_eq!(Reader::new(overlong).varint(), Err(VarintError::Overflow), "{overlong:x?}");
        }
        let mut eleven = [0x80; 11];
        eleven[10] = 0;
        assert_eq!(Reader::new(&eleven).varlong(), Err(VarintError::Overflow));
        assert_eq!(
            Reader::new(&[0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0x02]).varlong(),
            Err(VarintError::Overflow)
        );
        assert_eq!(Reader::new(&[0x80]).varint(), Err(VarintError::Truncated));
        assert_eq!(Reader::new(&[]).varint(), Err(VarintError::Truncated));
    }

    proptest! {
        #[test]
        fn varints_round_trip(value: i32) {
            let mut out = Vec::new();
            put_varint(&mut out, value);
            let mut reader = Reader::new(&out);
            prop_assert_eq!(reader.varint(), Ok(value));
            prop_assert_eq!(reader.remaining(), 0);
        }

        #[test]
        fn varlongs_round_trip(value: i64) {
            let mut out = Vec::new();
            put_varlong(&mut out, value);
            let mut reader = Reader::new(&out);
            prop_assert_eq!(reader.varlong(), Ok(value));
            prop_assert_eq!(reader.remaining(), 0);
        }

        #[test]
        fn any_bytes_are_read_or_refused(bytes: Vec<u8>) {
            let _ = Reader::new(&bytes).varint();
            let _ = Reader::new(&bytes).varlong();
        }
    }
}
