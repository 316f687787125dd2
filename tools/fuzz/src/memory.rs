//! Readers of bytes in memory, and scorers of texts.

use crate::read::Read;
use datasets::metric::generated::Segment;
use datasets::metric::{e2e, rouge, sacrebleu, webnlg};
use datasets::sql::{Cell, Column, Query, Table};
use experiments::experiment::config::ExperimentConfig;
use experiments::experiment::registry;
use lora_core::method;
use results::{Analysis, RunRecord};
use std::path::Path;

/// Names, and what is done with the bytes.
pub const READERS: &[(&str, Read)] = &[
    ("settings", |_, bytes| settings(bytes)),
    ("method", |_, bytes| {
        drop(method::from_yaml(&String::from_utf8_lossy(bytes)))
    }),
    ("record", |_, bytes| {
        drop(RunRecord::from_json(bytes, Path::new("a.json")))
    }),
    ("analysis", |_, bytes| {
        drop(Analysis::from_json(bytes, Path::new("a.json")))
    }),
    ("sql", |_, bytes| sql(bytes)),
    ("scores", |_, bytes| scores(bytes)),
];

fn settings(bytes: &[u8]) {
    let text = String::from_utf8_lossy(bytes);
    for name in ["glue", "e2e"] {
        let Ok(experiment) = registry::find(name) else {
            continue;
        };
        let mut layers = experiment.layers();
        layers.push(("own.yaml", &text));
        drop(ExperimentConfig::read(experiment, &layers, &[]).and_then(|config| config.runs(experiment)));
    }
}

fn sql(bytes: &[u8]) {
    let column = |name: &str, number| Column {
        name: name.into(),
        number,
    };
    let table = Table {
        columns: vec![column("Pick #", true), column("Name", false)],
        rows: [(1.0, "Ann"), (2.0, "Bo")]
            .map(|(n, name)| vec![Cell::Number(n), Cell::Text(name.into())])
            .into(),
        ..Table::default()
    };
    if let Ok(query) = Query::parse(&String::from_utf8_lossy(bytes), &table.columns) {
        drop(datasets::metric::sql::execute(&query, &table));
    }
}

/// Tokenizers and scores of the challenges: the first line is the output, each further line a reference.
fn scores(bytes: &[u8]) {
    let text = String::from_utf8_lossy(bytes);
    let mut lines = text
        .lines()
        .take(4)
        .map(|line| line.chars().take(200).collect::<String>());
    let hyp = lines.next().unwrap_or_default();
    let mut refs: Vec<String> = lines.collect();
    if refs.is_empty() {
        refs.push(hyp.clone());
    }
    let segments = [Segment { hyp, refs }];
    e2e::score(&segments, None);
    webnlg::score(&segments, None, None);
    sacrebleu::score(&segments);
    rouge::score(&segments, true);
}
