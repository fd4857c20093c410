//! Processes that end by themselves or are told to.

use std::process::{Child, Command, ExitStatus, Stdio};
use std::time::Duration;

use rustix::process::{Pid, Signal, kill_process};

use crate::Stopwatch;

/// How a process ended and what it said.
#[derive(Clone, Debug)]
pub struct Exited {
    /// Its exit code; -1 if a signal ended it.
    pub code: i32,
    /// Standard output.
    pub stdout: String,
    /// Standard error.
    pub stderr: String,
    /// How long it ran.
    pub took: Duration,
}

/// Runs a command until it ends, which must be within `limit`.
pub fn run_to_end(command: &mut Command, limit: Duration) -> Exited {
    let watch = Stopwatch::start();
    command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped());
    let mut child = command.spawn().expect("the command does not start");
    // What these commands say fits a pipe's 64 KiB, so nobody has to read along.
    while child.try_wait().expect("waiting failed").is_none() {
        if watch.elapsed() > limit {
            let _ = child.kill();
            let output = child.wait_with_output().expect("waiting failed");
            let said = String::from_utf8_lossy(&output.stderr).into_owned();
            panic!("{command:?} still ran after {limit:?}; it said:\n{said}");
        }
        std::thread::sleep(Duration::from_millis(2));
    }
    let took = watch.elapsed();
    let output = child.wait_with_output().expect("waiting failed");
    let text = |bytes: Vec<u8>| String::from_utf8_lossy(&bytes).into_owned();
    Exited {
        code: output.status.code().unwrap_or(-1),
        stdout: text(output.stdout),
        stderr: text(output.stderr),
        took,
    }
}

/// Sends a signal to a child that has not been waited for.
fn send(child: &Child, signal: Signal) {
    let pid = i32::try_from(child.id()).ok().and_then(Pid::from_raw).expect("a pid");
    kill_process(pid, signal).expect("the process is gone");
}

/// Sends SIGTERM and waits; kills and panics after `limit`.
pub fn stop_and_wait(child: &mut Child, limit: Duration) -> ExitStatus {
    send(child, Signal::TERM);
    let watch = Stopwatch::start();
    loop {
        if let Some(status) = child.try_wait().expect("waiting failed") {
            return status;
        }
        if watch.elapsed() > limit {
            let _ = child.kill();
            let _ = child.wait();
            panic!("the process still ran {limit:?} after SIGTERM");
        }
        std::thread::sleep(Duration::from_millis(1));
    }
}
