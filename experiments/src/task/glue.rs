//! `glue`: Table 2 on whatever model and tasks are given.

use crate::config::run_config::RunConfig;
use crate::config::settings::{Encoding, Limit, LossOver, TrainConfig};
use crate::experiment::Experiment;
use crate::inputs::locator::DataSource;
use crate::task::{Criterion, DataReader, Evaluator, HeadKind, Metrics, Task, TaskRows};
use anyhow::{Result, ensure};
use datasets::hub::GLUE as REPOSITORY;
use datasets::{Encoded, Example, Kind, Label, TASKS, TaskData};
use lora_core::batch::{Row, Target};
use lora_core::model::Model;
use lora_core::train::{Objective, predict};
use tch::Device;

/// The experiment. To add a preset: a file in `configs/`, and a line here.
pub static GLUE: Experiment = Experiment {
    name: "glue",
    about: "Fine-tunes an encoder on GLUE tasks with each method and prints Table 2.\n\n\
            Only runs that OUT/runs lacks are computed; a killed run goes on from its checkpoint.",
    examples: "Examples:
  glue --list
  glue --preset minilm --model DIR --data DIR --tasks mrpc,rte --methods full,bitfit,lora,head --seeds 1..3
  glue --preset minilm --model DIR --data DIR --set methods.lora.r=4 --set train.lr=0.0003 --dry-run
  glue --config my.yaml --out my-results --device cuda:0 --dtype bf16
  glue --config my.yaml --json 2>/dev/null | jq -c 'select(.event == \"run\")'
  tensorboard --logdir results/tensorboard

Ctrl-C writes a checkpoint, prints the table so far and the command that goes on, and exits with 130.",
    defaults: &[("the defaults", crate::experiment::presets::DEFAULTS)],
    presets: &[
        ("demo", include_str!("../../configs/demo.yaml")),
        ("minilm", include_str!("../../configs/minilm.yaml")),
        ("roberta-base", include_str!("../../configs/roberta-base.yaml")),
        ("roberta-large", include_str!("../../configs/roberta-large.yaml")),
        (
            "roberta-large-dagger",
            include_str!("../../configs/roberta-large-dagger.yaml"),
        ),
        (
            "deberta-v2-xxlarge",
            include_str!("../../configs/deberta-v2-xxlarge.yaml"),
        ),
        (
            "deberta-v2-xxlarge-table10",
            include_str!("../../configs/deberta-v2-xxlarge-table10.yaml"),
        ),
        ("deberta-v3-base", include_str!("../../configs/deberta-v3-base.yaml")),
    ],
    tasks: || TASKS.iter().map(|task| task as &'static dyn Task).collect(),
    tables: &["table2"],
    writes: false,
    folder: "the folder that holds the tasks' folders (CoLA/, MRPC/, ...)",
    repositories: &[REPOSITORY],
};

impl Task for datasets::Task {
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

    fn smooths_labels(&self) -> bool {
        matches!(self.kind, Kind::Classification { .. })
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
        let train = encode(run.limit.train(data.train.examples))?;
        let mut splits = Vec::new();
        for split in data.evals {
            let examples = Limit::cut(split.examples, run.limit.dev);
            splits.push(Split {
                name: split.name,
                labels: examples.iter().map(|e| e.label).collect(),
                rows: encode(examples)?,
            });
        }
        Ok(TaskRows {
            train,
            exam: Box::new(GlueExam { task, splits }),
            sha256: data.sha256,
            source,
        })
    }

    fn show(&self, data: &DataSource, rows: usize) -> Result<String> {
        let (data, _) = read(datasets::find(self.id)?, data)?;
        let sizes: Vec<String> = std::iter::once(&data.train)
            .chain(&data.evals)
            .map(|s| format!("{} {}", s.name, s.examples.len()))
            .collect();
        let shown = data.train.examples.iter().take(rows);
        let shown: String = shown.map(|e| line(self, e)).collect();
        Ok(format!("{} rows\n\n{shown}", sizes.join(", ")))
    }
}

/// The task's examples, and for those from the hub repository and commit.
fn read(task: &'static datasets::Task, data: &DataSource) -> Result<(TaskData, Option<String>)> {
    Ok(match data {
        DataSource::Embedded => (datasets::synthetic::load(task)?, None),
        DataSource::Folder(dir) => (datasets::load(task, dir)?, None),
        DataSource::Hub(r) => {
            let (data, snapshot) = r.hub().glue(task, r.revision())?;
            (data, crate::inputs::locator::at(&snapshot))
        }
    })
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

/// A label and its sentences.
fn line(task: &datasets::Task, example: &Example) -> String {
    let label = match (task.kind, example.label) {
        (Kind::Classification { labels }, Label::Class(class)) => labels.get(class).copied().unwrap_or("?").to_string(),
        (_, Label::Class(class)) => class.to_string(),
        (_, Label::Score(score)) => format!("{score:.2}"),
    };
    let second = example.second.as_ref();
    let second = second.map_or(String::new(), |s| format!("\n{:<16} {s}", ""));
    format!("{label:<16} {}{second}\n", example.first)
}

/// A task's dev sets and metrics.
#[derive(Debug)]
struct GlueExam {
    task: &'static datasets::Task,
    splits: Vec<Split>,
}

/// One split to evaluate on.
#[derive(Debug)]
struct Split {
    /// `dev`, `dev_matched`, ...
    name: String,
    rows: Vec<Row>,
    labels: Vec<Label>,
}

impl Evaluator for GlueExam {
    fn answers(&self) -> HeadKind {
        HeadKind::Classifier(self.task.outputs() as i64)
    }

    fn classes(&self) -> &'static [&'static str] {
        match self.task.kind {
            Kind::Classification { labels } => labels,
            Kind::Regression { .. } => &[],
        }
    }

    fn objective(&self, train: &TrainConfig) -> Objective {
        match self.task.kind {
            Kind::Regression { .. } => Objective::Score,
            Kind::Classification { .. } => Objective::Classes {
                label_smoothing: train.label_smoothing,
            },
        }
    }

    fn criterion(&self) -> Criterion {
        Criterion {
            key: format!("{}/{}", self.task.primary_split(), self.task.primary().name()),
            lower_is_better: false,
        }
    }

    fn splits(&self) -> Vec<&[Row]> {
        self.splits.iter().map(|s| s.rows.as_slice()).collect()
    }

    /// Every metric of every split, and of all splits together as `dev_pooled` where there are several.
    fn evaluate(&self, model: &dyn Model, batch: usize, device: Device) -> Result<Metrics> {
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
            let logits = predict(model, &split.rows, batch, device)?;
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
