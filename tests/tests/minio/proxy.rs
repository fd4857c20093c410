//! A bad road between a broker and its bucket: an HTTP proxy that answers 503 in the bucket's place, or
//! lets every request wait.
//!
//! One thread per direction of each connection. Requests are read whole, heads and bodies, because
//! what happens to each is decided anew; answers are passed on as they come. A client that speaks
//! HTTP/1.1 without pipelining, as the store's does, has had the last answer when its next request
//! comes, so the proxy may put in an answer of its own.

use std::io::{self, BufRead, BufReader, Read, Write};
use std::net::{Shutdown, SocketAddr, TcpListener, TcpStream};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::thread;
use std::time::Duration;

use parking_lot::Mutex;

const HEAD_BYTES_MAX: usize = 64 << 10;
/// What S3 says when it wants less.
const SLOW_DOWN: &str = "<?xml version=\"1.0\" encoding=\"UTF-8\"?>\
    <Error><Code>SlowDown</Code><Message>Please reduce your request rate.</Message></Error>";

/// What becomes of requests.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Road {
    /// They reach the bucket.
    Open,
    /// They are answered with 503, and never reach it.
    Unavailable,
    /// They reach it so much later.
    Slow(Duration),
}

#[derive(Debug)]
struct Shared {
    bucket: String,
    road: Mutex<Road>,
    requests: AtomicU64,
    refused: AtomicU64,
}

/// The proxy. Its threads end with their connections.
#[derive(Debug)]
pub(crate) struct Proxy {
    address: SocketAddr,
    shared: Arc<Shared>,
}

impl Proxy {
    /// Stands in front of the server at `endpoint`, `http://HOST:PORT`.
    pub(crate) fn before(endpoint: &str) -> Self {
        let bucket = endpoint.strip_prefix("http://").expect("plain HTTP").to_owned();
        let (road, requests, refused) = (Mutex::new(Road::Open), 0.into(), 0.into());
        let shared = Arc::new(Shared { bucket, road, requests, refused });
        let listener = TcpListener::bind("127.0.0.1:0").expect("a port");
        let address = listener.local_addr().expect("an address");
        let accepting = Arc::clone(&shared);
        thread::spawn(move || {
            for client in listener.incoming().flatten() {
                let shared = Arc::clone(&accepting);
                // A connection that breaks is one of the things that happen to clients.
                thread::spawn(move || shared.serve(client).ok());
            }
        });
        Self { address, shared }
    }

    pub(crate) fn endpoint(&self) -> String {
        format!("http://{}", self.address)
    }

    pub(crate) fn set(&self, road: Road) {
        *self.shared.road.lock() = road;
    }

    /// Requests so far, whatever became of them.
    pub(crate) fn requests(&self) -> u64 {
        self.shared.requests.load(Ordering::Relaxed)
    }

    /// How many of them were answered with 503.
    pub(crate) fn refused(&self) -> u64 {
        self.shared.refused.load(Ordering::Relaxed)
    }
}

impl Shared {
    fn serve(&self, mut client: TcpStream) -> io::Result<()> {
        let mut bucket = TcpStream::connect(&self.bucket)?;
        for stream in [&client, &bucket] {
            stream.set_nodelay(true)?;
        }
        let (mut answers, mut back) = (bucket.try_clone()?, client.try_clone()?);
        // A bucket that closes a connection must be seen to: the client would wait for its answer.
        thread::spawn(move || io::copy(&mut answers, &mut back).and(back.shutdown(Shutdown::Both)));
        let mut requests = BufReader::new(client.try_clone()?);
        while let Some(head) = Head::read(&mut requests)? {
            self.requests.fetch_add(1, Ordering::Relaxed);
            let body = &mut (&mut requests).take(head.body_bytes);
            let road = *self.road.lock();
            match road {
                Road::Open => pass_on(&head, body, &mut bucket)?,
                Road::Slow(delay) => {
                    thread::sleep(delay);
                    pass_on(&head, body, &mut bucket)?;
                }
                Road::Unavailable => {
                    self.refused.fetch_add(1, Ordering::Relaxed);
                    io::copy(body, &mut io::sink())?;
                    refuse(&mut client)?;
                }
            }
        }
        bucket.shutdown(Shutdown::Both)
    }
}

fn pass_on(head: &Head, body: &mut impl Read, bucket: &mut TcpStream) -> io::Result<()> {
    bucket.write_all(&head.bytes)?;
    io::copy(body, bucket).map(drop)
}

fn refuse(client: &mut TcpStream) -> io::Result<()> {
    let length = SLOW_DOWN.len();
    let head = format!(
        "HTTP/1.1 503 Slow Down\r\nContent-Type: application/xml\r\nContent-Length: {length}\r\n\r\n"
    );
    client.write_all(head.as_bytes())?;
    client.write_all(SLOW_DOWN.as_bytes())
}

/// The head of a request, with the empty line that ends it.
#[derive(Debug)]
struct Head {
    bytes: Vec<u8>,
    body_bytes: u64,
}

impl Head {
    /// `None` where the connection ends.
    fn read(requests: &mut impl BufRead) -> io::Result<Option<Self>> {
        let mut head = Self { bytes: Vec::new(), body_bytes: 0 };
        loop {
            let start = head.bytes.len();
            if requests.read_until(b'\n', &mut head.bytes)? == 0 {
                return Ok(None);
            }
            let line = String::from_utf8_lossy(&head.bytes[start..]).trim_end().to_lowercase();
            if line.is_empty() {
                return Ok(Some(head));
            }
            if let Some(length) = line.strip_prefix("content-length:") {
                head.body_bytes = length.trim().parse().map_err(io::Error::other)?;
            }
            let chunked = line.starts_with("transfer-encoding:");
            if chunked || head.bytes.len() > HEAD_BYTES_MAX {
                return Err(io::Error::other("a request that this proxy does not understand"));
            }
        }
    }
}
