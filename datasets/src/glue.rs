//! The GLUE tasks of the paper's Table 2, and WNLI, from local files in the layout of the GLUE distribution.
//!
//! `DIR/MRPC/train.tsv`, `DIR/MRPC/dev.tsv` and so on, where `DIR` is what `--data` names (or its subfolder `glue_data`).
//! The test splits have no labels and are not read.
//!
//! Classes are numbered as in GLUE and on the Hugging Face hub.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use serde_json::Value;
use sha2::{Digest, Sha256};

use crate::metric::Metric::{self, Accuracy, F1, Matthews, Pearson, Spearman};
use crate::metric::{MetricError, Predictions, compute};
use crate::text_file::{Header, TextFile, json_field, json_object, json_text};
use crate::{DataError, Example, Label, LabelledSplit};

/// The kind of target.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum TaskKind {
    /// One class of several.
    Classification {
        /// The classes' names; a [`Label::Class`] indexes them.
        labels: &'static [&'static str],
    },
    /// A number.
    Regression {
        /// Lowest score in the data.
        min: f64,
        /// Highest score in the data.
        max: f64,
    },
}

/// Columns of a task's TSV files.
#[derive(Debug, Clone, Copy)]
struct Layout {
    /// Names for the columns of a file without a header line.
    headless: Option<&'static [&'static str]>,
    first: &'static str,
    second: Option<&'static str>,
    label: &'static str,
    /// The label column holds class numbers, not names.
    numbered: bool,
    /// Rows with too few columns are skipped; QQP's published files have some.
    skip_short: bool,
    /// JSON lines are accepted too, under GLUE's and MultiNLI's file names.
    jsonl: bool,
    /// Names of the two text columns on the hub, if they differ.
    hub: Option<(&'static str, &'static str)>,
}

/// One GLUE task.
#[derive(Debug)]
pub struct GlueTask {
    /// Its name in configs and on the command line.
    pub id: &'static str,
    /// Its folder in the GLUE distribution, which is also its name in print.
    pub folder: &'static str,
    /// Classes or a score.
    pub kind: TaskKind,
    /// Its metrics; the first is that of the paper's Table 2.
    pub metrics: &'static [Metric],
    /// The splits to evaluate on; the number of Table 2 is that on the first, by which the best epoch is chosen. The paper's MNLI
    /// number is the accuracy on the matched set: its authors' code page lists 87.5 matched beside 86.9 mismatched.
    pub eval_splits: &'static [&'static str],
    layout: Layout,
}

impl GlueTask {
    /// Whether examples are pairs of sentences.
    pub fn paired(&self) -> bool {
        self.layout.second.is_some()
    }

    /// Width of the model's output: number of classes, 1 for a score.
    pub fn outputs(&self) -> usize {
        match self.kind {
            TaskKind::Classification { labels } => labels.len(),
            TaskKind::Regression { .. } => 1,
        }
    }

    /// The metric of Table 2.
    pub fn primary(&self) -> Metric {
        self.metrics[0]
    }

    /// The split of Table 2: `dev`, and of MNLI `dev_matched`.
    pub fn primary_split(&self) -> &'static str {
        self.eval_splits[0]
    }

    /// Predictions from logits `[N, self.outputs()]` in row-major order: the class of the (first) largest logit, or the score.
    ///
    /// # Errors
    /// [`MetricError::Width`], [`MetricError::NotFinite`].
    pub fn predictions(&self, logits: &[f32]) -> Result<Predictions, MetricError> {
        let width = self.outputs();
        if !logits.len().is_multiple_of(width) {
            return Err(MetricError::Width {
                values: logits.len(),
                width,
                task: self.id,
            });
        }
        if let Some(at) = logits.iter().position(|v| !v.is_finite()) {
            return Err(MetricError::NotFinite {
                row: at / width,
                value: logits[at],
            });
        }
        Ok(match self.kind {
            TaskKind::Classification { .. } => Predictions::Classes(logits.chunks(width).map(argmax).collect()),
            TaskKind::Regression { .. } => Predictions::Scores(logits.iter().map(|&v| f64::from(v)).collect()),
        })
    }

    /// All metrics of the task by name ([`Metric::name`]); epochs are selected by [`GlueTask::primary`].
    ///
    /// # Errors
    /// [`MetricError::Length`], [`MetricError::Kind`].
    pub fn score(
        &self,
        predictions: &Predictions,
        labels: &[Label],
    ) -> Result<BTreeMap<&'static str, Option<f64>>, MetricError> {
        let each = self.metrics.iter();
        each.map(|&m| Ok((m.name(), compute(m, predictions, labels)?)))
            .collect()
    }

    /// The columns of the first sentence, and of the second if there is one, in the TSV files.
    pub(crate) fn text_columns(&self) -> (&'static str, Option<&'static str>) {
        (self.layout.first, self.layout.second)
    }

    /// The task's folder in the data set on the hub.
    pub(crate) fn hub_config(&self) -> String {
        self.id.replace('-', "")
    }

    /// The columns of the first sentence, and of the second if there is one, in the files on the hub.
    pub(crate) fn hub_columns(&self) -> (&'static str, Option<&'static str>) {
        match self.layout.hub {
            Some((first, second)) => (first, Some(second)),
            None => (self.layout.first, self.layout.second),
        }
    }
}

fn argmax(row: &[f32]) -> usize {
    (1..row.len()).fold(0, |best, i| if row[i] > row[best] { i } else { best })
}

const DEV: &[&str] = &["dev"];
const ENTAILMENT: TaskKind = TaskKind::Classification {
    labels: &["entailment", "not_entailment"],
};

const PAIR: Layout = Layout {
    headless: None,
    first: "sentence1",
    second: Some("sentence2"),
    label: "label",
    numbered: false,
    skip_short: false,
    jsonl: false,
    hub: None,
};

/// All tasks: Table 2 in its order, then WNLI.
pub static TASKS: &[GlueTask] = &[
    GlueTask {
        id: "mnli",
        folder: "MNLI",
        kind: TaskKind::Classification {
            labels: &["entailment", "neutral", "contradiction"],
        },
        metrics: &[Accuracy],
        eval_splits: &["dev_matched", "dev_mismatched"],
        layout: Layout {
            label: "gold_label",
            jsonl: true,
            hub: Some(("premise", "hypothesis")),
            ..PAIR
        },
    },
    GlueTask {
        id: "sst-2",
        folder: "SST-2",
        kind: TaskKind::Classification {
            labels: &["negative", "positive"],
        },
        metrics: &[Accuracy],
        eval_splits: DEV,
        layout: Layout {
            first: "sentence",
            second: None,
            numbered: true,
            ..PAIR
        },
    },
    GlueTask {
        id: "mrpc",
        folder: "MRPC",
        kind: TaskKind::Classification {
            labels: &["not_equivalent", "equivalent"],
        },
        metrics: &[Accuracy, F1],
        eval_splits: DEV,
        layout: Layout {
            first: "#1 String",
            second: Some("#2 String"),
            label: "Quality",
            numbered: true,
            hub: Some(("sentence1", "sentence2")),
            ..PAIR
        },
    },
    GlueTask {
        id: "cola",
        folder: "CoLA",
        kind: TaskKind::Classification {
            labels: &["unacceptable", "acceptable"],
        },
        metrics: &[Matthews],
        eval_splits: DEV,
        layout: Layout {
            headless: Some(&["source", "label", "star", "sentence"]),
            first: "sentence",
            second: None,
            numbered: true,
            ..PAIR
        },
    },
    GlueTask {
        id: "qnli",
        folder: "QNLI",
        kind: ENTAILMENT,
        metrics: &[Accuracy],
        eval_splits: DEV,
        layout: Layout {
            first: "question",
            second: Some("sentence"),
            ..PAIR
        },
    },
    GlueTask {
        id: "qqp",
        folder: "QQP",
        kind: TaskKind::Classification {
            labels: &["not_duplicate", "duplicate"],
        },
        metrics: &[Accuracy, F1],
        eval_splits: DEV,
        layout: Layout {
            first: "question1",
            second: Some("question2"),
            label: "is_duplicate",
            numbered: true,
            skip_short: true,
            ..PAIR
        },
    },
    GlueTask {
        id: "rte",
        folder: "RTE",
        kind: ENTAILMENT,
        metrics: &[Accuracy],
        eval_splits: DEV,
        layout: PAIR,
    },
    GlueTask {
        id: "sts-b",
        folder: "STS-B",
        kind: TaskKind::Regression { min: 0.0, max: 5.0 },
        metrics: &[Pearson, Spearman],
        eval_splits: DEV,
        layout: Layout { label: "score", ..PAIR },
    },
    GlueTask {
        id: "wnli",
        folder: "WNLI",
        kind: TaskKind::Classification {
            labels: &["not_entailment", "entailment"],
        },
        metrics: &[Accuracy],
        eval_splits: DEV,
        layout: Layout { numbered: true, ..PAIR },
    },
];

/// The task of that name; case, `-` and `_` do not matter (`STS-B`, `sts-b`, `stsb`).
pub fn find(name: &str) -> Result<&'static GlueTask, DataError> {
    let plain = |s: &str| s.replace(['-', '_'], "").to_ascii_lowercase();
    TASKS
        .iter()
        .find(|t| plain(t.id) == plain(name))
        .ok_or_else(|| DataError::UnknownTask {
            name: name.to_owned(),
            known: TASKS.iter().map(|t| t.id).collect::<Vec<_>>().join(", "),
        })
}

/// A task's examples.
#[derive(Debug, Clone)]
pub struct GlueData {
    /// The task.
    pub task: &'static GlueTask,
    /// Training examples.
    pub train: LabelledSplit,
    /// Evaluation examples, in the order of [`GlueTask::eval_splits`].
    pub evals: Vec<LabelledSplit>,
    /// SHA-256, in hex, over the files read: train first, then the evaluation splits in order.
    pub sha256: String,
}

/// Reads a task from `dir/FOLDER` or `dir/glue_data/FOLDER`.
///
/// # Errors
/// Any [`DataError`] but `UnknownTask`: all files are read before anything is returned.
pub fn load(task: &'static GlueTask, dir: &Path) -> Result<GlueData, DataError> {
    let folder = task_folder(task, dir)?;
    let mut digest = Sha256::new();
    let mut split = |name: &'static str| -> Result<LabelledSplit, DataError> {
        let path = split_file(task, &folder, name)?;
        let file = TextFile::read(path, |bytes| {
            digest.update(name.as_bytes());
            digest.update((bytes.len() as u64).to_le_bytes());
            digest.update(bytes);
        })?;
        let is_json = file.path.extension().is_some_and(|e| e == "jsonl");
        let examples = if is_json {
            parse_jsonl(task, &file)?
        } else {
            parse_tsv(task, &file)?
        };
        Ok(LabelledSplit {
            name: name.to_owned(),
            examples,
        })
    };
    let train = split("train")?;
    let evals = task
        .eval_splits
        .iter()
        .map(|&name| split(name))
        .collect::<Result<_, _>>()?;
    Ok(GlueData {
        task,
        train,
        evals,
        sha256: format!("{:x}", digest.finalize()),
    })
}

fn task_folder(task: &GlueTask, dir: &Path) -> Result<PathBuf, DataError> {
    let tried = vec![dir.join(task.folder), dir.join("glue_data").join(task.folder)];
    if let Some(folder) = tried.iter().find(|f| f.is_dir()) {
        return Ok(folder.clone());
    }
    let splits = std::iter::once(&"train").chain(task.eval_splits);
    let files = splits.map(|s| format!("{s}.tsv")).collect::<Vec<_>>().join(", ");
    Err(DataError::NoFolder {
        task: task.id,
        folder: task.folder,
        tried,
        files,
    })
}

fn split_file(task: &GlueTask, folder: &Path, split: &'static str) -> Result<PathBuf, DataError> {
    let mut tried = vec![folder.join(format!("{split}.tsv"))];
    if task.layout.jsonl {
        tried.push(folder.join(format!("{split}.jsonl")));
        tried.push(folder.join(format!("multinli_1.0_{split}.jsonl")));
    }
    match tried.iter().find(|f| f.exists()) {
        Some(path) => Ok(path.clone()),
        None => Err(DataError::NoFile {
            task: task.id,
            split,
            tried,
        }),
    }
}

fn parse_tsv(task: &GlueTask, file: &TextFile) -> Result<Vec<Example>, DataError> {
    let Layout {
        headless,
        first,
        second,
        label,
        skip_short,
        ..
    } = task.layout;
    let mut lines = file.lines();
    let header = match headless {
        Some(names) => Header::fixed(names),
        None => match lines.next() {
            Some((_, line)) => Header::parse(line),
            None => {
                return Err(DataError::Empty {
                    path: file.path.clone(),
                    skipped: 0,
                });
            }
        },
    };
    let wanted = header.width();
    let first_at = header.find(first, &file.path)?;
    let second_at = second.map(|name| header.find(name, &file.path)).transpose()?;
    let label_at = header.find(label, &file.path)?;

    let mut skips = Skips::default();
    let mut examples = Vec::new();
    for (line, text) in lines {
        let row: Vec<&str> = text.split('\t').collect();
        let found = row.len();
        if found != wanted {
            if found < wanted && skip_short {
                skips.short += 1;
                continue;
            }
            return Err(DataError::Ragged {
                path: file.path.clone(),
                line,
                wanted,
                found,
            });
        }
        if let Some(label) = parse_label(task, row[label_at], label, &file.path, line)? {
            let second = second_at.map(|at| row[at].to_owned());
            examples.push(Example {
                first: row[first_at].to_owned(),
                second,
                label,
            });
        } else {
            skips.unlabelled += 1;
        }
    }
    finish(examples, skips, file)
}

fn parse_jsonl(task: &GlueTask, file: &TextFile) -> Result<Vec<Example>, DataError> {
    let path = &file.path;
    let mut skips = Skips::default();
    let mut examples = Vec::new();
    for (line, text) in file.lines() {
        let object = json_object(path, line, text)?;
        let first = json_text(&object, ["premise", "sentence1"], path, line)?;
        let second = json_text(&object, ["hypothesis", "sentence2"], path, line)?;
        let (key, value) = json_field(&object, ["label", "gold_label"], path, line)?;
        let label = match value {
            Value::String(name) => parse_label(task, name, key, path, line)?,
            // The hub's value for pairs without a majority label.
            Value::Number(n) if n.as_i64() == Some(-1) => None,
            Value::Number(n) => match n.as_u64() {
                Some(class) if class < task.outputs() as u64 => Some(Label::Class(class as usize)),
                _ => return Err(bad_label(task, &n.to_string(), key, path, line)),
            },
            other => return Err(bad_label(task, &other.to_string(), key, path, line)),
        };
        match label {
            Some(label) => examples.push(Example {
                first,
                second: Some(second),
                label,
            }),
            None => skips.unlabelled += 1,
        }
    }
    finish(examples, skips, file)
}

/// The label; `None` for MultiNLI pairs without a majority label (`-`), which are skipped.
fn parse_label(
    task: &GlueTask,
    text: &str,
    column: &'static str,
    path: &Path,
    line: usize,
) -> Result<Option<Label>, DataError> {
    match task.kind {
        TaskKind::Regression { min, max } => match text.parse::<f64>() {
            Ok(score) if (min..=max).contains(&score) => Ok(Some(Label::Score(score))),
            _ => Err(DataError::BadScore {
                path: path.to_path_buf(),
                line,
                column,
                found: text.to_owned(),
                min,
                max,
            }),
        },
        TaskKind::Classification { .. } if task.layout.jsonl && text == "-" => Ok(None),
        TaskKind::Classification { labels } => {
            let class = if task.layout.numbered {
                (0..labels.len()).find(|class| text == class.to_string())
            } else {
                labels.iter().position(|&name| name == text)
            };
            match class {
                Some(class) => Ok(Some(Label::Class(class))),
                None => Err(bad_label(task, text, column, path, line)),
            }
        }
    }
}

fn bad_label(task: &GlueTask, found: &str, column: &'static str, path: &Path, line: usize) -> DataError {
    let known = match task.kind {
        TaskKind::Classification { labels } if task.layout.numbered => labels
            .iter()
            .enumerate()
            .map(|(i, name)| format!("{i} ({name})"))
            .collect::<Vec<_>>()
            .join(", "),
        TaskKind::Classification { labels } => labels.join(", "),
        TaskKind::Regression { .. } => String::new(),
    };
    DataError::BadLabel {
        path: path.to_path_buf(),
        line,
        column,
        found: found.to_owned(),
        known,
    }
}

/// Numbers of skipped rows.
#[derive(Default)]
struct Skips {
    short: usize,
    unlabelled: usize,
}

fn finish(examples: Vec<Example>, skips: Skips, file: &TextFile) -> Result<Vec<Example>, DataError> {
    let path = &file.path;
    if examples.is_empty() {
        return Err(DataError::Empty {
            path: path.clone(),
            skipped: skips.short + skips.unlabelled,
        });
    }
    if skips.short > 0 {
        tracing::warn!("{}: {} rows with missing columns left out", path.display(), skips.short);
    }
    if skips.unlabelled > 0 {
        tracing::warn!(
            "{}: {} pairs without a majority label left out",
            path.display(),
            skips.unlabelled
        );
    }
    Ok(examples)
}
