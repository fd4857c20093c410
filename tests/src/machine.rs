//! What the machine knows of a process (`proc(5)`), and ports that nobody uses.

use std::fs;
use std::net::TcpListener;
use std::process;
use std::sync::atomic::{AtomicU16, Ordering};

use rustix::process::{Pid, Resource, Rlimit, prlimit};

/// What a process holds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Footprint {
    /// Resident memory in bytes.
    pub resident: u64,
    /// The most that was ever resident, in bytes.
    pub peak: u64,
    /// Open file descriptors.
    pub descriptors: usize,
}

impl Footprint {
    /// Of a running process.
    pub fn of(pid: u32) -> Self {
        let status = fs::read_to_string(format!("/proc/{pid}/status"));
        let status = status.expect("the process is gone");
        let descriptors = fs::read_dir(format!("/proc/{pid}/fd")).expect("the process is gone");
        Self {
            resident: bytes_of(&status, "VmRSS:"),
            peak: bytes_of(&status, "VmHWM:"),
            descriptors: descriptors.count(),
        }
    }
}

fn bytes_of(status: &str, name: &str) -> u64 {
    let line = status.lines().find_map(|line| line.strip_prefix(name));
    let kib = line.and_then(|line| line.split_ascii_whitespace().next());
    let kib: u64 = kib.and_then(|kib| kib.parse().ok()).expect("the process is a zombie");
    kib * 1024
}

/// Bytes that a running process has handed to `write` so far, to whatever file.
pub fn bytes_written(pid: u32) -> u64 {
    let counters = fs::read_to_string(format!("/proc/{pid}/io")).expect("the process is gone");
    let written = counters.lines().find_map(|line| line.strip_prefix("wchar: "));
    written.and_then(|bytes| bytes.parse().ok()).expect("the kernel counts them (proc(5))")
}

/// From now on the kernel refuses a running process every write behind `bytes` of any file
/// (`RLIMIT_FSIZE`). Part of a write that reaches across is carried out. The process must ignore
/// `SIGXFSZ`, which would end it otherwise.
pub fn limit_file_size(pid: u32, bytes: u64) {
    let pid = i32::try_from(pid).ok().and_then(Pid::from_raw).expect("a pid");
    let limit = Rlimit { current: Some(bytes), maximum: None };
    prlimit(Some(pid), Resource::Fsize, limit).expect("the limit of a child can be set");
}

/// A port on loopback that is free now. It lies below Linux's range of ephemeral ports: a client
/// that knocks before the broker listens must not be connected to itself.
pub fn free_port() -> u16 {
    const FIRST: u16 = 20_000;
    const COUNT: u16 = 12_000;
    static NEXT: AtomicU16 = AtomicU16::new(0);
    loop {
        // Test binaries that run at the same time start at different places.
        let start = (process::id() % 97) as u16 * 119;
        let step = NEXT.fetch_add(1, Ordering::Relaxed);
        let port = FIRST + start.wrapping_add(step) % COUNT;
        if TcpListener::bind(("127.0.0.1", port)).is_ok() {
            return port;
        }
    }
}
