//! Test support: data files outside the repository, reports of skipped tests, and damaged files ([`mutate`]).
//!
//! A test without its data returns early and passes, and the test harness hides the output of passing tests. Each skip is
//! therefore also appended to the file named by `LORA_SKIPS`, which `.ci/run` evaluates.

pub mod mutate;

use std::fs::OpenOptions;
use std::io::Write;
use std::panic::Location;
use std::path::PathBuf;

/// The folder of real data, `LORA_DATA`; without it the calling test is recorded as skipped.
#[track_caller]
pub fn data() -> Option<PathBuf> {
    named("LORA_DATA")
}

/// The folder of reference outputs of the original scorers, `LORA_GOLDEN`; without it the calling test is recorded as skipped.
#[track_caller]
pub fn golden() -> Option<PathBuf> {
    named("LORA_GOLDEN")
}

/// The path in an environment variable; without it the calling test is recorded as skipped.
#[track_caller]
pub fn named(variable: &str) -> Option<PathBuf> {
    let path = std::env::var_os(variable).filter(|v| !v.is_empty()).map(PathBuf::from);
    if path.is_none() {
        skipped(&format!("{variable} is not set"));
    }
    path
}

/// Records that the calling test, or a part of it, is skipped, and why.
#[track_caller]
pub fn skipped(reason: &str) {
    let thread = std::thread::current();
    let test = thread.name().unwrap_or("a test");
    let line = format!("{reason}: {test} in {}\n", Location::caller().file());
    eprint!("skipped, {line}");
    let Some(file) = std::env::var_os("LORA_SKIPS").filter(|v| !v.is_empty()) else {
        return;
    };
    let written = OpenOptions::new().create(true).append(true).open(&file);
    if let Err(e) = written.and_then(|mut file| file.write_all(line.as_bytes())) {
        eprintln!("{}: {e}", file.display());
    }
}
