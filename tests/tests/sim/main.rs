//! A simulation of the storage engine: real storage and a real catalog over a bucket, a disk and
//! clients that misbehave, and a checker that knows what must not happen.
//!
//! ```text
//!   dice      one seed decides everything
//!     |
//!   run       lives, one after another, each on a runtime of its own that a crash drops
//!     |
//!   life      steps: produce, sync, read, flush, delete, expire, disconnect, outage, crash, stop
//!     |            producer   payload
//!   broker    Storage + SlateCatalog
//!     |            disk       the write-ahead log: durable when the run says so
//!     |            bucket     lost requests, lost replies, slowness, flipped bits, outages
//!   model     the checker: acks and reads in, violations out
//! ```
//!
//! `ANTIPHON_SIM_SEEDS=N` sets how many seeds run, `ANTIPHON_SIM_SEED=x` replays one and prints its
//! history. A failure names its seed.
//!
//! Time is virtual, and nothing here has threads. What a seed does not decide is the order in which
//! the tasks of one process take their turns: `select!` in tokio throws dice that cannot be seeded,
//! and SlateDB uses it. So `one_seed_is_one_history` holds for runs in which a step's background
//! work ends before the next step begins and requests of the catalog fail only in outages; the other
//! runs repeat their decisions, and nearly always their course.

mod broker;
mod bucket;
mod dice;
mod disk;
mod life;
mod model;
mod payload;
mod producer;
mod run;
mod world;

use run::{Options, simulate};
use world::Mutation;

/// Seeds that run without being asked for: some ten seconds.
const SEEDS: u64 = 300;
/// Seeds within which a deliberate defect must show.
const SEEDS_PER_MUTATION: u64 = 40;

fn number_from(variable: &str) -> Option<u64> {
    std::env::var(variable).ok()?.parse().ok()
}

#[test]
fn histories_hold() {
    let seeds: Vec<u64> = match number_from("ANTIPHON_SIM_SEED") {
        Some(seed) => vec![seed],
        None => (1..=number_from("ANTIPHON_SIM_SEEDS").unwrap_or(SEEDS)).collect(),
    };
    let verbose = seeds.len() == 1;
    let failures: Vec<_> = seeds.iter().filter_map(|&seed| failure_of(seed, verbose)).collect();
    assert!(
        failures.is_empty(),
        "{} of {} seeds failed:\n{}",
        failures.len(),
        seeds.len(),
        failures.join("\n")
    );
}

#[allow(clippy::print_stderr, reason = "the history of a seed is what somebody asked for")]
fn failure_of(seed: u64, verbose: bool) -> Option<String> {
    let outcome = simulate(seed, Options::default());
    if verbose {
        eprintln!("{}", outcome.history.lines().join("\n"));
    }
    let violation = outcome.verdict.err()?;
    let tail = outcome.history.lines().iter().rev().take(8).rev().cloned().collect::<Vec<_>>();
    Some(format!(
        "seed {seed}: {violation}\n  replay: ANTIPHON_SIM_SEED={seed} cargo test -p antiphon-tests \
         --test sim histories_hold\n  it ended with\n    {}",
        tail.join("\n    ")
    ))
}

#[test]
fn one_seed_is_one_history() {
    for seed in 1..=5 {
        let options = Options { repeatable: true, ..Options::default() };
        let (first, second) = (simulate(seed, options), simulate(seed, options));
        assert!(first.history.lines().len() > 50, "seed {seed} has a history");
        let differs =
            first.history.lines().iter().zip(second.history.lines()).find(|(a, b)| a != b);
        assert_eq!(first.history.hash(), second.history.hash(), "seed {seed}: {differs:?}");
    }
    let options = Options { repeatable: true, ..Options::default() };
    assert_ne!(simulate(1, options).history.hash(), simulate(2, options).history.hash());
}

/// The rules that were broken within some seeds by a broker with this defect.
fn caught(mutation: Mutation) -> Option<&'static str> {
    let options = Options { mutation: Some(mutation), ..Options::default() };
    (1..=SEEDS_PER_MUTATION)
        .find_map(|seed| simulate(seed, options).verdict.err())
        .map(|violation| violation.rule)
}

#[test]
fn an_ack_before_durability_is_caught() {
    let rule = caught(Mutation::AcksBeforeDurable);
    assert!(
        matches!(rule, Some("watermark-back" | "lost" | "offset-reused" | "not-opened")),
        "{rule:?}"
    );
}

#[test]
fn forgotten_producers_are_caught() {
    let rule = caught(Mutation::ForgetsProducers);
    assert!(matches!(rule, Some("duplicate" | "order")), "{rule:?}");
}

#[test]
fn a_log_trimmed_before_the_commit_is_caught() {
    let rule = caught(Mutation::TrimsEarly);
    assert!(matches!(rule, Some("watermark-back" | "lost" | "not-opened")), "{rule:?}");
}

#[test]
fn damaged_reads_are_caught() {
    let rule = caught(Mutation::SkipsCrc);
    assert!(
        matches!(rule, Some("damaged" | "bytes-changed" | "hole" | "watermark-back")),
        "{rule:?}"
    );
}
