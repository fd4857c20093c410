//! The bytes of every kind of row, as they were first released, and hostile bytes for every
//! decoder.

use std::collections::BTreeMap;

use antiphon_common::{
    BrokerEpoch, BrokerId, ClusterId, LeaderEpoch, Lsn, ObjectId, Offset, PartitionId,
    PartitionIndex, ProducerId, Timestamp, TopicId,
};
use bytes::Bytes;
use proptest::prelude::*;
use uuid::Uuid;

use super::*;
use crate::Entry;
use crate::slate::hexadecimal;

const UUID: Uuid = Uuid::from_u128(0x0011_2233_4455_6677_8899_aabb_ccdd_eeff);
const UUID_HEX: &str = "00112233445566778899aabbccddeeff";
const OBJECT: ObjectId = ObjectId(0xfedc_ba98_7654_3210_0123_4567_89ab_cdef);
const OBJECT_HEX: &str = "fedcba98765432100123456789abcdef";

/// `expected` may hold spaces between fields.
#[track_caller]
fn assert_golden<R: Row + PartialEq + std::fmt::Debug>(row: &R, key: &str, value: &str) {
    assert_eq!(hexadecimal(&row.key()), key.replace(' ', ""), "key of {row:?}");
    assert_eq!(hexadecimal(&row.value()), value.replace(' ', ""), "value of {row:?}");
    assert_eq!(R::decode(&row.key(), &row.value()).as_ref(), Ok(row));
}

/// What an earlier version of the program wrote is still read.
#[track_caller]
fn assert_reads_old<R: Row + PartialEq + std::fmt::Debug>(row: &R, key: &str, value: &str) {
    let bytes = |text: &str| -> Vec<u8> {
        let digits: Vec<u8> = text.bytes().filter(u8::is_ascii_hexdigit).collect();
        let pair =
            |pair: &[u8]| u8::from_str_radix(std::str::from_utf8(pair).unwrap(), 16).unwrap();
        digits.chunks(2).map(pair).collect()
    };
    assert_eq!(R::decode(&bytes(key), &bytes(value)).as_ref(), Ok(row));
}

#[test]
fn broker_bytes() {
    let row = BrokerRow {
        broker_id: BrokerId(3),
        epoch: BrokerEpoch(7),
        flushed_lsn: Lsn(0x0102_0304),
        clean_stop: true,
        data_dir_id: UUID,
    };
    let value = format!("01 0000000000000007 0000000001020304 01 {UUID_HEX}");
    assert_golden(&row, "02 00000003", &value);
}

#[test]
fn topic_bytes() {
    let row = TopicRow {
        topic_id: TopicId(UUID),
        name: "a.b".into(),
        internal: true,
        created_at: Timestamp(5),
        configs: BTreeMap::from([("k".into(), "v".into())]),
        partitions: vec![PartitionId(1), PartitionId(256)],
    };
    let value = "01 00000003612e62 01 0000000000000005 \
                 00000001 000000016b 0000000176 \
                 00000002 0000000000000001 0000000000000100";
    assert_golden(&row, &format!("03 {UUID_HEX}"), value);
}

#[test]
fn partition_bytes() {
    let row = PartitionRow {
        partition_id: PartitionId(9),
        topic_id: TopicId(UUID),
        index: PartitionIndex(2),
        leader: BrokerId(1),
        leader_epoch: LeaderEpoch(4),
        log_start: Offset(10),
        flushed_end: Offset(20),
        history_bytes: 30,
        settled_end: Offset(0x12),
        epochs: vec![(LeaderEpoch(0), Offset(0)), (LeaderEpoch(4), Offset(15))],
    };
    let epochs = "00000002 00000000 0000000000000000 00000004 000000000000000f";
    let head = format!(
        "{UUID_HEX} 00000002 00000001 00000004 \
         000000000000000a 0000000000000014 000000000000001e"
    );
    let key = "04 0000000000000009";
    assert_golden(&row, key, &format!("02 {head} 0000000000000012 {epochs}"));
    let before = PartitionRow { settled_end: Offset::ZERO, ..row };
    assert_reads_old(&before, key, &format!("01 {head} {epochs}"));
}

#[test]
fn counter_bytes() {
    let row = CounterRow { counter: Counter::ProducerIds, next: 1_000 };
    assert_golden(&row, "05 02", "01 00000000000003e8");
}

#[test]
fn broker_config_bytes() {
    let (name, value) = ("ab".to_owned(), "c".to_owned());
    let row = BrokerConfigRow { scope: ConfigScope::Broker(BrokerId(1)), name, value };
    assert_golden(&row, "06 01 00000001 6162", "01 63");
    let row = BrokerConfigRow { scope: ConfigScope::Cluster, ..row };
    assert_golden(&row, "06 00 00000000 6162", "01 63");
}

#[test]
fn topic_deletion_bytes() {
    let row = TopicDeletionRow {
        topic_id: TopicId(UUID),
        name: "a".into(),
        deleted_at: Timestamp(6),
        partitions: vec![PartitionId(7)],
    };
    let value = "01 0000000161 0000000000000006 00000001 0000000000000007";
    assert_golden(&row, &format!("07 {UUID_HEX}"), value);
}

#[test]
fn segment_bytes() {
    let row = SegmentRow {
        partition_id: PartitionId(9),
        base_offset: Offset(100),
        last_offset: Offset(0x1ff),
        object_id: OBJECT,
        position: 1,
        length: 2,
        index_position: 3,
        index_length: 4,
        base_timestamp: Timestamp(-1),
        max_timestamp: Timestamp(5),
        record_count: 6,
        leader_epoch: LeaderEpoch(7),
        level: 8,
        created_at: Timestamp(9),
        crc: Some(0xdead_beef),
    };
    let head = format!(
        "01 0000000000000064 {OBJECT_HEX} 0000000000000001 0000000000000002 \
         0000000000000003 00000004 ffffffffffffffff 0000000000000005 \
         0000000000000006 00000007 08 0000000000000009"
    );
    let key = "08 0000000000000009 00000000000001ff";
    assert_golden(&row, key, &format!("{head} 01 deadbeef"));
    assert_golden(&SegmentRow { crc: None, ..row }, key, &format!("{head} 00 00000000"));
}

#[test]
fn object_bytes() {
    let row = ObjectRow {
        object_id: OBJECT,
        size: 1,
        created_at: Timestamp(2),
        broker_id: BrokerId(3),
        broker_epoch: BrokerEpoch(4),
        live_sections: 5,
        level: 6,
        live_bytes: 7,
    };
    let head = "0000000000000001 0000000000000002 00000003 0000000000000004 00000005 06";
    let key = format!("09 {OBJECT_HEX}");
    assert_golden(&row, &key, &format!("02 {head} 0000000000000007"));
    assert_reads_old(&ObjectRow { live_bytes: 1, ..row }, &key, &format!("01 {head}"));
}

#[test]
fn deletion_bytes() {
    let row = DeletionRow { due_at: Timestamp(258), object_id: OBJECT };
    assert_golden(&row, &format!("0a 0000000000000102 {OBJECT_HEX}"), "01");
}

#[test]
fn producer_bytes() {
    let row = ProducerRow {
        partition_id: PartitionId(1),
        producer_id: ProducerId(2),
        state: Bytes::from_static(b"xyz"),
    };
    assert_golden(&row, "0b 0000000000000001 0000000000000002", "01 78797a");
}

#[test]
fn cluster_bytes() {
    let row = ClusterRow {
        format_version: 1,
        cluster_id: ClusterId("abc".into()),
        created_at: Timestamp(2),
    };
    let expected = "414e544950484f4e 00000001 0000000000000002 00000003 616263".replace(' ', "");
    assert_eq!(hexadecimal(&row.encode()), expected);
    assert_eq!(ClusterRow::decode(&row.encode()).ok(), Some(row));
}

#[test]
fn a_newer_cluster_is_recognised_whatever_follows() {
    let bytes = [&b"ANTIPHON"[..], &[0, 0, 0, 2], b"something else entirely"].concat();
    let refused = ClusterRow::decode(&bytes);
    assert!(matches!(refused, Err(ClusterRowError::NewerFormat { found: 2 })));
}

#[test]
fn every_kind_has_its_own_tag() {
    for kind in RowKind::ALL {
        assert_eq!(RowKind::from_tag(kind.tag()), Some(kind));
    }
    assert!(RowKind::ALL.is_sorted(), "loading scans from the first kind to FIRST_NOT_LOADED");
}

#[test]
fn a_count_larger_than_the_bytes_is_refused_before_it_is_allocated() {
    let mut value = vec![1];
    value.extend_from_slice(&[0; 52]);
    value.extend_from_slice(&u32::MAX.to_be_bytes());
    let key = PartitionRow::key_of(PartitionId(1));
    let refused = PartitionRow::decode(&key, &value);
    assert!(matches!(refused, Err(RowError::Truncated { field: "epochs", .. })), "{refused:?}");
}

#[test]
fn other_versions_and_left_over_bytes_are_refused() {
    let row = CounterRow { counter: Counter::PartitionIds, next: 1 };
    let mut value = row.value();
    value.push(0);
    let refused = CounterRow::decode(&row.key(), &value);
    assert_eq!(refused, Err(RowError::TrailingBytes { count: 1 }));
    value[0] = 2;
    let refused = CounterRow::decode(&row.key(), &value);
    assert_eq!(refused, Err(RowError::UnknownVersion { found: 2, supported: 1 }));
    let refused = CounterRow::decode(&[4, 1], &row.value());
    assert_eq!(refused, Err(RowError::WrongKind { found: 4, expected: 5 }));
}

fn valid_rows() -> impl Strategy<Value = (Vec<u8>, Vec<u8>)> {
    let topic = TopicRow {
        topic_id: TopicId(UUID),
        name: "name".into(),
        internal: false,
        created_at: Timestamp(1),
        configs: BTreeMap::from([("a".into(), "b".into()), ("c".into(), "d".into())]),
        partitions: vec![PartitionId(1), PartitionId(2)],
    };
    let deletion = TopicDeletionRow {
        topic_id: TopicId(UUID),
        name: "name".into(),
        deleted_at: Timestamp(1),
        partitions: vec![PartitionId(1)],
    };
    prop_oneof![
        Just((topic.key(), topic.value())),
        Just((deletion.key(), deletion.value())),
        // Any kind with bytes of its own.
        (
            1_u8..0x0d,
            prop::collection::vec(any::<u8>(), 0..40),
            prop::collection::vec(any::<u8>(), 0..120)
        )
            .prop_map(|(tag, mut key, mut value)| {
                key.insert(0, tag);
                value.insert(0, 1);
                (key, value)
            }),
    ]
}

proptest! {
    #[test]
    fn decoders_never_panic(
        (mut key, mut value) in valid_rows(),
        cut in any::<prop::sample::Index>(),
        flipped in any::<prop::sample::Index>(),
        with in any::<u8>(),
    ) {
        let at = flipped.index(value.len());
        value[at] ^= with;
        let _ = Entry::decode(&key, &value);
        value.truncate(cut.index(value.len()));
        let _ = Entry::decode(&key, &value);
        key.truncate(cut.index(key.len()));
        let _ = Entry::decode(&key, &value);
        let _ = ClusterRow::decode(&value);
    }

    #[test]
    fn what_decodes_encodes_to_the_same_bytes((key, value) in valid_rows()) {
        if let Some(Ok(Entry::Segment(row))) = Entry::decode(&key, &value) {
            // A checksum that is absent is written as zero, whatever stood there.
            prop_assert!(row.crc.is_none() || row.value() == value);
            prop_assert_eq!(row.key(), key);
        } else if let Some(Ok(Entry::Topic(row))) = Entry::decode(&key, &value) {
            prop_assert_eq!((row.key(), row.value()), (key, value));
        }
    }

    #[test]
    fn segment_keys_sort_as_their_offsets(a in 0_i64.., b in 0_i64.., p in 0_u64..3, q in 0_u64..3) {
        let (left, right) = ((p, a), (q, b));
        let key = |(p, o): (u64, i64)| SegmentRow::key_of(PartitionId(p), Offset(o));
        prop_assert_eq!(left.cmp(&right), key(left).cmp(&key(right)));
    }
}
