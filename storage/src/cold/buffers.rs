//! Buffers that blocks of local files are read into, used again.
//!
//! A block is a mebibyte that lives until it is evicted and on its way to the last consumer. Fresh
//! memory of that size comes from the kernel page by page, each cleared first; measured, that was a
//! sixth of what serving history costs.

use std::sync::Arc;

use bytes::Bytes;
use parking_lot::Mutex;

/// Buffers come in multiples of this, so that one fits blocks of about the same size.
const STEP_BYTES: usize = 128 << 10;
/// Buffers below this size come from the allocator's own lists anyway.
const POOLED_BYTES_MIN: usize = 256 << 10;

/// A bounded store of buffers.
#[derive(Debug)]
pub(super) struct Buffers {
    idle: Mutex<Vec<Vec<u8>>>,
    idle_max: usize,
}

impl Buffers {
    /// Keeps at most `idle_max` buffers for later.
    pub(super) fn new(idle_max: usize) -> Arc<Self> {
        Arc::new(Self { idle: Mutex::default(), idle_max })
    }

    /// A buffer of at least `length` bytes, with whatever was in it last.
    pub(super) fn take(&self, length: usize) -> Vec<u8> {
        if length < POOLED_BYTES_MIN {
            return vec![0; length];
        }
        self.take_idle(length).unwrap_or_else(|| vec![0; length.next_multiple_of(STEP_BYTES)])
    }

    fn take_idle(&self, length: usize) -> Option<Vec<u8>> {
        let mut idle = self.idle.lock();
        let fitting = idle.iter().rposition(|buffer| buffer.len() >= length)?;
        Some(idle.swap_remove(fitting))
    }

    /// `buffer` as shareable bytes; it comes back here when the last of them is dropped.
    pub(super) fn share(self: &Arc<Self>, buffer: Vec<u8>) -> Bytes {
        if buffer.len() < POOLED_BYTES_MIN {
            return buffer.into();
        }
        Bytes::from_owner(Shared { buffer, home: Arc::clone(self) })
    }

    fn give_back(&self, buffer: Vec<u8>) {
        let mut idle = self.idle.lock();
        if idle.len() < self.idle_max {
            idle.push(buffer);
        }
    }
}

struct Shared {
    buffer: Vec<u8>,
    home: Arc<Buffers>,
}

impl AsRef<[u8]> for Shared {
    fn as_ref(&self) -> &[u8] {
        &self.buffer
    }
}

impl Drop for Shared {
    fn drop(&mut self) {
        self.home.give_back(std::mem::take(&mut self.buffer));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_buffer_is_used_again_when_its_last_reader_is_gone() {
        let buffers = Buffers::new(1);
        let mut buffer = buffers.take(POOLED_BYTES_MIN);
        buffer.fill(7);
        let block = buffers.share(buffer);
        let place = block.as_ptr();
        let part = block.slice(10..20);
        drop(block);
        assert!(buffers.take_idle(1).is_none(), "a slice still reads it");
        assert_eq!(&part[..], &[7; 10]);
        drop(part);
        let again = buffers.take(POOLED_BYTES_MIN);
        assert_eq!((again.as_ptr(), again.len()), (place, POOLED_BYTES_MIN));
    }

    #[test]
    fn no_more_than_the_limit_is_kept_and_nothing_small() {
        let buffers = Buffers::new(1);
        let blocks: Vec<_> =
            (0..3).map(|_| buffers.share(buffers.take(POOLED_BYTES_MIN))).collect();
        drop(blocks);
        drop(buffers.share(buffers.take(100)));
        assert_eq!(buffers.idle.lock().len(), 1);
    }
}
