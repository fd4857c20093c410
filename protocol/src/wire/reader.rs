//! A cursor over bytes that somebody else sent.
//!
//! Every method checks before it moves, so no input makes it panic, and no length or count that
//! the input claims is believed until the bytes behind it have been seen. A reader also carries a
//! budget: the memory that the decoded form may take. A two-byte element of a Kafka array may
//! decode to a 72-byte struct, so a frame's size alone does not bound what it costs.

use thiserror::Error;

/// Memory that the decoded form of one request may take.
pub(crate) const DECODED_BYTES_MAX: usize = 32 << 20;

/// What one unknown tagged field costs once decoded: kafka-protocol keeps them in a `BTreeMap`,
/// whose nodes hold 11 entries of 36 bytes and may be half empty. The first entry of a struct pays
/// for its node, and charging every entry alike keeps the rule simple.
const TAG_ENTRY_BYTES: usize = 448;

/// Where the bytes stopped making sense, and how.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Error)]
#[error("at byte {at}: {defect}")]
pub struct Malformed {
    /// Position in the bytes that were read, counted from zero.
    pub at: usize,
    /// What is wrong there.
    pub defect: Defect,
}

/// What can be wrong with bytes that claim to be a Kafka message.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Error)]
#[non_exhaustive]
pub enum Defect {
    /// A field reaches past the end.
    #[error("{wanted} bytes are wanted and {remaining} remain")]
    Truncated {
        /// Bytes the field claims or needs.
        wanted: usize,
        /// Bytes there are.
        remaining: usize,
    },
    /// A length or count below -1, or -1 where it does not mean null.
    #[error("a length is {0}")]
    NegativeLength(i32),
    /// Null where the schema has no null.
    #[error("null in a field that cannot be null")]
    UnexpectedNull,
    /// A varint with more than 32 bits.
    #[error("a varint does not fit 32 bits")]
    VarintOverflow,
    /// An array claims more elements than the remaining bytes can hold.
    #[error("an array claims {count} elements and at most {room} fit")]
    CountTooLarge {
        /// Claimed elements.
        count: usize,
        /// Elements of the smallest possible size that fit the remaining bytes.
        room: usize,
    },
    /// The decoded form would take more memory than one request may.
    #[error("the decoded request would exceed {budget} bytes")]
    OverBudget {
        /// The whole budget.
        budget: usize,
    },
    /// Tags repeat or do not grow.
    #[error("tag {tag} follows tag {previous}")]
    TagOrder {
        /// The offending tag.
        tag: u32,
        /// The one before it.
        previous: u32,
    },
    /// A tagged field's size differs from what its content takes.
    #[error("tag {tag} claims {claimed} bytes and its content takes {actual}")]
    TagSize {
        /// The tag.
        tag: u32,
        /// The size it claims.
        claimed: usize,
        /// The size of its content.
        actual: usize,
    },
    /// The byte in front of a nullable struct is neither 1 (present) nor -1 (null).
    #[error("a nullable struct is marked with {0}")]
    PresenceMarker(i8),
    /// A string that is not UTF-8.
    #[error("a string is not UTF-8")]
    NotUtf8,
}

/// Reads one message, front to back.
#[derive(Debug)]
pub(crate) struct Reader<'a> {
    bytes: &'a [u8],
    position: usize,
    budget: usize,
    budget_left: usize,
    elements: usize,
}

impl<'a> Reader<'a> {
    pub(crate) fn new(bytes: &'a [u8]) -> Self {
        Self::with_budget(bytes, DECODED_BYTES_MAX)
    }

    pub(crate) fn with_budget(bytes: &'a [u8], budget: usize) -> Self {
        Self { bytes, position: 0, budget, budget_left: budget, elements: 0 }
    }

    pub(crate) fn position(&self) -> usize {
        self.position
    }

    pub(crate) fn remaining(&self) -> usize {
        self.bytes.len() - self.position
    }

    /// Elements of all arrays so far.
    pub(crate) fn elements(&self) -> usize {
        self.elements
    }

    /// Memory charged so far for the decoded form.
    pub(crate) fn charged(&self) -> usize {
        self.budget - self.budget_left
    }

    pub(crate) fn fail(&self, defect: Defect) -> Malformed {
        Malformed { at: self.position, defect }
    }

    /// Charges `bytes` of decoded form.
    pub(crate) fn charge(&mut self, bytes: usize) -> Result<(), Malformed> {
        let left = self.budget_left.checked_sub(bytes);
        self.budget_left = left.ok_or(self.fail(Defect::OverBudget { budget: self.budget }))?;
        Ok(())
    }

    /// The next `wanted` bytes.
    pub(crate) fn take(&mut self, wanted: usize) -> Result<&'a [u8], Malformed> {
        let rest = self.bytes.get(self.position..).unwrap_or_default();
        let taken = rest.get(..wanted);
        let taken = taken.ok_or(self.fail(Defect::Truncated { wanted, remaining: rest.len() }))?;
        self.position += wanted;
        Ok(taken)
    }

    fn array<const N: usize>(&mut self) -> Result<[u8; N], Malformed> {
        let mut array = [0; N];
        array.copy_from_slice(self.take(N)?);
        Ok(array)
    }

    pub(crate) fn i8(&mut self) -> Result<i8, Malformed> {
        self.array().map(i8::from_be_bytes)
    }

    pub(crate) fn i16(&mut self) -> Result<i16, Malformed> {
        self.array().map(i16::from_be_bytes)
    }

    pub(crate) fn i32(&mut self) -> Result<i32, Malformed> {
        self.array().map(i32::from_be_bytes)
    }

    pub(crate) fn i64(&mut self) -> Result<i64, Malformed> {
        self.array().map(i64::from_be_bytes)
    }

    pub(crate) fn uuid(&mut self) -> Result<uuid::Uuid, Malformed> {
        self.array().map(uuid::Uuid::from_bytes)
    }

    /// Seven bits a byte, low bits first. The fifth byte has room for four bits only.
    pub(crate) fn unsigned_varint(&mut self) -> Result<u32, Malformed> {
        let mut value = 0;
        for shift in [0, 7, 14, 21] {
            let [byte] = self.array()?;
            value |= u32::from(byte & 0x7f) << shift;
            if byte < 0x80 {
                return Ok(value);
            }
        }
        let overflow = self.fail(Defect::VarintOverflow);
        let [last] = self.array()?;
        if last > 0x0f { Err(overflow) } else { Ok(value | (u32::from(last) << 28)) }
    }

    /// A length of which -1, or 0 in its compact form, means null.
    fn nullable_length(&self, raw: i32) -> Result<Option<usize>, Malformed> {
        match raw {
            -1 => Ok(None),
            length => match usize::try_from(length) {
                Ok(length) => Ok(Some(length)),
                Err(_) => Err(self.fail(Defect::NegativeLength(length))),
            },
        }
    }

    fn compact_length(&mut self) -> Result<Option<usize>, Malformed> {
        Ok((self.unsigned_varint()? as usize).checked_sub(1))
    }

    fn string_length(&mut self, flexible: bool) -> Result<Option<usize>, Malformed> {
        if flexible {
            return self.compact_length();
        }
        let raw = self.i16()?;
        self.nullable_length(i32::from(raw))
    }

    /// The length of an array, of bytes or of records.
    fn long_length(&mut self, flexible: bool) -> Result<Option<usize>, Malformed> {
        if flexible {
            return self.compact_length();
        }
        let raw = self.i32()?;
        self.nullable_length(raw)
    }

    /// Refuses null unless `nullable`.
    pub(crate) fn null_only_if<T>(
        &self,
        nullable: bool,
        value: Option<T>,
    ) -> Result<Option<T>, Malformed> {
        if nullable { Ok(value) } else { self.not_null(value).map(Some) }
    }

    fn not_null<T>(&self, value: Option<T>) -> Result<T, Malformed> {
        value.ok_or(self.fail(Defect::UnexpectedNull))
    }

    /// The bytes of a string, not checked to be UTF-8.
    pub(crate) fn nullable_string(
        &mut self,
        flexible: bool,
    ) -> Result<Option<&'a [u8]>, Malformed> {
        let length = self.string_length(flexible)?;
        length.map(|length| self.take(length)).transpose()
    }

    pub(crate) fn string(&mut self, flexible: bool) -> Result<&'a [u8], Malformed> {
        let value = self.nullable_string(flexible)?;
        self.not_null(value)
    }

    pub(crate) fn nullable_bytes(&mut self, flexible: bool) -> Result<Option<&'a [u8]>, Malformed> {
        let length = self.long_length(flexible)?;
        length.map(|length| self.take(length)).transpose()
    }

    /// The number of elements of an array, once it is sure that so many of at least
    /// `element_bytes` each can follow; their decoded form is charged here.
    pub(crate) fn nullable_array(
        &mut self,
        flexible: bool,
        element_bytes: usize,
        decoded_bytes: usize,
    ) -> Result<Option<usize>, Malformed> {
        let Some(count) = self.long_length(flexible)? else { return Ok(None) };
        let room = self.remaining() / element_bytes.max(1);
        if count > room {
            return Err(self.fail(Defect::CountTooLarge { count, room }));
        }
        self.charge(count.saturating_mul(decoded_bytes))?;
        self.elements += count;
        Ok(Some(count))
    }

    pub(crate) fn array_of(
        &mut self,
        flexible: bool,
        element_bytes: usize,
        decoded_bytes: usize,
    ) -> Result<usize, Malformed> {
        let count = self.nullable_array(flexible, element_bytes, decoded_bytes)?;
        self.not_null(count)
    }

    /// A tagged-field section (KIP-482). `known` is asked about each tag: it reads the content of
    /// a tag it knows and says so; the content of other tags is skipped.
    ///
    /// Tags must grow, and a known tag's content must take exactly the size it claims. Kafka's own
    /// encoders guarantee both; kafka-protocol checks neither and would read on out of step.
    pub(crate) fn tagged_fields(
        &mut self,
        mut known: impl FnMut(&mut Self, u32) -> Result<bool, Malformed>,
    ) -> Result<(), Malformed> {
        // The smallest tagged field is a tag and the size zero.
        let mut fields = self.unsigned_varint()? as usize;
        let room = self.remaining() / 2;
        if fields > room {
            return Err(self.fail(Defect::CountTooLarge { count: fields, room }));
        }
        let mut previous = None;
        while fields > 0 {
            let tag = self.next_tag(previous)?;
            self.tagged_field(tag, &mut known)?;
            previous = Some(tag);
            fields -= 1;
        }
        Ok(())
    }

    fn next_tag(&mut self, previous: Option<u32>) -> Result<u32, Malformed> {
        let tag = self.unsigned_varint()?;
        match previous {
            Some(previous) if tag <= previous => Err(self.fail(Defect::TagOrder { tag, previous })),
            _ => Ok(tag),
        }
    }

    fn tagged_field(
        &mut self,
        tag: u32,
        known: &mut impl FnMut(&mut Self, u32) -> Result<bool, Malformed>,
    ) -> Result<(), Malformed> {
        let claimed = self.unsigned_varint()? as usize;
        let start = self.position;
        if !known(self, tag)? {
            self.charge(TAG_ENTRY_BYTES)?;
            self.take(claimed)?;
        }
        let actual = self.position - start;
        if actual == claimed {
            return Ok(());
        }
        Err(Malformed { at: start, defect: Defect::TagSize { tag, claimed, actual } })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn varint(bytes: &[u8]) -> Result<u32, Defect> {
        Reader::new(bytes).unsigned_varint().map_err(|malformed| malformed.defect)
    }

    #[test]
    fn a_varint_holds_32_bits_and_no_more() {
        assert_eq!(varint(&[0xff, 0xff, 0xff, 0xff, 0x0f]), Ok(u32::MAX));
        assert_eq!(varint(&[0xff, 0xff, 0xff, 0xff, 0x1f]), Err(Defect::VarintOverflow));
        assert_eq!(varint(&[0x80, 0x80, 0x80, 0x80, 0x80, 0x00]), Err(Defect::VarintOverflow));
        assert_eq!(varint(&[0x80]), Err(Defect::Truncated { wanted: 1, remaining: 0 }));
    }

    #[test]
    fn a_count_is_believed_only_if_its_elements_fit() {
        let bytes = [0, 0, 0, 2, 1, 2, 3, 4];
        assert_eq!(Reader::new(&bytes).array_of(false, 2, 8), Ok(2));
        let too_large = Reader::new(&bytes).array_of(false, 3, 8).map_err(|error| error.defect);
        assert_eq!(too_large, Err(Defect::CountTooLarge { count: 2, room: 1 }));
    }

    #[test]
    fn the_decoded_form_is_charged() {
        let bytes = [0, 0, 0, 2, 1, 2, 3, 4];
        let over = Reader::with_budget(&bytes, 99).array_of(false, 1, 50);
        assert_eq!(over.map_err(|error| error.defect), Err(Defect::OverBudget { budget: 99 }));
        let mut reader = Reader::with_budget(&bytes, 100);
        assert_eq!((reader.array_of(false, 1, 50), reader.charged()), (Ok(2), 100));
    }

    #[test]
    fn negative_lengths_other_than_null_are_refused() {
        let mut reader = Reader::new(&[0xff, 0xfe]);
        assert_eq!(reader.string(false).unwrap_err().defect, Defect::NegativeLength(-2));
        let mut reader = Reader::new(&[0xff, 0xff]);
        assert_eq!(reader.string(false).unwrap_err().defect, Defect::UnexpectedNull);
    }

    fn tags(bytes: &[u8]) -> Result<(), Defect> {
        let known = |reader: &mut Reader<'_>, tag| match tag {
            0 => reader.i32().map(|_| true),
            _ => Ok(false),
        };
        Reader::new(bytes).tagged_fields(known).map_err(|malformed| malformed.defect)
    }

    #[test]
    fn tags_must_grow_and_keep_their_size() {
        assert_eq!(tags(&[2, 0, 4, 1, 2, 3, 4, 9, 1, 7]), Ok(()));
        assert_eq!(tags(&[2, 9, 0, 9, 0]), Err(Defect::TagOrder { tag: 9, previous: 9 }));
        let wrong_size = Defect::TagSize { tag: 0, claimed: 5, actual: 4 };
        assert_eq!(tags(&[1, 0, 5, 1, 2, 3, 4, 5]), Err(wrong_size));
        assert_eq!(tags(&[200, 1, 0]), Err(Defect::CountTooLarge { count: 200, room: 0 }));
    }
}
