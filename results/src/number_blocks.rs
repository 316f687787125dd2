//! Generated blocks of Markdown pages: the text between `<!-- numbers: WHAT of DIR -->` and `<!-- end of numbers -->` is generated from
//! records. WHAT is the name of a table (`table2-minilm`, or `table2-minilm without spreads`), `compare BASELINE METHOD MODEL`, `peer`,
//! or `answer`: the project's question in three sentences; DIR is a store (for `peer`, its folder `peer`), relative to the page. A
//! block of a missing folder says that there are no records yet.

use std::collections::BTreeMap;
use std::path::Path;

use serde::Deserialize;
use support::write_atomic;

use crate::answer::answer;
use crate::compare;
use crate::error::{Error, Result};
use crate::estimator::Estimator;
use crate::listing::{Column, listing};
use crate::scripts::markdown;
use crate::store::{Filter, Selection, Store};
use crate::sweep;
use crate::table::{Cell, Table, tables};

const BEGIN: &str = "<!-- numbers: ";
const END: &str = "<!-- end of numbers -->";
/// How the notes of a table begin that a block holds.
const NOTES: [&str; 8] = [
    "Cells: ",
    "A method's own row: ",
    "- full: ",
    "best epoch: ",
    "Learning rates ",
    "+ Head: ",
    "Device: ",
    "undef.: ",
];
/// What a block can hold.
const KINDS: [&str; 5] = [
    "TABLE of DIR",
    "TABLE without spreads of DIR",
    "compare BASELINE METHOD MODEL of DIR",
    "peer of DIR",
    "answer of DIR",
];
/// Columns of a block.
const WIDTH: usize = 100;
/// Columns of sentences, which are not shown as they are wrapped.
const PROSE: usize = 160;

/// Generates the blocks of a page and returns whether the page changes by that; writes it if `write` is set.
///
/// # Errors
/// [`Error::Io`]; [`Error::Invalid`] for a block that does not end, is unknown, or whose folder is not a store.
pub fn refresh(page: &Path, write: bool) -> Result<bool> {
    let bytes = std::fs::read(page).map_err(Error::io(page, "read the page"))?;
    let text = String::from_utf8_lossy(&bytes);
    let new = regenerated(&text, page)?;
    let differs = new != text;
    if differs && write {
        write_atomic(page, new.as_bytes())?;
    }
    Ok(differs)
}

/// The page with generated blocks.
fn regenerated(text: &str, page: &Path) -> Result<String> {
    let fail = |reason: String| Error::Invalid {
        path: page.to_owned(),
        reason,
    };
    let mut out = String::new();
    let mut rest = text;
    while let Some((before, after)) = rest.split_once(BEGIN) {
        let (what, _) = after
            .split_once(" -->")
            .ok_or_else(|| fail("a block that begins with `<!-- numbers: ` lacks ` -->`".into()))?;
        let (_, after) = after
            .split_once(END)
            .ok_or_else(|| fail(format!("`{BEGIN}{what} -->` without `{END}`")))?;
        let body = block(what, page.parent().unwrap_or(Path::new(".")))
            .map_err(|error| fail(format!("`{what}`: {}", error.with_causes())))?;
        out.push_str(&format!("{before}{BEGIN}{what} -->\n{body}{END}"));
        rest = after;
    }
    out.push_str(rest);
    Ok(out)
}

/// Body of a block: sentences as they are, tables as a block of text.
fn block(what: &str, beside: &Path) -> Result<String> {
    let is_prose = what.split(' ').next() == Some("answer");
    numbers(what, beside).map(|body| {
        if is_prose {
            body
        } else {
            format!("```text\n{body}```\n")
        }
    })
}

fn numbers(what: &str, beside: &Path) -> Result<String> {
    let unknown = || Error::UnknownName(support::unknown("kind of numbers", what, KINDS));
    let (what, dir) = what.rsplit_once(" of ").ok_or_else(unknown)?;
    let named = dir;
    let dir = beside.join(dir);
    if !dir.exists() {
        return Ok(format!("There are no records in {named} yet.\n"));
    }
    let words: Vec<&str> = what.split(' ').collect();
    match words[..] {
        ["peer"] => {
            let store = Store::existing(dir.parent().unwrap_or(beside))?;
            peer(&dir, &store.select(&Filter::default())?)
        }
        ["answer"] => {
            let answer = answer(&Store::existing(&dir)?.select(&Filter::default())?);
            let wrapped = answer
                .in_short()
                .into_iter()
                .map(|sentence| crate::table::wrap(&markdown(sentence), PROSE, "  "));
            Ok(wrapped.map(|sentence| format!("- {sentence}")).collect())
        }
        ["compare", baseline, method, model] => {
            let filter = Filter {
                model: Some(model.to_owned()),
                ..Filter::default()
            };
            let stored = Store::existing(&dir)?.select(&filter)?;
            let found = compare::compare(&stored, baseline, &[method.to_owned()])?;
            Ok(plain(&compare::table(&found), &["Runs", "Diff", "p: ", "Verdict"]))
        }
        [name] | [name, "without", "spreads"] => {
            let store = Store::existing(&dir)?;
            let kind = name.split('-').next().unwrap_or(name);
            let all = tables(&store, &Filter::default(), |known| known == kind)?;
            let mut table = all.into_iter().find(|table| table.name == *name).ok_or_else(unknown)?;
            if words.len() > 1 {
                without_spreads(&mut table);
            }
            Ok(plain(&table, &NOTES))
        }
        _ => Err(unknown()),
    }
}

fn without_spreads(table: &mut Table) {
    for cell in table.rows.iter_mut().flat_map(|row| &mut row.cells) {
        if let Cell::Number(number) = cell {
            number.spread = None;
        }
    }
}

/// The table in plain text with the notes that begin with one of `notes`.
fn plain(table: &Table, notes: &[&str]) -> String {
    let column = |(i, head): (usize, &String)| match table.is_text(i) {
        true => Column::text(head),
        false => Column::number(head),
    };
    let columns: Vec<Column> = table.header.iter().enumerate().map(column).collect();
    let mut out = listing(&columns, table.printed(), None);
    for note in table
        .notes
        .iter()
        .filter(|note| notes.iter().any(|start| note.starts_with(start)))
    {
        out.push_str(&crate::table::wrap(note, WIDTH, "  "));
    }
    out
}

/// A score that another program reached with the same recipe, written by `tools/check-peft-accuracy`.
#[derive(Deserialize)]
struct PeerScore {
    task: String,
    method: String,
    model: String,
    seed: u64,
    best: f64,
    versions: BTreeMap<String, String>,
    weights_sha256: String,
}

/// Table of the other program's scores beside ours.
fn peer(dir: &Path, ours: &Selection) -> Result<String> {
    let mut all: Vec<PeerScore> = Vec::new();
    let mut paths: Vec<_> = std::fs::read_dir(dir)
        .map_err(Error::io(dir, "list the folder"))?
        .filter_map(|entry| Some(entry.ok()?.path()))
        .filter(|path| path.extension().is_some_and(|extension| extension == "json"))
        .collect();
    paths.sort();
    for path in paths {
        let text = std::fs::read(&path).map_err(Error::io(&path, "read the record"))?;
        all.push(serde_json::from_slice(&text).map_err(|source| Error::Corrupt { path, source })?);
    }
    let tasks: BTreeMap<(&str, &str, &str), Vec<&PeerScore>> = all.iter().fold(BTreeMap::new(), |mut tasks, peer| {
        let key = (peer.model.as_str(), peer.method.as_str(), peer.task.as_str());
        tasks.entry(key).or_insert_with(Vec::new).push(peer);
        tasks
    });
    let mut rows = Vec::new();
    for ((model, method, task), peers) in &tasks {
        let same = |run: &&crate::RunRecord| {
            let weights = run.provenance.weights_sha256.as_ref();
            (run.model.as_str(), run.shown_method(), run.task.as_str()) == (*model, *method, *task)
                && peers.iter().all(|peer| weights == Some(&peer.weights_sha256))
        };
        let runs: BTreeMap<u64, f64> = sweep::of_one_rule(ours)
            .into_iter()
            .filter(same)
            .filter_map(|run| Some((run.seed, sweep::headline(run)?.1?)))
            .collect();
        let theirs: BTreeMap<u64, f64> = peers.iter().map(|peer| (peer.seed, peer.best * 100.0)).collect();
        let shown = |scores: &BTreeMap<u64, f64>| {
            if scores.is_empty() {
                return "–".to_owned();
            }
            let number = Estimator::of(task).number(&scores.values().copied().collect::<Vec<_>>());
            let spread = number.spread.map(|spread| format!(" ±{spread:.1}")).unwrap_or_default();
            format!("{:.1}{spread} (n={})", number.value, scores.len())
        };
        let names = [*model, *method, *task].map(String::from);
        rows.push(names.into_iter().chain([shown(&theirs), shown(&runs)]).collect());
    }
    let versions: BTreeMap<&String, &String> = all.iter().flat_map(|peer| &peer.versions).collect();
    let versions: Vec<String> = versions
        .iter()
        .map(|(name, version)| format!("{name} {version}"))
        .collect();
    let note = format!(
        "Accuracy on dev, {}, each program with seeds of its own; {}.",
        Estimator::words(tasks.keys().map(|key| key.2)),
        versions.join(", ")
    );
    let mut columns = ["Model", "Method", "Task"].map(Column::text).to_vec();
    columns.extend(["Transformers and PEFT", "ours"].map(Column::number));
    Ok(listing(&columns, rows, None) + &crate::table::wrap(&note, WIDTH, "  "))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn blocks_are_generated() {
        let dir = tempfile::tempdir().unwrap();
        let page = dir.path().join("README.md");
        let marked = |body: &str| format!("before\n{BEGIN}peer of results/peer -->\n{body}{END}\nafter 70.0\n");
        std::fs::create_dir_all(dir.path().join("results/runs")).unwrap();
        let record = serde_json::json!({"task": "mrpc", "method": "lora", "model": "tiny", "seed": 1, "best": 0.7654,
            "versions": {"peft": "0.21.0"}, "weights_sha256": "ab"});
        write_atomic(
            dir.path().join("results/peer/mrpc-lora-1.json"),
            record.to_string().as_bytes(),
        )
        .unwrap();
        std::fs::write(&page, marked("typed 99.9\n")).unwrap();
        assert!(refresh(&page, false).unwrap(), "it differs");
        assert_eq!(std::fs::read_to_string(&page).unwrap(), marked("typed 99.9\n"));
        assert!(refresh(&page, true).unwrap());
        let text = std::fs::read_to_string(&page).unwrap();
        assert!(
            text.contains("tiny   lora    mrpc") && text.contains("76.5 (n=1)"),
            "{text}"
        );
        assert!(
            text.starts_with("before\n") && text.ends_with("\nafter 70.0\n") && !text.contains("99.9"),
            "{text}"
        );
        assert!(!refresh(&page, false).unwrap());
        // Where there are no records, there is no number.
        std::fs::write(
            &page,
            marked("88.8\n").replace("peer of results/peer", "table2-x of gone"),
        )
        .unwrap();
        assert!(refresh(&page, true).unwrap());
        let gone = std::fs::read_to_string(&page).unwrap();
        assert!(
            gone.contains("no records in gone yet") && !gone.contains("88.8"),
            "{gone}"
        );
        // Sentences are no block of text.
        std::fs::write(&page, "<!-- numbers: answer of results -->\n<!-- end of numbers -->\n").unwrap();
        assert!(refresh(&page, true).unwrap());
        let said = std::fs::read_to_string(&page).unwrap();
        assert_eq!(said.lines().nth(1), Some("- No run is stored yet."), "{said}");
        // A number that is changed by hand is found.
        std::fs::write(&page, text.replace("76.5", "86.5")).unwrap();
        assert!(refresh(&page, false).unwrap());
    }

    #[test]
    fn a_block_that_cannot_be_made_is_an_error_that_names_it() {
        let dir = tempfile::tempdir().unwrap();
        let page = dir.path().join("README.md");
        for (text, said) in [
            (
                "<!-- numbers: table2-x of . -->\n<!-- end of numbers -->",
                "neither runs/ nor",
            ),
            ("<!-- numbers: nonsense -->\n<!-- end of numbers -->", "TABLE of DIR"),
            (
                "<!-- numbers: table2-x of gone -->\n",
                "without `<!-- end of numbers -->`",
            ),
        ] {
            std::fs::write(&page, text).unwrap();
            let error = refresh(&page, true).unwrap_err().to_string();
            assert!(error.contains(said) && error.contains("README.md"), "{error}");
            assert_eq!(std::fs::read_to_string(&page).unwrap(), text);
        }
    }
}
