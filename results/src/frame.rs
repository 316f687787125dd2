//! The records as a polars frame, and the query that the tables are made of.

use std::collections::{BTreeMap, BTreeSet};

use polars::prelude::*;
use serde_json::Value;

use crate::error::Result;
use crate::record::RunRecord;

/// One group of runs that differ by seed alone: one metric at each run's best epoch, over the seeds.
#[derive(Clone, Debug, PartialEq)]
pub struct Summary {
    /// [`RunRecord::preset`].
    pub preset: Option<String>,
    /// [`RunRecord::label`].
    pub label: String,
    /// [`RunRecord::paper_row`].
    pub paper_row: Option<String>,
    /// [`RunRecord::model`].
    pub model: String,
    /// [`RunRecord::shown_method`].
    pub method: String,
    /// The settings, if any, in which runs of one preset, model, method and task differ: `lr=0.001`.
    pub variant: String,
    /// [`RunRecord::task`].
    pub task: String,
    /// Key of the metric, such as `dev/accuracy`.
    pub metric: String,
    /// Median over the seeds; `None` where the metric is undefined for all of them.
    pub median: Option<f64>,
    /// Mean over the seeds.
    pub mean: Option<f64>,
    /// Sample standard deviation (n - 1); `None` for one seed.
    pub std: Option<f64>,
    /// Seeds for which the metric is defined, sorted: those that the numbers above are made of.
    pub seeds: Vec<u64>,
    /// Seeds for which it is undefined, sorted.
    pub undefined: Vec<u64>,
    /// [`RunRecord::selection`].
    pub selection: String,
    /// Trained parameters without the head: smallest and largest over the runs.
    pub params: (i64, i64),
    /// Trained parameters of the head: the most of any run.
    pub head: i64,
}

impl Summary {
    /// The seeds that were run, whether the metric is defined for them or not.
    #[must_use]
    pub fn run_seeds(&self) -> Vec<u64> {
        let mut all: Vec<u64> = self.seeds.iter().chain(&self.undefined).copied().collect();
        all.sort_unstable();
        all
    }
}

/// One row a (finished run, metric at its best epoch). Columns: `id experiment preset label paper_row model task method
/// variant seed metric value epoch selection base_params method_params head_params total_params device dtype seconds`.
/// A run without a best epoch has one row, with its own metric and no value.
///
/// # Errors
/// [`crate::Error::Query`].
pub fn frame(runs: &[RunRecord]) -> Result<DataFrame> {
    let variants = variants(runs);
    let mut rows: Vec<(&RunRecord, &str, &str, Option<f64>)> = Vec::new();
    for (run, variant) in runs.iter().zip(&variants).filter(|(run, _)| run.finished()) {
        match run.best_eval() {
            Some(eval) => rows.extend(
                eval.metrics
                    .iter()
                    .map(|(key, value)| (run, variant.as_str(), key.as_str(), *value)),
            ),
            None => rows.push((run, variant, &run.metric, None)),
        }
    }
    let text = |f: fn(&RunRecord) -> &str| rows.iter().map(|row| f(row.0)).collect::<Vec<_>>();
    let maybe = |f: fn(&RunRecord) -> Option<&str>| rows.iter().map(|row| f(row.0)).collect::<Vec<_>>();
    let count = |f: fn(&RunRecord) -> i64| rows.iter().map(|row| f(row.0)).collect::<Vec<_>>();
    Ok(df!(
        "id" => text(|run| &run.id),
        "experiment" => text(|run| &run.experiment),
        "preset" => maybe(|run| run.preset.as_deref()),
        "label" => text(|run| &run.label),
        "paper_row" => maybe(|run| run.paper_row.as_deref()),
        "model" => text(|run| &run.model),
        "task" => text(|run| &run.task),
        "method" => text(RunRecord::shown_method),
        "variant" => rows.iter().map(|row| row.1).collect::<Vec<_>>(),
        "seed" => rows.iter().map(|row| row.0.seed).collect::<Vec<_>>(),
        "metric" => rows.iter().map(|row| row.2).collect::<Vec<_>>(),
        "value" => rows.iter().map(|row| row.3.filter(|value| value.is_finite())).collect::<Vec<_>>(),
        "epoch" => rows.iter().map(|row| row.0.best.map(|best| best.epoch)).collect::<Vec<_>>(),
        "selection" => text(|run| &run.selection),
        "base_params" => count(|run| run.params.base),
        "method_params" => count(|run| run.params.method),
        "head_params" => count(|run| run.params.head),
        "total_params" => count(|run| run.params.total_model),
        "device" => text(|run| &run.provenance.device),
        "dtype" => text(|run| &run.provenance.dtype),
        "seconds" => rows.iter().map(|row| row.0.timing.seconds).collect::<Vec<_>>(),
    )?)
}

const KEYS: [&str; 10] = [
    "experiment",
    "preset",
    "label",
    "paper_row",
    "model",
    "method",
    "variant",
    "task",
    "metric",
    "selection",
];

/// Summaries over the seeds of a [`frame`]: the same bits for the same runs in any order.
///
/// # Errors
/// [`crate::Error::Query`].
pub fn summary(frame: DataFrame) -> Result<Vec<Summary>> {
    let trained = col("base_params") + col("method_params");
    let defined = col("value").is_not_null();
    let out = frame
        .lazy()
        // Sums of floats depend on their order: the same runs shall give the same bits, however they are listed.
        .sort(["seed", "id"], SortMultipleOptions::default())
        .with_column(trained.alias("trained"))
        .group_by_stable(KEYS.map(col))
        .agg([
            col("value").median().alias("median"),
            col("value").mean().alias("mean"),
            col("value").std(1).alias("std"),
            col("seed")
                .filter(defined.clone())
                .sort(SortOptions::default())
                .alias("seeds"),
            col("seed")
                .filter(defined.not())
                .sort(SortOptions::default())
                .alias("undefined"),
            col("trained").min().alias("fewest"),
            col("trained").max().alias("most"),
            col("head_params").max().alias("head"),
        ])
        .collect()?;
    (0..out.height())
        .map(|i| summary_row(&out, i).map_err(Into::into))
        .collect()
}

fn summary_row(out: &DataFrame, i: usize) -> PolarsResult<Summary> {
    let maybe = |name: &str| -> PolarsResult<Option<String>> { Ok(out.column(name)?.str()?.get(i).map(String::from)) };
    let text = |name: &str| -> PolarsResult<String> { Ok(maybe(name)?.unwrap_or_default()) };
    let number = |name: &str| -> PolarsResult<Option<f64>> { Ok(out.column(name)?.f64()?.get(i)) };
    let count = |name: &str| -> PolarsResult<i64> { Ok(out.column(name)?.i64()?.get(i).unwrap_or_default()) };
    let seeds = |name: &str| -> PolarsResult<Vec<u64>> {
        let list = out.column(name)?.list()?.get_as_series(i);
        list.map_or(Ok(Vec::new()), |seeds| Ok(seeds.u64()?.iter().flatten().collect()))
    };
    Ok(Summary {
        preset: maybe("preset")?,
        label: text("label")?,
        paper_row: maybe("paper_row")?,
        model: text("model")?,
        method: text("method")?,
        variant: text("variant")?,
        task: text("task")?,
        metric: text("metric")?,
        median: number("median")?,
        mean: number("mean")?,
        std: number("std")?,
        seeds: seeds("seeds")?,
        undefined: seeds("undefined")?,
        selection: text("selection")?,
        params: (count("fewest")?, count("most")?),
        head: count("head")?,
    })
}

/// For each run the settings that set it apart from other runs of the same preset, model, method and task, so that two
/// learning rates never end in one median. Empty where runs differ by seed alone, which is the rule.
fn variants(runs: &[RunRecord]) -> Vec<String> {
    let flat: Vec<BTreeMap<String, String>> = runs.iter().map(|run| flatten(&run.config)).collect();
    let mut by_method: BTreeMap<_, BTreeMap<&str, Vec<usize>>> = BTreeMap::new();
    for (i, run) in runs.iter().enumerate() {
        let key = (
            &run.experiment,
            &run.preset,
            &run.label,
            &run.paper_row,
            &run.model,
            run.shown_method(),
        );
        by_method.entry(key).or_default().entry(&run.task).or_default().push(i);
    }
    let mut variants = vec![String::new(); runs.len()];
    for tasks in by_method.values() {
        let differing: BTreeSet<&String> = tasks.values().flat_map(|group| differing(group, &flat)).collect();
        for &i in tasks.values().flatten() {
            let settings = differing
                .iter()
                .map(|&key| format!("{key}={}", flat[i].get(key).map_or("none", |v| v)));
            variants[i] = settings.collect::<Vec<_>>().join(" ");
        }
    }
    variants
}

/// The keys whose values are not the same in all of `group`.
fn differing<'a>(group: &[usize], flat: &'a [BTreeMap<String, String>]) -> Vec<&'a String> {
    let keys: BTreeSet<&String> = group.iter().flat_map(|&i| flat[i].keys()).collect();
    let differs = |key: &&String| group.iter().any(|&i| flat[i].get(*key) != flat[group[0]].get(*key));
    keys.into_iter().filter(differs).collect()
}

/// `{"optim": {"lr": 1}}` as `optim.lr -> 1`, without the seed.
pub(crate) fn flatten(config: &Value) -> BTreeMap<String, String> {
    fn walk(prefix: &str, value: &Value, out: &mut BTreeMap<String, String>) {
        match value {
            Value::Object(map) => {
                for (key, value) in map {
                    let path = if prefix.is_empty() {
                        key.clone()
                    } else {
                        format!("{prefix}.{key}")
                    };
                    walk(&path, value, out);
                }
            }
            Value::String(text) => drop(out.insert(prefix.to_owned(), text.clone())),
            other => drop(out.insert(prefix.to_owned(), other.to_string())),
        }
    }
    let mut out = BTreeMap::new();
    walk("", config, &mut out);
    out.remove("seed");
    out
}
