//! Opening: recover, seal what was found behind a new segment, start the threads.

use std::collections::VecDeque;
use std::fs;
use std::io;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, AtomicUsize};
use std::thread;

use antiphon_common::Lsn;
use parking_lot::{Condvar, Mutex};

use super::core::Core;
use super::counters::Counters;
use super::delivery::Delivery;
use super::group::Stamp;
use super::log::{AppendLimits, Log};
use super::segment_file::{SegmentFile, WriteMode, choose_mode, is_shortage};
use super::segment_table::{Leftover, Segment, SegmentTable, Stored, TableLimits};
use super::summaries::Summaries;
use super::{DiskOperation, FileWal, FileWalOptions, directory, housekeeper, writer};
use crate::format::BLOCK_BYTES;
use crate::format::segment::{SegmentHeader, SegmentId};
use crate::recovery::replay::{Reading, Replay, replay};
use crate::recovery::survey::Survey;
use crate::recovery::while_doing;
use crate::slab::SlabPool;
use crate::{Backlog, OpenError, RecoveryReport, Survivor};

/// What an opening gives: the log, what it found, and what it has not read yet.
pub(crate) type Opened = (FileWal, RecoveryReport, Backlog);

pub(crate) fn open(
    options: FileWalOptions,
    defer: bool,
    sink: &mut dyn FnMut(Survivor),
) -> Result<Opened, OpenError> {
    if let Some(problem) = options.problem() {
        return Err(OpenError::Options { problem });
    }
    let clock = Arc::clone(&options.environment.clock);
    let started = clock.monotonic();
    create_directory(&options.directory)?;
    let survey = Survey::take(&options.directory, options.epoch)?;
    let limits = options.summaries();
    let reading = Reading { expected_start: options.expected_start, defer, limits };
    let mut found = replay(&survey, reading, sink)?;
    let next_lsn = found.next.max(options.expected_start);
    let report = RecoveryReport {
        ending: found.ending,
        frames: found.frames,
        payload_bytes: found.payload_bytes,
        first_lsn: found.first,
        next_lsn,
        segments_read: found.read,
        segments_skipped: found.skipped as u64,
        segments_deferred: found.deferred.len() as u64,
        elapsed: clock.monotonic() - started,
    };
    let deferred = std::mem::take(&mut found.deferred);
    let wal = start(options, &survey, found, next_lsn)?;
    let direct = wal.core.mode == WriteMode::Direct;
    let backlog = Backlog::new(deferred, Arc::clone(&wal.core.loaded), direct);
    Ok((wal, report, backlog))
}

fn create_directory(directory: &Path) -> Result<(), OpenError> {
    if directory.is_dir() {
        return Ok(());
    }
    fs::create_dir_all(directory).map_err(while_doing("creating", directory))?;
    let parent = directory.parent().filter(|parent| !parent.as_os_str().is_empty());
    parent.map_or(Ok(()), |parent| directory::sync(parent).map_err(while_doing("syncing", parent)))
}

fn start(
    options: FileWalOptions,
    survey: &Survey,
    mut found: Replay,
    next_lsn: Lsn,
) -> Result<FileWal, OpenError> {
    let salt = options.environment.entropy.u64() as u32;
    let stamp = Stamp { epoch: options.epoch, salt };
    let first = create_first(&options, survey.next_id, stamp, next_lsn)?;
    let limits = TableLimits {
        segment_bytes: options.segment_bytes.get(),
        segments_max: options.segments_max(),
        spares_max: options.spare_segments,
        leaves_raw: options.leaves_raw_segments,
    };
    let (stored, unused) = sort_out(survey, &found);
    let next_id = survey.next_id.next();
    let (mut table, mode) = match first {
        Some((file, mode)) => {
            let active = Segment::new(next_lsn, true, Some(file));
            (SegmentTable::new(limits, stored, unused, active, next_id), mode)
        }
        None => {
            let active = Segment::new(next_lsn, false, None);
            let mut table = SegmentTable::new(limits, stored, unused, active, next_id);
            table.finish_without(true);
            (table, WriteMode::Buffered)
        }
    };
    table.trim(options.expected_start.prev());
    if let Err(error) = directory::remove_stray_summaries(&options.directory) {
        tracing::debug!(%error, "summaries without a segment stay");
    }
    let summaries = Summaries::new(options.summaries(), std::mem::take(&mut found.summaries));
    let writers = options.writers;
    spawn(build_core(options, table, summaries, mode, stamp), writers)
}

/// Creates the opening's first segment, header included, and makes it durable: from here on, what
/// recovery decided about the older segments stands.
///
/// `None` if the file system is full. What was recovered can be served all the same, so the segment
/// is entered on credit: appends are refused until the housekeeper finds room, and recovery, which
/// depends on the files alone, decides the same again if the log ends before that. Whether the file
/// system takes direct writes is then unknown, so this opening does without.
fn create_first(
    options: &FileWalOptions,
    id: SegmentId,
    stamp: Stamp,
    first_lsn: Lsn,
) -> Result<Option<(SegmentFile, WriteMode)>, OpenError> {
    let path = directory::segment_path(&options.directory, id);
    let bytes = options.segment_bytes.get();
    let header = SegmentHeader {
        segment: id,
        epoch: stamp.epoch,
        first_lsn,
        file_bytes: bytes,
        salt: stamp.salt,
    };
    let mut create = |mode| -> io::Result<SegmentFile> {
        if let Some(hook) = &options.disk_hook {
            hook(DiskOperation::PrepareSegment { segment: id })?;
        }
        let file = SegmentFile::create(&path, id, bytes, mode)?;
        let fill = |block: &mut [u8]| header.encode(block);
        writer::with_block(fill, |block| file.write_durably(&[block], 0))?;
        directory::sync(&options.directory)?;
        Ok(file)
    };
    match choose_mode(options.direct_io, &mut create) {
        Ok(first) => Ok(Some(first)),
        Err(error) if is_shortage(&error) => {
            tracing::warn!(%error, "no space for a segment; appends are refused until there is");
            Ok(None)
        }
        Err(error) => Err(while_doing("creating", &path)(error)),
    }
}

/// Which recovered files hold frames that count, and which are free.
fn sort_out(survey: &Survey, found: &Replay) -> (VecDeque<Stored>, Vec<Leftover>) {
    let stored = found.kept.iter().map(|(index, first_lsn)| Stored {
        first_lsn: *first_lsn,
        leftover: survey.used[*index].leftover(),
    });
    let is_free = |index: &usize| !found.kept.iter().any(|(kept, _)| kept == index);
    let free = (0..survey.used.len()).filter(is_free).map(|index| survey.used[index].leftover());
    (stored.collect(), survey.unused.iter().cloned().chain(free).collect())
}

fn build_core(
    options: FileWalOptions,
    table: SegmentTable,
    summaries: Summaries,
    mode: WriteMode,
    stamp: Stamp,
) -> Arc<Core> {
    let next_lsn = table.active().first_lsn;
    let slab_bytes = options.slab_bytes.get() as usize;
    let slabs = SlabPool::new(slab_bytes, options.slab_reserve_bytes.get() as usize);
    let limits = AppendLimits {
        payload_bytes_max: options.payload_bytes_max(),
        backlog_bytes: options.backlog_bytes.get() as usize,
        segment_end: options.usable_bytes(),
        slab_bytes,
    };
    Arc::new(Core {
        stamp,
        mode,
        segment_bytes: options.segment_bytes.get(),
        capacity_bytes: options.segments_max() as u64 * options.segment_bytes.get(),
        spin: options.spin,
        slab_reserve_idle: options.slab_reserve_idle,
        clock: options.environment.clock,
        hook: options.disk_hook,
        slabs: Arc::clone(&slabs),
        loaded: SlabPool::new(BLOCK_BYTES, 0),
        summaries,
        log: Mutex::new(Log::new(next_lsn, table, limits, slabs)),
        work: Condvar::new(),
        attached: Condvar::new(),
        chores: Condvar::new(),
        delivery: Delivery::default(),
        counters: Counters::default(),
        queued_hint: AtomicUsize::new(0),
        spinning: AtomicUsize::new(0),
        writing: AtomicUsize::new(0),
        writers_left: AtomicUsize::new(options.writers),
        durable: AtomicU64::new(next_lsn.prev().get()),
        on_fatal: Mutex::new(options.on_fatal),
        directory: options.directory,
    })
}

fn spawn(core: Arc<Core>, writers: usize) -> Result<FileWal, OpenError> {
    let mut threads = Vec::with_capacity(writers + 1);
    let bodies = std::iter::repeat_n(("wal-writer", writer::run as fn(&Core)), writers);
    for (name, body) in bodies.chain([("wal-keeper", housekeeper::run as fn(&Core))]) {
        let shared = Arc::clone(&core);
        let builder = thread::Builder::new().name(name.into());
        match builder.spawn(move || body(&shared)) {
            Ok(thread) => threads.push(thread),
            Err(error) => {
                core.begin_close();
                return Err(while_doing("starting a thread for", &core.directory)(error));
            }
        }
    }
    let thread_ids = threads.iter().map(|thread| thread.thread().id()).collect();
    Ok(FileWal { core, threads: Mutex::new(threads), thread_ids })
}
