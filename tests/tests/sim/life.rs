//! The life of one process: what is asked of it, what it answers, and how it ends.

mod upkeep;
mod verdicts;

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use antiphon_common::Offset;
use antiphon_storage::{
    CompactionStats, FlushError, ReadColdError, SweepError, SweepReport, TailRead, TrimError,
};
use bytes::{Bytes, BytesMut};
use tokio::task::JoinHandle;

use super::broker::{Broker, flip_bit};
use super::model::{Checked, Partition, Reading, ensure};
use super::producer::Sending;
use super::world::{Mutation, World};
use antiphon_storage::store::faults::Outage;
use antiphon_wal::simulated::SimulatedDisk;

/// Background work that may be under way at a time.
const TASKS_MAX: usize = 4;
/// What a consumer asks for at a time.
const POLL_BYTES: usize = 6 << 10;
/// The longest outage.
const OUTAGE_MS_MAX: u64 = 60_000;
/// How long a client waits for a bucket that does not answer at all.
const CLIENT_LIMIT: Duration = Duration::from_secs(20);
/// The longest that a process which is being killed goes on: the requests of a flush or a merge, and
/// those of a compaction, which reads twice what it rewrites.
const KILL_REQUESTS_MAX: u64 = 8;
const KILL_COMPACTION_REQUESTS_MAX: u64 = 30;
/// The longest time without room for another segment, in steps.
const NO_SPACE_STEPS_MAX: u64 = 40;

/// How a process ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum End {
    /// The store could not be reached.
    NotOpened,
    /// It was killed, or killed itself because it must not go on.
    Crashed,
    /// It was killed, and a bit of what its log holds has turned over since.
    Rotten,
    /// It was told to stop. `complete` is its claim that the bucket has everything.
    Stopped { complete: bool },
    /// The run has had all its steps; the process still runs.
    OutOfSteps,
}

/// What a background task found.
enum Done {
    Flushed(Result<(), FlushError>),
    FlushedByZombie { unflushed: u64, result: Result<(), FlushError> },
    Trimmed { asked: i64, partition: usize, result: Result<Offset, TrimError> },
    Merged(u64),
    Compacted(CompactionStats),
    CompactedByZombie { rounds: u64 },
    Swept(Result<SweepReport, SweepError>),
    Polled { index: usize, reading: Reading, result: Result<Vec<Bytes>, ReadColdError> },
    Read { reading: Reading, partition: usize, result: Result<Vec<Bytes>, ReadColdError> },
    Kept,
}

/// Work that is under way.
struct Task {
    /// The process that began it.
    generation: u64,
    compacts: bool,
    handle: JoinHandle<Done>,
}

/// One process and what is under way in it.
pub(crate) struct Life<'a> {
    pub(crate) world: &'a mut World,
    pub(crate) broker: Broker,
    tasks: Vec<Task>,
    /// A process that was overtaken and does not know: its disk is gone, its tasks are not.
    zombie: Option<Broker>,
    generation: u64,
    outage_until: Option<Duration>,
    no_space_steps_left: u64,
    fenced: bool,
}

impl<'a> Life<'a> {
    pub(crate) fn new(world: &'a mut World, broker: Broker) -> Self {
        Self {
            world,
            broker,
            tasks: Vec::new(),
            zombie: None,
            generation: 0,
            outage_until: None,
            no_space_steps_left: 0,
            fenced: false,
        }
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
        let mix = &self.world.mix;
        let weights = [
            mix.produce,
            mix.sync,
            mix.read,
            mix.flush,
            mix.delete,
            mix.retention,
            mix.merge,
            mix.sweep,
            mix.consume,
            mix.commit,
            mix.disconnect,
            mix.outage,
            mix.no_space,
            mix.crash,
            mix.kill,
            mix.rot,
            mix.rival,
            mix.stop,
            mix.compact,
            mix.team,
        ];
        match self.world.dice.weighted(&weights) {
            0 => self.produce()?,
            1 => self.sync(),
            2 => self.read()?,
            3 => self.flush(),
            4 => self.delete(),
            5 => self.retain(),
            6 => self.merge(),
            7 => self.sweep(),
            8 => self.consume()?,
            9 => self.commit().await?,
            10 => self.disconnect(),
            11 => self.outage(),
            12 => self.fill_disk(),
            13 => return Ok(Some(End::Crashed)),
            14 => return self.kill_between_requests().await.map(Some),
            15 => return Ok(Some(End::Rotten)),
            16 => return self.overtake().await,
            17 => return self.stop().await.map(Some),
            18 => self.compact(),
            _ => self.surprise_team().await?,
        }
        Ok(None)
    }

    /// Lets some time pass, and takes in what came of it.
    async fn settle(&mut self) -> Checked {
        let longer = self.outage_until.is_some() || self.world.dice.chance(50);
        let most = if longer { 5000 } else { 40 };
        let pause = self.world.dice.between(1, most);
        self.world.pass(Duration::from_millis(pause)).await;
        self.end_faults();
        self.observe()?;
        self.harvest().await?;
        self.collect()?;
        self.turn_team()
    }

    fn end_faults(&mut self) {
        let now = self.world.environment.clock.monotonic();
        if self.outage_until.is_some_and(|until| until <= now) {
            self.outage_until = None;
            self.world.plan.set_outage(Outage::None);
            self.world.history.note("outage over");
        }
        self.no_space_steps_left = self.no_space_steps_left.saturating_sub(1);
        self.broker.wal.set_no_space(self.no_space_steps_left > 0);
    }

    fn observe(&mut self) -> Checked {
        let (now, cleaning) = (self.world.now(), self.tasks.iter().any(|task| task.compacts));
        for (log, model) in self.broker.logs.iter().zip(&mut self.world.partitions) {
            model.observe(log.positions(), now, cleaning)?;
        }
        Ok(())
    }

    pub(crate) fn collect(&mut self) -> Checked {
        for producer in &mut self.world.producers {
            for answer in producer.collect(&mut self.world.partitions[producer.partition])? {
                self.world.history.note(format!("ack {answer}"));
            }
        }
        for confirmed in self.broker.groups.collect(&mut self.world.committed) {
            self.world.history.note(confirmed);
        }
        self.observe()
    }

    /// Something happens to a member of the group, if there is a coordinator that could notice.
    async fn surprise_team(&mut self) -> Checked {
        if self.load_groups().await? {
            let World { team, dice, history, .. } = &mut *self.world;
            history.note(team.surprise(dice, &mut self.broker.groups));
        }
        Ok(())
    }

    /// Members read their answers and do what comes next.
    pub(crate) fn turn_team(&mut self) -> Checked {
        if !self.broker.groups.is_loaded() {
            return Ok(());
        }
        self.broker.groups.tick();
        let World { team, history, environment, .. } = &mut *self.world;
        let told = team.turn(&mut self.broker.groups, || environment.entropy.uuid())?;
        told.into_iter().for_each(|told| history.note(told));
        Ok(())
    }

    fn produce(&mut self) -> Checked {
        let index = self.world.dice.index(self.world.producers.len());
        let (now, keys) = (self.world.now(), self.world.keys());
        let producer = &mut self.world.producers[index];
        let model = &mut self.world.partitions[producer.partition];
        producer.prepare(&mut self.world.dice, now, keys, model);
        self.send(index)
    }

    pub(crate) fn send(&mut self, index: usize) -> Checked {
        let producer = &mut self.world.producers[index];
        let mut sending = Sending {
            log: &self.broker.logs[producer.partition],
            model: &mut self.world.partitions[producer.partition],
            forgets_producers: self.world.mutation == Some(Mutation::ForgetsProducers),
        };
        let outcome = producer.send(&mut sending)?;
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
        let length = Duration::from_millis(self.world.dice.between(1000, OUTAGE_MS_MAX));
        self.outage_until = Some(self.world.environment.clock.monotonic() + length);
        let hangs = self.world.dice.chance(300);
        let outage = if hangs { Outage::Hangs(CLIENT_LIMIT) } else { Outage::Refuses };
        self.world.plan.set_outage(outage);
        self.world.history.note(format!("outage {outage:?}"));
    }

    fn fill_disk(&mut self) {
        self.no_space_steps_left = self.world.dice.between(1, NO_SPACE_STEPS_MAX);
        self.world.history.note("disk full");
    }

    /// Somebody takes this process for dead: its disk goes to a new one. It is only slow, though, and
    /// goes on with what it was doing, without its disk.
    async fn overtake(&mut self) -> Checked<Option<End>> {
        self.world.producers.iter_mut().for_each(|producer| producer.disconnect());
        self.world.disk = self.broker.wal.crash(&*self.world.environment.entropy);
        self.generation += 1;
        let Some(rival) = Broker::open(self.world).await? else {
            self.world.history.note("rival not opened");
            return Ok(Some(End::NotOpened));
        };
        self.world.history.note("overtaken");
        self.world.partitions.iter_mut().for_each(Partition::taken_over);
        self.world.team.disconnect();
        self.zombie = Some(std::mem::replace(&mut self.broker, rival));
        self.observe()?;
        Ok(None)
    }

    /// Killed within a flush and a merge, or within a compaction, right after one of its requests was carried out: no later one
    /// reaches the bucket.
    async fn kill_between_requests(&mut self) -> Checked<End> {
        let compacts = self.world.dice.chance(500);
        let most = if compacts { KILL_COMPACTION_REQUESTS_MAX } else { KILL_REQUESTS_MAX };
        let after = self.world.dice.between(1, most);
        self.world.history.note(format!("killed after {after} requests"));
        let (plan, left) = (self.world.plan.clone(), AtomicU64::new(after));
        self.world.plan.on_applied(Some(Arc::new(move |_, _: &_| {
            if left.fetch_sub(1, Ordering::Relaxed) == 1 {
                plan.set_outage(Outage::Hangs(Duration::MAX));
            }
        })));
        if compacts {
            self.compact();
        } else {
            self.flush();
            self.merge();
        }
        self.settle().await?;
        if self.tasks.iter().any(|task| task.compacts) {
            self.world.history.note("compaction killed");
        }
        Ok(End::Crashed)
    }

    /// What this end leaves on the disk. After a complete stop the disk may be gone altogether.
    pub(crate) fn leave_disk(&mut self, end: End) {
        let entropy = Arc::clone(&self.world.environment.entropy);
        let wal = Arc::clone(&self.broker.wal);
        match end {
            // What it had belongs to the rival that did not open.
            End::NotOpened => return,
            End::Stopped { complete: true } if self.world.dice.chance(500) => {
                self.world.history.note("disk wiped");
                self.world.disk = SimulatedDisk::default();
                self.world.data_dir_id = entropy.uuid();
                return;
            }
            End::Stopped { .. } => self.world.disk = wal.disk(),
            _ => self.world.disk = wal.crash(&*entropy),
        }
        if end == End::Rotten
            && let Some((file, position)) = wal.vouched_byte(&*entropy)
        {
            self.world.before_rot = Some(self.world.disk.clone());
            self.world.disk.flip_bit(file, position, entropy.u64() as u8);
        }
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
            TailRead::Batches(batches) => {
                let reading = Reading { asked, began: None };
                self.check_read(partition, reading, batches).map(|_| ())
            }
            TailRead::OutOfRange => self.world.partitions[partition].out_of_range(asked),
            TailRead::Cold => {
                let log = log.clone();
                let reading = self.world.partitions[partition].begin_cold(asked);
                self.spawn(async move {
                    let result = log.read_cold(Offset(asked), bytes_max, true).await;
                    Done::Read { reading, partition, result }
                });
                Ok(())
            }
        }
    }

    /// Hands what a reader got to the checker. Returns the next offset to read.
    pub(crate) fn check_read(
        &mut self,
        partition: usize,
        reading: Reading,
        runs: Vec<Bytes>,
    ) -> Checked<i64> {
        let runs = match self.world.mutation {
            Some(Mutation::Resurrects) => self.as_first_seen(partition, &runs),
            _ => self.mutate(runs),
        };
        self.observe()?;
        let next = self.world.partitions[partition].read(reading, &runs)?;
        self.world.history.note(format!("read p{partition} {}..{next}", reading.asked));
        Ok(next)
    }

    /// What the defects on purpose make of a read.
    fn mutate(&mut self, mut runs: Vec<Bytes>) -> Vec<Bytes> {
        let mutation = self.world.mutation;
        let mangles = mutation == Some(Mutation::SkipsCrc);
        let skips = mutation == Some(Mutation::SkipsBatches) && runs.len() > 1;
        if !(mangles || skips) || !self.world.dice.chance(50) {
            return runs;
        }
        if skips {
            runs.remove(0);
        } else if let Some(first) = runs.first_mut() {
            let mut mangled = BytesMut::from(&first[..]);
            flip_bit(&mut mangled, self.world.dice.next());
            *first = mangled.freeze();
        }
        runs
    }

    /// The same batches as they were when they were read first.
    fn as_first_seen(&mut self, partition: usize, runs: &[Bytes]) -> Vec<Bytes> {
        let batches = runs.iter().flat_map(antiphon_records::batches_in).map_while(Result::ok);
        let first_seen = &mut self.world.first_seen;
        batches
            .map(|(header, bytes)| {
                let place = (partition, header.base_offset.get());
                first_seen.entry(place).or_insert(bytes).clone()
            })
            .collect()
    }

    /// One consumer asks for what comes next.
    pub(crate) fn consume(&mut self) -> Checked {
        let index = self.world.dice.index(self.world.consumers.len());
        self.poll(index)
    }

    pub(crate) fn poll(&mut self, index: usize) -> Checked {
        let consumer = self.world.consumers[index];
        if consumer.polls {
            return Ok(());
        }
        let (partition, asked) = (consumer.partition, consumer.position);
        let log = self.broker.logs[partition].clone();
        match log.read_tail(Offset(asked), POLL_BYTES, true) {
            TailRead::Batches(runs) => {
                let next = self.check_read(partition, Reading { asked, began: None }, runs)?;
                self.world.consumers[index].polled(asked, next)
            }
            TailRead::OutOfRange => {
                self.world.partitions[partition].out_of_range(asked)?;
                self.world.consumers[index].reset(log.positions().log_start.get())
            }
            TailRead::Cold => {
                let before = self.tasks.len();
                let reading = self.world.partitions[partition].begin_cold(asked);
                self.spawn(async move {
                    let result = log.read_cold(Offset(asked), POLL_BYTES, true).await;
                    Done::Polled { index, reading, result }
                });
                self.world.consumers[index].polls = self.tasks.len() > before;
                Ok(())
            }
        }
    }

    /// A consumer commits where it is, if the coordinator has read its partition.
    async fn commit(&mut self) -> Checked {
        if !self.load_groups().await? {
            self.world.history.note("groups not loaded");
            return Ok(());
        }
        let index = self.world.dice.index(self.world.consumers.len());
        let offset = self.world.consumers[index].position;
        self.broker.groups.commit(index, offset, &mut self.world.committed);
        if self.world.mutation == Some(Mutation::ConfirmsEarly) {
            self.world.committed[index].confirm(offset);
        }
        Ok(())
    }

    pub(crate) async fn load_groups(&mut self) -> Checked<bool> {
        let is_new = !self.broker.groups.is_loaded();
        let loaded = self.broker.groups.load(&self.world.committed).await?;
        if loaded && is_new {
            self.world.team.check_positions(&self.broker.groups)?;
        }
        Ok(loaded)
    }

    /// Nothing goes wrong any more: the group comes to rest with everybody in it.
    pub(crate) async fn settle_team(&mut self, rounds: usize) -> Checked {
        let loaded = self.load_groups().await?;
        ensure(loaded, "stuck", || "nothing fails, but the groups cannot be read".to_owned())?;
        self.world.team.wake();
        for _ in 0..rounds {
            self.world.pass(Duration::from_millis(100)).await;
            self.broker.wal.sync(usize::MAX);
            self.collect()?;
            self.turn_team()?;
        }
        ensure(self.world.team.is_settled(), "stuck", || format!("{:?}", self.world.team))
    }

    /// Nothing goes wrong any more: every consumer comes to the end.
    pub(crate) async fn catch_up(&mut self, rounds: usize) -> Checked {
        let behind = |life: &Self| {
            let consumers = life.world.consumers.iter();
            let behind = consumers.enumerate().filter(|(_, consumer)| {
                let end = life.world.partitions[consumer.partition].high_watermark();
                consumer.position < end
            });
            behind.map(|(index, _)| index).collect::<Vec<_>>()
        };
        for _ in 0..rounds {
            for index in behind(self) {
                self.poll(index)?;
            }
            self.world.pass(Duration::from_millis(5)).await;
            self.harvest().await?;
        }
        let stuck = behind(self);
        ensure(stuck.is_empty(), "stuck", || format!("consumers {stuck:?} do not come to the end"))
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
