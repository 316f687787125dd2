//! GLUE tasks as the data set `nyu-mll/glue` of the Hugging Face hub keeps them: parquet, a folder a task
//! (`mrpc/train-00000-of-00001.parquet`, `mrpc/validation-00000-of-00001.parquet`), any number of files a split.

use std::path::Path;

use polars::prelude::{Column, DataType, PolarsError};
use sha2::{Digest, Sha256};

use crate::parquet_rows::{frame, numbered};
use crate::{DataError, Example, GlueData, GlueTask, Label, LabelledSplit, TaskKind};

const LABEL: &str = "label";

/// Reads a task from a folder that is laid out as `nyu-mll/glue`.
///
/// The files are trusted: on corrupt bytes polars may exhaust memory, which aborts the process. [`Hub::glue`](crate::Hub::glue)
/// compares hashes first.
///
/// # Errors
/// `NoFile`, `Read`, `Empty`, `Parquet` or `ParquetRow` of [`DataError`]: all files are read before anything is returned.
pub fn load(task: &'static GlueTask, dir: &Path) -> Result<GlueData, DataError> {
    let names = names(task, dir);
    let mut digest = Sha256::new();
    let mut split = |split: &'static str| -> Result<LabelledSplit, DataError> {
        let files = shards(task, split, names.iter().map(String::as_str)).map_err(|missing| DataError::NoFile {
            task: task.id,
            split,
            tried: vec![dir.join(missing)],
        })?;
        digest.update(split.as_bytes());
        let mut examples = Vec::new();
        for path in files.iter().map(|f| dir.join(f)) {
            let bytes = std::fs::read(&path).map_err(|source| DataError::Read {
                path: path.clone(),
                source,
            })?;
            digest.update((bytes.len() as u64).to_le_bytes());
            digest.update(&bytes);
            read(task, &path, bytes, &mut examples)?;
        }
        if examples.is_empty() {
            return Err(DataError::Empty {
                path: dir.join(&files[0]),
                skipped: 0,
            });
        }
        Ok(LabelledSplit {
            name: split.to_owned(),
            examples,
        })
    };
    let train = split("train")?;
    let evals = task.eval_splits.iter().map(|&name| split(name));
    Ok(GlueData {
        task,
        train,
        evals: evals.collect::<Result<_, _>>()?,
        sha256: format!("{:x}", digest.finalize()),
    })
}

/// The files of all splits among `names`, which are paths from the data set's folder.
///
/// # Errors
/// The path of a file that is missing.
pub(crate) fn files<'a>(task: &GlueTask, names: impl Iterator<Item = &'a str> + Clone) -> Result<Vec<String>, String> {
    let splits = std::iter::once(&"train").chain(task.eval_splits);
    let files = splits.map(|split| shards(task, split, names.clone()));
    Ok(files.collect::<Result<Vec<_>, _>>()?.concat())
}

/// Paths of the files in the task's folder, relative to `dir`; none if the folder cannot be read.
pub(crate) fn names(task: &GlueTask, dir: &Path) -> Vec<String> {
    let config = task.hub_config();
    let entries = std::fs::read_dir(dir.join(&config)).into_iter().flatten().flatten();
    // Without dangling links to deleted blobs.
    let files = entries.filter(|e| e.path().is_file());
    files
        .map(|e| format!("{config}/{}", e.file_name().to_string_lossy()))
        .collect()
}

/// The files of one split in order, or the path of one that is missing.
fn shards<'a>(task: &GlueTask, split: &str, names: impl Iterator<Item = &'a str>) -> Result<Vec<String>, String> {
    let stem = format!("{}/{}-", task.hub_config(), split.replace("dev", "validation"));
    numbered(&stem, names)
}

fn read(task: &GlueTask, path: &Path, bytes: Vec<u8>, examples: &mut Vec<Example>) -> Result<(), DataError> {
    let bad = |problem| DataError::Parquet {
        path: path.to_path_buf(),
        problem,
    };
    let (first, second) = task.hub_columns();
    let wanted: Vec<String> = [Some(first), second, Some(LABEL)]
        .into_iter()
        .flatten()
        .map(str::to_owned)
        .collect();
    let frame = frame(bytes, Some(&wanted)).map_err(bad)?;
    let texts = |name: &str| -> Result<_, DataError> {
        let column = frame.column(name).map_err(|e| bad(e.to_string()))?;
        column.str().map_err(|_| {
            bad(format!(
                "column \"{name}\" is of type {}, wanted strings",
                column.dtype()
            ))
        })
    };
    let text = |name: &str, row: usize, text: Option<&str>| {
        text.map(str::to_owned)
            .ok_or_else(|| bad_row(path, row, format!("nothing in column \"{name}\"")))
    };
    let labels = labels(task, path, frame.column(LABEL).map_err(|e| bad(e.to_string()))?)?;
    let mut seconds = second.map(|name| Ok((name, texts(name)?.iter()))).transpose()?;
    for (row, (one, label)) in texts(first)?.iter().zip(labels).enumerate() {
        let second = seconds
            .as_mut()
            .map(|(name, texts)| text(name, row, texts.next().flatten()))
            .transpose()?;
        examples.push(Example {
            first: text(first, row, one)?,
            second,
            label,
        });
    }
    Ok(())
}

fn labels(task: &GlueTask, path: &Path, column: &Column) -> Result<Vec<Label>, DataError> {
    let wrong = |wanted: &str| DataError::Parquet {
        path: path.to_path_buf(),
        problem: format!("column \"{LABEL}\" is of type {}, wanted {wanted}", column.dtype()),
    };
    let each = |row: usize, label: Option<Label>, found: Option<String>, wanted: &str| {
        let found = found.map_or("nothing".to_owned(), |f| f.to_string());
        label.ok_or_else(|| bad_row(path, row, format!("{found} in column \"{LABEL}\", wanted {wanted}")))
    };
    match task.kind {
        TaskKind::Classification { labels } if column.dtype().is_integer() => {
            let numbers = column.cast(&DataType::Int64).map_err(|_| wrong("int64"))?;
            let numbers = numbers.i64().map_err(|_| wrong("int64"))?;
            let class = |n: Option<i64>| n.and_then(|n| usize::try_from(n).ok()).filter(|&c| c < labels.len());
            let known: Vec<String> = labels
                .iter()
                .enumerate()
                .map(|(i, name)| format!("{i} ({name})"))
                .collect();
            let known = known.join(", ");
            let rows = numbers.iter().enumerate();
            rows.map(|(row, n)| each(row, class(n).map(Label::Class), n.map(|n| n.to_string()), &known))
                .collect()
        }
        TaskKind::Regression { min, max } if column.dtype().is_float() => {
            let scores = scores(column).map_err(|_| wrong("float32 or float64"))?;
            let score = |s: Option<f64>| s.filter(|s| (min..=max).contains(s)).map(Label::Score);
            let range = format!("a number from {min} to {max}");
            let rows = scores.into_iter().enumerate();
            rows.map(|(row, s)| each(row, score(s), s.map(|s| s.to_string()), &range))
                .collect()
        }
        TaskKind::Classification { .. } => Err(wrong("int64")),
        TaskKind::Regression { .. } => Err(wrong("float32 or float64")),
    }
}

/// Scores as decimals, as in GLUE's own files: a float32 3.2 is 3.2 and not 3.2000000477.
fn scores(column: &Column) -> Result<Vec<Option<f64>>, PolarsError> {
    if let Ok(narrow) = column.f32() {
        let decimal = |s: f32| s.to_string().parse().unwrap_or(f64::from(s));
        return Ok(narrow.iter().map(|s| s.map(decimal)).collect());
    }
    Ok(column.f64()?.iter().collect())
}

fn bad_row(path: &Path, row: usize, problem: String) -> DataError {
    DataError::ParquetRow {
        path: path.to_path_buf(),
        row,
        problem,
    }
}
