//! The embedded demonstration as a newcomer meets it, and runs that start from other runs.

use results::{RunRecord, Store};
use std::path::Path;
use std::process::{Command, Output};

/// `glue` with these arguments and `dir/out` for its results.
fn glue(dir: &Path, out: &str, args: &[&str]) -> Output {
    let mut command = Command::new(env!("CARGO_BIN_EXE_glue"));
    command.args(["--device", "cpu", "--threads", "1"]).args(args);
    command
        .arg("--out")
        .arg(dir.join(out))
        .env("LORA_CACHE", dir.join("cache"));
    command.output().unwrap()
}

/// Everything printed, with single spaces: tables break their lines where the terminal ends.
fn text(output: &Output) -> String {
    let all = [&output.stdout, &output.stderr].map(|bytes| String::from_utf8_lossy(bytes).into_owned());
    all.join(" ").split_whitespace().collect::<Vec<_>>().join(" ")
}

fn records(dir: &Path, out: &str) -> Vec<RunRecord> {
    Store::open(dir.join(out)).unwrap().records().unwrap()
}

#[test]
fn without_arguments_it_is_the_demonstration_and_repeats_itself() {
    let dir = tempfile::tempdir().unwrap();
    let few = [
        "--tasks",
        "rte",
        "--methods",
        "lora,head",
        "--seeds",
        "3",
        "--epochs",
        "1",
    ];
    let first = glue(dir.path(), "first", &few);
    assert!(first.status.success(), "{}", text(&first));
    for said in [
        "embedded:roberta on generated data, 1 epoch; not a row of the paper",
        "not a row of the paper",
        "--list",
        "README.md",
    ] {
        assert!(text(&first).contains(said), "{said:?} is missing in {}", text(&first));
    }
    // Its own table, and none of those of other programs that the same runs could stand in.
    assert!(!text(&first).contains("Table 15"), "{}", text(&first));
    assert_eq!(std::fs::read_dir(dir.path().join("first/tables")).unwrap().count(), 3);
    // With another thread both runs are computed at once, which changes no number.
    let again = glue(dir.path(), "second", &[&few[..], &["--threads", "2"]].concat());
    assert!(again.status.success(), "{}", text(&again));
    let numbers = |out| {
        let records = records(dir.path(), out);
        records.iter().map(RunRecord::numbers).collect::<Vec<_>>()
    };
    assert_eq!(numbers("first").len(), 2);
    assert_eq!(numbers("first"), numbers("second"));
    let record = &records(dir.path(), "first")[0];
    assert_eq!(
        (record.preset.as_deref(), record.paper_row.as_deref()),
        (Some("demo"), None)
    );
}

#[test]
fn a_file_of_ones_own_cannot_say_that_it_is_a_row_of_the_paper() {
    let dir = tempfile::tempdir().unwrap();
    let config = dir.path().join("mine.yaml");
    let yaml =
        "model: embedded:roberta\ndata: embedded\ntasks: {rte: {}}\nmethods: {lora: {paper_row: rob_base_lora}}\n";
    std::fs::write(&config, yaml).unwrap();
    for args in [
        &["--config", config.to_str().unwrap()][..],
        &["--set", "methods.lora.paper_row=rob_base_lora"],
    ] {
        let output = glue(dir.path(), "out", args);
        assert!(!output.status.success());
        let said = text(&output);
        assert!(said.contains("paper_row") && said.contains("leave it out"), "{said}");
    }
}

const STARTS: &str = "
label: a test
model: embedded:roberta
data: embedded
tasks: {mrpc: {}, mnli: {}}
methods: {mine: {kind: lora, r: 2, alpha: 3, targets: [value], tasks: {mrpc: {start: mnli, train: {lr: 0.002}}}}}
seeds: [1, 2]
train: {epochs: 1, max_len: 48}
";

#[test]
fn a_run_starts_from_the_best_of_another_task() {
    let dir = tempfile::tempdir().unwrap();
    let config = dir.path().join("starts.yaml");
    std::fs::write(&config, STARTS).unwrap();
    let config = ["--config", config.to_str().unwrap()];
    let alone = glue(dir.path(), "out", &[&config[..], &["--tasks", "mrpc"]].concat());
    assert!(!alone.status.success());
    for said in [
        "starts from the best mnli run",
        "2 are not in the store",
        "add mnli to --tasks",
        "start=null",
    ] {
        assert!(text(&alone).contains(said), "{said:?} is missing in {}", text(&alone));
    }
    let both = glue(dir.path(), "out", &config);
    assert!(both.status.success(), "{}", text(&both));
    let records = records(dir.path(), "out");
    let of = |task: &str| records.iter().filter(|r| r.task == task).collect::<Vec<_>>();
    let mut sources: Vec<&str> = of("mnli").iter().map(|r| r.id.as_str()).collect();
    for run in of("mrpc") {
        let start = &run.config["start"];
        let mut named: Vec<&str> = start["runs"]
            .as_array()
            .unwrap()
            .iter()
            .map(|v| v.as_str().unwrap())
            .collect();
        named.sort_unstable();
        sources.sort_unstable();
        assert_eq!((start["task"].as_str(), &named), (Some("mnli"), &sources));
        assert_eq!(
            run.config["train"]["lr"].as_f64(),
            Some(0.002),
            "the method's word on the task is the last"
        );
    }
    assert_eq!((of("mnli").len(), of("mrpc").len()), (2, 2));
    // Weights are kept of the runs that others start from, and of no other.
    let kept = std::fs::read_dir(dir.path().join("out/weights")).unwrap().count();
    assert_eq!(kept, 2);
    let log = std::fs::read_to_string(dir.path().join("out/logs/glue.log")).unwrap();
    let best = of("mnli")
        .into_iter()
        .max_by(|a, b| a.best.unwrap().value.total_cmp(&b.best.unwrap().value))
        .unwrap();
    assert!(log.contains(&format!("tensors from mnli run {}", best.id)), "{log}");
    // And again: nothing is left to do.
    let again = glue(dir.path(), "out", &config);
    assert!(text(&again).contains("0 to compute"), "{}", text(&again));
}

#[test]
fn a_plan_says_how_long_it_takes() {
    let dir = tempfile::tempdir().unwrap();
    let few = ["--tasks", "cola", "--methods", "head", "--dry-run"];
    // Another of the program's own models is still the demonstration.
    for model in [&[][..], &["--model", "embedded:deberta"]] {
        let plan = glue(dir.path(), "out", &[&few[..], model].concat());
        assert!(plan.status.success(), "{}", text(&plan));
        assert!(text(&plan).contains("3 to compute: about"), "{}", text(&plan));
        assert!(!dir.path().join("out").exists(), "a plan writes nothing");
    }
}

#[test]
fn a_task_can_be_looked_at() {
    let lora = |args: &[&str]| Command::new(env!("CARGO_BIN_EXE_lora")).args(args).output().unwrap();
    let show = |task: &str| lora(&["examples", task, "--rows", "2"]);
    let said = text(&show("mrpc"));
    assert!(
        said.starts_with("mrpc (embedded): train") && said.contains("equivalent"),
        "{said}"
    );
    let scores = text(&show("sts-b"));
    assert!(scores.contains("2.50 In the kitchen"), "{scores}");
    assert!(text(&show("boolq")).contains("unknown task `boolq`; known: "));
    let nowhere = lora(&["examples", "mrpc", "--split", "exam"]);
    assert!(text(&nowhere).contains("it has train, dev"), "{}", text(&nowhere));
}

#[test]
fn the_rows_of_a_task_are_there_for_programs() {
    let rows = |args: &[&str]| -> Vec<serde_json::Value> {
        let output = Command::new(env!("CARGO_BIN_EXE_lora"))
            .arg("examples")
            .args(args)
            .output()
            .unwrap();
        assert!(output.status.success(), "{}", text(&output));
        let lines = String::from_utf8(output.stdout).unwrap();
        lines.lines().map(|line| serde_json::from_str(line).unwrap()).collect()
    };
    let task = datasets::find("sts-b").unwrap();
    let made = datasets::synthetic::load(task).unwrap();
    let dev = rows(&["sts-b", "--json", "--split", "dev"]);
    assert_eq!(dev.len(), made.evals[0].examples.len());
    for (row, example) in dev.iter().zip(&made.evals[0].examples) {
        let datasets::Label::Score(score) = example.label else {
            panic!("sts-b has scores")
        };
        let wanted = serde_json::json!({"text": example.first, "text_pair": example.second, "label": score});
        assert_eq!(*row, wanted);
    }
    let few = rows(&["e2e", "--json", "--rows", "3"]);
    assert_eq!(few.len(), 3);
    assert!(
        few.iter()
            .all(|row| row["prompt"].is_string() && row["completion"].is_string())
    );
}

#[test]
fn unknown_sources_are_named() {
    let dir = tempfile::tempdir().unwrap();
    let says = |args: &[&str], what: &str| {
        let output = glue(dir.path(), "out", args);
        assert!(
            !output.status.success() && text(&output).contains(what),
            "{}",
            text(&output)
        );
    };
    says(
        &[
            "--model",
            "embedded:gpt5",
            "--data",
            "embedded",
            "--tasks",
            "rte",
            "--methods",
            "lora",
        ],
        "known: embedded:roberta",
    );
    says(&["--tasks", "wnli"], "no generated form");
}
