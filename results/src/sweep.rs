//! Runs side by side that differ in what is swept (weights, rank, amount of data, method): the query behind Tables 5, 6, 15, 16
//! and 18 and Figure 2. It asks the resolved configs, so it does not matter which experiment a run was computed for.

use std::collections::{BTreeMap, BTreeSet};

use serde_json::{Map, Value};

use crate::analysis::Module;
use crate::estimator::Estimator;
use crate::frame::flatten;
use crate::record::RunRecord;
use crate::store::Selection;
use crate::table::Number;
use crate::verdict::Scores;

/// The settings of a run's method, as its resolved config has them; empty for records without.
pub(crate) fn settings(run: &RunRecord) -> &Map<String, Value> {
    static NONE: std::sync::LazyLock<Map<String, Value>> = std::sync::LazyLock::new(Map::new);
    run.config.get("method").and_then(Value::as_object).unwrap_or(&NONE)
}

/// The kind of a run's method: `lora`, `adapter_h`.
pub(crate) fn kind(run: &RunRecord) -> &str {
    settings(run).get("kind").and_then(Value::as_str).unwrap_or(&run.method)
}

/// Roles and printed indices of the matrices that are not among [`Module::ALL`].
const OTHER_MATRICES: [(&str, &str); 3] = [("qkv", "qkv"), ("ffn_in", "ffn1"), ("ffn_out", "ffn2")];

/// The weights that a LoRA run adapts (`Wq,Wv`) with how many they are, and its rank; `None` of other methods.
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

/// The settings of a run's method in words, without its kind: `r=8 alpha=16 Wq,Wv`.
pub(crate) fn described(run: &RunRecord) -> String {
    words(settings(run), "/method", &|_, _| true)
}

/// [`described`], less what is no size and the same in all runs of this kind: `bottleneck=8`.
pub(crate) fn sizes(run: &RunRecord, among: &[&RunRecord]) -> String {
    let alike: Vec<&&RunRecord> = among.iter().filter(|other| kind(other) == kind(run)).collect();
    let shown = |path: &str, value: &Value| {
        let size = value.is_u64() || path.ends_with("/targets");
        size || alike.iter().any(|other| other.config.pointer(path) != Some(value))
    };
    words(settings(run), "/method", &shown)
}

/// What methods have in common that differ in their sizes alone: which weights, how they begin, how they are trained.
pub(crate) fn but_for_sizes(run: &RunRecord) -> String {
    let method = words(settings(run), "/method", &|_, value| !value.is_u64());
    format!("{method} {:?}", run.config.get("train"))
}

/// `at` is the settings' path in the config; `shown` is asked of each by its path.
fn words(settings: &Map<String, Value>, at: &str, shown: &dyn Fn(&str, &Value) -> bool) -> String {
    let word = |(key, value): (&String, &Value)| {
        let path = format!("{at}/{key}");
        match (key.as_str(), value) {
            ("kind" | "train", _) => None,
            (_, Value::Object(part)) => Some(format!("{key}: {}", words(part, &path, shown))),
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

/// Parameters trained without the head, as the paper counts.
pub(crate) fn trained(run: &RunRecord) -> i64 {
    run.params.base.saturating_add(run.params.method)
}

/// Rows of training data, if not all.
pub(crate) fn rows_of_data(run: &RunRecord) -> Option<u64> {
    run.config.get("limit")?.get("train")?.as_u64()
}

/// The one number that stands for a run in a sweep, in per cent, with what it is: the metric that chose the epoch, or of
/// generated texts BLEU, ROUGE-1 or the logical form. Without a value where it is undefined; none where a run has no such number.
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

/// A task as it is written in print: `mrpc` as `MRPC`.
pub(crate) fn task(run: &RunRecord) -> String {
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

/// The finished runs that were trained on as much data as any other of the same model and task: what was computed for the
/// low-data table is not mixed with the rest.
pub(crate) fn full_data(selection: &Selection) -> Vec<&RunRecord> {
    let size = |run: &RunRecord| rows_of_data(run).unwrap_or(u64::MAX);
    let mut most: BTreeMap<(&str, &str), u64> = BTreeMap::new();
    for run in finished(selection) {
        let most = most.entry((&run.model, &run.task)).or_default();
        *most = size(run).max(*most);
    }
    finished(selection)
        .filter(|run| most.get(&(run.model.as_str(), run.task.as_str())) == Some(&size(run)))
        .collect()
}

/// The finished runs.
pub(crate) fn finished(selection: &Selection) -> impl Iterator<Item = &RunRecord> {
    selection.runs.iter().filter(|run| run.finished())
}

/// One value of one run: where it stands in a table.
#[derive(Clone, Debug)]
pub(crate) struct Entry<'a> {
    /// What names the row.
    pub(crate) row: Vec<String>,
    /// The column.
    pub(crate) column: String,
    /// In the column's unit; none where it is undefined.
    pub(crate) value: Option<f64>,
    /// Its run.
    pub(crate) run: &'a RunRecord,
}

/// What the seeds of one cell have.
#[derive(Clone, Debug, Default, PartialEq)]
pub(crate) struct Level {
    /// Of the seeds for which the metric is defined, the number that the estimator of the task makes of them.
    pub(crate) number: Option<Number>,
    /// Each of these.
    pub(crate) scores: Scores,
    /// Seeds for which it is undefined.
    pub(crate) undefined: BTreeSet<u64>,
}

/// A row of a sweep.
#[derive(Clone, Debug)]
pub(crate) struct SweepRow<'a> {
    /// What names it.
    pub(crate) heads: Vec<String>,
    /// Settings apart from those swept in which it differs from other rows of the same name; usually empty.
    pub(crate) variant: String,
    /// By column.
    pub(crate) cells: BTreeMap<String, Level>,
    /// The runs behind it.
    pub(crate) runs: Vec<&'a RunRecord>,
}

impl SweepRow<'_> {
    /// Its first `heads`, and what sets it apart from rows of the same name: for sentences.
    pub(crate) fn name(&self, heads: usize) -> String {
        let name = self.heads[..heads].join(" ");
        if self.variant.is_empty() {
            name
        } else {
            format!("{name} ({})", self.variant)
        }
    }

    /// The scores of its columns, where `key` knows them.
    pub(crate) fn scores<K: Ord>(&self, key: impl Fn(&str) -> Option<K>) -> BTreeMap<K, Scores> {
        let known = self
            .cells
            .iter()
            .filter_map(|(column, level)| Some((key(column)?, level.scores.clone())));
        known.collect()
    }
}

/// Collects entries into rows. A cell never mixes runs that differ in more than their seed: where a cell has several such
/// groups, each gets a row, named after its settings. `swept` are the beginnings of the config's keys which rows and columns
/// already stand for (`method.r`).
pub(crate) fn collect<'a>(entries: &[Entry<'a>], swept: &[&str]) -> Vec<SweepRow<'a>> {
    let mut rows: BTreeMap<&Vec<String>, Vec<(&Entry<'a>, Recipe)>> = BTreeMap::new();
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

/// [`collect`], less the rows of one cell: nothing stands beside it.
pub(crate) fn compared<'a>(entries: &[Entry<'a>], swept: &[&str]) -> Vec<SweepRow<'a>> {
    let mut rows = collect(entries, swept);
    rows.retain(|row| row.cells.len() > 1);
    rows
}

/// A flattened config, and which weights went in.
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

/// What a run asks: its settings and what went in, but for the experiment and the names that it was computed under. Records of one
/// question are one run.
pub(crate) fn question(run: &RunRecord) -> String {
    let p = &run.provenance;
    let mut settings = recipe(run, &[]);
    if p.weights_sha256.is_some() {
        settings.remove("model");
    }
    let went_in = (&p.weights_sha256, &p.data_sha256, &p.dtype);
    format!("{settings:?} {} {} {went_in:?}", run.task, run.seed)
}

/// What sets `one` apart from the others.
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

/// What each seed has, by the ids of its runs.
type Seeds<'a> = BTreeMap<u64, BTreeMap<&'a str, Option<f64>>>;

fn row<'a, 'b>(heads: &[String], variant: String, entries: impl Iterator<Item = &'b Entry<'a>>) -> SweepRow<'a>
where
    'a: 'b,
{
    // A seed that was run under two names counts once, with the mean of its runs.
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

fn level(estimator: Estimator, seeds: Seeds) -> Level {
    let mut level = Level::default();
    for (seed, runs) in seeds {
        // Sums of floats depend on their order: by id.
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

/// Their mean as [`Estimator`] has it.
pub(crate) fn mean(values: &[f64]) -> Number {
    Estimator::Mean.number(values)
}

/// Where cells of one row differ in settings that are not swept, in words: said below the table.
pub(crate) fn uneven(rows: &[SweepRow<'_>], swept: &[&str]) -> Vec<String> {
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
