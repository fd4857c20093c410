//! Figures for `/metrics`, in Prometheus' text format, with its names and base units.
//!
//! Counters are kept here; everything that some component knows anyway is read from it when
//! somebody asks, so that nothing is counted twice.

use std::fmt::Write;
use std::sync::atomic::AtomicU64;
use std::time::Duration;

use antiphon_storage::{ClassStats, StorageStats, TrafficClass};
use prometheus_client::encoding::EncodeLabelSet;
use prometheus_client::encoding::text::encode;
use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::gauge::Gauge;
use prometheus_client::registry::{Registry, Unit};

use crate::broker::Broker;

#[derive(Clone, Debug, EncodeLabelSet, Hash, PartialEq, Eq)]
struct ApiLabels {
    api: &'static str,
}

#[derive(Clone, Debug, EncodeLabelSet, Hash, PartialEq, Eq)]
struct ClassLabels {
    class: &'static str,
}

/// Counters that request handlers bump.
#[derive(Debug)]
pub struct Metrics {
    registry: Registry,
    requests: Family<ApiLabels, Counter>,
    connections: Gauge,
    connections_total: Counter,
    produced_bytes: Counter,
    produced_batches: Counter,
    produced_records: Counter,
    fetched_bytes: Counter,
    history_connections: Gauge,
    history_visits: Counter,
}

impl Metrics {
    pub(crate) fn new() -> Self {
        let metrics = Self {
            registry: Registry::with_prefix("antiphon"),
            requests: Family::default(),
            connections: Gauge::default(),
            connections_total: Counter::default(),
            produced_bytes: Counter::default(),
            produced_batches: Counter::default(),
            produced_records: Counter::default(),
            fetched_bytes: Counter::default(),
            history_connections: Gauge::default(),
            history_visits: Counter::default(),
        };
        metrics.registered()
    }

    fn registered(mut self) -> Self {
        let registry = &mut self.registry;
        registry.register("requests", "Requests received, by API", self.requests.clone());
        registry.register("connections", "Open Kafka connections", self.connections.clone());
        let total = self.connections_total.clone();
        registry.register("connections_opened", "Kafka connections accepted", total);
        registry.register_with_unit(
            "produced",
            "Record batches accepted from producers, as stored",
            Unit::Bytes,
            self.produced_bytes.clone(),
        );
        let batches = self.produced_batches.clone();
        registry.register("produced_batches", "Record batches accepted", batches);
        let records = self.produced_records.clone();
        registry.register("produced_records", "Records accepted", records);
        registry.register_with_unit(
            "fetched",
            "Record batches sent to consumers",
            Unit::Bytes,
            self.fetched_bytes.clone(),
        );
        let here = self.history_connections.clone();
        let help = "Kafka connections that read history and run at lower priority meanwhile";
        registry.register("history_connections", help, here);
        let visits = self.history_visits.clone();
        let help = "Moves of connections to the history runtime";
        registry.register("history_connections_moved", help, visits);
        self
    }

    pub(crate) fn request(&self, api: &'static str) {
        self.requests.get_or_create(&ApiLabels { api }).inc();
    }

    pub(crate) fn connections_opened(&self) {
        self.connections.inc();
        self.connections_total.inc();
    }

    pub(crate) fn moved_to_history(&self) {
        self.history_connections.inc();
        self.history_visits.inc();
    }

    pub(crate) fn left_history(&self) {
        self.history_connections.dec();
    }

    pub(crate) fn connections_closed(&self) {
        self.connections.dec();
    }

    pub(crate) fn produced(&self, bytes: usize, records: i32) {
        self.produced_bytes.inc_by(bytes as u64);
        self.produced_batches.inc();
        self.produced_records.inc_by(u64::try_from(records).unwrap_or(0));
    }

    pub(crate) fn fetched(&self, bytes: usize) {
        self.fetched_bytes.inc_by(bytes as u64);
    }
}

/// Figures read from their owners at the time of asking.
struct Snapshot {
    registry: Registry,
}

impl Snapshot {
    fn new() -> Self {
        Self { registry: Registry::with_prefix("antiphon") }
    }

    fn gauge(&mut self, name: &str, help: &str, value: u64) {
        let gauge: Gauge = Gauge::default();
        gauge.set(as_gauge(value));
        self.registry.register(name, help, gauge);
    }

    fn counter(&mut self, name: &str, help: &str, value: u64) {
        let counter: Counter<u64, AtomicU64> = Counter::default();
        counter.inc_by(value);
        self.registry.register(name, help, counter);
    }

    fn gauges(
        &mut self,
        name: &str,
        help: &str,
        values: impl Iterator<Item = (&'static str, u64)>,
    ) {
        let family: Family<ClassLabels, Gauge> = Family::default();
        for (class, value) in values {
            family.get_or_create(&ClassLabels { class }).set(as_gauge(value));
        }
        self.registry.register(name, help, family);
    }

    fn counters(
        &mut self,
        name: &str,
        help: &str,
        values: impl Iterator<Item = (&'static str, u64)>,
    ) {
        let family: Family<ClassLabels, Counter> = Family::default();
        for (class, value) in values {
            family.get_or_create(&ClassLabels { class }).inc_by(value);
        }
        self.registry.register(name, help, family);
    }

    fn seconds(&mut self, name: &str, help: &str, value: Duration) {
        let counter: Counter<f64, AtomicU64> = Counter::default();
        counter.inc_by(value.as_secs_f64());
        self.registry.register_with_unit(name, help, Unit::Seconds, counter);
    }
}

fn as_gauge(value: u64) -> i64 {
    i64::try_from(value).unwrap_or(i64::MAX)
}

fn fill_history(stats: &StorageStats, snapshot: &mut Snapshot) {
    let cold = stats.cold;
    let gets = cold.gets + cold.readahead_gets + cold.index_loads;
    snapshot.counter("history_gets", "Reads of history from the bucket", gets);
    let bytes = cold.get_bytes + cold.readahead_bytes;
    snapshot.counter("history_read_bytes", "Bytes of history read", bytes);
    let help = "Reads of history that were sent a second time because the first was slow";
    snapshot.counter("history_hedges", help, cold.hedges);
    let help = "Second reads that answered first";
    snapshot.counter("history_hedges_won", help, cold.hedges_won);
    snapshot.counter("history_cache_hits", "Blocks of history found in memory", cold.hits);
    let help = "Blocks of history that somebody else was loading already";
    snapshot.counter("history_cache_joins", help, cold.joins);
    snapshot.counter("history_cache_misses", "Blocks of history not in memory", cold.misses);
    let help = "Times that read-ahead was due and had no room";
    snapshot.counter("history_readahead_skips", help, cold.readahead_skips);
    snapshot.gauge("history_cache_bytes", "Memory of blocks of history", cold.cached_bytes);
    let help = "Memory that blocks of history may use";
    snapshot.gauge("history_cache_limit_bytes", help, cold.cache_limit_bytes);
    let help = "Rows of the catalog about history in memory";
    snapshot.gauge("history_segment_rows", help, stats.segment_rows);
}

/// What becomes of objects after they were flushed.
fn fill_upkeep(stats: &StorageStats, snapshot: &mut Snapshot) {
    let merge = stats.merge;
    snapshot.counter("merged_objects", "Objects made by merging segments", merge.objects);
    snapshot.counter("merged_segments", "Segments replaced by merged ones", merge.segments);
    snapshot.counter("merged_bytes", "Bytes rewritten by merging", merge.bytes);
    snapshot.counter("merge_failures", "Merges that were put off", merge.failures);
    let help = "Merges that retention or a deletion overtook";
    snapshot.counter("merges_overtaken", help, merge.overtaken);
    let help = "Time that merges stood still while flushes could not keep up";
    snapshot.seconds("merge_pause", help, Duration::from_millis(merge.paused_ms));
    snapshot.gauge("merge_queue", "Partitions that wait for a merge", merge.waiting);
    let sweep = stats.sweep;
    snapshot.counter("sweeps", "Searches of the bucket for orphans", sweep.sweeps);
    snapshot.counter("orphans_deleted", "Objects deleted that nothing named", sweep.orphans);
    snapshot.counter("orphan_deleted_bytes", "Bytes that they had", sweep.orphan_bytes);
    let help = "Files of interrupted writes deleted";
    snapshot.counter("sweep_leftovers_deleted", help, sweep.leftovers);
    let help = "Sweeps that broke off, and deletions that failed";
    snapshot.counter("sweep_failures", help, sweep.failures);
}

impl Broker {
    /// The whole page.
    pub fn metrics_page(&self) -> String {
        let mut page = String::new();
        let mut snapshot = Snapshot::new();
        self.fill_storage(&mut snapshot);
        self.fill_compaction(&mut snapshot);
        self.fill_wal(&mut snapshot);
        let (topics, partitions) = self.topics().counts();
        let (groups, offsets) = self.group_counts();
        snapshot.gauge("topics", "Topics", topics as u64);
        snapshot.gauge("partitions", "Partitions of all topics", partitions as u64);
        snapshot.gauge("groups", "Consumer groups", groups as u64);
        snapshot.gauge("group_offsets", "Committed offsets", offsets as u64);
        let mut counters = String::new();
        let written = encode(&mut counters, &self.metrics().registry)
            .and_then(|()| encode(&mut page, &snapshot.registry));
        // Writing to a string fails only if a metric's own formatting does.
        if written.is_err() {
            tracing::error!("a metric could not be formatted");
        }
        // Each part ends with the marker of the text format; the page has one.
        let counters = counters.trim_end_matches("# EOF\n");
        let mut whole = String::with_capacity(counters.len() + page.len());
        let _ = write!(whole, "{counters}{page}");
        whole
    }

    fn fill_storage(&self, snapshot: &mut Snapshot) {
        let stats = self.storage().stats();
        snapshot.gauge("tail_bytes", "Memory charged to the tail", stats.tail_bytes);
        snapshot.gauge("tail_limit_bytes", "Memory that the tail may use", stats.tail_bytes_max);
        let help = "Memory of records that are in the bucket and were written last";
        snapshot.gauge("tail_cache_bytes", help, stats.tail_cache_bytes);
        let help = "Memory that those may use";
        snapshot.gauge("tail_cache_limit_bytes", help, stats.tail_cache_bytes_max);
        let help = "Bytes durable on this disk and not in the bucket yet";
        snapshot.gauge("unflushed_bytes", help, stats.unflushed_bytes);
        snapshot.counter("tail_waits", "Times a producer waited for the tail", stats.tail_waits);
        fill_history(&stats, snapshot);
        fill_upkeep(&stats, snapshot);
        self.fill_traffic(snapshot);
        self.fill_budgets(snapshot);
    }

    /// What each class of traffic asks of the store.
    fn fill_traffic(&self, snapshot: &mut Snapshot) {
        let traffic = self.storage().traffic();
        let all = TrafficClass::ALL.map(|class| (class.name(), traffic.stats(class)));
        let of = |figure: fn(&ClassStats) -> u64| {
            all.iter().map(move |(class, stats)| (*class, figure(stats)))
        };
        snapshot.counters("store_requests", "Requests to the store", of(|s| s.requests));
        snapshot.counters("store_requested_bytes", "Bytes that they were for", of(|s| s.bytes));
        let help = "Requests that had to wait for others of their class";
        snapshot.counters("store_request_waits", help, of(|s| s.waits));
        let help = "Requests to the store in flight";
        snapshot.gauges("store_requests_in_flight", help, of(|s| s.in_flight));
        let help = "Requests to the store that may be in flight";
        snapshot.gauges("store_requests_in_flight_limit", help, of(|s| s.in_flight_max));
        let help = "Bytes in flight from and to the store";
        snapshot.gauges("store_bytes_in_flight", help, of(|s| s.bytes_in_flight));
    }

    /// The budgets of the connections: what is held, and what may be.
    fn fill_budgets(&self, snapshot: &mut Snapshot) {
        let requests = self.request_budget().stats();
        let help = "Memory of requests being received or handled";
        snapshot.gauge("request_bytes", help, requests.used);
        snapshot.gauge("request_limit_bytes", "Memory that requests may use", requests.limit);
        snapshot.counter("request_waits", "Times a request waited for memory", requests.waits);
        let responses = self.response_budget().stats();
        let help = "Memory of fetch answers being made or written";
        snapshot.gauge("response_bytes", help, responses.used);
        let help = "Memory that fetch answers may use";
        snapshot.gauge("response_limit_bytes", help, responses.limit);
        snapshot.counter("response_waits", "Times an answer waited for memory", responses.waits);
    }

    fn fill_compaction(&self, snapshot: &mut Snapshot) {
        let stats = self.storage().stats().compaction;
        let help = "Rounds of compaction, one partition each";
        snapshot.counter("compaction_rounds", help, stats.rounds);
        let help = "Rounds of compaction that failed";
        snapshot.counter("compaction_failures", help, stats.failures);
        let help = "Bytes of batches that compaction went over";
        snapshot.counter("compaction_read_bytes", help, stats.read_bytes);
        let help = "Bytes of objects that compaction put";
        snapshot.counter("compaction_written_bytes", help, stats.written_bytes);
        let help = "Records that compaction removed";
        snapshot.counter("compaction_removed_records", help, stats.removed_records);
    }

    fn fill_wal(&self, snapshot: &mut Snapshot) {
        let wal = self.storage().stats().wal;
        snapshot.counter("wal_appended_bytes", "Bytes appended to the log", wal.appended_bytes);
        snapshot.counter("wal_written_bytes", "Bytes written, padding included", wal.written_bytes);
        snapshot.counter("wal_groups", "Group commits", wal.groups);
        snapshot.seconds("wal_write", "Time spent in durable writes", wal.write_time);
        snapshot.gauge("wal_segments", "Segment files with frames", wal.segments);
        snapshot.gauge("wal_disk_bytes", "Disk used by the log", wal.disk_bytes);
        let help = "Disk that the log may use";
        snapshot.gauge("wal_disk_limit_bytes", help, wal.disk_capacity_bytes);
        snapshot.gauge(
            "wal_durable_lsn",
            "Position of the last durable frame",
            wal.durable_lsn.get(),
        );
    }
}
