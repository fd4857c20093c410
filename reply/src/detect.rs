//! Which convention a record follows.
//!
//! Every profile reads the record. Profiles that look for the correlation id in the same place are
//! rivals (Spring and Nest): of rivals, those that the record contradicts least stay, and of these,
//! those that account for most of its headers. So a decimal reply partition decides for Nest, an
//! int32 for Spring; a textual id with no partition fits both, and both stay. Profiles of different
//! places are no rivals: a record may carry the headers of two libraries.

use std::cmp::Reverse;

use antiphon_records::Headers;

use crate::clash::Clash;
use crate::encoding::Encoding;
use crate::message::{Message, Misfit};
use crate::profile::Profile;
use crate::table::BUILT_IN;

/// The conventions to look for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Profiles {
    all: Vec<Profile>,
}

/// What a record is, by every convention that fits it best.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Detection<'a> {
    /// One message per convention; empty if the record is no message at all. Unless there is a
    /// clash, all agree on id, role and address.
    pub readings: Vec<Message<'a>>,
    /// Why they cannot all be right, or none of them.
    pub clash: Option<Clash<'a>>,
}

impl Profiles {
    /// Spring, Nest, SmallRye, Zilla and our own.
    pub fn built_in() -> Self {
        Self { all: BUILT_IN.to_vec() }
    }

    /// These, and one more.
    #[must_use]
    pub fn with(mut self, custom: Profile) -> Self {
        self.all.push(custom);
        self
    }

    /// The profiles in the order in which they are tried.
    pub fn iter(&self) -> impl Iterator<Item = &Profile> {
        self.all.iter()
    }

    /// Reads a record's headers and key.
    pub fn detect<'a>(&'a self, headers: Headers<'a>, key: Option<&'a [u8]>) -> Detection<'a> {
        let mut readings: Vec<_> = self.iter().filter_map(|one| one.read(headers, key)).collect();
        if readings.len() > 1 {
            keep_best_of_rivals(&mut readings);
        }
        let clash = clash_of(&readings);
        Detection { readings, clash }
    }
}

fn keep_best_of_rivals(readings: &mut Vec<Message<'_>>) {
    let rank = |message: &Message<'_>| (message.misfits.len(), Reverse(message.evidence));
    let ranks: Vec<_> = readings.iter().map(|m| (&m.profile.correlation.place, rank(m))).collect();
    let is_best: Vec<bool> = ranks
        .iter()
        .map(|(place, own)| !ranks.iter().any(|(other, rank)| other == place && rank < own))
        .collect();
    let mut is_best = is_best.into_iter();
    readings.retain(|_| is_best.next().unwrap_or(false));
}

fn clash_of<'a>(readings: &[Message<'a>]) -> Option<Clash<'a>> {
    let mangled = readings.iter().find(|one| one.correlation_encoding == Encoding::Mangled);
    if let Some(one) = mangled {
        return Some(Clash::Mangled { header: one.profile.correlation.place.label() });
    }
    if let Some(misfits) = mixed(readings) {
        return Some(Clash::Mixed(misfits));
    }
    let (first, others) = readings.split_first()?;
    let other = others.iter().find(|other| !other.agrees_with(first))?;
    Some(Clash::Disagreement(Box::new([first.clone(), other.clone()])))
}

/// The misfits of rivals, if the headers that speak against them are not the same ones. (If they
/// are, those headers are damaged, and nobody else's.)
fn mixed<'a>(readings: &[Message<'a>]) -> Option<Vec<Misfit<'a>>> {
    let against = |one: &Message<'a>| one.misfits.first().map(|misfit| misfit.header);
    readings.iter().filter(|one| !one.misfits.is_empty()).find_map(|contradicted| {
        let place = &contradicted.profile.correlation.place;
        let rivals = readings.iter().filter(|one| one.profile.correlation.place == *place);
        let differ = rivals.clone().any(|one| against(one) != against(contradicted));
        differ.then(|| rivals.flat_map(|one| one.misfits.iter().copied()).collect())
    })
}
