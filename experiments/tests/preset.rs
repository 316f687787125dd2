//! The paper's presets from the hub to the table, with tiny models and a few rows on a stand-in for the hub.

#[path = "../../datasets/tests/stand_in/mod.rs"]
mod stand_in;

use datasets::{Example, Label, TASKS, synthetic};
use polars::prelude::*;
use polars_io::parquet::write::ParquetWriter;
use results::{RunRecord, Store};
use stand_in::StandIn;
use std::io::Cursor;
use std::path::Path;
use std::process::{Command, Output};

const COMMIT: &str = "1234567890123456789012345678901234567890";
const TOKEN: &str = "hf_thisIsASecret";

/// Each task's configuration on the hub and its columns of text.
const LAYOUTS: [(&str, &str, &[&str]); 8] = [
    ("mnli", "mnli", &["premise", "hypothesis"]),
    ("sst-2", "sst2", &["sentence"]),
    ("mrpc", "mrpc", &["sentence1", "sentence2"]),
    ("cola", "cola", &["sentence"]),
    ("qnli", "qnli", &["question", "sentence"]),
    ("qqp", "qqp", &["question1", "question2"]),
    ("rte", "rte", &["sentence1", "sentence2"]),
    ("sts-b", "stsb", &["sentence1", "sentence2"]),
];

fn parquet(examples: &[Example], columns: &[&str]) -> Vec<u8> {
    let part = |second: bool| -> Vec<&str> {
        let text = |e: &'_ Example| {
            if second {
                e.second.as_deref().map(String::from)
            } else {
                Some(e.first.clone())
            }
        };
        examples.iter().filter_map(|e| text(e).map(|t| &*t.leak())).collect()
    };
    let mut all: Vec<Column> = columns
        .iter()
        .enumerate()
        .map(|(i, name)| Column::new((*name).into(), part(i == 1)))
        .collect();
    let scores: Vec<f32> = examples
        .iter()
        .filter_map(|e| {
            if let Label::Score(s) = e.label {
                Some(s as f32)
            } else {
                None
            }
        })
        .collect();
    let classes: Vec<i64> = examples
        .iter()
        .filter_map(|e| {
            if let Label::Class(c) = e.label {
                Some(c as i64)
            } else {
                None
            }
        })
        .collect();
    all.push(if classes.is_empty() {
        Column::new("label".into(), scores)
    } else {
        Column::new("label".into(), classes)
    });
    let mut bytes = Cursor::new(Vec::new());
    ParquetWriter::new(&mut bytes)
        .finish(&mut DataFrame::new(all).unwrap())
        .unwrap();
    bytes.into_inner()
}

/// The hub with the embedded model `name` as `repo`, and some rows of the embedded tasks under GLUE's name.
fn hub(name: &str, repo: &str) -> StandIn {
    let stand_in = StandIn::start();
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("embedded").join(name);
    let names = ["config.json", "tokenizer.json", "model.safetensors"];
    let model: Vec<(&str, Vec<u8>)> = names.map(|n| (n, std::fs::read(folder.join(n)).unwrap())).into();
    commit(&stand_in, &format!("models/{repo}"), &model);
    let mut files = Vec::new();
    for (id, config, columns) in LAYOUTS {
        let data = synthetic::load(datasets::find(id).unwrap()).unwrap();
        files.push((
            format!("{config}/train-00000-of-00001.parquet"),
            parquet(&data.train.examples[..40], columns),
        ));
        for split in &data.evals {
            let name = split.name.replace("dev", "validation");
            files.push((
                format!("{config}/{name}-00000-of-00001.parquet"),
                parquet(&split.examples[..16], columns),
            ));
        }
    }
    let files: Vec<(&str, Vec<u8>)> = files.iter().map(|(n, b)| (n.as_str(), b.clone())).collect();
    commit(&stand_in, "datasets/nyu-mll/glue", &files);
    stand_in
}

fn commit(stand_in: &StandIn, repo: &str, files: &[(&str, Vec<u8>)]) {
    let files: Vec<(&str, &[u8])> = files.iter().map(|(n, b)| (*n, b.as_slice())).collect();
    stand_in.commit(repo, "main", COMMIT, &files);
}

fn glue(dir: &Path, hub: &StandIn, args: &[&str]) -> Output {
    preset("roberta-base", dir, hub, args)
}

fn preset(name: &str, dir: &Path, hub: &StandIn, args: &[&str]) -> Output {
    let mut command = Command::new(env!("CARGO_BIN_EXE_glue"));
    command.args([
        "--preset",
        name,
        "--methods",
        "lora",
        "--seeds",
        "1",
        "--device",
        "cpu",
        "--threads",
        "1",
    ]);
    command.args(args).arg("--out").arg(dir.join("out"));
    command
        .env("HF_ENDPOINT", hub.endpoint())
        .env("HF_HOME", dir.join("hf"))
        .env("HF_TOKEN", TOKEN);
    command
        .env("LORA_CACHE", dir.join("cache"))
        .env_remove("HF_HUB_CACHE")
        .env_remove("HF_HUB_OFFLINE");
    command.env("NO_PROXY", "127.0.0.1");
    if args.contains(&"--quiet") {
        command.env("HF_HUB_OFFLINE", "1");
    }
    command.output().unwrap()
}

fn text(output: &Output) -> String {
    [&output.stdout, &output.stderr]
        .map(|b| String::from_utf8_lossy(b).into_owned())
        .join("\n")
}

#[test]
fn a_preset_runs_from_the_hub_to_the_table() {
    let hub = hub("roberta", "FacebookAI/roberta-base");
    let dir = tempfile::tempdir().unwrap();
    let plan = glue(dir.path(), &hub, &["--dry-run"]);
    assert!(text(&plan).contains("8 runs, 8 to compute: about"), "{}", text(&plan));
    let output = glue(dir.path(), &hub, &[]);
    assert!(output.status.success(), "{}", text(&output));
    let log = std::fs::read_to_string(dir.path().join("out/logs/glue.log")).unwrap();
    assert!(
        !text(&output).contains(TOKEN) && !log.contains(TOKEN),
        "the token is told to nobody"
    );

    let records = Store::open(dir.path().join("out")).unwrap().records().unwrap();
    assert_eq!(records.len(), TASKS.len() - 1);
    for record in &records {
        let p = &record.provenance;
        assert_eq!(
            p.weights_source.as_deref(),
            Some(&*format!("FacebookAI/roberta-base@{COMMIT}"))
        );
        assert_eq!(p.data_source.as_deref(), Some(&*format!("nyu-mll/glue@{COMMIT}")));
        // The paper starts from the best of five MNLI runs; here there was one.
        let started = ["mrpc", "rte", "sts-b"].contains(&record.task.as_str());
        let row = (!started).then_some("rob_base_lora");
        assert_eq!(record.paper_row.as_deref(), row, "{}", record.task);
        let setting = row.map_or(", not a row of the paper", |_| " in the paper's setting");
        assert_eq!(record.label, format!("RoBERTa-base on GLUE{setting}"));
        assert_eq!(record.config.get("start").is_some(), started);
    }
    let mnli = records.iter().find(|r| r.task == "mnli").unwrap();
    for metric in ["dev_pooled/accuracy", "dev_matched/accuracy", "dev_mismatched/accuracy"] {
        assert!(mnli.evals[0].metrics[metric].is_some(), "{metric}");
    }
    assert_eq!(mnli.evals.len(), 30, "the paper's epochs");
    let matched = |eval: &results::record::Eval| eval.metrics["dev_matched/accuracy"].unwrap();
    let highest = mnli.evals.iter().map(matched).fold(0.0, f64::max);
    let first = mnli.evals.iter().find(|eval| matched(eval) == highest).unwrap();
    let best = mnli.best.unwrap();
    assert_eq!(mnli.metric, "dev_matched/accuracy");
    assert_eq!(
        (best.epoch, best.value),
        (first.epoch, highest),
        "matched chooses the epoch"
    );
    let table = std::fs::read_to_string(dir.path().join("out/tables/table2.md")).unwrap();
    assert!(table.contains("paper: LoRA") && table.contains("87.5"), "{table}");

    // Off the network, from the cache: nothing is left to do.
    let again = glue(dir.path(), &hub, &["--quiet"]);
    assert!(again.status.success(), "{}", text(&again));
    let numbers = |records: &[RunRecord]| records.iter().map(RunRecord::numbers).collect::<Vec<_>>();
    assert_eq!(
        numbers(&Store::open(dir.path().join("out")).unwrap().records().unwrap()),
        numbers(&records)
    );
    // A flag that changes the setting takes the run out of the paper's row.
    let other = glue(dir.path(), &hub, &["--tasks", "cola", "--epochs", "2"]);
    assert!(other.status.success(), "{}", text(&other));
    let records = Store::open(dir.path().join("out")).unwrap().records().unwrap();
    let short = records.iter().find(|r| r.task == "cola" && r.evals.len() == 2).unwrap();
    assert_eq!(short.paper_row, None);
    assert_eq!(
        short.label,
        "roberta-base on nyu-mll/glue, 2 epochs; not a row of the paper"
    );
}

#[test]
fn the_largest_preset_has_the_settings_of_the_authors_scripts() {
    let hub = hub("deberta", "microsoft/deberta-v2-xxlarge");
    let dir = tempfile::tempdir().unwrap();
    let xxlarge = |args: &[&str]| preset("deberta-v2-xxlarge", dir.path(), &hub, args);
    let plan = xxlarge(&["--dry-run"]);
    assert!(text(&plan).contains("8 runs, 8 to compute: about"), "{}", text(&plan));
    let output = xxlarge(&["--tasks", "mnli,cola,rte"]);
    assert!(output.status.success(), "{}", text(&output));
    let records = Store::open(dir.path().join("out")).unwrap().records().unwrap();
    let expected = [
        ("mnli", 5, 0.15, 1000, 256, 0.0001),
        ("cola", 10, 0.1, 100, 64, 0.00013),
        ("rte", 11, 0.2, 50, 320, 0.00026),
    ];
    assert_eq!(records.len(), expected.len());
    for (task, epochs, cls_dropout, warmup, max_len, lr) in expected {
        let record = records.iter().find(|r| r.task == task).unwrap();
        let train = &record.config["train"];
        assert_eq!(record.evals.len(), epochs, "{task}");
        assert_eq!(train["cls_dropout"], cls_dropout, "{task}");
        assert_eq!(
            (train["lr"].as_f64(), &train["adamw"]),
            (Some(lr), &"transformers".into()),
            "{task}"
        );
        assert_eq!(record.config["method"]["init"], "normal");
        assert_eq!(
            (&train["warmup_steps"], &train["max_len"]),
            (&warmup.into(), &max_len.into()),
            "{task}"
        );
        assert_eq!(
            (&record.config["method"]["r"], &record.config["method"]["alpha"]),
            (&16.into(), &32.into())
        );
        assert_eq!(record.provenance.dtype, "bf16");
        let row = (task != "rte").then_some("deb_xxl_lora"); // which starts from the best of five
        assert_eq!(record.paper_row.as_deref(), row, "{task}");
    }
    let table = std::fs::read_to_string(dir.path().join("out/tables/table2.md")).unwrap();
    assert!(table.contains("paper: LoRA") && table.contains("91.9"), "{table}");
}

#[test]
fn what_the_hub_does_not_have_is_said() {
    let (dir, hub) = (tempfile::tempdir().unwrap(), StandIn::start());
    let output = glue(dir.path(), &hub, &["--tasks", "rte"]);
    assert_eq!(output.status.code(), Some(1));
    let said = text(&output);
    assert!(
        said.contains("FacebookAI/roberta-base") && !said.contains("panicked"),
        "{said}"
    );
    assert!(!said.contains(TOKEN), "{said}");
}
