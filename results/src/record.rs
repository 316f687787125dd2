//! [`RunRecord`]: the record of one training run, one JSON file each.

use std::collections::BTreeMap;
use std::path::Path;

use serde::{Deserialize, Serialize};

use crate::error::{Error, Result};
use crate::json::{self, Schemas};

/// Version of the JSON layout; increases when a field is added, renamed or changes its meaning.
///
/// Since 5 the file must have a line `"checksum"` behind the schema: SHA-256 of the file without that line. Files of earlier schemas
/// may have it.
pub const SCHEMA: u32 = 7;

const SCHEMAS: Schemas = Schemas {
    known: SCHEMA,
    sealed: 5,
};

/// One run: its config, its results and their provenance.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct RunRecord {
    /// [`SCHEMA`] of the program that wrote the record.
    pub schema: u32,
    /// 16 lower-case hex digits: a hash of the resolved config and of the input files.
    pub id: String,
    /// The experiment, such as `glue`.
    pub experiment: String,
    /// Name of the preset, if any.
    pub preset: Option<String>,
    /// Description of the numbers: "MiniLM-L6-H384 on real GLUE; not a row of the paper".
    pub label: String,
    /// Id of the row of the paper's table (`paper/table2.yaml`) that was run in exactly this setting; `None` if anything differs.
    pub paper_row: Option<String>,
    /// The model's name.
    pub model: String,
    /// The task, such as `mrpc`.
    pub task: String,
    /// The method's display id, such as `lora`.
    pub method: String,
    /// Further names under which the same run was requested. Since schema 3.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub also: Vec<RunName>,
    /// Seed of the run.
    pub seed: u64,
    /// The resolved config.
    pub config: serde_json::Value,
    /// How the run ended.
    pub status: Status,
    /// Key (in [`Eval::metrics`]) of the metric that selects the best epoch, such as `dev/accuracy`.
    pub metric: String,
    /// All evaluations, in order.
    pub evals: Vec<Eval>,
    /// The selected evaluation; `None` if the metric was never defined.
    pub best: Option<Best>,
    /// Selection rule: "best epoch on dev".
    pub selection: String,
    /// The names of the classes, of a task that is a user's own file. Since schema 4.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub classes: Vec<String>,
    /// How the learning rate was chosen, where several were tried. Since schema 4.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub rates: Option<RateChoice>,
    /// The rows that the run had. Since schema 7.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub rows: Option<Rows>,
    /// Parameter counts.
    pub params: Params,
    /// Program, inputs and machine.
    pub provenance: Provenance,
    /// Time.
    pub timing: Timing,
    /// Peak memory.
    pub memory: Memory,
}

/// The rows of a run, after all limits.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Rows {
    /// Rows to train on.
    pub train: u64,
    /// Rows of each set that is evaluated, such as MNLI's matched and mismatched ones.
    pub evaluated: Vec<u64>,
    /// Whether a row has two texts.
    pub paired: bool,
}

/// Names under which a run was requested; they influence neither its numbers nor its id.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct RunName {
    /// As [`RunRecord::experiment`].
    pub experiment: String,
    /// As [`RunRecord::preset`].
    pub preset: Option<String>,
    /// As [`RunRecord::label`].
    pub label: String,
    /// As [`RunRecord::paper_row`].
    pub paper_row: Option<String>,
    /// As [`RunRecord::model`].
    pub model: String,
    /// As [`RunRecord::method`].
    pub method: String,
}

/// How a run ended.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case", deny_unknown_fields)]
pub enum Status {
    /// Completed.
    Finished,
    /// Stopped by an error.
    Failed {
        /// The error with all its causes, on one line.
        error: String,
    },
}

/// One evaluation.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Eval {
    /// Epochs completed, from 1; 0 is before training.
    pub epoch: u32,
    /// Optimiser steps completed.
    pub step: u64,
    /// Mean training loss since the previous evaluation.
    pub train_loss: Option<f64>,
    /// Metrics as `split/metric` (`dev/accuracy`, `dev_matched/accuracy`), as fractions; `None` where undefined.
    pub metrics: BTreeMap<String, Option<f64>>,
}

/// The selected evaluation.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Best {
    /// [`Eval::epoch`] of the evaluation.
    pub epoch: u32,
    /// Value of [`RunRecord::metric`] in that evaluation.
    pub value: f64,
}

/// A learning rate chosen by runs on a part of the training rows.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct RateChoice {
    /// The chosen rate.
    pub rate: f64,
    /// The metric that decided, such as `held_out/accuracy`.
    pub metric: String,
    /// One training row of so many was held out.
    pub held_out: u64,
    /// All rates, ascending.
    pub tried: Vec<TriedRate>,
}

/// A learning rate that was tried.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct TriedRate {
    /// The rate.
    pub rate: f64,
    /// The metric of each run; `None` if undefined, or if the run failed.
    pub scores: Vec<Option<f64>>,
    /// Ids of these runs.
    pub runs: Vec<String>,
}

impl TriedRate {
    /// The mean score; `None` if one is undefined.
    #[must_use]
    pub fn mean(&self) -> Option<f64> {
        let scores: Option<Vec<f64>> = self.scores.iter().copied().collect();
        let scores = scores.filter(|scores| !scores.is_empty())?;
        Some(scores.iter().sum::<f64>() / scores.len() as f64)
    }
}

impl RateChoice {
    /// Whether the best rate is the lowest or the highest that was tried, so that a better one may lie beyond.
    #[must_use]
    pub fn at_an_end(&self) -> bool {
        let ends = [self.tried.first(), self.tried.last()];
        ends.into_iter().flatten().any(|tried| tried.rate == self.rate)
    }
}

/// Parameter counts. Trained parameters are split by owner.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Params {
    /// Trained parameters of the pretrained model.
    pub base: i64,
    /// Trained parameters added by the method.
    pub method: i64,
    /// Trained parameters of the task's head, which the paper does not count.
    pub head: i64,
    /// All parameters, trained or frozen.
    pub total_model: i64,
}

/// Program, inputs and machine that the numbers come from.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Provenance {
    /// Commit of the program.
    pub commit: Option<String>,
    /// Whether tracked files differed from that commit.
    pub dirty: bool,
    /// SHA-256 of the pretrained weights.
    pub weights_sha256: Option<String>,
    /// SHA-256 of the task's data files.
    pub data_sha256: Option<String>,
    /// SHA-256 of the keys of the model's config.json that are read. Since schema 3.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub config_sha256: Option<String>,
    /// SHA-256 of the tokenizer's files. Since schema 3.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub tokenizer_sha256: Option<String>,
    /// SHA-256 of the scorers' data files, by name of the scorer. Since schema 3.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub scorer_data: BTreeMap<String, String>,
    /// Hub source of the weights: `OWNER/NAME@COMMIT`. Since schema 2.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub weights_source: Option<String>,
    /// Hub source of the data. Since schema 2.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub data_source: Option<String>,
    /// Versions of libtorch, tch and this program.
    pub versions: BTreeMap<String, String>,
    /// Device, such as `cpu` or `cuda:0`.
    pub device: String,
    /// Number type of the computation, such as `fp32`.
    pub dtype: String,
    /// Threads of the computation; of each rank, where there are several.
    pub threads: u32,
    /// The ranks that shared the run, where there were several. Since schema 6.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub ranks: Option<RankShare>,
    /// The machine.
    pub host: Host,
}

impl Provenance {
    /// Device, number type, threads and ranks: `cpu (AMD EPYC), fp32, 1 thread`.
    #[must_use]
    pub fn place(&self) -> String {
        let cpu = match self.host.cpu.as_str() {
            "" => String::new(),
            cpu => format!(" ({cpu})"),
        };
        let (device, dtype, n) = (&self.device, &self.dtype, self.threads);
        let ranks = match self.ranks {
            Some(ranks) => format!(" in each of {} ranks", ranks.world_size),
            None => String::new(),
        };
        format!(
            "{device}{cpu}, {dtype}, {n} thread{}{ranks}",
            if n == 1 { "" } else { "s" }
        )
    }
}

/// The ranks of a run, and what they sent each other in its last attempt.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct RankShare {
    /// The number of ranks.
    pub world_size: u32,
    /// Bytes that each rank puts into the sum of a step: the gradients of what is trained.
    pub bytes_per_step: u64,
    /// Steps of the attempt.
    pub steps: u64,
    /// Microseconds of a step in the sum, including waiting for the slowest rank.
    pub microseconds_per_step: u64,
}

/// The machine of a run.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Host {
    /// Operating system.
    pub os: String,
    /// Instruction set.
    pub arch: String,
    /// Name of the processor.
    pub cpu: String,
}

/// Time of a run.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Timing {
    /// Start, RFC 3339.
    pub started: String,
    /// Wall-clock seconds, summed over resumptions.
    pub seconds: f64,
    /// Seconds spent training.
    pub train_seconds: f64,
    /// Seconds spent evaluating.
    pub eval_seconds: f64,
    /// Training throughput in tokens without padding.
    pub tokens_per_second: Option<f64>,
    /// Number of resumptions from a checkpoint.
    pub resumed: u32,
}

/// Peak memory of a run, in MiB.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Memory {
    /// Resident memory of the process.
    pub peak_rss_mib: Option<f64>,
    /// Memory of the GPU.
    pub peak_gpu_mib: Option<f64>,
}

impl RunRecord {
    /// Reads a record; `path` is used in error messages only.
    ///
    /// # Errors
    /// [`Error::Corrupt`] with line and column (half-written, unknown or missing keys), [`Error::Damaged`],
    /// [`Error::NewerSchema`], [`Error::Invalid`].
    pub fn from_json(text: &[u8], path: &Path) -> Result<Self> {
        let mut record: Self = json::versioned(text, SCHEMAS, path)?;
        record.validate(path)?;
        record.by_matched();
        Ok(record)
    }

    /// Converts an older record of MNLI, selected by the accuracy over both dev sets (then `dev/accuracy`), to selection by the
    /// matched set, so that older and newer records share a table.
    fn by_matched(&mut self) {
        const MATCHED: &str = "dev_matched/accuracy";
        let known = |eval: &Eval| eval.metrics.contains_key(MATCHED);
        if self.task != "mnli" || self.metric != "dev/accuracy" || !self.evals.iter().all(known) {
            return;
        }
        for eval in &mut self.evals {
            if let Some(pooled) = eval.metrics.remove("dev/accuracy") {
                eval.metrics.insert("dev_pooled/accuracy".into(), pooled);
            }
        }
        self.metric = MATCHED.into();
        let scored = |eval: &Eval| Some((eval.epoch, (*eval.metrics.get(MATCHED)?)?));
        let best = if self.selection == "last epoch" {
            self.best_eval().and_then(scored)
        } else {
            let first_best = |best: (u32, f64), next: (u32, f64)| if next.1 > best.1 { next } else { best };
            self.evals.iter().filter_map(scored).reduce(first_best)
        };
        self.best = best.map(|(epoch, value)| Best { epoch, value });
    }

    /// The record as indented JSON with its checksum and a closing newline. Numbers that are not finite become `null`.
    ///
    /// # Errors
    /// [`Error::Invalid`] for a record that could not be read back.
    pub fn to_json(&self) -> Result<Vec<u8>> {
        Ok(json::sealed(&self.content()?))
    }

    /// [`RunRecord::to_json`] without the line of the checksum.
    ///
    /// # Errors
    /// As [`RunRecord::to_json`].
    pub fn content(&self) -> Result<Vec<u8>> {
        self.validate(Path::new(&format!("{}.json", self.id)))?;
        let mut text = serde_json::to_vec_pretty(self).map_err(|source| Error::Serialise {
            id: self.id.clone(),
            source,
        })?;
        text.push(b'\n');
        Ok(text)
    }

    /// The part of the record that a repetition of the run must reproduce exactly: all but further names, timing, memory, commit,
    /// dirty flag and host.
    #[must_use]
    pub fn numbers(&self) -> serde_json::Value {
        // A record is plain structs, strings and numbers, which a JSON value can always hold.
        let mut all = serde_json::to_value(self).unwrap_or_default();
        if let Some(map) = all.as_object_mut() {
            map.retain(|key, _| !["timing", "memory", "also"].contains(&key.as_str()));
        }
        if let Some(map) = all.get_mut("provenance").and_then(serde_json::Value::as_object_mut) {
            map.retain(|key, _| !["commit", "dirty", "host"].contains(&key.as_str()));
        }
        all
    }

    /// The names of the first request.
    #[must_use]
    pub fn named(&self) -> RunName {
        RunName {
            experiment: self.experiment.clone(),
            preset: self.preset.clone(),
            label: self.label.clone(),
            paper_row: self.paper_row.clone(),
            model: self.model.clone(),
            method: self.method.clone(),
        }
    }

    /// Adds names unless the record has them; returns whether they were added.
    pub fn add_name(&mut self, name: RunName) -> bool {
        let new = self.named() != name && !self.also.contains(&name);
        if new {
            self.also.push(name);
        }
        new
    }

    /// One copy of the record for each of its names.
    #[must_use]
    pub fn under_each_name(&self) -> Vec<RunRecord> {
        let names = std::iter::once(self.named()).chain(self.also.iter().cloned());
        let under = |name: RunName| RunRecord {
            experiment: name.experiment,
            preset: name.preset,
            label: name.label,
            paper_row: name.paper_row,
            model: name.model,
            method: name.method,
            also: Vec::new(),
            ..self.clone()
        };
        names.map(under).collect()
    }

    /// Name of the method in tables and figures: the kind, where an experiment uses another id for it (`bare` is `head`, `prefix` is
    /// some kind of prefix).
    #[must_use]
    pub fn shown_method(&self) -> &str {
        const ALIASES: [&str; 3] = ["bare", "prefix", "ft_top2"];
        let kind = self.config.pointer("/method/kind").and_then(serde_json::Value::as_str);
        kind.filter(|_| ALIASES.contains(&self.method.as_str()))
            .unwrap_or(&self.method)
    }

    /// Whether the run completed.
    #[must_use]
    pub fn finished(&self) -> bool {
        self.status == Status::Finished
    }

    /// Whether the run tries a learning rate on a part of the training rows. It stands in no table or figure.
    #[must_use]
    pub fn tries_a_rate(&self) -> bool {
        self.config.pointer("/limit/held_out").is_some()
    }

    /// The evaluation that [`RunRecord::best`] refers to.
    #[must_use]
    pub fn best_eval(&self) -> Option<&Eval> {
        let best = self.best?;
        self.evals.iter().find(|eval| eval.epoch == best.epoch)
    }

    fn validate(&self, path: &Path) -> Result<()> {
        let fail = |reason: String| {
            Err(Error::Invalid {
                path: path.to_owned(),
                reason,
            })
        };
        if self.schema == 0 || self.schema > SCHEMA {
            return fail(format!("schema is {}; this program writes {SCHEMA}", self.schema));
        }
        if !is_id(&self.id) {
            return fail(format!("id {:?} is not 16 lower-case hex digits", self.id));
        }
        if self.best.is_some() && self.best_eval().is_none() {
            return fail("best refers to an epoch without evaluation".into());
        }
        let times = [self.timing.seconds, self.timing.train_seconds, self.timing.eval_seconds];
        if !times
            .iter()
            .chain(self.best.iter().map(|b| &b.value))
            .all(|x| x.is_finite())
        {
            return fail("a time or the best value is not a finite number; leave best out where there is none".into());
        }
        Ok(())
    }
}

/// Whether `id` is a valid id of a run or an analysis.
pub(crate) fn is_id(id: &str) -> bool {
    id.len() == 16 && id.bytes().all(|b| matches!(b, b'0'..=b'9' | b'a'..=b'f'))
}
