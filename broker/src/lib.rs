//! The broker: Kafka clients on one side, storage and coordinators on the other.
//!
//! ```text
//!   net/   sockets: accept, frames in, answers out in order, limits and deadlines
//!    |
//!   api/   one file for each Kafka API: wire -> domain -> wire; one table of error codes
//!    |
//!    +--- topics.rs   the image of the catalog in memory      admin.rs    changes to it
//!    +--- groups/     shards of the group coordinator         config/     topic and broker settings
//!    +--- http.rs     health and metrics                      metrics.rs
//! ```
//!
//! Only this crate knows both the wire and the domain. It owns no durable state: records are in
//! `storage`, topics in `catalog`, groups in records of `__consumer_offsets`. The composition root
//! (`cli`) opens those and hands them over as [`BrokerParts`].

mod admin;
mod api;
mod broker;
pub mod config;
mod groups;
mod http;
mod metrics;
mod net;
mod options;
mod producer_ids;
mod topics;

pub use antiphon_storage::Chain;
pub use broker::{Broker, BrokerParts};
pub use http::serve_http;
pub use metrics::Metrics;
pub use options::{BrokerOptions, Endpoint, Limits};
pub use topics::{Topic, Topics};
