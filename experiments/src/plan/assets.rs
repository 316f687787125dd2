//! Model and data of an experiment, read once: the hash of the weights, the tokenizer, and each task's rows.

use crate::config::identity::Contents;
use crate::config::run_config::RunConfig;
use crate::inputs::embedded::PREFIX;
use crate::inputs::locator::{DataChoices, DataSource, ModelSource, NO_MODEL};
use crate::task::{DataKey, DataReader, Task, TaskRows};
use anyhow::{Context, Result, ensure};
use datasets::Tokenizer;
use datasets::cache::Cache;
use lora_core::weights::Weights;
use std::collections::HashMap;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::SystemTime;

/// Model and data of an experiment.
pub struct Assets {
    /// The model folder.
    pub model: PathBuf,
    /// SHA-256 of its weights.
    pub weights_sha256: String,
    /// SHA-256 of the keys of its config.json that are read.
    pub config_sha256: String,
    /// Repository and commit, for a model from the hub.
    pub source: Option<String>,
    /// The files that were hashed, each with its size and the time of its last change.
    hashed: Vec<(PathBuf, u64, SystemTime)>,
    data: DataSource,
    tokenizer: Tokenizer,
    ends: Vec<u32>,
    cache: Option<Cache>,
    tasks: HashMap<DataKey, Arc<TaskRows>>,
}

impl Assets {
    /// The model's folder where nothing else names it: a record has the name that tables use, `name`, which finds a model that is
    /// embedded or of the hub.
    pub fn named_by_folder(&self, name: &str) -> Option<&Path> {
        (self.source.is_none() && !name.starts_with(PREFIX)).then_some(&self.model)
    }

    /// Opens the model and locates the data, which are read task by task in [`Assets::rows`].
    ///
    /// # Errors
    /// Sources that are not named; a model folder without weights, configuration or tokenizer.
    pub fn open(choices: &DataChoices, model: Option<&str>, data: Option<&str>, quiet: bool) -> Result<Assets> {
        let model = ModelSource::parse(model.context(NO_MODEL)?, quiet)?;
        let data = data.with_context(|| format!("no data are named; give --data DIR, {}", choices.folder))?;
        let data = DataSource::parse(data, choices, quiet)?;
        let (model, source) = model.folder()?;
        let model = model.as_path();
        let config = lora_core::model::read_config(model)?;
        lora_core::model::arch(&config).with_context(|| format!("the model {}", model.display()))?;
        let weights = Weights::open(model)?;
        let files = weights.paths().map(Path::to_owned);
        let hashed = files
            .chain([model.join("config.json")])
            .map(stamped)
            .collect::<Result<_>>()?;
        let weights_sha256 = weights.sha256()?;
        let config_sha256 = lora_core::model::config_sha256(model)?;
        let tokenizer = Tokenizer::from_dir(model)?;
        let ends = lora_core::model::end_tokens(model)?;
        let ends = ends.into_iter().filter_map(|id| u32::try_from(id).ok()).collect();
        Ok(Assets {
            model: model.into(),
            weights_sha256,
            config_sha256,
            source,
            hashed,
            data,
            tokenizer,
            ends,
            cache: Cache::of_user(),
            tasks: HashMap::new(),
        })
    }

    /// Refuses a model that is no longer the one that was hashed: a run's id and record would state other weights than it has.
    ///
    /// # Errors
    /// A file that was replaced or changed since [`Assets::open`].
    pub fn unchanged(&self) -> Result<()> {
        for file in &self.hashed {
            let path = file.0.display();
            let now = stamped(file.0.clone())?;
            ensure!(
                now == *file,
                "{path} has changed since this program read it: start it again"
            );
        }
        Ok(())
    }

    /// SHA-256 of the tokenizer's files.
    pub fn tokenizer_sha256(&self) -> &str {
        self.tokenizer.sha256()
    }

    /// The hashes that decide the numbers of a run over `rows`.
    pub fn contents<'a>(&'a self, rows: &'a TaskRows) -> Contents<'a> {
        Contents {
            weights: &self.weights_sha256,
            config: &self.config_sha256,
            tokenizer: self.tokenizer.sha256(),
            data: &rows.sha256,
        }
    }

    /// Where the data come from.
    pub fn data(&self) -> &DataSource {
        &self.data
    }

    /// The rows of `task` under the settings of `run`.
    ///
    /// # Errors
    /// Data that are missing or malformed, with file and line.
    pub fn rows(&mut self, task: &dyn Task, run: &RunConfig) -> Result<Arc<TaskRows>> {
        let key = DataKey::of(run)?;
        if let Some(rows) = self.tasks.get(&key) {
            return Ok(rows.clone());
        }
        let reader = DataReader {
            data: &self.data,
            tokenizer: &self.tokenizer,
            ends: &self.ends,
            cache: self.cache.as_ref(),
        };
        let rows = Arc::new(task.load(run, &reader)?);
        self.tasks.insert(key, rows.clone());
        Ok(rows)
    }
}

/// The file with its size and the time of its last change.
fn stamped(path: PathBuf) -> Result<(PathBuf, u64, SystemTime)> {
    let about = || format!("reading {}", path.display());
    let metadata = std::fs::metadata(&path).with_context(about)?;
    let changed = metadata.modified().with_context(about)?;
    Ok((path, metadata.len(), changed))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::experiment::glue::glue;
    use crate::inputs::embedded::EMBEDDED;

    #[test]
    fn weights_that_are_replaced_are_noticed() {
        let dir = tempfile::tempdir().unwrap();
        let source = EMBEDDED[0].folder().unwrap();
        for name in ["config.json", "tokenizer.json", "model.safetensors"] {
            std::fs::copy(source.join(name), dir.path().join(name)).unwrap();
        }
        let assets = Assets::open(&glue().data, dir.path().to_str(), Some("embedded"), true).unwrap();
        assets.unchanged().unwrap();
        let weights = dir.path().join("model.safetensors");
        let mut other = std::fs::read(&weights).unwrap();
        *other.last_mut().unwrap() ^= 1;
        support::write_atomic(&weights, &other).unwrap();
        let error = assets.unchanged().unwrap_err().to_string();
        assert!(error.contains("model.safetensors has changed"), "{error}");
    }
}
