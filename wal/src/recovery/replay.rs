//! Follows the chain of frames through the segments.

use std::cmp::Ordering;
use std::collections::VecDeque;
use std::fs;

use antiphon_common::{Lsn, WalEpoch};

use super::backlog::DeferredSegment;
use super::classify::{Behind, Decision, Ending, Stop, classify};
use super::error::{OpenError, while_doing};
use super::reader::{Expected, SegmentReader, Step};
use super::survey::{Survey, Used, corrupt};
use crate::file::directory;
use crate::file::summaries::{Finished, SummaryLimits, finish};
use crate::format::frame::FrameHeader;
use crate::format::summary::{Entry, Summary};
use crate::{DeferredFrame, Replayed, SegmentHeader, Survivor};

/// What replay found.
#[derive(Debug)]
pub(crate) struct Replay {
    pub(crate) ending: Ending,
    /// The position after the last frame.
    pub(crate) next: Lsn,
    /// Which of the survey's segments hold frames that count, with their first position.
    pub(crate) kept: Vec<(usize, Lsn)>,
    /// Segments in front of where replay started.
    pub(crate) skipped: usize,
    pub(crate) read: u64,
    pub(crate) frames: u64,
    pub(crate) payload_bytes: u64,
    pub(crate) first: Option<Lsn>,
    /// Segments that were not read, in order.
    pub(crate) deferred: Vec<DeferredSegment>,
    /// Summaries of those that were, for the opening after this one.
    pub(crate) summaries: VecDeque<Finished>,
}

/// What to read, and what to leave for later.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Reading {
    /// The first frame that is needed.
    pub(crate) expected_start: Lsn,
    /// Whether segments with an intact summary are left for later.
    pub(crate) defer: bool,
    pub(crate) limits: SummaryLimits,
}

impl Reading {
    /// Everything, and no summaries.
    #[cfg(any(test, feature = "test-util"))]
    pub(crate) const fn whole(expected_start: Lsn) -> Self {
        let limits = SummaryLimits { prefix_bytes: None, segment_bytes: 0 };
        Self { expected_start, defer: false, limits }
    }
}

/// Hands every frame from `expected_start` on to `sink`.
pub(crate) fn replay(
    survey: &Survey,
    reading: Reading,
    sink: &mut dyn FnMut(Survivor),
) -> Result<Replay, OpenError> {
    let start = survey.start(reading.expected_start)?;
    let mut walk = Walk::new(survey, reading, sink);
    if let Some(index) = start {
        walk.begin(index);
        walk.run(index)?;
    }
    Ok(walk.found)
}

struct Walk<'a> {
    used: &'a [Used],
    reading: Reading,
    sink: &'a mut dyn FnMut(Survivor),
    /// The epoch of the last segment whose header could be read.
    epoch: WalEpoch,
    found: Replay,
}

/// Where reading stopped in one segment.
struct Stopped {
    stop: Stop,
    position: u64,
}

impl<'a> Walk<'a> {
    fn new(survey: &'a Survey, reading: Reading, sink: &'a mut dyn FnMut(Survivor)) -> Self {
        let found = Replay {
            ending: Ending::Empty,
            next: reading.expected_start,
            kept: Vec::new(),
            skipped: 0,
            read: 0,
            frames: 0,
            payload_bytes: 0,
            first: None,
            deferred: Vec::new(),
            summaries: VecDeque::new(),
        };
        Self { used: &survey.used, reading, sink, epoch: WalEpoch::ZERO, found }
    }

    fn begin(&mut self, index: usize) {
        self.found.skipped = index;
        if let Some(header) = &self.used[index].header {
            self.found.next = header.first_lsn;
        }
    }

    fn run(&mut self, mut index: usize) -> Result<(), OpenError> {
        loop {
            if let Some(header) = &self.used[index].header {
                self.epoch = header.epoch;
            }
            let stopped = match self.defer_segment(index) {
                Some(stopped) => stopped,
                None => self.read_segment(index)?,
            };
            let (behind, target) = self.look_behind(index);
            let proof = self.find_proof(index, &stopped, behind)?;
            match classify(stopped.stop, behind, proof) {
                Decision::GoOn => index = target,
                Decision::End(ending) => {
                    self.found.ending = ending;
                    return Ok(());
                }
                Decision::Refuse(reason) => {
                    let lsn = self.found.next;
                    return Err(corrupt(&self.used[index], stopped.position, lsn, reason));
                }
            }
        }
    }

    fn read_segment(&mut self, index: usize) -> Result<Stopped, OpenError> {
        let used = &self.used[index];
        self.found.read += 1;
        let Some(header) = &used.header else {
            return Ok(Stopped { stop: Stop::HeaderDamaged, position: 0 });
        };
        let first = self.found.next;
        let seal = self.seal_behind(index).map(|(lsn, _)| lsn);
        let mut reader =
            SegmentReader::open(&used.path).map_err(while_doing("opening", &used.path))?;
        reader.seek(crate::format::BLOCK_BYTES as u64);
        let mut expected = Expected::first_of(header);
        let mut summary = self.reading.limits.builder(*header);
        let stop = loop {
            if seal == Some(expected.lsn) {
                break Stop::EndOfSegment;
            }
            match reader.step(&expected).map_err(while_doing("reading", &used.path))? {
                Step::Frame { position, header, payload } => {
                    expected.lsn = header.lsn.next();
                    if let Some(summary) = &mut summary {
                        summary.push(position, header.checksum, &payload);
                    }
                    let (lsn, epoch, bytes) = (header.lsn, header.epoch, payload.len());
                    self.take(bytes, Survivor::Frame(Replayed { lsn, epoch, payload }));
                }
                Step::Stop(stop) => break stop,
            }
        };
        if self.found.next > first {
            self.found.kept.push((index, first));
        }
        self.found.summaries.extend(summary.and_then(finish));
        Ok(Stopped { stop, position: reader.position() })
    }

    fn take(&mut self, payload_bytes: usize, survivor: Survivor) {
        let lsn = survivor.lsn();
        self.found.next = lsn.next();
        if lsn < self.reading.expected_start {
            return;
        }
        self.found.frames += 1;
        self.found.payload_bytes += payload_bytes as u64;
        self.found.first.get_or_insert(lsn);
        (self.sink)(survivor);
    }

    /// Takes the frames of a sealed segment from its summary, which is as if all of it had been read.
    /// `None` if it has to be read.
    fn defer_segment(&mut self, index: usize) -> Option<Stopped> {
        let used = self.used.get(index)?;
        let header = used.header.as_ref().filter(|_| self.reading.defer)?;
        let summary = self.summary_of(index, used, header)?;
        let (first, end) = (self.found.next, summary.end());
        for entry in summary.entries_from(header.first_lsn) {
            let Entry { lsn, length, prefix, .. } = entry;
            let payload_bytes = length as usize;
            let frame = DeferredFrame { lsn, epoch: header.epoch, payload_bytes, prefix };
            self.take(payload_bytes, Survivor::Deferred(frame));
        }
        self.found.kept.push((index, first));
        let (path, header, from) = (used.path.clone(), *header, self.reading.expected_start);
        self.found.deferred.push(DeferredSegment { path, header, summary, from });
        Some(Stopped { stop: Stop::EndOfSegment, position: end })
    }

    /// The summary of a segment, if it can stand for it.
    fn summary_of(&self, index: usize, used: &Used, header: &SegmentHeader) -> Option<Summary> {
        let bytes = fs::read(directory::summary_path(&used.path)).ok()?;
        let summary = Summary::decode(&bytes.into(), header)?;
        let wanted = self.reading.limits.prefix_bytes.unwrap_or(0);
        let seal = self.seal_behind(index).map(|(lsn, _)| lsn);
        let stands = summary.prefix_bytes() >= wanted
            && summary.end() <= used.file_bytes
            && self.found.next == header.first_lsn
            && seal.is_none_or(|lsn| lsn >= summary.next_lsn());
        stands.then_some(summary)
    }

    /// Where a later opening went on after the segment: frames from there on are void in it. Of
    /// several openings that went on at the same place, the earlier ones wrote nothing.
    fn seal_behind(&self, index: usize) -> Option<(Lsn, usize)> {
        let mut seal: Option<(Lsn, usize)> = None;
        for (other, header) in self.readable_behind(index) {
            if header.epoch > self.epoch && seal.is_none_or(|(lsn, _)| header.first_lsn <= lsn) {
                seal = Some((header.first_lsn, other));
            }
        }
        seal
    }

    fn readable_behind(
        &self,
        index: usize,
    ) -> impl Iterator<Item = (usize, &crate::SegmentHeader)> {
        let behind = self.used.iter().enumerate().skip(index + 1);
        behind.filter_map(|(other, used)| Some((other, used.header.as_ref()?)))
    }

    /// How what stands behind relates to the expected frame, and where to go on if it does.
    fn look_behind(&self, index: usize) -> (Behind, usize) {
        let next = self.found.next;
        let seal = self.seal_behind(index);
        if let Some((lsn, target)) = seal
            && lsn == next
        {
            return (Behind::SealedHere, target);
        }
        let sibling = self.readable_behind(index).next();
        let sibling = sibling.filter(|(_, header)| header.epoch == self.epoch);
        match sibling.map(|(target, header)| (header.first_lsn.cmp(&next), target)) {
            Some((Ordering::Equal, target)) => (Behind::Continues, target),
            Some((Ordering::Less, target)) => (Behind::Overlaps, target),
            _ if seal.is_some() => (Behind::SealedLater, index),
            Some((Ordering::Greater, target)) => (Behind::SkipsAhead, target),
            None => (Behind::Nothing, index),
        }
    }

    /// Whether an intact frame further on says that the expected one was acknowledged. Looked for
    /// only where it decides something.
    fn find_proof(
        &self,
        index: usize,
        stopped: &Stopped,
        behind: Behind,
    ) -> Result<bool, OpenError> {
        if !matches!(behind, Behind::Nothing | Behind::SkipsAhead) {
            return Ok(false);
        }
        // The mark is an opening's last write, made when everything before it was durable: an intact
        // one vouches for the whole log, and a clean start reads nothing behind it.
        if stopped.stop == Stop::EndMark && behind == Behind::Nothing {
            return Ok(false);
        }
        for (other, used) in self.used.iter().enumerate().skip(index) {
            let from = if other == index { stopped.position } else { 0 };
            if self.proves(used, from)? {
                return Ok(true);
            }
        }
        Ok(false)
    }

    fn proves(&self, used: &Used, from: u64) -> Result<bool, OpenError> {
        let (lsn, epoch) = (self.found.next, self.epoch);
        let knows_it = |frame: &FrameHeader| frame.lsn > lsn && frame.durable >= lsn;
        let proves = |frame: &FrameHeader| match &used.header {
            Some(header) => {
                (frame.epoch, frame.salt) == (header.epoch, header.salt) && knows_it(frame)
            }
            // The header of a segment that starts an epoch was synced before any frame, so a frame
            // of a new epoch proves that this header was once whole. One that came with its
            // segment's first group may have been torn together with it.
            None => {
                (frame.epoch > epoch && frame.lsn >= lsn)
                    || (frame.epoch == epoch && knows_it(frame))
            }
        };
        let mut reader =
            SegmentReader::open(&used.path).map_err(while_doing("opening", &used.path))?;
        reader.find_group(from, &proves).map_err(while_doing("reading", &used.path))
    }
}
