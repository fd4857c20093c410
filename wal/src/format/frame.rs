//! One frame: a header of 40 bytes, then the payload. Little-endian.
//!
//! ```text
//!  0  u32  checksum   CRC-32/ISCSI of everything after this field, payload included
//!  4  u32  length     payload bytes
//!  8  u64  epoch      the opening that wrote it
//! 16  u64  lsn        its position in the log
//! 24  u64  durable    the contiguous durable prefix when its group was written
//! 32  u32  salt       the opening's random number
//! 36  u8   kind       1 data, 2 end mark
//! 37  u8   flags      bit 0: last of its group
//! 38  u16  reserved   zero
//! ```
//!
//! Frames of a group touch; after the last one the position rounds up to the next 4 KiB. The epoch
//! and the salt tell a frame of this life of the file from one that an earlier life left behind, and
//! from bytes that a client put into a payload to look like a frame. `durable` is evidence: a frame
//! that says "everything up to 7 is durable" proves that a damaged frame 7 was once acknowledged.

use antiphon_common::{Lsn, WalEpoch};

use super::fields::{checksum, put_u32, put_u64, read_u32, read_u64};

/// Size of a frame's header.
pub(crate) const HEADER_BYTES: usize = 40;

const CHECKSUM_AT: usize = 0;
const LENGTH_AT: usize = 4;
const EPOCH_AT: usize = 8;
const LSN_AT: usize = 16;
const DURABLE_AT: usize = 24;
const SALT_AT: usize = 32;
const KIND_AT: usize = 36;
const FLAGS_AT: usize = 37;

const FLAG_LAST_OF_GROUP: u8 = 1;

/// What a frame is for. The numbers are on disk.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum FrameKind {
    /// An appended payload.
    Data = 1,
    /// Written by a clean close; says that every frame before it is durable and none follows. Its
    /// lsn is the next unclaimed one and stays unclaimed.
    EndMark = 2,
}

impl FrameKind {
    const fn from_byte(byte: u8) -> Option<Self> {
        match byte {
            1 => Some(Self::Data),
            2 => Some(Self::EndMark),
            _ => None,
        }
    }
}

/// A frame's header, decoded.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct FrameHeader {
    /// Checksum of the rest of the header and the payload.
    pub checksum: u32,
    /// Payload bytes.
    pub length: u32,
    /// The opening that wrote it.
    pub epoch: WalEpoch,
    /// Its position in the log.
    pub lsn: Lsn,
    /// The contiguous durable prefix when its group was written.
    pub durable: Lsn,
    /// The random number of the opening.
    pub salt: u32,
    /// What it is for.
    pub kind: FrameKind,
    /// Whether the next frame starts at the next 4 KiB boundary instead of right behind.
    pub last_of_group: bool,
}

impl FrameHeader {
    /// Reads the fields. `None` when there are too few bytes or the kind is unknown; the checksum
    /// is not looked at.
    pub(crate) fn decode(bytes: &[u8]) -> Option<Self> {
        let flags = *bytes.get(FLAGS_AT)?;
        Some(Self {
            checksum: read_u32(bytes, CHECKSUM_AT)?,
            length: read_u32(bytes, LENGTH_AT)?,
            epoch: WalEpoch(read_u64(bytes, EPOCH_AT)?),
            lsn: Lsn(read_u64(bytes, LSN_AT)?),
            durable: Lsn(read_u64(bytes, DURABLE_AT)?),
            salt: read_u32(bytes, SALT_AT)?,
            kind: FrameKind::from_byte(*bytes.get(KIND_AT)?)?,
            last_of_group: flags & FLAG_LAST_OF_GROUP != 0,
        })
    }

    /// Bytes of header and payload.
    pub(crate) const fn frame_bytes(&self) -> u64 {
        HEADER_BYTES as u64 + self.length as u64
    }
}

/// Writes the header of the frame that fills `frame`, whose payload is already in place, and returns
/// the checksum it wrote. `header.length` and `header.checksum` are computed, not read.
pub(crate) fn seal(frame: &mut [u8], header: &FrameHeader) -> u32 {
    let length = u32::try_from(frame.len() - HEADER_BYTES).expect("a frame fits a segment");
    put_u32(frame, LENGTH_AT, length);
    put_u64(frame, EPOCH_AT, header.epoch.get());
    put_u64(frame, LSN_AT, header.lsn.get());
    put_u64(frame, DURABLE_AT, header.durable.get());
    put_u32(frame, SALT_AT, header.salt);
    frame[KIND_AT] = header.kind as u8;
    frame[FLAGS_AT] = if header.last_of_group { FLAG_LAST_OF_GROUP } else { 0 };
    frame[FLAGS_AT + 1..HEADER_BYTES].fill(0);
    let sum = checksum(&frame[LENGTH_AT..]);
    put_u32(frame, CHECKSUM_AT, sum);
    sum
}

/// Whether `frame`, header and payload, is what was written.
pub(crate) fn is_intact(frame: &[u8]) -> bool {
    match (read_u32(frame, CHECKSUM_AT), frame.get(LENGTH_AT..)) {
        (Some(stored), Some(covered)) => stored == checksum(covered),
        _ => false,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn header(lsn: u64) -> FrameHeader {
        FrameHeader {
            checksum: 0,
            length: 0,
            epoch: WalEpoch(3),
            lsn: Lsn(lsn),
            durable: Lsn(lsn - 1),
            salt: 0xfeed_beef,
            kind: FrameKind::Data,
            last_of_group: true,
        }
    }

    fn sealed(payload: &[u8], lsn: u64) -> Vec<u8> {
        let mut frame = vec![0xaa; HEADER_BYTES];
        frame.extend_from_slice(payload);
        seal(&mut frame, &header(lsn));
        frame
    }

    /// The example in `docs/formats/wal.md`, byte for byte: changing it is a new format version.
    #[test]
    fn the_golden_frame_never_changes() {
        let golden: [u8; 45] = [
            0xa1, 0x80, 0x41, 0x47, 0x05, 0x00, 0x00, 0x00, 0x03, 0, 0, 0, 0, 0, 0, 0, 0x07, 0, 0,
            0, 0, 0, 0, 0, 0x06, 0, 0, 0, 0, 0, 0, 0, 0xef, 0xbe, 0xed, 0xfe, 0x01, 0x01, 0, 0,
            b'h', b'e', b'l', b'l', b'o',
        ];
        assert_eq!(sealed(b"hello", 7), golden, "{:02x?}", sealed(b"hello", 7));
    }

    #[test]
    fn a_blank_block_is_no_frame() {
        assert_eq!(FrameHeader::decode(&[0; HEADER_BYTES]), None);
        assert!(!is_intact(&[0; HEADER_BYTES]));
    }

    proptest! {
        #[test]
        fn what_is_sealed_is_read_back(payload: Vec<u8>, lsn in 1u64..) {
            let frame = sealed(&payload, lsn);
            let read = FrameHeader::decode(&frame).expect("a sealed frame decodes");
            prop_assert!(is_intact(&frame));
            prop_assert_eq!(read.length as usize, payload.len());
            prop_assert_eq!(read, FrameHeader { checksum: read.checksum, length: read.length, ..header(lsn) });
        }

        #[test]
        fn any_flipped_bit_is_noticed(payload: Vec<u8>, place: prop::sample::Index) {
            let mut frame = sealed(&payload, 9);
            let bit = place.index(frame.len() * 8);
            frame[bit / 8] ^= 1 << (bit % 8);
            prop_assert!(!is_intact(&frame));
        }

        #[test]
        fn any_bytes_are_decoded_without_panic(bytes: Vec<u8>) {
            let _ = (FrameHeader::decode(&bytes), is_intact(&bytes));
        }
    }
}
