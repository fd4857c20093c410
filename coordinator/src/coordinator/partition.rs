//! Which partition of `__consumer_offsets` a group belongs to.

use antiphon_common::PartitionIndex;

use crate::names::GroupId;

/// Java's `String.hashCode` (over UTF-16 code units) without its sign, modulo the number of
/// partitions: Kafka's rule, kept so that a log written by Kafka finds its groups again. `None` if
/// `partition_count` is not positive.
pub fn partition_for(group_id: &GroupId, partition_count: i32) -> Option<PartitionIndex> {
    let units = group_id.as_str().encode_utf16();
    let hash = units.fold(0i32, |hash, unit| hash.wrapping_mul(31).wrapping_add(i32::from(unit)));
    // The one number without a positive counterpart counts as zero.
    let positive = hash.checked_abs().unwrap_or(0);
    (partition_count > 0).then(|| PartitionIndex(positive % partition_count))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn groups_land_where_kafka_puts_them() {
        // Computed by Kafka 4.3.1 on Java 17.
        let expected = [
            ("pay", 10),
            ("", 0),
            ("console-consumer-12345", 6),
            ("grüppe", 12),
            ("\u{1F600}group", 32),
            ("polygenelubricants", 0),
        ];
        for (group_id, partition) in expected {
            assert_eq!(partition_for(&group_id.into(), 50), Some(PartitionIndex(partition)));
        }
        assert_eq!(partition_for(&"pay".into(), 0), None);
    }
}
