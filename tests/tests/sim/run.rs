//! One seed from its first process to the last look at what is left.

use std::collections::{BTreeMap, BTreeSet};
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::time::Duration;

use antiphon_catalog::{ObjectRow, SegmentRow};
use antiphon_common::{ObjectId, Offset, PartitionId};
use antiphon_storage::TailRead;
use antiphon_storage::store::faults::Outage;
use antiphon_storage::store::{OBJECTS_PREFIX, object_path};
use antiphon_wal::simulated::SimulatedDisk;
use futures::TryStreamExt;
use object_store::{ObjectStore, ObjectStoreExt};
use tokio::runtime::{Builder, Runtime};

use super::broker::{Broker, DELETION_GRACE, ORPHAN_AGE};
use super::keyed::Keyed;
use super::life::{End, Life};
use super::model::{Checked, Partition, Reading, Violation, ensure};
use super::world::{History, Mutation, World};

/// Rounds in which every producer must have got its answers once nothing goes wrong any more.
const ROUNDS_MAX: usize = 200;
/// Longer than any process lives: every step of a run may take five seconds.
const LIFE_LIMIT: Duration = Duration::from_secs(4 * 3600);
/// What a reader asks for at a time when it reads everything.
const AUDIT_BYTES: usize = 8 << 10;

/// How a seed is run.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Options {
    pub(crate) mutation: Option<Mutation>,
}

/// What came of a seed.
pub(crate) struct Outcome {
    pub(crate) verdict: Checked,
    pub(crate) history: History,
}

/// Runs one seed.
pub(crate) fn simulate(seed: u64, options: Options) -> Outcome {
    let mut world = World::new(seed, options.mutation);
    let verdict = catch_unwind(AssertUnwindSafe(|| all_of(&mut world)));
    let verdict = verdict.unwrap_or_else(|panic| {
        let text = panic.downcast_ref::<String>().cloned();
        let text = text.or_else(|| panic.downcast_ref::<&str>().map(ToString::to_string));
        Err(Violation { rule: "panicked", detail: text.unwrap_or_default() })
    });
    Outcome { verdict, history: world.history }
}

fn all_of(world: &mut World) -> Checked {
    let mut steps = world.mix.steps;
    while steps > 0 {
        let end = live(world, &mut steps)?;
        world.history.note(format!("{end:?}"));
        if end != End::NotOpened {
            world.let_it_rain();
        } else {
            // Somebody repairs what keeps it from opening.
            world.plan.clear();
        }
    }
    world.plan.clear();
    in_a_process(heal(world))?;
    world.data_dir_id = world.environment.entropy.uuid();
    in_a_process(audit(world))?;
    world.tell_what_compaction_took();
    Ok(())
}

/// A machine: dropping it stops everything that runs on it at once.
fn machine() -> Runtime {
    let mut builder = Builder::new_current_thread();
    builder.enable_time().start_paused(true).build().expect("a runtime")
}

fn in_a_process<T>(work: impl Future<Output = Checked<T>>) -> Checked<T> {
    machine().block_on(in_time(work))
}

/// What never ends is a violation, too.
async fn in_time<T>(work: impl Future<Output = Checked<T>>) -> Checked<T> {
    let done = tokio::time::timeout(LIFE_LIMIT, work).await;
    done.unwrap_or_else(|_| Err(Violation { rule: "stuck", detail: "it never ends".to_owned() }))
}

/// One process until it ends, and what it leaves on the disk.
fn live(world: &mut World, steps: &mut u64) -> Checked<End> {
    let machine = machine();
    let end = machine.block_on(in_time(async {
        let Some(broker) = Broker::open(world).await? else { return Ok(End::NotOpened) };
        let mut life = Life::new(world, broker);
        let end = life.run(steps).await?;
        life.leave_disk(end);
        life.collect()?;
        Ok(end)
    }));
    drop(machine);
    world.producers.iter_mut().for_each(|producer| producer.disconnect());
    world.consumers.iter_mut().for_each(|consumer| consumer.polls = false);
    world.partitions.iter_mut().for_each(Partition::taken_over);
    world.team.disconnect();
    world.plan.set_outage(Outage::None);
    world.plan.on_applied(None);
    end
}

async fn open(world: &mut World) -> Checked<Broker> {
    let mut opened = Broker::open(world).await?;
    if opened.is_none() {
        // A log that rotted is refused once, and then replaced.
        opened = Broker::open(world).await?;
    }
    opened.ok_or(Violation { rule: "stuck", detail: "nothing fails, and it does not open".into() })
}

/// Nothing goes wrong any more: everybody gets an answer, and a clean stop is complete.
async fn heal(world: &mut World) -> Checked {
    let broker = open(world).await?;
    let mut life = Life::new(world, broker);
    for _ in 0..ROUNDS_MAX {
        let waiting: Vec<_> =
            life.world.producers.iter().filter(|p| p.waits()).map(|p| p.index).collect();
        for index in &waiting {
            life.send(*index)?;
        }
        while life.broker.wal.waiting() > 0 {
            life.broker.wal.sync(usize::MAX);
        }
        life.collect()?;
        life.broker.storage.flush().await.map_err(|error| Violation {
            rule: "stuck",
            detail: format!("nothing fails, but a flush does: {}", antiphon_storage::Chain(&error)),
        })?;
        life.world.pass(Duration::from_millis(10)).await;
        if waiting.is_empty() {
            break;
        }
    }
    let stuck = life.world.producers.iter().any(|producer| producer.waits());
    ensure(!stuck, "stuck", || "a producer never got an answer".to_owned())?;
    life.catch_up(ROUNDS_MAX).await?;
    life.settle_team(ROUNDS_MAX).await?;
    clean_up(&mut life).await?;
    let end = life.stop().await?;
    ensure(end == End::Stopped { complete: true }, "stuck", || format!("{end:?}"))?;
    life.world.disk = SimulatedDisk::default();
    Ok(())
}

/// Housekeeping, after which nothing is in the bucket that the catalog does not name.
async fn clean_up(life: &mut Life<'_>) -> Checked {
    let storage = life.broker.storage.clone();
    life.retain();
    life.finish_tasks().await?;
    storage.merge().await;
    // Longer than any record is too young to be compacted.
    life.world.pass(Duration::from_secs(60)).await;
    life.compact_all().await?;
    life.world.pass(DELETION_GRACE + ORPHAN_AGE).await;
    storage.delete_due_objects().await;
    if life.world.mutation == Some(Mutation::LeavesOrphans) {
        return no_orphans(life).await;
    }
    let swept = storage.sweep().await;
    let report = swept.map_err(|error| Violation {
        rule: "stuck",
        detail: format!("nothing fails, but the sweep does: {}", antiphon_storage::Chain(&error)),
    })?;
    life.world.history.note(format!("cleaned up {report:?}"));
    no_orphans(life).await
}

/// The bucket has what the catalog names, and nothing else.
async fn no_orphans(life: &Life<'_>) -> Checked {
    let known = known_objects(life).await?;
    let known: BTreeSet<_> = known.iter().map(|row| object_path(row.object_id)).collect();
    let listed = life.world.bucket.list(Some(&OBJECTS_PREFIX.into())).try_collect::<Vec<_>>();
    let listed = listed.await.expect("memory lists what it has");
    let listed: BTreeSet<_> = listed.into_iter().map(|meta| meta.location).collect();
    let orphans: Vec<_> = listed.difference(&known).collect();
    ensure(orphans.is_empty(), "orphan", || format!("nobody names {orphans:?}"))?;
    let missing: Vec<_> = known.difference(&listed).collect();
    ensure(missing.is_empty(), "lost", || format!("not in the bucket: {missing:?}"))
}

async fn known_objects(life: &Life<'_>) -> Checked<Vec<ObjectRow>> {
    let known = life.broker.catalog.known_objects(None, usize::MAX).await;
    known.map_err(|error| Violation { rule: "stuck", detail: error.to_string() })
}

/// The disk is gone; a new machine finds everything in the bucket.
async fn audit(world: &mut World) -> Checked {
    let broker = open(world).await?;
    let mut life = Life::new(world, broker);
    life.collect()?;
    let loaded = life.load_groups().await?;
    ensure(loaded, "stuck", || "nothing fails, but the groups cannot be read".to_owned())?;
    for partition in 0..life.broker.logs.len() {
        life.world.partitions[partition].keyed.as_mut().map(Keyed::begin_audit);
        let (from, to) = read_all(&mut life, partition).await?;
        life.world.partitions[partition].audit(from, to)?;
    }
    books_balance(&life).await
}

/// Every object that the catalog names is in the bucket, every section is counted once, and nothing
/// is named that was deleted.
async fn books_balance(life: &Life<'_>) -> Checked {
    let mut sections = BTreeMap::<ObjectId, u32>::new();
    for log in life.broker.storage.partitions() {
        let rows = segments(life, log.id()).await?;
        let (start, bytes) = (log.positions().log_start, log.size_bytes());
        let deleted: Vec<_> = rows.iter().filter(|row| row.last_offset < start).collect();
        ensure(deleted.is_empty(), "books", || format!("below {start} are {deleted:?}"))?;
        let named: u64 = rows.iter().map(|row| row.length).sum();
        ensure(named == bytes, "books", || format!("{named} bytes, counted as {bytes}"))?;
        rows.iter().for_each(|row| *sections.entry(row.object_id).or_default() += 1);
    }
    for object in known_objects(life).await? {
        let (counted, named) = (object.live_sections, sections.remove(&object.object_id));
        ensure(counted == named.unwrap_or(0), "books", || format!("{named:?} of {object:?}"))?;
        let found = life.world.bucket.head(&object_path(object.object_id)).await;
        found.map_err(|error| Violation { rule: "lost", detail: error.to_string() })?;
    }
    ensure(sections.is_empty(), "books", || format!("not known: {sections:?}"))
}

async fn read_all(life: &mut Life<'_>, partition: usize) -> Checked<(i64, i64)> {
    let log = life.broker.logs[partition].clone();
    let positions = log.positions();
    let (from, end) = (positions.log_start.get(), positions.high_watermark.get());
    let mut next = from;
    while next < end {
        let runs = match log.read_tail(Offset(next), AUDIT_BYTES, true) {
            TailRead::Batches(batches) => batches,
            TailRead::OutOfRange => Vec::new(),
            TailRead::Cold => {
                log.read_cold(Offset(next), AUDIT_BYTES, true).await.map_err(|error| Violation {
                    rule: "lost",
                    detail: antiphon_storage::Chain(&error).to_string(),
                })?
            }
        };
        let read_to = life.check_read(partition, Reading { asked: next, began: None }, runs)?;
        ensure(read_to > next, "lost", || format!("p{partition}: nothing at {next} of {end}"))?;
        next = read_to;
    }
    Ok((from, next))
}

/// The rows of a partition, which are neighbours.
async fn segments(life: &Life<'_>, id: PartitionId) -> Checked<Vec<SegmentRow>> {
    let rows = life.broker.catalog.segments(id).await;
    let rows = rows.map_err(|error| Violation { rule: "lost", detail: error.to_string() })?;
    for pair in rows.windows(2) {
        ensure(pair[0].last_offset.next() == pair[1].base_offset, "hole", || format!("{pair:?}"))?;
    }
    Ok(rows)
}
