//! Sweeps: runs that differ in adapted weights, rank, amount of data or method, as in Tables 5, 6, 15, 16 and 18 and Figure 2. Runs
//! are found by their resolved configs, whichever experiment they belong to.

use std::collections::{BTreeMap, BTreeSet};

use serde_json::{Map, Value};

use crate::analysis::Module;
use crate::estimator::Estimator;
use crate::frame::flatten;
use crate::record::RunRecord;
use crate::store::Selection;
use crate::table::Number;
use crate::verdict::Scores;

/// Settings of a run's method in the resolved config; empty if there are none.
pub(crate) fn settings(run: &RunRecord) -> &Map<String, Value> {
    static NONE: std::sync::LazyLock<Map<String, Value>> = std::sync::LazyLock::new(Map::new);
    run.config.get("method").and_then(Value::as_object).unwrap_or(&NONE)
}

/// Kind of a run's method: `lora`, `adapter_h`.
pub(crate) fn kind(run: &RunRecord) -> &str {
    settings(run).get("kind").and_then(Value::as_str).unwrap_or(&run.method)
}

/// Roles and printed indices of the matrices that are not among [`Module::ALL`].
const OTHER_MATRICES: [(&str, &str); 4] = [
    ("qkv", "qkv"),
    ("ffn_gate", "gate"),
    ("ffn_in", "ffn1"),
    ("ffn_out", "ffn2"),
];

/// Adapted weights (`Wq,Wv`), their number, and the rank of a LoRA run; `None` for other methods.
pub(crate) fn lora(run: &RunRecord) -> Option<(String, usize, u64)> {
    let settings = Some(settings(run)).filter(|_| kind(run) == "lora")?;
    let targets: Vec<&str> = settings
        .get("targets")?
        .as_array()?
        .iter()
        .filter_map(Value::as_str)
        .collect();
    let rank = settings.get("r")?.as_u64()?;
    Some((weights(&targets), targets.len(), rank))
}

fn weights(targets: &[&str]) -> String {
    let attention = Module::ALL.map(|module| (module.name(), module.letter()));
    let known: Vec<(&str, &str)> = attention.into_iter().chain(OTHER_MATRICES).collect();
    let mut named: Vec<(usize, &str)> = Vec::new();
    for &target in targets {
        let at = known.iter().position(|(name, _)| *name == target);
        named.push((at.unwrap_or(known.len()), at.map_or(target, |at| known[at].1)));
    }
    named.sort_unstable();
    named
        .iter()
        .map(|(_, name)| format!("W{name}"))
        .collect::<Vec<_>>()
        .join(",")
}

/// Settings of a run's method, without its kind: `r=8 alpha=16 Wq,Wv`.
pub(crate) fn settings_text(run: &RunRecord) -> String {
    settings_words(settings(run), "/method", &|_, _| true)
}

/// [`settings_text`] without settings that are neither sizes nor different among runs of this kind: `bottleneck=8`.
pub(crate) fn sizes_text(run: &RunRecord, among: &[&RunRecord]) -> String {
    let alike: Vec<&&RunRecord> = among.iter().filter(|other| kind(other) == kind(run)).collect();
    let shown = |path: &str, value: &Value| {
        let size = value.is_u64() || path.ends_with("/targets");
        size || alike.iter().any(|other| other.config.pointer(path) != Some(value))
    };
    settings_words(settings(run), "/method", &shown)
}

/// Settings of method and training without sizes: equal for methods that differ in size alone.
pub(crate) fn without_sizes(run: &RunRecord) -> String {
    let method = settings_words(settings(run), "/method", &|_, value| !value.is_u64());
    format!("{method} {:?}", run.config.get("train"))
}

/// Settings that `shown` accepts by path and value; `at` is the path of `settings` in the config.
fn settings_words(settings: &Map<String, Value>, at: &str, shown: &dyn Fn(&str, &Value) -> bool) -> String {
    let word = |(key, value): (&String, &Value)| {
        let path = format!("{at}/{key}");
        match (key.as_str(), value) {
            ("kind" | "train", _) => None,
            (_, Value::Object(part)) => Some(format!("{key}: {}", settings_words(part, &path, shown))),
            _ if !shown(&path, value) => None,
            ("targets", Value::Array(targets)) => {
                Some(weights(&targets.iter().filter_map(Value::as_str).collect::<Vec<_>>()))
            }
            (_, value) => Some(format!("{key}={}", plain(value))),
        }
    };
    settings.iter().filter_map(word).collect::<Vec<_>>().join(" ")
}

fn plain(value: &Value) -> String {
    match value {
        Value::String(text) => text.clone(),
        Value::Array(all) if all.is_empty() => "none".to_owned(),
        Value::Array(all) => all.iter().map(plain).collect::<Vec<_>>().join(","),
        other => other.to_string(),
    }
}

/// Model and data of a run: the first part of its label.
pub(crate) fn data_words(run: &RunRecord) -> &str {
    let first = run.label.split(';').next().unwrap_or(&run.label);
    first.trim_end_matches(", not a row of the paper")
}

/// Trained parameters without the head, as the paper counts.
pub(crate) fn trained(run: &RunRecord) -> i64 {
    run.params.base.saturating_add(run.params.method)
}

/// Limit on the rows of training data, if any.
pub(crate) fn rows_of_data(run: &RunRecord) -> Option<u64> {
    run.config.get("limit")?.get("train")?.as_u64()
}

/// Name and value, in per cent, of the metric that represents a run in a sweep: for generated texts BLEU, ROUGE-1 or the logical
/// form, otherwise the metric that selected the epoch. The value is `None` if undefined; there is no metric for runs scored by
/// their loss.
pub(crate) fn headline(run: &RunRecord) -> Option<(String, Option<f64>)> {
    let percent = |value: f64| Some(value * 100.0).filter(|value| value.is_finite());
    let (split, name) = run.metric.split_once('/').unwrap_or(("", &run.metric));
    let of = if split == "dev_matched" { "matched " } else { "" };
    let name = format!("{of}{name}");
    let Some(eval) = run.best_eval() else {
        return (name != "loss").then_some((name, None));
    };
    for (ending, name) in [
        ("test/BLEU", "BLEU"),
        ("test/rouge1", "ROUGE-1"),
        ("/logical_form", "logical form"),
    ] {
        if let Some((_, Some(value))) = eval.metrics.iter().find(|(key, _)| key.ends_with(ending)) {
            return Some((name.to_owned(), percent(*value)));
        }
    }
    let value = eval.metrics.get(&run.metric)?.and_then(percent);
    (name != "loss").then_some((name, value))
}

/// Printed name of a task: `MRPC` for `mrpc`.
pub(crate) fn printed_task(run: &RunRecord) -> String {
    const NAMES: [&str; 14] = [
        "MNLI", "SST-2", "MRPC", "CoLA", "QNLI", "QQP", "RTE", "STS-B", "WNLI", "E2E", "WebNLG", "DART", "WikiSQL",
        "SAMSum",
    ];
    let same =
        |name: &&&str| name.eq_ignore_ascii_case(&run.task) || name.replace('-', "").eq_ignore_ascii_case(&run.task);
    NAMES
        .iter()
        .find(same)
        .map_or_else(|| run.task.clone(), |name| (*name).to_owned())
}

/// Finished runs on the largest amount of data of their model and task, which leaves out the runs of the low-data table.
pub(crate) fn full_data(selection: &Selection) -> Vec<&RunRecord> {
    let size = |run: &RunRecord| rows_of_data(run).unwrap_or(u64::MAX);
    let mut most: BTreeMap<(&str, &str), u64> = BTreeMap::new();
    let runs = of_one_rule(selection);
    for run in &runs {
        let most = most.entry((&run.model, &run.task)).or_default();
        *most = size(run).max(*most);
    }
    runs.into_iter()
        .filter(|run| most.get(&(run.model.as_str(), run.task.as_str())) == Some(&size(run)))
        .collect()
}

/// Finished runs that tables and figures of many settings may set side by side: where a model and task have runs with configured
/// learning rates and runs with rates chosen on held-out rows, the former alone. The others have a table of their own.
pub(crate) fn of_one_rule(selection: &Selection) -> Vec<&RunRecord> {
    let place = |run: &RunRecord| (run.model.clone(), run.task.clone());
    let configured: BTreeSet<(String, String)> = finished(selection)
        .filter(|run| run.rates.is_none())
        .map(place)
        .collect();
    finished(selection)
        .filter(|run| run.rates.is_none() || !configured.contains(&place(run)))
        .collect()
}

/// The finished runs.
pub(crate) fn finished(selection: &Selection) -> impl Iterator<Item = &RunRecord> {
    selection.runs.iter().filter(|run| run.finished())
}

/// One value of one run, with its row and column.
#[derive(Clone, Debug)]
pub(crate) struct SweepValue<'a> {
    /// Heads of the row.
    pub(crate) row: Vec<String>,
    /// The column.
    pub(crate) column: String,
    /// Value in the column's unit; `None` if undefined.
    pub(crate) value: Option<f64>,
    /// The run.
    pub(crate) run: &'a RunRecord,
}

/// A cell of a sweep: scores over seeds.
#[derive(Clone, Debug, Default, PartialEq)]
pub(crate) struct SweepCell {
    /// Aggregate of the defined scores by the task's [`Estimator`].
    pub(crate) number: Option<Number>,
    /// The defined scores.
    pub(crate) scores: Scores,
    /// Seeds for which the metric is undefined.
    pub(crate) undefined: BTreeSet<u64>,
}

/// A row of a sweep.
#[derive(Clone, Debug)]
pub(crate) struct SweepRow<'a> {
    /// Heads of the row.
    pub(crate) heads: Vec<String>,
    /// Settings, other than those swept, that distinguish the row from others with the same heads; usually empty.
    pub(crate) variant: String,
    /// Cells by column.
    pub(crate) cells: BTreeMap<String, SweepCell>,
    /// Runs behind the row.
    pub(crate) runs: Vec<&'a RunRecord>,
}

impl SweepRow<'_> {
    /// The first `heads` heads and the variant, for sentences.
    pub(crate) fn name(&self, heads: usize) -> String {
        let name = self.heads[..heads].join(" ");
        if self.variant.is_empty() {
            name
        } else {
            format!("{name} ({})", self.variant)
        }
    }

    /// Scores of the columns that `key` maps.
    pub(crate) fn scores<K: Ord>(&self, key: impl Fn(&str) -> Option<K>) -> BTreeMap<K, Scores> {
        let known = self
            .cells
            .iter()
            .filter_map(|(column, level)| Some((key(column)?, level.scores.clone())));
        known.collect()
    }
}

/// Groups values into rows. A cell never mixes runs that differ in more than their seed: runs with different settings get rows of
/// their own, named after these settings. `swept` lists prefixes of config keys that rows and columns already represent
/// (`method.r`).
pub(crate) fn collect<'a>(entries: &[SweepValue<'a>], swept: &[&str]) -> Vec<SweepRow<'a>> {
    let mut rows: BTreeMap<&Vec<String>, Vec<(&SweepValue<'a>, Recipe)>> = BTreeMap::new();
    for entry in entries {
        rows.entry(&entry.row)
            .or_default()
            .push((entry, recipe(entry.run, swept)));
    }
    let mut out = Vec::new();
    for (heads, entries) in rows {
        let mut columns: BTreeMap<&str, BTreeSet<&Recipe>> = BTreeMap::new();
        for (entry, recipe) in &entries {
            columns.entry(&entry.column).or_default().insert(recipe);
        }
        if columns.values().all(|recipes| recipes.len() == 1) {
            out.push(row(heads, String::new(), entries.iter().map(|(entry, _)| *entry)));
            continue;
        }
        let recipes: BTreeSet<&Recipe> = entries.iter().map(|(_, recipe)| recipe).collect();
        for &recipe in &recipes {
            let own = entries
                .iter()
                .filter(|(_, other)| other == recipe)
                .map(|(entry, _)| *entry);
            out.push(row(heads, differing(recipe, &recipes), own));
        }
    }
    out
}

/// [`collect`] without rows of a single cell.
pub(crate) fn compared<'a>(entries: &[SweepValue<'a>], swept: &[&str]) -> Vec<SweepRow<'a>> {
    let mut rows = collect(entries, swept);
    rows.retain(|row| row.cells.len() > 1);
    rows
}

/// Flattened config with the hash of the weights.
type Recipe = BTreeMap<String, String>;

fn recipe(run: &RunRecord, swept: &[&str]) -> Recipe {
    let mut all = flatten(&run.config);
    all.retain(|key, _| {
        key != "method_name" && key != "experiment" && !swept.iter().any(|start| key.starts_with(start))
    });
    if let Some(hash) = &run.provenance.weights_sha256 {
        all.insert("weights".to_owned(), hash.chars().take(12).collect());
    }
    all
}

/// All inputs of a run: settings, weights, data, task and seed, without the names that it was requested under. Records with equal
/// inputs are the same run.
pub(crate) fn inputs(run: &RunRecord) -> String {
    let p = &run.provenance;
    let mut settings = recipe(run, &[]);
    if p.weights_sha256.is_some() {
        settings.remove("model");
    }
    let went_in = (&p.weights_sha256, &p.data_sha256, &p.dtype);
    format!("{settings:?} {} {} {went_in:?}", run.task, run.seed)
}

/// Settings of `one` that are not the same in all.
fn differing(one: &Recipe, all: &BTreeSet<&Recipe>) -> String {
    let keys: BTreeSet<&String> = all.iter().flat_map(|recipe| recipe.keys()).collect();
    let differs = keys
        .into_iter()
        .filter(|key| all.iter().any(|other| other.get(*key) != one.get(*key)));
    differs
        .map(|key| format!("{key}={}", one.get(key).map_or("none", |v| v)))
        .collect::<Vec<_>>()
        .join(" ")
}

/// Values by seed and run id.
type Seeds<'a> = BTreeMap<u64, BTreeMap<&'a str, Option<f64>>>;

fn row<'a, 'b>(heads: &[String], variant: String, entries: impl Iterator<Item = &'b SweepValue<'a>>) -> SweepRow<'a>
where
    'a: 'b,
{
    // Several runs of a seed count once, by their mean.
    let mut cells: BTreeMap<String, (Estimator, Seeds)> = BTreeMap::new();
    let mut runs: Vec<&RunRecord> = Vec::new();
    for entry in entries {
        let estimator = Estimator::of(&entry.run.task);
        let (_, seeds) = cells
            .entry(entry.column.clone())
            .or_insert_with(|| (estimator, BTreeMap::new()));
        let runs_of = seeds.entry(entry.run.seed).or_default();
        runs_of.insert(&entry.run.id, entry.value);
        if !runs.iter().any(|run| run.id == entry.run.id) {
            runs.push(entry.run);
        }
    }
    let cells = cells
        .into_iter()
        .map(|(column, (estimator, seeds))| (column, level(estimator, seeds)));
    SweepRow {
        heads: heads.to_vec(),
        variant,
        cells: cells.collect(),
        runs,
    }
}

fn level(estimator: Estimator, seeds: Seeds) -> SweepCell {
    let mut level = SweepCell::default();
    for (seed, runs) in seeds {
        // Floating-point sums depend on the order: by id.
        let defined: Vec<f64> = runs.values().copied().flatten().collect();
        if defined.is_empty() {
            level.undefined.insert(seed);
        } else {
            level.scores.seeds.insert(seed, mean(&defined).value);
        }
    }
    let scores: Vec<f64> = level.scores.seeds.values().copied().collect();
    level.number = (!scores.is_empty()).then(|| Number {
        n: Some(scores.len() + level.undefined.len()),
        ..estimator.number(&scores)
    });
    level.scores.printed = level.number.map(|number| number.value);
    level
}

/// [`Estimator::Mean`] of the values.
pub(crate) fn mean(values: &[f64]) -> Number {
    Estimator::Mean.number(values)
}

/// Settings, other than those swept, that differ between cells of a row, for the table's notes.
pub(crate) fn uneven_settings(rows: &[SweepRow<'_>], swept: &[&str]) -> Vec<String> {
    let mut out = BTreeSet::new();
    for row in rows {
        let recipes: Vec<Recipe> = row.runs.iter().map(|run| recipe(run, swept)).collect();
        let keys: BTreeSet<&String> = recipes.iter().flat_map(BTreeMap::keys).collect();
        for key in keys {
            let values: BTreeSet<&str> = recipes
                .iter()
                .map(|r| r.get(key).map_or("none", String::as_str))
                .collect();
            if values.len() > 1 && key != "task" {
                out.insert(format!("{key} ({})", values.into_iter().collect::<Vec<_>>().join(", ")));
            }
        }
    }
    out.into_iter().collect()
}
