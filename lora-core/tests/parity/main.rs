//! Models and methods against transformers and PEFT: logits, gradients and loss curves.
//!
//! `make_golden.py` in this folder writes the references in `golden/`. `LORA_TEST_DEVICE=cuda:0` runs the tests on a
//! GPU.

mod config;
mod decoder;
mod forms;
mod generate;
mod golden;
mod gpt2;
mod masked_lm;
mod methods;
mod minilm;
mod pickle;
mod variants;

use golden::{Golden, close, test_device};
use lora_core::batch::{Batch, Row};
use lora_core::model::Model;
use lora_core::nn::{BaseInit, Build, BuiltParams};
use lora_core::train::{AdamForm, FitConfig, Objective, Schedule, Stepper, loss};
use lora_core::weights::Weights;
use lora_core::{interop, method, model};
use tch::{Kind, Tensor};

const NAMES: [&str; 5] = ["roberta", "bert", "deberta_v2", "deberta_v3", "deberta_own"];
const LORA: &str = "{kind: lora, r: 4, alpha: 6, targets: [query, value]}";
const LORA_ALL: &str = "{kind: lora, r: 3, alpha: 7, targets: [query, key, value, attn_out, ffn_in, ffn_out]}";
const CLASSES: Objective = Objective::Classes { label_smoothing: 0.0 };

/// The golden model of `dir` with `method`, its weights and, for LoRA, the PEFT adapter in the folder.
fn build(
    golden: &Golden,
    sub: &str,
    method: &str,
    labels: i64,
    adapter: Option<&str>,
) -> (Box<dyn Model>, BuiltParams) {
    let method = method::from_yaml(method).unwrap();
    let dir = golden.path(sub);
    let build = Build::new(method.as_ref(), 1)
        .device(test_device())
        .base_init(BaseInit::Blank);
    let (model, arch) = model::from_dir(&dir, labels, &build).unwrap();
    let built = build.finish().unwrap();
    let report = Weights::open(&dir)
        .unwrap()
        .load_into(&built.params, arch)
        .unwrap()
        .require_complete()
        .unwrap();
    assert!(report.fresh_head.is_empty());
    if let Some(adapter) = adapter {
        interop::load_peft(&dir.join(adapter), &built.params).unwrap();
    }
    (model, built)
}

fn methods() -> [(&'static str, &'static str, Option<&'static str>); 4] {
    [
        ("full", "{kind: full}", None),
        ("bitfit", "{kind: bitfit}", None),
        ("lora", LORA, Some("adapter")),
        ("lora_all", LORA_ALL, Some("adapter_all")),
    ]
}

#[test]
fn logits_losses_and_gradients() {
    for name in NAMES {
        let golden = Golden::open(name);
        let rows = golden.rows(0, false);
        let batch = Batch::new(&rows.iter().collect::<Vec<_>>(), test_device()).unwrap();
        for (key, method, adapter) in methods() {
            let (model, built) = build(&golden, "", method, 3, adapter);
            let logits = model.forward(&batch, false);
            close(
                &logits,
                &golden.tensor(&format!("{key}/logits")),
                1e-5,
                &format!("{name} {key} logits"),
            );
            let loss = loss(&model.forward(&batch, true), &batch, CLASSES);
            let difference = f64::try_from(&loss).unwrap() - golden.number(&["loss", key]);
            assert!(difference.abs() < 1e-5, "{name} {key}: loss differs by {difference:e}");
            loss.backward();
            let expected = golden.gradients(key);
            let mut met = 0;
            for entry in built.params.trainable() {
                let reference = &expected[entry.param.name.as_str()];
                close_relative(
                    &entry.tensor.grad(),
                    reference,
                    1e-4,
                    &format!("{name} {key} {}", entry.param.name),
                );
                met += 1;
            }
            assert_eq!(met, expected.len(), "{name} {key}: as many gradients as the reference");
        }
    }
}

/// Asserts that differences are within `tolerance` of the reference's largest value, since single entries may be near
/// zero.
fn close_relative(ours: &Tensor, reference: &Tensor, tolerance: f64, what: &str) {
    let largest = f64::try_from(reference.abs().max()).unwrap();
    close(ours, reference, tolerance * largest + 1e-7, what);
}

#[test]
fn merging_keeps_the_function_and_unmerging_restores_it() {
    for name in NAMES {
        let golden = Golden::open(name);
        let rows = golden.rows(1, false);
        let batch = Batch::new(&rows.iter().collect::<Vec<_>>(), test_device()).unwrap();
        let (mut model, _) = build(&golden, "", LORA_ALL, 3, Some("adapter_all"));
        let before = model.forward(&batch, false);
        model.merge().unwrap();
        model.merge().unwrap();
        let merged = model.forward(&batch, false);
        close(&merged, &before, 1e-5, "merged");
        assert!(!merged.equal(&before), "merging took another path");
        model.unmerge();
        assert!(
            model.forward(&batch, false).equal(&before),
            "unmerging restores every bit"
        );
    }
}

fn config(golden: &Golden, method: &str, objective: Objective, batch_size: usize, accumulate: usize) -> FitConfig {
    FitConfig {
        length_window: 0,
        epochs: 1,
        batch_size,
        accumulate,
        lr: golden.number(&["recipe", "lr", method]),
        weight_decay: golden.number(&["recipe", "weight_decay"]),
        warmup_ratio: golden.number(&["recipe", "warmup"]),
        warmup_steps: None,
        schedule: lora_core::train::ScheduleKind::Linear,
        early_stopping: None,
        clip: Some(golden.number(&["recipe", "clip"])),
        beta1: 0.9,
        beta2: 0.999,
        eps: golden.number(&["recipe", "eps"]),
        adamw: AdamForm::Torch,
        objective,
        seed: 1,
        checkpoint_every: 0,
        recompute: false,
        device: test_device(),
    }
}

fn curve(
    model: &dyn Model,
    built: &BuiltParams,
    config: &FitConfig,
    groups: &[Vec<Row>],
    reference: &[f64],
    what: &str,
) {
    assert_eq!(groups.len(), reference.len());
    let schedule = Schedule::with_ratio(config.lr, config.warmup_ratio, groups.len() as u64);
    let mut stepper = Stepper::new(model, &built.params, config, schedule).unwrap();
    for (step, (group, reference)) in groups.iter().zip(reference).enumerate() {
        let loss = f64::try_from(stepper.step(&group.iter().collect::<Vec<_>>()).unwrap()).unwrap();
        assert!(
            (loss - reference).abs() < 1e-4,
            "{what}, step {step}: {loss} where the reference has {reference}"
        );
    }
}

#[test]
fn twenty_step_loss_curves() {
    for name in NAMES {
        let golden = Golden::open(name);
        let groups: Vec<Vec<Row>> = (0..20).map(|i| golden.rows(i, false)).collect();
        let starts = [
            ("lora", LORA, Some("adapter_init")),
            ("bitfit", "{kind: bitfit}", None),
            ("full", "{kind: full}", None),
        ];
        for (key, method, adapter) in starts {
            let (model, built) = build(&golden, "", method, 3, adapter);
            let config = config(&golden, key, CLASSES, 5, 1);
            curve(
                model.as_ref(),
                &built,
                &config,
                &groups,
                &golden.numbers(&["curves", key]),
                &format!("{name} {key}"),
            );
        }
    }
}

#[test]
fn accumulation_and_label_smoothing_curve() {
    for name in NAMES {
        let golden = Golden::open(name);
        let groups: Vec<Vec<Row>> = (0..10)
            .map(|i| [golden.rows(2 * i, false), golden.rows(2 * i + 1, false)].concat())
            .collect();
        let (model, built) = build(&golden, "", LORA, 3, Some("adapter_init"));
        let config = config(&golden, "lora", Objective::Classes { label_smoothing: 0.1 }, 5, 2);
        let reference = golden.numbers(&["curves", "lora_accumulate2_smooth0.1"]);
        let pairs: Vec<f64> = if reference.len() == 20 {
            reference.chunks(2).map(|p| (p[0] + p[1]) / 2.0).collect()
        } else {
            reference
        };
        curve(model.as_ref(), &built, &config, &groups, &pairs, name);
    }
}

#[test]
fn regression_curve() {
    for name in NAMES {
        let golden = Golden::open(name);
        let groups: Vec<Vec<Row>> = (0..20).map(|i| golden.rows(i, true)).collect();
        let (model, built) = build(&golden, "regression", LORA, 1, Some("adapter_init"));
        let config = config(&golden, "lora", Objective::Score, 5, 1);
        curve(
            model.as_ref(),
            &built,
            &config,
            &groups,
            &golden.numbers(&["curves", "lora_regression"]),
            name,
        );
    }
}

/// bf16 has about three significant digits; the loss and the direction of the update must stay close to fp32.
#[test]
fn bf16_base_stays_close() {
    for name in NAMES {
        let golden = Golden::open(name);
        let rows = golden.rows(0, false);
        let batch = Batch::new(&rows.iter().collect::<Vec<_>>(), test_device()).unwrap();
        let method = method::from_yaml(LORA).unwrap();
        let build = Build::new(method.as_ref(), 1)
            .device(test_device())
            .base_kind(Kind::BFloat16);
        let (model, arch) = model::from_dir(&golden.path(""), 3, &build).unwrap();
        let built = build.finish().unwrap();
        Weights::open(&golden.path(""))
            .unwrap()
            .load_into(&built.params, arch)
            .unwrap()
            .require_complete()
            .unwrap();
        interop::load_peft(&golden.path("adapter"), &built.params).unwrap();
        for entry in built.params.iter() {
            let kind = if entry.tensor.requires_grad() {
                Kind::Float
            } else {
                Kind::BFloat16
            };
            assert_eq!(entry.tensor.kind(), kind, "{}", entry.param.name);
        }
        close(
            &model.forward(&batch, false),
            &golden.tensor("lora/logits"),
            0.06,
            "bf16 logits",
        );
        loss(&model.forward(&batch, true), &batch, CLASSES).backward();
        let expected = golden.gradients("lora");
        for entry in built.params.trainable() {
            let (ours, reference) = (
                entry.tensor.grad().flatten(0, -1),
                expected[entry.param.name.as_str()].flatten(0, -1),
            );
            assert_eq!(ours.kind(), Kind::Float);
            let cosine = f64::try_from(ours.dot(&reference) / (ours.norm() * reference.norm())).unwrap();
            assert!(cosine > 0.98, "{name} {}: cosine {cosine}", entry.param.name);
        }
    }
}
