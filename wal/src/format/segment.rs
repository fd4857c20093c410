//! One segment file: a header block of 4 KiB, then groups of frames. Little-endian.
//!
//! ```text
//!  0  [u8; 8]  magic       "ANTIPHWL"
//!  8  u32      version     1
//! 12  u32      checksum    CRC-32/ISCSI of bytes 0..12 and 16..64
//! 16  u64      segment     the number in the file's name
//! 24  u64      epoch       the opening that wrote it
//! 32  u64      first lsn   position of the first frame
//! 40  u64      bytes       size of the file
//! 48  u32      salt        the opening's random number, repeated in each frame
//! 52  [u8; 12] reserved    zero
//! ```
//!
//! The rest of the block is zero. Magic, version, checksum and their places stay the same in all
//! future versions, so that an old binary can tell "newer" from "damaged".
//!
//! The first segment of an opening is written and synced before the opening returns, so it seals
//! whatever earlier epochs left behind. Later segments get their header in the same write as
//! their first group. A file that was prepared but not used has a blank header or, if recycled,
//! the header of another segment number; neither ever held an acknowledged frame of this number.

use antiphon_common::{Lsn, WalEpoch};

use super::fields::{checksum, put_u32, put_u64, read_u32, read_u64};

/// Size of the fields; they fit one disk sector.
pub(crate) const HEADER_BYTES: usize = 64;
/// The format this build writes, and the newest it reads.
pub(crate) const VERSION: u32 = 1;

const MAGIC: &[u8; 8] = b"ANTIPHWL";
const VERSION_AT: usize = 8;
const CHECKSUM_AT: usize = 12;
const SEGMENT_AT: usize = 16;
const EPOCH_AT: usize = 24;
const FIRST_LSN_AT: usize = 32;
const FILE_BYTES_AT: usize = 40;
const SALT_AT: usize = 48;
const RESERVED_AT: usize = 52;

/// A segment's number: ascending in the order of use, never reused within one folder.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct SegmentId(pub u64);

impl SegmentId {
    /// The number of the segment used after this one.
    pub(crate) const fn next(self) -> Self {
        Self(self.0.saturating_add(1))
    }
}

impl std::fmt::Display for SegmentId {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        self.0.fmt(f)
    }
}

/// A segment's header, decoded.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct SegmentHeader {
    /// Its number.
    pub segment: SegmentId,
    /// The opening that wrote it.
    pub epoch: WalEpoch,
    /// Position of its first frame.
    pub first_lsn: Lsn,
    /// Size of the file.
    pub file_bytes: u64,
    /// The opening's random number.
    pub salt: u32,
}

/// What the first block of a segment file says.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum HeaderState {
    /// A header of this segment.
    Valid(SegmentHeader),
    /// Prepared, or recycled from another segment, and not used since.
    Unused,
    /// Neither blank nor a header: torn or rotten.
    Damaged,
    /// An intact header of a format that this build does not know.
    Newer {
        /// Its version.
        version: u32,
    },
}

impl SegmentHeader {
    /// Writes the header over the start of `block` and clears the rest of it.
    pub(crate) fn encode(&self, block: &mut [u8]) {
        block.fill(0);
        block[..MAGIC.len()].copy_from_slice(MAGIC);
        put_u32(block, VERSION_AT, VERSION);
        put_u64(block, SEGMENT_AT, self.segment.0);
        put_u64(block, EPOCH_AT, self.epoch.get());
        put_u64(block, FIRST_LSN_AT, self.first_lsn.get());
        put_u64(block, FILE_BYTES_AT, self.file_bytes);
        put_u32(block, SALT_AT, self.salt);
        block[RESERVED_AT..HEADER_BYTES].fill(0);
        let sum = header_checksum(block).expect("the block holds a header");
        put_u32(block, CHECKSUM_AT, sum);
    }

    fn decode(block: &[u8]) -> Option<Self> {
        Some(Self {
            segment: SegmentId(read_u64(block, SEGMENT_AT)?),
            epoch: WalEpoch(read_u64(block, EPOCH_AT)?),
            first_lsn: Lsn(read_u64(block, FIRST_LSN_AT)?),
            file_bytes: read_u64(block, FILE_BYTES_AT)?,
            salt: read_u32(block, SALT_AT)?,
        })
    }
}

fn header_checksum(block: &[u8]) -> Option<u32> {
    let mut covered = [0; HEADER_BYTES - 4];
    covered[..CHECKSUM_AT].copy_from_slice(block.get(..CHECKSUM_AT)?);
    covered[CHECKSUM_AT..].copy_from_slice(block.get(CHECKSUM_AT + 4..HEADER_BYTES)?);
    Some(checksum(&covered))
}

/// Reads the first block of the file that is named after segment `named`.
pub(crate) fn read_header(block: &[u8], named: SegmentId) -> HeaderState {
    if block.iter().take(HEADER_BYTES).all(|byte| *byte == 0) {
        return HeaderState::Unused;
    }
    match (intact_version(block), SegmentHeader::decode(block)) {
        (Some(version), _) if version > VERSION => HeaderState::Newer { version },
        (Some(VERSION), Some(header)) if header.segment == named => HeaderState::Valid(header),
        (Some(VERSION), Some(_)) => HeaderState::Unused,
        _ => HeaderState::Damaged,
    }
}

fn intact_version(block: &[u8]) -> Option<u32> {
    let intact =
        block.starts_with(MAGIC) && read_u32(block, CHECKSUM_AT)? == header_checksum(block)?;
    if intact { read_u32(block, VERSION_AT) } else { None }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    const HEADER: SegmentHeader = SegmentHeader {
        segment: SegmentId(5),
        epoch: WalEpoch(3),
        first_lsn: Lsn(7),
        file_bytes: 1 << 20,
        salt: 0xfeed_beef,
    };

    fn block() -> Vec<u8> {
        let mut block = vec![0xff; 4096];
        HEADER.encode(&mut block);
        block
    }

    /// The example in `docs/formats/wal.md`, byte for byte.
    #[test]
    fn the_golden_header_never_changes() {
        let golden: [u8; HEADER_BYTES] = [
            b'A', b'N', b'T', b'I', b'P', b'H', b'W', b'L', 1, 0, 0, 0, 0x31, 0x77, 0x2b, 0x2b, 5,
            0, 0, 0, 0, 0, 0, 0, 3, 0, 0, 0, 0, 0, 0, 0, 7, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0x10, 0, 0,
            0, 0, 0, 0xef, 0xbe, 0xed, 0xfe, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0,
        ];
        assert_eq!(block()[..HEADER_BYTES], golden, "{:02x?}", &block()[..HEADER_BYTES]);
        assert!(block()[HEADER_BYTES..].iter().all(|byte| *byte == 0));
    }

    #[test]
    fn each_state_is_told_from_the_others() {
        assert_eq!(read_header(&block(), SegmentId(5)), HeaderState::Valid(HEADER));
        assert_eq!(read_header(&block(), SegmentId(6)), HeaderState::Unused);
        assert_eq!(read_header(&[0; 4096], SegmentId(5)), HeaderState::Unused);
        assert_eq!(read_header(&[1; 4096], SegmentId(5)), HeaderState::Damaged);
        assert_eq!(read_header(b"ANTIPHWL", SegmentId(5)), HeaderState::Damaged);
    }

    #[test]
    fn a_newer_version_is_recognised() {
        let mut newer = block();
        put_u32(&mut newer, VERSION_AT, VERSION + 1);
        let sum = header_checksum(&newer).expect("a whole block");
        put_u32(&mut newer, CHECKSUM_AT, sum);
        let state = read_header(&newer, SegmentId(5));
        assert_eq!(state, HeaderState::Newer { version: VERSION + 1 });
    }

    proptest! {
        #[test]
        fn any_flipped_bit_is_damage(bit in 0..HEADER_BYTES * 8) {
            let mut block = block();
            block[bit / 8] ^= 1 << (bit % 8);
            prop_assert_eq!(read_header(&block, SegmentId(5)), HeaderState::Damaged);
        }

        #[test]
        fn any_bytes_are_judged_without_panic(bytes: Vec<u8>) {
            let _ = read_header(&bytes, SegmentId(1));
        }
    }
}
