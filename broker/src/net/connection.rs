//! One connection: frames in, answers out, in the order of the requests.
//!
//! Requests are handled one at a time, as Kafka's muted channels do, with one exception: after a
//! Produce request the next Produce may be handled before the first is durable. Their answers wait in
//! a queue of at most `pipelined_max`. Any other request is a barrier: it is handled when all earlier
//! answers are sent.
//!
//! Between two requests a connection may move to the other runtime; see [`super::moving`].

use std::collections::VecDeque;
use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use antiphon_protocol::{ApiKey, AuthState, FrameDecoder, FrameLimits, split_request};
use antiphon_storage::ReaderId;
use bytes::{Buf, Bytes, BytesMut};
use futures::FutureExt;
use tokio::io::{AsyncReadExt, AsyncWriteExt, Interest};
use tokio::net::TcpStream;
use tokio::sync::{Notify, watch};
use tracing::{debug, warn};

use super::budget::Held;
use super::moving::{Side, Warmth};
use super::reply::{Outcome, PendingReply};
use crate::api::{self, RequestContext};
use crate::broker::Broker;

/// Slices that one system call writes at most (Linux's IOV_MAX is 1024; tokio passes 64).
const SLICES_PER_WRITE: usize = 64;
/// One write to a socket of the history side. The kernel copies a write without giving the processor
/// away, a mebibyte in half a millisecond and more; whoever is live waits for no more than this.
const HISTORY_WRITE_BYTES_MAX: usize = 128 << 10;
/// A buffer that grew beyond this is given back when the connection goes quiet.
const KEPT_BUFFER_BYTES: usize = 64 << 10;
/// The slowest that a frame may arrive, in bytes per second, once the stall timeout has passed: a
/// client that sends a byte now and then must not hold its buffer and its place for hours.
const FRAME_BYTES_PER_SECOND_MIN: u64 = 16 << 10;
/// How often a connection that waits for room in the tail looks whether its client is still there.
const LOOK_FOR_CLIENT: Duration = Duration::from_secs(1);
/// How long a connection must be quiet for that.
const QUIET: Duration = Duration::from_secs(5);

/// What handlers know of the connection that a request came from.
#[derive(Debug)]
pub(crate) struct ConnectionContext {
    /// The client's address.
    pub(crate) peer: SocketAddr,
    /// Woken when a partition that this connection waits for has progress.
    pub(crate) progress: Arc<Notify>,
    /// What the connection is to the cold path: one reader.
    pub(crate) reader: ReaderId,
    /// How well its fetches keep up while it is on the history side.
    pub(crate) warmth: Warmth,
}

/// Why a connection ended.
#[derive(Debug, thiserror::Error)]
pub(super) enum Ended {
    #[error("it moves to the other runtime")]
    Moves,
    #[error("the client closed it")]
    ByClient,
    #[error("{0}")]
    Refused(String),
    #[error("no request for {0:?}")]
    Idle(Duration),
    #[error("the client stood still for {0:?}")]
    Stalled(Duration),
    #[error("the broker is stopping")]
    Stopping,
    #[error(transparent)]
    Io(#[from] io::Error),
}

/// Serves one connection until it ends, and logs why if an operator should know.
pub(crate) async fn serve(stream: TcpStream, peer: SocketAddr, broker: Arc<Broker>) {
    broker.metrics().connections_opened();
    let connection = Connection::new(stream, peer, Arc::clone(&broker));
    match connection.run_on_both_sides().await {
        Ended::Refused(reason) => warn!(%peer, reason, "connection closed"),
        ended => debug!(%peer, reason = %ended, "connection closed"),
    }
    broker.metrics().connections_closed();
}

/// A connection; its stream is a socket of this runtime, except while it moves.
pub(super) struct Connection<S> {
    stream: S,
    pub(super) side: Side,
    decoder: FrameDecoder,
    buffer: BytesMut,
    pending: VecDeque<PendingReply>,
    /// A request that is to be handled on the side that the connection has moved to.
    again: Option<Bytes>,
    /// Room in the budget of requests for the large frame being received.
    admitted: Option<Held>,
    /// When the first bytes of the frame being received came, by the monotonic clock.
    frame_began: Option<Duration>,
    pub(super) context: Arc<ConnectionContext>,
    pub(super) broker: Arc<Broker>,
    stopping: watch::Receiver<bool>,
}

impl<S> Connection<S> {
    /// The same connection with another stream, and the one that it had.
    pub(super) fn replace_stream<T>(self, stream: T) -> (S, Connection<T>) {
        let connection = Connection {
            stream,
            side: self.side,
            decoder: self.decoder,
            buffer: self.buffer,
            pending: self.pending,
            again: self.again,
            admitted: self.admitted,
            frame_began: self.frame_began,
            context: self.context,
            broker: self.broker,
            stopping: self.stopping,
        };
        (self.stream, connection)
    }
}

impl Connection<TcpStream> {
    fn new(stream: TcpStream, peer: SocketAddr, broker: Arc<Broker>) -> Self {
        let context = Arc::new(ConnectionContext {
            peer,
            progress: Arc::new(Notify::new()),
            reader: next_reader(),
            warmth: Warmth::default(),
        });
        Self {
            stream,
            side: Side::Live,
            decoder: FrameDecoder::new(FrameLimits::DEFAULT),
            buffer: BytesMut::new(),
            pending: VecDeque::new(),
            again: None,
            admitted: None,
            frame_began: None,
            context,
            stopping: broker.stopping(),
            broker,
        }
    }

    /// Runs on the side where it is until it ends, or until it belongs on the other.
    pub(super) async fn run(&mut self) -> Ended {
        loop {
            if let Err(ended) = self.step().await {
                return ended;
            }
            if *self.stopping.borrow() {
                // What was accepted is durable soon; its producers should hear of it.
                return self.send_pending().await.err().unwrap_or(Ended::Stopping);
            }
        }
    }

    /// Handles every frame that is complete, then waits for the next event.
    async fn step(&mut self) -> Result<(), Ended> {
        if let Some(frame) = self.again.take() {
            self.handle(frame).await?;
        }
        while self.pending.len() < self.broker.options().limits.pipelined_max {
            let next = self.decoder.next(&mut self.buffer, AuthState::Complete);
            match next.map_err(|error| Ended::Refused(error.to_string()))? {
                Some(frame) => self.handle(frame.freeze()).await?,
                None => break,
            }
        }
        if self.pending.is_empty() {
            return self.read_more().await;
        }
        self.read_or_ack().await
    }

    async fn handle(&mut self, frame: Bytes) -> Result<(), Ended> {
        let request = split_request(&frame).map_err(|error| Ended::Refused(error.to_string()))?;
        let (header, body) = request;
        let produce = header.api.key == ApiKey::Produce;
        if !produce || !self.broker.storage().budget().has_room() {
            self.send_pending().await?;
        }
        let charged = match self.admitted.take() {
            Some(large) => large,
            None => self.broker.request_budget().take_small(frame.len()).await,
        };
        if produce {
            self.await_tail_room().await?;
        }
        let request = RequestContext {
            broker: Arc::clone(&self.broker),
            connection: Arc::clone(&self.context),
            side: self.side,
            header,
        };
        let outcome = api::handle(request, body).await;
        if matches!(outcome, Outcome::Cold) {
            self.again = Some(frame);
            return Err(Ended::Moves);
        }
        drop((frame, charged));
        self.frame_began = None;
        match outcome {
            Outcome::Reply(bytes, room) => {
                let written = self.write(bytes).await;
                drop(room);
                written?;
                self.stay_or_move()
            }
            Outcome::AfterAck(pending) => {
                self.pending.push_back(pending);
                Ok(())
            }
            Outcome::Nothing | Outcome::Cold => Ok(()),
            Outcome::Close(reason) => {
                self.send_pending().await?;
                Err(Ended::Refused(reason))
            }
        }
    }

    /// Waits until the tail has room for a request. Its client may have given up meanwhile, and repeated
    /// itself on another connection: one that waits for nobody is closed, and its request forgotten.
    async fn await_tail_room(&mut self) -> Result<(), Ended> {
        let budget = Arc::clone(self.broker.storage().budget());
        let room = budget.wait_for_room();
        tokio::pin!(room);
        loop {
            tokio::select! {
                () = &mut room => return Ok(()),
                () = tokio::time::sleep(LOOK_FOR_CLIENT) => {}
            }
            let readiness = self.stream.ready(Interest::READABLE).now_or_never();
            if readiness.is_some_and(|ready| ready.is_ok_and(|ready| ready.is_read_closed())) {
                return Err(Ended::ByClient);
            }
        }
    }

    /// Ends the stay on the history side once the connection has caught up.
    fn stay_or_move(&self) -> Result<(), Ended> {
        match self.side {
            Side::History if self.context.warmth.caught_up() => Err(Ended::Moves),
            Side::History | Side::Live => Ok(()),
        }
    }

    /// Sends all outstanding answers.
    async fn send_pending(&mut self) -> Result<(), Ended> {
        while let Some(pending) = self.pending.pop_front() {
            let durable = pending.acked.await;
            self.send_finished(durable, pending.finish).await?;
        }
        Ok(())
    }

    async fn send_finished(
        &mut self,
        durable: bool,
        finish: Box<dyn FnOnce(bool) -> Option<Bytes> + Send>,
    ) -> Result<(), Ended> {
        match finish(durable) {
            Some(reply) => self.write(VecDeque::from([reply])).await,
            None => Err(Ended::Refused("a response could not be encoded".to_owned())),
        }
    }

    async fn read_or_ack(&mut self) -> Result<(), Ended> {
        let full = self.pending.len() >= self.broker.options().limits.pipelined_max;
        let Some(first) = self.pending.front_mut() else { return Ok(()) };
        let durable = tokio::select! {
            biased;
            durable = &mut first.acked => durable,
            _ = self.stopping.changed() => return Ok(()),
            read = self.stream.read_buf(&mut self.buffer), if !full => {
                return if read? == 0 { Err(Ended::ByClient) } else { Ok(()) };
            }
        };
        let Some(first) = self.pending.pop_front() else { return Ok(()) };
        self.send_finished(durable, first.finish).await
    }

    async fn read_more(&mut self) -> Result<(), Ended> {
        let limits = self.broker.options().limits;
        let in_frame = !self.buffer.is_empty();
        if in_frame {
            self.check_pace(limits.stall_timeout)?;
            self.admit_large().await;
        }
        let patience = if in_frame { limits.stall_timeout } else { QUIET };
        let read = self.stream.read_buf(&mut self.buffer);
        let read = tokio::select! {
            read = tokio::time::timeout(patience, read) => read,
            _ = self.stopping.changed() => return Ok(()),
        };
        match read {
            Ok(Ok(0)) => Err(Ended::ByClient),
            Ok(Ok(_)) => Ok(()),
            Ok(Err(error)) => Err(error.into()),
            Err(_) if in_frame => Err(Ended::Stalled(patience)),
            Err(_) => self.wait_quietly(limits.idle_timeout).await,
        }
    }

    /// Waits with as little memory as possible for a client that has been quiet for a while.
    async fn wait_quietly(&mut self, idle_timeout: Duration) -> Result<(), Ended> {
        if self.buffer.capacity() > KEPT_BUFFER_BYTES {
            self.buffer = BytesMut::new();
        }
        let readable = tokio::select! {
            readable = tokio::time::timeout(idle_timeout, self.stream.readable()) => readable,
            _ = self.stopping.changed() => return Ok(()),
        };
        match readable {
            Ok(Ok(())) => {
                self.buffer.reserve(KEPT_BUFFER_BYTES.min(4 << 10));
                Ok(())
            }
            Ok(Err(error)) => Err(error.into()),
            Err(_) => Err(Ended::Idle(idle_timeout)),
        }
    }

    /// Ends a connection whose frame arrives too slowly.
    fn check_pace(&mut self, stall_timeout: Duration) -> Result<(), Ended> {
        let now = self.broker.environment().clock.monotonic();
        let began = *self.frame_began.get_or_insert(now);
        let received = self.buffer.len() as u64;
        let allowed = stall_timeout + Duration::from_secs(received / FRAME_BYTES_PER_SECOND_MIN);
        if now.saturating_sub(began) > allowed { Err(Ended::Stalled(allowed)) } else { Ok(()) }
    }

    /// Before a large frame is received, takes its place in the budget of large requests.
    async fn admit_large(&mut self) {
        let limits = self.broker.options().limits;
        let wanted = self.decoder.wanted();
        if self.admitted.is_some() || wanted < limits.large_frame_bytes {
            return;
        }
        self.admitted = Some(self.broker.request_budget().take(wanted).await);
    }

    /// Writes all of `bytes`; a client that takes nothing for the stall timeout is cut off.
    async fn write(&mut self, mut bytes: VecDeque<Bytes>) -> Result<(), Ended> {
        let patience = self.broker.options().limits.stall_timeout;
        let most = match self.side {
            Side::Live => usize::MAX,
            Side::History => HISTORY_WRITE_BYTES_MAX,
        };
        while !bytes.is_empty() {
            let written =
                tokio::time::timeout(patience, write_some(&mut self.stream, &bytes, most)).await;
            let written = written.map_err(|_| Ended::Stalled(patience))??;
            consume(&mut bytes, written);
        }
        Ok(())
    }
}

/// Numbers connections, from 1 on.
fn next_reader() -> ReaderId {
    static NEXT: AtomicU64 = AtomicU64::new(1);
    ReaderId(NEXT.fetch_add(1, Ordering::Relaxed))
}

/// Writes at most `most` bytes of `bytes`.
async fn write_some(
    writer: &mut TcpStream,
    bytes: &VecDeque<Bytes>,
    mut most: usize,
) -> io::Result<usize> {
    let mut slices = [io::IoSlice::new(&[]); SLICES_PER_WRITE];
    let mut count = 0;
    for (slice, chunk) in slices.iter_mut().zip(bytes) {
        if most == 0 {
            break;
        }
        let taken = chunk.len().min(most);
        *slice = io::IoSlice::new(&chunk[..taken]);
        (most, count) = (most - taken, count + 1);
    }
    let written = writer.write_vectored(&slices[..count]).await?;
    if written == 0 { Err(io::ErrorKind::WriteZero.into()) } else { Ok(written) }
}

fn consume(bytes: &mut VecDeque<Bytes>, mut written: usize) {
    while let Some(first) = bytes.front_mut() {
        if first.len() > written {
            first.advance(written);
            return;
        }
        written -= first.len();
        bytes.pop_front();
    }
}
