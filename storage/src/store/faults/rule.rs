//! What may go wrong, with which requests, how often.

use std::time::Duration;

use antiphon_common::{Entropy, SeededEntropy};
use object_store::path::Path;

/// A kind of request.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Operation {
    /// Of a whole object or of a part of a multipart upload's beginning.
    Put,
    /// With or without a range.
    Get,
    /// Size and time of an object.
    Head,
    /// Of a prefix.
    List,
    /// Of one object, also within a bulk request.
    Delete,
    /// Within the bucket.
    Copy,
}

/// What happens to a request.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
#[non_exhaustive]
pub enum Fault {
    /// It never arrives; the caller gets a connection error.
    RequestLost,
    /// It is carried out; the caller gets a connection error. A listing breaks off in the middle.
    ReplyLost,
    /// 503 Slow Down: not carried out.
    Unavailable,
    /// 429 Too Many Requests: not carried out.
    Throttled,
    /// The bucket has no room: puts are not carried out. Other operations are unharmed.
    Full,
    /// Arrives late, by a random time between the two.
    Slow(Duration, Duration),
    /// Only the first half of a body comes, and nothing says so.
    TruncatedBody,
    /// The first half of a body comes, then a connection error.
    BrokenBody,
    /// As many bytes as asked for, from one byte further on: a server that mistakes a range.
    WrongRange,
    /// One bit of the body is turned over.
    FlippedBit,
    /// An object that exists is not found, or is not listed: a read that is older than a write.
    Stale,
}

impl Fault {
    /// Whether it concerns this kind of request at all.
    pub(super) fn concerns(self, operation: Operation) -> bool {
        match self {
            Self::RequestLost
            | Self::ReplyLost
            | Self::Unavailable
            | Self::Throttled
            | Self::Slow(..) => true,
            Self::Full => operation == Operation::Put,
            Self::TruncatedBody | Self::BrokenBody | Self::WrongRange | Self::FlippedBit => {
                operation == Operation::Get
            }
            Self::Stale => matches!(operation, Operation::Get | Operation::Head | Operation::List),
        }
    }
}

/// Some requests and what happens to them.
#[derive(Clone, Debug)]
pub struct Rule {
    pub(super) fault: Fault,
    operations: Option<Vec<Operation>>,
    prefix: Option<Path>,
    per_mille: u64,
    left: u64,
}

impl Rule {
    /// Every request that the fault can concern.
    pub fn new(fault: Fault) -> Self {
        Self { fault, operations: None, prefix: None, per_mille: 1000, left: u64::MAX }
    }

    /// Only these operations.
    #[must_use]
    pub fn on(mut self, operations: impl IntoIterator<Item = Operation>) -> Self {
        self.operations = Some(operations.into_iter().collect());
        self
    }

    /// Only keys below `prefix`, and listings of it or of something below it.
    #[must_use]
    pub fn below(mut self, prefix: impl Into<Path>) -> Self {
        self.prefix = Some(prefix.into());
        self
    }

    /// As many of a thousand, at random.
    #[must_use]
    pub fn chance(mut self, per_mille: u64) -> Self {
        self.per_mille = per_mille;
        self
    }

    /// Only so often, then never again.
    #[must_use]
    pub fn times(mut self, times: u64) -> Self {
        self.left = times;
        self
    }

    fn is_about(&self, operation: Operation, path: &Path) -> bool {
        self.fault.concerns(operation)
            && self.operations.as_ref().is_none_or(|wanted| wanted.contains(&operation))
            && self.prefix.as_ref().is_none_or(|prefix| path.prefix_matches(prefix))
    }
}

/// A rule in force, with its dice.
#[derive(Debug)]
pub(super) struct ArmedRule {
    pub(super) rule: Rule,
    dice: SeededEntropy,
}

impl ArmedRule {
    pub(super) fn new(rule: Rule, seed: u64) -> Self {
        Self { rule, dice: SeededEntropy::new(seed) }
    }

    /// Throws the dice if the request is one of the rule's.
    pub(super) fn strikes(&mut self, operation: Operation, path: &Path) -> bool {
        if self.rule.left == 0 || !self.rule.is_about(operation, path) {
            return false;
        }
        let strikes = self.dice.u64() % 1000 < self.rule.per_mille;
        self.rule.left -= u64::from(strikes && self.rule.left != u64::MAX);
        strikes
    }

    /// A number that decides what the fault leaves open: which bit, how late.
    pub(super) fn number(&self) -> u64 {
        self.dice.u64()
    }
}
