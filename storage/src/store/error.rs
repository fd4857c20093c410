//! What can go wrong with the bucket, in words for the person who has to fix it.

use std::path::PathBuf;
use std::sync::Arc;

use antiphon_common::{ErrorKind, ObjectId};

use crate::object::LoadLayoutError;

/// A `--store` value that cannot be meant.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("cannot use {url:?} as a store: {reason}")]
pub struct ParseStoreUrlError {
    /// What was given.
    pub url: String,
    /// What is wrong with it.
    pub reason: &'static str,
}

/// A store could not be opened. Nothing was sent over the network yet.
#[derive(Debug, thiserror::Error)]
pub enum OpenStoreError {
    /// The folder is not there and was not to be created.
    #[error("the folder {} does not exist", folder.display())]
    NoFolder {
        /// The folder.
        folder: PathBuf,
    },
    /// The folder could not be created or opened.
    #[error("cannot use the folder {}: {source}", folder.display())]
    Folder {
        /// The folder.
        folder: PathBuf,
        /// What the system said.
        source: std::io::Error,
    },
    /// A store outside AWS, and nothing to sign requests with.
    #[error(
        "no credentials for {endpoint}: set AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY \
         (or AWS_SKIP_SIGNATURE=true for a store that asks for none)"
    )]
    NoCredentials {
        /// The store's server.
        endpoint: String,
    },
    /// The client refused its configuration.
    #[error("cannot use {url} with the AWS_* environment as it is: {source}")]
    Configuration {
        /// The store.
        url: String,
        /// What the client said.
        source: object_store::Error,
    },
}

/// A store did not pass its probe. One line for a person, saying what to change.
#[derive(Debug, thiserror::Error)]
pub enum ProbeError {
    /// The bucket does not exist.
    #[error("{url}: there is no such bucket (or folder) at {endpoint}")]
    NoSuchBucket {
        /// The store.
        url: String,
        /// Where it was looked for.
        endpoint: String,
    },
    /// No connection.
    #[error("{url}: cannot reach {endpoint}: {reason}")]
    Unreachable {
        /// The store.
        url: String,
        /// Where it was looked for.
        endpoint: String,
        /// The innermost cause, for example "connection refused".
        reason: String,
    },
    /// The credentials are missing, wrong or not sufficient.
    #[error(
        "{url}: {endpoint} denied access ({operation}): check AWS_ACCESS_KEY_ID, \
         AWS_SECRET_ACCESS_KEY and the bucket's policy"
    )]
    AccessDenied {
        /// The store.
        url: String,
        /// Where it was looked for.
        endpoint: String,
        /// What was denied.
        operation: &'static str,
    },
    /// No answer in time.
    #[error("{url}: {endpoint} did not answer within {seconds} s")]
    TimedOut {
        /// The store.
        url: String,
        /// Where it was looked for.
        endpoint: String,
        /// How long was waited.
        seconds: u64,
    },
    /// The store overwrites where it was told to create. Fencing would not hold.
    #[error(
        "{url}: {endpoint} ignores create-if-absent (If-None-Match: *), which Antiphon needs for \
         its safety: use a newer version of this store"
    )]
    CreateIgnored {
        /// The store.
        url: String,
        /// Where it was looked for.
        endpoint: String,
    },
    /// Anything else.
    #[error("{url}: {operation} failed: {reason}")]
    Other {
        /// The store.
        url: String,
        /// What was tried.
        operation: &'static str,
        /// The innermost cause.
        reason: String,
    },
}

/// An object was not put, or it is not known whether it was.
#[derive(Clone, Debug, thiserror::Error)]
pub enum PutObjectError {
    /// Another object lies under this key. Ids are unique: a person must look.
    #[error("the key of object {object} is taken by another object")]
    Taken {
        /// The object.
        object: ObjectId,
    },
    /// What lies under the key cannot be read as an object.
    #[error("the key of object {object} is taken by something that is not an object")]
    TakenByStranger {
        /// The object.
        object: ObjectId,
        /// What is wrong with it.
        source: LoadLayoutError,
    },
    /// The bucket refused, or did not answer, in all attempts.
    #[error("putting object {object} failed {attempts} times")]
    Store {
        /// The object.
        object: ObjectId,
        /// How often it was tried.
        attempts: u32,
        /// What the bucket said last.
        source: Arc<object_store::Error>,
    },
}

impl PutObjectError {
    /// What the caller should do about it. Putting the same object again is always safe.
    pub fn kind(&self) -> ErrorKind {
        match self {
            Self::Taken { .. } => ErrorKind::Internal,
            Self::TakenByStranger { source, .. } => source.kind(),
            Self::Store { .. } => ErrorKind::Retry,
        }
    }
}
