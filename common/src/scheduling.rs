//! What the operating system's scheduler is told about the calling thread.
//!
//! Linux gives the processor away in slices (EEVDF; `sched(7)`). Since Linux 6.12 a normal thread may
//! ask for a slice of its own, and a thread that wakes up takes the processor from one with a longer
//! slice at once. Otherwise it waits for that slice to end, which only a timer tick finds out: 4 ms at
//! 250 ticks a second, even behind a thread at nice 19. No privilege is needed, and a thread with a
//! short slice gets no more of the processor than before, only sooner.

use std::io;
use std::time::Duration;

/// The shortest slice that Linux takes.
const SLICE_MIN: Duration = Duration::from_micros(100);

/// Asks for the shortest slice for the calling thread and the threads that it starts from now on.
/// For threads that work little and must begin soon.
///
/// # Errors
/// Where there is no such system call, or it is forbidden. An older kernel takes the wish and ignores
/// it. Not an error worth stopping for: what is lost is latency beside busy neighbours.
pub fn prefer_short_waits() -> io::Result<()> {
    set_slice(SLICE_MIN)
}

/// Takes [`prefer_short_waits`] back for the calling thread: the system's usual slice.
///
/// # Errors
/// As there.
pub fn accept_usual_waits() -> io::Result<()> {
    set_slice(Duration::ZERO)
}

#[cfg(target_os = "linux")]
fn set_slice(slice: Duration) -> io::Result<()> {
    const THIS_THREAD: libc::pid_t = 0;
    const NO_FLAGS: libc::c_uint = 0;
    let bytes = size_of::<libc::sched_attr>() as libc::c_uint;
    let mut attributes = libc::sched_attr {
        size: bytes,
        sched_policy: 0,
        sched_flags: 0,
        sched_nice: 0,
        sched_priority: 0,
        sched_runtime: 0,
        sched_deadline: 0,
        sched_period: 0,
    };
    // SAFETY: the kernel writes at most `bytes` bytes to `attributes`, which is that large.
    let got = unsafe {
        libc::syscall(libc::SYS_sched_getattr, THIS_THREAD, &raw mut attributes, bytes, NO_FLAGS)
    };
    if got != 0 {
        return Err(io::Error::last_os_error());
    }
    attributes.sched_runtime = slice.as_nanos() as u64;
    // SAFETY: the kernel reads `attributes.size` bytes of `attributes`, which is that large.
    let set = unsafe {
        libc::syscall(libc::SYS_sched_setattr, THIS_THREAD, &raw const attributes, NO_FLAGS)
    };
    if set == 0 { Ok(()) } else { Err(io::Error::last_os_error()) }
}

#[cfg(not(target_os = "linux"))]
fn set_slice(_: Duration) -> io::Result<()> {
    Err(io::ErrorKind::Unsupported.into())
}

#[cfg(all(test, target_os = "linux"))]
mod tests {
    use super::*;

    /// The slice in force, where the kernel says so: nanoseconds, field 7 of `sched_getattr`.
    fn slice() -> u64 {
        let mut words = [0_u64; 6];
        // SAFETY: the kernel writes at most 48 bytes, which is what `words` has.
        let got = unsafe { libc::syscall(libc::SYS_sched_getattr, 0, words.as_mut_ptr(), 48, 0) };
        assert_eq!(got, 0, "{}", io::Error::last_os_error());
        words[3]
    }

    #[test]
    fn a_wish_is_kept_inherited_and_taken_back() {
        let before = (slice(), niceness());
        if prefer_short_waits().is_err() {
            return; // forbidden here, as some containers do
        }
        let short = slice();
        assert!(short == 100_000 || short == before.0, "{short}: set, or ignored by an old kernel");
        let inherited = std::thread::spawn(slice).join().unwrap();
        assert_eq!(inherited, short);
        accept_usual_waits().unwrap();
        assert_eq!((slice(), niceness()), before, "nothing else changed");
    }

    fn niceness() -> i32 {
        // SAFETY: takes integers, touches no memory of ours.
        unsafe { libc::getpriority(libc::PRIO_PROCESS, 0) }
    }
}
