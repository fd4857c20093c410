//! The names that clients choose: free text, shared cheaply, never used in a path or object key.

use std::borrow::Borrow;
use std::fmt;
use std::sync::Arc;

macro_rules! name {
    ($(#[$doc:meta])* $name:ident) => {
        $(#[$doc])*
        #[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
        pub struct $name(Arc<str>);

        impl $name {
            /// The text as the client sent it.
            pub fn as_str(&self) -> &str {
                &self.0
            }

            /// Whether this is the empty string, with which Kafka says "none".
            pub fn is_empty(&self) -> bool {
                self.0.is_empty()
            }
        }

        impl Default for $name {
            fn default() -> Self {
                Self::from("")
            }
        }

        impl From<&str> for $name {
            fn from(text: &str) -> Self {
                Self(Arc::from(text))
            }
        }

        impl From<String> for $name {
            fn from(text: String) -> Self {
                Self(Arc::from(text))
            }
        }

        impl Borrow<str> for $name {
            fn borrow(&self) -> &str {
                &self.0
            }
        }

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str(&self.0)
            }
        }
    };
}

name!(
    /// A group's name (`group.id`).
    GroupId
);
name!(
    /// One incarnation of one member, made up by the coordinator when the member first joins. The
    /// empty string stands for "not yet known".
    MemberId
);
name!(
    /// A static member's lasting name (`group.instance.id`, KIP-345).
    InstanceId
);
name!(
    /// A topic's name.
    TopicName
);

/// Which rebalance of a group something belongs to. Grows by one with each completed rebalance.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Generation(pub i32);

impl Generation {
    /// Kafka's "not a member of any generation".
    pub const NONE: Self = Self(-1);
    /// The generation of a group that has not rebalanced yet.
    pub const ZERO: Self = Self(0);

    /// The generation of the next rebalance. Wraps to 1, which no client can have seen for two
    /// thousand million rebalances.
    pub const fn next(self) -> Self {
        match self.0.checked_add(1) {
            Some(next) => Self(next),
            None => Self(1),
        }
    }
}

impl fmt::Display for Generation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}
