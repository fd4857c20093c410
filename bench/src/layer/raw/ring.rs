//! One thread with an io_uring: several writes in flight, one system call to submit and wait.
//!
//! A sleeping thread must also notice appends, so a read of an eventfd is always in flight; an appender
//! writes to it when the thread has said that it sleeps.

use std::fs::File;
use std::io::{self, Write};
use std::os::fd::{AsRawFd, FromRawFd};
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::{self, JoinHandle};

use antiphon_common::{Clock, SystemClock};
use io_uring::{IoUring, opcode, squeue, types};

use super::queue::{Queue, Taken};
use super::{SPIN, SPIN_WRITING, file};
use crate::layer::{Done, Log};

/// Entries of the ring: the deepest load, its wake-up, and some room.
const ENTRIES: u32 = 16;
/// Marks the completion of the eventfd's read; other completions carry their slot.
const WAKE: u64 = u64::MAX;

/// Why the kernel refuses a ring, if it does.
pub(in super::super) fn refusal() -> Option<io::Error> {
    IoUring::new(ENTRIES).err()
}

/// A log written through a ring.
pub(in super::super) struct Ring {
    shared: Arc<Shared>,
    writer: Option<JoinHandle<()>>,
}

struct Shared {
    queue: Queue,
    asleep: AtomicBool,
    bell: File,
}

impl Shared {
    fn ring_the_bell(&self) {
        if self.asleep.swap(false, Ordering::SeqCst) {
            // An eventfd refuses a write only when its counter would overflow.
            let _ = (&self.bell).write_all(&1_u64.to_ne_bytes());
        }
    }
}

impl Ring {
    pub(in super::super) fn start(
        folder: &Path,
        depth: usize,
        spin: bool,
        worker: bool,
    ) -> io::Result<Self> {
        let (file, ring) = (file::create(folder)?, IoUring::new(ENTRIES)?);
        let asleep = AtomicBool::new(false);
        let shared = Arc::new(Shared { queue: Queue::default(), asleep, bell: eventfd()? });
        let mut writer = Writer {
            shared: Arc::clone(&shared),
            ring,
            file,
            slots: (0..depth).map(|_| None).collect(),
            in_flight: 0,
            spin,
            flags: if worker { squeue::Flags::ASYNC } else { squeue::Flags::empty() },
            clock: SystemClock::default(),
            heard: Box::new([0; 8]),
        };
        let write = move || writer.run();
        let writer = Some(thread::Builder::new().name("ring-writer".into()).spawn(write)?);
        Ok(Self { shared, writer })
    }
}

impl Log for Ring {
    fn append(&self, payload: &[u8], done: Done) -> bool {
        let accepted = self.shared.queue.push(payload, done);
        self.shared.ring_the_bell();
        accepted
    }
}

impl Drop for Ring {
    fn drop(&mut self) {
        self.shared.queue.close();
        self.shared.ring_the_bell();
        if let Some(writer) = self.writer.take() {
            let _ = writer.join();
        }
    }
}

fn eventfd() -> io::Result<File> {
    // SAFETY: takes integers, returns a descriptor that is ours.
    let descriptor = unsafe { libc::eventfd(0, libc::EFD_CLOEXEC) };
    if descriptor < 0 {
        return Err(io::Error::last_os_error());
    }
    // SAFETY: just opened, owned by nobody else.
    Ok(unsafe { File::from_raw_fd(descriptor) })
}

struct Writer {
    shared: Arc<Shared>,
    ring: IoUring,
    file: File,
    slots: Vec<Option<Taken>>,
    in_flight: usize,
    spin: bool,
    flags: squeue::Flags,
    clock: SystemClock,
    /// Where the kernel puts the eventfd's count.
    heard: Box<[u8; 8]>,
}

impl Writer {
    /// Writes until the queue is closed, then until it is empty. A ring that fails ends the thread; the
    /// appenders then never hear of their appends and the run is broken off.
    fn run(&mut self) {
        let mut armed = self.listen();
        while armed.is_ok() && (self.in_flight > 0 || !self.is_over()) {
            armed = self.turn();
        }
        // The read in flight refers to `heard`: it must be over before that goes away.
        self.shared.asleep.store(true, Ordering::SeqCst);
        self.shared.ring_the_bell();
        let _ = self.ring.submit_and_wait(1);
    }

    fn is_over(&self) -> bool {
        !self.shared.queue.has_work() && self.shared.queue.is_closed()
    }

    /// Submits what there is, waits for something to happen, and deals with it.
    fn turn(&mut self) -> io::Result<()> {
        while self.in_flight < self.slots.len()
            && let Some(taken) = self.shared.queue.take()
        {
            self.submit(taken)?;
        }
        if !(self.spin && self.look()?) {
            self.sleep()?;
        }
        self.reap()
    }

    fn submit(&mut self, taken: Taken) -> io::Result<()> {
        let free = self.slots.iter().position(Option::is_none);
        let slot = free.ok_or_else(|| io::Error::other("no free slot"))?;
        let (bytes, length) = (taken.group.buffer.bytes().as_ptr(), taken.group.write_bytes());
        let descriptor = types::Fd(self.file.as_raw_fd());
        let write = opcode::Write::new(descriptor, bytes, length as u32).offset(taken.position);
        self.slots[slot] = Some(taken);
        self.in_flight += 1;
        self.push(&write.build().user_data(slot as u64).flags(self.flags))
    }

    /// Has a read of the eventfd in flight.
    fn listen(&mut self) -> io::Result<()> {
        let descriptor = types::Fd(self.shared.bell.as_raw_fd());
        let heard = self.heard.as_mut_ptr();
        self.push(&opcode::Read::new(descriptor, heard, 8).build().user_data(WAKE))
    }

    fn push(&mut self, entry: &squeue::Entry) -> io::Result<()> {
        // SAFETY: the memory that an entry refers to is in `slots` or in `heard`, which stay where they
        // are until its completion was reaped.
        unsafe { self.ring.submission().push(entry) }.map_err(io::Error::other)
    }

    /// Looks for completions, and for work that could be submitted. Says whether there is any.
    fn look(&mut self) -> io::Result<bool> {
        self.ring.submit()?;
        let budget = if self.in_flight > 0 { SPIN_WRITING } else { SPIN };
        let deadline = self.clock.monotonic() + budget;
        let room = self.in_flight < self.slots.len();
        while self.clock.monotonic() < deadline {
            let completed = !self.ring.completion().is_empty();
            if completed || (room && self.shared.queue.has_work()) {
                return Ok(true);
            }
            thread::yield_now();
        }
        Ok(false)
    }

    /// Sleeps until a completion or the bell, unless work came just now or all is over.
    fn sleep(&mut self) -> io::Result<()> {
        let room = self.in_flight < self.slots.len();
        self.shared.asleep.store(room, Ordering::SeqCst);
        let queue = &self.shared.queue;
        let due = room && (queue.has_work() || queue.is_closed());
        let slept = self.ring.submit_and_wait(usize::from(!due));
        self.shared.asleep.store(false, Ordering::SeqCst);
        match slept {
            Err(error) if error.kind() != io::ErrorKind::Interrupted => Err(error),
            _ => Ok(()),
        }
    }

    fn reap(&mut self) -> io::Result<()> {
        loop {
            let next = self.ring.completion().next();
            let Some(completion) = next else { return Ok(()) };
            match completion.user_data() {
                WAKE => self.listen()?,
                slot => self.complete(slot as usize, completion.result()),
            }
        }
    }

    fn complete(&mut self, slot: usize, written: i32) {
        let Some(taken) = self.slots.get_mut(slot).and_then(Option::take) else { return };
        self.in_flight -= 1;
        let whole = usize::try_from(written) == Ok(taken.group.write_bytes());
        self.shared.queue.finish(taken, whole);
    }
}
