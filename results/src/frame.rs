//! Records as a polars data frame, and their summaries over seeds.

use std::collections::{BTreeMap, BTreeSet};

use polars::prelude::*;
use serde_json::Value;

use crate::error::Result;
use crate::record::RunRecord;

/// A metric at the best epoch, summarised over runs that differ in their seed alone.
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
    /// Settings in which runs of one preset, model, method and task differ: `lr=0.001`; empty if they do not.
    pub variant: String,
    /// [`RunRecord::task`].
    pub task: String,
    /// Key of the metric, such as `dev/accuracy`.
    pub metric: String,
    /// Median over seeds; `None` if the metric is undefined for all of them.
    pub median: Option<f64>,
    /// Mean over seeds.
    pub mean: Option<f64>,
    /// Sample standard deviation (n - 1); `None` for one seed.
    pub std: Option<f64>,
    /// Seeds for which the metric is defined, sorted.
    pub seeds: Vec<u64>,
    /// Seeds for which the metric is undefined, sorted.
    pub undefined: Vec<u64>,
    /// [`RunRecord::selection`].
    pub selection: String,
    /// Trained parameters without the head: minimum and maximum over the runs.
    pub params: (i64, i64),
    /// Trained parameters of the head: maximum over the runs.
    pub head: i64,
}

impl Summary {
    /// All seeds, whether or not the metric is defined for them, sorted.
    #[must_use]
    pub fn run_seeds(&self) -> Vec<u64> {
        let mut all: Vec<u64> = self.seeds.iter().chain(&self.undefined).copied().collect();
        all.sort_unstable();
        all
    }
}

/// One row per (finished run, metric at its best epoch). Columns: `id experiment preset label paper_row model task method
/// variant seed metric value selection base_params method_params head_params`. A run without a best epoch has one row, with its selection metric and no value.
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
        "selection" => text(|run| &run.selection),
        "base_params" => count(|run| run.params.base),
        "method_params" => count(|run| run.params.method),
        "head_params" => count(|run| run.params.head),
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

/// Summaries over seeds of a [`frame`], bit for bit independent of the order of runs.
///
/// # Errors
/// [`crate::Error::Query`].
pub fn summary(frame: DataFrame) -> Result<Vec<Summary>> {
    let trained = col("base_params") + col("method_params");
    let defined = col("value").is_not_null();
    let out = frame
        .lazy()
        // Floating-point sums depend on the order.
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

/// For each run, the settings that distinguish it from other runs of the same preset, model, method and task, so that runs with
/// different settings are never averaged. Usually empty: runs differ in their seed alone.
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

/// Keys whose values differ within `group`.
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
