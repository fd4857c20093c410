//! Where things are: the binary under test, what was installed for the tests, where logs go.

use std::env;
use std::path::{Path, PathBuf};

/// The binary under test.
pub fn antiphon() -> PathBuf {
    let named = env::var_os("ANTIPHON_BIN").map(PathBuf::from);
    let built = ["release", "debug"].map(|profile| target().join(profile).join("antiphon"));
    let found = named.into_iter().chain(built).find(|path| path.is_file());
    found.expect("no antiphon binary: run `cargo build --release`, or set ANTIPHON_BIN")
}

/// What `tests/run` installs once for a machine.
pub fn cache_dir() -> PathBuf {
    let home = env::var_os("HOME").unwrap_or_default();
    env::var_os("ANTIPHON_CACHE")
        .map_or_else(|| Path::new(&home).join(".cache").join("antiphon"), PathBuf::from)
}

/// The folder for the logs of brokers under test.
pub(crate) fn logs() -> PathBuf {
    let folder = target().join("test-logs").join("brokers");
    std::fs::create_dir_all(&folder).expect("the folder of test logs cannot be made");
    folder
}

fn target() -> PathBuf {
    let own = Path::new(env!("CARGO_MANIFEST_DIR")).join("..").join("target");
    env::var_os("CARGO_TARGET_DIR").map_or(own, PathBuf::from)
}
