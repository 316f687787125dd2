//! Activations in fp16: every architecture and several methods train as in fp32, to fp16's precision; overflowing gradients are
//! left out and halve the loss's scale, which a resumed run goes on with. (The programs offer it on a GPU alone.)

mod common;

use common::{build_as, fit_config, model_types, rows};
use lora_core::batch::Row;
use lora_core::method;
use lora_core::nn::BuiltParams;
use lora_core::train::{Checkpoint, FitConfig, LossScale, Schedule, Stepper, Trainer};
use std::collections::BTreeMap;
use tch::{Kind, Tensor};

const METHODS: [&str; 5] = [
    "{kind: full}",
    "{kind: lora, r: 4, alpha: 8, targets: [query, value]}",
    "{kind: bitfit}",
    "{kind: adapter_h, bottleneck: 4}",
    "{kind: prefix_tuning, prefix: 2}",
];

/// All trained values.
fn trained(built: &BuiltParams) -> Tensor {
    let all: Vec<Tensor> = built
        .params
        .trainable()
        .map(|e| e.tensor.detach().flatten(0, -1))
        .collect();
    Tensor::cat(&all, 0).copy()
}

/// The losses of six steps, and how far they moved the trained values.
fn six_steps(model_type: &str, settings: &str, kind: Kind) -> (Vec<f64>, Tensor) {
    let method = method::from_yaml(settings).unwrap();
    let (model, built) = build_as(model_type, method.as_ref(), 3, kind);
    let (config, start) = (fit_config(model_type), trained(&built));
    let mut stepper = Stepper::new(model.as_ref(), &built.params, &config, Schedule::constant(1e-3)).unwrap();
    assert_eq!(stepper.loss_scale(), (kind == Kind::Half).then(LossScale::default));
    let rows = rows(model_type, 8);
    let rows: Vec<&Row> = rows.iter().collect();
    let losses: Vec<f64> = (0..6)
        .map(|_| f64::try_from(stepper.step(&rows).unwrap()).unwrap())
        .collect();
    if let Some(scale) = stepper.loss_scale() {
        assert!(scale.sound > 0, "{model_type}, {settings}: every update was left out");
    }
    (losses, trained(&built) - start)
}

#[test]
fn training_in_fp16_follows_fp32() {
    for model_type in model_types() {
        for settings in METHODS {
            let [(half, far), (single, wanted)] =
                [Kind::Half, Kind::Float].map(|kind| six_steps(model_type, settings, kind));
            for (half, single) in half.iter().zip(&single) {
                let near = (half - single).abs() < 0.02 * single.abs();
                assert!(near, "{model_type}, {settings}: {half} in fp16, {single} in fp32");
            }
            // Adam makes whole steps of gradients near zero, whatever their sign.
            let off = f64::try_from((&far - &wanted).norm() / wanted.norm()).unwrap();
            assert!(
                off < 0.3,
                "{model_type}, {settings}: the values moved otherwise by {off}"
            );
        }
    }
}

/// A run with a factor that overflows at first, interrupted after `stop` steps and resumed if there is one: its final scale, and
/// its trained variables.
fn run(stop: Option<u64>) -> (Option<LossScale>, Vec<(String, Vec<f32>)>) {
    let dir = tempfile::tempdir().unwrap();
    let checkpoint = Checkpoint::new(&dir.path().join("run.safetensors"), "a");
    let rows = rows("roberta", 24);
    let config = FitConfig {
        checkpoint_every: stop.unwrap_or(0),
        lr: 3.0, // the gradients grow beyond fp16 within a few steps
        clip: None,
        ..fit_config("roberta")
    };
    let method = method::from_yaml(METHODS[1]).unwrap();
    let mut last = None;
    for interrupted in [stop.is_some(), false] {
        let (model, built) = build_as("roberta", method.as_ref(), 3, Kind::Half);
        let flag = std::sync::atomic::AtomicBool::new(false);
        let trainer = Trainer {
            model: model.as_ref(),
            params: &built.params,
            config: &config,
            checkpoint: Some(&checkpoint),
            keep: None,
            criterion: None,
            stop: Some(&flag),
            ranks: &lora_core::train::Alone,
        };
        if interrupted {
            flag.store(true, std::sync::atomic::Ordering::Relaxed);
            assert!(trainer.fit(&rows, &mut |_| Ok(BTreeMap::new()), &mut |_| {}).is_err());
            continue;
        }
        let fitted = trainer.fit(&rows, &mut |_| Ok(BTreeMap::new()), &mut |_| {}).unwrap();
        let values = |tensor: &tch::Tensor| Vec::<f32>::try_from(tensor.flatten(0, -1).to_kind(Kind::Float)).unwrap();
        let trained = built
            .params
            .trainable()
            .map(|e| (e.param.name.clone(), values(&e.tensor.detach())));
        last = Some((fitted.progress.loss_scale, trained.collect()));
    }
    last.unwrap()
}

#[test]
fn updates_that_overflow_are_left_out_and_a_resumed_run_keeps_the_scale() {
    let (scale, trained) = run(None);
    let scale = scale.expect("fp16 has a scale");
    assert!(
        scale.factor < LossScale::default().factor,
        "nothing overflowed: {scale:?}"
    );
    assert!(trained.iter().flat_map(|(_, values)| values).all(|v| v.is_finite()));
    assert_eq!(run(Some(2)), (Some(scale), trained));
}
