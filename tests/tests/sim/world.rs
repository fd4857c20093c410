//! What outlives a broker process: the bucket, the disk, the clients, and the checker's memory.

use std::sync::Arc;
use std::time::Duration;

use antiphon_common::{Environment, ManualClock, ProducerId, SeededEntropy, Timestamp};
use antiphon_wal::Replayed;
use object_store::ObjectStore;
use object_store::memory::InMemory;
use parking_lot::Mutex;
use uuid::Uuid;

use super::bucket::{Rates, Weather};
use super::dice::Dice;
use super::model::Partition;
use super::producer::Producer;

/// The first two expire by size and by age; the others keep what nobody deletes.
pub(crate) const PARTITIONS: usize = 4;
const PRODUCERS: usize = 6;
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
}

/// How often what happens: one random mix for each seed, some of it switched off (swarm testing,
/// Groce et al. 2012), because rare faults show best when common ones are away.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Mix {
    pub(crate) steps: u64,
    pub(crate) produce: u64,
    pub(crate) sync: u64,
    pub(crate) read: u64,
    pub(crate) flush: u64,
    pub(crate) delete: u64,
    pub(crate) retention: u64,
    pub(crate) disconnect: u64,
    pub(crate) outage: u64,
    pub(crate) crash: u64,
    pub(crate) stop: u64,
    pub(crate) history: Rates,
    pub(crate) catalog: Rates,
}

impl Mix {
    fn of(dice: &mut Dice) -> Self {
        let mut sometimes = |weight: u64| if dice.chance(700) { dice.below(weight) + 1 } else { 0 };
        let mut rates = |scale: u64| Rates {
            request_lost: sometimes(80 * scale),
            reply_lost: sometimes(60 * scale),
            slow: sometimes(150 * scale),
            flipped: sometimes(60 * scale),
        };
        let (history, catalog) = (rates(2), rates(1));
        Self {
            steps: 150 + sometimes(150),
            produce: 40,
            sync: 20,
            read: 15,
            flush: 2 + sometimes(10),
            delete: sometimes(4),
            retention: sometimes(4),
            disconnect: sometimes(4),
            outage: sometimes(2),
            crash: 1 + sometimes(3),
            stop: sometimes(2),
            history,
            catalog,
        }
    }
}

/// The run so far, for whoever has to understand it, and its hash.
#[derive(Debug, Default)]
pub(crate) struct History {
    lines: Vec<String>,
}

impl History {
    pub(crate) fn note(&mut self, line: impl Into<String>) {
        self.lines.push(line.into());
    }

    /// FNV-1a over all lines.
    pub(crate) fn hash(&self) -> u64 {
        let bytes = self.lines.iter().flat_map(|line| line.bytes().chain([b'\n']));
        bytes.fold(0xcbf2_9ce4_8422_2325, |hash, byte| {
            (hash ^ u64::from(byte)).wrapping_mul(0x0100_0000_01b3)
        })
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
    /// A step's background work ends before the next step begins.
    pub(crate) one_at_a_time: bool,
    pub(crate) clock: Arc<ManualClock>,
    pub(crate) environment: Environment,
    pub(crate) bucket: Arc<dyn ObjectStore>,
    pub(crate) weather: Arc<Mutex<Weather>>,
    pub(crate) disk: Vec<Replayed>,
    pub(crate) data_dir_id: Uuid,
    pub(crate) partitions: Vec<Partition>,
    pub(crate) producers: Vec<Producer>,
    pub(crate) history: History,
}

impl World {
    pub(crate) fn new(seed: u64, mutation: Option<Mutation>) -> Self {
        let mut dice = Dice::new(seed);
        let mix = Mix::of(&mut dice);
        let clock = Arc::new(ManualClock::starting_at(STARTED_AT));
        let entropy = Arc::new(SeededEntropy::new(dice.next()));
        let environment = Environment { clock: Arc::clone(&clock) as _, entropy };
        let producers = (0..PRODUCERS).map(|index| {
            let identity = (index % 3 != 2).then(|| ProducerId(1000 + index as i64));
            Producer::new(index, dice.index(PARTITIONS), identity)
        });
        Self {
            producers: producers.collect(),
            weather: Arc::new(Mutex::new(Weather::new(Dice::new(seed ^ 0xb0cc)))),
            data_dir_id: environment.entropy.uuid(),
            bucket: Arc::new(InMemory::new()),
            disk: Vec::new(),
            partitions: (0..PARTITIONS).map(Partition::new).collect(),
            history: History::default(),
            dice,
            mix,
            mutation,
            one_at_a_time: false,
            clock,
            environment,
        }
    }

    pub(crate) fn now(&self) -> Timestamp {
        self.environment.clock.now()
    }

    /// Lets time pass, for the broker's clock and for its timers.
    pub(crate) async fn pass(&self, time: Duration) {
        self.clock.advance(time);
        tokio::time::sleep(time).await;
    }

    /// From now on things go wrong as often as this run's mix says.
    pub(crate) fn let_it_rain(&self) {
        let mut weather = self.weather.lock();
        (weather.history, weather.catalog) = (self.mix.history, self.mix.catalog);
    }
}
