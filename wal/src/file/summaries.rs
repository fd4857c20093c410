//! Summaries of sealed segments: gathered while groups become durable, written by the housekeeper.
//!
//! They save the next opening from reading the segments before it can acknowledge anything, and are
//! worth no more than that: nobody waits for one, and one that cannot be written is done without. They
//! are not synced. After a kill the page cache has them, after a power failure the disk has those that
//! are older than the kernel's write-back interval (30 s by default).

use std::collections::VecDeque;
use std::fs;
use std::io;
use std::path::Path;

use parking_lot::Mutex;

use super::core::Core;
use super::directory;
use super::group::Group;
use crate::format::segment::{SegmentHeader, SegmentId};
use crate::format::summary::SummaryBuilder;

/// The share of a segment's size that its summary may have. Frames of 1.3 KB and more stay below it
/// with what a broker keeps of them; a segment full of smaller ones is read whole by the next opening,
/// for which their number counts more than their bytes.
const SEGMENT_SHARE: u64 = 16;

/// A summary that is ready to be written.
#[derive(Debug)]
pub(crate) struct Finished {
    pub(crate) segment: SegmentId,
    pub(crate) image: Vec<u8>,
}

/// How summaries are made; the same while the log runs and while it is opened.
#[derive(Clone, Copy, Debug)]
pub(crate) struct SummaryLimits {
    /// Bytes of each payload to repeat; `None` makes no summaries.
    pub(crate) prefix_bytes: Option<usize>,
    pub(crate) segment_bytes: u64,
}

impl SummaryLimits {
    pub(crate) fn builder(&self, header: SegmentHeader) -> Option<SummaryBuilder> {
        let bytes_max = (self.segment_bytes / SEGMENT_SHARE) as usize;
        Some(SummaryBuilder::new(header, self.prefix_bytes?, bytes_max))
    }
}

#[derive(Debug, Default)]
struct Gathered {
    /// Of the segment that the last durable group is in.
    current: Option<SummaryBuilder>,
    finished: VecDeque<Finished>,
}

#[derive(Debug)]
pub(crate) struct Summaries {
    limits: SummaryLimits,
    gathered: Mutex<Gathered>,
}

impl Summaries {
    /// `finished` are those of segments that the opening sealed.
    pub(crate) fn new(limits: SummaryLimits, finished: VecDeque<Finished>) -> Self {
        Self { limits, gathered: Mutex::new(Gathered { current: None, finished }) }
    }

    /// Notes a group that is durable, as are all before it. Returns whether a summary is ready.
    pub(crate) fn note(&self, group: &Group, header: SegmentHeader) -> bool {
        let mut gathered = self.gathered.lock();
        let mut ready = false;
        if gathered.current.as_ref().is_none_or(|open| open.segment() != header.segment) {
            let open = std::mem::replace(&mut gathered.current, self.limits.builder(header));
            let finished = open.and_then(finish);
            ready = finished.is_some();
            gathered.finished.extend(finished);
        }
        if let Some(open) = &mut gathered.current {
            group.describe(&mut |position, checksum, payload| {
                open.push(position, checksum, payload)
            });
        }
        ready
    }

    fn take(&self) -> Option<Finished> {
        self.gathered.lock().finished.pop_front()
    }

    pub(crate) fn has_finished(&self) -> bool {
        !self.gathered.lock().finished.is_empty()
    }
}

pub(crate) fn finish(builder: SummaryBuilder) -> Option<Finished> {
    Some(Finished { segment: builder.segment(), image: builder.finish()? })
}

/// Writes what is ready, on the housekeeper's thread, which also is the one that removes summaries.
pub(crate) fn write_finished(core: &Core) {
    while let Some(finished) = core.summaries.take() {
        let segment = directory::segment_path(&core.directory, finished.segment);
        if core.log.lock().segments.holds(&segment)
            && let Err(error) = write(&directory::summary_path(&segment), &finished.image)
        {
            tracing::debug!(%error, segment = %finished.segment, "a summary was not written");
        }
    }
}

fn write(path: &Path, image: &[u8]) -> io::Result<()> {
    fs::write(path, image).inspect_err(|_| {
        // Best effort: half a summary is recognised as none.
        let _ = fs::remove_file(path);
    })
}
