//! Tasks of GLUE: a sentence or a pair of sentences is classified or scored.

use crate::config::run_config::RunConfig;
use crate::config::settings::{Encoding, IdleSetting, Limit, LossOver, TrainConfig};
use crate::inputs::locator::DataSource;
use crate::task::shown::{Answer, Shown, ShownRow};
use crate::task::{DataReader, Evaluator, HELD_OUT, HeadKind, Metrics, Task, TaskRows};
use anyhow::{Result, bail, ensure};
use datasets::{Encoded, Example, GlueData, Label, TaskKind};
use lora_core::batch::{Row, Target};
use lora_core::model::Model;
use lora_core::train::{Criterion, Objective, Passes, predict_by};

impl Task for datasets::GlueTask {
    fn id(&self) -> &'static str {
        self.id
    }

    fn about(&self) -> String {
        let metrics: Vec<&str> = self.metrics.iter().map(|m| m.name()).collect();
        format!("{} ({})", self.folder, metrics.join(", "))
    }

    fn check(&self, run: &RunConfig) -> Result<()> {
        ensure!(
            run.decode.is_none() && run.prompt.is_none(),
            "`decode` and `prompt` are for tasks that write text; {} is none",
            self.id
        );
        ensure!(
            run.train.encoding == Encoding::Paper && run.train.loss_over == LossOver::Tokens,
            "`train.encoding` and `train.loss_over` are for tasks that write text; {} is none",
            self.id
        );
        Ok(())
    }

    fn idle_settings(&self) -> Vec<IdleSetting> {
        let idle = |path, reason| IdleSetting { path, reason };
        let mut all = vec![idle("limit.test", format!("{} generates no texts", self.id))];
        if let TaskKind::Regression { .. } = self.kind {
            all.push(idle(
                "train.label_smoothing",
                format!("{} has no classes to smooth", self.id),
            ));
        }
        all
    }

    fn load(&self, run: &RunConfig, reader: &DataReader) -> Result<TaskRows> {
        let task = datasets::find(self.id)?;
        let (data, source) = read(task, reader.data)?;
        let encode = |examples: Vec<Example>| -> Result<Vec<Row>> {
            let rows = reader
                .tokenizer
                .encode_cached(&examples, run.train.max_len, reader.cache)?;
            Ok(rows.into_iter().map(row).collect())
        };
        let text = |e: &Example| format!("{}\t{}", e.first, e.second.as_deref().unwrap_or_default());
        let (train, held_out) = run.limit.hold_out(run.limit.train(data.train.examples), text);
        let train = encode(train)?;
        let evals: Vec<(String, Vec<Example>)> = match run.limit.held_out {
            Some(_) => vec![(HELD_OUT.to_owned(), held_out)],
            None => data
                .evals
                .into_iter()
                .map(|split| (split.name, Limit::cut(split.examples, run.limit.dev)))
                .collect(),
        };
        let mut splits = Vec::new();
        for (name, examples) in evals {
            splits.push(EvalSplit {
                name,
                labels: examples.iter().map(|e| e.label).collect(),
                rows: encode(examples)?,
            });
        }
        Ok(TaskRows {
            train,
            evaluator: Box::new(GlueEvaluator { task, splits }),
            paired: task.paired(),
            sha256: data.sha256,
            source,
        })
    }

    fn show(&self, data: &DataSource) -> Result<Vec<Shown>> {
        let (data, _) = read(datasets::find(self.id)?, data)?;
        let splits = std::iter::once(data.train).chain(data.evals);
        Ok(splits
            .map(|split| Shown {
                split: split.name,
                rows: split
                    .examples
                    .iter()
                    .map(|e| ShownRow::of(e, answer(self, e)))
                    .collect(),
            })
            .collect())
    }
}

/// The task's examples, and repository and commit of those from the hub.
///
/// # Errors
/// Data that are missing or malformed.
pub(crate) fn read(task: &'static datasets::GlueTask, data: &DataSource) -> Result<(GlueData, Option<String>)> {
    Ok(match data {
        DataSource::Embedded => (datasets::synthetic::load(task)?, None),
        DataSource::Own(_) | DataSource::OwnTexts(_) => {
            bail!("`data: {{...}}` is for the task own; {} has its own files", task.id)
        }
        DataSource::Folder(dir) => (datasets::load(task, dir)?, None),
        DataSource::Hub(r) => {
            let (data, snapshot) = r.hub().glue(task, r.revision())?;
            (data, crate::inputs::locator::at(&snapshot))
        }
    })
}

pub(super) fn row(encoded: Encoded) -> Row {
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

/// The name of an example's class, or its score.
fn answer(task: &datasets::GlueTask, example: &Example) -> Answer {
    match (task.kind, example.label) {
        (TaskKind::Classification { labels }, Label::Class(class)) => {
            Answer::Class(labels.get(class).copied().unwrap_or("?").to_owned())
        }
        (_, Label::Class(class)) => Answer::Class(class.to_string()),
        (_, Label::Score(score)) => Answer::Score(score),
    }
}

/// A task's dev sets and metrics.
#[derive(Debug)]
struct GlueEvaluator {
    task: &'static datasets::GlueTask,
    splits: Vec<EvalSplit>,
}

/// One split to evaluate on.
#[derive(Debug)]
struct EvalSplit {
    /// `dev`, `dev_matched`, ...
    name: String,
    rows: Vec<Row>,
    labels: Vec<Label>,
}

impl Evaluator for GlueEvaluator {
    fn head(&self) -> HeadKind {
        HeadKind::Classifier(self.task.outputs() as i64)
    }

    fn classes(&self) -> &'static [&'static str] {
        match self.task.kind {
            TaskKind::Classification { labels } => labels,
            TaskKind::Regression { .. } => &[],
        }
    }

    fn objective(&self, train: &TrainConfig) -> Objective {
        match self.task.kind {
            TaskKind::Regression { .. } => Objective::Score,
            TaskKind::Classification { .. } => Objective::Classes {
                label_smoothing: train.label_smoothing,
            },
        }
    }

    fn criterion(&self) -> Criterion {
        let held_out = self.splits.iter().any(|split| split.name == HELD_OUT);
        let split = if held_out { HELD_OUT } else { self.task.primary_split() };
        Criterion::new(format!("{split}/{}", self.task.primary().name()))
    }

    fn splits(&self) -> Vec<&[Row]> {
        self.splits.iter().map(|s| s.rows.as_slice()).collect()
    }

    /// Every metric of every split, and of all splits together as `dev_pooled` where there are several.
    fn evaluate(&self, model: &dyn Model, passes: &Passes) -> Result<Metrics> {
        let mut metrics = Metrics::new();
        let (mut all, mut labels): (Vec<f32>, Vec<Label>) = (Vec::new(), Vec::new());
        let mut score = |name: &str, logits: &[f32], labels: &[Label]| -> Result<()> {
            let predictions = self.task.predictions(logits)?;
            for (metric, value) in self.task.score(&predictions, labels)? {
                metrics.insert(format!("{name}/{metric}"), value);
            }
            Ok(())
        };
        for split in &self.splits {
            let logits = predict_by(model, &split.rows, passes)?;
            let logits: Vec<f32> = logits.into_iter().flatten().collect();
            score(&split.name, &logits, &split.labels)?;
            all.extend(logits);
            labels.extend(&split.labels);
        }
        if self.splits.len() > 1 {
            score("dev_pooled", &all, &labels)?;
        }
        Ok(metrics)
    }
}
