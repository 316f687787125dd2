//! Publishing: all tables and figures of a store, and the README that shows them.

use std::collections::BTreeSet;
use std::fs;
use std::io::ErrorKind;
use std::path::{Path, PathBuf};

use support::write_atomic;

use crate::error::{Error, Result};
use crate::figure::{FIGURES, Figure};
use crate::results_readme;
use crate::store::{Filter, Selection, Store};
use crate::table::{RowKind, TABLES, Table, TableRow};
use crate::{OWN, PUBLISHED};

/// Regenerates all tables and figures from the records, and the README that shows them.
///
/// The same records give the same bytes. Nothing is written unless everything can be generated.
#[derive(Clone, Debug, clap::Args)]
pub struct Args {
    /// Folder of the store, which contains runs/ and analyses/ [default: results/own if it has records, else as --published]
    #[arg(long, value_name = "DIR")]
    pub results: Option<PathBuf>,
    /// The published records in results/, with --empty
    #[arg(long, conflicts_with = "results")]
    pub published: bool,
    /// Also tables of the paper's numbers alone, and figures with empty panels, where there are no records
    #[arg(long)]
    pub empty: bool,
    /// Folder for tables/, figures/ and README.md [default: the store]
    #[arg(long, value_name = "DIR")]
    pub out: Option<PathBuf>,
    /// Only these, such as fig3 or table5; README.md is left as it is
    #[arg(long, value_name = "NAME", value_delimiter = ',')]
    pub only: Vec<String>,
}

impl Args {
    /// The store, and whether tables and figures without records are made, too.
    fn store(&self) -> (PathBuf, bool) {
        let empty = self.empty || !self.only.is_empty();
        match &self.results {
            Some(dir) => (dir.clone(), empty),
            None if !self.published && has_records(Path::new(OWN)) => (OWN.into(), empty),
            None => (PUBLISHED.into(), true),
        }
    }
}

/// Whether a folder holds a record of a run or an analysis.
fn has_records(dir: &Path) -> bool {
    let some = |kind: &str| fs::read_dir(dir.join(kind)).is_ok_and(|mut entries| entries.next().is_some());
    some("runs") || some("analyses")
}

/// The published tables and figures.
#[derive(Clone, Debug, Default)]
pub struct Published {
    /// The tables; those without runs show the paper's numbers alone.
    pub tables: Vec<Table>,
    /// The figures; those without measurements have empty panels.
    pub figures: Vec<Figure>,
}

/// Files written by [`publish`].
#[derive(Clone, Debug, Default)]
pub struct Written {
    /// New and changed files.
    pub changed: Vec<PathBuf>,
    /// Number of unchanged files.
    pub unchanged: usize,
    /// Removed files: tables and figures that are no longer generated.
    pub removed: Vec<PathBuf>,
    /// Files in the store that are not records, with the reason; they are skipped.
    pub skipped: Vec<String>,
}

impl std::fmt::Display for Written {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        for path in &self.changed {
            writeln!(f, "{}", path.display())?;
        }
        for path in &self.removed {
            writeln!(f, "{} removed", path.display())?;
        }
        for reason in &self.skipped {
            writeln!(f, "skipped: {reason}")?;
        }
        let (changed, unchanged) = (self.changed.len(), self.unchanged);
        write!(
            f,
            "{changed} files written, {unchanged} as they were, {} removed",
            self.removed.len()
        )?;
        match self.skipped.len() {
            0 => writeln!(f),
            n => writeln!(f, "; {n} files of the store are no records and are left out"),
        }
    }
}

/// The tables and figures of the selected records, of the kinds that `wanted` accepts by name.
///
/// # Errors
/// As [`crate::table::TableKind::tables`] and [`crate::figure::FigureKind::figures`].
pub fn gather(stored: &Selection, wanted: impl Fn(&str) -> bool) -> Result<Published> {
    let mut all = Published::default();
    for kind in TABLES.iter().filter(|kind| wanted(kind.name())) {
        let built = kind.tables(stored)?;
        if !built.iter().any(|table| table.name == kind.name()) {
            all.tables.extend(kind.paper_only()?);
        }
        all.tables.extend(built);
    }
    for kind in FIGURES.iter().filter(|kind| wanted(kind.name())) {
        all.figures.extend(kind.figures(stored)?);
    }
    Ok(all)
}

/// Writes tables, figures and README. Records that cannot be read are skipped and listed in [`Written::skipped`].
///
/// # Errors
/// [`Error::UnknownName`], [`Error::Invalid`] for a folder that is not a store, and the errors of [`gather`], before anything is
/// written; [`Error::Io`].
pub fn publish(args: &Args) -> Result<Written> {
    let only = args
        .only
        .iter()
        .map(|name| kind(name))
        .collect::<Result<BTreeSet<_>>>()?;
    let (store, empty) = args.store();
    let (stored, bad) = Store::existing(&store)?.select_readable(&Filter::default())?;
    let mut all = gather(&stored, |name| only.is_empty() || only.contains(name))?;
    if !empty {
        let ours = |table: &Table| {
            let measured = |row: &TableRow| row.cells.first().is_some_and(|cell| !cell.is_word("not run yet"));
            table.rows.iter().any(|row| row.kind == RowKind::Ours && measured(row))
        };
        all.tables.retain(ours);
        all.figures.retain(|figure| !figure.is_empty());
    }
    let out = args.out.as_ref().unwrap_or(&store);
    let mut files: Vec<(PathBuf, Vec<u8>)> = Vec::new();
    for table in &all.tables {
        for (extension, text) in table.files()? {
            let path = out.join("tables").join(format!("{}.{extension}", table.name));
            files.push((path, text.into_bytes()));
        }
    }
    for figure in &all.figures {
        for (extension, bytes) in figure.files()? {
            files.push((out.join("figures").join(format!("{}.{extension}", figure.name)), bytes));
        }
    }
    if only.is_empty() {
        files.push((
            out.join("README.md"),
            results_readme::page(&stored, &all.tables, &all.figures).into_bytes(),
        ));
    }
    let stale = if only.is_empty() {
        stale(out, &files)?
    } else {
        Vec::new()
    };
    let skipped = bad.iter().map(Error::with_causes).collect();
    Ok(Written {
        skipped,
        ..write(&files, stale)?
    })
}

/// The kind called `name`: `fig3`, `figure3` and `Figure 3` are the same.
fn kind(name: &str) -> Result<&'static str> {
    let plain: String = name
        .chars()
        .filter(char::is_ascii_alphanumeric)
        .collect::<String>()
        .to_ascii_lowercase();
    let same = |known: &&str| {
        let digits = known.trim_start_matches(char::is_alphabetic);
        plain == **known || plain == format!("{}{digits}", &known[..3])
    };
    kinds().find(same).ok_or_else(|| Error::UnknownName {
        name: name.to_owned(),
        known: kinds().collect::<Vec<_>>().join(", "),
    })
}

/// Names of all tables and figures.
fn kinds() -> impl Iterator<Item = &'static str> {
    let tables = TABLES.iter().map(|kind| kind.name());
    tables.chain(FIGURES.iter().map(|kind| kind.name()))
}

fn write(files: &[(PathBuf, Vec<u8>)], stale: Vec<PathBuf>) -> Result<Written> {
    let mut written = Written::default();
    for (path, bytes) in files {
        if fs::read(path).is_ok_and(|before| before == *bytes) {
            written.unchanged += 1;
        } else {
            write_atomic(path, bytes)?;
            written.changed.push(path.clone());
        }
    }
    for path in stale {
        fs::remove_file(&path).map_err(Error::io(&path, "remove the outdated file"))?;
        written.removed.push(path);
    }
    Ok(written)
}

/// Files of some kind of table or figure that are not among `files`, such as an empty figure that has been measured since.
fn stale(out: &Path, files: &[(PathBuf, Vec<u8>)]) -> Result<Vec<PathBuf>> {
    let kept: BTreeSet<&Path> = files.iter().map(|(path, _)| path.as_path()).collect();
    let ours = |name: &str| {
        let (stem, extension) = name.split_once('.').unwrap_or((name, ""));
        let kind = stem.split('-').next().unwrap_or(stem);
        kinds().any(|known| known == kind) && ["md", "tex", "csv", "svg", "png"].contains(&extension)
    };
    let mut found = Vec::new();
    for dir in ["tables", "figures"].map(|dir| out.join(dir)) {
        let entries = match fs::read_dir(&dir) {
            Err(e) if e.kind() == ErrorKind::NotFound => continue,
            other => other.map_err(Error::io(&dir, "list the folder"))?,
        };
        for entry in entries {
            let path = entry.map_err(Error::io(&dir, "list the folder"))?.path();
            let name = path
                .file_name()
                .map(|name| name.to_string_lossy().into_owned())
                .unwrap_or_default();
            if ours(&name) && !kept.contains(path.as_path()) {
                found.push(path);
            }
        }
    }
    found.sort();
    Ok(found)
}
