//! Several ranks train as a single process does, whatever the split. Ranks are threads here; `tools/check-ranks` starts processes.

mod common;

use common::{build, fit_config, model_types, rows};
use lora_core::batch::Row;
use lora_core::method::{self, METHODS};
use lora_core::nn::use_fused;
use lora_core::train::{
    Alone, BestCheckpoint, Checkpoint, Criterion, Event, FitConfig, Passes, Progress, Ranks, Schedule, Select, Stepper,
    Trainer, predict, predict_by, token_scores, token_scores_by,
};
use lora_core::weights::Weights;
use lora_core::{Error, Result};
use std::collections::BTreeMap;
use std::path::Path;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Barrier, Mutex, MutexGuard, PoisonError};
use tch::Device;

/// Keeps the tests of this file apart: one of them changes how the whole process computes.
fn by_itself() -> MutexGuard<'static, ()> {
    static ONE: Mutex<()> = Mutex::new(());
    ONE.lock().unwrap_or_else(PoisonError::into_inner)
}

/// A rank that is a thread.
#[derive(Debug)]
struct Thread {
    rank: usize,
    parts: Arc<Mutex<Vec<Vec<u8>>>>,
    barrier: Arc<Barrier>,
}

impl Ranks for Thread {
    fn rank(&self) -> usize {
        self.rank
    }

    fn size(&self) -> usize {
        self.parts.lock().unwrap().len()
    }

    fn all_reduce_sum(&self, values: &mut [f32]) -> Result<()> {
        let own: Vec<u8> = values.iter().flat_map(|v| v.to_le_bytes()).collect();
        values.fill(0.0);
        for part in self.all_gather(&own)? {
            for (sum, bytes) in values.iter_mut().zip(part.as_chunks().0) {
                *sum += f32::from_le_bytes(*bytes);
            }
        }
        Ok(())
    }

    fn all_gather(&self, own: &[u8]) -> Result<Vec<Vec<u8>>> {
        self.parts.lock().unwrap()[self.rank] = own.to_vec();
        self.barrier.wait();
        let all = self.parts.lock().unwrap().clone();
        self.barrier.wait();
        Ok(all)
    }

    fn broadcast(&self, bytes: &mut Vec<u8>) -> Result<()> {
        *bytes = self.all_gather(bytes)?.swap_remove(0);
        Ok(())
    }

    fn abort(&self, why: &str) -> ! {
        panic!("{why}")
    }
}

/// What `work` returns on each of `size` ranks.
fn on_ranks<T: Send>(size: usize, work: impl Fn(&dyn Ranks) -> T + Sync) -> Vec<T> {
    let (parts, barrier) = (
        Arc::new(Mutex::new(vec![Vec::new(); size])),
        Arc::new(Barrier::new(size)),
    );
    std::thread::scope(|scope| {
        let start = |rank| {
            let (parts, barrier) = (parts.clone(), barrier.clone());
            let work = &work;
            scope.spawn(move || work(&Thread { rank, parts, barrier }))
        };
        let threads: Vec<_> = (0..size).map(start).collect();
        threads.into_iter().map(|thread| thread.join().unwrap()).collect()
    })
}

/// The losses of three steps, of 8 ragged rows, then 5, then 1, on these ranks.
fn losses(model_type: &str, kind: &str, config: &FitConfig, ranks: &dyn Ranks) -> Vec<f64> {
    let method = method::from_yaml(&format!("{{kind: {kind}}}")).unwrap();
    let (model, built) = build(model_type, method.as_ref(), 1);
    if built.params.trainable().next().is_none() {
        return Vec::new();
    }
    let stepper = Stepper::new(model.as_ref(), &built.params, config, Schedule::constant(1e-2)).unwrap();
    let (mut stepper, rows) = (stepper.by(ranks), rows(model_type, 14));
    let rows: Vec<&Row> = rows.iter().collect();
    let steps = [&rows[..8], &rows[8..13], &rows[13..]];
    let losses = steps.map(|rows| f64::try_from(stepper.step(rows).unwrap()).unwrap());
    let traffic = stepper.traffic();
    let variables: usize = built.params.trainable().map(|entry| entry.tensor.numel() + 1).sum();
    let bytes = if ranks.size() == 1 {
        0
    } else {
        4 * (variables as u64 + 3)
    };
    assert_eq!(traffic.bytes_per_step, bytes, "{kind} on {model_type}");
    losses.into()
}

/// Passes of four rows.
fn passes(ranks: &dyn Ranks) -> Passes<'_> {
    Passes {
        batch_size: 4,
        device: Device::Cpu,
        ranks,
    }
}

fn close(a: &[f64], b: &[f64], what: &str) {
    assert_eq!(a.len(), b.len(), "{what}");
    for (a, b) in a.iter().zip(b) {
        assert!((a - b).abs() <= 1e-5 * a.abs().max(1.0), "{what}: {a} and {b}");
    }
}

#[test]
fn every_method_on_every_model_has_the_losses_of_one_process() {
    let _one = by_itself();
    for (fused, sizes) in [(true, &[2, 3][..]), (false, &[3])] {
        use_fused(fused);
        for model in model_types() {
            for recompute in [false, true] {
                let config = FitConfig {
                    recompute,
                    eps: 1e-4, // gradients that are 0 except for rounding must not become updates of full size
                    ..fit_config(model)
                };
                for entry in METHODS.iter().filter(|entry| !recompute || entry.kind == "lora") {
                    let one = losses(model, entry.kind, &config, &Alone);
                    for size in sizes {
                        let what = format!(
                            "{} on {model}, {size} ranks, fused {fused}, recompute {recompute}",
                            entry.kind
                        );
                        let all = on_ranks(*size, |ranks| losses(model, entry.kind, &config, ranks));
                        all.iter().for_each(|losses| close(&one, losses, &what));
                    }
                }
            }
        }
    }
    use_fused(true);
}

#[test]
fn evaluation_is_equal_to_the_last_digit() {
    let _one = by_itself();
    let method = method::from_yaml("{kind: lora}").unwrap();
    let (model, _built) = build("bert", method.as_ref(), 1);
    let one = predict(model.as_ref(), &rows("bert", 27), 4, Device::Cpu).unwrap();
    for outputs in on_ranks(3, |ranks| {
        let (model, _built) = build("bert", method.as_ref(), 1);
        predict_by(model.as_ref(), &rows("bert", 27), &passes(ranks)).unwrap()
    }) {
        assert_eq!(outputs, one);
    }
    let (model, _built) = build("gpt2", method.as_ref(), 1);
    let one = token_scores(model.as_ref(), &rows("gpt2", 27), 4, Device::Cpu).unwrap();
    for scores in on_ranks(2, |ranks| {
        let (model, _built) = build("gpt2", method.as_ref(), 1);
        token_scores_by(model.as_ref(), &rows("gpt2", 27), &passes(ranks)).unwrap()
    }) {
        assert_eq!(scores, one);
    }
}

/// Trains with `accumulate` batches a step, until the end or until rank `stop.0` is asked to stop at step `stop.1`.
fn fit(file: &Path, ranks: &dyn Ranks, stop: Option<(usize, u64)>) -> (Result<Progress>, Vec<f64>) {
    let method = method::from_yaml("{kind: lora}").unwrap();
    let (model, built) = build("bert", method.as_ref(), 3);
    let config = FitConfig {
        eps: 1e-4,
        ..fit_config("bert")
    };
    let (checkpoint, asked) = (Checkpoint::new(file, "run"), AtomicBool::new(false));
    let criterion = Criterion::new("dev/loss");
    let trainer = Trainer {
        model: model.as_ref(),
        params: &built.params,
        config: &config,
        checkpoint: Some(&checkpoint),
        keep: Some(BestCheckpoint {
            criterion: &criterion,
            select: Select::Last,
            path: file.with_extension("best"),
        }),
        criterion: None,
        stop: Some(&asked),
        ranks,
    };
    let fitted = trainer.fit(
        &rows("bert", 50),
        &mut |model| {
            let outputs = predict_by(model, &rows("bert", 6), &passes(ranks))?;
            let sum = outputs.iter().flatten().map(|v| f64::from(*v)).sum();
            Ok(BTreeMap::from([("dev/loss".to_string(), Some(sum))]))
        },
        &mut |event| {
            if let Event::Progress { step, .. } = event {
                let stops = stop.is_some_and(|(rank, at)| rank == ranks.rank() && step >= at);
                asked.store(stops, Ordering::Relaxed);
            }
        },
    );
    let sums = built
        .params
        .trainable()
        .map(|entry| f64::try_from(entry.tensor.sum(tch::Kind::Double)).unwrap());
    (fitted.map(|fitted| fitted.progress), sums.collect())
}

fn curve(progress: &Progress) -> Vec<f64> {
    let eval = |eval: &lora_core::train::Eval| [eval.train_loss, eval.metrics["dev/loss"].unwrap()];
    progress.evals.iter().flat_map(eval).collect()
}

#[test]
fn a_run_goes_on_with_another_number_of_ranks() {
    let _one = by_itself();
    let dir = tempfile::tempdir().unwrap();
    let one = fit(&dir.path().join("one"), &Alone, None).0.unwrap();
    for (before, after) in [(2, 2), (2, 1), (1, 2), (3, 2)] {
        let file = dir.path().join(format!("{before}-{after}"));
        // The last rank is asked to stop, and all do.
        let stop = Some((before - 1, 3));
        for (stopped, _) in on_ranks(before, |ranks| fit(&file, ranks, stop)) {
            assert!(
                matches!(stopped, Err(Error::Interrupted { step: 4..=9 })),
                "{stopped:?}"
            );
        }
        let resumed = on_ranks(after, |ranks| fit(&file, ranks, None));
        for (progress, sums) in &resumed {
            let progress = progress.as_ref().unwrap();
            assert_eq!(
                (progress.resumed, progress.step, progress.tokens),
                (1, one.step, one.tokens)
            );
            close(&curve(&one), &curve(progress), &format!("{before} ranks, then {after}"));
            assert_eq!(sums, &resumed[0].1, "the ranks differ");
        }
        assert!(Weights::open(&file.with_extension("best")).is_ok());
    }
}

#[test]
fn what_one_rank_alone_meets_is_known_to_all() {
    let _one = by_itself();
    let answers = on_ranks(3, |ranks| {
        let own = match ranks.rank() {
            1 => Err(Error::Config("the disk is full".into())),
            rank => Ok(rank),
        };
        let failed = ranks.agree(own).unwrap_err().to_string();
        let dealt = ranks.deal(7, &mut |i| Ok(vec![i as u8; i])).unwrap();
        assert_eq!(dealt, (0..7).map(|i| vec![i as u8; i]).collect::<Vec<_>>());
        assert!(ranks.any(ranks.rank() == 2).unwrap());
        let not = ranks.deal(3, &mut |i| match i {
            2 => Err(Error::Config("no memory".into())),
            _ => Ok(Vec::new()),
        });
        (failed, not.unwrap_err().to_string())
    });
    let said = |text: &str, other: &str| (text.to_string(), other.to_string());
    assert_eq!(answers[0], said("rank 1: the disk is full", "rank 2: no memory"));
    assert_eq!(answers[1], said("the disk is full", "rank 2: no memory"));
    assert_eq!(answers[2], said("rank 1: the disk is full", "no memory"));
}

#[test]
fn a_row_beyond_the_model_fails_on_all_ranks() {
    let _one = by_itself();
    let failed = on_ranks(2, |ranks| {
        let method = method::from_yaml("{kind: lora}").unwrap();
        let (model, built) = build("bert", method.as_ref(), 1);
        let config = fit_config("bert");
        let mut stepper = Stepper::new(model.as_ref(), &built.params, &config, Schedule::constant(1e-2))
            .unwrap()
            .by(ranks);
        let mut rows = rows("bert", 4);
        rows[3].ids[0] = 9999; // of the second rank's half
        stepper.step(&rows.iter().collect::<Vec<_>>()).unwrap_err().to_string()
    });
    assert!(
        failed[1].contains("libtorch failed while training step 1"),
        "{failed:?}"
    );
    assert_eq!(failed[0], format!("rank 1: {}", failed[1]));
}
