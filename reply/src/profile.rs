//! One library's convention, and reading a record by it.

use std::borrow::Cow;

use antiphon_common::PartitionIndex;
use antiphon_records::{Header, Headers};

use crate::correlation::CorrelationId;
use crate::encoding::Encoding;
use crate::message::{Message, Misfit, Role};

/// The longest topic name (Kafka's `Topic.MAX_NAME_LENGTH`).
const TOPIC_BYTES_MAX: usize = 249;

/// From this HTTP status on, a reply tells of a failure (RFC 9110, section 15).
const HTTP_STATUS_ERROR_MIN: u16 = 400;

/// Headers that a record gets when it is put aside. They do not depend on who sent it:
/// spring-kafka 3.3.10 and 4.1.1 (`KafkaHeaders`; written by `DeadLetterPublishingRecoverer` and by
/// retry topics) adds them to whatever its listener could not handle.
const DEAD_LETTER_PREFIXES: [&[u8]; 2] = [b"kafka_dlt-original-", b"kafka_original-"];

/// Where a record carries something.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Place {
    /// In the last header of this name: `lastHeader` is what Spring and SmallRye ask for.
    Header(Cow<'static, str>),
    /// In its key.
    Key,
}

/// One thing a record carries, and the encodings in which the library sends it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Field {
    pub(crate) place: Place,
    pub(crate) encodings: &'static [Encoding],
}

/// What a header besides the address says about a reply.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Sign {
    /// Being there: the request failed.
    Error,
    /// Being there: no further reply follows.
    EndOfStream,
    /// An HTTP status in decimal: from 400 on, the request failed.
    HttpStatus,
    /// One of these values: the record ends an operation.
    Terminal(&'static [&'static str]),
}

/// A header and what it says.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Marker {
    pub(crate) header: Cow<'static, str>,
    pub(crate) sign: Sign,
}

/// A convention for requests and replies: which header holds what, in which encoding. The known
/// ones are in [`Profiles::built_in`](crate::Profiles::built_in); [`FromStr`](std::str::FromStr)
/// makes one of an operator's own headers.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Profile {
    pub(crate) name: &'static str,
    pub(crate) correlation: Field,
    pub(crate) reply_topic: Option<Field>,
    pub(crate) reply_partition: Option<Field>,
    pub(crate) markers: Cow<'static, [Marker]>,
}

impl Profile {
    /// What it is called.
    pub fn name(&self) -> &'static str {
        self.name
    }

    /// Reads a record's headers and key by this convention. `None` if the record carries no
    /// correlation id where this convention has it, or one that is empty or too long to be one.
    ///
    /// What else does not fit is among the message's misfits: a request whose reply partition is
    /// damaged is a request all the same.
    pub fn read<'a>(&'a self, headers: Headers<'a>, key: Option<&'a [u8]>) -> Option<Message<'a>> {
        let mut reading =
            Reading { profile: self.name, headers, key, misfits: vec![], evidence: 0 };
        let id = reading.value(&self.correlation.place)?;
        let correlation = CorrelationId::from_wire(id).ok()?;
        let correlation_encoding = Encoding::of_text_or_bytes(id);
        reading.check(&self.correlation, correlation_encoding, true, id);
        let has_topic =
            self.reply_topic.as_ref().map(|field| reading.value(&field.place).is_some());
        let reply_topic = self.reply_topic.as_ref().and_then(|field| reading.topic(field));
        let partition = self.reply_partition.as_ref().and_then(|field| reading.partition(field));
        let signs = reading.signs(&self.markers);
        Some(Message {
            profile: self,
            role: role(headers, signs.terminal, has_topic),
            correlation,
            correlation_encoding,
            reply_topic,
            reply_partition: partition.and_then(|(_, index)| index),
            reply_partition_encoding: partition.map(|(encoding, _)| encoding),
            is_error: signs.error,
            ends_stream: signs.end,
            misfits: reading.misfits,
            evidence: reading.evidence,
        })
    }
}

impl Place {
    /// What people know it by.
    pub(crate) fn label(&self) -> &str {
        match self {
            Self::Header(name) => name,
            Self::Key => "the record's key",
        }
    }
}

fn role(headers: Headers<'_>, terminal: bool, has_topic: Option<bool>) -> Role {
    let put_aside =
        |header: Header<'_>| DEAD_LETTER_PREFIXES.iter().any(|p| header.key.starts_with(p));
    match has_topic {
        _ if terminal => Role::Terminal,
        _ if headers.into_iter().any(put_aside) => Role::DeadLetter,
        Some(true) => Role::Request,
        Some(false) => Role::Reply,
        None => Role::Unknown,
    }
}

/// A record while one profile reads it.
struct Reading<'a> {
    profile: &'static str,
    headers: Headers<'a>,
    key: Option<&'a [u8]>,
    misfits: Vec<Misfit<'a>>,
    evidence: usize,
}

#[derive(Default)]
struct Signs {
    error: bool,
    end: bool,
    terminal: bool,
}

impl<'a> Reading<'a> {
    fn header(&self, name: &str) -> Option<&'a [u8]> {
        let named = self.headers.filter(|header| header.key == name.as_bytes());
        named.last().and_then(|header| header.value)
    }

    fn value(&self, place: &Place) -> Option<&'a [u8]> {
        match place {
            Place::Header(name) => self.header(name),
            Place::Key => self.key,
        }
    }

    /// Counts a field as evidence for the profile, or against it.
    fn check(&mut self, field: &'a Field, found: Encoding, valid: bool, value: &'a [u8]) {
        if valid && field.encodings.contains(&found) {
            self.evidence += 1;
            return;
        }
        let header = field.place.label();
        self.misfits.push(Misfit { profile: self.profile, header, found, value });
    }

    fn topic(&mut self, field: &'a Field) -> Option<&'a str> {
        let value = self.value(&field.place)?;
        let name = std::str::from_utf8(value).ok().filter(|name| is_topic(name));
        self.check(field, Encoding::of_text_or_bytes(value), name.is_some(), value);
        name
    }

    fn partition(&mut self, field: &'a Field) -> Option<(Encoding, Option<PartitionIndex>)> {
        let value = self.value(&field.place)?;
        let (found, index) = Encoding::of_partition(value);
        self.check(field, found, index.is_some(), value);
        Some((found, index.filter(|_| field.encodings.contains(&found))))
    }

    fn signs(&mut self, markers: &[Marker]) -> Signs {
        let mut signs = Signs::default();
        for marker in markers {
            let Some(value) = self.header(&marker.header) else { continue };
            self.evidence += 1;
            match marker.sign {
                Sign::Error => signs.error = true,
                Sign::EndOfStream => signs.end = true,
                Sign::HttpStatus => signs.error |= is_failure(value),
                Sign::Terminal(kinds) => {
                    signs.terminal |= kinds.iter().any(|kind| kind.as_bytes() == value);
                }
            }
        }
        signs
    }
}

fn is_failure(status: &[u8]) -> bool {
    let status = std::str::from_utf8(status).ok().and_then(|text| text.parse::<u16>().ok());
    status.is_some_and(|status| status >= HTTP_STATUS_ERROR_MIN)
}

/// Kafka's rule for names (`Topic.validate`).
fn is_topic(name: &str) -> bool {
    let legal = |byte: u8| byte.is_ascii_alphanumeric() || b"._-".contains(&byte);
    (1..=TOPIC_BYTES_MAX).contains(&name.len())
        && name != "."
        && name != ".."
        && name.bytes().all(legal)
}
