//! `notebooks-export`: writes reports on stored results, as Jupyter notebooks and HTML pages.

mod html;
mod notebook;
mod report;

use std::path::{Component, Path, PathBuf};
use std::process::ExitCode;

use anyhow::{Context, Result};
use clap::Parser;
use results::{Filter, Selection, Store};
use serde_json::Value;
use sha2::{Digest, Sha256};
use support::write_atomic;

/// Writes reports on GLUE, generated texts and Section 7: notebooks/*.ipynb, html/*.html and html/index.html, which leads to them.
///
/// The notebooks contain the tables, and Python code (polars, matplotlib) that recomputes them from the records.
/// `tools/check-notebooks --write` executes them; a notebook that was executed on the same records is left as it is.
#[derive(Debug, Parser)]
#[command(version)]
struct Args {
    /// Folder of the store, which contains runs/ and analyses/
    #[arg(long, default_value = "results")]
    results: PathBuf,
    /// Folder for notebooks/ and html/
    #[arg(long, default_value = "notebooks-export")]
    out: PathBuf,
}

fn main() -> ExitCode {
    let written = run(&Args::parse()).and_then(|written| Ok(support::print(&(written.join("\n") + "\n"))?));
    match written {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("error: {}", support::printable(format!("{error:#}")));
            ExitCode::FAILURE
        }
    }
}

/// Writes all files, or none if one cannot be generated; returns one line per file.
fn run(args: &Args) -> Result<Vec<String>> {
    let (stored, bad) = Store::existing(&args.results)?.select_readable(&Filter::default())?;
    for error in &bad {
        eprintln!("skipped: {}", error.with_causes());
    }
    let digest = digest(&stored)?;
    let (notebooks, pages) = (args.out.join("notebooks"), args.out.join("html"));
    let store = relative(&args.results, &notebooks)?;
    let mut files: Vec<(PathBuf, String, &str)> = Vec::new();
    let mut reports = Vec::new();
    for report in report::REPORTS {
        let new = notebook::notebook(report, &stored, &store.to_string_lossy(), &digest)?;
        let path = notebooks.join(format!("{}.ipynb", report.name));
        let old: Value = std::fs::read(&path)
            .ok()
            .and_then(|old| serde_json::from_slice(&old).ok())
            .unwrap_or_default();
        if !notebook::is_executed(&old, &new) {
            files.push((
                path,
                serde_json::to_string_pretty(&new)? + "\n",
                " (not executed: tools/check-notebooks --write)",
            ));
        }
        reports.extend(html::pages(report, &stored)?);
    }
    files.push((pages.join("index.html"), html::index(&reports), ""));
    let stale = stale(&pages, &reports);
    for page in reports {
        files.push((pages.join(page.file), page.text, ""));
    }
    let mut written = Vec::new();
    for (path, text, note) in files {
        write_atomic(&path, text.as_bytes())?;
        written.push(format!("{}{note}", path.display()));
    }
    for path in stale {
        std::fs::remove_file(&path).with_context(|| format!("cannot remove {}", path.display()))?;
        written.push(format!("{} removed", path.display()));
    }
    Ok(written)
}

/// Further pages of reports that have fewer now.
fn stale(dir: &Path, pages: &[html::Page]) -> Vec<PathBuf> {
    let further = |name: &str| {
        let number = report::REPORTS
            .iter()
            .find_map(|report| name.strip_prefix(report.name)?.strip_prefix('-'));
        number
            .and_then(|number| number.strip_suffix(".html"))
            .is_some_and(|number| number.parse::<u32>().is_ok())
    };
    let entries = std::fs::read_dir(dir)
        .into_iter()
        .flatten()
        .filter_map(|entry| Some(entry.ok()?.path()));
    let is_stale = |path: &PathBuf| {
        let name = path
            .file_name()
            .map(|name| name.to_string_lossy().into_owned())
            .unwrap_or_default();
        further(&name) && !pages.iter().any(|page| page.file == name)
    };
    entries.filter(is_stale).collect()
}

/// Hash of all records.
fn digest(stored: &Selection) -> Result<String> {
    let mut hash = Sha256::new();
    for run in &stored.runs {
        hash.update(run.content()?);
    }
    for analysis in &stored.analyses {
        hash.update(analysis.content()?);
    }
    Ok(format!("{:x}", hash.finalize()))
}

/// `to` relative to the folder `from`, where Jupyter runs the notebook, so that both can be moved together.
fn relative(to: &Path, from: &Path) -> Result<PathBuf> {
    let absolute = |path: &Path| std::path::absolute(path).context("cannot find the current folder");
    let (to, from) = (absolute(to)?, absolute(from)?);
    let shared = to
        .components()
        .zip(from.components())
        .take_while(|(a, b)| a == b)
        .count();
    let up = from.components().skip(shared).map(|_| Component::ParentDir);
    Ok(up.chain(to.components().skip(shared)).collect())
}

#[cfg(test)]
mod tests;
