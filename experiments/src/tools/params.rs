//! `lora params`: parameters counted in closed form and on the built model.

use crate::inputs::locator::ModelSource;
use anyhow::{Context, Result, ensure};
use clap::Args;
use lora_core::method;
use lora_core::model::{self, Arch};
use lora_core::nn::{Build, BuiltParams, Method};
use results::listing::{Column, listing, terminal_width, wrapped};
use results::paper::{PaperCount, PaperCounts};
use results::table::TERMINAL_WIDTH;
use serde_yaml::{Mapping, Value};

/// `lora params`
#[derive(Args, Debug)]
#[command(
    after_help = "Examples:\n  lora params --model roberta-large --method lora --set r=8\n  lora params --model DIR --method lora \\\n      --set targets=[query,key,value,attn_out]\n  lora params --paper\n\nNo weights, no files and no network are needed for the models known by name."
)]
pub struct ParamsArgs {
    /// A model known by name (roberta-base, roberta-large, ...), a Hugging Face model folder, or embedded:NAME
    #[arg(long, value_name = "NAME|DIR", required_unless_present = "paper")]
    pub model: Option<String>,
    /// Compare all counts of the paper's Tables 2, 3 and 4 with ours
    #[arg(long, conflicts_with_all = ["model", "method", "sets"])]
    pub paper: bool,
    /// The method; all methods by default
    #[arg(long, value_name = "NAME")]
    pub method: Option<String>,
    /// A setting of the method, such as r=8; may be repeated
    #[arg(long = "set", value_name = "KEY=VALUE")]
    pub sets: Vec<String>,
    /// Outputs of the head
    #[arg(long, value_name = "N", default_value_t = 2)]
    pub labels: i64,
}

/// The counts as a table.
///
/// # Errors
/// Unknown models, methods or settings; a closed form that disagrees with the model as built.
pub fn count(args: &ParamsArgs) -> Result<String> {
    let Some(model) = &args.model else { return paper() };
    ensure!(
        (1..=1_000_000).contains(&args.labels),
        "--labels must be from 1 to 1000000, not {}",
        args.labels
    );
    let config = ModelSource::shape(model)?;
    let arch = model::arch(&config)?;
    let shape = (arch.shape)(&config)?;
    let kinds: Vec<&str> = match &args.method {
        Some(kind) => vec![kind],
        None => method::all().iter().map(|m| m.kind).collect(),
    };
    let mut rows = Vec::new();
    let mut scaffolds = String::new();
    for kind in kinds {
        let settings = method_of(kind, if args.method.is_some() { &args.sets } else { &[] })?;
        let method = method::from_value(&settings)?;
        let counts = built(arch, &config, args.labels, method.as_ref())?.counts;
        let formula = method.expected_params(&shape);
        ensure!(
            formula == (counts.base, counts.method),
            "`{kind}`: the closed form gives {formula:?}, the model has {counts:?}"
        );
        let share = (counts.base + counts.method) as f64 / (counts.total - counts.head) as f64 * 100.0;
        let kept = method.kept_params(&shape);
        if kept != formula {
            scaffolds += &format!("`{kind}` keeps {} of these when training is over.\n", kept.0 + kept.1);
        }
        rows.push(vec![
            kind.to_owned(),
            counts.base.to_string(),
            counts.method.to_string(),
            counts.head.to_string(),
            format!("{share:.3}"),
            counts.total.to_string(),
        ]);
    }
    let heads = [
        "of the model",
        "of the method",
        "of the head",
        "% trained",
        "whole model",
    ];
    let mut columns = vec![Column::text("method")];
    columns.extend(heads.map(Column::number));
    let closing = "Trained parameters by owner. The paper counts the first two columns and leaves the head out.\n";
    Ok(page(&columns, rows, &format!("{closing}{scaffolds}")))
}

/// The model with `method`; its variables are allocated but never touched, so that they take no memory.
fn built(arch: &Arch, config: &serde_json::Value, labels: i64, method: &dyn Method) -> Result<BuiltParams> {
    let build = Build::new(method, 0).to_count();
    let _model = match arch.build {
        Some(_) => arch.classifier(config, labels, &build.scope()),
        None => arch.language_model(config, &build.scope()),
    }
    .with_context(|| format!("method {method:?}"))?;
    Ok(build.finish()?)
}

/// Models with more parameters are counted in closed form only: even untouched memory cannot be allocated in such amounts.
const BUILT_UP_TO: i64 = 10_000_000_000;

/// The paper's rows as a table.
fn paper() -> Result<String> {
    let counts = PaperCounts::load()?;
    let mut rows = Vec::new();
    let mut notes = String::new();
    for (row, count) in counts.rows.iter().map(|row| (row, paper_row(row))) {
        let counted = count.with_context(|| format!("Table {}, {}", row.table, row.id))?;
        let note = row.note.as_ref().map(|note| {
            let number = notes.lines().count() + 1;
            notes += &format!("[{number}] {} {}: {note}.\n", row.model, row.name);
            format!("[{number}]")
        });

        rows.push(vec![
            row.table.to_string(),
            row.model.clone(),
            row.name.clone(),
            setting(&row.method),
            counted.to_string(),
            row.printed_m.to_string(),
            note.unwrap_or_default(),
        ]);
    }
    let mut columns = ["table", "model", "row", "counted with"].map(Column::text).to_vec();
    columns.extend(["counted", "paper (M)"].map(Column::number));
    columns.push(Column::text("note"));
    let source = &counts.source;
    let closing = format!(
        "Paper: {source}. What is trained and kept, without the task's head: in closed form, and the same on the model as built, which those of more than 10 billion parameters are not.\n{notes}"
    );
    Ok(page(&columns, rows, &closing))
}

/// A table, and what is to say below it.
fn page(columns: &[Column], rows: Vec<Vec<String>>, closing: &str) -> String {
    let width = terminal_width();
    let closing = wrapped(closing, Some(width.unwrap_or(TERMINAL_WIDTH)));
    format!("{}\n{closing}", listing(columns, rows, width))
}

/// The trained parameters of a row in closed form; an error where they are not those of the model as built, if it fits in memory.
fn paper_row(row: &PaperCount) -> Result<i64> {
    let config = model::known_config(&row.model)?;
    let arch = model::arch(&config)?;
    let shape = (arch.shape)(&config)?;
    let method = method::from_value(&row.method)?;
    let (base, own) = method.kept_params(&shape);
    let formula = base + own;
    ensure!(
        row.agrees(formula) || row.note.is_some(),
        "{formula} is not what the paper prints, {}M, and no note says why",
        row.printed_m
    );
    if shape.total() > BUILT_UP_TO {
        return Ok(formula);
    }
    let built = built(arch, &config, 2, method.as_ref())?;
    let kept: usize = built.params.kept().iter().map(|(_, tensor)| tensor.numel()).sum();
    let as_built = kept as i64 - built.counts.head;
    ensure!(
        as_built == formula,
        "the closed form gives {formula}, the model has {as_built}"
    );
    Ok(formula)
}

/// A method's mapping on one short line: `lora r=8 targets=[query, value]`.
fn setting(method: &Value) -> String {
    let scalar = |v: &Value| serde_yaml::to_string(v).unwrap_or_default().trim().to_string();
    let mut words = Vec::new();
    for (key, value) in method.as_mapping().into_iter().flatten() {
        let value = match value {
            Value::Sequence(items) => format!("[{}]", items.iter().map(scalar).collect::<Vec<_>>().join(", ")),
            other => scalar(other),
        };
        match scalar(key) {
            key if key == "kind" => words.push(value),
            key => words.push(format!("{key}={value}")),
        }
    }
    words.join(" ")
}

/// The method `kind` with the settings `KEY=VALUE`.
pub(crate) fn method_of(kind: &str, sets: &[String]) -> Result<Value> {
    let mut map = Mapping::new();
    map.insert("kind".into(), kind.into());
    for set in sets {
        let (key, value) = set
            .split_once('=')
            .with_context(|| format!("--set {set}: expected key=value, such as r=8"))?;
        let value: Value =
            serde_yaml::from_str(value).with_context(|| format!("--set {set}: the value is not valid YAML"))?;
        map.insert(key.trim().into(), value);
    }
    Ok(Value::Mapping(map))
}
