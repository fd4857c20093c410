//! The group coordinator's place in the broker: one shard of pure state for each partition of
//! `__consumer_offsets`, its log, its clock and its waiting clients.
//!
//! A shard's effects are carried out while the shard is locked, so that its batches reach the log in
//! the order in which the shard made them. Appending never blocks; when a batch is durable the shard
//! is told, and the answers that waited for it leave.

mod shard;

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use antiphon_coordinator::{
    GroupError, GroupId, GroupOptions, GroupShard, ListFilter, Now, Reply, ReplyToken, TopicName,
    partition_for,
};
use parking_lot::RwLock;
use tokio::sync::{Notify, watch};
use tracing::{info, warn};

use crate::admin::TopicRequest;
use crate::broker::Broker;
use crate::options::BrokerOptions;
use shard::Shard;

/// Kafka's name for the topic that holds groups and their offsets.
pub(crate) const OFFSETS_TOPIC: &str = "__consumer_offsets";
/// The longest that the timer task sleeps: a bound, not a poll; new deadlines wake it.
const TIMER_SLEEP_MAX: Duration = Duration::from_secs(60);

/// All shards, by partition. Empty until the topic exists.
#[derive(Debug)]
pub(crate) struct Groups {
    options: GroupOptions,
    shards: RwLock<Vec<Arc<Shard>>>,
    /// Rung when a deadline may have become earlier.
    deadlines: Arc<Notify>,
}

impl Groups {
    pub(crate) fn new(options: &BrokerOptions) -> Self {
        let options = GroupOptions {
            initial_rebalance_delay: options.initial_rebalance_delay,
            offsets_retention: options.offsets_retention,
            ..GroupOptions::default()
        };
        Self { options, shards: RwLock::default(), deadlines: Arc::new(Notify::new()) }
    }

    fn all(&self) -> Vec<Arc<Shard>> {
        self.shards.read().clone()
    }

    fn of(&self, group: &GroupId) -> Option<Arc<Shard>> {
        let shards = self.shards.read();
        let index = partition_for(group, shards.len() as i32)?;
        shards.get(usize::try_from(index.0).ok()?).cloned()
    }
}

impl Broker {
    /// The time, as coordinators want it.
    pub(crate) fn group_now(&self) -> Now {
        let clock = &self.environment().clock;
        Now { wall: clock.now(), monotonic: clock.monotonic() }
    }

    /// Brings the shards into being for the topic as it is now: at start for one that exists, and
    /// after its creation. Shards replay their partitions in the background.
    pub fn load_groups(self: &Arc<Self>) {
        let Some(topic) = self.topics().by_name(OFFSETS_TOPIC) else { return };
        let mut shards = self.groups().shards.write();
        if shards.len() == topic.partitions.len() {
            return;
        }
        let options = &self.groups().options;
        let make = |log: &Arc<_>| {
            let deadlines = Arc::clone(&self.groups().deadlines);
            Shard::new(GroupShard::new(options.clone()), Arc::clone(log), deadlines)
        };
        // A new number of partitions moves groups to other shards; every shard replays again.
        let fresh: Vec<Arc<Shard>> = topic.partitions.iter().map(make).collect();
        *shards = fresh.clone();
        drop(shards);
        let broker = Arc::clone(self);
        self.storage().history().spawn(async move { broker.replay_shards(fresh).await });
    }

    async fn replay_shards(self: Arc<Self>, shards: Vec<Arc<Shard>>) {
        for shard in shards {
            loop {
                match shard.replay(self.group_now()).await {
                    Ok(stats) => {
                        if stats.applied > 0 {
                            info!(partition = shard.id(), records = stats.applied, "groups loaded");
                        }
                        break;
                    }
                    Err(error) => {
                        warn!(partition = shard.id(), error = %crate::Chain(&error), "groups not loaded yet");
                        tokio::time::sleep(Duration::from_secs(1)).await;
                    }
                }
            }
        }
    }

    /// Creates `__consumer_offsets` if it does not exist. Kafka does so at the first request for a
    /// coordinator, too.
    pub(crate) async fn ensure_offsets_topic(self: &Arc<Self>) -> Result<(), GroupError> {
        if self.topics().by_name(OFFSETS_TOPIC).is_none() {
            let request = TopicRequest {
                name: OFFSETS_TOPIC.to_owned(),
                partitions: self.options().offsets_partitions,
                overrides: BTreeMap::from([
                    ("cleanup.policy".to_owned(), "compact".to_owned()),
                    ("compression.type".to_owned(), "producer".to_owned()),
                    ("segment.bytes".to_owned(), "104857600".to_owned()),
                ]),
                internal: true,
            };
            let created = self.create_topics(vec![request]).await.pop();
            match created {
                Some(Ok(_) | Err(crate::admin::AdminError::Exists(_))) => {}
                Some(Err(error)) => {
                    warn!(%error, "the offsets topic could not be created");
                    return Err(GroupError::CoordinatorNotAvailable);
                }
                None => return Err(GroupError::CoordinatorNotAvailable),
            }
        }
        self.load_groups();
        Ok(())
    }

    /// Asks a group's shard something that is answered later. `None` means that no shard exists
    /// or that the shard went away before it answered.
    pub(crate) async fn ask_group(
        &self,
        group: &GroupId,
        ask: impl FnOnce(&mut GroupShard, ReplyToken, Now) -> antiphon_coordinator::Effects,
    ) -> Option<Reply> {
        let shard = self.groups().of(group)?;
        let now = self.group_now();
        let answer = shard.ask(now, ask, self.environment());
        tokio::select! {
            answer = answer => answer.ok(),
            // A rebalance may take minutes; a stopping broker does not.
            () = self.stopped() => None,
        }
    }

    /// Asks a group's shard something that it answers at once.
    pub(crate) fn with_group<T>(
        &self,
        group: &GroupId,
        look: impl FnOnce(&mut GroupShard, Now) -> Result<T, GroupError>,
    ) -> Result<T, GroupError> {
        let shard = self.groups().of(group).ok_or(GroupError::NotCoordinator)?;
        let now = self.group_now();
        shard.look(|state| look(state, now))
    }

    /// Lists the groups of all shards.
    pub(crate) fn list_groups(
        &self,
        filter: &ListFilter,
    ) -> Result<Vec<antiphon_coordinator::GroupListing>, GroupError> {
        let mut listings = Vec::new();
        for shard in self.groups().all() {
            listings.extend(shard.look(|state| state.list(filter))?);
        }
        Ok(listings)
    }

    /// Drops the committed offsets of a deleted topic.
    pub(crate) async fn forget_topic_offsets(self: &Arc<Self>, topic: &str) {
        if topic == OFFSETS_TOPIC {
            self.groups().shards.write().clear();
            return;
        }
        let topics = [TopicName::from(topic)];
        for shard in self.groups().all() {
            let now = self.group_now();
            shard.change(|state| state.topics_deleted(&topics, now), self.environment());
        }
    }

    /// How many groups and committed offsets there are.
    pub(crate) fn group_counts(&self) -> (usize, usize) {
        let counts = self
            .groups()
            .all()
            .into_iter()
            .map(|shard| shard.look(|state| (state.group_count(), state.offset_count())));
        counts.fold((0, 0), |(groups, offsets), (g, o)| (groups + g, offsets + o))
    }

    /// Fires group timers when they are due.
    pub(crate) async fn run_group_timers(self: Arc<Self>) {
        let mut stop: watch::Receiver<bool> = self.stopping();
        while !*stop.borrow() {
            let now = self.group_now().monotonic;
            let next =
                self.groups().all().iter().filter_map(|s| s.look(|g| g.next_deadline())).min();
            let sleep =
                next.map_or(TIMER_SLEEP_MAX, |at| at.saturating_sub(now)).min(TIMER_SLEEP_MAX);
            tokio::select! {
                () = tokio::time::sleep(sleep) => {}
                () = self.groups().deadlines.notified() => continue,
                _ = stop.changed() => return,
            }
            let now = self.group_now();
            for shard in self.groups().all() {
                if shard.look(|state| state.next_deadline()).is_some_and(|at| at <= now.monotonic) {
                    shard.change(|state| state.tick(now), self.environment());
                }
            }
        }
    }
}
