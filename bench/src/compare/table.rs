//! A comparison as Markdown, which is also what the terminal shows.

use std::fmt::Write;

use serde_json::Value;

use super::{Comparison, Row, Spread};
use crate::report::round;

impl Comparison {
    /// Title, table, problems, facts.
    pub(crate) fn markdown(&self) -> String {
        let mut text = format!("# {} compared with {}\n\n", self.subject, self.peer);
        let (subject, peer) = (&self.subject, &self.peer);
        let _ = writeln!(text, "Median of the rounds (min..max).\n");
        let _ =
            writeln!(text, "| workload | metric | {subject} | {peer} | ratio | bar | verdict |");
        let _ = writeln!(text, "|---|---|---|---|---|---|---|");
        self.rows.iter().for_each(|row| text.push_str(&line(row)));
        write_problems(&mut text, &self.problems);
        write_facts(&mut text, &self.facts);
        text
    }
}

/// A section of problems, unless there are none.
pub(crate) fn write_problems(text: &mut String, problems: &[String]) {
    if !problems.is_empty() {
        let _ = writeln!(text, "\n## Problems\n");
        problems.iter().for_each(|problem| text.push_str(&format!("- {problem}\n")));
    }
}

/// A section of facts, unless there are none.
pub(crate) fn write_facts(text: &mut String, facts: &Value) {
    let Value::Object(facts) = facts else { return };
    let _ = writeln!(text, "\n## Facts\n");
    for (name, value) in facts {
        let value = value.as_str().map_or_else(|| value.to_string(), str::to_owned);
        let _ = writeln!(text, "- {name}: {value}");
    }
}

fn line(row: &Row) -> String {
    let dash = || "-".to_string();
    let verdict = row.pass.map_or_else(dash, |pass| if pass { "pass" } else { "MISS" }.into());
    let ratio = row.ratio.map_or_else(dash, |ratio| format!("{ratio:.2}x"));
    let bar = row.bar.clone().unwrap_or_else(dash);
    let (subject, peer) = (cell(row.subject), cell(row.peer));
    let (workload, metric) = (&row.workload, row.metric);
    format!("| {workload} | {metric} | {subject} | {peer} | {ratio} | {bar} | {verdict} |\n")
}

/// Median and extremes, as short as they allow.
pub(crate) fn cell(spread: Option<Spread>) -> String {
    match spread {
        Some(Spread { median, min, max }) if min == max => round(median),
        Some(Spread { median, min, max }) => {
            format!("{} ({}..{})", round(median), round(min), round(max))
        }
        None => "-".into(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_row_shows_spread_ratio_and_verdict() {
        let spread = |median| Some(Spread { median, min: median - 1.0, max: median + 1.0 });
        let row = Row {
            workload: "p1".into(),
            metric: "throughput_mib_s",
            subject: spread(120.0),
            peer: spread(100.0),
            ratio: Some(1.2),
            bar: Some(">= 1x".into()),
            pass: Some(true),
        };
        let expected =
            "| p1 | throughput_mib_s | 120 (119..121) | 100 (99..101) | 1.20x | >= 1x | pass |\n";
        assert_eq!(line(&row), expected);
    }
}
