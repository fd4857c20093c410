//! How fast is the log here, and what does it cost?
//!
//! ```sh
//! cargo run --release -p antiphon-wal --example wal_bench -- FOLDER [PAYLOAD_BYTES] [IN_FLIGHT] \
//!     [SECONDS] [SPIN_US] [THREADS]
//! ```
//!
//! Each of `THREADS` appends payloads and keeps at most `IN_FLIGHT` of them unacknowledged; the log
//! is trimmed 256 MiB behind. Prints one line: rates, latency from append to completion, mean group
//! size, and processor seconds per GiB of payload, the bench's own included.

use std::error::Error;
use std::io::Write;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::mpsc::sync_channel;
use std::time::Duration;

use antiphon_common::{Clock, Environment, Lsn, WalEpoch};
use antiphon_wal::{FileWal, FileWalOptions, Wal};

struct Plan {
    folder: String,
    payload_bytes: usize,
    in_flight: usize,
    seconds: u64,
    spin: Duration,
    threads: u64,
}

impl Plan {
    fn from_arguments() -> Result<Self, Box<dyn Error>> {
        let mut arguments = std::env::args().skip(1);
        let folder = arguments.next().ok_or("which folder?")?;
        let mut number = |default: u64| arguments.next().map_or(Ok(default), |text| text.parse());
        Ok(Self {
            folder,
            payload_bytes: number(1024)? as usize,
            in_flight: number(256)? as usize,
            seconds: number(3)?,
            spin: Duration::from_micros(number(20)?),
            threads: number(1)?,
        })
    }
}

fn main() -> Result<(), Box<dyn Error>> {
    let plan = Plan::from_arguments()?;
    let environment = Environment::system();
    let clock = Arc::clone(&environment.clock);
    let epoch = WalEpoch(clock.now().get() as u64);
    let mut options = FileWalOptions::new(&plan.folder, epoch, environment);
    options.spin = plan.spin;
    let opening = clock.monotonic();
    let (wal, report) = FileWal::open(options, &mut |_| {})?;
    let opened_ms = (clock.monotonic() - opening).as_secs_f64() * 1e3;
    wal.trim(report.next_lsn.prev());
    let (started, cpu) = (clock.monotonic(), cpu_seconds());
    let latencies = std::thread::scope(|scope| {
        let workers: Vec<_> = (0..plan.threads)
            .map(|_| scope.spawn(|| drive(&wal, &plan, &clock, started)))
            .collect();
        let joined = workers.into_iter().map(|worker| worker.join().unwrap_or_default());
        joined.flatten().collect::<Vec<_>>()
    });
    let (elapsed, cpu) = ((clock.monotonic() - started).as_secs_f64(), cpu_seconds() - cpu);
    report_line(&plan, &wal, latencies, elapsed, cpu, opened_ms)
}

/// One appender. Returns every latency in nanoseconds.
fn drive(wal: &FileWal, plan: &Plan, clock: &Arc<dyn Clock>, started: Duration) -> Vec<u64> {
    let payload = vec![0x5a; plan.payload_bytes];
    let trim_behind = (256 << 20) / plan.payload_bytes as u64;
    let (sender, receiver) = sync_channel::<u64>(plan.in_flight);
    let (mut latencies, mut outstanding) = (Vec::with_capacity(1 << 20), 0);
    let refused = AtomicU64::new(0);
    while clock.monotonic() - started < Duration::from_secs(plan.seconds) {
        let (sender, clock_then) = (sender.clone(), Arc::clone(clock));
        let begun = clock.monotonic();
        let done = move |result: Result<_, _>| {
            let took = (clock_then.monotonic() - begun).as_nanos() as u64;
            drop(result.map(|_: bytes::Bytes| sender.try_send(took)));
        };
        let fill = &mut |space: &mut [u8]| space.copy_from_slice(&payload);
        match wal.append(payload.len(), fill, Box::new(done)) {
            Ok(lsn) if lsn.get().is_multiple_of(1024) => {
                wal.trim(Lsn(lsn.get().saturating_sub(trim_behind)))
            }
            Ok(_) => {}
            Err(_) => {
                refused.fetch_add(1, Ordering::Relaxed);
                continue;
            }
        }
        outstanding += 1;
        while outstanding >= plan.in_flight {
            let Ok(took) = receiver.recv() else { return latencies };
            latencies.push(took);
            outstanding -= 1;
            while let Ok(took) = receiver.try_recv() {
                latencies.push(took);
                outstanding -= 1;
            }
        }
    }
    latencies.extend((0..outstanding).map_while(|_| receiver.recv().ok()));
    latencies
}

fn report_line(
    plan: &Plan,
    wal: &FileWal,
    mut latencies: Vec<u64>,
    elapsed: f64,
    cpu: f64,
    opened_ms: f64,
) -> Result<(), Box<dyn Error>> {
    latencies.sort_unstable();
    let count = latencies.len();
    let at = |share: f64| {
        let index = ((count as f64 * share) as usize).min(count.saturating_sub(1));
        latencies.get(index).map_or(0.0, |ns| *ns as f64 / 1e6)
    };
    let stats = wal.stats();
    let gib = (count * plan.payload_bytes) as f64 / f64::from(1 << 30);
    writeln!(
        std::io::stdout(),
        "{} B x{} direct={} open {opened_ms:.1} ms | {:.0}/s {:.1} MB/s | p50 {:.3} p99 {:.3} p99.9 \
         {:.3} max {:.1} ms | {:.1} frames/group, write mean {:.3} ms | cpu {:.2} s/s, {:.2} s/GiB | \
         segments {}+{} slabs {} MiB",
        plan.payload_bytes,
        plan.in_flight,
        wal.is_direct(),
        count as f64 / elapsed,
        (count * plan.payload_bytes) as f64 / elapsed / 1e6,
        at(0.5),
        at(0.99),
        at(0.999),
        at(1.0),
        count as f64 / stats.groups.max(1) as f64,
        stats.write_time.as_secs_f64() * 1e3 / stats.groups.max(1) as f64,
        cpu / elapsed,
        cpu / gib,
        stats.segments,
        stats.spare_segments,
        (stats.slab_bytes + stats.slab_free_bytes) >> 20,
    )?;
    Ok(())
}

/// User and system time of this process: fields 14 and 15 of `/proc/self/stat`, in ticks of 10 ms.
fn cpu_seconds() -> f64 {
    let stat = std::fs::read_to_string("/proc/self/stat").unwrap_or_default();
    let behind_name = stat.rsplit(')').next().unwrap_or_default();
    let ticks =
        behind_name.split_whitespace().skip(11).take(2).filter_map(|f| f.parse::<f64>().ok());
    ticks.sum::<f64>() / 100.0
}
