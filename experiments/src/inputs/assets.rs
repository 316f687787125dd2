//! Model folder and data folder, read once: weights' hash, tokenizer, and each task's rows.

use crate::config::identity::Contents;
use crate::config::run_config::RunConfig;
use crate::experiment::Experiment;
use crate::inputs::locator::{DataSource, ModelSource};
use crate::task::{DataKey, DataReader, Task, TaskRows};
use anyhow::{Context, Result};
use datasets::Tokenizer;
use datasets::cache::Cache;
use lora_core::weights::Weights;
use std::collections::HashMap;
use std::path::PathBuf;
use std::sync::Arc;

/// The folders of an experiment.
pub struct Inputs {
    /// The model folder.
    pub model: PathBuf,
    /// SHA-256 of its weights.
    pub weights_sha256: String,
    /// SHA-256 of what is read of its config.json.
    pub config_sha256: String,
    /// Repository and commit, for a model from the hub.
    pub source: Option<String>,
    data: DataSource,
    tokenizer: Tokenizer,
    cache: Option<Cache>,
    tasks: HashMap<DataKey, Arc<TaskRows>>,
}

impl Inputs {
    /// Looks at both sources; data are read when a task is asked for.
    ///
    /// # Errors
    /// Sources that were not named, or lack what a model or a tokenizer needs.
    pub fn open(experiment: &Experiment, model: Option<&str>, data: Option<&str>, quiet: bool) -> Result<Inputs> {
        let model = model.context("no model is named; give --model DIR, a Hugging Face model folder")?;
        let data = data.with_context(|| format!("no data are named; give --data DIR, {}", experiment.folder))?;
        let data = DataSource::parse(data, experiment, quiet)?;
        let (model, source) = ModelSource::parse(model, quiet)?.folder()?;
        let model = model.as_path();
        let config = lora_core::model::read_config(model)?;
        lora_core::model::arch(&config).with_context(|| format!("the model {}", model.display()))?;
        let weights_sha256 = Weights::open(model)?.sha256()?;
        let config_sha256 = lora_core::model::config_sha256(model)?;
        let tokenizer = Tokenizer::from_dir(model)?;
        Ok(Inputs {
            model: model.into(),
            weights_sha256,
            config_sha256,
            source,
            data,
            tokenizer,
            cache: Cache::of_user(),
            tasks: HashMap::new(),
        })
    }

    /// SHA-256 of the tokenizer's files.
    pub fn tokenizer_sha256(&self) -> &str {
        self.tokenizer.sha256()
    }

    /// The contents that decide the numbers of a run over `rows`.
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
        let needs = DataKey::of(run)?;
        if let Some(rows) = self.tasks.get(&needs) {
            return Ok(rows.clone());
        }
        let reader = DataReader {
            data: &self.data,
            tokenizer: &self.tokenizer,
            cache: self.cache.as_ref(),
        };
        let rows = Arc::new(task.load(run, &reader)?);
        self.tasks.insert(needs, rows.clone());
        Ok(rows)
    }
}
