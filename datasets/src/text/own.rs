//! A user's own file of prompts and completions. Rows of one prompt are its references.

use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};

use super::data::{Record, TextSplit, collect};
use super::score::{NamedScores, Outputs, TextScorer, named};
use crate::DataError;
use crate::metric::generated::ScoreError;
use crate::metric::rouge;
use crate::metric::sacrebleu::{BleuSettings, corpus_bleu};
use crate::metric::scorers::Scorers;
use crate::own::files::{Files, FoundRow, malformed, tenth};

/// `kind: text`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum TextKind {
    /// A text after a prompt.
    Text,
}

/// The files and their columns: `data: {kind: text, ...}` of a configuration.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct OwnTexts {
    /// What is generated.
    pub kind: TextKind,
    /// The training rows: .csv, .tsv, .jsonl or .parquet.
    pub train: PathBuf,
    /// The rows to evaluate on; by default those of a part of the prompts, drawn at random.
    #[serde(default)]
    pub dev: Option<PathBuf>,
    /// That part, where there is no `dev`.
    #[serde(default = "tenth")]
    pub dev_share: f64,
    /// The seed of the draw.
    #[serde(default)]
    pub dev_seed: u64,
    /// The column of the prompts.
    pub prompt: String,
    /// The column of the completions.
    pub completion: String,
}

/// The rows of an [`OwnTexts`].
#[derive(Clone, Debug, PartialEq)]
pub struct OwnTextData {
    /// `train` and `dev`.
    pub splits: [TextSplit; 2],
    /// SHA-256, in hex, of the files and of what is read of them.
    pub sha256: String,
}

impl OwnTexts {
    /// Reads the files. Without a file for dev, all rows of a prompt are on one side.
    ///
    /// # Errors
    /// Files, columns or rows that cannot be used, with file and line.
    pub fn load(&self) -> Result<OwnTextData, DataError> {
        let files = Files {
            train: &self.train,
            dev: self.dev.as_deref(),
            dev_share: self.dev_share,
            dev_seed: self.dev_seed,
        };
        let columns = [Some(&*self.prompt), Some(&*self.completion)];
        let [train, dev] = files.read(columns, |row: &FoundRow<2>| row.cells[0].clone())?;
        let read = ("text", &self.prompt, &self.completion, files.split());
        Ok(OwnTextData {
            splits: [
                collect("train", self.records(files.train, train)?),
                collect("dev", self.records(files.dev_path(), dev)?),
            ],
            sha256: files.sha256(&format!("{read:?}"))?,
        })
    }

    fn records(&self, path: &Path, rows: Vec<FoundRow<2>>) -> Result<Vec<Record>, DataError> {
        let names = [&self.prompt, &self.completion];
        let record = |row: FoundRow<2>| {
            let [context, reference] = row.cells.map(Option::unwrap_or_default);
            for (text, name) in [&context, &reference].into_iter().zip(names) {
                if text.trim().is_empty() {
                    return Err(malformed(path, row.line, format!("only blanks in column \"{name}\"")));
                }
            }
            Ok(Record {
                context,
                references: vec![reference],
                ..Record::default()
            })
        };
        rows.into_iter().map(record).collect()
    }
}

/// BLEU as sacrebleu computes it, as a fraction, and ROUGE-L (F1) as rouge-score does.
pub const SCORER: TextScorer = TextScorer(score);

/// The names of these scores in records.
pub const METRICS: [&str; 2] = ["BLEU", "rougeL"];

fn score(outputs: &Outputs<'_>, _: &Scorers) -> Result<NamedScores, ScoreError> {
    let bleu = corpus_bleu(&outputs.segments, BleuSettings::default()).score / 100.0;
    let rouge = rouge::score(&outputs.segments, false).into_iter();
    let rouge_l = rouge.filter(|(name, _)| METRICS.contains(name));
    Ok(named(
        std::iter::once((METRICS[0], Some(bleu))).chain(rouge_l).collect(),
        "",
    ))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn own(dir: &Path, train: &str) -> OwnTexts {
        std::fs::write(dir.join("train.tsv"), train).unwrap();
        OwnTexts {
            kind: TextKind::Text,
            train: dir.join("train.tsv"),
            dev: None,
            dev_share: 0.25,
            dev_seed: 3,
            prompt: "p".into(),
            completion: "c".into(),
        }
    }

    #[test]
    fn rows_of_one_prompt_are_its_references_and_stay_together() {
        let dir = tempfile::tempdir().unwrap();
        let rows: String = (0..60).map(|i| format!("prompt {}\ttext {i}\n", i % 20)).collect();
        let own = own(dir.path(), &format!("p\tc\n{rows}"));
        let data = own.load().unwrap();
        let [train, dev] = &data.splits;
        assert_eq!((train.prompts.len(), dev.prompts.len()), (15, 5));
        assert_eq!((train.pairs.len(), dev.pairs.len()), (45, 15));
        let first = &dev.prompts[0];
        let number: usize = first.context.strip_prefix("prompt ").unwrap().parse().unwrap();
        let wanted = [number, number + 20, number + 40].map(|i| format!("text {i}"));
        assert_eq!(first.references, wanted);
        assert_eq!(own.load().unwrap(), data);
        let other = OwnTexts {
            dev_seed: 4,
            ..own.clone()
        };
        let other = other.load().unwrap();
        assert!(other.splits[1] != *dev && other.sha256 != data.sha256);
        let swapped = OwnTexts {
            prompt: "c".into(),
            completion: "p".into(),
            ..own
        };
        assert_ne!(swapped.load().unwrap().sha256, data.sha256);
    }

    #[test]
    fn what_cannot_be_used_is_named_by_file_and_line() {
        let dir = tempfile::tempdir().unwrap();
        let said = |train: &str| own(dir.path(), train).load().unwrap_err().to_string();
        assert!(said("p\tc\nx\ty\nx\t\n").contains("train.tsv:3: no value in column \"c\""));
        assert!(said("p\tc\nx\ty\n  \ty\n").contains("train.tsv:3: only blanks in column \"p\""));
        assert!(said("p\tb\nx\ty\n").contains("no column \"c\"; the file has: p, b"));
        assert!(said("p\tc\nx\t1\nx\t2\nx\t3\nx\t4\n").contains("of 4 rows in 1 groups leaves nothing"));
    }

    /// sacrebleu 2.6.0 and rouge-score 0.1.2 print these for the same texts: `datasets/tests/own_text_golden.py`.
    #[test]
    fn scores_are_those_of_sacrebleu_and_rouge_score() {
        let prompt = |references: &[&str]| super::super::Prompt {
            context: "p".into(),
            references: references.iter().map(|r| (*r).to_owned()).collect(),
            category: None,
            question: None,
        };
        let prompts = [
            prompt(&["The cat sat on the mat.", "A cat was sitting on the mat today."]),
            prompt(&["Nobody came to the old house, it seems."]),
        ];
        let texts = [
            "The cat was sitting on a mat today.".to_owned(),
            "It seems nobody came to the house.".to_owned(),
        ];
        let scores = SCORER.score("dev", &prompts, &texts, &Scorers::default()).unwrap();
        let got = |name: &str| scores[name].unwrap();
        assert_eq!(scores.len(), 2);
        assert!((got("dev/BLEU") - BLEU).abs() < 1e-12, "{}", got("dev/BLEU"));
        assert!((got("dev/rougeL") - ROUGE_L).abs() < 1e-12, "{}", got("dev/rougeL"));
    }

    const BLEU: f64 = 0.2959763298512407;
    const ROUGE_L: f64 = 0.7083333333333333;
}
