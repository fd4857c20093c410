//! The cluster: the one row that is an object of its own, `{prefix}/cluster`.
//!
//! ```text
//! magic "ANTIPHON" | format_version u32 | created_at i64 | cluster_id text
//! ```
//!
//! It stands outside the database because it must be readable before the database is opened for
//! writing: opening fences whoever has it open, and a program that is too old for the format must
//! find that out without stopping the newer one. It is created once, create-if-absent, and never
//! changed by the same format version.

use antiphon_common::{ClusterId, Timestamp};

use super::RowError;
use super::codec::{Decoder, Encoder};

/// The catalog format that this program writes, and the newest that it reads.
pub const CLUSTER_FORMAT_VERSION: u32 = 1;
const MAGIC: &[u8; 8] = b"ANTIPHON";

/// The cluster's identity and the format of its catalog.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ClusterRow {
    /// The format of everything else in the catalog.
    pub format_version: u32,
    /// The cluster's identity, as Kafka's tools show it.
    pub cluster_id: ClusterId,
    /// When the catalog was created.
    pub created_at: Timestamp,
}

/// Why the cluster object cannot be used.
#[derive(Debug, thiserror::Error)]
pub(crate) enum ClusterRowError {
    #[error("not a catalog: it does not start with ANTIPHON")]
    NotACatalog,
    #[error("format version {found}")]
    NewerFormat { found: u32 },
    #[error(transparent)]
    Malformed(#[from] RowError),
}

impl ClusterRow {
    pub(crate) fn encode(&self) -> Vec<u8> {
        Encoder::default()
            .raw(MAGIC)
            .u32(self.format_version)
            .i64(self.created_at.get())
            .text(&self.cluster_id.0)
            .finish()
    }

    /// Looks at the version before anything behind it: a newer format may lay the rest out
    /// differently.
    pub(crate) fn decode(bytes: &[u8]) -> Result<Self, ClusterRowError> {
        let rest = bytes.strip_prefix(MAGIC).ok_or(ClusterRowError::NotACatalog)?;
        let mut fields = Decoder::fields(rest);
        let format_version = fields.u32("format_version")?;
        if format_version > CLUSTER_FORMAT_VERSION {
            return Err(ClusterRowError::NewerFormat { found: format_version });
        }
        let created_at = Timestamp(fields.i64("created_at")?);
        let cluster_id = ClusterId(fields.text("cluster_id")?);
        fields.finish()?;
        Ok(Self { format_version, cluster_id, created_at })
    }
}
