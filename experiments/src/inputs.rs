//! Model folder and data folder, read once: weights' hash, tokenizer, and each task's rows.

use crate::source::{DataSource, ModelSource};
use anyhow::{Context, Result};
use datasets::cache::Cache;
use datasets::{Encoded, Kind, Label, Task, Tokenizer};
use lora_core::batch::{Row, Target};
use lora_core::weights::Weights;
use std::collections::HashMap;
use std::path::PathBuf;
use std::rc::Rc;

/// A task's rows, tokenised.
#[derive(Debug)]
pub struct TaskRows {
    /// The task.
    pub task: &'static Task,
    /// Rows to train on.
    pub train: Vec<Row>,
    /// Rows to evaluate on, a split each.
    pub evals: Vec<EvalRows>,
    /// SHA-256 of the files.
    pub sha256: String,
    /// Repository and commit, for data from the hub.
    pub source: Option<String>,
}

/// One split to evaluate on.
#[derive(Debug)]
pub struct EvalRows {
    /// `dev`, `dev_matched`, ...
    pub name: String,
    /// Its rows.
    pub rows: Vec<Row>,
    /// Its labels.
    pub labels: Vec<Label>,
}

/// The folders of an experiment.
pub struct Inputs {
    /// The model folder.
    pub model: PathBuf,
    /// SHA-256 of its weights.
    pub weights_sha256: String,
    /// Repository and commit, for a model from the hub.
    pub source: Option<String>,
    data: DataSource,
    tokenizer: Tokenizer,
    cache: Option<Cache>,
    tasks: HashMap<(&'static str, usize), Rc<TaskRows>>,
}

impl Inputs {
    /// Looks at both sources; data are read when a task is asked for.
    ///
    /// # Errors
    /// Sources that were not named, or lack what a model or a tokenizer needs.
    pub fn open(model: Option<&str>, data: Option<&str>, quiet: bool) -> Result<Inputs> {
        let model = model.context("no model is named; give --model DIR, a Hugging Face model folder")?;
        let data = data.context(
            "no data are named; give --data DIR, the folder that holds the tasks' folders (CoLA/, MRPC/, ...)",
        )?;
        let data = DataSource::parse(data, quiet)?;
        let (model, source) = ModelSource::parse(model, quiet)?.folder()?;
        let model = model.as_path();
        let config = lora_core::model::read_config(model)?;
        lora_core::model::arch(&config).with_context(|| format!("the model {}", model.display()))?;
        let weights_sha256 = Weights::open(model)?.sha256()?;
        let tokenizer = Tokenizer::from_dir(model)?;
        Ok(Inputs {
            model: model.into(),
            weights_sha256,
            source,
            data,
            tokenizer,
            cache: Cache::of_user(),
            tasks: HashMap::new(),
        })
    }

    /// The rows of `task`, cut to `max_len` tokens.
    ///
    /// # Errors
    /// Data that are missing or malformed, with file and line.
    pub fn task(&mut self, task: &'static Task, max_len: usize) -> Result<Rc<TaskRows>> {
        if let Some(rows) = self.tasks.get(&(task.id, max_len)) {
            return Ok(rows.clone());
        }
        let (data, source) = self.data.load(task)?;
        let encode = |split: &datasets::Split| -> Result<Vec<Encoded>> {
            Ok(self
                .tokenizer
                .encode_cached(&split.examples, max_len, self.cache.as_ref())?)
        };
        let train = encode(&data.train)?.into_iter().map(row).collect();
        let mut evals = Vec::new();
        for split in &data.evals {
            let labels = split.examples.iter().map(|e| e.label).collect();
            let rows = encode(split)?.into_iter().map(row).collect();
            evals.push(EvalRows {
                name: split.name.clone(),
                rows,
                labels,
            });
        }
        let rows = Rc::new(TaskRows {
            task,
            train,
            evals,
            sha256: data.sha256,
            source,
        });
        self.tasks.insert((task.id, max_len), rows.clone());
        Ok(rows)
    }
}

impl TaskRows {
    /// Outputs of the head.
    pub fn outputs(&self) -> i64 {
        self.task.outputs() as i64
    }

    /// Whether a score is asked for.
    pub fn regression(&self) -> bool {
        matches!(self.task.kind, Kind::Regression { .. })
    }
}

fn row(encoded: Encoded) -> Row {
    let wide = |v: Vec<u32>| v.into_iter().map(i64::from).collect();
    let target = match encoded.label {
        Label::Class(class) => Target::Class(class as i64),
        Label::Score(score) => Target::Score(score),
    };
    Row {
        ids: wide(encoded.ids),
        types: wide(encoded.type_ids),
        prompt: None,
        target,
    }
}
