//! From the first sign that the group must rebalance to the replies to everybody's JoinGroup.

use std::collections::BTreeSet;
use std::time::Duration;

use bytes::Bytes;

use crate::error::GroupError;
use crate::names::MemberId;
use crate::replies::{GroupState, JoinedGroup, Reply};

use super::durability::AfterStore;
use super::timers::GroupTimer;
use super::{ClassicGroup, InitialDelay, Step, Store};

impl ClassicGroup {
    /// Starts a rebalance, or finishes the one that has begun if this was all it waited for.
    pub(super) fn rebalance(&mut self, step: &mut Step<'_>) {
        match self.state {
            GroupState::Empty => self.prepare_initial_rebalance(step),
            GroupState::Stable | GroupState::CompletingRebalance => self.prepare_rebalance(step),
            GroupState::PreparingRebalance => self.complete_join_if_all_joined(step),
            GroupState::Dead => {}
        }
    }

    fn prepare_initial_rebalance(&mut self, step: &mut Step<'_>) {
        self.transition_to(GroupState::PreparingRebalance, step.now);
        let delay = step.options.initial_rebalance_delay;
        if delay.is_zero() {
            return self.complete_join(step);
        }
        let remaining = self.rebalance_timeout().saturating_sub(delay);
        self.initial_delay = Some(InitialDelay { current: delay, remaining, member_added: false });
        self.timers.set(GroupTimer::InitialRebalance, step.now.after(delay));
    }

    /// Waits once more if somebody arrived during the last wait, but never longer in all than the
    /// members' rebalance timeout.
    pub(super) fn extend_or_complete_initial_delay(&mut self, step: &mut Step<'_>) {
        let Some(delay) = self.initial_delay else { return };
        if !delay.member_added || delay.remaining.is_zero() {
            return self.complete_join(step);
        }
        let current = step.options.initial_rebalance_delay.min(delay.remaining);
        let remaining = delay.remaining.saturating_sub(delay.current);
        self.initial_delay = Some(InitialDelay { current, remaining, member_added: false });
        self.timers.set(GroupTimer::InitialRebalance, step.now.after(current));
    }

    fn prepare_rebalance(&mut self, step: &mut Step<'_>) {
        if self.state == GroupState::CompletingRebalance {
            self.fail_sync(GroupError::RebalanceInProgress, step);
        }
        self.pending_sync.clear();
        self.timers.cancel(&GroupTimer::PendingSync);
        self.transition_to(GroupState::PreparingRebalance, step.now);
        if self.has_all_members_joined() {
            self.complete_join(step);
        } else {
            let timeout = self.rebalance_timeout();
            self.timers.set(GroupTimer::Rebalance, step.now.after(timeout));
        }
    }

    /// Answers everybody who waits for an assignment that will not come, and forgets assignments.
    pub(super) fn fail_sync(&mut self, error: GroupError, step: &mut Step<'_>) {
        let mut answered = Vec::new();
        for member in self.members.iter_mut() {
            member.assignment = Bytes::new();
            if let Some(token) = member.awaiting_sync.take() {
                step.reply(token, Reply::Sync(Err(error)));
                answered.push(member.id.clone());
            }
        }
        for member_id in &answered {
            self.restart_session(member_id, step);
        }
    }

    pub(super) fn complete_join_if_all_joined(&mut self, step: &mut Step<'_>) {
        let is_waiting = self.state == GroupState::PreparingRebalance;
        if is_waiting && self.initial_delay.is_none() && self.has_all_members_joined() {
            self.complete_join(step);
        }
    }

    fn has_all_members_joined(&self) -> bool {
        self.pending_members.is_empty() && self.members.awaiting_join() == self.members.len()
    }

    /// The longest that any member needs.
    fn rebalance_timeout(&self) -> Duration {
        self.members.iter().map(|member| member.rebalance_timeout).max().unwrap_or_default()
    }

    /// Closes the door: whoever rejoined is in the next generation. Dynamic members that did not
    /// are out; static ones stay until their session ends.
    pub(super) fn complete_join(&mut self, step: &mut Step<'_>) {
        self.initial_delay = None;
        self.timers.cancel(&GroupTimer::InitialRebalance);
        self.timers.cancel(&GroupTimer::Rebalance);
        if self.state != GroupState::PreparingRebalance {
            return;
        }
        self.remove_dynamic_members_not_rejoined(step);
        if !self.elect_rejoined_leader() && !self.members.is_empty() {
            // Only static members are left and none of them came back yet: nobody could assign.
            let timeout = self.rebalance_timeout();
            self.timers.set(GroupTimer::Rebalance, step.now.after(timeout));
            return;
        }
        self.generation = self.generation.next();
        if self.members.is_empty() {
            self.become_empty(step);
        } else {
            self.begin_generation(step);
        }
    }

    fn remove_dynamic_members_not_rejoined(&mut self, step: &mut Step<'_>) {
        let absent: Vec<MemberId> = self
            .members
            .iter()
            .filter(|member| member.awaiting_join().is_none() && member.instance_id.is_none())
            .map(|member| member.id.clone())
            .collect();
        for member_id in &absent {
            tracing::debug!(group = %self.id, member = %member_id, "member did not rejoin in time");
            self.remove_member(member_id, GroupError::UnknownMemberId, step);
        }
    }

    /// Keeps the leader if it rejoined, else makes the first that did the leader.
    fn elect_rejoined_leader(&mut self) -> bool {
        let rejoined = |id: &MemberId| {
            self.members.get(id).is_some_and(|member| member.awaiting_join().is_some())
        };
        if self.leader.as_ref().is_some_and(rejoined) {
            return true;
        }
        let mut members = self.members.iter();
        let Some(first) = members.find(|member| member.awaiting_join().is_some()) else {
            return false;
        };
        self.leader = Some(first.id.clone());
        true
    }

    fn become_empty(&mut self, step: &mut Step<'_>) {
        self.protocol_name = None;
        self.leader = None;
        self.pending_sync.clear();
        self.transition_to(GroupState::Empty, step.now);
        let record = self.record(|_| Bytes::new());
        step.stores.push(Store { record, then: AfterStore::GroupEmptied });
    }

    fn begin_generation(&mut self, step: &mut Step<'_>) {
        self.protocol_name = self.elect_protocol();
        self.transition_to(GroupState::CompletingRebalance, step.now);
        let member_ids = self.members.ids();
        for member_id in &member_ids {
            let reply = self.joined(member_id);
            let token = self.members.await_join(member_id, None);
            step.reply_if_any(token, || Reply::Join(Ok(reply)));
            if let Some(member) = self.members.get_mut(member_id) {
                member.is_new = false;
            }
            self.restart_session(member_id, step);
        }
        self.pending_sync = BTreeSet::from_iter(member_ids);
        let timeout = self.rebalance_timeout();
        self.timers.set(GroupTimer::PendingSync, step.now.after(timeout));
    }

    /// The reply to a member of the current generation. Only the leader sees the others.
    pub(super) fn joined(&self, member_id: &MemberId) -> JoinedGroup {
        let protocol = self.protocol_name.as_deref();
        let members = if self.is_leader(member_id) {
            self.members.iter().map(|member| member.as_joined(protocol)).collect()
        } else {
            Vec::new()
        };
        JoinedGroup {
            generation: self.generation,
            protocol_type: self.protocol_type.clone(),
            protocol_name: self.protocol_name.clone(),
            leader: self.leader.clone().unwrap_or_default(),
            skip_assignment: false,
            member_id: member_id.clone(),
            members,
        }
    }

    /// Each member votes for its first choice among the protocols that all of them offer; a tie
    /// goes to the one that the leader prefers.
    pub(super) fn elect_protocol(&self) -> Option<String> {
        let leader = self.leader.as_ref().and_then(|leader| self.members.get(leader))?;
        let offered = leader.protocols().iter().map(|protocol| protocol.name.as_str());
        let candidates: Vec<&str> = offered.filter(|name| self.members.all_offer(name)).collect();
        let mut winner = None;
        let mut votes_of_winner = 0;
        for candidate in &candidates {
            let ballots = self.members.iter().map(|member| member.vote(&candidates));
            let votes = ballots.filter(|vote| *vote == Some(candidate)).count();
            if votes > votes_of_winner {
                (winner, votes_of_winner) = (Some(*candidate), votes);
            }
        }
        winner.map(str::to_owned)
    }
}
