//! One connection: frames in, answers out, in the order of the requests.
//!
//! Requests are handled one at a time, as Kafka's muted channels do, with one exception: after a
//! Produce request the next Produce may be handled before the first is durable. Their answers wait in
//! a queue of at most `pipelined_max`. Any other request is a barrier: it is handled when all earlier
//! answers are sent.

use std::collections::VecDeque;
use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use antiphon_protocol::{ApiKey, AuthState, FrameDecoder, FrameLimits, split_request};
use bytes::{Buf, Bytes, BytesMut};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::net::tcp::{ReadHalf, WriteHalf};
use tokio::sync::{Notify, OwnedSemaphorePermit, watch};
use tracing::{debug, warn};

use super::reply::{Outcome, PendingReply};
use crate::api::{self, RequestContext};
use crate::broker::Broker;

/// Slices that one system call writes at most (Linux's IOV_MAX is 1024; tokio passes 64).
const SLICES_PER_WRITE: usize = 64;
/// A buffer that grew beyond this is given back when the connection goes quiet.
const KEPT_BUFFER_BYTES: usize = 64 << 10;
/// The slowest that a frame may arrive, in bytes per second, once the stall timeout has passed: a
/// client that sends a byte now and then must not hold its buffer and its place for hours.
const FRAME_BYTES_PER_SECOND_MIN: u64 = 16 << 10;
/// How long a connection must be quiet for that.
const QUIET: Duration = Duration::from_secs(5);

/// What handlers know of the connection that a request came from.
#[derive(Debug)]
pub(crate) struct ConnectionContext {
    /// The client's address.
    pub(crate) peer: SocketAddr,
    /// Woken when a partition that this connection waits for has progress.
    pub(crate) progress: Arc<Notify>,
}

/// Why a connection ended.
#[derive(Debug, thiserror::Error)]
enum Ended {
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
pub(crate) async fn serve(mut stream: TcpStream, peer: SocketAddr, broker: Arc<Broker>) {
    broker.metrics().connections_opened();
    let (reader, writer) = stream.split();
    let context = Arc::new(ConnectionContext { peer, progress: Arc::new(Notify::new()) });
    let connection = Connection {
        reader,
        writer,
        decoder: FrameDecoder::new(FrameLimits::DEFAULT),
        buffer: BytesMut::new(),
        pending: VecDeque::new(),
        admitted: None,
        frame_began: None,
        context,
        broker: Arc::clone(&broker),
        stopping: broker.stopping(),
    };
    match connection.run().await {
        Ended::Refused(reason) => warn!(%peer, reason, "connection closed"),
        ended => debug!(%peer, reason = %ended, "connection closed"),
    }
    broker.metrics().connections_closed();
}

struct Connection<'a> {
    reader: ReadHalf<'a>,
    writer: WriteHalf<'a>,
    decoder: FrameDecoder,
    buffer: BytesMut,
    pending: VecDeque<PendingReply>,
    /// Room in the budget of large requests for the frame being received.
    admitted: Option<OwnedSemaphorePermit>,
    /// When the first bytes of the frame being received came, by the monotonic clock.
    frame_began: Option<Duration>,
    context: Arc<ConnectionContext>,
    broker: Arc<Broker>,
    stopping: watch::Receiver<bool>,
}

impl Connection<'_> {
    async fn run(mut self) -> Ended {
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
        if produce {
            self.broker.storage().budget().wait_for_room().await;
        }
        let request = RequestContext {
            broker: Arc::clone(&self.broker),
            connection: Arc::clone(&self.context),
            header,
        };
        let outcome = api::handle(request, body).await;
        drop(frame);
        self.admitted = None;
        self.frame_began = None;
        match outcome {
            Outcome::Reply(bytes, room) => {
                let written = self.write(bytes).await;
                drop(room);
                written
            }
            Outcome::AfterAck(pending) => {
                self.pending.push_back(pending);
                Ok(())
            }
            Outcome::Nothing => Ok(()),
            Outcome::Close(reason) => {
                self.send_pending().await?;
                Err(Ended::Refused(reason))
            }
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
            read = self.reader.read_buf(&mut self.buffer), if !full => {
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
        let read = self.reader.read_buf(&mut self.buffer);
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
            readable = tokio::time::timeout(idle_timeout, self.reader.readable()) => readable,
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
        let charge = wanted.min(limits.request_bytes_max) as u32;
        self.admitted = self.broker.admit_request(charge).await;
    }

    /// Writes all of `bytes`; a client that takes nothing for the stall timeout is cut off.
    async fn write(&mut self, mut bytes: VecDeque<Bytes>) -> Result<(), Ended> {
        let patience = self.broker.options().limits.stall_timeout;
        while !bytes.is_empty() {
            let written =
                tokio::time::timeout(patience, write_some(&mut self.writer, &bytes)).await;
            let written = written.map_err(|_| Ended::Stalled(patience))??;
            consume(&mut bytes, written);
        }
        Ok(())
    }
}

async fn write_some(writer: &mut WriteHalf<'_>, bytes: &VecDeque<Bytes>) -> io::Result<usize> {
    let mut slices = [io::IoSlice::new(&[]); SLICES_PER_WRITE];
    let count = bytes.len().min(SLICES_PER_WRITE);
    for (slice, chunk) in slices.iter_mut().zip(bytes) {
        *slice = io::IoSlice::new(chunk);
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
