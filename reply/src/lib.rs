//! Call and response over Kafka topics: which record is a request, which is a reply, and which of
//! them belong together.
//!
//! Kafka knows nothing of this. Client libraries agree on headers among themselves, each in its own
//! way, and the broker stores the headers as bytes:
//!
//! ```text
//!   record's headers and key
//!            |
//!      Profile::read     one library's convention: which header holds what, in which encoding
//!            |
//!         Message        role, correlation id, reply address, what does not fit the convention
//!            |
//!    Profiles::detect    every known convention at once; a contradiction is a Clash with a name
//!            |
//!        Survey          over many records of one partition: encodings that do not go together
//! ```
//!
//! Two rules hold everywhere. **One id, however it was encoded**: a [`CorrelationId`] is made from
//! bytes, and 16 raw bytes equal their 36-character text, because one library sends the first and
//! logs the second. **Nothing is guessed silently**: where two conventions share their header names
//! and differ in encoding (Spring's and Nest's do), the shape of the bytes decides; where it cannot,
//! both are named, and where it says both at once, that is a [`Clash`].
//!
//! Everything here is pure: no I/O, no clock, nothing kept but what the caller keeps.
//!
//! Neighbours: `records` has the headers; `cli` looks messages up in objects.

mod clash;
mod correlation;
mod custom;
mod detect;
mod encoding;
mod message;
mod profile;
mod survey;
mod table;

pub use clash::Clash;
pub use correlation::{CORRELATION_ID_BYTES_MAX, CorrelationId, InvalidCorrelationId};
pub use custom::InvalidProfile;
pub use detect::{Detection, Profiles};
pub use encoding::Encoding;
pub use message::{Message, Misfit, Role};
pub use profile::Profile;
pub use survey::{Mixture, Survey};
