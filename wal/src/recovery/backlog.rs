//! What an opening has not read yet: sealed segments that it knew from their summaries.

use std::collections::VecDeque;
use std::fs::{File, OpenOptions};
use std::io;
use std::os::unix::fs::{FileExt, OpenOptionsExt};
use std::path::PathBuf;
use std::sync::Arc;

use antiphon_common::{ErrorKind, Lsn};
use rustix::fs::OFlags;

use crate::Replayed;
use crate::file::directory;
use crate::format::frame::{self, FrameHeader, FrameKind};
use crate::format::segment::SegmentHeader;
use crate::format::summary::{Entry, Summary};
use crate::format::{BLOCK_BYTES, block_ceiling};
use crate::slab::{Slab, SlabPool};

/// Read at once, unless one frame is larger: enough to keep a disk busy, and so little that an append
/// which comes meanwhile waits less than a millisecond.
const RUN_BYTES_MAX: u64 = 1 << 20;

/// Why a deferred frame could not be read. The summary of its segment is gone then, so that the next
/// opening reads the segment whole and judges it by the table of recovery: it refuses.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum LoadError {
    /// An acknowledged frame is damaged or missing.
    #[error(
        "{path} is corrupt at byte {position}: frame {lsn} is missing or damaged, and its segment's \
         summary says that it was durable"
    )]
    Corrupt {
        /// The segment's file.
        path: PathBuf,
        /// Where in the file.
        position: u64,
        /// The frame that should be there.
        lsn: Lsn,
    },
    /// The disk or the file system said no.
    #[error("reading {path}: {source}")]
    Io {
        /// The segment's file.
        path: PathBuf,
        /// What the kernel said.
        source: io::Error,
    },
}

impl LoadError {
    /// What the caller should do.
    pub const fn kind(&self) -> ErrorKind {
        match self {
            Self::Corrupt { .. } => ErrorKind::Corrupt,
            Self::Io { .. } => ErrorKind::Internal,
        }
    }
}

/// A segment that was not read.
#[derive(Debug)]
pub(crate) struct DeferredSegment {
    pub(crate) path: PathBuf,
    pub(crate) header: SegmentHeader,
    pub(crate) summary: Summary,
    /// The first frame that is needed.
    pub(crate) from: Lsn,
}

/// The frames that an opening deferred, to be read in order. Dropping it reads nothing.
#[derive(Debug)]
pub struct Backlog {
    segments: VecDeque<DeferredSegment>,
    /// Of the first segment, once it is begun.
    file: Option<File>,
    slabs: Arc<SlabPool>,
    direct: bool,
}

impl Backlog {
    pub(crate) fn new(deferred: Vec<DeferredSegment>, slabs: Arc<SlabPool>, direct: bool) -> Self {
        let needed =
            deferred.into_iter().filter(|segment| segment.from < segment.summary.next_lsn());
        Self { segments: needed.collect(), file: None, slabs, direct }
    }

    /// Whether everything was read.
    pub fn is_empty(&self) -> bool {
        self.segments.is_empty()
    }

    /// Reads and checks the next frames from `from` on, about 1 MiB of them; none means that there are no
    /// more. Earlier ones that were not read yet are passed over, and may be trimmed from now on. The
    /// payloads share one piece of memory of just their size.
    ///
    /// # Errors
    /// See [`LoadError`]; what was acknowledged is lost, so the process must stop acknowledging.
    pub fn load(&mut self, from: Lsn) -> Result<Vec<Replayed>, LoadError> {
        self.pass_over(from);
        let Some(segment) = self.segments.front() else { return Ok(Vec::new()) };
        let loaded = load_run(segment, &mut self.file, &self.slabs, &mut self.direct);
        match &loaded {
            Ok(frames) => {
                let read = frames.last().map_or(from, |last| last.lsn.next());
                self.pass_over(read);
            }
            Err(_) => give_up_summary(segment),
        }
        loaded
    }

    fn pass_over(&mut self, before: Lsn) {
        while self.segments.front().is_some_and(|first| first.summary.next_lsn() <= before) {
            self.segments.pop_front();
            self.file = None;
        }
        if let Some(first) = self.segments.front_mut() {
            first.from = first.from.max(before);
        }
    }
}

fn load_run(
    segment: &DeferredSegment,
    file: &mut Option<File>,
    slabs: &Arc<SlabPool>,
    direct: &mut bool,
) -> Result<Vec<Replayed>, LoadError> {
    let run = next_run(segment);
    let (Some(first), Some(last)) = (run.first(), run.last()) else { return Ok(Vec::new()) };
    let start = first.position / BLOCK_BYTES as u64 * BLOCK_BYTES as u64;
    let bytes = (block_ceiling(last.end()) - start) as usize;
    let slab = match read(segment, file, slabs, direct, start, bytes) {
        Ok(slab) => slab,
        Err(error) if error.kind() == io::ErrorKind::UnexpectedEof => {
            return Err(corrupt(segment, first));
        }
        Err(source) => return Err(LoadError::Io { path: segment.path.clone(), source }),
    };
    let mut frames = Vec::with_capacity(run.len());
    for entry in &run {
        let frame = frame_in(&slab, start, entry, &segment.header);
        frames.push(frame.ok_or_else(|| corrupt(segment, entry))?);
    }
    Ok(frames)
}

/// The next frames that fit one read.
fn next_run(segment: &DeferredSegment) -> Vec<Entry> {
    let mut run: Vec<Entry> = Vec::new();
    for entry in segment.summary.entries_from(segment.from) {
        let start = run.first().map_or(entry.position, |first| first.position);
        if !run.is_empty() && entry.end() - start > RUN_BYTES_MAX {
            break;
        }
        run.push(entry);
    }
    run
}

/// Reads whole blocks into memory of its own, past the page cache if that works here: what is read
/// stays in memory as the tail, and twice would be once too often.
fn read(
    segment: &DeferredSegment,
    file: &mut Option<File>,
    slabs: &Arc<SlabPool>,
    direct: &mut bool,
    start: u64,
    bytes: usize,
) -> io::Result<Arc<Slab>> {
    let slab = slabs.lease(bytes)?;
    let file = match file {
        Some(file) => file,
        None => file.insert(open(segment, *direct)?),
    };
    // SAFETY: only this function knows the slab, and the reference ends with the read.
    let fresh = unsafe { slab.region_mut(0..bytes) };
    match file.read_exact_at(fresh, start) {
        // What file systems without direct reads answer.
        Err(error) if *direct && error.kind() == io::ErrorKind::InvalidInput => {
            *direct = false;
            *file = open(segment, false)?;
            file.read_exact_at(fresh, start)?;
        }
        outcome => outcome?,
    }
    Ok(slab)
}

fn open(segment: &DeferredSegment, direct: bool) -> io::Result<File> {
    let flags = if direct { OFlags::DIRECT } else { OFlags::empty() };
    OpenOptions::new().read(true).custom_flags(flags.bits() as i32).open(&segment.path)
}

/// The frame of `entry` in a slab that was read from `start` on. `None` unless it is the very frame
/// that the summary means.
fn frame_in(
    slab: &Arc<Slab>,
    start: u64,
    entry: &Entry,
    segment: &SegmentHeader,
) -> Option<Replayed> {
    let (from, to) = ((entry.position - start) as usize, (entry.end() - start) as usize);
    // SAFETY: the read is over, and nobody writes to the slab after it.
    let bytes = unsafe { slab.region(from..to) };
    let header = FrameHeader::decode(bytes)?;
    let meant = (header.epoch, header.salt, header.lsn, header.length, header.checksum)
        == (segment.epoch, segment.salt, entry.lsn, entry.length, entry.checksum)
        && header.kind == FrameKind::Data;
    if !meant || !frame::is_intact(bytes) {
        return None;
    }
    // SAFETY: as above.
    let payload = unsafe { slab.share(from + frame::HEADER_BYTES..to) };
    Some(Replayed { lsn: entry.lsn, epoch: header.epoch, payload })
}

fn corrupt(segment: &DeferredSegment, entry: &Entry) -> LoadError {
    LoadError::Corrupt { path: segment.path.clone(), position: entry.position, lsn: entry.lsn }
}

fn give_up_summary(segment: &DeferredSegment) {
    let folder = segment.path.parent();
    let given_up = directory::remove_summary(&segment.path)
        .and_then(|()| folder.map_or(Ok(()), directory::sync));
    if let Err(error) = given_up {
        tracing::error!(%error, path = %segment.path.display(), "the summary of a damaged segment stays");
    }
}
