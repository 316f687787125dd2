//! Files with damaged bytes are refused by name or read; never a panic, never a hang, and a damaged checkpoint is never taken
//! for whole. `tools/check-damage` runs more mutations than `cargo test` does.

mod common;

use common::build;
use lora_core::interop::{Base, open_peft, read_torch};
use lora_core::method;
use lora_core::model::{config_sha256, end_tokens, load_config};
use lora_core::nn::BuiltParams;
use lora_core::train::{AdamW, Checkpoint, Eval, Progress};
use lora_core::weights::{Weights, save, save_sealed};
use std::collections::HashMap;
use std::path::{Path, PathBuf};
use tch::Tensor;
use testing::mutate::survives;

fn trained() -> BuiltParams {
    build("bert", method::from_yaml("{kind: lora, r: 2}").unwrap().as_ref(), 3).1
}

fn tensors(built: &BuiltParams) -> Vec<(String, Tensor)> {
    let all = built.params.trainable();
    all.map(|e| (e.param.name.clone(), e.tensor.detach())).collect()
}

fn golden(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR"))
        .join("tests/parity/golden")
        .join(name)
}

/// A folder with the files of `folder`.
fn copy_of(folder: &Path) -> tempfile::TempDir {
    let dir = tempfile::tempdir().unwrap();
    for entry in std::fs::read_dir(folder).unwrap() {
        let entry = entry.unwrap();
        std::fs::copy(entry.path(), dir.path().join(entry.file_name())).unwrap();
    }
    dir
}

/// Every tensor of the file.
fn read_all(path: &Path) -> lora_core::Result<HashMap<String, Tensor>> {
    let file = Weights::open(path)?;
    file.metadata()?;
    file.names().map(|n| Ok((n.to_string(), file.tensor(n)?))).collect()
}

/// Writes each mutation of the file `name` of `dir` in its place, for `read` to read.
fn damage(dir: &Path, name: &str, mut read: impl FnMut(&Path) -> lora_core::Result<()>) -> testing::mutate::Outcomes {
    let path = dir.join(name);
    let original = std::fs::read(&path).unwrap();
    let outcomes = survives(name, &original, |bytes| {
        std::fs::write(&path, bytes).unwrap();
        read(&path).map_err(|e| e.to_string())
    });
    std::fs::write(&path, original).unwrap();
    outcomes
}

#[test]
fn damaged_checkpoints_are_never_resumed_from() {
    let dir = tempfile::tempdir().unwrap();
    let built = trained();
    let mut optim = AdamW::new(&built.params, (0.9, 0.999), 1e-8, 0.0).unwrap();
    let eval = Eval {
        epoch: 1,
        step: 7,
        train_loss: 0.5,
        metrics: [("dev/accuracy".to_string(), Some(0.75))].into(),
    };
    let progress = Progress {
        step: 7,
        evals: vec![eval],
        ..Progress::default()
    };
    let file = Checkpoint::new(&dir.path().join("run.safetensors"), "a");
    file.save(&optim, &progress).unwrap();
    let outcomes = damage(dir.path(), "run.safetensors", |_| file.restore(&mut optim).map(drop));
    assert_eq!(outcomes.taken, 0, "{outcomes:?}");
    let restored = file.restore(&mut optim).unwrap().unwrap();
    assert_eq!(restored, progress);
}

#[test]
fn damaged_kept_weights_are_never_loaded() {
    let dir = tempfile::tempdir().unwrap();
    let built = trained();
    let metadata = [("metric", "dev/accuracy"), ("value", "0.75"), ("epoch", "1")];
    let metadata = metadata.map(|(k, v)| (k.to_string(), v.to_string())).into();
    save_sealed(&dir.path().join("kept.safetensors"), &tensors(&built), metadata).unwrap();
    let load = |path: &Path| Weights::open(path)?.load_trained(&built.params).map(drop);
    let outcomes = damage(dir.path(), "kept.safetensors", load);
    assert_eq!(outcomes.taken, 0, "{outcomes:?}");
}

#[test]
fn damaged_weights_of_others_are_read_or_refused() {
    let dir = tempfile::tempdir().unwrap();
    save(
        &dir.path().join("model.safetensors"),
        &tensors(&trained()),
        [("format".into(), "pt".into())].into(),
    )
    .unwrap();
    let outcomes = damage(dir.path(), "model.safetensors", |path| read_all(path).map(drop));
    assert!(outcomes.refused > 0, "{outcomes:?}");
    let names: Vec<(String, &str)> = tensors(&trained())
        .into_iter()
        .map(|(n, _)| (n, "model.safetensors"))
        .collect();
    let map: serde_json::Map<_, _> = names.into_iter().map(|(n, file)| (n, file.into())).collect();
    let index = serde_json::json!({"metadata": {"total_size": 12}, "weight_map": map});
    let sharded = tempfile::tempdir().unwrap();
    std::fs::copy(
        dir.path().join("model.safetensors"),
        sharded.path().join("part.safetensors"),
    )
    .unwrap();
    let text = index.to_string().replace("model.safetensors", "part.safetensors");
    std::fs::write(sharded.path().join("model.safetensors.index.json"), text).unwrap();
    // A shard that is missing is named by its own name.
    let read = |path: &Path| match read_all(path.parent().unwrap()) {
        Err(lora_core::Error::Io { .. }) | Ok(_) => Ok(()),
        Err(e) => Err(e),
    };
    damage(sharded.path(), "model.safetensors.index.json", read);
}

#[test]
fn damaged_adapters_are_fitted_or_refused() {
    let base = Base::open(&golden("roberta")).unwrap();
    let dir = copy_of(&golden("roberta/adapter_all"));
    let fit = |_: &Path| open_peft(dir.path())?.fit(&base).map(drop);
    for name in ["adapter_model.safetensors", "adapter_config.json"] {
        let outcomes = damage(dir.path(), name, fit);
        assert!(outcomes.refused > 0, "{name}: {outcomes:?}");
    }
}

#[test]
fn damaged_files_of_torch_are_read_or_refused() {
    for form in ["zip", "old"] {
        let dir = copy_of(&golden("pickle").join(form));
        let outcomes = damage(dir.path(), "pytorch_model.bin", |path| {
            read_torch(path)?;
            read_all(path).map(drop)
        });
        assert!(outcomes.refused > 0, "{form}: {outcomes:?}");
    }
}

#[test]
fn damaged_configurations_of_models_are_read_or_refused() {
    for model in ["roberta", "deberta_v2", "gpt2"] {
        let dir = tempfile::tempdir().unwrap();
        std::fs::copy(golden(model).join("config.json"), dir.path().join("config.json")).unwrap();
        let outcomes = damage(dir.path(), "config.json", |_| {
            load_config(dir.path())?;
            end_tokens(dir.path())?;
            config_sha256(dir.path()).map(drop)
        });
        assert!(outcomes.refused > 0, "{model}: {outcomes:?}");
    }
}

#[test]
fn damaged_settings_of_methods_are_read_or_refused() {
    let text = "{kind: lora+pre_embed, lora: {r: 8, alpha: 16, dropout: 0.1, targets: [query, value]}, pre_embed: {prefix: 10, infix: 2}}";
    survives("method", text.as_bytes(), |bytes| {
        let read = method::from_yaml(&String::from_utf8_lossy(bytes));
        read.map(drop).map_err(|e| format!("method: {e}"))
    });
}
