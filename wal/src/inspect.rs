//! Looks at a folder of segments without changing anything, for people and tools.

use std::path::{Path, PathBuf};

use crate::file::directory;
use crate::format::frame::FrameHeader;
use crate::format::segment::{HeaderState, SegmentId};
use crate::recovery::reader::{Expected, SegmentReader, Step};
use crate::recovery::{OpenError, Stop, while_doing};

/// One thing found, in the order of segment numbers and positions.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Finding {
    /// A segment file begins.
    Segment {
        /// Its number, from its name.
        segment: SegmentId,
        /// Where it is.
        path: PathBuf,
        /// Its size.
        file_bytes: u64,
        /// What its header says.
        header: HeaderState,
    },
    /// An intact frame of that segment.
    Frame {
        /// Where its header starts.
        position: u64,
        /// What its header says.
        header: FrameHeader,
    },
    /// Reading the segment ended.
    End {
        /// Where.
        position: u64,
        /// Why, and how many frames were intact.
        verdict: Verdict,
    },
}

/// How reading one segment ended, judged by that segment alone.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Verdict {
    /// What stands behind the last intact frame.
    pub stop: Stop,
    /// Intact frames.
    pub frames: u64,
    /// Their payload bytes.
    pub payload_bytes: u64,
}

/// Reports every segment of `directory` and every intact frame in it to `visit`. Payloads are read,
/// to check them, and dropped. A live log may be inspected; its end is then a moving one.
///
/// # Errors
/// [`OpenError::Io`] when a file cannot be read. Damage is a finding, not an error.
pub fn inspect(directory: &Path, visit: &mut dyn FnMut(Finding)) -> Result<(), OpenError> {
    let listed = directory::list_segments(directory).map_err(while_doing("listing", directory))?;
    for (segment, path) in listed {
        let inspected = inspect_segment(segment, &path, visit);
        inspected.map_err(while_doing("reading", &path))?;
    }
    Ok(())
}

fn inspect_segment(
    segment: SegmentId,
    path: &Path,
    visit: &mut dyn FnMut(Finding),
) -> std::io::Result<()> {
    let mut reader = SegmentReader::open(path)?;
    let (file_bytes, header) = (reader.file_bytes(), reader.header(segment)?);
    visit(Finding::Segment { segment, path: path.to_owned(), file_bytes, header });
    let HeaderState::Valid(header) = header else { return Ok(()) };
    let (mut frames, mut payload_bytes) = (0, 0);
    let mut expected = Expected::first_of(&header);
    loop {
        match reader.step(&expected)? {
            Step::Frame { position, header, payload } => {
                (frames, payload_bytes) = (frames + 1, payload_bytes + payload.len() as u64);
                expected.lsn = header.lsn.next();
                visit(Finding::Frame { position, header });
            }
            Step::Stop(stop) => {
                let verdict = Verdict { stop, frames, payload_bytes };
                visit(Finding::End { position: reader.position(), verdict });
                return Ok(());
            }
        }
    }
}
