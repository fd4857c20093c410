//! Creating, growing and configuring topics.

use std::collections::BTreeMap;

use antiphon_common::{BrokerId, ErrorKind, PartitionIndex, TopicId};

use super::{BROKER, Fixture, create_topic, new_topic};
use crate::{CatalogError, ConfigScope, Created};

fn configs(pairs: &[(&str, &str)]) -> BTreeMap<String, String> {
    pairs.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect()
}

/// A taken name is reported with its owner; the rest of the call goes on.
pub async fn names_are_unique(fixture: &impl Fixture) {
    let (catalog, _) = fixture.open().await.expect("open");
    let owner = create_topic(&*catalog, "orders", 1).await.topic.topic_id;
    let requests = vec![new_topic("orders", 3), new_topic("bills", 2), new_topic("bills", 5)];
    let answers = catalog.create_topics(requests).await.expect("create");
    let [Created::Exists(first), Created::Created(bills), Created::Exists(third)] = &answers[..]
    else {
        panic!("unexpected answers {answers:?}");
    };
    assert_eq!((*first, *third), (owner, bills.topic.topic_id));
    assert_eq!(bills.partitions.len(), 2);

    catalog.delete_topic(owner).await.expect("delete");
    create_topic(&*catalog, "orders", 1).await;
    let gone = catalog.delete_topic(owner).await.expect_err("deleted already");
    assert!(matches!(gone, CatalogError::TopicNotFound { .. }));
}

/// Partitions are added at the end, with new identities.
pub async fn a_topic_grows_and_never_shrinks(fixture: &impl Fixture) {
    let (catalog, _) = fixture.open().await.expect("open");
    let before = create_topic(&*catalog, "growing", 2).await;
    let topic_id = before.topic.topic_id;
    let grown = catalog.add_partitions(topic_id, 4).await.expect("grow");
    let indexes: Vec<_> = grown.partitions.iter().map(|row| row.index).collect();
    assert_eq!(indexes, [PartitionIndex(2), PartitionIndex(3)]);
    assert_eq!(grown.topic.partitions[..2], before.topic.partitions[..]);
    for total in [0, 3, 4] {
        let refused = catalog.add_partitions(topic_id, total).await.expect_err("not larger");
        assert_eq!(refused.kind(), ErrorKind::Invalid);
    }
    let unknown = catalog.add_partitions(TopicId::ZERO, 9).await.expect_err("unknown topic");
    assert!(matches!(unknown, CatalogError::TopicNotFound { .. }));

    let (_, snapshot) = fixture.open().await.expect("open again");
    assert_eq!(snapshot.topics, [grown.topic]);
    assert_eq!(snapshot.partitions.len(), 4);
    assert!(snapshot.partitions.iter().all(|row| row.leader == BROKER));
}

/// Setting configs replaces them all.
pub async fn configs_are_replaced(fixture: &impl Fixture) {
    let (catalog, _) = fixture.open().await.expect("open");
    let topic_id = create_topic(&*catalog, "configured", 1).await.topic.topic_id;
    let first = configs(&[("retention.ms", "1000"), ("cleanup.policy", "delete")]);
    catalog.set_topic_configs(topic_id, first).await.expect("set");
    let second = configs(&[("retention.ms", "2000")]);
    let topic = catalog.set_topic_configs(topic_id, second.clone()).await.expect("set again");
    assert_eq!(topic.configs, second);
    let (_, snapshot) = fixture.open().await.expect("open again");
    assert_eq!(snapshot.topics[0].configs, second);
}

/// Scopes do not see each other's settings.
pub async fn broker_configs_are_kept_by_scope(fixture: &impl Fixture) {
    let (catalog, _) = fixture.open().await.expect("open");
    let (mine, other) = (ConfigScope::Broker(BROKER), ConfigScope::Broker(BrokerId(2)));
    let everyone = configs(&[("log.retention.ms", "5"), ("dropped", "x")]);
    catalog.set_broker_configs(ConfigScope::Cluster, everyone).await.expect("set for all");
    let own = configs(&[("log.retention.ms", "7")]);
    catalog.set_broker_configs(mine, own.clone()).await.expect("set for one");
    catalog.set_broker_configs(other, configs(&[("b", "2")])).await.expect("set for other");
    let fewer = configs(&[("log.retention.ms", "6")]);
    catalog.set_broker_configs(ConfigScope::Cluster, fewer.clone()).await.expect("set again");
    let (_, snapshot) = fixture.open().await.expect("open again");
    assert_eq!(snapshot.cluster_configs, fewer);
    assert_eq!(snapshot.broker_configs, own);
}
