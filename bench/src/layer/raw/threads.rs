//! Blocking writes, one in flight for each thread.

use std::fs::File;
use std::io;
use std::os::unix::fs::FileExt;
use std::path::Path;
use std::sync::Arc;
use std::thread::{self, JoinHandle};

use antiphon_common::{Clock, SystemClock};

use super::SPIN;
use super::file;
use super::queue::{Queue, Taken};
use crate::layer::{Done, Log};

/// A log written by threads.
pub(in super::super) struct Threads {
    queue: Arc<Queue>,
    writers: Vec<JoinHandle<()>>,
}

impl Threads {
    pub(in super::super) fn start(folder: &Path, threads: usize, spin: bool) -> io::Result<Self> {
        let (queue, file) = (Arc::new(Queue::default()), Arc::new(file::create(folder)?));
        let start = |_| {
            let (queue, file) = (Arc::clone(&queue), Arc::clone(&file));
            let write = move || write(&queue, &file, spin);
            thread::Builder::new().name("raw-writer".into()).spawn(write)
        };
        let writers = (0..threads).map(start).collect::<io::Result<_>>()?;
        Ok(Self { queue, writers })
    }
}

impl Log for Threads {
    fn append(&self, payload: &[u8], done: Done) -> bool {
        self.queue.push(payload, done)
    }
}

impl Drop for Threads {
    fn drop(&mut self) {
        self.queue.close();
        self.writers.drain(..).for_each(|writer| drop(writer.join()));
    }
}

fn write(queue: &Queue, file: &File, spin: bool) {
    let clock = SystemClock::default();
    while let Some(taken) = next(queue, &clock, spin) {
        let bytes = &taken.group.buffer.bytes()[..taken.group.write_bytes()];
        let durable = file.write_all_at(bytes, taken.position).is_ok();
        queue.finish(taken, durable);
    }
}

/// Looks, then sleeps. Each look yields, so that whoever is runnable goes first.
fn next(queue: &Queue, clock: &dyn Clock, spin: bool) -> Option<Taken> {
    if let Some(taken) = queue.take() {
        return Some(taken);
    }
    let deadline = clock.monotonic() + SPIN;
    while spin && !queue.has_work() && clock.monotonic() < deadline {
        thread::yield_now();
    }
    queue.wait()
}
