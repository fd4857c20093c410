//! The replaying processes, as the measuring one sees them.

use std::io::{BufRead, BufReader};
use std::process::{Child, ChildStdout, Command, Stdio};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::thread;
use std::time::Duration;

use antiphon_common::Clock;

use super::{Failure, Load, Options};

const POLL: Duration = Duration::from_millis(20);
/// Groups take seconds to form, sixteen clients on two cores longer.
const START_TIMEOUT: Duration = Duration::from_secs(60);

/// Clients that replay at full speed until this value is dropped.
#[derive(Debug)]
pub(super) struct Crowd {
    clients: Vec<Client>,
}

#[derive(Debug)]
struct Client {
    process: Child,
    bytes: Arc<AtomicU64>,
}

impl Crowd {
    /// Starts the clients of `load` and waits until each has received something.
    pub(super) fn start(options: &Options, load: Load, clock: &dyn Clock) -> Result<Self, Failure> {
        let clients = (0..load.replays).map(|index| Client::start(options, load, index));
        let mut crowd = Self { clients: clients.collect::<Result<_, _>>()? };
        let deadline = clock.monotonic() + START_TIMEOUT;
        while !crowd.clients.iter().all(|client| client.bytes() > 0) {
            crowd.check()?;
            if clock.monotonic() > deadline {
                return Err(Failure::Unusable("a client received nothing for a minute".into()));
            }
            thread::sleep(POLL);
        }
        Ok(crowd)
    }

    /// Where each client's received bytes are counted.
    pub(super) fn counters(&self) -> Vec<Arc<AtomicU64>> {
        self.clients.iter().map(|client| Arc::clone(&client.bytes)).collect()
    }

    /// Fails when a client has ended, which none does by itself.
    pub(super) fn check(&mut self) -> Result<(), Failure> {
        let ended = |client: &mut Client| client.process.try_wait().ok().flatten();
        match self.clients.iter_mut().find_map(ended) {
            Some(status) => Err(Failure::Unusable(format!("a client ended with {status}"))),
            None => Ok(()),
        }
    }
}

impl Client {
    fn start(options: &Options, load: Load, index: u32) -> Result<Self, Failure> {
        let mut command = Command::new(std::env::current_exe()?);
        command.arg("replay-client").args(arguments(options, load, index));
        let mut process = command.stdin(Stdio::null()).stdout(Stdio::piped()).spawn()?;
        let bytes = Arc::new(AtomicU64::new(0));
        if let Some(output) = process.stdout.take() {
            let bytes = Arc::clone(&bytes);
            thread::Builder::new().name("listener".into()).spawn(move || listen(output, &bytes))?;
        }
        Ok(Self { process, bytes })
    }

    fn bytes(&self) -> u64 {
        self.bytes.load(Ordering::Relaxed)
    }
}

fn arguments(options: &Options, load: Load, index: u32) -> Vec<String> {
    let mut words = vec![
        format!("--brokers={}", options.target.brokers),
        format!("--topic={}", options.topic),
        format!("--partitions={}", options.partitions),
        format!("--nice={}", load.nice),
    ];
    let pairs = &options.target.properties;
    words.extend(pairs.iter().map(|(name, value)| format!("--set={name}={value}")));
    if options.groups {
        let (load, process) = (load.slug(), std::process::id());
        words.push(format!("--group=replay-{process}-{load}-{index}"));
    }
    words
}

fn listen(output: ChildStdout, bytes: &AtomicU64) {
    for line in BufReader::new(output).lines().map_while(Result::ok) {
        if let Ok(total) = line.trim().parse() {
            bytes.store(total, Ordering::Relaxed);
        }
    }
}

impl Drop for Client {
    fn drop(&mut self) {
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}
