//! How a writer without work waits: first it looks, then it sleeps.
//!
//! A sleeping thread costs a wake-up, and worse: on a virtual machine a processor with nothing to do
//! noticed a finished write up to one timer tick (4 ms) late on the machine this was built on, while
//! with one more thread running the same write took 0.04 ms. So while a write is in flight the other
//! writer keeps looking. It takes nothing but a processor nobody else wanted: each look ends with
//! `yield_now`, so runnable threads go first. A writer that keeps looking in vain stops doing so,
//! except for a probe now and then, and an idle log costs nothing.

use std::time::Duration;

use antiphon_common::Clock;

/// Bounds the looks when the clock stands still, as a simulated one does.
const LOOKS_MAX: u32 = 8192;
/// A write in flight keeps its companion looking for at most this many budgets: longer ones are the
/// disk's fault, not the wake-up's.
const COMPANION_BUDGETS_MAX: u32 = 16;
/// Vain waits in a row after which a writer sleeps at once.
const MISSES_MAX: u32 = 8;
/// One wait in this many is a probe that may end the sleepy phase.
const PROBE_EVERY: u32 = 16;

/// What a look sees.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Seen {
    /// A group is queued.
    Work,
    /// Another writer is writing, so work is likely soon.
    Writing,
    /// Neither.
    Nothing,
}

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

    /// Looks until there is work or the budget is used up. Says whether there is work.
    pub(crate) fn look(&mut self, clock: &dyn Clock, see: &dyn Fn() -> Seen) -> bool {
        let begun = clock.monotonic();
        let limit = begun + self.budget * COMPANION_BUDGETS_MAX;
        let mut deadline = begun + self.budget;
        for _ in 0..LOOKS_MAX {
            let now = clock.monotonic();
            match see() {
                Seen::Work => {
                    self.misses = 0;
                    return true;
                }
                Seen::Writing => deadline = (now + self.budget).min(limit),
                Seen::Nothing => {}
            }
            if now >= deadline {
                break;
            }
            std::thread::yield_now();
        }
        self.misses = self.misses.wrapping_add(1);
        false
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
                assert!(!spin.look(&clock, &|| Seen::Nothing));
                looked += 1;
            }
        }
        assert!((MISSES_MAX..MISSES_MAX + 4).contains(&looked), "looked {looked} times");
        while !spin.is_due() {}
        assert!(spin.look(&clock, &|| Seen::Work));
        assert!(spin.is_due(), "work found: eager again");
    }

    #[test]
    fn without_a_budget_nobody_looks() {
        assert!(!Spin::new(Duration::ZERO).is_due());
    }
}
