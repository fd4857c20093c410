//! Accepting connections.

use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use tokio::net::{TcpListener, TcpSocket, TcpStream};
use tokio::sync::{Semaphore, watch};
use tokio::task::JoinSet;
use tracing::{debug, info, warn};

use super::connection;
use crate::broker::Broker;

/// Connections that the kernel queues while we are busy.
const BACKLOG: u32 = 1024;
/// The pause after a failed accept, so that a full file table does not become a busy loop.
const ACCEPT_PAUSE: Duration = Duration::from_millis(50);

/// Binds a listening socket.
pub(crate) fn bind(address: SocketAddr) -> io::Result<TcpListener> {
    let socket = if address.is_ipv4() { TcpSocket::new_v4()? } else { TcpSocket::new_v6()? };
    // A restart must not wait for the old connections' TIME_WAIT to pass.
    socket.set_reuseaddr(true)?;
    socket.bind(address)?;
    socket.listen(BACKLOG)
}

/// Accepts Kafka connections until told to stop.
#[derive(Debug)]
pub(crate) struct Listener {
    socket: TcpListener,
    broker: Arc<Broker>,
}

impl Listener {
    pub(crate) fn new(socket: TcpListener, broker: Arc<Broker>) -> Self {
        Self { socket, broker }
    }

    /// Runs until `stop` turns true, then waits up to `grace` for connections to end by themselves.
    pub(crate) async fn run(self, mut stop: watch::Receiver<bool>, grace: Duration) {
        let slots = Arc::new(Semaphore::new(self.broker.options().limits.connections_max));
        let mut connections = JoinSet::new();
        while !*stop.borrow() {
            tokio::select! {
                accepted = self.socket.accept() => match accepted {
                    Ok((stream, peer)) => self.admit(&mut connections, &slots, stream, peer),
                    Err(error) => {
                        warn!(%error, "accept failed");
                        tokio::time::sleep(ACCEPT_PAUSE).await;
                    }
                },
                Some(_) = connections.join_next() => {}
                _ = stop.changed() => {}
            }
        }
        info!(connections = connections.len(), "no longer accepting connections");
        drop(self.socket);
        let drained = async { while connections.join_next().await.is_some() {} };
        if tokio::time::timeout(grace, drained).await.is_err() {
            connections.abort_all();
        }
    }

    fn admit(
        &self,
        connections: &mut JoinSet<()>,
        slots: &Arc<Semaphore>,
        stream: TcpStream,
        peer: SocketAddr,
    ) {
        let Ok(slot) = Arc::clone(slots).try_acquire_owned() else {
            warn!(%peer, "connection refused: the limit of connections is reached");
            return;
        };
        if let Err(error) = stream.set_nodelay(true) {
            debug!(%peer, %error, "could not set TCP_NODELAY");
        }
        let broker = Arc::clone(&self.broker);
        connections.spawn(async move {
            connection::serve(stream, peer, broker).await;
            drop(slot);
        });
    }
}
