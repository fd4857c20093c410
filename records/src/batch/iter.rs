//! Walking the batches in a run of bytes: a section of an object, a WAL payload, a fetch response.

use bytes::Bytes;
use thiserror::Error;

use super::header::{BatchHeader, HeaderError};

/// One batch in a run of bytes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Batch<'a> {
    /// Its header.
    pub header: BatchHeader,
    /// All of it, header included.
    pub bytes: &'a [u8],
}

/// Where and why a run of bytes stops being batches.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Error)]
pub enum BatchesError {
    /// What stands there is not a batch.
    #[error("not a batch at byte {position}")]
    Header {
        /// Bytes before it.
        position: usize,
        /// What is wrong with it.
        source: HeaderError,
    },
    /// The run ends inside its last batch.
    #[error("the batch at byte {position} has {declared} bytes, the run ends after {available}")]
    Truncated {
        /// Bytes before it.
        position: usize,
        /// The batch's size by its header.
        declared: usize,
        /// The bytes of it that are there.
        available: usize,
    },
}

/// The batches of a run of bytes, in order. Ends after the first error. CRCs are not checked.
#[derive(Clone, Debug)]
pub struct Batches<'a> {
    bytes: &'a [u8],
    position: usize,
    truncation_is_end: bool,
}

impl<'a> Batches<'a> {
    /// Batches back to back, all of them whole.
    pub fn whole(bytes: &'a [u8]) -> Self {
        Self { bytes, position: 0, truncation_is_end: false }
    }

    /// As [`Batches::whole`], but a last batch cut short is where the run ends, not an error. That is
    /// how a range read that stops at a byte limit must be read.
    pub fn tolerating_truncation(bytes: &'a [u8]) -> Self {
        Self { bytes, position: 0, truncation_is_end: true }
    }

    /// How many bytes the batches so far took.
    pub fn position(&self) -> usize {
        self.position
    }

    fn read(&self) -> Result<Batch<'a>, BatchesError> {
        let position = self.position;
        let rest = self.bytes.get(position..).unwrap_or_default();
        let header =
            BatchHeader::parse(rest).map_err(|source| BatchesError::Header { position, source })?;
        let declared = header.size_in_bytes();
        let available = rest.len();
        let bytes = rest.get(..declared).ok_or(BatchesError::Truncated {
            position,
            declared,
            available,
        })?;
        Ok(Batch { header, bytes })
    }

    fn stop(&mut self) {
        self.bytes = self.bytes.get(..self.position).unwrap_or_default();
    }
}

impl<'a> Iterator for Batches<'a> {
    type Item = Result<Batch<'a>, BatchesError>;

    fn next(&mut self) -> Option<Self::Item> {
        if self.position >= self.bytes.len() {
            return None;
        }
        let batch = self.read();
        match &batch {
            Ok(batch) => self.position += batch.bytes.len(),
            Err(error) => {
                self.stop();
                if self.truncation_is_end && error.is_truncation() {
                    return None;
                }
            }
        }
        Some(batch)
    }
}

impl std::iter::FusedIterator for Batches<'_> {}

impl BatchesError {
    /// Whether more bytes might have made a batch of it.
    fn is_truncation(&self) -> bool {
        match self {
            Self::Truncated { .. } => true,
            Self::Header { source, .. } => matches!(source, HeaderError::TooShort { .. }),
        }
    }
}

/// The batches in `bytes`, each as a slice that shares (and so keeps alive) the same allocation.
pub fn batches_in(
    bytes: &Bytes,
) -> impl Iterator<Item = Result<(BatchHeader, Bytes), BatchesError>> + '_ {
    Batches::whole(bytes).map(|batch| batch.map(|b| (b.header, bytes.slice_ref(b.bytes))))
}
