//! Data sets of texts to be continued: a context is given, and one or more people wrote what may follow it.
//!
//! ```
//! use datasets::{nlg, synthetic};
//! # fn main() -> Result<(), Box<dyn std::error::Error>> {
//! let data = synthetic::texts(nlg::find("e2e")?, None)?;
//! let dev = data.split("dev").ok_or("no dev split")?;
//! println!("{}\n{:?}", dev.prompts[0].context, dev.prompts[0].references);
//! assert!(dev.pairs.len() > dev.prompts.len());
//! # Ok(()) }
//! ```
//!
//! A data set is one file (`e2e.rs`, …) and one line in [`DATASETS`].

use std::cell::RefCell;
use std::collections::HashMap;
use std::path::{Path, PathBuf};

use serde::de::DeserializeOwned;
use serde_json::Value;
use sha2::{Digest, Sha256};

use crate::sql::Question;
use crate::table::TextFile;
use crate::template::Template;
use crate::{DataError, dart, e2e, rows, samsum, webnlg, wikisql};

/// One row to train on.
#[derive(Debug, Clone, PartialEq)]
pub struct Pair {
    /// What is given.
    pub context: String,
    /// What is to follow: one of the references.
    pub completion: String,
}

/// A context to be answered, with what scoring needs.
#[derive(Debug, Clone, PartialEq)]
pub struct Prompt {
    /// What is given.
    pub context: String,
    /// What people wrote; at least one.
    pub references: Vec<String>,
    /// WebNLG: the category of its entity.
    pub category: Option<Category>,
    /// WikiSQL: the table and the query that is right.
    pub question: Option<Question>,
}

/// What kind of thing a text is about.
#[derive(Debug, Clone, PartialEq)]
pub struct Category {
    /// Its name.
    pub name: String,
    /// Whether training has texts about such things: the paper's columns S and U.
    pub seen: bool,
}

/// The texts of one file.
#[derive(Debug, Clone, PartialEq)]
pub struct TextSplit {
    /// `train`, `dev` or `test`.
    pub name: &'static str,
    /// One row a reference, in the file's order.
    pub pairs: Vec<Pair>,
    /// One entry a context, in the order of their first rows; equal contexts are one, with the references of all.
    pub prompts: Vec<Prompt>,
    /// Entries of the file that cannot be used (no context, no reference), which are in neither list.
    pub left_out: usize,
}

/// A data set's texts.
#[derive(Debug, Clone)]
pub struct TextData {
    /// Whose texts these are.
    pub dataset: &'static Dataset,
    /// The splits asked for, in that order.
    pub splits: Vec<TextSplit>,
    /// SHA-256, in hex, over the files read, in the order of the splits.
    pub sha256: String,
}

impl TextData {
    /// The split of that name, if it was asked for.
    pub fn split(&self, name: &str) -> Option<&TextSplit> {
        self.splits.iter().find(|s| s.name == name)
    }
}

/// Where a split is found.
#[derive(Debug)]
pub struct SplitFiles {
    /// `train`, `dev` or `test`.
    pub name: &'static str,
    /// Names of local files, the first that exists is taken.
    pub files: &'static [&'static str],
    /// Its name on the hub.
    pub hub: &'static str,
}

/// Where a data set is found on the hub.
#[derive(Debug)]
pub struct HubFiles {
    /// `OWNER/NAME`.
    pub id: &'static str,
    /// The branch that holds parquet files.
    pub revision: &'static str,
    /// The configuration, which is a folder there.
    pub config: &'static str,
}

/// The branch in which the hub keeps every public data set as parquet.
pub const CONVERTED: &str = "refs/convert/parquet";

/// One data set.
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
    pub template: Option<&'static str>,
    /// The placeholders that a prompt may have.
    pub placeholders: &'static [&'static str],
    pub(crate) read: fn(&Input<'_>) -> Result<Vec<Record>, DataError>,
}

impl Dataset {
    /// The prompt's template: the given one, or the default.
    ///
    /// # Errors
    /// [`DataError::Template`]: a placeholder that the data set does not have, or none at all.
    pub fn prompt(&self, given: Option<&str>) -> Result<Template, DataError> {
        let text = given.or(self.template).unwrap_or_default();
        Template::parse(self.id, text, self.placeholders)
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

/// All data sets of texts.
pub static DATASETS: &[&Dataset] = &[
    &e2e::DATASET,
    &wikisql::DATASET,
    &samsum::DATASET,
    &webnlg::DATASET,
    &dart::DATASET,
];

/// The data set of that name; case, `-` and `_` do not matter.
///
/// # Errors
/// [`DataError::UnknownDataset`].
pub fn find(name: &str) -> Result<&'static Dataset, DataError> {
    let plain = |s: &str| s.replace(['-', '_'], "").to_ascii_lowercase();
    let found = DATASETS.iter().find(|d| plain(d.id) == plain(name)).copied();
    found.ok_or_else(|| DataError::UnknownDataset {
        name: name.to_owned(),
        known: DATASETS.iter().map(|d| d.id).collect::<Vec<_>>().join(", "),
    })
}

/// Reads splits from `dir/ID` or from `dir` itself: the distributor's own files, or a copy of the hub's.
///
/// `template` replaces the default prompt ([`Dataset::template`]) and is refused where there is none to replace.
///
/// # Errors
/// Any [`DataError`] on files and templates: all files are read before anything is returned.
pub fn load(
    dataset: &'static Dataset,
    dir: &Path,
    splits: &[&str],
    template: Option<&str>,
) -> Result<TextData, DataError> {
    let folders = [dir.join(dataset.id), dir.to_path_buf()];
    read_splits(dataset, splits, template, |split| {
        let local = folders.iter().flat_map(|f| split.files.iter().map(|n| f.join(n)));
        if let Some(file) = local.clone().find(|p| p.is_file()) {
            return Ok(vec![file]);
        }
        for folder in folders.iter().filter(|f| f.is_dir()) {
            let names = rows::names(folder);
            if let Ok(files) = rows::shards(&dataset.hub, split.hub, names.iter().map(String::as_str)) {
                return Ok(files.iter().map(|f| folder.join(f)).collect());
            }
        }
        Err(DataError::NoFile {
            task: dataset.id,
            split: split.name,
            tried: local.collect(),
        })
    })
}

/// Reads splits from a snapshot of the hub's data set.
pub(crate) fn load_snapshot(
    dataset: &'static Dataset,
    dir: &Path,
    splits: &[&str],
    template: Option<&str>,
) -> Result<TextData, DataError> {
    let names = rows::names(dir);
    read_splits(dataset, splits, template, |split| {
        let files = rows::shards(&dataset.hub, split.hub, names.iter().map(String::as_str));
        let files = files.map_err(|missing| DataError::NoFile {
            task: dataset.id,
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
pub(crate) fn hub_files(dataset: &Dataset, splits: &[&str], names: &[String]) -> Result<Vec<String>, String> {
    let wanted = dataset.splits.iter().filter(|s| splits.contains(&s.name));
    let files = wanted.map(|s| rows::shards(&dataset.hub, s.hub, names.iter().map(String::as_str)));
    Ok(files.collect::<Result<Vec<_>, _>>()?.concat())
}

fn read_splits(
    dataset: &'static Dataset,
    splits: &[&str],
    template: Option<&str>,
    find: impl Fn(&'static SplitFiles) -> Result<Vec<PathBuf>, DataError>,
) -> Result<TextData, DataError> {
    let prompt = dataset.prompt(template)?;
    let digest = RefCell::new(Sha256::new());
    let mut read = Vec::new();
    for name in splits {
        let split = dataset.split_files(name)?;
        digest.borrow_mut().update(split.name);
        let mut records = Vec::new();
        let files = find(split)?;
        for path in &files {
            let input = Input::read(path, split.name, &prompt, &digest)?;
            records.extend((dataset.read)(&input)?);
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
                dataset.id
            );
        }
        read.push(split);
    }
    Ok(TextData {
        dataset,
        splits: read,
        sha256: format!("{:x}", digest.into_inner().finalize()),
    })
}

/// One entry of a file.
#[derive(Debug, Default)]
pub(crate) struct Record {
    pub context: String,
    pub references: Vec<String>,
    pub category: Option<Category>,
    pub question: Option<Question>,
}

/// Rows to train on, and contexts to answer.
pub(crate) fn collect(name: &'static str, records: Vec<Record>) -> TextSplit {
    let mut split = TextSplit {
        name,
        pairs: Vec::new(),
        prompts: Vec::new(),
        left_out: 0,
    };
    let mut places: HashMap<String, usize> = HashMap::new();
    for record in records {
        if record.context.trim().is_empty() || record.references.is_empty() {
            split.left_out += 1;
            continue;
        }
        let pair = |completion: &String| Pair {
            context: record.context.clone(),
            completion: completion.clone(),
        };
        split.pairs.extend(record.references.iter().map(pair));
        // Of two questions in the same words about equal tables, each has its own answer.
        if record.question.is_none() {
            if let Some(&at) = places.get(&record.context) {
                split.prompts[at].references.extend(record.references);
                continue;
            }
            places.insert(record.context.clone(), split.prompts.len());
        }
        split.prompts.push(Prompt {
            context: record.context,
            references: record.references,
            category: record.category,
            question: record.question,
        });
    }
    split
}

enum Content {
    Text(TextFile),
    Rows(Vec<Value>),
}

/// A file as a data set's reader gets it.
pub(crate) struct Input<'a> {
    pub path: &'a Path,
    pub split: &'static str,
    pub prompt: &'a Template,
    content: Content,
    digest: &'a RefCell<Sha256>,
}

fn take_in(digest: &RefCell<Sha256>, bytes: &[u8]) {
    let mut digest = digest.borrow_mut();
    digest.update((bytes.len() as u64).to_le_bytes());
    digest.update(bytes);
}

impl<'a> Input<'a> {
    pub fn read(
        path: &'a Path,
        split: &'static str,
        prompt: &'a Template,
        digest: &'a RefCell<Sha256>,
    ) -> Result<Self, DataError> {
        let content = if path.extension().is_some_and(|e| e == "parquet") {
            let bytes = std::fs::read(path).map_err(|source| DataError::Read {
                path: path.to_path_buf(),
                source,
            })?;
            take_in(digest, &bytes);
            Content::Rows(rows::read(path, bytes)?)
        } else {
            Content::Text(TextFile::read(path.to_path_buf(), |bytes| take_in(digest, bytes))?)
        };
        Ok(Self {
            path,
            split,
            prompt,
            content,
            digest,
        })
    }

    /// The file as text; none of a parquet file.
    pub fn text(&self) -> Option<&TextFile> {
        match &self.content {
            Content::Text(file) => Some(file),
            Content::Rows(_) => None,
        }
    }

    /// Another file of the same folder, if it is there.
    pub fn beside(&self, name: &str) -> Result<Option<TextFile>, DataError> {
        let path = self.path.with_file_name(name);
        if !path.is_file() {
            return Ok(None);
        }
        TextFile::read(path, |bytes| take_in(self.digest, bytes)).map(Some)
    }

    /// The entries of a parquet file, a JSON array, or a file of one JSON object a line.
    pub fn entries<T: DeserializeOwned>(&self) -> Result<Vec<T>, DataError> {
        match &self.content {
            Content::Rows(rows) => (0..).zip(rows).map(|(row, value)| self.row(row, value)).collect(),
            Content::Text(file) if file.text().trim_start().starts_with('[') => self.document(),
            Content::Text(file) => json_lines(file),
        }
    }

    fn row<T: DeserializeOwned>(&self, row: usize, value: &Value) -> Result<T, DataError> {
        T::deserialize(value).map_err(|e| DataError::ParquetRow {
            path: self.path.to_path_buf(),
            row,
            problem: e.to_string(),
        })
    }

    /// The whole file as one JSON value.
    pub fn document<T: DeserializeOwned>(&self) -> Result<T, DataError> {
        let text = self.text().map(TextFile::text).unwrap_or_default();
        serde_json::from_str(text).map_err(|e| {
            let entry = entry_of::<T>(text)
                .map(|entry| format!("{entry}: "))
                .unwrap_or_default();
            self.malformed(e.line(), entry + &without_place(&e))
        })
    }

    /// What is wrong in a line, from 1.
    pub fn malformed(&self, line: usize, problem: String) -> DataError {
        DataError::Malformed {
            path: self.path.to_path_buf(),
            line: line.max(1),
            problem,
        }
    }
}

/// One JSON object a line.
pub(crate) fn json_lines<T: DeserializeOwned>(file: &TextFile) -> Result<Vec<T>, DataError> {
    let parse = |(line, text): (usize, &str)| {
        serde_json::from_str(text).map_err(|e| DataError::Malformed {
            path: file.path.clone(),
            line,
            problem: without_place(&e),
        })
    };
    file.lines()
        .filter(|(_, text)| !text.trim().is_empty())
        .map(parse)
        .collect()
}

/// Where in a document reading fails, as `[3].summary`: documents in one line have no other place to name.
fn entry_of<T: DeserializeOwned>(text: &str) -> Option<String> {
    let read = serde_path_to_error::deserialize::<_, T>(&mut serde_json::Deserializer::from_str(text));
    let path = read.err()?.path().to_string();
    (path != ".").then_some(path)
}

/// serde_json's message without "at line … column …", which counts from where the parsing began.
fn without_place(error: &serde_json::Error) -> String {
    let text = error.to_string();
    let plain = text
        .rsplit_once(" at line ")
        .map_or(text.as_str(), |(message, _)| message);
    match error.classify() {
        serde_json::error::Category::Data => plain.to_owned(),
        _ => format!("not JSON: {plain}"),
    }
}
