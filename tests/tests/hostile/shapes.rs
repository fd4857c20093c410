//! Bodies of every API in every version: bombs, cut ends, damaged bytes, noise.

use std::time::Duration;

use antiphon_common::{Entropy, SeededEntropy};
use antiphon_protocol::{Api, SampleRequest, sample_request};
use antiphon_tests::{Reaction, figure, shared};

use crate::siege::Siege;

const API_VERSIONS: i16 = 18;
/// How many damaged and random bodies each version of each API gets.
const ROUNDS: usize = 6;

/// Every version of every API that is served, with a body that has everything in it.
fn samples() -> Vec<(i16, i16, SampleRequest)> {
    let versions = Api::served().flat_map(|api| {
        (api.min..=api.max).filter(|version| api.serves(*version)).map(|v| (api.key as i16, v))
    });
    versions
        .map(|(key, version)| {
            let sample = sample_request(key, version);
            (key, version, sample.unwrap_or_else(|| panic!("no sample of {key} v{version}")))
        })
        .collect()
}

#[test]
fn counts_that_claim_two_billion() {
    let _turn = shared();
    let mut siege = Siege::begin("bombs");
    let mut bombs = 0;
    for (key, version, sample) in samples() {
        for bomb in &sample.bombs {
            let reaction = siege.reaction_to_body(key, version, bomb);
            assert_eq!(reaction, Reaction::Closed, "{key} v{version}");
            bombs += 1;
        }
    }
    figure(&format!("{bombs} array bombs"));
    assert!(bombs > 150, "{bombs}");
    siege.survived("array bombs");
}

#[test]
fn bodies_that_end_too_early() {
    let _turn = shared();
    let mut siege = Siege::begin("cut");
    for (key, version, sample) in samples() {
        let length = sample.body.len();
        let mut cuts = vec![0, length / 3, length / 2, length.saturating_sub(1)];
        cuts.retain(|cut| *cut < length);
        cuts.dedup();
        for cut in cuts {
            let reaction = siege.reaction_to_body(key, version, &sample.body[..cut]);
            // ApiVersions says what it thinks of the request, for clients that are yet to learn.
            let answered = matches!(reaction, Reaction::Answer(_)) && key == API_VERSIONS;
            assert!(
                reaction == Reaction::Closed || answered,
                "{key} v{version} cut at {cut} of {length}: {reaction:?}"
            );
        }
    }
    siege.survived("cut bodies");
}

/// Nothing is said of what such a body is answered with: damage may make another valid request of
/// it, which may even have to wait. The broker has to be there afterwards.
#[test]
fn damaged_bodies_and_noise() {
    let _turn = shared();
    let mut siege = Siege::begin("noise");
    let seed = 20_261;
    figure(&format!("noise: seed {seed}"));
    let dice = SeededEntropy::new(seed);
    for (key, version, sample) in samples() {
        for round in 0..ROUNDS {
            let mut body = sample.body.clone();
            if round % 3 == 2 {
                body = vec![0; (dice.u64() % 200) as usize];
                dice.fill(&mut body);
            } else if !body.is_empty() {
                for _ in 0..=dice.u64() % 4 {
                    let at = (dice.u64() % body.len() as u64) as usize;
                    body[at] = dice.u64() as u8;
                }
            }
            let mut raw = siege.raw();
            let _ = raw.send_body(key, version, &body);
            raw.reaction_within(Duration::from_millis(5));
        }
    }
    siege.survived("damaged bodies and noise");
}
