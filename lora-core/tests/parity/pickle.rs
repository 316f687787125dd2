//! Models published only as a pickle, against safetensors and transformers. `make_pickle_golden.py` writes them.

use super::golden::{close, ints, read, test_device};
use lora_core::batch::{Batch, Row, Target};
use lora_core::nn::{BaseInit, Build};
use lora_core::weights::Weights;
use lora_core::{Result, method, model};
use std::path::{Path, PathBuf};
use tch::Tensor;

fn root() -> PathBuf {
    let root = std::env::var_os("LORA_PARITY_GOLDEN").map(PathBuf::from);
    let root = root.unwrap_or_else(|| Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/parity/golden"));
    root.join("pickle")
}

/// The model's logits with the weights in `weights`.
fn logits(weights: &Path) -> Result<Tensor> {
    let rows = read(&root().join("expected.json"))["rows"].clone();
    let row = |ids| Row {
        ids: ints(ids),
        types: Vec::new(),
        prompt: None,
        target: Target::Class(0),
    };
    let rows: Vec<Row> = rows.as_array().unwrap().iter().map(row).collect();
    let batch = Batch::new(&rows.iter().collect::<Vec<_>>(), test_device())?;
    let method = method::from_yaml("{kind: head}")?;
    let build = Build::new(method.as_ref(), 1)
        .device(test_device())
        .base_init(BaseInit::Blank);
    let (model, arch) = model::from_dir(&root(), 3, &build)?;
    let params = build.finish()?.params;
    let report = Weights::open(weights)?.load_into(&params, arch)?.require_complete()?;
    assert!(report.fresh_head.is_empty(), "{:?}", report.fresh_head);
    let _guard = tch::no_grad_guard();
    Ok(model.forward(&batch, false))
}

fn expected(key: &str) -> Tensor {
    let rows = read(&root().join("expected.json"))[key].clone();
    let numbers = rows.as_array().unwrap().iter().flat_map(|r| r.as_array().unwrap());
    let numbers: Vec<f32> = numbers.map(|n| n.as_f64().unwrap() as f32).collect();
    Tensor::from_slice(&numbers).view([-1, 3]).to_device(test_device())
}

#[test]
fn logits_match_those_of_safetensors() {
    let plain = logits(&root().join("safetensors")).unwrap();
    close(&plain, &expected("logits"), 1e-5, "safetensors");
    for form in ["zip", "old"] {
        let found = logits(&root().join(form)).unwrap();
        assert!(found.equal(&plain), "{form}: the very same numbers");
    }
    close(
        &logits(&root().join("shards")).unwrap(),
        &expected("logits_half"),
        1e-5,
        "shards of fp16",
    );
    let both = tempfile::tempdir().unwrap();
    std::fs::copy(
        root().join("safetensors/model.safetensors"),
        both.path().join("model.safetensors"),
    )
    .unwrap();
    std::fs::write(both.path().join("pytorch_model.bin"), b"left alone").unwrap();
    assert!(logits(both.path()).unwrap().equal(&plain), "safetensors come first");
}

#[test]
fn a_pickle_with_other_imports_is_refused() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("pytorch_model.bin");
    let refused = |bytes: &[u8]| {
        std::fs::write(&path, bytes).unwrap();
        logits(dir.path()).unwrap_err().to_string()
    };
    let whole = std::fs::read(root().join("old/pytorch_model.bin")).unwrap();
    // A name of the same length keeps the rest of the file valid.
    let (from, to) = (
        &b"ctorch._utils\n_rebuild_tensor_v2\n"[..],
        b"cposix_utils_\n_system__tensor_v2\n",
    );
    let at = whole.windows(from.len()).position(|w| w == from).unwrap();
    let hostile = [&whole[..at], to, &whole[at + from.len()..]].concat();
    let text = refused(&hostile);
    for part in [
        "pytorch_model.bin",
        "`posix_utils_._system__tensor_v2`",
        "nothing was executed",
    ] {
        assert!(text.contains(part), "{part}: {text}");
    }
    assert!(refused(&whole[..whole.len() - 1]).contains("ends before the storage"));
    let mut zip = std::fs::read(root().join("zip/pytorch_model.bin")).unwrap();
    let weight = zip.len() / 2;
    zip[weight..weight + 64].fill(0x55);
    assert!(refused(&zip).contains("damaged"), "{}", refused(&zip));
}
