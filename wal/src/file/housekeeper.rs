//! The housekeeper thread: prepares segments ahead of need, recycles or deletes trimmed ones, and
//! gives unused memory back.

use std::fs;
use std::io;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use super::core::Core;
use super::log::Phase;
use super::segment_file::{SegmentFile, is_shortage};
use super::segment_table::{Chore, Leftover};
use super::{DiskOperation, directory, segment_file, summaries};
use crate::FatalFault;
use crate::format::segment::SegmentId;

/// How often a full file system is asked again while a segment is wanted.
const RETRY_SPACE_EVERY: Duration = Duration::from_millis(200);

/// The body of the thread. Returns when the writers are gone.
pub(crate) fn run(core: &Core) {
    if catch_unwind(AssertUnwindSafe(|| keep_house(core))).is_err() {
        core.fail(FatalFault::Panicked { place: "the housekeeper" });
    }
}

/// What the housekeeper does.
enum Duty {
    Segment(Chore),
    Summaries,
}

fn keep_house(core: &Core) {
    while let Some(chore) = next_chore(core) {
        match chore {
            Duty::Segment(chore) => {
                let made = perform(core, &chore);
                settle(core, made);
            }
            Duty::Summaries => summaries::write_finished(core),
        }
    }
    summaries::write_finished(core);
}

/// Waits for something to do. While a full disk keeps a wanted segment away, waiting is a pause.
fn next_chore(core: &Core) -> Option<Duty> {
    let mut log = core.log.lock();
    let mut paused = log.segments.is_out_of_space();
    let mut seen = log.next_lsn;
    loop {
        let is_over = core.writers_left.load(Ordering::Acquire) == 0;
        if is_over || matches!(log.phase, Phase::Failed(_)) {
            return None;
        }
        if core.summaries.has_finished() && !log.segments.is_urgent() {
            return Some(Duty::Summaries);
        }
        let wanted = matches!(log.phase, Phase::Open) || log.segments.is_urgent();
        if wanted
            && !paused
            && let Some(chore) = log.segments.begin_chore(core.durable())
        {
            return Some(Duty::Segment(chore));
        }
        let timeout = if paused { Some(RETRY_SPACE_EVERY) } else { idle_timeout(core) };
        match timeout {
            None => core.chores.wait(&mut log),
            Some(timeout) => {
                if core.chores.wait_for(&mut log, timeout).timed_out() && !paused {
                    let idle = std::mem::replace(&mut seen, log.next_lsn) == log.next_lsn;
                    if idle {
                        log.release_shared_slab();
                    }
                    core.slabs.drop_if_idle();
                }
            }
        }
        paused = false;
    }
}

/// Memory is watched only while there is some to give back.
fn idle_timeout(core: &Core) -> Option<Duration> {
    let holds_memory = core.slabs.free_bytes() + core.slabs.leased_bytes() > 0;
    holds_memory.then_some(core.slab_reserve_idle)
}

fn perform(core: &Core, chore: &Chore) -> Result<Option<SegmentFile>, (SegmentId, io::Error)> {
    match chore {
        Chore::Delete(leftover) => {
            delete(core, leftover);
            Ok(None)
        }
        Chore::Recycle(leftover, id) => recycle(core, leftover, *id).map_err(|error| (*id, error)),
        Chore::Create(id) => create(core, *id).map(Some).map_err(|error| (*id, error)),
    }
}

fn delete(core: &Core, leftover: &Leftover) {
    // A file that stays is void or trimmed and is met again at the next start.
    let deleted = directory::remove_summary(&leftover.path)
        .and_then(|()| fs::remove_file(&leftover.path))
        .and_then(|()| directory::sync(&core.directory));
    if let Err(error) = deleted {
        tracing::warn!(%error, path = %leftover.path.display(), "cannot delete a trimmed segment");
    }
}

/// The old header stays until the first group brings the new one; till then its number, which is
/// not the file's, says that the file is unused.
///
/// A file that was never written to in full, such as the first segment of an opening that wrote little,
/// saves nothing over a new one, so it is kept only if somebody needs a file now.
fn recycle(core: &Core, leftover: &Leftover, id: SegmentId) -> io::Result<Option<SegmentFile>> {
    let needed = {
        let log = core.log.lock();
        log.segments.is_urgent() || log.segments.is_out_of_space()
    };
    if !needed && !segment_file::is_zeroed(&leftover.path) {
        delete(core, leftover);
        return Ok(None);
    }
    let path = directory::segment_path(&core.directory, id);
    directory::remove_summary(&leftover.path)?;
    fs::rename(&leftover.path, &path)?;
    directory::sync(&core.directory)?;
    SegmentFile::reopen(&path, id, core.mode).map(Some)
}

fn create(core: &Core, id: SegmentId) -> io::Result<SegmentFile> {
    core.before(DiskOperation::PrepareSegment { segment: id })?;
    let path = directory::segment_path(&core.directory, id);
    let mut file = SegmentFile::create(&path, id, core.segment_bytes, core.mode)?;
    directory::sync(&core.directory)?;
    let hurry = || {
        let log = core.log.lock();
        log.segments.is_urgent() || !matches!(log.phase, Phase::Open)
    };
    if !file.is_zeroed {
        file.zero_fill(core.segment_bytes, &hurry)?;
    }
    Ok(file)
}

fn settle(core: &Core, made: Result<Option<SegmentFile>, (SegmentId, io::Error)>) {
    match made {
        Ok(Some(file)) => {
            core.log.lock().segments.finish_with(file);
        }
        Ok(None) => core.log.lock().segments.finish_without(false),
        Err((id, error)) if is_shortage(&error) => {
            let mut log = core.log.lock();
            if !log.segments.is_out_of_space() {
                tracing::warn!(%error, segment = %id, "no space for another segment; retrying");
            }
            log.segments.finish_without(true);
        }
        Err((id, error)) => {
            core.log.lock().segments.finish_without(false);
            let path = directory::segment_path(&core.directory, id);
            core.fail(FatalFault::Prepare { path, source: Arc::new(error) });
        }
    }
    core.attached.notify_all();
}
