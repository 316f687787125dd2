//! The notebook is valid for full, empty and broken stores. The numbers are made up.

use super::*;

fn exported(setup: impl FnOnce(&std::path::Path)) -> Value {
    let dir = tempfile::tempdir().unwrap();
    setup(dir.path());
    let args = Args {
        results: dir.path().to_owned(),
        out: dir.path().join("out"),
    };
    serde_json::from_slice(&std::fs::read(run(&args).unwrap()).unwrap()).unwrap()
}

/// What nbformat 4.5 requires of a notebook and its cells.
fn assert_valid(notebook: &Value) {
    assert_eq!(
        (&notebook["nbformat"], &notebook["nbformat_minor"]),
        (&json!(4), &json!(5))
    );
    assert!(notebook["metadata"].is_object());
    let cells = notebook["cells"].as_array().unwrap();
    assert_eq!(cells.len(), 2);
    for cell in cells {
        let id = cell["id"].as_str().unwrap();
        assert!(!id.is_empty() && id.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'-'));
        assert!(cell["metadata"].is_object());
        assert!(cell["source"].as_array().unwrap().iter().all(Value::is_string));
    }
    assert_eq!(
        (&cells[1]["outputs"], &cells[1]["execution_count"]),
        (&json!([]), &Value::Null)
    );
}

#[test]
fn an_empty_store_and_a_broken_record_still_give_a_notebook() {
    let empty = exported(|_| {});
    assert_valid(&empty);
    assert!(empty["cells"][0].to_string().contains("No run"));
    let broken = exported(|dir| write_atomic(dir.join("runs/0000000000000001.json"), b"{").unwrap());
    assert_valid(&broken);
}

#[test]
fn a_stored_run_stands_in_the_table() {
    let record = json!({
        "schema": 1, "id": "0123456789abcdef", "experiment": "glue", "label": "made-up numbers", "model": "tiny",
        "task": "mrpc", "method": "lora", "seed": 1, "config": {"seed": 1}, "status": "finished",
        "metric": "dev/accuracy", "selection": "best epoch on dev", "best": {"epoch": 1, "value": 0.75},
        "evals": [{"epoch": 1, "step": 10, "metrics": {"dev/accuracy": 0.75}}],
        "params": {"base": 0, "method": 16, "head": 2, "total_model": 100},
        "provenance": {"commit": "abcdef0123456789", "dirty": true, "versions": {}, "device": "cpu",
            "dtype": "fp32", "threads": 1, "host": {"os": "linux", "arch": "x86_64", "cpu": "some"}},
        "timing": {"started": "", "seconds": 1.0, "train_seconds": 1.0, "eval_seconds": 0.0, "resumed": 0},
        "memory": {},
    });
    let notebook = exported(|dir| {
        write_atomic(dir.join("runs/0123456789abcdef.json"), record.to_string().as_bytes()).unwrap();
    });
    assert_valid(&notebook);
    let words = notebook["cells"][0].to_string();
    assert!(words.contains("| tiny | lora | 16 | 75.0 | 75.0 |"), "{words}");
    assert!(words.contains("abcdef012345 (with local changes)"), "{words}");
}

#[test]
fn the_store_is_named_as_seen_from_the_notebook() {
    let seen = |to: &str, from: &str| relative(Path::new(to), Path::new(from)).unwrap();
    assert_eq!(seen("results", "notebooks"), Path::new("../results"));
    assert_eq!(seen("/a/b/results", "/a/c/d"), Path::new("../../b/results"));
    assert_eq!(seen("results", "."), Path::new("results"));
}
