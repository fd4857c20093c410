//! Time and randomness of the whole process, where no seed reaches: libc's.
//!
//! `HashMap`s, tokio's `select!` and the database's caches ask the system for randomness and time on
//! their own. This binary defines `getrandom` and `clock_gettime` itself, and the dynamic linker
//! prefers a program's own symbols to libc's. On a thread that says so they answer from the seed;
//! everywhere else they ask the kernel. What is left is tokio's count of the runtimes of a process,
//! which goes into its dice: so every seed runs in a process of its own ([`super::process`]).

use std::cell::Cell;
use std::time::Duration;

use libc::{CLOCK_REALTIME, SYS_clock_gettime, SYS_getrandom, c_int, c_uint, c_void, timespec};

/// What clocks other than the wall's lag behind it.
const OTHER_CLOCKS: Duration = Duration::from_secs(1_600_000_000);

thread_local! {
    /// Wall time, if this thread's is not the real one.
    static WALL: Cell<Option<Duration>> = const { Cell::new(None) };
    static RANDOM: Cell<u64> = const { Cell::new(0) };
}

/// From now on this thread knows no other time than `wall`, and no other randomness than `seed`'s.
pub(crate) fn begin(seed: u64, wall: Duration) {
    RANDOM.set(seed | 1);
    WALL.set(Some(wall));
}

/// Lets this thread's time pass.
pub(crate) fn advance(by: Duration) {
    WALL.set(WALL.get().map(|wall| wall + by));
}

fn next_byte() -> u8 {
    let next = RANDOM.get().wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
    RANDOM.set(next);
    (next >> 56) as u8
}

/// # Safety
/// As `getrandom(2)`: `buffer` is valid for `length` bytes.
#[unsafe(no_mangle)]
unsafe extern "C" fn getrandom(buffer: *mut c_void, length: usize, flags: c_uint) -> isize {
    if WALL.get().is_none() {
        // SAFETY: the caller's promise is passed on.
        return unsafe { libc::syscall(SYS_getrandom, buffer, length, flags) as isize };
    }
    for index in 0..length {
        // SAFETY: within the caller's buffer.
        unsafe { buffer.cast::<u8>().add(index).write(next_byte()) };
    }
    length as isize
}

/// # Safety
/// As `clock_gettime(2)`: `time` is valid for one write.
#[unsafe(no_mangle)]
unsafe extern "C" fn clock_gettime(clock: c_int, time: *mut timespec) -> c_int {
    let Some(wall) = WALL.get() else {
        // SAFETY: the caller's promise is passed on.
        return unsafe { libc::syscall(SYS_clock_gettime, clock, time) as c_int };
    };
    // Any other clock began somewhere else; only differences matter.
    let since = if clock == CLOCK_REALTIME { wall } else { wall.saturating_sub(OTHER_CLOCKS) };
    let answer = timespec {
        tv_sec: since.as_secs() as libc::time_t,
        tv_nsec: libc::c_long::from(since.subsec_nanos()),
    };
    // SAFETY: the caller's promise.
    unsafe { time.write(answer) };
    0
}
