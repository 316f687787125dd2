//! Notebooks are valid and pages whole, for full and for empty stores. The numbers are made up.

use std::path::Path;

use serde_json::{Value, json};
use support::write_atomic;

use super::*;

/// What is written for a store, with the folder it is in.
fn exported(setup: impl FnOnce(&Path)) -> tempfile::TempDir {
    let dir = tempfile::tempdir().unwrap();
    std::fs::create_dir(dir.path().join("runs")).unwrap();
    setup(dir.path());
    run(&args(dir.path())).unwrap();
    dir
}

fn args(dir: &Path) -> Args {
    Args {
        results: dir.to_owned(),
        out: dir.join("out"),
    }
}

fn read(dir: &tempfile::TempDir, file: &str) -> String {
    std::fs::read_to_string(dir.path().join("out").join(file)).unwrap()
}

fn notebook_of(dir: &tempfile::TempDir, name: &str) -> Value {
    serde_json::from_str(&read(dir, &format!("notebooks/{name}.ipynb"))).unwrap()
}

/// What nbformat 4.5 requires of a notebook and its cells.
fn assert_valid(notebook: &Value) {
    assert_eq!(
        (&notebook["nbformat"], &notebook["nbformat_minor"]),
        (&json!(4), &json!(5))
    );
    assert!(notebook["metadata"].is_object());
    let mut ids = Vec::new();
    let cells = notebook["cells"].as_array().unwrap();
    assert!(cells.iter().filter(|cell| cell["cell_type"] == "code").count() >= 3);
    for cell in cells {
        let id = cell["id"].as_str().unwrap();
        assert!(!id.is_empty() && id.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'-'));
        assert!(!ids.contains(&id), "{id} twice");
        ids.push(id);
        assert!(cell["metadata"].is_object());
        assert!(cell["source"].as_array().unwrap().iter().all(Value::is_string));
        if cell["cell_type"] == "code" {
            assert_eq!((&cell["outputs"], &cell["execution_count"]), (&json!([]), &Value::Null));
        }
    }
}

fn record() -> Value {
    json!({
        "schema": 1, "id": "0123456789abcdef", "experiment": "glue", "label": "made-up <numbers>", "model": "tiny",
        "task": "mrpc", "method": "lora", "seed": 1, "config": {"seed": 1}, "status": "finished",
        "metric": "dev/accuracy", "selection": "best epoch on dev", "best": {"epoch": 1, "value": 0.75},
        "evals": [{"epoch": 1, "step": 10, "metrics": {"dev/accuracy": 0.75}}],
        "params": {"base": 0, "method": 16, "head": 2, "total_model": 100},
        "provenance": {"commit": "abcdef0123456789", "dirty": true, "versions": {}, "device": "cpu",
            "dtype": "fp32", "threads": 1, "host": {"os": "linux", "arch": "x86_64", "cpu": "some"}},
        "timing": {"started": "", "seconds": 1.0, "train_seconds": 1.0, "eval_seconds": 0.0, "resumed": 0},
        "memory": {},
    })
}

fn put(dir: &Path, record: &Value) {
    write_atomic(dir.join("runs/0123456789abcdef.json"), record.to_string().as_bytes()).unwrap();
}

#[test]
fn an_empty_store_still_gives_every_report() {
    let dir = exported(|_| {});
    for report in report::REPORTS {
        assert_valid(&notebook_of(&dir, report.name));
        let page = read(&dir, &format!("html/{}.html", report.name));
        assert!(
            page.ends_with("</html>\n") && page.contains("<td>not run yet</td>"),
            "{}",
            report.name
        );
        assert!(!page.contains("{{") && !page.contains("src=\"http"), "{}", report.name);
    }
    assert!(read(&dir, "html/section7.html").contains("not measured yet"));
}

#[test]
fn pages_have_contents_and_an_index_leads_to_them() {
    let dir = tempfile::tempdir().unwrap();
    let published = Path::new(env!("CARGO_MANIFEST_DIR")).join("../results");
    run(&Args {
        results: published,
        out: dir.path().join("out"),
    })
    .unwrap();
    let index = read(&dir, "html/index.html");
    let files: Vec<String> = index
        .split("<h2><a href=\"")
        .skip(1)
        .map(|rest| rest.split('"').next().unwrap().to_owned())
        .collect();
    assert!(files.len() >= report::REPORTS.len());
    for file in files {
        let page = read(&dir, &format!("html/{file}"));
        assert!(page.len() <= html::LARGEST, "{file}: {} bytes", page.len());
        assert!(page.contains("href=\"index.html\""));
        let anchors: Vec<&str> = page
            .split("<h2 id=\"")
            .skip(1)
            .filter_map(|rest| rest.split('"').next())
            .collect();
        assert!(!anchors.is_empty());
        for anchor in anchors {
            assert!(
                page.contains(&format!("<a href=\"#{anchor}\">")),
                "{anchor} is not in the contents"
            );
            assert!(index.contains(&format!("<a href=\"{file}#{anchor}\">")), "{anchor}");
        }
        let images = page.matches("<svg ").count();
        assert_eq!(page.matches("<svg role=\"img\" ").count(), images);
        assert_eq!(page.matches("<desc>").count(), images, "each image says what it shows");
    }
}

#[test]
fn a_broken_record_is_left_out_and_a_folder_that_is_no_store_is_an_error() {
    let dir = exported(|dir| put(dir, &record()));
    let before = read(&dir, "html/glue.html");
    write_atomic(dir.path().join("runs/0000000000000001.json"), b"{").unwrap();
    run(&args(dir.path())).unwrap();
    assert_eq!(before, read(&dir, "html/glue.html"));
    let error = format!("{:#}", run(&args(&dir.path().join("typo"))).unwrap_err());
    assert!(error.contains("typo") && error.contains("no such folder"), "{error}");
    assert_eq!(before, read(&dir, "html/glue.html"));
}

#[test]
fn a_stored_run_stands_in_both() {
    let dir = exported(|dir| put(dir, &record()));
    let notebook = notebook_of(&dir, "glue");
    assert_valid(&notebook);
    let words = notebook["cells"][0].to_string();
    assert!(words.contains("| tiny | lora | 16 | 2 | 75.0 | 75.0 |"), "{words}");
    assert!(words.contains("abcdef012345 (with local changes)"), "{words}");
    let page = read(&dir, "html/glue.html");
    assert!(
        page.contains(
            "<tr class=\"ours\"><td>tiny</td><td>lora</td><td>16</td><td>2</td><td>75.0</td><td>75.0</td></tr>"
        )
    );
    assert!(page.contains("made-up &lt;numbers&gt;") && !page.contains("<numbers>"));
}

#[test]
fn what_was_executed_over_the_same_records_stays() {
    let dir = exported(|dir| put(dir, &record()));
    let mut executed = notebook_of(&dir, "glue");
    for (i, cell) in executed["cells"].as_array_mut().unwrap().iter_mut().enumerate() {
        if cell["cell_type"] == "code" {
            cell["execution_count"] = json!(i);
            cell["outputs"] = json!([{"output_type": "stream", "name": "stdout", "text": ["1 runs\n"]}]);
        }
    }
    let path = dir.path().join("out/notebooks/glue.ipynb");
    write_atomic(&path, executed.to_string().as_bytes()).unwrap();
    run(&args(dir.path())).unwrap();
    assert_eq!(notebook_of(&dir, "glue"), executed);
    let mut other = record();
    other["best"]["value"] = json!(0.5);
    other["evals"][0]["metrics"]["dev/accuracy"] = json!(0.5);
    put(dir.path(), &other);
    run(&args(dir.path())).unwrap();
    assert_valid(&notebook_of(&dir, "glue"));
}

#[test]
fn rows_of_differences_stay_with_the_two_that_they_are_of() {
    let mut quoted = record();
    quoted["paper_row"] = json!("rob_base_lora");
    let page = read(&exported(|dir| put(dir, &quoted)), "html/glue.html");
    let body = page
        .split("<tbody>")
        .find(|body| body.contains("ours - paper"))
        .unwrap();
    assert_eq!(body.matches("<tr ").count(), 3, "{body}");
}

#[test]
fn the_store_is_named_as_seen_from_the_notebook() {
    let seen = |to: &str, from: &str| relative(Path::new(to), Path::new(from)).unwrap();
    assert_eq!(
        seen("results", "notebooks-export/notebooks"),
        Path::new("../../results")
    );
    assert_eq!(seen("/a/b/results", "/a/c/d"), Path::new("../../b/results"));
    assert_eq!(seen("results", "."), Path::new("results"));
}
