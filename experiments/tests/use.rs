//! What was trained, in use: answers, a task's dev set, the leaderboard's files, and rows of one's own.

mod world;

use serde_json::{Value, json};
use std::path::Path;
use std::process::{Output, Stdio};
use world::{World, command, refused, run, text};

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
fn each_line_of_standard_input_gets_an_answer() {
    let (world, adapter, _) = trained();
    world.write("texts", "the cat sees\ta dog\n\nthe tree\n");
    let args = ["predict", "--adapter", &adapter, "--base", "model", "--tsv"];
    let mut asked = command(env!("CARGO_BIN_EXE_lora"), &args, world.dir.path());
    asked.stdin(std::fs::File::open(world.path("texts")).unwrap());
    let output = asked.output().unwrap();
    let lines: Vec<String> = done(&output).lines().map(String::from).collect();
    assert_eq!(lines.len(), 4, "{lines:?}");
    assert!(
        lines[2].starts_with("\t\t") && lines[3].starts_with("the tree\t\t"),
        "{lines:?}"
    );
    let said = String::from_utf8_lossy(&output.stderr).into_owned();
    assert!(said.contains("2 texts came alone"), "{said}");
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
    let names = "the adapter's outputs are entailment, not_entailment, and the classes of mnli are";
    refused(&lora(&world, &other), &[names]);
    let names = world.path("peft/classes.json");
    for (text, said) in [("{", "classes.json: not a list of names"), ("[\"a\"]", "1 name")] {
        std::fs::write(&names, text).unwrap();
        let ask = ["predict", "--adapter", "peft", "--base", "model", "a\tb"];
        refused(&lora(&world, &ask), &[said]);
    }
    // PEFT itself names no classes.
    std::fs::remove_file(names).unwrap();
    let unnamed = other.map(|word| if word == "own" { "peft" } else { word });
    refused(&lora(&world, &unnamed), &["2 outputs, and mnli has 3"]);
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
    let twice = [
        &submit[..2],
        &[&adapter, "--base", "model", "--data", "data", "--out", "twice"],
    ]
    .concat();
    refused(&lora(&world, &twice), &["two adapters are of the task rte"]);
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

/// `text` on a small file of prompts, each with two references.
fn own_texts(dir: &Path, more: &[&str]) -> Output {
    let row = |i: usize| {
        format!(
            "who is number {},{} is number {}\n",
            i / 2,
            ["Anna", "Ben"][i % 2],
            i / 2
        )
    };
    let rows: String = (0..48).map(row).collect();
    std::fs::write(dir.join("own.csv"), format!("asked,told\n{rows}")).unwrap();
    std::fs::write(
        dir.join("own.yaml"),
        "data: {kind: text, train: own.csv, dev_share: 0.25, dev_seed: 5, prompt: asked, completion: told}\n\
         methods: {lora: {train: {lr: 0.01}}}\ntrain: {epochs: 1, max_len: 48}\n\
         decode: {beams: 3, no_repeat_ngram: 2, max_new_tokens: 8, batch_size: 4}\n",
    )
    .unwrap();
    let args = [
        "--config",
        "own.yaml",
        "--model",
        "embedded:gpt2",
        "--out",
        "out",
        "--device",
        "cpu",
        "--threads",
        "1",
        "--keep",
    ];
    run(env!("CARGO_BIN_EXE_text"), &[&args[..], more].concat(), dir)
}

#[test]
fn prompts_of_ones_own_are_trained_on_and_continued() {
    let world = World::new();
    let shown = done(&own_texts(world.dir.path(), &[]));
    assert!(shown.contains("BLEU") && shown.contains("rougeL"), "{shown}");
    let path = world.records("runs").remove(0);
    let record = json(&path);
    let label = record["label"].as_str().unwrap();
    assert!(
        label.contains("the file own.csv (dev: 0.25 of its prompts, seed 5)"),
        "{label}"
    );
    assert_eq!(
        (&record["experiment"], &record["task"]),
        (&json!("text"), &json!("text"))
    );
    for metric in ["dev/BLEU", "dev/rougeL", "dev/loss"] {
        assert!(record["evals"][0]["metrics"][metric].is_number(), "{record}");
    }
    // The texts are those of the 6 prompts for dev, and `lora generate` writes them again as the run did.
    let stem = path.file_stem().unwrap().to_string_lossy().into_owned();
    let texts = std::fs::read_to_string(world.path(&format!("out/texts/{stem}.jsonl"))).unwrap();
    let texts: Vec<Value> = texts.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    assert_eq!(texts.len(), 6);
    let known: Vec<String> = (0..24).map(|i| format!("who is number {i}")).collect();
    world.write("prompts.txt", known.join("\n"));
    let adapter = format!("out/{stem}");
    let generate = |more: &[&str]| {
        lora(
            &world,
            &[&["generate", "--adapter", &adapter, "--threads", "1"], more].concat(),
        )
    };
    let output = generate(&["--file", "prompts.txt", "--json"]);
    let said = String::from_utf8_lossy(&output.stderr).into_owned();
    assert!(
        said.contains("3 beams (the run's), as in transformers (the run's)")
            && said.contains("at most 8 new tokens (the run's)"),
        "{said}"
    );
    let written = done(&output);
    for text in texts {
        let wanted = text["text"].as_str().unwrap();
        let again = |line: &str| serde_json::from_str::<Value>(line).unwrap()["text"] == wanted;
        assert!(written.lines().any(again), "{wanted}: {written}");
    }
    let greedy = generate(&["--beams", "1", "--max-new", "4", "who is number 3"]);
    assert!(
        text(&greedy).contains("the likeliest token each time (--beams)"),
        "{}",
        text(&greedy)
    );
    refused(
        &generate(&["--top-k", "3", "a"]),
        &["--top-k is for drawing tokens", "give --temperature"],
    );
    refused(
        &generate(&["--beams", "2", "--temperature", "0.5", "a"]),
        &["give one of the two"],
    );
    streams(&world, &adapter, done(&greedy).trim());
    ends_with_its_reader(&world, &adapter);
}

/// A reader that has enough of the texts ends them without an error.
fn ends_with_its_reader(world: &World, adapter: &str) {
    let args = [
        "generate",
        "--adapter",
        adapter,
        "--beams",
        "1",
        "--max-new",
        "2",
        "--batch",
        "1",
        "a",
        "b",
    ];
    let mut generate = command(env!("CARGO_BIN_EXE_lora"), &args, world.dir.path());
    generate.stdout(Stdio::piped()).stderr(Stdio::piped());
    let mut child = generate.spawn().unwrap();
    drop(child.stdout.take());
    let output = child.wait_with_output().unwrap();
    assert!(output.status.success(), "{}", text(&output));
}

/// On a terminal the text of one context comes as it grows, and is the same.
#[cfg(unix)]
fn streams(world: &World, adapter: &str, wanted: &str) {
    let args = [
        "generate",
        "--adapter",
        adapter,
        "--threads",
        "1",
        "--beams",
        "1",
        "--max-new",
        "4",
        "who is number 3",
    ];
    let seen = world::on_a_terminal(command(env!("CARGO_BIN_EXE_lora"), &args, world.dir.path()));
    let last = seen.lines().rfind(|line| !line.trim().is_empty()).unwrap_or_default();
    assert_eq!(last.trim(), wanted.lines().last().unwrap_or_default().trim(), "{seen}");
}

#[cfg(not(unix))]
fn streams(_: &World, _: &str, _: &str) {}

#[test]
fn prompts_that_cannot_be_used_are_refused_in_words() {
    let world = World::new();
    let dir = world.dir.path();
    refused(
        &own_texts(dir, &["--set", "decode.split=test"]),
        &["`decode.split` is `test`"],
    );
    let text = |config: &str| {
        world.write("own.yaml", config);
        let args = ["--config", "own.yaml", "--model", "embedded:gpt2", "--out", "out"];
        run(env!("CARGO_BIN_EXE_text"), &args, dir)
    };
    world.write("own.jsonl", "{\"p\": \"a\", \"c\": \"b\"}\n{\"p\": \"a\"}\n");
    let data = "data: {kind: text, train: own.jsonl, prompt: p, completion: c}\nmethods: {lora: {}}\n";
    refused(&text(data), &["own.jsonl:2: no value in column \"c\""]);
    refused(
        &text(&data.replace("kind: text", "kind: texts")),
        &["`kind` is texts", "regression or text"],
    );
    refused(&text(&data.replace("prompt: p, ", "")), &["missing field `prompt`"]);
    let classes = "data: {kind: classification, train: own.jsonl, text: p, label: c}\nmethods: {lora: {}}\n";
    refused(&text(classes), &["classes and numbers of your own file are `glue`'s"]);
    refused(
        &run(env!("CARGO_BIN_EXE_text"), &["--out", "out"], dir),
        &["text needs your own file"],
    );
    assert!(world.records("runs").is_empty());
}
