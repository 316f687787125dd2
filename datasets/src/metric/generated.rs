//! Input of the metrics of generated texts: texts with their references, and readers of files of them.

use std::path::{Path, PathBuf};

use crate::DataError;
use crate::text_file::TextFile;

/// A generated text and its references.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Segment {
    /// The output.
    pub hyp: String,
    /// One reference or more.
    pub refs: Vec<String>,
}

/// A tool's metrics over a whole file, by the tool's own names and in its order, unrounded. `None` is a metric that could
/// not be computed here; it prints as "–", and as null in JSON.
pub type Scores = Vec<(&'static str, Option<f64>)>;

/// Outputs and references that cannot be scored.
#[derive(Debug, thiserror::Error)]
pub enum ScoreError {
    /// A file that cannot be read or is not UTF-8.
    #[error(transparent)]
    File(#[from] DataError),
    /// A file without any line.
    #[error("{}: the file is empty; wanted {wanted}", .path.display())]
    Empty {
        /// The file.
        path: PathBuf,
        /// What should be in it.
        wanted: &'static str,
    },
    /// Not as many outputs as instances.
    #[error("{} has {outputs} outputs (one a line), {} has references for {instances}; they must be as many", .hyp.display(), .refs.display())]
    Count {
        /// The file of outputs.
        hyp: PathBuf,
        /// Its number of lines.
        outputs: usize,
        /// The file of references.
        refs: PathBuf,
        /// Its number of instances.
        instances: usize,
    },
    /// Not as many texts as contexts.
    #[error("{texts} texts for {contexts} contexts")]
    Texts {
        /// Number of texts.
        texts: usize,
        /// Number of contexts.
        contexts: usize,
    },
    /// A question of WikiSQL whose query is not known.
    #[error("a question came without its query")]
    NoQuery,
    /// An instance that has no reference.
    #[error("{}:{line}: instance {instance} (from 1) has no reference", .path.display())]
    NoReference {
        /// The file of references.
        path: PathBuf,
        /// Where a reference should be, from 1.
        line: usize,
        /// The instance, from 1.
        instance: usize,
    },
}

/// Outputs and references of side-by-side files: a text a line, a file for the first reference of each output, one for the
/// second, and so on.
///
/// # Errors
/// Files that cannot be read, are empty or not UTF-8, or have other numbers of lines than the file of outputs.
pub fn read_parallel(hyp: &Path, refs: &[PathBuf]) -> Result<Vec<Segment>, ScoreError> {
    let outputs = read_lines(hyp, "an output a line")?;
    let segment = |hyp| Segment { hyp, refs: Vec::new() };
    let mut segments: Vec<Segment> = outputs.into_iter().map(segment).collect();
    for path in refs {
        let texts = read_lines(path, "a reference a line")?;
        if texts.len() != segments.len() {
            return Err(ScoreError::Count {
                hyp: hyp.to_path_buf(),
                outputs: segments.len(),
                refs: path.clone(),
                instances: texts.len(),
            });
        }
        segments.iter_mut().zip(texts).for_each(|(s, text)| s.refs.push(text));
    }
    Ok(segments)
}

/// All lines of a UTF-8 file, empty ones too, without their ends (`\n` or `\r\n`). A newline at the end of the file ends its last
/// line and begins no further one.
pub fn read_lines(path: &Path, wanted: &'static str) -> Result<Vec<String>, ScoreError> {
    let file = TextFile::read(path.to_path_buf(), |_| {})?;
    let lines: Vec<String> = file.text().lines().map(str::to_owned).collect();
    if lines.is_empty() {
        let path = path.to_path_buf();
        return Err(ScoreError::Empty { path, wanted });
    }
    Ok(lines)
}

/// White space of Python's `str.isspace`: Unicode's, and four control characters.
pub(crate) fn is_python_space(c: char) -> bool {
    c.is_whitespace() || ('\x1c'..='\x1f').contains(&c)
}
