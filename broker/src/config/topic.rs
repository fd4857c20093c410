//! The settings of a topic.
//!
//! All of Kafka 4.3's names are accepted, so that tools and frameworks that set them keep working.
//! Those that act here are parsed into [`TopicSettings`]; the rest describe Kafka's local segment
//! files or replicas, which do not exist here, and say so in their documentation.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use antiphon_common::ByteCount;
use antiphon_storage::{ACTIVE_AGE_MAX, CompactionConfig, LogConfig, TimestampSource};

use super::definition::{Check, ConfigType, Definition, InvalidConfig, list_items};

use Check::{Any, AtLeast, Between, ListOf, OneOf, Ratio};
use ConfigType::{Boolean, Double, Int, List, Long, String as Text};

const NO_FILES: &str =
    "Accepted for compatibility: there are no local segment files to apply it to.";
const NO_REPLICAS: &str =
    "Accepted for compatibility: durability is the store's, not a replica set's.";
const NO_TIERS: &str = "Accepted for compatibility: all history is in the object store.";

macro_rules! define {
    ($($name:literal $kind:ident $default:literal $synonym:literal ($check:expr) $doc:expr;)*) => {
        /// Every setting of a topic, by name.
        pub const TOPIC_CONFIGS: &[Definition] = &[
            $(Definition {
                name: $name,
                kind: $kind,
                default: $default,
                synonym: $synonym,
                check: $check,
                doc: $doc,
            },)*
        ];
    };
}

define! {
    "cleanup.policy" List "delete" "log.cleanup.policy" (ListOf(&["delete", "compact"]))
        "How old records go: deleted by time and size, compacted by key, or both.";
    "compression.gzip.level" Int "-1" "compression.gzip.level" (Between(-1, 9))
        "Takes effect when compression.type is gzip.";
    "compression.lz4.level" Int "9" "compression.lz4.level" (Between(1, 17))
        "Takes effect when compression.type is lz4.";
    "compression.type" Text "producer" "compression.type"
        (OneOf(&["uncompressed", "zstd", "lz4", "snappy", "gzip", "producer"]))
        "Batches are stored as the producer sent them, whatever this says.";
    "compression.zstd.level" Int "3" "compression.zstd.level" (Between(-131072, 22))
        "Takes effect when compression.type is zstd.";
    "delete.retention.ms" Long "86400000" "log.cleaner.delete.retention.ms" (AtLeast(0))
        "How long a compacted topic keeps a tombstone after compaction first saw it.";
    "file.delete.delay.ms" Long "60000" "log.segment.delete.delay.ms" (AtLeast(0)) NO_FILES;
    "flush.messages" Long "9223372036854775807" "log.flush.interval.messages" (AtLeast(1))
        "Every append is durable before it is acknowledged, whatever this says.";
    "flush.ms" Long "9223372036854775807" "log.flush.interval.ms" (AtLeast(0))
        "Every append is durable before it is acknowledged, whatever this says.";
    "follower.replication.throttled.replicas" List ""
        "follower.replication.throttled.replicas" (Any) NO_REPLICAS;
    "index.interval.bytes" Int "4096" "log.index.interval.bytes" (AtLeast(0)) NO_FILES;
    "leader.replication.throttled.replicas" List ""
        "leader.replication.throttled.replicas" (Any) NO_REPLICAS;
    "local.retention.bytes" Long "-2" "log.local.retention.bytes" (AtLeast(-2)) NO_TIERS;
    "local.retention.ms" Long "-2" "log.local.retention.ms" (AtLeast(-2)) NO_TIERS;
    "max.compaction.lag.ms" Long "9223372036854775807" "log.cleaner.max.compaction.lag.ms"
        (AtLeast(1)) "The longest that a record of a compacted topic may stay uncompacted.";
    "max.message.bytes" Int "1048588" "message.max.bytes" (AtLeast(0))
        "The largest record batch that a producer may send, compressed.";
    "message.timestamp.after.max.ms" Long "3600000" "log.message.timestamp.after.max.ms"
        (AtLeast(0)) "How far a record's timestamp may lie ahead of the broker's clock.";
    "message.timestamp.before.max.ms" Long "9223372036854775807"
        "log.message.timestamp.before.max.ms" (AtLeast(0))
        "How far a record's timestamp may lie behind the broker's clock.";
    "message.timestamp.type" Text "CreateTime" "log.message.timestamp.type"
        (OneOf(&["CreateTime", "LogAppendTime"])) "Whose clock a record's timestamp comes from.";
    "min.cleanable.dirty.ratio" Double "0.5" "log.cleaner.min.cleanable.ratio" (Ratio)
        "Which part of a compacted topic's bytes must be uncompacted before compaction runs.";
    "min.compaction.lag.ms" Long "0" "log.cleaner.min.compaction.lag.ms" (AtLeast(0))
        "The shortest time that a record of a compacted topic stays uncompacted.";
    "min.insync.replicas" Int "1" "min.insync.replicas" (AtLeast(1)) NO_REPLICAS;
    "preallocate" Boolean "false" "log.preallocate" (Any) NO_FILES;
    "remote.copy.disable" Boolean "false" "remote.copy.disable" (Any) NO_TIERS;
    "remote.log.delete.on.disable" Boolean "false" "remote.log.delete.on.disable" (Any) NO_TIERS;
    "remote.storage.enable" Boolean "false" "remote.storage.enable" (Any) NO_TIERS;
    "retention.bytes" Long "-1" "log.retention.bytes" (Any)
        "The size above which the oldest history of a partition is deleted; -1 for no limit.";
    "retention.ms" Long "604800000" "log.retention.ms" (AtLeast(-1))
        "The age above which history is deleted; -1 for no limit.";
    "segment.bytes" Int "1073741824" "log.segment.bytes" (AtLeast(14)) NO_FILES;
    "segment.index.bytes" Int "10485760" "log.index.size.max.bytes" (AtLeast(4)) NO_FILES;
    "segment.jitter.ms" Long "0" "log.roll.jitter.ms" (AtLeast(0)) NO_FILES;
    "segment.ms" Long "604800000" "log.roll.ms" (AtLeast(1))
        "Compaction leaves less than 1 MiB alone until it is this old, ten minutes at most.";
    "unclean.leader.election.enable" Boolean "false" "unclean.leader.election.enable" (Any)
        NO_REPLICAS;
}

/// The definition of a topic setting.
pub fn topic_definition(name: &str) -> Option<&'static Definition> {
    TOPIC_CONFIGS.iter().find(|definition| definition.name == name)
}

/// Checks overrides and returns them in canonical form.
pub fn validate_overrides(
    overrides: &BTreeMap<String, String>,
) -> Result<BTreeMap<String, String>, InvalidConfig> {
    let parsed = overrides.iter().map(|(name, value)| {
        let definition =
            topic_definition(name).ok_or_else(|| InvalidConfig::Unknown { name: name.clone() })?;
        Ok((name.clone(), definition.parse(value)?))
    });
    let parsed = parsed.collect::<Result<BTreeMap<_, _>, _>>()?;
    check_lags(&parsed)?;
    Ok(parsed)
}

/// A record cannot be due for compaction before it may be compacted (KIP-354).
fn check_lags(overrides: &BTreeMap<String, String>) -> Result<(), InvalidConfig> {
    let (lower, upper) = ("min.compaction.lag.ms", "max.compaction.lag.ms");
    let set = |name| overrides.get(name).and_then(|value| value.parse::<i64>().ok());
    let (lower_value, upper_value) = (set(lower).unwrap_or(0), set(upper).unwrap_or(i64::MAX));
    match lower_value > upper_value {
        true => Err(InvalidConfig::Conflict { lower, lower_value, upper, upper_value }),
        false => Ok(()),
    }
}

/// The settings of one topic that act on the produce path, parsed once.
#[derive(Clone, Debug)]
pub struct TopicSettings {
    /// `max.message.bytes`.
    pub batch_bytes_max: usize,
    /// `message.timestamp.before.max.ms`.
    pub timestamp_before_max: i64,
    /// `message.timestamp.after.max.ms`.
    pub timestamp_after_max: i64,
    /// Whether `cleanup.policy` names `compact`: every record needs a key.
    pub compacted: bool,
    /// What storage acts on.
    pub log: Arc<LogConfig>,
}

impl TopicSettings {
    /// Resolves every setting: the topic's own value, else the broker's for all topics, else the
    /// default. Both maps were validated when they were stored; a value that no longer parses
    /// falls back to the default.
    pub fn resolve(
        overrides: &BTreeMap<String, String>,
        broker: &BTreeMap<String, String>,
    ) -> Self {
        let value = |name: &str| -> String {
            let Some(definition) = topic_definition(name) else { return String::new() };
            let set = overrides.get(name).or_else(|| broker.get(definition.synonym));
            let parsed = set.and_then(|value| definition.parse(value).ok());
            parsed.unwrap_or_else(|| definition.default.to_owned())
        };
        let number = |name: &str| value(name).parse::<i64>().unwrap_or(i64::MAX);
        let policies = value("cleanup.policy");
        let has_policy = |policy: &str| list_items(&policies).any(|item| item == policy);
        let non_negative = |number: i64| u64::try_from(number).ok();
        let compaction = CompactionConfig {
            lag_min: millis(number("min.compaction.lag.ms")),
            lag_max: lag_max(number("max.compaction.lag.ms")),
            dirty_ratio_min: value("min.cleanable.dirty.ratio").parse().unwrap_or(0.5),
            delete_retention: millis(number("delete.retention.ms")),
            active_age_max: millis(number("segment.ms")).min(ACTIVE_AGE_MAX),
        };
        let log = LogConfig {
            retention_time: non_negative(number("retention.ms")).map(Duration::from_millis),
            retention_size: non_negative(number("retention.bytes")).map(ByteCount),
            deletes: has_policy("delete"),
            compaction: has_policy("compact").then_some(compaction),
            timestamps: if value("message.timestamp.type") == "LogAppendTime" {
                TimestampSource::LogAppend
            } else {
                TimestampSource::Create
            },
        };
        Self {
            batch_bytes_max: usize::try_from(number("max.message.bytes")).unwrap_or(usize::MAX),
            timestamp_before_max: number("message.timestamp.before.max.ms"),
            timestamp_after_max: number("message.timestamp.after.max.ms"),
            compacted: has_policy("compact"),
            log: Arc::new(log),
        }
    }
}

fn millis(number: i64) -> Duration {
    Duration::from_millis(u64::try_from(number).unwrap_or(0))
}

/// The default, the largest number there is, means that nothing is ever overdue.
fn lag_max(number: i64) -> Option<Duration> {
    (number < i64::MAX).then(|| millis(number))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn map(pairs: &[(&str, &str)]) -> BTreeMap<String, String> {
        pairs.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect()
    }

    #[test]
    fn every_default_satisfies_its_own_definition() {
        for definition in TOPIC_CONFIGS {
            assert!(definition.parse(definition.default).is_ok(), "{}", definition.name);
        }
        assert!(TOPIC_CONFIGS.is_sorted_by_key(|definition| definition.name));
    }

    #[test]
    fn a_topic_value_beats_the_broker_value_beats_the_default() {
        let defaults = TopicSettings::resolve(&map(&[]), &map(&[]));
        assert_eq!(defaults.batch_bytes_max, 1_048_588);
        let broker = map(&[("message.max.bytes", "2000"), ("log.retention.ms", "5")]);
        let settings = TopicSettings::resolve(&map(&[("retention.ms", "-1")]), &broker);
        assert_eq!(settings.batch_bytes_max, 2000);
        assert_eq!(settings.log.retention_time, None);
    }

    #[test]
    fn cleanup_policies_are_a_list() {
        let settings =
            TopicSettings::resolve(&map(&[("cleanup.policy", "compact,delete")]), &map(&[]));
        assert!(settings.compacted && settings.log.deletes);
    }

    #[test]
    fn compaction_settings_come_with_the_policy() {
        let resolve = |pairs| TopicSettings::resolve(&map(pairs), &map(&[]));
        assert_eq!(resolve(&[("delete.retention.ms", "5")]).log.compaction, None);
        let defaults = resolve(&[("cleanup.policy", "compact")]).log.compaction;
        assert_eq!(defaults, Some(CompactionConfig::default()));
        let set = resolve(&[
            ("cleanup.policy", "compact"),
            ("delete.retention.ms", "5"),
            ("max.compaction.lag.ms", "7"),
            ("min.cleanable.dirty.ratio", "0.25"),
            ("min.compaction.lag.ms", "6"),
            ("segment.ms", "8"),
        ]);
        let expected = CompactionConfig {
            lag_min: Duration::from_millis(6),
            lag_max: Some(Duration::from_millis(7)),
            dirty_ratio_min: 0.25,
            delete_retention: Duration::from_millis(5),
            active_age_max: Duration::from_millis(8),
        };
        assert_eq!(set.log.compaction, Some(expected));
        assert!(!set.log.deletes);
    }

    #[test]
    fn a_least_lag_above_the_most_lag_is_refused() {
        let lags =
            |least, most| map(&[("min.compaction.lag.ms", least), ("max.compaction.lag.ms", most)]);
        assert!(validate_overrides(&lags("5", "5")).is_ok());
        let refused = validate_overrides(&lags("6", "5")).expect_err("a conflict").to_string();
        assert!(refused.contains("min.compaction.lag.ms (6) > max.compaction.lag.ms (5)"));
    }

    #[test]
    fn unknown_names_and_bad_values_are_refused() {
        assert!(validate_overrides(&map(&[("no.such.thing", "1")])).is_err());
        assert!(validate_overrides(&map(&[("retention.ms", "soon")])).is_err());
        assert!(validate_overrides(&map(&[("retention.ms", "1000")])).is_ok());
    }
}
