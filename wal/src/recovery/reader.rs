//! Reads one segment from front to back, a chunk at a time.

use std::fs::File;
use std::io;
use std::os::unix::fs::FileExt;
use std::path::Path;

use antiphon_common::{Lsn, WalEpoch};
use bytes::{Bytes, BytesMut};
use rustix::fs::SeekFrom;
use rustix::io::Errno;

use super::classify::Stop;
use crate::format::frame::{self, FrameHeader, FrameKind};
use crate::format::segment::{HeaderState, SegmentHeader, SegmentId, read_header};
use crate::format::{BLOCK_BYTES, block_ceiling};

/// Read at once, to begin with: a log that was closed clean often holds nothing to replay.
const CHUNK_BYTES_MIN: usize = 64 << 10;
/// Read at once; with the largest frame, the bound of what reading holds in memory. Several times what a
/// producer's batch usually is: one that is cut in two by the end of a read is copied.
const CHUNK_BYTES_MAX: usize = 4 << 20;

/// What the next frame must say about itself.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Expected {
    pub(crate) epoch: WalEpoch,
    pub(crate) salt: u32,
    pub(crate) lsn: Lsn,
}

impl Expected {
    pub(crate) fn first_of(header: &SegmentHeader) -> Self {
        Self { epoch: header.epoch, salt: header.salt, lsn: header.first_lsn }
    }

    fn is_met_by(&self, header: &FrameHeader) -> bool {
        (header.epoch, header.salt, header.lsn) == (self.epoch, self.salt, self.lsn)
    }

    fn is_later_than(&self, header: &FrameHeader) -> bool {
        (header.epoch, header.lsn) < (self.epoch, self.lsn)
    }
}

/// One step along the chain.
#[derive(Debug)]
pub(crate) enum Step {
    Frame { position: u64, header: FrameHeader, payload: Bytes },
    Stop(Stop),
}

#[derive(Debug)]
pub(crate) struct SegmentReader {
    file: File,
    file_bytes: u64,
    /// Where the next frame starts.
    position: u64,
    /// What was read ahead, from `position` on.
    ahead: BytesMut,
    /// The size of the next read; doubles with each.
    chunk_bytes: usize,
}

impl SegmentReader {
    pub(crate) fn open(path: &Path) -> io::Result<Self> {
        let file = File::open(path)?;
        let file_bytes = file.metadata()?.len();
        let (position, ahead, chunk_bytes) = (0, BytesMut::new(), CHUNK_BYTES_MIN);
        Ok(Self { file, file_bytes, position, ahead, chunk_bytes })
    }

    pub(crate) fn file_bytes(&self) -> u64 {
        self.file_bytes
    }

    pub(crate) fn position(&self) -> u64 {
        self.position
    }

    /// Reads the header block of the file named after segment `named`; frames come next.
    pub(crate) fn header(&mut self, named: SegmentId) -> io::Result<HeaderState> {
        let mut block = vec![0; BLOCK_BYTES.min(self.file_bytes as usize)];
        self.file.read_exact_at(&mut block, 0)?;
        self.seek(BLOCK_BYTES as u64);
        Ok(read_header(&block, named))
    }

    pub(crate) fn seek(&mut self, position: u64) {
        let skipped = position.checked_sub(self.position).map(|skipped| skipped as usize);
        self.position = position;
        match skipped {
            Some(skipped) if skipped <= self.ahead.len() => drop(self.ahead.split_to(skipped)),
            _ => self.ahead = BytesMut::new(),
        }
    }

    /// Reads the frame at the current position and goes behind it, or says what stands there.
    pub(crate) fn step(&mut self, expected: &Expected) -> io::Result<Step> {
        if !self.read_ahead(frame::HEADER_BYTES)? {
            return Ok(Step::Stop(Stop::EndOfSegment));
        }
        let Some(header) = FrameHeader::decode(&self.ahead) else {
            return Ok(Step::Stop(self.stop_without_header()));
        };
        if !expected.is_met_by(&header) {
            let stale = expected.is_later_than(&header);
            return Ok(Step::Stop(if stale { Stop::Stale } else { Stop::Torn }));
        }
        if !self.is_intact(&header)? {
            return Ok(Step::Stop(Stop::Torn));
        }
        match header.kind {
            FrameKind::Data => Ok(self.take_frame(header)),
            FrameKind::EndMark => Ok(Step::Stop(Stop::EndMark)),
        }
    }

    fn stop_without_header(&self) -> Stop {
        let blank = self.ahead.iter().take(frame::HEADER_BYTES).all(|byte| *byte == 0);
        if blank { Stop::Blank } else { Stop::Torn }
    }

    fn is_intact(&mut self, header: &FrameHeader) -> io::Result<bool> {
        let bytes = header.frame_bytes() as usize;
        Ok(self.read_ahead(bytes)? && self.ahead.get(..bytes).is_some_and(frame::is_intact))
    }

    fn take_frame(&mut self, header: FrameHeader) -> Step {
        let (position, bytes) = (self.position, header.frame_bytes());
        let mut frame = self.ahead.split_to(bytes as usize);
        self.position += bytes;
        if header.last_of_group {
            self.seek(block_ceiling(self.position));
        }
        let payload = frame.split_off(frame::HEADER_BYTES).freeze();
        Step::Frame { position, header, payload }
    }

    /// Makes sure that `bytes` from the position on are in memory. `false`: the file is too short.
    fn read_ahead(&mut self, bytes: usize) -> io::Result<bool> {
        if self.ahead.len() >= bytes {
            return Ok(true);
        }
        let start = self.position + self.ahead.len() as u64;
        let rest = self.file_bytes.saturating_sub(start);
        let missing = bytes - self.ahead.len();
        if rest < missing as u64 {
            return Ok(false);
        }
        let wanted = rest.min(missing.max(self.chunk_bytes) as u64) as usize;
        self.chunk_bytes = (self.chunk_bytes * 2).min(CHUNK_BYTES_MAX);
        let held = self.ahead.len();
        self.ahead.resize(held + wanted, 0);
        let (_, fresh) = self.ahead.split_at_mut(held);
        self.file.read_exact_at(fresh, start)?;
        Ok(true)
    }

    /// Goes to where the file system says that the next written bytes may be. A new segment is mostly
    /// space that was allocated and never written to; reading it would find zeros, slowly.
    fn skip_hole(&mut self) {
        let data = match rustix::fs::seek(&self.file, SeekFrom::Data(self.position)) {
            Ok(data) => data / BLOCK_BYTES as u64 * BLOCK_BYTES as u64,
            // There is none up to the end.
            Err(Errno::NXIO) => self.file_bytes,
            // Not every file system knows.
            Err(_) => return,
        };
        self.seek(data.max(self.position));
    }

    /// Looks from the next block boundary at or behind `from` for an intact frame that satisfies
    /// `proves`. Groups start at block boundaries, so the first frame of every group is seen.
    pub(crate) fn find_group(
        &mut self,
        from: u64,
        proves: &dyn Fn(&FrameHeader) -> bool,
    ) -> io::Result<bool> {
        self.seek(block_ceiling(from).max(BLOCK_BYTES as u64));
        self.skip_hole();
        while self.read_ahead(frame::HEADER_BYTES)? {
            let header = FrameHeader::decode(&self.ahead).filter(proves);
            if let Some(header) = header
                && self.is_intact(&header)?
            {
                return Ok(true);
            }
            self.seek(self.position + BLOCK_BYTES as u64);
        }
        Ok(false)
    }
}
