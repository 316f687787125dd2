//! Made-up records. No number here was measured.
#![allow(dead_code, missing_docs)]

use std::collections::BTreeMap;

use results::record::{Best, Eval, Memory, Params, Provenance, RunRecord, SCHEMA, Status, Timing};
use results::{Selection, TABLES, Table};

/// The tables of the kind `name`.
pub fn tables(name: &str, stored: &Selection) -> results::Result<Vec<Table>> {
    let kind = TABLES.iter().find(|kind| kind.name() == name).unwrap();
    kind.tables(stored)
}

/// A finished run of two epochs, the second better; `value` is the best epoch's metric.
pub fn run(n: u64, method: &str, task: &str, seed: u64, value: f64) -> RunRecord {
    let metric = match task {
        "cola" => "dev/matthews",
        "sts-b" => "dev/pearson",
        "mnli" => "dev_matched/accuracy",
        _ => "dev/accuracy",
    };
    let eval = |epoch: u32, value: f64| Eval {
        epoch,
        step: u64::from(epoch) * 10,
        train_loss: Some(1.0 / f64::from(epoch) / 3.0),
        metrics: BTreeMap::from([(metric.to_owned(), Some(value)), ("dev/aaa".to_owned(), Some(0.5))]),
    };
    let (base, added) = if method == "full" { (1000, 0) } else { (0, 73_728) };
    RunRecord {
        schema: SCHEMA,
        id: format!("{n:016x}"),
        experiment: "glue".into(),
        preset: Some("made-up".into()),
        label: "made-up numbers".into(),
        paper_row: None,
        model: "tiny".into(),
        task: task.into(),
        method: method.into(),
        also: Vec::new(),
        seed,
        config: serde_json::json!({"seed": seed, "method": {"name": method}, "optim": {"lr": 0.1}, "task": task}),
        status: Status::Finished,
        metric: metric.into(),
        evals: vec![eval(1, value - 0.1), eval(2, value)],
        best: Some(Best { epoch: 2, value }),
        selection: "best epoch on dev".into(),
        classes: Vec::new(),
        rates: None,
        rows: None,
        params: Params {
            base,
            method: added,
            head: 770,
            total_model: 1_000_000,
        },
        provenance: Provenance {
            commit: Some("0123abc".into()),
            data_sha256: Some("d".repeat(64)),
            device: "cpu".into(),
            dtype: "fp32".into(),
            threads: 2,
            ..Provenance::default()
        },
        timing: Timing {
            started: "2024-01-01T00:00:00Z".into(),
            seconds: 1.5,
            ..Timing::default()
        },
        memory: Memory::default(),
    }
}

pub fn failed(n: u64, method: &str, task: &str, seed: u64, error: &str) -> RunRecord {
    let mut run = run(n, method, task, seed, 0.0);
    run.status = Status::Failed { error: error.into() };
    run.evals.clear();
    run.best = None;
    run
}
