//! What a round writes: the batches that stay, as drafts of which each becomes an object. Pure.

use antiphon_common::Offset;
use antiphon_records::BatchHeader;
use bytes::{Bytes, BytesMut};

use crate::object::BatchSlice;

/// Batches are gathered into slices of about this length. A slice of its own for each batch would pin
/// whatever memory the batch was cut from.
const SLICE_BYTES: usize = 64 << 10;

/// A run of batches that becomes a segment.
#[derive(Debug)]
pub(super) struct Draft {
    /// Where the segment begins: right behind the one before it, which may be earlier than the first
    /// batch.
    pub(super) base_offset: Offset,
    /// Whether all of it was cleaned.
    pub(super) cleaned: bool,
    /// The batches.
    pub(super) slices: Vec<BatchSlice>,
}

/// Gathers batches into drafts.
#[derive(Debug)]
pub(super) struct Output {
    draft_bytes: u64,
    next_base: Offset,
    open: Option<(BytesMut, BatchSlice)>,
    slices: Vec<BatchSlice>,
    bytes: u64,
    finished: Vec<Draft>,
}

impl Output {
    /// Drafts of about `draft_bytes`, the first of which begins at `base_offset`.
    pub(super) fn new(base_offset: Offset, draft_bytes: u64) -> Self {
        Self {
            draft_bytes,
            next_base: base_offset,
            open: None,
            slices: Vec::new(),
            bytes: 0,
            finished: Vec::new(),
        }
    }

    /// Adds a batch.
    pub(super) fn push(&mut self, header: &BatchHeader, batch: &[u8]) {
        let added = slice_of(header);
        let (bytes, slice) = match self.open.take() {
            Some((bytes, slice)) if bytes.len() + batch.len() <= SLICE_BYTES => {
                (bytes, joined(slice, added))
            }
            Some(full) => {
                self.close_slice(full);
                (BytesMut::new(), added)
            }
            None => (BytesMut::new(), added),
        };
        self.bytes += batch.len() as u64;
        let (open, _) = self.open.insert((bytes, slice));
        open.extend_from_slice(batch);
    }

    /// Whether the open draft is as long as a draft should be.
    pub(super) fn is_full(&self) -> bool {
        self.bytes >= self.draft_bytes
    }

    /// Ends the open draft behind the last batch; nothing happens if there is none.
    pub(super) fn close_draft(&mut self, cleaned: bool) {
        if let Some(open) = self.open.take() {
            self.close_slice(open);
        }
        let Some(last) = self.slices.last() else { return };
        let base_offset = std::mem::replace(&mut self.next_base, last.last_offset.next());
        self.bytes = 0;
        self.finished.push(Draft {
            base_offset,
            cleaned,
            slices: std::mem::take(&mut self.slices),
        });
    }

    /// The drafts that are finished and were not taken yet.
    pub(super) fn take_finished(&mut self) -> Vec<Draft> {
        std::mem::take(&mut self.finished)
    }

    fn close_slice(&mut self, (bytes, slice): (BytesMut, BatchSlice)) {
        self.slices.push(BatchSlice { bytes: bytes.freeze(), ..slice });
    }
}

/// What the header says of a batch; its bytes come later.
fn slice_of(header: &BatchHeader) -> BatchSlice {
    BatchSlice {
        bytes: Bytes::new(),
        base_offset: header.base_offset,
        last_offset: header.last_offset(),
        max_timestamp: header.newest_timestamp(),
        record_count: u64::try_from(header.record_count).unwrap_or(0),
        leader_epoch: header.partition_leader_epoch,
    }
}

fn joined(first: BatchSlice, second: BatchSlice) -> BatchSlice {
    BatchSlice {
        base_offset: first.base_offset,
        max_timestamp: first.max_timestamp.max(second.max_timestamp),
        record_count: first.record_count + second.record_count,
        ..second
    }
}
