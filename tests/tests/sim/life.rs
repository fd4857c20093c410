//! The life of one process: what is asked of it, what it answers, and how it ends.

use std::time::Duration;

use antiphon_common::{ErrorKind, Offset};
use antiphon_storage::{Chain, FlushError, ReadColdError, TailRead, TrimError};
use bytes::{Bytes, BytesMut};
use tokio::task::JoinHandle;

use super::broker::Broker;
use super::bucket::flip_bit;
use super::model::{Checked, Violation, ensure};
use super::producer::Sending;
use super::world::{Mutation, World};

/// Background work that may be under way at a time.
const TASKS_MAX: usize = 4;
/// The longest outage, in steps.
const OUTAGE_STEPS_MAX: u64 = 40;

/// How a process ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum End {
    /// The store could not be reached.
    NotOpened,
    /// It was killed, or killed itself because it must not go on.
    Crashed,
    /// It was told to stop. `complete` is its claim that the bucket has everything.
    Stopped { complete: bool },
    /// The run has had all its steps; the process still runs.
    OutOfSteps,
}

/// What a background task found.
enum Done {
    Flushed(Result<(), FlushError>),
    Trimmed { asked: i64, partition: usize, result: Result<Offset, TrimError> },
    Read { asked: i64, partition: usize, result: Result<Vec<Bytes>, ReadColdError> },
    Kept,
}

/// One process and what is under way in it.
pub(crate) struct Life<'a> {
    pub(crate) world: &'a mut World,
    pub(crate) broker: Broker,
    tasks: Vec<JoinHandle<Done>>,
    outage_steps_left: u64,
    fenced: bool,
}

impl<'a> Life<'a> {
    pub(crate) fn new(world: &'a mut World, broker: Broker) -> Self {
        Self { world, broker, tasks: Vec::new(), outage_steps_left: 0, fenced: false }
    }

    /// Lives until it crashes, is stopped, or `steps` is used up.
    pub(crate) async fn run(&mut self, steps: &mut u64) -> Checked<End> {
        self.observe()?;
        while *steps > 0 {
            *steps -= 1;
            let end = self.step().await?;
            self.settle().await?;
            if let Some(end) = end {
                return Ok(end);
            }
            if self.fenced {
                self.world.history.note("fenced");
                return Ok(End::Crashed);
            }
        }
        Ok(End::OutOfSteps)
    }

    async fn step(&mut self) -> Checked<Option<End>> {
        let mix = self.world.mix;
        let weights = [
            mix.produce,
            mix.sync,
            mix.read,
            mix.flush,
            mix.delete,
            mix.retention,
            mix.disconnect,
            mix.outage,
            mix.crash,
            mix.stop,
        ];
        match self.world.dice.weighted(&weights) {
            0 => self.produce()?,
            1 => self.sync(),
            2 => self.read()?,
            3 => self.flush(),
            4 => self.delete(),
            5 => self.retain(),
            6 => self.disconnect(),
            7 => self.outage(),
            8 => return Ok(Some(End::Crashed)),
            _ => return self.stop().await.map(Some),
        }
        Ok(None)
    }

    /// Lets some time pass, and takes in what came of it.
    async fn settle(&mut self) -> Checked {
        let pause = if self.world.dice.chance(50) { 5000 } else { self.world.dice.between(1, 40) };
        self.world.pass(Duration::from_millis(pause)).await;
        if self.outage_steps_left > 0 {
            self.outage_steps_left -= 1;
            self.world.weather.lock().outage = self.outage_steps_left > 0;
        }
        while self.world.one_at_a_time && !self.tasks.iter().all(JoinHandle::is_finished) {
            tokio::time::sleep(Duration::from_millis(1)).await;
        }
        self.observe()?;
        self.harvest().await?;
        self.collect()
    }

    fn observe(&mut self) -> Checked {
        for (log, model) in self.broker.logs.iter().zip(&mut self.world.partitions) {
            model.observe(log.positions())?;
        }
        Ok(())
    }

    pub(crate) fn collect(&mut self) -> Checked {
        for producer in &mut self.world.producers {
            for answer in producer.collect(&mut self.world.partitions[producer.partition])? {
                self.world.history.note(format!("ack {answer}"));
            }
        }
        self.observe()
    }

    fn produce(&mut self) -> Checked {
        let index = self.world.dice.index(self.world.producers.len());
        let now = self.world.now();
        self.world.producers[index].prepare(&mut self.world.dice, now);
        self.send(index)
    }

    pub(crate) fn send(&mut self, index: usize) -> Checked {
        let producer = &mut self.world.producers[index];
        let sending = Sending {
            log: &self.broker.logs[producer.partition],
            model: &self.world.partitions[producer.partition],
            forgets_producers: self.world.mutation == Some(Mutation::ForgetsProducers),
        };
        let outcome = producer.send(&sending)?;
        self.world.history.note(format!("send {outcome}"));
        Ok(())
    }

    fn sync(&mut self) {
        let frames = self.world.dice.between(1, 8) as usize;
        self.broker.wal.sync(frames);
    }

    fn disconnect(&mut self) {
        let index = self.world.dice.index(self.world.producers.len());
        self.world.producers[index].disconnect();
        self.world.history.note(format!("disconnect w{index}"));
    }

    fn outage(&mut self) {
        self.outage_steps_left = self.world.dice.between(1, OUTAGE_STEPS_MAX);
        self.world.weather.lock().outage = true;
        self.world.history.note("outage");
    }

    /// Reads from somewhere: the tail at once, history as a task.
    fn read(&mut self) -> Checked {
        let partition = self.world.dice.index(self.broker.logs.len());
        let model = &self.world.partitions[partition];
        let (start, end) = (model.log_start(), model.high_watermark());
        let asked = start + self.world.dice.below((end - start) as u64 + 1) as i64;
        let bytes_max = self.world.dice.between(1, 16 << 10) as usize;
        let log = &self.broker.logs[partition];
        match log.read_tail(Offset(asked), bytes_max, true) {
            TailRead::Batches(batches) => self.check_read(partition, asked, batches).map(|_| ()),
            TailRead::OutOfRange => self.world.partitions[partition].out_of_range(asked),
            TailRead::Cold => {
                let log = log.clone();
                self.spawn(async move {
                    let result = log.read_cold(Offset(asked), bytes_max, true).await;
                    Done::Read { asked, partition, result }
                });
                Ok(())
            }
        }
    }

    /// Hands what a reader got to the checker. Returns the next offset to read.
    pub(crate) fn check_read(
        &mut self,
        partition: usize,
        asked: i64,
        runs: Vec<Bytes>,
    ) -> Checked<i64> {
        let mangles = self.world.mutation == Some(Mutation::SkipsCrc);
        let runs = match runs.split_first() {
            Some((first, rest)) if mangles && self.world.dice.chance(50) => {
                let mut first = BytesMut::from(&first[..]);
                flip_bit(&mut first, self.world.dice.next());
                [vec![first.freeze()], rest.to_vec()].concat()
            }
            _ => runs,
        };
        self.observe()?;
        let next = self.world.partitions[partition].read(asked, &runs)?;
        self.world.history.note(format!("read p{partition} {asked}..{next}"));
        Ok(next)
    }

    fn flush(&mut self) {
        let storage = self.broker.storage.clone();
        self.spawn(async move { Done::Flushed(storage.flush().await) });
    }

    fn delete(&mut self) {
        let partition = self.world.dice.index(self.broker.logs.len());
        let model = &mut self.world.partitions[partition];
        let (start, end) = (model.log_start(), model.high_watermark());
        let asked = start + self.world.dice.below((end - start) as u64 / 2 + 1) as i64;
        model.log_start_max = model.log_start_max.max(asked);
        let log = self.broker.logs[partition].clone();
        self.spawn(async move {
            let result = log.delete_records(Offset(asked)).await;
            Done::Trimmed { asked, partition, result }
        });
    }

    /// Expiry, and the deletion of objects that are no longer used.
    fn retain(&mut self) {
        // Only history expires, but a flush that is under way may add to it.
        for model in &mut self.world.partitions[..2] {
            model.log_start_max = model.log_start_max.max(model.high_watermark());
        }
        let storage = self.broker.storage.clone();
        self.spawn(async move {
            storage.enforce_retention().await;
            storage.delete_due_objects().await;
            Done::Kept
        });
    }

    fn spawn(&mut self, task: impl Future<Output = Done> + Send + 'static) {
        if self.tasks.len() < TASKS_MAX {
            self.tasks.push(tokio::spawn(task));
        }
    }

    async fn harvest(&mut self) -> Checked {
        let (done, running) = std::mem::take(&mut self.tasks)
            .into_iter()
            .partition::<Vec<_>, _>(JoinHandle::is_finished);
        self.tasks = running;
        for task in done {
            let done = task
                .await
                .map_err(|error| Violation { rule: "panicked", detail: error.to_string() })?;
            self.judge(done)?;
        }
        Ok(())
    }

    fn judge(&mut self, done: Done) -> Checked {
        match done {
            Done::Flushed(result) => {
                let Err(error) = result else { return Ok(()) };
                self.judge_error("flush", error.kind(), &error)
            }
            Done::Trimmed { asked, partition, result } => self.judge_trim(asked, partition, result),
            Done::Read { asked, partition, result } => self.judge_read(asked, partition, result),
            Done::Kept => Ok(()),
        }
    }

    fn judge_trim(
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
        ensure(start.get() >= asked, "start-back", || format!("{start}, asked for {asked}"))
    }

    fn judge_read(
        &mut self,
        asked: i64,
        partition: usize,
        result: Result<Vec<Bytes>, ReadColdError>,
    ) -> Checked {
        let gone = asked < self.world.partitions[partition].log_start_max;
        match result {
            Ok(runs) => self.check_read(partition, asked, runs).map(|_| ()),
            Err(ReadColdError::Missing { .. }) if gone => Ok(()),
            Err(error @ ReadColdError::Missing { .. }) => {
                Err(Violation { rule: "lost", detail: Chain(&error).to_string() })
            }
            Err(error) => self.judge_error("read", error.kind(), &error),
        }
    }

    /// An error is right if something went wrong that explains it.
    fn judge_error(
        &mut self,
        what: &str,
        kind: ErrorKind,
        error: &(dyn std::error::Error + 'static),
    ) -> Checked {
        self.world.history.note(format!("{what} failed: {kind:?}"));
        self.fenced |= kind == ErrorKind::Fenced;
        let bits_flip = self.world.weather.lock().history.flipped > 0;
        let explained = match kind {
            ErrorKind::Retry | ErrorKind::Fenced | ErrorKind::Closed => true,
            ErrorKind::Corrupt => bits_flip,
            ErrorKind::Invalid | ErrorKind::Internal => false,
        };
        ensure(explained, "unexplained", || format!("{what}: {kind:?}: {}", Chain(error)))
    }

    /// A clean stop: producers have gone, but what they sent last may still wait for the disk.
    pub(crate) async fn stop(&mut self) -> Checked<End> {
        self.world.producers.iter_mut().for_each(|producer| producer.disconnect());
        let complete = self.broker.storage.close(|_| ()).await;
        self.observe()?;
        self.world.history.note(format!("stopped, complete {complete}"));
        Ok(End::Stopped { complete })
    }
}
