//! A shard with a log under it, driven by hand: time, durability and member ids are the test's.

#![allow(dead_code, reason = "each test binary uses its part")]

pub(crate) mod script;
pub(crate) mod text;

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use antiphon_common::Timestamp;
use antiphon_coordinator::*;
use uuid::Uuid;

/// Wall time when a world begins.
pub(crate) const EPOCH_MS: i64 = 1_700_000_000_000;

/// A shard, the log it writes, and the requests that wait.
#[derive(Debug)]
pub(crate) struct World {
    pub(crate) shard: GroupShard,
    pub(crate) options: GroupOptions,
    pub(crate) elapsed: Duration,
    /// Appends handed out and not decided yet.
    pub(crate) undecided: BTreeMap<AppendId, Append>,
    /// Records of successful appends by append, in the order of the appends. Restarts are counted
    /// in the first number because append ids start over.
    pub(crate) log: BTreeMap<(u32, AppendId), Vec<GroupRecord>>,
    pub(crate) restarts: u32,
    pub(crate) waiting: BTreeSet<ReplyToken>,
    last_uuid: u128,
}

impl World {
    pub(crate) fn new(options: GroupOptions) -> Self {
        let mut world = Self {
            shard: GroupShard::new(options.clone()),
            options,
            elapsed: Duration::ZERO,
            undecided: BTreeMap::new(),
            log: BTreeMap::new(),
            restarts: 0,
            waiting: BTreeSet::new(),
            last_uuid: 0,
        };
        let effects = world.shard.load_finished(world.now());
        assert_eq!(effects, Effects::default());
        world
    }

    pub(crate) fn now(&self) -> Now {
        let wall = Timestamp(EPOCH_MS + self.elapsed.as_millis() as i64);
        Now { wall, monotonic: self.elapsed }
    }

    pub(crate) fn fresh_uuid(&mut self) -> Uuid {
        self.last_uuid += 1;
        Uuid::from_u128(self.last_uuid)
    }

    /// Notes a request that must be answered once.
    pub(crate) fn ask(&mut self, token: ReplyToken) -> ReplyToken {
        assert!(self.waiting.insert(token), "token {} is used twice", token.0);
        token
    }

    /// Notes what a call left behind, checking that nobody is answered twice.
    pub(crate) fn take(&mut self, effects: Effects) -> Effects {
        for (token, reply) in &effects.replies {
            assert!(self.waiting.remove(token), "answered twice: {} {reply:?}", token.0);
        }
        for append in &effects.appends {
            assert!(!append.records.is_empty(), "an append without records");
            assert!(self.undecided.insert(append.id, append.clone()).is_none());
        }
        effects
    }

    pub(crate) fn succeed(&mut self, id: AppendId) -> Effects {
        let append = self.undecided.remove(&id).expect("an undecided append");
        self.log.insert((self.restarts, id), append.records);
        let effects = self.shard.append_succeeded(id, self.now());
        self.take(effects)
    }

    pub(crate) fn fail(&mut self, id: AppendId, error: AppendError) -> Effects {
        self.undecided.remove(&id).expect("an undecided append");
        let effects = self.shard.append_failed(id, error, self.now());
        self.take(effects)
    }

    /// Another shard that has replayed this one's log.
    pub(crate) fn successor(&self) -> GroupShard {
        let mut shard = GroupShard::new(self.options.clone());
        for record in self.log.values().flatten() {
            let EncodedRecord { key, value } = record.encode();
            assert_eq!(shard.replay(&key, value.as_ref()), Replayed::Applied);
        }
        shard
    }

    /// The broker crashes: whoever waits is cut off, undecided appends are lost.
    pub(crate) fn restart(&mut self) -> Effects {
        self.waiting.clear();
        self.undecided.clear();
        self.restarts += 1;
        self.shard = self.successor();
        let effects = self.shard.load_finished(self.now());
        self.take(effects)
    }

    /// Moves time on, stopping at each deadline on the way.
    pub(crate) fn advance(&mut self, by: Duration) -> Vec<(Duration, Effects)> {
        let end = self.elapsed + by;
        let mut happened = Vec::new();
        while let Some(at) = self.shard.next_deadline().filter(|at| *at <= end) {
            self.elapsed = self.elapsed.max(at);
            let effects = self.shard.tick(self.now());
            let effects = self.take(effects);
            if effects != Effects::default() {
                happened.push((self.elapsed, effects));
            }
        }
        self.elapsed = end;
        happened
    }
}
