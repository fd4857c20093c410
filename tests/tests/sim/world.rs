//! What outlives a broker process: the bucket, the disk, the clients, and the checker's memory.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use antiphon_common::{Environment, ManualClock, ProducerId, SeededEntropy, Timestamp};
use antiphon_storage::store::OBJECTS_PREFIX;
use antiphon_storage::store::faults::{Fault, FaultPlan, Operation, Rule};
use antiphon_wal::simulated::SimulatedDisk;
use bytes::Bytes;
use object_store::ObjectStore;
use object_store::memory::InMemory;
use tempfile::TempDir;
use uuid::Uuid;

use super::consumer::Consumer;
use super::dice::Dice;
use super::fixed;
use super::groups::Committed;
use super::keyed::Tally;
use super::model::Partition;
use super::payload::Keys;
use super::producer::Producer;
use super::team::Team;

/// The first expires by size, the second by age, the last but one is compacted, the last is compacted
/// and expires by age; the others keep what nobody deletes.
pub(crate) const PARTITIONS: usize = 6;
const PRODUCERS: usize = 9;
/// Every third producer writes to the partitions that are compacted, which are so many.
const COMPACTED: usize = 2;
const STARTED_AT: Timestamp = Timestamp(1_700_000_000_000);

/// A deliberate defect that the checker must notice.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Mutation {
    /// The disk says "synced" before it is true.
    AcksBeforeDurable,
    /// Repeated batches are appended again.
    ForgetsProducers,
    /// The log forgets frames when their object was put, before the catalog names it.
    TrimsEarly,
    /// Reads come back as the bucket or the network mangled them.
    SkipsCrc,
    /// The write-ahead log's recovery hands out frames that the disk mangled.
    SkipsLogCrc,
    /// The bucket overwrites where it was told to create: nobody is fenced.
    IgnoresCreate,
    /// Reads leave out what they should begin with.
    SkipsBatches,
    /// What crashes leave in the bucket stays there.
    LeavesOrphans,
    /// A commit of a position is confirmed before it is durable.
    ConfirmsEarly,
    /// Compaction takes pairs of keys for one key, and so drops the newest value of the other.
    ConfusesKeys,
    /// Compaction drops tombstones the second time it sees them, however soon that is.
    ForgetsTombstones,
    /// Compaction does not wait for `min.compaction.lag.ms`.
    CompactsYoung,
    /// A new coordinator knows positions, but not who is in the group.
    ForgetsMembers,
    /// Compaction never comes to it.
    NeverCompacts,
    /// Reads come back with what compaction took, as from a cache that nobody told.
    Resurrects,
}

impl Mutation {
    pub(crate) const ALL: [Self; 15] = [
        Self::AcksBeforeDurable,
        Self::ForgetsProducers,
        Self::TrimsEarly,
        Self::SkipsCrc,
        Self::SkipsLogCrc,
        Self::IgnoresCreate,
        Self::SkipsBatches,
        Self::LeavesOrphans,
        Self::ConfirmsEarly,
        Self::ConfusesKeys,
        Self::ForgetsTombstones,
        Self::CompactsYoung,
        Self::ForgetsMembers,
        Self::NeverCompacts,
        Self::Resurrects,
    ];

    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::AcksBeforeDurable => "acks-before-durable",
            Self::ForgetsProducers => "forgets-producers",
            Self::TrimsEarly => "trims-early",
            Self::SkipsCrc => "skips-crc",
            Self::SkipsLogCrc => "skips-log-crc",
            Self::IgnoresCreate => "ignores-create",
            Self::SkipsBatches => "skips-batches",
            Self::LeavesOrphans => "leaves-orphans",
            Self::ConfirmsEarly => "confirms-early",
            Self::ConfusesKeys => "confuses-keys",
            Self::ForgetsTombstones => "forgets-tombstones",
            Self::CompactsYoung => "compacts-young",
            Self::ForgetsMembers => "forgets-members",
            Self::NeverCompacts => "never-compacts",
            Self::Resurrects => "resurrects",
        }
    }
}

/// How often what happens: one random mix for each seed, some of it switched off (swarm testing,
/// Groce et al. 2012), because rare faults show best when common ones are away.
#[derive(Clone, Debug)]
pub(crate) struct Mix {
    pub(crate) steps: u64,
    pub(crate) produce: u64,
    pub(crate) sync: u64,
    pub(crate) read: u64,
    pub(crate) consume: u64,
    pub(crate) commit: u64,
    pub(crate) flush: u64,
    pub(crate) delete: u64,
    pub(crate) retention: u64,
    pub(crate) merge: u64,
    pub(crate) sweep: u64,
    pub(crate) disconnect: u64,
    pub(crate) outage: u64,
    pub(crate) no_space: u64,
    pub(crate) crash: u64,
    pub(crate) kill: u64,
    pub(crate) rot: u64,
    pub(crate) rival: u64,
    pub(crate) stop: u64,
    pub(crate) compact: u64,
    pub(crate) team: u64,
    rain: Vec<Rule>,
}

impl Mix {
    fn of(dice: &mut Dice) -> Self {
        let mut sometimes = |weight: u64| if dice.chance(700) { dice.below(weight) + 1 } else { 0 };
        let rain = rain(&mut sometimes);
        Self {
            steps: 150 + sometimes(150),
            produce: 40,
            sync: 20,
            read: 15,
            consume: sometimes(15),
            commit: sometimes(8),
            flush: 2 + sometimes(10),
            delete: sometimes(4),
            retention: sometimes(4),
            merge: sometimes(6),
            sweep: sometimes(3),
            disconnect: sometimes(4),
            outage: sometimes(2),
            no_space: sometimes(2),
            crash: 1 + sometimes(3),
            kill: sometimes(3),
            rot: sometimes(2),
            rival: sometimes(2),
            stop: sometimes(2),
            compact: sometimes(8),
            team: sometimes(20),
            rain,
        }
    }
}

/// What goes wrong with requests, and how often of a thousand. Bodies of the catalog's files are
/// spared: its database has checksums and tests of its own.
fn rain(sometimes: &mut impl FnMut(u64) -> u64) -> Vec<Rule> {
    let slow = |most: u64| Fault::Slow(Duration::from_millis(20), Duration::from_millis(most));
    let history = [
        (Fault::RequestLost, 160),
        (Fault::ReplyLost, 120),
        (Fault::Unavailable, 100),
        (Fault::Throttled, 100),
        (Fault::Full, 60),
        (slow(3000), 300),
        (Fault::FlippedBit, 60),
        (Fault::TruncatedBody, 60),
        (Fault::BrokenBody, 60),
        (Fault::WrongRange, 60),
    ];
    let catalog = [
        (Fault::RequestLost, 80),
        (Fault::ReplyLost, 60),
        (Fault::Unavailable, 50),
        (slow(3000), 150),
    ];
    let mut rules = Vec::new();
    for (below, faults) in [(OBJECTS_PREFIX, &history[..]), ("catalog", &catalog[..])] {
        for (fault, weight) in faults {
            rules.push(Rule::new(*fault).below(below).chance(sometimes(*weight)));
        }
    }
    rules.push(Rule::new(Fault::Stale).on([Operation::List]).chance(sometimes(500)));
    // A store whose every request takes a second.
    let second = Fault::Slow(Duration::from_secs(1), Duration::from_secs(1));
    if sometimes(10) == 10 {
        rules.push(Rule::new(second).on([Operation::Put, Operation::Get, Operation::List]));
    }
    rules
}

/// The run so far, for whoever has to understand it, and to compare.
#[derive(Debug, Default)]
pub(crate) struct History {
    lines: Vec<String>,
}

impl History {
    pub(crate) fn note(&mut self, line: impl Into<String>) {
        self.lines.push(line.into());
    }

    pub(crate) fn lines(&self) -> &[String] {
        &self.lines
    }
}

/// See the module's page.
#[derive(Debug)]
pub(crate) struct World {
    pub(crate) dice: Dice,
    pub(crate) mix: Mix,
    pub(crate) mutation: Option<Mutation>,
    pub(crate) clock: Arc<ManualClock>,
    pub(crate) environment: Environment,
    pub(crate) bucket: Arc<dyn ObjectStore>,
    pub(crate) plan: FaultPlan,
    pub(crate) disk: SimulatedDisk,
    /// The disk before a bit of it rotted.
    pub(crate) before_rot: Option<SimulatedDisk>,
    /// Openings of the log so far.
    pub(crate) openings: u64,
    pub(crate) scratch: TempDir,
    pub(crate) data_dir_id: Uuid,
    pub(crate) partitions: Vec<Partition>,
    pub(crate) producers: Vec<Producer>,
    pub(crate) consumers: Vec<Consumer>,
    pub(crate) committed: Vec<Committed>,
    pub(crate) team: Team,
    /// Batches by partition and offset, for the defect that serves them for ever.
    pub(crate) first_seen: BTreeMap<(usize, i64), Bytes>,
    pub(crate) history: History,
}

impl World {
    pub(crate) fn new(seed: u64, mutation: Option<Mutation>) -> Self {
        let mut dice = Dice::new(seed);
        let mix = Mix::of(&mut dice);
        let clock = Arc::new(ManualClock::starting_at(STARTED_AT));
        let entropy = Arc::new(SeededEntropy::new(dice.next()));
        let environment = Environment { clock: Arc::clone(&clock) as _, entropy };
        fixed::begin(dice.next(), Duration::from_millis(STARTED_AT.get() as u64));
        let producers = (0..PRODUCERS).map(|index| {
            let identity = (index % 3 != 2).then(|| ProducerId(1000 + index as i64));
            let kept = PARTITIONS - COMPACTED;
            let partition = match index / 3 {
                2 => kept + dice.index(COMPACTED),
                _ => dice.index(kept),
            };
            Producer::new(index, partition, identity)
        });
        Self {
            producers: producers.collect(),
            consumers: (0..PARTITIONS).map(Consumer::new).collect(),
            committed: vec![Committed::default(); PARTITIONS],
            team: Team::new(),
            plan: FaultPlan::seeded(seed ^ 0xb0cc),
            data_dir_id: environment.entropy.uuid(),
            bucket: Arc::new(InMemory::new()),
            disk: SimulatedDisk::default(),
            before_rot: None,
            openings: 0,
            scratch: scratch(),
            partitions: (0..PARTITIONS).map(Partition::new).collect(),
            first_seen: BTreeMap::new(),
            history: History::default(),
            dice,
            mix,
            mutation,
            clock,
            environment,
        }
    }

    /// How producers choose keys in this run.
    pub(crate) fn keys(&self) -> Keys {
        match self.mutation {
            Some(Mutation::ConfusesKeys) => Keys::Confused,
            _ => Keys::OfTheirOwn,
        }
    }

    /// Notes how often readers came across what compaction left.
    pub(crate) fn tell_what_compaction_took(&mut self) {
        for model in &self.partitions {
            let Some(Tally { superseded, expired }) = model.keyed.as_ref().map(|k| k.tally) else {
                continue;
            };
            for (what, count) in [("superseded", superseded), ("expired", expired)] {
                if count > 0 {
                    self.history.note(format!("{what} p{} {count}", model.index));
                }
            }
        }
    }

    pub(crate) fn now(&self) -> Timestamp {
        self.environment.clock.now()
    }

    /// Lets time pass, for the broker's clock and for its timers.
    pub(crate) async fn pass(&self, time: Duration) {
        self.clock.advance(time);
        fixed::advance(time);
        tokio::time::sleep(time).await;
    }

    /// Whether bodies of history came back damaged at any time: a read may then say "corrupt".
    pub(crate) fn damages_bodies(&self) -> bool {
        let struck = self.plan.struck();
        ["flipped bit", "truncated body", "broken body", "wrong range"]
            .iter()
            .any(|fault| struck.contains_key(fault))
    }

    /// From now on things go wrong as often as this run's mix says.
    pub(crate) fn let_it_rain(&self) {
        self.plan.clear();
        self.mix.rain.iter().for_each(|rule| self.plan.add(rule.clone()));
    }
}

/// A folder for the files that recovery reads; in memory where the system has such a place.
fn scratch() -> TempDir {
    let memory = std::path::Path::new("/dev/shm");
    let made = if memory.is_dir() { tempfile::tempdir_in(memory) } else { tempfile::tempdir() };
    made.expect("a folder for the log")
}
