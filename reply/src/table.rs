//! The conventions that are known, one constant each. What a library does stands in its comment,
//! with the place in its source; a header that is not listed is none of its.
//!
//! | profile | correlation id | reply topic | reply partition | error, end |
//! |---|---|---|---|---|
//! | `spring` | `kafka_correlationId`: any bytes | `kafka_replyTopic` | `kafka_replyPartition`: int32 | - |
//! | `nest` | the same: text | the same | the same: decimal | `kafka_nest-err`, `kafka_nest-is-disposed` |
//! | `smallrye` | `REPLY_CORRELATION_ID`: any bytes | `REPLY_TOPIC` | `REPLY_PARTITION`: int32 | - |
//! | `zilla` | `zilla:correlation-id`: text | `zilla:reply-to` | - | `:status` |
//! | `rr` | `rr-correlation-id`: any bytes | `rr-reply-to` | - | `rr-error`, `rr-status`, `rr-type` |

use std::borrow::Cow;

use crate::encoding::Encoding;
use crate::profile::{Field, Marker, Place, Profile, Sign};

pub(crate) const TEXT: &[Encoding] = &[Encoding::Text];
pub(crate) const TEXT_OR_BYTES: &[Encoding] = &[Encoding::Text, Encoding::Raw];
const INT32: &[Encoding] = &[Encoding::Int32];
const DECIMAL: &[Encoding] = &[Encoding::Decimal];

/// Every profile that is built in.
pub(crate) const BUILT_IN: [Profile; 5] = [SPRING, NEST, SMALLRYE, ZILLA, RR];

/// Spring for Apache Kafka, 3.3.10 and 4.1.1: `KafkaHeaders`, `ReplyingKafkaTemplate`,
/// `CorrelationKey`.
///
/// The id is 16 raw bytes, most significant first, or with `setBinaryCorrelation(false)` (3.0) their
/// text; a `correlationIdStrategy` may return any bytes. The partition is `ByteBuffer.putInt`:
/// big-endian. A failed listener sends no reply, and no error header is standard. All names can be
/// changed on the template (2.3), which is what a custom profile is for.
const SPRING: Profile = Profile {
    name: "spring",
    correlation: field("kafka_correlationId", TEXT_OR_BYTES),
    reply_topic: Some(field("kafka_replyTopic", TEXT)),
    reply_partition: Some(field("kafka_replyPartition", INT32)),
    markers: Cow::Borrowed(&[]),
};

/// NestJS, `@nestjs/microservices` (main branch of nestjs/nest): `kafka-headers.enum.ts`,
/// `client-kafka.ts`, `server-kafka.ts`, `kafka-parser.ts`.
///
/// Spring's names, but all values are text: the id is a string, the partition is
/// `toString()` of a number. An error is JSON or text in a header of its own; the end of the stream
/// of replies is one zero byte (`Buffer.alloc(1)`).
const NEST: Profile = Profile {
    name: "nest",
    correlation: field("kafka_correlationId", TEXT),
    reply_topic: Some(field("kafka_replyTopic", TEXT)),
    reply_partition: Some(field("kafka_replyPartition", DECIMAL)),
    markers: Cow::Borrowed(&[
        marker("kafka_nest-err", Sign::Error),
        marker("kafka_nest-is-disposed", Sign::EndOfStream),
    ]),
};

/// SmallRye Reactive Messaging, which is in Quarkus (commit d22275a): `KafkaRequestReply`,
/// `KafkaRequestReplyImpl`, `UUIDCorrelationIdHandler`, `BytesCorrelationIdHandler`.
///
/// The id is a UUID's text, or 12 random bytes with the `bytes` handler. The partition is
/// `ByteBuffer.putInt`. Errors are up to a `ReplyFailureHandler` of the application's.
const SMALLRYE: Profile = Profile {
    name: "smallrye",
    correlation: field("REPLY_CORRELATION_ID", TEXT_OR_BYTES),
    reply_topic: Some(field("REPLY_TOPIC", TEXT)),
    reply_partition: Some(field("REPLY_PARTITION", INT32)),
    markers: Cow::Borrowed(&[]),
};

/// Zilla's binding `http-kafka` (commit 2f89434): `HttpKafkaOptionsConfigAdapter`,
/// `HttpKafkaWithProduceHash`, `HttpKafkaWithProduceResult`.
///
/// The id is `<Idempotency-Key or random UUID>-<md5 in hexadecimal>`. Replies carry HTTP's headers,
/// the status among them.
const ZILLA: Profile = Profile {
    name: "zilla",
    correlation: field("zilla:correlation-id", TEXT),
    reply_topic: Some(field("zilla:reply-to", TEXT)),
    reply_partition: None,
    markers: Cow::Borrowed(&[marker(":status", Sign::HttpStatus)]),
};

/// Antiphon's own, for clients without a library of this kind: plain text throughout, except that
/// an id may be raw bytes. `rr-type` names the record that ends an operation.
const RR: Profile = Profile {
    name: "rr",
    correlation: field("rr-correlation-id", TEXT_OR_BYTES),
    reply_topic: Some(field("rr-reply-to", TEXT)),
    reply_partition: None,
    markers: Cow::Borrowed(&[
        marker("rr-error", Sign::Error),
        marker("rr-status", Sign::HttpStatus),
        marker("rr-type", Sign::Terminal(TERMINAL_TYPES)),
    ]),
};

const TERMINAL_TYPES: &[&str] = &[
    "reply",
    "rejection",
    "error",
    "dead-letter",
    "timeout",
    "cancel",
    "expired",
    "late-reply",
    "duplicate-reply",
];

const fn field(header: &'static str, encodings: &'static [Encoding]) -> Field {
    Field { place: Place::Header(Cow::Borrowed(header)), encodings }
}

const fn marker(header: &'static str, sign: Sign) -> Marker {
    Marker { header: Cow::Borrowed(header), sign }
}
