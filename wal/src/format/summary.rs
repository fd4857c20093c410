//! The summary of one sealed segment: a file of its own beside it. Little-endian.
//!
//! ```text
//!  0  [u8; 8]  magic       "ANTIPHWS"
//!  8  u32      version     1
//! 12  u32      checksum    CRC-32/ISCSI of the file from byte 16 on
//! 16  u64      segment     the number in both files' names
//! 24  u64      epoch       as in the segment's header
//! 32  u64      first lsn   as in the segment's header
//! 40  u64      end         where in the segment the group after the last frame would start
//! 48  u32      salt        as in the segment's header
//! 52  u32      frames      how many entries follow
//! 56  u32      prefix      bytes of each payload that its entry repeats
//! 60  u32      reserved    zero
//! 64  entries, one for each frame from the first lsn on:
//!      0  u32  position    where in the segment the frame starts
//!      4  u32  length      payload bytes
//!      8  u32  checksum    the frame's own
//!     12  [u8; prefix]     how its payload begins, filled up with zeros
//! ```
//!
//! A summary is written after all that it names became durable, and never changed. It says nothing that
//! the segment does not say: one that is missing, torn, or of another life of the segment's number costs
//! the next opening the time to read the segment, nothing else.

use antiphon_common::Lsn;
use bytes::Bytes;

use super::fields::{checksum, put_u32, put_u64, read_u32, read_u64};
use super::segment::{SegmentHeader, SegmentId};
use super::{BLOCK_BYTES, block_ceiling, frame};

const HEADER_BYTES: usize = 64;
const ENTRY_HEADER_BYTES: usize = 12;
/// More of a payload than this is no prefix.
pub(crate) const PREFIX_BYTES_MAX: usize = 1024;
const VERSION: u32 = 1;

const MAGIC: &[u8; 8] = b"ANTIPHWS";
const VERSION_AT: usize = 8;
const CHECKSUM_AT: usize = 12;
const COVERED_FROM: usize = 16;
const SEGMENT_AT: usize = 16;
const EPOCH_AT: usize = 24;
const FIRST_LSN_AT: usize = 32;
const END_AT: usize = 40;
const SALT_AT: usize = 48;
const FRAMES_AT: usize = 52;
const PREFIX_AT: usize = 56;

const POSITION_AT: usize = 0;
const LENGTH_AT: usize = 4;
const FRAME_CHECKSUM_AT: usize = 8;

/// What a summary says about one frame.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Entry {
    pub(crate) lsn: Lsn,
    pub(crate) position: u64,
    /// Payload bytes.
    pub(crate) length: u32,
    pub(crate) checksum: u32,
    /// How the payload begins; no longer than the payload.
    pub(crate) prefix: Bytes,
}

impl Entry {
    /// Behind the frame's last byte.
    pub(crate) const fn end(&self) -> u64 {
        self.position + frame::HEADER_BYTES as u64 + self.length as u64
    }
}

/// A summary in the making: frames are told to it in order.
#[derive(Debug)]
pub(crate) struct SummaryBuilder {
    segment: SegmentHeader,
    prefix_bytes: usize,
    /// Nothing is kept beyond this size; there is no summary then.
    bytes_max: usize,
    frames: u32,
    end: u64,
    image: Vec<u8>,
}

impl SummaryBuilder {
    pub(crate) fn new(segment: SegmentHeader, prefix_bytes: usize, bytes_max: usize) -> Self {
        let image = vec![0; HEADER_BYTES];
        Self { segment, prefix_bytes, bytes_max, frames: 0, end: BLOCK_BYTES as u64, image }
    }

    pub(crate) fn segment(&self) -> SegmentId {
        self.segment.segment
    }

    /// Notes the next frame.
    pub(crate) fn push(&mut self, position: u64, checksum: u32, payload: &[u8]) {
        let (at, length) = (self.image.len(), ENTRY_HEADER_BYTES + self.prefix_bytes);
        self.frames += 1;
        self.end = block_ceiling(position + (frame::HEADER_BYTES + payload.len()) as u64);
        if at + length > self.bytes_max {
            // Once too long, for ever too long.
            (self.bytes_max, self.image) = (0, Vec::new());
            return;
        }
        self.image.resize(at + length, 0);
        let Some(entry) = self.image.get_mut(at..) else { return };
        put_u32(entry, POSITION_AT, position as u32);
        put_u32(entry, LENGTH_AT, payload.len() as u32);
        put_u32(entry, FRAME_CHECKSUM_AT, checksum);
        let prefix = payload.len().min(self.prefix_bytes);
        entry[ENTRY_HEADER_BYTES..][..prefix].copy_from_slice(&payload[..prefix]);
    }

    /// The file's content. `None` when there is nothing to say, or too much.
    pub(crate) fn finish(mut self) -> Option<Vec<u8>> {
        if self.bytes_max == 0 || self.frames == 0 {
            return None;
        }
        let image = &mut self.image;
        image[..MAGIC.len()].copy_from_slice(MAGIC);
        put_u32(image, VERSION_AT, VERSION);
        put_u64(image, SEGMENT_AT, self.segment.segment.0);
        put_u64(image, EPOCH_AT, self.segment.epoch.get());
        put_u64(image, FIRST_LSN_AT, self.segment.first_lsn.get());
        put_u64(image, END_AT, self.end);
        put_u32(image, SALT_AT, self.segment.salt);
        put_u32(image, FRAMES_AT, self.frames);
        put_u32(image, PREFIX_AT, self.prefix_bytes as u32);
        let sum = file_checksum(image)?;
        put_u32(image, CHECKSUM_AT, sum);
        Some(self.image)
    }
}

/// An intact summary.
#[derive(Clone, Debug)]
pub(crate) struct Summary {
    first_lsn: Lsn,
    end: u64,
    frames: u32,
    prefix_bytes: usize,
    entries: Bytes,
}

impl Summary {
    /// Reads the summary of the segment with this header. `None` if these bytes are none.
    pub(crate) fn decode(bytes: &Bytes, segment: &SegmentHeader) -> Option<Self> {
        let intact = bytes.starts_with(MAGIC)
            && read_u32(bytes, VERSION_AT)? == VERSION
            && read_u32(bytes, CHECKSUM_AT)? == file_checksum(bytes)?;
        let same_segment = (read_u64(bytes, SEGMENT_AT)?, read_u64(bytes, EPOCH_AT)?)
            == (segment.segment.0, segment.epoch.get())
            && read_u64(bytes, FIRST_LSN_AT)? == segment.first_lsn.get()
            && read_u32(bytes, SALT_AT)? == segment.salt;
        let summary = Self {
            first_lsn: segment.first_lsn,
            end: read_u64(bytes, END_AT)?,
            frames: read_u32(bytes, FRAMES_AT)?,
            prefix_bytes: read_u32(bytes, PREFIX_AT)? as usize,
            entries: bytes.slice(HEADER_BYTES.min(bytes.len())..),
        };
        (intact && same_segment && summary.is_plausible(segment)).then_some(summary)
    }

    /// Whether the frames are where frames can be: one behind the other.
    fn is_plausible(&self, segment: &SegmentHeader) -> bool {
        let fits = self.prefix_bytes <= PREFIX_BYTES_MAX
            && self.entries.len() == self.frames as usize * self.entry_bytes()
            && (1..=segment.file_bytes).contains(&self.end);
        let mut free = BLOCK_BYTES as u64;
        fits && self.frames > 0
            && (0..self.frames).all(|index| {
                let place = self.entry(index).map(|entry| (entry.position, entry.end()));
                let follows = place.is_some_and(|(start, end)| start >= free && end <= self.end);
                free = place.map_or(free, |(_, end)| end);
                follows
            })
    }

    fn entry_bytes(&self) -> usize {
        ENTRY_HEADER_BYTES + self.prefix_bytes
    }

    /// Bytes of each payload that are here.
    pub(crate) fn prefix_bytes(&self) -> usize {
        self.prefix_bytes
    }

    /// Where the group after the last frame would start.
    pub(crate) fn end(&self) -> u64 {
        self.end
    }

    /// The position after the last frame.
    pub(crate) fn next_lsn(&self) -> Lsn {
        Lsn(self.first_lsn.get().saturating_add(u64::from(self.frames)))
    }

    pub(crate) fn entry(&self, index: u32) -> Option<Entry> {
        let start = (index as usize).checked_mul(self.entry_bytes())?;
        let bytes = self.entries.get(start..start.checked_add(self.entry_bytes())?)?;
        let length = read_u32(bytes, LENGTH_AT)?;
        let prefix = start + ENTRY_HEADER_BYTES;
        Some(Entry {
            lsn: Lsn(self.first_lsn.get().checked_add(u64::from(index))?),
            position: u64::from(read_u32(bytes, POSITION_AT)?),
            length,
            checksum: read_u32(bytes, FRAME_CHECKSUM_AT)?,
            prefix: self.entries.slice(prefix..prefix + self.prefix_bytes.min(length as usize)),
        })
    }

    /// The entries of the frames from `first` on.
    pub(crate) fn entries_from(&self, first: Lsn) -> impl Iterator<Item = Entry> {
        let skipped = first.get().saturating_sub(self.first_lsn.get());
        let skipped = u32::try_from(skipped).unwrap_or(u32::MAX);
        (skipped..self.frames).map_while(|index| self.entry(index))
    }
}

fn file_checksum(file: &[u8]) -> Option<u32> {
    file.get(COVERED_FROM..).map(checksum)
}

#[cfg(test)]
mod tests {
    use super::*;
    use antiphon_common::WalEpoch;
    use proptest::prelude::*;

    const SEGMENT: SegmentHeader = SegmentHeader {
        segment: SegmentId(5),
        epoch: WalEpoch(3),
        first_lsn: Lsn(7),
        file_bytes: 1 << 20,
        salt: 0xfeed_beef,
    };

    /// Frame 7 with `hello`, alone in its group, and frame 8 with nothing.
    fn written() -> Vec<u8> {
        let mut builder = SummaryBuilder::new(SEGMENT, 4, 1 << 10);
        builder.push(4096, 0x1234_5678, b"hello");
        builder.push(8192, 0x9abc_def0, b"");
        builder.finish().expect("two frames")
    }

    /// The example in `docs/formats/wal.md`, byte for byte.
    #[test]
    fn the_golden_summary_never_changes() {
        let golden: [u8; 96] = [
            b'A', b'N', b'T', b'I', b'P', b'H', b'W', b'S', 1, 0, 0, 0, 0x12, 0x45, 0x6d, 0x2b, 5,
            0, 0, 0, 0, 0, 0, 0, 3, 0, 0, 0, 0, 0, 0, 0, 7, 0, 0, 0, 0, 0, 0, 0, 0, 0x30, 0, 0, 0,
            0, 0, 0, 0xef, 0xbe, 0xed, 0xfe, 2, 0, 0, 0, 4, 0, 0, 0, 0, 0, 0, 0, 0, 0x10, 0, 0, 5,
            0, 0, 0, 0x78, 0x56, 0x34, 0x12, b'h', b'e', b'l', b'l', 0, 0x20, 0, 0, 0, 0, 0, 0,
            0xf0, 0xde, 0xbc, 0x9a, 0, 0, 0, 0,
        ];
        assert_eq!(written(), golden, "{:02x?}", written());
    }

    #[test]
    fn what_is_written_is_read_back() {
        let summary = Summary::decode(&written().into(), &SEGMENT).expect("intact");
        assert_eq!((summary.next_lsn(), summary.end()), (Lsn(9), 12288));
        let entries: Vec<_> = summary.entries_from(Lsn(1)).collect();
        assert_eq!(entries[0].prefix, "hell");
        assert_eq!((entries[0].lsn, entries[0].position, entries[0].length), (Lsn(7), 4096, 5));
        assert_eq!((entries[1].checksum, entries[1].prefix.len()), (0x9abc_def0, 0));
        let lsns = |from| summary.entries_from(from).map(|entry| entry.lsn.get()).collect();
        let (late, none): (Vec<u64>, Vec<u64>) = (lsns(Lsn(8)), lsns(Lsn(9)));
        assert_eq!((late, none), (vec![8], vec![]));
    }

    #[test]
    fn a_summary_of_another_segment_or_opening_is_none() {
        let bytes: Bytes = written().into();
        let others = [
            SegmentHeader { segment: SegmentId(6), ..SEGMENT },
            SegmentHeader { epoch: WalEpoch(4), ..SEGMENT },
            SegmentHeader { first_lsn: Lsn(8), ..SEGMENT },
            SegmentHeader { salt: 1, ..SEGMENT },
            SegmentHeader { file_bytes: 12287, ..SEGMENT },
        ];
        for other in others {
            assert!(Summary::decode(&bytes, &other).is_none(), "{other:?}");
        }
    }

    #[test]
    fn frames_that_overlap_or_lie_in_the_header_are_not_believed() {
        for places in [[4096, 4100], [100, 8192], [8192, 4096]] {
            let mut builder = SummaryBuilder::new(SEGMENT, 0, 1 << 10);
            places.iter().for_each(|place| builder.push(*place, 0, b"hello"));
            let bytes = builder.finish().expect("two frames").into();
            assert!(Summary::decode(&bytes, &SEGMENT).is_none(), "{places:?}");
        }
    }

    #[test]
    fn a_summary_that_grows_too_long_is_given_up() {
        let mut builder = SummaryBuilder::new(SEGMENT, 4, HEADER_BYTES + 2 * 16);
        for index in 0..3 {
            builder.push(4096 * (index + 1), 0, b"hello");
        }
        assert_eq!(builder.finish(), None);
        assert_eq!(SummaryBuilder::new(SEGMENT, 4, 1 << 10).finish(), None, "no frames");
    }

    proptest! {
        #[test]
        fn any_flipped_bit_is_noticed(place: prop::sample::Index) {
            let mut bytes = written();
            let bit = place.index(bytes.len() * 8);
            bytes[bit / 8] ^= 1 << (bit % 8);
            prop_assert!(Summary::decode(&bytes.into(), &SEGMENT).is_none());
        }

        #[test]
        fn any_bytes_are_decoded_without_panic(noise: Vec<u8>, cut in 0_usize..100) {
            let mut bytes = written();
            bytes.truncate(cut);
            bytes.extend(noise);
            if let Some(sum) = bytes.get(COVERED_FROM..).map(checksum) {
                put_u32(&mut bytes, CHECKSUM_AT, sum);
            }
            if let Some(summary) = Summary::decode(&bytes.into(), &SEGMENT) {
                summary.entries_from(Lsn(1)).for_each(drop);
            }
        }
    }
}
