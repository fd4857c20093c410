//! A record as one convention sees it.

use std::fmt;

use antiphon_common::PartitionIndex;

use crate::correlation::CorrelationId;
use crate::encoding::Encoding;
use crate::profile::Profile;

/// How much of a misfit's value is printed: enough to know it again.
const SHOWN_BYTES_MAX: usize = 64;

/// What a record is in a conversation.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Role {
    /// It says where the reply shall go. (SmallRye's rule, `KafkaRequestReplyImpl.onItem`: what
    /// carries a reply topic is a request, not a reply. It fits the other libraries' records too.)
    Request,
    /// It carries a correlation id and no reply topic.
    Reply,
    /// Somebody gave up on it and put it aside, reply address and all.
    DeadLetter,
    /// The end of an operation, by a record type of its own.
    Terminal,
    /// It carries a correlation id, and its profile has no header that tells more.
    Unknown,
}

impl fmt::Display for Role {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Request => "request",
            Self::Reply => "reply",
            Self::DeadLetter => "dead-letter",
            Self::Terminal => "terminal",
            Self::Unknown => "unknown",
        })
    }
}

/// A header whose bytes are not what the profile's library sends there.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Misfit<'a> {
    /// Whose convention it does not fit.
    pub profile: &'a str,
    /// Its name.
    pub header: &'a str,
    /// What its bytes look like.
    pub found: Encoding,
    /// Its bytes.
    pub value: &'a [u8],
}

impl fmt::Display for Misfit<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { profile, header, found, value } = self;
        let (shown, dots) = match value.get(..SHOWN_BYTES_MAX) {
            Some(start) => (start, "..."),
            None => (*value, ""),
        };
        let shown = shown.escape_ascii();
        write!(f, "{header} ({shown}{dots}) is {found}, which {profile} does not send")
    }
}

/// A record of a conversation, as one [`Profile`] reads it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Message<'a> {
    /// Whose convention it follows.
    pub profile: &'a Profile,
    /// What it is.
    pub role: Role,
    /// What it has in common with the other records of its conversation.
    pub correlation: CorrelationId,
    /// How the record carries that id.
    pub correlation_encoding: Encoding,
    /// The topic to which the reply shall go. `None` if there is no such header, or if it is among
    /// the misfits.
    pub reply_topic: Option<&'a str>,
    /// The partition to which the reply shall go. `None` as for the topic.
    pub reply_partition: Option<PartitionIndex>,
    /// How the record carries the reply partition, readable or not.
    pub reply_partition_encoding: Option<Encoding>,
    /// Whether it says that the request failed.
    pub is_error: bool,
    /// Whether it says that no further reply follows.
    pub ends_stream: bool,
    /// What contradicts the profile.
    pub misfits: Vec<Misfit<'a>>,
    /// How many of the record's headers the profile accounts for.
    pub(crate) evidence: usize,
}

impl Message<'_> {
    /// Whether both say the same, whatever convention they follow.
    pub(crate) fn agrees_with(&self, other: &Self) -> bool {
        self.correlation == other.correlation
            && self.role == other.role
            && self.reply_topic == other.reply_topic
            && self.reply_partition == other.reply_partition
    }
}
