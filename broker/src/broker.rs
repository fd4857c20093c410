//! The broker: what every request handler may use, and the life of the whole.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use antiphon_catalog::{Catalog, Snapshot};
use antiphon_common::{ClusterId, Environment, TopicId};
use antiphon_storage::Storage;
use parking_lot::RwLock;
use tokio::net::TcpListener;
use tokio::sync::{Mutex, watch};

use crate::config::BrokerConfigs;
use crate::groups::Groups;
use crate::metrics::Metrics;
use crate::net::{ByteBudget, Listener};
use crate::options::{BrokerOptions, Endpoint};
use crate::producer_ids::ProducerIds;
use crate::topics::{Topic, Topics};

/// How long connections may take to end by themselves when the broker stops.
const CONNECTION_GRACE: Duration = Duration::from_secs(5);

/// Everything a broker is made of; the composition root opens the parts.
#[derive(Debug)]
pub struct BrokerParts {
    /// What the operator set.
    pub options: BrokerOptions,
    /// Time and randomness.
    pub environment: Environment,
    /// Open for writing by this process.
    pub catalog: Arc<dyn Catalog>,
    /// What the catalog held when it was opened.
    pub snapshot: Snapshot,
    /// Opened over the same catalog.
    pub storage: Arc<Storage>,
}

/// A running broker. Request handlers hold it in an `Arc`.
#[derive(Debug)]
pub struct Broker {
    options: BrokerOptions,
    environment: Environment,
    cluster_id: ClusterId,
    catalog: Arc<dyn Catalog>,
    storage: Arc<Storage>,
    topics: Topics,
    configs: RwLock<BrokerConfigs>,
    metrics: Metrics,
    groups: Groups,
    producer_ids: ProducerIds,
    advertised: RwLock<Endpoint>,
    stopping: watch::Sender<bool>,
    request_budget: Arc<ByteBudget>,
    response_budget: Arc<ByteBudget>,
    /// Held by whoever changes topics or configs, so that catalog and image change together.
    pub(crate) change_turn: Mutex<()>,
}

impl Broker {
    /// A broker over opened parts. It serves nothing until [`Broker::serve`].
    pub fn new(parts: BrokerParts) -> Arc<Self> {
        let BrokerParts { options, environment, catalog, snapshot, storage } = parts;
        let configs = BrokerConfigs { fixed: BTreeMap::new(), dynamic: snapshot.cluster_configs };
        let topics = Topics::default();
        for row in &snapshot.topics {
            let logs = row.partitions.iter().filter_map(|id| storage.partition(*id)).collect();
            topics.put(Topic::from_row(row, logs, &configs.dynamic));
        }
        let limits = options.limits;
        let advertised = options.advertised.clone().unwrap_or_else(|| endpoint_of(options.listen));
        Arc::new(Self {
            cluster_id: snapshot.cluster.cluster_id,
            groups: Groups::new(&options),
            producer_ids: ProducerIds::default(),
            metrics: Metrics::new(),
            configs: RwLock::new(configs),
            advertised: RwLock::new(advertised),
            stopping: watch::Sender::new(false),
            request_budget: ByteBudget::new(limits.request_bytes_max),
            response_budget: ByteBudget::new(limits.response_bytes_max),
            change_turn: Mutex::new(()),
            options,
            environment,
            catalog,
            storage,
            topics,
        })
    }

    /// Binds the Kafka listener; port 0 becomes a free port.
    pub fn bind(options: &BrokerOptions) -> std::io::Result<TcpListener> {
        crate::net::bind(options.listen)
    }

    /// Serves Kafka clients on `socket` until [`Broker::stop`], then until their connections end.
    pub async fn serve(self: &Arc<Self>, socket: TcpListener) -> std::io::Result<()> {
        let bound = socket.local_addr()?;
        if self.options.advertised.is_none() {
            *self.advertised.write() = endpoint_of(bound);
        }
        self.note_fixed_configs(bound);
        let timers = tokio::spawn(Arc::clone(self).run_group_timers());
        let listener = Listener::new(socket, Arc::clone(self));
        listener.run(self.stopping.subscribe(), CONNECTION_GRACE).await;
        timers.abort();
        Ok(())
    }

    /// Tells every connection to end after the request it is at.
    pub fn stop(&self) {
        self.stopping.send_replace(true);
    }

    /// Turns true when the broker is told to stop.
    pub fn stopping(&self) -> watch::Receiver<bool> {
        self.stopping.subscribe()
    }

    /// Resolves when the broker is told to stop.
    pub(crate) async fn stopped(&self) {
        // The guard that `wait_for` returns must not live in the caller's future: it is not `Send`.
        let _ = self.stopping.subscribe().wait_for(|stopping| *stopping).await;
    }

    /// What the operator set.
    pub fn options(&self) -> &BrokerOptions {
        &self.options
    }

    /// Time and randomness.
    pub fn environment(&self) -> &Environment {
        &self.environment
    }

    /// The cluster's identity.
    pub fn cluster_id(&self) -> &ClusterId {
        &self.cluster_id
    }

    /// The catalog.
    pub fn catalog(&self) -> &Arc<dyn Catalog> {
        &self.catalog
    }

    /// The partitions' logs.
    pub fn storage(&self) -> &Arc<Storage> {
        &self.storage
    }

    /// The topics.
    pub fn topics(&self) -> &Topics {
        &self.topics
    }

    /// Figures for `/metrics`.
    pub fn metrics(&self) -> &Metrics {
        &self.metrics
    }

    /// The group coordinator.
    pub(crate) fn groups(&self) -> &Groups {
        &self.groups
    }

    /// The source of producer ids.
    pub(crate) fn producer_ids(&self) -> &ProducerIds {
        &self.producer_ids
    }

    /// The address that clients are told.
    pub fn advertised(&self) -> Endpoint {
        self.advertised.read().clone()
    }

    /// Broker settings as they are now.
    pub fn configs(&self) -> BrokerConfigs {
        self.configs.read().clone()
    }

    /// Replaces the dynamic settings in memory and resolves every topic again. The caller holds
    /// `change_turn` and has told the catalog.
    pub(crate) fn replace_dynamic_configs(&self, dynamic: BTreeMap<String, String>) {
        self.configs.write().dynamic = dynamic;
        for topic in self.topics.all() {
            self.replace_topic_overrides(topic.id, topic.overrides.clone());
        }
    }

    /// Replaces a topic's own settings in memory. The caller holds `change_turn` and has told the
    /// catalog.
    pub(crate) fn replace_topic_overrides(&self, id: TopicId, overrides: BTreeMap<String, String>) {
        let Some(topic) = self.topics.by_id(id) else { return };
        let settings =
            crate::config::TopicSettings::resolve(&overrides, &self.configs.read().dynamic);
        for log in &topic.partitions {
            log.set_config(Arc::clone(&settings.log));
        }
        self.topics.put(Topic { overrides, settings, ..Topic::clone(&topic) });
    }

    /// Bytes of requests that are being received or handled.
    pub(crate) fn request_budget(&self) -> &Arc<ByteBudget> {
        &self.request_budget
    }

    /// Bytes of fetch answers that are being made or written.
    pub(crate) fn response_budget(&self) -> &Arc<ByteBudget> {
        &self.response_budget
    }

    fn note_fixed_configs(&self, bound: SocketAddr) {
        let options = &self.options;
        let number = |number: i64| number.to_string();
        let fixed = [
            ("advertised.listeners", format!("PLAINTEXT://{}", self.advertised())),
            ("auto.create.topics.enable", options.auto_create_topics.to_string()),
            ("broker.id", options.broker_id.to_string()),
            ("default.replication.factor", number(1)),
            ("delete.topic.enable", "true".to_owned()),
            ("fetch.max.bytes", options.limits.fetch_bytes_max.to_string()),
            (
                "group.initial.rebalance.delay.ms",
                options.initial_rebalance_delay.as_millis().to_string(),
            ),
            ("group.max.session.timeout.ms", number(1_800_000)),
            ("group.min.session.timeout.ms", number(6_000)),
            ("listeners", format!("PLAINTEXT://{bound}")),
            ("log.dirs", self.storage.wal_dir().display().to_string()),
            ("node.id", options.broker_id.to_string()),
            ("num.partitions", options.default_partitions.to_string()),
            ("offsets.retention.minutes", (options.offsets_retention.as_secs() / 60).to_string()),
            ("offsets.topic.num.partitions", options.offsets_partitions.to_string()),
            ("offsets.topic.replication.factor", number(1)),
            ("producer.id.expiration.ms", number(86_400_000)),
            ("socket.request.max.bytes", number(100 << 20)),
            ("transaction.state.log.replication.factor", number(1)),
        ];
        self.configs.write().fixed =
            fixed.into_iter().map(|(name, value)| (name.to_owned(), value)).collect();
    }
}

fn endpoint_of(address: SocketAddr) -> Endpoint {
    // An unspecified address is where we listen, not where anyone can connect.
    let host = if address.ip().is_unspecified() {
        if address.is_ipv4() { "127.0.0.1".to_owned() } else { "::1".to_owned() }
    } else {
        address.ip().to_string()
    };
    Endpoint { host, port: address.port() }
}
