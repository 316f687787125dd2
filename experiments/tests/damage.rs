//! Damaged files of a store and damaged configurations: named, never taken for whole, and a sweep goes on.

mod world;

use experiments::experiment::config::ExperimentConfig;
use experiments::experiment::registry;
use results::RunRecord;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::{Duration, Instant};
use testing::mutate::survives;
use world::{World, text};

/// A run of six epochs that keeps its best weights, not yet started.
fn long_run(world: &World) -> Command {
    let words = "--model model --data data --out out --device cpu --threads 1 --tasks rte --methods lora --keep \
                 --set train.epochs=6 --set train.batch_size=2 --set train.select=best";
    let mut command = Command::new(env!("CARGO_BIN_EXE_glue"));
    command.args(words.split_whitespace()).current_dir(world.dir.path());
    command.env("LORA_CACHE", world.path("cache"));
    command
}

/// Kills the run as soon as both its checkpoint and its kept weights are there.
fn kill_half_way(world: &World) -> (PathBuf, PathBuf) {
    let mut child = long_run(world).spawn().unwrap();
    let since = Instant::now();
    let file = |folder: &str| {
        let mut files = world.records(folder).into_iter();
        files.find(|path| path.extension().is_some_and(|e| e == "safetensors"))
    };
    let found = loop {
        if let (Some(checkpoint), Some(weights)) = (file("checkpoints"), file("weights")) {
            break (checkpoint, weights);
        }
        assert!(since.elapsed() < Duration::from_secs(120), "no checkpoint was written");
        std::thread::sleep(Duration::from_millis(5));
    };
    child.kill().unwrap();
    child.wait().unwrap();
    assert!(world.records("runs").is_empty(), "the run was killed before its end");
    found
}

fn flip(path: &Path) {
    let mut bytes = std::fs::read(path).unwrap();
    *bytes.last_mut().unwrap() ^= 1;
    std::fs::write(path, bytes).unwrap();
}

fn record(world: &World) -> RunRecord {
    let path = &world.records("runs")[0];
    RunRecord::from_json(&std::fs::read(path).unwrap(), path).unwrap()
}

#[test]
fn a_run_whose_checkpoint_or_weights_are_damaged_starts_anew_and_ends_as_a_quiet_one() {
    let quiet = World::new();
    quiet.rte("train", 200);
    let output = long_run(&quiet).output().unwrap();
    assert!(output.status.success(), "{}", text(&output));
    for damaged in [0, 1] {
        let world = World::new();
        world.rte("train", 200);
        let (checkpoint, weights) = kill_half_way(&world);
        let path = if damaged == 0 { &checkpoint } else { &weights };
        flip(path);
        let output = long_run(&world).output().unwrap();
        let said = text(&output);
        assert!(output.status.success(), "{said}");
        let name = path.file_name().unwrap().to_string_lossy();
        assert!(said.contains(&*name) && said.contains("the run starts anew"), "{said}");
        assert!(!said.contains("resumes from step"), "{said}");
        assert_eq!(record(&world).numbers(), record(&quiet).numbers());
        let kept = |world: &World| std::fs::read(&world.records("weights")[0]).unwrap();
        assert!(kept(&world) == kept(&quiet), "equal weights are equal files");
    }
}

#[test]
fn what_a_kill_left_is_deleted_and_an_edited_record_is_left_out_by_name() {
    let world = World::new();
    for folder in ["checkpoints", "runs"] {
        let left = |temporary: &Path| std::fs::copy(temporary, temporary.with_extension("x.tmp")).map(drop);
        let path = world.path("out").join(folder).join("file");
        support::write_atomic_with(&path, left).unwrap();
        std::fs::remove_file(path).unwrap();
        assert_eq!(world.records(folder).len(), 1);
    }
    let args = ["--methods", "head,bitfit"];
    assert!(world.glue(&args).status.success());
    assert_eq!(
        (world.records("checkpoints").len(), world.records("runs").len()),
        (0, 2)
    );
    let path = &world.records("runs")[0];
    let sound = std::fs::read_to_string(path).unwrap();
    std::fs::write(path, sound.replace("\"epoch\": 1", "\"epoch\": 2")).unwrap();
    let name = path.file_name().unwrap().to_string_lossy().into_owned();
    // It stands in no table, which says so.
    let said = text(&world.glue(&args));
    for part in [
        &*name,
        "Left out",
        "damaged or edited",
        "delete it and run the same command again",
    ] {
        assert!(said.contains(part), "expected `{part}` in: {said}");
    }
    std::fs::remove_file(path).unwrap();
    assert!(world.glue(&args).status.success());
    let before: RunRecord = RunRecord::from_json(sound.as_bytes(), path).unwrap();
    let after = RunRecord::from_json(&std::fs::read(path).unwrap(), path).unwrap();
    assert_eq!(before.numbers(), after.numbers());
}

#[test]
fn damaged_configurations_are_read_or_refused() {
    let yaml = "model: FacebookAI/roberta-base\ndata: glue_data\ntasks:\n  mrpc: {train: {epochs: 3}}\n  rte: {}\nseeds: [1, 2]\n\
        methods:\n  lora: {r: 8, alpha: 16, targets: [query, value], train: {lr: 4e-4}}\n  full: {}\ntrain: {batch_size: 16, warmup_ratio: 0.06}\n";
    for name in ["glue", "e2e"] {
        let experiment = registry::find(name).unwrap();
        let yaml = if name == "e2e" {
            yaml.replace("mrpc", "e2e").replace("  rte: {}\n", "")
        } else {
            yaml.to_owned()
        };
        let yaml = if name == "e2e" {
            yaml.replace("roberta-base", "gpt2")
        } else {
            yaml
        };
        let outcomes = survives("own.yaml", yaml.as_bytes(), |bytes| {
            let text = String::from_utf8_lossy(bytes);
            let mut layers = experiment.layers();
            layers.push(("own.yaml", &text));
            let read = ExperimentConfig::read(experiment, &layers, &[]).and_then(|config| config.runs(experiment));
            // Errors of settings name the setting, not the file.
            read.map(drop).map_err(|e| format!("own.yaml: {e:#}"))
        });
        assert!(outcomes.refused > 0, "{outcomes:?}");
    }
}
