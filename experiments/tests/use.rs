//! What was trained, in use: answers, a task's dev set, the leaderboard's files, and rows of one's own.

mod world;

use serde_json::{Value, json};
use std::path::Path;
use std::process::Output;
use world::{World, refused, run, text};

fn lora(world: &World, args: &[&str]) -> Output {
    run(env!("CARGO_BIN_EXE_lora"), args, world.dir.path())
}

fn done(output: &Output) -> String {
    assert!(output.status.success(), "{}", text(output));
    String::from_utf8_lossy(&output.stdout).into_owned()
}

fn json(path: &Path) -> Value {
    serde_json::from_slice(&std::fs::read(path).unwrap()).unwrap()
}

/// LoRA trained on RTE, as the command line names the run, and its record.
fn trained() -> (World, String, Value) {
    let world = World::new();
    done(&world.glue(&["--methods", "lora", "--seeds", "1", "--keep", "--quiet"]));
    let record = world.records("runs").remove(0);
    let id = record.file_stem().unwrap().to_string_lossy().into_owned();
    (world, format!("out/{id}"), json(&record))
}

#[test]
fn an_adapter_answers_and_is_measured_as_in_its_record() {
    let (world, adapter, record) = trained();
    let base = ["--adapter", &adapter, "--base", "model"];
    let measured = done(&lora(
        &world,
        &[&["evaluate"], &base[..], &["--data", "data", "--json"]].concat(),
    ));
    let measured: Value = serde_json::from_str(&measured).unwrap();
    let best = record["best"]["value"].as_f64().unwrap();
    assert_eq!(measured["metrics"]["dev/accuracy"].as_f64(), Some(best));

    // The answers for the dev rows are right as often as the record says.
    let predict = |more: &[&str]| done(&lora(&world, &[&["predict"], &base[..], more].concat()));
    let answers = predict(&[
        "--file",
        "data/RTE/dev.tsv",
        "--text",
        "sentence1",
        "--text-pair",
        "sentence2",
        "--json",
    ]);
    let rows = std::fs::read_to_string(world.path("data/RTE/dev.tsv")).unwrap();
    let labels = rows.lines().skip(1).map(|line| line.rsplit('\t').next().unwrap());
    let answers: Vec<Value> = answers
        .lines()
        .map(|line| serde_json::from_str(line).unwrap())
        .collect();
    let right = answers
        .iter()
        .zip(labels)
        .filter(|(answer, label)| answer["label"] == *label)
        .count();
    assert!((right as f64 / answers.len() as f64 - best).abs() < 1e-9);
    let sum: f64 = answers[0]["probabilities"]
        .as_object()
        .unwrap()
        .values()
        .filter_map(Value::as_f64)
        .sum();
    assert!((sum - 1.0).abs() < 1e-6);

    let tsv = predict(&["--tsv", "the cat sees\ta dog", "a house\tthe tree"]);
    assert_eq!(
        tsv.lines().next(),
        Some("text\ttext_pair\tlabel\tp(entailment)\tp(not_entailment)")
    );
    assert_eq!(tsv.lines().count(), 3);
    assert!(predict(&["the cat sees\ta dog"]).contains("%)"));
}

#[test]
fn an_adapter_answers_alike_in_pefts_form() {
    let (world, adapter, _) = trained();
    done(&lora(
        &world,
        &["adapter", "export", &adapter, "--base", "model", "--out", "peft"],
    ));
    let ask = |adapter: &str| {
        let args = [
            "predict",
            "--adapter",
            adapter,
            "--base",
            "model",
            "--json",
            "the cat\ta dog",
        ];
        let more = if adapter == "peft" { &["--task", "rte"][..] } else { &[] };
        serde_json::from_str::<Value>(&done(&lora(&world, &[&args[..], more].concat()))).unwrap()
    };
    let (own, peft) = (ask(&adapter), ask("peft"));
    assert_eq!(own["label"], peft["label"]);
    let p = |v: &Value| v["probabilities"]["entailment"].as_f64().unwrap();
    assert!((p(&own) - p(&peft)).abs() < 1e-5);
    // A classifier writes nothing.
    refused(
        &lora(
            &world,
            &["generate", "--adapter", &adapter, "--base", "model", "the cat"],
        ),
        &["an adapter of a classifier"],
    );
}

#[test]
fn what_cannot_be_answered_is_refused() {
    let (world, adapter, _) = trained();
    let base = ["--adapter", &adapter, "--base", "model"];
    let predict = |more: &[&str]| lora(&world, &[&["predict"], &base[..], more].concat());
    world.write("empty.txt", "");
    refused(&predict(&["--file", "empty.txt"]), &["there are no texts"]);
    refused(
        &predict(&["--file", "data/RTE/dev.tsv"]),
        &["no column \"text\"", "sentence1"],
    );
    refused(&predict(&["--max-len", "5000", "a"]), &["--max-len 5000"]);
    refused(
        &lora(
            &world,
            &[&["evaluate"], &base[..], &["--data", "data", "--task", "mrpc"]].concat(),
        ),
        &["was trained on rte"],
    );
    // An adapter that names neither task nor classes is held against the task by its number of outputs.
    done(&lora(
        &world,
        &["adapter", "export", &adapter, "--base", "model", "--out", "peft"],
    ));
    done(&lora(
        &world,
        &["adapter", "import", "peft", "--base", "model", "--out", "own"],
    ));
    let other = [
        "evaluate",
        "--adapter",
        "own",
        "--base",
        "model",
        "--data",
        "embedded",
        "--task",
        "mnli",
    ];
    refused(&lora(&world, &other), &["2 outputs, and mnli has 3"]);
    refused(
        &lora(&world, &["predict", "--adapter", "nowhere", "a"]),
        &["nowhere: no such adapter"],
    );
}

#[test]
fn a_submission_has_every_file_of_the_leaderboard() {
    let (world, adapter, _) = trained();
    let line = |i: usize| format!("{i}\tthe cat sees a dog\ta dog sees the cat\n");
    let rows: String = (0..3000).map(line).collect();
    world.write("data/RTE/test.tsv", format!("index\tsentence1\tsentence2\n{rows}"));
    let submit = ["submit", &adapter, "--base", "model", "--data", "data", "--out", "sub"];
    let said = text(&lora(&world, &submit));
    assert!(
        said.contains("RTE: 3000 rows") && said.contains("warning: CoLA: no adapter of cola"),
        "{said}"
    );
    let rte = std::fs::read_to_string(world.path("sub/RTE.tsv")).unwrap();
    assert_eq!(rte.lines().next(), Some("index\tprediction"));
    assert_eq!(rte.lines().count(), 3001);
    assert!(rte.lines().skip(1).all(|line| line.ends_with("entailment")));
    let files = std::fs::read_dir(world.path("sub")).unwrap().count();
    assert_eq!(files, 12, "eleven sets and the archive");
    refused(&lora(&world, &submit), &["sub is there already"]);
    world.write("data/RTE/test.tsv", format!("index\tsentence1\tsentence2\n{}", line(0)));
    let short = [
        "submit", &adapter, "--base", "model", "--data", "data", "--out", "short",
    ];
    refused(&lora(&world, &short), &["1 rows, and the test set of RTE has 3000"]);
    assert!(!world.path("short").exists());
}

#[test]
fn rows_of_ones_own_are_trained_on_and_answered() {
    let world = World::new();
    let row = |i: usize| {
        format!(
            "{{\"words\": \"the {} dog\", \"mood\": \"{}\"}}\n",
            ["big", "red"][i % 2],
            ["good", "bad"][i % 2]
        )
    };
    world.write("own.jsonl", (0..60).map(row).collect::<String>());
    world.write(
        "own.yaml",
        "data: {kind: classification, train: own.jsonl, text: words, label: mood}\n\
         methods: {full: {train: {lr: 0.003}}}\ntrain: {epochs: 15, batch_size: 8}\n",
    );
    let args = [
        "--config",
        "own.yaml",
        "--model",
        "model",
        "--out",
        "out",
        "--device",
        "cpu",
        "--threads",
        "1",
        "--keep",
    ];
    let output = run(env!("CARGO_BIN_EXE_glue"), &args, world.dir.path());
    assert!(done(&output).contains("own"), "{}", text(&output));
    let path = world.records("runs").remove(0);
    let record = json(&path);
    assert_eq!(record["classes"], json!(["bad", "good"]));
    assert_eq!(record["best"]["value"], json!(1.0));
    let adapter = format!("out/{}", path.file_stem().unwrap().to_string_lossy());
    let answer = lora(
        &world,
        &[
            "predict",
            "--adapter",
            &adapter,
            "--base",
            "model",
            "--json",
            "the red dog",
        ],
    );
    assert_eq!(serde_json::from_str::<Value>(&done(&answer)).unwrap()["label"], "bad");

    world.write("own.jsonl", "{\"words\": \"a\", \"mood\": \"x\"}\n{\"mood\": \"y\"}\n");
    let output = run(env!("CARGO_BIN_EXE_glue"), &args, world.dir.path());
    refused(&output, &["own.jsonl:2: no value in column \"words\""]);
}
