//! What came of work in the background, and whether that may be.

use antiphon_common::{ErrorKind, Offset};
use antiphon_storage::{Chain, FlushError, ReadColdError, TrimError};
use bytes::Bytes;

use super::{Done, Life, Task};
use crate::model::{Checked, Reading, Violation, ensure};

impl Life<'_> {
    pub(super) async fn harvest(&mut self) -> Checked {
        let (done, running) = std::mem::take(&mut self.tasks)
            .into_iter()
            .partition::<Vec<_>, _>(|task| task.handle.is_finished());
        self.tasks = running;
        for Task { generation, handle, .. } in done {
            let done = handle
                .await
                .map_err(|error| Violation { rule: "panicked", detail: error.to_string() })?;
            self.judge(done, generation)?;
        }
        Ok(())
    }

    pub(super) fn judge(&mut self, done: Done, generation: u64) -> Checked {
        let fenced = self.fenced;
        let judged = match done {
            Done::Flushed(Ok(())) | Done::Kept => Ok(()),
            Done::Merged(merges) => {
                if merges > 0 {
                    self.world.history.note(format!("merged {merges}"));
                }
                Ok(())
            }
            Done::Swept(Ok(report)) => {
                self.world.history.note(format!("swept {report:?}"));
                Ok(())
            }
            Done::Swept(Err(error)) => self.judge_error("sweep", error.kind(), &error),
            Done::Compacted(stats) => {
                if stats.removed_records > 0 {
                    self.world.history.note(format!("compacted {stats:?}"));
                }
                Ok(())
            }
            // A round ends with a commit: only what was never cleaned makes one begin.
            Done::CompactedByZombie { rounds } => {
                let detail = || "an overtaken process compacted".to_owned();
                ensure(rounds == 0, "zombie", detail)
            }
            Done::Polled { index, reading, result } => self.judge_poll(index, reading, result),
            Done::Flushed(Err(error)) => self.judge_error("flush", error.kind(), &error),
            Done::FlushedByZombie { unflushed, result } => self.judge_zombie(unflushed, result),
            Done::Trimmed { asked, partition, result } => self.judge_trim(asked, partition, result),
            Done::Read { reading, partition, result } => {
                self.judge_read(reading, partition, result)
            }
        };
        // That a process which was overtaken is fenced says nothing about the one that took over.
        if generation != self.generation {
            self.fenced = fenced;
        }
        judged
    }

    /// Rule C4: who was overtaken commits nothing any more.
    pub(super) fn judge_zombie(
        &mut self,
        unflushed: u64,
        result: Result<(), FlushError>,
    ) -> Checked {
        match result {
            Ok(()) => ensure(unflushed == 0, "zombie", || {
                format!("an overtaken process flushed {unflushed} bytes")
            }),
            Err(error) => {
                self.world.history.note(format!("zombie flush failed: {:?}", error.kind()));
                let explained = matches!(
                    error.kind(),
                    ErrorKind::Fenced | ErrorKind::Retry | ErrorKind::Closed
                ) || (error.kind() == ErrorKind::Corrupt
                    && self.world.damages_bodies());
                ensure(explained, "unexplained", || format!("zombie: {}", Chain(&error)))
            }
        }
    }

    pub(super) fn judge_trim(
        &mut self,
        asked: i64,
        partition: usize,
        result: Result<Offset, TrimError>,
    ) -> Checked {
        let start = match result {
            Ok(start) => start,
            Err(error) => return self.judge_error("delete", error.kind(), &error),
        };
        self.world.history.note(format!("deleted p{partition} below {start}"));
        self.world.partitions[partition].deleted(asked);
        ensure(start.get() >= asked, "start-back", || format!("{start}, asked for {asked}"))
    }

    pub(super) fn judge_read(
        &mut self,
        reading: Reading,
        partition: usize,
        result: Result<Vec<Bytes>, ReadColdError>,
    ) -> Checked {
        let gone = reading.asked < self.world.partitions[partition].log_start_max;
        match result {
            Ok(runs) => self.check_read(partition, reading, runs).map(|_| ()),
            Err(ReadColdError::Missing { .. }) if gone => Ok(()),
            Err(error @ ReadColdError::Missing { .. }) => {
                Err(Violation { rule: "lost", detail: Chain(&error).to_string() })
            }
            Err(error) => self.judge_error("read", error.kind(), &error),
        }
    }

    /// An error is right if something went wrong that explains it.
    pub(super) fn judge_error(
        &mut self,
        what: &str,
        kind: ErrorKind,
        error: &(dyn std::error::Error + 'static),
    ) -> Checked {
        self.world.history.note(format!("{what} failed: {kind:?}"));
        self.fenced |= kind == ErrorKind::Fenced;
        let explained = match kind {
            ErrorKind::Retry | ErrorKind::Fenced | ErrorKind::Closed => true,
            ErrorKind::Corrupt => self.world.damages_bodies(),
            ErrorKind::Invalid | ErrorKind::Internal => false,
        };
        ensure(explained, "unexplained", || format!("{what}: {kind:?}: {}", Chain(error)))
    }

    pub(super) fn judge_poll(
        &mut self,
        index: usize,
        reading: Reading,
        result: Result<Vec<Bytes>, ReadColdError>,
    ) -> Checked {
        self.world.consumers[index].polls = false;
        let partition = self.world.consumers[index].partition;
        let Ok(runs) = result else { return self.judge_read(reading, partition, result) };
        let next = self.check_read(partition, reading, runs)?;
        self.world.consumers[index].polled(reading.asked, next)
    }
}
