//! [`Store`]: a folder of records. `runs/` holds finished runs, `failed/` failed ones, `analyses/` analyses.

use std::collections::BTreeSet;
use std::ffi::OsStr;
use std::fs;
use std::io::ErrorKind;
use std::path::{Path, PathBuf};

use support::{sweep_unfinished, sync_folder, write_atomic};

use crate::analysis::Analysis;
use crate::error::{Error, Result};
use crate::record::{RunRecord, is_id};

/// A folder of records. Any number of processes may write to it at once.
#[derive(Clone, Debug)]
pub struct Store {
    dir: PathBuf,
}

/// The records in a folder, and the files that are not records.
#[derive(Debug)]
pub struct Listing<T = RunRecord> {
    /// Records, sorted by path.
    pub records: Vec<T>,
    /// One error per file that is not a record.
    pub bad: Vec<Error>,
}

/// A filter of records: every field that is set must agree. The default admits all.
#[derive(Clone, Debug, Default)]
pub struct Filter {
    /// Admitted ids.
    pub ids: Option<BTreeSet<String>>,
    /// Admitted experiment.
    pub experiment: Option<String>,
    /// Admitted preset.
    pub preset: Option<String>,
    /// Admitted model.
    pub model: Option<String>,
}

/// Records that tables and figures are made from.
#[derive(Clone, Debug, Default)]
pub struct Selection {
    /// Finished runs, once under each of their names.
    pub runs: Vec<RunRecord>,
    /// Failed runs that have not finished since.
    pub failed: Vec<RunRecord>,
    /// Analyses.
    pub analyses: Vec<Analysis>,
}

impl Filter {
    /// A filter that admits these ids.
    #[must_use]
    pub fn ids(ids: impl IntoIterator<Item = String>) -> Self {
        Self {
            ids: Some(ids.into_iter().collect()),
            ..Self::default()
        }
    }

    /// Whether the filter admits `run`.
    #[must_use]
    pub fn admits(&self, run: &RunRecord) -> bool {
        let agrees = |want: &Option<String>, have: Option<&String>| want.is_none() || want.as_ref() == have;
        self.ids.as_ref().is_none_or(|ids| ids.contains(&run.id))
            && agrees(&self.experiment, Some(&run.experiment))
            && agrees(&self.preset, run.preset.as_ref())
            && agrees(&self.model, Some(&run.model))
    }

    /// Whether the filter admits `analysis`, which belongs to no experiment.
    #[must_use]
    pub fn admits_analysis(&self, analysis: &Analysis) -> bool {
        self.experiment.is_none()
            && self.ids.as_ref().is_none_or(|ids| ids.contains(&analysis.id))
            && (self.preset.is_none() || self.preset == analysis.preset)
            && self.model.as_ref().is_none_or(|model| *model == analysis.model)
    }
}

impl Store {
    /// The store in `dir`, which need not exist yet.
    ///
    /// # Errors
    /// [`Error::Invalid`] if `dir` exists and is not a folder.
    pub fn open(dir: impl Into<PathBuf>) -> Result<Self> {
        let dir = dir.into();
        if dir.exists() && !dir.is_dir() {
            let reason = "not a folder; give the folder that contains (or is to contain) runs/".into();
            return Err(Error::Invalid { path: dir, reason });
        }
        Ok(Self { dir })
    }

    /// The store in `dir`, which must contain runs/, failed/ or analyses/.
    ///
    /// # Errors
    /// [`Error::Invalid`] if it contains none of them.
    pub fn existing(dir: impl Into<PathBuf>) -> Result<Self> {
        let store = Self::open(dir)?;
        let parts = [store.runs_dir(), store.failed_dir(), store.analyses_dir()];
        if parts.iter().any(|dir| dir.is_dir()) {
            return Ok(store);
        }
        let reason = if store.dir.is_dir() {
            "not a store: it contains neither runs/ nor analyses/; give the folder that does"
        } else {
            "no such folder; give the one that contains runs/ and analyses/"
        };
        Err(Error::Invalid {
            path: store.dir,
            reason: reason.into(),
        })
    }

    /// The store's folder.
    #[must_use]
    pub fn dir(&self) -> &Path {
        &self.dir
    }

    /// Deletes the unfinished files that killed processes left in the store and in its folders
    /// ([`support::sweep_unfinished`]). Returns their number.
    ///
    /// # Errors
    /// [`Error::Io`] if a folder cannot be listed.
    pub fn sweep(&self) -> Result<usize> {
        let entries = match fs::read_dir(&self.dir) {
            Err(e) if e.kind() == ErrorKind::NotFound => return Ok(0),
            other => other.map_err(Error::io(&self.dir, "list the folder"))?,
        };
        let folders = entries.flatten().map(|entry| entry.path()).filter(|path| path.is_dir());
        let mut swept = sweep_unfinished(&self.dir)?;
        for folder in folders {
            swept += sweep_unfinished(&folder)?;
        }
        Ok(swept)
    }

    /// Writes a record atomically and returns its path. A finished run replaces the record of an earlier failure; a failed run
    /// leaves a finished record as it is.
    ///
    /// # Errors
    /// [`Error::Io`], [`Error::Invalid`]; stored records are left as they were.
    pub fn put(&self, record: &RunRecord) -> Result<PathBuf> {
        let text = record.to_json()?;
        let failed = self.failed_dir().join(file_name(&record.id));
        if !record.finished() {
            write_atomic(&failed, &text)?;
            return Ok(failed);
        }
        let path = match find(&self.runs_dir(), &record.id)? {
            Some(path) => path,
            None => self.runs_dir().join(file_name(&record.id)),
        };
        write_atomic(&path, &text)?;
        match fs::remove_file(&failed) {
            Ok(()) => sync_folder(&self.failed_dir())?,
            Err(e) if e.kind() == ErrorKind::NotFound => {}
            Err(e) => return Err(Error::io(&failed, "remove the record of the earlier failure")(e)),
        }
        Ok(path)
    }

    /// Whether a finished run with this id is stored.
    ///
    /// # Errors
    /// [`Error::Io`] if the folder cannot be read.
    pub fn has(&self, id: &str) -> Result<bool> {
        Ok(find(&self.runs_dir(), id)?.is_some())
    }

    /// The finished run with this id, if stored.
    ///
    /// # Errors
    /// As [`RunRecord::from_json`], and [`Error::Io`].
    pub fn get(&self, id: &str) -> Result<Option<RunRecord>> {
        match find(&self.runs_dir(), id)? {
            Some(path) => read(&path),
            None => Ok(None),
        }
    }

    /// All finished runs, sorted by path.
    ///
    /// # Errors
    /// The error of the first file that is not a record; [`Store::listing`] continues instead.
    pub fn records(&self) -> Result<Vec<RunRecord>> {
        strict(self.listing()?)
    }

    /// All finished runs, sorted by path, and an error for each file that is not a record.
    ///
    /// # Errors
    /// [`Error::Io`] if a folder cannot be read.
    pub fn listing(&self) -> Result<Listing> {
        list(&self.runs_dir())
    }

    /// All failed runs, sorted by path, and an error for each file that is not a record.
    ///
    /// # Errors
    /// [`Error::Io`] if a folder cannot be read.
    pub fn failed(&self) -> Result<Listing> {
        list(&self.failed_dir())
    }

    /// The records that `filter` admits.
    ///
    /// # Errors
    /// The error of the first file that is not a record.
    pub fn select(&self, filter: &Filter) -> Result<Selection> {
        Ok(Self::narrow(
            self.records()?,
            strict(self.failed()?)?,
            self.analyses()?,
            filter,
        ))
    }

    /// The records that `filter` admits, and an error for each file that is not a record.
    ///
    /// # Errors
    /// [`Error::Io`] if a folder cannot be read.
    pub fn select_readable(&self, filter: &Filter) -> Result<(Selection, Vec<Error>)> {
        let (runs, failed, analyses) = (self.listing()?, self.failed()?, self.analyses_listing()?);
        let bad = runs.bad.into_iter().chain(failed.bad).chain(analyses.bad).collect();
        Ok((
            Self::narrow(runs.records, failed.records, analyses.records, filter),
            bad,
        ))
    }

    /// Writes an analysis atomically and returns its path.
    ///
    /// # Errors
    /// [`Error::Io`], [`Error::Invalid`]; stored records are left as they were.
    pub fn put_analysis(&self, analysis: &Analysis) -> Result<PathBuf> {
        let usual = self.analyses_dir().join(file_name(&analysis.id));
        let path = find(&self.analyses_dir(), &analysis.id)?.unwrap_or(usual);
        write_atomic(&path, &analysis.to_json()?)?;
        Ok(path)
    }

    /// The analysis with this id, if stored.
    ///
    /// # Errors
    /// As [`Analysis::from_json`], and [`Error::Io`].
    pub fn analysis(&self, id: &str) -> Result<Option<Analysis>> {
        match find(&self.analyses_dir(), id)? {
            Some(path) => read(&path),
            None => Ok(None),
        }
    }

    /// All analyses, sorted by path.
    ///
    /// # Errors
    /// The error of the first file that is not an analysis; [`Store::analyses_listing`] continues instead.
    pub fn analyses(&self) -> Result<Vec<Analysis>> {
        strict(self.analyses_listing()?)
    }

    /// All analyses, sorted by path, and an error for each file that is not an analysis.
    ///
    /// # Errors
    /// [`Error::Io`] if a folder cannot be read.
    pub fn analyses_listing(&self) -> Result<Listing<Analysis>> {
        list(&self.analyses_dir())
    }

    fn narrow(
        mut runs: Vec<RunRecord>,
        mut failed: Vec<RunRecord>,
        mut analyses: Vec<Analysis>,
        filter: &Filter,
    ) -> Selection {
        let done: BTreeSet<String> = runs.iter().map(|run| run.id.clone()).collect();
        failed.retain(|run| filter.admits(run) && !run.tries_a_rate() && !done.contains(&run.id));
        runs = runs.iter().flat_map(RunRecord::under_each_name).collect();
        runs.retain(|run| filter.admits(run) && !run.tries_a_rate());
        analyses.retain(|analysis| filter.admits_analysis(analysis));
        Selection { runs, failed, analyses }
    }

    fn runs_dir(&self) -> PathBuf {
        self.dir.join("runs")
    }

    fn failed_dir(&self) -> PathBuf {
        self.dir.join("failed")
    }

    fn analyses_dir(&self) -> PathBuf {
        self.dir.join("analyses")
    }
}

/// A kind of record, stored one per file.
trait Stored: Sized {
    /// Noun for error messages.
    const NOUN: &'static str;

    fn id(&self) -> &str;

    fn parse(text: &[u8], path: &Path) -> Result<Self>;
}

impl Stored for RunRecord {
    const NOUN: &'static str = "run";

    fn id(&self) -> &str {
        &self.id
    }

    fn parse(text: &[u8], path: &Path) -> Result<Self> {
        RunRecord::from_json(text, path)
    }
}

impl Stored for Analysis {
    const NOUN: &'static str = "analysis";

    fn id(&self) -> &str {
        &self.id
    }

    fn parse(text: &[u8], path: &Path) -> Result<Self> {
        Analysis::from_json(text, path)
    }
}

/// Path of the record: in `dir`, or in a folder below it.
fn find(dir: &Path, id: &str) -> Result<Option<PathBuf>> {
    if !is_id(id) {
        return Ok(None);
    }
    let name = file_name(id);
    let usual = dir.join(&name);
    if usual.is_file() {
        return Ok(Some(usual));
    }
    let mut all = files(dir)?.into_iter();
    Ok(all.find(|path| path.file_name() == Some(OsStr::new(&name))))
}

fn file_name(id: &str) -> String {
    format!("{id}.json")
}

fn strict<T>(listing: Listing<T>) -> Result<Vec<T>> {
    match listing.bad.into_iter().next() {
        Some(error) => Err(error),
        None => Ok(listing.records),
    }
}

fn list<T: Stored>(dir: &Path) -> Result<Listing<T>> {
    let (mut records, mut bad) = (Vec::new(), Vec::new());
    let mut seen = BTreeSet::new();
    for path in files(dir)? {
        match read::<T>(&path) {
            Ok(Some(record)) if !seen.insert(record.id().to_owned()) => {
                let reason = format!(
                    "{} {} is stored twice; delete one of the two files",
                    T::NOUN,
                    record.id()
                );
                bad.push(Error::Invalid { path, reason });
            }
            Ok(Some(record)) => records.push(record),
            Ok(None) => {}
            Err(error) => bad.push(error),
        }
    }
    Ok(Listing { records, bad })
}

/// `None` if the file has been removed, as when another process has just replaced a failed run by a finished one.
fn read<T: Stored>(path: &Path) -> Result<Option<T>> {
    let text = match fs::read(path) {
        Err(e) if e.kind() == ErrorKind::NotFound => return Ok(None),
        other => other.map_err(Error::io(path, "read the record"))?,
    };
    let record = T::parse(&text, path)?;
    if path.file_stem() != Some(OsStr::new(record.id())) {
        let (id, name) = (record.id(), file_name(record.id()));
        let reason = format!("holds {} {id}; rename it to {name}", T::NOUN);
        return Err(Error::Invalid {
            path: path.to_owned(),
            reason,
        });
    }
    Ok(Some(record))
}

/// The JSON files below `dir`, sorted, without hidden ones, which are unfinished writes. A missing folder has none.
fn files(dir: &Path) -> Result<Vec<PathBuf>> {
    let mut found = Vec::new();
    let mut todo = vec![dir.to_owned()];
    while let Some(dir) = todo.pop() {
        let entries = match fs::read_dir(&dir) {
            Err(e) if e.kind() == ErrorKind::NotFound => continue,
            other => other.map_err(Error::io(&dir, "list the folder"))?,
        };
        for entry in entries {
            let entry = entry.map_err(Error::io(&dir, "list the folder"))?;
            let path = entry.path();
            if entry.file_name().to_string_lossy().starts_with('.') {
                continue;
            }
            if path.is_dir() {
                todo.push(path);
            } else if path.extension() == Some(OsStr::new("json")) {
                found.push(path);
            }
        }
    }
    found.sort();
    Ok(found)
}
