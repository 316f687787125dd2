//! Tiny models and rows, shared by the integration tests.
#![allow(dead_code)] // each test binary uses a part

use lora_core::Result;
use lora_core::batch::{Row, Target};
use lora_core::model::{MODELS, Model, arch};
use lora_core::nn::{BaseInit, Build, BuiltParams, Method};
use lora_core::train::{AdamForm, FitConfig, Objective};
use serde_json::{Value, json};
use tch::{Device, Kind};

pub const VOCAB: i64 = 50;

/// A config.json of this architecture: three blocks, uneven widths, dropout as in the published models.
pub fn config(model_type: &str) -> Value {
    if model_type == "gpt2" {
        return json!({
            "model_type": model_type, "vocab_size": VOCAB, "n_positions": 48, "n_embd": 16, "n_layer": 3, "n_head": 4, "n_inner": 40,
            "initializer_range": 0.2,
        });
    }
    if model_type == "deberta-v2" {
        // Positions share the projections of content; buckets and convolution as in v2-xxlarge.
        return json!({
            "model_type": model_type, "vocab_size": VOCAB, "hidden_size": 16, "num_hidden_layers": 3, "num_attention_heads": 4,
            "intermediate_size": 40, "max_position_embeddings": 48, "layer_norm_eps": 1e-5, "hidden_act": "gelu",
            "hidden_dropout_prob": 0.1, "attention_probs_dropout_prob": 0.1, "initializer_range": 0.2, "type_vocab_size": 2,
            "relative_attention": true, "position_biased_input": false, "pos_att_type": "p2c|c2p", "position_buckets": 8,
            "share_att_key": true, "norm_rel_ebd": "layer_norm", "conv_kernel_size": 3, "conv_act": "gelu",
        });
    }
    if ["llama", "qwen2"].contains(&model_type) {
        // Llama has biases and an untied output layer, so that every method has variables to train.
        return json!({
            "model_type": model_type, "vocab_size": VOCAB, "hidden_size": 16, "num_hidden_layers": 3, "num_attention_heads": 4,
            "num_key_value_heads": 2, "intermediate_size": 40, "max_position_embeddings": 48, "initializer_range": 0.2,
            "attention_dropout": 0.1, "attention_bias": true, "mlp_bias": true, "tie_word_embeddings": model_type == "qwen2",
        });
    }
    json!({
        "model_type": model_type, "vocab_size": VOCAB, "hidden_size": 16, "num_hidden_layers": 3, "num_attention_heads": 4,
        "intermediate_size": 40, "max_position_embeddings": 48, "type_vocab_size": 2, "layer_norm_eps": 1e-5, "hidden_act": "gelu",
        "hidden_dropout_prob": 0.1, "attention_probs_dropout_prob": 0.1, "initializer_range": 0.2,
    })
}

pub fn model_types() -> Vec<&'static str> {
    MODELS.iter().map(|m| m.model_type).collect()
}

/// The tiny model with seeded random weights.
pub fn build(model_type: &str, method: &dyn Method, seed: u64) -> (Box<dyn Model>, BuiltParams) {
    build_as(model_type, method, seed, Kind::Float)
}

/// [`build`] with frozen weights in `base_kind`.
pub fn build_as(model_type: &str, method: &dyn Method, seed: u64, base_kind: Kind) -> (Box<dyn Model>, BuiltParams) {
    tch::set_num_threads(1); // tests run in parallel, and libtorch's threads spin while they wait
    finish(&config(model_type), Build::new(method, seed).base_kind(base_kind)).unwrap()
}

/// [`build`] that returns the error of a method that does not fit the model.
pub fn try_build(model_type: &str, method: &dyn Method) -> Result<(Box<dyn Model>, BuiltParams)> {
    finish(&config(model_type), Build::new(method, 1))
}

/// The model of this config.json with seeded random weights.
pub fn finish(config: &Value, build: Build) -> Result<(Box<dyn Model>, BuiltParams)> {
    let build = build.base_init(BaseInit::Random);
    let arch = arch(config)?;
    let model = match arch.build {
        Some(_) => arch.classifier(config, 3, &build.scope()),
        None => arch.language_model(config, &build.scope()),
    };
    Ok((model?, build.finish()?))
}

/// Whether the architecture is only a causal language model.
fn is_causal(model_type: &str) -> bool {
    arch(&config(model_type)).unwrap().build.is_none()
}

/// Ragged rows for a causal language model.
fn completions(count: usize) -> Vec<Row> {
    let token = |n: usize| 1 + n as i64 % (VOCAB - 1);
    let row = |i: usize| {
        let prompt: Vec<i64> = (0..1 + (i * 5) % 11).map(|t| token(i * 31 + t * 17)).collect();
        let completion: Vec<i64> = (0..(i * 7) % 23).map(|t| token(i * 13 + t * 19)).collect();
        Row::completion(&prompt, &completion, 0, 34).unwrap()
    };
    (0..count).map(row).collect()
}

/// Ragged rows with the targets that this architecture is trained on.
pub fn rows(model_type: &str, count: usize) -> Vec<Row> {
    if is_causal(model_type) {
        completions(count)
    } else {
        pairs(count)
    }
}

/// Ragged rows with two segments.
fn pairs(count: usize) -> Vec<Row> {
    let row = |i: usize| {
        let len = 2 + (i * 7) % 23;
        Row {
            ids: (0..len).map(|t| 2 + ((i * 31 + t * 17) as i64 % (VOCAB - 2))).collect(),
            types: (0..len).map(|t| i64::from(t * 2 > len)).collect(),
            prompt: None,
            target: Target::Class((i % 3) as i64),
        }
    };
    (0..count).map(row).collect()
}

pub fn fit_config(model_type: &str) -> FitConfig {
    FitConfig {
        length_window: 0,
        epochs: 2,
        batch_size: 4,
        accumulate: 2,
        lr: 1e-2,
        weight_decay: 0.1,
        warmup_ratio: 0.1,
        warmup_steps: None,
        schedule: lora_core::train::ScheduleKind::Linear,
        early_stopping: None,
        clip: Some(1.0),
        beta1: 0.9,
        beta2: 0.999,
        eps: 1e-8,
        adamw: AdamForm::Torch,
        objective: match is_causal(model_type) {
            true => Objective::Tokens { label_smoothing: 0.1 },
            false => Objective::Classes { label_smoothing: 0.0 },
        },
        seed: 5,
        checkpoint_every: 3,
        recompute: false,
        device: Device::Cpu,
    }
}
