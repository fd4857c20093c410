//! A fixed number of outstanding appends, and what became of them.

use std::fs;
use std::io;
use std::path::Path;
use std::sync::Arc;
use std::sync::mpsc::{Receiver, SyncSender, sync_channel};
use std::thread;
use std::time::Duration;

use antiphon_common::{Clock, SystemClock};
use serde::Serialize;

use super::{Log, Variant};
use crate::latency::Latencies;
use crate::process::Meter;

const MIB: f64 = 1_048_576.0;
/// Appended before the measurement: more than the segments of a log that recycles them, so that those
/// are zero-filled and in use once.
const WARMUP_BYTES: usize = 256 << 20;
const WARMUP_PAYLOAD: usize = 256 << 10;
const WARMUP_APPENDERS: usize = 8;
/// A run ends after this many bytes, whatever its time: a log that forgets nothing has to fit on a disk.
const RUN_BYTES_MAX: usize = 2 << 30;
/// The past is forgotten once in this many appends.
const FORGET_EVERY: u64 = 256;
const FULL_PAUSE: Duration = Duration::from_micros(200);

/// Who appends.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize)]
pub(crate) struct Load {
    /// Bytes of each append.
    pub(crate) payload_bytes: usize,
    /// Appends outstanding: each appender waits for its acknowledgement before it appends again.
    pub(crate) appenders: usize,
}

impl Load {
    /// The loads of a full run.
    pub(crate) fn all() -> Vec<Self> {
        let sizes = [1 << 10, 64 << 10];
        let of_size = |payload_bytes| [1, 8, 64].map(|appenders| Self { payload_bytes, appenders });
        sizes.into_iter().flat_map(of_size).collect()
    }

    /// The loads of a quick run: a lone caller, small batches, large ones.
    pub(crate) fn few() -> Vec<Self> {
        let few = [(1 << 10, 1), (1 << 10, 64), (64 << 10, 64)];
        few.map(|(payload_bytes, appenders)| Self { payload_bytes, appenders }).into()
    }
}

/// What a run saw, as metric names and values.
pub(crate) type Measured = Vec<(&'static str, f64)>;

/// Opens `variant` in `folder`, loads it for `length`, and removes the folder.
pub(crate) fn drive(
    variant: Variant,
    load: Load,
    folder: &Path,
    length: Duration,
) -> io::Result<Measured> {
    fs::create_dir_all(folder)?;
    let measured = measure(variant, load, folder, length);
    fs::remove_dir_all(folder)?;
    measured
}

fn measure(variant: Variant, load: Load, folder: &Path, length: Duration) -> io::Result<Measured> {
    let clock = Arc::new(SystemClock::default());
    let log = variant.open(folder)?;
    let warmup = Load { payload_bytes: WARMUP_PAYLOAD, appenders: WARMUP_APPENDERS };
    let forever = Duration::MAX;
    Appenders::new(warmup, &clock).run(&*log, WARMUP_BYTES / WARMUP_PAYLOAD, forever)?;
    let meter = Meter::start(&*clock, None);
    let end = clock.monotonic() + length;
    let mut appenders = Appenders::new(load, &clock);
    appenders.run(&*log, RUN_BYTES_MAX / load.payload_bytes, end)?;
    let usage = meter.finish(&*clock);
    let (acks, seconds) = (appenders.latencies.count() as f64, usage.elapsed.as_secs_f64());
    let mib = acks * load.payload_bytes as f64 / MIB;
    let mut measured = vec![
        ("acks_per_s", acks / seconds),
        ("throughput_mib_s", mib / seconds),
        ("cpu_s_per_gib", usage.client_cpu.as_secs_f64() / (mib / 1024.0)),
        ("cpu_cores", usage.client_cpu.as_secs_f64() / seconds),
    ];
    measured.extend(appenders.latencies.percentiles_ms());
    Ok(measured)
}

/// One thread that stands for all appenders, as one connection task of a broker does for many
/// requests.
struct Appenders {
    load: Load,
    payload: Vec<u8>,
    clock: Arc<SystemClock>,
    sender: SyncSender<Option<Duration>>,
    receiver: Receiver<Option<Duration>>,
    outstanding: usize,
    latencies: Latencies,
}

impl Appenders {
    fn new(load: Load, clock: &Arc<SystemClock>) -> Self {
        let (sender, receiver) = sync_channel(load.appenders);
        let payload = vec![0x5a; load.payload_bytes];
        let (clock, latencies) = (Arc::clone(clock), Latencies::default());
        Self { load, payload, clock, sender, receiver, outstanding: 0, latencies }
    }

    /// Appends until `count` appends or `end` (monotonic), then waits for the last acknowledgement.
    fn run(&mut self, log: &dyn Log, count: usize, end: Duration) -> io::Result<()> {
        let mut appended = 0;
        while appended < count && self.clock.monotonic() < end {
            if self.append(log) {
                appended += 1;
            } else {
                log.forget_the_past();
                thread::sleep(FULL_PAUSE);
            }
            if (appended as u64).is_multiple_of(FORGET_EVERY) {
                log.forget_the_past();
            }
            while self.outstanding >= self.load.appenders {
                self.receive()?;
            }
        }
        while self.outstanding > 0 {
            self.receive()?;
        }
        Ok(())
    }

    fn append(&mut self, log: &dyn Log) -> bool {
        let (sender, clock) = (self.sender.clone(), Arc::clone(&self.clock));
        let began = clock.monotonic();
        let done = move |durable: bool| {
            let took = durable.then(|| clock.monotonic().saturating_sub(began));
            // The receiver is gone only when the run has failed already.
            let _ = sender.try_send(took);
        };
        let accepted = log.append(&self.payload, Box::new(done));
        self.outstanding += usize::from(accepted);
        accepted
    }

    fn receive(&mut self) -> io::Result<()> {
        let lost = || io::Error::other("an append was not made durable");
        let took = self.receiver.recv().map_err(|_| lost())?.ok_or_else(lost)?;
        self.outstanding -= 1;
        self.latencies.record(took);
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_raw_variant_acknowledges_what_is_appended() {
        let folder = std::env::temp_dir().join(format!("layer-{}", std::process::id()));
        let load = Load { payload_bytes: 1000, appenders: 8 };
        let raw = [
            Variant::Threads { threads: 2, spin: true },
            Variant::Threads { threads: 1, spin: false },
            Variant::Ring { depth: 2, spin: false, worker: true },
            Variant::Ring { depth: 4, spin: true, worker: false },
        ];
        for variant in raw {
            if matches!(variant, Variant::Ring { .. }) && super::super::ring_refusal().is_some() {
                continue;
            }
            let measured = drive(variant, load, &folder, Duration::from_millis(50)).unwrap();
            let acks = measured.iter().find(|(name, _)| *name == "acks_per_s").unwrap().1;
            assert!(acks > 0.0, "{variant:?}: {measured:?}");
        }
    }
}
