//! Telling encodings apart by the shape of the bytes, without knowing who wrote them.

use std::fmt;

use antiphon_common::PartitionIndex;

/// The digits of the largest partition index, 2147483647.
const PARTITION_DIGITS_MAX: usize = 10;
const INT32_BYTES: usize = 4;

/// How the bytes of a header are to be understood.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Encoding {
    /// UTF-8 without control characters.
    Text,
    /// UTF-8 with replacement characters (U+FFFD): bytes that somebody read as text and wrote
    /// again. What they were is lost, so such an id never matches its request.
    Mangled,
    /// Bytes that are no text.
    Raw,
    /// A four-byte big-endian number.
    Int32,
    /// A number in ASCII digits.
    Decimal,
}

impl Encoding {
    /// The encoding of a correlation id or a topic: one of the first three.
    pub(crate) fn of_text_or_bytes(bytes: &[u8]) -> Self {
        match std::str::from_utf8(bytes) {
            Ok(text) if text.contains(char::REPLACEMENT_CHARACTER) => Self::Mangled,
            Ok(text) if !text.contains(char::is_control) => Self::Text,
            _ => Self::Raw,
        }
    }

    /// The encoding of a partition index, and the index if there is one.
    ///
    /// Four ASCII digits are a decimal, not an int32: as an int32 they would name partition
    /// 808,464,432 or a higher one, and no topic has so many.
    pub(crate) fn of_partition(bytes: &[u8]) -> (Self, Option<PartitionIndex>) {
        let digits = !bytes.is_empty() && bytes.iter().all(u8::is_ascii_digit);
        if digits && bytes.len() <= PARTITION_DIGITS_MAX {
            let index = std::str::from_utf8(bytes).ok().and_then(|text| text.parse().ok());
            return (Self::Decimal, index.map(PartitionIndex));
        }
        match <[u8; INT32_BYTES]>::try_from(bytes).map(i32::from_be_bytes) {
            Ok(index) if index >= 0 => (Self::Int32, Some(PartitionIndex(index))),
            Ok(_) => (Self::Int32, None),
            Err(_) => (Self::of_text_or_bytes(bytes), None),
        }
    }
}

impl fmt::Display for Encoding {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Text => "text",
            Self::Mangled => "text with replacement characters",
            Self::Raw => "raw bytes",
            Self::Int32 => "a big-endian int32",
            Self::Decimal => "decimal text",
        })
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn partitions_are_read_by_their_shape() {
        let read = |bytes: &[u8]| {
            let (encoding, index) = Encoding::of_partition(bytes);
            (encoding, index.map(|index| index.0))
        };
        assert_eq!(read(&[0, 0, 0, 2]), (Encoding::Int32, Some(2)));
        assert_eq!(read(b"2"), (Encoding::Decimal, Some(2)));
        assert_eq!(read(b"1234"), (Encoding::Decimal, Some(1234)));
        assert_eq!(read(b"2147483647"), (Encoding::Decimal, Some(i32::MAX)));
        assert_eq!(read(b"2147483648"), (Encoding::Decimal, None));
        assert_eq!(read(b"00000000001"), (Encoding::Text, None));
        assert_eq!(read(&[0xff, 0xff, 0xff, 0xff]), (Encoding::Int32, None), "-1");
        assert_eq!(read(b""), (Encoding::Text, None));
        assert_eq!(read(b"-1"), (Encoding::Text, None));
        assert_eq!(read(&[0, 2]), (Encoding::Raw, None));
        assert_eq!(read(&[0, 0, 0, 0, 0, 0, 0, 2]), (Encoding::Raw, None));
    }

    proptest! {
        #[test]
        fn every_partition_there_can_be_is_read_in_both_encodings(index in 0..=0x2fff_ffff_i32) {
            let some = Some(PartitionIndex(index));
            prop_assert_eq!(Encoding::of_partition(&index.to_be_bytes()), (Encoding::Int32, some));
            let text = index.to_string();
            prop_assert_eq!(Encoding::of_partition(text.as_bytes()), (Encoding::Decimal, some));
        }

        #[test]
        fn bytes_that_are_no_text_are_raw_and_show_when_somebody_made_text_of_them(
            bytes in prop::collection::vec(any::<u8>(), 1..32)
        ) {
            prop_assume!(std::str::from_utf8(&bytes).is_err());
            let echoed = String::from_utf8_lossy(&bytes);
            prop_assert_eq!(Encoding::of_text_or_bytes(&bytes), Encoding::Raw);
            prop_assert_eq!(Encoding::of_text_or_bytes(echoed.as_bytes()), Encoding::Mangled);
        }
    }
}
