//! Kafka's primitive types before KIP-482: big-endian integers, length-prefixed strings and arrays.

/// The response ended before the value did, or a length was negative.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Truncated;

/// Appends values to a request.
#[derive(Debug, Default)]
pub(super) struct Writer {
    bytes: Vec<u8>,
}

impl Writer {
    pub(super) fn int8(&mut self, value: i8) {
        self.bytes.extend(value.to_be_bytes());
    }

    pub(super) fn int16(&mut self, value: i16) {
        self.bytes.extend(value.to_be_bytes());
    }

    pub(super) fn int32(&mut self, value: i32) {
        self.bytes.extend(value.to_be_bytes());
    }

    /// Names come from the command line; one that does not fit is cut, and the broker refuses it.
    pub(super) fn string(&mut self, value: &str) {
        let length = value.len().min(i16::MAX as usize);
        self.int16(length as i16);
        self.bytes.extend(&value.as_bytes()[..length]);
    }

    /// The request with its length in front.
    pub(super) fn into_frame(self) -> Vec<u8> {
        let mut frame = (self.bytes.len() as i32).to_be_bytes().to_vec();
        frame.extend(self.bytes);
        frame
    }
}

/// Takes values off a response.
#[derive(Debug)]
pub(super) struct Reader<'a> {
    rest: &'a [u8],
}

impl<'a> Reader<'a> {
    pub(super) fn new(bytes: &'a [u8]) -> Self {
        Self { rest: bytes }
    }

    fn take<const N: usize>(&mut self) -> Result<[u8; N], Truncated> {
        let (head, rest) = self.rest.split_first_chunk::<N>().ok_or(Truncated)?;
        self.rest = rest;
        Ok(*head)
    }

    pub(super) fn int16(&mut self) -> Result<i16, Truncated> {
        self.take().map(i16::from_be_bytes)
    }

    pub(super) fn int32(&mut self) -> Result<i32, Truncated> {
        self.take().map(i32::from_be_bytes)
    }

    /// A string; null reads as empty.
    pub(super) fn string(&mut self) -> Result<String, Truncated> {
        let length = self.int16()?.max(0) as usize;
        let (head, rest) = self.rest.split_at_checked(length).ok_or(Truncated)?;
        self.rest = rest;
        Ok(String::from_utf8_lossy(head).into_owned())
    }

    /// An array; null reads as empty. Nothing is allocated ahead for a length that may be a lie.
    pub(super) fn array<T>(
        &mut self,
        mut item: impl FnMut(&mut Self) -> Result<T, Truncated>,
    ) -> Result<Vec<T>, Truncated> {
        let length = self.int32()?.max(0);
        (0..length).map(|_| item(self)).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_written_reads_back() {
        let mut writer = Writer::default();
        writer.int16(-7);
        writer.string("orders");
        writer.int32(2);
        writer.int32(40);
        writer.int32(50);
        let frame = writer.into_frame();
        assert_eq!(frame.len(), 4 + 2 + 8 + 12);
        let mut reader = Reader::new(&frame[4..]);
        assert_eq!(reader.int16(), Ok(-7));
        assert_eq!(reader.string().as_deref(), Ok("orders"));
        assert_eq!(reader.array(Reader::int32), Ok(vec![40, 50]));
    }

    #[test]
    fn lying_lengths_are_refused() {
        assert_eq!(Reader::new(&[0x7f, 0xff, b'a']).string(), Err(Truncated));
        let mut huge_array = Reader::new(&[0x7f, 0xff, 0xff, 0xff, 0, 0]);
        assert_eq!(huge_array.array(Reader::int32), Err(Truncated));
    }
}
