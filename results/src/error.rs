//! Errors of this crate.

use std::path::{Path, PathBuf};

/// An error of this crate: it names the file or value, and what to do where that is not obvious.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// A file operation failed; an existing file is left as it was.
    #[error("{path}: cannot {action}")]
    Io {
        /// The file or folder.
        path: PathBuf,
        /// The operation, as a verb phrase.
        action: &'static str,
        /// The system's error.
        source: std::io::Error,
    },
    /// A file that is not a record: truncated, edited, or with unknown keys.
    #[error("{path}: not a record of this program; delete the file and run the same command again to compute it anew")]
    Corrupt {
        /// The record's file.
        path: PathBuf,
        /// The parser's error, with line and column.
        source: serde_json::Error,
    },
    /// A record whose checksum is missing or not that of the file.
    #[error(
        "{path}: does not have the checksum of its content: the file was damaged or edited. Restore it from a copy (git checkout, if it is \
         committed), or delete it and run the same command again to compute it anew"
    )]
    Damaged {
        /// The record's file.
        path: PathBuf,
    },
    /// A record written by a newer version of this program.
    #[error("{path}: schema {found} is newer than schema {known}, the newest this program reads; update the program")]
    NewerSchema {
        /// The record's file.
        path: PathBuf,
        /// Schema of the file.
        found: u32,
        /// Newest schema known to this program.
        known: u32,
    },
    /// A record that is inconsistent in itself or with the name of its file.
    #[error("{path}: {reason}")]
    Invalid {
        /// The record's file, or where it would be written.
        path: PathBuf,
        /// What is wrong and what to do.
        reason: String,
    },
    /// A record that cannot be represented in JSON.
    #[error("record {id}: cannot be written as JSON")]
    Serialise {
        /// The record's id.
        id: String,
        /// The serialiser's error.
        source: serde_json::Error,
    },
    /// A file of the paper's numbers, built into the program, cannot be read.
    #[error("{file} (built into the program): not a table of the paper's numbers; correct the file and build again")]
    Paper {
        /// The file in this crate.
        file: String,
        /// The parser's error, with line and column.
        source: serde_yaml::Error,
    },
    /// A row that is not in the paper's table.
    #[error("paper_row {id:?} is no row of the paper's table; the rows are {known}")]
    NoPaperRow {
        /// The requested row.
        id: String,
        /// The existing rows.
        known: String,
    },
    /// An unknown name, in words (`support::unknown`).
    #[error("{0}")]
    UnknownName(String),
    /// Two runs between which a comparison cannot choose.
    #[error(
        "{method} was run twice on {task} with seed {seed}, in different settings ({ids}); narrow it down with --preset"
    )]
    Ambiguous {
        /// The method.
        method: String,
        /// The task.
        task: String,
        /// The seed.
        seed: u64,
        /// Ids of the runs.
        ids: String,
    },
    /// A query over the records failed.
    #[error("cannot query the records")]
    Query(#[from] polars::error::PolarsError),
    /// A figure cannot be drawn.
    #[error("{figure}: cannot be drawn: {reason}")]
    Draw {
        /// The figure.
        figure: String,
        /// The reason.
        reason: String,
    },
    /// A table cannot be written as CSV.
    #[error("table {name}: cannot be written as CSV")]
    Csv {
        /// The table.
        name: String,
        /// The writer's error.
        source: csv::Error,
    },
}

/// [`std::result::Result`] with this crate's [`Error`].
pub type Result<T, E = Error> = std::result::Result<T, E>;

impl From<support::FileError> for Error {
    fn from(error: support::FileError) -> Self {
        let support::FileError { path, action, source } = error;
        Self::Io { path, action, source }
    }
}

impl Error {
    /// The error and its causes, on one line.
    #[must_use]
    pub fn with_causes(&self) -> String {
        let mut text = self.to_string();
        let mut cause = std::error::Error::source(self);
        while let Some(error) = cause {
            text.push_str(&format!(": {error}"));
            cause = error.source();
        }
        text
    }

    /// For `map_err`: adds the path and the operation to an I/O error.
    pub(crate) fn io(path: &Path, action: &'static str) -> impl FnOnce(std::io::Error) -> Self {
        let path = path.to_owned();
        move |source| Self::Io { path, action, source }
    }
}
