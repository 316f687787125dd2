//! A data set of texts: its names, where its files are, and how they are read.

use std::cell::RefCell;
use std::path::{Path, PathBuf};

use sha2::{Digest, Sha256};

use super::data::{Record, TextSplit, collect};
use super::input::Input;
use crate::DataError;
use crate::parquet_rows;
use crate::template::Template;

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
            let names = parquet_rows::names(folder);
            if let Ok(files) = parquet_rows::shards(dataset.hub.config, split.hub, names.iter().map(String::as_str)) {
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
    let names = parquet_rows::names(dir);
    read_splits(dataset, splits, template, |split| {
        let files = parquet_rows::shards(dataset.hub.config, split.hub, names.iter().map(String::as_str));
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
    let files = wanted.map(|s| parquet_rows::shards(dataset.hub.config, s.hub, names.iter().map(String::as_str)));
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
