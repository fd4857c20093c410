//! What a process cost, from Linux's `/proc` (`proc(5)`).

use std::fs;
use std::time::Duration;

use antiphon_common::{ByteCount, Clock};

/// Memory of a process.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Memory {
    /// `VmRSS`: resident now.
    pub(crate) resident: ByteCount,
    /// `VmHWM`: the most that was ever resident.
    pub(crate) peak: ByteCount,
}

/// User plus system CPU time of `pid` so far; `None` once the process is gone.
pub(crate) fn cpu_time(pid: u32) -> Option<Duration> {
    let stat = fs::read_to_string(format!("/proc/{pid}/stat")).ok()?;
    Some(ticks_to_time(cpu_ticks(&stat)?, ticks_per_second()))
}

/// Memory of `pid`; `None` once the process is gone.
pub(crate) fn memory(pid: u32) -> Option<Memory> {
    parse_memory(&fs::read_to_string(format!("/proc/{pid}/status")).ok()?)
}

fn ticks_per_second() -> u64 {
    // SAFETY: sysconf reads a constant of the system and touches no memory of ours.
    let ticks = unsafe { libc::sysconf(libc::_SC_CLK_TCK) };
    u64::try_from(ticks).unwrap_or(100).max(1)
}

fn ticks_to_time(ticks: u64, per_second: u64) -> Duration {
    Duration::from_nanos((u128::from(ticks) * 1_000_000_000 / u128::from(per_second)) as u64)
}

/// utime + stime, fields 14 and 15. The command name (field 2) may hold spaces and parentheses, so
/// counting starts after the last closing one.
fn cpu_ticks(stat: &str) -> Option<u64> {
    const UTIME_AFTER_NAME: usize = 11;
    let (_, after_name) = stat.rsplit_once(')')?;
    let mut fields = after_name.split_ascii_whitespace().skip(UTIME_AFTER_NAME);
    let user: u64 = fields.next()?.parse().ok()?;
    let system: u64 = fields.next()?.parse().ok()?;
    Some(user + system)
}

/// CPU time that the whole machine has spent on anything so far.
fn machine_cpu() -> Option<Duration> {
    let stat = fs::read_to_string("/proc/stat").ok()?;
    Some(ticks_to_time(busy_ticks(&stat)?, ticks_per_second()))
}

/// The first line counts user, nice, system, idle, iowait, irq, softirq and steal; idle and iowait
/// are not work.
fn busy_ticks(stat: &str) -> Option<u64> {
    const FIELDS: usize = 8;
    const IDLE: usize = 3;
    const IOWAIT: usize = 4;
    let line = stat.lines().next()?.strip_prefix("cpu ")?;
    let fields: Vec<u64> =
        line.split_ascii_whitespace().take(FIELDS).map_while(|field| field.parse().ok()).collect();
    let idle = fields.get(IDLE)? + fields.get(IOWAIT)?;
    Some(fields.iter().sum::<u64>() - idle)
}

fn parse_memory(status: &str) -> Option<Memory> {
    Some(Memory { resident: kib_line(status, "VmRSS:")?, peak: kib_line(status, "VmHWM:")? })
}

fn kib_line(status: &str, name: &str) -> Option<ByteCount> {
    let rest = status.lines().find_map(|line| line.strip_prefix(name))?;
    let kib: u64 = rest.split_ascii_whitespace().next()?.parse().ok()?;
    Some(ByteCount(kib * 1024))
}

/// Measures a stretch of work: wall time, our CPU, and the broker's when its pid is known.
#[derive(Debug)]
pub(crate) struct Meter {
    broker: Option<u32>,
    started: Duration,
    client_cpu: Duration,
    broker_cpu: Option<Duration>,
    machine_cpu: Option<Duration>,
}

/// What a [`Meter`] saw.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Usage {
    /// Wall time.
    pub(crate) elapsed: Duration,
    /// CPU time of this process.
    pub(crate) client_cpu: Duration,
    /// CPU time of the broker.
    pub(crate) broker_cpu: Option<Duration>,
    /// CPU time of everything else on the machine, where the broker's is known.
    pub(crate) other_cpu: Option<Duration>,
    /// Memory of the broker at the end.
    pub(crate) broker_memory: Option<Memory>,
}

impl Meter {
    /// Starts measuring now.
    pub(crate) fn start(clock: &dyn Clock, broker: Option<u32>) -> Self {
        Self {
            broker,
            started: clock.monotonic(),
            client_cpu: own_cpu(),
            broker_cpu: broker.and_then(cpu_time),
            machine_cpu: machine_cpu(),
        }
    }

    /// Wall time so far.
    pub(crate) fn elapsed(&self, clock: &dyn Clock) -> Duration {
        clock.monotonic().saturating_sub(self.started)
    }

    /// Stops measuring.
    pub(crate) fn finish(self, clock: &dyn Clock) -> Usage {
        let client_cpu = own_cpu().saturating_sub(self.client_cpu);
        let broker_cpu = spent(self.broker_cpu, self.broker.and_then(cpu_time));
        let machine_cpu = spent(self.machine_cpu, machine_cpu());
        let others = |(machine, broker): (Duration, Duration)| {
            machine.saturating_sub(broker).saturating_sub(client_cpu)
        };
        Usage {
            elapsed: self.elapsed(clock),
            client_cpu,
            broker_cpu,
            other_cpu: machine_cpu.zip(broker_cpu).map(others),
            broker_memory: self.broker.and_then(memory),
        }
    }
}

fn spent(start: Option<Duration>, end: Option<Duration>) -> Option<Duration> {
    end.zip(start).map(|(end, start)| end.saturating_sub(start))
}

fn own_cpu() -> Duration {
    cpu_time(std::process::id()).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn cpu_ticks_survive_a_hostile_command_name() {
        let stat = "42 (a) b) (c) S 1 2 3 4 5 6 7 8 9 10 120 34 0 0 20 0 1 0 99 1 2";
        assert_eq!(cpu_ticks(stat), Some(154));
        assert_eq!(cpu_ticks("42 (short) S 1 2"), None);
        assert_eq!(cpu_ticks(""), None);
    }

    #[test]
    fn waiting_is_not_work() {
        let stat = "cpu  10 1 20 500 60 3 4 5 9 9\ncpu0 1 1 1 1 1 1 1 1 0 0\n";
        assert_eq!(busy_ticks(stat), Some(43));
        assert_eq!(busy_ticks("cpu  10 1"), None);
    }

    #[test]
    fn ticks_become_time() {
        assert_eq!(ticks_to_time(154, 100), Duration::from_millis(1540));
    }

    #[test]
    fn memory_is_read_in_kib() {
        let status = "Name:\tx\nVmPeak:\t  900 kB\nVmHWM:\t  300 kB\nVmRSS:\t  200 kB\n";
        let expected = Memory { resident: ByteCount(204_800), peak: ByteCount(307_200) };
        assert_eq!(parse_memory(status), Some(expected));
        assert_eq!(parse_memory("Name:\tkthreadd\n"), None);
    }

    #[test]
    fn this_process_has_a_cost_and_a_missing_one_has_none() {
        assert!(memory(std::process::id()).unwrap().resident > ByteCount(0));
        assert_eq!(cpu_time(u32::MAX), None);
    }
}
