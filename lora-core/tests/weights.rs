//! Weights that do not fit are refused by name, and nothing is filled silently.

mod common;

use common::{build, config};
use lora_core::model::arch;
use lora_core::nn::Adopted;
use lora_core::weights::{Weights, save};
use lora_core::{Result, method, model};
use std::collections::HashMap;
use std::path::Path;
use tch::{Kind, Tensor};

fn tensors(adopted: &Adopted) -> Vec<(String, Tensor)> {
    adopted
        .params
        .iter()
        .map(|e| (e.param.name.clone(), e.tensor.detach().copy()))
        .collect()
}

fn saved(dir: &Path, tensors: &[(String, Tensor)]) {
    std::fs::write(dir.join("config.json"), config("roberta").to_string()).unwrap();
    save(&dir.join("model.safetensors"), tensors, HashMap::new()).unwrap();
}

/// Loads the folder into a fresh model; the values afterwards, or the error.
fn load(dir: &Path) -> Result<Adopted> {
    let method = method::from_yaml("{kind: full}")?;
    let (_, adopted) = build("roberta", method.as_ref(), 2);
    Weights::open(dir)?
        .load_into(&adopted.params, arch(&model::read_config(dir)?)?)?
        .require_complete()?;
    Ok(adopted)
}

fn start() -> (tempfile::TempDir, Vec<(String, Tensor)>) {
    let method = method::from_yaml("{kind: full}").unwrap();
    let (_, adopted) = build("roberta", method.as_ref(), 1);
    (tempfile::tempdir().unwrap(), tensors(&adopted))
}

#[test]
fn whole_files_load_whatever_their_prefix() {
    let (dir, tensors) = start();
    saved(dir.path(), &tensors);
    for (name, value) in &tensors {
        assert!(
            load(dir.path()).unwrap().params.get(name).unwrap().tensor.equal(value),
            "{name}"
        );
    }
    // A bare encoder's file has no prefix, and no head.
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
fn what_does_not_fit_is_named() {
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
    // One number must not be spread over a whole vector, as tch's own loader does.
    let text = refused(&with(name, Tensor::zeros([1], (Kind::Float, tch::Device::Cpu))));
    assert!(text.contains("another shape") && text.contains(name), "{text}");
    // Pretraining's head and old buffers are known and left out.
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
        (
            "model_type",
            serde_json::json!("llama"),
            "known: roberta, bert, deberta-v2, gpt2",
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
