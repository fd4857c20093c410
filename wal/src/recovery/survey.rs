//! Which segment files there are, what their headers say, and where replay starts.

use std::path::{Path, PathBuf};

use antiphon_common::{Lsn, WalEpoch};

use super::classify::Corruption;
use super::error::{OpenError, while_doing};
use super::reader::SegmentReader;
use crate::file::directory;
use crate::file::segment_table::Leftover;
use crate::format::segment::{HeaderState, SegmentHeader, SegmentId};

/// A segment that was in use.
#[derive(Debug)]
pub(crate) struct Used {
    pub(crate) id: SegmentId,
    pub(crate) path: PathBuf,
    pub(crate) file_bytes: u64,
    /// `None`: torn or rotten.
    pub(crate) header: Option<SegmentHeader>,
}

impl Used {
    pub(crate) fn leftover(&self) -> Leftover {
        Leftover { path: self.path.clone(), bytes: self.file_bytes }
    }
}

/// The folder at a glance.
#[derive(Debug, Default)]
pub(crate) struct Survey {
    /// In the order of their numbers.
    pub(crate) used: Vec<Used>,
    pub(crate) unused: Vec<Leftover>,
    /// One past the greatest number in the folder.
    pub(crate) next_id: SegmentId,
}

impl Survey {
    pub(crate) fn take(directory: &Path, epoch: WalEpoch) -> Result<Self, OpenError> {
        let listed = directory::list_segments(directory);
        let mut survey = Self { next_id: SegmentId(1), ..Self::default() };
        for (id, path) in listed.map_err(while_doing("listing", directory))? {
            survey.next_id = id.next();
            survey.add(id, path)?;
        }
        survey.check_epochs(epoch)?;
        Ok(survey)
    }

    fn add(&mut self, id: SegmentId, path: PathBuf) -> Result<(), OpenError> {
        let mut reader = SegmentReader::open(&path).map_err(while_doing("opening", &path))?;
        let file_bytes = reader.file_bytes();
        let state = reader.header(id).map_err(while_doing("reading", &path))?;
        let header = match state {
            HeaderState::Newer { version } => {
                return Err(OpenError::NewerFormat { path, found: version });
            }
            HeaderState::Unused => {
                self.unused.push(Leftover { path, bytes: file_bytes });
                return Ok(());
            }
            HeaderState::Valid(header) => Some(header),
            HeaderState::Damaged => None,
        };
        self.used.push(Used { id, path, file_bytes, header });
        Ok(())
    }

    fn check_epochs(&self, epoch: WalEpoch) -> Result<(), OpenError> {
        let mut newest = WalEpoch::ZERO;
        for used in &self.used {
            let Some(header) = &used.header else { continue };
            if header.epoch >= epoch {
                return Err(OpenError::Fenced { segment: used.id, found: header.epoch, epoch });
            }
            if header.epoch < newest {
                return Err(corrupt(used, 0, header.first_lsn, Corruption::EpochsOutOfOrder));
            }
            newest = header.epoch;
        }
        Ok(())
    }

    /// The segment in which frame `expected` is, or would be: the last one that starts at or
    /// before it. Everything in front of that one is not needed. `None`: there is no log.
    pub(crate) fn start(&self, expected: Lsn) -> Result<Option<usize>, OpenError> {
        let starts_by = |used: &Used| used.header.is_some_and(|head| head.first_lsn <= expected);
        if let Some(index) = self.used.iter().rposition(starts_by) {
            return Ok(Some(index));
        }
        let readable = self.used.iter().position(|used| used.header.is_some());
        match (readable.and_then(|index| self.used[index].header), self.used.first()) {
            (_, None) => Ok(None),
            // Damaged headers only: what stands in the files decides.
            (None, Some(_)) => Ok(Some(0)),
            (Some(header), Some(first)) if first.header.is_some() => {
                Err(OpenError::Gap { expected, found: header.first_lsn })
            }
            // The frames from `expected` on were in a segment whose header is damaged.
            (Some(_), Some(first)) => {
                Err(corrupt(first, 0, expected, Corruption::AcknowledgedFrameLost))
            }
        }
    }
}

pub(crate) fn corrupt(used: &Used, position: u64, lsn: Lsn, reason: Corruption) -> OpenError {
    OpenError::Corrupt { segment: used.id, path: used.path.clone(), position, lsn, reason }
}
