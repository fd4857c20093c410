//! A zero-filled file that is overwritten from front to back, over and over, and memory to write from.

use std::alloc::{Layout, alloc_zeroed, dealloc, handle_alloc_error};
use std::fs::{File, OpenOptions};
use std::io;
use std::os::unix::fs::{FileExt, OpenOptionsExt};
use std::path::Path;

/// What direct writes are aligned to.
pub(super) const BLOCK: usize = 4096;
/// The largest group.
pub(super) const GROUP_BYTES: usize = 1 << 20;
const FILE_BYTES: u64 = 128 << 20;

/// Memory of [`GROUP_BYTES`], aligned for direct writes.
#[derive(Debug)]
pub(super) struct Buffer(*mut u8);

// SAFETY: the memory is owned; nothing about it belongs to a thread.
unsafe impl Send for Buffer {}

impl Buffer {
    const LAYOUT: Layout = match Layout::from_size_align(GROUP_BYTES, BLOCK) {
        Ok(layout) => layout,
        Err(_) => unreachable!(),
    };

    pub(super) fn new() -> Self {
        // SAFETY: the layout has a size.
        let memory = unsafe { alloc_zeroed(Self::LAYOUT) };
        if memory.is_null() {
            handle_alloc_error(Self::LAYOUT);
        }
        Self(memory)
    }

    pub(super) fn bytes(&self) -> &[u8] {
        // SAFETY: owned, initialised, as long as the layout says.
        unsafe { std::slice::from_raw_parts(self.0, GROUP_BYTES) }
    }

    pub(super) fn bytes_mut(&mut self) -> &mut [u8] {
        // SAFETY: as above, and borrowed mutably.
        unsafe { std::slice::from_raw_parts_mut(self.0, GROUP_BYTES) }
    }
}

impl Drop for Buffer {
    fn drop(&mut self) {
        // SAFETY: allocated with the same layout.
        unsafe { dealloc(self.0, Self::LAYOUT) };
    }
}

/// Creates the file, every byte of it written and synced, open for durable direct writes.
pub(super) fn create(folder: &Path) -> io::Result<File> {
    let path = folder.join("log");
    let plain = OpenOptions::new().create(true).truncate(true).write(true).open(&path)?;
    let zeros = Buffer::new();
    for position in (0..FILE_BYTES).step_by(GROUP_BYTES) {
        plain.write_all_at(zeros.bytes(), position)?;
    }
    plain.sync_all()?;
    OpenOptions::new().write(true).custom_flags(libc::O_DIRECT | libc::O_DSYNC).open(&path)
}

/// Where the next group goes.
#[derive(Debug, Default)]
pub(super) struct Cursor(u64);

impl Cursor {
    /// Room for `bytes`, a multiple of a block; begins again at the front when the file is full.
    pub(super) fn claim(&mut self, bytes: usize) -> u64 {
        if self.0 + bytes as u64 > FILE_BYTES {
            self.0 = 0;
        }
        let position = self.0;
        self.0 += bytes as u64;
        position
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_group_never_crosses_the_end_of_the_file() {
        let mut cursor = Cursor(FILE_BYTES - BLOCK as u64);
        assert_eq!(cursor.claim(BLOCK), FILE_BYTES - BLOCK as u64);
        assert_eq!(cursor.claim(2 * BLOCK), 0);
        let mut cursor = Cursor(FILE_BYTES - BLOCK as u64);
        assert_eq!((cursor.claim(2 * BLOCK), cursor.claim(BLOCK)), (0, 2 * BLOCK as u64));
    }
}
