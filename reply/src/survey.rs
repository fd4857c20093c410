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
    seen: Vec<Seen>,
    clashes: u64,
    first_clash: Option<(Offset, String)>,
}

#[derive(Clone, Debug)]
struct Seen {
    header: String,
    encoding: Encoding,
    first: Offset,
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

    /// The headers that came in more than one encoding.
    pub fn mixtures(&self) -> impl Iterator<Item = Mixture> + '_ {
        self.seen.iter().zip(1..).flat_map(|(one, next)| {
            let later = self.seen.iter().skip(next);
            // Each header's first encoding is held against all its others, so none is told twice.
            let is_first = self.seen.iter().take(next - 1).all(|other| other.header != one.header);
            later.filter(move |other| is_first && other.header == one.header).map(|other| Mixture {
                header: one.header.clone(),
                one: (one.encoding, one.first),
                other: (other.encoding, other.first),
            })
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

    fn note(&mut self, header: &str, encoding: Encoding, first: Offset) {
        let known = |seen: &Seen| seen.header == header && seen.encoding == encoding;
        if !self.seen.iter().any(known) {
            self.seen.push(Seen { header: header.to_owned(), encoding, first });
        }
    }
}

impl fmt::Display for Mixture {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { header, one: (one, at), other: (other, then) } = self;
        write!(f, "{header} is {one} at offset {at} and {other} at offset {then}")
    }
}
