//! Sockets: accepting, reading frames, answering in order.

mod budget;
mod connection;
mod listener;
mod moving;
mod reply;

pub(crate) use budget::{ByteBudget, Held};
pub(crate) use connection::ConnectionContext;
pub(crate) use listener::{Listener, bind};
pub(crate) use moving::Side;
pub(crate) use reply::{Outcome, PendingReply};
