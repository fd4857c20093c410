//! All members of a group, with the counts that every JoinGroup needs.
//!
//! When a group of thousands rebalances, each of its members sends a JoinGroup, and each of those
//! must know whether everybody is there and which protocols all offer. Counting anew each time
//! would make a rebalance quadratic.

use std::collections::{BTreeMap, BTreeSet};

use super::Member;
use crate::names::{InstanceId, MemberId};
use crate::replies::ReplyToken;
use crate::requests::{JoinGroup, Protocol};

/// The members by id. What is counted changes only through the methods here.
#[derive(Debug, Default)]
pub(crate) struct Members {
    by_id: BTreeMap<MemberId, Member>,
    by_instance: BTreeMap<InstanceId, MemberId>,
    awaiting_join: usize,
    /// How many members offer each protocol.
    offers: BTreeMap<String, usize>,
    metadata_bytes: usize,
}

impl Members {
    pub(in crate::group) fn len(&self) -> usize {
        self.by_id.len()
    }

    pub(in crate::group) fn is_empty(&self) -> bool {
        self.by_id.is_empty()
    }

    pub(in crate::group) fn contains(&self, id: &MemberId) -> bool {
        self.by_id.contains_key(id)
    }

    pub(in crate::group) fn get(&self, id: &MemberId) -> Option<&Member> {
        self.by_id.get(id)
    }

    pub(in crate::group) fn get_mut(&mut self, id: &MemberId) -> Option<&mut Member> {
        self.by_id.get_mut(id)
    }

    pub(in crate::group) fn iter(&self) -> impl Iterator<Item = &Member> {
        self.by_id.values()
    }

    pub(in crate::group) fn iter_mut(&mut self) -> impl Iterator<Item = &mut Member> {
        self.by_id.values_mut()
    }

    pub(in crate::group) fn ids(&self) -> Vec<MemberId> {
        self.by_id.keys().cloned().collect()
    }

    /// The current holder of an instance id.
    pub(in crate::group) fn holder_of(&self, instance_id: &InstanceId) -> Option<&MemberId> {
        self.by_instance.get(instance_id)
    }

    /// How many wait for an answer to their JoinGroup.
    pub(in crate::group) fn awaiting_join(&self) -> usize {
        self.awaiting_join
    }

    /// Whether every member offers this protocol.
    pub(in crate::group) fn all_offer(&self, protocol: &str) -> bool {
        self.offers.get(protocol).copied().unwrap_or(0) == self.len()
    }

    /// What all offers together cost in memory, in bytes.
    pub(in crate::group) fn metadata_bytes(&self) -> usize {
        self.metadata_bytes
    }

    pub(in crate::group) fn insert(&mut self, member: Member) {
        self.remove(&member.id);
        if let Some(instance_id) = &member.instance_id {
            self.by_instance.insert(instance_id.clone(), member.id.clone());
        }
        self.awaiting_join += usize::from(member.awaiting_join.is_some());
        self.metadata_bytes += member.metadata_bytes();
        for name in names(&member.protocols) {
            *self.offers.entry(name.to_owned()).or_default() += 1;
        }
        self.by_id.insert(member.id.clone(), member);
    }

    pub(in crate::group) fn remove(&mut self, id: &MemberId) -> Option<Member> {
        let member = self.by_id.remove(id)?;
        if let Some(instance_id) = &member.instance_id {
            self.by_instance.remove(instance_id);
        }
        self.awaiting_join -= usize::from(member.awaiting_join.is_some());
        self.metadata_bytes -= member.metadata_bytes();
        for name in names(&member.protocols) {
            match self.offers.get_mut(name) {
                Some(count) if *count > 1 => *count -= 1,
                _ => drop(self.offers.remove(name)),
            }
        }
        Some(member)
    }

    /// Takes over what a rejoining member says about itself.
    pub(in crate::group) fn update(&mut self, id: &MemberId, request: &JoinGroup) {
        if let Some(mut member) = self.remove(id) {
            member.update(request);
            self.insert(member);
        }
    }

    /// Lets the member wait with another request, or with none, and returns the one before.
    pub(in crate::group) fn await_join(
        &mut self,
        id: &MemberId,
        token: Option<ReplyToken>,
    ) -> Option<ReplyToken> {
        let member = self.by_id.get_mut(id)?;
        let earlier = std::mem::replace(&mut member.awaiting_join, token);
        self.awaiting_join -= usize::from(earlier.is_some());
        self.awaiting_join += usize::from(token.is_some());
        earlier
    }
}

/// Each name once, even if a client repeats itself.
fn names(protocols: &[Protocol]) -> BTreeSet<&str> {
    protocols.iter().map(|protocol| protocol.name.as_str()).collect()
}
