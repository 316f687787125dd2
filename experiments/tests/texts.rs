//! The experiments of text generation end to end: each program on a few rows, runs that are killed during generation, bad input.

use results::{RunRecord, Store};
use std::io::{BufRead, BufReader};
use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};

const PROGRAMS: [(&str, &str); 6] = [
    ("e2e", env!("CARGO_BIN_EXE_e2e")),
    ("wikisql", env!("CARGO_BIN_EXE_wikisql")),
    ("samsum", env!("CARGO_BIN_EXE_samsum")),
    ("webnlg", env!("CARGO_BIN_EXE_webnlg")),
    ("dart", env!("CARGO_BIN_EXE_dart")),
    ("xsum", env!("CARGO_BIN_EXE_xsum")),
];

/// A few rows, a few tokens.
const SMALL: [&str; 14] = [
    "--set",
    "limit={train: 48, dev: 16, test: 6}",
    "--set",
    "decode.max_new_tokens=12",
    "--set",
    "decode.batch_size=2",
    "--set",
    "train.select=best",
    "--epochs",
    "1",
    "--device",
    "cpu",
    "--threads",
    "1",
];

fn command(program: &str, dir: &Path, args: &[&str]) -> Command {
    let (_, path) = PROGRAMS.iter().find(|(name, _)| *name == program).unwrap();
    let mut command = Command::new(path);
    // WikiSQL is decoded greedily.
    let beams: &[&str] = if program == "wikisql" {
        &[]
    } else {
        &["--set", "decode.beams=2"]
    };
    command
        .args(SMALL)
        .args(beams)
        .args(args)
        .args(["--out", "out"])
        .current_dir(dir);
    command
        .env("LORA_CACHE", dir.join("cache"))
        .env_remove("LORA_METEOR_DATA")
        .env_remove("LORA_PUNKT_DATA");
    command
}

fn run(program: &str, dir: &Path, args: &[&str]) -> Output {
    command(program, dir, args).output().unwrap()
}

fn text(output: &Output) -> String {
    let all = [&output.stdout, &output.stderr].map(|bytes| String::from_utf8_lossy(bytes).into_owned());
    all.join(" ").split_whitespace().collect::<Vec<_>>().join(" ")
}

fn records(dir: &Path) -> Vec<RunRecord> {
    Store::open(dir.join("out")).unwrap().records().unwrap()
}

fn files(dir: &Path, folder: &str) -> Vec<PathBuf> {
    let read = std::fs::read_dir(dir.join("out").join(folder));
    let mut paths: Vec<PathBuf> = read.map(|r| r.map(|e| e.unwrap().path()).collect()).unwrap_or_default();
    paths.sort();
    paths
}

/// What the record of a run must hold.
fn check(program: &str, dir: &Path, record: &RunRecord, metrics: &[&str]) {
    assert_eq!(
        (record.experiment.as_str(), record.metric.as_str()),
        (program, "dev/loss")
    );
    assert_eq!(record.selection, "epoch of the lowest loss on dev");
    let eval = record.best_eval().unwrap();
    for metric in metrics {
        let value = eval.metrics.get(*metric);
        let value = value.unwrap_or_else(|| panic!("{program}: {metric} is missing"));
        // There are no tables' rows to ask only where the data came without them, and no METEOR and TER without their data.
        let left_out = metric.ends_with("METEOR") || metric.ends_with("TER");
        assert_eq!(value.is_none(), left_out, "{program}: {metric}");
    }
    let bare = record.method == "bare";
    assert_eq!((eval.epoch == 0, record.params.method == 0), (bare, bare));
    assert_eq!(eval.train_loss.is_none(), bare);
    let texts = std::fs::read_to_string(dir.join(format!("out/texts/{}.jsonl", record.id))).unwrap();
    assert_eq!(texts.lines().count(), 6);
}

#[test]
fn each_program_trains_writes_and_scores() {
    let wanted: [&[&str]; 6] = [
        &["test/BLEU", "test/NIST", "test/METEOR", "test/ROUGE_L", "test/CIDEr"],
        &["dev/logical_form", "dev/execution"],
        &["test/rouge1", "test/rouge2", "test/rougeL", "test/rouge1_stemmed"],
        &["test/BLEU", "test/TER", "test_seen/BLEU", "test_unseen/TER"],
        &["test/BLEU", "test/METEOR", "test/TER"],
        &["test/rouge1", "test/rouge2", "test/rougeL", "test/rougeL_stemmed"],
    ];
    for ((program, _), metrics) in PROGRAMS.iter().zip(wanted) {
        let dir = tempfile::tempdir().unwrap();
        let output = run(program, dir.path(), &["--methods", "lora,bare"]);
        let said = text(&output);
        assert!(output.status.success(), "{program}: {said}");
        for part in [
            "embedded:gpt2 on generated data, the first 48 training rows, the first 16 dev rows",
            "a model of 1M parameters",
            "not a row of the paper",
            "a person",
            "of 6 contexts",
        ] {
            assert!(said.contains(part), "{program}: {part:?} is missing in {said}");
        }
        let records = records(dir.path());
        assert_eq!(records.len(), 2, "{program}");
        records
            .iter()
            .for_each(|record| check(program, dir.path(), record, metrics));
        for folder in ["weights", "checkpoints"] {
            assert!(files(dir.path(), folder).is_empty(), "{:?}", files(dir.path(), folder));
        }
        assert!(!files(dir.path(), "tables").is_empty());
        let again = run(program, dir.path(), &["--methods", "lora,bare"]);
        assert!(
            text(&again).contains("2 in the store, 0 to compute"),
            "{}",
            text(&again)
        );
        assert_eq!(again.stdout, output.stdout, "the same table and texts");
    }
}

/// Kills `e2e` with SIGKILL once so many texts are written, and says how many there were at the start.
fn killed_at(dir: &Path, texts: u64) -> u64 {
    let mut child = command("e2e", dir, &["--methods", "lora", "--json", "--epochs", "2"])
        .stdout(Stdio::piped())
        .stderr(Stdio::null())
        .spawn()
        .unwrap();
    let mut first = None;
    for line in BufReader::new(child.stdout.take().unwrap()).lines() {
        let event: serde_json::Value = serde_json::from_str(&line.unwrap()).unwrap();
        if event["event"] == "texts" {
            let done = event["done"].as_u64().unwrap();
            first.get_or_insert(done);
            if done >= texts {
                break;
            }
        }
    }
    child.kill().unwrap();
    child.wait().unwrap();
    first.unwrap()
}

#[test]
fn a_run_that_is_killed_while_it_writes_goes_on_there() {
    let (whole, stopped) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    let output = run("e2e", whole.path(), &["--methods", "lora", "--epochs", "2"]);
    assert!(output.status.success(), "{}", text(&output));
    assert_eq!(killed_at(stopped.path(), 2), 0);
    assert!(records(stopped.path()).is_empty());
    // The end of the process may cut a line short.
    let so_far = files(stopped.path(), "checkpoints");
    let so_far = so_far
        .iter()
        .find(|p| p.extension().is_some_and(|e| e == "jsonl"))
        .unwrap();
    let mut lines = std::fs::read(so_far).unwrap();
    lines.extend(b"{\"row\": 1, \"te");
    std::fs::write(so_far, lines).unwrap();
    assert!(killed_at(stopped.path(), 4) >= 2, "nothing is written twice");
    let output = run("e2e", stopped.path(), &["--methods", "lora", "--epochs", "2"]);
    assert!(output.status.success(), "{}", text(&output));
    assert!(
        !text(&output).contains("epoch 1"),
        "nothing is trained again: {}",
        text(&output)
    );
    let numbers = |dir: &Path| records(dir).iter().map(RunRecord::numbers).collect::<Vec<_>>();
    assert_eq!(numbers(stopped.path()), numbers(whole.path()));
    let texts = |dir: &Path| std::fs::read(&files(dir, "texts")[0]).unwrap();
    assert_eq!(texts(stopped.path()), texts(whole.path()));
}

/// One clear line, a non-zero exit, no panic.
fn refused(output: &Output, expected: &[&str]) {
    let said = text(output);
    assert_eq!(output.status.code(), Some(1), "{said}");
    assert!(!said.contains("panicked"), "{said}");
    for part in expected {
        assert!(said.contains(part), "expected `{part}` in: {said}");
    }
}

/// One step at a rate far too high: the loss of that step is a number, those on dev are not.
#[test]
fn a_run_that_diverges_in_its_last_step_fails_by_name_and_the_others_go_on() {
    let dir = tempfile::tempdir().unwrap();
    let mut args = vec!["--methods", "full,lora", "--set", "methods.full.train.lr=1e6"];
    args.extend(["--set", "train.warmup_steps=0", "--set", "train.batch_size=48"]);
    for computed in ["2 to compute", "1 to compute"] {
        let output = run("e2e", dir.path(), &args);
        refused(
            &output,
            &[
                computed,
                "e2e · full · seed 1 failed: evaluating",
                "lower the learning rate",
            ],
        );
        assert!(text(&output).contains("runs failed"), "{}", text(&output));
        let records = records(dir.path());
        let finished: Vec<&str> = records.iter().map(|r| r.method.as_str()).collect();
        assert_eq!(finished, ["lora"]);
        let failed = Store::open(dir.path().join("out")).unwrap().failed().unwrap().records;
        assert_eq!(failed.len(), 1);
        assert_eq!((failed[0].method.as_str(), failed[0].finished()), ("full", false));
        assert!(records[0].evals.iter().all(|eval| eval.train_loss.is_some()));
    }
}

/// Program, arguments, and what is said of them.
const REFUSED: &[(&str, &[&str], &[&str])] = &[
    (
        "e2e",
        &["--model", "embedded:roberta"],
        &["e2e: the task needs a causal language model, such as GPT-2, and the model is an encoder (roberta)"],
    ),
    (
        "e2e",
        &["--set", "decode.max_new_tokens=250", "--set", "train.max_len=300"],
        &[
            "the longest context and 250 new tokens",
            "the model takes 256",
            "lower `train.max_len`",
        ],
    ),
    (
        "e2e",
        &["--set", "decode.max_new_tokens=160"],
        &["nothing is left for the context"],
    ),
    (
        "e2e",
        &["--set", "decode.split=train"],
        &["`decode.split` is `train`", "dev or test"],
    ),
    ("e2e", &["--set", "decode.beams=0"], &["`decode.beams` is 0"]),
    ("e2e", &["--set", "decode.beems=3"], &["unknown field `beems`"]),
    (
        "e2e",
        &["--set", "methods.lora.decode.beems=3"],
        &["methods.lora.decode", "beems"],
    ),
    ("e2e", &["--set", "limit.test=0"], &["`limit.test` is 0"]),
    ("e2e", &["--set", "decode=null"], &["needs `decode` settings"]),
    ("e2e", &["--set", "tasks.e2e.prompt=\"{x}\""], &["fixes its own form"]),
    (
        "samsum",
        &["--set", "tasks.samsum.prompt=\"{x}\""],
        &["no placeholder {x}", "{dialogue}"],
    ),
    (
        "e2e",
        &["--model", "embedded:roberta", "--data", "embedded", "--preset", "demo"],
        &["needs a causal language model"],
    ),
    ("e2e", &["--tasks", "rte"], &["unknown task", "known: e2e"]),
    (
        "e2e",
        &["--preset", "big"],
        &["known: demo, small, gpt2-medium, gpt2-large"],
    ),
    ("e2e", &["--meteor-data", "nothing.whl"], &["nothing.whl"]),
    (
        "e2e",
        &["--data", "nowhere"],
        &["nowhere", "trainset.csv", "tuetschek/e2e_nlg"],
    ),
];

#[test]
fn settings_that_cannot_be_used() {
    for (program, args, expected) in REFUSED {
        let dir = tempfile::tempdir().unwrap();
        let mut all = vec!["--methods", "lora"];
        if !args.contains(&"--preset") && !args.contains(&"--data") {
            all.extend(["--preset", "demo"]);
        }
        all.extend(*args);
        if args.contains(&"nowhere") {
            all.extend(["--model", "embedded:gpt2"]);
        }
        refused(&run(program, dir.path(), &all), expected);
        assert!(!dir.path().join("out/runs").exists(), "{args:?}");
    }
}

#[test]
fn glue_has_no_texts_and_gpt2_no_classes() {
    let dir = tempfile::tempdir().unwrap();
    let glue = |args: &[&str]| {
        let mut command = Command::new(env!("CARGO_BIN_EXE_glue"));
        command.args(["--tasks", "rte", "--methods", "lora", "--device", "cpu", "--out", "out"]);
        command
            .args(args)
            .current_dir(dir.path())
            .env("LORA_CACHE", dir.path().join("cache"));
        command.output().unwrap()
    };
    refused(
        &glue(&["--model", "embedded:gpt2", "--data", "embedded"]),
        &["the task needs an encoder, such as RoBERTa, and the model is a causal language model (gpt2)"],
    );
    refused(
        &glue(&["--set", "tasks.rte.prompt=\"{x}\""]),
        &["`decode` and `prompt` are for tasks that write text"],
    );
}

/// The embedded model's folder, to be spoiled.
fn model(dir: &Path) -> PathBuf {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("embedded/gpt2");
    let copy = dir.join("model");
    std::fs::create_dir_all(&copy).unwrap();
    for name in ["config.json", "tokenizer.json", "model.safetensors"] {
        std::fs::copy(folder.join(name), copy.join(name)).unwrap();
    }
    copy
}

#[test]
fn a_tokenizer_of_another_model() {
    let dir = tempfile::tempdir().unwrap();
    let model = model(dir.path());
    let path = model.join("tokenizer.json");
    let mut tokenizer: serde_json::Value = serde_json::from_slice(&std::fs::read(&path).unwrap()).unwrap();
    let mut more = tokenizer["added_tokens"][0].clone();
    let known = tokenizer["model"]["vocab"].as_object().unwrap().len();
    (more["id"], more["content"]) = (known.into(), "<more>".into());
    tokenizer["added_tokens"].as_array_mut().unwrap().push(more);
    std::fs::write(&path, tokenizer.to_string()).unwrap();
    let args = [
        "--methods",
        "lora",
        "--model",
        "model",
        "--data",
        "embedded",
        "--set",
        "methods.lora.kind=lora",
    ];
    refused(
        &run("e2e", dir.path(), &args),
        &["the tokenizer has", "it is another model's"],
    );
    // Its end of a text is what separates contexts from texts.
    let without = tokenizer.to_string().replace("<|endoftext|>", "<end>");
    std::fs::write(&path, without).unwrap();
    refused(&run("e2e", dir.path(), &args), &["<|endoftext|>"]);
}

#[test]
fn a_chat_without_words_is_left_out() {
    let dir = tempfile::tempdir().unwrap();
    let chat = |i: usize, dialogue: &str| serde_json::json!({"id": i.to_string(), "dialogue": dialogue, "summary": format!("Anna has {i} keys.")});
    let mut chats: Vec<_> = (0..12)
        .map(|i| chat(i, &format!("Anna: I have {i} keys.\r\nBen: Good.")))
        .collect();
    chats.push(chat(99, ""));
    std::fs::create_dir_all(dir.path().join("data")).unwrap();
    for name in ["train.json", "val.json", "test.json"] {
        std::fs::write(
            dir.path().join("data").join(name),
            serde_json::Value::from(chats.clone()).to_string(),
        )
        .unwrap();
    }
    let args = [
        "--methods",
        "lora",
        "--model",
        "embedded:gpt2",
        "--data",
        "data",
        "--set",
        "train.max_len=128",
    ];
    let output = run("samsum", dir.path(), &args);
    assert!(output.status.success(), "{}", text(&output));
    assert!(
        text(&output).contains("samsum train: 1 entries left out"),
        "{}",
        text(&output)
    );
}
