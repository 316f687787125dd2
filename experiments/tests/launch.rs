//! Sweeps by several processes over one folder of records.
#![cfg(unix)]

use experiments::runner::claim::{Claims, Holder};
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use results::record::Status;
use results::{RunRecord, Store};
use serde_json::Value;
use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Output, Stdio};
use std::time::{Duration, Instant};

/// Six short runs of the first look.
const QUICK: [&str; 8] = [
    "--preset",
    "quick",
    "--seeds",
    "1..2",
    "--epochs",
    "1",
    "--set",
    "limit={train: 256, dev: 100}",
];

/// Runs of seconds, with a checkpoint every few steps.
const LONG: [&str; 10] = [
    "--preset",
    "quick",
    "--methods",
    "lora",
    "--epochs",
    "6",
    "--set",
    "limit={train: 400, dev: 50}",
    "--set",
    "train.checkpoint_every=2",
];

struct Place(tempfile::TempDir);

impl Place {
    fn new() -> Place {
        Place(tempfile::tempdir().unwrap())
    }

    fn out(&self, out: &str) -> PathBuf {
        self.0.path().join(out)
    }

    fn command(&self, program: &str, out: &str, args: &[&str]) -> Command {
        let mut command = Command::new(program);
        command.args(args).arg("--out").arg(self.out(out));
        command
            .env("LORA_CACHE", self.0.path().join("cache"))
            .env_remove("SLURM_JOB_ID");
        command
    }

    fn glue(&self, out: &str, args: &[&str]) -> Command {
        let all = [&["--device", "cpu", "--threads", "1"][..], args].concat();
        self.command(env!("CARGO_BIN_EXE_glue"), out, &all)
    }

    fn lora(&self, out: &str, args: &[&str]) -> Output {
        self.command(env!("CARGO_BIN_EXE_lora"), out, args).output().unwrap()
    }

    fn records(&self, out: &str) -> BTreeMap<String, RunRecord> {
        let records = Store::open(self.out(out)).unwrap().records().unwrap();
        records.into_iter().map(|record| (record.id.clone(), record)).collect()
    }

    fn numbers(&self, out: &str) -> BTreeMap<String, Value> {
        let records = self.records(out);
        records.into_iter().map(|(id, record)| (id, record.numbers())).collect()
    }

    /// The first process that computes a run, other than `not`, once the run has a checkpoint.
    fn holder(&self, out: &str, not: u32) -> Holder {
        self.run_and_holder(out, not).1
    }

    /// [`Place::holder`], with the run's id.
    fn run_and_holder(&self, out: &str, not: u32) -> (String, Holder) {
        let claims = Claims::new(self.out(out).join("checkpoints"), None);
        let begun = Instant::now();
        loop {
            for (id, _, holder) in claims.all().unwrap() {
                let checkpoint = self.out(out).join(format!("checkpoints/{id}.safetensors"));
                if holder.host.pid != not && checkpoint.exists() {
                    return (id, holder);
                }
            }
            assert!(begun.elapsed() < Duration::from_secs(100), "no run is computed");
            std::thread::sleep(Duration::from_millis(20));
        }
    }
}

fn text(output: &Output) -> String {
    let all = [&output.stdout, &output.stderr].map(|bytes| String::from_utf8_lossy(bytes).into_owned());
    all.join(" ").split_whitespace().collect::<Vec<_>>().join(" ")
}

fn spawn(mut command: Command) -> Child {
    let command = command
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped());
    command.spawn().unwrap()
}

fn signal(pid: u32, signal: Signal) {
    kill(Pid::from_raw(pid as i32), signal).unwrap();
}

/// The files below a folder, of which nothing may be left.
fn left(folder: &Path) -> Vec<PathBuf> {
    let entries = std::fs::read_dir(folder).into_iter().flatten();
    entries.map(|entry| entry.unwrap().path()).collect()
}

#[test]
fn workers_compute_what_one_process_computes() {
    let place = Place::new();
    let quiet = place.glue("local", &QUICK).output().unwrap();
    assert!(quiet.status.success(), "{}", text(&quiet));
    let wanted = place.numbers("local");
    assert_eq!(wanted.len(), 6);
    for workers in ["2", "4"] {
        let out = format!("workers-{workers}");
        let args = [&QUICK[..], &["--launcher", "processes", "--workers", workers, "--json"]].concat();
        let output = place.glue(&out, &args).output().unwrap();
        assert!(output.status.success(), "{}", text(&output));
        assert_eq!(place.numbers(&out), wanted, "{workers} workers");
        assert!(left(&place.out(&out).join("checkpoints")).is_empty());
        let told: Vec<Value> = String::from_utf8_lossy(&output.stdout)
            .lines()
            .map(|line| serde_json::from_str(line).unwrap())
            .collect();
        let count = |event: &str| told.iter().filter(|line| line["event"] == event).count();
        assert_eq!(
            (count("plan"), count("epoch"), count("run"), count("table")),
            (1, 6, 6, 1)
        );
        // Each worker had a part in it.
        let sweep = left(&place.out(&out).join("sweeps")).pop().unwrap();
        let journals: Vec<PathBuf> = left(&sweep.join("workers"))
            .into_iter()
            .filter(|path| path.extension().is_some_and(|e| e == "jsonl"))
            .collect();
        assert_eq!(journals.len().to_string(), workers);
        let status = text(&place.lora(&out, &["sweep", "status"]));
        assert!(
            status.contains("6 runs: 6 done, 0 running, 0 failed, 0 waiting"),
            "{status}"
        );
    }
    let cancelled = text(&place.lora("workers-2", &["sweep", "cancel"]));
    assert!(cancelled.contains("nothing to stop"), "{cancelled}");
    let status = text(&place.lora("workers-2", &["sweep", "status"]));
    assert!(!status.contains("it was cancelled"), "{status}");
    // The table of what is done already needs no worker.
    let again = [&QUICK[..], &["--launcher", "processes"]].concat();
    let again = place.glue("workers-2", &again).output().unwrap();
    assert!(
        text(&again).contains("6 in the store, 0 to compute"),
        "{}",
        text(&again)
    );
    assert_eq!(left(&place.out("workers-2").join("sweeps")).len(), 1);
}

#[test]
fn a_killed_worker_loses_nothing() {
    let place = Place::new();
    let long = [&LONG[..], &["--seeds", "1..3"]].concat();
    assert!(place.glue("local", &long).status().unwrap().success());
    let args = [&long[..], &["--launcher", "processes", "--workers", "2"]].concat();
    let parent = spawn(place.glue("out", &args));
    // A run may end between the look at its checkpoint and the signal, and both signals may meet one run:
    // then its second process may die before it writes that it has gone on.
    let mut unfinished = BTreeSet::new();
    let mut kill = |not: u32| {
        let (id, holder) = place.run_and_holder("out", not);
        signal(holder.host.pid, Signal::SIGKILL);
        if !place.out("out").join(format!("runs/{id}.json")).exists() {
            unfinished.insert(id);
        }
        holder
    };
    let first = kill(0);
    let second = kill(first.host.pid);
    let output = parent.wait_with_output().unwrap();
    assert!(output.status.success(), "{}", text(&output));
    for holder in [&first, &second] {
        let said = format!("process {}: signal: 9", holder.host.pid);
        assert!(text(&output).contains(&said), "{said} is missing in {}", text(&output));
    }
    assert_eq!(place.numbers("out"), place.numbers("local"));
    let mut records = place.records("out");
    records.retain(|_, record| record.timing.resumed > 0);
    for id in &unfinished {
        assert!(
            records.contains_key(id),
            "run {id} went on from its beginning, not from its checkpoint"
        );
    }
    assert!(left(&place.out("out").join("checkpoints")).is_empty());
    let logs = text(&place.lora("out", &["sweep", "logs", "mrpc lora seed 1"]));
    assert!(logs.contains("begin of run") && logs.contains("end of run"), "{logs}");
    // A later sweep that finds the run done has logged nothing of it.
    let more = ["--seeds", "1..4", "--launcher", "processes", "--workers", "1"];
    let later = place.glue("out", &[&LONG[..], &more].concat()).output().unwrap();
    assert!(later.status.success(), "{}", text(&later));
    assert!(text(&place.lora("out", &["sweep", "status"])).contains("before it: "));
    let again = text(&place.lora("out", &["sweep", "logs", "mrpc lora seed 1"]));
    assert!(again.contains("begin of run"), "{again}");
}

#[test]
fn a_run_that_kills_every_process_is_given_up() {
    let place = Place::new();
    let endless = ["--epochs", "3000", "--launcher", "processes", "--workers", "1"];
    let parent = spawn(place.glue("out", &[&LONG[..], &endless].concat()));
    let mut last = 0;
    for _ in 0..3 {
        last = place.holder("out", last).host.pid;
        signal(last, Signal::SIGKILL);
    }
    let output = parent.wait_with_output().unwrap();
    assert_eq!(output.status.code(), Some(1), "{}", text(&output));
    let failed = Store::open(place.out("out")).unwrap().failed().unwrap().records;
    let Status::Failed { error } = &failed[0].status else {
        panic!("{failed:?}")
    };
    assert!(error.starts_with("3 processes have died over this run"), "{error}");
    let status = text(&place.lora("out", &["sweep", "status"]));
    assert!(
        status.contains("1 failed") && status.contains("3 processes have died"),
        "{status}"
    );
    // It is tried anew by another command, and stops when it is asked to.
    let retry = spawn(place.command(env!("CARGO_BIN_EXE_lora"), "out", &["sweep", "retry", "--failed"]));
    let holder = place.holder("out", last);
    assert!(text(&place.lora("out", &["sweep", "status"])).contains("1 running"));
    assert!(place.lora("out", &["sweep", "cancel"]).status.success());
    let output = retry.wait_with_output().unwrap();
    assert_eq!(output.status.code(), Some(130), "{} {}", holder.host.pid, text(&output));
}

#[test]
fn workers_stop_with_the_process_that_started_them() {
    let place = Place::new();
    for (round, how) in [Signal::SIGTERM, Signal::SIGINT, Signal::SIGKILL]
        .into_iter()
        .enumerate()
    {
        let out = format!("out-{round}");
        let endless = [
            "--epochs",
            "3000",
            "--seeds",
            "1..2",
            "--launcher",
            "processes",
            "--workers",
            "2",
        ];
        let mut parent = spawn(place.glue(&out, &[&LONG[..], &endless].concat()));
        let one = place.holder(&out, 0);
        place.holder(&out, one.host.pid);
        signal(parent.id(), how);
        let status = parent.wait().unwrap();
        assert_eq!(status.code(), (how != Signal::SIGKILL).then_some(130));
        // Their claims are gone, their checkpoints stay.
        let claims = Claims::new(place.out(&out).join("checkpoints"), None);
        let begun = Instant::now();
        while !claims.all().unwrap().is_empty() {
            assert!(begun.elapsed() < Duration::from_secs(30), "workers go on after {how}");
            std::thread::sleep(Duration::from_millis(50));
        }
        assert_eq!(left(&place.out(&out).join("checkpoints")).len(), 2);
    }
}

#[test]
fn flags_without_effect_are_refused() {
    let place = Place::new();
    for (args, said) in [
        (&["--workers", "2"][..], "no effect with --launcher local"),
        (&["--launcher", "processes", "--workers", "0"], "1 or more"),
        (&["--launcher", "processes", "--jobs", "2"], "--jobs has no effect"),
        (
            &["--launcher", "processes", "--set", "slurm.cpus=2"],
            "without --launcher slurm",
        ),
        (&["--launcher", "slurm", "--json"], "--json has no effect"),
        (&["--launcher", "slurm", "--set", "slurm.cpu=2"], "unknown field `cpu`"),
        (
            &["--launcher", "slurm", "--set", "slurm.cpus=0", "--threads", "0"],
            "`slurm.cpus` is 0",
        ),
        (&["--preset", "quick", "--only", "abc"], "no run with this id"),
        (
            &["--preset", "quick", "--launcher", "processes", "--set", "label=hf_abc"],
            "set HF_TOKEN in its place",
        ),
    ] {
        let output = place.command(env!("CARGO_BIN_EXE_glue"), "out", args).output().unwrap();
        assert!(
            !output.status.success() && text(&output).contains(said),
            "{said}: {}",
            text(&output)
        );
    }
    let none = place.lora("out", &["sweep", "status"]);
    assert!(
        !none.status.success() && text(&none).contains("has no sweeps"),
        "{}",
        text(&none)
    );
}
