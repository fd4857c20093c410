//! A writer thread: takes the oldest group, makes it durable, hands it to delivery.
//!
//! There is no timer and no minimum group size: a group is whatever was appended while all writers
//! were busy.

use std::io;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;
use std::sync::atomic::Ordering;

use antiphon_common::WalEpoch;

use super::DiskOperation;
use super::core::Core;
use super::delivery::Lost;
use super::group::Group;
use super::log::{Log, Phase, Ticketed};
use super::segment_file::SegmentFile;
use super::spin::{Seen, Spin};
use crate::FatalFault;
use crate::format::BLOCK_BYTES;
use crate::format::frame::{self, FrameHeader, FrameKind};
use crate::format::segment::SegmentHeader;
use crate::slab::SlabPool;

/// The body of a writer thread. Returns when the log is closed and drained, or has failed.
pub(crate) fn run(core: &Core) {
    write_groups(core);
    if core.writers_left.fetch_sub(1, Ordering::AcqRel) == 1 {
        write_end_mark(core);
        // Under the lock, so that the housekeeper is not between its look and its sleep.
        let _log = core.log.lock();
        core.chores.notify_all();
    }
}

fn write_groups(core: &Core) {
    let mut spin = Spin::new(core.spin);
    while let Some(mut next) = next_group(core, &mut spin) {
        // Whatever happens here, the frames get an answer.
        let written = catch_unwind(AssertUnwindSafe(|| write_group(core, &mut next.group)));
        core.writing.fetch_sub(1, Ordering::SeqCst);
        let panicked = Lost::Failed(FatalFault::Panicked { place: "a writer" });
        let outcome = written.unwrap_or(Err(panicked));
        if let Err(Lost::Failed(fault)) = &outcome {
            core.fail(fault.clone());
        }
        core.finish(next, outcome);
    }
}

fn next_group(core: &Core, spin: &mut Spin) -> Option<Ticketed> {
    loop {
        let found = look_for_work(core, spin);
        let mut log = core.log.lock();
        if let Some(next) = take(core, &mut log) {
            // Work that came while looking means traffic: the other writer should look, too.
            let companion = found && log.parked > 0 && core.spinning.load(Ordering::SeqCst) == 0;
            drop(log);
            if companion {
                core.work.notify_one();
            }
            return Some(next);
        }
        if !matches!(log.phase, Phase::Open) {
            return None;
        }
        log.parked += 1;
        core.work.wait(&mut log);
        log.parked -= 1;
        if let Some(next) = take(core, &mut log) {
            return Some(next);
        }
    }
}

fn take(core: &Core, log: &mut Log) -> Option<Ticketed> {
    let next = core.take(log)?;
    core.writing.fetch_add(1, Ordering::SeqCst);
    Some(next)
}

fn look_for_work(core: &Core, spin: &mut Spin) -> bool {
    let has_work = || core.queued_hint.load(Ordering::SeqCst) > 0;
    if has_work() || !spin.is_due() {
        return false;
    }
    let see = || match (has_work(), core.writing.load(Ordering::SeqCst)) {
        (true, _) => Seen::Work,
        (false, 0) => Seen::Nothing,
        (false, _) => Seen::Writing,
    };
    core.spinning.fetch_add(1, Ordering::SeqCst);
    let found = spin.look(&*core.clock, &see);
    core.spinning.fetch_sub(1, Ordering::SeqCst);
    found
}

fn write_group(core: &Core, group: &mut Group) -> Result<(), Lost> {
    group.seal(core.stamp, core.durable());
    if group.segment.file.get().is_none() {
        core.await_file(&group.segment)?;
    }
    let file = group.segment.file.get().expect("awaited above");
    let operation = DiskOperation::WriteGroup {
        segment: file.id,
        position: group.position,
        bytes: group.image().len(),
        first_lsn: group.first_lsn,
    };
    let started = core.clock.monotonic();
    let written = core.before(operation).and_then(|()| write_image(core, file, group));
    let syncs = written.map_err(|error| Lost::Failed(write_fault(file, group, error)))?;
    core.counters.wrote(group.image().len(), syncs, core.clock.monotonic() - started);
    Ok(())
}

/// The first group of a segment brings the segment's header along: one write instead of two, and no
/// acknowledged frame can exist without the header.
fn write_image(core: &Core, file: &SegmentFile, group: &Group) -> io::Result<u64> {
    if group.segment.has_header || group.position > BLOCK_BYTES as u64 {
        return file.write_durably(&[group.image()], group.position);
    }
    let header = SegmentHeader {
        segment: file.id,
        epoch: core.stamp.epoch,
        first_lsn: group.segment.first_lsn,
        file_bytes: core.segment_bytes,
        salt: core.stamp.salt,
    };
    with_block(|block| header.encode(block), |block| file.write_durably(&[block, group.image()], 0))
}

/// Fills a block of aligned memory and hands it to `write`.
pub(crate) fn with_block<T>(
    fill: impl FnOnce(&mut [u8]),
    write: impl FnOnce(&[u8]) -> io::Result<T>,
) -> io::Result<T> {
    let block = SlabPool::new(BLOCK_BYTES, 0).lease(BLOCK_BYTES)?;
    // SAFETY: only this function knows the slab; the two references do not overlap in time.
    fill(unsafe { block.region_mut(0..BLOCK_BYTES) });
    // SAFETY: as above.
    write(unsafe { block.region(0..BLOCK_BYTES) })
}

fn write_fault(file: &SegmentFile, group: &Group, source: io::Error) -> FatalFault {
    FatalFault::Write {
        path: file.path.clone(),
        position: group.position,
        bytes: group.image().len() as u64,
        source: Arc::new(source),
    }
}

/// The last writer's last act after a clean drain: a mark that vouches for everything before it, so
/// that damage to the very last group is not mistaken for a torn tail. Without it the log is as good
/// as after a crash, so failing to write it harms nothing.
fn write_end_mark(core: &Core) {
    let log = core.log.lock();
    let (segment, position) = (Arc::clone(log.segments.active()), log.segments.position());
    let (next_lsn, phase) = (log.next_lsn, log.phase.clone());
    drop(log);
    let started = segment.has_header || position > BLOCK_BYTES as u64;
    let drained = core.durable() == next_lsn.prev() && matches!(phase, Phase::Closing);
    let (true, true, Some(file)) = (started, drained, segment.file.get()) else { return };
    let header = FrameHeader {
        checksum: 0,
        length: 0,
        epoch: core.stamp.epoch,
        lsn: next_lsn,
        durable: next_lsn.prev(),
        salt: core.stamp.salt,
        kind: FrameKind::EndMark,
        last_of_group: true,
    };
    let sealed = |block: &mut [u8]| {
        frame::seal(&mut block[..frame::HEADER_BYTES], &header);
    };
    debug_assert!(core.stamp.epoch > WalEpoch::ZERO);
    if let Err(error) = with_block(sealed, |block| file.write_durably(&[block], position)) {
        tracing::warn!(%error, "the end mark was not written; the next start recovers instead");
    }
}
