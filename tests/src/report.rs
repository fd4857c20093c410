//! Figures that a test prints: they are results, also when the test passes.

use std::io::Write;
use std::time::Duration;

/// Prints one line past the test harness's capture, so that it reaches the log of a passed test.
pub fn figure(line: &str) {
    let _ = writeln!(std::io::stderr().lock(), "figure: {line}");
}

/// Repeated measurements of one thing.
#[derive(Clone, Debug, Default)]
pub struct Figures(Vec<Duration>);

impl FromIterator<Duration> for Figures {
    fn from_iter<I: IntoIterator<Item = Duration>>(measured: I) -> Self {
        let mut figures: Vec<_> = measured.into_iter().collect();
        figures.sort();
        Self(figures)
    }
}

impl Figures {
    /// Adds one.
    pub fn push(&mut self, measured: Duration) {
        self.0.push(measured);
        self.0.sort();
    }

    /// How many there are.
    pub fn count(&self) -> usize {
        self.0.len()
    }

    /// The one that so many of a thousand do not exceed.
    pub fn permille(&self, rank: usize) -> Duration {
        let index = (self.0.len() * rank / 1_000).min(self.0.len().saturating_sub(1));
        *self.0.get(index).expect("nothing was measured")
    }

    /// The middle one.
    pub fn median(&self) -> Duration {
        *self.0.get(self.0.len() / 2).expect("nothing was measured")
    }

    /// The largest.
    pub fn max(&self) -> Duration {
        *self.0.last().expect("nothing was measured")
    }

    /// Prints them under a name.
    pub fn print(&self, name: &str) {
        let ms = |time: Duration| time.as_secs_f64() * 1e3;
        let (median, max, count) = (ms(self.median()), ms(self.max()), self.0.len());
        figure(&format!("{name}: median {median:.1} ms, max {max:.1} ms of {count}"));
    }
}
