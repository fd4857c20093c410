//! What a request and its replies have in common.
//!
//! Spring's client sends the 16 raw bytes of a UUID and logs its 36 characters; told
//! `setBinaryCorrelation(false)`, it sends those 36 characters (spring-kafka 3.3.10 and 4.1.1,
//! `CorrelationKey`). People look an id up by what they see in a log, so both are one id here. All
//! other bytes are what they are: 24 hexadecimal digits are an id of 24 characters, not of 12 bytes,
//! since nothing tells whether their author meant so.
//!
//! ```text
//!   on the wire                              kept         printed
//!   16 raw bytes                             16 bytes     36 characters
//!   36 characters of a UUID, in any case     16 bytes     36 characters, lower case
//!   printable ASCII without spaces           as it is     as it is
//!   anything else                            as it is     hex:...
//! ```
//!
//! What is printed can be pasted into a query. 16 bytes that are printable ASCII print as text; the
//! UUIDs of RFC 9562 never are, because the first two bits of their ninth byte are 10.

use std::borrow::Cow;
use std::fmt;
use std::str::FromStr;

use base64::Engine;
use base64::alphabet;
use base64::engine::{DecodePaddingMode, GeneralPurpose, GeneralPurposeConfig};
use thiserror::Error;
use uuid::Uuid;

/// The longest correlation id, in bytes. The libraries' own have 12 to 36; Zilla appends 33 to
/// whatever `Idempotency-Key` its caller chose, and that is the longest one known.
pub const CORRELATION_ID_BYTES_MAX: usize = 1024;

const UUID_TEXT_BYTES: usize = 36;
const HEX_PREFIX: &str = "hex:";
const BASE64_PREFIX: &str = "b64:";

/// Standard alphabet, padded or not: what tools print differs in this.
const BASE64: GeneralPurpose = GeneralPurpose::new(
    &alphabet::STANDARD,
    GeneralPurposeConfig::new().with_decode_padding_mode(DecodePaddingMode::Indifferent),
);

/// Why bytes or text are no correlation id.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Error)]
pub enum InvalidCorrelationId {
    /// There is nothing.
    #[error("a correlation id cannot be empty")]
    Empty,
    /// It is longer than any that is looked up.
    #[error("a correlation id of {bytes} bytes is too long, at most {CORRELATION_ID_BYTES_MAX}")]
    TooLong {
        /// Its length.
        bytes: usize,
    },
    /// What follows `hex:` is not pairs of hexadecimal digits.
    #[error("what follows `hex:` is not an even number of hexadecimal digits")]
    Hex,
    /// What follows `b64:` is not base64, in the standard or the URL-safe alphabet.
    #[error("what follows `b64:` is not base64")]
    Base64,
}

/// A correlation id in its one canonical form; never empty, at most [`CORRELATION_ID_BYTES_MAX`]
/// long. Its `Display` is text that [`FromStr`] makes the same id of.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct CorrelationId(Box<[u8]>);

impl CorrelationId {
    /// The id that these bytes of a header or a key stand for.
    pub fn from_wire(bytes: &[u8]) -> Result<Self, InvalidCorrelationId> {
        match bytes.len() {
            0 => Err(InvalidCorrelationId::Empty),
            UUID_TEXT_BYTES => Ok(Self::from_36_bytes(bytes)),
            bytes if bytes > CORRELATION_ID_BYTES_MAX => {
                Err(InvalidCorrelationId::TooLong { bytes })
            }
            _ => Ok(Self(bytes.into())),
        }
    }

    /// Of the forms in which a UUID is written, only the hyphenated one has 36 characters.
    fn from_36_bytes(bytes: &[u8]) -> Self {
        match Uuid::try_parse_ascii(bytes) {
            Ok(uuid) => Self(uuid.as_bytes().as_slice().into()),
            Err(_) => Self(bytes.into()),
        }
    }

    /// The canonical bytes: equal for equal ids, and so what an index hashes.
    pub fn as_bytes(&self) -> &[u8] {
        &self.0
    }

    fn as_plain_text(&self) -> Option<&str> {
        let text = std::str::from_utf8(&self.0).ok()?;
        let plain = text.bytes().all(|byte| byte.is_ascii_graphic())
            && !text.starts_with(HEX_PREFIX)
            && !text.starts_with(BASE64_PREFIX);
        plain.then_some(text)
    }
}

impl fmt::Display for CorrelationId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if let Some(text) = self.as_plain_text() {
            return f.write_str(text);
        }
        if let Ok(uuid) = Uuid::from_slice(&self.0) {
            return uuid.hyphenated().fmt(f);
        }
        f.write_str(HEX_PREFIX)?;
        self.0.iter().try_for_each(|byte| write!(f, "{byte:02x}"))
    }
}

impl fmt::Debug for CorrelationId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "CorrelationId({self})")
    }
}

impl FromStr for CorrelationId {
    type Err = InvalidCorrelationId;

    /// Reads what a person types: the id's text, or its bytes as `hex:` or `b64:`.
    fn from_str(text: &str) -> Result<Self, Self::Err> {
        if let Some(digits) = text.strip_prefix(HEX_PREFIX) {
            return Self::from_wire(&bytes_of_hex(digits).ok_or(InvalidCorrelationId::Hex)?);
        }
        if let Some(encoded) = text.strip_prefix(BASE64_PREFIX) {
            let bytes = bytes_of_base64(encoded).ok_or(InvalidCorrelationId::Base64)?;
            return Self::from_wire(&bytes);
        }
        Self::from_wire(text.as_bytes())
    }
}

fn bytes_of_hex(digits: &str) -> Option<Vec<u8>> {
    let digit = |byte: u8| char::from(byte).to_digit(16);
    let pairs = digits.as_bytes().chunks(2);
    pairs
        .map(|pair| match pair {
            [high, low] => u8::try_from(digit(*high)? << 4 | digit(*low)?).ok(),
            _ => None,
        })
        .collect()
}

fn bytes_of_base64(encoded: &str) -> Option<Vec<u8>> {
    let standard: Cow<'_, str> = match encoded.contains(['-', '_']) {
        true => encoded.replace('-', "+").replace('_', "/").into(),
        false => encoded.into(),
    };
    BASE64.decode(standard.as_bytes()).ok()
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const TEXT: &str = "9b2e6f3c-41d7-4e0a-8c55-0f1e2d3c4b5a";
    const RAW: [u8; 16] = [
        0x9b, 0x2e, 0x6f, 0x3c, 0x41, 0xd7, 0x4e, 0x0a, 0x8c, 0x55, 0x0f, 0x1e, 0x2d, 0x3c, 0x4b,
        0x5a,
    ];

    fn parse(text: &str) -> CorrelationId {
        text.parse().unwrap()
    }

    #[test]
    fn raw_bytes_and_text_in_any_case_and_every_query_are_one_id() {
        let id = CorrelationId::from_wire(&RAW).unwrap();
        assert_eq!(id.to_string(), TEXT);
        assert_eq!(id, CorrelationId::from_wire(TEXT.as_bytes()).unwrap());
        assert_eq!(id, CorrelationId::from_wire(TEXT.to_uppercase().as_bytes()).unwrap());
        assert_eq!(id, parse(TEXT));
        assert_eq!(id, parse("hex:9B2e6f3c41d74e0a8c550f1e2d3c4b5a"));
        assert_eq!(id, parse("b64:my5vPEHXTgqMVQ8eLTxLWg=="));
        assert_eq!(id, parse("b64:my5vPEHXTgqMVQ8eLTxLWg"));
    }

    #[test]
    fn both_base64_alphabets_are_read() {
        assert_eq!(parse("b64:-_-_"), parse("hex:fbffbf"));
        assert_eq!(parse("b64:+/+/"), parse("hex:fbffbf"));
    }

    #[test]
    fn other_texts_of_a_uuid_are_ids_of_their_own() {
        let simple = TEXT.replace('-', "");
        for other in [simple.as_str(), &format!("{{{TEXT}}}"), &format!("urn:uuid:{TEXT}")] {
            assert_ne!(parse(other), parse(TEXT), "{other}");
            assert_eq!(parse(other).to_string(), other);
        }
    }

    #[test]
    fn text_that_would_be_read_as_something_else_prints_as_hex() {
        for (wire, printed) in [
            (&b"hex:zz"[..], "hex:6865783a7a7a"),
            (b"b64:", "hex:6236343a"),
            (b"two words", "hex:74776f20776f726473"),
            ("\u{fffd}".as_bytes(), "hex:efbfbd"),
            (b"\x1b[2J", "hex:1b5b324a"),
        ] {
            let id = CorrelationId::from_wire(wire).unwrap();
            assert_eq!(id.to_string(), printed);
            assert_eq!(parse(printed), id);
        }
    }

    #[test]
    fn what_is_no_id_says_why() {
        let too_long = "x".repeat(CORRELATION_ID_BYTES_MAX + 1);
        for (text, why) in [
            ("", InvalidCorrelationId::Empty),
            ("hex:", InvalidCorrelationId::Empty),
            ("b64:", InvalidCorrelationId::Empty),
            ("hex:abc", InvalidCorrelationId::Hex),
            ("hex:+f", InvalidCorrelationId::Hex),
            ("hex:\u{e9}", InvalidCorrelationId::Hex),
            ("b64:a", InvalidCorrelationId::Base64),
            ("b64:a b=", InvalidCorrelationId::Base64),
            (&too_long, InvalidCorrelationId::TooLong { bytes: CORRELATION_ID_BYTES_MAX + 1 }),
        ] {
            assert_eq!(text.parse::<CorrelationId>(), Err(why), "{text}");
        }
        assert!(CorrelationId::from_wire(&too_long.as_bytes()[1..]).is_ok());
    }

    /// Any bytes, and those around which the rules turn: 16 and 36 long, printable, prefixed.
    fn wire() -> impl Strategy<Value = Vec<u8>> {
        prop_oneof![
            prop::collection::vec(any::<u8>(), 1..64),
            prop::collection::vec(any::<u8>(), 16),
            prop::collection::vec(0x20_u8..0x7f, 16),
            "(hex:|b64:)?[ -~]{1,40}".prop_map(String::into_bytes),
            "[0-9a-fA-F]{8}(-[0-9a-fA-F]{4}){3}-[0-9a-fA-F]{12}".prop_map(String::into_bytes),
            "[0-9a-fA-F-]{36}".prop_map(String::into_bytes),
        ]
    }

    proptest! {
        #[test]
        fn what_is_printed_is_read_as_the_same_id(wire in wire()) {
            let id = CorrelationId::from_wire(&wire).unwrap();
            let printed = id.to_string();
            prop_assert!(printed.bytes().all(|byte| byte.is_ascii_graphic()), "{printed:?}");
            prop_assert_eq!(printed.parse(), Ok(id));
        }

        #[test]
        fn only_the_two_forms_of_a_uuid_fall_together(a in wire(), b in wire()) {
            let same = CorrelationId::from_wire(&a).unwrap() == CorrelationId::from_wire(&b).unwrap();
            let uuid = |wire: &[u8]| match wire.len() {
                16 => Uuid::from_slice(wire).ok(),
                36 => std::str::from_utf8(wire).ok().and_then(|text| text.parse().ok()),
                _ => None,
            };
            prop_assert_eq!(same, a == b || uuid(&a).is_some() && uuid(&a) == uuid(&b));
        }

        #[test]
        fn a_uuid_is_one_id_in_all_its_forms(raw in any::<[u8; 16]>()) {
            let id = CorrelationId::from_wire(&raw).unwrap();
            let text = Uuid::from_bytes(raw).hyphenated().to_string();
            prop_assert_eq!(&id, &parse(&text));
            prop_assert_eq!(&id, &parse(&text.to_uppercase()));
            prop_assert_eq!(&id, &parse(&format!("b64:{}", BASE64.encode(raw))));
        }

        #[test]
        fn no_text_brings_the_parser_down(text in any::<String>()) {
            for prefix in ["", HEX_PREFIX, BASE64_PREFIX] {
                let read = format!("{prefix}{text}").parse::<CorrelationId>();
                let bytes = read.map_or(1, |id| id.as_bytes().len());
                prop_assert!((1..=CORRELATION_ID_BYTES_MAX).contains(&bytes));
            }
        }
    }
}
