//! A broker's `/metrics` page in Prometheus' text format, read over HTTP/1.1 without a library: one
//! request, one answer, close.

use std::io::{self, Read, Write};
use std::net::TcpStream;
use std::time::Duration;

const TIMEOUT: Duration = Duration::from_secs(5);
/// A page larger than this is not a broker's.
const PAGE_BYTES_MAX: u64 = 16 << 20;

/// Reads of history from the bucket.
pub(crate) const HISTORY_GETS: &str = "antiphon_history_gets_total";
/// Bytes that those reads returned.
pub(crate) const HISTORY_READ_BYTES: &str = "antiphon_history_read_bytes_total";
/// Bytes that are durable on the broker's disk and not in the bucket yet.
pub(crate) const UNFLUSHED_BYTES: &str = "antiphon_unflushed_bytes";
/// Merges of history that are due or running.
pub(crate) const MERGE_QUEUE: &str = "antiphon_merge_queue";
/// Memory that the broker may use, one figure for each of its large budgets.
pub(crate) const MEMORY_BUDGETS: [&str; 5] = [
    "antiphon_tail_limit_bytes",
    "antiphon_tail_cache_limit_bytes",
    "antiphon_request_limit_bytes",
    "antiphon_response_limit_bytes",
    "antiphon_history_cache_limit_bytes",
];

/// Where a page is.
#[derive(Clone, Debug)]
pub(crate) struct MetricsUrl {
    address: String,
    path: String,
}

impl MetricsUrl {
    /// `http://HOST:PORT[/PATH]`; the path is `/metrics` by default.
    pub(crate) fn parse(text: &str) -> Result<Self, String> {
        let rest = text.strip_prefix("http://").ok_or("expected http://HOST:PORT/metrics")?;
        let (address, path) = rest.split_once('/').unwrap_or((rest, "metrics"));
        Ok(Self { address: address.into(), path: format!("/{path}") })
    }

    /// The page as it is now.
    pub(crate) fn fetch(&self) -> io::Result<Page> {
        let mut stream = TcpStream::connect(&self.address)?;
        stream.set_read_timeout(Some(TIMEOUT))?;
        let (path, host) = (&self.path, &self.address);
        write!(stream, "GET {path} HTTP/1.1\r\nHost: {host}\r\nConnection: close\r\n\r\n")?;
        let mut text = String::new();
        stream.take(PAGE_BYTES_MAX).read_to_string(&mut text)?;
        let ok = text.split_ascii_whitespace().nth(1) == Some("200");
        if ok { Ok(Page(text)) } else { Err(io::Error::other("no metrics page there")) }
    }
}

/// A page, headers and all: no header looks like a sample of ours.
#[derive(Debug)]
pub(crate) struct Page(String);

impl Page {
    /// The sum of all samples of `name`, whatever their labels; `None` when there is none.
    pub(crate) fn value(&self, name: &str) -> Option<f64> {
        let samples = self.0.lines().filter_map(|line| sample(line, name));
        samples.fold(None, |sum, value| Some(sum.unwrap_or(0.0) + value))
    }

    /// All of `names` together; `None` when one of them is missing.
    pub(crate) fn sum(&self, names: &[&str]) -> Option<f64> {
        names.iter().map(|name| self.value(name)).sum()
    }
}

fn sample(line: &str, name: &str) -> Option<f64> {
    let rest = line.strip_prefix(name)?;
    let value = match rest.strip_prefix('{') {
        Some(labels) => labels.rsplit_once('}')?.1,
        None => rest.strip_prefix(' ')?,
    };
    value.split_ascii_whitespace().next()?.parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn samples_are_found_by_their_whole_name_and_summed_over_labels() {
        let page =
            Page("# TYPE a counter\na_total{x=\"1\"} 3\na_total{x=\"} 2\"} 4\na 9\nab 1\n".into());
        assert_eq!(page.value("a_total"), Some(7.0));
        assert_eq!((page.value("a"), page.value("b")), (Some(9.0), None));
        assert_eq!((page.sum(&["a", "ab"]), page.sum(&["a", "b"])), (Some(10.0), None));
    }

    #[test]
    fn an_address_without_a_path_means_metrics() {
        let url = MetricsUrl::parse("http://h:1").unwrap();
        assert_eq!((&*url.address, &*url.path), ("h:1", "/metrics"));
        assert!(MetricsUrl::parse("h:1").is_err());
    }
}
