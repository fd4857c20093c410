//! Positions and counts. Each is a newtype with `next()` and named constants.

use std::fmt;

macro_rules! position {
    ($(#[$doc:meta])* $name:ident($inner:ty)) => {
        $(#[$doc])*
        #[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
        pub struct $name(pub $inner);

        impl $name {
            /// The raw number, for encoding.
            pub const fn get(self) -> $inner {
                self.0
            }
        }

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                self.0.fmt(f)
            }
        }

        impl From<$inner> for $name {
            fn from(raw: $inner) -> Self {
                Self(raw)
            }
        }
    };
}

position!(
    /// A record's position in its partition. Signed because Kafka's wire uses -1 for "none".
    Offset(i64)
);
position!(
    /// How many times leadership of a partition has changed hands; never goes backwards.
    LeaderEpoch(i32)
);
position!(
    /// One registration of a broker with the controller; grows each time the broker registers again
    /// (KIP-631). Kafka's wire carries it as a signed 64-bit number, -1 for "none".
    BrokerEpoch(i64)
);
position!(
    /// Log sequence number: the position of one frame in a broker's write-ahead log. Starts at 1 and
    /// grows by one for each frame over the whole life of the log, across restarts.
    Lsn(u64)
);
position!(
    /// One incarnation of a broker's write-ahead log; grows each time the log is opened for writing.
    WalEpoch(u64)
);
position!(
    /// A number of bytes.
    ByteCount(u64)
);
position!(
    /// Milliseconds since the Unix epoch, as Kafka's wire carries it; -1 for "none".
    Timestamp(i64)
);

impl Offset {
    /// Kafka's "no offset".
    pub const NONE: Self = Self(-1);
    /// The first offset of every partition.
    pub const ZERO: Self = Self(0);

    /// The offset after this one.
    pub const fn next(self) -> Self {
        Self(self.0.saturating_add(1))
    }

    /// The offset before this one.
    pub const fn prev(self) -> Self {
        Self(self.0.saturating_sub(1))
    }

    /// The offset `records` further on, or `None` past the end of the offset space.
    pub const fn checked_add(self, records: i64) -> Option<Self> {
        match self.0.checked_add(records) {
            Some(sum) => Some(Self(sum)),
            None => None,
        }
    }
}

impl LeaderEpoch {
    /// Kafka's "no epoch known".
    pub const NONE: Self = Self(-1);
    /// The epoch of a partition's first leader.
    pub const ZERO: Self = Self(0);

    /// The epoch of the next leader.
    pub const fn next(self) -> Self {
        Self(self.0.saturating_add(1))
    }
}

impl BrokerEpoch {
    /// Kafka's "no epoch known".
    pub const NONE: Self = Self(-1);
    /// The epoch of a broker's first registration.
    pub const ZERO: Self = Self(0);

    /// The epoch of the next registration.
    pub const fn next(self) -> Self {
        Self(self.0.saturating_add(1))
    }
}

impl Lsn {
    /// Before the first frame: nothing is durable yet.
    pub const ZERO: Self = Self(0);
    /// The first frame of a log.
    pub const FIRST: Self = Self(1);
    /// After every frame that can exist.
    pub const MAX: Self = Self(u64::MAX);

    /// The position of the frame after this one.
    pub const fn next(self) -> Self {
        Self(self.0.saturating_add(1))
    }

    /// The position of the frame before this one; [`Lsn::ZERO`] stays where it is.
    pub const fn prev(self) -> Self {
        Self(self.0.saturating_sub(1))
    }
}

impl WalEpoch {
    /// No log was ever opened.
    pub const ZERO: Self = Self(0);

    /// The epoch of the next incarnation.
    pub const fn next(self) -> Self {
        Self(self.0.saturating_add(1))
    }
}

impl Timestamp {
    /// Kafka's "no timestamp".
    pub const NONE: Self = Self(-1);
}

impl ByteCount {
    /// `n` mebibytes.
    pub const fn mebibytes(n: u64) -> Self {
        Self(n << 20)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn stepping_saturates_instead_of_wrapping() {
        assert_eq!(Offset(i64::MAX).next(), Offset(i64::MAX));
        assert_eq!(Offset::ZERO.prev(), Offset::NONE);
        assert_eq!(Lsn::ZERO.prev(), Lsn::ZERO);
        assert_eq!(Offset(i64::MAX).checked_add(1), None);
    }
}
