//! Errors of data files: each message names the problem, its place, and the expected input.

use std::path::{Path, PathBuf};

use support::excerpt;

/// Longest quotation of a field, in characters.
const FIELD: usize = 80;
/// Longest description of a problem, in characters.
const SENTENCE: usize = 300;

/// A data set that could not be loaded.
#[derive(Debug, thiserror::Error)]
pub enum DataError {
    /// A task name that is not in [`crate::TASKS`].
    #[error("{}", support::unknown("task", .name, .known.split(", ")))]
    UnknownTask {
        /// The name as given.
        name: String,
        /// The ids of all tasks.
        known: String,
    },
    /// A task without a generator.
    #[error("task {task} has no generated form; give --data DIR, or leave the task out")]
    NotGenerated {
        /// The task's id.
        task: &'static str,
    },
    /// The task's folder is missing.
    #[error("task {task}: no folder {}; --data names the folder that holds {folder}/ with {files} (GLUE's own layout)", list(.tried, " or "))]
    NoFolder {
        /// The task's id.
        task: &'static str,
        /// The folder's name in the GLUE distribution.
        folder: &'static str,
        /// Folders that were tried.
        tried: Vec<PathBuf>,
        /// The files that it should hold.
        files: String,
    },
    /// A split's file is missing.
    #[error("task {task}: the file of split \"{split}\" is missing; wanted {}", list(.tried, " or "))]
    NoFile {
        /// The task's id.
        task: &'static str,
        /// The split's name.
        split: &'static str,
        /// The names accepted for it.
        tried: Vec<PathBuf>,
    },
    /// A file that exists and cannot be read.
    #[error("{}: cannot be read{}", .path.display(), searched(.path))]
    Read {
        /// The file.
        path: PathBuf,
        /// Why.
        source: std::io::Error,
    },
    /// Bytes that are not UTF-8.
    #[error("{}:{line}: not UTF-8 (byte {offset} of the file); save the file as UTF-8", .path.display())]
    Encoding {
        /// The file.
        path: PathBuf,
        /// Line of the first bad byte, from 1.
        line: usize,
        /// Its offset in the file, from 0.
        offset: usize,
    },
    /// No example in the file.
    #[error("{}: no examples in it{}", .path.display(), left_out(*.skipped))]
    Empty {
        /// The file.
        path: PathBuf,
        /// Rows that were there and had to be skipped.
        skipped: usize,
    },
    /// A column that the task needs is not in the header.
    #[error("{}:1: no column \"{wanted}\"; the header has: {}", .path.display(), excerpt(.found, SENTENCE))]
    MissingColumn {
        /// The file.
        path: PathBuf,
        /// The column's name.
        wanted: &'static str,
        /// The header's names.
        found: String,
    },
    /// A row with too few or too many columns.
    #[error("{}:{line}: {found} columns, wanted {wanted} (split on TAB)", .path.display())]
    Ragged {
        /// The file.
        path: PathBuf,
        /// Line, from 1.
        line: usize,
        /// Columns that every row should have.
        wanted: usize,
        /// Columns that this one has.
        found: usize,
    },
    /// A class that the task does not have.
    #[error("{}:{line}: label \"{}\" in column \"{column}\"; known labels: {known}", .path.display(), excerpt(.found, FIELD))]
    BadLabel {
        /// The file.
        path: PathBuf,
        /// Line, from 1.
        line: usize,
        /// The column's name.
        column: &'static str,
        /// The label as it stands there.
        found: String,
        /// The labels that may stand there.
        known: String,
    },
    /// A score that is not a number, or is outside the task's range.
    #[error("{}:{line}: score \"{}\" in column \"{column}\"; wanted a number from {min} to {max}", .path.display(), excerpt(.found, FIELD))]
    BadScore {
        /// The file.
        path: PathBuf,
        /// Line, from 1.
        line: usize,
        /// The column's name.
        column: &'static str,
        /// The score as it stands there.
        found: String,
        /// Lowest score of the task.
        min: f64,
        /// Highest score of the task.
        max: f64,
    },
    /// A data set of texts that is not in [`crate::text::DATASETS`].
    #[error("unknown data set \"{}\"; known data sets: {known}", excerpt(.name, FIELD))]
    UnknownDataset {
        /// The name as given.
        name: String,
        /// The ids of all data sets.
        known: String,
    },
    /// A split that the data set does not have.
    #[error("data set {dataset} has no split \"{}\"; its splits: {known}", excerpt(.name, FIELD))]
    UnknownSplit {
        /// The data set's id.
        dataset: &'static str,
        /// The name as given.
        name: String,
        /// The names of its splits.
        known: String,
    },
    /// A prompt that cannot be filled.
    #[error("data set {dataset}: prompt template: {}", excerpt(.problem, SENTENCE))]
    Template {
        /// The data set's id.
        dataset: &'static str,
        /// What is wrong with it.
        problem: String,
    },
    /// A line that violates the file's format (JSON, CSV, XML) or lacks a required field.
    #[error("{}:{line}: {}", .path.display(), excerpt(.problem, SENTENCE))]
    Malformed {
        /// The file.
        path: PathBuf,
        /// Line, from 1.
        line: usize,
        /// What is wrong with it.
        problem: String,
    },
    /// A share of rows to evaluate on that is no part of a whole.
    #[error("`dev_share` is {share}; it is the part of the training rows to evaluate on, above 0 and below 1")]
    DevShare {
        /// The share as given.
        share: f64,
    },
    /// A file that is not parquet, or lacks a required column.
    #[error("{}: {}", .path.display(), excerpt(.problem, SENTENCE))]
    Parquet {
        /// The file.
        path: PathBuf,
        /// What is wrong with it.
        problem: String,
    },
    /// A row of a parquet file that cannot be used.
    #[error("{}: row {row} (from 0): {}", .path.display(), excerpt(.problem, SENTENCE))]
    ParquetRow {
        /// The file.
        path: PathBuf,
        /// Row, from 0.
        row: usize,
        /// What is wrong with it.
        problem: String,
    },
}

fn list(paths: &[PathBuf], between: &str) -> String {
    let names: Vec<String> = paths.iter().map(|p| p.display().to_string()).collect();
    names.join(between)
}

/// For a relative path without a file: the folder in which it was looked for.
fn searched(path: &Path) -> String {
    match std::env::current_dir() {
        Ok(folder) if path.is_relative() && !path.exists() => format!(" (looked for in {})", folder.display()),
        _ => String::new(),
    }
}

fn left_out(rows: usize) -> String {
    match rows {
        0 => String::new(),
        n => format!(" ({n} rows skipped as incomplete or unlabelled)"),
    }
}
