//! The system's allocator, except that it refuses what no valid input needs: a count that a decoder
//! believes shows at once, whether or not the memory would ever have been touched.

use std::alloc::{GlobalAlloc, Layout, System};

/// Inputs have at most 40 KB, and what they unpack to is limited to 1 MiB; a decoder of ours may
/// claim 32 MiB for the decoded form of one request.
const ALLOCATION_BYTES_MAX: usize = 128 << 20;

struct Bounded;

#[global_allocator]
static ALLOCATOR: Bounded = Bounded;

// SAFETY: everything that is not refused is the system allocator's own work, and refusing ends the
// process.
unsafe impl GlobalAlloc for Bounded {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        check(layout.size());
        // SAFETY: the caller's promises are passed on.
        unsafe { System.alloc(layout) }
    }

    unsafe fn dealloc(&self, memory: *mut u8, layout: Layout) {
        // SAFETY: the caller's promises are passed on.
        unsafe { System.dealloc(memory, layout) }
    }

    unsafe fn realloc(&self, memory: *mut u8, layout: Layout, size: usize) -> *mut u8 {
        check(size);
        // SAFETY: the caller's promises are passed on.
        unsafe { System.realloc(memory, layout, size) }
    }
}

fn check(size: usize) {
    if size > ALLOCATION_BYTES_MAX {
        // A panic would allocate.
        std::process::abort();
    }
}
