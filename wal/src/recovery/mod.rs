//! From files to the frames that count: survey the headers, follow the chain, judge each stop.

mod backlog;
mod classify;
mod error;
pub(crate) mod reader;
pub(crate) mod replay;
pub(crate) mod survey;

pub use backlog::{Backlog, LoadError};
pub use classify::{Behind, Corruption, Ending, Stop};
pub(crate) use error::while_doing;
pub use error::{OpenError, RecoveryReport};
