//! Sockets: accepting, reading frames, answering in order.

mod connection;
mod listener;
mod reply;

pub(crate) use connection::ConnectionContext;
pub(crate) use listener::{Listener, bind};
pub(crate) use reply::{Outcome, PendingReply};
