//! Connections whose fetches went cold live on the history runtime until they have caught up.
//!
//! Its threads run at a lower priority, so everything that a replay costs (finding blocks, checking
//! them, writing a mebibyte to a socket) gives way to live traffic, and not the reads of the store
//! alone. A socket belongs to the reactor that it is registered with; so a connection moves whole,
//! between two requests, by taking its socket out of one and registering it with the other: some
//! twenty microseconds. The task that accepted it stays where it is and waits.
//!
//! ```text
//!    live                          history
//!     run -- a fetch finds history --> the same fetch again, then run
//!      ^                               |
//!      +------ WARM_FETCHES in a row --+
//!              found only the tail
//! ```

use std::io;
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};

use tokio::net::TcpStream;
use tokio::task::JoinHandle;

use super::connection::{Connection, Ended};

/// How many fetches in a row must need only the tail before a connection moves back. One fetch may
/// catch the tail by chance; a consumer that keeps up has three behind it within milliseconds.
const WARM_FETCHES: u32 = 3;

/// Which runtime a connection is on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Side {
    /// With live traffic.
    Live,
    /// With reads of history.
    History,
}

/// How well the fetches of a connection on the history side keep up.
#[derive(Debug, Default)]
pub(crate) struct Warmth(AtomicU32);

impl Warmth {
    /// Takes note of a fetch that was answered.
    pub(crate) fn fetched(&self, cold: bool) {
        if cold {
            self.0.store(0, Ordering::Relaxed);
        } else {
            self.0.fetch_add(1, Ordering::Relaxed);
        }
    }

    pub(super) fn caught_up(&self) -> bool {
        self.0.load(Ordering::Relaxed) >= WARM_FETCHES
    }

    pub(super) fn reset(&self) {
        self.0.store(0, Ordering::Relaxed);
    }
}

/// A connection between two runtimes: registered with none.
type Parked = Connection<std::net::TcpStream>;

impl Connection<TcpStream> {
    /// Runs the connection, wherever it belongs, until it ends.
    pub(super) async fn run_on_both_sides(mut self) -> Ended {
        loop {
            match self.run().await {
                Ended::Moves => {}
                ended => return ended,
            }
            self = match self.visit_history().await {
                Ok(back) => back,
                Err(ended) => return ended,
            };
        }
    }

    /// Runs on the history runtime until the connection has caught up.
    async fn visit_history(self) -> Result<Self, Ended> {
        let broker = Arc::clone(&self.broker);
        broker.metrics().moved_to_history();
        let parked = self.park(Side::History)?;
        let visit = VisitTask(broker.storage().history().spawn(async move {
            let mut connection = parked.unpark()?;
            match connection.run().await {
                Ended::Moves => connection.park(Side::Live),
                ended => Err(ended),
            }
        }));
        let visited = visit.ended().await;
        broker.metrics().left_history();
        visited?.unpark()
    }

    fn park(self, side: Side) -> Result<Parked, Ended> {
        self.context.warmth.reset();
        let (stream, mut rest) = self.replace_stream(());
        rest.side = side;
        Ok(rest.replace_stream(stream.into_std()?).1)
    }
}

impl Parked {
    /// Registers the socket with the runtime that this is called on.
    fn unpark(self) -> Result<Connection<TcpStream>, Ended> {
        let (stream, rest) = self.replace_stream(());
        Ok(rest.replace_stream(TcpStream::from_std(stream)?).1)
    }
}

/// The task of a visit, which ends with the one that waits for it.
struct VisitTask(JoinHandle<Result<Parked, Ended>>);

impl VisitTask {
    async fn ended(mut self) -> Result<Parked, Ended> {
        match (&mut self.0).await {
            Ok(visited) => visited,
            Err(failed) if failed.is_panic() => {
                Err(io::Error::other("the connection's task failed").into())
            }
            Err(_cancelled) => Err(Ended::Stopping),
        }
    }
}

impl Drop for VisitTask {
    fn drop(&mut self) {
        self.0.abort();
    }
}
