//! What a replay benchmark has to reach.

use std::collections::BTreeMap;

use serde::Serialize;

use super::summary::System;
use crate::compare::Spread;
use crate::report::round;

/// Niceness of replaying clients for the bars that are about the broker: on two cores un-niced clients
/// fight the measuring one for a processor, and the latency measured is that fight.
const POLITE: i32 = 19;
const UNNICED: i32 = 0;
/// A slowdown below this means that the quiet phase was disturbed, and nothing can be said.
const PLAUSIBLE: f64 = 0.9;
/// The load that the latency bars are about.
const FOUR: u32 = 4;

/// One bar and whether it is reached.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub(super) struct Verdict {
    pub(super) what: String,
    /// As text: `>= 0.9`.
    pub(super) bar: String,
    pub(super) value: Option<f64>,
    /// `None` when there is nothing to judge.
    pub(super) pass: Option<bool>,
}

enum Bound {
    AtLeast(f64),
    /// At most this, and at least [`PLAUSIBLE`]: something under load is not faster than at rest.
    Slowdown(f64),
    /// The peer's own value; `None` without a peer.
    Below(Option<f64>),
    NotAbove(Option<f64>),
}

fn verdict(what: impl Into<String>, bound: Bound, value: Option<f64>) -> Verdict {
    let peers = |peer: Option<f64>| peer.map_or_else(|| "peer's".into(), round);
    let (bar, pass) = match bound {
        Bound::AtLeast(least) => (format!(">= {least}"), value.map(|value| value >= least)),
        Bound::Slowdown(most) => {
            let judged = value.filter(|value| *value >= PLAUSIBLE);
            (format!("<= {most}"), judged.map(|value| value <= most))
        }
        Bound::Below(peer) => {
            (format!("< {}", peers(peer)), value.zip(peer).map(|(value, peer)| value < peer))
        }
        Bound::NotAbove(peer) => {
            (format!("<= {}", peers(peer)), value.zip(peer).map(|(value, peer)| value <= peer))
        }
    };
    Verdict { what: what.into(), bar, value, pass }
}

/// All bars for the first of `systems`, against the second where a bar is about a peer.
pub(super) fn judge(systems: &[System], raw_gets: &BTreeMap<u32, Spread>) -> Vec<Verdict> {
    let Some(subject) = systems.first() else { return Vec::new() };
    let mut verdicts = Vec::new();
    verdicts.extend([1, FOUR].map(|replays| against_raw(subject, replays, raw_gets)));
    verdicts.extend(latency(subject, systems.get(1)));
    verdicts.push(kept(subject));
    verdicts
}

/// Cold replay, nothing else going on, against GETs that nobody does anything with.
fn against_raw(subject: &System, replays: u32, raw_gets: &BTreeMap<u32, Spread>) -> Verdict {
    let alone = subject.load(replays, POLITE, false).and_then(|load| load.value("replay_mib_s"));
    let raw = raw_gets.get(&replays).map(|spread| spread.median);
    let value = alone.zip(raw).map(|(alone, raw)| alone / raw);
    verdict(format!("cold replay / raw GETs, {replays} consumer(s)"), Bound::AtLeast(0.9), value)
}

fn latency(subject: &System, peer: Option<&System>) -> Vec<Verdict> {
    let polite = subject.p99_against_quiet(FOUR, POLITE);
    let unniced = |system: &System| system.p99_against_quiet(FOUR, UNNICED);
    let quiet = |system: &System, name: &str| system.quiet().and_then(|quiet| quiet.value(name));
    let mut verdicts = vec![
        verdict("p99 / quiet p99, 4 replaying at nice 19", Bound::Slowdown(1.1), polite),
        verdict(
            "p99 / quiet p99, 4 replaying at nice 0, against the peer's",
            Bound::Below(peer.and_then(unniced)),
            unniced(subject),
        ),
    ];
    verdicts.extend(["latency_p50_ms", "latency_p99_ms"].map(|name| {
        let bound = Bound::NotAbove(peer.and_then(|peer| quiet(peer, name)));
        verdict(format!("quiet {name}, against the peer's"), bound, quiet(subject, name))
    }));
    verdicts
}

/// How much of its speed the replay keeps beside live traffic.
fn kept(subject: &System) -> Verdict {
    let speed = |live| subject.load(FOUR, POLITE, live)?.value("replay_mib_s");
    let value = speed(true).zip(speed(false)).map(|(live, alone)| live / alone);
    verdict("replay speed beside live traffic / alone, 4 replaying", Bound::AtLeast(0.8), value)
}

#[cfg(test)]
mod tests {
    use super::super::summary::tests::summary;
    use super::*;

    #[test]
    fn nothing_is_faster_under_load_than_at_rest() {
        for (value, pass) in [(0.15, None), (0.95, Some(true)), (1.2, Some(false))] {
            let judged = verdict("p99", Bound::Slowdown(1.1), Some(value));
            assert_eq!((judged.value, judged.pass), (Some(value), pass));
        }
    }

    fn find(what: &str) -> (Option<f64>, Option<bool>) {
        let bars = summary().bars;
        let bar = bars.iter().find(|bar| bar.what.starts_with(what)).unwrap();
        (bar.value, bar.pass)
    }

    #[test]
    fn bars_are_judged_on_medians() {
        assert_eq!(find("cold replay / raw GETs, 4"), (Some(0.95), Some(true)));
        assert_eq!(find("p99 / quiet p99, 4 replaying at nice 19"), (Some(1.05), Some(true)));
        assert_eq!(find("quiet latency_p99_ms"), (Some(2.0), Some(true)));
        let kept = find("replay speed beside");
        assert_eq!(kept.1, Some(false), "{kept:?}");
    }

    #[test]
    fn what_was_not_measured_has_no_verdict() {
        assert_eq!(find("cold replay / raw GETs, 1"), (None, None));
        assert_eq!(find("p99 / quiet p99, 4 replaying at nice 0"), (None, None));
    }
}
