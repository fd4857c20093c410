//! What administrators see of a group, and what the offsets' rules ask of it.

use std::collections::BTreeSet;

use antiphon_common::Timestamp;

use crate::names::TopicName;
use crate::offsets::subscription;
use crate::replies::{GroupDescription, GroupListing, GroupState};

use super::{ClassicGroup, Member};

const CONSUMER_PROTOCOL_TYPE: &str = "consumer";

impl ClassicGroup {
    pub(crate) fn listing(&self) -> GroupListing {
        GroupListing {
            group_id: self.id.clone(),
            protocol_type: self.protocol_type.clone().unwrap_or_default(),
            state: self.state,
        }
    }

    /// Metadata and assignments are shown only while they belong together.
    pub(crate) fn description(&self) -> GroupDescription {
        let is_stable = self.state == GroupState::Stable;
        let protocol = self.protocol_name.as_deref().filter(|_| is_stable);
        GroupDescription {
            group_id: self.id.clone(),
            state: self.state,
            generation: self.generation,
            protocol_type: self.protocol_type.clone().unwrap_or_default(),
            protocol_name: protocol.unwrap_or_default().to_owned(),
            leader: self.leader.clone(),
            members: self.members.iter().map(|member| member.as_described(protocol)).collect(),
        }
    }

    /// When the group lost its last member; `None` if it has members or never had any.
    pub(crate) fn empty_since(&self) -> Option<Timestamp> {
        self.state_since.filter(|_| self.state == GroupState::Empty && self.protocol_type.is_some())
    }

    pub(crate) fn uses_consumer_protocol(&self) -> bool {
        self.protocol_type.as_deref() == Some(CONSUMER_PROTOCOL_TYPE)
    }

    /// The topics of all members' subscriptions, or `None` if one of them cannot be read and so may
    /// name any topic.
    pub(crate) fn subscribed_topics(&self) -> Option<BTreeSet<TopicName>> {
        let offers = self.members.iter().flat_map(Member::protocols);
        let mut topics = BTreeSet::new();
        for offer in offers {
            topics.extend(subscription::topics(&offer.metadata)?);
        }
        Some(topics)
    }
}
