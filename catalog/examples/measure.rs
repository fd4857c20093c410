//! Measures what a catalog on local files costs: opening, committing, and being idle.
//!
//! ```text
//! cargo run -p antiphon-catalog --features test-util --example measure -- [FOLDER] [IDLE_SECONDS]
//! ```
//!
//! Numbers of a debug build are good for counting requests and comparing settings; SlateDB itself
//! is optimised in both.

#![allow(clippy::print_stdout, reason = "printing numbers is what it is for")]

use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use antiphon_catalog::conformance::{ObservedStore, create_topic, flush};
use antiphon_catalog::{Catalog, NewTopic, OpenOptions, SlateCatalog, Snapshot};
use antiphon_common::{BrokerId, Environment};
use object_store::local::LocalFileSystem;
use uuid::Uuid;

struct Bench {
    store: Arc<ObservedStore>,
    environment: Environment,
}

impl Bench {
    fn now(&self) -> Duration {
        self.environment.clock.monotonic()
    }

    async fn open(&self, what: &str, prefix: &str) -> (Arc<SlateCatalog>, Snapshot) {
        let (started, before) = (self.now(), self.store.requests());
        let options = OpenOptions {
            local: true,
            ..OpenOptions::new(
                Arc::clone(&self.store) as _,
                prefix,
                BrokerId(1),
                Uuid::nil(),
                self.environment.clone(),
            )
        };
        let opened = SlateCatalog::open(options).await.expect("open");
        println!("{what:44} {:8.1} ms  {}", millis(self.now() - started), self.since(&before));
        opened
    }

    fn since(&self, before: &std::collections::BTreeMap<&'static str, u64>) -> String {
        let now = self.store.requests();
        let grown = now.iter().map(|(kind, count)| (kind, count - before.get(kind).unwrap_or(&0)));
        let grown = grown.filter(|(_, count)| *count > 0);
        grown.map(|(kind, count)| format!("{kind} {count}")).collect::<Vec<_>>().join(", ")
    }

    async fn restarts(&self) {
        for round in 0..3 {
            let (catalog, _) =
                self.open(&format!("open empty #{round}"), &format!("e{round}")).await;
            catalog.close().await.expect("close");
        }
        for round in 0..5 {
            let (catalog, _) = self.open(&format!("open existing, closed #{round}"), "e0").await;
            catalog.close().await.expect("close");
        }
        for round in 0..3 {
            self.open(&format!("open existing, crashed #{round}"), "e1").await;
        }
    }

    async fn commits(&self) {
        let (catalog, _) = self.open("open for commits", "commits").await;
        let partition = create_topic(&*catalog, "bench", 1).await.partitions[0].partition_id;
        let mut times = Vec::new();
        let before = self.store.requests();
        for number in 0..300_i64 {
            let started = self.now();
            let commit = flush(&*catalog, number as u128, &[(partition, number, number)]);
            catalog.commit_flush(commit).await.expect("flush");
            times.push(self.now() - started);
        }
        times.sort();
        let [p50, p99, max] = [150, 297, 299].map(|rank: usize| millis(times[rank]));
        println!(
            "300 flush commits: p50 {p50:.2} p99 {p99:.2} max {max:.2} ms  {}",
            self.since(&before)
        );
        drop(catalog);
        self.open("open after 300 commits and a crash", "commits").await;
        let (started, before) = (self.now(), self.store.requests());
        let (catalog, _) = self.open("open after 300 commits and a crash, again", "commits").await;
        catalog.segments(partition).await.expect("segments");
        println!(
            "  and its 300 segments {:.1} ms {}",
            millis(self.now() - started),
            self.since(&before)
        );
    }

    async fn partitions(&self, count: u32) {
        let prefix = format!("p{count}");
        let (catalog, _) = self.open("open for partitions", &prefix).await;
        let topic = NewTopic { name: "wide".into(), partitions: count, ..NewTopic::default() };
        let (started, before) = (self.now(), self.store.requests());
        catalog.create_topics(vec![topic]).await.expect("create");
        let took = millis(self.now() - started);
        println!(
            "create a topic of {count:6} partitions             {took:8.1} ms  {}",
            self.since(&before)
        );
        drop(catalog);
        let (catalog, snapshot) = self.open("  open after a crash", &prefix).await;
        assert_eq!(snapshot.partitions.len(), count as usize);
        catalog.close().await.expect("close");
        let (catalog, _) = self.open("  open after a clean close", &prefix).await;
        catalog.close().await.expect("close");
    }

    async fn idle(&self, seconds: u64) {
        let before_rss = resident_kib();
        let (_catalog, _) = self.open("open to be idle", "e0").await;
        println!("resident: {before_rss} KiB before, {} KiB after opening", resident_kib());
        let before = self.store.requests();
        tokio::time::sleep(Duration::from_secs(seconds)).await;
        println!("idle for {seconds} s: {}; resident {} KiB", self.since(&before), resident_kib());
    }
}

fn millis(time: Duration) -> f64 {
    time.as_secs_f64() * 1e3
}

fn resident_kib() -> u64 {
    let status = std::fs::read_to_string("/proc/self/status").unwrap_or_default();
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:"));
    line.and_then(|line| line.trim().trim_end_matches(" kB").parse().ok()).unwrap_or(0)
}

#[tokio::main]
async fn main() {
    let mut arguments = std::env::args().skip(1);
    let folder =
        arguments.next().map_or_else(|| std::env::temp_dir().join("catalog"), PathBuf::from);
    let seconds = arguments.next().and_then(|text| text.parse().ok()).unwrap_or(0);
    let _ = std::fs::remove_dir_all(&folder);
    std::fs::create_dir_all(&folder).expect("a folder to measure in");
    let files = LocalFileSystem::new_with_prefix(&folder).expect("a store").with_fsync(true);
    let bench =
        Bench { store: ObservedStore::new(Arc::new(files)), environment: Environment::system() };
    if seconds > 0 {
        bench.idle(seconds).await;
        return;
    }
    bench.restarts().await;
    bench.commits().await;
    bench.partitions(1_000).await;
    bench.partitions(10_000).await;
}
