//! The interface between tasks and everything around them. A [`Task`] reads its data into rows; the [`Evaluator`] that comes with
//! them states the objective and computes the metrics; its [`PostTraining`] stage runs between training and the record.
//! Configuration, plan, runner and report know no more of a task than these traits.

pub mod finite;
pub mod generation;
pub mod glue;
pub mod own;
pub mod own_text;
pub mod run_paths;
pub mod shown;
pub mod text;

use crate::config::run_config::RunConfig;
use crate::config::settings::{IdleSetting, TrainConfig};
use crate::inputs::locator::DataSource;
use crate::task::generation::scorers::Scorers;
use crate::task::run_paths::RunPaths;
use crate::task::shown::Shown;
use anyhow::{Context, Result, ensure};
use datasets::Tokenizer;
use datasets::cache::Cache;
use lora_core::batch::Row;
use lora_core::model::{self, Arch, Dropout, Model};
use lora_core::nn::Build;
use lora_core::train::{Criterion, Objective, Passes, Ranks, predict, token_scores};
use lora_core::weights::{StoredHead, Weights};
use std::collections::BTreeMap;
use std::fmt::Debug;
use std::path::Path;
use std::sync::atomic::AtomicBool;
use tch::Device;

/// The name of the split of held-out training rows, which judge a run in place of dev.
pub const HELD_OUT: &str = "held_out";

/// Metric name (`dev/accuracy`) to value; none where the metric is undefined.
pub type Metrics = BTreeMap<String, Option<f64>>;

/// A task, before its data are read.
pub trait Task: Sync {
    /// Its name in configurations, records and on the command line.
    fn id(&self) -> &'static str;

    /// One line for `--list`.
    fn about(&self) -> String;

    /// Refuses settings of a run that the task cannot use.
    ///
    /// # Errors
    /// The setting, and what to do.
    fn check(&self, run: &RunConfig) -> Result<()>;

    /// The settings that have no influence on runs of this task.
    fn idle_settings(&self) -> Vec<IdleSetting> {
        Vec::new()
    }

    /// Reads and tokenises the rows of `run`. Depends on no more of `run` than [`DataKey`] holds.
    ///
    /// # Errors
    /// Data that are missing or malformed, with file and line; the hub's refusals.
    fn load(&self, run: &RunConfig, reader: &DataReader) -> Result<TaskRows>;

    /// The rows that are trained on and those of dev as text, training rows first.
    ///
    /// # Errors
    /// As [`Task::load`].
    fn show(&self, data: &DataSource) -> Result<Vec<Shown>>;
}

/// All settings that have no influence on `run`: because of its other settings, or of its task.
pub fn idle_settings(task: &dyn Task, run: &RunConfig) -> Vec<IdleSetting> {
    let mut idle = run.idle_settings();
    idle.extend(task.idle_settings());
    idle
}

/// Source, tokenizer and cache of a task's rows.
pub struct DataReader<'a> {
    /// Where the data come from.
    pub data: &'a DataSource,
    /// The model's tokenizer.
    pub tokenizer: &'a Tokenizer,
    /// The model's end tokens, the first of which ends texts; empty where the tokenizer names the end.
    pub ends: &'a [u32],
    /// Cache of tokenised rows.
    pub cache: Option<&'a Cache>,
}

/// The settings that decide a run's rows: runs with equal keys share them.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct DataKey {
    task: String,
    settings: String,
}

impl DataKey {
    /// The key of `run`.
    ///
    /// # Errors
    /// Settings that JSON cannot hold.
    pub fn of(run: &RunConfig) -> Result<DataKey> {
        let settings = serde_json::to_string(&(
            run.train.max_len,
            run.train.encoding,
            &run.limit,
            &run.decode,
            &run.prompt,
        ));
        Ok(DataKey {
            task: run.task.clone(),
            settings: settings.context("reading the settings of the data")?,
        })
    }
}

/// A task's rows, tokenised.
#[derive(Debug)]
pub struct TaskRows {
    /// Rows to train on.
    pub train: Vec<Row>,
    /// Objective, rows and metrics of evaluation.
    pub evaluator: Box<dyn Evaluator>,
    /// Whether a row has two texts.
    pub paired: bool,
    /// SHA-256 of the files.
    pub sha256: String,
    /// Repository and commit, for data from the hub.
    pub source: Option<String>,
}

/// The head of a model.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum HeadKind {
    /// A fresh head with this number of outputs a row.
    Classifier(i64),
    /// The language-modelling head of the pretrained model.
    LanguageModel,
}

/// The objective of training, and evaluation after each epoch.
pub trait Evaluator: Debug + Send + Sync {
    /// The model's head.
    fn head(&self) -> HeadKind;

    /// The names of the classes, in the order of the model's outputs; empty for other outputs.
    fn classes(&self) -> &'static [&'static str] {
        &[]
    }

    /// The objective that training minimises.
    fn objective(&self, train: &TrainConfig) -> Objective;

    /// The metric that selects the best epoch.
    fn criterion(&self) -> Criterion;

    /// The rows of [`Evaluator::evaluate`], split by split.
    fn splits(&self) -> Vec<&[Row]>;

    /// Every metric of the model as it is, the same on all ranks of `passes`.
    ///
    /// # Errors
    /// Rows that do not fit the model, outputs that are not finite, not enough memory.
    fn evaluate(&self, model: &dyn Model, passes: &Passes) -> Result<Metrics>;

    /// The stage between training and the record; by default an empty one.
    fn post_training(&self) -> &dyn PostTraining {
        &NoStage
    }
}

/// A stage between training and the record, such as generating and scoring texts. The defaults are those of an empty stage.
pub trait PostTraining: Debug + Send + Sync {
    /// The number of its inputs.
    fn inputs(&self) -> usize {
        0
    }

    /// Whether it runs on the weights of the selected epoch, which are then kept until it is done.
    fn uses_selected_weights(&self) -> bool {
        false
    }

    /// Refuses a model that the stage cannot run on, before training.
    ///
    /// # Errors
    /// What does not fit, and what to do.
    fn check(&self, _model: &dyn Model) -> Result<()> {
        Ok(())
    }

    /// Seconds an input, measured.
    ///
    /// # Errors
    /// As [`PostTraining::run`].
    fn seconds_per_input(&self, _model: &dyn Model, _device: Device) -> Result<f64> {
        Ok(0.0)
    }

    /// Runs the stage, or what is left of it after an interruption. `progress` gets the number of inputs done. Of several ranks the
    /// first returns the scores.
    ///
    /// # Errors
    /// [`lora_core::Error::GenerationStopped`] after Ctrl-C; metrics that are not finite; files that cannot be written.
    fn run(
        &self,
        _model: &dyn Model,
        _context: &StageContext,
        _progress: &mut dyn FnMut(usize),
    ) -> Result<StageScores> {
        Ok(StageScores::default())
    }

    /// Scores the kept outputs of a finished run again where `scorers` can compute what `metrics` lack; none where they cannot.
    ///
    /// # Errors
    /// Outputs that cannot be read.
    fn rescore(&self, _metrics: &Metrics, _paths: &RunPaths, _scorers: &Scorers) -> Result<Option<StageScores>> {
        Ok(None)
    }

    /// The outputs of a finished run beside their inputs, where they are kept.
    ///
    /// # Errors
    /// Outputs that cannot be read.
    fn outputs(&self, _paths: &RunPaths) -> Result<Option<StageOutputs<'_>>> {
        Ok(None)
    }

    /// The `metrics` that the stage adds, in one line.
    fn summary(&self, _metrics: &Metrics) -> Option<String> {
        None
    }

    /// Deletes the temporary files of the stage.
    ///
    /// # Errors
    /// A file that cannot be deleted.
    fn clean_up(&self, _paths: &RunPaths) -> Result<()> {
        Ok(())
    }
}

/// The empty stage.
#[derive(Debug)]
struct NoStage;

impl PostTraining for NoStage {}

/// What comes out of the work of each rank on its own: an error, if any rank has one.
///
/// # Errors
/// This rank's, or another's.
pub(crate) fn agreed<T>(ranks: &dyn Ranks, own: Result<T>) -> Result<T> {
    if ranks.is_alone() {
        return own;
    }
    let own = own.map_err(|e| lora_core::Error::Ranks(format!("{e:#}")));
    Ok(ranks.agree(own)?)
}

/// Where and with what a stage runs.
pub struct StageContext<'a> {
    /// The run's seed.
    pub seed: u64,
    /// Where tensors live.
    pub device: Device,
    /// The run's files.
    pub paths: RunPaths<'a>,
    /// Data of the scorers.
    pub scorers: &'a Scorers,
    /// Set by Ctrl-C.
    pub stop: &'a AtomicBool,
    /// Who runs it together.
    pub ranks: &'a dyn Ranks,
}

/// The metrics of a stage.
#[derive(Debug, Default)]
pub struct StageScores {
    /// The metrics.
    pub metrics: Metrics,
    /// SHA-256 of the scorers' data, by the scorer's name, where metrics depend on them.
    pub scorer_data: Option<BTreeMap<String, String>>,
}

/// The outputs of a stage beside their inputs.
#[derive(Debug)]
pub struct StageOutputs<'a> {
    /// The split of the inputs.
    pub split: &'a str,
    /// Each input, and a reference by a person.
    pub inputs: Vec<(&'a str, &'a str)>,
    /// The output for each input.
    pub texts: Vec<String>,
}

impl HeadKind {
    /// Refuses an architecture without such a head.
    ///
    /// # Errors
    /// What is missing.
    pub fn check(self, arch: &Arch) -> Result<()> {
        let (name, causal) = (arch.model_type, arch.is_causal());
        match self {
            HeadKind::LanguageModel => ensure!(
                causal,
                "the task needs a causal language model, such as GPT-2, and the model is an encoder ({name})"
            ),
            HeadKind::Classifier(_) => ensure!(
                !causal,
                "the task needs an encoder, such as RoBERTa, and the model is a causal language model ({name})"
            ),
        }
        Ok(())
    }

    /// Builds the model of the folder `dir` with this head and with the given rates of dropout. Its weights are not loaded.
    ///
    /// # Errors
    /// A config.json that cannot be used; a method that does not fit; a model without such a head.
    pub fn build(self, dir: &Path, dropout: Dropout, build: &Build) -> Result<(Box<dyn Model>, &'static Arch)> {
        let (mut config, arch) = model::load_config(dir)?;
        arch.set_dropout(&mut config, dropout)?;
        let model = match self {
            HeadKind::Classifier(outputs) => arch.classifier(&config, outputs, &build.scope())?,
            HeadKind::LanguageModel => arch.language_model(&config, &build.scope())?,
        };
        Ok((model, arch))
    }

    /// How the classifier in the file `weights` of the folder `dir` is loaded for a task with these `classes`.
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
