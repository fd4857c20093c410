//! The offsets that groups committed: what is durable, and what is on its way.
//!
//! A commit becomes visible when its record is durable, never before: a consumer that was told an
//! offset must find it again after any crash. Until then the change lies with the shard's append,
//! and this store only counts it, so that expiry keeps off and a deletion covers it.

pub(crate) mod commit;
pub(crate) mod expiry;
pub(crate) mod store;
pub(crate) mod subscription;
