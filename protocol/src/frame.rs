//! Cuts the byte stream of a connection into frames: a four-byte size, then that many bytes.
//!
//! A frame is refused as early as its first six bytes (size and API key) can tell, and its memory
//! grows with what has arrived, never with what it claims: a thousand connections that each
//! announce 100 MiB and send nothing cost nothing.

use antiphon_common::ErrorKind;
use bytes::{Buf, Bytes, BytesMut};
use thiserror::Error;

/// Bytes of the size in front of a frame.
const SIZE_BYTES: usize = 4;
/// The shortest request header: API key, API version, correlation id.
const HEADER_BYTES_MIN: usize = 8;
/// Size and API key.
const PEEK_BYTES: usize = SIZE_BYTES + 2;
/// The smallest read worth a buffer.
const READ_BYTES_MIN: usize = 16 << 10;
/// The API key of Produce, the one request that carries records.
const PRODUCE_KEY: i16 = 0;

/// The largest frames a connection may send, in bytes without the size prefix.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct FrameLimits {
    /// Any request before authentication is complete.
    pub before_auth: usize,
    /// Produce, which carries records.
    pub produce: usize,
    /// Every other request.
    pub other: usize,
}

impl FrameLimits {
    /// Kafka's own values where it has them: `sasl.server.max.receive.size` (512 KiB) and
    /// `socket.request.max.bytes` (100 MiB). Kafka grants the latter to every API; 4 MiB is ours,
    /// because nothing but Produce has a reason to be larger.
    pub const DEFAULT: Self = Self { before_auth: 512 << 10, produce: 100 << 20, other: 4 << 20 };

    fn for_key(self, api_key: i16, auth: AuthState) -> usize {
        match auth {
            AuthState::Pending => self.before_auth,
            AuthState::Complete if api_key == PRODUCE_KEY => self.produce,
            AuthState::Complete => self.other,
        }
    }

    fn largest(self, auth: AuthState) -> usize {
        match auth {
            AuthState::Pending => self.before_auth,
            AuthState::Complete => self.produce.max(self.other),
        }
    }
}

impl Default for FrameLimits {
    fn default() -> Self {
        Self::DEFAULT
    }
}

/// Whether the peer has proved who it is. Listeners without authentication start out complete.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum AuthState {
    /// Authentication is required and has not succeeded yet.
    Pending,
    /// Authentication succeeded or is not required.
    Complete,
}

/// One request as it came: header and body, without the size prefix.
#[derive(Debug, PartialEq, Eq)]
pub struct Frame {
    /// At least eight bytes.
    pub bytes: BytesMut,
}

impl Frame {
    /// The frame as shareable bytes. Every slice of it keeps the whole frame in memory.
    pub fn freeze(self) -> Bytes {
        self.bytes.freeze()
    }
}

/// Why a connection's bytes cannot be a Kafka request. All of these end the connection: nothing
/// after such bytes can be trusted to be the start of a frame.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Error)]
pub enum FrameError {
    /// The size is negative.
    #[error("frame size {size} is negative")]
    Negative {
        /// The size.
        size: i32,
    },
    /// Too short for any request header.
    #[error("frame of {size} bytes is too short for a request header")]
    TooShort {
        /// The size.
        size: usize,
    },
    /// Larger than this API, or any API, may be.
    #[error("frame of {size} bytes exceeds the limit of {limit} (api key {api_key:?})")]
    TooLarge {
        /// The size.
        size: usize,
        /// The limit it exceeds.
        limit: usize,
        /// The API, if its key had arrived.
        api_key: Option<i16>,
    },
    /// The peer speaks TLS on a plaintext listener.
    #[error("the peer speaks TLS on a plaintext listener")]
    Tls,
    /// The peer speaks HTTP to a Kafka listener.
    #[error("the peer speaks HTTP on a Kafka listener")]
    Http,
}

impl FrameError {
    /// What the caller should do: the bytes are wrong and will stay wrong.
    pub const fn kind(&self) -> ErrorKind {
        match self {
            Self::Negative { .. }
            | Self::TooShort { .. }
            | Self::TooLarge { .. }
            | Self::Tls
            | Self::Http => ErrorKind::Invalid,
        }
    }
}

/// Finds frames in one connection's read buffer.
#[derive(Debug)]
pub struct FrameDecoder {
    limits: FrameLimits,
    wanted: usize,
}

impl FrameDecoder {
    /// A decoder for a new connection.
    pub fn new(limits: FrameLimits) -> Self {
        Self { limits, wanted: SIZE_BYTES }
    }

    /// Bytes that must still arrive before [`FrameDecoder::next`] can say more than it just said.
    pub fn wanted(&self) -> usize {
        self.wanted
    }

    /// Takes the next whole frame from the front of `buffer`, or makes room in `buffer` for the
    /// next read and returns `None`.
    pub fn next(
        &mut self,
        buffer: &mut BytesMut,
        auth: AuthState,
    ) -> Result<Option<Frame>, FrameError> {
        let Some(size) = peek_size(buffer)? else {
            self.want(buffer, SIZE_BYTES - buffer.len());
            return Ok(None);
        };
        let api_key = peek_api_key(buffer);
        self.check_size(buffer, size, api_key, auth)?;
        let missing = (SIZE_BYTES + size).saturating_sub(buffer.len());
        if missing > 0 {
            let until_key = PEEK_BYTES.saturating_sub(buffer.len());
            self.want(buffer, if until_key > 0 { until_key } else { missing });
            return Ok(None);
        }
        buffer.advance(SIZE_BYTES);
        self.wanted = SIZE_BYTES;
        Ok(Some(Frame { bytes: buffer.split_to(size) }))
    }

    fn check_size(
        &self,
        buffer: &BytesMut,
        size: usize,
        api_key: Option<i16>,
        auth: AuthState,
    ) -> Result<(), FrameError> {
        let limit = match api_key {
            Some(api_key) => self.limits.for_key(api_key, auth),
            None => self.limits.largest(auth),
        };
        if size <= limit {
            return Ok(());
        }
        Err(foreign_protocol(buffer).unwrap_or(FrameError::TooLarge { size, limit, api_key }))
    }

    /// Notes that `missing` bytes must come and makes room for the next read. The room at most
    /// doubles what has arrived, so the memory of a frame follows its bytes and not its claim, and
    /// a large frame is moved a constant number of times on average.
    fn want(&mut self, buffer: &mut BytesMut, missing: usize) {
        self.wanted = missing;
        let spare = buffer.capacity() - buffer.len();
        if spare < missing.min(READ_BYTES_MIN) {
            buffer.reserve(missing.min(buffer.len().max(READ_BYTES_MIN)));
        }
    }
}

fn peek_size(buffer: &BytesMut) -> Result<Option<usize>, FrameError> {
    let Some(prefix) = buffer.first_chunk::<SIZE_BYTES>() else { return Ok(None) };
    let size = i32::from_be_bytes(*prefix);
    match usize::try_from(size) {
        Ok(size) if size < HEADER_BYTES_MIN => Err(FrameError::TooShort { size }),
        Ok(size) => Ok(Some(size)),
        Err(_) => Err(FrameError::Negative { size }),
    }
}

fn peek_api_key(buffer: &BytesMut) -> Option<i16> {
    let prefix = buffer.first_chunk::<PEEK_BYTES>()?;
    let [.., high, low] = *prefix;
    Some(i16::from_be_bytes([high, low]))
}

/// Recognises what people point at a Kafka port by mistake. Read as a size, each of these exceeds
/// 350 MiB, so it is asked only about frames that are too large anyway.
fn foreign_protocol(buffer: &BytesMut) -> Option<FrameError> {
    /// The first four bytes of HTTP's methods, and of HTTP/2's preface.
    const HTTP: [&[u8; SIZE_BYTES]; 10] =
        [b"GET ", b"POST", b"HEAD", b"PUT ", b"DELE", b"OPTI", b"PATC", b"CONN", b"TRAC", b"PRI "];
    let prefix = buffer.first_chunk::<SIZE_BYTES>()?;
    match prefix {
        // A TLS record of type handshake, version 3.x.
        [0x16, 0x03, ..] => Some(FrameError::Tls),
        _ if HTTP.contains(&prefix) => Some(FrameError::Http),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use bytes::BufMut;
    use proptest::prelude::*;

    use super::*;

    fn next(bytes: &[u8], auth: AuthState) -> Result<Option<Frame>, FrameError> {
        FrameDecoder::new(FrameLimits::DEFAULT).next(&mut BytesMut::from(bytes), auth)
    }

    fn claim(size: i32, api_key: i16) -> Vec<u8> {
        let mut bytes = size.to_be_bytes().to_vec();
        bytes.put_i16(api_key);
        bytes
    }

    fn refused(bytes: &[u8]) -> FrameError {
        next(bytes, AuthState::Complete).unwrap_err()
    }

    #[test]
    fn impossible_sizes_are_refused_at_once() {
        assert_eq!(refused(&claim(-1, 3)), FrameError::Negative { size: -1 });
        assert_eq!(refused(&0_i32.to_be_bytes()), FrameError::TooShort { size: 0 });
        assert_eq!(refused(&7_i32.to_be_bytes()), FrameError::TooShort { size: 7 });
        let size = i32::MAX as usize;
        let too_large = FrameError::TooLarge { size, limit: 100 << 20, api_key: None };
        assert_eq!(refused(&i32::MAX.to_be_bytes()), too_large);
    }

    #[test]
    fn foreign_protocols_are_named() {
        assert_eq!(refused(&[0x16, 0x03, 0x01, 0x02, 0x00]), FrameError::Tls);
        assert_eq!(refused(b"GET / HTTP/1.1\r\n"), FrameError::Http);
        assert_eq!(refused(b"PRI * HTTP/2.0\r\n"), FrameError::Http);
    }

    #[test]
    fn the_limit_follows_the_api_and_the_state_of_authentication() {
        let produce = claim(100 << 20, 0);
        assert_eq!(next(&produce, AuthState::Complete), Ok(None));
        let early = next(&produce, AuthState::Pending).unwrap_err();
        let (size, limit) = (100 << 20, 512 << 10);
        assert_eq!(early, FrameError::TooLarge { size, limit, api_key: Some(0) });
        let metadata = FrameError::TooLarge { size, limit: 4 << 20, api_key: Some(3) };
        assert_eq!(refused(&claim(100 << 20, 3)), metadata);
    }

    #[test]
    fn a_claim_costs_no_memory() {
        let mut decoder = FrameDecoder::new(FrameLimits::DEFAULT);
        let mut buffer = BytesMut::from(&claim(100 << 20, 0)[..]);
        assert_eq!(decoder.next(&mut buffer, AuthState::Complete), Ok(None));
        assert_eq!(decoder.wanted(), (100 << 20) - 2);
        assert!(buffer.capacity() <= 2 * READ_BYTES_MIN, "{}", buffer.capacity());
        buffer.put_bytes(0, 1 << 20);
        assert_eq!(decoder.next(&mut buffer, AuthState::Complete), Ok(None));
        assert!(buffer.capacity() <= 4 << 20, "{}", buffer.capacity());
    }

    #[test]
    fn the_api_key_is_awaited_before_anything_else() {
        let mut decoder = FrameDecoder::new(FrameLimits::DEFAULT);
        let mut buffer = BytesMut::from(&(50_i32 << 20).to_be_bytes()[..]);
        assert_eq!(decoder.next(&mut buffer, AuthState::Complete), Ok(None));
        assert_eq!(decoder.wanted(), 2);
    }

    proptest! {
        #[test]
        fn frames_come_out_as_they_went_in_however_they_were_cut(
            bodies in prop::collection::vec(prop::collection::vec(any::<u8>(), 8..64), 1..6),
            cut in 1_usize..40,
        ) {
            let mut stream = Vec::new();
            for body in &bodies {
                stream.put_i32(body.len() as i32);
                stream.put_slice(body);
            }
            let mut decoder = FrameDecoder::new(FrameLimits::DEFAULT);
            let (mut buffer, mut frames) = (BytesMut::new(), Vec::new());
            for piece in stream.chunks(cut) {
                buffer.put_slice(piece);
                while let Some(frame) = decoder.next(&mut buffer, AuthState::Complete).unwrap() {
                    frames.push(frame.bytes.to_vec());
                }
            }
            prop_assert_eq!(frames, bodies);
            prop_assert_eq!((buffer.len(), decoder.wanted()), (0, SIZE_BYTES));
        }

        #[test]
        fn any_bytes_are_survived(bytes in prop::collection::vec(any::<u8>(), 0..64)) {
            let mut buffer = BytesMut::from(&bytes[..]);
            let mut decoder = FrameDecoder::new(FrameLimits::DEFAULT);
            while let Ok(Some(_)) = decoder.next(&mut buffer, AuthState::Pending) {}
        }
    }
}
