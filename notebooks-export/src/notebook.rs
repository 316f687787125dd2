//! A report as a Jupyter notebook, nbformat 4.5.

use anyhow::Result;
use results::Selection;
use results::verdict;
use serde_json::{Value, json};

use crate::report::{Part, Report, commits};

/// The notebook, not executed. `store` is the store's folder relative to the notebook's, `digest` a hash of the records.
pub fn notebook(report: &Report, stored: &Selection, store: &str, digest: &str) -> Result<Value> {
    let mut cells = vec![markdown("about", &words(report, stored)?)];
    for (i, cell) in python(report.python).into_iter().enumerate() {
        cells.push(markdown(
            &format!("says-{i}"),
            &format!("## {}\n\n{}\n", cell.heading, cell.about),
        ));
        // A JSON string is a Python string too.
        let path = if i == 0 {
            format!("RESULTS = {}\n", json!(store))
        } else {
            String::new()
        };
        cells.push(json!({
            "cell_type": "code", "id": format!("code-{i}"), "metadata": {}, "source": lines(&(path + cell.code.trim_end())),
            "execution_count": null, "outputs": [],
        }));
    }
    Ok(json!({
        "cells": cells,
        "metadata": {
            "kernelspec": {"display_name": "Python 3", "language": "python", "name": "python3"},
            "language_info": {"name": "python"},
            "records": digest,
        },
        "nbformat": 4,
        "nbformat_minor": 5,
    }))
}

/// Whether `old` is `new` after execution: the same cells for the same records.
pub fn is_executed(old: &Value, new: &Value) -> bool {
    let same = |key: &str| old["metadata"][key] == new["metadata"][key];
    let source = |notebook: &Value| -> Vec<Value> {
        let cells = notebook["cells"].as_array().cloned().unwrap_or_default();
        cells.iter().map(|cell| json!([cell["id"], cell["source"]])).collect()
    };
    let code = |cell: &&Value| cell["cell_type"] == "code";
    let mut run = old["cells"].as_array().into_iter().flatten().filter(code);
    same("records") && source(old) == source(new) && run.all(|cell| cell["execution_count"].is_u64())
}

fn markdown(id: &str, text: &str) -> Value {
    json!({"cell_type": "markdown", "id": id, "metadata": {}, "source": lines(text)})
}

fn words(report: &Report, stored: &Selection) -> Result<String> {
    let mut text = format!("# {}\n\n{}\n\n", report.title, report.about);
    for part in report.parts(stored)? {
        match part {
            Part::Table(table) => text += &format!("{}\n", table.markdown()),
            Part::Figure(figure) if figure.is_empty() => text += &format!("{}\n\n", figure.description()),
            Part::Figure(figure) => {
                text += &format!(
                    "**{}** {} {}\n\n",
                    figure.title,
                    figure.description(),
                    verdict::text(&figure.verdicts)
                )
            }
        }
    }
    text += &commits(stored).unwrap_or_default();
    text += " The cells below compute it again from the records.\n";
    Ok(text)
}

/// A cell of Python code.
struct Python<'a> {
    heading: &'a str,
    about: String,
    code: String,
}

fn python(text: &str) -> Vec<Python<'_>> {
    let mut cells: Vec<Python> = Vec::new();
    for line in text.lines() {
        if let Some(heading) = line.strip_prefix("# %% ") {
            let (about, code) = (String::new(), String::new());
            cells.push(Python { heading, about, code });
        } else if let Some(cell) = cells.last_mut() {
            match line.strip_prefix("#: ") {
                Some(text) => cell.about = format!("{} {text}", cell.about).trim().to_owned(),
                None => cell.code += &format!("{line}\n"),
            }
        }
    }
    cells
}

/// Lines with their newlines, as in nbformat.
fn lines(text: &str) -> Vec<&str> {
    text.split_inclusive('\n').collect()
}
