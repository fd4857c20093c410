//! Random histories. Whatever clients ask, whenever the log answers:
//!
//! - every request that is answered later is answered exactly once, at the latest when all timers
//!   have passed;
//! - whoever replays the records that became durable knows what the shard knows: the offsets of
//!   every group, and the generation, members and assignments of every group at rest.

mod support;

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use antiphon_common::{LeaderEpoch, Offset, PartitionIndex};
use antiphon_coordinator::*;
use bytes::Bytes;
use proptest::prelude::*;
use support::World;

const GROUPS: [&str; 2] = ["orders", "payments"];
const TOPICS: [&str; 2] = ["t", "u"];

/// Small numbers that choose among what exists when the operation is run.
#[derive(Clone, Debug)]
enum Operation {
    Join { group: usize, member: usize, instance: usize, protocols: usize, version: i32 },
    Sync { group: usize, member: usize, leave_out: bool },
    Heartbeat { group: usize, member: usize },
    Leave { group: usize, member: usize, by_instance: bool },
    Commit { group: usize, member: usize, topic: usize, offset: i64, as_admin: bool },
    DeleteOffsets { group: usize, topic: usize },
    DeleteGroup { group: usize },
    DeleteTopic { topic: usize },
    Wait { ms: u64 },
    Decide { append: usize, succeeds: bool },
}

fn operation() -> impl Strategy<Value = Operation> {
    let (group, member) = (0..GROUPS.len(), 0..8usize);
    let topic = 0..TOPICS.len();
    prop_oneof![
        6 => (group.clone(), member.clone(), 0..4usize, 0..4usize, 1..10i32).prop_map(
            |(group, member, instance, protocols, version)| {
                Operation::Join { group, member, instance, protocols, version }
            }
        ),
        6 => (group.clone(), member.clone(), any::<bool>())
            .prop_map(|(group, member, leave_out)| Operation::Sync { group, member, leave_out }),
        2 => (group.clone(), member.clone())
            .prop_map(|(group, member)| Operation::Heartbeat { group, member }),
        1 => (group.clone(), member.clone(), any::<bool>())
            .prop_map(|(group, member, by_instance)| Operation::Leave { group, member, by_instance }),
        3 => (group.clone(), member, topic.clone(), 0..100i64, any::<bool>()).prop_map(
            |(group, member, topic, offset, as_admin)| {
                Operation::Commit { group, member, topic, offset, as_admin }
            }
        ),
        1 => (group.clone(), topic.clone())
            .prop_map(|(group, topic)| Operation::DeleteOffsets { group, topic }),
        1 => group.prop_map(|group| Operation::DeleteGroup { group }),
        1 => topic.prop_map(|topic| Operation::DeleteTopic { topic }),
        4 => (0..12_000u64).prop_map(|ms| Operation::Wait { ms }),
        6 => (any::<usize>(), prop::bool::weighted(0.9))
            .prop_map(|(append, succeeds)| Operation::Decide { append, succeeds }),
    ]
}

/// What clients remember of a group.
#[derive(Debug, Default)]
struct Clients {
    ids: Vec<MemberId>,
    generation: Generation,
    /// The last decided append with a record of the group, and whether it was lost.
    last_record: Option<(AppendId, bool)>,
}

#[derive(Debug)]
struct History {
    world: World,
    clients: BTreeMap<&'static str, Clients>,
    tokens: u64,
}

impl History {
    fn new() -> Self {
        let clients = GROUPS.into_iter().map(|group| (group, Clients::default())).collect();
        Self { world: World::new(GroupOptions::default()), clients, tokens: 0 }
    }

    fn token(&mut self) -> ReplyToken {
        self.tokens += 1;
        self.world.ask(ReplyToken(self.tokens))
    }

    /// A member id that some client holds, or none.
    fn member(&self, group: usize, member: usize) -> MemberId {
        let ids = &self.clients[GROUPS[group]].ids;
        ids.iter().rev().nth(member).cloned().unwrap_or_default()
    }

    fn generation(&self, group: usize) -> Generation {
        self.clients[GROUPS[group]].generation
    }

    fn learn(&mut self, group: &'static str, effects: Effects) {
        let clients = self.clients.entry(group).or_default();
        for (_, reply) in self.world.take(effects).replies {
            learn(clients, &reply);
        }
    }

    fn run(&mut self, operation: Operation) {
        match operation {
            Operation::Join { .. } => self.join(operation),
            Operation::Sync { group, member, leave_out } => self.sync(group, member, leave_out),
            Operation::Heartbeat { group, member } => {
                let request = Heartbeat {
                    group_id: GROUPS[group].into(),
                    member_id: self.member(group, member),
                    group_instance_id: None,
                    generation: self.generation(group),
                };
                let _ = self.world.shard.heartbeat(&request, self.world.now());
            }
            Operation::Leave { group, member, by_instance } => {
                self.leave(group, member, by_instance);
            }
            Operation::Commit { .. } => self.commit(operation),
            Operation::DeleteOffsets { group, topic } => {
                let request = OffsetDelete {
                    group_id: GROUPS[group].into(),
                    partitions: vec![partition(topic)],
                };
                let token = self.token();
                let effects = self.world.shard.delete_offsets(token, request, self.world.now());
                self.learn(GROUPS[group], effects);
            }
            Operation::DeleteGroup { group } => {
                let token = self.token();
                let group_id = GROUPS[group].into();
                let effects = self.world.shard.delete_group(token, &group_id, self.world.now());
                self.learn(GROUPS[group], effects);
            }
            Operation::DeleteTopic { topic } => {
                let topics = [TopicName::from(TOPICS[topic])];
                let effects = self.world.shard.topics_deleted(&topics, self.world.now());
                self.learn(GROUPS[0], effects);
            }
            Operation::Wait { ms } => self.wait(Duration::from_millis(ms)),
            Operation::Decide { append, succeeds } => self.decide(append, succeeds),
        }
    }

    fn join(&mut self, operation: Operation) {
        let Operation::Join { group, member, instance, protocols, version } = operation else {
            return;
        };
        let instance = ["one", "two"].get(instance).copied().map(InstanceId::from);
        // A static member seldom knows its id: it restarts.
        let knows_id = instance.is_none() || member < 2;
        let names: &[&str] =
            [&["range"][..], &["range", "sticky"], &["sticky", "range"], &["range"]][protocols];
        let protocol = |name: &&str| Protocol {
            name: (*name).to_owned(),
            metadata: Bytes::from(format!("{name}{}", protocols / 3)),
        };
        let request = JoinGroup {
            group_id: GROUPS[group].into(),
            member_id: if knows_id { self.member(group, member) } else { MemberId::default() },
            group_instance_id: instance,
            client_id: "client".to_owned(),
            client_host: "/127.0.0.1".to_owned(),
            session_timeout_ms: 10_000,
            rebalance_timeout_ms: 15_000,
            protocol_type: "consumer".to_owned(),
            protocols: names.iter().map(protocol).collect(),
            require_known_member_id: version >= 4,
            skip_assignment_supported: version >= 9,
            fresh_uuid: self.world.fresh_uuid(),
        };
        let token = self.token();
        let effects = self.world.shard.join(token, &request, self.world.now());
        self.learn(GROUPS[group], effects);
    }

    fn sync(&mut self, group: usize, member: usize, leave_out: bool) {
        let ids = self.clients[GROUPS[group]].ids.iter();
        let assignments = ids
            .skip(usize::from(leave_out))
            .map(|id| (id.clone(), Bytes::from(format!("for {id} in {}", self.generation(group)))));
        let request = SyncGroup {
            group_id: GROUPS[group].into(),
            member_id: self.member(group, member),
            group_instance_id: None,
            generation: self.generation(group),
            protocol_type: None,
            protocol_name: None,
            assignments: assignments.collect(),
        };
        let token = self.token();
        let effects = self.world.shard.sync(token, request, self.world.now());
        self.learn(GROUPS[group], effects);
    }

    fn leave(&mut self, group: usize, member: usize, by_instance: bool) {
        let leaving = LeavingMember {
            member_id: if by_instance { MemberId::default() } else { self.member(group, member) },
            group_instance_id: by_instance.then(|| "one".into()),
        };
        let request = LeaveGroup { group_id: GROUPS[group].into(), members: vec![leaving] };
        let token = self.token();
        let effects = self.world.shard.leave(token, &request, self.world.now());
        self.learn(GROUPS[group], effects);
    }

    fn commit(&mut self, operation: Operation) {
        let Operation::Commit { group, member, topic, offset, as_admin } = operation else {
            return;
        };
        let request = OffsetCommit {
            group_id: GROUPS[group].into(),
            member_id: if as_admin { MemberId::default() } else { self.member(group, member) },
            group_instance_id: None,
            generation: if as_admin { Generation::NONE } else { self.generation(group) },
            retention_ms: None,
            offsets: vec![OffsetToCommit {
                partition: partition(topic),
                offset: Offset(offset),
                leader_epoch: LeaderEpoch(1),
                metadata: String::new(),
            }],
        };
        let token = self.token();
        let effects = self.world.shard.commit_offsets(token, request, self.world.now());
        self.learn(GROUPS[group], effects);
    }

    fn wait(&mut self, by: Duration) {
        for (_, effects) in self.world.advance(by) {
            for (_, reply) in &effects.replies {
                // Only the member that waited can tell whose reply this is; telling all does no harm.
                self.clients.values_mut().for_each(|clients| learn(clients, reply));
            }
        }
    }

    fn decide(&mut self, choice: usize, succeeds: bool) {
        let count = self.world.undecided.len();
        let Some(id) = (count > 0).then(|| choice % count) else { return };
        let id = *self.world.undecided.keys().nth(id).expect("an append at this position");
        let group = self.world.undecided[&id].records.iter().find_map(|record| match record {
            GroupRecord::GroupMetadata { group_id, .. } => Some(group_id.clone()),
            GroupRecord::OffsetCommit { .. } => None,
        });
        if let Some(clients) = group.and_then(|group| self.clients.get_mut(group.as_str())) {
            clients.last_record = clients.last_record.max(Some((id, !succeeds)));
        }
        if succeeds {
            let _ = self.world.succeed(id);
        } else {
            let _ = self.world.fail(id, AppendError::Unavailable);
        }
    }

    /// Decides all appends in order, and those that come of it.
    fn settle(&mut self) {
        while !self.world.undecided.is_empty() {
            self.decide(0, true);
        }
    }

    fn check_replay(&self) -> Result<(), TestCaseError> {
        let mut successor = self.world.successor();
        let _ = successor.load_finished(self.world.now());
        for group in GROUPS {
            let group_id = GroupId::from(group);
            let offsets = self.world.shard.fetch_all_offsets(&group_id);
            prop_assert_eq!(&offsets, &successor.fetch_all_offsets(&group_id));
            let Ok(actual) = self.world.shard.describe(&group_id) else { continue };
            let is_at_rest = matches!(actual.state, GroupState::Empty | GroupState::Stable);
            let is_recorded = actual.generation > Generation::ZERO;
            let is_lost = self.clients[group].last_record.is_some_and(|(_, is_lost)| is_lost);
            if is_at_rest && is_recorded && !is_lost {
                prop_assert_eq!(Ok(actual), successor.describe(&group_id));
            }
        }
        Ok(())
    }
}

fn learn(clients: &mut Clients, reply: &Reply) {
    match reply {
        Reply::Join(Ok(joined)) => {
            clients.generation = joined.generation;
            clients.ids.retain(|id| *id != joined.member_id);
            clients.ids.push(joined.member_id.clone());
        }
        Reply::Join(Err(refused)) if refused.error == GroupError::MemberIdRequired => {
            clients.ids.push(refused.member_id.clone());
        }
        _ => {}
    }
}

fn partition(topic: usize) -> TopicPartition {
    TopicPartition { topic: TOPICS[topic].into(), partition: PartitionIndex(0) }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 400, ..ProptestConfig::default() })]

    #[test]
    fn every_request_is_answered_once_and_the_log_remembers(
        operations in prop::collection::vec(operation(), 1..120)
    ) {
        let mut history = History::new();
        for operation in operations {
            history.run(operation);
        }
        history.settle();
        history.check_replay()?;
        for _ in 0..20 {
            history.wait(Duration::from_secs(60));
            history.settle();
        }
        let waiting: BTreeSet<ReplyToken> = history.world.waiting.clone();
        prop_assert!(waiting.is_empty(), "never answered: {:?}", waiting);
        history.check_replay()?;
    }

    #[test]
    fn a_crash_at_any_time_loses_nothing_that_was_acknowledged(
        before in prop::collection::vec(operation(), 1..60),
        after in prop::collection::vec(operation(), 1..60),
    ) {
        let mut history = History::new();
        before.into_iter().for_each(|operation| history.run(operation));
        let effects = history.world.restart();
        history.learn(GROUPS[0], effects);
        // Appends that were lost in the crash are lost to both sides: the log is the only truth.
        history.clients.values_mut().for_each(|clients| clients.last_record = None);
        history.check_replay()?;
        after.into_iter().for_each(|operation| history.run(operation));
        history.settle();
        history.check_replay()?;
    }
}
