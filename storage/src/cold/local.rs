//! Blocks of a local folder: read from the file on a blocking thread, the kernel's page cache being
//! the cache.
//!
//! One hop to a blocking thread per read, however many blocks it spans; the client library's own
//! path takes one per range, and for streams one per 8 KiB. The file is opened each time: that
//! costs some microseconds where a block takes hundreds, and it means that a deleted object's space
//! is free at once and that nothing has to bound or expire open files.

use std::fs::File;
use std::io;
use std::ops::Range;
use std::path::Path;
use std::sync::Arc;

use antiphon_common::ObjectId;
use bytes::Bytes;
use object_store::local::LocalFileSystem;
use rustix::buffer::spare_capacity;
use rustix::fs::{Advice, fadvise};
use tokio::sync::{Semaphore, oneshot};

use super::block_cache::BlockCache;
use super::buffers::Buffers;
use super::error::ColdReadError;
use super::gets::check_block;
use super::options::ColdOptions;
use super::stats::Counters;
use crate::object::{BlockEntry, SectionIndex};
use crate::store::object_path;

/// Buffers kept between reads: what a few consumers have in flight, 16 MiB with blocks of 1 MiB.
const IDLE_BUFFERS_MAX: usize = 16;

/// Reads blocks from files.
#[derive(Debug)]
pub(super) struct LocalBlocks {
    files: Arc<LocalFileSystem>,
    /// Only blocks that were read halfway: the same reader will want the other half next.
    cache: Arc<BlockCache>,
    buffers: Arc<Buffers>,
    counters: Arc<Counters>,
    slots: Arc<Semaphore>,
}

impl LocalBlocks {
    pub(super) fn new(
        files: Arc<LocalFileSystem>,
        cache: Arc<BlockCache>,
        counters: Arc<Counters>,
        options: &ColdOptions,
    ) -> Self {
        let slots = Arc::new(Semaphore::new(options.concurrency.max(1)));
        Self { files, cache, buffers: Buffers::new(IDLE_BUFFERS_MAX), counters, slots }
    }

    /// Reads `blocks` of a section, and tells the kernel that those in `ahead` will be wanted soon.
    pub(super) async fn read(
        &self,
        object: ObjectId,
        index: &Arc<SectionIndex>,
        blocks: Range<usize>,
        ahead: Option<Range<usize>>,
    ) -> Result<Vec<Bytes>, ColdReadError> {
        let entries = index.blocks().get(blocks.clone()).unwrap_or_default();
        let kept = entries.iter().map_while(|entry| self.cache.get(&(object, entry.position)));
        let mut found: Vec<Bytes> = kept.collect();
        self.counters.hits.add(found.len() as u64);
        let missing = blocks.start + found.len()..blocks.end;
        if !missing.is_empty() {
            found.extend(self.read_file(object, index, missing, ahead).await?);
        }
        Ok(found)
    }

    async fn read_file(
        &self,
        object: ObjectId,
        index: &Arc<SectionIndex>,
        blocks: Range<usize>,
        ahead: Option<Range<usize>>,
    ) -> Result<Vec<Bytes>, ColdReadError> {
        let slot = Arc::clone(&self.slots).acquire_owned().await;
        let slot = slot.map_err(|_closed| ColdReadError::Abandoned)?;
        let path = self.files.path_to_filesystem(&object_path(object)).map_err(|error| {
            ColdReadError::Store { object, position: 0, source: Arc::new(error) }
        })?;
        let index = Arc::clone(index);
        let (counters, buffers) = (Arc::clone(&self.counters), Arc::clone(&self.buffers));
        let (sender, receiver) = oneshot::channel();
        tokio::task::spawn_blocking(move || {
            let _slot = slot;
            let entries = index.blocks().get(blocks).unwrap_or_default();
            let opened = open(&path, object);
            let result =
                opened.and_then(|file| Ok((read_blocks(&file, object, entries, &buffers)?, file)));
            let file = match result {
                Ok((found, file)) => {
                    count(&counters, &found);
                    drop(sender.send(Ok(found)));
                    file
                }
                Err(error) => return drop(sender.send(Err(error))),
            };
            // After the answer is on its way: the advice may wait for a busy disk's queue.
            if let Some(ahead) = ahead {
                advise(&file, index.blocks().get(ahead).unwrap_or_default());
            }
        });
        receiver.await.unwrap_or(Err(ColdReadError::Abandoned))
    }
}

fn count(counters: &Counters, blocks: &[Bytes]) {
    counters.gets.add(1);
    counters.misses.add(blocks.len() as u64);
    counters.get_bytes.add(blocks.iter().map(|block| block.len() as u64).sum());
}

fn open(path: &Path, object: ObjectId) -> Result<File, ColdReadError> {
    File::open(path).map_err(|error| file_error(object, 0, error))
}

fn file_error(object: ObjectId, position: u64, error: io::Error) -> ColdReadError {
    ColdReadError::File { object, position, source: Arc::new(error) }
}

fn read_blocks(
    file: &File,
    object: ObjectId,
    entries: &[BlockEntry],
    buffers: &Arc<Buffers>,
) -> Result<Vec<Bytes>, ColdReadError> {
    entries.iter().map(|entry| read_block(file, object, entry, buffers)).collect()
}

fn read_block(
    file: &File,
    object: ObjectId,
    entry: &BlockEntry,
    buffers: &Arc<Buffers>,
) -> Result<Bytes, ColdReadError> {
    let length = entry.length as usize;
    let bytes = read_exactly(file, entry.position, length, buffers.take(length))
        .map_err(|error| file_error(object, entry.position, error))?;
    check_block(object, entry, &bytes)?;
    Ok(buffers.share(bytes))
}

/// Reads up to `length` bytes at `position` into `bytes`, which is empty; fewer only at the end of
/// the file. The memory is not zeroed first.
fn read_exactly(
    file: &File,
    position: u64,
    length: usize,
    mut bytes: Vec<u8>,
) -> io::Result<Vec<u8>> {
    while bytes.len() < length {
        let at = position + bytes.len() as u64;
        match rustix::io::pread(file, spare_capacity(&mut bytes), at) {
            Ok(0) => break,
            Ok(_) => {}
            Err(rustix::io::Errno::INTR) => {}
            Err(error) => return Err(error.into()),
        }
    }
    bytes.truncate(length);
    Ok(bytes)
}

/// Has the kernel read `entries` into the page cache. Advice: a failure changes nothing.
fn advise(file: &File, entries: &[BlockEntry]) {
    let (Some(first), Some(last)) = (entries.first(), entries.last()) else { return };
    let length = last.end().and_then(|end| end.checked_sub(first.position));
    if let Some(length) = length.and_then(std::num::NonZeroU64::new) {
        let _advice_only = fadvise(file, first.position, Some(length), Advice::WillNeed);
    }
}
