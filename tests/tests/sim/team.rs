//! One consumer group whose members come, go, fall asleep and die, and what its clients may expect of
//! the coordinator, whichever process it lives in:
//!
//! 1. Within a generation each partition has one owner: the one that the leader chose.
//! 2. Who slept through a rebalance commits nothing with the generation it still believes in.
//! 3. Whoever takes over a partition finds every position that was confirmed, or a later one.
//! 4. When nothing fails any more, everybody who is awake gets a share, and all partitions are taken.
//!
//! Members behave as Kafka's classic consumer does: they join with the id they have, the leader shares
//! out, everybody fetches positions, sends heartbeats, and joins again when it is told to.

use std::collections::BTreeMap;

use antiphon_common::{LeaderEpoch, Offset};
use antiphon_coordinator::{
    Generation, GroupError, GroupId, Heartbeat, JoinGroup, JoinedGroup, LeaveGroup, LeavingMember,
    MemberId, OffsetCommit, OffsetToCommit, Protocol, Reply, ReplyToken, SyncGroup,
};
use bytes::Bytes;
use uuid::Uuid;

use super::dice::Dice;
use super::groups::{Asked, Committed, Groups, place};
use super::model::{Checked, Violation, ensure};
use super::world::PARTITIONS;

const MEMBERS: usize = 4;
/// How long a member may be silent, and how long the others wait for it in a rebalance.
const SESSION_TIMEOUT_MS: i32 = 6_000;
const REBALANCE_TIMEOUT_MS: i32 = 4_000;

/// Where a member stands.
#[derive(Clone, Debug, Default)]
enum State {
    /// Not started.
    #[default]
    Away,
    /// Wants to be in the group.
    Outside,
    Joins(ReplyToken),
    /// In, and not told what to do.
    Joined(JoinedGroup),
    Syncs(ReplyToken, Generation),
    Owns(Generation),
}

#[derive(Clone, Debug, Default)]
struct Member {
    id: MemberId,
    /// Does nothing at all, like a process that was stopped.
    asleep: bool,
    state: State,
    positions: BTreeMap<usize, i64>,
    commit: Option<Commit>,
}

/// A commit without an answer.
#[derive(Clone, Debug)]
struct Commit {
    token: ReplyToken,
    positions: BTreeMap<usize, i64>,
    /// Somebody had a share in a later generation when this was sent.
    outdated: bool,
}

/// The members and what they know, across all processes of the broker.
#[derive(Debug)]
pub(crate) struct Team {
    members: Vec<Member>,
    /// Who owns a partition in a generation.
    owners: BTreeMap<(Generation, usize), MemberId>,
    newest: Generation,
    committed: Vec<Committed>,
}

impl Team {
    pub(crate) fn new() -> Self {
        Self {
            members: vec![Member::default(); MEMBERS],
            owners: BTreeMap::new(),
            newest: Generation::ZERO,
            committed: vec![Committed::default(); PARTITIONS],
        }
    }

    /// The broker's process has ended: what was asked has no answer.
    pub(crate) fn disconnect(&mut self) {
        for member in &mut self.members {
            member.commit = None;
            if !matches!(member.state, State::Away | State::Owns(_)) {
                member.state = State::Outside;
            }
        }
    }

    /// Rule 3, for all partitions.
    pub(crate) fn check_positions(&self, groups: &Groups) -> Checked {
        (0..PARTITIONS).try_for_each(|partition| {
            let found = groups.position_of(&group_id(), partition);
            self.committed[partition].check(partition, found)
        })
    }

    /// Something happens to one of the members.
    pub(crate) fn surprise(&mut self, dice: &mut Dice, groups: &mut Groups) -> String {
        let index = dice.index(MEMBERS);
        let member = &mut self.members[index];
        let what = match (&member.state, dice.below(8)) {
            (State::Away, _) => {
                member.state = State::Outside;
                "starts"
            }
            (_, 0) => {
                *member = Member::default();
                "dies"
            }
            (_, 1) => {
                let leaving = std::mem::take(member);
                groups.ask(Asked::Leave(leave(leaving.id)));
                "leaves"
            }
            (_, 2 | 3) => {
                member.asleep = !member.asleep;
                if member.asleep { "falls asleep" } else { "wakes" }
            }
            (State::Owns(generation), _) => {
                let generation = *generation;
                self.commit(index, generation, dice, groups);
                "commits"
            }
            _ => "waits",
        };
        format!("member m{index} {what}")
    }

    /// The member has read on, and says so. One that was asleep does not know what it missed.
    fn commit(&mut self, index: usize, generation: Generation, dice: &mut Dice, to: &mut Groups) {
        let member = &mut self.members[index];
        if member.commit.is_some() || member.positions.is_empty() {
            return;
        }
        for position in member.positions.values_mut() {
            *position += dice.below(5) as i64;
        }
        let positions = member.positions.clone();
        for (partition, position) in &positions {
            self.committed[*partition].send(*position);
        }
        let offsets = positions.iter().map(|(partition, position)| OffsetToCommit {
            partition: place(*partition),
            offset: Offset(*position),
            leader_epoch: LeaderEpoch::NONE,
            metadata: String::new(),
        });
        let token = to.ask(Asked::Commit(OffsetCommit {
            group_id: group_id(),
            member_id: member.id.clone(),
            group_instance_id: None,
            generation,
            retention_ms: None,
            offsets: offsets.collect(),
        }));
        member.commit = Some(Commit { token, positions, outdated: generation < self.newest });
    }

    /// Everybody who is awake does what comes next, after the answers were read. Returns what is
    /// worth telling.
    pub(crate) fn turn(
        &mut self,
        groups: &mut Groups,
        mut fresh_uuid: impl FnMut() -> Uuid,
    ) -> Checked<Vec<String>> {
        let mut told = Vec::new();
        for (token, reply) in groups.take_answers() {
            told.extend(self.take_in(token, reply, groups)?);
        }
        for member in self.members.iter_mut().filter(|member| !member.asleep) {
            match std::mem::take(&mut member.state) {
                State::Outside => {
                    let asked = Asked::Join(join(&member.id, fresh_uuid()));
                    member.state = State::Joins(groups.ask(asked));
                }
                State::Joined(joined) => {
                    let generation = joined.generation;
                    let asked = Asked::Sync(sync(&member.id, &joined));
                    member.state = State::Syncs(groups.ask(asked), generation);
                }
                State::Owns(generation) => {
                    member.state = State::Owns(generation);
                    let alive = groups.heartbeat(&heartbeat(&member.id, generation));
                    alive.unwrap_or_else(|error| member.refused(error));
                }
                waits => member.state = waits,
            }
        }
        Ok(told)
    }

    fn take_in(
        &mut self,
        token: ReplyToken,
        reply: Reply,
        groups: &Groups,
    ) -> Checked<Option<String>> {
        match reply {
            Reply::Join(joined) => {
                let asked =
                    |member: &&mut Member| matches!(member.state, State::Joins(t) if t == token);
                let Some(member) = self.members.iter_mut().find(asked) else { return Ok(None) };
                match joined {
                    Ok(joined) => {
                        member.id = joined.member_id.clone();
                        member.state = State::Joined(joined);
                    }
                    Err(refused) => {
                        member.refused(refused.error);
                        if refused.error == GroupError::MemberIdRequired {
                            member.id = refused.member_id;
                        }
                    }
                }
                Ok(None)
            }
            Reply::Sync(synced) => {
                let asked =
                    |member: &Member| matches!(member.state, State::Syncs(t, _) if t == token);
                let Some(index) = self.members.iter().position(asked) else { return Ok(None) };
                match synced {
                    Ok(synced) => self.take_share(index, &synced.assignment, groups).map(Some),
                    Err(error) => {
                        self.members[index].refused(error);
                        Ok(None)
                    }
                }
            }
            Reply::OffsetCommit(results) => self.confirmed(token, &results),
            _ => Ok(None),
        }
    }

    /// Rules 1 and 3.
    fn take_share(&mut self, index: usize, share: &Bytes, groups: &Groups) -> Checked<String> {
        let member = &mut self.members[index];
        let State::Syncs(_, generation) = member.state else { return Ok(String::new()) };
        member.state = State::Owns(generation);
        member.positions.clear();
        let partitions = parse_share(share, generation, &member.id)?;
        for &partition in &partitions {
            let owner = self.owners.entry((generation, partition)).or_insert(member.id.clone());
            ensure(*owner == member.id, "assignment", || {
                format!("p{partition} is {owner}'s and {}'s in {generation}", member.id)
            })?;
            let found = groups.position_of(&group_id(), partition);
            self.committed[partition].check(partition, found)?;
            member.positions.insert(partition, found.unwrap_or(0));
        }
        self.newest = self.newest.max(generation);
        Ok(format!("share of m{index} in {generation}: {partitions:?}"))
    }

    /// Rule 2.
    fn confirmed(
        &mut self,
        token: ReplyToken,
        results: &[Result<(), GroupError>],
    ) -> Checked<Option<String>> {
        let asked = |member: &Member| member.commit.as_ref().is_some_and(|c| c.token == token);
        let Some(index) = self.members.iter().position(asked) else { return Ok(None) };
        let member = &mut self.members[index];
        let Some(commit) = member.commit.take() else { return Ok(None) };
        if let Some(error) = results.iter().find_map(|result| result.err()) {
            member.refused(error);
            return Ok(Some(format!("team refused m{index}: {error:?}")));
        }
        ensure(!commit.outdated, "zombie-commit", || {
            format!("{:?} is confirmed", commit.positions)
        })?;
        for (partition, position) in &commit.positions {
            self.committed[*partition].confirm(*position);
        }
        Ok(Some(format!("team committed {:?}", commit.positions)))
    }

    /// Nothing fails any more: nobody sleeps, and somebody is there.
    pub(crate) fn wake(&mut self) {
        for member in &mut self.members {
            member.asleep = false;
            if matches!(member.state, State::Away) {
                member.state = State::Outside;
            }
        }
    }

    /// Rule 4: everybody is in the newest generation, and every partition is somebody's.
    pub(crate) fn is_settled(&self) -> bool {
        let owns = |member: &Member| matches!(member.state, State::Owns(g) if g == self.newest);
        let taken: usize = self.members.iter().map(|member| member.positions.len()).sum();
        self.members.iter().all(owns) && taken == PARTITIONS
    }
}

impl Member {
    /// What a client does when the coordinator says no.
    fn refused(&mut self, error: GroupError) {
        match error {
            GroupError::UnknownMemberId | GroupError::FencedInstanceId => {
                self.id = MemberId::default();
                self.state = State::Outside;
            }
            GroupError::RebalanceInProgress
            | GroupError::IllegalGeneration
            | GroupError::MemberIdRequired => self.state = State::Outside,
            // Asked again later; who owns something goes on with it.
            _ if matches!(self.state, State::Owns(_)) => {}
            _ => self.state = State::Outside,
        }
    }
}

fn group_id() -> GroupId {
    GroupId::from("team")
}

fn join(member_id: &MemberId, fresh_uuid: Uuid) -> JoinGroup {
    JoinGroup {
        group_id: group_id(),
        member_id: member_id.clone(),
        group_instance_id: None,
        client_id: "member".to_owned(),
        client_host: "/127.0.0.1".to_owned(),
        session_timeout_ms: SESSION_TIMEOUT_MS,
        rebalance_timeout_ms: REBALANCE_TIMEOUT_MS,
        protocol_type: "consumer".to_owned(),
        protocols: vec![Protocol { name: "range".to_owned(), metadata: Bytes::new() }],
        require_known_member_id: true,
        skip_assignment_supported: false,
        fresh_uuid,
    }
}

/// The leader shares out the partitions in turn.
fn sync(member_id: &MemberId, joined: &JoinedGroup) -> SyncGroup {
    let count = joined.members.len();
    let share = |(index, member): (usize, &antiphon_coordinator::JoinedMember)| {
        let partitions = (0..PARTITIONS).filter(|partition| partition % count == index);
        let listed: Vec<_> = partitions.map(|partition| partition.to_string()).collect();
        let share = format!("{}/{}/{}", joined.generation, member.member_id, listed.join(","));
        (member.member_id.clone(), Bytes::from(share))
    };
    SyncGroup {
        group_id: group_id(),
        member_id: member_id.clone(),
        group_instance_id: None,
        generation: joined.generation,
        protocol_type: joined.protocol_type.clone(),
        protocol_name: joined.protocol_name.clone(),
        assignments: joined.members.iter().enumerate().map(share).collect(),
    }
}

/// The partitions of a share, which says whose it is and when.
fn parse_share(share: &Bytes, generation: Generation, id: &MemberId) -> Checked<Vec<usize>> {
    let text = String::from_utf8_lossy(share).into_owned();
    let listed = text.strip_prefix(&format!("{generation}/{id}/"));
    let listed = listed.ok_or_else(|| Violation {
        rule: "assignment",
        detail: format!("{id} in {generation} was given {text:?}"),
    })?;
    Ok(listed.split(',').filter_map(|partition| partition.parse().ok()).collect())
}

fn heartbeat(member_id: &MemberId, generation: Generation) -> Heartbeat {
    let member_id = member_id.clone();
    Heartbeat { group_id: group_id(), member_id, group_instance_id: None, generation }
}

fn leave(member_id: MemberId) -> LeaveGroup {
    let members = vec![LeavingMember { member_id, group_instance_id: None }];
    LeaveGroup { group_id: group_id(), members }
}
