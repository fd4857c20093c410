//! Golden transcripts: each file under `transcripts/` is a conversation with one shard. Lines that
//! begin with `>` are run; what the shard does must be the `<` lines that follow.
//!
//! After a change of behaviour that is meant, write them anew with
//! `UPDATE_TRANSCRIPTS=1 cargo test -p antiphon-coordinator --test transcripts`, and read the diff.

mod support;

use std::fs;
use std::path::{Path, PathBuf};

use antiphon_coordinator::GroupOptions;
use support::{World, script};

fn transcripts() -> Vec<PathBuf> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/transcripts");
    let entries = fs::read_dir(folder).expect("the folder of transcripts");
    let paths = entries.map(|entry| entry.expect("a readable folder").path());
    let mut paths: Vec<PathBuf> =
        paths.filter(|path| path.extension().is_some_and(|end| end == "txt")).collect();
    paths.sort();
    paths
}

/// The transcript as it really goes: everything but the `<` lines as it stands in the file.
fn perform(text: &str) -> String {
    let mut world = World::new(GroupOptions::default());
    let mut performed = String::new();
    for line in text.lines().filter(|line| !line.starts_with('<')) {
        performed.push_str(line);
        performed.push('\n');
        if let Some(request) = line.strip_prefix("> ") {
            for effect in script::run(&mut world, request) {
                performed.push_str(&format!("< {effect}\n"));
            }
        }
    }
    performed
}

fn first_difference(expected: &str, actual: &str) -> String {
    let lines =
        expected.lines().chain(std::iter::repeat("(end)")).zip(actual.lines().chain(["(end)"]));
    let different = lines.enumerate().find(|(_, (expected, actual))| expected != actual);
    different.map_or_else(String::new, |(index, (expected, actual))| {
        format!("line {}\n  expected {expected}\n  actual   {actual}", index + 1)
    })
}

#[test]
fn conversations_go_as_written() {
    let update = std::env::var_os("UPDATE_TRANSCRIPTS").is_some();
    let paths = transcripts();
    assert!(paths.len() >= 11, "transcripts are missing");
    for path in paths {
        let expected = fs::read_to_string(&path).expect("a readable transcript");
        let actual = perform(&expected);
        if update {
            fs::write(&path, &actual).expect("a writable transcript");
        } else {
            let difference = first_difference(&expected, &actual);
            assert_eq!(difference, "", "{}: {difference}", path.display());
        }
    }
}
