//! Coverage-guided fuzzing of every decoder that we wrote by hand, on stable Rust: see `README.md`.
//!
//! ```text
//!   run  ->  one binary, told by $ANTIPHON_FUZZ_TARGET what to fuzz
//!              targets/   one function per decoder: bytes in, a panic if a promise is broken
//!              seeds.rs   valid inputs to start from, made by our own encoders
//! ```

#![no_main]

mod allocator;
mod seeds;
mod targets;

use std::path::Path;
use std::sync::OnceLock;

use targets::Target;

static TARGET: OnceLock<Target> = OnceLock::new();

/// Chooses the target, and writes its seeds to `$ANTIPHON_FUZZ_SEEDS`, if that is set. Without a
/// target it prints the names of all of them.
fn prepare() {
    let Ok(wanted) = std::env::var("ANTIPHON_FUZZ_TARGET") else {
        targets::ALL.iter().for_each(|target| println!("{}", target.name));
        std::process::exit(0);
    };
    let target = targets::ALL.iter().find(|target| target.name == wanted);
    let target = target.unwrap_or_else(|| panic!("there is no target `{wanted}`"));
    if let Ok(folder) = std::env::var("ANTIPHON_FUZZ_SEEDS") {
        for (number, seed) in (target.seeds)().iter().enumerate() {
            let path = Path::new(&folder).join(format!("seed-{number:03}"));
            std::fs::write(path, seed).expect("the folder of seeds is writable");
        }
    }
    TARGET.get_or_init(|| *target);
}

libfuzzer_sys::fuzz_target!(
    init: prepare(),
    |data: &[u8]| {
        if let Some(target) = TARGET.get() {
            (target.run)(data);
        }
    }
);
