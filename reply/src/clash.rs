//! Records that say two things at once.

use std::fmt;

use crate::message::{Message, Misfit};

/// Why a record's headers cannot all be right.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Clash<'a> {
    /// Each convention is contradicted by another header of the record: some of it was written by
    /// one library, some by another.
    Mixed(Vec<Misfit<'a>>),
    /// The correlation id is what is left of one after it was read as UTF-8. NestJS does that to
    /// Spring's raw ids when it echoes them; the requester will not know the reply as its own.
    Mangled {
        /// Where the id is.
        header: &'a str,
    },
    /// Two conventions fit and say different things.
    Disagreement(Box<[Message<'a>; 2]>),
}

impl fmt::Display for Clash<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Mixed(misfits) => {
                for (misfit, number) in misfits.iter().zip(0..) {
                    let separator = if number == 0 { "" } else { "; " };
                    write!(f, "{separator}{misfit}")?;
                }
                Ok(())
            }
            Self::Mangled { header } => {
                write!(f, "{header} holds replacement characters: raw bytes went through UTF-8")
            }
            Self::Disagreement(both) => {
                let [one, other] = both.each_ref().map(Claim);
                write!(f, "{one}, {other}")
            }
        }
    }
}

/// What one convention makes of a record.
struct Claim<'a, 'b>(&'a Message<'b>);

impl fmt::Display for Claim<'_, '_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Message { profile, role, correlation, reply_topic, reply_partition, .. } = self.0;
        write!(f, "by {} it is a {role} of {correlation}", profile.name())?;
        if let Some(topic) = reply_topic {
            write!(f, " to {topic}")?;
        }
        match reply_partition {
            Some(partition) => write!(f, " partition {partition}"),
            None => Ok(()),
        }
    }
}
