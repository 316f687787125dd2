//! A user's own file as a task: classes or scores of texts or of pairs of texts. ([`crate::text::own`] has texts to generate.)

pub(crate) mod files;

use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};

use self::files::{Files, FoundRow, malformed, tenth};
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
        let files = self.files();
        let columns = [Some(&*self.text), self.text_pair.as_deref(), Some(&*self.label)];
        let [train, dev] = files.read(columns, |_| None)?;
        let classes = match self.kind {
            OwnKind::Regression => Vec::new(),
            OwnKind::Classification => self.classes(&train)?,
        };
        let read = (&self.kind, &self.text, &self.text_pair, &self.label, files.split());
        Ok(OwnExamples {
            train: self.examples(files.train, train, &classes)?,
            dev: self.examples(files.dev_path(), dev, &classes)?,
            sha256: files.sha256(&format!("{read:?}"))?,
            classes,
        })
    }

    fn files(&self) -> Files<'_> {
        Files {
            train: &self.train,
            dev: self.dev.as_deref(),
            dev_share: self.dev_share,
            dev_seed: self.dev_seed,
        }
    }

    fn classes(&self, train: &[FoundRow<3>]) -> Result<Vec<String>, DataError> {
        let mut classes: Vec<String> = train.iter().map(|row| label(row).to_owned()).collect();
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
                "{} in column \"{}\"; wanted 2 to 1000 classes (kind: regression is for numbers)",
                support::counted(classes.len(), "different label"),
                self.label
            );
            return Err(malformed(&self.train, 1, problem));
        }
        Ok(classes)
    }

    fn examples(&self, path: &Path, rows: Vec<FoundRow<3>>, classes: &[String]) -> Result<Vec<Example>, DataError> {
        let read = |row: &FoundRow<3>| match self.kind {
            OwnKind::Classification => {
                let class = classes.iter().position(|class| class == label(row));
                let unknown = || {
                    format!(
                        "label \"{}\" in column \"{}\" is none of the training rows'",
                        label(row),
                        self.label
                    )
                };
                class
                    .map(Label::Class)
                    .ok_or_else(|| malformed(path, row.line, unknown()))
            }
            OwnKind::Regression => {
                let score: Option<f64> = label(row).trim().parse().ok().filter(|score: &f64| score.is_finite());
                let wrong = || format!("\"{}\" in column \"{}\" is not a number", label(row), self.label);
                score
                    .map(Label::Score)
                    .ok_or_else(|| malformed(path, row.line, wrong()))
            }
        };
        let example = |row: FoundRow<3>| {
            let label = read(&row)?;
            let [first, second, _] = row.cells;
            Ok(Example {
                label,
                first: first.unwrap_or_default(),
                second,
            })
        };
        rows.into_iter().map(example).collect()
    }
}

fn label(row: &FoundRow<3>) -> &str {
    row.cells[2].as_deref().unwrap_or_default()
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
        assert!(said(OwnKind::Classification, "a,c\nx,1\ny,1\nz,1\nw,1\n").contains("1 different label in column"));
    }
}
