//! The value of a group's metadata: the last completed rebalance.
//!
//! ```text
//! i16     version                  0 to 4; this writes 3
//! string  protocol type
//! i32     generation
//! string  protocol                 null while the group is empty
//! string  leader                   null while the group is empty
//! i64     current state timestamp  version 2 and later; ms since 1970, -1 for unknown
//! array   members
//!   string  member id
//!   string  group instance id      version 3 and later; null for dynamic members
//!   string  client id
//!   string  client host
//!   i32     rebalance timeout      version 1 and later; ms
//!   i32     session timeout        ms
//!   bytes   subscription           for the chosen protocol
//!   bytes   assignment
//! ```
//! Version 4 has the same fields with compact lengths, and tagged fields after each member and at
//! the end.

use antiphon_common::Timestamp;
use bytes::{BufMut, Bytes, BytesMut};

use super::DecodeError;
use super::wire::{Reader, put_bytes, put_nullable_string, put_string};
use crate::names::{Generation, InstanceId, MemberId};

const VERSION_WRITTEN: i16 = 3;
const VERSION_MAX: i16 = 4;
const VERSION_FLEXIBLE: i16 = 4;
/// Seven empty fields of version 4.
const MEMBER_BYTES_MIN: usize = 10;

/// A group as of its last completed rebalance.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct GroupMetadataValue {
    /// `consumer`, `connect` or another.
    pub protocol_type: String,
    /// The generation.
    pub generation: Generation,
    /// The chosen protocol, unless the group is empty.
    pub protocol: Option<String>,
    /// The leader, unless the group is empty.
    pub leader: Option<MemberId>,
    /// When the group entered its state; [`Timestamp::NONE`] in old records.
    pub current_state_timestamp: Timestamp,
    /// The members with their assignments.
    pub members: Vec<MemberMetadata>,
}

/// A member as of the last completed rebalance.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct MemberMetadata {
    /// Its id.
    pub member_id: MemberId,
    /// Set for static members.
    pub group_instance_id: Option<InstanceId>,
    /// From its request header.
    pub client_id: String,
    /// Its address.
    pub client_host: String,
    /// In milliseconds; -1 in old records.
    pub rebalance_timeout_ms: i32,
    /// In milliseconds.
    pub session_timeout_ms: i32,
    /// What it said about the chosen protocol.
    pub subscription: Bytes,
    /// Its share.
    pub assignment: Bytes,
}

pub(super) fn encode(value: &GroupMetadataValue) -> Bytes {
    let mut buffer = BytesMut::new();
    buffer.put_i16(VERSION_WRITTEN);
    put_string(&mut buffer, &value.protocol_type);
    buffer.put_i32(value.generation.0);
    put_nullable_string(&mut buffer, value.protocol.as_deref());
    put_nullable_string(&mut buffer, value.leader.as_ref().map(MemberId::as_str));
    buffer.put_i64(value.current_state_timestamp.get());
    buffer.put_i32(value.members.len() as i32);
    for member in &value.members {
        encode_member(&mut buffer, member);
    }
    buffer.freeze()
}

fn encode_member(buffer: &mut BytesMut, member: &MemberMetadata) {
    put_string(buffer, member.member_id.as_str());
    put_nullable_string(buffer, member.group_instance_id.as_ref().map(InstanceId::as_str));
    put_string(buffer, &member.client_id);
    put_string(buffer, &member.client_host);
    buffer.put_i32(member.rebalance_timeout_ms);
    buffer.put_i32(member.session_timeout_ms);
    put_bytes(buffer, &member.subscription);
    put_bytes(buffer, &member.assignment);
}

pub(super) fn decode(bytes: &Bytes) -> Result<GroupMetadataValue, DecodeError> {
    let mut reader = Reader::new(bytes);
    let version = reader.i16()?;
    if !(0..=VERSION_MAX).contains(&version) {
        return Err(DecodeError::Version { version });
    }
    let flexible = version >= VERSION_FLEXIBLE;
    let protocol_type = reader.string(flexible)?;
    let generation = Generation(reader.i32()?);
    let protocol = reader.nullable_string(flexible)?;
    let leader = reader.nullable_string(flexible)?.map(MemberId::from);
    let current_state_timestamp =
        if version >= 2 { Timestamp(reader.i64()?) } else { Timestamp::NONE };
    let count = reader.array_length(MEMBER_BYTES_MIN, flexible)?;
    let members =
        (0..count).map(|_| decode_member(&mut reader, version)).collect::<Result<_, _>>()?;
    reader.skip_tagged_fields(flexible)?;
    Ok(GroupMetadataValue {
        protocol_type,
        generation,
        protocol,
        leader,
        current_state_timestamp,
        members,
    })
}

fn decode_member(reader: &mut Reader, version: i16) -> Result<MemberMetadata, DecodeError> {
    let flexible = version >= VERSION_FLEXIBLE;
    let member_id = reader.string(flexible)?.into();
    let group_instance_id = if version >= 3 { reader.nullable_string(flexible)? } else { None };
    let client_id = reader.string(flexible)?;
    let client_host = reader.string(flexible)?;
    let rebalance_timeout_ms = if version >= 1 { reader.i32()? } else { -1 };
    let session_timeout_ms = reader.i32()?;
    let subscription = reader.bytes(flexible)?;
    let assignment = reader.bytes(flexible)?;
    reader.skip_tagged_fields(flexible)?;
    Ok(MemberMetadata {
        member_id,
        group_instance_id: group_instance_id.map(InstanceId::from),
        client_id,
        client_host,
        rebalance_timeout_ms,
        session_timeout_ms,
        subscription,
        assignment,
    })
}
