//! What the append lock protects: the open group, the queue behind the writers, and the segments.

use std::collections::VecDeque;
use std::sync::Arc;

use antiphon_common::{ByteCount, Lsn};

use super::group::Group;
use super::segment_table::SegmentTable;
use crate::format::frame;
use crate::slab::{Slab, SlabPool};
use crate::{AppendError, Completion, FatalFault, Shortage};

/// Whether appends are taken.
#[derive(Clone, Debug)]
pub(crate) enum Phase {
    Open,
    Closing,
    Failed(FatalFault),
}

/// The limits `append` keeps.
#[derive(Clone, Copy, Debug)]
pub(crate) struct AppendLimits {
    pub(crate) payload_bytes_max: usize,
    pub(crate) backlog_bytes: usize,
    /// Where the usable part of a segment ends.
    pub(crate) segment_end: u64,
    pub(crate) slab_bytes: usize,
}

/// The slab that small groups share, and how much of it is used up.
struct SharedSlab {
    slab: Arc<Slab>,
    used: usize,
}

/// A group on its way to the disk. Tickets number the groups in log order.
pub(crate) struct Ticketed {
    pub(crate) ticket: u64,
    pub(crate) group: Group,
}

pub(crate) struct Log {
    pub(crate) phase: Phase,
    pub(crate) next_lsn: Lsn,
    pub(crate) segments: SegmentTable,
    /// Writers asleep.
    pub(crate) parked: usize,
    limits: AppendLimits,
    slabs: Arc<SlabPool>,
    shared: Option<SharedSlab>,
    /// Taking frames.
    open: Option<Group>,
    /// Complete because the next frame did not fit.
    full: VecDeque<Group>,
    queued_bytes: usize,
    next_ticket: u64,
}

impl Log {
    pub(crate) fn new(
        next_lsn: Lsn,
        segments: SegmentTable,
        limits: AppendLimits,
        slabs: Arc<SlabPool>,
    ) -> Self {
        Self {
            phase: Phase::Open,
            next_lsn,
            segments,
            parked: 0,
            limits,
            slabs,
            shared: None,
            open: None,
            full: VecDeque::new(),
            queued_bytes: 0,
            next_ticket: 0,
        }
    }

    /// Claims the next position, lets `fill` write the payload, and queues the frame.
    pub(crate) fn append(
        &mut self,
        length: usize,
        fill: &mut dyn FnMut(&mut [u8]),
        completion: Completion,
    ) -> Result<Lsn, AppendError> {
        self.check(length)?;
        let group = self.group_with_room(length + frame::HEADER_BYTES)?;
        let before = group.bytes();
        group.push(length, fill, completion);
        self.queued_bytes += group.bytes() - before;
        let lsn = self.next_lsn;
        self.next_lsn = lsn.next();
        Ok(lsn)
    }

    fn check(&self, length: usize) -> Result<(), AppendError> {
        match &self.phase {
            Phase::Open => {}
            Phase::Closing => return Err(AppendError::Closed),
            Phase::Failed(fault) => return Err(AppendError::Failed(fault.clone())),
        }
        if length > self.limits.payload_bytes_max {
            let limit = ByteCount(self.limits.payload_bytes_max as u64);
            return Err(AppendError::TooLarge { length: ByteCount(length as u64), limit });
        }
        if self.segments.is_starved() {
            return Err(full(Shortage::FileSystem, length));
        }
        // One frame is always let in, so that no limit makes a legal frame impossible.
        let backlog = self.queued_bytes + length;
        if self.queued_bytes > 0 && backlog > self.limits.backlog_bytes {
            return Err(full(Shortage::Backlog, length));
        }
        Ok(())
    }

    fn group_with_room(&mut self, bytes: usize) -> Result<&mut Group, AppendError> {
        let fits = |group: &Group| group.has_room(bytes, self.limits.segment_end);
        if !self.open.as_ref().is_some_and(fits) {
            self.close_open_group();
            self.open = Some(self.new_group(bytes)?);
        }
        Ok(self.open.as_mut().expect("just opened"))
    }

    fn new_group(&mut self, bytes: usize) -> Result<Group, AppendError> {
        let is_full = self.segments.position() + bytes as u64 > self.limits.segment_end;
        if is_full || self.segments.has_better() {
            self.segments.roll(self.next_lsn).map_err(|shortage| full(shortage, bytes))?;
        }
        let (slab, offset) = self.slab_for(bytes)?;
        let (segment, position) = (Arc::clone(self.segments.active()), self.segments.position());
        Ok(Group::new(segment, position, self.next_lsn, slab, offset))
    }

    /// Memory for a group that starts with a frame of `bytes`, and where in the slab.
    fn slab_for(&mut self, bytes: usize) -> Result<(Arc<Slab>, usize), AppendError> {
        if bytes > self.limits.slab_bytes {
            return Ok((self.lease(bytes)?, 0));
        }
        let fits = |shared: &&SharedSlab| shared.used + bytes <= shared.slab.bytes();
        if let Some(shared) = self.shared.as_ref().filter(fits) {
            return Ok((Arc::clone(&shared.slab), shared.used));
        }
        let slab = self.lease(bytes)?;
        self.shared = Some(SharedSlab { slab: Arc::clone(&slab), used: 0 });
        Ok((slab, 0))
    }

    fn lease(&self, bytes: usize) -> Result<Arc<Slab>, AppendError> {
        let wanted = ByteCount(self.slabs.slab_size_for(bytes) as u64);
        self.slabs.lease(bytes).map_err(|_| AppendError::OutOfMemory { wanted })
    }

    /// Ends the open group: the next one starts at the next block, in the slab and in the segment.
    fn close_open_group(&mut self) {
        // A group without frames is what a `fill` that panicked leaves; its place is still free.
        let Some(group) = self.open.take().filter(|group| !group.is_empty()) else { return };
        self.segments.advance_to(group.segment_end());
        if let Some(shared) = &mut self.shared
            && Arc::ptr_eq(&shared.slab, group.slab())
        {
            shared.used = group.slab_end();
        }
        self.full.push_back(group);
    }

    /// The oldest group, for a writer.
    pub(crate) fn take(&mut self) -> Option<Ticketed> {
        if self.full.is_empty() {
            self.close_open_group();
        }
        let group = self.full.pop_front()?;
        self.queued_bytes -= group.bytes();
        let ticket = self.next_ticket;
        self.next_ticket += 1;
        Some(Ticketed { ticket, group })
    }

    pub(crate) fn queued_bytes(&self) -> usize {
        self.queued_bytes
    }

    /// Lets go of the shared slab if no group is being filled, so that an idle log holds no memory
    /// of its own.
    pub(crate) fn release_shared_slab(&mut self) {
        if self.open.is_none() {
            self.shared = None;
        }
    }
}

fn full(shortage: Shortage, wanted: usize) -> AppendError {
    AppendError::Full { shortage, wanted: ByteCount(wanted as u64) }
}
