//! Which APIs exist on the broker listener, in which versions, and which of them we serve.
//!
//! One table answers every question about versions: what ApiVersions advertises, what a request is
//! allowed to be, and which header it carries. The lowest versions are exactly Kafka 4.1's, because
//! clients infer the broker's release and their own feature set from them (kafka-python reads the
//! ranges as a release number, librdkafka derives compression from Produce's minimum, KAFKA-18659).

pub use kafka_protocol::messages::ApiKey;

/// The `flexible_from` of an API without flexible versions.
const NEVER: i16 = i16::MAX;

/// Whether requests for an API are answered.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Status {
    /// Advertised, and answered from this version on. Only Produce advertises lower versions than
    /// it serves.
    ServedFrom(i16),
    /// Not advertised; a request ends the connection, as it does in Kafka.
    NotServed,
}

/// One API of the broker listener.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Api {
    /// Its key.
    pub key: ApiKey,
    /// Its name in Kafka's documentation, for logs and metrics.
    pub name: &'static str,
    /// The lowest version to advertise.
    pub min: i16,
    /// The highest version to advertise and serve.
    pub max: i16,
    /// Whether it is served at all.
    pub status: Status,
    flexible_from: i16,
}

impl Api {
    /// The API with this key, whether or not it is served.
    pub fn find(api_key: i16) -> Option<&'static Self> {
        let index = APIS.binary_search_by_key(&api_key, |api| api.key as i16).ok()?;
        APIS.get(index)
    }

    /// Every API that is served, in the order of their keys.
    pub fn served() -> impl Iterator<Item = &'static Self> {
        APIS.iter().filter(|api| api.is_served())
    }

    /// Whether the API is served in any version.
    pub const fn is_served(&self) -> bool {
        matches!(self.status, Status::ServedFrom(_))
    }

    /// Whether a request of this version is answered.
    pub const fn serves(&self, version: i16) -> bool {
        match self.status {
            Status::ServedFrom(from) => from <= version && version <= self.max,
            Status::NotServed => false,
        }
    }

    /// Whether this version has compact lengths and tagged fields (KIP-482).
    pub const fn is_flexible(&self, version: i16) -> bool {
        version >= self.flexible_from
    }

    /// Whether the *response header* of this version has tagged fields. ApiVersions never has,
    /// because its reader does not know yet which version the broker answered in (KIP-511).
    pub const fn has_flexible_response_header(&self, version: i16) -> bool {
        self.is_flexible(version) && !matches!(self.key, ApiKey::ApiVersions)
    }
}

macro_rules! api {
    ($key:ident, $min:literal ..= $max:literal, flexible $flexible:expr, served $from:literal) => {
        api!($key, $min, $max, $flexible, Status::ServedFrom($from))
    };
    ($key:ident, $min:literal ..= $max:literal, flexible $flexible:expr) => {
        api!($key, $min, $max, $flexible, Status::NotServed)
    };
    ($key:ident, $min:literal, $max:literal, $flexible:expr, $status:expr) => {
        Api {
            key: ApiKey::$key,
            name: stringify!($key),
            min: $min,
            max: $max,
            status: $status,
            flexible_from: $flexible,
        }
    };
}

/// Sorted by key. The highest versions are those kafka-protocol knows, which are Kafka 4.1's.
static APIS: &[Api] = &[
    api!(Produce, 0..=13, flexible 9, served 3),
    api!(Fetch, 4..=18, flexible 12, served 4),
    api!(ListOffsets, 1..=10, flexible 6, served 1),
    api!(Metadata, 0..=13, flexible 9, served 0),
    api!(OffsetCommit, 2..=9, flexible 8, served 2),
    api!(OffsetFetch, 1..=9, flexible 6, served 1),
    api!(FindCoordinator, 0..=6, flexible 3, served 0),
    api!(JoinGroup, 0..=9, flexible 6, served 0),
    api!(Heartbeat, 0..=4, flexible 4, served 0),
    api!(LeaveGroup, 0..=5, flexible 4, served 0),
    api!(SyncGroup, 0..=5, flexible 4, served 0),
    api!(DescribeGroups, 0..=6, flexible 5, served 0),
    api!(ListGroups, 0..=5, flexible 3, served 0),
    api!(SaslHandshake, 0..=1, flexible NEVER),
    api!(ApiVersions, 0..=4, flexible 3, served 0),
    api!(CreateTopics, 2..=7, flexible 5, served 2),
    api!(DeleteTopics, 1..=6, flexible 4, served 1),
    api!(DeleteRecords, 0..=2, flexible 2, served 0),
    api!(InitProducerId, 0..=5, flexible 2, served 0),
    api!(OffsetForLeaderEpoch, 2..=4, flexible 4, served 2),
    api!(AddPartitionsToTxn, 0..=5, flexible 3),
    api!(AddOffsetsToTxn, 0..=4, flexible 3),
    api!(EndTxn, 0..=5, flexible 3),
    api!(WriteTxnMarkers, 1..=1, flexible 1),
    api!(TxnOffsetCommit, 0..=5, flexible 3),
    api!(DescribeAcls, 1..=3, flexible 2),
    api!(CreateAcls, 1..=3, flexible 2),
    api!(DeleteAcls, 1..=3, flexible 2),
    api!(DescribeConfigs, 1..=4, flexible 4, served 1),
    api!(AlterConfigs, 0..=2, flexible 2, served 0),
    api!(AlterReplicaLogDirs, 1..=2, flexible 2),
    api!(DescribeLogDirs, 1..=4, flexible 2, served 1),
    api!(SaslAuthenticate, 0..=2, flexible 2),
    api!(CreatePartitions, 0..=3, flexible 2, served 0),
    api!(CreateDelegationToken, 1..=3, flexible 2),
    api!(RenewDelegationToken, 1..=2, flexible 2),
    api!(ExpireDelegationToken, 1..=2, flexible 2),
    api!(DescribeDelegationToken, 1..=3, flexible 2),
    api!(DeleteGroups, 0..=2, flexible 2, served 0),
    api!(ElectLeaders, 0..=2, flexible 2),
    api!(IncrementalAlterConfigs, 0..=1, flexible 1, served 0),
    api!(AlterPartitionReassignments, 0..=1, flexible 0),
    api!(ListPartitionReassignments, 0..=0, flexible 0, served 0),
    api!(OffsetDelete, 0..=0, flexible NEVER, served 0),
    api!(DescribeClientQuotas, 0..=1, flexible 1),
    api!(AlterClientQuotas, 0..=1, flexible 1),
    api!(DescribeUserScramCredentials, 0..=0, flexible 0),
    api!(AlterUserScramCredentials, 0..=0, flexible 0),
    api!(DescribeQuorum, 0..=2, flexible 0),
    api!(UpdateFeatures, 0..=2, flexible 0),
    api!(DescribeCluster, 0..=2, flexible 0, served 0),
    api!(DescribeProducers, 0..=0, flexible 0),
    api!(UnregisterBroker, 0..=0, flexible 0),
    api!(DescribeTransactions, 0..=0, flexible 0),
    api!(ListTransactions, 0..=2, flexible 0),
    api!(ConsumerGroupHeartbeat, 0..=1, flexible 0),
    api!(ConsumerGroupDescribe, 0..=1, flexible 0),
    api!(GetTelemetrySubscriptions, 0..=0, flexible 0),
    api!(PushTelemetry, 0..=0, flexible 0),
    api!(ListConfigResources, 0..=1, flexible 0),
    api!(DescribeTopicPartitions, 0..=0, flexible 0, served 0),
    api!(ShareGroupHeartbeat, 1..=1, flexible 0),
    api!(ShareGroupDescribe, 1..=1, flexible 0),
    api!(ShareFetch, 1..=1, flexible 0),
    api!(ShareAcknowledge, 1..=1, flexible 0),
    api!(AddRaftVoter, 0..=0, flexible 0),
    api!(RemoveRaftVoter, 0..=0, flexible 0),
    api!(InitializeShareGroupState, 0..=0, flexible 0),
    api!(ReadShareGroupState, 0..=0, flexible 0),
    api!(WriteShareGroupState, 0..=0, flexible 0),
    api!(DeleteShareGroupState, 0..=0, flexible 0),
    api!(ReadShareGroupStateSummary, 0..=0, flexible 0),
    api!(DescribeShareGroupOffsets, 0..=0, flexible 0),
    api!(AlterShareGroupOffsets, 0..=0, flexible 0),
    api!(DeleteShareGroupOffsets, 0..=0, flexible 0),
];

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn keys_grow_so_that_find_can_search() {
        assert!(APIS.is_sorted_by(|left, right| (left.key as i16) < right.key as i16));
        for api in APIS {
            assert_eq!(Api::find(api.key as i16).map(|found| found.name), Some(api.name));
        }
        assert!(Api::find(4).is_none() && Api::find(-1).is_none() && Api::find(999).is_none());
    }

    /// What kafka-protocol says about an API's versions is about its responses; these requests stop
    /// one version earlier.
    const REQUEST_MAX: &[(ApiKey, i16)] =
        &[(ApiKey::OffsetCommit, 9), (ApiKey::OffsetFetch, 9), (ApiKey::InitProducerId, 5)];

    #[test]
    fn ranges_are_those_of_the_decoder() {
        for api in APIS {
            let known = api.key.valid_versions();
            let exception = REQUEST_MAX.iter().find(|(key, _)| *key == api.key);
            assert_eq!(api.max, exception.map_or(known.max, |(_, max)| *max), "{}", api.name);
            let decodable = if api.key == ApiKey::Produce { 3 } else { api.min };
            assert_eq!(decodable, known.min, "{}", api.name);
        }
    }

    #[test]
    fn headers_are_those_of_the_decoder() {
        for api in APIS {
            for version in api.min..=api.max {
                let request = api.key.request_header_version(version) == 2;
                let response = api.key.response_header_version(version) == 1;
                assert_eq!(api.is_flexible(version), request, "{} v{version}", api.name);
                let ours = api.has_flexible_response_header(version);
                assert_eq!(ours, response, "{} v{version}", api.name);
            }
        }
    }

    #[test]
    fn produce_advertises_more_than_it_serves() {
        let produce = Api::find(0).unwrap();
        assert_eq!((produce.min, produce.max), (0, 13));
        assert!(!produce.serves(2) && produce.serves(3) && !produce.serves(14));
    }

    #[test]
    fn a_version_is_advertised_from_its_served_minimum() {
        for api in Api::served().filter(|api| api.key != ApiKey::Produce) {
            assert_eq!(api.status, Status::ServedFrom(api.min), "{}", api.name);
        }
    }
}
