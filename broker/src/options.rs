//! What an operator may set about the broker.

use std::net::SocketAddr;
use std::time::Duration;

use antiphon_common::BrokerId;

/// The address that clients are told to connect to.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Endpoint {
    /// Host name or address.
    pub host: String,
    /// Port.
    pub port: u16,
}

impl std::fmt::Display for Endpoint {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        if self.host.contains(':') {
            write!(f, "[{}]:{}", self.host, self.port)
        } else {
            write!(f, "{}:{}", self.host, self.port)
        }
    }
}

/// Options of [`crate::Broker`].
#[derive(Clone, Debug)]
pub struct BrokerOptions {
    /// This broker's id.
    pub broker_id: BrokerId,
    /// Where the Kafka listener is bound.
    pub listen: SocketAddr,
    /// What clients are told; `None` means the bound address.
    pub advertised: Option<Endpoint>,
    /// Where HTTP is bound; `None` turns it off.
    pub http: Option<SocketAddr>,
    /// Whether Metadata creates missing topics (`auto.create.topics.enable`).
    pub auto_create_topics: bool,
    /// Partitions of a topic whose creator did not say (`num.partitions`).
    pub default_partitions: i32,
    /// Partitions of `__consumer_offsets` when it is created.
    pub offsets_partitions: i32,
    /// How long a new group waits for more members (`group.initial.rebalance.delay.ms`).
    pub initial_rebalance_delay: Duration,
    /// How long an empty group keeps its offsets (`offsets.retention.minutes`).
    pub offsets_retention: Duration,
    /// The limits that keep memory bounded.
    pub limits: Limits,
}

/// Every limit on what one client, or all of them together, may hold.
#[derive(Clone, Copy, Debug)]
pub struct Limits {
    /// Connections at a time.
    pub connections_max: usize,
    /// Produce requests of one connection whose ack is outstanding.
    pub pipelined_max: usize,
    /// Bytes of requests being received or handled, over all connections.
    pub request_bytes_max: usize,
    /// A frame of at least this many bytes takes its room in `request_bytes_max` before it is
    /// received; smaller ones, which come with one read, when they are handled.
    pub large_frame_bytes: usize,
    /// How long a connection may go without a request (`connections.max.idle.ms`).
    pub idle_timeout: Duration,
    /// How long the bytes of a started frame, or of a response being written, may stand still.
    pub stall_timeout: Duration,
    /// The largest fetch response (`fetch.max.bytes`).
    pub fetch_bytes_max: usize,
    /// Bytes of fetch responses being assembled or written, over all connections.
    pub response_bytes_max: usize,
    /// The longest that a fetch may wait.
    pub fetch_wait_max: Duration,
    /// How long a fetch waits for history before it says that it cannot be read. Less than the 30 s
    /// after which clients give a request up (`request.timeout.ms`).
    pub history_wait_max: Duration,
    /// Partitions of all topics together.
    pub partitions_max: usize,
    /// Partitions that one request may create.
    pub partitions_per_request_max: usize,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            connections_max: 20_000,
            pipelined_max: 64,
            request_bytes_max: 256 << 20,
            large_frame_bytes: 64 << 10,
            idle_timeout: Duration::from_secs(600),
            stall_timeout: Duration::from_secs(30),
            fetch_bytes_max: 55 << 20,
            response_bytes_max: 256 << 20,
            fetch_wait_max: Duration::from_secs(300),
            history_wait_max: Duration::from_secs(15),
            partitions_max: 200_000,
            partitions_per_request_max: 20_000,
        }
    }
}

impl BrokerOptions {
    /// The defaults: everything on loopback, on the ports that Kafka users expect.
    pub fn new(listen: SocketAddr) -> Self {
        Self {
            broker_id: BrokerId(0),
            listen,
            advertised: None,
            http: None,
            auto_create_topics: true,
            default_partitions: 1,
            offsets_partitions: 50,
            initial_rebalance_delay: Duration::from_secs(3),
            offsets_retention: Duration::from_secs(7 * 24 * 3600),
            limits: Limits::default(),
        }
    }
}
