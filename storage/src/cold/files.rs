//! Blocks of a local folder, read past the page cache.
//!
//! The page cache is the wrong cache here: it keeps a copy of what the block cache keeps, evicts by its
//! own rules, and filling it was measured at ten times the processor time of a direct read
//! (docs/rfcs/0005-direct-files.md). So a local folder is read as a bucket is, through the same block
//! cache and read-ahead; only what a GET does is done here, on a blocking thread.
//!
//! The file is opened for each run of blocks: that costs microseconds where a block takes hundreds,
//! and it means that a deleted object's space is free at once and that nothing has to bound or expire
//! open files.

use std::fs::{File, OpenOptions};
use std::io;
use std::os::unix::fs::{FileExt, OpenOptionsExt};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use antiphon_common::ObjectId;
use bytes::Bytes;
use futures::StreamExt;
use futures::stream::{self, BoxStream};
use object_store::local::LocalFileSystem;
use rustix::fs::OFlags;
use tokio::sync::mpsc;

use super::buffers::Buffers;
use super::error::ColdReadError;
use super::gets::{check_block, ends_the_run};
use crate::object::BlockEntry;
use crate::store::object_path;

/// What direct reads are aligned to, in the file and in memory: at least the logical block of every
/// disk in use.
const ALIGNMENT: usize = 4096;
/// Buffers kept between reads: what read-ahead and a few consumers have in flight, 16 MiB with blocks
/// of 1 MiB.
const IDLE_BUFFERS_MAX: usize = 16;
/// Blocks that may be read before the first of them is taken.
const AHEAD_OF_TAKER: usize = 8;

type Block = Result<Bytes, ColdReadError>;

/// Reads blocks from files.
#[derive(Debug)]
pub(super) struct Files {
    folder: Arc<LocalFileSystem>,
    buffers: Arc<Buffers>,
}

/// One run of blocks to be read from one file.
struct Run {
    object: ObjectId,
    path: PathBuf,
    blocks: Vec<BlockEntry>,
    buffers: Arc<Buffers>,
}

impl Files {
    pub(super) fn new(folder: Arc<LocalFileSystem>) -> Self {
        Self { folder, buffers: Buffers::new(IDLE_BUFFERS_MAX) }
    }

    /// Reads neighbouring `blocks`, each as soon as the one before it is there.
    pub(super) fn blocks(
        &self,
        object: ObjectId,
        blocks: Vec<BlockEntry>,
    ) -> BoxStream<'static, Block> {
        let path = match self.folder.path_to_filesystem(&object_path(object)) {
            Ok(path) => path,
            Err(error) => {
                let source = Arc::new(error);
                let refused = ColdReadError::Store { object, position: 0, source };
                return stream::iter([Err(refused)]).boxed();
            }
        };
        let run = Run { object, path, blocks, buffers: Arc::clone(&self.buffers) };
        let (sender, receiver) = mpsc::channel(AHEAD_OF_TAKER);
        tokio::task::spawn_blocking(move || run.read(&sender));
        let next = |mut receiver: mpsc::Receiver<Block>| async move {
            receiver.recv().await.map(|block| (block, receiver))
        };
        stream::unfold(receiver, next).boxed()
    }
}

impl Run {
    fn read(&self, sender: &mpsc::Sender<Block>) {
        let file = match open(&self.path) {
            Ok(file) => file,
            Err(error) => return drop(sender.blocking_send(Err(self.failed(0, error)))),
        };
        for entry in &self.blocks {
            let block = self.read_block(&file, entry);
            let over = block.as_ref().err().is_some_and(ends_the_run);
            if sender.blocking_send(block).is_err() || over {
                return;
            }
        }
    }

    fn read_block(&self, file: &File, entry: &BlockEntry) -> Block {
        let failed = |error| self.failed(entry.position, error);
        let place = Place::of(entry);
        let mut buffer = self.buffers.take(place.room);
        let start = buffer.as_ptr().align_offset(ALIGNMENT);
        let room = buffer
            .get_mut(start..start + place.length)
            .ok_or_else(|| failed(io::Error::other("a buffer has no room for an aligned block")))?;
        let found = read_at(file, &self.path, room, place.position).map_err(failed)?;
        let block = self.buffers.share(buffer);
        let from = start + place.lead;
        let until = from + (entry.length as usize).min(found.saturating_sub(place.lead));
        let block = block.slice(from..until.max(from));
        check_block(self.object, entry, &block)?;
        Ok(block)
    }

    fn failed(&self, position: u64, error: io::Error) -> ColdReadError {
        ColdReadError::File { object: self.object, position, source: Arc::new(error) }
    }
}

/// Where a block is in terms of aligned reads.
struct Place {
    /// Where the read starts in the file.
    position: u64,
    /// How long it is.
    length: usize,
    /// How many bytes of it come before the block.
    lead: usize,
    /// The size of a buffer in which an aligned place for it can be found.
    room: usize,
}

impl Place {
    fn of(entry: &BlockEntry) -> Self {
        let lead = (entry.position % ALIGNMENT as u64) as usize;
        let length = (lead + entry.length as usize).next_multiple_of(ALIGNMENT);
        Self { position: entry.position - lead as u64, length, lead, room: length + ALIGNMENT }
    }
}

/// Opens for direct reads where the file system takes them.
fn open(path: &Path) -> io::Result<File> {
    let direct = OFlags::DIRECT.bits() as i32;
    match OpenOptions::new().read(true).custom_flags(direct).open(path) {
        Err(error) if error.kind() == io::ErrorKind::InvalidInput => File::open(path),
        opened => opened,
    }
}

/// Fills `buffer` from `position` on, or up to the end of the file. Says how much.
fn read_at(file: &File, path: &Path, buffer: &mut [u8], position: u64) -> io::Result<usize> {
    let mut found = 0;
    while let Some(rest) = buffer.get_mut(found..).filter(|rest| !rest.is_empty()) {
        match file.read_at(rest, position + found as u64) {
            Ok(0) => break,
            Ok(read) => found += read,
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            // What a file system says that took the flag and cannot do it, and what the kernel says
            // to the rest of a read that ended inside of a disk block.
            Err(error) if error.kind() == io::ErrorKind::InvalidInput => {
                let through_cache = File::open(path)?.read_at(rest, position + found as u64)?;
                match through_cache {
                    0 => break,
                    read => found += read,
                }
            }
            Err(error) => return Err(error),
        }
    }
    Ok(found)
}
