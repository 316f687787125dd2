//! A data set of texts: its names, where its files are, how they are read, generated and scored.

use std::cell::RefCell;
use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};

use rand::SeedableRng;
use rand_chacha::ChaCha8Rng;
use sha2::{Digest, Sha256};

use super::data::{Prompt, Record, TextSplit, collect};
use super::input::Input;
use super::score::TextScorer;
use crate::DataError;
use crate::metric::generated::ScoreError;
use crate::metric::scorers::Scorers;
use crate::parquet_rows;
use crate::template::Template;

/// Files of a split.
#[derive(Debug)]
pub struct SplitFiles {
    /// `train`, `dev` or `test`.
    pub name: &'static str,
    /// Names of local files; the first that exists is read.
    pub files: &'static [&'static str],
    /// Its name on the hub.
    pub hub: &'static str,
}

/// A data set's repository on the hub.
#[derive(Debug)]
pub struct HubFiles {
    /// `OWNER/NAME`.
    pub id: &'static str,
    /// The branch that holds parquet files.
    pub revision: &'static str,
    /// The configuration, which is a folder there.
    pub config: &'static str,
}

/// Contexts to train on in a generated data set.
pub const TRAIN_CONTEXTS: usize = 1500;

/// Contexts of each of `dev` and `test`, none of which is in training.
pub const EVAL_CONTEXTS: usize = 60;

/// The branch in which the hub keeps every public data set as parquet.
pub const CONVERTED: &str = "refs/convert/parquet";

/// A text data set. Its file owns everything that is particular to it.
#[derive(Debug)]
pub struct Dataset {
    /// Its name in configs and on the command line, and that of its local folder.
    pub id: &'static str,
    /// Its name in print.
    pub name: &'static str,
    /// Its splits.
    pub splits: &'static [SplitFiles],
    /// Its copy on the hub.
    pub hub: HubFiles,
    /// The default prompt, where the data set's publication fixes none: text with placeholders in braces.
    pub default_template: Option<&'static str>,
    /// The placeholders that the prompt may have.
    pub placeholders: &'static [&'static str],
    /// Names in records of the metrics that tables and lists show.
    pub metrics: &'static [&'static str],
    /// The text before a context in Li and Liang's code; `None` if that code lacks the data set.
    pub li_liang: Option<&'static str>,
    /// Description of the folder with its local files, for `--help` and errors.
    pub folder: &'static str,
    /// Turns a file into records.
    pub(crate) read: fn(&Input<'_>) -> Result<Vec<Record>, DataError>,
    /// Generates a record of the split of that name.
    pub(crate) generate: fn(&str, &Template, &mut ChaCha8Rng) -> Record,
    /// Scores generated texts.
    pub scorer: TextScorer,
}

impl Dataset {
    /// The prompt's template: the given one, or the default.
    ///
    /// # Errors
    /// [`DataError::Template`]: a placeholder that the data set does not have, or none at all.
    pub fn template(&self, given: Option<&str>) -> Result<Template, DataError> {
        let text = given.or(self.default_template).unwrap_or_default();
        Template::parse(self.id, text, self.placeholders)
    }

    /// Reads splits from `dir/ID` or from `dir` itself: the distributor's own files, or a copy of the hub's.
    ///
    /// `template` replaces the default prompt ([`Dataset::default_template`]) and is refused where there is none to replace.
    ///
    /// # Errors
    /// Any [`DataError`] on files and templates: all files are read before anything is returned.
    pub fn load(&'static self, dir: &Path, splits: &[&str], template: Option<&str>) -> Result<TextData, DataError> {
        let folders = [dir.join(self.id), dir.to_path_buf()];
        self.read_splits(splits, template, |split| {
            let local = folders.iter().flat_map(|f| split.files.iter().map(|n| f.join(n)));
            if let Some(file) = local.clone().find(|p| p.is_file()) {
                return Ok(vec![file]);
            }
            for folder in folders.iter().filter(|f| f.is_dir()) {
                if let Ok(files) = self.shards(split, &parquet_rows::names(folder)) {
                    return Ok(files.iter().map(|f| folder.join(f)).collect());
                }
            }
            Err(DataError::NoFile {
                task: self.id,
                split: split.name,
                tried: local.collect(),
            })
        })
    }

    /// Reads splits from a snapshot of the hub's data set.
    pub(crate) fn load_snapshot(
        &'static self,
        dir: &Path,
        splits: &[&str],
        template: Option<&str>,
    ) -> Result<TextData, DataError> {
        let names = parquet_rows::names(dir);
        self.read_splits(splits, template, |split| {
            let files = self.shards(split, &names).map_err(|missing| DataError::NoFile {
                task: self.id,
                split: split.name,
                tried: vec![dir.join(missing)],
            })?;
            Ok(files.iter().map(|f| dir.join(f)).collect())
        })
    }

    /// The parquet files of these splits among `names`.
    ///
    /// # Errors
    /// The path of a file that is missing.
    pub(crate) fn hub_files(&self, splits: &[&str], names: &[String]) -> Result<Vec<String>, String> {
        let wanted = self.splits.iter().filter(|s| splits.contains(&s.name));
        let files = wanted.map(|split| self.shards(split, names));
        Ok(files.collect::<Result<Vec<_>, _>>()?.concat())
    }

    /// Generates the splits `train`, `dev` and `test`, equal on every machine.
    ///
    /// # Errors
    /// [`DataError::Template`].
    pub fn generate(&'static self, template: Option<&str>) -> Result<TextData, DataError> {
        let template = self.template(template)?;
        let (mut digest, mut known) = (Sha256::new(), BTreeSet::new());
        let mut split = |name: &'static str, contexts: usize| -> TextSplit {
            let mut rng = ChaCha8Rng::from_seed(Sha256::digest(format!("{}/{name}", self.id)).into());
            let mut records = Vec::with_capacity(contexts);
            while records.len() < contexts {
                let record = (self.generate)(name, &template, &mut rng);
                // A user's template may show too little to tell contexts apart; references do.
                let shown = self.default_template.map(|_| record.references.join("\n"));
                if known.insert((record.context.clone(), shown)) {
                    digest.update(format!("{}\n{}\n\n", record.context, record.references.join("\n")));
                    records.push(record);
                }
            }
            collect(name, records)
        };
        let splits = [
            ("train", TRAIN_CONTEXTS),
            ("dev", EVAL_CONTEXTS),
            ("test", EVAL_CONTEXTS),
        ];
        let splits = splits.map(|(name, contexts)| split(name, contexts)).to_vec();
        Ok(TextData {
            dataset: self,
            splits,
            sha256: format!("{:x}", digest.finalize()),
        })
    }

    /// [`TextScorer::score`].
    ///
    /// # Errors
    /// As there.
    pub fn score(
        &self,
        split: &str,
        prompts: &[Prompt],
        texts: &[String],
        scorers: &Scorers,
    ) -> Result<BTreeMap<String, Option<f64>>, ScoreError> {
        self.scorer.score(split, prompts, texts, scorers)
    }

    fn shards(&self, split: &SplitFiles, names: &[String]) -> Result<Vec<String>, String> {
        parquet_rows::shards(self.hub.config, split.hub, names.iter().map(String::as_str))
    }

    fn read_splits(
        &'static self,
        splits: &[&str],
        template: Option<&str>,
        find: impl Fn(&'static SplitFiles) -> Result<Vec<PathBuf>, DataError>,
    ) -> Result<TextData, DataError> {
        let template = self.template(template)?;
        let digest = RefCell::new(Sha256::new());
        let mut read = Vec::new();
        for name in splits {
            let split = self.split_files(name)?;
            digest.borrow_mut().update(split.name);
            let mut records = Vec::new();
            let files = find(split)?;
            for path in &files {
                let input = Input::read(path, split.name, &template, &digest)?;
                records.extend((self.read)(&input)?);
            }
            let split = collect(split.name, records);
            if split.pairs.is_empty() {
                let (path, skipped) = (files.into_iter().next().unwrap_or_default(), split.left_out);
                return Err(DataError::Empty { path, skipped });
            }
            if split.left_out > 0 {
                let (n, name) = (split.left_out, split.name);
                tracing::warn!(
                    "{} {name}: {n} entries left out, which have no context or no reference",
                    self.id
                );
            }
            read.push(split);
        }
        Ok(TextData {
            dataset: self,
            splits: read,
            sha256: format!("{:x}", digest.into_inner().finalize()),
        })
    }

    fn split_files(&self, name: &str) -> Result<&'static SplitFiles, DataError> {
        let known = || self.splits.iter().map(|s| s.name).collect::<Vec<_>>().join(", ");
        let found = self.splits.iter().find(|s| s.name == name);
        found.ok_or_else(|| DataError::UnknownSplit {
            dataset: self.id,
            name: name.to_owned(),
            known: known(),
        })
    }
}

/// A data set's texts.
#[derive(Debug, Clone)]
pub struct TextData {
    /// The data set.
    pub dataset: &'static Dataset,
    /// The requested splits, in that order.
    pub splits: Vec<TextSplit>,
    /// SHA-256, in hex, over the files read, in the order of the splits.
    pub sha256: String,
}

impl TextData {
    /// The split of that name, if it was requested.
    pub fn split(&self, name: &str) -> Option<&TextSplit> {
        self.splits.iter().find(|s| s.name == name)
    }
}
