//! How a writer without work waits: first it looks, then it sleeps.
//!
//! Waking a sleeping thread on an idle virtual processor took up to 4 ms on the machine this was
//! built on (one timer tick), and a look takes nothing but a processor nobody else wanted: each look
//! ends with `yield_now`, so runnable threads go first. A writer that keeps looking in vain stops
//! doing so, except for a probe now and then.

use std::time::Duration;

use antiphon_common::Clock;

/// Bounds the looks when the clock stands still, as a simulated one does.
const LOOKS_MAX: u32 = 4096;
/// Vain waits in a row after which a writer sleeps at once.
const MISSES_MAX: u32 = 8;
/// One wait in this many is a probe that may end the sleepy phase.
const PROBE_EVERY: u32 = 16;

#[derive(Debug)]
pub(crate) struct Spin {
    budget: Duration,
    misses: u32,
}

impl Spin {
    pub(crate) fn new(budget: Duration) -> Self {
        Self { budget, misses: 0 }
    }

    /// Whether looking is worth it now.
    pub(crate) fn is_due(&mut self) -> bool {
        let probing = self.misses < MISSES_MAX || self.misses.is_multiple_of(PROBE_EVERY);
        if !probing {
            self.misses = self.misses.wrapping_add(1);
        }
        probing && !self.budget.is_zero()
    }

    /// Looks until there is work or the budget is used up.
    pub(crate) fn look(&mut self, clock: &dyn Clock, has_work: &dyn Fn() -> bool) {
        let deadline = clock.monotonic() + self.budget;
        for _ in 0..LOOKS_MAX {
            if has_work() {
                self.misses = 0;
                return;
            }
            if clock.monotonic() >= deadline {
                break;
            }
            std::thread::yield_now();
        }
        self.misses = self.misses.wrapping_add(1);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use antiphon_common::ManualClock;

    #[test]
    fn looking_in_vain_ends_in_sleep_with_rare_probes() {
        let (clock, mut spin) = (ManualClock::default(), Spin::new(Duration::from_micros(1)));
        let mut looked = 0;
        for _ in 0..MISSES_MAX + 2 * PROBE_EVERY {
            if spin.is_due() {
                spin.look(&clock, &|| false);
                looked += 1;
            }
        }
        assert!((MISSES_MAX..MISSES_MAX + 4).contains(&looked), "looked {looked} times");
        while !spin.is_due() {}
        spin.look(&clock, &|| true);
        assert!(spin.is_due(), "work found: eager again");
    }

    #[test]
    fn without_a_budget_nobody_looks() {
        assert!(!Spin::new(Duration::ZERO).is_due());
    }
}
