//! Loading and saving of weights: tensors that do not fit are errors that name them.

mod common;

use common::{build, config};
use lora_core::batch::Batch;
use lora_core::model::arch;
use lora_core::nn::BuiltParams;
use lora_core::nn::check_finite;
use lora_core::weights::{Precision, StoredHead, Weights, save, save_as};
use lora_core::{Result, method, model};
use serde_json::{Value, json};
use std::collections::HashMap;
use std::path::Path;
use tch::{Kind, Tensor};

fn tensors(built: &BuiltParams) -> Vec<(String, Tensor)> {
    built
        .params
        .iter()
        .map(|e| (e.param.name.clone(), e.tensor.detach().copy()))
        .collect()
}

fn saved(dir: &Path, tensors: &[(String, Tensor)]) {
    std::fs::write(dir.join("config.json"), config("roberta").to_string()).unwrap();
    save(&dir.join("model.safetensors"), tensors, HashMap::new()).unwrap();
}

/// Loads the folder into a fresh model.
fn load(dir: &Path) -> Result<BuiltParams> {
    let method = method::from_yaml("{kind: full}")?;
    let (_, built) = build("roberta", method.as_ref(), 2);
    Weights::open(dir)?
        .load_into(&built.params, arch(&model::read_config(dir)?)?)?
        .require_complete()?;
    Ok(built)
}

fn start() -> (tempfile::TempDir, Vec<(String, Tensor)>) {
    let method = method::from_yaml("{kind: full}").unwrap();
    let (_, built) = build("roberta", method.as_ref(), 1);
    (tempfile::tempdir().unwrap(), tensors(&built))
}

#[test]
fn complete_files_load_with_any_prefix() {
    let (dir, tensors) = start();
    saved(dir.path(), &tensors);
    for (name, value) in &tensors {
        assert!(
            load(dir.path()).unwrap().params.get(name).unwrap().tensor.equal(value),
            "{name}"
        );
    }
    // The file of a bare encoder has no prefix and no head.
    let bare: Vec<_> = tensors
        .iter()
        .filter_map(|(n, t)| Some((n.strip_prefix("roberta.")?.to_string(), t.shallow_clone())))
        .collect();
    assert!(bare.len() < tensors.len());
    saved(dir.path(), &bare);
    let loaded = load(dir.path()).unwrap();
    assert!(loaded.params.get(&tensors[0].0).unwrap().tensor.equal(&tensors[0].1));
}

#[test]
fn shards_load_and_missing_ones_are_named() {
    let (dir, tensors) = start();
    saved(dir.path(), &[]);
    std::fs::remove_file(dir.path().join("model.safetensors")).unwrap();
    let (a, b) = tensors.split_at(20);
    let mut map = serde_json::Map::new();
    for (file, part) in [("model-1.safetensors", a), ("model-2.safetensors", b)] {
        save(&dir.path().join(file), part, HashMap::new()).unwrap();
        map.extend(part.iter().map(|(n, _)| (n.clone(), file.into())));
    }
    let index = dir.path().join("model.safetensors.index.json");
    std::fs::write(&index, serde_json::json!({"weight_map": map}).to_string()).unwrap();
    let loaded = load(dir.path()).unwrap();
    assert!(
        tensors
            .iter()
            .all(|(n, t)| loaded.params.get(n).unwrap().tensor.equal(t))
    );
    std::fs::remove_file(dir.path().join("model-2.safetensors")).unwrap();
    assert!(
        load(dir.path())
            .unwrap_err()
            .to_string()
            .contains("model-2.safetensors")
    );
    std::fs::write(&index, r#"{"weight_map": {"x": "../../etc/passwd"}}"#).unwrap();
    assert!(
        load(dir.path())
            .unwrap_err()
            .to_string()
            .contains("not a plain file name")
    );
}

#[test]
fn missing_unexpected_and_mismatched_tensors_are_named() {
    let (dir, tensors) = start();
    let refused = |tensors: &[(String, Tensor)]| {
        saved(dir.path(), tensors);
        load(dir.path()).unwrap_err().to_string()
    };
    let (name, value) = &tensors[3];
    let without: Vec<_> = tensors
        .iter()
        .filter(|(n, _)| n != name)
        .map(|(n, t)| (n.clone(), t.shallow_clone()))
        .collect();
    let text = refused(&without);
    assert!(text.contains("1 missing") && text.contains(name), "{text}");
    let with = |n: &str, t: Tensor| {
        let mut all: Vec<_> = without.iter().map(|(n, t)| (n.clone(), t.shallow_clone())).collect();
        all.push((n.to_string(), t));
        all
    };
    let mut more = with(name, value.shallow_clone());
    more.push((
        "roberta.encoder.extra".into(),
        Tensor::zeros([2], (Kind::Float, tch::Device::Cpu)),
    ));
    let text = refused(&more);
    assert!(text.contains("1 unexpected: roberta.encoder.extra"), "{text}");
    // A single value must not be broadcast to a vector, as tch's own loader does.
    let text = refused(&with(name, Tensor::zeros([1], (Kind::Float, tch::Device::Cpu))));
    assert!(text.contains("another shape") && text.contains(name), "{text}");
    // The pretraining head and old buffers are ignored.
    let mut known = with(name, value.shallow_clone());
    known.push((
        "lm_head.bias".into(),
        Tensor::zeros([2], (Kind::Float, tch::Device::Cpu)),
    ));
    known.push((
        "roberta.embeddings.position_ids".into(),
        Tensor::zeros([1, 4], (Kind::Float, tch::Device::Cpu)),
    ));
    saved(dir.path(), &known);
    load(dir.path()).unwrap();
}

#[test]
fn tensors_that_are_not_finite_are_neither_loaded_nor_saved() {
    let (dir, tensors) = start();
    let (name, value) = &tensors[0];
    for bad in [f64::NAN, f64::INFINITY, f64::NEG_INFINITY] {
        let damaged = value.copy();
        let _ = damaged.view([-1]).narrow(0, 5, 1).fill_(bad);
        let with: Vec<_> = tensors
            .iter()
            .map(|(n, t)| (n.clone(), if n == name { &damaged } else { t }.shallow_clone()))
            .collect();
        // No file is left behind.
        let path = dir.path().join("written.safetensors");
        let text = save(&path, &with, HashMap::new()).unwrap_err().to_string();
        assert!(
            text.contains(name) && text.contains("NaN or infinity (1 of its"),
            "{text}"
        );
        assert!(!path.exists());
        // A file from another program.
        let good = value.copy();
        saved(dir.path(), &tensors);
        let file = dir.path().join("model.safetensors");
        patch(&file, &good, &damaged);
        let text = load(dir.path()).unwrap_err().to_string();
        assert!(
            text.contains("model.safetensors") && text.contains(name) && text.contains("NaN or infinity"),
            "{text}"
        );
    }
    // Values beyond the range of fp16 become infinite.
    let large = [("x".to_string(), Tensor::from_slice(&[1e6f32]))];
    let path = dir.path().join("half.safetensors");
    let text = save_as(&path, &large, HashMap::new(), Precision::Half)
        .unwrap_err()
        .to_string();
    assert!(text.contains("`x` holds NaN or infinity"), "{text}");
    save(&path, &large, HashMap::new()).unwrap();
    // Integer and empty tensors are finite, and so are the extremes of fp32.
    assert!(check_finite("x", &Tensor::from_slice(&[1i64])).is_ok());
    assert!(check_finite("x", &Tensor::zeros([0, 3], (Kind::Float, tch::Device::Cpu))).is_ok());
    assert!(check_finite("x", &Tensor::from_slice(&[f32::MAX, f32::MIN])).is_ok());
}

/// Replaces the bytes of one tensor in a file.
fn patch(file: &Path, old: &Tensor, new: &Tensor) {
    let bytes = |t: &Tensor| -> Vec<u8> {
        let values = Vec::<f32>::try_from(t.reshape([-1])).unwrap();
        values.iter().flat_map(|v| v.to_le_bytes()).collect()
    };
    let (old, new) = (bytes(old), bytes(new));
    let mut whole = std::fs::read(file).unwrap();
    let at = whole.windows(old.len()).position(|w| w == old).unwrap();
    whole[at..at + new.len()].copy_from_slice(&new);
    std::fs::write(file, whole).unwrap();
}

/// A model folder with a head and with `changes` to config.json, and its tensors by name.
fn fine_tuned(model_type: &str, changes: &Value) -> (tempfile::TempDir, HashMap<String, Tensor>) {
    let method = method::from_yaml("{kind: full}").unwrap();
    let (_, built) = build(model_type, method.as_ref(), 1);
    let dir = tempfile::tempdir().unwrap();
    let mut config = config(model_type);
    for (key, value) in changes.as_object().unwrap() {
        config[key] = value.clone();
    }
    std::fs::write(dir.path().join("config.json"), config.to_string()).unwrap();
    save(&dir.path().join("model.safetensors"), &tensors(&built), HashMap::new()).unwrap();
    (dir, tensors(&built).into_iter().collect())
}

const MNLI: [&str; 3] = ["entailment", "neutral", "contradiction"];
const CLASSIFIERS: [&str; 3] = ["roberta", "bert", "deberta-v2"];

#[test]
fn rows_of_a_stored_head_are_matched_by_label() {
    let names = json!({"id2label": {"0": "CONTRADICTION", "1": "NEUTRAL", "2": "ENTAILMENT"}});
    for model_type in CLASSIFIERS {
        let (dir, stored) = fine_tuned(model_type, &names);
        let (config, arch) = model::load_config(dir.path()).unwrap();
        let weights = Weights::open(dir.path()).unwrap();
        let head = weights.head(arch, &config, &MNLI, 3).unwrap();
        assert_eq!(head, StoredHead::Reordered(vec![2, 1, 0]), "{model_type}");
        let method = method::from_yaml("{kind: full}").unwrap();
        let (_, built) = build(model_type, method.as_ref(), 2);
        let report = weights.load_with(&built.params, arch, &head).unwrap();
        assert!(report.require_complete().unwrap().fresh_head.is_empty());
        let output = arch.output_weight().unwrap();
        for (name, stored) in &stored {
            let turned = stored.size()[0] == 3 && (*name == output || *name == output.replace("weight", "bias"));
            let wanted = if turned {
                stored.flip([0])
            } else {
                stored.shallow_clone()
            };
            assert!(
                built.params.get(name).unwrap().tensor.equal(&wanted),
                "{model_type}: {name}"
            );
        }
        // With labels in the task's order, or placeholder labels, the head stays as stored.
        let in_order = json!({"label2id": {"entailment": 0, "neutral": 1, "contradiction": 2}});
        for same in [
            in_order,
            json!({"id2label": {"0": "LABEL_0", "1": "LABEL_1", "2": "LABEL_2"}}),
            json!({}),
        ] {
            assert_eq!(weights.head(arch, &same, &MNLI, 3).unwrap(), StoredHead::AsStored);
        }
        // Labels are ignored for a task without labels and for a file without a head.
        assert_eq!(weights.head(arch, &config, &[], 3).unwrap(), StoredHead::AsStored);
        let bare: Vec<_> = stored
            .into_iter()
            .filter(|(n, _)| !n.starts_with("classifier"))
            .collect();
        save(&dir.path().join("model.safetensors"), &bare, HashMap::new()).unwrap();
        let weights = Weights::open(dir.path()).unwrap();
        assert_eq!(
            weights.head(arch, &config, &["no", "yes"], 2).unwrap(),
            StoredHead::AsStored
        );
    }
}

#[test]
fn the_head_of_another_task_is_refused_or_dropped() {
    let names = json!({"id2label": {"0": "negative", "1": "neither", "2": "positive"}});
    for model_type in CLASSIFIERS {
        let (dir, stored) = fine_tuned(model_type, &names);
        let (config, arch) = model::load_config(dir.path()).unwrap();
        let weights = Weights::open(dir.path()).unwrap();
        let refused =
            |classes: &[&str], outputs| weights.head(arch, &config, classes, outputs).unwrap_err().to_string();
        let text = refused(&["no", "yes"], 2);
        for part in [
            "has 3 outputs (negative, neither, positive) and the task 2",
            "fresh_head=true",
            "model.safetensors",
        ] {
            assert!(text.contains(part), "{part}: {text}");
        }
        let text = refused(&MNLI, 3);
        assert!(
            text.contains("negative, neither, positive and the task's classes are entailment, neutral, contradiction"),
            "{text}"
        );
        assert!(refused(&[], 1).contains("and the task 1"));
        // If it is dropped, variables of fine-tuning are fresh and pretrained ones are loaded.
        let method = method::from_yaml("{kind: full}").unwrap();
        let (_, fresh) = build(model_type, method.as_ref(), 2);
        let before: HashMap<String, Tensor> = tensors(&fresh).into_iter().collect();
        let report = weights.load_with(&fresh.params, arch, &StoredHead::Fresh).unwrap();
        let report = report.require_complete().unwrap();
        for (name, tensor) in tensors(&fresh) {
            let left = report.fresh_head.contains(&name);
            let of_classifier = arch.classifier.iter().any(|module| name.starts_with(module));
            assert_eq!(left, of_classifier, "{model_type}: {name}");
            assert!(
                tensor.equal(if left { &before[&name] } else { &stored[&name] }),
                "{model_type}: {name}"
            );
        }
        assert!(!report.fresh_head.iter().any(|n| n.starts_with("bert.pooler")));
    }
}

#[test]
fn missing_config_keys_take_their_historical_defaults() {
    for model_type in ["roberta", "bert", "gpt2"] {
        let method = method::from_yaml("{kind: head}").unwrap();
        let answers = |config: &Value| {
            let build = lora_core::nn::Build::new(method.as_ref(), 1);
            let (model, _) = common::finish(config, build).unwrap();
            let rows = common::rows(model_type, 4);
            let batch = Batch::new(&rows.iter().collect::<Vec<_>>(), tch::Device::Cpu).unwrap();
            let _guard = tch::no_grad_guard();
            model.forward(&batch, false)
        };
        let whole = {
            let mut config = config(model_type);
            for (key, value) in (arch(&config).unwrap().defaults)().as_object().unwrap() {
                if key.contains("eps") || key.contains("act") || key.contains("drop") {
                    config[key] = value.clone();
                }
            }
            config
        };
        let expected = answers(&whole);
        for key in whole
            .as_object()
            .unwrap()
            .keys()
            .filter(|k| k.contains("eps") || k.contains("act") || k.contains("drop"))
        {
            let mut without = whole.clone();
            without.as_object_mut().unwrap().remove(key);
            assert!(answers(&without).equal(&expected), "{model_type} without {key}");
        }
    }
}

#[test]
fn damaged_and_foreign_files_are_refused() {
    let (dir, tensors) = start();
    saved(dir.path(), &tensors);
    let path = dir.path().join("model.safetensors");
    let whole = std::fs::read(&path).unwrap();
    let mut huge_header = whole.clone();
    huge_header[..8].copy_from_slice(&u64::MAX.to_le_bytes());
    let cases: [&[u8]; 6] = [
        b"",
        b"\x80\x02}q\x00.",
        &whole[..7],
        &whole[..200],
        &whole[..whole.len() - 1],
        &huge_header,
    ];
    for (i, bytes) in cases.into_iter().enumerate() {
        std::fs::write(&path, bytes).unwrap();
        let text = load(dir.path()).unwrap_err().to_string();
        assert!(text.contains("model.safetensors"), "case {i}: {text}");
    }
    std::fs::remove_file(&path).unwrap();
    std::fs::write(dir.path().join("pytorch_model.bin"), b"\x80\x02}q\x00.").unwrap();
    let text = load(dir.path()).unwrap_err().to_string();
    assert!(
        text.contains("pytorch_model.bin") && text.contains("is not a file of torch.save"),
        "{text}"
    );
}

#[test]
fn a_failed_save_leaves_the_old_file() {
    let (dir, tensors) = start();
    let path = dir.path().join("out.safetensors");
    save(&path, &tensors[..2], HashMap::new()).unwrap();
    let before = std::fs::read(&path).unwrap();
    let blocked = path.join("below");
    assert!(save(&blocked, &tensors, HashMap::new()).is_err());
    assert_eq!(std::fs::read(&path).unwrap(), before);
    assert_eq!(
        std::fs::read_dir(dir.path()).unwrap().count(),
        1,
        "no temporary file is left"
    );
}

#[test]
fn configs_that_cannot_be_built_are_refused() {
    let method = method::from_yaml("{kind: full}").unwrap();
    let changes = [
        ("hidden_size", serde_json::json!(15), "not divisible"),
        ("vocab_size", serde_json::json!(-1), "`vocab_size` is -1"),
        ("num_hidden_layers", serde_json::json!("many"), "invalid type"),
        ("hidden_act", serde_json::json!("swish2"), "unknown variant `swish2`"),
        ("hidden_dropout_prob", serde_json::json!(1.5), "hidden_dropout_prob"),
        ("is_decoder", serde_json::json!(true), "`is_decoder` is true"),
        (
            "model_type",
            serde_json::json!("mamba"),
            "known: roberta, bert, deberta-v2, gpt2, llama, qwen2",
        ),
        ("position_embedding_type", serde_json::json!("relative_key"), "absolute"),
        ("max_position_embeddings", serde_json::json!(2), "positions"),
        (
            "intermediate_size",
            serde_json::json!(9_000_000_000_000_i64),
            "intermediate_size",
        ),
    ];
    let dir = tempfile::tempdir().unwrap();
    for (key, value, expected) in changes {
        let mut config = config("roberta");
        config[key] = value;
        std::fs::write(dir.path().join("config.json"), config.to_string()).unwrap();
        let build = lora_core::nn::Build::new(method.as_ref(), 1);
        let text = model::from_dir(dir.path(), 2, &build)
            .err()
            .map(|e| e.to_string())
            .unwrap_or_default();
        assert!(text.contains(expected), "{key}: {text}");
    }
}
