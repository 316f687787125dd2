//! A run that is stopped at any step and resumed gives the results of an uninterrupted run.

mod common;

use common::{build, fit_config, rows};
use lora_core::method::{self, METHODS};
use lora_core::nn::BuiltParams;
use lora_core::train::{AdamW, Alone, BestCheckpoint, Checkpoint, Criterion, Event, Progress, Select, Trainer};
use lora_core::weights::Weights;
use lora_core::{Error, Result};
use std::collections::BTreeMap;
use std::path::Path;
use std::sync::atomic::{AtomicBool, Ordering};
use tch::Tensor;

/// Trains from a fresh build until the end, or until step `stop_at`.
fn run(kind: &str, checkpoint: &Path, id: &str, stop_at: Option<u64>) -> (Result<Progress>, BuiltParams) {
    run_keeping((false, false), kind, checkpoint, id, stop_at)
}

/// [`run`] that keeps the epoch with the lowest value if `lower`, the last one if `last`, otherwise the one with the
/// highest.
fn run_keeping(
    (lower, last): (bool, bool),
    kind: &str,
    checkpoint: &Path,
    id: &str,
    stop_at: Option<u64>,
) -> (Result<Progress>, BuiltParams) {
    let method = method::from_yaml(&format!("{{kind: {kind}}}")).unwrap();
    let (model, built) = build("bert", method.as_ref(), 3);
    let (config, stop) = (fit_config("bert"), AtomicBool::new(stop_at == Some(0)));
    let file = Checkpoint::new(checkpoint, id);
    let criterion = Criterion {
        metric: "dev/sum".into(),
        lower_is_better: lower,
    };
    let trainer = Trainer {
        model: model.as_ref(),
        params: &built.params,
        config: &config,
        checkpoint: Some(&file),
        keep: Some(BestCheckpoint {
            criterion: &criterion,
            select: if last { Select::Last } else { Select::Best },
            path: checkpoint.with_extension("best"),
        }),
        criterion: None,
        stop: Some(&stop),
        ranks: &Alone,
    };
    let mut seen = (0, 0.0);
    let fitted = trainer.fit(
        &rows("bert", 50),
        &mut |model| {
            let outputs = lora_core::train::predict(model, &rows("bert", 6), 4, tch::Device::Cpu)?;
            let sum = outputs.iter().flatten().map(|v| f64::from(*v)).sum();
            Ok(BTreeMap::from([("dev/sum".to_string(), Some(sum))]))
        },
        &mut |event| {
            if let Event::Progress {
                step, tokens, seconds, ..
            } = event
            {
                assert!(tokens > seen.0 && seconds > seen.1, "{tokens} tokens in {seconds} s");
                seen = (tokens, seconds);
                stop.store(stop_at.is_some_and(|at| step >= at), Ordering::Relaxed);
            }
        },
    );
    if let Ok(fitted) = &fitted {
        assert_eq!(seen.0, fitted.progress.tokens);
        assert!(seen.1 <= fitted.progress.train_seconds);
    }
    (fitted.map(|f| f.progress), built)
}

fn numbers(p: &Progress) -> (u64, u64, Vec<lora_core::train::Eval>) {
    (p.step, p.tokens, p.evals.clone())
}

fn trained(built: &BuiltParams) -> Vec<(String, Tensor)> {
    built
        .params
        .trainable()
        .map(|e| (e.param.name.clone(), e.tensor.detach().copy()))
        .collect()
}

#[test]
fn stopped_runs_end_as_uninterrupted_ones() {
    for kind in METHODS.iter().map(|entry| entry.kind) {
        let dir = tempfile::tempdir().unwrap();
        let (whole, reference) = run(kind, &dir.path().join("whole"), "a", None);
        let whole = whole.unwrap();
        assert_eq!(whole.step, 14, "50 rows in sevenths of 8, twice");
        let path = dir.path().join("stopped");
        let mut stops = 0;
        for stop_at in [0, 2, 3, 5, 9] {
            match run(kind, &path, "a", Some(stop_at)).0 {
                Err(Error::Interrupted { .. }) => stops += 1,
                other => panic!("{kind}: expected an interruption, got {other:?}"),
            }
        }
        let (resumed, built) = run(kind, &path, "a", None);
        let resumed = resumed.unwrap();
        assert_eq!(
            resumed.resumed, stops,
            "{kind}: every stop left a checkpoint that was taken up"
        );
        assert_eq!(numbers(&resumed), numbers(&whole), "{kind}");
        for ((name, a), (_, b)) in trained(&built).iter().zip(trained(&reference)) {
            assert!(a.equal(&b), "{kind}: {name} differs");
        }
    }
}

#[test]
fn the_best_epoch_is_kept_and_starts_another_run() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("run");
    assert!(matches!(
        run("lora", &path, "a", Some(9)).0,
        Err(Error::Interrupted { .. })
    ));
    let (progress, built) = run("lora", &path, "a", None);
    let values: Vec<f64> = progress
        .unwrap()
        .evals
        .iter()
        .map(|e| e.metrics["dev/sum"].unwrap())
        .collect();
    let kept = Weights::open(&path.with_extension("best")).unwrap();
    let best = if values[1] > values[0] { "2" } else { "1" };
    assert_eq!(kept.metadata().unwrap()["epoch"], best, "{values:?}");
    let is_last = built
        .params
        .trainable()
        .all(|e| kept.tensor(&e.param.name).unwrap().equal(&e.tensor));
    assert_eq!(is_last, best == "2", "the weights are those of that epoch");

    // If lower is better, the other epoch is kept.
    let path = dir.path().join("lower");
    run_keeping((true, false), "lora", &path, "a", None).0.unwrap();
    let lower = Weights::open(&path.with_extension("best")).unwrap();
    assert_ne!(lower.metadata().unwrap()["epoch"], best, "{values:?}");

    // A task with one output: the last layer of the head stays freshly initialised.
    let method = method::from_yaml("{kind: lora}").unwrap();
    let config = common::config("bert");
    let fresh = lora_core::nn::Build::new(method.as_ref(), 8).base_init(lora_core::nn::BaseInit::Random);
    let _model = lora_core::model::arch(&config)
        .unwrap()
        .classifier(&config, 1, &fresh.scope())
        .unwrap();
    let fresh = fresh.finish().unwrap();
    let before = trained(&fresh);
    let taken = kept.load_trained(&fresh.params).unwrap();
    assert_eq!(taken, before.len() - 2);
    for (name, tensor) in before {
        let now = &fresh.params.get(&name).unwrap().tensor;
        if name.starts_with("classifier.") {
            assert!(now.equal(&tensor), "{name} has another shape in the file");
        } else {
            assert!(now.equal(&kept.tensor(&name).unwrap()), "{name} was loaded");
        }
    }
    let (_, full) = run("full", &dir.path().join("full"), "b", Some(2));
    assert!(
        kept.load_trained(&full.params)
            .unwrap_err()
            .to_string()
            .contains("has no tensor")
    );
}

#[test]
fn the_last_epoch_is_kept_if_asked() {
    let dir = tempfile::tempdir().unwrap();
    for lower in [false, true] {
        let path = dir.path().join(format!("last-{lower}"));
        let (progress, built) = run_keeping((lower, true), "lora", &path, "a", None);
        let kept = Weights::open(&path.with_extension("best")).unwrap();
        let epoch = progress.unwrap().evals.last().unwrap().epoch;
        assert_eq!(kept.metadata().unwrap()["epoch"], epoch.to_string());
        for entry in built.params.trainable() {
            assert!(entry.tensor.detach().equal(&kept.tensor(&entry.param.name).unwrap()));
        }
    }
}

/// The optimiser of a fresh build.
fn optimiser(kind: &str) -> AdamW {
    let method = method::from_yaml(&format!("{{kind: {kind}}}")).unwrap();
    let (_, built) = build("bert", method.as_ref(), 3);
    AdamW::new(&built.params, (0.9, 0.999), 1e-8, 0.0).unwrap()
}

#[test]
fn foreign_and_damaged_checkpoints_are_refused_and_the_run_starts_anew() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("checkpoint");
    let (whole, reference) = run("lora", &dir.path().join("whole"), "a", None);
    let whole = whole.unwrap();
    let stopped = run("lora", &path, "a", Some(2)).0;
    assert!(matches!(stopped, Err(Error::Interrupted { .. })), "{stopped:?}");
    let sound = std::fs::read(&path).unwrap();
    let text = |id: &str, kind: &str| {
        let restored = Checkpoint::new(&path, id).restore(&mut optimiser(kind));
        restored.unwrap_err().to_string()
    };
    assert!(text("b", "lora").contains("not of this run"));
    assert!(text("a", "full").contains("has no `param/"), "{}", text("a", "full"));
    let mut flipped = sound.clone();
    *flipped.last_mut().unwrap() ^= 1;
    let mut old = sound.clone();
    let version = old.windows(13).position(|w| w == b"\"version\":\"2\"").unwrap();
    old[version + 11] = b'1';
    let damaged = [
        (&sound[..sound.len() - 9], "not a whole safetensors file"),
        (b"hello", "not a whole safetensors file"),
        (&flipped, "does not have the checksum"),
        (&old, "does not have the checksum"),
    ];
    for (bytes, why) in damaged {
        std::fs::write(&path, bytes).unwrap();
        let said = text("a", "lora");
        assert!(said.contains(why) && said.contains(&*path.to_string_lossy()), "{said}");
        let (anew, built) = run("lora", &path, "a", None);
        let anew = anew.unwrap();
        assert_eq!((anew.resumed, numbers(&anew)), (0, numbers(&whole)), "{why}");
        for ((name, a), (_, b)) in trained(&built).iter().zip(trained(&reference)) {
            assert!(a.equal(&b), "{why}: {name} differs");
        }
    }
}

#[test]
fn equal_states_are_equal_files() {
    let dir = tempfile::tempdir().unwrap();
    let files = ["a", "b"].map(|name| {
        let path = dir.path().join(name);
        Checkpoint::new(&path, "run")
            .save(&optimiser("lora"), &Progress::default())
            .unwrap();
        std::fs::read(path).unwrap()
    });
    assert!(files[0] == files[1]);
    let kept = ["c", "d"].map(|name| {
        let path = dir.path().join(name);
        run("bitfit", &path, "a", None).0.unwrap();
        std::fs::read(path.with_extension("best")).unwrap()
    });
    assert!(kept[0] == kept[1]);
}

/// The layout of version 1 had no checksum: such a file starts anew, as does one of this version without it.
#[test]
fn checkpoints_without_a_checksum_are_refused() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("checkpoint");
    let progress = serde_json::to_string(&Progress::default()).unwrap();
    for (version, why) in [("1", "version `1`"), ("2", "has no checksum")] {
        let metadata = [("version", version), ("run", "a"), ("progress", &progress)];
        let metadata = metadata.map(|(k, v)| (k.to_string(), v.to_string())).into();
        let mut optim = optimiser("lora");
        lora_core::weights::save(&path, &optim.state(), metadata).unwrap();
        let said = Checkpoint::new(&path, "a").restore(&mut optim).unwrap_err().to_string();
        assert!(said.contains(why), "{said}");
        let mut told = String::new();
        let none = Checkpoint::new(&path, "a").restore_or_start_anew(&mut optim, |why| told = why.to_string());
        assert!(none.unwrap().is_none() && !path.exists());
        assert!(told.contains(why) && told.contains("the run starts anew"), "{told}");
    }
}
