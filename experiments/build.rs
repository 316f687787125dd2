//! Gives the programs a run path to libtorch, and notes which commit they are built from: a record must name the sources that
//! computed it, not those that lie in the checkout when it runs.
#![allow(clippy::print_stdout)] // cargo reads what a build script prints.

use std::env;
use std::process::Command;

/// What a program is made of; published results are not.
const SOURCES: [&str; 9] = [
    "Cargo.toml",
    "Cargo.lock",
    ".cargo",
    "lora-core",
    "datasets/src",
    "experiments",
    "results/src",
    "results/paper",
    "results/Cargo.toml",
];

fn main() {
    if let Ok(lib) = env::var("DEP_LORA_NATIVE_LIBTORCH_LIB") {
        println!("cargo:rustc-link-arg=-Wl,-rpath,{lib}");
    }
    for source in SOURCES {
        println!("cargo:rerun-if-changed=../{source}");
    }
    let commit = git(&["rev-parse", "HEAD"]).unwrap_or_default();
    // Where HEAD and the branch lie; in a worktree that is not ../.git.
    for name in ["HEAD", "logs/HEAD"] {
        if let Some(path) = git(&["rev-parse", "--git-path", name]) {
            println!("cargo:rerun-if-changed={path}");
        }
    }
    let mut status = vec!["status", "--porcelain", "--untracked-files=no", "--"];
    let above = SOURCES.map(|s| format!(":/{s}"));
    status.extend(above.iter().map(String::as_str));
    let changed = git(&status).is_some_and(|list| !list.is_empty());
    println!("cargo:rustc-env=BUILT_FROM_COMMIT={commit}");
    println!("cargo:rustc-env=BUILT_FROM_CHANGED={changed}");
}

/// What git says, if there is git and a repository.
fn git(args: &[&str]) -> Option<String> {
    let output = Command::new("git").args(args).output().ok()?;
    let said = String::from_utf8_lossy(&output.stdout).trim().to_string();
    output.status.success().then_some(said)
}
