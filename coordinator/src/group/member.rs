//! One member of a group.

mod members;

pub(crate) use members::Members;

use std::time::Duration;

use bytes::Bytes;

use crate::names::{InstanceId, MemberId};
use crate::offsets_records::MemberMetadata;
use crate::replies::{DescribedMember, JoinedMember, ReplyToken};
use crate::requests::{JoinGroup, Protocol};

/// A member, and which of its requests wait for an answer.
#[derive(Clone, Debug)]
pub(crate) struct Member {
    pub(super) id: MemberId,
    pub(super) instance_id: Option<InstanceId>,
    pub(super) client_id: String,
    pub(super) client_host: String,
    pub(super) rebalance_timeout: Duration,
    pub(super) session_timeout: Duration,
    protocols: Vec<Protocol>,
    pub(super) assignment: Bytes,
    awaiting_join: Option<ReplyToken>,
    pub(super) awaiting_sync: Option<ReplyToken>,
    /// Joined for the first time and not told its id yet, so it cannot send heartbeats.
    pub(super) is_new: bool,
}

impl Member {
    pub(super) fn new(id: MemberId, request: &JoinGroup) -> Self {
        let mut member = Self {
            id,
            instance_id: request.group_instance_id.clone(),
            client_id: request.client_id.clone(),
            client_host: request.client_host.clone(),
            rebalance_timeout: Duration::ZERO,
            session_timeout: Duration::ZERO,
            protocols: Vec::new(),
            assignment: Bytes::new(),
            awaiting_join: None,
            awaiting_sync: None,
            is_new: true,
        };
        member.update(request);
        member
    }

    /// A member as a record remembers it, which is what it said about the chosen protocol only.
    pub(super) fn restored(record: MemberMetadata, protocol: &str) -> Self {
        let session_timeout = milliseconds(record.session_timeout_ms);
        let has_rebalance_timeout = record.rebalance_timeout_ms >= 0;
        Self {
            id: record.member_id,
            instance_id: record.group_instance_id,
            client_id: record.client_id,
            client_host: record.client_host,
            rebalance_timeout: if has_rebalance_timeout {
                milliseconds(record.rebalance_timeout_ms)
            } else {
                session_timeout
            },
            session_timeout,
            protocols: vec![Protocol { name: protocol.to_owned(), metadata: record.subscription }],
            assignment: record.assignment,
            awaiting_join: None,
            awaiting_sync: None,
            is_new: false,
        }
    }

    /// Takes over what a rejoining member says about itself.
    fn update(&mut self, request: &JoinGroup) {
        let rebalance_timeout_ms = if request.rebalance_timeout_ms < 0 {
            request.session_timeout_ms
        } else {
            request.rebalance_timeout_ms
        };
        self.rebalance_timeout = milliseconds(rebalance_timeout_ms);
        self.session_timeout = milliseconds(request.session_timeout_ms);
        self.protocols.clone_from(&request.protocols);
    }

    /// The same member under another id, with no open requests.
    pub(super) fn renamed(self, id: MemberId) -> Self {
        Self { id, awaiting_join: None, awaiting_sync: None, ..self }
    }

    /// The JoinGroup that waits for an answer.
    pub(super) fn awaiting_join(&self) -> Option<ReplyToken> {
        self.awaiting_join
    }

    /// What the member offers, in order of preference.
    pub(super) fn protocols(&self) -> &[Protocol] {
        &self.protocols
    }

    /// What the member says about `protocol`; empty if it does not offer it.
    pub(super) fn metadata_for(&self, protocol: Option<&str>) -> Bytes {
        let offered = self.protocols.iter().find(|offered| Some(offered.name.as_str()) == protocol);
        offered.map(|offered| offered.metadata.clone()).unwrap_or_default()
    }

    /// Its first choice among `candidates`.
    pub(super) fn vote<'a>(&self, candidates: &[&'a str]) -> Option<&'a str> {
        self.protocols.iter().find_map(|offered| {
            candidates.iter().find(|candidate| **candidate == offered.name).copied()
        })
    }

    pub(super) fn metadata_bytes(&self) -> usize {
        metadata_bytes(&self.protocols)
    }

    pub(super) fn as_joined(&self, protocol: Option<&str>) -> JoinedMember {
        JoinedMember {
            member_id: self.id.clone(),
            group_instance_id: self.instance_id.clone(),
            metadata: self.metadata_for(protocol),
        }
    }

    /// `protocol` and the assignment are shown for stable groups only, as in Kafka.
    pub(super) fn as_described(&self, protocol: Option<&str>) -> DescribedMember {
        DescribedMember {
            member_id: self.id.clone(),
            group_instance_id: self.instance_id.clone(),
            client_id: self.client_id.clone(),
            client_host: self.client_host.clone(),
            metadata: self.metadata_for(protocol),
            assignment: protocol.map(|_| self.assignment.clone()).unwrap_or_default(),
        }
    }

    pub(super) fn as_record(&self, protocol: Option<&str>, assignment: Bytes) -> MemberMetadata {
        MemberMetadata {
            member_id: self.id.clone(),
            group_instance_id: self.instance_id.clone(),
            client_id: self.client_id.clone(),
            client_host: self.client_host.clone(),
            rebalance_timeout_ms: as_milliseconds(self.rebalance_timeout),
            session_timeout_ms: as_milliseconds(self.session_timeout),
            subscription: self.metadata_for(protocol),
            assignment,
        }
    }
}

/// The bytes that a member's offer costs in memory.
pub(super) fn metadata_bytes(protocols: &[Protocol]) -> usize {
    protocols.iter().map(|protocol| protocol.name.len() + protocol.metadata.len()).sum()
}

fn milliseconds(ms: i32) -> Duration {
    Duration::from_millis(u64::try_from(ms).unwrap_or(0))
}

fn as_milliseconds(duration: Duration) -> i32 {
    i32::try_from(duration.as_millis()).unwrap_or(i32::MAX)
}
