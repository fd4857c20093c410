//! What a broker logged, and which of it a test has to expect.

use std::fs;
use std::path::{Path, PathBuf};

/// A broker's log over all its runs.
#[derive(Clone, Debug)]
pub struct Journal {
    path: PathBuf,
    allowed: Vec<String>,
}

impl Journal {
    pub(crate) fn new(path: PathBuf, allowed: Vec<String>) -> Self {
        Self { path, allowed }
    }

    /// The file.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// Everything so far.
    pub fn text(&self) -> String {
        fs::read_to_string(&self.path).unwrap_or_default()
    }

    /// Lines that contain `part`.
    pub fn count(&self, part: &str) -> usize {
        self.text().lines().filter(|line| line.contains(part)).count()
    }

    /// Warnings, errors and panics that the test did not say it expects.
    pub fn unexpected(&self) -> Vec<String> {
        let is_bad =
            |line: &&str| ["ERROR ", "WARN ", "panicked at"].iter().any(|mark| line.contains(mark));
        let is_allowed = |line: &str| self.allowed.iter().any(|part| line.contains(part));
        let text = self.text();
        let bad = text.lines().filter(is_bad).filter(|line| !is_allowed(line));
        bad.map(str::to_owned).collect()
    }

    /// The last lines, for a failed test.
    pub(crate) fn tail(&self, lines: usize) -> String {
        let text = self.text();
        let all: Vec<&str> = text.lines().collect();
        all[all.len().saturating_sub(lines)..].join("\n")
    }
}
