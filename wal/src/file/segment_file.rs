//! One open segment file and the durable write.

use std::fs::{File, OpenOptions};
use std::io::{self, IoSlice};
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};

use parking_lot::Mutex;
use rustix::fs::{FallocateFlags, OFlags, SeekFrom, fallocate};
use rustix::io::Errno;

use crate::file::DirectIo;
use crate::format::BLOCK_BYTES;
use crate::format::segment::SegmentId;
use crate::slab::SlabPool;

/// Small enough that a group commit never waits long behind one zero-filling write.
const ZERO_CHUNK_BYTES: usize = 256 << 10;

/// How a write becomes durable.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum WriteMode {
    /// `O_DIRECT | O_DSYNC`: the write returns when the data is durable.
    Direct,
    /// Into the page cache, then `fdatasync`.
    Buffered,
}

impl WriteMode {
    fn flags(self) -> OFlags {
        match self {
            Self::Direct => OFlags::DIRECT | OFlags::DSYNC,
            Self::Buffered => OFlags::empty(),
        }
    }
}

/// An allocated segment file, open for writing.
#[derive(Debug)]
pub(crate) struct SegmentFile {
    pub(crate) id: SegmentId,
    pub(crate) path: PathBuf,
    /// Whether every block has been written to before. A write to a block that is merely allocated
    /// changes the file system's own records, too, and is durable only with its journal: behind
    /// whatever else waits for that, which on ext4 is everybody's unwritten data.
    pub(crate) is_zeroed: bool,
    file: File,
    mode: WriteMode,
    /// Buffered mode only: one write-and-sync at a time, and none after a failed one. The kernel
    /// tells a write-back error to one `fdatasync` of a file handle, so of two racing callers the
    /// one whose data was lost may be the one that hears nothing.
    sound: Mutex<bool>,
}

impl SegmentFile {
    /// Creates the file and allocates `bytes` to it, so that a later write cannot run out of space.
    pub(crate) fn create(
        path: &Path,
        id: SegmentId,
        bytes: u64,
        mode: WriteMode,
    ) -> io::Result<Self> {
        let file = open(path, mode, true)?;
        match allocate(&file, path, bytes, mode) {
            Ok(is_zeroed) => Ok(Self { is_zeroed, ..Self::new(path, id, file, mode) }),
            Err(error) => {
                // Best effort: an empty file left behind is recognised as unused.
                let _ = std::fs::remove_file(path);
                Err(error)
            }
        }
    }

    /// Opens a file that is allocated already.
    pub(crate) fn reopen(path: &Path, id: SegmentId, mode: WriteMode) -> io::Result<Self> {
        let file = open(path, mode, false)?;
        let is_zeroed = has_no_hole(&file);
        Ok(Self { is_zeroed, ..Self::new(path, id, file, mode) })
    }

    fn new(path: &Path, id: SegmentId, file: File, mode: WriteMode) -> Self {
        let path = path.to_owned();
        Self { id, path, is_zeroed: false, file, mode, sound: Mutex::new(true) }
    }

    /// Writes `parts` one after the other from `position` on and returns when they are durable.
    /// Says how many separate syncs that took. Parts and position are multiples of a block.
    pub(crate) fn write_durably(&self, parts: &[&[u8]], position: u64) -> io::Result<u64> {
        match self.mode {
            WriteMode::Direct => self.write_parts(parts, position).map(|()| 0),
            WriteMode::Buffered => {
                let mut sound = self.sound.lock();
                if !*sound {
                    return Err(io::Error::other("an earlier write or sync of this file failed"));
                }
                let written =
                    self.write_parts(parts, position).and_then(|()| self.file.sync_data());
                *sound = written.is_ok();
                written.map(|()| 1)
            }
        }
    }

    fn write_parts(&self, parts: &[&[u8]], mut position: u64) -> io::Result<()> {
        let mut slices: Vec<_> = parts.iter().map(|part| IoSlice::new(part)).collect();
        let mut rest = slices.as_mut_slice();
        IoSlice::advance_slices(&mut rest, 0);
        while !rest.is_empty() {
            let written = match rustix::io::pwritev(&self.file, rest, position) {
                Ok(0) => return Err(io::ErrorKind::WriteZero.into()),
                Ok(written) => written,
                // Interrupted before anything was transferred: nothing failed.
                Err(Errno::INTR) => 0,
                Err(error) => return Err(error.into()),
            };
            position += written as u64;
            IoSlice::advance_slices(&mut rest, written);
        }
        Ok(())
    }

    /// Overwrites everything with zeros and syncs, so that later writes change data only, not the
    /// file system's own records. Stops early, still correct, when `hurry` says so.
    pub(crate) fn zero_fill(&mut self, bytes: u64, hurry: &dyn Fn() -> bool) -> io::Result<()> {
        self.is_zeroed = zero_fill(&self.path, self.mode, bytes, hurry)?;
        Ok(())
    }
}

/// Finds out by trying whether the folder's file system takes direct writes.
pub(crate) fn choose_mode(
    wish: DirectIo,
    attempt: &mut dyn FnMut(WriteMode) -> io::Result<SegmentFile>,
) -> io::Result<(SegmentFile, WriteMode)> {
    if wish == DirectIo::Auto {
        match attempt(WriteMode::Direct) {
            Ok(file) => return Ok((file, WriteMode::Direct)),
            // What file systems without direct writes answer, at open or at the first write.
            Err(error) if error.kind() == io::ErrorKind::InvalidInput => {}
            Err(error) => return Err(error),
        }
    }
    attempt(WriteMode::Buffered).map(|file| (file, WriteMode::Buffered))
}

/// Whether the file system is full: a state that passes, unlike other errors.
pub(crate) fn is_shortage(error: &io::Error) -> bool {
    matches!(error.kind(), io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded)
}

fn open(path: &Path, mode: WriteMode, create: bool) -> io::Result<File> {
    OpenOptions::new()
        .read(true)
        .write(true)
        .create(create)
        .truncate(create)
        .custom_flags(mode.flags().bits() as i32)
        .open(path)
}

/// Says whether the space was also written to.
fn allocate(file: &File, path: &Path, bytes: u64, mode: WriteMode) -> io::Result<bool> {
    match fallocate(file, FallocateFlags::empty(), 0, bytes) {
        // Not synced: a durable write to the file brings along what finding its bytes takes.
        Ok(()) => Ok(false),
        // Writing zeros is the only way to own the space on a file system without fallocate.
        Err(Errno::OPNOTSUPP) => {
            file.set_len(bytes)?;
            zero_fill(path, mode, bytes, &|| false)
        }
        Err(error) => Err(error.into()),
    }
}

/// Whether every block of the file at `path` has been written to, as far as can be known.
pub(crate) fn is_zeroed(path: &Path) -> bool {
    File::open(path).is_ok_and(|file| has_no_hole(&file))
}

/// Whether the file system keeps a block of its own, written to before, for each of the file's. `false`
/// if it does not say.
fn has_no_hole(file: &File) -> bool {
    let bytes = file.metadata().map(|metadata| metadata.len());
    let hole = rustix::fs::seek(file, SeekFrom::Hole(0));
    matches!((bytes, hole), (Ok(bytes), Ok(hole)) if hole >= bytes)
}

/// Says whether it got to the end.
fn zero_fill(
    path: &Path,
    mode: WriteMode,
    bytes: u64,
    hurry: &dyn Fn() -> bool,
) -> io::Result<bool> {
    // A handle of its own without O_DSYNC: one sync at the end instead of one for each chunk.
    let flags = mode.flags() - OFlags::DSYNC;
    let file = OpenOptions::new().write(true).custom_flags(flags.bits() as i32).open(path)?;
    let zeros = SlabPool::new(ZERO_CHUNK_BYTES, 0).lease(ZERO_CHUNK_BYTES)?;
    let mut position = 0;
    while position < bytes && !hurry() {
        let chunk = (bytes - position).min(ZERO_CHUNK_BYTES as u64) as usize;
        // SAFETY: this function alone knows the slab, and only reads it.
        let block = unsafe { zeros.region(0..chunk) };
        std::os::unix::fs::FileExt::write_all_at(&file, block, position)?;
        position += chunk as u64;
    }
    file.sync_data()?;
    Ok(position >= bytes)
}

const _: () = assert!(ZERO_CHUNK_BYTES.is_multiple_of(BLOCK_BYTES));
