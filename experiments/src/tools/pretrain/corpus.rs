//! The corpus of pretraining: generated texts, or real ones.

use anyhow::{Context, Result, ensure};
use datasets::synthetic::{self, Document};
use datasets::text;
use rand::Rng;
use rand_chacha::ChaCha8Rng;
use serde::Serialize;
use sha2::{Digest, Sha256};
use std::path::Path;

/// One real text of this number is held out.
const HELD_OUT_OF: usize = 100;

/// Texts to draw from.
#[derive(Debug)]
pub enum Corpus {
    /// Generated texts, without end.
    World,
    /// Real texts.
    Texts {
        /// Texts to train on.
        train: Vec<String>,
        /// Held-out texts.
        held_out: Vec<String>,
        /// Their sources.
        sources: Vec<Source>,
    },
}

/// A source of texts, for the report.
#[derive(Clone, Debug, Serialize)]
pub struct Source {
    /// `samsum`, or the file's name.
    pub name: String,
    /// The number of texts.
    pub texts: usize,
    /// SHA-256 of the files.
    pub sha256: String,
}

impl Corpus {
    /// Reads `DATASET=DIR` (the training rows of a data set of texts: context and completion, a line each) and plain files with a
    /// blank line between texts; generated texts if none is named.
    ///
    /// # Errors
    /// Data that are missing or malformed; a file that is not UTF-8; too few texts to hold some out.
    pub fn open(named: &[String]) -> Result<Corpus> {
        if named.is_empty() {
            return Ok(Corpus::World);
        }
        let (mut texts, mut sources) = (Vec::new(), Vec::new());
        for name in named {
            let (own, source) = match name.split_once('=') {
                Some((dataset, dir)) => rows(dataset, Path::new(dir))?,
                None => paragraphs(Path::new(name))?,
            };
            texts.extend(own);
            sources.push(source);
        }
        ensure!(
            texts.len() >= 2 * HELD_OUT_OF,
            "{} has {} texts; to learn from them, at least {} are needed",
            named.join(", "),
            texts.len(),
            2 * HELD_OUT_OF
        );
        let numbered = texts.into_iter().enumerate();
        let (held_out, train): (Vec<_>, Vec<_>) = numbered.partition(|(i, _)| i % HELD_OUT_OF == 0);
        let plain = |texts: Vec<(usize, String)>| texts.into_iter().map(|(_, text)| text).collect();
        Ok(Corpus::Texts {
            train: plain(train),
            held_out: plain(held_out),
            sources,
        })
    }

    /// The sources of real texts.
    pub fn sources(&self) -> &[Source] {
        match self {
            Corpus::World => &[],
            Corpus::Texts { sources, .. } => sources,
        }
    }

    /// A text for a language model. Real texts are drawn from the held-out ones or the others; generated ones differ by seed.
    pub fn prose(&self, held_out: bool, rng: &mut ChaCha8Rng) -> String {
        match self {
            Corpus::World => synthetic::prose(rng),
            Corpus::Texts { .. } => self.document(held_out, rng).first,
        }
    }

    /// A text for an encoder, of one or two parts; real texts have one.
    pub fn document(&self, held_out: bool, rng: &mut ChaCha8Rng) -> Document {
        match self {
            Corpus::World => synthetic::document(rng),
            Corpus::Texts {
                train, held_out: kept, ..
            } => {
                let texts = if held_out { kept } else { train };
                let first = texts[rng.random_range(0..texts.len())].clone();
                first.into()
            }
        }
    }
}

/// The training rows of a data set of texts.
fn rows(name: &str, dir: &Path) -> Result<(Vec<String>, Source)> {
    let dataset = text::find(name)?;
    let data = dataset.load(dir, &["train"], None)?;
    let pairs = data.split("train").map(|s| s.pairs.as_slice()).unwrap_or_default();
    let texts: Vec<String> = pairs
        .iter()
        .map(|p| format!("{}\n{}", p.context.trim(), p.completion.trim()))
        .collect();
    let source = Source {
        name: dataset.id.into(),
        texts: texts.len(),
        sha256: data.sha256,
    };
    Ok((texts, source))
}

/// The paragraphs of a plain file.
fn paragraphs(path: &Path) -> Result<(Vec<String>, Source)> {
    let text = std::fs::read_to_string(path).with_context(|| {
        format!(
            "reading {} (a plain text in UTF-8, or DATASET=DIR, such as samsum=DIR)",
            path.display()
        )
    })?;
    let lines: Vec<&str> = text.lines().collect();
    let texts = lines.split(|line| line.trim().is_empty()).filter(|p| !p.is_empty());
    let texts: Vec<String> = texts.map(|p| p.join("\n")).collect();
    let source = Source {
        name: path.file_name().unwrap_or_default().to_string_lossy().into_owned(),
        texts: texts.len(),
        sha256: format!("{:x}", Sha256::digest(&text)),
    };
    Ok((texts, source))
}

#[cfg(test)]
mod tests {
    use super::*;
    use rand::SeedableRng;

    #[test]
    fn a_blank_line_stands_between_texts_and_some_are_held_out() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("texts.txt");
        let text: Vec<String> = (0..200).map(|i| format!("text {i}\ngoes on\n")).collect();
        std::fs::write(&path, text.join("\n \n")).unwrap();
        let named = [path.display().to_string()];
        let corpus = Corpus::open(&named).unwrap();
        let Corpus::Texts { train, held_out, .. } = &corpus else {
            panic!("real texts")
        };
        assert_eq!((train.len(), held_out.len()), (198, 2));
        assert_eq!(held_out[1], "text 100\ngoes on");
        let mut rng = ChaCha8Rng::seed_from_u64(1);
        assert!((0..50).all(|_| train.contains(&corpus.prose(false, &mut rng))));
        assert!((0..50).all(|_| held_out.contains(&corpus.prose(true, &mut rng))));
        assert_eq!(corpus.sources()[0].texts, 200);
    }

    #[test]
    fn what_cannot_be_read_is_refused() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("texts.txt");
        let named = path.display().to_string();
        let refused = |named: &str| format!("{:#}", Corpus::open(&[named.to_string()]).unwrap_err());
        assert!(refused(&named).contains("texts.txt"));
        std::fs::write(&path, "one\n\ntwo").unwrap();
        assert!(refused(&named).contains("has 2 texts"));
        std::fs::write(&path, [0xff, 0xfe, 0xfd]).unwrap();
        assert!(refused(&named).contains("UTF-8"));
        assert!(refused("sasum=here").contains("samsum"));
    }
}
