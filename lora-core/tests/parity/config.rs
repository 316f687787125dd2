//! Defaults of missing config.json keys, and activations by name, against transformers. `make_config_golden.py` writes
//! `golden/config.json`.

use lora_core::model::MODELS;
use lora_core::nn::Activation;
use serde_json::Value;
use tch::Tensor;

fn golden() -> Value {
    serde_json::from_str(include_str!("golden/config.json")).unwrap()
}

/// Keys that transformers has removed, with the defaults of older versions.
const GONE: [(&str, &str); 1] = [("position_embedding_type", "absolute")];

#[test]
fn missing_keys_take_transformers_defaults() {
    let golden = golden();
    for arch in MODELS {
        let theirs = golden["defaults"][arch.model_type].as_object().unwrap();
        let ours = (arch.defaults)();
        let ours = ours.as_object().unwrap();
        for (key, value) in ours {
            if let Some((_, gone)) = GONE.iter().find(|(gone, _)| gone == key) {
                assert_eq!(value, gone, "{}: {key}", arch.model_type);
                continue;
            }
            let wanted = theirs.get(key).unwrap_or_else(|| panic!("{}: {key}", arch.model_type));
            let same = match (value.as_f64(), wanted.as_f64()) {
                (Some(a), Some(b)) => a == b,
                _ => value == wanted,
            };
            assert!(same, "{}: `{key}` is {value} here and {wanted} there", arch.model_type);
        }
        assert!(theirs.keys().all(|key| ours.contains_key(key)), "{}", arch.model_type);
    }
}

#[test]
fn activations_match_their_names() {
    let golden = golden();
    let numbers = |name: &str| -> Vec<f64> { serde_json::from_value(golden["activations"][name].clone()).unwrap() };
    let x = Tensor::from_slice(&numbers("x"));
    let names: Vec<&String> = golden["activations"].as_object().unwrap().keys().collect();
    for name in names.into_iter().filter(|name| *name != "x") {
        let activation: Activation = serde_json::from_value(name.as_str().into()).unwrap();
        let ours = Vec::<f64>::try_from(activation.apply(&x)).unwrap();
        for (ours, theirs) in ours.iter().zip(numbers(name)) {
            assert!((ours - theirs).abs() < 1e-9, "{name}: {ours} and {theirs}");
        }
    }
}
