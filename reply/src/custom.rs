//! A convention of an operator's own, as text.

use std::borrow::Cow;
use std::str::FromStr;

use thiserror::Error;

use crate::encoding::Encoding;
use crate::profile::{Field, Marker, Place, Profile, Sign};
use crate::table::{TEXT, TEXT_OR_BYTES};

const NAME: &str = "custom";
const KEY: &str = "@key";
/// Whoever chose the names may have chosen the encoding: both are accepted, each by its shape.
const INT32_OR_DECIMAL: &[Encoding] = &[Encoding::Int32, Encoding::Decimal];

/// Why text describes no profile.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
pub enum InvalidProfile {
    /// Not `name=header`, or one of both is empty.
    #[error("`{part}` is not of the form FIELD=HEADER")]
    Form {
        /// What stands between two commas.
        part: String,
    },
    /// No profile has this.
    #[error("no field `{field}`; there are correlation, reply-topic, reply-partition, error, end")]
    Field {
        /// What stands before the equals sign.
        field: String,
    },
    /// One header per field.
    #[error("`{field}` is given twice")]
    Twice {
        /// The field.
        field: String,
    },
    /// Without it nothing can be found.
    #[error("a profile needs correlation=HEADER, or correlation=@key")]
    NoCorrelation,
}

impl FromStr for Profile {
    type Err = InvalidProfile;

    /// Reads `correlation=HEADER|@key[,reply-topic=HEADER][,reply-partition=HEADER][,error=HEADER]
    /// [,end=HEADER]`, in any order. `@key` is the record's key. Header names with a comma cannot be
    /// said.
    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let (mut correlation, mut topic, mut partition) = (None, None, None);
        let (mut error, mut end) = (None, None);
        for part in text.split(',') {
            let (field, header) = split(part)?;
            let slot = match field {
                "correlation" => &mut correlation,
                "reply-topic" => &mut topic,
                "reply-partition" => &mut partition,
                "error" => &mut error,
                "end" => &mut end,
                other => return Err(InvalidProfile::Field { field: other.to_owned() }),
            };
            if slot.replace(header.to_owned()).is_some() {
                return Err(InvalidProfile::Twice { field: field.to_owned() });
            }
        }
        let correlation = correlation.ok_or(InvalidProfile::NoCorrelation)?;
        let markers = marker(error, Sign::Error).into_iter().chain(marker(end, Sign::EndOfStream));
        Ok(Self {
            name: NAME,
            correlation: Field { place: place(correlation), encodings: TEXT_OR_BYTES },
            reply_topic: field(topic, TEXT),
            reply_partition: field(partition, INT32_OR_DECIMAL),
            markers: markers.collect(),
        })
    }
}

fn split(part: &str) -> Result<(&str, &str), InvalidProfile> {
    let halves =
        part.split_once('=').filter(|(field, header)| !field.is_empty() && !header.is_empty());
    halves.ok_or_else(|| InvalidProfile::Form { part: part.to_owned() })
}

fn place(name: String) -> Place {
    match name.as_str() {
        KEY => Place::Key,
        _ => Place::Header(Cow::Owned(name)),
    }
}

fn field(header: Option<String>, encodings: &'static [Encoding]) -> Option<Field> {
    header.map(|name| Field { place: Place::Header(Cow::Owned(name)), encodings })
}

fn marker(header: Option<String>, sign: Sign) -> Option<Marker> {
    header.map(|name| Marker { header: Cow::Owned(name), sign })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_no_profile_says_why() {
        let refused = |text: &str| text.parse::<Profile>().unwrap_err();
        let owned = str::to_owned;
        assert_eq!(refused(""), InvalidProfile::Form { part: owned("") });
        assert_eq!(refused("correlation"), InvalidProfile::Form { part: owned("correlation") });
        assert_eq!(refused("correlation="), InvalidProfile::Form { part: owned("correlation=") });
        assert_eq!(refused("reply-topic=x"), InvalidProfile::NoCorrelation);
        assert_eq!(refused("id=x"), InvalidProfile::Field { field: owned("id") });
        let twice = "correlation=a,correlation=b";
        assert_eq!(refused(twice), InvalidProfile::Twice { field: owned("correlation") });
    }
}
