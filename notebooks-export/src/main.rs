//! `notebooks-export`: writes the store's tables as a Jupyter notebook that computes them again.

use std::path::{Component, Path, PathBuf};
use std::process::ExitCode;

use anyhow::{Context, Result};
use clap::Parser;
use results::{Filter, Selection, Store, Table, write_atomic};
use serde_json::{Value, json};

/// Writes `glue.ipynb` from the stored runs: Table 2 as it stands, and a cell of Python (polars) that computes its
/// medians again from the records. The notebook is not executed: its code cell has no output until you run it.
#[derive(Debug, Parser)]
#[command(version)]
struct Args {
    /// Folder of the store, the one that holds runs/.
    #[arg(long, default_value = "results")]
    results: PathBuf,
    /// Folder for the notebook.
    #[arg(long, default_value = "notebooks")]
    out: PathBuf,
}

fn main() -> ExitCode {
    match run(&Args::parse()) {
        Ok(path) => {
            println!("{} (not executed)", path.display());
            ExitCode::SUCCESS
        }
        Err(error) => {
            eprintln!("error: {error:#}");
            ExitCode::FAILURE
        }
    }
}

fn run(args: &Args) -> Result<PathBuf> {
    let (selection, unreadable) = Store::open(&args.results)?.select_readable(&Filter::default())?;
    for error in unreadable {
        eprintln!("warning, left out: {:#}", anyhow::Error::new(error));
    }
    let notebook = notebook(&selection, &relative(&args.results, &args.out)?.to_string_lossy())?;
    let path = args.out.join("glue.ipynb");
    let mut text = serde_json::to_vec_pretty(&notebook)?;
    text.push(b'\n');
    write_atomic(&path, &text)?;
    Ok(path)
}

/// `to` as seen from the folder `from`, where Jupyter runs the notebook: it works wherever the two are copied together.
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

/// The notebook as nbformat 4.5.
fn notebook(selection: &Selection, store: &str) -> Result<Value> {
    let tables = results::table::table2::build(selection)?;
    // A JSON string is a Python string too.
    let code = format!("RESULTS = {}\n{}", json!(store), include_str!("medians.py"));
    Ok(json!({
        "cells": [
            {"cell_type": "markdown", "id": "tables", "metadata": {}, "source": lines(&words(&tables, selection))},
            {"cell_type": "code", "id": "medians", "metadata": {}, "source": lines(&code),
             "execution_count": null, "outputs": []},
        ],
        "metadata": {
            "kernelspec": {"display_name": "Python 3", "language": "python", "name": "python3"},
            "language_info": {"name": "python"},
        },
        "nbformat": 4,
        "nbformat_minor": 5,
    }))
}

fn words(tables: &[Table], selection: &Selection) -> String {
    let mut text = String::from("# GLUE: Table 2 from the stored runs\n\n");
    if tables.is_empty() {
        text += "No run of the experiment `glue` is stored yet.\n";
    }
    for table in tables {
        text += &format!("{}\n", table.markdown());
    }
    let mut commits: Vec<String> = selection.runs.iter().map(|run| commit(&run.provenance)).collect();
    commits.sort();
    commits.dedup();
    if !commits.is_empty() {
        text += &format!(
            "Computed at commit {}. The cell below was not executed when this was written.\n",
            commits.join(", ")
        );
    }
    text
}

fn commit(provenance: &results::record::Provenance) -> String {
    let commit = provenance.commit.as_deref().unwrap_or("unknown");
    format!(
        "{}{}",
        commit.get(..12).unwrap_or(commit),
        if provenance.dirty { " (with local changes)" } else { "" }
    )
}

/// nbformat keeps text as lines that keep their newlines.
fn lines(text: &str) -> Vec<&str> {
    text.split_inclusive('\n').collect()
}

#[cfg(test)]
mod tests;
