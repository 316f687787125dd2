//! The hub against a stand-in on localhost: models, refusals and failures, GLUE.

#![allow(missing_docs)]

#[path = "../stand_in/mod.rs"]
mod stand_in;

mod failures;
mod glue;
mod models;
mod refusals;

use std::path::Path;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use datasets::hub::Hub;
use stand_in::StandIn;
use tempfile::TempDir;

pub const FIRST: &str = "1111111111111111111111111111111111111111";
pub const SECOND: &str = "2222222222222222222222222222222222222222";
pub const ID: &str = "owner/tiny";
pub const REPO: &str = "models/owner/tiny";
pub const WEIGHTS: &[u8] = &[7; 300_000];
pub const MODEL: &[(&str, &[u8])] = &[
    ("README.md", b"# Tiny"),
    ("config.json", b"{}"),
    ("tokenizer.json", b"{\"model\": {}}"),
    ("vocab.txt", b"[PAD]\n"),
    ("model.safetensors", WEIGHTS),
    ("pytorch_model.bin", b"pickle"),
];

/// A hub, a cold cache, and a client that notes its waits instead of sleeping.
pub struct Bench {
    pub stand_in: StandIn,
    pub cache: TempDir,
    pub hub: Hub,
    waits: Arc<Mutex<Vec<u64>>>,
}

impl Bench {
    pub fn new() -> Self {
        let stand_in = StandIn::start();
        let cache = tempfile::tempdir().unwrap();
        let waits = Arc::<Mutex<Vec<u64>>>::default();
        let note = {
            let waits = waits.clone();
            move |pause: Duration| waits.lock().unwrap().push(pause.as_secs())
        };
        let hub = Hub::new(cache.path())
            .endpoint(&stand_in.endpoint())
            .unwrap()
            .wait_by(note);
        Self {
            stand_in,
            cache,
            hub,
            waits,
        }
    }

    /// With [`MODEL`] as `main` of [`REPO`].
    pub fn with_model() -> Self {
        let bench = Self::new();
        bench.stand_in.commit(REPO, "main", FIRST, MODEL);
        bench
    }

    /// Seconds that the client waited, wait for wait.
    pub fn waits(&self) -> Vec<u64> {
        self.waits.lock().unwrap().clone()
    }

    /// Names of the blobs that are there, parts included.
    pub fn blobs(&self) -> Vec<String> {
        names(&self.cache.path().join("models--owner--tiny/blobs"))
    }
}

pub fn names(dir: &Path) -> Vec<String> {
    let Ok(entries) = std::fs::read_dir(dir) else {
        return Vec::new();
    };
    let mut names: Vec<String> = entries.map(|e| e.unwrap().file_name().into_string().unwrap()).collect();
    names.sort();
    names
}
