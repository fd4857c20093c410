//! A simulation of the storage engine: the real storage, catalog and recovery over a bucket, a disk
//! and clients that misbehave, and a checker that knows what must not happen.
//!
//! ```text
//!   process   one seed, one process: runs them, side by side
//!     |
//!   run       lives, one after another, each on a runtime of its own that a crash drops
//!     |  dice      the seed decides everything
//!     |  fixed     time and randomness of libc, too
//!     v
//!   life      steps: produce, sync, read, consume, flush, delete, expire, merge, compact, sweep,
//!     |              disconnect, outage, full disk, crash, kill between two requests, rot, a rival, stop
//!     |            producer   consumer   payload   groups: the real coordinator   team
//!   broker    Storage + SlateCatalog
//!     |            antiphon_wal::simulated         the log's format and recovery on a disk in sectors
//!     |            antiphon_storage::store::faults a bucket that fails by rule
//!   model     the checker: acks and reads in, violations out
//! ```
//!
//! `ANTIPHON_SIM_SEEDS=N` sets how many seeds run, `ANTIPHON_SIM_SEED=x` replays one and prints its
//! history. A failure names its seed.
//!
//! Time is virtual, and nothing here has threads. One seed is one history, line by line:
//! `one_seed_is_one_history` compares them. A mutation is a defect on purpose, put in by a seam and not
//! by another build: each must be noticed within a few seeds.
//!
//! # Which rule is checked how
//!
//! The rules of Jepsen's `tests.kafka` (A), and of systems like this one (C), by the names of the
//! checker's violations (`model`) and of the mutations that prove it looks.
//!
//! | rule | checked by | proved by |
//! |---|---|---|
//! | A1 one value at two offsets | `duplicate`: acks and reads share one ledger | `forgets-producers` |
//! | A2 two values at one offset; ack and read disagree | `offset-reused`, `bytes-changed` | `acks-before-durable` |
//! | A3 acked, or read once, and gone | `lost`, at every read and by the audit of a new machine | `acks-before-durable`, `trims-early` |
//! | A4 acked and never read | `lost`: the audit reads everything to the end | same |
//! | A5 aborted reads | not yet: there are no transactions | |
//! | A6 uncommitted reads | not yet: there are no transactions | |
//! | B compaction drops no key's newest value, revives nothing, keeps tombstones and what is young | the six promises of `keyed`: `compacted-away`, `resurrected`, `not-compacted` | `confuses-keys`, `forgets-tombstones`, `compacts-young`, `resurrects`, `never-compacts` |
//! | A7 a producer's offsets go back | `order`: acks, and the audit's order by producer | `forgets-producers` |
//! | A8 polls go back or skip | `poll`, `hole`: consumers that each begin where they ended | `skips-batches` |
//! | B appended below what was known at sending | `order` | |
//! | C1 ack after sync | the disk loses, sector by sector, what was not synced | `acks-before-durable` |
//! | C2 record and producer state together | idempotent producers repeat over lost replies, crashes, wiped disks: `duplicate`, `order` | `forgets-producers` |
//! | C3 trim only behind the manifest | `lost`, `not-opened`: the log refuses a gap | `trims-early` |
//! | C4 fencing | `zombie`: a process that was overtaken goes on flushing, merging, sweeping | `ignores-create` |
//! | C5 contiguous offsets, watermarks never back, re-reads identical | `hole`, `watermark-back`, `start-back`, `bytes-changed` | `skips-crc` |
//! | C6 merges and compactions beside flushes and reads, no orphan, no early delete | reads and `lost` meanwhile; `orphan`: at the end the bucket is what the catalog names; `books`: it names what it counts, and nothing deleted | `leaves-orphans`; a read whose object goes is planned again, so deleting early shows only when it is lost |
//! | C7 faults of the bucket | every fault of the kit; `unexplained`: an error without a cause; `stuck`: nothing fails and nothing goes on | `ignores-create` |
//! | C8 faults of the disk | torn and lost sectors, no room, a flipped bit in what was acked (`not-opened` unless refused as corrupt) | `skips-log-crc` |
//! | C10 committed positions never go back; who was left out of a rebalance commits nothing; rebalances end | `assignment`, `zombie-commit`, `stuck`: the promises of `team` | `forgets-members` |
//! | C10 of lone consumers | `commit`: the coordinator over a compacted partition of its own, replayed by each process | `confirms-early` |
//!
//! Not here: a failing sync (`e2e/disks.rs`, `wal/tests/faults.rs`), memory (`hostile`), static members
//! (`coordinator/tests`), and liveness on real time (`e2e/crash.rs`).

mod broker;
mod bucket;
mod consumer;
mod dice;
mod fixed;
mod groups;
mod keyed;
mod life;
mod model;
mod payload;
mod process;
mod producer;
mod run;
mod team;
mod world;

use std::collections::BTreeMap;

use process::{Job, run, run_all};
use world::Mutation;

/// Seeds that run without being asked for.
const SEEDS: u64 = 100;
/// Seeds within which a deliberate defect must show.
const SEEDS_PER_MUTATION: u64 = 40;
/// What must have happened at least once within [`SEEDS`] histories: the first words of a line.
/// Otherwise the simulation has stopped to simulate.
const EVENTS: [&str; 27] = [
    "ack",
    "committed",
    "read",
    "deleted",
    "outage Refuses",
    "outage Hangs",
    "outage over",
    "disk full",
    "disk wiped",
    "rot refused",
    "overtaken",
    "zombie flush failed: Fenced",
    "log Clean",
    "log TornTail",
    "flush failed: Retry",
    "killed after",
    "merged",
    "swept SweepReport",
    "share of",
    "team committed",
    "team refused",
    "compacted CompactionStats",
    "compaction killed",
    "superseded p4",
    "superseded p5",
    "expired p4",
    "expired p5",
];

fn number_from(variable: &str) -> Option<u64> {
    std::env::var(variable).ok()?.parse().ok()
}

/// Run by the others, in a process of its own.
#[test]
#[ignore = "needs to be told which seed; the other tests do that"]
fn one_seed() {
    process::run_what_the_environment_says();
}

#[test]
#[allow(clippy::print_stderr, reason = "the history of a seed is what somebody asked for")]
fn histories_hold() {
    if let Some(seed) = number_from("ANTIPHON_SIM_SEED") {
        let report = run(Job { seed, mutation: None });
        eprintln!("{}", report.history.join("\n"));
        assert_eq!(report.violation, None, "seed {seed}");
        return;
    }
    let seeds = number_from("ANTIPHON_SIM_SEEDS").unwrap_or(SEEDS);
    let jobs: Vec<_> = (1..=seeds).map(|seed| Job { seed, mutation: None }).collect();
    let reports = run_all(&jobs);
    let failures: Vec<_> = reports.iter().filter_map(failure).collect();
    assert!(
        failures.is_empty(),
        "{} of {seeds} seeds failed:\n{}",
        failures.len(),
        failures.join("\n")
    );
    let seen =
        |event: &&str| reports.iter().any(|r| r.history.iter().any(|l| l.starts_with(event)));
    let missing: Vec<_> = EVENTS.iter().filter(|event| !seen(event)).collect();
    assert!(seeds < SEEDS || missing.is_empty(), "never happened: {missing:?}");
}

fn failure(report: &process::Report) -> Option<String> {
    let violation = report.violation.as_ref()?;
    let seed = report.seed;
    let tail = &report.history[report.history.len().saturating_sub(8)..];
    Some(format!(
        "seed {seed}: {violation}\n  replay: ANTIPHON_SIM_SEED={seed} cargo test -p antiphon-tests \
         --test sim histories_hold\n  it ended with\n    {}",
        tail.join("\n    ")
    ))
}

/// Whole histories, line by line, of processes that share nothing.
#[test]
fn one_seed_is_one_history() {
    const COMPARED: u64 = 20;
    let jobs: Vec<_> = (1..=COMPARED).map(|seed| Job { seed, mutation: None }).collect();
    let (first, second) = (run_all(&jobs), run_all(&jobs));
    for (one, other) in first.iter().zip(&second) {
        assert!(one.history.len() > 50, "seed {} has a history: {:?}", one.seed, one.violation);
        let differs = one.history.iter().zip(&other.history).find(|(a, b)| a != b);
        assert_eq!(differs, None, "seed {}", one.seed);
        assert_eq!(one.history.len(), other.history.len(), "seed {}", one.seed);
    }
    let distinct: BTreeMap<_, _> = first.iter().map(|report| (&report.history, ())).collect();
    assert_eq!(distinct.len(), COMPARED as usize, "seeds differ from each other");
}

/// The first rule that a broker with this defect breaks.
fn caught(mutation: Mutation) -> String {
    let jobs = |from: u64| {
        (from..from + 8).map(|seed| Job { seed, mutation: Some(mutation) }).collect::<Vec<_>>()
    };
    for from in (1..=SEEDS_PER_MUTATION).step_by(8) {
        let reports = run_all(&jobs(from));
        if let Some(report) = reports.iter().find(|report| report.violation.is_some()) {
            return report.rule().unwrap_or_default().to_owned();
        }
    }
    panic!("{mutation:?} was not caught within {SEEDS_PER_MUTATION} seeds")
}

fn expect_caught(mutation: Mutation, rules: &[&str]) {
    let rule = caught(mutation);
    assert!(rules.contains(&rule.as_str()), "{mutation:?} broke {rule:?}, expected {rules:?}");
}

#[test]
fn an_ack_before_durability_is_caught() {
    let rules = ["watermark-back", "lost", "offset-reused", "not-opened", "commit"];
    expect_caught(Mutation::AcksBeforeDurable, &rules);
}

#[test]
fn forgotten_producers_are_caught() {
    expect_caught(Mutation::ForgetsProducers, &["duplicate", "order"]);
}

#[test]
fn a_log_trimmed_before_the_commit_is_caught() {
    expect_caught(Mutation::TrimsEarly, &["watermark-back", "lost", "not-opened"]);
}

#[test]
fn damaged_reads_are_caught() {
    let rules = ["damaged", "bytes-changed", "hole", "watermark-back"];
    expect_caught(Mutation::SkipsCrc, &rules);
}

#[test]
fn damaged_frames_are_caught() {
    let rules =
        ["damaged", "bytes-changed", "hole", "watermark-back", "not-opened", "lost", "unexplained"];
    expect_caught(Mutation::SkipsLogCrc, &rules);
}

#[test]
fn a_bucket_without_create_if_absent_is_caught() {
    let rules = ["zombie", "lost", "hole", "not-opened", "watermark-back", "start-back", "stuck"];
    expect_caught(Mutation::IgnoresCreate, &rules);
}

#[test]
fn reads_that_skip_are_caught() {
    expect_caught(Mutation::SkipsBatches, &["hole"]);
}

#[test]
fn orphans_are_caught() {
    expect_caught(Mutation::LeavesOrphans, &["orphan"]);
}

#[test]
fn keys_that_compaction_confuses_are_caught() {
    expect_caught(Mutation::ConfusesKeys, &["compacted-away"]);
}

#[test]
fn tombstones_that_go_too_early_are_caught() {
    expect_caught(Mutation::ForgetsTombstones, &["compacted-away"]);
}

#[test]
fn compaction_of_what_is_too_young_is_caught() {
    expect_caught(Mutation::CompactsYoung, &["compacted-away"]);
}

#[test]
fn coordinators_that_forget_members_are_caught() {
    expect_caught(Mutation::ForgetsMembers, &["assignment", "zombie-commit", "commit", "stuck"]);
}

#[test]
fn compaction_that_never_comes_to_it_is_caught() {
    expect_caught(Mutation::NeverCompacts, &["not-compacted"]);
}

#[test]
fn reads_of_what_compaction_took_are_caught() {
    expect_caught(Mutation::Resurrects, &["resurrected", "not-compacted"]);
}

#[test]
fn commits_confirmed_too_early_are_caught() {
    expect_caught(Mutation::ConfirmsEarly, &["commit"]);
}
