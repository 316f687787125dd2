//! Adapters, special tokens, prefixes and DoRA against a transformer in plain PyTorch and against other libraries.

use super::golden::{Golden, close, logits_tolerance, test_device};
use super::gpt2::{batches, packed};
use super::{CLASSES, build, close_relative, gpt2};
use lora_core::batch::Batch;
use lora_core::model::Model;
use lora_core::nn::{BuiltParams, Owner};
use lora_core::train::{Objective, loss};
use lora_core::weights::Weights;
use std::collections::BTreeMap;
use tch::{Kind, Tensor};

const MODELS: [&str; 2] = ["roberta", "gpt2"];

/// A golden model with a method, its batch and its objective.
fn case(golden: &Golden, name: &str, settings: &str) -> (Box<dyn Model>, BuiltParams, Batch, Objective) {
    if name == "gpt2" {
        let (model, built) = gpt2::build(golden, settings, Kind::Float, None);
        let plain = Objective::Tokens { label_smoothing: 0.0 };
        return (model, built, packed(&batches(golden)[0]), plain);
    }
    let (model, built) = build(golden, "", settings, 3, None);
    (model, built, packed(&golden.rows(0, false)), CLASSES)
}

/// Copies the reference's variables into those of the method; the names must match one to one.
fn fill(built: &BuiltParams, file: &Weights, method: &str) {
    let prefix = format!("{method}/var/");
    let _guard = tch::no_grad_guard();
    for name in file.names().filter_map(|n| n.strip_prefix(&prefix)) {
        let entry = built.params.get(name);
        let entry = entry.unwrap_or_else(|| panic!("{method}: the reference has {name}"));
        assert_eq!(entry.param.owner, Owner::Method, "{name}");
        let value = file.tensor(&format!("{prefix}{name}")).unwrap();
        assert_eq!(entry.tensor.size(), value.size(), "{method}: {name}");
        entry.tensor.shallow_clone().copy_(&value);
    }
}

/// Compares logits and gradients of all methods in `folder`, `minimum` or more per model.
fn compare_with(folder: &str, minimum: usize) {
    for name in MODELS {
        let golden = Golden::open(name);
        let file = Weights::open(&golden.path(&format!("../{folder}/{name}.safetensors"))).unwrap();
        let text = std::fs::read_to_string(golden.path(&format!("../{folder}/{name}.json"))).unwrap();
        let methods: BTreeMap<String, String> = serde_json::from_str(&text).unwrap();
        assert!(methods.len() >= minimum, "{folder} {name}");
        for (method, settings) in methods {
            let (model, built, batch, objective) = case(&golden, name, &settings);
            fill(&built, &file, &method);
            let logits = model.forward(&batch, false);
            let expected = |what: &str| -> Tensor {
                file.tensor(&format!("{method}/{what}"))
                    .unwrap()
                    .to_device(test_device())
            };
            let what = format!("{folder} {name} {method}");
            let tolerance = logits_tolerance(&method);
            close(&logits, &expected("logits"), tolerance, &format!("{what} logits"));
            loss(&model.forward(&batch, true), &batch, objective).backward();
            let own: Vec<_> = built
                .params
                .trainable()
                .filter(|e| e.param.owner == Owner::Method)
                .collect();
            assert!(!own.is_empty(), "{what}");
            for entry in own {
                let reference = expected(&format!("grad/{}", entry.param.name));
                let what = format!("{what} {}", entry.param.name);
                close_relative(&entry.tensor.grad(), &reference, 1e-4, &what);
            }
        }
    }
}

/// PEFT shifts the positions of a row by the length of the prefix. `make_settings_golden.py` writes the reference.
#[test]
fn prefix_tuning_with_shift_matches_peft() {
    let golden = Golden::open("gpt2");
    let file = Weights::open(&golden.path("../settings/prefix.safetensors")).unwrap();
    let logits = |settings: &str| {
        let (model, built, batch, _) = case(&golden, "gpt2", settings);
        let _guard = tch::no_grad_guard();
        for name in file.names().filter_map(|n| n.strip_prefix("var/")) {
            let entry = built.params.get(name).unwrap_or_else(|| panic!("PEFT has {name}"));
            entry
                .tensor
                .shallow_clone()
                .copy_(&file.tensor(&format!("var/{name}")).unwrap());
        }
        model.forward(&batch, false)
    };
    let expected = file.tensor("logits").unwrap().to_device(test_device());
    let shifted = logits("{kind: prefix_tuning, prefix: 3, mlp: null, shift: true}");
    close(&shifted, &expected, 1e-5, "shifted by the prefix");
    let plain = logits("{kind: prefix_tuning, prefix: 3, mlp: null}");
    assert!(
        f64::try_from((plain - expected).abs().max()).unwrap() > 1e-2,
        "the positions matter"
    );
}

/// All methods, as `make_methods_golden.py` implements their publications.
#[test]
fn methods_match_plain_pytorch() {
    compare_with("methods", 10);
}

/// DoRA and prefix tuning (`make_peft_golden.py`).
#[test]
fn methods_match_peft() {
    compare_with("peft", 1);
}

/// rsLoRA, PiSSA, (IA)³ and VeRA (`make_variants_golden.py`).
#[test]
fn variants_match_peft() {
    compare_with("variants", 4);
}

/// Houlsby's and Pfeiffer's adapters and prefix tuning (`make_adapters_golden.py`).
#[test]
fn methods_match_adapterhub() {
    compare_with("adapters", 3);
}
