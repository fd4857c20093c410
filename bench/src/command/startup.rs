//! `startup`: from `exec` to the first answered metadata request (and, if asked, to the first
//! acknowledged record), and what an idle broker holds.

use std::fs::File;
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};
use std::sync::Arc;
use std::thread;
use std::time::Duration;

use antiphon_common::{Clock, SystemClock};
use clap::Args;

use super::Failure;
use super::admin::{Ready, await_ready};
use crate::client::{ClientError, Config, Producer};
use crate::process::{cpu_time, memory};
use crate::report::Report;

/// A broker that has not stopped by then is killed.
const STOP_TIMEOUT: Duration = Duration::from_secs(60);
const STOP_POLL: Duration = Duration::from_millis(5);
/// Until a started broker acknowledges its first record.
const ACK_TIMEOUT: Duration = Duration::from_secs(120);
/// Pause before the client tries something again.
const RETRY_MS: u32 = 2;

/// Options of `startup`.
#[derive(Args, Clone, Debug)]
pub struct Options {
    /// Where the broker will listen.
    #[arg(long, default_value = "127.0.0.1:9092", value_name = "HOST:PORT")]
    address: String,

    /// How often to start it.
    #[arg(long, default_value_t = 5)]
    rounds: u32,

    /// How long it idles before its memory is read.
    #[arg(long, default_value_t = 5, value_name = "SECONDS")]
    idle_seconds: u64,

    /// Give up on a start after this long.
    #[arg(long, default_value_t = 120, value_name = "SECONDS")]
    timeout: u64,

    /// Also write a record to partition 0 of this topic as soon as it has a leader.
    #[arg(long, value_name = "TOPIC")]
    ack_topic: Option<String>,

    /// Where the broker's output goes; nowhere by default.
    #[arg(long, value_name = "FILE")]
    log: Option<PathBuf>,

    /// The broker's command line. It must be the broker itself, not a script that starts it.
    #[arg(last = true, required = true)]
    command: Vec<String>,
}

/// One start.
#[derive(Clone, Copy, Debug, Default)]
struct Start {
    first_metadata_ms: f64,
    all_leaders_ms: f64,
    first_ack_ms: Option<f64>,
    idle_rss_mb: f64,
    idle_cpu_percent: f64,
    stop_ms: f64,
}

/// Runs `startup`.
pub(super) fn run(options: &Options) -> Result<Report, Failure> {
    let clock = Arc::new(SystemClock::default());
    let starts = (0..options.rounds.max(1))
        .map(|_| start_once(options, &clock))
        .collect::<Result<Vec<_>, _>>()?;
    let mut report = Report::new("startup")
        .setting("command", options.command.join(" "))
        .setting("rounds", options.rounds)
        .setting("idle_seconds", options.idle_seconds);
    let mut add = |name: &str, of: fn(&Start) -> f64| {
        report.metric(name, median(starts.iter().map(of).collect()));
    };
    add("first_metadata_ms", |start| start.first_metadata_ms);
    add("all_leaders_ms", |start| start.all_leaders_ms);
    if options.ack_topic.is_some() {
        add("first_ack_ms", |start| start.first_ack_ms.unwrap_or(f64::NAN));
    }
    add("idle_rss_mb", |start| start.idle_rss_mb);
    add("idle_cpu_percent", |start| start.idle_cpu_percent);
    add("stop_ms", |start| start.stop_ms);
    let slowest = starts.iter().map(|start| start.first_metadata_ms).fold(0.0, f64::max);
    report.metric("first_metadata_max_ms", slowest);
    Ok(report)
}

fn start_once(options: &Options, clock: &Arc<SystemClock>) -> Result<Start, Failure> {
    let began = clock.monotonic();
    let mut broker = Broker::spawn(options)?;
    let timeout = Duration::from_secs(options.timeout);
    let ready = await_ready(&**clock, &options.address, timeout, || broker.is_running());
    let ready = ready.ok_or_else(|| {
        let (command, address) = (options.command.join(" "), options.address.clone());
        Failure::NotReady { command, address, seconds: options.timeout }
    })?;
    let topic = options.ack_topic.as_ref();
    let acked = topic.map(|topic| first_ack(&options.address, topic, clock)).transpose()?;
    let mut start = idle(options, &broker, &ready);
    start.first_ack_ms = acked.map(|acked| acked.saturating_sub(began).as_secs_f64() * 1e3);
    let stopping = clock.monotonic();
    broker.stop(&**clock);
    start.stop_ms = clock.monotonic().saturating_sub(stopping).as_secs_f64() * 1e3;
    Ok(start)
}

/// When a record was acknowledged (monotonic). The client starts only now, and connects, asks and
/// sends within milliseconds; one that had waited for the broker would measure its own back-off.
fn first_ack(address: &str, topic: &String, clock: &Arc<SystemClock>) -> Result<Duration, Failure> {
    let config = Config::new(address)
        .set("acks", "all")
        .set("linger.ms", 0)
        .set("retry.backoff.ms", RETRY_MS)
        .set("reconnect.backoff.ms", RETRY_MS)
        .set("reconnect.backoff.max.ms", RETRY_MS);
    let producer = Producer::start(&config, std::slice::from_ref(topic), clock)?;
    producer.send(0, 0, b"first", clock.monotonic())?;
    let tally = producer.flush(ACK_TIMEOUT);
    match (tally.acked, tally.first_error) {
        (0, reason) => {
            let reason = reason.unwrap_or_else(|| "no answer in time".into());
            Err(Failure::Client(ClientError::Call { what: format!("write to {topic}"), reason }))
        }
        _ => Ok(tally.last_report),
    }
}

fn idle(options: &Options, broker: &Broker, ready: &Ready) -> Start {
    let pid = broker.0.id();
    let idle = Duration::from_secs(options.idle_seconds);
    let before = cpu_time(pid);
    thread::sleep(idle);
    let spent = cpu_time(pid).zip(before).map(|(now, before)| now.saturating_sub(before));
    let share = spent.unwrap_or_default().as_secs_f64() / idle.as_secs_f64().max(1e-9);
    let resident = memory(pid).map_or(0, |memory| memory.resident.get());
    Start {
        first_metadata_ms: ready.first_metadata.as_secs_f64() * 1e3,
        all_leaders_ms: ready.all_leaders.as_secs_f64() * 1e3,
        idle_rss_mb: resident as f64 / 1e6,
        idle_cpu_percent: share * 100.0,
        ..Start::default()
    }
}

/// A started broker; it never outlives this value.
struct Broker(Child);

impl Broker {
    fn spawn(options: &Options) -> Result<Self, Failure> {
        let (output, errors) = match &options.log {
            Some(path) => {
                let file = File::options().create(true).append(true).open(path)?;
                (Stdio::from(file.try_clone()?), Stdio::from(file))
            }
            None => (Stdio::null(), Stdio::null()),
        };
        let (program, arguments) = options.command.split_first().ok_or_else(no_command)?;
        let mut command = Command::new(program);
        command.args(arguments).stdin(Stdio::null()).stdout(output).stderr(errors);
        Ok(Self(command.spawn()?))
    }

    fn is_running(&mut self) -> bool {
        matches!(self.0.try_wait(), Ok(None))
    }

    /// Asks it to stop and waits; the caller times this.
    fn stop(&mut self, clock: &dyn Clock) {
        // SAFETY: the pid is that of our own child, which has not been waited for.
        unsafe { libc::kill(self.0.id() as libc::pid_t, libc::SIGTERM) };
        let deadline = clock.monotonic() + STOP_TIMEOUT;
        while clock.monotonic() < deadline && self.is_running() {
            thread::sleep(STOP_POLL);
        }
    }
}

impl Drop for Broker {
    fn drop(&mut self) {
        if self.is_running() {
            let _ = self.0.kill();
            let _ = self.0.wait();
        }
    }
}

fn no_command() -> Failure {
    Failure::Io(std::io::Error::new(std::io::ErrorKind::InvalidInput, "no command to start"))
}

fn median(mut values: Vec<f64>) -> f64 {
    crate::compare::median(&mut values).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn options(command: &[&str]) -> Options {
        let command = command.iter().map(|word| word.to_string()).collect();
        let (address, log) = ("127.0.0.1:1".to_string(), None);
        let (rounds, idle_seconds, timeout, ack_topic) = (1, 0, 0, None);
        Options { address, rounds, idle_seconds, timeout, ack_topic, log, command }
    }

    #[test]
    fn a_broker_that_never_answers_is_reported_and_does_not_outlive_the_run() {
        let failure = run(&options(&["sleep", "1000"])).unwrap_err();
        assert!(matches!(failure, Failure::NotReady { .. }), "{failure}");
    }

    #[test]
    fn a_broker_that_dies_is_not_waited_for() {
        let patient = Options { timeout: 600, ..options(&["true"]) };
        assert!(matches!(run(&patient), Err(Failure::NotReady { .. })));
    }

    #[test]
    fn a_dropped_broker_is_gone() {
        let broker = Broker::spawn(&options(&["sleep", "1000"])).unwrap();
        let pid = broker.0.id();
        assert!(memory(pid).is_some());
        drop(broker);
        assert_eq!(cpu_time(pid), None);
    }
}
