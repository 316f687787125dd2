//! Downloads of models and data sets from the Hugging Face hub through the cache that Python's libraries share, and uploads of
//! models ([`Hub::upload`]).
//!
//! ```no_run
//! use datasets::hub::Hub;
//!
//! let hub = Hub::from_env()?;
//! let model = hub.model("FacebookAI/roberta-base", None)?;
//! println!("{} of commit {}", model.dir.display(), model.commit);
//! let (mrpc, source) = hub.glue(datasets::find("mrpc")?, None)?;
//! # Ok::<(), datasets::hub::HubError>(())
//! ```
//!
//! The layout of the cache is the crate hf-hub's. Its client is not used: the one of 0.5 sends the token along to the
//! hosts that large files are redirected to, compares no hashes, does not wait when the hub says so, and cannot upload. This module's
//! own client sends the token to the hub's own origin and nowhere else.

mod client;
mod error;
mod repo;
mod store;
mod upload;

use std::ffi::OsString;
use std::fmt;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use hf_hub::RepoType;
use serde_json::Value;

use crate::cache::in_home;
use crate::text::{Dataset, TextData};
use crate::{GlueData, GlueTask, glue_parquet, parquet_rows, tokenize};
use client::{Client, Listing};
pub use error::HubError;
use repo::{Repo, is_file_name};
pub use store::Progress;
use store::{Download, RepoCache};

/// The data set that [`Hub::glue`] reads.
pub const GLUE: &str = "nyu-mll/glue";

const CONFIG: &str = "config.json";
/// The end tokens of some models.
const GENERATION: &str = "generation_config.json";
/// Weights in one file, or the index of several: safetensors, else pickles (which are read without executing them).
const WEIGHTS: [[&str; 2]; 2] = [
    ["model.safetensors", "model.safetensors.index.json"],
    ["pytorch_model.bin", "pytorch_model.bin.index.json"],
];

/// The files of a PEFT adapter; its weights as safetensors or as a pickle (which is read without executing it).
const ADAPTER_CONFIG: &str = "adapter_config.json";
const ADAPTER_WEIGHTS: [&str; 2] = ["adapter_model.safetensors", "adapter_model.bin"];

/// A repository at one commit, in the cache.
#[derive(Debug, Clone, PartialEq)]
pub struct Snapshot {
    /// The folder with the downloaded files, laid out as in the repository.
    pub dir: PathBuf,
    /// `OWNER/NAME`.
    pub id: String,
    /// The commit that the revision was resolved to: 40 hex digits.
    pub commit: String,
}

/// Access to the hub.
#[derive(Clone)]
pub struct Hub {
    client: Client,
    cache: PathBuf,
    offline: bool,
    progress: Arc<dyn Fn(&Progress<'_>) + Send + Sync>,
}

impl Hub {
    /// `https://huggingface.co` without a token, with the cache in that folder.
    pub fn new(cache: impl Into<PathBuf>) -> Self {
        Self {
            client: Client::new(),
            cache: cache.into(),
            offline: false,
            progress: Arc::new(|_| ()),
        }
    }

    /// From the environment variables of Python's libraries: `HF_HUB_CACHE` (else `hub` in `HF_HOME`, else in
    /// `~/.cache/huggingface`; a leading `~` is the user's home), `HF_ENDPOINT`, `HF_TOKEN` (else the file `token` in `HF_HOME`), `HF_HUB_OFFLINE`.
    ///
    /// # Errors
    /// [`HubError::NoHome`] or [`HubError::Setting`].
    pub fn from_env() -> Result<Self, HubError> {
        Self::from_vars(|name| std::env::var_os(name), std::env::home_dir())
    }

    fn from_vars(var: impl Fn(&str) -> Option<OsString>, user: Option<PathBuf>) -> Result<Self, HubError> {
        let set = |name: &str| var(name).filter(|v| !v.is_empty());
        let text = |name: &str| set(name).map(|v| v.to_string_lossy().into_owned());
        let folder = |name: &str| set(name).map(|v| in_home(PathBuf::from(v), user.as_deref()));
        let home = folder("HF_HOME").or_else(|| {
            let caches = folder("XDG_CACHE_HOME").or_else(|| user.as_ref().map(|u| u.join(".cache")));
            caches.map(|c| c.join("huggingface"))
        });
        let cache = folder("HF_HUB_CACHE").or_else(|| home.as_ref().map(|h| h.join("hub")));
        let mut hub = Self::new(cache.ok_or(HubError::NoHome)?);
        if let Some(endpoint) = text("HF_ENDPOINT") {
            hub = hub.endpoint(&endpoint)?;
        }
        let token = match (text("HF_TOKEN"), &home) {
            (Some(token), _) => Some(token),
            (None, Some(home)) => token_file(&home.join("token")),
            (None, None) => None,
        };
        let truth = ["1", "on", "yes", "true"];
        let offline = text("HF_HUB_OFFLINE").is_some_and(|v| truth.contains(&v.to_ascii_lowercase().as_str()));
        Ok(hub.token(token.as_deref())?.offline(offline))
    }

    /// The folder that downloads are kept in.
    pub fn folder(&self) -> &Path {
        &self.cache
    }

    /// Whether to work from the cache alone.
    #[must_use]
    pub fn offline(mut self, offline: bool) -> Self {
        self.offline = offline;
        self
    }

    /// Another address of the hub, such as a mirror's.
    ///
    /// # Errors
    /// [`HubError::Setting`].
    pub fn endpoint(mut self, endpoint: &str) -> Result<Self, HubError> {
        self.client.set_endpoint(endpoint)?;
        Ok(self)
    }

    /// The token to send to the endpoint, and to no other host. Empty is none.
    ///
    /// # Errors
    /// [`HubError::Setting`], without the token.
    pub fn token(mut self, token: Option<&str>) -> Result<Self, HubError> {
        self.client.set_token(token)?;
        Ok(self)
    }

    /// Where the files are kept.
    #[must_use]
    pub fn cache(mut self, cache: impl Into<PathBuf>) -> Self {
        self.cache = cache.into();
        self
    }

    /// Callback for the progress of downloads: called before the first byte of a file and after each chunk.
    #[must_use]
    pub fn progress(mut self, report: impl Fn(&Progress<'_>) + Send + Sync + 'static) -> Self {
        self.progress = Arc::new(report);
        self
    }

    /// Callback that replaces sleeping between attempts.
    #[must_use]
    pub fn wait_by(mut self, wait: impl Fn(Duration) + Send + Sync + 'static) -> Self {
        self.client.set_wait(wait);
        self
    }

    /// A model's folder: its configuration, the tokenizer files that it has, and its weights as safetensors, or, where it has
    /// none, as pickles, in one file or sharded. `revision` is a branch, a tag or a commit; none is `main`.
    ///
    /// While the hub cannot be reached, a whole model in the cache is taken as it is, with a warning.
    ///
    /// # Errors
    /// Any [`HubError`] but `Data`. The cache never contains incomplete files; completed downloads stay.
    pub fn model(&self, id: &str, revision: Option<&str>) -> Result<Snapshot, HubError> {
        let repo = Repo::new(RepoType::Model, id, revision)?;
        self.snapshot(&repo, |listing| self.bring_model(&repo, listing), missing_of_model)
    }

    /// The folder of a PEFT adapter: its configuration and its weights. `revision` as in [`Hub::model`].
    ///
    /// # Errors
    /// Any [`HubError`] but `Data`.
    pub fn adapter(&self, id: &str, revision: Option<&str>) -> Result<Snapshot, HubError> {
        let repo = Repo::new(RepoType::Model, id, revision)?;
        let weights = |has: &dyn Fn(&str) -> bool| ADAPTER_WEIGHTS.into_iter().find(|file| has(file));
        let bring = |listing: &Listing| {
            let has = |file: &str| listing.files.iter().any(|f| f == file);
            let weights = weights(&has).ok_or_else(|| no_file(&repo, ADAPTER_WEIGHTS[0]))?;
            let config = Some(ADAPTER_CONFIG).filter(|file| has(file));
            let config = config.ok_or_else(|| no_file(&repo, ADAPTER_CONFIG))?;
            [config, weights]
                .iter()
                .try_for_each(|file| self.bring(&repo, listing, file))
        };
        let missing = |dir: &Path| {
            let has = |file: &str| dir.join(file).is_file();
            let wanted = [
                (has(ADAPTER_CONFIG), ADAPTER_CONFIG),
                (weights(&has).is_some(), ADAPTER_WEIGHTS[0]),
            ];
            Ok(wanted
                .iter()
                .find(|(there, _)| !there)
                .map(|(_, file)| (*file).to_owned()))
        };
        self.snapshot(&repo, bring, missing)
    }

    /// A GLUE task from the data set [`GLUE`], with the snapshot that it was read from.
    ///
    /// # Errors
    /// Any [`HubError`]; `Data` if the files are not what the task needs.
    pub fn glue(&self, task: &'static GlueTask, revision: Option<&str>) -> Result<(GlueData, Snapshot), HubError> {
        let repo = Repo::new(RepoType::Dataset, GLUE, revision)?;
        let files = |names: &[String]| glue_parquet::files(task, names.iter().map(String::as_str));
        let snapshot = self.data_set(&repo, files, |dir| glue_parquet::names(task, dir))?;
        let data = glue_parquet::load(task, &snapshot.dir)?;
        Ok((data, snapshot))
    }

    /// Splits of a data set of texts, with the snapshot that they were read from. `revision` is a branch of parquet files
    /// or a commit of one; none is the data set's own ([`crate::text::HubFiles`]). `template` as in [`Dataset::load`].
    ///
    /// # Errors
    /// Any [`HubError`]; `Data` if the files are not what the data set needs.
    pub fn texts(
        &self,
        dataset: &'static Dataset,
        splits: &[&str],
        template: Option<&str>,
        revision: Option<&str>,
    ) -> Result<(TextData, Snapshot), HubError> {
        let revision = revision.unwrap_or(dataset.hub.revision);
        let repo = Repo::new(RepoType::Dataset, dataset.hub.id, Some(revision))?;
        let files = |names: &[String]| dataset.hub_files(splits, names);
        let snapshot = self.data_set(&repo, files, parquet_rows::names)?;
        let data = dataset.load_snapshot(&snapshot.dir, splits, template)?;
        Ok((data, snapshot))
    }

    /// A snapshot with those of a data set's files that `files` picks of all names, or it names one that is missing;
    /// `names` lists what a folder has.
    fn data_set(
        &self,
        repo: &Repo,
        files: impl Fn(&[String]) -> Result<Vec<String>, String>,
        names: impl Fn(&Path) -> Vec<String>,
    ) -> Result<Snapshot, HubError> {
        let bring = |listing: &Listing| {
            let files = files(&listing.files).map_err(|file| no_file(repo, &file))?;
            files.iter().try_for_each(|file| self.bring(repo, listing, file))
        };
        let missing = |dir: &Path| Ok(files(&names(dir)).err());
        let snapshot = self.snapshot(repo, bring, missing)?;
        let store = RepoCache::new(&self.cache, repo);
        let there = files(&names(&snapshot.dir)).map_err(|file| no_file(repo, &file))?;
        there.iter().try_for_each(|file| store.check(&snapshot.commit, file))?;
        Ok(snapshot)
    }

    /// Downloads by `bring`, or finds a cached snapshot of which nothing is `missing`.
    fn snapshot(
        &self,
        repo: &Repo,
        bring: impl Fn(&Listing) -> Result<(), HubError>,
        missing: impl Fn(&Path) -> Result<Option<String>, HubError>,
    ) -> Result<Snapshot, HubError> {
        if self.offline {
            return self.cached(repo, missing);
        }
        let listing = match self.client.listing(repo) {
            Ok(listing) => listing,
            Err(error) if error.is_outage() => {
                let Ok(snapshot) = self.cached(repo, missing) else {
                    return Err(error);
                };
                let (commit, revision) = (&snapshot.commit, repo.revision());
                tracing::warn!(
                    "{error}; going on with commit {commit} from the cache, revision \"{revision}\" when last asked for"
                );
                return Ok(snapshot);
            }
            Err(error) => return Err(error),
        };
        bring(&listing)?;
        let store = RepoCache::new(&self.cache, repo);
        // Last, so that the revision never resolves to an incomplete snapshot.
        store.set_commit(&listing.commit)?;
        Ok(Snapshot {
            dir: store.snapshot(&listing.commit),
            id: repo.id().to_owned(),
            commit: listing.commit,
        })
    }

    fn cached(
        &self,
        repo: &Repo,
        missing: impl Fn(&Path) -> Result<Option<String>, HubError>,
    ) -> Result<Snapshot, HubError> {
        let not_cached = |file: String| HubError::NotCached {
            repo: repo.to_string(),
            revision: repo.revision().to_owned(),
            file,
            cache: self.cache.clone(),
        };
        let store = RepoCache::new(&self.cache, repo);
        let commit = store
            .known_commit()
            .ok_or_else(|| not_cached("the revision".to_owned()))?;
        let dir = store.snapshot(&commit);
        match missing(&dir)? {
            Some(file) => Err(not_cached(file)),
            None => Ok(Snapshot {
                dir,
                id: repo.id().to_owned(),
                commit,
            }),
        }
    }

    fn bring_model(&self, repo: &Repo, listing: &Listing) -> Result<(), HubError> {
        let has = |file: &str| listing.files.iter().any(|f| f == file);
        if !has(CONFIG) {
            return Err(no_file(repo, CONFIG));
        }
        let weights = WEIGHTS.as_flattened().iter().find(|file| has(file));
        let weights = weights.ok_or_else(|| no_file(repo, WEIGHTS[0][0]))?;
        // Weights last: if they are complete, everything is.
        let small = [CONFIG, GENERATION];
        let small = small.iter().chain(tokenize::FILES).filter(|f| has(f));
        small
            .chain([weights])
            .try_for_each(|file| self.bring(repo, listing, file))?;
        if !is_index(weights) {
            return Ok(());
        }
        let dir = RepoCache::new(&self.cache, repo).snapshot(&listing.commit);
        let shards = shards(&dir.join(weights))?;
        match shards.iter().find(|s| !has(s)) {
            Some(shard) => Err(no_file(repo, shard)),
            None => shards.iter().try_for_each(|shard| self.bring(repo, listing, shard)),
        }
    }

    fn bring(&self, repo: &Repo, listing: &Listing, file: &str) -> Result<(), HubError> {
        RepoCache::new(&self.cache, repo).fetch(&Download {
            client: &self.client,
            commit: &listing.commit,
            file,
            progress: &*self.progress,
        })
    }
}

/// Without the token.
impl fmt::Debug for Hub {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Hub")
            .field("endpoint", &self.client.endpoint())
            .field("cache", &self.cache)
            .field("offline", &self.offline)
            .finish_non_exhaustive()
    }
}

/// One that cannot be read is not needed for most of the hub.
fn token_file(path: &Path) -> Option<String> {
    let token = std::fs::read_to_string(path);
    if let Err(e) = &token
        && e.kind() != std::io::ErrorKind::NotFound
    {
        tracing::warn!("{}: cannot be read ({e}); going on without a token", path.display());
    }
    token.ok()
}

fn no_file(repo: &Repo, file: &str) -> HubError {
    HubError::NoFile {
        repo: repo.to_string(),
        revision: repo.revision().to_owned(),
        file: file.to_owned(),
    }
}

/// The first file that a model's snapshot lacks.
fn missing_of_model(dir: &Path) -> Result<Option<String>, HubError> {
    let lacks = |file: &str| !dir.join(file).is_file();
    if lacks(CONFIG) {
        return Ok(Some(CONFIG.to_owned()));
    }
    match WEIGHTS.as_flattened().iter().find(|file| !lacks(file)) {
        None => Ok(Some(WEIGHTS[0][0].to_owned())),
        Some(index) if is_index(index) => Ok(shards(&dir.join(index))?.into_iter().find(|s| lacks(s))),
        Some(_) => Ok(None),
    }
}

fn is_index(file: &str) -> bool {
    file.ends_with(".index.json")
}

/// The files that an index of weights names, sorted, each of them beside the index.
fn shards(index: &Path) -> Result<Vec<String>, HubError> {
    let bad = |problem: String| HubError::Index {
        path: index.to_path_buf(),
        problem,
    };
    let bytes = std::fs::read(index).map_err(HubError::io(index, "read"))?;
    let json: Value = serde_json::from_slice(&bytes).map_err(|e| bad(format!("not JSON: {e}")))?;
    let map = json.get("weight_map").and_then(Value::as_object);
    let map = map.filter(|m| !m.is_empty());
    let map = map.ok_or_else(|| bad("no \"weight_map\" from tensors to files".to_owned()))?;
    let mut files = std::collections::BTreeSet::new();
    let pickles = index.file_name().is_some_and(|name| name == WEIGHTS[1][1]);
    let (ending, what) = if pickles {
        (".bin", "pickle")
    } else {
        (".safetensors", "safetensors file")
    };
    for (tensor, file) in map {
        match file.as_str() {
            Some(name) if is_file_name(name) && name.ends_with(ending) => files.insert(name.to_owned()),
            _ => {
                return Err(bad(format!(
                    "tensor \"{tensor}\" is said to be in {file}, which is no {what} beside the index; distrust this repository"
                )));
            }
        };
    }
    Ok(files.into_iter().collect())
}

#[cfg(test)]
mod tests;
