//! Encodings over many records.
//!
//! A record may be right in itself and wrong beside its neighbours: where half of the requesters
//! send a reply partition as int32 and half as decimal, no replier serves both. A survey remembers
//! where each encoding of each header was first seen. Its size does not depend on the number of
//! records: there are as many entries as profiles have headers, times the encodings.

use std::fmt;

use antiphon_common::Offset;

use crate::detect::Detection;
use crate::encoding::Encoding;
use crate::message::Message;

/// What the records of one partition carry, seen so far.
#[derive(Clone, Debug, Default)]
pub struct Survey {
    headers: Vec<Seen>,
    clashes: u64,
    first_clash: Option<(Offset, String)>,
}

/// A header's encodings, and where each was first seen.
#[derive(Clone, Debug)]
struct Seen {
    header: String,
    first: (Encoding, Offset),
    others: Vec<(Encoding, Offset)>,
}

/// A header that comes in two encodings.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Mixture {
    /// The header.
    pub header: String,
    /// One encoding, and the offset at which it was first seen.
    pub one: (Encoding, Offset),
    /// The other encoding, first seen further on.
    pub other: (Encoding, Offset),
}

impl Survey {
    /// A survey that has seen nothing.
    pub fn new() -> Self {
        Self::default()
    }

    /// Takes note of the record at `offset`. Offsets ascend.
    pub fn observe(&mut self, offset: Offset, detection: &Detection<'_>) {
        detection.readings.iter().for_each(|message| self.note_encodings(offset, message));
        if let Some(clash) = &detection.clash {
            self.clashes += 1;
            self.first_clash.get_or_insert_with(|| (offset, clash.to_string()));
        }
    }

    /// The headers that came in more than one encoding: the first encoding beside each other one.
    pub fn mixtures(&self) -> impl Iterator<Item = Mixture> + '_ {
        self.headers.iter().flat_map(|Seen { header, first, others }| {
            let mixture = |other| Mixture { header: header.clone(), one: *first, other };
            others.iter().copied().map(mixture)
        })
    }

    /// How many records contradicted themselves.
    pub fn clashes(&self) -> u64 {
        self.clashes
    }

    /// The first of those, and how it did.
    pub fn first_clash(&self) -> Option<(Offset, &str)> {
        self.first_clash.as_ref().map(|(offset, clash)| (*offset, clash.as_str()))
    }

    fn note_encodings(&mut self, offset: Offset, message: &Message<'_>) {
        let profile = message.profile;
        self.note(profile.correlation.place.label(), message.correlation_encoding, offset);
        let partition = profile.reply_partition.as_ref().zip(message.reply_partition_encoding);
        if let Some((field, encoding)) = partition {
            self.note(field.place.label(), encoding, offset);
        }
    }

    fn note(&mut self, header: &str, encoding: Encoding, offset: Offset) {
        let place = (encoding, offset);
        match self.headers.iter_mut().find(|seen| seen.header == header) {
            Some(seen) if seen.has(encoding) => {}
            Some(seen) => seen.others.push(place),
            None => {
                let header = header.to_owned();
                self.headers.push(Seen { header, first: place, others: vec![] });
            }
        }
    }
}

impl Seen {
    fn has(&self, encoding: Encoding) -> bool {
        self.first.0 == encoding || self.others.iter().any(|(known, _)| *known == encoding)
    }
}

impl fmt::Display for Mixture {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { header, one: (one, at), other: (other, then) } = self;
        write!(f, "{header} is {one} at offset {at} and {other} at offset {then}")
    }
}
