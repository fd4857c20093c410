//! The bucket: opened from a URL, probed before it is trusted, written with create-if-absent only.
//!
//! ```text
//!                     +-- catalog   small, frequent, short timeouts     (history runtime)
//! StoreUrl -> Store --+-- uploads   whole objects, one PUT each         (history runtime)
//!                     +-- history   ranged reads of old data            (history runtime)
//! ```
//!
//! On S3 each of the three is an HTTP client of its own with its own connections, so that a replay
//! that saturates its pool cannot delay a catalog write. In memory and on local files they are one.
//!
//! Neighbours: [`crate::object`] builds what is put here, [`crate::cold`] reads through `history`.

mod delete;
mod error;
#[cfg(any(test, feature = "test-util"))]
pub mod faults;
mod file_put;
mod key;
mod open;
mod probe;
mod put;
mod s3;
mod streamed;
mod url;

#[cfg(test)]
mod tests;
#[cfg(test)]
pub(crate) mod watched;

pub use delete::DeleteObjectError;
pub use error::{OpenStoreError, ParseStoreUrlError, ProbeError, PutObjectError};
pub use key::{OBJECTS_PREFIX, object_id_of_path, object_path};
pub use open::{Store, StoreOptions, open_store};
pub use streamed::{STREAMED_PUT_MEMORY_BYTES, StreamedPut};
pub use url::StoreUrl;
