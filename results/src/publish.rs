//! Publishing: all tables and figures of a store, and the README that shows them.

use std::collections::BTreeSet;
use std::fs;
use std::io::ErrorKind;
use std::path::{Path, PathBuf};

use support::write_atomic;

use crate::error::{Error, Result};
use crate::figure::{FIGURES, Style};
pub use crate::gathered::{Published, gather};
use crate::results_readme;
use crate::store::{Filter, Store};
use crate::table::TABLES;
use crate::{OWN, PUBLISHED};

/// Regenerates all tables and figures from the records, and the README that shows them.
///
/// The same records give the same bytes. Nothing is written unless everything can be generated.
#[derive(Clone, Debug, clap::Args)]
pub struct Args {
    /// Folder of the store, which contains runs/ and analyses/ [default: results/own if it has records, else as --published]
    #[arg(long, value_name = "DIR")]
    pub results: Option<PathBuf>,
    /// The published records in results/
    #[arg(long, conflicts_with = "results")]
    pub published: bool,
    /// Also tables of the paper's numbers alone, and figures with empty panels, where there are no records
    #[arg(long)]
    pub empty: bool,
    /// How figures look: on a page, or in print, without titles and notes, as SVG and PDF in figures/paper/ (only these are written)
    #[arg(long, value_name = "STYLE", value_enum, default_value_t)]
    pub style: Style,
    /// Folder for tables/, figures/ and README.md [default: the store]
    #[arg(long, value_name = "DIR")]
    pub out: Option<PathBuf>,
    /// Only these, such as fig3 or table5; README.md is left as it is
    #[arg(long, value_name = "NAME", value_delimiter = ',')]
    pub only: Vec<String>,
}

impl Args {
    /// The store.
    fn store(&self) -> PathBuf {
        match &self.results {
            Some(dir) => dir.clone(),
            None if !self.published && has_records(Path::new(OWN)) => OWN.into(),
            None => PUBLISHED.into(),
        }
    }

    /// Whether tables and figures without records are made, too.
    fn makes_empty(&self) -> bool {
        self.empty || !self.only.is_empty()
    }
}

/// Whether a folder holds a record of a run or an analysis.
fn has_records(dir: &Path) -> bool {
    let some = |kind: &str| fs::read_dir(dir.join(kind)).is_ok_and(|mut entries| entries.next().is_some());
    some("runs") || some("analyses")
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
    let store = args.store();
    let (stored, bad) = Store::existing(&store)?.select_readable(&Filter::default())?;
    let (measured, unmeasured) = gather(&stored, |name| only.is_empty() || only.contains(name))?.parted();
    let out = args.out.as_ref().unwrap_or(&store);
    let empty = Some(&unmeasured).filter(|_| args.makes_empty());
    let made: Vec<&Published> = std::iter::once(&measured).chain(empty).collect();
    let (dirs, mut files) = match args.style {
        Style::Screen => (vec![out.join("tables"), out.join("figures")], on_screen(&made, out)?),
        Style::Paper => (
            vec![out.join("figures/paper")],
            in_print(&made, &out.join("figures/paper"))?,
        ),
    };
    if only.is_empty() && args.style == Style::Screen {
        let beside_docs = out.join("../docs/figures.md").is_file();
        let pages = results_readme::pages(&stored, (&measured, &unmeasured), beside_docs);
        files.extend(
            pages
                .into_iter()
                .map(|(path, text)| (out.join(path), text.into_bytes())),
        );
    }
    let stale = if only.is_empty() {
        stale(&dirs, &files)?
    } else {
        Vec::new()
    };
    let skipped = bad.iter().map(Error::with_causes).collect();
    Ok(Written {
        skipped,
        ..write(&files, stale)?
    })
}

/// Paths and contents of files.
type Files = Vec<(PathBuf, Vec<u8>)>;

/// Files of tables and figures for pages.
fn on_screen(made: &[&Published], out: &Path) -> Result<Files> {
    let mut files = Files::new();
    for table in made.iter().flat_map(|all| &all.tables) {
        for (extension, text) in table.files()? {
            let path = out.join("tables").join(format!("{}.{extension}", table.name));
            files.push((path, text.into_bytes()));
        }
    }
    for figure in made.iter().flat_map(|all| &all.figures) {
        for (extension, bytes) in figure.files()? {
            files.push((out.join("figures").join(format!("{}.{extension}", figure.name)), bytes));
        }
    }
    Ok(files)
}

/// Files of figures for print.
fn in_print(made: &[&Published], dir: &Path) -> Result<Files> {
    let mut files = Files::new();
    for figure in made.iter().flat_map(|all| &all.figures) {
        for (extension, bytes) in figure.printed()? {
            files.push((dir.join(format!("{}.{extension}", figure.name)), bytes));
        }
    }
    Ok(files)
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
    let unknown = || Error::UnknownName(support::unknown("table or figure", name, kinds()));
    kinds().find(same).ok_or_else(unknown)
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

/// Files in `dirs` of some kind of table or figure that are not among `files`, such as an empty figure that has been measured since.
fn stale(dirs: &[PathBuf], files: &[(PathBuf, Vec<u8>)]) -> Result<Vec<PathBuf>> {
    let kept: BTreeSet<&Path> = files.iter().map(|(path, _)| path.as_path()).collect();
    let ours = |name: &str| {
        let (stem, extension) = name.split_once('.').unwrap_or((name, ""));
        let kind = stem.split('-').next().unwrap_or(stem);
        kinds().any(|known| known == kind) && ["md", "tex", "csv", "svg", "png", "pdf"].contains(&extension)
    };
    let mut found = Vec::new();
    for dir in dirs {
        let entries = match fs::read_dir(dir) {
            Err(e) if e.kind() == ErrorKind::NotFound => continue,
            other => other.map_err(Error::io(dir, "list the folder"))?,
        };
        for entry in entries {
            let path = entry.map_err(Error::io(dir, "list the folder"))?.path();
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
