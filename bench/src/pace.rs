//! When an open-loop record is due.
//!
//! A closed loop slows down with the broker and so never sees the records that would have waited:
//! "coordinated omission". Here the n-th record is due at a moment fixed before the run, whatever
//! happened to the earlier ones, and its latency counts from that moment.

use std::thread;
use std::time::Duration;

use antiphon_common::Clock;

const NANOS_PER_SECOND: u128 = 1_000_000_000;

/// A fixed rate from a fixed start.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Schedule {
    start: Duration,
    per_second: u64,
}

impl Schedule {
    /// The first record is due at `start` (monotonic time), the others at `per_second`. A rate of
    /// zero would never send anything and counts as one.
    pub(crate) fn new(start: Duration, per_second: u64) -> Self {
        Self { start, per_second: per_second.max(1) }
    }

    /// When record `index` is due. Computed from the start, so that rounding never accumulates.
    pub(crate) fn intended(&self, index: u64) -> Duration {
        let nanos = u128::from(index) * NANOS_PER_SECOND / u128::from(self.per_second);
        self.start + Duration::from_nanos(nanos as u64)
    }

    /// How many records are due by `now`.
    pub(crate) fn due(&self, now: Duration) -> u64 {
        let Some(elapsed) = now.checked_sub(self.start) else { return 0 };
        let whole = elapsed.as_nanos() * u128::from(self.per_second) / NANOS_PER_SECOND;
        whole as u64 + 1
    }

    /// How many records a run of `length` contains.
    pub(crate) fn total(&self, length: Duration) -> u64 {
        (length.as_nanos() * u128::from(self.per_second) / NANOS_PER_SECOND) as u64
    }
}

/// Calls `send(index, intended)` for every record of `total`, each as soon as it is due. A late
/// record keeps its intended time, so the lateness shows up in its latency.
pub(crate) fn drive<E>(
    clock: &dyn Clock,
    schedule: Schedule,
    total: u64,
    mut send: impl FnMut(u64, Duration) -> Result<(), E>,
) -> Result<(), E> {
    let mut sent = 0;
    while sent < total {
        sleep_until(clock, schedule.intended(sent));
        let due = schedule.due(clock.monotonic()).min(total);
        while sent < due {
            send(sent, schedule.intended(sent))?;
            sent += 1;
        }
    }
    Ok(())
}

fn sleep_until(clock: &dyn Clock, deadline: Duration) {
    if let Some(wait) = deadline.checked_sub(clock.monotonic()) {
        thread::sleep(wait);
    }
}

/// Asks the kernel to wake the calling thread on time: the default slack of 50 us would be part of
/// every open-loop latency. A refusal only costs precision.
pub(crate) fn sharpen_sleep() {
    // SAFETY: PR_SET_TIMERSLACK takes one integer and touches no memory of ours.
    unsafe { libc::prctl(libc::PR_SET_TIMERSLACK, 1_000_usize) };
}

#[cfg(test)]
mod tests {
    use std::cell::RefCell;
    use std::convert::Infallible;

    use antiphon_common::{ManualClock, Timestamp};

    use super::*;

    fn ms(value: u64) -> Duration {
        Duration::from_millis(value)
    }

    #[test]
    fn records_are_due_at_a_fixed_rate_from_the_start() {
        let schedule = Schedule::new(ms(100), 1_000);
        assert_eq!((schedule.intended(0), schedule.intended(250)), (ms(100), ms(350)));
        assert_eq!(
            (schedule.due(ms(99)), schedule.due(ms(100)), schedule.due(ms(110))),
            (0, 1, 11)
        );
    }

    #[test]
    fn rounding_does_not_accumulate_at_a_rate_that_does_not_divide_a_second() {
        let schedule = Schedule::new(Duration::ZERO, 3);
        assert_eq!(schedule.intended(3_000_000), Duration::from_secs(1_000_000));
        assert_eq!(schedule.total(Duration::from_secs(10)), 30);
    }

    #[test]
    fn a_stalled_sender_keeps_the_intended_times_of_what_it_owes() {
        let clock = ManualClock::starting_at(Timestamp(0));
        let schedule = Schedule::new(Duration::ZERO, 1_000);
        clock.advance(ms(1));
        let sent = RefCell::new(Vec::new());
        drive(&clock, schedule, 5, |index, intended| {
            // The first send stalls for 10 ms; the other four were due meanwhile.
            if index == 0 {
                clock.advance(ms(10));
            }
            sent.borrow_mut().push(clock.monotonic() - intended);
            Ok::<_, Infallible>(())
        })
        .unwrap();
        assert_eq!(*sent.borrow(), [ms(11), ms(10), ms(9), ms(8), ms(7)]);
    }
}
