//! Where the bucket is, as the operator writes it.

use std::fmt;
use std::path::PathBuf;
use std::str::FromStr;

use object_store::path::Path;

use super::error::ParseStoreUrlError;

/// A parsed `--store` value.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum StoreUrl {
    /// `file:///absolute/folder` or `file://relative/folder`.
    File(PathBuf),
    /// `s3://bucket` or `s3://bucket/prefix`; endpoint and credentials come from `AWS_*`.
    S3 {
        /// The bucket's name.
        bucket: String,
        /// What every key starts with; empty for the whole bucket.
        prefix: Path,
    },
    /// `memory://`: gone when the process ends.
    Memory,
}

impl FromStr for StoreUrl {
    type Err = ParseStoreUrlError;

    /// Hand-made and not by a URL library: RFC 8089 would read the first segment of
    /// `file://relative/folder` as a host and percent-decode folder names that were meant
    /// literally.
    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let refuse = |reason| ParseStoreUrlError { url: text.to_owned(), reason };
        let (scheme, rest) = text
            .split_once("://")
            .ok_or_else(|| refuse("it has no scheme; write file://, s3:// or memory://"))?;
        match scheme {
            "file" if rest.is_empty() => Err(refuse("it names no folder")),
            "file" => Ok(Self::File(PathBuf::from(rest))),
            "s3" => s3(rest).map_err(refuse),
            "memory" if rest.is_empty() => Ok(Self::Memory),
            "memory" => Err(refuse("memory:// takes no path")),
            _ => Err(refuse("its scheme is none of file, s3 and memory")),
        }
    }
}

fn s3(rest: &str) -> Result<StoreUrl, &'static str> {
    let (bucket, prefix) = rest.split_once('/').unwrap_or((rest, ""));
    // The characters S3 allows in bucket names; in particular nothing that could end the host part
    // of an endpoint ('@', ':', '?', '#').
    let allowed = |c: char| c.is_ascii_alphanumeric() || matches!(c, '.' | '-' | '_');
    if bucket.is_empty() || !bucket.chars().all(allowed) {
        return Err("it names no bucket, or one with characters that S3 does not allow");
    }
    let prefix = Path::parse(prefix.trim_end_matches('/'))
        .map_err(|_| "its prefix has empty, '.' or '..' segments, or control characters")?;
    Ok(StoreUrl::S3 { bucket: bucket.to_owned(), prefix })
}

impl fmt::Display for StoreUrl {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::File(folder) => write!(f, "file://{}", folder.display()),
            Self::S3 { bucket, prefix } if prefix.as_ref().is_empty() => write!(f, "s3://{bucket}"),
            Self::S3 { bucket, prefix } => write!(f, "s3://{bucket}/{prefix}"),
            Self::Memory => f.write_str("memory://"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(text: &str) -> Result<StoreUrl, ParseStoreUrlError> {
        text.parse()
    }

    #[test]
    fn what_is_printed_is_what_was_parsed() {
        for text in ["file:///var/lib/a", "file://data/x y", "s3://b", "s3://b/p/q", "memory://"] {
            assert_eq!(parse(text).map(|url| url.to_string()).as_deref(), Ok(text));
        }
    }

    #[test]
    fn a_trailing_slash_changes_nothing() {
        assert_eq!(parse("s3://b/p/"), parse("s3://b/p"));
        assert_eq!(parse("s3://b/"), parse("s3://b"));
    }

    #[test]
    fn what_cannot_be_meant_is_refused() {
        let refused = ["", "/data", "file://", "s3://", "s3:///p", "s3://b@h/p", "s3://b/../c"];
        for text in refused.into_iter().chain(["memory://x", "http://h/b", "gs://b"]) {
            assert!(parse(text).is_err(), "{text:?} was accepted");
        }
    }
}
