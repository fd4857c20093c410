//! `replay-client`: one consumer that reads a whole history over and over, in a process of its own.
//!
//! A process, because a niceness belongs to one, and because sixteen consumers in the process that
//! measures latencies would be measured with them. It says on standard output, ten times a second, how
//! much it has read; when nobody listens any more, it ends.

use std::io::Write;
use std::time::Duration;

use antiphon_common::{Clock, SystemClock, scheduling};
use clap::Args;

use super::super::Failure;
use super::super::consume::{self, From, Plan};
use super::super::options::{Target, Topics};
use super::super::progress::Progress;
use crate::report::Report;

const BATCH_WAIT: Duration = Duration::from_millis(10);
const SAY_EVERY: Duration = Duration::from_millis(100);
/// A pass that receives nothing for this long has failed.
const STALL: Duration = Duration::from_secs(30);
/// The client's own queue: enough to keep its connection busy, small enough for sixteen of them.
const QUEUE_KIB: u32 = 16 << 10;
const FETCH_BYTES: u64 = 1 << 20;

/// Options of `replay-client`.
#[derive(Args, Clone, Debug)]
pub struct Options {
    #[command(flatten)]
    target: Target,
    #[command(flatten)]
    topics: Topics,

    /// Scheduling priority of this process: 19 is the lowest.
    #[arg(long, default_value_t = 0, allow_negative_numbers = true)]
    nice: i32,

    /// Join a new consumer group for each pass, with this prefix, instead of reading fixed partitions.
    #[arg(long)]
    group: Option<String>,
}

impl Options {
    fn consume(&self, pass: u64) -> consume::Options {
        let mut target = self.target.clone();
        let queue = ("queued.max.messages.kbytes".to_owned(), QUEUE_KIB.to_string());
        target.properties.insert(0, queue);
        consume::Options {
            target,
            topics: self.topics.clone(),
            from: From::Earliest,
            consumers: 1,
            group: self.group.as_ref().map(|group| format!("{group}-{pass}")),
            fetch_bytes: FETCH_BYTES,
            expect_records: None,
            expect_bytes: None,
            allow_gaps: false,
            stall_timeout: STALL.as_secs(),
        }
    }
}

/// Runs `replay-client`. Ends when its reader does.
pub(in super::super) fn run(options: &Options) -> Result<Report, Failure> {
    yield_to_others(options.nice)?;
    // The process that measures has short slices, and its children inherit them.
    let _ = scheduling::accept_usual_waits();
    let clock = SystemClock::default();
    let mut speaker = Speaker { bytes: 0, due: clock.monotonic() };
    for pass in 0.. {
        read_once(&options.consume(pass), &clock, &mut speaker)?;
    }
    Ok(Report::new("replay-client"))
}

fn yield_to_others(nice: i32) -> std::io::Result<()> {
    // SAFETY: takes integers, touches no memory of ours; 0 means this process.
    match unsafe { libc::setpriority(libc::PRIO_PROCESS, 0, nice) } {
        0 => Ok(()),
        _ => Err(std::io::Error::last_os_error()),
    }
}

/// From the first record to the last; a gap or a stall is a failure.
fn read_once(
    options: &consume::Options,
    clock: &dyn Clock,
    speaker: &mut Speaker,
) -> Result<(), Failure> {
    let plan = Plan::new(options)?;
    let mut progress = Progress::new(plan.ranges.clone());
    let mut consumer = options.consumer(&plan.names, &plan.share(0, 1))?;
    let (mut seen, mut moved) = (0, clock.monotonic());
    while !progress.is_done() {
        consumer.poll_batch(BATCH_WAIT, |record| {
            progress.see(record.topic, record.partition, record.offset, record.size);
        })?;
        let now = clock.monotonic();
        if progress.bytes != seen {
            speaker.add(progress.bytes - seen, now)?;
            (seen, moved) = (progress.bytes, now);
        }
        if now.saturating_sub(moved) > STALL || progress.missing + progress.repeated > 0 {
            return Err(Failure::Unusable(describe(&progress)));
        }
    }
    Ok(())
}

fn describe(progress: &Progress) -> String {
    let (missing, repeated) = (progress.missing, progress.repeated);
    let outstanding = progress.outstanding();
    format!("{missing} offsets missing, {repeated} twice, {outstanding} never came")
}

/// Says how much was read so far.
struct Speaker {
    bytes: u64,
    due: Duration,
}

impl Speaker {
    fn add(&mut self, bytes: u64, now: Duration) -> std::io::Result<()> {
        self.bytes += bytes;
        if now < self.due {
            return Ok(());
        }
        self.due = now + SAY_EVERY;
        let mut output = std::io::stdout().lock();
        writeln!(output, "{}", self.bytes)?;
        output.flush()
    }
}
