//! The log without threads: its owner says when what happens.

use std::collections::VecDeque;
use std::fmt;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use antiphon_common::{ByteCount, Entropy, Lsn, WalEpoch};
use bytes::Bytes;
use parking_lot::Mutex;

use super::disk::SimulatedDisk;
use crate::format::frame::{self, FrameHeader, FrameKind};
use crate::format::segment::{SegmentHeader, SegmentId};
use crate::format::{BLOCK_BYTES, block_ceiling};
use crate::recovery::replay::{Reading, Replay, replay};
use crate::recovery::survey::Survey;
use crate::recovery::while_doing;
use crate::{
    AppendError, Completion, OpenError, RecoveryReport, Replayed, Shortage, Survivor, Wal, WalStats,
};

/// Trimmed segments kept for use under a later number.
const READY_MAX: usize = 2;
/// Groups under way at a time, as in the real log.
const IN_FLIGHT_MAX: u64 = 2;

/// How the log is opened.
#[derive(Clone, Debug)]
pub struct SimulatedWalOptions {
    /// As in [`crate::FileWalOptions`].
    pub epoch: WalEpoch,
    /// As in [`crate::FileWalOptions`].
    pub expected_start: Lsn,
    /// As in [`crate::FileWalOptions`].
    pub segment_bytes: usize,
    /// As in [`crate::FileWalOptions`].
    pub capacity_bytes: usize,
    /// The opening's random number.
    pub salt: u32,
    /// `false` makes a log with the defect that it acknowledges without a sync.
    pub syncs: bool,
    /// A folder whose files may be replaced: recovery reads files.
    pub scratch: PathBuf,
}

struct State {
    options: SimulatedWalOptions,
    disk: SimulatedDisk,
    active: u64,
    position: usize,
    /// Segments with frames, except the active one: number, last frame.
    full: VecDeque<(u64, Lsn)>,
    ready: VecDeque<u64>,
    next_file: u64,
    pending: VecDeque<(Bytes, Completion)>,
    durable: Lsn,
    /// Where acknowledged groups of this opening are: file, position, length, last frame.
    groups: VecDeque<(u64, usize, usize, Lsn)>,
    no_space: bool,
    closed: bool,
}

/// One opening of the log.
pub struct SimulatedWal(Mutex<State>);

/// What opening gives.
pub type Opened = (Arc<SimulatedWal>, Vec<Replayed>, RecoveryReport);

impl SimulatedWal {
    /// Recovers what `disk` holds, as the real log does, and goes on behind it in a new segment.
    ///
    /// # Errors
    /// Those of the real log's recovery; the disk is then as it was.
    pub fn open(disk: SimulatedDisk, options: SimulatedWalOptions) -> Result<Opened, OpenError> {
        let scratch = &options.scratch;
        disk.put_into(scratch).map_err(while_doing("writing", scratch))?;
        let survey = Survey::take(scratch, options.epoch)?;
        let mut frames = Vec::new();
        let found = replay(&survey, Reading::whole(options.expected_start), &mut |frame| {
            if let Survivor::Frame(frame) = frame {
                frames.push(frame);
            }
        })?;
        let next_lsn = found.next.max(options.expected_start);
        let report = report_of(&found, next_lsn);
        let durable = next_lsn.prev();
        let full = disk.numbers().map(|file| (file, durable)).collect();
        let next_file = disk.numbers().next_back().unwrap_or(0) + 1;
        let mut state = State {
            options,
            disk,
            active: 0,
            position: 0,
            full,
            ready: VecDeque::new(),
            next_file,
            pending: VecDeque::new(),
            durable,
            groups: VecDeque::new(),
            no_space: false,
            closed: false,
        };
        state.seal_the_past();
        Ok((Arc::new(Self(Mutex::new(state))), frames, report))
    }

    /// Frames that wait to become durable.
    pub fn waiting(&self) -> usize {
        self.0.lock().pending.len()
    }

    /// Makes one group of the oldest frames, at most `frames`, durable, which acknowledges them.
    pub fn sync(&self, frames: usize) {
        let mut state = self.0.lock();
        let count = state.fitting(frames);
        let group: Vec<_> = state.pending.drain(..count).collect();
        if group.is_empty() {
            return;
        }
        let payloads: Vec<_> = group.iter().map(|(payload, _)| payload.clone()).collect();
        let (first, durable) = (state.durable.next(), state.durable);
        let (file, position, length) = state.write_group(&payloads, first, durable);
        if state.options.syncs {
            state.disk.sync();
        }
        state.durable = Lsn(state.durable.get() + count as u64);
        let last = state.durable;
        state.groups.push_back((file, position, length, last));
        drop(state);
        group.into_iter().for_each(|(payload, completion)| completion(Ok(payload)));
    }

    /// The machine stops while up to two groups are under way. What is left on the disk.
    pub fn crash(&self, dice: &dyn Entropy) -> SimulatedDisk {
        let mut state = self.0.lock();
        let durable = state.durable;
        let mut first = durable.next();
        for _ in 0..dice.u64() % (IN_FLIGHT_MAX + 1) {
            let wanted = 1 + dice.u64() as usize % 4;
            let count = state.fitting(wanted);
            let group: Vec<_> = state.pending.drain(..count).map(|(payload, _)| payload).collect();
            if !group.is_empty() {
                state.write_group(&group, first, durable);
            }
            first = Lsn(first.get() + count as u64);
        }
        let mut left = state.disk.clone();
        drop(state);
        left.lose_power(dice);
        left
    }

    /// What is on the disk after a clean close, or of a process that is stopped but not gone.
    pub fn disk(&self) -> SimulatedDisk {
        self.0.lock().disk.clone()
    }

    /// Whether the file system has no room for another segment.
    pub fn set_no_space(&self, no_space: bool) {
        self.0.lock().no_space = no_space;
    }

    /// A byte of an acknowledged frame of this opening that is not trimmed, and that a later group
    /// vouches for: where rot must be noticed. `None` if there is none.
    pub fn vouched_byte(&self, dice: &dyn Entropy) -> Option<(u64, usize)> {
        let state = self.0.lock();
        let vouched = state.groups.len().checked_sub(1)?;
        let index = (dice.u64() % vouched.max(1) as u64) as usize;
        let (file, position, length, _) = state.groups.get(index).filter(|_| vouched > 0)?;
        Some((*file, position + dice.u64() as usize % length))
    }
}

impl State {
    fn seal_the_past(&mut self) {
        self.roll(self.durable.next());
        let header = self.header(self.durable.next());
        let mut block = vec![0; BLOCK_BYTES];
        header.encode(&mut block);
        self.disk.write(self.active, 0, &block);
        self.disk.sync();
        self.position = BLOCK_BYTES;
    }

    /// Enters the next segment: a used file under a new number, or a new one.
    fn roll(&mut self, first: Lsn) {
        if self.active > 0 {
            self.full.push_back((self.active, first.prev()));
        }
        self.active = self.ready.pop_front().unwrap_or_else(|| {
            let file = self.next_file;
            self.next_file += 1;
            self.disk.create(file, self.options.segment_bytes);
            file
        });
        self.position = 0;
    }

    fn header(&self, first_lsn: Lsn) -> SegmentHeader {
        SegmentHeader {
            segment: SegmentId(self.active),
            epoch: self.options.epoch,
            first_lsn,
            file_bytes: self.options.segment_bytes as u64,
            salt: self.options.salt,
        }
    }

    /// How many of the oldest `frames` make a group that fits a segment.
    fn fitting(&self, frames: usize) -> usize {
        let room = self.options.segment_bytes - 2 * BLOCK_BYTES;
        let mut bytes = 0;
        let fitting = self.pending.iter().take(frames).take_while(|(payload, _)| {
            bytes += frame::HEADER_BYTES + payload.len();
            bytes <= room
        });
        fitting.count()
    }

    /// Puts a group behind the last one; the first of a segment brings the header along. Says where
    /// its frames are.
    fn write_group(&mut self, group: &[Bytes], first: Lsn, durable: Lsn) -> (u64, usize, usize) {
        let mut image = self.image_of(group, first, durable);
        let length = image.len();
        image.resize(block_ceiling(length as u64) as usize, 0);
        // The last block is kept for the end mark.
        if self.position + image.len() > self.options.segment_bytes - BLOCK_BYTES {
            self.roll(first);
            let mut block = vec![0; BLOCK_BYTES];
            self.header(first).encode(&mut block);
            block.extend(&image);
            self.disk.write(self.active, 0, &block);
            self.position = BLOCK_BYTES;
        } else {
            self.disk.write(self.active, self.position, &image);
        }
        let place = (self.active, self.position, length);
        self.position += image.len();
        place
    }

    fn image_of(&self, group: &[Bytes], first: Lsn, durable: Lsn) -> Vec<u8> {
        let mut image = Vec::new();
        for (number, payload) in group.iter().enumerate() {
            let start = image.len();
            image.resize(start + frame::HEADER_BYTES, 0);
            image.extend(payload);
            let lsn = Lsn(first.get() + number as u64);
            let last_of_group = number + 1 == group.len();
            let header = self.frame(lsn, durable, FrameKind::Data, last_of_group);
            frame::seal(&mut image[start..], &header);
        }
        image
    }

    fn frame(&self, lsn: Lsn, durable: Lsn, kind: FrameKind, last_of_group: bool) -> FrameHeader {
        let (epoch, salt) = (self.options.epoch, self.options.salt);
        FrameHeader { checksum: 0, length: 0, epoch, lsn, durable, salt, kind, last_of_group }
    }

    fn write_end_mark(&mut self) {
        let header = self.frame(self.durable.next(), self.durable, FrameKind::EndMark, true);
        let mut block = vec![0; BLOCK_BYTES];
        frame::seal(&mut block[..frame::HEADER_BYTES], &header);
        self.disk.write(self.active, self.position, &block);
        self.disk.sync();
    }

    fn next_lsn(&self) -> Lsn {
        Lsn(self.durable.get() + self.pending.len() as u64 + 1)
    }

    fn held_bytes(&self) -> usize {
        let waiting: usize = self.pending.iter().map(|(payload, _)| payload.len()).sum();
        (self.full.len() + 1) * self.options.segment_bytes + waiting
    }

    fn shortage(&self, length: usize) -> Option<Shortage> {
        let capacity = self.held_bytes() + length > self.options.capacity_bytes;
        let full = self.no_space && self.ready.is_empty();
        match (capacity, full) {
            (true, _) => Some(Shortage::Capacity),
            (_, true) => Some(Shortage::FileSystem),
            _ => None,
        }
    }

    fn retire(&mut self, through: Lsn) {
        self.groups.retain(|(.., last)| *last > through);
        while let Some((file, last)) = self.full.front().copied()
            && last <= through
        {
            self.full.pop_front();
            if self.ready.len() < READY_MAX {
                let number = self.next_file;
                self.next_file += 1;
                self.disk.rename(file, number);
                self.ready.push_back(number);
            } else {
                self.disk.remove(file);
            }
        }
    }
}

impl Wal for SimulatedWal {
    fn append(
        &self,
        length: usize,
        fill: &mut dyn FnMut(&mut [u8]),
        completion: Completion,
    ) -> Result<Lsn, AppendError> {
        let mut state = self.0.lock();
        if state.closed {
            return Err(AppendError::Closed);
        }
        if let Some(shortage) = state.shortage(length) {
            return Err(AppendError::Full { shortage, wanted: ByteCount(length as u64) });
        }
        let limit = state.options.segment_bytes - 2 * BLOCK_BYTES - frame::HEADER_BYTES;
        if length > limit {
            let (length, limit) = (ByteCount(length as u64), ByteCount(limit as u64));
            return Err(AppendError::TooLarge { length, limit });
        }
        let mut payload = vec![0; length];
        fill(&mut payload);
        let lsn = state.next_lsn();
        state.pending.push_back((payload.into(), completion));
        Ok(lsn)
    }

    fn durable(&self) -> Lsn {
        self.0.lock().durable
    }

    fn trim(&self, through: Lsn) {
        let mut state = self.0.lock();
        let through = through.min(state.durable);
        state.retire(through);
    }

    fn stats(&self) -> WalStats {
        let state = self.0.lock();
        WalStats {
            next_lsn: state.next_lsn(),
            durable_lsn: state.durable,
            disk_bytes: state.held_bytes() as u64,
            disk_capacity_bytes: state.options.capacity_bytes as u64,
            ..WalStats::default()
        }
    }

    fn close(&self) {
        let was_closed = std::mem::replace(&mut self.0.lock().closed, true);
        while self.waiting() > 0 {
            self.sync(usize::MAX);
        }
        if !was_closed {
            self.0.lock().write_end_mark();
        }
    }
}

impl fmt::Debug for SimulatedWal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("SimulatedWal").field("durable", &self.durable()).finish_non_exhaustive()
    }
}

fn report_of(found: &Replay, next_lsn: Lsn) -> RecoveryReport {
    RecoveryReport {
        ending: found.ending,
        frames: found.frames,
        payload_bytes: found.payload_bytes,
        first_lsn: found.first,
        next_lsn,
        segments_read: found.read,
        segments_skipped: found.skipped as u64,
        segments_deferred: 0,
        elapsed: Duration::ZERO,
    }
}
