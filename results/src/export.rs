//! Export of all runs as one flat table, for other programs.

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};

use clap::ValueEnum;
use polars::prelude::*;
use polars_io::parquet::write::ParquetWriter;
use serde_json::{Map, Value};

use crate::error::{Error, Result};
use crate::record::{Eval, RunRecord, Status};
use crate::store::Store;

/// Writes all runs as one flat table.
#[derive(Clone, Debug, clap::Args)]
pub struct Args {
    /// The file's format [default: that of the name of --out, or csv]
    #[arg(long, value_name = "FORMAT")]
    pub format: Option<Format>,
    /// What a row is
    #[arg(long, value_name = "ROW", default_value = "run")]
    pub by: Row,
    /// Folder of the store, which contains runs/
    #[arg(long, value_name = "DIR", default_value = "results")]
    pub results: PathBuf,
    /// The file to write [default: stdout]
    #[arg(long, value_name = "FILE")]
    pub out: Option<PathBuf>,
}

/// A format of files.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum Format {
    /// Comma-separated values with a header; an empty field is a missing value
    Csv,
    /// Apache Parquet, with the types of the columns
    Parquet,
    /// One JSON object a line
    Jsonl,
}

impl Format {
    /// The format that a file's name has; CSV without one.
    fn of(path: Option<&Path>) -> Format {
        match path.and_then(Path::extension).and_then(|ending| ending.to_str()) {
            Some("parquet") => Format::Parquet,
            Some("jsonl") => Format::Jsonl,
            _ => Format::Csv,
        }
    }
}

/// What a row of the table is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum Row {
    /// A run, with the metrics of its selected epoch
    Run,
    /// An evaluation of a run
    Epoch,
}

/// A value of a column.
#[derive(Clone, Debug, PartialEq)]
enum Cell {
    Missing,
    Text(String),
    Whole(i64),
    Real(f64),
    Flag(bool),
}

impl<T: Into<Cell>> From<Option<T>> for Cell {
    fn from(value: Option<T>) -> Cell {
        value.map_or(Cell::Missing, Into::into)
    }
}

impl From<&str> for Cell {
    fn from(text: &str) -> Cell {
        Cell::Text(text.to_owned())
    }
}

impl From<&String> for Cell {
    fn from(text: &String) -> Cell {
        Cell::Text(text.clone())
    }
}

impl From<i64> for Cell {
    fn from(number: i64) -> Cell {
        Cell::Whole(number)
    }
}

impl From<u64> for Cell {
    /// A number beyond 2^63 - 1, such as a seed may be, is a real one.
    fn from(number: u64) -> Cell {
        i64::try_from(number).map_or(Cell::Real(number as f64), Cell::Whole)
    }
}

impl From<u32> for Cell {
    fn from(number: u32) -> Cell {
        Cell::Whole(number.into())
    }
}

impl From<f64> for Cell {
    fn from(number: f64) -> Cell {
        if number.is_finite() {
            Cell::Real(number)
        } else {
            Cell::Missing
        }
    }
}

impl From<bool> for Cell {
    fn from(flag: bool) -> Cell {
        Cell::Flag(flag)
    }
}

impl From<&Value> for Cell {
    fn from(value: &Value) -> Cell {
        match value {
            Value::Null => Cell::Missing,
            Value::Bool(flag) => Cell::Flag(*flag),
            Value::Number(number) => match (number.as_i64(), number.as_f64()) {
                (Some(whole), _) => Cell::Whole(whole),
                (None, real) => real.into(),
            },
            Value::String(text) => Cell::Text(text.clone()),
            list => Cell::Text(list.to_string()),
        }
    }
}

impl Cell {
    fn json(&self) -> Value {
        match self {
            Cell::Missing => Value::Null,
            Cell::Text(text) => text.as_str().into(),
            Cell::Whole(number) => (*number).into(),
            Cell::Real(number) => (*number).into(),
            Cell::Flag(flag) => (*flag).into(),
        }
    }

    fn text(&self) -> String {
        match self.json() {
            Value::Null => String::new(),
            Value::String(text) => text,
            other => other.to_string(),
        }
    }
}

/// Cells by the names of their columns. Columns of all rows follow in one order: the fixed ones, settings, metrics.
type Cells = Vec<(String, Cell)>;

/// A table whose columns have a name and one type.
#[derive(Debug)]
struct Flat {
    columns: Vec<(String, Vec<Cell>)>,
}

/// What [`export`] did.
#[derive(Debug)]
pub struct Exported {
    /// The table, or the file that it was written to with the number of rows.
    pub said: String,
    /// The files of the store that are no records, and are not in the table.
    pub skipped: Vec<Error>,
}

/// Exports the table, and returns the text to print: the table, or a line about the file.
///
/// # Errors
/// [`Error::Invalid`] for a folder that is not a store, records that cannot be read, and Parquet without a file;
/// [`Error::Io`], [`Error::Query`].
pub fn export(args: &Args) -> Result<Exported> {
    let format = args.format.unwrap_or_else(|| Format::of(args.out.as_deref()));
    if format == Format::Parquet && args.out.is_none() {
        return Err(Error::Invalid {
            path: args.results.clone(),
            reason: "Parquet is binary: name a file with --out".into(),
        });
    }
    let store = Store::existing(&args.results)?;
    let (finished, failed) = (store.listing()?, store.failed()?);
    let skipped = finished.bad.into_iter().chain(failed.bad).collect();
    let runs = [finished.records, failed.records].concat();
    let bytes = bytes(&runs, args.by, format)?;
    let said = match &args.out {
        Some(path) => {
            support::write_atomic(path, &bytes)?;
            let rows = match args.by {
                Row::Run => support::counted(runs.len(), "run"),
                Row::Epoch => {
                    let epochs = support::counted(runs.iter().map(|run| run.evals.len()).sum(), "epoch");
                    format!("{epochs} of {}", support::counted(runs.len(), "run"))
                }
            };
            format!("{}: {rows}\n", path.display())
        }
        None => String::from_utf8_lossy(&bytes).into_owned(),
    };
    Ok(Exported { said, skipped })
}

/// The table of `runs` as a file.
///
/// # Errors
/// [`Error::Query`] for a table that cannot be written in the format.
pub fn bytes(runs: &[RunRecord], by: Row, format: Format) -> Result<Vec<u8>> {
    let rows: Vec<[Cells; 3]> = match by {
        Row::Run => runs.iter().map(run).collect(),
        Row::Epoch => runs.iter().flat_map(epochs).collect(),
    };
    let table = Flat::of(rows);
    match format {
        Format::Csv => table.csv(),
        Format::Jsonl => Ok(table.jsonl()),
        Format::Parquet => table.parquet(),
    }
}

/// The fixed columns that every row has.
fn names(run: &RunRecord) -> Cells {
    let kind = run.config.pointer("/method/kind").and_then(Value::as_str);
    columns(vec![
        ("id", (&run.id).into()),
        ("experiment", (&run.experiment).into()),
        ("preset", run.preset.as_ref().into()),
        ("label", (&run.label).into()),
        ("paper_row", run.paper_row.as_ref().into()),
        ("model", (&run.model).into()),
        ("task", (&run.task).into()),
        ("method", (&run.method).into()),
        ("kind", kind.into()),
        ("seed", run.seed.into()),
        ("tries_a_rate", run.tries_a_rate().into()),
    ])
}

fn columns(cells: Vec<(&str, Cell)>) -> Cells {
    cells.into_iter().map(|(name, cell)| (name.to_owned(), cell)).collect()
}

/// A run as fixed columns, settings and metrics.
fn run(run: &RunRecord) -> [Cells; 3] {
    let error = match &run.status {
        Status::Finished => None,
        Status::Failed { error } => Some(error),
    };
    let (p, t) = (&run.provenance, &run.timing);
    let mut fixed = names(run);
    fixed.extend(columns(vec![
        ("status", if run.finished() { "finished" } else { "failed" }.into()),
        ("error", error.into()),
        ("metric", (&run.metric).into()),
        ("best_value", run.best.map(|best| best.value).into()),
        ("best_epoch", run.best.map(|best| best.epoch).into()),
        ("epochs", run.evals.last().map(|eval| eval.epoch).into()),
        ("steps", run.evals.last().map(|eval| eval.step).into()),
        ("selection", (&run.selection).into()),
        ("train_rows", run.rows.as_ref().map(|rows| rows.train).into()),
        (
            "evaluated_rows",
            run.rows.as_ref().map(|rows| rows.evaluated.iter().sum::<u64>()).into(),
        ),
        ("base_params", run.params.base.into()),
        ("method_params", run.params.method.into()),
        ("head_params", run.params.head.into()),
        ("all_params", run.params.total_model.into()),
        ("started", (&t.started).into()),
        ("seconds", t.seconds.into()),
        ("train_seconds", t.train_seconds.into()),
        ("eval_seconds", t.eval_seconds.into()),
        ("tokens_per_second", t.tokens_per_second.into()),
        ("resumed", t.resumed.into()),
        ("peak_rss_mib", run.memory.peak_rss_mib.into()),
        ("peak_gpu_mib", run.memory.peak_gpu_mib.into()),
        ("device", (&p.device).into()),
        ("dtype", (&p.dtype).into()),
        ("threads", p.threads.into()),
        ("cpu", (&p.host.cpu).into()),
        ("commit", p.commit.as_ref().into()),
        ("dirty", p.dirty.into()),
        ("weights_sha256", p.weights_sha256.as_ref().into()),
        ("data_sha256", p.data_sha256.as_ref().into()),
        ("weights_source", p.weights_source.as_ref().into()),
        ("data_source", p.data_source.as_ref().into()),
    ]));
    let metrics = run.best_eval().map(metrics).unwrap_or_default();
    [fixed, settings(run), metrics]
}

/// The evaluations of a run, each as fixed columns, no settings, and metrics.
fn epochs(run: &RunRecord) -> Vec<[Cells; 3]> {
    let best = run.best.map(|best| best.epoch);
    let row = |eval: &Eval| {
        let mut fixed = names(run);
        fixed.extend(columns(vec![
            ("epoch", eval.epoch.into()),
            ("step", eval.step.into()),
            ("train_loss", eval.train_loss.into()),
            ("selected", (best == Some(eval.epoch)).into()),
        ]));
        [fixed, Vec::new(), metrics(eval)]
    };
    run.evals.iter().map(row).collect()
}

fn metrics(eval: &Eval) -> Cells {
    let named = eval.metrics.iter().map(|(key, value)| (key.clone(), (*value).into()));
    named.collect()
}

/// The settings that decide the numbers, as `config.train.lr` and so on. The names that other columns have are left out.
fn settings(run: &RunRecord) -> Cells {
    fn walk(path: &str, value: &Value, out: &mut Cells) {
        match value {
            Value::Object(map) => map
                .iter()
                .for_each(|(key, value)| walk(&format!("{path}.{key}"), value, out)),
            other => out.push((path.to_owned(), other.into())),
        }
    }
    const NAMES: [&str; 5] = ["experiment", "model", "task", "method_name", "seed"];
    let mut out = Cells::new();
    for (key, value) in run.config.as_object().into_iter().flatten() {
        if !NAMES.contains(&key.as_str()) {
            walk(&format!("config.{key}"), value, &mut out);
        }
    }
    out
}

impl Flat {
    /// One column for each name in any row. A column whose cells have several types is of text, or of real numbers if all
    /// are numbers.
    fn of(rows: Vec<[Cells; 3]>) -> Flat {
        let mut names: Vec<String> = Vec::new();
        let mut fixed = BTreeSet::new();
        for (name, _) in rows.iter().flat_map(|[fixed, ..]| fixed) {
            if fixed.insert(name.clone()) {
                names.push(name.clone());
            }
        }
        for part in [1, 2] {
            let more: BTreeSet<&String> = rows.iter().flat_map(|row| &row[part]).map(|(name, _)| name).collect();
            names.extend(more.into_iter().cloned());
        }
        let rows: Vec<BTreeMap<String, Cell>> = rows
            .into_iter()
            .map(|row| row.into_iter().flatten().collect())
            .collect();
        let column = |name: String| {
            let cells = rows.iter().map(|row| row.get(&name).cloned().unwrap_or(Cell::Missing));
            let cells = of_one_type(cells.collect());
            (name, cells)
        };
        Flat {
            columns: names.into_iter().map(column).collect(),
        }
    }

    fn height(&self) -> usize {
        self.columns.first().map_or(0, |(_, cells)| cells.len())
    }

    fn csv(&self) -> Result<Vec<u8>> {
        let mut writer = csv::Writer::from_writer(Vec::new());
        let mut write = |fields: Vec<String>| writer.write_record(&fields).map_err(|e| unwritable(&e));
        write(self.columns.iter().map(|(name, _)| name.clone()).collect())?;
        for row in 0..self.height() {
            write(self.columns.iter().map(|(_, cells)| cells[row].text()).collect())?;
        }
        writer.into_inner().map_err(|e| unwritable(&e))
    }

    fn jsonl(&self) -> Vec<u8> {
        let mut text = String::new();
        for row in 0..self.height() {
            let fields = self
                .columns
                .iter()
                .map(|(name, cells)| (name.clone(), cells[row].json()));
            text += &Value::Object(fields.collect::<Map<_, _>>()).to_string();
            text.push('\n');
        }
        text.into_bytes()
    }

    fn parquet(&self) -> Result<Vec<u8>> {
        let mut frame = DataFrame::new(
            self.columns
                .iter()
                .map(|(name, cells)| series(name, cells).into())
                .collect(),
        )?;
        let mut file = Vec::new();
        ParquetWriter::new(&mut file).finish(&mut frame)?;
        Ok(file)
    }
}

fn unwritable(error: &dyn std::fmt::Display) -> Error {
    Error::Query(PolarsError::ComputeError(error.to_string().into()))
}

/// The cells as one type, missing ones apart.
fn of_one_type(cells: Vec<Cell>) -> Vec<Cell> {
    let kinds: BTreeSet<u8> = cells.iter().filter_map(kind).collect();
    let numbers = kinds.iter().all(|kind| [1, 2].contains(kind));
    if kinds.len() < 2 {
        return cells;
    }
    let convert = |cell: Cell| match cell {
        Cell::Missing => Cell::Missing,
        Cell::Whole(number) if numbers => Cell::Real(number as f64),
        real if numbers => real,
        other => Cell::Text(other.text()),
    };
    cells.into_iter().map(convert).collect()
}

fn kind(cell: &Cell) -> Option<u8> {
    match cell {
        Cell::Missing => None,
        Cell::Text(_) => Some(0),
        Cell::Whole(_) => Some(1),
        Cell::Real(_) => Some(2),
        Cell::Flag(_) => Some(3),
    }
}

/// A column in polars; one without values is of text.
fn series(name: &str, cells: &[Cell]) -> Series {
    let name = PlSmallStr::from(name);
    match cells.iter().find_map(kind) {
        Some(1) => {
            let values = cells
                .iter()
                .map(|cell| if let Cell::Whole(n) = cell { Some(*n) } else { None });
            Series::new(name, values.collect::<Vec<_>>())
        }
        Some(2) => {
            let values = cells
                .iter()
                .map(|cell| if let Cell::Real(x) = cell { Some(*x) } else { None });
            Series::new(name, values.collect::<Vec<_>>())
        }
        Some(3) => {
            let values = cells
                .iter()
                .map(|cell| if let Cell::Flag(f) = cell { Some(*f) } else { None });
            Series::new(name, values.collect::<Vec<_>>())
        }
        _ => {
            let values = cells.iter().map(|cell| {
                if let Cell::Text(t) = cell {
                    Some(t.as_str())
                } else {
                    None
                }
            });
            Series::new(name, values.collect::<Vec<_>>())
        }
    }
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use polars_io::SerReader;
    use polars_io::parquet::read::ParquetReader;

    use super::*;

    fn published() -> Vec<RunRecord> {
        Store::existing(Path::new(env!("CARGO_MANIFEST_DIR")))
            .unwrap()
            .records()
            .unwrap()
    }

    #[test]
    fn every_format_has_every_run_once() {
        let runs = published();
        let json = String::from_utf8(bytes(&runs, Row::Run, Format::Jsonl).unwrap()).unwrap();
        let lines: Vec<Value> = json.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
        assert_eq!(lines.len(), runs.len());
        for (line, run) in lines.iter().zip(&runs) {
            assert_eq!(line["id"], run.id.as_str());
            assert_eq!(line["best_value"].as_f64(), run.best.map(|best| best.value));
            assert_eq!(line["config.train.lr"].as_f64(), run.config["train"]["lr"].as_f64());
            let score = run.best_eval().and_then(|eval| eval.metrics[&run.metric]);
            assert_eq!(line[&run.metric].as_f64(), score, "metrics have columns of their own");
        }
        let csv = bytes(&runs, Row::Run, Format::Csv).unwrap();
        let mut reader = csv::Reader::from_reader(&csv[..]);
        let header: Vec<String> = reader.headers().unwrap().iter().map(String::from).collect();
        assert_eq!(header[..3], ["id", "experiment", "preset"]);
        for (record, line) in reader.records().zip(&lines) {
            let record = record.unwrap();
            for (name, field) in header.iter().zip(record.iter()) {
                let wanted = match &line[name] {
                    Value::Null => String::new(),
                    Value::String(text) => text.clone(),
                    other => other.to_string(),
                };
                assert_eq!(field, wanted, "{name}");
            }
        }
        let parquet = bytes(&runs, Row::Run, Format::Parquet).unwrap();
        let frame = ParquetReader::new(std::io::Cursor::new(parquet)).finish().unwrap();
        assert_eq!((frame.height(), frame.width()), (runs.len(), header.len()));
        let values: Vec<Option<f64>> = frame.column("best_value").unwrap().f64().unwrap().iter().collect();
        assert_eq!(
            values,
            runs.iter()
                .map(|run| run.best.map(|best| best.value))
                .collect::<Vec<_>>()
        );
        assert_eq!(*frame.column("seed").unwrap().dtype(), DataType::Int64);
    }

    #[test]
    fn epochs_have_a_row_each() {
        let runs = published();
        let json = String::from_utf8(bytes(&runs, Row::Epoch, Format::Jsonl).unwrap()).unwrap();
        let lines: Vec<Value> = json.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
        assert_eq!(lines.len(), runs.iter().map(|run| run.evals.len()).sum::<usize>());
        let selected = lines.iter().filter(|line| line["selected"] == true).count();
        assert_eq!(selected, runs.iter().filter(|run| run.best.is_some()).count());
    }

    #[test]
    fn mixed_columns_have_one_type() {
        let mixed = of_one_type(vec![Cell::Whole(1), Cell::Missing, Cell::Real(0.5)]);
        assert_eq!(mixed, [Cell::Real(1.0), Cell::Missing, Cell::Real(0.5)]);
        let text = of_one_type(vec![Cell::Whole(1), Cell::Text("a".into()), Cell::Missing]);
        assert_eq!(text, [Cell::Text("1".into()), Cell::Text("a".into()), Cell::Missing]);
    }

    #[test]
    fn parquet_needs_a_file() {
        let args = Args {
            format: Some(Format::Parquet),
            by: Row::Run,
            results: env!("CARGO_MANIFEST_DIR").into(),
            out: None,
        };
        assert!(export(&args).unwrap_err().to_string().contains("--out"));
    }

    #[test]
    fn a_broken_record_is_left_out_and_named() {
        let dir = tempfile::tempdir().unwrap();
        let runs = dir.path().join("runs");
        std::fs::create_dir(&runs).unwrap();
        let whole = concat!(env!("CARGO_MANIFEST_DIR"), "/runs");
        let whole = std::fs::read_dir(whole).unwrap().next().unwrap().unwrap().path();
        std::fs::copy(&whole, runs.join(whole.file_name().unwrap())).unwrap();
        std::fs::write(runs.join("broken.json"), "{").unwrap();
        let args = Args {
            format: Some(Format::Csv),
            by: Row::Run,
            results: dir.path().into(),
            out: None,
        };
        let exported = export(&args).unwrap();
        assert_eq!(exported.said.lines().count(), 2);
        let [broken] = &exported.skipped[..] else { panic!() };
        assert!(broken.to_string().contains("broken.json"), "{broken}");
    }
}
