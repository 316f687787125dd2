//! `lora bench`: what it measures, on tiny models, and the start from an adapter of PEFT.

mod world;

use lora_core::weights::{Weights, save};
use serde_json::{Value, json};
use std::process::Output;
use tch::{Device, Kind, Tensor};
use world::{World, refused, run, text};

/// `lora bench train model` in this world; its last line, where it succeeds.
fn bench(world: &World, args: &[&str]) -> Result<Value, Output> {
    let all = [&["bench", "train", "model", "--threads", "1"], args].concat();
    let output = run(env!("CARGO_BIN_EXE_lora"), &all, world.dir.path());
    match String::from_utf8_lossy(&output.stdout).lines().last() {
        Some(line) if output.status.success() => Ok(serde_json::from_str(line).unwrap()),
        _ => Err(output),
    }
}

/// Eight batches of two rows.
fn workload(task: &str) -> String {
    let rows = |i: usize| json!({"input_ids": [[2, 5 + i, 3], [2, 9, 6, 7, 3]], "labels": [0, 1]});
    json!({"task": task, "batches": (0..8).map(rows).collect::<Vec<_>>()}).to_string()
}

#[test]
fn the_benchmark_refuses_what_it_cannot_do() {
    let world = World::new();
    refused(&bench(&world, &[]).unwrap_err(), &["workload.json"]);
    world.write("model/workload.json", workload("token-cls"));
    refused(&bench(&world, &[]).unwrap_err(), &["task `token-cls` is not supported"]);
    world.write("model/workload.json", workload("causal-lm"));
    refused(
        &bench(&world, &[]).unwrap_err(),
        &["no language model is implemented for models of type `bert`"],
    );
}

/// A tiny GPT-2 in the place of the world's model.
fn writer(world: &World) {
    let config = json!({
        "model_type": "gpt2", "vocab_size": 20, "n_positions": 32, "n_embd": 16, "n_layer": 2, "n_head": 2,
    });
    world.write("model/config.json", config.to_string());
    let method = lora_core::method::from_yaml("{kind: full}").unwrap();
    let build = lora_core::nn::Build::new(method.as_ref(), 1).base_init(lora_core::nn::BaseInit::Random);
    let (_, arch) = lora_core::model::lm_from_dir(&world.path("model"), &build).unwrap();
    let tensors = lora_core::weights::published(&build.finish().unwrap().params, arch);
    lora_core::weights::save(&world.path("model/model.safetensors"), &tensors, Default::default()).unwrap();
}

#[test]
fn the_benchmark_trains_and_writes_with_a_language_model() {
    let world = World::new();
    writer(&world);
    world.write("model/workload.json", workload("causal-lm"));
    let json = bench(&world, &["--r", "2", "--lr", "0.01"]).unwrap();
    assert_eq!(json["trainable"], 2 * 2 * 2 * (16 + 16));
    let first = json["losses"][0].as_f64().unwrap();
    assert!(
        (first - 20_f64.ln()).abs() < 0.1,
        "{first}: random weights know nothing"
    );
    for beams in ["1", "3"] {
        let args = [
            "bench",
            "generate",
            "model",
            "--threads",
            "1",
            "--prompt-len",
            "9",
            "--new",
            "7",
            "--beams",
            beams,
        ];
        let output = run(env!("CARGO_BIN_EXE_lora"), &args, world.dir.path());
        let json: Value = serde_json::from_slice(&output.stdout).unwrap();
        assert_eq!(json["tokens"], 16 * 7, "{json}");
    }
}

#[test]
fn predicted_memory_stands_beside_what_was_measured() {
    let world = World::new();
    let memory = |args: &[&str]| {
        let fixed = [
            "bench",
            "memory",
            "--threads",
            "1",
            "--json",
            "--rows",
            "32",
            "--tokens",
            "16",
        ];
        run(
            env!("CARGO_BIN_EXE_lora"),
            &[&fixed[..], args].concat(),
            world.dir.path(),
        )
    };
    for args in [
        &["--model", "model"][..],
        &["--model", "model", "--recompute", "--method", "full"],
    ] {
        let output = memory(args);
        let json: Value = serde_json::from_slice(&output.stdout).unwrap();
        let number = |key: &str| json[key].as_f64().unwrap();
        assert!(number("predicted_mib") >= number("process_mib"), "{json}");
        assert!((0.5..1.5).contains(&number("predicted_over_measured")), "{json}");
        assert!(
            json["losses"]
                .as_array()
                .unwrap()
                .iter()
                .all(|l| l.as_f64().unwrap().is_finite())
        );
        assert_eq!(json["step_s"].as_array().unwrap().len(), 3);
    }
    refused(
        &memory(&["--model", "model", "--layers", "0"]),
        &["--layers", "at least 1"],
    );
    refused(
        &memory(&["--model", "gpt3-175b"]),
        &["are predicted and", "take fewer --layers"],
    );
}

#[test]
fn the_benchmark_prints_the_peers_keys() {
    let world = World::new();
    world.write("model/workload.json", workload("seq-cls"));
    let peers = "peer method dtype device compiled trainable import_s step_s tokens_per_s peak_mib losses";
    for method in ["lora", "full", "bitfit"] {
        let json = bench(&world, &["--method", method, "--lr", "0.01"]).unwrap();
        for key in peers.split(' ') {
            assert!(json.get(key).is_some(), "{key}: {json}");
        }
        let number = |key: &str| json[key].as_f64().unwrap();
        assert!(number("share") >= 0.0 && number("best_gflops") > 0.0, "{json}");
        if method == "lora" {
            let (adapter, head) = (4 * 8 * (16 + 16), 16 * 16 + 16 + 2 * 16 + 2);
            assert_eq!(json["trainable"], adapter + head, "adapter, pooler and classifier");
        }
        let (moved, still) = (
            losses(&json),
            losses(&bench(&world, &["--method", method, "--lr", "1e-30"]).unwrap()),
        );
        assert_eq!(
            (moved.len(), moved[0]),
            (8, still[0]),
            "{method}: the first loss is that of the start"
        );
        assert!(
            moved[7].is_finite() && moved[7] != still[7],
            "{method}: the steps were made"
        );
    }
}

fn losses(json: &Value) -> Vec<f64> {
    json["losses"]
        .as_array()
        .unwrap()
        .iter()
        .map(|l| l.as_f64().unwrap())
        .collect()
}

/// A PEFT folder with these tensors, of rank 2 with alpha 6.
fn peft(world: &World, targets: &[&str], saved: Value, tensors: &[(String, Tensor)]) {
    let config = json!({
        "peft_type": "LORA", "r": 2, "lora_alpha": 6, "target_modules": targets, "modules_to_save": saved, "bias": "none",
        "fan_in_fan_out": true, "init_lora_weights": true, "peft_version": "0.21.0",
    });
    world.write("peft/adapter_config.json", config.to_string());
    let named: Vec<(String, Tensor)> = tensors
        .iter()
        .map(|(name, t)| (format!("base_model.model.{name}"), t.shallow_clone()))
        .collect();
    save(
        &world.path("peft/adapter_model.safetensors"),
        &named,
        Default::default(),
    )
    .unwrap();
}

fn factors(layer: &str, width: i64, outputs: i64) -> [(String, Tensor); 2] {
    let draw = |size: [i64; 2]| Tensor::randn(size, (Kind::Float, Device::Cpu)) * 0.3;
    [
        (format!("{layer}.lora_A.weight"), draw([2, width])),
        (format!("{layer}.lora_B.weight"), draw([outputs, 2])),
    ]
}

#[test]
fn training_starts_from_pefts_adapter_of_a_fused_weight() {
    let world = World::new();
    writer(&world);
    world.write("model/workload.json", workload("causal-lm"));
    let layers = [0, 1].map(|i| factors(&format!("transformer.h.{i}.attn.c_attn"), 16, 48));
    peft(
        &world,
        &["c_attn"],
        Value::Null,
        &Vec::from_iter(layers.into_iter().flatten()),
    );
    let from_peft = bench(&world, &["--adapter", "peft"]).unwrap();
    assert_eq!(from_peft["trainable"], 2 * 2 * (16 + 48));
    // The merged model computes the same.
    let merge = ["adapter", "merge", "peft", "--base", "model", "--out", "merged"];
    let merged = run(env!("CARGO_BIN_EXE_lora"), &merge, world.dir.path());
    assert!(merged.status.success(), "{}", text(&merged));
    let plain = bench(&world, &["--method", "bitfit"]).unwrap();
    std::fs::copy(
        world.path("merged/model.safetensors"),
        world.path("model/model.safetensors"),
    )
    .unwrap();
    let merged = bench(&world, &["--method", "{kind: lora, r: 1, targets: [qkv]}"]).unwrap();
    let first = |json: &Value| losses(json)[0];
    assert!(
        (first(&from_peft) - first(&merged)).abs() < 1e-5,
        "{from_peft} and {merged}"
    );
    assert!(
        (first(&from_peft) - first(&plain)).abs() > 1e-6,
        "the adapter has no effect"
    );
    let named = |args: &[&str]| bench(&world, &[&["--adapter", "peft"], args].concat()).unwrap_err();
    refused(&named(&["--method", "full"]), &["--adapter starts the method `lora`"]);
    refused(&named(&["--r", "3"]), &["the adapter has r 2 and alpha 6"]);
}

#[test]
fn a_part_of_the_head_that_pefts_adapter_lacks_is_not_trained() {
    let world = World::new();
    world.write("model/workload.json", workload("seq-cls"));
    let weights = Weights::open(&world.path("model")).unwrap();
    let mut tensors: Vec<(String, Tensor)> = weights
        .names()
        .map(|n| (n.to_string(), weights.tensor(n).unwrap().copy()))
        .collect();
    drop(weights);
    let draw = |size: &[i64]| Tensor::randn(size, (Kind::Float, Device::Cpu)) * 0.1;
    tensors.retain(|(name, _)| !name.contains("pooler"));
    tensors.push(("bert.pooler.dense.weight".into(), draw(&[16, 16])));
    tensors.push(("bert.pooler.dense.bias".into(), draw(&[16])));
    save(&world.path("model/model.safetensors"), &tensors, Default::default()).unwrap();
    let layers = [0, 1].map(|i| factors(&format!("bert.encoder.layer.{i}.attention.self.query"), 16, 16));
    let head = [
        ("classifier.weight".to_string(), draw(&[2, 16])),
        ("classifier.bias".to_string(), draw(&[2])),
    ];
    let mut all = layers.into_iter().flatten().collect::<Vec<_>>();
    all.extend(head);
    peft(&world, &["query"], json!(["classifier"]), &all);
    let json = bench(&world, &["--adapter", "peft"]).unwrap();
    assert_eq!(json["trainable"], 2 * 2 * (16 + 16) + 2 * 16 + 2);
    assert!(losses(&json).iter().all(|l| l.is_finite()));
}

#[test]
fn the_way_to_the_first_step_and_scorers_are_timed() {
    let world = World::new();
    world.write("model/workload.json", workload("seq-cls"));
    let lora = |args: &[&str]| -> Value {
        let output = run(env!("CARGO_BIN_EXE_lora"), args, world.dir.path());
        assert!(output.status.success(), "{}", text(&output));
        serde_json::from_slice(&output.stdout).unwrap()
    };
    let started = lora(&["bench", "startup", "model", "--threads", "1"]);
    assert!(started["first_step_s"].as_f64().unwrap() > 0.0, "{started}");
    if cfg!(target_os = "linux") {
        let ready = started["ready_s"].as_f64().unwrap();
        assert!((0.0..600.0).contains(&ready), "{started}");
    }
    world.write("hyp", "a cat sees\na dog\n");
    world.write("ref", "a cat sees\nthe dog\n");
    let scored = lora(&["bench", "score", "bleu", "hyp", "ref", "--repeats", "1"]);
    assert_eq!(scored["lines"], 2);
    let products = lora(&["bench", "products", "--tokens", "8", "--hidden", "16", "--threads", "1"]);
    assert!(products["fp32_gflops"].as_f64().unwrap() >= 0.0, "{products}");
}
