//! A user's own file as a task: classes or scores of texts or of pairs of texts.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};

use rand::SeedableRng;
use rand::seq::SliceRandom;
use rand_chacha::ChaCha8Rng;
use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};

use crate::rows::{self, OwnRow, OwnRows};
use crate::{DataError, Example, Label, Metric};

/// What is predicted.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum OwnKind {
    /// One class of several.
    Classification,
    /// A number.
    Regression,
}

/// The files and their columns: `data:` of a configuration.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct OwnData {
    /// What is predicted.
    pub kind: OwnKind,
    /// The training rows: .csv, .tsv, .jsonl or .parquet.
    pub train: PathBuf,
    /// The rows to evaluate on; by default a part of the training rows, drawn at random.
    #[serde(default)]
    pub dev: Option<PathBuf>,
    /// That part, where there is no `dev`.
    #[serde(default = "tenth")]
    pub dev_share: f64,
    /// The seed of the draw.
    #[serde(default)]
    pub dev_seed: u64,
    /// The column of the texts.
    pub text: String,
    /// The column of the second texts, for pairs.
    #[serde(default)]
    pub text_pair: Option<String>,
    /// The column of the classes or numbers.
    pub label: String,
}

fn tenth() -> f64 {
    0.1
}

/// The rows of an [`OwnData`].
#[derive(Clone, Debug, PartialEq)]
pub struct OwnExamples {
    /// The names of the classes, in the order of their numbers; empty for scores.
    pub classes: Vec<String>,
    /// Rows to train on.
    pub train: Vec<Example>,
    /// Rows to evaluate on.
    pub dev: Vec<Example>,
    /// SHA-256, in hex, of the files and of what is read of them.
    pub sha256: String,
}

impl OwnData {
    /// The metrics; the first selects the epoch.
    pub fn metrics(&self, classes: usize) -> &'static [Metric] {
        match (self.kind, classes) {
            (OwnKind::Regression, _) => &[Metric::Pearson, Metric::Spearman],
            (OwnKind::Classification, 2) => &[Metric::Accuracy, Metric::F1, Metric::Matthews],
            (OwnKind::Classification, _) => &[Metric::Accuracy, Metric::Matthews],
        }
    }

    /// Reads the files. The classes are the labels of the training rows, numbers by value and others by the alphabet.
    ///
    /// # Errors
    /// Files, columns or rows that cannot be used, with file and line; fewer than two classes.
    pub fn load(&self) -> Result<OwnExamples, DataError> {
        let mut train = self.rows(&self.train)?;
        let dev = match &self.dev {
            Some(path) => self.rows(path)?,
            None => self.split(&mut train)?,
        };
        let dev_path = self.dev.as_deref().unwrap_or(&self.train);
        let classes = match self.kind {
            OwnKind::Regression => Vec::new(),
            OwnKind::Classification => self.classes(&train)?,
        };
        Ok(OwnExamples {
            train: self.examples(&self.train, train, &classes)?,
            dev: self.examples(dev_path, dev, &classes)?,
            sha256: self.sha256()?,
            classes,
        })
    }

    fn rows(&self, path: &Path) -> Result<Vec<Parts>, DataError> {
        let OwnRows { columns, rows } = rows::read(path)?;
        let wanted = [Some(&self.text), self.text_pair.as_ref(), Some(&self.label)];
        let places = wanted.map(|name| {
            name.map(|name| Ok::<_, DataError>((name, rows::column(path, &columns, name)?)))
                .transpose()
        });
        let [text, pair, label]: [Option<(&String, usize)>; 3] = {
            let [a, b, c] = places;
            [a?, b?, c?]
        };
        let cell = |row: &OwnRow, place: Option<(&String, usize)>| match place {
            None => Ok(None),
            Some((name, at)) => {
                let cell = row.cells[at].clone().filter(|cell| !cell.is_empty());
                cell.map(Some)
                    .ok_or_else(|| malformed(path, row.line, format!("no value in column \"{name}\"")))
            }
        };
        let parts = |row: OwnRow| {
            Ok(Parts {
                first: cell(&row, text)?.unwrap_or_default(),
                second: cell(&row, pair)?,
                label: cell(&row, label)?.unwrap_or_default(),
                line: row.line,
            })
        };
        let rows = rows.into_iter().map(parts).collect::<Result<Vec<_>, DataError>>()?;
        if rows.is_empty() {
            return Err(DataError::Empty {
                path: path.to_path_buf(),
                skipped: 0,
            });
        }
        Ok(rows)
    }

    /// Takes the rows to evaluate on out of `train`.
    fn split(&self, train: &mut Vec<Parts>) -> Result<Vec<Parts>, DataError> {
        let count = (train.len() as f64 * self.dev_share).round() as usize;
        if !(self.dev_share > 0.0 && self.dev_share < 1.0) || count == 0 || count == train.len() {
            let problem = format!(
                "`dev_share` {} of {} rows leaves nothing to train or to evaluate on",
                self.dev_share,
                train.len()
            );
            return Err(malformed(&self.train, 1, problem));
        }
        let mut order: Vec<usize> = (0..train.len()).collect();
        order.shuffle(&mut ChaCha8Rng::seed_from_u64(self.dev_seed));
        let taken: BTreeSet<usize> = order.into_iter().take(count).collect();
        let (mut dev, mut rest) = (Vec::new(), Vec::new());
        for (i, row) in std::mem::take(train).into_iter().enumerate() {
            if taken.contains(&i) { &mut dev } else { &mut rest }.push(row);
        }
        *train = rest;
        Ok(dev)
    }

    fn classes(&self, train: &[Parts]) -> Result<Vec<String>, DataError> {
        let mut classes: Vec<String> = train.iter().map(|row| row.label.clone()).collect();
        classes.sort();
        classes.dedup();
        let numbers: Option<Vec<f64>> = classes.iter().map(|class| class.parse().ok()).collect();
        if let Some(numbers) = numbers {
            let mut order: Vec<usize> = (0..classes.len()).collect();
            order.sort_by(|a, b| numbers[*a].total_cmp(&numbers[*b]));
            classes = order.into_iter().map(|i| classes[i].clone()).collect();
        }
        if classes.len() < 2 || classes.len() > 1000 {
            let problem = format!(
                "{} different labels in column \"{}\"; wanted 2 to 1000 classes (kind: regression is for numbers)",
                classes.len(),
                self.label
            );
            return Err(malformed(&self.train, 1, problem));
        }
        Ok(classes)
    }

    fn examples(&self, path: &Path, rows: Vec<Parts>, classes: &[String]) -> Result<Vec<Example>, DataError> {
        let label = |row: &Parts| match self.kind {
            OwnKind::Classification => {
                let class = classes.iter().position(|class| *class == row.label);
                let unknown = || {
                    format!(
                        "label \"{}\" in column \"{}\" is none of the training rows'",
                        row.label, self.label
                    )
                };
                class
                    .map(Label::Class)
                    .ok_or_else(|| malformed(path, row.line, unknown()))
            }
            OwnKind::Regression => {
                let score: Option<f64> = row.label.trim().parse().ok().filter(|score: &f64| score.is_finite());
                let wrong = || format!("\"{}\" in column \"{}\" is not a number", row.label, self.label);
                score
                    .map(Label::Score)
                    .ok_or_else(|| malformed(path, row.line, wrong()))
            }
        };
        let example = |row: Parts| {
            Ok(Example {
                label: label(&row)?,
                first: row.first,
                second: row.second,
            })
        };
        rows.into_iter().map(example).collect()
    }

    fn sha256(&self) -> Result<String, DataError> {
        let mut digest = Sha256::new();
        for path in std::iter::once(&self.train).chain(&self.dev) {
            let bytes = std::fs::read(path).map_err(|source| DataError::Read {
                path: path.clone(),
                source,
            })?;
            digest.update((bytes.len() as u64).to_le_bytes());
            digest.update(bytes);
        }
        let split = self.dev.is_none().then_some((self.dev_share.to_bits(), self.dev_seed));
        let read = (&self.kind, &self.text, &self.text_pair, &self.label, split);
        digest.update(format!("{read:?}"));
        Ok(format!("{:x}", digest.finalize()))
    }
}

/// The values of a row.
struct Parts {
    line: usize,
    first: String,
    second: Option<String>,
    label: String,
}

fn malformed(path: &Path, line: usize, problem: String) -> DataError {
    DataError::Malformed {
        path: path.to_path_buf(),
        line,
        problem,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn own(dir: &Path, kind: OwnKind, train: &str) -> OwnData {
        std::fs::write(dir.join("train.csv"), train).unwrap();
        OwnData {
            kind,
            train: dir.join("train.csv"),
            dev: None,
            dev_share: 0.25,
            dev_seed: 3,
            text: "a".into(),
            text_pair: None,
            label: "c".into(),
        }
    }

    #[test]
    fn classes_are_found_and_a_part_is_kept_for_evaluation() {
        let dir = tempfile::tempdir().unwrap();
        let rows: String = (0..40).map(|i| format!("text {i},{}\n", [10, 9, 2][i % 3])).collect();
        let own = own(dir.path(), OwnKind::Classification, &format!("a,c\n{rows}"));
        let data = own.load().unwrap();
        assert_eq!(data.classes, ["2", "9", "10"]);
        assert_eq!((data.train.len(), data.dev.len()), (30, 10));
        assert!(data.dev.iter().all(|e| !data.train.contains(e)));
        assert_eq!(own.load().unwrap(), data);
        let other = OwnData {
            dev_seed: 4,
            ..own.clone()
        };
        let other = other.load().unwrap();
        assert!(other.dev != data.dev && other.sha256 != data.sha256);
        assert_eq!(own.metrics(3)[0], Metric::Accuracy);
    }

    #[test]
    fn what_cannot_be_used_is_named_by_file_and_line() {
        let dir = tempfile::tempdir().unwrap();
        let said = |kind, train: &str| own(dir.path(), kind, train).load().unwrap_err().to_string();
        assert!(said(OwnKind::Regression, "a,c\nx,1\ny,z\nw,2\nv,2\n").contains("train.csv:3: \"z\""));
        assert!(said(OwnKind::Classification, "a,c\nx,1\n,2\n").contains("train.csv:3: no value in column \"a\""));
        assert!(said(OwnKind::Classification, "a,b\nx,1\n").contains("no column \"c\""));
        assert!(said(OwnKind::Classification, "a,c\nx,1\ny,1\nz,1\nw,1\n").contains("1 different labels"));
    }
}
