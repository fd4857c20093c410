//! A group: frames that are written together, in one region of one slab.

use std::ops::Range;
use std::sync::Arc;

use antiphon_common::{ByteCount, Lsn, WalEpoch};
use bytes::Bytes;

use super::segment_table::Segment;
use crate::Completion;
use crate::format::frame::{self, FrameHeader, FrameKind};
use crate::format::{BLOCK_BYTES, block_ceiling};
use crate::slab::Slab;

/// What all frames of one opening share.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Stamp {
    pub(crate) epoch: WalEpoch,
    pub(crate) salt: u32,
}

struct PendingFrame {
    /// Payload bytes.
    length: usize,
    completion: Completion,
}

pub(crate) struct Group {
    pub(crate) segment: Arc<Segment>,
    /// Where it goes in the segment; a multiple of a block.
    pub(crate) position: u64,
    pub(crate) first_lsn: Lsn,
    slab: Arc<Slab>,
    /// Where it starts in the slab; a multiple of a block.
    offset: usize,
    /// Bytes of its frames, without the padding.
    bytes: usize,
    frames: Vec<PendingFrame>,
}

impl Group {
    pub(crate) fn new(
        segment: Arc<Segment>,
        position: u64,
        first_lsn: Lsn,
        slab: Arc<Slab>,
        offset: usize,
    ) -> Self {
        assert!(offset.is_multiple_of(BLOCK_BYTES) && position.is_multiple_of(BLOCK_BYTES as u64));
        Self { segment, position, first_lsn, slab, offset, bytes: 0, frames: Vec::new() }
    }

    /// Whether a frame of `bytes` fits behind the last one.
    pub(crate) fn has_room(&self, bytes: usize, segment_end: u64) -> bool {
        self.offset + self.bytes + bytes <= self.slab.bytes()
            && self.position + (self.bytes + bytes) as u64 <= segment_end
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.frames.is_empty()
    }

    pub(crate) fn slab(&self) -> &Arc<Slab> {
        &self.slab
    }

    /// Bytes of frames.
    pub(crate) fn bytes(&self) -> usize {
        self.bytes
    }

    /// The end of the group's region in the slab, padding included.
    pub(crate) fn slab_end(&self) -> usize {
        (self.offset + self.bytes).next_multiple_of(BLOCK_BYTES)
    }

    /// The end of the group in the segment, padding included.
    pub(crate) fn segment_end(&self) -> u64 {
        block_ceiling(self.position + self.bytes as u64)
    }

    /// Lets `fill` write the next frame's payload. If it panics, the group is as it was.
    pub(crate) fn push(
        &mut self,
        length: usize,
        fill: &mut dyn FnMut(&mut [u8]),
        completion: Completion,
    ) {
        let payload = self.offset + self.bytes + frame::HEADER_BYTES;
        // SAFETY: the region lies behind the group's last frame and before the end of the slab
        // (`has_room`); it was handed to nobody, and the append lock keeps other appenders out.
        fill(unsafe { self.slab.region_mut(payload..payload + length) });
        self.bytes += frame::HEADER_BYTES + length;
        self.frames.push(PendingFrame { length, completion });
    }

    /// Writes headers and padding. Afterwards the region is what goes to disk.
    pub(crate) fn seal(&mut self, stamp: Stamp, durable: Lsn) {
        // SAFETY: the group has left the append lock, its writer alone owns the region now, and no
        // `Bytes` of it exist before `into_outcomes`.
        let region = unsafe { self.slab.region_mut(self.region()) };
        let (frames, padding) = region.split_at_mut(self.bytes);
        padding.fill(0);
        let last = self.frames.len() - 1;
        let (mut rest, mut lsn) = (frames, self.first_lsn);
        for (index, pending) in self.frames.iter().enumerate() {
            let (frame, behind) = rest.split_at_mut(frame::HEADER_BYTES + pending.length);
            let header = FrameHeader {
                checksum: 0,
                length: 0,
                epoch: stamp.epoch,
                lsn,
                durable,
                salt: stamp.salt,
                kind: FrameKind::Data,
                last_of_group: index == last,
            };
            frame::seal(frame, &header);
            (rest, lsn) = (behind, lsn.next());
        }
    }

    fn region(&self) -> Range<usize> {
        self.offset..self.slab_end()
    }

    /// The bytes for the disk.
    pub(crate) fn image(&self) -> &[u8] {
        // SAFETY: after `seal` nobody writes to the region.
        unsafe { self.slab.region(self.region()) }
    }

    /// Tells `note` each frame of the sealed group: where it is in the segment, its checksum, its payload.
    pub(crate) fn describe(&self, note: &mut dyn FnMut(u64, u32, &[u8])) {
        let mut rest = self.image();
        let mut position = self.position;
        for pending in &self.frames {
            let bytes = frame::HEADER_BYTES + pending.length;
            let Some((frame, behind)) = rest.split_at_checked(bytes) else { return };
            let (header, payload) = frame.split_at(frame::HEADER_BYTES);
            let Some(header) = FrameHeader::decode(header) else { return };
            note(position, header.checksum, payload);
            (rest, position) = (behind, position + bytes as u64);
        }
    }

    pub(crate) fn last_lsn(&self) -> Lsn {
        Lsn(self.first_lsn.get() + self.frames.len() as u64 - 1)
    }

    pub(crate) fn payload_bytes(&self) -> ByteCount {
        ByteCount(self.frames.iter().map(|pending| pending.length as u64).sum())
    }

    /// The completions in order, each with its position and its payload.
    pub(crate) fn into_frames(self) -> impl Iterator<Item = (Lsn, Bytes, Completion)> {
        let Self { slab, mut offset, frames, first_lsn: mut next, .. } = self;
        frames.into_iter().map(move |pending| {
            let payload = offset + frame::HEADER_BYTES;
            offset = payload + pending.length;
            let lsn = next;
            next = lsn.next();
            // SAFETY: the group is consumed, so its writer is done; the region is never reused
            // while the slab lives.
            (lsn, unsafe { slab.share(payload..offset) }, pending.completion)
        })
    }
}
