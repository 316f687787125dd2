//! The errors of this crate: each names the file or the value, and says what to do.

use std::path::{Path, PathBuf};

/// Anything that can go wrong between a run's numbers and a printed table.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// The file system refused; what was there before is untouched.
    #[error("{path}: cannot {action}")]
    Io {
        /// The file or folder.
        path: PathBuf,
        /// What was tried, as a verb phrase.
        action: &'static str,
        /// The system's reason.
        source: std::io::Error,
    },
    /// A record that is no JSON of ours: half-written, edited by hand, or with unknown keys.
    #[error("{path}: not a record of this program; delete the file and run the same command again to compute it anew")]
    Corrupt {
        /// The record's file.
        path: PathBuf,
        /// Line, column and reason.
        source: serde_json::Error,
    },
    /// A record written by a newer version of this program.
    #[error("{path}: schema {found} is newer than schema {known}, the newest this program reads; update the program")]
    NewerSchema {
        /// The record's file.
        path: PathBuf,
        /// The file's schema.
        found: u32,
        /// The newest that is known.
        known: u32,
    },
    /// A record whose fields contradict each other or the name of its file.
    #[error("{path}: {reason}")]
    Invalid {
        /// The record's file, or the one it would have had.
        path: PathBuf,
        /// What is wrong and what to do.
        reason: String,
    },
    /// A record that JSON cannot hold.
    #[error("record {id}: cannot be written as JSON")]
    Serialise {
        /// The record's id.
        id: String,
        /// serde's reason.
        source: serde_json::Error,
    },
    /// The paper's numbers as built into the program cannot be read.
    #[error("{file} (built into the program): not the paper's numbers; mend the file and build again")]
    Paper {
        /// The file in this crate.
        file: String,
        /// Line, column and reason.
        source: serde_yaml::Error,
    },
    /// A row that the paper's table does not have.
    #[error("paper_row {id:?} is no row of the paper's table; the rows are {known}")]
    NoPaperRow {
        /// The row asked for.
        id: String,
        /// The rows there are.
        known: String,
    },
    /// A name that nothing has.
    #[error("{name:?} is not known; known are {known}")]
    UnknownName {
        /// What was asked for.
        name: String,
        /// What there is.
        known: String,
    },
    /// Two runs that a comparison cannot tell apart.
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
        /// The runs.
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
        /// Why.
        reason: String,
    },
    /// A table cannot be written as CSV.
    #[error("table {name}: cannot be written as CSV")]
    Csv {
        /// The table.
        name: String,
        /// The writer's reason.
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
    /// It and its causes, on one line.
    #[must_use]
    pub fn whole(&self) -> String {
        let mut text = self.to_string();
        let mut cause = std::error::Error::source(self);
        while let Some(error) = cause {
            text.push_str(&format!(": {error}"));
            cause = error.source();
        }
        text
    }

    /// For `map_err`: wraps an I/O error with the path and the thing that was tried.
    pub(crate) fn io(path: &Path, action: &'static str) -> impl FnOnce(std::io::Error) -> Self {
        let path = path.to_owned();
        move |source| Self::Io { path, action, source }
    }
}
