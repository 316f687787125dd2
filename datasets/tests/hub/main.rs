//! The hub against a stand-in on localhost: models, refusals and failures, GLUE.

#[path = "../stand_in/mod.rs"]
mod stand_in;

mod damage;
mod failures;
mod glue;
mod models;
mod refusals;
mod texts;
mod upload;

use std::path::Path;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use datasets::hub::Hub;
use stand_in::StandIn;
use tempfile::TempDir;

const FIRST: &str = "1111111111111111111111111111111111111111";
const SECOND: &str = "2222222222222222222222222222222222222222";
const ID: &str = "owner/tiny";
const REPO: &str = "models/owner/tiny";
const WEIGHTS: &[u8] = &[7; 300_000];
const MODEL: &[(&str, &[u8])] = &[
    ("README.md", b"# Tiny"),
    ("config.json", b"{}"),
    ("tokenizer.json", b"{\"model\": {}}"),
    ("vocab.txt", b"[PAD]\n"),
    ("model.safetensors", WEIGHTS),
    ("pytorch_model.bin", b"pickle"),
];

/// A hub, a cold cache, and a client that notes its waits instead of sleeping.
struct Bench {
    stand_in: StandIn,
    cache: TempDir,
    hub: Hub,
    waits: Arc<Mutex<Vec<u64>>>,
}

impl Bench {
    fn new() -> Self {
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
    fn with_model() -> Self {
        let bench = Self::new();
        bench.stand_in.commit(REPO, "main", FIRST, MODEL);
        bench
    }

    /// Seconds that the client waited, wait for wait.
    fn waits(&self) -> Vec<u64> {
        self.waits.lock().unwrap().clone()
    }

    /// Names of the blobs that are there, parts included.
    fn blobs(&self) -> Vec<String> {
        names(&self.cache.path().join("models--owner--tiny/blobs"))
    }
}

fn names(dir: &Path) -> Vec<String> {
    let Ok(entries) = std::fs::read_dir(dir) else {
        return Vec::new();
    };
    let mut names: Vec<String> = entries.map(|e| e.unwrap().file_name().into_string().unwrap()).collect();
    names.sort();
    names
}
