//! Page-aligned memory that is written to disk as it is and then read as `Bytes`.
//!
//! A slab is filled from the front in disjoint *regions*. Who may touch a region changes hands, and
//! never is one region touched by two hands of which one writes:
//!
//! ```text
//! appender (under the append lock)  ->  writer (owns the group)  ->  everybody, read only
//!        fills the payload             writes headers, padding,        through `SlabBytes`
//!                                      hands it to the kernel
//! ```
//!
//! Each hand-over goes through a lock, so the bytes are visible to the next hand. References into a
//! slab cover only the region of their hand, never the slab: other regions belong to other threads.
//!
//! Slabs come from `mmap` (aligned and zeroed, so a region is never uninitialised memory) and return
//! to a bounded free list, because faulting in fresh pages costs about 0.25 s of CPU per GiB
//! (measured on the machine class this was built on).

use std::fmt;
use std::ops::Range;
use std::ptr::NonNull;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use bytes::Bytes;
use parking_lot::Mutex;
use rustix::mm::{MapFlags, ProtFlags, mmap_anonymous, munmap};

use crate::format::BLOCK_BYTES;

/// Anonymous memory from the kernel.
struct Mapping {
    start: NonNull<u8>,
    bytes: usize,
}

// SAFETY: a mapping is plain memory owned by this value; nothing about it is tied to a thread.
unsafe impl Send for Mapping {}
// SAFETY: shared access hands out raw pointers only; the region discipline in the module's page
// rules who may use them.
unsafe impl Sync for Mapping {}

impl Mapping {
    fn new(bytes: usize) -> rustix::io::Result<Self> {
        let (access, kind) = (ProtFlags::READ | ProtFlags::WRITE, MapFlags::PRIVATE);
        // Populating at once faults the pages in one sweep, cheaper than one trap for each.
        let kind = kind | MapFlags::POPULATE;
        // SAFETY: a null hint asks for a new mapping, which overlaps nothing that exists.
        let start = unsafe { mmap_anonymous(std::ptr::null_mut(), bytes, access, kind)? };
        let start = NonNull::new(start.cast()).ok_or(rustix::io::Errno::NOMEM)?;
        Ok(Self { start, bytes })
    }
}

impl Drop for Mapping {
    fn drop(&mut self) {
        // SAFETY: the range is exactly what `mmap_anonymous` returned, unmapped once, and whoever
        // could point into it held the slab that owned this value.
        let unmapped = unsafe { munmap(self.start.as_ptr().cast(), self.bytes) };
        debug_assert!(unmapped.is_ok(), "munmap of an owned range");
    }
}

/// One slab. Dropping the last reference returns its memory to the pool.
pub(crate) struct Slab {
    // `None` only while being dropped.
    mapping: Option<Mapping>,
    pool: Arc<SlabPool>,
}

impl Slab {
    pub(crate) fn bytes(&self) -> usize {
        self.mapping().bytes
    }

    fn mapping(&self) -> &Mapping {
        self.mapping.as_ref().expect("present until drop")
    }

    fn pointer(&self, region: &Range<usize>) -> *mut u8 {
        let mapping = self.mapping();
        assert!(region.start <= region.end && region.end <= mapping.bytes, "region inside slab");
        // SAFETY: the offset is inside the mapping, just asserted.
        unsafe { mapping.start.as_ptr().add(region.start) }
    }

    /// The region, to write.
    ///
    /// # Safety
    /// The caller is the region's only hand until the returned reference is gone.
    #[allow(clippy::mut_from_ref, reason = "regions are disjoint; see the module's page")]
    pub(crate) unsafe fn region_mut(&self, region: Range<usize>) -> &mut [u8] {
        let pointer = self.pointer(&region);
        // SAFETY: in bounds (asserted), initialised (`mmap` zeroes), unaliased (the caller's word).
        unsafe { std::slice::from_raw_parts_mut(pointer, region.len()) }
    }

    /// The region, to read.
    ///
    /// # Safety
    /// Nobody writes to the region while the returned reference lives.
    pub(crate) unsafe fn region(&self, region: Range<usize>) -> &[u8] {
        let pointer = self.pointer(&region);
        // SAFETY: in bounds (asserted), initialised (`mmap` zeroes), unwritten (the caller's word).
        unsafe { std::slice::from_raw_parts(pointer, region.len()) }
    }

    /// The region as `Bytes` that keep the slab alive.
    ///
    /// # Safety
    /// Nobody writes to the region as long as the slab lives.
    pub(crate) unsafe fn share(self: &Arc<Self>, region: Range<usize>) -> Bytes {
        Bytes::from_owner(SlabBytes { slab: Arc::clone(self), region })
    }
}

impl Drop for Slab {
    fn drop(&mut self) {
        if let Some(mapping) = self.mapping.take() {
            self.pool.take_back(mapping);
        }
    }
}

impl fmt::Debug for Slab {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Slab").field("bytes", &self.bytes()).finish_non_exhaustive()
    }
}

/// What keeps a slab alive behind `Bytes`.
struct SlabBytes {
    slab: Arc<Slab>,
    region: Range<usize>,
}

impl AsRef<[u8]> for SlabBytes {
    fn as_ref(&self) -> &[u8] {
        // SAFETY: `Slab::share` was promised that nobody writes to this region any more.
        unsafe { self.slab.region(self.region.clone()) }
    }
}

/// Where slabs come from and return to.
pub(crate) struct SlabPool {
    /// Size of a standard slab; only these are kept for reuse.
    slab_bytes: usize,
    free_bytes_max: usize,
    free: Mutex<FreeSlabs>,
    leased_bytes: AtomicU64,
}

#[derive(Default)]
struct FreeSlabs {
    mappings: Vec<Mapping>,
    /// Whether the list was used since the last look of `drop_if_idle`.
    touched: bool,
}

impl SlabPool {
    pub(crate) fn new(slab_bytes: usize, free_bytes_max: usize) -> Arc<Self> {
        assert!(slab_bytes.is_multiple_of(BLOCK_BYTES) && slab_bytes > 0, "slabs are blocks");
        Arc::new(Self {
            slab_bytes,
            free_bytes_max,
            free: Mutex::default(),
            leased_bytes: AtomicU64::new(0),
        })
    }

    /// A slab of the standard size, or a larger one of its own for `wanted` bytes.
    pub(crate) fn lease(self: &Arc<Self>, wanted: usize) -> rustix::io::Result<Arc<Slab>> {
        let bytes = self.slab_size_for(wanted);
        let reused = if bytes == self.slab_bytes { self.reuse() } else { None };
        let mapping = match reused {
            Some(mapping) => mapping,
            None => Mapping::new(bytes)?,
        };
        self.leased_bytes.fetch_add(bytes as u64, Ordering::Relaxed);
        Ok(Arc::new(Slab { mapping: Some(mapping), pool: Arc::clone(self) }))
    }

    /// How large the slab that `lease(wanted)` returns would be.
    pub(crate) fn slab_size_for(&self, wanted: usize) -> usize {
        wanted.next_multiple_of(BLOCK_BYTES).max(self.slab_bytes)
    }

    fn reuse(&self) -> Option<Mapping> {
        let mut free = self.free.lock();
        free.touched = true;
        free.mappings.pop()
    }

    fn take_back(&self, mapping: Mapping) {
        self.leased_bytes.fetch_sub(mapping.bytes as u64, Ordering::Relaxed);
        let mut free = self.free.lock();
        free.touched = true;
        let room = (free.mappings.len() + 1) * self.slab_bytes <= self.free_bytes_max;
        if mapping.bytes == self.slab_bytes && room {
            free.mappings.push(mapping);
        }
    }

    /// Gives the free list back to the kernel if nobody used it since the last call. Says whether
    /// something is left to drop later.
    pub(crate) fn drop_if_idle(&self) -> bool {
        let idle = {
            let mut free = self.free.lock();
            let touched = std::mem::replace(&mut free.touched, false);
            if touched { Vec::new() } else { std::mem::take(&mut free.mappings) }
        };
        // Unmapping happens outside the lock.
        drop(idle);
        self.free_bytes() > 0
    }

    pub(crate) fn leased_bytes(&self) -> u64 {
        self.leased_bytes.load(Ordering::Relaxed)
    }

    pub(crate) fn free_bytes(&self) -> u64 {
        (self.free.lock().mappings.len() * self.slab_bytes) as u64
    }
}

impl fmt::Debug for SlabPool {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("SlabPool")
            .field("slab_bytes", &self.slab_bytes)
            .field("leased_bytes", &self.leased_bytes())
            .finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn memory_returns_to_the_pool_when_the_last_reader_is_gone() {
        let pool = SlabPool::new(BLOCK_BYTES, 2 * BLOCK_BYTES);
        let slab = pool.lease(10).expect("a page");
        // SAFETY: nobody else knows the slab.
        unsafe { slab.region_mut(0..5) }.copy_from_slice(b"hello");
        // SAFETY: nobody writes any more.
        let bytes = unsafe { slab.share(0..5) };
        drop(slab);
        assert_eq!((&bytes[..], pool.leased_bytes()), (&b"hello"[..], BLOCK_BYTES as u64));
        drop(bytes);
        assert_eq!((pool.leased_bytes(), pool.free_bytes()), (0, BLOCK_BYTES as u64));
    }

    #[test]
    fn the_free_list_is_bounded_and_dropped_when_idle() {
        let pool = SlabPool::new(BLOCK_BYTES, 2 * BLOCK_BYTES);
        let slabs: Vec<_> = (0..5).map(|_| pool.lease(1).expect("a page")).collect();
        drop(slabs);
        assert_eq!(pool.free_bytes(), 2 * BLOCK_BYTES as u64);
        assert!(pool.drop_if_idle(), "just used: kept");
        assert!(!pool.drop_if_idle(), "not used since: dropped");
    }

    #[test]
    fn a_large_append_gets_a_slab_of_its_own_that_is_not_kept() {
        let pool = SlabPool::new(BLOCK_BYTES, 8 * BLOCK_BYTES);
        let slab = pool.lease(BLOCK_BYTES + 1).expect("two pages");
        assert_eq!(slab.bytes(), 2 * BLOCK_BYTES);
        drop(slab);
        assert_eq!((pool.leased_bytes(), pool.free_bytes()), (0, 0));
    }
}
