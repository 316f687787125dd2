//! A user's own file as a task: `data: {kind: ..., train: ..., text: ..., label: ...}`.

use crate::config::run_config::RunConfig;
use crate::config::settings::{Encoding, IdleSetting, Limit, LossOver, TrainConfig};
use crate::inputs::locator::DataSource;
use crate::task::glue::row;
use crate::task::shown::{Answer, Shown, ShownRow};
use crate::task::{DataReader, Evaluator, HELD_OUT, HeadKind, Metrics, Task, TaskRows};
use anyhow::{Context, Result, bail, ensure};
use datasets::metric::compute;
use datasets::own::{OwnData, OwnKind};
use datasets::{Example, Label, Metric, Predictions};
use lora_core::batch::Row;
use lora_core::model::Model;
use lora_core::train::{Criterion, Objective, Passes, predict_by};

/// The task's id.
pub const OWN: &str = "own";

/// The task.
#[derive(Debug)]
pub struct Own;

impl Task for Own {
    fn id(&self) -> &'static str {
        OWN
    }

    fn about(&self) -> String {
        "your own file: data: {kind: classification, train: FILE, text: COLUMN, label: COLUMN}".into()
    }

    fn check(&self, run: &RunConfig) -> Result<()> {
        ensure!(
            run.decode.is_none() && run.prompt.is_none(),
            "`decode` and `prompt` are for tasks that write text; own is none"
        );
        ensure!(
            run.train.encoding == Encoding::Paper && run.train.loss_over == LossOver::Tokens,
            "`train.encoding` and `train.loss_over` are for tasks that write text; own is none"
        );
        Ok(())
    }

    fn idle_settings(&self) -> Vec<IdleSetting> {
        vec![IdleSetting {
            path: "limit.test",
            reason: "own generates no texts".into(),
        }]
    }

    fn load(&self, run: &RunConfig, reader: &DataReader) -> Result<TaskRows> {
        let own = spec(reader.data)?;
        let data = own.load()?;
        let text = |e: &Example| format!("{}\t{}", e.first, e.second.as_deref().unwrap_or_default());
        let (train, held_out) = run.limit.hold_out(run.limit.train(data.train), text);
        let (split, judged) = match run.limit.held_out {
            Some(_) => (HELD_OUT, held_out),
            None => ("dev", Limit::cut(data.dev, run.limit.dev)),
        };
        let encode = |examples: &[Example]| -> Result<Vec<Row>> {
            let rows = reader
                .tokenizer
                .encode_cached(examples, run.train.max_len, reader.cache)?;
            Ok(rows.into_iter().map(row).collect())
        };
        let classes: Vec<&'static str> = data.classes.into_iter().map(|class| &*class.leak()).collect();
        Ok(TaskRows {
            paired: train.iter().any(|example| example.second.is_some()),
            train: encode(&train)?,
            evaluator: Box::new(OwnEvaluator {
                kind: own.kind,
                metrics: own.metrics(classes.len()),
                // For the life of the program, as the names of other tasks' classes.
                classes: classes.leak(),
                split,
                labels: judged.iter().map(|e| e.label).collect(),
                rows: encode(&judged)?,
            }),
            sha256: data.sha256,
            source: None,
        })
    }

    fn show(&self, data: &DataSource) -> Result<Vec<Shown>> {
        let data = spec(data)?.load()?;
        let row = |e: &Example| {
            let answer = match e.label {
                Label::Class(class) => Answer::Class(data.classes.get(class).cloned().unwrap_or_default()),
                Label::Score(score) => Answer::Score(score),
            };
            ShownRow::of(e, answer)
        };
        let splits = [("train", &data.train), ("dev", &data.dev)];
        Ok(splits
            .map(|(split, examples)| Shown {
                split: split.to_owned(),
                rows: examples.iter().map(row).collect(),
            })
            .into())
    }
}

fn spec(data: &DataSource) -> Result<&OwnData> {
    match data {
        DataSource::Own(own) => Ok(own),
        DataSource::OwnTexts(_) => {
            bail!("`data: {{kind: text, ...}}` is for the program `text`, which generates texts")
        }
        _ => bail!("the task own is your own file: give `data: {{kind: ..., train: ..., text: ..., label: ...}}`"),
    }
}

/// The dev rows, and how they are scored.
#[derive(Debug)]
struct OwnEvaluator {
    kind: OwnKind,
    metrics: &'static [Metric],
    classes: &'static [&'static str],
    split: &'static str,
    rows: Vec<Row>,
    labels: Vec<Label>,
}

impl Evaluator for OwnEvaluator {
    fn head(&self) -> HeadKind {
        HeadKind::Classifier(self.classes.len().max(1) as i64)
    }

    fn classes(&self) -> &'static [&'static str] {
        self.classes
    }

    fn objective(&self, train: &TrainConfig) -> Objective {
        match self.kind {
            OwnKind::Regression => Objective::Score,
            OwnKind::Classification => Objective::Classes {
                label_smoothing: train.label_smoothing,
            },
        }
    }

    fn criterion(&self) -> Criterion {
        Criterion::new(format!("{}/{}", self.split, self.metrics[0].name()))
    }

    fn splits(&self) -> Vec<&[Row]> {
        vec![&self.rows]
    }

    fn evaluate(&self, model: &dyn Model, passes: &Passes) -> Result<Metrics> {
        let outputs = predict_by(model, &self.rows, passes)?;
        let broken = outputs.iter().flatten().any(|v| !v.is_finite());
        ensure!(!broken, "an output is not a finite number: the model has diverged");
        let best = |output: &Vec<f32>| {
            let most = output.iter().copied().fold(f32::MIN, f32::max);
            output.iter().position(|v| *v == most).unwrap_or(0)
        };
        let predictions = match self.kind {
            OwnKind::Classification => Predictions::Classes(outputs.iter().map(best).collect()),
            OwnKind::Regression => Predictions::Scores(outputs.iter().flatten().map(|v| f64::from(*v)).collect()),
        };
        let score = |metric: &Metric| {
            let value = compute(*metric, &predictions, &self.labels).context("scoring the dev rows")?;
            Ok((format!("{}/{}", self.split, metric.name()), value))
        };
        self.metrics.iter().map(score).collect()
    }
}
