//! The seam between what a task is and everything around it. A [`Task`] reads its data into rows; the [`Evaluator`] that comes
//! with them says what is trained towards and how the model's answers are judged. Configuration, plan, runs, records,
//! tables, checkpoints and observers know no more of a task than this.

pub mod generation;
pub mod glue;
pub mod text;

use crate::config::run_config::RunConfig;
use crate::config::settings::TrainConfig;
use crate::inputs::locator::DataSource;
use crate::task::generation::GenerationTask;
use anyhow::{Context, Result, ensure};
use datasets::Tokenizer;
use datasets::cache::Cache;
use lora_core::batch::Row;
use lora_core::model::{self, Arch, Dropout, Model};
use lora_core::nn::Build;
use lora_core::train::{Objective, predict, token_scores};
use lora_core::weights::{StoredHead, Weights};
use std::collections::BTreeMap;
use std::fmt::Debug;
use std::path::Path;
use tch::Device;

/// Metric name (`dev/accuracy`) to value; none where the metric is undefined.
pub type Metrics = BTreeMap<String, Option<f64>>;

/// A task, before its data are read.
pub trait Task: Sync {
    /// Its name in configurations, records and on the command line.
    fn id(&self) -> &'static str;

    /// One line for `--list`.
    fn about(&self) -> String;

    /// Refuses settings that mean nothing to it.
    ///
    /// # Errors
    /// The setting, and what to do.
    fn check(&self, run: &RunConfig) -> Result<()>;

    /// Whether `train.label_smoothing` has something to smooth.
    fn smooths_labels(&self) -> bool {
        true
    }

    /// Reads and tokenises what `run` trains on and is judged by. Depends on no more of `run` than [`DataKey`] says.
    ///
    /// # Errors
    /// Data that are missing or malformed, with file and line; the hub's refusals.
    fn load(&self, run: &RunConfig, reader: &DataReader) -> Result<TaskRows>;

    /// The first `rows` training rows as a person reads them.
    ///
    /// # Errors
    /// As [`Task::load`].
    fn show(&self, data: &DataSource, rows: usize) -> Result<String>;
}

/// What a task is read with.
pub struct DataReader<'a> {
    /// Where the data come from.
    pub data: &'a DataSource,
    /// The model's tokenizer.
    pub tokenizer: &'a Tokenizer,
    /// Where tokenised rows are kept, if anywhere.
    pub cache: Option<&'a Cache>,
}

/// What of a run's settings decides its rows: runs that agree in it share them.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct DataKey {
    task: &'static str,
    settings: String,
}

impl DataKey {
    /// Those of `run`.
    ///
    /// # Errors
    /// None that is known: the settings are plain values.
    pub fn of(run: &RunConfig) -> Result<DataKey> {
        let settings = serde_json::to_string(&(
            run.train.max_len,
            run.train.encoding,
            &run.limit,
            &run.decode,
            &run.prompt,
        ));
        Ok(DataKey {
            task: run.task,
            settings: settings.context("reading the settings of the data")?,
        })
    }
}

/// A task's rows, tokenised.
#[derive(Debug)]
pub struct TaskRows {
    /// Rows to train on.
    pub train: Vec<Row>,
    /// What comes out of training, and how it is judged.
    pub exam: Box<dyn Evaluator>,
    /// SHA-256 of the files.
    pub sha256: String,
    /// Repository and commit, for data from the hub.
    pub source: Option<String>,
}

/// What a model answers with.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum HeadKind {
    /// So many numbers a row, from a fresh head.
    Classifier(i64),
    /// The next token, from the head that it was pretrained with.
    LanguageModel,
}

/// What is trained towards, and how answers are judged.
pub trait Evaluator: Debug + Send + Sync {
    /// What stands on the model.
    fn answers(&self) -> HeadKind;

    /// The names of the classes, in the order of the model's outputs; none where it answers otherwise.
    fn classes(&self) -> &'static [&'static str] {
        &[]
    }

    /// What training minimises.
    fn objective(&self, train: &TrainConfig) -> Objective;

    /// What the best epoch is chosen by.
    fn criterion(&self) -> Criterion;

    /// The rows of [`Evaluator::evaluate`], a split each.
    fn splits(&self) -> Vec<&[Row]>;

    /// Every metric after an epoch, `batch` rows at a time.
    ///
    /// # Errors
    /// Rows that do not fit the model, answers that are not numbers, not enough memory.
    fn evaluate(&self, model: &dyn Model, batch: usize, device: Device) -> Result<Metrics>;

    /// What is written and scored after training, for tasks of text.
    fn writing(&self) -> Option<&GenerationTask> {
        None
    }
}

/// A metric that epochs are compared by.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Criterion {
    /// Its key in a record's evaluations.
    pub key: String,
    /// Whether less of it is better, as of a loss.
    pub lower_is_better: bool,
}

impl Criterion {
    /// Whether the epoch of `value` is to be taken instead of the earlier one of `best`.
    pub fn improves(&self, value: f64, best: f64) -> bool {
        if self.lower_is_better {
            value < best
        } else {
            value > best
        }
    }

    /// The value as people read it: a loss as it is, anything else in per cent.
    pub fn show(&self, value: Option<f64>) -> String {
        match value {
            Some(v) if self.lower_is_better => format!("{v:.4}"),
            Some(v) => format!("{:.1}", v * 100.0),
            None => "undefined".into(),
        }
    }
}

impl HeadKind {
    /// Builds the model of the folder `dir` with what stands on it, and with these rates of dropout where they are given. Its
    /// weights are not loaded.
    ///
    /// # Errors
    /// A config.json that cannot be used; a method that does not fit; a model that was not made for such answers.
    pub fn build(self, dir: &Path, dropout: Dropout, build: &Build) -> Result<(Box<dyn Model>, &'static Arch)> {
        let (mut config, arch) = model::load_config(dir)?;
        arch.set_dropout(&mut config, dropout)?;
        let model = match self {
            HeadKind::Classifier(outputs) => arch.classifier(&config, outputs, &build.scope())?,
            HeadKind::LanguageModel => arch.language_model(&config, &build.scope())?,
        };
        Ok((model, arch))
    }

    /// How the classifier in the file `weights` of the folder `dir` is to be taken for a task with these `classes`.
    ///
    /// # Errors
    /// A classifier of another task, unless `fresh`; `fresh` where there is no classifier to leave out.
    pub fn stored_head(self, dir: &Path, weights: &Weights, classes: &[&str], fresh: bool) -> Result<StoredHead> {
        let (config, arch) = model::load_config(dir)?;
        if fresh {
            let has = self != HeadKind::LanguageModel && weights.outputs(arch)?.is_some();
            ensure!(
                has,
                "`train.fresh_head` is true, and {} has no classifier that it could leave out: take the setting away",
                dir.display()
            );
            return Ok(StoredHead::Fresh);
        }
        match self {
            HeadKind::Classifier(outputs) => Ok(weights.head(arch, &config, classes, outputs)?),
            HeadKind::LanguageModel => Ok(StoredHead::AsStored),
        }
    }

    /// Forward passes over `rows`, for their time.
    ///
    /// # Errors
    /// As [`Evaluator::evaluate`].
    pub fn pass(self, model: &dyn Model, rows: &[Row], batch: usize, device: Device) -> Result<()> {
        match self {
            HeadKind::Classifier(_) => drop(predict(model, rows, batch, device)?),
            HeadKind::LanguageModel => drop(token_scores(model, rows, batch, device)?),
        }
        Ok(())
    }
}
