//! GPT-2 against transformers, fully trained and with loralib's LoRA. `make_gpt2_golden.py` writes the reference.

use super::golden::{Golden, close, ints, read, test_device};
use super::{close_relative, curve};
use lora_core::batch::{Batch, Row, Target, UNSCORED};
use lora_core::model::Model;
use lora_core::nn::{BaseInit, Build, BuiltParams};
use lora_core::train::{FitConfig, Objective, loss};
use lora_core::weights::{Weights, published, save};
use lora_core::{interop, method, model};
use std::collections::HashMap;
use tch::{Kind, Tensor};

const LORA: &str = "{kind: lora, r: 3, alpha: 7, targets: [query, value]}";
const MAX_LEN: usize = 40;

pub fn build(golden: &Golden, method: &str, kind: Kind, adapter: Option<&str>) -> (Box<dyn Model>, BuiltParams) {
    let method = method::from_yaml(method).unwrap();
    let dir = golden.path("");
    let build = Build::new(method.as_ref(), 1)
        .device(test_device())
        .base_kind(kind)
        .base_init(BaseInit::Blank);
    let (model, arch) = model::lm_from_dir(&dir, &build).unwrap();
    let built = build.finish().unwrap();
    let report = Weights::open(&dir).unwrap().load_into(&built.params, arch).unwrap();
    report.require_complete().unwrap();
    if let Some(adapter) = adapter {
        interop::load_peft(&dir.join(adapter), &built.params).unwrap();
    }
    (model, built)
}

/// The rows of all batches.
pub fn batches(golden: &Golden) -> Vec<Vec<Row>> {
    let end = read(&golden.path("config.json"))["eos_token_id"].as_i64().unwrap();
    let row =
        |v: &serde_json::Value| Row::completion(&ints(&v["prompt"]), &ints(&v["completion"]), end, MAX_LEN).unwrap();
    let batches = read(&golden.path("batches.json"));
    let rows = |v: &serde_json::Value| v.as_array().unwrap().iter().map(row).collect();
    batches.as_array().unwrap().iter().map(rows).collect()
}

pub fn packed(rows: &[Row]) -> Batch {
    Batch::new(&rows.iter().collect::<Vec<_>>(), test_device()).unwrap()
}

fn objective(golden: &Golden) -> Objective {
    Objective::Tokens {
        label_smoothing: golden.number(&["recipe", "smoothing"]),
    }
}

fn methods() -> [(&'static str, &'static str, Option<&'static str>); 2] {
    [("full", "{kind: full}", None), ("lora", LORA, Some("adapter"))]
}

#[test]
fn logits_losses_and_gradients() {
    let golden = Golden::open("gpt2");
    let batch = packed(&batches(&golden)[0]);
    for (key, method, adapter) in methods() {
        let (model, built) = build(&golden, method, Kind::Float, adapter);
        let logits = model.forward(&batch, false);
        close(&logits, &golden.tensor(&format!("{key}/logits")), 1e-5, key);
        let loss = loss(&model.forward(&batch, true), &batch, objective(&golden));
        let difference = f64::try_from(&loss).unwrap() - golden.number(&["loss", key]);
        // The reference divides by the number of tokens + 0.0001.
        assert!(difference.abs() < 3e-5, "{key}: loss differs by {difference:e}");
        loss.backward();
        let expected = golden.gradients(key);
        assert_eq!(built.params.trainable().count(), expected.len(), "{key}");
        for entry in built.params.trainable() {
            let name = entry.param.name.as_str();
            close_relative(&entry.tensor.grad(), &expected[name], 1e-4, &format!("{key} {name}"));
        }
    }
}

#[test]
fn twenty_step_loss_curves() {
    let golden = Golden::open("gpt2");
    let groups = batches(&golden);
    for (key, method, adapter) in [("full", "{kind: full}", None), ("lora", LORA, Some("adapter_init"))] {
        let (model, built) = build(&golden, method, Kind::Float, adapter);
        let config = FitConfig {
            epochs: 1,
            batch_size: 4,
            lr: golden.number(&["recipe", "lr", key]),
            weight_decay: golden.number(&["recipe", "weight_decay"]),
            warmup_ratio: golden.number(&["recipe", "warmup"]),
            clip: None,
            eps: golden.number(&["recipe", "eps"]),
            objective: objective(&golden),
            device: test_device(),
            ..FitConfig::default()
        };
        let reference = golden.numbers(&["curves", key]);
        curve(model.as_ref(), &built, &config, &groups, &reference, key);
    }
}

#[test]
fn bf16_base_stays_close() {
    let golden = Golden::open("gpt2");
    let batch = packed(&batches(&golden)[0]);
    let (model, built) = build(&golden, LORA, Kind::BFloat16, Some("adapter"));
    let reference = golden.tensor("lora/logits");
    let logits = model.forward(&batch, false);
    assert_eq!(logits.kind(), Kind::Float);
    let largest = f64::try_from(reference.abs().max()).unwrap();
    close(&logits, &reference, 0.03 * largest, "bf16 logits");
    loss(&model.forward(&batch, true), &batch, objective(&golden)).backward();
    let expected = golden.gradients("lora");
    for entry in built.params.trainable() {
        let (name, gradient) = (entry.param.name.as_str(), entry.tensor.grad().flatten(0, -1));
        assert_eq!(gradient.kind(), Kind::Float);
        let reference = expected[name].flatten(0, -1);
        let cosine = f64::try_from(gradient.dot(&reference) / (gradient.norm() * reference.norm())).unwrap();
        assert!(cosine > 0.98, "{name}: cosine {cosine}");
    }
}

/// The cache matches a full forward pass after beams were dropped, duplicated and reordered.
#[test]
fn decoding_with_a_cache_matches_a_full_forward_pass() {
    let (model, _) = build(&Golden::open("gpt2"), LORA, Kind::Float, Some("adapter"));
    continues(model);
}

/// See [`decoding_with_a_cache_matches_a_full_forward_pass`].
pub fn continues(mut model: Box<dyn Model>) {
    let _guard = tch::no_grad_guard();
    for merged in [false, true] {
        if merged {
            model.merge().unwrap();
        }
        let causal = model.causal().unwrap();
        let mut texts: Vec<Vec<i64>> = vec![vec![5, 9, 2, 40, 7], vec![3], vec![11, 12, 13]];
        let (first, mut cache) = causal.prefill(&packed(&score_last(&texts)), 2);
        close(
            &first,
            &without_cache(model.as_ref(), &texts),
            1e-4,
            "after the prompts",
        );
        texts = texts.into_iter().flat_map(|t| [t.clone(), t]).collect();
        for (step, parents) in [[0, 1, 2, 3, 4, 5], [1, 1, 2, 3, 5, 4], [0, 0, 3, 2, 4, 5]]
            .iter()
            .enumerate()
        {
            cache.reorder(parents).unwrap();
            texts = parents.iter().map(|p| texts[*p as usize].clone()).collect();
            let ids: Vec<i64> = (0..6).map(|i| 20 + 7 * i + step as i64).collect();
            texts.iter_mut().zip(&ids).for_each(|(t, id)| t.push(*id));
            let scores = causal.decode(&Tensor::from_slice(&ids).to_device(test_device()), &mut cache);
            close(
                &scores,
                &without_cache(model.as_ref(), &texts),
                1e-4,
                &format!("step {step}"),
            );
        }
        cache.keep(&[2, 0]).unwrap();
        texts = [4, 5, 0, 1].map(|i: usize| texts[i].clone()).to_vec();
        texts.iter_mut().for_each(|t| t.push(1));
        let ids = Tensor::from_slice(&[1_i64; 4]).to_device(test_device());
        close(
            &causal.decode(&ids, &mut cache),
            &without_cache(model.as_ref(), &texts),
            1e-4,
            "kept",
        );
    }
}

/// Rows whose last token is scored.
fn score_last(texts: &[Vec<i64>]) -> Vec<Row> {
    let row = |ids: &Vec<i64>| {
        let mut wanted = vec![UNSCORED; ids.len()];
        wanted[ids.len() - 1] = 0;
        Row {
            ids: ids.clone(),
            types: Vec::new(),
            prompt: None,
            target: Target::Tokens(wanted),
        }
    };
    texts.iter().map(row).collect()
}

fn without_cache(model: &dyn Model, texts: &[Vec<i64>]) -> Tensor {
    model.forward(&packed(&score_last(texts)), false)
}

#[test]
fn checkpoints_for_other_libraries_match_theirs() {
    saved_as_theirs(&Golden::open("gpt2"));
}

pub fn saved_as_theirs(golden: &Golden) {
    let (_, built) = build(golden, "{kind: full}", Kind::Float, None);
    let theirs = Weights::open(&golden.path("")).unwrap();
    let arch = model::arch(&model::read_config(&golden.path("")).unwrap()).unwrap();
    let file = tempfile::tempdir().unwrap();
    let file = file.path().join("model.safetensors");
    save(&file, &published(&built.params, arch), HashMap::new()).unwrap();
    let ours = Weights::open(&file).unwrap();
    assert!(ours.names().eq(theirs.names()));
    for name in ours.names() {
        assert!(
            ours.tensor(name).unwrap().equal(&theirs.tensor(name).unwrap()),
            "{name}"
        );
    }
}
