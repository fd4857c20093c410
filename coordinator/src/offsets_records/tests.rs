//! The golden bytes were written by Kafka 4.3.1's own generated classes.

use antiphon_common::{LeaderEpoch, Offset, PartitionIndex, Timestamp};
use bytes::Bytes;
use proptest::prelude::*;

use super::*;
use crate::names::Generation;
use crate::requests::TopicPartition;

const OFFSET_KEY: &str = "0001000370617900066f726465727300000007";
const OFFSET_KEY_LEGACY: &str = "0000000370617900066f726465727300000007";
const OFFSET_VALUES: [&str; 5] = [
    "0000000000000000002a00036dc3a90000018bcfe56800",
    "0001000000000000002a00036dc3a90000018bcfe568000000018bcfee8fc0",
    "0002000000000000002a00036dc3a90000018bcfe56800",
    "0003000000000000002a0000000500036dc3a90000018bcfe56800",
    "0004000000000000002a00000005046dc3a90000018bcfe5680001001000000000000000010000000000000002",
];
const GROUP_KEY: &str = "00020003706179";
const GROUP_VALUES: [&str; 5] = [
    concat!(
        "00000008636f6e73756d657200000003000572616e67650003612d31000000020003612d3100066f7264657273",
        "000a2f3132372e302e302e310000afc80000000300010200000001090003622d3200066f7264657273000a2f31",
        "32372e302e302e310000afc8000000030001020000000109"
    ),
    concat!(
        "00010008636f6e73756d657200000003000572616e67650003612d31000000020003612d3100066f7264657273",
        "000a2f3132372e302e302e310000ea600000afc80000000300010200000001090003622d3200066f7264657273",
        "000a2f3132372e302e302e310000ea600000afc8000000030001020000000109"
    ),
    concat!(
        "00020008636f6e73756d657200000003000572616e67650003612d310000018bcfe56800000000020003612d31",
        "00066f7264657273000a2f3132372e302e302e310000ea600000afc80000000300010200000001090003622d32",
        "00066f7264657273000a2f3132372e302e302e310000ea600000afc8000000030001020000000109"
    ),
    concat!(
        "00030008636f6e73756d657200000003000572616e67650003612d310000018bcfe56800000000020003612d31",
        "ffff00066f7264657273000a2f3132372e302e302e310000ea600000afc80000000300010200000001090003622d",
        "320004696e737400066f7264657273000a2f3132372e302e302e310000ea600000afc8000000030001020000",
        "000109"
    ),
    concat!(
        "000409636f6e73756d6572000000030672616e676504612d310000018bcfe568000304612d3100076f72646572",
        "730b2f3132372e302e302e310000ea600000afc80400010202090004622d3205696e7374076f72646572730b2f",
        "3132372e302e302e310000ea600000afc80400010202090000"
    ),
];
const EMPTY_GROUP_VALUE: &str = "00030008636f6e73756d657200000004ffffffff0000018bcfe5680000000000";

fn hex(text: &str) -> Bytes {
    let digits = text.as_bytes().chunks(2);
    digits.map(|pair| u8::from_str_radix(std::str::from_utf8(pair).unwrap(), 16).unwrap()).collect()
}

fn offset_key() -> OffsetCommitKey {
    let partition = TopicPartition { topic: "orders".into(), partition: PartitionIndex(7) };
    OffsetCommitKey { group_id: "pay".into(), partition }
}

fn offset_value(version: usize) -> CommittedOffset {
    CommittedOffset {
        offset: Offset(42),
        leader_epoch: if version >= 3 { LeaderEpoch(5) } else { LeaderEpoch::NONE },
        metadata: "mé".to_owned(),
        commit_timestamp: Timestamp(1_700_000_000_000),
        expire_timestamp: (version == 1).then_some(Timestamp(1_700_000_600_000)),
    }
}

fn member(id: &str, instance: Option<&str>, version: usize) -> MemberMetadata {
    MemberMetadata {
        member_id: id.into(),
        group_instance_id: instance.filter(|_| version >= 3).map(Into::into),
        client_id: "orders".to_owned(),
        client_host: "/127.0.0.1".to_owned(),
        rebalance_timeout_ms: if version >= 1 { 60_000 } else { -1 },
        session_timeout_ms: 45_000,
        subscription: Bytes::from_static(&[0, 1, 2]),
        assignment: Bytes::from_static(&[9]),
    }
}

fn group_value(version: usize) -> GroupMetadataValue {
    GroupMetadataValue {
        protocol_type: "consumer".to_owned(),
        generation: Generation(3),
        protocol: Some("range".to_owned()),
        leader: Some("a-1".into()),
        current_state_timestamp: if version >= 2 {
            Timestamp(1_700_000_000_000)
        } else {
            Timestamp::NONE
        },
        members: vec![member("a-1", None, version), member("b-2", Some("inst"), version)],
    }
}

#[test]
fn offsets_are_written_as_kafka_writes_them() {
    let record = GroupRecord::OffsetCommit { key: offset_key(), value: Some(offset_value(3)) };
    let encoded = record.encode();
    assert_eq!(encoded.key, hex(OFFSET_KEY));
    assert_eq!(encoded.value, Some(hex(OFFSET_VALUES[3])));
    let with_expiry = GroupRecord::OffsetCommit { key: offset_key(), value: Some(offset_value(1)) };
    assert_eq!(with_expiry.encode().value, Some(hex(OFFSET_VALUES[1])));
}

#[test]
fn every_version_of_an_offset_is_read() {
    for (version, value) in OFFSET_VALUES.iter().enumerate() {
        let expected =
            GroupRecord::OffsetCommit { key: offset_key(), value: Some(offset_value(version)) };
        for key in [OFFSET_KEY, OFFSET_KEY_LEGACY] {
            assert_eq!(
                GroupRecord::decode(&hex(key), Some(&hex(value))),
                Ok(Some(expected.clone())),
                "version {version}"
            );
        }
    }
}

#[test]
fn groups_are_written_as_kafka_writes_them() {
    let record = GroupRecord::GroupMetadata { group_id: "pay".into(), value: Some(group_value(3)) };
    let encoded = record.encode();
    assert_eq!(encoded.key, hex(GROUP_KEY));
    assert_eq!(encoded.value, Some(hex(GROUP_VALUES[3])));
    let empty = GroupMetadataValue {
        generation: Generation(4),
        protocol: None,
        leader: None,
        members: Vec::new(),
        ..group_value(3)
    };
    let record = GroupRecord::GroupMetadata { group_id: "pay".into(), value: Some(empty) };
    assert_eq!(record.encode().value, Some(hex(EMPTY_GROUP_VALUE)));
}

#[test]
fn every_version_of_a_group_is_read() {
    for (version, value) in GROUP_VALUES.iter().enumerate() {
        let value = GroupRecord::decode(&hex(GROUP_KEY), Some(&hex(value)));
        let expected = GroupRecord::GroupMetadata {
            group_id: "pay".into(),
            value: Some(group_value(version)),
        };
        assert_eq!(value, Ok(Some(expected)), "version {version}");
    }
}

#[test]
fn tombstones_and_unknown_kinds_are_told_apart() {
    let tombstone = GroupRecord::OffsetCommit { key: offset_key(), value: None };
    assert_eq!(GroupRecord::decode(&hex(OFFSET_KEY), None), Ok(Some(tombstone)));
    assert_eq!(GroupRecord::decode(&hex("00030003706179"), None), Ok(None));
    let newer = GroupRecord::decode(&hex(GROUP_KEY), Some(&hex("0005")));
    assert_eq!(newer, Err(DecodeError::Version { version: 5 }));
}

#[test]
fn an_array_that_cannot_fit_is_refused_before_it_is_allocated() {
    let lying = hex("00000000000000010000ffff7fffffff");
    assert_eq!(GroupRecord::decode(&hex(GROUP_KEY), Some(&lying)), Err(DecodeError::Truncated));
}

proptest! {
    #[test]
    fn no_bytes_crash_the_decoder(key in any::<Vec<u8>>(), value in any::<Option<Vec<u8>>>()) {
        let _ = GroupRecord::decode(&key.into(), value.map(Bytes::from).as_ref());
    }

    #[test]
    fn no_damage_to_a_real_record_crashes_the_decoder(
        version in 0usize..5, position in any::<prop::sample::Index>(), byte in any::<u8>(),
    ) {
        let mut value = hex(GROUP_VALUES[version]).to_vec();
        let position = position.index(value.len());
        value[position] = byte;
        let _ = GroupRecord::decode(&hex(GROUP_KEY), Some(&value.into()));
    }

    #[test]
    fn every_prefix_of_a_real_record_is_refused(version in 0usize..5, cut in 1usize..40) {
        let value = hex(GROUP_VALUES[version]);
        let value = value.slice(..value.len() - cut);
        prop_assert!(GroupRecord::decode(&hex(GROUP_KEY), Some(&value)).is_err());
    }
}
